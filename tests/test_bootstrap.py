"""Intervals against plain resampling with scikit-learn, and against each other."""

import time

import numpy as np
import pytest
import sklearn.metrics

from tellapart import bootstrap, metrics


def answers(n: int, n_classes: int, seed: int = 0, good: float = 2.0, digits: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    logits = rng.normal(size=(n, n_classes)) + good * np.eye(n_classes)[labels]
    return metrics.softmax(logits.round(digits)), labels


@pytest.mark.parametrize(("n_classes", "digits"), [(2, 9), (3, 9), (3, 0)])
def test_intervals_are_those_of_plain_resampling(n_classes: int, digits: int) -> None:
    """By picking pictures with repetition and asking scikit-learn; with digits 0 most scores are ties."""
    probabilities, labels = answers(150, n_classes, digits=digits)
    rng, drawn = np.random.default_rng(5), []
    for _ in range(400):
        at = rng.integers(0, 150, 150)
        p, y = probabilities[at], labels[at]
        scores = p[:, 1] if n_classes == 2 else p
        drawn.append(
            (
                sklearn.metrics.balanced_accuracy_score(y, p.argmax(axis=1)),
                sklearn.metrics.log_loss(y, p, labels=range(n_classes)),
                ((p - np.eye(n_classes)[y]) ** 2).sum(axis=1).mean(),
                sklearn.metrics.roc_auc_score(y, scores, multi_class="ovr"),
            )
        )
    theirs = np.quantile(drawn, [0.025, 0.975], axis=0)
    ours = bootstrap.intervals(probabilities, labels)
    for i, name in enumerate(("balanced_accuracy", "log_loss", "brier_score", "roc_auc")):
        width = theirs[1, i] - theirs[0, i]
        assert ours[name] == pytest.approx(theirs[:, i], abs=0.15 * width), name  # what 400 draws are off by


def test_a_draw_s_own_numbers_are_exact() -> None:
    """The weighted area equals scikit-learn's with weights, with ties and without."""
    rng = np.random.default_rng(1)
    for digits in (9, 1):
        scores, positive = rng.random(60).round(digits), rng.random(60) < 0.3
        weights = rng.integers(0, 4, (60, 5)).astype(np.float32)
        ours = bootstrap._area(weights, bootstrap._curve(scores, positive))
        for draw in range(5):
            theirs = sklearn.metrics.roc_auc_score(positive, scores, sample_weight=weights[:, draw])
            assert ours[draw] == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_both_ways_agree(n_classes: int) -> None:
    probabilities, labels = answers(3000, n_classes)
    draws, spread = bootstrap._by_bootstrap(probabilities, labels, 0), bootstrap._by_spread(probabilities, labels)
    assert set(draws) == set(spread) == set(bootstrap.NAMES)
    for name, interval in draws.items():
        width = interval[1] - interval[0]
        assert spread[name] == pytest.approx(interval, abs=0.12 * width), name


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Balanced accuracy of 120 pictures, the truth from a million."""
    truth = metrics.balanced_accuracy(*answers(1_000_000, 3, seed=99))
    held = 0
    for seed in range(100):
        low, high = bootstrap.intervals(*answers(120, 3, seed=seed))["balanced_accuracy"]
        held += low <= truth <= high
    assert held >= 88  # 95 expected; fewer than 88 come in 1 of 300 runs at 95 %


def test_the_same_seed_the_same_interval() -> None:
    some = answers(80, 3)
    assert bootstrap.intervals(*some) == bootstrap.intervals(*some)
    assert bootstrap.intervals(*some) != bootstrap.intervals(*some, seed=1)


def test_one_class_has_no_curve() -> None:
    probabilities, _ = answers(30, 2)
    found = bootstrap.intervals(probabilities, np.zeros(30, np.int64))
    assert "roc_auc" not in found
    assert set(found) == set(bootstrap.NAMES) - {"roc_auc"}


def test_one_picture_is_no_trouble() -> None:
    found = bootstrap.intervals(np.array([[0.2, 0.8]]), np.array([1]))
    assert found["log_loss"] == pytest.approx((-np.log(0.8), -np.log(0.8)), rel=1e-6)
    assert found["brier_score"] == pytest.approx((0.08, 0.08), rel=1e-6)


def test_chance_explains_the_error_of_true_probabilities() -> None:
    """Answers that are right as often as they say stay below the limit in about 99 of 100; sure ones do not."""
    rng, below = np.random.default_rng(2), 0
    for _ in range(100):
        sure = rng.uniform(0.5, 1.0, 300)
        probabilities = np.stack([sure, 1 - sure], axis=1)
        labels = (rng.random(300) > sure).astype(int)
        error = metrics.expected_calibration_error(probabilities, labels)
        below += error <= bootstrap.calibration_by_chance(probabilities)
    assert below >= 95
    sure = np.full(300, 0.99)
    too_sure = np.stack([sure, 1 - sure], axis=1)
    assert bootstrap.calibration_by_chance(too_sure) < 0.03 < 0.19  # right 80 % of the time is an error of 0.19


def test_it_is_fast() -> None:
    probabilities, labels = answers(2000, 10)
    start = time.process_time()  # what else the machine does is no fault of it
    bootstrap.intervals(probabilities, labels)
    assert time.process_time() - start < 1.5
    assert not bootstrap.by_draws(*answers(100_000, 10))
