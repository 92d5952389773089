"""Deleted parts, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart import deletions


def test_lead_is_the_log_odds() -> None:
    logits = np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(deletions.lead(logits, [1, 2]), np.log([p[0, 1] / (1 - p[0, 1]), 0.5]))
    # A probability of two thirds to one third each: 1 to 2.
    assert deletions.lead(np.array([[500.0, 0.0]]), 0)[0] == pytest.approx(500)


def test_hottest_is_just_the_share() -> None:
    heat = np.arange(100, dtype=np.float32).reshape(10, 10)
    mask = deletions.hottest(heat, 0.1)
    assert mask.sum() == 10
    assert mask[9].all()
    assert deletions.hottest(np.zeros((10, 10)), 0.1).sum() == 10


def test_elsewhere_has_the_shape_and_hardly_overlaps() -> None:
    mask = np.zeros((20, 20), bool)
    mask[3:9, 4:8] = True
    for seed in range(20):
        moved = deletions.elsewhere(mask, np.random.default_rng(seed))
        assert moved.sum() == mask.sum()
        assert (moved & mask).sum() <= 0.1 * mask.sum()
        down, across = next(
            (i, j) for i in range(20) for j in range(20) if (np.roll(mask, (i, j), (0, 1)) == moved).all()
        )
        assert (down, across) != (0, 0)


def test_scattered_is_as_much_outside() -> None:
    mask = np.zeros((60, 60), bool)
    mask[:18, :20] = True
    strewn = deletions.scattered(mask, np.random.default_rng(0))
    assert strewn.sum() == mask.sum()
    assert not (strewn & mask).any()


def test_without_changes_the_mask_alone() -> None:
    square = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    mask = np.zeros((32, 32), bool)
    mask[:4] = True
    for fill in deletions.FILLS:
        changed = deletions.without(square, mask, fill)
        assert changed.dtype == np.uint8
        np.testing.assert_array_equal(changed[~mask], square[~mask])
    np.testing.assert_array_equal(deletions.without(square, mask, "mean")[0, 0], square.mean((0, 1)).round())


def test_measured_on_a_network_that_sees_one_corner() -> None:
    square = np.zeros((40, 40, 3), np.uint8)
    square[:10, :16] = 255

    def ask(batch: np.ndarray) -> np.ndarray:
        bright = batch[:, :10, :16].mean((1, 2, 3)) / 255
        return np.stack([0 * bright, 4 * bright], 1)

    heat = np.zeros((40, 40), np.float32)
    heat[:10, :16] = 1
    found = deletions.measured(ask, square, heat, 1)
    assert found.lead_before == pytest.approx(4)
    assert found.before == pytest.approx(1 / (1 + np.exp(-4)))
    assert found.lead_hot < 3.5
    assert found.lead_elsewhere > 3.6
    assert found.hot < found.elsewhere <= found.before
    assert found == deletions.measured(ask, square, heat, 1)
