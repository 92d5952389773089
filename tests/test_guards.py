"""Thresholds by hand, and over many draws whether they keep what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart import guards, metrics
from tellapart.errors import BundleError, SettingsError
from tellapart.guards import Guards, HeldOut, Targets


def held(confidence: list[float], right: list[int], score: list[float] | None = None) -> HeldOut:
    """Of two classes: what is right has the confidence, what is wrong the rest of it."""
    sure = np.array(confidence, np.float32)
    good = np.array(right, bool)
    return HeldOut(sure, good, np.where(good, sure, 1 - sure), np.array(score or [], np.float32))


def drawn(n: int, seed: int, n_classes: int = 5, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities and labels drawn from them."""
    rng = np.random.default_rng(seed)
    rows = metrics.softmax(rng.normal(0, spread, (n, n_classes)))
    return rows, (rows.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, n_classes - 1)


def test_what_is_kept_of_held_out_pictures():
    rows = np.array([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]])
    kept = guards.held_out(rows, np.array([0, 0, 1]), np.array([1.0, 2.0, 3.0]))
    assert kept.confidence == pytest.approx([0.7, 0.6, 0.9])
    assert kept.right.tolist() == [True, False, False]
    assert kept.of_right == pytest.approx([0.7, 0.4, 0.1])
    again = guards.from_bytes(kept.to_bytes())
    assert all((getattr(again, name) == getattr(kept, name)).all() for name in guards.KINDS)
    many = guards.held_out(np.tile(rows, (4000, 1)), np.tile([0, 0, 1], 4000))
    assert len(many) == guards.MOST
    assert len(many.score) == 0


def test_held_out_answers_of_different_lengths_are_refused():
    with pytest.raises(BundleError, match="of one length"):
        guards.from_bytes(HeldOut(np.ones(2, np.float32), np.ones(3, bool), *2 * [np.ones(3, np.float32)]).to_bytes())


def test_the_confidence_from_which_on_enough_answers_are_right():
    # Nine sure answers, one of them wrong, then worse ones: 8 of 9 and one more counted wrong is 8 of 10.
    some = held([0.99] * 5 + [0.9] * 4 + [0.6, 0.6], [1] * 5 + [1, 1, 1, 0] + [0, 1])
    assert guards.sure_enough(some, 0.8) == pytest.approx(0.9)
    assert guards.sure_enough(some, 5 / 6) == pytest.approx(0.99)  # five of five, one more counted wrong
    assert guards.sure_enough(some, 0.75) == 0.0  # 9 of 12 of all: every answer is given
    assert guards.sure_enough(some, 0.9) is None
    assert guards.sure_enough(guards.NOTHING, 0.5) is None


def test_a_share_of_pictures_is_answered():
    some = held([0.5, 0.6, 0.7, 0.8, 0.9], [1] * 5)
    assert guards.answering(some, 0.6) == pytest.approx(0.7)
    assert guards.answering(some, 0.61) == pytest.approx(0.6)
    assert guards.answering(some, 1.0) == 0.0


def test_strangers_are_beyond_what_the_models_own_pictures_reach():
    some = held([0.9] * 99, [1] * 99, [float(i) for i in range(99)])
    assert guards.strange(some, 0.98) == 97.0  # the 98th of 99: ⌈0.98 · 100⌉
    assert guards.strange(some, 0.99) == 98.0
    assert guards.strange(some, 0.995) == math.inf  # too few to tell
    assert guards.strange(held([0.9], [1]), 0.9) == math.inf
    assert guards.strangeness(np.array([-1.0, 0.0, 49.5, 500.0]), some).tolist() == [0, 0, 50 / 99, 1]


def test_reasons_are_told_in_words():
    guard = Guards(Targets(sure=0.99), 0.87, 5.0, 200)
    assert guard.reason(0.9, "cats", 4.0) is None
    assert guard.reason(0.9, "cats", None) is None
    assert guard.reason(0.61, "cats", 4.0) == "not sure enough: cats 61%, and answers need 87%"
    assert guard.reason(0.61, "cats", 5.1) == ("unlike the pictures it knows: stranger than 98% of them")
    assert Guards(Targets()).reason(0.0, "cats", 1e9) is None


def test_guards_stand_in_a_manifest_and_are_not_trusted():
    guard = Guards(Targets(sure=0.99), 0.87, 5.0, 200)
    assert guards.from_dict(guard.as_dict()) == guard
    endless = Guards(Targets(answer=0.9), 0.5, math.inf, 20)
    assert guards.from_dict(endless.as_dict()) == endless
    assert guards.from_dict({}).reason(0.0, "cats", 1e9) is None
    for wrong in (
        {"confidence": "high"},
        {"confidence": math.nan},
        {"keep": None},
        {"sure": 7},
        {"strangeness": math.nan},
    ):
        with pytest.raises(BundleError, match="abstention must be as it was written"):
            guards.from_dict({**guard.as_dict(), **wrong})
    with pytest.raises(BundleError):
        guards.from_dict({"confidence": 0.5})


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (Targets(sure=0.99), "needs at least 99 held-out pictures to be told; there are 50"),
        (Targets(sure=0.9), "cannot be reached: also among the surest of 50"),
        (Targets(sure=1.0), "must be below 1"),
    ],
)
def test_what_cannot_be_promised_is_said(targets: Targets, message: str):
    with pytest.raises(SettingsError, match=message):
        guards.aimed(held([0.9] * 50, [0, 1] * 25), targets)


def test_targets_have_their_ranges():
    for wrong in ({"sure": 0.0}, {"answer": 1.5}, {"keep": -1.0}):
        with pytest.raises(SettingsError, match="must be a share above 0"):
            Targets(**wrong)
    with pytest.raises(SettingsError, match="Only one"):
        Targets(sure=0.9, answer=0.9)
    with pytest.raises(SettingsError, match="above 0 and below 1"):
        guards.least_probability(guards.NOTHING, 1.0)


def test_sets_of_classes_by_hand():
    some = held([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], [1] * 9)
    assert guards.least_probability(some, 0.8) == pytest.approx(0.2)  # the 8th of 9, largest first
    assert guards.least_probability(some, 0.95) == 0.0  # nine are too few
    row = np.array([0.2, 0.5, 0.3])
    assert guards.label_set(row, 0.3) == [1, 2]
    assert guards.label_set(row, 0.9) == [1]  # never empty
    assert guards.label_set(row, 0.0) == [1, 2, 0]


def test_sets_hold_the_right_class_as_often_as_asked_and_are_no_larger_than_needed():
    covered, sizes = [], []
    for seed in range(30):
        least = guards.least_probability(guards.held_out(*drawn(400, seed)), 0.9)
        rows, labels = drawn(400, 1000 + seed)
        sets = [guards.label_set(row, least) for row in rows]
        covered.append(np.mean([label in each for label, each in zip(labels, sets, strict=True)]))
        sizes.append(np.mean([len(each) for each in sets]))
    assert 0.89 < np.mean(covered) < 0.92
    assert np.mean(sizes) < 2.4  # all five classes would do as well, and one alone is right on two thirds


def test_answers_are_right_as_often_as_asked():
    right, share = [], []
    for seed in range(40):
        least = guards.sure_enough(guards.held_out(*drawn(600, seed, spread=3)), 0.95)
        assert least is not None
        rows, labels = drawn(2000, 1000 + seed, spread=3)
        answered = rows.max(axis=1) >= least
        right.append(np.mean(rows.argmax(axis=1)[answered] == labels[answered]))
        share.append(answered.mean())
    assert 0.945 < np.mean(right) < 0.965
    assert np.mean(share) > 0.3  # all of them are right on 84 of 100
