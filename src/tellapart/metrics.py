"""Probabilities and labels to numbers.

Everything takes `probabilities`, float (N, C), rows that sum to 1, and `labels`, int (N,), values 0 to C - 1,
and needs numpy alone, so that a slim install can evaluate. The tests compare with scikit-learn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054  # the normal quantile of a two-sided 95 % interval


N_BINS = 15  # of confidence, equally wide
MOST_POINTS = 200  # of a coverage curve


@dataclass(frozen=True, slots=True)
class ClassScores:
    """How one class fared. A ratio whose denominator is zero is None, not a made-up 0."""

    precision: float | None  # right answers among the answers "this class", 0–1
    recall: float | None  # right answers among the pictures of this class, 0–1
    f1: float | None  # harmonic mean of both, 0–1
    support: int  # pictures of this class
    precision_interval: tuple[float, float] | None = None  # 95 %, Wilson
    recall_interval: tuple[float, float] | None = None  # 95 %, Wilson


@dataclass(frozen=True, slots=True)
class Bin:
    """The pictures of one range of confidence, the probability of the most probable class."""

    low: float  # the range (low, high], 0–1
    high: float
    n: int  # pictures in it, at least 1
    confidence: float  # their mean confidence, 0–1
    accuracy: float  # the share of them that is right, 0–1


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


def baseline_accuracy(labels: np.ndarray) -> float:
    """The accuracy of always answering the commonest class, 0–1."""
    return float(np.bincount(labels).max() / len(labels))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean negative logarithm of the right class's probability, in nats, 0 or more."""
    return float(log_loss_terms(probabilities, labels).mean())


def balanced_accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean of the classes' recalls, 0–1, over the classes that have pictures."""
    right = probabilities.argmax(axis=1) == labels
    support = np.bincount(labels)
    found = np.bincount(labels, weights=right)
    return float(np.mean(found[support > 0] / support[support > 0]))


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The mean squared distance of probabilities and truth, summed over all classes as Brier (1950) has it: 0–2.

    With two classes it is twice the one-column form that scikit-learn gave before its version 1.7.
    """
    return float(brier_terms(probabilities, labels).mean())


def brier_terms(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What each picture adds to `brier_score`: float64 (N,), 0–2."""
    of_right = probabilities[np.arange(len(labels)), labels]
    return (probabilities**2).sum(axis=1) - 2 * of_right + 1


def log_loss_terms(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What each picture adds to `log_loss`: float64 (N,), in nats."""
    of_right = probabilities[np.arange(len(labels)), labels]
    smallest = np.finfo(np.float64).eps  # as scikit-learn clips: one sure mistake must not make it infinite
    return -np.log(np.clip(of_right, smallest, 1.0))


def roc_auc(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    """The area under the ROC curve, 0–1: how often a picture of a class gets more of it than one of another class.

    Of two classes it is that of the second; of more the mean over the classes, each against the rest, that have
    pictures. Ties count half (Mann and Whitney 1947). None where all pictures are of one class.
    """
    areas = [
        float(placements(probabilities[:, c], labels == c)[labels == c].mean())
        for c in judged_classes(probabilities, labels)
    ]
    return float(np.mean(areas)) if areas else None


def judged_classes(probabilities: np.ndarray, labels: np.ndarray) -> list[int]:
    """The classes of which `roc_auc` takes the mean."""
    present = np.unique(labels).tolist()
    if len(present) < 2:
        return []
    return [1] if probabilities.shape[1] == 2 else present


def placements(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """For each picture the share of the other side that it is rightly ordered against, ties half: float64 (N,), 0–1.

    `scores` is float (N,), `positive` bool (N,), with some of both kinds. The mean over either side is the area under
    the ROC curve; the spread of both tells its variance (DeLong, DeLong and Clarke-Pearson 1988).
    """
    shares = np.empty(len(scores))
    ordered = {side: np.sort(scores[positive == side]) for side in (True, False)}
    for side, others in ((True, ordered[False]), (False, ordered[True])):
        mine = scores[positive == side]
        below = (np.searchsorted(others, mine, "left") + np.searchsorted(others, mine, "right")) / (2 * len(others))
        shares[positive == side] = below if side else 1 - below
    return shares


def top_k_accuracy(probabilities: np.ndarray, labels: np.ndarray, k: int) -> float:
    """The share of pictures whose right class is among the `k` most probable, 0–1; of equals the first goes first."""
    of_right = probabilities[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    before = ((probabilities > of_right) | ((probabilities == of_right) & earlier)).sum(axis=1)
    return float(np.mean(before < k))


def confidence_bins(probabilities: np.ndarray, n_bins: int = N_BINS) -> np.ndarray:
    """The bin of each picture, int64 (N,): bin i is for a confidence in (i / n_bins, (i + 1) / n_bins]."""
    return np.clip(np.ceil(probabilities.max(axis=1) * n_bins).astype(np.int64) - 1, 0, n_bins - 1)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, n_bins: int = N_BINS) -> float:
    """The gap between confidence and accuracy, averaged over equal-width bins (Guo et al. 2017), 0–1."""
    gaps = (probabilities.argmax(axis=1) == labels) - probabilities.max(axis=1)
    sums = np.bincount(confidence_bins(probabilities, n_bins), weights=gaps)
    return float(np.abs(sums).sum() / len(labels))


def reliability(probabilities: np.ndarray, labels: np.ndarray, n_bins: int = N_BINS) -> tuple[Bin, ...]:
    """Confidence against accuracy, by the bins of `expected_calibration_error` that hold pictures, low to high."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = confidence_bins(probabilities, n_bins)
    n = np.bincount(bins)
    sure = np.bincount(bins, weights=confidence)
    hits = np.bincount(bins, weights=right)
    return tuple(
        Bin(i / n_bins, (i + 1) / n_bins, int(n[i]), float(sure[i] / n[i]), float(hits[i] / n[i]))
        for i in np.flatnonzero(n).tolist()
    )


def coverage_curve(probabilities: np.ndarray, labels: np.ndarray) -> tuple[tuple[float, float], ...]:
    """(share of pictures answered, accuracy of these), both 0–1, when only the surest are answered: surest first.

    Pictures of equal confidence are answered together. Of many points, MOST_POINTS spread evenly are given.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    order = np.argsort(-confidence)
    ends = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True)) + 1  # pictures down to each confidence
    if len(ends) > MOST_POINTS:
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, MOST_POINTS).round().astype(int))]
    accuracies = np.cumsum(right[order])[ends - 1] / ends
    return tuple(zip((ends / len(labels)).tolist(), accuracies.tolist(), strict=True))


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
                precision_interval=wilson_interval(right, answered) if answered else None,
                recall_interval=wilson_interval(right, of_class) if of_class else None,
            )
        )
    return tuple(scores)
