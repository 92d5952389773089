"""Results by hand."""

import numpy as np
import pytest

from tellapart.evaluation import Evaluation


@pytest.fixture
def evaluation() -> Evaluation:
    """Four cats of which three are found, two dogs of which one is found; the first two were trained on."""
    cats = np.array([0.9, 0.8, 0.7, 0.4, 0.6, 0.1])
    return Evaluation(
        classes=("cats", "dogs"),
        probabilities=np.stack([cats, 1 - cats], axis=1),
        labels=np.array([0, 0, 0, 0, 1, 1]),
        paths=tuple("abcdef"),
        skipped=(("x.jpg", "empty file (0 bytes)"),),
        trained_on=np.array([True, True, False, False, False, False]),
    )


def test_the_contract_of_json(evaluation: Evaluation) -> None:
    values = evaluation.as_dict()
    assert values["accuracy"] == pytest.approx(4 / 6)
    assert values["accuracy_interval"] == pytest.approx([0.3000, 0.9032], abs=1e-4)
    assert values["baseline_accuracy"] == pytest.approx(4 / 6)
    assert values["confusion_matrix"] == [[3, 1], [1, 1]]
    assert values["classes"] == ["cats", "dogs"]
    assert values["per_class"]["cats"] == pytest.approx(
        {"precision": 3 / 4, "recall": 3 / 4, "f1": 3 / 4, "support": 4}
    )
    assert values["n"] == 6
    assert values["skipped"] == [{"path": "x.jpg", "reason": "empty file (0 bytes)"}]
    assert values["n_trained_on"] == 2
    assert values["accuracy_unseen"] == 2 / 4
    expected = -np.log([0.9, 0.8, 0.7, 0.4, 0.4, 0.9]).mean()
    assert values["log_loss"] == pytest.approx(expected)


def test_unseen_leaves_out_what_was_trained_on(evaluation: Evaluation) -> None:
    unseen = evaluation.unseen()
    assert unseen is not None
    assert unseen.paths == tuple("cdef")
    assert unseen.n_trained_on == 0


def test_nothing_is_left_where_all_were_trained_on(evaluation: Evaluation) -> None:
    seen = Evaluation(
        evaluation.classes, evaluation.probabilities, evaluation.labels, evaluation.paths, trained_on=np.ones(6, bool)
    )
    assert seen.unseen() is None
    assert seen.as_dict()["accuracy_unseen"] is None


def test_a_notebook_shows_it_with_names_escaped(evaluation: Evaluation) -> None:
    odd = Evaluation(("<b>", "a\nb"), evaluation.probabilities, evaluation.labels, evaluation.paths)
    shown = odd._repr_html_()
    assert "Accuracy 66.7%" in shown
    assert "&lt;b&gt;" in shown
    assert "<td><b><b></b></td>" not in shown
    assert "a\\nb" in shown
    assert "<td>3</td><td>1</td>" in shown


def test_all_numbers_equal_scikit_learns_and_scipys() -> None:
    """200 pictures of four classes, one of which never comes and one of which is never answered."""
    from scipy.stats import binomtest
    from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support

    rng = np.random.default_rng(8)
    labels = rng.choice([0, 1, 2], 200, p=[0.5, 0.3, 0.2])
    probabilities = rng.dirichlet([1.0, 1.0, 0.01, 1.0], 200)
    probabilities[np.arange(200), labels] += 0.6 * (labels != 2)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    ours = Evaluation(("a", "b", "c", "d"), probabilities, labels, tuple(map(str, range(200))))
    answers, each = probabilities.argmax(axis=1), [0, 1, 2, 3]
    assert ours.accuracy == pytest.approx(accuracy_score(labels, answers))
    interval = binomtest(int((answers == labels).sum()), 200).proportion_ci(method="wilson")
    assert ours.accuracy_interval == pytest.approx((interval.low, interval.high))
    assert ours.baseline_accuracy == np.bincount(labels).max() / 200
    assert ours.confusion.tolist() == confusion_matrix(labels, answers, labels=each).tolist()
    values = ours.as_dict()
    assert values["log_loss"] == pytest.approx(log_loss(labels, probabilities, labels=each))
    theirs = precision_recall_fscore_support(labels, answers, labels=each, zero_division=np.nan)
    for i, name in enumerate(ours.classes):
        for field, column in zip(("precision", "recall", "f1", "support"), theirs, strict=True):
            mine = values["per_class"][name][field]
            expected = None if np.isnan(column[i]) else pytest.approx(column[i])
            assert mine == expected, (name, field)
    assert values["per_class"]["d"]["recall"] is None  # it never comes


def test_calibration_error_by_hand(evaluation: Evaluation) -> None:
    """Confidences 0.9, 0.8, 0.7 right; 0.6 wrong, 0.6 wrong, 0.9 right: the two 0.6 share a bin, and the two 0.9."""
    expected = (2 * 0.1 + 0.2 + 0.3 + 2 * 0.6) / 6
    assert evaluation.as_dict()["expected_calibration_error"] == pytest.approx(expected)


def test_json_has_the_fields_of_the_contract_and_plain_values(evaluation: Evaluation) -> None:
    import json

    values = json.loads(json.dumps(evaluation.as_dict(), allow_nan=False))
    assert set(values) == {
        "accuracy", "accuracy_interval", "baseline_accuracy", "log_loss", "expected_calibration_error", "classes",
        "per_class", "confusion_matrix", "n", "skipped", "split", "n_trained_on", "accuracy_unseen",
    }  # fmt: skip
    assert values == evaluation.as_dict()


def test_without_word_of_training_all_is_unseen(evaluation: Evaluation) -> None:
    plain = Evaluation(evaluation.classes, evaluation.probabilities, evaluation.labels, evaluation.paths)
    unseen = plain.unseen()
    assert unseen is not None
    assert unseen.n == 6
    assert plain.as_dict()["accuracy_unseen"] == plain.accuracy


def test_one_picture_is_an_evaluation_too() -> None:
    one = Evaluation(("a", "b"), np.array([[0.2, 0.8]]), np.array([1]), ("x",))
    low, high = one.accuracy_interval
    # Wilson at 1 of 1: (1 / (1 + z²), 1) with z = 1.96.
    assert (low, high) == (pytest.approx(1 / (1 + 1.959964**2)), 1.0)
    assert (one.accuracy, one.baseline_accuracy) == (1.0, 1.0)
