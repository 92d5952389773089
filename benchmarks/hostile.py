"""Files that nobody wants to be sent: bombs, which are small and decode to much, and broken ones.

    python benchmarks/hostile.py FOLDER

Drawn from fixed seeds; some 3 MB together. Bombs over the pixel limit are refused by their header; those just under it
are legal pictures that take as much time and memory as there may be asked for.
"""

from __future__ import annotations

import argparse
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def _chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, before: bytes = b"", rows: int | None = None) -> bytes:
    """A black PNG, 8 bits of grey, `before` its pixels, with fewer rows than it says where `rows` is given."""
    press, pressed = zlib.compressobj(9), b""
    line = bytes(width + 1)
    for _ in range(height if rows is None else rows):
        pressed += press.compress(line)
    pressed += press.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + before + _chunk(b"IDAT", pressed) + _chunk(b"IEND", b"")


def _saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def bombs() -> dict[str, bytes]:
    """Small files that stand for many pixels, or for much work, by name."""
    text = zlib.compress(bytes(200 * 2**20), 9)
    profile = _chunk(b"iCCP", b"bomb\0\0" + text)
    black = Image.new("RGB", (64, 64))
    frames = [Image.new("P", (2000, 2000), i % 2) for i in range(60)]
    jpeg = bytearray(_saved(black, "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65000, 65000)
    return {
        "200-megapixels.png": png(20_000, 10_000),
        "119-megapixels.png": png(11_900, 10_000),
        "progressive.jpg": _saved(Image.new("L", (9_000, 9_000)), "JPEG", progressive=True, quality=20),
        "says-65000x65000.jpg": bytes(jpeg),
        "profile-of-200-mb.png": png(64, 64, before=profile),
        "text-of-200-mb.png": png(64, 64, before=_chunk(b"zTXt", b"bomb\0\0" + text)),
        "60-frames.gif": _saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "16383x7000.webp": _saved(Image.new("RGB", (16_383, 7_000)), "WEBP", quality=1, method=0),
        "deflated.tiff": _saved(Image.new("L", (10_900, 10_900)), "TIFF", compression="tiff_adobe_deflate"),
    }


def broken() -> dict[str, bytes]:
    """Files that are no pictures, or not whole, by name."""
    noise = np.random.default_rng(0)
    image = Image.fromarray(noise.integers(0, 256, (300, 400, 3), np.uint8))
    jpeg, whole = _saved(image, "JPEG", quality=80), _saved(image, "PNG")
    torn = bytearray(jpeg)
    torn[len(torn) // 2 : len(torn) // 2 + 64] = noise.bytes(64).replace(b"\xff", b"\xfe")
    return {
        "empty.jpg": b"",
        "half.jpg": jpeg[: len(jpeg) // 2],
        "half.png": whole[: len(whole) // 2],
        "head-alone.jpg": jpeg[:40],
        "rows-missing.png": png(400, 300, rows=100),
        "noise.jpg": noise.bytes(50_000),
        "noise-after-head.jpg": jpeg[:600] + noise.bytes(30_000),
        "page.jpg": b"<!DOCTYPE html><title>Not found</title>" + b" " * 2000,
        "archive.png": b"PK\x03\x04" + noise.bytes(4_000),
        "zeros.png": bytes(20_000),
        "vector.png": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "no-pixels.png": b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 5, 8, 0, 0, 0, 0)),
    }


def write(folder: Path) -> tuple[list[Path], list[Path]]:
    """All of them as files: the bombs, the broken ones."""
    folder.mkdir(parents=True, exist_ok=True)
    sides = []
    for found in (bombs(), broken()):
        paths = [folder / name for name in found]
        for path in paths:
            path.write_bytes(found[path.name])
        sides.append(paths)
    return sides[0], sides[1]


def main() -> None:
    """Write them and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    bombs, broken = write(parser.parse_args().folder)
    for path in (*bombs, *broken):
        print(f"{path.stat().st_size:>10,} bytes  {path.name}")


if __name__ == "__main__":
    main()
