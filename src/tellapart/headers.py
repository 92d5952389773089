"""What a picture file says of itself beside its pixels: how it was saved, by what, in which colours.

JPEG's segments are read here; of all other formats Pillow reads the header. No pixel is decoded, and nothing here can
make a picture unreadable: a damaged block counts as none.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart import exif, pictures

COLOURS = ("colour", "grey", "palette", "CMYK")  # how the file holds them; transparency is a fact of its own
CAMERA_TAGS, SOFTWARE_TAG, ORIENTATION_TAG = (0x010F, 0x0110), 0x0131, 0x0112  # Make and Model (CIPA DC-008)
_MOST_TAGS = 500  # of one directory; a hostile one could name 65,535
_MOST_TEXT = 200  # characters

# The luminance table of ITU-T T.81, annex K.1, which libjpeg scales by quality, in zigzag order.
_LUMINANCE = np.array(
    [
        [16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40],
        [26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51],
        [56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87],
        [95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99],
    ]
).reshape(-1)


@dataclass(frozen=True, slots=True)
class Header:
    """How one file was saved."""

    colour: str = "colour"  # one of COLOURS
    alpha: bool = False  # has transparency
    bits: int = 8  # of a sample
    orientation: int = 1  # EXIF, 1–8, as the file has it; 1 where it has none
    animated: bool = False  # more than one frame or page
    quality: int = 0  # JPEG: libjpeg's quality nearest to its tables, 1–100; 0 for other formats
    tables: int = 0  # JPEG: 32 bits of a hash of its tables, subsampling and progression; 0 for other formats
    exif: bool = False  # has an Exif block
    dpi: int = 0  # 0 where none is given
    camera: str = ""  # maker and model by EXIF
    software: str = ""  # by EXIF


def of(data: bytes, format: str) -> Header:
    """The header of a picture's bytes; `format` is what `kinds.sniff` says of them."""
    with contextlib.suppress(Exception):  # the pixels are what counts: a header that is not understood says nothing
        return _of_jpeg(data) if format == "JPEG" else _of_others(data, format)
    return Header()


def number(text: str) -> int:
    """32 bits that stand for a text, the same in every run; 0 for an empty one."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little") if text else 0


def exif_values(block: bytes) -> dict[int, int | str]:
    """Numbers and texts of the first directory of an Exif block, by tag (CIPA DC-008, TIFF 6.0)."""
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "little", b"MM": "big"}.get(block[:2])
    if order is None:
        return {}

    def whole(at: int, size: int) -> int:
        return int.from_bytes(block[at : at + size], "little" if order == "little" else "big")

    found: dict[int, int | str] = {}
    first = whole(4, 4)
    for i in range(min(whole(first, 2), _MOST_TAGS)):
        at = first + 2 + 12 * i
        if at + 12 > len(block):
            break
        tag, kind, count = whole(at, 2), whole(at + 2, 2), whole(at + 4, 4)
        if kind in {3, 4}:  # SHORT, LONG
            found.setdefault(tag, whole(at + 8, 2 if kind == 3 else 4))
        elif kind == 2:  # ASCII, of which up to four bytes stand in the entry itself
            start = at + 8 if count <= 4 else whole(at + 8, 4)
            text = block[start : start + min(count, _MOST_TEXT)].split(b"\0")[0].decode("utf-8", "replace")
            found.setdefault(tag, " ".join(text.split()))
    return found


def _of_exif(block: bytes) -> dict[str, Any]:
    values = exif_values(block)
    orientation = values.get(ORIENTATION_TAG, 1)
    camera = " ".join(str(values.get(tag, "")) for tag in CAMERA_TAGS).strip()
    return {
        "exif": bool(block),
        "orientation": orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1,
        "camera": camera,
        "software": str(values.get(SOFTWARE_TAG, "")),
    }


def _of_jpeg(data: bytes) -> Header:
    facts: dict[str, Any] = {}
    block, luminance = b"", None
    digest = hashlib.blake2b(digest_size=4)
    for marker, start, end in exif.jpeg_segments(data):
        payload = data[start:end]
        if marker == 0xDB:  # quantisation tables (B.2.4.1)
            digest.update(payload)
            if luminance is None and payload and payload[0] & 15 == 0:
                wide = payload[0] >> 4
                luminance = np.frombuffer(payload, ">u2" if wide else "u1", 64, offset=1).astype(np.int64)
        elif 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:  # frame header (B.2.2)
            components = payload[5]
            facts["bits"] = payload[0]
            facts["colour"] = {1: "grey", 4: "CMYK"}.get(components, "colour")
            digest.update(bytes([marker]) + payload[6 : 6 + 3 * components])
        elif marker == 0xE0 and payload[:5] == b"JFIF\0" and payload[7] in {1, 2}:  # units: inch, centimetre
            dots = int.from_bytes(payload[8:10], "big")
            facts["dpi"] = dots if payload[7] == 1 else min(round(dots * 2.54), 65535)
        elif marker == 0xE1 and not block and payload[:6] == b"Exif\0\0":
            block = payload
    facts["quality"] = 0 if luminance is None else _quality(luminance)
    return Header(**facts, **_of_exif(block), tables=int.from_bytes(digest.digest(), "little") or 1)


def _of_others(data: bytes, format: str) -> Header:
    with pictures.opened(data, format) as image:
        mode, info = image.mode, image.info
        colour = {"1": "grey", "L": "grey", "LA": "grey", "La": "grey", "P": "palette", "PA": "palette"}.get(mode)
        deep = mode.startswith("I") or mode == "F"
        if format == "GIF":
            colour = "palette"
        dots = info.get("dpi", (0,))[0]
        return Header(
            colour=colour or ("grey" if deep else "CMYK" if mode == "CMYK" else "colour"),
            alpha=mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in info,
            bits=_bits(data, format, mode, getattr(image, "tag_v2", {})),
            animated=bool(getattr(image, "is_animated", False)),
            dpi=int(min(max(round(float(dots)), 0), 65535)),
            **_of_exif(exif.of_pillow(info)),
        )


def _bits(data: bytes, format: str, mode: str, tags: Mapping[int, Any]) -> int:
    if format == "PNG":
        return data[24]
    if format == "TIFF" and 258 in tags:
        given = tags[258]
        return int(max(given) if isinstance(given, tuple) else given)
    return 1 if mode == "1" else 16 if mode.startswith("I;16") else 8


def _quality(luminance: np.ndarray) -> int:
    """libjpeg's quality whose luminance table is nearest to one in zigzag order, int (64,)."""
    return 1 + int(np.abs(_tables() - luminance).sum(axis=1).argmin())


@functools.cache
def _tables() -> np.ndarray:
    """The luminance tables of libjpeg's qualities 1 to 100, int (100, 64), as its `jcparam.c` scales them."""
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((_LUMINANCE * scale + 50) // 100, 1, 255)
