"""Proposals of copies, held against comparing every picture with every other."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tellapart import hashes, neighbours


def _thumbnails(n: int, seed: int = 0) -> np.ndarray:
    """uint8 (N, 32, 32): soft landscapes, no two alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 6, 6), dtype=np.uint8)
    return np.array(
        [cv2.resize(each, (32, 32), interpolation=cv2.INTER_CUBIC) for each in coarse], dtype=np.uint8
    ).reshape(n, 32, 32)


def _pairs(found: neighbours.Candidates) -> dict[tuple[int, int], str]:
    return {
        (min(a, b), max(a, b)): hashes.TURNS[turn][0]
        for a, b, turn in zip(found.first.tolist(), found.second.tolist(), found.turn.tolist(), strict=True)
    }


@pytest.mark.parametrize("n", [300, 3600])  # all with all, and by cells
def test_changed_copies_are_proposed_before_all_others(n):
    rng = np.random.default_rng(1)
    originals = _thumbnails(n)
    noisy = np.clip(originals[:20] * 0.8 + rng.normal(0, 4, (20, 32, 32)) + 20, 0, 255).astype(np.uint8)
    mirrored = originals[20:40, :, ::-1]
    cropped = np.stack(
        [cv2.resize(each[1:30, 2:31], (32, 32), interpolation=cv2.INTER_AREA) for each in originals[40:60]]
    )
    found = neighbours.candidates(np.concatenate([originals, noisy, mirrored, cropped]))
    expected = {(i, n + i): "mirrored" if 20 <= i < 40 else "" for i in range(60)}
    assert expected.items() <= _pairs(found).items()
    first = {(min(a, b), max(a, b)) for a, b in zip(found.first[:60].tolist(), found.second[:60].tolist(), strict=True)}
    assert len(first & expected.keys()) >= 57
    assert found.likeness.min() > neighbours.LOWEST


def test_others_are_the_nearest_of_the_subset():
    thumbnails = _thumbnails(40)
    described = hashes.descriptors(thumbnails)
    weighted = described / np.sqrt(described.std(axis=0) + 1e-3)
    weighted /= np.linalg.norm(weighted, axis=1, keepdims=True)
    likeness = weighted @ weighted.T - 3 * np.eye(40)
    found = neighbours.candidates(thumbnails)
    for i in range(40):
        assert set(found.others[i].tolist()) == set(np.argsort(-likeness[i])[: neighbours.NEAR].tolist())


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_few_pictures(n):
    found = neighbours.candidates(_thumbnails(n))
    assert found.others.shape == (n, neighbours.NEAR)
    assert len(found.first) == 0


def test_pictures_of_one_colour_are_nobodys_copies():
    white = np.full((50, 32, 32), 255, np.uint8)
    assert len(neighbours.candidates(white).first) == 0
