"""`preprocess`: every picture to the same square, held to means and interpolations computed by other ways."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from tellapart import kinds
from tellapart.errors import PictureError, SettingsError
from tellapart.preprocess import Preprocess, fit, load, square, square_and_size


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).max())


def area_weights(old: int, new: int) -> np.ndarray:
    """(new, old): how much of each old pixel lies in each new one; rows sum to 1."""
    edges = np.arange(new + 1) * old / new
    starts = np.arange(old)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return overlap.clip(0) * new / old


def linear_weights(old: int, new: int) -> np.ndarray:
    """(new, old): interpolation between the centres of pixels, constant beyond the outermost."""
    centres = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
    return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(old)))


def expected_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """The rule in floats: each axis by area where it shrinks, linearly where it grows."""
    rows, columns = ((area_weights if old >= size else linear_weights)(old, size) for old in pixels.shape[:2])
    return np.einsum("ih,hwc,jw->ijc", rows, pixels.astype(float), columns)


# --- settings


@pytest.mark.parametrize("size", [7, 1025, 0, -64, 64.0, "64", None, True])
def test_a_size_out_of_range_is_refused(size):
    with pytest.raises(SettingsError, match=r"^size_px must be a whole number from 8 to 1024; got .*\. Try 224\.$"):
        Preprocess(size)


def test_an_unknown_fit_is_refused():
    with pytest.raises(SettingsError, match=r"^fit must be 'squash' or 'crop'; got 'pad'\. Try 'squash'\.$"):
        Preprocess(64, "pad")


def test_the_dictionary_holds_the_version_and_comes_back():
    assert Preprocess(224, "crop").as_dict() == {"version": 1, "size_px": 224, "fit": "crop"}
    for settings in (Preprocess(8), Preprocess(1024, "crop")):
        assert Preprocess.from_dict(settings.as_dict()) == settings
    with pytest.raises(dataclasses.FrozenInstanceError):
        Preprocess(64).size_px = 65  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"version": 2, "size_px": 64, "fit": "squash"}, "of version 1; got 2"),
        ({"version": True, "size_px": 64, "fit": "squash"}, "of version 1; got True"),
        ({"size_px": 64, "fit": "squash"}, "of version 1; got None"),
        (
            {"version": 1, "size_px": 64},
            r"exactly the keys \['fit', 'size_px', 'version'\]; got \['size_px', ",
        ),
        ({"version": 1, "size_px": 64, "fit": "squash", "mean": 0}, "exactly the keys"),
        ({"version": 1, "size_px": 4096, "fit": "squash"}, "size_px must be"),
        ({"version": 1, "size_px": "64", "fit": "squash"}, "size_px must be"),
        ({"version": 1, "size_px": 64, "fit": ["squash"]}, "fit must be"),
    ],
)
def test_a_dictionary_of_another_kind_is_refused(values, message):
    with pytest.raises(SettingsError, match=message):
        Preprocess.from_dict(values)


# --- squash


def test_shrinking_by_whole_factors_takes_the_means_of_blocks():
    pixels = noise(48, 80)
    squared = fit(pixels, Preprocess(16))
    blocks = pixels.reshape(16, 3, 16, 5, 3).mean(axis=(1, 3))
    assert difference(squared, blocks) <= 0.501
    boxed = np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BOX))
    assert difference(squared, boxed) <= 1


def test_a_fine_pattern_becomes_its_mean_and_not_a_false_one():
    checks = np.where(np.indices((64, 64)).sum(axis=0)[:, :, None] % 2, 255, 0).astype(np.uint8).repeat(3, axis=2)
    assert set(np.unique(fit(checks, Preprocess(16)))) <= {127, 128}


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (1, 1, 8),
        (1, 5, 8),
        (5, 1, 16),
        (1, 300, 20),  # the height grows, the width shrinks
        (300, 1, 20),
        (11, 37, 20),
        (7, 64, 8),
        (37, 11, 33),
        (20, 20, 20),
        (20, 20, 21),
        (21, 20, 20),
        (20, 40, 20),
        (97, 101, 64),
        (97, 101, 8),
        (60, 90, 100),
        (13, 17, 500),
    ],
)
def test_any_size_follows_the_rule(height, width, size):
    pixels = noise(height, width, height + width)
    before = pixels.copy()
    squared = fit(pixels, Preprocess(size))
    assert squared.shape == (size, size, 3)
    assert squared.dtype == np.uint8
    assert squared.flags.c_contiguous
    # one rounding where both sides shrink; else a second one after it, and OpenCV's weights of 11 bits
    tolerance = 0.51 if min(height, width) >= size else 1.25
    assert difference(squared, expected_square(pixels, size)) <= tolerance
    np.testing.assert_array_equal(pixels, before)
    squared[:] = 0  # a new array: the picture itself is not touched
    np.testing.assert_array_equal(pixels, before)


def test_a_square_of_the_right_size_is_unchanged():
    pixels = noise(32, 32)
    for how in ("squash", "crop"):
        np.testing.assert_array_equal(fit(pixels, Preprocess(32, how)), pixels)


@pytest.mark.parametrize("how", ["squash", "crop"])
@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (3, 2), (1, 70_000), (70_000, 1), (113, 9), (64, 65), (500, 333)]
)
def test_a_picture_of_one_colour_stays_so(how, height, width):
    pixels = np.broadcast_to(np.array([3, 128, 254], np.uint8), (height, width, 3))
    squared = fit(pixels, Preprocess(16, how))
    np.testing.assert_array_equal(squared, np.broadcast_to([3, 128, 254], (16, 16, 3)))


# --- crop


@pytest.mark.parametrize(
    ("height", "width", "top", "left", "side"),
    [
        (10, 16, 0, 3, 10),
        (10, 17, 0, 3, 10),  # 7 too many: 3 from the left, 4 from the right
        (17, 10, 3, 0, 10),
        (10, 11, 0, 0, 10),
        (12, 12, 0, 0, 12),
        (8, 100, 0, 46, 8),
    ],
)
def test_the_largest_centred_square_is_kept(height, width, top, left, side):
    pixels = noise(height, width)
    squared = fit(pixels, Preprocess(side, "crop"))
    np.testing.assert_array_equal(squared, pixels[top : top + side, left : left + side])


def test_a_crop_is_resized_like_any_square():
    pixels = noise(60, 100)
    np.testing.assert_array_equal(
        fit(pixels, Preprocess(20, "crop")), fit(np.ascontiguousarray(pixels[:, 20:80]), Preprocess(20))
    )


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_not_a_picture_is_a_mistake_of_the_caller(pixels):
    with pytest.raises(ValueError, match=r"pixels must be uint8 \(H, W, 3\)"):
        fit(pixels, Preprocess(8))


# --- load


@pytest.mark.parametrize("how", ["squash", "crop"])
@pytest.mark.parametrize(("format", "options"), [("JPEG", {"quality": 90}), ("PNG", {})])
def test_path_and_bytes_give_the_same(tmp_path, how, format, options):
    y, x = np.mgrid[:211, :307]
    image = Image.fromarray(np.stack([x % 256, y, (x + y) // 3], axis=2).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, format, exif=exif, **options)
    path = tmp_path / "a picture"
    path.write_bytes(file.getvalue())
    settings = Preprocess(40, how)
    from_bytes = load(file.getvalue(), settings)
    np.testing.assert_array_equal(load(path, settings), from_bytes)
    np.testing.assert_array_equal(load(str(path), settings), from_bytes)
    # a JPEG was decoded at a quarter of its size, which is still no smaller than the square
    upright = fit(np.rot90(np.asarray(image), -1), settings)
    assert np.abs(from_bytes.astype(int) - upright).mean() < 2
    # what the processes that open pictures are asked for, by plain values
    np.testing.assert_array_equal(square(file.getvalue(), settings.as_dict()), from_bytes)
    pixels, size = square_and_size(file.getvalue(), settings.as_dict())
    np.testing.assert_array_equal(pixels, from_bytes)
    assert (size.dtype, size.tolist()) == (np.int64, [211, 307])


def test_a_jpeg_is_decoded_no_larger_than_needed_and_no_smaller_than_the_square(monkeypatch):
    file = io.BytesIO()
    Image.fromarray(noise(200, 330)).save(file, "JPEG")
    seen = []

    def watch(pixels, preprocess):
        seen.append(pixels.shape[:2])
        return fit(pixels, preprocess)

    monkeypatch.setattr("tellapart.preprocess.fit", watch)
    for size in (8, 50, 51, 101, 224):
        assert load(file.getvalue(), Preprocess(size)).shape == (size, size, 3)
    assert seen == [(25, 42), (50, 83), (100, 165), (200, 330), (200, 330)]


def test_what_cannot_be_read_keeps_its_reason(tmp_path):
    with pytest.raises(PictureError, match="no such file"):
        load(tmp_path / "gone.png", Preprocess(8))
    with pytest.raises(PictureError, match=r"empty file \(0 bytes\)"):
        load(b"", Preprocess(8))


def test_every_format_is_accepted_at_the_smallest_and_the_largest_size():
    file = io.BytesIO()
    Image.new("LA", (3, 2), (0, 51)).save(file, "PNG")
    assert kinds.sniff(file.getvalue()) == "PNG"
    for size in (8, 1024):
        assert (load(file.getvalue(), Preprocess(size)) == 204).all()
