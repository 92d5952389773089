"""Picture files that are small and cost a decoder much."""

from __future__ import annotations

import struct
import zlib


def slow_jpeg(scans: int = 480, side: int = 5000) -> bytes:
    """A grey progressive JPEG, by the letter and small, of nearly as many scans as are read: each is over all of it.

    One coefficient after the other comes in 14 scans, a bit in each, and all are 0: so a scan has nothing but runs of
    blocks that end before they begin.
    """
    n_blocks = (-(-side // 8)) ** 2
    dc = _segment(0xC4, b"\0" + bytes([1, *15 * [0]]) + b"\0")  # one code, of one bit
    ac = _segment(0xC4, b"\x10" + bytes([0, 0, 0, 15, *12 * [0]]) + bytes(r << 4 for r in range(15)))  # fifteen of 4
    text, left = "", n_blocks
    while left:
        r = min(left.bit_length() - 1, 14)
        n = min(left, 2 ** (r + 1) - 1)
        text += f"{r:04b}" + (f"{n - 2**r:0{r}b}" if r else "")
        left -= n
    text += -len(text) % 8 * "1"
    runs = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    parts = [
        b"\xff\xd8",
        _segment(0xDB, b"\0" + bytes(64 * [16])),
        _segment(0xC2, struct.pack(">BHHBBBB", 8, side, side, 1, 1, 0x11, 0)),
        dc,
        ac,
        _scan(0, 0, 0, 0, bytes(-(-n_blocks // 8))),
    ]
    at = 1
    while 14 * at <= scans and at < 63:
        parts += [_scan(at, at, 0 if low == 13 else low + 1, low, runs) for low in range(13, -1, -1)]
        at += 1
    return b"".join(parts) + _scan(at, 63, 0, 0, runs) + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def _scan(first: int, last: int, before: int, low: int, data: bytes) -> bytes:
    """A scan of coefficients `first` to `last` down to bit `low`; `before` is the bit that they are known to."""
    return _segment(0xDA, bytes([1, 1, 0, first, last, before << 4 | low])) + data


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
