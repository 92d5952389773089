"""Which pictures of a folder may be copies of each other, by their fingerprints, in time about linear to their number.

Every picture is compared as it is, mirrored, turned, and without its margins. Not all with all: some pictures are taken
as pivots, each picture belongs to the cells of the pivots that it resembles most, and only pictures that share a cell
are compared. A copy resembles the same pivots as its original, so few are missed; what is proposed is looked at closely
by `twins`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tellapart import hashes

SHOWN = (0.94, 0.88, 0.8)  # shares of each side, of views without margins: for copies that were cropped
LOWEST = 0.75  # cosine below which no copy of the kinds looked for was seen
MOST = 6  # proposals for each view of a picture
SUBSET = 2000  # pictures that tell how alike unrelated ones are
SAMPLE = 200  # pictures asked for it
NEAR = 5  # of a picture's nearest in the subset: their median is how alike others are to it
CELLS_FROM = 3000  # pictures; fewer are compared all with all
CELL = 256  # pictures for each pivot: enough for a product of matrices to be worth its call
OWN_CELLS, ASKED_CELLS = 2, 4  # of a picture as it is found, and of each view of it that looks for others
_BLOCK = 4096  # pictures compared at once


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Pairs of pictures that may be copies, the likeliest first."""

    first: np.ndarray  # int64 (M,)
    second: np.ndarray  # int64 (M,), another picture
    turn: np.ndarray  # int64 (M,), the place in `hashes.TURNS` of how `first` must be turned to look like `second`
    likeness: np.ndarray  # float32 (M,), the cosine of their descriptors
    others: np.ndarray  # int64 (N, NEAR), of every picture: those of the subset that are most like it; -1: too few


def candidates(thumbnails: np.ndarray, *, seed: int = 0) -> Candidates:
    """Propose copies among thumbnails, uint8 (N, SIDE, SIDE). Pictures of one colour are nobody's copies."""
    n = len(thumbnails)
    if n < 2:
        none = np.zeros(0, np.int64)
        return Candidates(none, none, none, np.zeros(0, np.float32), np.full((n, NEAR), -1))
    plain = hashes.descriptors(thumbnails)
    # Photos differ most in their lowest frequencies, which says little: every frequency is divided by the root of its
    # spread in this folder. The constant keeps frequencies that hardly occur from being blown up.
    weights = 1 / np.sqrt(plain.std(axis=0) + 1e-3)
    own = _weighted(plain, weights)
    rng = np.random.default_rng(seed)
    subset = np.sort(rng.permutation(n)[:SUBSET])
    others, expected = _others(own, subset)
    sample = rng.permutation(n)[:SAMPLE]
    floor = LOWEST
    if n > SAMPLE:  # of fewer all can be looked at
        # The third nearest besides itself, since the two nearest may be copies.
        usual = np.sort(own[sample] @ own[subset].T, axis=1)[:, -4]
        floor = max(LOWEST, float(np.quantile(usual, 0.6)))
    pivots = own[rng.permutation(n)[: n // CELL]] if n >= CELLS_FROM else own[:1]
    members = _members(_nearest_pivots(own, pivots, OWN_CELLS), len(pivots))
    found: list[np.ndarray] = []  # rows (first, second, turn, likeness), float64
    for turn, view in _views(thumbnails, weights):
        found.append(_best(view, own, pivots, members, floor, turn))
        # Only the best view of a pair is kept, as it goes: memory stays flat.
        found = [_once(np.concatenate(found))]
    rows = found[0]
    first, second = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
    # Farther from the usual likeness of both pictures, on the scale of Fisher's z, is likelier.
    apart = _z(rows[:, 3]) - _z(np.maximum(expected[first], expected[second]))
    order = np.lexsort((second, first, -apart))
    return Candidates(
        first[order], second[order], rows[order, 2].astype(np.int64), rows[order, 3].astype(np.float32), others
    )


def _weighted(descriptors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    scaled = descriptors * weights
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return (scaled / np.maximum(length, 1e-9)).astype(np.float32)


def _z(likeness: np.ndarray) -> np.ndarray:
    return np.arctanh(np.clip(likeness, -0.9999, 0.9999))


def _views(thumbnails: np.ndarray, weights: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs of a place in TURNS and the descriptors of all pictures seen so; the middle only upright and mirrored."""
    for shown in (1.0, *SHOWN):
        described = hashes.descriptors(thumbnails, shown)
        for turn, how in enumerate(hashes.TURNS if shown == 1 else hashes.TURNS[:2]):
            yield turn, _weighted(hashes.turned(described, how), weights)


def _others(own: np.ndarray, subset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each picture's nearest in the subset, int64 (N, NEAR), and their median likeness, float32 (N,)."""
    near = np.full((len(own), NEAR), -1)
    expected = np.zeros(len(own), np.float32)
    n_near = min(NEAR, len(subset) - 1)
    if n_near < 1:
        return near, expected
    for start in range(0, len(own), _BLOCK):
        likeness = own[start : start + _BLOCK] @ own[subset].T
        likeness[np.arange(len(likeness))[:, None] + start == subset] = -1  # itself
        best = np.argpartition(-likeness, n_near - 1, axis=1)[:, :n_near]
        near[start : start + _BLOCK, :n_near] = subset[best]
        expected[start : start + _BLOCK] = np.median(np.take_along_axis(likeness, best, axis=1), axis=1)
    return near, expected


def _nearest_pivots(descriptors: np.ndarray, pivots: np.ndarray, most: int) -> np.ndarray:
    most = min(most, len(pivots))
    found = np.empty((len(descriptors), most), np.int64)
    for start in range(0, len(descriptors), _BLOCK):
        likeness = descriptors[start : start + _BLOCK] @ pivots.T
        found[start : start + _BLOCK] = np.argpartition(-likeness, most - 1, axis=1)[:, :most]
    return found


def _members(cells: np.ndarray, n_cells: int) -> list[np.ndarray]:
    """The pictures of each cell, from the cells of each picture (N, K)."""
    order = np.argsort(cells, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(cells.ravel(), minlength=n_cells))[:-1]
    return np.split(order // cells.shape[1], ends)


def _best(
    view: np.ndarray, own: np.ndarray, pivots: np.ndarray, members: list[np.ndarray], floor: float, turn: int
) -> np.ndarray:
    """Rows of the pairs above the floor, at most MOST for a picture and cell."""
    rows = [np.zeros((0, 4))]
    for asking, asked in zip(_members(_nearest_pivots(view, pivots, ASKED_CELLS), len(pivots)), members, strict=True):
        for start in range(0, len(asking), _BLOCK):
            block = asking[start : start + _BLOCK]
            if not len(asked):
                continue
            likeness = view[block] @ own[asked].T
            likeness[block[:, None] == asked] = -1  # itself
            hit = likeness > floor
            crowded = np.flatnonzero(hit.sum(axis=1) > MOST)
            if len(crowded):
                best = np.argpartition(-likeness[crowded], MOST, axis=1)[:, :MOST]
                hit[crowded] = False
                hit[crowded[:, None], best] = True
            one, other = np.nonzero(hit)
            if len(one):
                found = np.empty((len(one), 4))
                found[:, 0], found[:, 1], found[:, 2] = block[one], asked[other], turn
                found[:, 3] = likeness[one, other]
                rows.append(found)
    return np.concatenate(rows)


def _once(rows: np.ndarray) -> np.ndarray:
    """The best row of every pair, whichever of the two comes first; of equals the first."""
    low, high = rows[:, :2].min(axis=1), rows[:, :2].max(axis=1)
    order = np.lexsort((rows[:, 2], -rows[:, 3], high, low))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
    return rows[order[new]]
