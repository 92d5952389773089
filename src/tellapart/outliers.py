"""Pictures that belong to no class: their features point where hardly any other picture's do.

Features are turned into the directions in which pictures of one class differ most, each direction divided by its
spread, and compared by angle: what a foreign picture lacks in strength it has in direction. The distance to a picture
some way down the list of the nearest is what counts (the 100th of 5,000), so that a handful of foreign pictures of one
sort do not excuse each other. Compared on photos, digits, garments and drawings with each other as foreigners, this was
ahead of the Mahalanobis distance, of distances instead of angles, and of fewer neighbours or directions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tellapart import discriminants
from tellapart.files import counted, shown
from tellapart.findings import Finding, Proposal

DIRECTIONS = 128
COMPARED = 5_000  # pictures that each is compared with, at most: time grows with the pictures, not with their square
NEIGHBOURS = 50  # one of so many of those compared with; at most MOST_NEIGHBOURS
MOST_NEIGHBOURS = 100
FEWEST = 40  # pictures below which nothing can be said
SHOWN, MOST_SHOWN = 1e-3, 20  # share and number of pictures worth a look that are shown where fewer lie beyond the cut
BLOCK = 1000
# Between these shares of the pictures the fall of the tail is measured, and the cut lies so many times that fall beyond
# the second. With few pictures a handful of foreign ones would reach below the 99th percentile.
MANY, TAIL_OF_MANY, TAIL_OF_FEW = 1000, (0.95, 0.99, 2.5), (0.80, 0.95, 3.0)


def distances(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How far each picture is from the others, float64 (N,), 0 to 2; features float (N, D), labels int (N,)."""
    n, d = features.shape
    scaling = discriminants.scaling(features)
    some = np.sort(np.random.default_rng(0).permutation(n)[:COMPARED])
    scaled = np.concatenate([block for _, block in scaling.blocks(features, some)])
    inside = scaled.copy()
    for label in np.unique(labels[some]):
        mine = labels[some] == label
        inside[mine] -= inside[mine].mean(axis=0)
    strengths, directions = np.linalg.eigh((inside.T @ inside) / np.float32(len(some)))
    n_directions = min(DIRECTIONS, d, n // 4)
    keep = strengths[-n_directions:] > 1e-9
    chosen = directions[:, -n_directions:][:, keep] / np.sqrt(strengths[-n_directions:][keep])
    del inside
    others = _unit(scaled @ chosen)
    neighbours = min(MOST_NEIGHBOURS, max(3, len(some) // NEIGHBOURS))
    far = np.empty(n)
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        ((_, block),) = scaling.blocks(features, rows)
        alike = _unit(block @ chosen) @ others.T
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
    below, above, times = TAIL_OF_MANY if len(far) >= MANY else TAIL_OF_FEW
    low, high = np.quantile(far, (below, above))
    fall = (high - low) / np.log((1 - below) / (1 - above))
    return float(high + times * fall)


def find(features: np.ndarray, labels: np.ndarray, classes: Sequence[str], paths: Sequence[str]) -> list[Finding]:
    """One finding for each picture beyond the cut, as a warning, and for the next in line where these are few, as info.

    The farthest come first. Small folders have no next in line: there each picture has its turn anyway.
    """
    if len(labels) < FEWEST or features.shape[1] < 2:
        return []
    far = distances(features, labels)
    low, high = (float(each) for each in np.quantile(far, (0.1, 0.9)))
    limit = cut(far)
    order = [int(i) for i in np.argsort(-far, kind="stable")]
    n_beyond = int((far > limit).sum())
    n_shown = min(MOST_SHOWN, round(SHOWN * len(far))) if len(far) >= MANY else 0
    return [
        _finding(paths[i], classes[int(labels[i])], float(far[i]), limit, (low, high), len(far))
        for i in order[: max(n_beyond, n_shown)]
    ]


def _finding(path: str, label: str, far: float, limit: float, usual: tuple[float, float], n: int) -> Finding:
    beyond = far > limit
    return Finding(
        "outlier",
        "warning" if beyond else "info",
        f"{shown(path)} {'resembles no other picture' if beyond else 'is among the least like the others'}: its "
        f"likeness to the nearest is {1 - far:.2f}, where {1 - usual[1]:.2f} to {1 - usual[0]:.2f} is usual among "
        f"these {counted(n, 'picture')}.",
        f"Look at it: if it shows something else than {shown(label)}, leave it out.",
        (path,),
        score=far - limit,
        detail={"given": label, "distance": far, "cut": limit, "usual": list(usual)},
        proposals=(Proposal(path, "keep", reason="resembles no class; look at it before leaving it out"),)
        if beyond
        else (),
    )


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
