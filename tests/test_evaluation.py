"""Results by hand."""

from typing import Any

import numpy as np
import pytest

from tellapart import bootstrap, metrics
from tellapart.evaluation import Evaluation, Slice


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
    cats = values["per_class"]["cats"]
    assert [cats[name] for name in ("precision", "recall", "f1", "support")] == [3 / 4, 3 / 4, 3 / 4, 4]
    # Wilson's interval of 3 of 4.
    assert cats["recall_interval"] == cats["precision_interval"] == pytest.approx([0.3006, 0.9544], abs=1e-4)
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
        "balanced_accuracy", "brier_score", "roc_auc", "top_k", "coverage", "accuracy_when_answered", "coverage_curve",
        "reliability", "intervals", "warnings", "slices", "worst_slice", "folds",
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


def many(n: int = 400, **more: Any) -> Evaluation:
    """Right four times of five, at a confidence of 0.8; classes by turns."""
    labels = np.arange(n) % 2
    right = np.arange(n) % 5 != 0
    of_right = np.where(right, 0.8, 0.2)
    columns = np.stack([np.where(labels == c, of_right, 1 - of_right) for c in (0, 1)], axis=1)
    return Evaluation(("cats", "dogs"), columns, labels, tuple(map(str, range(n))), **more)


def test_the_other_numbers_by_hand(evaluation: Evaluation) -> None:
    values = evaluation.as_dict()
    assert values["balanced_accuracy"] == (3 / 4 + 1 / 2) / 2
    errors = np.array([0.1, 0.2, 0.3, 0.6, 0.6, 0.1])  # what the right class lacks; the other class has as much
    assert values["brier_score"] == pytest.approx(2 * (errors**2).mean())
    # Dogs' probabilities: dogs 0.4 and 0.9 against cats 0.1, 0.2, 0.3, 0.6: 0.9 wins four, 0.4 wins three.
    assert values["roc_auc"] == pytest.approx(7 / 8)
    assert values["top_k"] == {}
    assert (values["coverage"], values["accuracy_when_answered"]) == (1.0, values["accuracy"])
    assert sum(each["n"] for each in values["reliability"]) == 6
    assert values["coverage_curve"][-1] == [1.0, values["accuracy"]]
    assert values["folds"] is None


def test_what_is_declined_is_counted_apart() -> None:
    some = many(10, declined=tuple("looks like none of the classes" if i % 5 == 0 else "" for i in range(10)))
    assert (some.accuracy, some.coverage, some.accuracy_when_answered) == (0.8, 0.8, 1.0)
    assert some.intervals["accuracy_when_answered"] == metrics.wilson_interval(8, 8)
    none = many(10, declined=("no",) * 10)
    assert (none.coverage, none.accuracy_when_answered) == (0.0, None)
    assert "accuracy_when_answered" not in none.intervals


def test_top_k_where_there_are_more_classes() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(6), 50)
    labels = np.argsort(-probabilities, axis=1)[:, 3]  # always the fourth
    some = Evaluation(tuple("abcdef"), probabilities, labels, tuple(map(str, range(50))))
    assert some.top_k == {3: 0.0, 5: 1.0}
    assert some.as_dict()["top_k"] == {"3": 0.0, "5": 1.0}
    assert some.intervals["top_5"] == metrics.wilson_interval(50, 50)


def test_intervals_hold_their_numbers_and_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    some = many()
    for name, (low, high) in some.intervals.items():
        assert low <= getattr(some, name) <= high, name
    again = many().intervals
    assert again == some.intervals
    monkeypatch.setattr(bootstrap, "intervals", lambda *a: pytest.fail("drawn again"))
    assert some.intervals == again


def test_what_a_bundle_keeps_needs_no_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "intervals", lambda *a: pytest.fail("drawn"))
    monkeypatch.setattr(bootstrap, "calibration_by_chance", lambda *a: pytest.fail("drawn"))
    record = many().record()
    assert record["balanced_accuracy"] == 0.8
    assert not {"warnings", "intervals", "slices", "skipped"} & set(record)


def test_folds_have_their_mean_and_spread() -> None:
    some = many(100, folds=np.arange(100) // 25)
    right = some.predicted == some.labels
    each = [right[25 * i : 25 * (i + 1)].mean() for i in range(4)]
    assert some.as_dict()["folds"] == {
        "accuracies": each, "mean": pytest.approx(np.mean(each)), "spread": pytest.approx(np.std(each, ddof=1)),
    }  # fmt: skip


def test_the_worst_part_is_the_surely_worst() -> None:
    day = Slice("folder", "day", 100, 90)
    night, fog = Slice("folder", "night", 100, 40, worse=True), Slice("folder", "fog", 12, 4, worse=True)
    assert (
        many(slices=(day, night, fog)).worst_slice == night
    )  # fog's 4 of 12 may be 61 %, night's 40 no more than 50 %
    assert many(slices=(day,)).worst_slice is None


def test_a_sound_test_has_no_warnings() -> None:
    assert many(2000).warnings == ()


def test_a_bundle_keeps_no_matrix_that_would_make_it_unreadable() -> None:
    """Written, the three matrices of 2,000 classes would be more than a manifest may hold."""
    for n, kept in ((500, True), (501, False)):
        some = Evaluation(tuple(map(str, range(n))), np.eye(n), np.arange(n), tuple(map(str, range(n))))
        assert ("confusion_matrix" in some.record()) == kept
        assert some.as_dict()["confusion_matrix"] == np.eye(n).tolist()
