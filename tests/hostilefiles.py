"""Picture files that are small and cost a decoder much."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def slow_jpeg(scans: int = 20_000, side: int = 2000) -> bytes:
    """A progressive JPEG whose last scan stands there very often: each is decoded over all of the picture."""
    file = io.BytesIO()
    Image.new("L", (side, side), 90).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + scans * data[last:-2] + data[-2:]


def png_of(side: int) -> bytes:
    """The beginning of a PNG of side × side px: what it says of itself, and one row."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, content)
        for kind, content in (
            (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(b"\0" + bytes(3 * side))),
            (b"IEND", b""),
        )
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
