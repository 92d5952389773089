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
