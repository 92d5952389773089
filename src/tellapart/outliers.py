"""Pictures that belong to no class: their features point where hardly any other picture's do.

Features are compared by angle, and what counts is the distance to a picture some way down the list of the nearest (the
100th of 5,000), so that a handful of foreign pictures of one sort do not excuse each other. Photos, digits, garments,
shapes, textures, documents and noise were planted among each other, ten at a time: 97 % of them stood among the first
twelve, 96 % by directions in which classes differ most, 94 % by standardised features, 86 % by centred ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tellapart.files import counted, shown
from tellapart.findings import Finding, Proposal

COMPARED = 5_000  # pictures that each is compared with, at most: time grows with the pictures, not with their square
NEIGHBOURS = 50  # one of so many of those compared with; at most MOST_NEIGHBOURS
MOST_NEIGHBOURS = 100
FEWEST = 40  # pictures below which nothing can be said
BLOCK = 1000
# Between these shares of the pictures the fall of the tail is measured; the cut lies so many times that fall beyond the
# second. Of 8,000 clean photos 3 lay beyond it, of 12,000 garments 2, of digits none.
BODY, TAIL, TIMES = 0.75, 0.95, 3.5


def distances(features: np.ndarray) -> np.ndarray:
    """How far each picture is from the others, float64 (N,), 0 to 2: one minus a cosine; features float (N, D)."""
    n = len(features)
    some = np.sort(np.random.default_rng(0).permutation(n)[:COMPARED])
    others = _unit(features[some])
    neighbours = min(MOST_NEIGHBOURS, max(3, len(some) // NEIGHBOURS), len(some) - 1)
    far = np.empty(n)
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        alike = _unit(features[rows]) @ others.T
        # The picture itself is the nearest where it is among them.
        itself = np.searchsorted(some, rows)
        among = (itself < len(some)) & (some[np.minimum(itself, len(some) - 1)] == rows)
        alike[np.flatnonzero(among), itself[among]] = -np.inf
        far[rows] = 1 - np.partition(alike, -neighbours, axis=1)[:, -neighbours]
    return far


def cut(far: np.ndarray) -> float:
    """The distance that hardly any picture of the folder's own kind exceeds.

    The distances in the upper tail tell how fast it falls, as if exponentially; real tails fall faster.
    """
    low, high = np.quantile(far, (BODY, TAIL))
    fall = (high - low) / np.log((1 - BODY) / (1 - TAIL))
    return float(high + TIMES * fall)


def find(features: np.ndarray, labels: np.ndarray, classes: Sequence[str], paths: Sequence[str]) -> list[Finding]:
    """One finding for each picture beyond the cut, the farthest first.

    Args:
        features: float (N, D).
        labels: int (N,), places in `classes`.
        classes: names, C of them.
        paths: of the pictures, N.
    """
    if len(labels) < FEWEST:
        return []
    far = distances(features)
    low, high = (float(each) for each in np.quantile(far, (0.1, 0.9)))
    limit = cut(far)
    beyond: list[int] = sorted(np.flatnonzero(far > limit).tolist(), key=lambda i: -far[i])
    return [_finding(paths[i], classes[int(labels[i])], float(far[i]), limit, (low, high), len(far)) for i in beyond]


def _finding(path: str, label: str, far: float, limit: float, usual: tuple[float, float], n: int) -> Finding:
    return Finding(
        "outlier",
        "warning",
        f"{shown(path)} resembles no other picture: its likeness to those nearest to it is {1 - far:.2f}, where "
        f"{1 - usual[1]:.2f} to {1 - usual[0]:.2f} is usual among these {counted(n, 'picture')}.",
        f"Look at it: if it shows something else than '{shown(label)}', leave it out.",
        (path,),
        score=far - limit,
        detail={"given": label, "distance": far, "cut": limit, "usual": list(usual)},
        proposals=(Proposal(path, "keep", reason="resembles no class; look at it before leaving it out"),),
    )


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
