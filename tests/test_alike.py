"""One class under two names; the area under the curve against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from conftest import clouds
from tellapart import alike, suspects


def test_told_apart_is_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 30, 10])
    answers = rng.dirichlet([1, 1, 1], 80)
    pair = alike.told_apart(answers, labels, 0, 1)
    both = labels < 2
    theirs = roc_auc_score(labels[both] == 0, np.log(answers[both, 0] / answers[both, 1]))
    assert pair.right == pytest.approx(theirs)
    assert pair.low < theirs < pair.high


def test_one_class_under_two_names() -> None:
    features, labels = clouds(150, 4.0, 2)
    labels = np.concatenate([np.arange(150) % 2, labels[150:] + 1])  # the first cloud under two names
    judged = suspects.judge(features, labels, 3)
    (one,) = alike.find(judged.answers, labels, ["lorry", "truck", "owl"])
    assert (one.kind, one.severity, one.detail["classes"]) == ("imbalance", "warning", ["lorry", "truck"])
    assert one.detail["told_apart"] < 0.65
    assert one.message.startswith("lorry and truck can hardly be told apart: shown a picture of each, one can say")
