"""Splits and class sizes, from catalogs written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from conftest import listed
from tellapart import sides


def topics(found) -> list[tuple[str, str]]:
    return [(each.detail["topic"], each.severity) for each in found]


def test_a_plain_folder_has_nothing_to_tell() -> None:
    assert sides.find(listed((None, "cats", "c", 0, 50), (None, "dogs", "d", 0, 60))) == []
    mixed = [("train", "cats", "c", 0, 40), ("test", "cats", "c", 5, 20)]
    assert sides.find(listed(*mixed, ("train", "dogs", "d", 0, 40), ("test", "dogs", "d", 5, 20))) == []


def test_swapped_folders() -> None:
    found = sides.find(
        listed(*((s, c, c, 0, n) for s, n in (("train", 1000), ("test", 4000)) for c in ("cats", "dogs")))
    )
    assert topics(found) == [("swapped", "warning")]
    assert found[0].message == (
        "There are 8,000 pictures to test on and only 2,000 to learn from: the two folders may be swapped."
    )


def test_classes_missing_on_either_side() -> None:
    both = [("train", "cats", "x", 0, 50), ("test", "cats", "x", 0, 20)]
    found = sides.find(listed(*both, ("train", "dogs", "x", 0, 50), ("test", "owls", "x", 0, 20)))
    assert ("missing", "error") in topics(found)
    assert ("missing", "warning") in topics(found)
    assert [f.detail["classes"] for f in found if f.detail["topic"] == "missing"] == [["owls"], ["dogs"]]
    assert "lack 1 of 3 classes ('owls'): what is never shown cannot be learned." in found[0].message


def test_shares_that_differ_are_tested_as_scipy_does() -> None:
    found = sides.find(
        listed(
            ("train", "a", "x", 0, 300),
            ("train", "b", "x", 0, 300),
            ("test", "a", "x", 0, 60),
            ("test", "b", "x", 0, 140),
        )
    )
    (one,) = [f for f in found if f.detail["topic"] == "shares"]
    theirs = chi2_contingency(np.array([[300, 60], [300, 140]]), correction=False)
    assert one.detail["chi_square"] == pytest.approx(theirs.statistic)
    assert one.detail["chance"] == pytest.approx(theirs.pvalue)
    assert one.message.startswith(
        "a makes up 50 % of the training pictures (300 of 600) but 30 % of the test pictures (60"
    )


def test_small_classes_and_a_large_one() -> None:
    small = ((None, "b", "y", 0, 1), (None, "c", "z", 0, 4), (None, "d", "w", 0, 9))
    found = sides.find(listed((None, "a", "x", 0, 400), *small))
    assert topics(found) == [("few", "error"), ("few", "warning"), ("few", "info"), ("ratio", "warning")]
    assert [list(f.detail["classes"]) for f in found[:3]] == [["b"], ["c"], ["d"]]
    assert found[0].message.startswith("1 of 4 classes has only 1 picture in all ('b'): ")
    assert "a has 400 pictures in all, 400 times as many as b with 1" in found[3].message
