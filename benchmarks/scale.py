"""What `check` and `train` take of very many pictures: seconds and peak memory against their number.

    python benchmarks/scale.py [--sizes 10000,30000,100000] [--px 64] [--commands check,train] [--work DIR]

Pictures are small changes of few drawn ones: each is cut out elsewhere, with other brightness and noise of its own, so
that no two have the same bytes. Three classes, of which one in fifty is wrong. The network is EfficientNet-Lite0 on 64
px, so that what grows with the pictures is seen beside what each picture costs. Memory is that of all processes of a
command, each shared page once. Every size begins with an empty cache. Prints a row for each command and size.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np

import drawn
import product

SIDE = 72  # px, of a picture
FOLDER = 1000  # pictures a folder
WRONG = 50  # one in so many is in another class's folder
CLASSES = ("bricks", "dots", "waves")


def draw(folder: Path, first: int, n: int) -> None:
    """Pictures `first` to `first + n` of a set: what is there already stays."""
    bases = {
        name: [np.asarray(drawn.texture(name, k, 0).resize((240, 240)))[..., ::-1].astype(np.int16) for k in range(20)]
        for name in CLASSES
    }
    for i in range(first, first + n):
        rng = np.random.default_rng(i)
        name = CLASSES[i % len(CLASSES)]
        base = bases[name][int(rng.integers(20))]
        x, y = rng.integers(0, 240 - SIDE, 2)
        cut = base[y : y + SIDE, x : x + SIDE] + rng.integers(-40, 41) + rng.integers(-12, 13, (SIDE, SIDE, 1))
        said = CLASSES[(i + 1) % len(CLASSES)] if i % WRONG == 0 else name
        place = folder / said / f"{i // FOLDER:05d}" / f"{i:08d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place), np.clip(cut, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,30000,100000", metavar="N,N")
    parser.add_argument("--px", default="64", help="side of the square that the network sees")
    parser.add_argument("--commands", default="check,train", metavar="A,B")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="for pictures, models and logs; default a temporary one"
    )
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="tellapart-scale-"))
    photos, log, there = work / "photos", work / "log.txt", 0
    network = ["--backbone", "efficientnet-lite0", "--size", options.px]
    print("| pictures | command | seconds | computed, s | peak, MB |\n|---|---|---|---|---|")
    for n in sorted(map(int, options.sizes.split(","))):
        draw(photos, there, n - there)
        there = n
        for command in options.commands.split(","):
            home = work / f"home-{n}-{command}"
            environment = product.clean(home)
            arguments = {
                "check": ["check", photos, "--html", work / f"check-{n}.html", "--force"],
                "train": ["train", photos, "-o", work / f"{n}.tellapart", "--force", *network],
            }[command]
            used = product.run(*arguments, log=log, environment=environment)
            row = f"| {n:,} | {command} | {used.seconds:.0f} | {used.cpu_s:.0f} | {used.peak_mb:,.0f} |"
            print(row, flush=True)
            shutil.rmtree(home)
    if options.work is None:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
