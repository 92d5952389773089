"""One class under two names; the area under the curve against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tellapart import alike, suspects


def clouds(n: int, apart: float, n_classes: int = 2, d: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Normal clouds, n a class, their centres `apart` standard deviations from the middle along an axis each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes), n)
    features = rng.normal(size=(len(labels), d))
    features[np.arange(len(labels)), labels] += apart
    return features.astype(np.float16), labels


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
