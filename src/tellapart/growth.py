"""How much more data would help: a learning curve on frozen features, carried on to twice the pictures.

The classifier's own head learns from growing parts of the pictures and answers held-out ones. Errors fall about as a
power of the number of pictures. The power is hardly known from one small folder, so the curve's own is weighed against
what such curves usually do, and the band holds both doubts: how good the classifier is, and how fast it gets better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tellapart import head, metrics
from tellapart.findings import Finding

SHARES = (0.0625, 0.125, 0.25, 0.5, 1.0)  # of the pictures to learn from
FEWEST, FEWEST_OF_CLASS = 60, 5  # pictures without which there is no curve
STRENGTHS = (3e-4, 3e-3, 0.03)  # of the head; the best for a middle part of the pictures serves all parts
MIDDLE = 2  # its place among SHARES
# How errors fell with the number of pictures on photos, garments, digits and drawings: the power and its spread.
POWER, SPREAD = 0.30, 0.15
POWERS = (0.0, 1.0)  # what is possible
# Which pictures are learned from is chance too: as much again as the errors' own number varies, and a little more. With
# it the band held in 92 of 100 draws from five sets; without it in 74.
CHANCE, LEAST_CHANCE = 1.0, 0.03
DRAWS = 2000
BAND = 0.90  # how often the band should hold
MOST_WORK = 4e9  # multiply-adds of one pass over the largest part; above it, parts and classes are thinned out
WORTH = 0.002  # accuracy gained below which more pictures are not worth it


@dataclass(frozen=True, slots=True)
class Forecast:
    """What twice the pictures promise."""

    sizes: tuple[int, ...]  # pictures learned from
    accuracies: tuple[float, ...]  # on held-out pictures, 0–1
    now: float  # with all pictures
    later: float  # with twice as many
    low: float  # of the band of `later`
    high: float
    n: int  # pictures now
    power: float  # by which errors fall


def measure(
    features: np.ndarray, labels: np.ndarray, n_classes: int, *, seed: int = 0, groups: np.ndarray | None = None
) -> Forecast | None:
    """The curve of features, float (N, D), with labels, int (N,); groups as in `head.fit`.

    None where there are fewer than 60 pictures, or a class has fewer than 5.
    """
    n = len(labels)
    if n < FEWEST or n_classes < 2 or np.bincount(labels, minlength=n_classes).min() < FEWEST_OF_CLASS:
        return None
    rng = np.random.default_rng(seed)
    most = int(MOST_WORK / (features.shape[1] * n_classes))
    right: list[list[np.ndarray]] = [[] for _ in SHARES]  # of each size, of each fold: which held-out pictures
    sizes = np.zeros(len(SHARES))
    held: list[np.ndarray] = []
    strength = None
    single = features.size * n_classes * head.FOLDS > head.MOST_WORK
    for inside, outside in head.folds(labels, groups, seed, single=single):
        inside = rng.permutation(inside)[:most]
        held.append(outside)
        answered = np.asarray(features[outside], np.float32)
        for k, share in enumerate(SHARES):
            part = _part(inside, labels, share)
            learned = np.asarray(features[part], np.float32)
            if strength is None:
                middle = _part(inside, labels, SHARES[MIDDLE])
                strength = _strength(
                    np.asarray(features[middle], np.float32), labels[middle], answered, labels[outside], n_classes
                )
            answers = head.probabilities(head.learn(learned, labels[part], n_classes, strength), answered)
            right[k].append(answers.argmax(axis=1) == labels[outside])
            sizes[k] += len(part)
    sizes /= len(held)
    units = np.concatenate(held) if groups is None else groups[np.concatenate(held)]
    return forecast(sizes, np.stack([np.concatenate(each) for each in right]), n, units, rng)


def forecast(sizes: np.ndarray, right: np.ndarray, n: int, units: np.ndarray, rng: np.random.Generator) -> Forecast:
    """Carry a curve on from `sizes`, float (K,), at which pictures were right or not, bool (K, M), to n and 2 n.

    Pictures are drawn anew with their units, int (M,): twins come or go together.
    """
    _, member = np.unique(units, return_inverse=True)
    n_units = int(member.max()) + 1
    wrong = np.stack([np.bincount(member, ~row, n_units).astype(np.int64) for row in right])  # (K, U) errors
    size_of_unit = np.bincount(member, minlength=n_units)
    # Most units are alike, right throughout: one number is drawn for all that are.
    sorts, n_of_sort = np.unique(np.vstack([size_of_unit, wrong]).T, axis=0, return_counts=True)
    drawn = rng.multinomial(n_units, n_of_sort / n_units, DRAWS)  # (DRAWS, sorts) how often each
    total = drawn @ sorts[:, 0]
    rates = (drawn @ sorts[:, 1:] + 0.5) / (total[:, None] + 1)  # (DRAWS, K)
    logs = np.log(sizes)
    at = logs - logs.mean()
    slopes = -(np.log(rates) @ at) / (at @ at)  # least squares in logarithms, each drawing
    own, spread = float(np.median(slopes)), float(slopes.std()) + 0.05  # no curve is quite a power
    weight = 1 / spread**2 / (1 / spread**2 + 1 / SPREAD**2)
    power = weight * own + (1 - weight) * POWER
    doubt = (1 / spread**2 + 1 / SPREAD**2) ** -0.5
    powers = np.clip(rng.normal(power, doubt, DRAWS), *POWERS)
    grown = n / sizes[-1]
    power = float(np.clip(power, *POWERS))
    last = (float((~right[-1]).sum()) + 0.5) / (right.shape[1] + 1)
    chance = np.hypot(LEAST_CHANCE, CHANCE / np.sqrt((~right[-1]).sum() + 1))
    learned = np.exp(rng.normal(0, chance, DRAWS))
    later = 1 - np.minimum(rates[:, -1] * (2 * grown) ** -powers * learned, 1)
    low, high = np.quantile(later, ((1 - BAND) / 2, (1 + BAND) / 2))
    return Forecast(
        tuple(round(float(size)) for size in sizes),
        tuple(float(row.mean()) for row in right),
        float(1 - last * grown**-power),
        float(1 - last * (2 * grown) ** -power),
        float(low),
        float(high),
        n,
        power,
    )


def find(found: Forecast | None, classes: Sequence[str]) -> list[Finding]:
    """One finding, for information: what twice the pictures promise."""
    if found is None:
        return []
    gain = found.later - found.now
    return [
        Finding(
            "imbalance",
            "info",
            f"With twice the pictures ({2 * found.n:,} instead of {found.n:,}), expect {100 * found.later:.1f} % right "
            f"({100 * found.low:.1f}–{100 * found.high:.1f}) instead of {100 * found.now:.1f} %.",
            "More pictures will hardly help; better labels or other classes may."
            if gain < WORTH
            else f"More pictures of all {len(classes)} classes help: about {100 * gain:.1f} points for twice as many.",
            (),
            score=gain,
            detail={
                "topic": "growth",
                "points": [{"n": n, "accuracy": a} for n, a in zip(found.sizes, found.accuracies, strict=True)],
                "forecast": {
                    "n": 2 * found.n,
                    "accuracy": found.later,
                    "low": found.low,
                    "high": found.high,
                    "band": BAND,
                    "now": found.now,
                    "power": found.power,
                },
            },
        )
    ]


def _part(order: np.ndarray, labels: np.ndarray, share: float) -> np.ndarray:
    """The first of each class, in the given order, so that smaller parts lie in larger ones; one of each at least."""
    mine = [order[labels[order] == k] for k in np.unique(labels[order])]
    return np.sort(np.concatenate([each[: max(1, round(share * len(each)))] for each in mine]))


def _strength(
    learned: np.ndarray, labels: np.ndarray, answered: np.ndarray, theirs: np.ndarray, n_classes: int
) -> float:
    """The strength of the lowest log-loss on the pictures that were not learned from."""
    losses = [
        metrics.log_loss(head.probabilities(head.learn(learned, labels, n_classes, each), answered), theirs)
        for each in STRENGTHS
    ]
    return STRENGTHS[int(np.argmin(losses))]
