"""What stands in the Exif block of a picture file, where it is found and which way up the picture is, never trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The segments of a JPEG before its picture data: marker, begin and end of the payload (ITU-T T.81 B.1.1.4)."""
    at = 2
    for _ in range(1000):  # a sound file has some dozens of segments; a hostile one could have millions
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            return
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in {0x00, 0x01} or 0xD0 <= marker <= 0xD8:  # these have no length
            at += 2
        elif marker in {0xD9, 0xDA}:  # the end, or the start of the picture data
            return
        else:
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            yield marker, at + 4, end
            at = end


def of_jpeg(data: bytes) -> bytes:
    """The first Exif segment before the picture data, or b"" (CIPA DC-008)."""
    for marker, start, end in jpeg_segments(data):
        if marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
            return data[start:end]
    return b""


def orientation(block: bytes) -> int:
    """The orientation 1-8 in the first directory of an Exif block; 1 where it is absent or damaged.

    Not by Pillow, whose reader takes the whole block apart, with a warning for each tag that is damaged.
    """
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "little", b"MM": "big"}.get(block[:2])
    if order is None:
        return 1

    def number(at: int, size: int) -> int:  # 0 beyond the end
        return int.from_bytes(block[at : at + size], "little" if order == "little" else "big")

    first = number(4, 4)
    for entry in range(first + 2, min(first + 2 + 12 * number(first, 2), len(block) - 11), 12):
        if number(entry, 2) == 0x0112:
            value = number(entry + 8, 4 if number(entry + 2, 2) == 4 else 2)  # type 4 is LONG, else SHORT
            return value if 1 <= value <= 8 else 1
    return 1


def of_pillow(info: dict[Any, Any]) -> bytes:
    """The Exif block among what Pillow knows of a picture; b"" where there is none."""
    if isinstance(info.get("exif"), bytes):
        return info["exif"]
    # ImageMagick's older way of keeping it in a PNG: a text of a name, a length, and hexadecimal digits.
    text = info.get("Raw profile type exif")
    digits = "".join(text.split()[2:]) if isinstance(text, str) else ""
    return bytes.fromhex(digits) if re.fullmatch(r"([0-9a-fA-F]{2})*", digits) else b""
