"""The files that `fuzz.py` tries: small drawn ones of every format, and what is made of them by mutation.

Execution i of a seed is always the same file.
"""

from __future__ import annotations

import io
import random
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LARGEST = 2**16  # bytes of an input
TOKENS = [
    *(bytes([0xFF, marker]) for marker in (*range(0xC0, 0xE2), 0xEE, 0xFE)),
    *(b"IHDR PLTE IDAT IEND tRNS acTL fcTL fdAT iCCP zTXt eXIf gAMA".split()),
    *(b"RIFF WEBP VP8\x20 VP8L VP8X ALPH ANIM ANMF EXIF ICCP".split()),
    *(b"ftyp meta hdlr iloc iinf infe iprp ipco ipma ispe pixi av1C hvcC".split()),
    *(b"colr irot imir auxC mdat idat grid avif heic".split()),
    b"GIF87a", b"GIF89a", b"\x21\xf9\x04", b"\x21\xff\x0bNETSCAPE2.0", b"Exif\0\0II*\0", b"Exif\0\0MM\0*", b"Adobe\0",
    b"JFIF\0", b"ICC_PROFILE\0", b"II*\0", b"MM\0*", b"II+\0", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff",
]  # fmt: skip
NUMBERS = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 63, 64, 127, 128, 255, 256, 257, 1023, 4095, 16383, 32767, 32768,
           65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)  # fmt: skip


# --- seeds


def drawn(width: int, height: int, seed: int = 0) -> Image.Image:
    """Waves, an edge and noise."""
    y, x = np.mgrid[:height, :width]
    planes = [127 + 120 * np.sin(x / 7 + y / 11), 127 + 120 * np.cos(x / 5), 250.0 * (x + y > width)]
    noise = np.random.default_rng(seed).normal(0, 12, (height, width, 3))
    return Image.fromarray((np.stack(planes, axis=2) + noise).clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A picture as the bytes of a file."""
    file = io.BytesIO()
    image.copy().save(file, kind, **options)  # a writer leaves its settings in the picture
    return file.getvalue()


def exif_block(orientation: int) -> bytes:
    """An Exif block: maker, orientation, software."""
    block = Image.Exif()
    block[0x010F], block[0x0112], block[0x0131] = "Maker", orientation, "Some program"
    return block.tobytes()


def seeds() -> dict[str, bytes]:
    """Small files by name; the name begins with the format, as `pictures` has it, and a dash."""
    image, other = drawn(40, 30), drawn(40, 30, 1)
    alpha = image.copy()
    alpha.putalpha(other.convert("L"))
    deep = Image.fromarray((np.asarray(image.convert("L")).astype(np.uint16) << 8) + 77)
    palette = image.quantize(40)
    found: dict[str, bytes] = {}
    for name, options in {
        "444": {"subsampling": 0}, "420": {"subsampling": 2}, "progressive": {"progressive": True},
        "restarts": {"restart_marker_blocks": 3}, "exif": {"exif": exif_block(6)}, "low": {"quality": 5},
        "progressive-restarts": {"progressive": True, "restart_marker_rows": 1, "subsampling": 0},
    }.items():  # fmt: skip
        found[f"JPEG-{name}"] = saved(image, "JPEG", **options)
    found["JPEG-grey"] = saved(image.convert("L"), "JPEG")
    found["JPEG-grey-progressive"] = saved(image.convert("L"), "JPEG", progressive=True)
    found["JPEG-cmyk"] = saved(image.convert("CMYK"), "JPEG")
    found["JPEG-large"] = saved(drawn(160, 120), "JPEG", quality=40)
    found["JPEG-mpo"] = saved(image, "MPO", save_all=True, append_images=[other.copy()])
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        found[f"PNG-{mode}"] = saved(alpha.convert(mode), "PNG")
    found["PNG-16"] = saved(deep, "PNG")
    found["PNG-exif"] = saved(image, "PNG", exif=exif_block(3))
    found["PNG-key"] = saved(palette, "PNG", transparency=3)
    found["PNG-animated"] = saved(image, "PNG", save_all=True, append_images=[other.copy()])
    for colour, depth in ((0, 1), (0, 8), (2, 8), (3, 4), (6, 8), (4, 16), (2, 16)):
        found[f"PNG-interlaced-{colour}-{depth}"] = interlaced(17, 13, depth, colour)
    found["GIF-plain"] = saved(palette, "GIF", interlace=0)
    found["GIF-interlaced"] = saved(palette, "GIF", interlace=1)
    found["GIF-key"] = saved(palette, "GIF", transparency=2)
    found["GIF-animated"] = saved(palette, "GIF", save_all=True, append_images=[other.quantize(20)])
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        found[f"BMP-{mode}"] = saved(alpha.convert(mode), "BMP")
    found["BMP-rle"] = bmp_rle(20, 10)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"):
        through = {"YCbCr": "RGB", "LAB": "RGB", "CMYK": "RGB", "I": "L", "F": "L"}.get(mode, "RGBA")
        source = deep if mode == "I;16" else alpha.convert(through).convert(mode)
        found[f"TIFF-{mode}"] = saved(source, "TIFF")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma"):
        found[f"TIFF-{compression}"] = saved(image, "TIFF", compression=compression)
    for compression in ("group3", "group4", "tiff_ccitt"):
        found[f"TIFF-{compression}"] = saved(image.convert("1"), "TIFF", compression=compression)
    found["TIFF-strips"] = saved(image, "TIFF", tiffinfo={278: 5, 0x0112: 6})
    found["TIFF-pages"] = saved(image, "TIFF", save_all=True, append_images=[other.copy()])
    found["TIFF-big"] = saved(image, "TIFF", big_tiff=True)
    found["WEBP-lossy"] = saved(image, "WEBP")
    found["WEBP-lossless"] = saved(image, "WEBP", lossless=True)
    found["WEBP-alpha"] = saved(alpha, "WEBP", exif=exif_block(8))
    found["WEBP-animated"] = saved(image, "WEBP", save_all=True, append_images=[other.copy()], duration=100)
    found["AVIF-plain"] = saved(image, "AVIF")
    found["AVIF-alpha"] = saved(alpha, "AVIF", exif=exif_block(2))
    found["AVIF-animated"] = saved(image, "AVIF", save_all=True, append_images=[other.copy()])
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    try:
        from test_pictures import HEIC
    except ImportError:  # the tests are not there, or what they need
        pass
    else:
        found["HEIC-plain"] = HEIC
    finally:
        del sys.path[0]
    return found


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def interlaced(width: int, height: int, depth: int, colour: int) -> bytes:
    """An interlaced PNG of noise."""
    bits, rows = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour], b""
    noise = random.Random(depth)
    for left, top, right, down in (
        (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
    ):  # fmt: skip
        columns = -(-max(width - left, 0) // right)
        for _ in range(-(-max(height - top, 0) // down) if columns else 0):
            rows += bytes([noise.randrange(5)]) + noise.randbytes(-(-columns * bits // 8))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 1)
    palette = chunk(b"PLTE", noise.randbytes(3 * 2 ** min(depth, 8))) if colour == 3 else b""
    body = chunk(b"IHDR", head) + palette + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bmp_rle(width: int, height: int) -> bytes:
    """A BMP of 8 bits, run-length encoded, with all of its escapes."""
    row = bytes([width - 6, 9, 0, 4, 1, 2, 3, 4, 2, 200, 0, 0])
    data, palette = row * height + b"\0\1", bytes(i // 4 for i in range(1024))
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 2835, 2835, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(data), 0, 0, 54 + 1024) + head + palette + data


# --- mutations


def mutated(chance: random.Random, name: str, corpus: dict[str, bytes], names: list[str]) -> bytes:
    """A seed, changed in a few ways, its checksums repaired in most cases."""
    data = bytearray(corpus[name])
    format = name.split("-")[0]
    inflated = format == "PNG" and chance.random() < 0.3
    if inflated:
        _in_idat(chance, data)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5, 9)) if not inflated or chance.random() < 0.5 else 0):
        _step(chance, data, format, corpus, names)
    if format == "PNG" and chance.random() < 0.9:
        data = _png_repaired(data)
    if format == "WEBP" and chance.random() < 0.7:
        data[4:8] = struct.pack("<I", max(len(data) - 8, 0))
    return bytes(data[:LARGEST])


def _step(chance: random.Random, data: bytearray, format: str, corpus: dict[str, bytes], names: list[str]) -> None:
    n = len(data)
    if n < 8:
        data.extend(chance.randbytes(8))
        return
    # Most of what a decoder believes stands at the begin, except in TIFF.
    at = chance.randrange(n) if format == "TIFF" or chance.random() < 0.6 else chance.randrange(min(n, 200))
    kind = chance.randrange(12)
    if kind == 0:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        data[at] = chance.randrange(256)
    elif kind == 2:
        for i in range(at, min(at + chance.randrange(1, 16), n)):
            data[i] = chance.choice((0, 255, chance.randrange(256)))
    elif kind == 3:  # a number where one may be
        number, order = chance.choice(NUMBERS), chance.choice("<>")
        size, code = chance.choice(((1, "B"), (2, "H"), (4, "I")))
        data[at : at + size] = struct.pack(order + code, number & (256**size - 1))[: n - at]
    elif kind == 4:
        del data[max(at, 8) :]
    elif kind == 5:
        del data[at : at + chance.choice((1, 2, 4, chance.randrange(1, 64)))]
    elif kind == 6:
        data[at:at] = chance.randbytes(chance.choice((1, 2, 4, 20)))
    elif kind == 7:
        part, to = data[at : at + chance.randrange(1, 64)], chance.randrange(n)
        data[to : to + len(part)] = part
    elif kind == 8:
        part = data[at : at + chance.randrange(1, 200)]
        data[at:at] = part * chance.choice((1, 1, 3, 30))
    elif kind == 9:
        other = corpus[chance.choice(names)] if chance.random() < 0.2 else corpus[chance.choice(_like(names, format))]
        cut = chance.randrange(len(other))
        data[at:] = other[cut : cut + chance.choice((16, 256, len(other)))] + data[at + 256 :]
    elif kind == 10:
        token = chance.choice(TOKENS)
        if chance.random() < 0.5:
            data[at:at] = token
        else:
            data[at : at + len(token)] = token
    else:
        _field(chance, data, format)


def _like(names: list[str], format: str) -> list[str]:
    return [name for name in names if name.startswith(format)]


def _field(chance: random.Random, data: bytearray, format: str) -> None:
    """Set a field that the format has: a size, a length, a kind."""
    number = chance.choice((chance.choice(NUMBERS), chance.randrange(1, 300), chance.randrange(1, 70_000)))
    if format == "PNG" and len(data) > 29:
        at, size = chance.choice(((16, 4), (20, 4), (24, 1), (25, 1), (28, 1)))
        data[at : at + size] = (number % 256**size).to_bytes(size, "big")
    elif format == "BMP" and len(data) > 54:
        at, size = chance.choice(((10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 4), (34, 4), (46, 4)))
        signed = -number if at == 22 and chance.random() < 0.5 else number
        data[at : at + size] = (signed % 256**size).to_bytes(size, "little")
    elif format == "GIF" and len(data) > 13:
        start = data.find(b"\x2c", 13) if chance.random() < 0.5 else 5
        at = (start if start >= 0 else 5) + chance.choice((1, 3, 5, 7))
        data[at : at + 2] = struct.pack("<H", number % 65536)
    elif format == "JPEG":
        places = [i for i in range(2, len(data) - 9) if data[i] == 255 and 0xC0 <= data[i + 1] <= 0xFE]
        if places:
            at = chance.choice(places)
            offset = chance.choice((2, 5, 7)) if 0xC0 <= data[at + 1] <= 0xCF else chance.choice((2, 4, 5))
            data[at + offset : at + offset + 2] = struct.pack(">H", number % 65536)
    elif format == "TIFF":
        order = "<" if data[:2] == b"II" else ">"
        (start,) = struct.unpack_from(order + "I", data, 4)
        if start + 2 <= len(data):
            (n,) = struct.unpack_from(order + "H", data, start)
            at = start + 2 + 12 * chance.randrange(max(min(n, 30), 1))
            offset, code = chance.choice(((0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H")))
            if at + 12 <= len(data):
                struct.pack_into(order + code, data, at + offset, number % 256 ** (2 if code == "H" else 4))
    elif format in {"AVIF", "HEIC"}:
        places = [data.find(token) for token in TOKENS if len(token) == 4]
        places = [place for place in places if place >= 4]
        if places:
            at = chance.choice(places) + chance.choice((-4, 4, 8, 12, 16))
            data[at : at + 4] = struct.pack(">I", number % 2**32)
    elif format == "WEBP" and len(data) > 34:
        at = chance.choice((4, 16, 20, 24, 26, 28, 30))
        data[at : at + 4] = struct.pack("<I", number % 2**32)


def _png_repaired(data: bytearray) -> bytearray:
    """The same chunks, each with the checksum that it should have."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            length = len(data) - at - 12
        out += chunk(bytes(data[at + 4 : at + 8]), bytes(data[at + 8 : at + 8 + length]))
        at += 12 + length
    return out + data[at:]


def _in_idat(chance: random.Random, data: bytearray) -> None:
    """Change the rows of a PNG behind its compression: filters, values, how many there are."""
    at = data.find(b"IDAT")
    if at < 4:
        return
    length = int.from_bytes(data[at - 4 : at], "big")
    try:
        rows = bytearray(zlib.decompress(data[at + 4 : at + 4 + length]))
    except zlib.error:
        return
    for _ in range(chance.choice((1, 3, 10))):
        if rows:
            rows[chance.randrange(len(rows))] = chance.randrange(256)
    kind = chance.randrange(4)
    if kind == 0:
        del rows[chance.randrange(len(rows) + 1) :]
    elif kind == 1:
        rows += chance.randbytes(chance.randrange(300))
    data[at - 4 : at + 8 + length] = chunk(b"IDAT", zlib.compress(bytes(rows), 1))


def input_of(execution: int, seed: int, corpus: dict[str, bytes], names: list[str]) -> tuple[str, bytes]:
    """The seed's name and the file of one execution."""
    chance = random.Random(f"{seed} {execution}")
    name = names[execution % len(names)]
    return name, mutated(chance, name, corpus, names)
