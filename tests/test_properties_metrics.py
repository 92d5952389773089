"""Metrics and calibration of any answers, held against scikit-learn, scipy, and plain loops."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from conftest import examples
from tellapart import calibration, metrics, paired


@st.composite
def answers(draw: st.DrawFn, ties: bool | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, float64 (N, C), many equal where `ties`, and labels, int (N,): often not of all classes."""
    n, n_classes = draw(st.integers(1, 60)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = rng.integers(0, draw(st.integers(1, n_classes)), n)
    logits = rng.normal(size=(n, n_classes)) * draw(st.sampled_from([0.1, 1.0, 5.0, 40.0]))
    logits[np.arange(n), labels] += draw(st.sampled_from([0.0, 1.0, 4.0]))
    if draw(st.booleans()) if ties is None else ties:
        logits = logits.round()
    return metrics.softmax(logits), labels


@examples(60)
@given(answers())
def test_shares_and_losses_are_those_of_scikit_learn(given_answers: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = given_answers
    n_classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
    every = list(range(n_classes))
    assert metrics.accuracy(probabilities, labels) == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted))
    assert metrics.log_loss(probabilities, labels) == pytest.approx(
        sklearn.metrics.log_loss(labels, probabilities, labels=every), abs=1e-9
    )
    truth = np.eye(n_classes)[labels]
    assert metrics.brier_score(probabilities, labels) == pytest.approx(((probabilities - truth) ** 2).sum(1).mean())
    assert metrics.baseline_accuracy(labels) == max(labels.tolist().count(c) for c in every) / len(labels)
    recalls = [np.mean(predicted[labels == c] == c) for c in np.unique(labels)]
    assert metrics.balanced_accuracy(probabilities, labels) == pytest.approx(np.mean(recalls))


@examples(60)
@given(answers())
def test_the_table_of_answers_and_its_scores_are_those_of_scikit_learn(
    given_answers: tuple[np.ndarray, np.ndarray],
) -> None:
    probabilities, labels = given_answers
    n_classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
    confusion = metrics.confusion_matrix(predicted, labels, n_classes)
    assert confusion.dtype == np.int64
    assert np.array_equal(confusion, sklearn.metrics.confusion_matrix(labels, predicted, labels=list(range(n_classes))))
    theirs = sklearn.metrics.precision_recall_fscore_support(
        labels, predicted, labels=list(range(n_classes)), zero_division=np.nan
    )
    for i, scores in enumerate(metrics.class_scores(confusion)):
        precision, recall, f1, support = (column[i] for column in theirs)
        ours = [math.nan if x is None else x for x in (scores.precision, scores.recall, scores.f1)]
        # Without answers or pictures of the class scikit-learn's F1 is 0 or not a number; ours is None or 0.
        assert ours[:2] == pytest.approx([precision, recall], nan_ok=True)
        assert np.nan_to_num(ours[2]) == pytest.approx(np.nan_to_num(f1))
        assert scores.support == support
        for share, interval, n in (
            (scores.precision, scores.precision_interval, confusion[:, i].sum()),
            (scores.recall, scores.recall_interval, support),
        ):
            assert (share is None) == (interval is None) == (n == 0)
            if interval is not None:
                theirs_at = scipy.stats.binomtest(int(confusion[i, i]), int(n)).proportion_ci(method="wilson")
                assert interval == pytest.approx(tuple(theirs_at), abs=1e-9)


@examples(60)
@given(answers(), st.integers(1, 6))
def test_ranks_are_those_of_scikit_learn(given_answers: tuple[np.ndarray, np.ndarray], k: int) -> None:
    probabilities, labels = given_answers
    classes = metrics.judged_classes(probabilities, labels)
    if len(set(labels.tolist())) < 2:
        assert classes == []
        assert metrics.roc_auc(probabilities, labels) is None
    else:
        assert classes == ([1] if probabilities.shape[1] == 2 else sorted(set(labels.tolist())))
        areas = [sklearn.metrics.roc_auc_score(labels == c, probabilities[:, c]) for c in classes]
        assert metrics.roc_auc(probabilities, labels) == pytest.approx(np.mean(areas))
    # A stable sort puts the first of equals first.
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    assert metrics.top_k_accuracy(probabilities, labels, k) == np.mean((order == labels[:, None]).any(axis=1))


@examples(40)
@given(answers())
def test_placements_count_pairs(given_answers: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = given_answers
    scores, positive = probabilities[:, 0], labels == 0
    if positive.all() or not positive.any():
        return
    for i, placed in enumerate(metrics.placements(scores, positive)):
        others = scores[positive != positive[i]]
        won = [(mine > theirs) + (mine == theirs) / 2 for theirs in others for mine in [scores[i]]]
        expected = sum(won) / len(won)
        assert placed == pytest.approx(expected if positive[i] else 1 - expected)


@examples(60)
@given(answers(), st.integers(1, 20))
def test_calibration_is_that_of_a_plain_loop_over_bins(
    given_answers: tuple[np.ndarray, np.ndarray], n_bins: int
) -> None:
    probabilities, labels = given_answers
    bins: dict[int, list[tuple[float, bool]]] = {}
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        top = max(row)
        i = next(i for i in range(n_bins) if top * n_bins <= i + 1 or i == n_bins - 1)
        bins.setdefault(i, []).append((top, row.index(top) == label))
    error = 0.0
    reliability = metrics.reliability(probabilities, labels, n_bins)
    assert [(b.low, b.high) for b in reliability] == [(i / n_bins, (i + 1) / n_bins) for i in sorted(bins)]
    for bin_, i in zip(reliability, sorted(bins), strict=True):
        confidence = statistics.fmean(each for each, _ in bins[i])
        accuracy = statistics.fmean(float(right) for _, right in bins[i])
        assert (bin_.n, bin_.confidence, bin_.accuracy) == (
            len(bins[i]),
            pytest.approx(confidence),
            pytest.approx(accuracy),
        )
        error += len(bins[i]) * abs(accuracy - confidence)
    assert metrics.expected_calibration_error(probabilities, labels, n_bins) == pytest.approx(
        error / len(labels), abs=1e-12
    )


@examples(40)
@given(answers())
def test_the_surest_answers_come_first_and_equals_together(given_answers: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = given_answers
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    expected = [
        (float(np.mean(confidence >= level)), float(right[confidence >= level].mean()))
        for level in sorted(set(confidence.tolist()), reverse=True)
    ]
    found = metrics.coverage_curve(probabilities, labels)
    assert np.array(found) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("n", [199, 200, 201, 1000])
def test_a_long_curve_is_thinned_evenly_with_both_its_ends(n: int) -> None:
    top = np.linspace(0.6, 0.9, n)
    curve = metrics.coverage_curve(np.stack([top, 1 - top], axis=1), np.zeros(n, int))
    shares = [share for share, _ in curve]
    assert len(curve) == min(n, metrics.MOST_POINTS)
    assert (shares[0], shares[-1]) == (1 / n, 1.0)
    gaps = np.diff(shares) * n
    assert gaps.max() - gaps.min() <= 1 + 1e-6
    assert all(accuracy == 1.0 for _, accuracy in curve)


@examples(60)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_paired_tests_are_those_of_scipy(gained: int, lost: int, others: int) -> None:
    n = gained + lost + others
    exact = scipy.stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert paired.mcnemar(gained, lost) == pytest.approx(exact, rel=1e-9)
    assert paired.tells_apart(gained, lost) == (exact < 0.05)
    low, high = paired.difference_interval(gained, lost, n)
    assert -1 <= low <= high <= 1
    if n:
        assert low <= (gained - lost) / n <= high
        mirrored = paired.difference_interval(lost, gained, n)
        assert mirrored == pytest.approx((-high, -low), abs=1e-9)
        assert (low > 0 or high < 0) <= paired.tells_apart(gained, lost)


@examples(30)
@given(answers(ties=False), st.floats(0.3, 3))
def test_the_temperature_is_where_scipy_finds_the_lowest_loss(
    given_answers: tuple[np.ndarray, np.ndarray], scale: float
) -> None:
    probabilities, labels = given_answers
    logits = np.log(np.clip(probabilities, 1e-12, 1)) * scale
    shifted = logits + np.linspace(-5, 5, len(labels))[:, None]

    def loss(log_t: float) -> float:
        scaled = logits / math.exp(log_t)
        picked = scaled[np.arange(len(labels)), labels]
        nats = np.minimum(scipy.special.logsumexp(scaled, axis=1) - picked, -math.log(np.finfo(float).eps))
        return float(nats.sum()) + log_t**2 / (2 * calibration.PRIOR**2)

    found = calibration.temperature(logits, labels)
    theirs = scipy.optimize.minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded")
    assert loss(math.log(found)) <= theirs.fun + 1e-3
    assert calibration.temperature(shifted, labels) == pytest.approx(found, rel=2e-3)


@examples(20)
@given(answers(ties=False), st.integers(1, 4))
def test_no_fold_has_a_say_in_its_own_temperature(given_answers: tuple[np.ndarray, np.ndarray], n_folds: int) -> None:
    probabilities, labels = given_answers
    logits, folds = np.log(np.clip(probabilities, 1e-12, 1)), np.arange(len(labels)) % n_folds
    found = calibration.by_turns(logits, labels, folds)
    assert found.sum(axis=1) == pytest.approx(1)
    mine = folds == 0
    wrong = np.where(mine, 1 - labels.clip(max=1), labels)
    again = calibration.by_turns(logits, wrong, folds)
    assert np.array_equal(found[mine], again[mine])
    if n_folds == 1:  # there are no others
        assert found == pytest.approx(probabilities, abs=1e-6)
