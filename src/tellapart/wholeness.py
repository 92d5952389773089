"""Whether the data of a picture hold all of it, where decoders make up what is missing and do not say so.

- libjpeg fills up blocks that it cannot decode, and a picture whose scans end early comes out blurred or grey.
- Pillow leaves rows of a PNG black whose compressed data end at the end of a row, and those of a JPEG within a TIFF
  that has fewer rows than its strip.

What is found is told as libjpeg or this package would: a text, "" where nothing is missing.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any

from tellapart import exif

MOST_SCANS = 500  # of a JPEG; libjpeg-turbo's own limit for files of strangers. Encoders make about ten
TRUNCATED = "truncated: the file ends before the picture does"
_PIECE = 2**16
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def of_warning(text: str) -> str:
    """What is missing by one of libjpeg's warnings; "" where it is of no harm, or says nothing of the pixels.

    Bytes too many before the end marker are of no harm: the data were enough. Before any other marker of a scan they
    show that blocks were lost.
    """
    low = text.lower()
    if "premature end" in low:
        return TRUNCATED
    harmless = "extraneous bytes" in low and low.endswith("0xd9")
    if not harmless and low.startswith(("corrupt jpeg data", "inconsistent progression")):
        return f"damaged JPEG: {text}"
    return ""


def plain_jpeg(data: bytes) -> bytes:
    """A JPEG without what may be odd before its first scan: application segments, comments, stray bytes.

    libjpeg tells of its first warning alone. Of this copy that is one about the picture. Colours may be others.
    """
    kept, at = [data[:2]], 2
    baseline = False
    for marker, start, end in exif.jpeg_segments(data):
        baseline |= marker in {0xC0, 0xC1}
        if not 0xE0 <= marker <= 0xEF and marker != 0xFE:
            kept.append(data[start - 4 : end])
        at = end
    scan = data.find(b"\xff\xda", at)
    if scan < 0:
        return data
    rest = bytearray(data[scan:])
    n = rest[4] if len(rest) > 4 else 0
    if baseline and len(rest) >= 8 + 2 * n:  # a sequential scan has all coefficients, whatever old encoders say
        rest[5 + 2 * n : 8 + 2 * n] = bytes([0, 63, 0])
    return b"".join(kept) + bytes(rest)


def of_scans(data: bytes) -> str:
    """Whether the scans of a JPEG give every coefficient of every component in full (ITU-T T.81 B.2.3, G.1.1.1)."""
    components: list[int] = []
    progressive, at = False, 2
    for marker, start, end in exif.jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC} and end - start >= 6:
            progressive = marker in {0xC2, 0xCA}
            components = [data[i] for i in range(start + 6, min(end, len(data)), 3)][: data[start + 5]]
        at = end
    left = {component: [99] * 64 for component in components}  # bits of each coefficient that are still to come
    scan, n_scans = data.find(b"\xff\xda", at), 0
    last = data.find(b"\xff\xd9", at)
    while scan >= 0 and (last < 0 or scan < last) and scan + 5 <= len(data):
        n_scans += 1
        if n_scans > MOST_SCANS:
            return f"damaged JPEG: more than {MOST_SCANS} scans"
        n = data[scan + 4]
        first, end, low = (*data[scan + 5 + 2 * n : scan + 8 + 2 * n], 0, 0, 0)[:3] if progressive else (0, 63, 0)
        for i in range(n):
            mine = left.get(data[scan + 5 + 2 * i] if scan + 5 + 2 * i < len(data) else -1)
            if mine is not None:
                mine[first : end + 1] = [low & 15] * len(mine[first : end + 1])
        if n_scans == 1 and not progressive and n == len(components):
            return ""  # as nearly always
        scan = data.find(b"\xff\xda", scan + 2)
    if not any(map(any, left.values())):
        return ""
    return TRUNCATED if last < 0 else "truncated: scans of the picture are missing"


def of_png(data: bytes) -> str:
    """Whether the compressed data of a PNG, its first picture, are as long as its header says (PNG 3rd ed., 7)."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    needed = 0
    for left, top, right, down in passes:
        columns, rows = -(-max(width - left, 0) // right), -(-max(height - top, 0) // down)
        needed += rows * (1 + -(-columns * bits // 8)) if columns else 0
    at, inflate, n, begun = 8, zlib.decompressobj(), 0, False
    while at + 8 <= len(data) and n < needed:
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IDAT":
            begun = True
            part = data[at + 8 : at + 8 + length]
            while part and n < needed and not inflate.eof:
                n += len(inflate.decompress(part, _PIECE))
                part = inflate.unconsumed_tail
        elif begun:
            break
        at += 12 + length
    while n < needed and not inflate.eof and (more := inflate.decompress(inflate.unconsumed_tail, _PIECE)):
        n += len(more)
    return "" if n >= needed else "truncated: rows of the picture are missing"


def of_tiff_jpeg(data: bytes, tags: Mapping[int, Any]) -> str:
    """Whether the JPEGs that are the strips or tiles of a TIFF (its technical note 2) have all their rows."""
    import simplejpeg

    tables, height = tags.get(347, b""), tags.get(257, 0)
    head = tables[:-2] if isinstance(tables, bytes) and tables.startswith(b"\xff\xd8") else b"\xff\xd8"
    tiled = 324 in tags
    places, lengths = (tags.get(324), tags.get(325)) if tiled else (tags.get(273), tags.get(279))
    if not places or not lengths or len(places) != len(lengths):
        return "damaged TIFF: strips of the picture are missing"
    rows = min(tags.get(323, height) if tiled else tags.get(278, height), 2**31)
    n_down = -(-height // rows) if rows else 1
    for i, (place, length) in enumerate(zip(places, lengths, strict=True)):
        stream = head + data[place : place + length][2:]
        try:
            found, _, colours, _ = simplejpeg.decode_jpeg_header(stream)
            needed = rows if tiled else min(rows, height - i % n_down * rows)
            if found < needed:
                return "damaged TIFF: rows of a strip are missing"
            simplejpeg.decode_jpeg(stream, {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}.get(colours, "RGB"))
        except (ValueError, RuntimeError) as error:
            if reason := of_warning(str(error)):
                return reason
    return ""
