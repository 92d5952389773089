"""Probabilities and labels to numbers.

Everything takes `probabilities`, float (N, C), rows that sum to 1, and `labels`, int (N,), values 0 to C - 1,
and needs numpy alone, so that a slim install can evaluate. The tests compare with scikit-learn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054  # the normal quantile of a two-sided 95 % interval


@dataclass(frozen=True, slots=True)
class ClassScores:
    """How one class fared. A ratio whose denominator is zero is None, not a made-up 0."""

    precision: float | None  # right answers among the answers "this class", 0–1
    recall: float | None  # right answers among the pictures of this class, 0–1
    f1: float | None  # harmonic mean of both, 0–1
    support: int  # pictures of this class


def wilson_interval(n_right: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """The Wilson score interval of a proportion (Wilson 1927): (low, high), both 0–1.

    Without a picture nothing is known: (0, 1).
    """
    if n == 0:
        return 0.0, 1.0
    share = n_right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the formula is exactly 0 or 1; rounding must not miss that.
    low = 0.0 if n_right == 0 else max(0.0, centre - half)
    high = 1.0 if n_right == n else min(1.0, centre + half)
    return low, high


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Logits, float (N, C), to probabilities, float64 (N, C), after division by `temperature` (> 0)."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    exponentials = np.exp(scaled)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The share of pictures whose most probable class is the right one, 0–1."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def baseline_accuracy(labels: np.ndarray, n_classes: int) -> float:
    """The accuracy of always answering the commonest class, 0–1."""
    return float(np.bincount(labels, minlength=n_classes).max() / len(labels))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean negative logarithm of the right class's probability, in nats, 0 or more."""
    of_right = probabilities[np.arange(len(labels)), labels]
    smallest = np.finfo(np.float64).eps  # as scikit-learn clips: one sure mistake must not make it infinite
    return float(-np.mean(np.log(np.clip(of_right, smallest, 1.0))))


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, n_bins: int = 15) -> float:
    """The gap between confidence and accuracy, averaged over equal-width bins (Guo et al. 2017), 0–1.

    Bin i holds the pictures whose highest probability lies in (i / n_bins, (i + 1) / n_bins].
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    weight = np.bincount(bins, minlength=n_bins)
    filled = weight > 0
    gaps = np.bincount(bins, weights=right - confidence, minlength=n_bins)[filled]
    return float(np.abs(gaps).sum() / len(labels))


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Counts, int64 (C, C): row = the right class, column = the answer."""
    flat = np.bincount(labels * n_classes + predicted, minlength=n_classes * n_classes)
    return flat.reshape(n_classes, n_classes)


def class_scores(confusion: np.ndarray) -> tuple[ClassScores, ...]:
    """Precision, recall, F1 and support of every class, from a confusion matrix (C, C)."""
    scores = []
    for i, row in enumerate(confusion):
        right, of_class, answered = int(confusion[i, i]), int(row.sum()), int(confusion[:, i].sum())
        scores.append(
            ClassScores(
                precision=right / answered if answered else None,
                recall=right / of_class if of_class else None,
                f1=2 * right / (of_class + answered) if of_class + answered else None,
                support=of_class,
            )
        )
    return tuple(scores)
