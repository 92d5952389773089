"""Whether the roads to a picture's pixels agree: the fast one, the tolerant one, and readers of others.

    python benchmarks/agreement.py [--photos PHOTOS] [--generated 2000] [--every 1] [--seed 0] [--json FILE]

- JPEG by simplejpeg against Pillow, at full size and scaled down to at least 64 and 224 px, on all JPEGs below PHOTOS
  and on generated ones: qualities 1 to 100, all subsamplings, grey, progressive, optimized, restart markers, odd
  sizes, all eight orientations. Not one value may differ by more than `TOLERANCE`.
- Scaled against full: the mean of each colour over the same part of a photo within `SHIFT`. The decoder scales in
  frequencies, which keeps more of fine detail than a mean over areas; it must make nothing brighter or of another
  colour.
- PNG, BMP, TIFF, lossless WebP by this package against OpenCV, which has decoders of its own for them, where both have
  a meaning for the mode: equal.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from tellapart import pictures
from tellapart.errors import PictureError

TOLERANCE = 1  # of 255, of one value; 0 with the builds at hand
SHIFT = 3.0  # of 255, of the mean of a colour; where much is burnt out or black, what is cut off there moves it
SIDES = (None, 64, 224)


def drawn(width: int, height: int, seed: int) -> Image.Image:
    """Waves, an edge and noise."""
    y, x = np.mgrid[:height, :width]
    planes = [127 + 120 * np.sin(x / 7 + y / 11), 127 + 120 * np.cos(x / 5), 250.0 * (x + y > width)]
    noise = np.random.default_rng(seed).normal(0, 12, (height, width, 3))
    return Image.fromarray((np.stack(planes, axis=2) + noise).clip(0, 255).astype(np.uint8))


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def generated(n: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """JPEGs with a name that says how they were made."""
    for i in range(n):
        chance = random.Random(f"{seed} {i}")
        width, height = (chance.choice((chance.randrange(1, 40), chance.randrange(1, 700))) for _ in range(2))
        image = drawn(width, height, i)
        options: dict[str, Any] = {"quality": chance.randrange(1, 101), "progressive": chance.random() < 0.4}
        if chance.random() < 0.2:
            image = image.convert("L")
        else:
            options["subsampling"] = chance.choice(("4:4:4", "4:2:2", "4:2:0", "4:1:1"))
        if chance.random() < 0.3:
            options["restart_marker_blocks"] = chance.randrange(1, 30)
        if chance.random() < 0.3:
            block = Image.Exif()
            block[0x0112] = chance.randrange(1, 9)
            options["exif"] = block.tobytes()
        else:
            options["optimize"] = chance.random() < 0.3
        yield f"{width}x{height} {image.mode} {options}", _saved(image, "JPEG", **options)


def roads(data: bytes, at_least_px: int | None) -> tuple[pictures.Picture | None, pictures.Picture]:
    """By simplejpeg, None where it leaves the file to Pillow, and by Pillow."""
    return (
        pictures._decode_jpeg_fast(data, at_least_px),
        pictures._decode_with_pillow(data, "JPEG", at_least_px),
    )


def compare(data: bytes) -> tuple[int, float, bool]:
    """A JPEG: largest difference of the two roads, shift of a colour by scaling, whether both roads took it."""
    worst, apart, full = 0, 0.0, None
    for side in SIDES:
        fast, tolerant = roads(data, side)
        if fast is None:
            return worst, apart, False
        if fast.pixels.shape != tolerant.pixels.shape or fast.width_px != tolerant.width_px:
            return 255, apart, True
        worst = max(worst, int(cv2.absdiff(fast.pixels, tolerant.pixels).max()))
        if full is None:
            full = fast.pixels
        elif fast.pixels.shape != full.shape:
            factor = round(full.shape[0] / fast.pixels.shape[0])
            height, width = full.shape[0] // factor, full.shape[1] // factor  # whole blocks, without the edge's rests
            scaled, whole = fast.pixels[:height, :width], full[: height * factor, : width * factor]
            if scaled.size:
                apart = max(apart, float(np.abs(scaled.mean((0, 1)) - whole.mean((0, 1))).max()))
    return worst, apart, True


def others(n: int, seed: int) -> Iterator[tuple[str, bytes, np.ndarray]]:
    """Files of other formats, and their pixels by OpenCV."""
    for i in range(n):
        chance = random.Random(f"others {seed} {i}")
        image = drawn(chance.randrange(1, 200), chance.randrange(1, 200), i)
        mode = chance.choice(("1", "L", "P", "RGB"))
        kind, options = chance.choice(
            [
                ("PNG", {"optimize": chance.random() < 0.5}),
                ("BMP", {}),
                ("TIFF", {"compression": chance.choice(("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"))}),
                ("WEBP", {"lossless": True}),
            ]
        )
        if kind == "WEBP" or (kind == "TIFF" and mode == "P"):
            mode = "RGB"
        changed = image.quantize(chance.randrange(2, 257)) if mode == "P" else image.convert(mode)
        data = _saved(changed, kind, **options)
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if found is not None:
            yield f"{kind} {mode} {changed.size} {options}", data, found[:, :, ::-1]


def main() -> None:
    """Compare, print the counts, exit with 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, metavar="PHOTOS")
    parser.add_argument("--generated", type=int, default=2000)
    parser.add_argument("--every", type=int, default=1, help="take every so manieth photo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    paths = sorted(options.photos.rglob("*.jp*g"))[:: options.every] if options.photos else []
    counts: Counter[str] = Counter()
    worst, apart, wrong = 0, 0.0, []
    for kind, some in (
        ("photos", ((str(p), p.read_bytes()) for p in paths)),
        ("generated", generated(options.generated, options.seed)),
    ):
        for name, data in some:
            try:
                differs, scaled, both = compare(data)
            except PictureError as error:
                counts[f"{kind}: refused"] += 1
                print(name, error.reason, file=sys.stderr)
                continue
            counts[f"{kind}: compared" if both else f"{kind}: Pillow alone"] += 1
            worst = max(worst, differs)
            if kind == "photos":
                apart = max(apart, scaled)
            if differs > TOLERANCE or (kind == "photos" and scaled > SHIFT):
                wrong.append(name)
    for name, data, expected in others(options.generated, options.seed):
        counts["other formats: compared"] += 1
        if not np.array_equal(pictures.decode(data).pixels, expected):
            wrong.append(name)
    result = {"counts": counts, "worst": worst, "shift": round(apart, 3), "wrong": wrong}
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
