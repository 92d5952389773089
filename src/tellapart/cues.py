"""How well the class of a picture can be told from a few numbers: a small decision tree, judged on held-out pictures.

A tree needs no scaling, takes names and amounts alike, and finds a value that one class alone has. Every class weighs
the same, however many pictures it has, so that guessing is right for one in C.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tellapart import head

BINS = 48  # of a number
DEPTH = 6  # of the tree
LEAST = 5  # pictures in a leaf
LEAST_GAIN = 1e-9
PRIOR = 2.0  # pictures, spread over the classes, that a leaf is thought to have beside its own


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What a cue tells, on pictures that it did not learn from."""

    recall: np.ndarray  # float (C,): the share of each class that is put into it
    balanced: float  # their mean, 0–1; guessing has 1 / C
    error: float  # standard error of `balanced`
    one: np.ndarray  # float (C,): balanced accuracy of telling each class from all others together; guessing has 0.5
    one_error: np.ndarray  # float (C,): its standard error
    caught: np.ndarray  # bool (N, C): pictures that are taken for a class, against all others together


def judge(values: np.ndarray, labels: np.ndarray, n_classes: int, *, groups: np.ndarray, seed: int) -> Judged:
    """Cross-validate a tree on values, float (N, D), and labels, int (N,), from 0 to C - 1, each class with 2 or more.

    Pictures of one group, int (N,), are held out together.
    """
    n = len(labels)
    binned = np.stack([_binned(column) for column in values.T], axis=1)
    guess, caught = np.zeros(n, np.int64), np.zeros((n, n_classes), bool)
    for inside, outside in head.folds(labels, groups, seed, single=False):
        counts = np.bincount(labels[inside], minlength=n_classes)
        leaf = _grown(binned, labels, inside, counts)
        held = np.bincount(leaf[inside] * n_classes + labels[inside], minlength=(leaf.max() + 1) * n_classes)
        held = held.reshape(-1, n_classes)  # pictures of each class in each leaf
        # The share of each class that is in a leaf, and that of all others; a leaf of few is drawn towards the whole.
        prior = PRIOR * counts / counts.sum()
        share = (held + prior) / np.maximum(counts + PRIOR, 1)
        rest = (held.sum(axis=1, keepdims=True) - held + PRIOR) / (counts.sum() - counts + PRIOR * len(held))
        guess[outside] = share.argmax(axis=1)[leaf[outside]]
        caught[outside] = (share > rest)[leaf[outside]]
    of_class = np.bincount(labels, minlength=n_classes).astype(float)
    recall = np.bincount(labels[guess == labels], minlength=n_classes) / np.maximum(of_class, 1)
    mine = np.bincount(labels[caught[np.arange(n), labels]], minlength=n_classes)
    wrongly = (caught.sum(axis=0) - mine) / np.maximum(n - of_class, 1)
    found = mine / np.maximum(of_class, 1)
    variance = recall * (1 - recall) / np.maximum(of_class, 1)
    one_variance = found * (1 - found) / np.maximum(of_class, 1) + wrongly * (1 - wrongly) / np.maximum(n - of_class, 1)
    return Judged(
        recall,
        float(recall.mean()),
        float(np.sqrt(variance.sum()) / n_classes),
        (found + 1 - wrongly) / 2,
        np.sqrt(one_variance) / 2,
        caught,
    )


def _binned(column: np.ndarray) -> np.ndarray:
    """Numbers to bins, int (N,) below `BINS`: the commonest values have bins of their own, the others are as many."""
    distinct, place, counts = np.unique(column, return_inverse=True, return_counts=True)
    if len(distinct) <= BINS:
        return place
    common = counts >= len(column) / BINS
    # A common value is an edge below itself and another one above.
    edges = np.quantile(column, np.arange(1, BINS // 2) / (BINS // 2))
    spikes = distinct[common]
    edges = np.unique(np.concatenate([edges, spikes, np.nextafter(spikes, np.inf)]))
    bins = np.searchsorted(edges, column, side="right")
    return np.unique(bins, return_inverse=True)[1]


def _grown(binned: np.ndarray, labels: np.ndarray, inside: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The leaf of every picture, int (N,), in a tree grown from those `inside`, by Gini impurity."""
    n_classes, n_bins = len(counts), int(binned.max()) + 1
    weight = 1 / np.maximum(counts, 1) / n_classes
    leaf, n_leaves = np.zeros(len(labels), np.int64), 1
    # Of each leaf still open: its pictures to learn from, all its pictures.
    open_leaves = [(0, inside, np.arange(len(labels)))]
    for _ in range(DEPTH):
        after = []
        for name, learned, every in open_leaves:
            split = _split(binned[learned], labels[learned], n_classes, n_bins, weight)
            if split is None:
                continue
            feature, edge = split
            right, right_learned = binned[every, feature] > edge, binned[learned, feature] > edge
            leaf[every[right]] = n_leaves
            after.append((name, learned[~right_learned], every[~right]))
            after.append((n_leaves, learned[right_learned], every[right]))
            n_leaves += 1
        open_leaves = after
    return leaf


def _split(
    binned: np.ndarray, labels: np.ndarray, n_classes: int, n_bins: int, weight: np.ndarray
) -> tuple[int, int] | None:
    """The feature and the last bin of its left part that part the classes best; None where nothing does."""
    if len(labels) < 2 * LEAST:
        return None
    n_features = binned.shape[1]
    places = (np.arange(n_features) * n_bins + binned) * n_classes + labels[:, None]
    counts = np.bincount(places.reshape(-1), minlength=n_features * n_bins * n_classes)
    left = counts.reshape(n_features, n_bins, n_classes).cumsum(axis=1)
    total, left = left[0, -1], left[:, :-1]
    right = total - left
    allowed = (left.sum(axis=2) >= LEAST) & (right.sum(axis=2) >= LEAST)
    pure = _purity(left * weight) + _purity(right * weight) - _purity(total * weight)
    gain = np.where(allowed, pure, 0)
    if not gain.size or gain.max() < LEAST_GAIN:
        return None
    feature, edge = np.unravel_index(gain.argmax(), gain.shape)
    return int(feature), int(edge)


def _purity(weighed: np.ndarray) -> np.ndarray:
    """The weight of each part, (…, C) by class, less its Gini impurity: (…)."""
    return (weighed**2).sum(axis=-1) / np.maximum(weighed.sum(axis=-1), 1e-12)
