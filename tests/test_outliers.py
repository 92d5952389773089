"""Pictures of no class, by the angle of their features."""

import numpy as np
import pytest

from tellapart import outliers


def crowd(n: int, seed: int = 0) -> np.ndarray:
    """Features about one direction of 16, float (N, 16)."""
    rng = np.random.default_rng(seed)
    return np.eye(16)[0] + 0.1 * rng.normal(size=(n, 16))


def test_the_distance_is_one_minus_the_cosine_to_a_neighbour_down_the_list():
    """Of four pictures at 0, 90, 180 and 270 degrees, the third nearest of each is its opposite."""
    features = np.array([[1, 0], [0, 2], [-3, 0], [0, -4]], float)
    assert outliers.distances(features) == pytest.approx([2, 2, 2, 2])


def test_length_plays_no_part():
    features = crowd(50)
    scales = np.random.default_rng(1).uniform(0.1, 10, (50, 1))
    assert outliers.distances(features * scales) == pytest.approx(outliers.distances(features), abs=1e-5)


def test_a_handful_of_foreign_pictures_of_one_sort_does_not_excuse_each_other():
    features = np.concatenate([crowd(400), np.eye(16)[5] + 0.05 * np.random.default_rng(2).normal(size=(4, 16))])
    paths = [f"{i}.jpg" for i in range(404)]
    found = outliers.find(features, np.zeros(404, int), ["cats", "dogs"], paths)
    assert {"400.jpg", "401.jpg", "402.jpg", "403.jpg"} <= {each.paths[0] for each in found[:4]}
    assert len(found) <= 6
    assert found[0].score == found[0].detail["distance"] - found[0].detail["cut"]
    assert "else than 'cats'" in found[0].remedy
    assert {proposal.action for each in found for proposal in each.proposals} == {"keep"}


def test_the_cut_lies_beyond_the_tail_as_it_falls():
    """Exponential distances: from the 75th to the 95th percentile they rise by the fall times the logarithm of five."""
    far = -np.log(1 - (np.arange(10_000) + 0.5) / 10_000)
    assert outliers.cut(far) == pytest.approx(-np.log(0.05) + outliers.TIMES, abs=0.01)


def test_of_few_pictures_nothing_is_said():
    assert outliers.find(crowd(39), np.zeros(39, int), ["a"], ["x"] * 39) == []
