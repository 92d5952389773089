"""Sentences that go with an evaluation."""

import numpy as np

from tellapart import caveats, metrics


def test_a_small_test_says_how_many_pictures_would_do() -> None:
    # 16 of 20: Wilson says 58.4 % to 91.9 %. At (16 + 2) / 24 = 0.75, 1.96² · 0.75 · 0.25 / 0.02² = 1,801.
    assert caveats.small(16, 20) == (
        "The test is too small to tell: with 20 pictures the accuracy may be anything from 58% to 92%. "
        "About 1,900 would tell it within 2 points."
    )
    assert caveats.small(800, 1000) is None


def test_so_many_pictures_do() -> None:
    for n_right, n in ((16, 20), (20, 20), (99, 100), (3, 4)):
        needed = caveats.pictures_needed(n_right, n)
        low, high = metrics.wilson_interval(round(needed * (n_right + 2) / (n + 4)), needed)
        assert high - low <= 2.2 * caveats.WANTED


def test_not_above_the_baseline() -> None:
    assert caveats.baseline(60, 100, 0.6) == (
        "The accuracy is not surely above that of always answering the commonest class (60.0%)."
    )
    assert caveats.baseline(90, 100, 0.6) is None
    assert caveats.baseline(1, 100, 1.0) is None  # one class alone


def scores(**support: int) -> dict[str, metrics.ClassScores]:
    return {name: metrics.ClassScores(None, None, None, n) for name, n in support.items()}


def test_classes_that_were_hardly_tested() -> None:
    assert caveats.classes(scores(a=10, b=50)) == []
    assert caveats.classes(scores(a=0, b=50)) == [
        "All pictures are of one class, 'b': how well others are told from it is not known."
    ]
    few, absent = caveats.classes(scores(a=3, b=50, c=9, d=1, e=0, f=2))[::-1]
    assert absent == "Not tested at all, for want of pictures: 'e'."
    assert few == (
        "Fewer than 10 test pictures, so that their own figures say little: "
        "'a' (3), 'c' (9), 'd' (1) and 1 more classes."
    )


def test_pictures_that_were_trained_on() -> None:
    assert caveats.seen(0, 0.9, None) is None
    assert caveats.seen(1, 0.9, (0.8, 40)) == (
        "1 of these pictures was trained on, so the accuracy looks better than it is. Without them: 80.0% on 40."
    )
    assert caveats.seen(6, 0.9, (0.95, 40)) == (
        "6 of these pictures were trained on: they say little about new ones. Without them: 95.0% on 40."
    )
    assert caveats.seen(6, 0.9, None) == (
        "6 of these pictures were trained on, so the accuracy looks better than it is. None is left without them."
    )


def test_probabilities_that_promise_too_much() -> None:
    sure = np.full(100, 0.9)
    probabilities = np.stack([sure, 1 - sure], axis=1)
    labels = (np.arange(100) >= 70).astype(int)
    bins = metrics.reliability(probabilities, labels)
    error = metrics.expected_calibration_error(probabilities, labels)
    assert caveats.calibration(error, 0.1, bins) == (
        "Do not take its probabilities at their word: where it says about 90%, it is right 70% of the time "
        "(100 pictures): it is too sure of itself."
    )
    assert caveats.calibration(error, 0.25, bins) is None  # chance may be so far off
    assert caveats.calibration(0.01, 0.001, bins) is None  # too little to matter
