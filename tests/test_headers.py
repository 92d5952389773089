"""What files say of themselves, against what Pillow was told to write."""

import io

import numpy as np
import pytest
from PIL import Image

from tellapart import headers, kinds

NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def saved(image, format, **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def header(image, format, **options):
    data = saved(image, format, **options)
    return headers.of(data, kinds.sniff(data))


@pytest.mark.parametrize("quality", [1, 10, 37, 50, 75, 88, 95, 100])
def test_the_quality_of_a_jpeg_is_the_one_it_was_saved_with(quality):
    assert header(Image.fromarray(NOISE), "JPEG", quality=quality).quality == quality


def test_colours_depth_and_transparency_are_those_of_the_file():
    colour = Image.fromarray(NOISE)
    assert header(colour, "JPEG").colour == "colour"
    assert header(colour.convert("L"), "JPEG").colour == "grey"
    assert header(colour.convert("CMYK"), "JPEG").colour == "CMYK"
    assert header(colour.convert("P"), "PNG").colour == "palette"
    deep = header(Image.fromarray(NOISE[..., 0].astype(np.uint16) * 256), "PNG")
    assert (deep.colour, deep.bits) == ("grey", 16)
    clear = header(colour.convert("RGBA"), "PNG")
    assert (clear.colour, clear.alpha, clear.quality, clear.tables) == ("colour", True, 0, 0)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_several_frames_are_told(format):
    frames = [Image.fromarray(NOISE), Image.fromarray(255 - NOISE)]
    assert not header(frames[0], format).animated
    assert header(frames[0], format, save_all=True, append_images=frames[1:]).animated


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_gives_orientation_camera_and_program(format):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110], exif[0x0131] = 6, "Canon", "EOS 5D", "GIMP 2"
    found = header(Image.fromarray(NOISE), format, exif=exif)
    assert (found.exif, found.orientation, found.camera, found.software) == (True, 6, "Canon EOS 5D", "GIMP 2")
    assert not header(Image.fromarray(NOISE), format).exif


def test_dots_per_inch():
    assert header(Image.fromarray(NOISE), "JPEG", dpi=(300, 300)).dpi == 300
    assert header(Image.fromarray(NOISE), "JPEG").dpi == 0


def test_tables_differ_by_quality_and_subsampling_and_by_nothing_in_the_picture():
    one, other = Image.fromarray(NOISE), Image.fromarray(255 - NOISE)
    assert header(one, "JPEG", quality=80).tables == header(other, "JPEG", quality=80).tables
    assert header(one, "JPEG", quality=80).tables != header(one, "JPEG", quality=81).tables
    assert header(one, "JPEG", subsampling=0).tables != header(one, "JPEG", subsampling=2).tables


def test_a_number_stands_for_a_text_and_0_for_none():
    assert headers.number("") == 0
    assert headers.number("Canon") == headers.number("Canon") != headers.number("Nikon")


def test_damage_says_nothing_and_never_raises():
    exif = Image.Exif()
    exif[0x010F] = "Canon"
    data = saved(Image.fromarray(NOISE), "JPEG", exif=exif)
    rng = np.random.default_rng(1)
    for _ in range(300):
        broken = bytearray(data)
        for at in rng.integers(2, min(len(data), 400), 8):
            broken[at] = rng.integers(256)
        found = headers.of(bytes(broken[: rng.integers(4, len(data))]), "JPEG")
        assert found.colour in headers.COLOURS
        assert 1 <= found.orientation <= 8
        assert 0 <= found.quality <= 100
    for format in ("PNG", "GIF", "WEBP", "BMP", "TIFF"):
        assert headers.of(b"nonsense", format) == headers.Header()


@pytest.mark.parametrize(("a_centimetre", "an_inch"), [(100, 254), (0xFFFF, 65535)])
def test_dots_a_centimetre_are_brought_to_an_inch_within_the_range(a_centimetre: int, an_inch: int) -> None:
    jfif = b"JFIF\0\1\1" + bytes([2]) + 2 * a_centimetre.to_bytes(2, "big") + b"\0\0"
    data = b"\xff\xd8\xff\xe0" + (len(jfif) + 2).to_bytes(2, "big") + jfif + b"\xff\xd9"
    assert headers.of(data, "JPEG").dpi == an_inch
