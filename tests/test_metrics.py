"""Numbers against hand-computed values and against scikit-learn."""

import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from tellapart import metrics

# Ten pictures of which nine are right: the interval of the textbooks.
WILSON_9_OF_10 = (0.5958, 0.9821)


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, size=400)
    logits = rng.normal(size=(400, 4)) + 2 * np.eye(4)[labels]
    return metrics.softmax(logits), labels


def test_wilson_interval_of_the_textbook() -> None:
    assert metrics.wilson_interval(9, 10) == pytest.approx(WILSON_9_OF_10, abs=1e-4)


def test_wilson_interval_at_its_ends() -> None:
    assert metrics.wilson_interval(0, 0) == (0.0, 1.0)
    assert metrics.wilson_interval(10, 10)[1] == 1.0
    assert metrics.wilson_interval(0, 10)[0] == 0.0


@given(st.integers(0, 200), st.integers(1, 200))
def test_wilson_interval_solves_its_own_equation(n_right: int, n: int) -> None:
    """Its ends are where |p̂ - p| = z √(p(1-p)/n): that is how Wilson defined them."""
    n_right = min(n_right, n)
    for end in metrics.wilson_interval(n_right, n):
        distance = metrics.Z_95 * math.sqrt(end * (1 - end) / n)
        assert abs(n_right / n - end) == pytest.approx(distance, abs=1e-9)


def test_softmax_by_hand_and_without_overflow() -> None:
    assert metrics.softmax(np.array([[0.0, math.log(3)]])) == pytest.approx(np.array([[0.25, 0.75]]))
    assert metrics.softmax(np.array([[0.0, 1e4]])) == pytest.approx(np.array([[0.0, 1.0]]))
    assert metrics.softmax(np.array([[0.0, 2 * math.log(3)]]), temperature=2.0)[0, 1] == pytest.approx(0.75)


def test_one_sigmoid_equals_its_two_logits() -> None:
    z = 1.7
    assert metrics.softmax(np.array([[0.0, z]]))[0, 1] == pytest.approx(1 / (1 + math.exp(-z)))


def test_log_loss_confusion_and_scores_equal_scikit_learn(answers) -> None:
    probabilities, labels = answers
    predicted = probabilities.argmax(axis=1)
    assert metrics.log_loss(probabilities, labels) == pytest.approx(sklearn.metrics.log_loss(labels, probabilities))
    confusion = metrics.confusion_matrix(predicted, labels, 4)
    assert np.array_equal(confusion, sklearn.metrics.confusion_matrix(labels, predicted))
    theirs = sklearn.metrics.precision_recall_fscore_support(labels, predicted)
    for i, scores in enumerate(metrics.class_scores(confusion)):
        ours = (scores.precision, scores.recall, scores.f1, scores.support)
        assert ours == pytest.approx(tuple(column[i] for column in theirs))
    assert metrics.accuracy(probabilities, labels) == sklearn.metrics.accuracy_score(labels, predicted)


def test_one_sure_mistake_leaves_the_log_loss_finite() -> None:
    assert metrics.log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(36.04, abs=0.01)


def test_a_class_without_pictures_or_answers_has_no_score() -> None:
    scores = metrics.class_scores(np.array([[2, 0, 0], [0, 0, 1], [0, 0, 0]]))
    low = 2 / (2 + metrics.Z_95**2)  # Wilson's lower end of 2 of 2
    assert scores[0].precision_interval == scores[0].recall_interval == (pytest.approx(low), 1.0)
    assert (scores[0].precision, scores[0].recall, scores[0].f1, scores[0].support) == (1.0, 1.0, 1.0, 2)
    assert (scores[1].precision, scores[1].precision_interval, scores[1].recall) == (None, None, 0.0)
    assert scores[2].recall is None
    assert scores[2].precision == 0.0


def test_baseline_is_the_commonest_class() -> None:
    assert metrics.baseline_accuracy(np.array([0, 1, 1, 1])) == 0.75


def test_calibration_error_by_hand() -> None:
    # Four answers at 0.8, of which three are right: a gap of 0.05. One at 0.6 that is right: a gap of 0.4.
    probabilities = np.array([[0.8, 0.2]] * 4 + [[0.6, 0.4]])
    labels = np.array([0, 0, 0, 1, 0])
    expected = (4 * 0.05 + 1 * 0.4) / 5
    assert metrics.expected_calibration_error(probabilities, labels) == pytest.approx(expected)


def test_calibration_error_of_sure_and_right_answers_is_zero() -> None:
    assert metrics.expected_calibration_error(np.eye(3), np.arange(3)) == 0.0


def test_the_new_numbers_equal_scikit_learn(answers) -> None:
    probabilities, labels = answers
    ours = metrics.balanced_accuracy(probabilities, labels)
    assert ours == pytest.approx(sklearn.metrics.balanced_accuracy_score(labels, probabilities.argmax(axis=1)))
    ours = metrics.roc_auc(probabilities, labels)
    assert ours == pytest.approx(sklearn.metrics.roc_auc_score(labels, probabilities, multi_class="ovr"))
    for k in (1, 2, 3):
        ours = metrics.top_k_accuracy(probabilities, labels, k)
        assert ours == pytest.approx(sklearn.metrics.top_k_accuracy_score(labels, probabilities, k=k))
    ours = metrics.brier_score(probabilities, labels)
    assert ours == pytest.approx(((probabilities - np.eye(4)[labels]) ** 2).sum(axis=1).mean())
    two, which = probabilities[:, :2] / probabilities[:, :2].sum(axis=1, keepdims=True), labels % 2
    assert metrics.brier_score(two, which) == pytest.approx(2 * ((two[:, 1] - which) ** 2).mean())
    assert metrics.roc_auc(two, which) == pytest.approx(sklearn.metrics.roc_auc_score(which, two[:, 1]))
    ties = two.round(1)
    assert metrics.roc_auc(ties, which) == pytest.approx(sklearn.metrics.roc_auc_score(which, ties[:, 1]))


def test_a_class_that_never_comes_is_left_out_of_means(answers) -> None:
    probabilities, labels = answers
    there = labels != 2
    probabilities, labels = probabilities[there], labels[there]
    areas = [sklearn.metrics.roc_auc_score(labels == c, probabilities[:, c]) for c in (0, 1, 3)]
    assert metrics.roc_auc(probabilities, labels) == pytest.approx(np.mean(areas))
    right = probabilities.argmax(axis=1) == labels
    assert metrics.balanced_accuracy(probabilities, labels) == pytest.approx(
        np.mean([right[labels == c].mean() for c in (0, 1, 3)])
    )
    assert metrics.roc_auc(probabilities[labels == 0], labels[labels == 0]) is None


def test_areas_by_hand() -> None:
    # Second class: scores 0.9, 0.4, 0.4; first: 0.6, 0.4, 0.1. Pairs won: 3 + (0 + ½ + 1) twice = 6 of 9.
    of_second = np.array([0.9, 0.4, 0.4, 0.6, 0.4, 0.1])
    probabilities = np.stack([1 - of_second, of_second], axis=1)
    assert metrics.roc_auc(probabilities, np.array([1, 1, 1, 0, 0, 0])) == pytest.approx(6 / 9)


def test_equal_probabilities_go_to_the_first_class() -> None:
    probabilities = np.array([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])
    assert metrics.top_k_accuracy(probabilities, np.array([0, 1]), 1) == 0.5
    assert metrics.top_k_accuracy(probabilities, np.array([0, 1]), 2) == 1.0


def test_bins_hold_their_upper_end() -> None:
    # 0.8 = 12/15 is the upper end of bin 12; four answers there, three right. 0.6 = 9/15, one right.
    probabilities = np.array([[0.8, 0.2]] * 4 + [[0.6, 0.4]])
    low, high = metrics.reliability(probabilities, np.array([0, 0, 0, 1, 0]))
    assert (low.low, low.high, low.n, low.confidence, low.accuracy) == (8 / 15, 9 / 15, 1, 0.6, 1.0)
    assert (high.low, high.high, high.n, high.accuracy) == (11 / 15, 12 / 15, 4, 0.75)
    assert high.confidence == pytest.approx(0.8)


def test_the_surest_are_answered_first() -> None:
    confidence = np.array([0.7, 0.9, 0.6, 0.7])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    curve = metrics.coverage_curve(probabilities, np.array([0, 0, 1, 1]))  # right, right, wrong, wrong
    assert curve == ((0.25, 1.0), (0.75, pytest.approx(2 / 3)), (1.0, 0.5))
    rng = np.random.default_rng(0)
    many = metrics.softmax(rng.normal(size=(5000, 2)))
    curve = metrics.coverage_curve(many, np.zeros(5000, int))
    assert len(curve) == metrics.MOST_POINTS
    assert curve[-1] == (1.0, pytest.approx(metrics.accuracy(many, np.zeros(5000, int))))


def test_the_interval_of_nothing_right_begins_at_nothing() -> None:
    # The formula itself misses 0 by a rounding for a quarter of these.
    assert all(metrics.wilson_interval(0, n)[0] == 0.0 for n in range(1, 100))
    assert all(metrics.wilson_interval(n, n)[1] == 1.0 for n in range(1, 100))


def test_softmax_is_in_double_precision_and_row_by_row() -> None:
    found = metrics.softmax(np.array([[0.0, 1.0], [-2000.0, -2001.0]], dtype=np.float16))
    assert found.dtype == np.float64
    sigmoid = 1 / (1 + math.exp(-1))
    assert found == pytest.approx(np.array([[1 - sigmoid, sigmoid], [sigmoid, 1 - sigmoid]]), abs=1e-12)


def test_a_confidence_of_more_than_one_by_a_rounding() -> None:
    probabilities = np.array([[1 + 2.0**-40, 0.0], [0.5, 0.5]])
    assert metrics.log_loss_terms(probabilities, np.array([0, 0])).tolist() == [0.0, math.log(2)]
    assert metrics.confidence_bins(probabilities, 2).tolist() == [1, 0]
    assert metrics.confidence_bins(probabilities, 1).tolist() == [0, 0]
    assert metrics.confidence_bins(probabilities).tolist() == [14, 7]
