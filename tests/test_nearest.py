"""Nearest embeddings by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.nearest import Space

ROWS = np.array([[3, 1], [1, 3], [-1, 1], [1, -1]], np.float16)  # mean (1, 1)
CONTENTS = ["a", "b", "c", "d"]


def test_nearest_by_the_angle_from_the_mean() -> None:
    space = Space(ROWS, CONTENTS, ["x", "y", "x", "y"])
    (found,) = space.nearest(np.array([[2.0, 2.0]], np.float32), 3)  # (1, 1) from the mean; a is (2, 0), b is (0, 2)
    assert [each.content for each in found] == ["a", "b", "c"]
    assert [each.similarity for each in found] == pytest.approx([0.5**0.5, 0.5**0.5, -(0.5**0.5)])
    assert [each.label for each in found] == ["x", "y", "x"]


def test_a_training_picture_is_nearest_to_itself() -> None:
    rows = np.random.default_rng(0).normal(size=(9000, 6)).astype(np.float16)  # more than are compared at once
    found = Space(rows, [str(i) for i in range(9000)]).nearest(rows[[4, 8999]].astype(np.float32), 1)
    assert [(each.content, each.label) for (each,) in found] == [("4", None), ("8999", None)]
    assert found[1][0].similarity == pytest.approx(1)


@pytest.mark.parametrize(
    "embeddings",
    [
        np.zeros((0, 0), np.float16),
        ROWS[:3],
        np.full((4, 2), np.nan, np.float16),
        np.zeros(4, np.float16),
        np.zeros((4, 2), "U3"),
        np.zeros((4, 3), np.float16),
    ],
)
def test_what_cannot_be_compared_has_no_nearest(embeddings: np.ndarray) -> None:
    assert Space(embeddings, CONTENTS).nearest(np.ones((2, 2), np.float32), 5) == [[], []]


def test_fewer_than_asked_for() -> None:
    assert len(Space(ROWS, CONTENTS).nearest(np.ones((1, 2), np.float32), 9)[0]) == 4
