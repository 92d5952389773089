"""Fingerprints of pictures, held against cv2's own cosine transform and against what copies must have in common."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from conftest import draw
from tellapart import hashes


@pytest.fixture(autouse=True)
def one_thread():
    """OpenCV's own threads wait for each other where other work has the cores."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


def _pixels(seed: int = 0, size: tuple[int, int] = (144, 112)) -> np.ndarray:
    """uint8 (H, W, 3): a soft landscape of colours, another for every seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def _described(pixels: np.ndarray, shown: float = 1.0) -> np.ndarray:
    return hashes.descriptors(hashes.thumbnails(hashes.of(pixels)[None]), shown)[0]


def test_the_thumbnail_is_the_mean_of_each_tile():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, :32] = 200
    pixels[0, 0] = 100  # one pixel of the 2 x 2 of the first tile
    row = hashes.of(pixels)
    assert row.dtype == np.uint8
    assert row.shape == (hashes.BYTES,)
    thumbnail = hashes.thumbnails(row[None])[0]
    assert thumbnail[0, 0] == 175
    assert (thumbnail[1:, :16] == 200).all()
    assert (thumbnail[:, 16:] == 0).all()


def test_colours_are_those_of_the_television_standard():
    red = np.zeros((20, 30, 3), np.uint8)
    red[..., 0] = 200
    # Cr = 0.713 (R - Y), Cb = 0.564 (B - Y), Y = 0.299 R
    luma = 0.299 * 200
    expected = [0.713 * (200 - luma), -0.564 * luma]
    found = hashes.colours(hashes.of(red)[None])
    assert found.shape == (1, 8, 8, 2)
    np.testing.assert_allclose(found[0].reshape(-1, 2), [expected] * 64, atol=1)
    assert not hashes.colours(hashes.of(np.full((9, 9, 3), 77, np.uint8))[None]).any()


def test_the_digest_is_that_of_pixels_and_shape():
    pixels = _pixels()
    changed = pixels.copy()
    changed[5, 5, 1] ^= 1
    reshaped = pixels.reshape(pixels.shape[1], pixels.shape[0], 3)
    rows = np.stack([hashes.of(each) for each in (pixels, pixels[:, ::-1][:, ::-1], changed, reshaped)])
    same = hashes.digests(rows)
    assert same[0] == same[1]
    assert len(set(same.tolist())) == 3


def test_a_descriptor_is_the_low_end_of_the_cosine_transform():
    thumbnail = hashes.thumbnails(hashes.of(_pixels(3))[None])[0]
    by_cv2 = cv2.dct(thumbnail.astype(np.float32))[:8, :8].reshape(-1)[1:]
    expected = by_cv2 / np.linalg.norm(by_cv2)
    np.testing.assert_allclose(hashes.descriptors(thumbnail[None])[0], expected, atol=1e-5)


@pytest.mark.parametrize("turn", hashes.TURNS, ids=lambda turn: turn[0] or "as it is")
def test_turning_a_descriptor_is_turning_the_picture(turn):
    name, *_ = turn
    pixels = _pixels(5)
    done = {
        "": lambda x: x,
        "mirrored": lambda x: x[:, ::-1],
        "upside down": lambda x: x[::-1],
        "turned by 180°": lambda x: x[::-1, ::-1],
        "turned by 90°": lambda x: np.rot90(x, -1),
        "turned by 270°": lambda x: np.rot90(x),
    }[name](pixels)
    thumbnail = hashes.thumbnails(hashes.of(done)[None])
    as_turned = hashes.turned_picture(hashes.thumbnails(hashes.of(pixels)[None])[0], turn)
    np.testing.assert_allclose(as_turned.astype(int), thumbnail[0], atol=1)
    expected = hashes.descriptors(thumbnail)
    np.testing.assert_allclose(hashes.turned(_described(pixels)[None], turn), expected, atol=0.02)


def test_the_middle_of_a_picture_is_its_crop():
    pixels = _pixels(7, (200, 200))
    cropped = pixels[10:190, 10:190]
    assert _described(pixels, 0.9) @ _described(cropped) > 0.998
    assert _described(pixels, 0.9) @ _described(cropped) > _described(pixels) @ _described(cropped)


def test_copies_are_alike_and_others_are_not():
    pixels = _pixels(1, (288, 224))
    _, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 40])
    copies = {
        "smaller": cv2.resize(pixels, (144, 112), interpolation=cv2.INTER_AREA),
        "recompressed": cv2.imdecode(jpeg, cv2.IMREAD_COLOR),
        "brighter": np.clip(pixels * 1.15, 0, 255).astype(np.uint8),
    }
    for copy in copies.values():
        assert _described(pixels) @ _described(copy) > 0.98
    assert _described(pixels) @ _described(_pixels(2, (288, 224))) < 0.6


def test_one_colour_has_no_descriptor():
    white = np.full((80, 80, 3), 255, np.uint8)
    faint = white.copy()
    faint[:40] = 254
    for pixels in (white, faint):
        assert not _described(pixels).any()
    assert np.linalg.norm(_described(np.asarray(draw("circles", 1)))) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("bad", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)])
def test_what_is_no_picture_is_refused(bad):
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\)"):
        hashes.of(bad)
