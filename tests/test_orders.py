"""Splits and classes that go by the names of files, or by time, from catalogs written by hand."""

from __future__ import annotations

import math

from conftest import listed
from tellapart import sides


def topics(found) -> list[tuple[str, str]]:
    return [(each.detail["topic"], each.severity) for each in found]


def test_numbers_that_run_on_are_for_information_and_a_warning_where_classes_differ() -> None:
    same = (("train", "a", "x", 0, 40), ("test", "a", "x", 40, 20), ("train", "b", "x", 0, 40))
    found = sides.find(listed(*same, ("test", "b", "x", 40, 20)))
    assert topics(found) == [("order", "info")]
    assert found[0].message.startswith("In 2 of 2 classes all test pictures have higher numbers in their names")
    found = sides.find(listed(*same, ("test", "b", "x", 5, 20)))
    assert topics(found) == [("order", "warning")]


def test_another_beginning_of_names_in_the_test_split() -> None:
    found = sides.find(
        listed(*((s, c, n, 0, k) for s, n, k in (("train", "IMG_", 40), ("test", "DSC_", 20)) for c in ("a", "b")))
    )
    assert topics(found) == [("source", "warning")]
    assert "100 % are told rightly by it, where guessing does 67 %" in found[0].message
    # A name of its own for each class says nothing of the split.
    assert sides.find(listed(*((s, c, c, 0, k) for s, k in (("train", 40), ("test", 20)) for c in ("a", "b")))) == []


def test_times_that_do_not_overlap() -> None:
    photos = listed(*((s, c, c, 0, k) for s, k in (("train", 40), ("test", 20)) for c in ("a", "b")))
    days = [100.0 + i / 50 if entry.split == "train" else 110 + i / 50 for i, entry in enumerate(photos.entries)]
    found = sides.find(photos, [86400 * day for day in days])
    assert topics(found) == [("time", "info")]
    assert sides.find(photos, [0.0] * len(days)) == []  # unpacked in one go
    assert sides.find(photos, [math.nan] * len(days)) == []


def test_classes_numbered_one_after_the_other() -> None:
    found = sides.find(listed((None, "cats", "img_", 0, 50), (None, "dogs", "img_", 50, 50)))
    assert topics(found) == [("turns", "info")]
    assert "(img_: cats 0–49, dogs 50–99)" in found[0].message
