"""`wholeness`: what a decoder would make up is named, in every format, and what is merely odd is read."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tellapart import pictures, wholeness
from tellapart.errors import PictureError
from test_pictures import chunk, drawn, encode, png, reason

IMAGE = drawn(90, 120)
TRUNCATED = "truncated: the file ends before the picture does"
SCANS = "truncated: scans of the picture are missing"
ROWS = "truncated: rows of the picture are missing"


def jpeg(**options) -> bytes:
    return encode(IMAGE, "JPEG", quality=80, **options)


def markers(data: bytes, *kinds: int) -> list[int]:
    return [i for i in range(len(data) - 1) if data[i] == 0xFF and data[i + 1] in kinds]


def opens(data: bytes) -> bool:
    try:
        return pictures.decode(data).pixels.size > 0
    except PictureError:
        return False


# --- JPEG


@pytest.mark.parametrize("subsampling", [0, 2])
def test_blocks_lost_between_restart_markers_are_named(subsampling) -> None:
    data = jpeg(subsampling=subsampling, restart_marker_rows=1)
    restarts = markers(data, *range(0xD0, 0xD8))
    assert opens(data)
    for spoilt, found in (
        (data[: restarts[1]] + data[restarts[2] :], "found marker 0xd2 instead of RST1"),
        (data[: restarts[2]] + data[restarts[2] + 2 :], "extraneous bytes before marker 0xd3"),
    ):
        for prepared in (spoilt, spoilt.replace(b"JFIF\0\1\1", b"JFIF\0\0\0")):  # a harmless warning before it
            assert reason(prepared).startswith("damaged JPEG: Corrupt JPEG data: ")
            assert reason(prepared).endswith(found)


def test_a_harmless_warning_hides_no_missing_end() -> None:
    """libjpeg tells of its first warning alone."""
    data = jpeg()
    cut = data[:-400] + b"\xff\xd9"
    table = data.index(b"\xff\xdb")
    scan = data.index(b"\xff\xda")
    n = data[scan + 4]
    spoils = {
        "revision": lambda d: d.replace(b"JFIF\0\1\1", b"JFIF\0\0\0"),
        "stray bytes": lambda d: d[:table] + b"\0\0\0" + d[table:],
        "scan parameters": lambda d: d[: scan + 5 + 2 * n] + b"\0\5\0" + d[scan + 8 + 2 * n :],
    }
    for name, spoil in spoils.items():
        assert opens(spoil(data)), name
        assert reason(spoil(cut)) == TRUNCATED, name


def test_a_cmyk_jpeg_without_its_end_is_named() -> None:
    data = encode(IMAGE.convert("CMYK"), "JPEG")
    assert opens(data)
    assert reason(data[: len(data) // 2] + b"\xff\xd9") == TRUNCATED


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_missing_scans_are_named(mode) -> None:
    data = encode(IMAGE.convert(mode), "JPEG", progressive=True)
    scans = markers(data, 0xDA)
    assert len(scans) == (10 if mode == "RGB" else 6)
    assert opens(data)
    for kept in range(1, len(scans)):
        assert reason(data[: scans[kept]] + b"\xff\xd9") == SCANS
        with pytest.raises(PictureError, match="scans"):
            pictures.decode(data[: scans[kept]] + b"\xff\xd9", at_least_px=16)


def test_the_scans_of_a_sequential_jpeg_are_counted_too() -> None:
    """Three components in three scans, as the standard allows: the first alone is a grey picture, and is not enough."""
    frame = b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, 8, 8, 3) + bytes([1, 17, 0, 2, 17, 0, 3, 17, 0])
    scans = [b"\xff\xda\0\x08\1" + bytes([component, 0, 0, 63, 0]) + b"\x12" for component in (1, 2, 3)]
    assert wholeness.of_scans(frame + b"".join(scans) + b"\xff\xd9") == ""
    assert wholeness.of_scans(frame + scans[0] + b"\xff\xd9") == SCANS
    assert wholeness.of_scans(frame + b"\xff\xd9" + b"".join(scans)) == SCANS  # behind the end
    assert wholeness.of_scans(frame + b"\xff\xda\0\x0c\3" + bytes([1, 0, 2, 0, 3, 0, 0, 63, 0]) + b"\xff\xd9") == ""


def test_more_scans_than_anyone_needs_are_refused_at_once() -> None:
    data = encode(IMAGE.convert("L"), "JPEG", progressive=True)
    last = markers(data, 0xDA)[-1]
    assert wholeness.of_scans(data[:last] + 100 * data[last:-2] + data[-2:]) == ""
    assert reason(data[:last] + 600 * data[last:-2] + data[-2:]) == "damaged JPEG: more than 500 scans"


# --- PNG


def test_rows_that_are_missing_cleanly_are_named() -> None:
    """The compressed data end as they should, at the end of a row."""
    row = b"\0" + bytes(range(100))
    whole = png(100, 50, 8, 0, row * 50)
    np.testing.assert_array_equal(pictures.decode(whole).pixels[:, :, 0], np.tile(np.arange(100), (50, 1)))
    for n in (0, 1, 20, 49):
        assert reason(png(100, 50, 8, 0, row * n)) in {ROWS, TRUNCATED}
    assert reason(png(100, 50, 8, 0, row * 20)) == ROWS
    black = png(100, 50, 8, 0, bytes(101) * 50)  # and black rows are rows
    assert not pictures.decode(black).pixels.any()
    assert opens(png(100, 50, 8, 0, row * 60))  # too many are of no harm


@pytest.mark.parametrize(
    ("colour", "depth", "row_bytes"), [(0, 1, 2), (0, 16, 18), (2, 8, 27), (3, 4, 5), (4, 8, 18), (6, 16, 72)]
)
def test_the_length_of_rows_by_hand(colour, depth, row_bytes) -> None:
    """9 pixels a row: 9 x samples x bits, in whole bytes, and one for the filter."""
    palette = chunk(b"PLTE", bytes(48)) if colour == 3 else b""
    rows = bytes(row_bytes + 1) * 7
    assert wholeness.of_png(png(9, 7, depth, colour, rows, palette)) == ""
    assert wholeness.of_png(png(9, 7, depth, colour, rows[:-1], palette)) == ROWS


def test_the_passes_of_an_interlaced_png() -> None:
    """3 x 3 pixels: passes 1, 4, 5, 6, 7 have 1 x 1, 1 x 1, 2 x 1, 1 x 2 and 3 x 1; the others have none (PNG, 8.2)."""
    passes = [[(1, 1)], [(1, 1)], [(2, 1)], [(1, 2)], [(3, 1)]]
    rows = [b"".join(bytes(1 + columns) * n for columns, n in each) for each in passes]

    def file(raw: bytes) -> bytes:
        head = struct.pack(">IIBBBBB", 3, 3, 8, 0, 0, 0, 1)
        body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + body

    assert wholeness.of_png(file(b"".join(rows))) == ""
    assert opens(file(b"".join(rows)))
    for n in range(5):
        assert wholeness.of_png(file(b"".join(rows[:n]))) == ROWS
        assert not opens(file(b"".join(rows[:n])))


# --- TIFF


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    at = data.index(struct.pack("<HHI", tag, 4, 1)) if struct.pack("<HHI", tag, 4, 1) in data else -1
    if at < 0:
        at = data.index(struct.pack("<HHI", tag, 3, 1))
    return data[: at + 8] + struct.pack("<I", value) + data[at + 12 :]


def test_the_jpegs_within_a_tiff_have_all_their_rows() -> None:
    data = encode(IMAGE, "TIFF", compression="jpeg")
    assert opens(data)
    (length,) = struct.unpack_from("<I", data, data.index(struct.pack("<HHI", 279, 4, 1)) + 8)
    assert reason(with_tag(data, 279, length // 2)) == TRUNCATED
    taller = with_tag(with_tag(data, 257, 180), 278, 180)
    assert reason(taller) == "damaged TIFF: rows of a strip are missing"
    for options in ({"tiffinfo": {278: 16}}, {"tiffinfo": {278: 16, 0x0112: 6}}):
        assert opens(encode(IMAGE, "TIFF", compression="jpeg", **options))


# --- all formats


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG"])
@pytest.mark.parametrize("colour", [0, 128])
def test_a_file_that_is_cut_gives_no_pixels_that_it_has_not(kind, colour) -> None:
    """Also of one colour, where a row that is missing looks like one that is there."""
    image = Image.new("RGB", (64, 48), (colour,) * 3)
    image.paste(drawn(20, 64), (0, 0))
    data = encode(image, kind)
    whole = pictures.decode(data).pixels
    for share in (0.25, 0.5, 0.75, 0.95):
        try:
            pixels = pictures.decode(data[: int(len(data) * share)]).pixels
        except PictureError:
            continue
        np.testing.assert_array_equal(pixels, whole)  # what was cut off was not of the picture


def test_gif_strips_of_compressed_data_that_end_early() -> None:
    data = encode(IMAGE.quantize(64), "GIF", interlace=0)
    file = io.BytesIO(data)
    with Image.open(file) as image:
        offset = image.tile[0].offset
    end = offset
    while data[end]:
        end += data[end] + 1
        if end > (offset + len(data)) // 2:
            break
    assert reason(data[:end] + b"\0;") == TRUNCATED
