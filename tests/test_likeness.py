"""How two pictures go together, on pictures whose relation is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tellapart import likeness


@pytest.fixture(autouse=True)
def one_thread():
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


def _scene(seed: int, side: int = 256) -> np.ndarray:
    """uint8 (side, side): blobs of every size, as in a photo."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(0, 40 / k**0.5, (4 * k, 4 * k)), (side, side), interpolation=cv2.INTER_CUBIC)
        for k in (1, 2, 4, 8)
    ]
    return np.clip(128 + sum(layers), 0, 255).astype(np.uint8)


def _small(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)


def test_a_picture_is_like_itself_whatever_the_light():
    scene = _small(_scene(1))
    assert likeness.compare(scene, scene).score == pytest.approx(1)
    assert likeness.compare(scene, (scene * 0.5 + 60).astype(np.uint8)).score > 0.99
    assert likeness.compare(scene, 255 - scene).score < 0.3  # a negative is no copy


@pytest.mark.parametrize(("box", "shown"), [((8, 4, 244, 240), 236 / 256), ((0, 0, 216, 216), 216 / 256)])
def test_a_part_is_found_where_it_lies(box, shown):
    scene = _scene(2)
    x, y, right, bottom = box
    found = likeness.compare(_small(scene), _small(scene[y:bottom, x:right]))
    assert found.score > 0.95
    assert found.shown == pytest.approx(shown, abs=0.03)


def test_a_little_turned():
    scene = _scene(3)
    way = cv2.getRotationMatrix2D((127.5, 127.5), 2, 1)
    assert likeness.compare(_small(scene), _small(cv2.warpAffine(scene, way, (256, 256)))).score > 0.9


def test_a_caption_does_no_harm():
    scene = _scene(4)
    marked = scene.copy()
    marked[220:, :] = 255
    assert likeness.compare(_small(scene), _small(marked)).score > 0.95


def test_other_scenes_are_not_alike():
    scores = [likeness.compare(_small(_scene(i)), _small(_scene(i + 100))).score for i in range(20)]
    assert max(scores) < 0.7


def test_without_detail_there_is_no_likeness():
    flat = np.full((64, 64), 90, np.uint8)
    assert likeness.compare(flat, flat).score == 0
    assert likeness.compare(flat, _small(_scene(5))).score == 0


def test_colours():
    red, green, grey = (np.tile(np.array(pair, np.int16), (8, 8, 1)) for pair in ((60, -20), (-40, -30), (1, 0)))
    assert likeness.same_colours(red, red // 2)  # less vivid
    assert not likeness.same_colours(red, green)
    assert likeness.same_colours(red, grey)
