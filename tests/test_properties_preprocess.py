"""Any picture of any size and mode to the model's square, held against the rule written plainly in float64."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import examples
from tellapart.preprocess import MAX_SIZE_PX, MIN_SIZE_PX, Preprocess, fit, load

MOST_PX = 4000
# OpenCV rounds after each of two passes, and interpolates in whole numbers.
TOLERANCE = 1.5


def area(lines: np.ndarray, size: int) -> np.ndarray:
    """float64 (old, …) to (size, …): the mean of what each new line covers, by the running sum of the old ones."""
    old = len(lines)
    sums = np.concatenate([np.zeros_like(lines[:1]), np.cumsum(lines, axis=0)])
    edges = np.arange(size + 1) * old / size
    whole = np.minimum(edges.astype(int), old - 1)
    part = (edges - whole).reshape(-1, *[1] * (lines.ndim - 1))
    at_edges = sums[whole] + part * lines[whole]
    return np.diff(at_edges, axis=0) * size / old


def linear(lines: np.ndarray, size: int) -> np.ndarray:
    """float64 (old, …) to (size, …): between the centres of two lines; beyond the outermost, that line."""
    old = len(lines)
    at = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    left = np.minimum(at.astype(int), max(old - 2, 0))
    right = np.minimum(left + 1, old - 1)
    part = (at - left).reshape(-1, *[1] * (lines.ndim - 1))
    return (1 - part) * lines[left] + part * lines[right]


def square(pixels: np.ndarray, size: int) -> np.ndarray:
    """float64 (size, size, 3): an axis that shrinks before one that grows."""
    lines = pixels.astype(np.float64)
    for how, takes_part in ((area, lambda old: old >= size), (linear, lambda old: old < size)):
        for axis in (0, 1):
            if takes_part(pixels.shape[axis]):
                lines = np.moveaxis(how(np.moveaxis(lines, axis, 0), size), 0, axis)
    return lines


def centred(pixels: np.ndarray) -> np.ndarray:
    """The largest square in the middle, cut line by line, at the bottom or right first."""
    while pixels.shape[0] != pixels.shape[1]:
        axis = 0 if pixels.shape[0] > pixels.shape[1] else 1
        surplus = abs(pixels.shape[0] - pixels.shape[1])
        pixels = np.delete(pixels, -1 if surplus % 2 else 0, axis)
    return pixels


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """uint8 (H, W, 3): noise, or stripes as wide as a pixel, or one colour."""
    rng = np.random.default_rng(seed)
    if seed % 3 == 0:
        return np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    if seed % 3 == 1:
        stripes = (np.add.outer(np.arange(height), np.arange(width)) % 2 * 255).astype(np.uint8)
        return np.repeat(stripes[:, :, None], 3, axis=2)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, int]:
    """Height and width from 1 to 4,000 px, of up to about 100,000 pixels together."""
    long = draw(st.one_of(st.integers(1, 300), st.integers(1, MOST_PX)))
    short = draw(st.integers(1, max(1, min(long, 100_000 // long))))
    return (long, short) if draw(st.booleans()) else (short, long)


SIZES = st.one_of(st.integers(MIN_SIZE_PX, 96), st.sampled_from([128, 224, 300]))


@examples(60)
@given(shapes(), SIZES, st.integers(0, 2**20))
def test_the_whole_picture_by_areas_and_lines(shape: tuple[int, int], size: int, seed: int) -> None:
    pixels = picture(*shape, seed)
    before = pixels.copy()
    found = fit(pixels, Preprocess(size))
    assert (found.shape, found.dtype, found.flags.c_contiguous) == ((size, size, 3), np.uint8, True)
    assert np.abs(found - square(pixels, size)).max() <= TOLERANCE
    assert np.array_equal(pixels, before)
    if seed % 3 == 0:
        assert (found == pixels[0, 0]).all()


@examples(40)
@given(shapes(), SIZES, st.integers(0, 2**20))
def test_the_centred_square_and_nothing_else(shape: tuple[int, int], size: int, seed: int) -> None:
    pixels = picture(*shape, seed)
    kept = centred(pixels)
    found = fit(pixels, Preprocess(size, "crop"))
    assert (found.shape, found.dtype) == ((size, size, 3), np.uint8)
    assert np.array_equal(found, fit(kept, Preprocess(size)))
    assert np.abs(found - square(kept, size)).max() <= TOLERANCE


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(1, MOST_PX, 8), (MOST_PX, 1, 224), (1200, 900, 224), (MOST_PX, 30, 64), (1, 1, MAX_SIZE_PX), (700, 500, 500)],
)
@pytest.mark.parametrize("how", ["squash", "crop"])
def test_the_ends_of_the_range(height: int, width: int, size: int, how: str) -> None:
    pixels = picture(height, width, 2)
    expected = square(pixels if how == "squash" else centred(pixels), size)
    assert np.abs(fit(pixels, Preprocess(size, how)) - expected).max() <= TOLERANCE


@examples(30)
@given(shapes(), SIZES, st.integers(0, 2**20))
def test_a_mirrored_picture_gives_the_mirrored_square(shape: tuple[int, int], size: int, seed: int) -> None:
    pixels = picture(*shape, seed)
    plain = fit(pixels, Preprocess(size)).astype(int)
    for turned, back in ((pixels[:, ::-1], lambda x: x[:, ::-1]), (pixels.swapaxes(0, 1), lambda x: x.swapaxes(0, 1))):
        assert np.abs(back(fit(turned, Preprocess(size)).astype(int)) - plain).max() <= 2


MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


@examples(60)
@given(
    st.sampled_from(MODES),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(MIN_SIZE_PX, 64),
    st.sampled_from(["squash", "crop"]),
    st.integers(0, 2**20),
)
def test_any_mode_of_a_file_without_loss(mode: str, shape: tuple[int, int], size: int, how: str, seed: int) -> None:
    """A PNG of any mode is what its levels say: grey on three channels, what is see-through on white, 16 bits as 8."""
    height, width = shape
    rng = np.random.default_rng(seed)
    grey = rng.integers(0, 256, (height, width), dtype=np.uint8)
    colour, opacity = picture(height, width, 2 + 3 * seed), rng.integers(0, 256, (height, width), dtype=np.uint8)
    share = opacity[:, :, None] / 255
    image, expected = {
        "1": lambda: (Image.fromarray(grey).convert("1", dither=Image.Dither.NONE), (grey >= 128)[:, :, None] * 255.0),
        "L": lambda: (Image.fromarray(grey), grey[:, :, None]),
        "LA": lambda: (
            Image.merge("LA", [Image.fromarray(grey), Image.fromarray(opacity)]),
            share * grey[:, :, None] + (1 - share) * 255,
        ),
        "P": lambda: _in_a_palette(grey, rng),
        "RGB": lambda: (Image.fromarray(colour), colour),
        "RGBA": lambda: (
            Image.merge("RGBA", [*Image.fromarray(colour).split(), Image.fromarray(opacity)]),
            share * colour + (1 - share) * 255,
        ),
        "I;16": lambda: (Image.fromarray(grey.astype(np.uint16) * 257), grey[:, :, None]),
    }[mode]()
    assert image.mode == mode
    file = io.BytesIO()
    image.save(file, "PNG")
    plain = np.broadcast_to(np.asarray(expected, np.float64), (height, width, 3))
    if how == "crop":
        plain = centred(plain)
    found = load(file.getvalue(), Preprocess(size, how))
    assert np.abs(found - square(plain, size)).max() <= TOLERANCE + 1  # what is see-through is rounded once more


def _in_a_palette(indices: np.ndarray, rng: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.fromarray(indices)
    image = image.convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette(palette.ravel().tolist())
    return image, palette[indices]


@examples(40)
@given(st.integers(MIN_SIZE_PX, MAX_SIZE_PX), st.sampled_from(["squash", "crop"]))
def test_settings_go_into_a_manifest_and_back(size: int, how: str) -> None:
    settings = Preprocess(size, how)
    assert settings.as_dict() == {"version": 1, "size_px": size, "fit": how}
    assert Preprocess.from_dict(settings.as_dict()) == settings
