"""Classes that held-out pictures can hardly be told apart by: perhaps one class under two names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tellapart import metrics
from tellapart.files import shown
from tellapart.findings import Finding

FEWEST = 10  # pictures of each class, below which nothing is said
ONE, HARD = 0.75, 0.90  # told apart less often than this: they seem to be one class; they are hard to tell apart
MOST = 10  # pairs told


@dataclass(frozen=True, slots=True)
class Pair:
    """How well two classes are told apart."""

    first: int
    second: int
    right: float  # share of pairs, a picture of each class, that are told apart, 0.5 (guessing) to 1
    low: float  # of its 95 % interval
    high: float
    confused: int  # pictures of one that look more like the other
    n: int  # pictures of both


def told_apart(answers: np.ndarray, labels: np.ndarray, first: int, second: int) -> Pair:
    """Compare two classes by held-out answers, float (N, C), to pictures of given labels, int (N,).

    A pair of pictures, one of each class, is told apart where the odds of first against second are higher for the
    picture of the first: the area under the ROC curve (Hanley and McNeil 1982, their interval).
    """
    odds = np.log(answers[:, first] + 1e-300) - np.log(answers[:, second] + 1e-300)
    a, b = odds[labels == first], np.sort(odds[labels == second])
    below, up_to = np.searchsorted(b, a, "left"), np.searchsorted(b, a, "right")
    right = float((below + up_to).sum() / (2 * len(a) * len(b)))
    q1, q2 = right / (2 - right), 2 * right**2 / (1 + right)
    variance = right * (1 - right) + (len(a) - 1) * (q1 - right**2) + (len(b) - 1) * (q2 - right**2)
    half = metrics.Z_95 * math.sqrt(max(variance, 0) / (len(a) * len(b)))
    confused = int((a <= 0).sum() + (b > 0).sum())
    return Pair(first, second, right, max(0.0, right - half), min(1.0, right + half), confused, len(a) + len(b))


def find(answers: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> list[Finding]:
    """Pairs of classes that seem to be one (warnings) or are hard to tell apart (info), the worst first."""
    enough = np.flatnonzero(np.bincount(labels, minlength=len(classes)) >= FEWEST)
    # How much of the answers to pictures of one class goes to the other: only the largest shares are looked into.
    means = np.stack([answers[labels == k].mean(axis=0) for k in enough]) if len(enough) else np.zeros((0, 1))
    pairs = []
    for x, i in enumerate(enough):
        for y in range(x + 1, len(enough)):
            j = enough[y]
            mixed = (
                means[x, j] / max(means[x, i] + means[x, j], 1e-12),
                means[y, i] / max(means[y, i] + means[y, j], 1e-12),
            )
            if max(mixed) > 0.05:
                pairs.append(told_apart(answers, labels, int(i), int(j)))
    hard = sorted((pair for pair in pairs if pair.high < HARD), key=lambda pair: pair.right)
    return [_finding(pair, classes) for pair in hard[:MOST]]


def _finding(pair: Pair, classes: Sequence[str]) -> Finding:
    first, second = shown(classes[pair.first]), shown(classes[pair.second])
    one = pair.high < ONE
    return Finding(
        "imbalance",
        "warning" if one else "info",
        f"{first} and {second} {'can hardly be told apart' if one else 'are hard to tell apart'}: shown a picture of "
        f"each, one can say which is which {100 * pair.right:.0f} times in 100 ({100 * pair.low:.0f} to "
        f"{100 * pair.high:.0f}); guessing would do 50 times.",
        f"Look whether {first} and {second} are one class under two names, or whether their pictures got mixed."
        if one
        else "If the difference matters, add pictures that show it; if not, make them one class.",
        (),
        score=1 - pair.right,
        detail={
            "topic": "alike",
            "classes": [classes[pair.first], classes[pair.second]],
            "told_apart": pair.right,
            "interval": [pair.low, pair.high],
            "confused": pair.confused,
            "of": pair.n,
        },
    )
