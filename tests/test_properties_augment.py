"""Augmentation of any picture by any policy: a pure function of (seed, epoch, index), and affine maps that compose."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import examples
from tellapart.augment import Augmentation, apply, matrices, permutation, vary

SEEDS = st.integers(-(2**70), 2**70)


def share(most: float) -> st.SearchStrategy[float]:
    return st.just(0.0) | st.floats(0, most)


@st.composite
def policies(draw: st.DrawFn) -> Augmentation:
    """Any policy; each way to vary a picture is often left out."""
    low = draw(st.floats(0.2, 1))
    return Augmentation(
        shear_deg=draw(share(40)),
        zoom=draw(share(0.5)),
        flip=draw(st.sampled_from([None, False, True])),
        crop_scale=draw(st.none() | st.just((low, draw(st.floats(low, 1))))),
        rotation_deg=draw(share(180)),
        shift=draw(share(0.3)),
        vertical_flip=draw(st.booleans()),
        brightness=draw(share(1)),
        contrast=draw(share(1)),
        saturation=draw(share(1)),
        greyscale=draw(share(1)),
        erase=draw(share(1)),
    )


def noise(n: int, px: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, px, px, 3), dtype=np.uint8)


def smooth(px: int, seed: int) -> np.ndarray:
    """uint8 (1, px, px, 3): slow waves, whose slope is under 3 levels a pixel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:px, :px] / px
    waves = [np.cos(2 * np.pi * (a * x + b * y) + c) for a, b, c in rng.uniform(-0.6, 0.6, (3, 3))]
    return np.rint(128 + 100 * np.stack(waves, axis=2)).astype(np.uint8)[None]


def square(matrix: np.ndarray) -> np.ndarray:
    return np.vstack([matrix, [0, 0, 1]])


@examples(40)
@given(policies(), SEEDS, st.integers(0, 2**40), st.integers(40, 80))
def test_two_warps_are_the_one_warp_of_their_product(policy: Augmentation, seed: int, epoch: int, px: int) -> None:
    first, second = matrices(policy, seed=seed, epoch=epoch, indices=np.array([7, 2**33]), in_px=px, out_px=px)
    whole = (square(first) @ square(second))[:2]
    picture = smooth(px, seed % 1000)
    twice = apply(apply(picture, first[None], px), second[None], px)[0].astype(int)
    once = apply(picture, whole[None], px)[0]
    # Where the way leads out of the picture in between, its edge is repeated once more.
    corners = np.stack([*np.mgrid[:px, :px][::-1], np.ones((px, px))]).reshape(3, -1)
    between = second @ corners
    inside = ((between >= 0) & (between <= px - 1)).all(axis=0).reshape(px, px)
    slope = max(1.0, np.abs(whole[:, :2]).sum(axis=1).max())
    assert np.abs(twice - once)[inside].max(initial=0) <= 2 + slope


@examples(30)
@given(SEEDS, st.integers(0, 2**40), st.integers(1, 40), st.booleans(), st.booleans())
def test_flips_twice_are_as_it_was(seed: int, epoch: int, px: int, sideways: bool, upside_down: bool) -> None:
    pixels, indices = noise(8, px), np.arange(8)
    policy = Augmentation(flip=sideways, vertical_flip=upside_down)
    once = vary(pixels, policy, seed=seed, epoch=epoch, indices=indices, out_px=px)
    assert np.array_equal(vary(once, policy, seed=seed, epoch=epoch, indices=indices, out_px=px), pixels)
    for before, after in zip(pixels, once, strict=True):
        ways = [
            before[:: -1 if down else 1, :: -1 if side else 1]
            for down in {False, upside_down}
            for side in {False, sideways}
        ]
        assert any(np.array_equal(after, way) for way in ways)


@examples(30)
@given(
    SEEDS, st.integers(0, 2**40), st.integers(1, 40), st.sampled_from([None, Augmentation(), Augmentation(flip=False)])
)
def test_a_policy_that_changes_nothing_changes_nothing(
    seed: int, epoch: int, px: int, policy: Augmentation | None
) -> None:
    pixels = noise(3, px, 5)
    found = vary(pixels, policy, seed=seed, epoch=epoch, indices=np.arange(3), out_px=px)
    assert np.array_equal(found, pixels)
    assert not np.shares_memory(found, pixels)


@examples(40)
@given(policies(), SEEDS, st.integers(0, 2**40), st.integers(0, 2**32), st.sampled_from([16, 24, 32]))
def test_order_batches_and_threads_play_no_part(
    policy: Augmentation, seed: int, epoch: int, start: int, out_px: int
) -> None:
    rng = random.Random(start)
    pixels = noise(12, 32, 9)
    before = pixels.copy()
    places = np.array([rng.randrange(2**40) for _ in range(12)])  # in the list of all pictures

    def varied(rows: list[int]) -> np.ndarray:
        return vary(
            pixels, policy, seed=seed, epoch=epoch, indices=places[rows], out_px=out_px, rows=np.array(rows, np.int64)
        )

    n_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        everything = varied(list(range(12)))
    finally:
        cv2.setNumThreads(n_threads)
    shuffled = rng.sample(range(12), 12)
    batches = [shuffled[i : i + 5] for i in range(0, 12, 5)]
    with ThreadPoolExecutor(3) as pool:
        for rows, found in zip(batches, pool.map(varied, batches), strict=True):
            assert (found.dtype, found.shape) == (np.uint8, (len(rows), out_px, out_px, 3))
            assert np.array_equal(found, everything[rows])
    assert np.array_equal(pixels, before)


@examples(30)
@given(policies(), SEEDS, st.integers(0, 2**40))
def test_moves_are_the_same_whatever_else_is_asked_for(policy: Augmentation, seed: int, epoch: int) -> None:
    """Colours and rectangles draw from streams of their own."""
    asked = policy.as_dict()
    moves_alone = Augmentation.from_dict(
        {k: v for k, v in asked.items() if k not in {"brightness", "contrast", "saturation", "greyscale", "erase"}}
    )
    kinds = {"seed": seed, "epoch": epoch, "indices": np.arange(9), "in_px": 32, "out_px": 24}
    assert np.array_equal(matrices(policy, **kinds), matrices(moves_alone, **kinds))
    # A linear map that turns no picture inside out: its determinant is the share of the area that is shown.
    determinants = np.linalg.det(matrices(policy, **kinds)[:, :, :2]) * (24 / 32) ** 2
    assert np.abs(determinants).max() <= (1 + policy.zoom) ** 2 + 1e-9
    assert np.abs(determinants).min() > 0


@examples(40)
@given(st.integers(0, 200), SEEDS, SEEDS)
def test_the_order_of_an_epoch_is_a_permutation(n: int, seed: int, epoch: int) -> None:
    order = permutation(n, seed=seed, epoch=epoch)
    assert sorted(order.tolist()) == list(range(n))
    assert np.array_equal(order, permutation(n, seed=seed, epoch=epoch))


@pytest.mark.parametrize("policy", [Augmentation(brightness=1, contrast=1, saturation=1), Augmentation(erase=1)])
def test_one_colour_keeps_its_greys_apart_by_light_alone(policy: Augmentation) -> None:
    """On a grey picture contrast and saturation have nothing to work on, and a rectangle in its mean is not seen."""
    pixels = np.full((6, 16, 16, 3), 90, np.uint8)
    found = vary(pixels, policy, seed=1, epoch=2, indices=np.arange(6), out_px=16)
    assert (found == found[:, :1, :1, :1]).all()
    if policy.erase:
        assert np.array_equal(found, pixels)
