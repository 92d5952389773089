"""`pictures`: what comes out of the files people have, and of those that somebody broke."""

from __future__ import annotations

import base64
import io
import os
import random
import socket
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, ImageOps

from tellapart import exif, kinds, pictures, samples
from tellapart.errors import PictureError

SOURCE = Path(pictures.__file__).parents[1]


# --- makers


def encode(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def drawn(height: int, width: int, seed: int = 0) -> Image.Image:
    """Waves, an edge and noise: smooth and rough parts, of every colour."""
    y, x = np.mgrid[:height, :width]
    planes = [127 + 120 * np.sin(x / 7 + y / 11), 127 + 120 * np.cos(x / 5), 250.0 * (x + y > width)]
    noise = np.random.default_rng(seed).normal(0, 12, (height, width, 3))
    return Image.fromarray((np.stack(planes, axis=2) + noise).clip(0, 255).astype(np.uint8))


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, before: bytes = b"") -> bytes:
    """A PNG of raw rows, each with its filter byte 0 before it."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + end


def tiff(width: int, height: int, bits: int, photometric: int, sample_format: int, strip: bytes) -> bytes:
    """A little-endian TIFF of one uncompressed grey strip."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, len(strip)), (339, 3, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory


def exif_block(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """An Exif block of two tags; `kind` 3 is SHORT, 4 is LONG."""
    value = struct.pack(order + ("HH" if kind == 3 else "I"), *([orientation, 0] if kind == 3 else [orientation]))
    entries = struct.pack(order + "HHII", 0x0100, 4, 1, 7) + struct.pack(order + "HHI", 0x0112, kind, 1) + value
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return b"Exif\0\0" + start + struct.pack(order + "H", 2) + entries + bytes(4)


def lab_profile(lightness: float) -> bytes:
    """A CMYK profile (ICC.1, lut8): paper is white, full black black, any other full ink grey of this L*."""
    ramp = bytes(range(256))
    grey, black = bytes([round(lightness * 2.55), 128, 128]), bytes([0, 128, 128])
    grid = bytes([255, 128, 128]) + black + (grey + black) * 7
    matrix = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 16)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + grid + ramp * 3
    table += bytes(-len(table) % 4)
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    head = struct.pack(">II", 144 + len(table), 0) + struct.pack(">I", 0x02400000) + b"prtrCMYKLab " + bytes(12)
    head += b"acsp" + bytes(28) + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + tags + table


def with_exif(data: bytes, block: bytes) -> bytes:
    """Put an Exif segment behind the first two bytes of a JPEG."""
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


def outcome(data: bytes, at_least_px: int | None = None) -> np.ndarray | str:
    """The pixels, or the reason why there are none."""
    try:
        return pictures.decode(data, at_least_px=at_least_px).pixels
    except PictureError as error:
        return error.reason


def reason(data: bytes) -> str:
    with pytest.raises(PictureError) as caught:
        pictures.decode(data)
    assert caught.value.reason.isprintable()  # so it is one line
    return caught.value.reason


def grey_row(data: bytes) -> list[int]:
    """The first row of a picture that must be grey."""
    pixels = pictures.decode(data).pixels
    assert (pixels == pixels[:, :, :1]).all()
    return pixels[0, :, 0].tolist()


HEIC = base64.b85decode(  # 64 x 48: a white band of 8 rows over red (left) and blue (right)
    "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0004fZDn*}000000000XXk=`10000000000aA{+700000000000000000000B57=I"
    "V*mgE07O6l0RRC200001p#T8@00000004gg001LtX>Mi!000000RR916=`l}WdZ;I000310BCk&F#rGn01j|zbZr0t000010002}"
    "X>f9I0002pX>en20001XXm(>m0RwOV0058x000009`FGC{rLC*01pFT0096PKmiN^|NjGU00093kN^M!000939=ZZRVE_RDDnbDP"
    "18@KU0|1Z!00RI30{|YNAb|yz>g1-mxCm%4AOHXZ10VnZ0{|gn00967L;=Bbz=;3=025<xY;ta6Y<K_x01W^JfB*mh6lrsCWdHyG"
    "00000KmY&$KmY&$C}V74Z~y=RKmY&$0RR91FaQ7m0RR91000000{{R2@Bjb+0ssI25O8UDX#fBK00RgJ2mk;87-?{AVE_OC00000"
    "0RRC7fdT^sga7~lhiznGbN~PVdnf^~3E&h|U+ew;2|;pS{1e~))jKYgLr}zU!#5;40FU`&<az0%`=zooE_vx{PlbtyA$edH0EXT|"
    "_UvUQnE?KFBcieC-6E-^l0Fm_Q5U}Z@Sg$lQEL_iqw;egU=^D{;MbnL4B$%!@6j>vEbfb1cT@l=(Ih-z"
)
SMALL = drawn(24, 32)
FILES = {
    "JPEG": encode(SMALL, "JPEG", quality=95),
    "PNG": encode(SMALL, "PNG"),
    "GIF": encode(SMALL, "GIF"),
    "WEBP": encode(SMALL, "WEBP"),
    "BMP": encode(SMALL, "BMP"),
    "TIFF": encode(SMALL, "TIFF", compression="tiff_lzw"),
    "AVIF": encode(SMALL, "AVIF"),
}


# --- what a file is


@pytest.mark.parametrize("format", FILES)
def test_each_format_is_known_by_its_bytes_and_comes_out_whole(format):
    data = FILES[format]
    assert kinds.sniff(data[:32]) == format
    picture = pictures.decode(data)
    assert (picture.format, picture.width_px, picture.height_px) == (format, 32, 24)
    assert picture.pixels.shape == (24, 32, 3)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.c_contiguous
    assert picture.pixels.flags.writeable
    if format in {"PNG", "BMP", "TIFF"}:
        np.testing.assert_array_equal(picture.pixels, np.asarray(SMALL))
    else:
        assert np.abs(picture.pixels.astype(int) - np.asarray(SMALL)).mean() < 20


@pytest.mark.parametrize(
    ("head", "format"),
    [
        (b"", None),
        (b"BMW is a maker of cars, not a picture.", None),
        (b"GIF90a" + bytes(26), None),
        (b"RIFF\x24\0\0\0WAVEfmt " + bytes(16), None),
        (b"MM\0+\0\x08\0\0" + bytes(24), "TIFF"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0miafMA1Bavif" + bytes(8), "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(8), "HEIC"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp41avc1" + bytes(8), None),
        (HEIC[:32], "HEIC"),
    ],
)
def test_sniff(head, format):
    assert kinds.sniff(head) == format


def test_extensions_are_lower_case_with_a_dot():
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".avif", ".heic"} <= kinds.PICTURE_EXTENSIONS
    assert all(e.startswith(".") and e == e.lower() for e in kinds.PICTURE_EXTENSIONS)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty file (0 bytes)"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html><title>404</title>", "not a picture: it begins like HTML"),
        (b"%PDF-1.7 ....", "not a picture: it begins like PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture: it begins like PostScript"),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            "a kind of picture that is not read here (SVG); save it",
        ),
        (
            b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(20),
            "a kind of picture that is not read here (JPEG 2000); save it",
        ),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp41avc1", "not a picture: it begins like a video (MP4 or MOV)"),
        (bytes(100), "not a picture: it begins with zero bytes only"),
        (b"\x01\x02abcdefgh", "not a picture: unknown first bytes 01 02 61 62 63 64 65 66"),
    ],
)
def test_what_is_not_a_picture_is_named(data, expected):
    assert reason(data).startswith(expected)


# --- depths, modes, transparency


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(8, 1, 1, 0, b"\0\xa5"), [255, 0, 255, 0, 0, 255, 0, 255]),
        (png(4, 1, 2, 0, b"\0\x1b"), [0, 85, 170, 255]),
        (png(2, 1, 4, 0, b"\0\x3f"), [51, 255]),
        (png(2, 1, 8, 0, b"\0\x07\xfe"), [7, 254]),
        (png(4, 1, 16, 0, b"\0" + struct.pack(">4H", 0, 257, 0x1234, 65535)), [0, 1, 0x12, 255]),
        # grey + alpha over white: 0 at alpha 0, 51 and 255 is 255, 204 and 0
        (png(3, 1, 8, 4, b"\0\0\0\0\x33\0\xff"), [255, 204, 0]),
        (png(2, 1, 16, 4, b"\0" + struct.pack(">4H", 0, 0x3333, 0x8080, 65535)), [204, 128]),
        # RGBA over white
        (png(2, 1, 8, 6, b"\0" + bytes([10, 10, 10, 255, 0, 0, 0, 102])), [10, 153]),
        # one transparent value, given in the depth of the file
        (png(8, 1, 1, 0, b"\0\xa5", chunk(b"tRNS", b"\0\0")), [255] * 8),
        (png(4, 1, 2, 0, b"\0\x1b", chunk(b"tRNS", b"\0\1")), [0, 255, 170, 255]),
        (png(2, 1, 8, 0, b"\0\x07\x08", chunk(b"tRNS", b"\0\x07")), [255, 8]),
        (png(2, 1, 8, 2, b"\0" + bytes([7] * 3 + [8] * 3), chunk(b"tRNS", b"\0\7\0\7\0\7")), [255, 8]),
        (png(2, 1, 16, 0, b"\0\x12\x34\x12\x35", chunk(b"tRNS", b"\x12\x34")), [255, 0x12]),
        (png(2, 1, 16, 2, b"\0" + b"\x12\3" * 3 + b"\x56\7" * 3, chunk(b"tRNS", b"\x12\3" * 3)), [255, 0x56]),
        # palette: black, black at alpha 51, grey 9
        (
            png(4, 1, 2, 3, b"\0\x18", chunk(b"PLTE", bytes(6) + b"\t\t\t") + chunk(b"tRNS", b"\xff\x33")),
            [0, 204, 9, 0],
        ),
        (png(2, 1, 1, 3, b"\0\x40", chunk(b"PLTE", bytes(6)) + chunk(b"tRNS", b"\0\xff")), [255, 0]),
    ],
)  # fmt: skip
def test_png_depths_and_transparency_by_hand(data, expected):
    assert grey_row(data) == expected


def test_a_16_bit_colour_png_is_scaled_as_opencv_reads_it():
    values = np.random.default_rng(1).integers(0, 65536, (9, 11, 3), dtype=np.uint16)
    data = cv2.imencode(".png", values)[1].tobytes()
    deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert deep is not None
    np.testing.assert_array_equal(deep, values)
    np.testing.assert_array_equal(pictures.decode(data).pixels, (deep >> 8)[:, :, ::-1])


@pytest.mark.parametrize("alpha", [0, 1, 100, 254, 255])
def test_transparency_lies_over_white(alpha):
    colours = np.random.default_rng(alpha).integers(0, 256, (5, 7, 3))
    rgba = np.dstack([colours, np.full((5, 7), alpha)]).astype(np.uint8)
    expected = (colours * alpha + 255 * (255 - alpha)) / 255
    for format, options in [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})]:
        pixels = pictures.decode(encode(Image.fromarray(rgba), format, **options)).pixels
        assert np.abs(pixels - expected).max() <= 1, format


def deep(values: list[float], dtype: str, bits: int, sample_format: int, photometric: int = 1) -> bytes:
    return tiff(len(values), 1, bits, photometric, sample_format, np.array(values, dtype).tobytes())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (deep([0, 257, 40000, 65535], "<u2", 16, 1), [0, 1, 156, 255]),
        (deep([0, 65535], "<u2", 16, 1, photometric=0), [255, 0]),  # white is zero
        (tiff(2, 1, 12, 1, 1, b"\x80\x0f\xff"), [128, 255]),  # 0x800 and 0xfff of 12 bits
        (deep([0, 257, 65535], "<u4", 32, 1), [0, 1, 255]),
        (deep([-100, 0, 100], "<i4", 32, 2), [0, 128, 255]),  # stretched; 127.5 to the even number
        (deep([0, 100_000], "<i4", 32, 2), [0, 255]),
        (deep([-1, 0, 1], "<i2", 16, 2), [0, 128, 255]),
        (deep([0.2, 0.4, 1.0], "<f4", 32, 3), [51, 102, 255]),
        (deep([-1, 0, 4], "<f4", 32, 3), [0, 51, 255]),
        (deep([0, 1000], "<f4", 32, 3), [0, 255]),
        (deep([np.nan, 2, 4, np.inf, -np.inf], "<f4", 32, 3), [0, 0, 255, 255, 0]),
        (deep([np.nan, np.nan], "<f4", 32, 3), [0, 0]),
        (deep([7.5, 7.5], "<f4", 32, 3), [0, 0]),
        (deep([-3e38, 3e38], "<f4", 32, 3), [0, 255]),
    ],
)
def test_deep_tiff_is_scaled_by_hand(data, expected):
    assert grey_row(data) == expected


def test_a_sound_file_of_an_unknown_kind_is_not_called_damaged():
    colour = cv2.imencode(".tif", np.zeros((2, 2, 3), np.float32))[1].tobytes()
    assert reason(colour) == "a kind that is not read here of TIFF: unknown pixel mode"


def test_big_endian_16_bit_tiff():
    values = Image.frombytes("I;16B", (3, 1), struct.pack(">3H", 0, 0x1234, 65535))
    assert grey_row(encode(values, "TIFF")) == [0, 0x12, 255]


@pytest.mark.parametrize(
    ("mode", "pixel", "expected"),
    [
        ("1", 1, [255, 255, 255]),
        ("L", 77, [77, 77, 77]),
        ("LA", (0, 51), [204, 204, 204]),
        ("RGB", (1, 2, 3), [1, 2, 3]),
        ("RGBA", (255, 0, 0, 51), [255, 204, 204]),
        ("CMYK", (0, 255, 0, 0), [255, 0, 255]),
        ("CMYK", (0, 0, 0, 55), [200, 200, 200]),
        ("YCbCr", (100, 128, 128), [100, 100, 100]),
        # L* 50 is luminance 0.184, in sRGB 119 (CIE 15, IEC 61966-2-1); a* = b* = 0, with an offset of 128
        ("LAB", (128, 128, 128), [119, 119, 119]),
    ],
)
def test_modes_of_tiff(mode, pixel, expected):
    pixels = pictures.decode(encode(Image.new(mode, (3, 2), pixel), "TIFF")).pixels
    assert np.abs(pixels.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("extra", "expected"),
    [(0, 10), (1, 214), (2, 206)],  # alpha is 51, a fifth: not alpha; 10 + 255 - 51; 10/5 + 204
)
def test_the_kinds_of_alpha_in_grey_tiff(extra, expected):
    la = encode(Image.new("LA", (1, 1), (10, 51)), "TIFF")
    at = la.index(struct.pack("<HHI", 338, 3, 1))  # ExtraSamples
    assert grey_row(la[: at + 8] + struct.pack("<H", extra) + la[at + 10 :]) == [expected]


def test_palette_with_alpha_and_premultiplied_modes():
    # no writer makes files of these modes, so the step behind the opener is asked
    palette = Image.new("P", (1, 1), 3)
    palette.putpalette([0] * 9 + [100, 0, 200])
    with_alpha = palette.convert("PA")
    np.testing.assert_array_equal(samples.to_rgb(with_alpha, b""), [[[100, 0, 200]]])
    rgba = Image.new("RGBA", (1, 1), (255, 0, 0, 51)).convert("RGBa")
    np.testing.assert_array_equal(samples.to_rgb(rgba, b""), [[[255, 204, 204]]])
    hsv = Image.new("HSV", (1, 1), (0, 255, 200))
    np.testing.assert_array_equal(samples.to_rgb(hsv, b""), [[[200, 0, 0]]])


# --- CMYK


def test_cmyk_jpeg_has_its_colours_the_right_way_round():
    cyan_and_paper = Image.new("CMYK", (32, 16), (255, 0, 0, 0))
    cyan_and_paper.paste((0, 0, 0, 0), (16, 0, 32, 16))
    data = encode(cyan_and_paper, "JPEG", quality=100)
    assert b"Adobe" in data  # which means that the inks are stored inverted
    pixels = pictures.decode(data).pixels.astype(int)
    assert np.abs(pixels[:, :16] - [0, 255, 255]).max() <= 2
    assert np.abs(pixels[:, 16:] - 255).max() <= 2
    assert pictures.decode(data, at_least_px=8).pixels.shape == (8, 16, 3)


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_an_embedded_cmyk_profile_is_used(format):
    # L* 50 is grey 119 in sRGB, and the plain formula would say red
    red = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), format, icc_profile=lab_profile(50))
    assert np.abs(pictures.decode(red).pixels.astype(int) - 119).max() <= 2


@pytest.mark.parametrize("profile", [b"nonsense", lab_profile(50)[:400], lab_profile(50)[:128] + bytes(2000)])
def test_a_damaged_or_foreign_profile_counts_as_none(profile):
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (profile, srgb):
        pixels = pictures.decode(encode(red, "TIFF", icc_profile=icc)).pixels
        np.testing.assert_array_equal(pixels, np.broadcast_to([255, 0, 0], (16, 16, 3)))


# --- the two roads of JPEG


def roads(data: bytes, at_least_px: int | None) -> tuple[pictures.Picture, pictures.Picture]:
    fast = pictures._decode_jpeg_fast(data, at_least_px)
    assert fast is not None
    return fast, pictures._decode_with_pillow(data, "JPEG", at_least_px)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1", "grey"])
def test_both_roads_give_the_same_pixels(subsampling, progressive, monkeypatch):
    """Not one value differs with simplejpeg 1.9 and Pillow 13, here and on 500 photos, full and scaled.

    The 1 is left for builds that round in another way.
    """
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 2**20)  # the writer's buffer, too small by default for noise
    for seed, (height, width) in enumerate([(1, 1), (7, 5), (16, 17), (33, 47), (63, 129), (200, 301), (257, 255)]):
        image = drawn(height, width, seed)
        for quality in (30, 95):
            options = {"quality": quality, "progressive": progressive}
            if subsampling == "grey":
                data = encode(image.convert("L"), "JPEG", **options)
            else:
                data = encode(image, "JPEG", subsampling=subsampling, **options)
            for at_least_px in (None, 8, 10, 24, 64):
                fast, tolerant = roads(data, at_least_px)
                assert (fast.width_px, fast.height_px) == (tolerant.width_px, tolerant.height_px) == (width, height)
                assert fast.pixels.shape == tolerant.pixels.shape
                assert np.abs(fast.pixels.astype(int) - tolerant.pixels).max() <= 1


@pytest.mark.parametrize(
    ("width", "height", "at_least_px", "expected"),
    [
        (1000, 600, None, (600, 1000)),
        (1000, 600, 601, (600, 1000)),
        (1000, 600, 301, (600, 1000)),
        (1000, 600, 300, (300, 500)),
        (1000, 600, 150, (150, 250)),
        (1000, 600, 76, (150, 250)),
        (1000, 600, 75, (75, 125)),
        (1001, 601, 75, (76, 126)),
        (1000, 600, 1, (75, 125)),
        (15, 15, 1, (15, 15)),
        (16, 17, 1, (9, 8)),
    ],
)
def test_scaled_sizes_by_hand(width, height, at_least_px, expected):
    data = encode(Image.new("RGB", (width, height), (9, 99, 199)), "JPEG")
    picture = pictures.decode(data, at_least_px=at_least_px)
    assert picture.pixels.shape == (*expected, 3)
    assert (picture.width_px, picture.height_px) == (width, height)
    assert np.abs(picture.pixels.astype(int) - [9, 99, 199]).max() <= 3


def test_other_formats_are_not_scaled():
    assert pictures.decode(encode(drawn(80, 90), "PNG"), at_least_px=8).pixels.shape == (80, 90, 3)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d[:-2] + b"\1\2\3" * 10 + d[-2:],  # stray bytes before the end marker
        lambda d: d.replace(b"JFIF\0\1\1", b"JFIF\0\0\0"),  # an unknown revision
        lambda d: d + b"anything" * 10,  # more behind the end
        lambda d: d[:2] + b"\xff\xff\xff" + d[2:],  # fill bytes
    ],
)
def test_harmless_irregularities_change_nothing(spoil):
    data = encode(drawn(60, 70), "JPEG")
    spoilt = spoil(data)
    assert spoilt != data
    for at_least_px in (None, 16):
        expected = pictures.decode(data, at_least_px=at_least_px).pixels
        np.testing.assert_array_equal(pictures.decode(spoilt, at_least_px=at_least_px).pixels, expected)


def test_a_truncated_jpeg_is_refused_on_both_roads():
    data = encode(drawn(90, 120), "JPEG")
    for kept in (len(data) // 3, len(data) // 2, len(data) - 20, len(data) - 2):
        assert reason(data[:kept]) == "truncated: the file ends before the picture does"
        with pytest.raises(OSError, match="truncated"):
            pictures._decode_with_pillow(data[:kept], "JPEG", None)
    # an end marker or zeros put behind what is left do not mend it
    for tail in (b"\xff\xd9", bytes(5000)):
        assert reason(data[: len(data) // 2] + tail) == "truncated: the file ends before the picture does"


def test_a_multi_picture_jpeg_gives_its_first():
    first, second = drawn(40, 50, 1), drawn(40, 50, 2)
    data = encode(first, "MPO", save_all=True, append_images=[second])
    picture = pictures.decode(data)
    assert picture.format == "JPEG"
    assert np.abs(picture.pixels.astype(int) - np.asarray(first)).mean() < 15
    np.testing.assert_array_equal(picture.pixels, pictures._decode_with_pillow(data, "JPEG", None).pixels)


# --- orientation

LETTER = np.array([[[10], [20], [30]], [[40], [50], [60]]], np.uint8).repeat(3, axis=2)  # 2 rows, 3 columns
UPRIGHT = {  # the EXIF standard: where the first row and the first column of the file belong
    1: [[10, 20, 30], [40, 50, 60]],
    2: [[30, 20, 10], [60, 50, 40]],
    3: [[60, 50, 40], [30, 20, 10]],
    4: [[40, 50, 60], [10, 20, 30]],
    5: [[10, 40], [20, 50], [30, 60]],
    6: [[40, 10], [50, 20], [60, 30]],
    7: [[60, 30], [50, 20], [40, 10]],
    8: [[30, 60], [20, 50], [10, 40]],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation_by_hand(orientation):
    image, block = Image.fromarray(LETTER), exif_block(orientation)
    tags = {0x0112: orientation}
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    raw_profile = chunk(b"tEXt", b"Raw profile type exif\0" + text)
    plain = encode(image, "PNG")
    late = plain[:-12] + chunk(b"eXIf", block[6:]) + plain[-12:]
    files = [
        encode(image, "PNG", exif=block),
        late,
        plain[:33] + raw_profile + plain[33:],
        encode(image, "WEBP", lossless=True, exif=block),
        encode(image, "TIFF", tiffinfo=tags),
        encode(image, "TIFF", tiffinfo=tags, compression="tiff_adobe_deflate"),
    ]
    for data in files:
        picture = pictures.decode(data)
        assert picture.pixels[:, :, 0].tolist() == UPRIGHT[orientation]
        assert (picture.height_px, picture.width_px) == picture.pixels.shape[:2]


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation_of_jpeg_and_avif_is_as_pillow_transposes(orientation):
    image = drawn(48, 80)
    jpeg = with_exif(encode(image, "JPEG"), exif_block(orientation, ">"))
    for data in (jpeg, encode(image, "AVIF", exif=exif_block(orientation)[6:])):
        with Image.open(io.BytesIO(data)) as opened:
            expected = ImageOps.exif_transpose(opened).convert("RGB")
        picture = pictures.decode(data)
        np.testing.assert_array_equal(picture.pixels, np.asarray(expected))
        assert (picture.width_px, picture.height_px) == expected.size
    fast, tolerant = roads(jpeg, 12)
    np.testing.assert_array_equal(fast.pixels, tolerant.pixels)
    assert fast.pixels.shape[:2] == ((12, 20) if orientation < 5 else (20, 12))
    assert (fast.width_px, fast.height_px) == ((80, 48) if orientation < 5 else (48, 80))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
def test_the_orientation_is_read_as_pillow_reads_it(order, kind):
    for value in range(1, 9):
        block = exif_block(value, order, kind)
        reader = Image.Exif()
        reader.load(block)
        assert exif.orientation(block) == reader[0x0112] == value


def test_a_damaged_exif_block_never_makes_a_picture_unreadable():
    good = exif_block(6)
    jpeg = encode(SMALL, "JPEG")
    expected = pictures.decode(jpeg).pixels
    damaged = [
        b"Exif\0\0",
        good[:10],
        good[:20],
        good[:-16],
        b"Exif\0\0" + b"\xff" * 60,
        exif_block(0),
        exif_block(9),
    ]
    damaged += [good[:10] + b"\xff\xff\xff\xff" + good[14:], good[:6] + b"XX" + good[8:]]
    for block in damaged:
        for data in (with_exif(jpeg, block), jpeg[:2] + b"\xff\xe1\xff\xf0" + block):
            if data.endswith(block):  # a length beyond the end: there is no picture any more
                reason(data)
                continue
            np.testing.assert_array_equal(pictures.decode(data).pixels, expected)
            np.testing.assert_array_equal(pictures._decode_with_pillow(data, "JPEG", None).pixels, expected)
        assert pictures.decode(encode(SMALL, "PNG", exif=block)).pixels.shape == (24, 32, 3)
        assert pictures.decode(encode(SMALL, "WEBP", exif=block)).pixels.shape == (24, 32, 3)
    chance = random.Random(0)
    for _ in range(300):
        block = bytearray(good)
        for _ in range(3):
            block[chance.randrange(len(block))] = chance.randrange(256)
        assert exif.orientation(bytes(block)) in range(1, 9)


# --- animations and pages


def test_the_first_frame_is_taken():
    first, second = Image.new("RGB", (20, 10), (250, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 250))
    for format, options in [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})]:
        data = encode(first, format, save_all=True, append_images=[second], **options)
        with Image.open(io.BytesIO(data)) as opened:
            assert getattr(opened, "n_frames", 1) == 2, format
        expected = np.broadcast_to([250, 0, 0], (10, 20, 3))
        np.testing.assert_array_equal(pictures.decode(data).pixels, expected, err_msg=format)


def test_a_transparent_gif_lies_over_white():
    image = Image.new("P", (4, 2), 1)
    image.putpalette([9, 9, 9, 50, 60, 70])
    image.putpixel((0, 0), 0)
    pixels = pictures.decode(encode(image, "GIF", transparency=0)).pixels
    assert pixels[0, :2].tolist() == [[255, 255, 255], [50, 60, 70]]


# --- HEIC


def test_heic_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.setitem(sys.modules, "pi_heif.as_plugin", None)
    assert reason(HEIC) == "HEIC needs the extra: pip install 'tellapart[heic]'"


def test_heic():
    pytest.importorskip("pi_heif", reason="the extra 'heic' is not installed")
    picture = pictures.decode(HEIC)
    assert (picture.format, picture.width_px, picture.height_px) == ("HEIC", 64, 48)
    for (row, column), colour in {(3, 9): [255] * 3, (30, 9): [200, 30, 30], (30, 55): [30, 30, 200]}.items():
        assert np.abs(picture.pixels[row, column].astype(int) - colour).max() <= 6


# --- hostile files


def huge(format: str, side: int) -> bytes:
    """A file whose header says side x side pixels, with next to nothing behind it."""
    if format == "PNG":
        return png(side, side, 8, 2, bytes(10))
    data = bytearray(encode(Image.new("RGB", (8, 8)), format))
    at, layout = {"JPEG": (data.find(b"\xff\xc0") + 5, ">HH"), "GIF": (6, "<HH"), "BMP": (18, "<ii")}[format]
    data[at : at + struct.calcsize(layout)] = struct.pack(layout, side, side)
    return bytes(data)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP"])
def test_too_many_pixels_are_refused_by_the_header(format):
    expected = "30000×30000 = 900 megapixels, over the limit of 120"
    assert reason(huge(format, 30000)) == expected
    with pytest.raises(PictureError, match=expected):
        pictures.decode(huge(format, 30000), at_least_px=64)
    with pytest.raises(PictureError, match=expected):
        pictures._decode_with_pillow(huge(format, 30000), format, 64)


def test_the_limit_is_on_the_pixels_to_the_last_one():
    assert reason(png(12001, 10000, 1, 0, b"")) == "12001×10000 = 121 megapixels, over the limit of 120"
    # under the limit, where Pillow by itself would warn of a bomb, the picture is opened, and found cut short
    assert reason(png(12000, 10000, 1, 0, b"\0\0")) == "truncated: the file ends before the picture does"


@pytest.mark.parametrize("data", [huge("JPEG", 0), huge("PNG", 0), huge("BMP", 0)])
def test_no_pixels_at_all(data):
    assert reason(data).startswith(("no pixels: 0×0", "damaged ", "truncated:"))


@pytest.mark.parametrize("format", [f for f in FILES if f != "JPEG"])
def test_truncated_files_are_refused(format):
    data = FILES[format]
    for part in (0.3, 0.6, 0.8):
        assert reason(data[: int(len(data) * part)]).startswith(("truncated:", f"damaged {format}: ")), part


def test_a_tiff_with_too_few_strips_is_refused():
    whole = deep([1, 2, 3], "<u2", 16, 1)
    at = whole.index(struct.pack("<HHI", 257, 4, 1)) + 8  # the height; the strip still has one row
    assert reason(whole[:at] + b"\x09" + whole[at + 1 :]) == "damaged TIFF: strips of the picture are missing"
    # while every sound way of laying out a TIFF is read
    for options in (
        {},
        {"compression": "packbits"},
        {"tiffinfo": {278: 5}},
        {"tiffinfo": {278: 5, 0x0112: 6}},
    ):
        pixels = pictures.decode(encode(SMALL, "TIFF", **options)).pixels
        turned = 0x0112 in options.get("tiffinfo", {})
        np.testing.assert_array_equal(pixels, np.rot90(np.asarray(SMALL), -1) if turned else np.asarray(SMALL))


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt"])
def test_a_text_bomb_in_a_png_is_refused(name):
    bomb = zlib.compress(bytes(2**23), 9)
    content = b"key\0\0" + bomb if name == b"zTXt" else b"key\0\1\0\0\0" + bomb
    assert reason(png(1, 1, 8, 0, b"\0\0", chunk(name, content))).startswith("damaged PNG: ")


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("too deep"), struct.error("a\nb"), KeyError("x")])
def test_whatever_a_decoder_raises_becomes_one_line(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(samples, "to_rgb", fail)
    expected = "PNG that needs more memory than there is" if isinstance(error, MemoryError) else "damaged PNG: "
    assert reason(FILES["PNG"]).startswith(expected)


@pytest.mark.parametrize("format", FILES)
def test_random_damage_gives_a_picture_or_a_reason(format, capfd):
    chance = random.Random(format)
    for _ in range(60):
        data = bytearray(FILES[format])
        for _ in range(chance.choice([1, 3, 20])):
            data[chance.randrange(4, len(data))] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(8, len(data)) :]
        result = outcome(bytes(data), at_least_px=chance.choice([None, 8]))
        if isinstance(result, str):
            assert result.isprintable()
            assert len(result) < 250
            assert " at 0x" not in result  # no address of an object in memory
        else:
            assert (result.ndim, result.shape[2], result.dtype) == (3, 3, np.uint8)
    if format != "TIFF":  # libtiff, in C, prints what it finds wrong, and Pillow has no way to hush it
        assert capfd.readouterr() == ("", "")


def damaged_tags() -> bytes:
    """A sound TIFF whose tag Software (305) points far behind the end: Pillow warns of it."""
    data = encode(SMALL, "TIFF", tiffinfo={305: "a long name of a program"})
    at = data.index(struct.pack("<HH", 305, 2)) + 8
    return data[:at] + struct.pack("<I", 10**6) + data[at + 4 :]


def test_pillow_does_warn_of_the_damaged_tags():
    with (
        pytest.warns(UserWarning, match="Truncated File Read"),
        Image.open(io.BytesIO(damaged_tags())) as image,
    ):
        image.load()


@pytest.mark.parametrize("action", ["error", "always"])
def test_pillows_warnings_neither_break_nor_show(tmp_path, action):
    (tmp_path / "damaged.tif").write_bytes(damaged_tags())
    (tmp_path / "plain.jpg").write_bytes(FILES["JPEG"])
    code = """if True:
        import sys
        from tellapart import pictures
        assert not {"PIL", "cv2", "simplejpeg"} & set(sys.modules)
        print(pictures.read("plain.jpg").pixels.shape)
        assert not {"PIL", "cv2"} & set(sys.modules)  # the fast road needs neither
        for _ in range(3):
            print(pictures.read("damaged.tif").pixels.shape)
    """
    done = subprocess.run(
        [sys.executable, "-W", action, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("(24, 32, 3)\n" * 4, "")


def test_many_threads_at_once():
    files = [*FILES.values(), damaged_tags(), FILES["PNG"][:200], encode(SMALL.convert("CMYK"), "JPEG")]

    def plain(data: bytes) -> bytes | str:
        result = outcome(data)
        return result if isinstance(result, str) else result.tobytes()

    alone = [plain(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(plain, files * 20)) == alone * 20


# --- reading files


def refusal(path) -> str:
    with pytest.raises(PictureError) as caught:
        pictures.read(path)
    return caught.value.reason


def test_the_bytes_decide_not_the_name(tmp_path):
    path = tmp_path / "really a.png"
    path.write_bytes(FILES["GIF"])
    assert pictures.read_bytes(path) == FILES["GIF"]
    assert pictures.read(str(path)).format == "GIF"
    (tmp_path / "link.jpg").symlink_to(path)
    assert pictures.read(tmp_path / "link.jpg").format == "GIF"
    (tmp_path / "page.jpg").write_text("<html><body>Not found</body></html>")
    assert refusal(tmp_path / "page.jpg") == "not a picture: it begins like HTML"
    (tmp_path / "empty.jpg").touch()
    assert refusal(tmp_path / "empty.jpg") == "empty file (0 bytes)"


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path, monkeypatch):
    assert refusal(tmp_path) == "not a regular file (a folder)"
    os.mkfifo(tmp_path / "fifo.jpg")
    assert refusal(tmp_path / "fifo.jpg") == "not a regular file (a FIFO)"
    assert refusal("/dev/null") == "not a regular file (a device)"
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        assert refusal("socket.jpg") == "not a regular file (a socket)"


def test_a_file_exchanged_for_a_fifo_does_not_block(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "was.jpg").touch()
    before = os.stat(tmp_path / "was.jpg")
    monkeypatch.setattr(pictures.os, "stat", lambda _: before)
    assert refusal(tmp_path / "fifo.jpg") == "not a regular file (a FIFO)"


def test_what_is_not_there_or_not_allowed(tmp_path, monkeypatch):
    assert refusal(tmp_path / "gone.jpg") == "no such file"
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    assert refusal(tmp_path / "dangling.jpg") == "a symbolic link to nothing"
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    assert refusal(tmp_path / "loop.jpg") == "symbolic links that go in a circle"
    assert refusal(tmp_path / ("x" * 300)) == "cannot be read: File name too long"
    assert refusal("a\0b.jpg") == "no file has a null character in its path"

    def forbid(*_):  # not by chmod, which does not bind the administrator
        raise PermissionError(13, "Permission denied")

    (tmp_path / "secret.jpg").write_bytes(FILES["JPEG"])
    monkeypatch.setattr(pictures.os, "open", forbid)
    assert refusal(tmp_path / "secret.jpg") == "no permission to read it"


def test_a_file_that_grew_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    (tmp_path / "was.jpg").touch()
    before = os.stat(tmp_path / "was.jpg")
    (tmp_path / "is.jpg").write_bytes(bytes(2 * 2**20 + 1))
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", 2 * 2**20)
    monkeypatch.setattr(pictures.os, "fstat", lambda _: before)
    assert refusal(tmp_path / "is.jpg") == "over the limit of 2 MB"


def test_a_picture_that_is_larger_than_its_header_says_is_refused(monkeypatch):
    """As data of a HEIC can be."""

    class Growing:
        size, mode, info = (10, 10), "RGB", {}
        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda *_: None  # noqa: E731

        def load(self):
            self.size = (40_000, 40_000)

    monkeypatch.setattr(pictures, "opened", lambda *_: Growing())
    with pytest.raises(PictureError, match="40000×40000 = 1600 megapixels, over the limit"):
        pictures.decode(FILES["GIF"])


def test_the_segments_of_a_jpeg_are_looked_at_up_to_a_number():
    data = b"\xff\xd8" + b"\xff\xe0\0\2" * 5000
    assert len(list(exif.jpeg_segments(data))) == 1000


def test_a_file_over_the_limit_is_not_read(tmp_path):
    with open(tmp_path / "big.jpg", "wb") as file:
        file.truncate(pictures.MAX_FILE_BYTES + 2**20)  # sparse: it takes no room
    assert refusal(tmp_path / "big.jpg") == "513 MB, over the limit of 512 MB"
