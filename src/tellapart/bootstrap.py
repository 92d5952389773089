"""How far numbers of an evaluation would move with other test pictures: 95 % intervals.

Up to `MOST_WORK` they come from a seeded bootstrap (Efron 1979; percentiles of 1,000 draws of pictures with
repetition, without strata). A draw is held as how often each picture comes, so that most numbers are weighted sums and
no picture is copied. Beyond that, where percentiles of draws and of a normal distribution are the same to the eye, the
spread follows from what each picture adds to the number (the infinitesimal jackknife; for the ROC curve DeLong et al.
1988).

The calibration error of a draw is larger than that of its pictures, since drawing adds noise of its own: its
percentiles are moved down by that much.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tellapart import metrics

DRAWS = 1000
MOST_WORK = 4e7  # draws x pictures x ROC curves, above which the normal approximation is taken
BLOCK = 500_000  # numbers held at once: what fits into a processor's cache
NAMES = ("balanced_accuracy", "log_loss", "brier_score", "roc_auc", "expected_calibration_error")
AT_MOST: dict[str, float] = dict(zip(NAMES, (1.0, np.inf, 2.0, 1.0, 1.0), strict=True))
CHANCE = 0.99  # of well calibrated models stay below `calibration_by_chance`
FEWEST_DRAWS, CHANCE_WORK = 200, 2e7

Interval = tuple[float, float]


def intervals(probabilities: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> dict[str, Interval]:
    """The 95 % interval of each of NAMES, by name; without `roc_auc` where that is undefined.

    `probabilities` is float64 (N, C), rows that sum to 1, `labels` int (N,), N at least 1.
    """
    if by_draws(probabilities, labels):
        return _by_bootstrap(probabilities, labels, seed)
    return _by_spread(probabilities, labels)


def by_draws(probabilities: np.ndarray, labels: np.ndarray) -> bool:
    """Whether `intervals` come from draws, rather than from a normal distribution."""
    n_curves = max(len(metrics.judged_classes(probabilities, labels)), 1)
    return DRAWS * len(labels) * n_curves <= MOST_WORK


def calibration_by_chance(probabilities: np.ndarray, *, seed: int = 0) -> float:
    """The calibration error that a model whose confidence is exactly true stays below, in 99 of 100 tests like this.

    Drawn by letting each answer be right with its own probability (Bröcker and Smith 2007).
    """
    confidence = probabilities.max(axis=1)
    bins = metrics.confidence_bins(probabilities)
    order, starts = _together(bins)
    sure = confidence[order].astype(np.float32)[:, None]
    n, errors = len(confidence), []
    n_draws = int(min(max(CHANCE_WORK / n, FEWEST_DRAWS), DRAWS))
    rng = np.random.default_rng(seed)
    for size in _blocks(n_draws, n):
        gaps = (rng.random((n, size), dtype=np.float32) < sure) - sure
        errors.append(np.abs(np.add.reduceat(gaps, starts, axis=0)).sum(axis=0) / n)
    return float(np.quantile(np.concatenate(errors), CHANCE))


@dataclass(frozen=True, slots=True, eq=False)
class _Curve:
    """What the ROC curve of one class against the rest needs, pictures in the order of their score."""

    order: np.ndarray  # int64 (N,)
    positive: np.ndarray  # bool (N,), in that order
    starts: np.ndarray | None  # where pictures of another score begin; None where all scores differ


def _by_bootstrap(probabilities: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, Interval]:
    n = len(labels)
    right = probabilities.argmax(axis=1) == labels
    terms = np.stack([metrics.log_loss_terms(probabilities, labels), metrics.brier_terms(probabilities, labels)])
    terms = terms.astype(np.float32)
    by_class, class_starts = _together(labels)
    right_by_class = right[by_class].astype(np.float32)[:, None]
    by_bin, bin_starts = _together(metrics.confidence_bins(probabilities))
    gaps = (right - probabilities.max(axis=1))[by_bin].astype(np.float32)[:, None]
    curves = [_curve(probabilities[:, c], labels == c) for c in metrics.judged_classes(probabilities, labels)]
    found: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    for weights in _drawn(n, seed):
        log_loss, brier = terms @ weights / n
        found["log_loss"].append(log_loss)
        found["brier_score"].append(brier)
        mine = weights[by_class]
        support = np.add.reduceat(mine, class_starts, axis=0)
        hits = np.add.reduceat(mine * right_by_class, class_starts, axis=0)
        recalls = hits / np.maximum(support, 1)  # a class that a draw leaves out counts for nothing in it
        found["balanced_accuracy"].append(recalls.sum(axis=0) / (support > 0).sum(axis=0))
        error = np.abs(np.add.reduceat(weights[by_bin] * gaps, bin_starts, axis=0)).sum(axis=0) / n
        found["expected_calibration_error"].append(error)
        if curves:
            found["roc_auc"].append(_mean_of_defined(np.stack([_area(weights, each) for each in curves])))
    result = {}
    for name, blocks in found.items():
        if blocks:
            low, high = np.nanquantile(np.concatenate(blocks).astype(np.float64), [0.025, 0.975])
            result[name] = (float(low), float(high))
    name = "expected_calibration_error"
    value = metrics.expected_calibration_error(probabilities, labels)
    shift = float(np.concatenate(found[name]).mean()) - value
    result[name] = _within(name, result[name][0] - shift, result[name][1] - shift)
    return result


def _drawn(n: int, seed: int) -> Iterator[np.ndarray]:
    """How often each picture comes in each draw: float32 (N, a block of draws)."""
    rng = np.random.default_rng(seed)
    for size in _blocks(DRAWS, n):
        picked = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(picked.ravel(), minlength=size * n).reshape(size, n)
        yield np.ascontiguousarray(counts.T, dtype=np.float32)


def _curve(scores: np.ndarray, positive: np.ndarray) -> _Curve:
    order = np.argsort(scores, kind="stable")
    steps = np.flatnonzero(np.append(True, np.diff(scores[order]) != 0))
    return _Curve(order, positive[order], None if len(steps) == len(scores) else steps)


def _area(weights: np.ndarray, curve: _Curve) -> np.ndarray:
    """The area under the ROC curve of each draw, float32 (draws,); NaN where a draw has one side only."""
    mine = weights[curve.order]
    if curve.starts is None:
        of_positive = mine[curve.positive]
        mine[curve.positive] = 0
        below = np.cumsum(mine, axis=0)  # negatives down to here: a positive adds none
        ahead, n_negative = below[curve.positive], below[-1]
    else:
        is_positive = curve.positive[:, None]
        of_positive = np.add.reduceat(mine * is_positive, curve.starts, axis=0)
        of_negative = np.add.reduceat(mine * ~is_positive, curve.starts, axis=0)
        below = np.cumsum(of_negative, axis=0)
        ahead, n_negative = below - of_negative / 2, below[-1]
    n_positive = of_positive.sum(axis=0)
    ordered = np.einsum("nb,nb->b", of_positive, ahead)
    with np.errstate(invalid="ignore", divide="ignore"):
        return ordered / (n_positive * n_negative)


def _mean_of_defined(areas: np.ndarray) -> np.ndarray:
    """The mean over classes, (classes, draws) to (draws,), leaving out NaN; NaN where a draw has nothing else."""
    there = np.isfinite(areas)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(there, areas, 0).sum(axis=0) / there.sum(axis=0)


def _by_spread(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Interval]:
    """Value ± 1.96 standard errors, from what each picture adds to the value (its influence)."""
    n, right = len(labels), probabilities.argmax(axis=1) == labels
    support = np.bincount(labels, minlength=probabilities.shape[1])
    recalls = np.bincount(labels, weights=right, minlength=len(support)) / np.maximum(support, 1)
    bins, gaps = metrics.confidence_bins(probabilities), right - probabilities.max(axis=1)
    signs = np.sign(np.bincount(bins, weights=gaps, minlength=metrics.N_BINS))
    influences = {
        "balanced_accuracy": (right - recalls[labels]) * n / (support[labels] * (support > 0).sum()),
        "log_loss": metrics.log_loss_terms(probabilities, labels),
        "brier_score": metrics.brier_terms(probabilities, labels),
        "expected_calibration_error": signs[bins] * gaps,
    }
    values = {
        "balanced_accuracy": float(recalls[support > 0].mean()),
        "log_loss": float(influences["log_loss"].mean()),
        "brier_score": float(influences["brier_score"].mean()),
        "expected_calibration_error": float(influences["expected_calibration_error"].mean()),
    }
    curves = metrics.judged_classes(probabilities, labels)
    if curves:
        influence, areas = np.zeros(n), []
        for c in curves:
            positive = labels == c
            shares = metrics.placements(probabilities[:, c], positive)
            area = float(shares[positive].mean())
            influence += (shares - area) * n / np.where(positive, positive.sum(), n - positive.sum()) / len(curves)
            areas.append(area)
        influences["roc_auc"], values["roc_auc"] = influence, float(np.mean(areas))
    result = {}
    for name in NAMES:
        if name in values:
            half = metrics.Z_95 * float(influences[name].std()) / np.sqrt(n)
            result[name] = _within(name, values[name] - half, values[name] + half)
    return result


def _within(name: str, low: float, high: float) -> Interval:
    return float(max(low, 0.0)), float(min(high, AT_MOST[name]))


def _together(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order, int64 (N,), in which equal values stand together, and where each begins."""
    order = np.argsort(values, kind="stable")
    return order, np.flatnonzero(np.append(True, np.diff(values[order]) != 0))


def _blocks(n_draws: int, n: int) -> Iterator[int]:
    """Numbers of draws that are held at once, together `n_draws`."""
    size = max(BLOCK // n, 1)
    for start in range(0, n_draws, size):
        yield min(size, n_draws - start)
