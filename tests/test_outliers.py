"""Foreign points among clouds, and the cut on a tail that is known."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart import outliers


def clouds(n: int, apart: float, n_classes: int = 2, d: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Normal clouds, n a class, their centres `apart` standard deviations from the middle along an axis each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes), n)
    features = rng.normal(size=(len(labels), d))
    features[np.arange(len(labels)), labels] += apart
    return features.astype(np.float16), labels


def named(n: int) -> list[str]:
    return [f"{i}.jpg" for i in range(n)]


def test_foreigners_are_found_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    features, labels = clouds(500, 3.0, 3, d=160)
    features[:, 40:] *= 0.05  # what the folder's own pictures hardly do, the foreign ones do
    foreign = (rng.normal(size=(5, 160)) * 0.3 + np.r_[np.zeros(40), np.full(120, 2.0)]).astype(np.float16)
    found = outliers.find(
        np.concatenate([features, foreign]), np.r_[labels, np.zeros(5, int)], ["a", "b", "c"], named(1505)
    )
    assert {f.severity for f in found} == {"warning"}
    assert {f.paths[0] for f in found} == {f"{i}.jpg" for i in range(1500, 1505)}
    assert {f.proposals[0].action for f in found} == {"keep"}
    # Without them the two of the 1,500 that are least like the others are shown, but nothing is held against them.
    assert [f.severity for f in outliers.find(features, labels, ["a", "b", "c"], named(1500))] == ["info", "info"]
    assert outliers.find(features[::2], labels[::2], ["a", "b", "c"], named(750)) == []


def test_the_cut_goes_on_where_an_exponential_tail_would() -> None:
    far = -np.log(1 - (np.arange(2000) + 0.5) / 2000)  # exponential: falls by e in every 1
    assert outliers.cut(far) == pytest.approx(np.log(100) + 2.5, abs=0.06)
    assert outliers.cut(far[:: 2000 // 500]) == pytest.approx(np.log(20) + 3.0, abs=0.1)
