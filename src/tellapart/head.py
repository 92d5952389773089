"""The classifier on frozen features: logistic regression, its penalty chosen by cross-validation.

Features are centred and divided by their spread first. With few pictures the spread of a single feature is hardly
known, and dividing by it blows up noise: there all features are divided by their common spread. With many pictures each
has its own. In between the variances are drawn towards their mean by as much as they are uncertain. All of it is
linear, so that scaling and regression fold into one dense layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tellapart import metrics
from tellapart.backbones import Head

# Weights of the data against the penalty (scikit-learn's C), the strongest penalty first: each fit begins where the one
# before it ended, and once the loss grows the weaker ones are not tried.
STRENGTHS = (3e-3, 0.03, 0.1, 0.3, 1.0, 3.0)
PRIOR = 300  # pictures that the mean variance counts for, against a feature's own
FOLDS = 5
MOST_WORK = 2e10  # multiply-adds of one pass over all folds, above which a single fold is held out
MIRROR_STRENGTH = 1e-2  # of the heads that tell whether mirroring hurts
# Log-loss that mirror images may cost, since they draw answers together a little: 0.003 on shapes and textures,
# 0.02 on digits.
MIRROR_LOSS = 0.01
BLOCK = 8192  # pictures at a time that are brought to float32 or float64
HELD_BYTES = 2**30  # of scaled features that are kept between two penalties; beyond, each fold's are made anew
STEPS = 200  # of L-BFGS, at most
TOLERANCE = 1e-3  # of the gradient: well below what changes an answer


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A fitted head, and what it says of pictures that it did not learn from."""

    head: Head  # learned from all pictures
    strength: float
    held_out: np.ndarray  # int64 (M,), the pictures that were answered by a head that had not seen them
    answers: np.ndarray  # float64 (M, C), its probabilities
    train_accuracy: float  # of the head on the pictures that it learned from


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    *,
    seed: int,
    groups: np.ndarray | None = None,
    strength: float | None = None,
) -> Fit:
    """Fit a head to features, float (N, D), and labels, int (N,) from 0 to C - 1, N and C at least 2.

    Pictures of one group, int (N,), are held out together; by default each is a group of its own.

    The strength, unless it is given, is the one of the lowest log-loss on held-out pictures: of five folds in turn, or
    of one of them where five would take long. Classes that are rare weigh more, by the root of their rarity: enough not
    to be given up, not so much as to be seen everywhere.

    Beside the features, which may lie in a file, there is one scaled copy of them in memory, 4 N D bytes, or those of
    all folds where they are small.
    """
    every, best_loss = [], np.inf
    tried = STRENGTHS if strength is None else (strength,)
    keeps = 4 * features.size * FOLDS <= HELD_BYTES
    for inside, outside in folds(labels, groups, seed, single=features.size * n_classes * FOLDS > MOST_WORK):
        every.append((inside, outside, _path(features, inside, labels, n_classes, tried, keeps=keeps)))
    held_out = np.concatenate([outside for _, outside, _ in every])
    strength, answers = tried[0], np.full((len(held_out), n_classes), 1 / n_classes)
    for candidate in tried:
        given = np.concatenate([probabilities(next(path), features[outside]) for _, outside, path in every])
        loss = metrics.log_loss(given, labels[held_out])
        if loss >= best_loss:
            break
        best_loss, strength, answers = loss, candidate, given
    # The penalty of the folds, who learned from fewer: else the head would be surer of itself than what is known of it.
    fewer = sum(len(inside) for inside, _, _ in every) / (len(every) * len(labels))
    head = learn(features, labels, n_classes, strength * fewer)
    right = metrics.accuracy(probabilities(head, features), labels)
    return Fit(head, strength, held_out, answers, right)


@dataclass(frozen=True, slots=True, eq=False)
class Crossed:
    """What heads say of pictures that they did not learn from, each picture held out once."""

    held_out: np.ndarray  # int64 (M,), the pictures; all but those that are the only group of their class
    answers: np.ndarray  # float64 (M, C), probabilities
    folds: np.ndarray  # int64 (M,), which fold each was held out in, from 0


def cross_validated(
    features: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    n_folds: int,
    *,
    seed: int,
    groups: np.ndarray | None = None,
    strength: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Crossed:
    """Fit a head for each fold as `fit` does, penalty and all, to the other folds, and ask it about this one.

    The penalty is chosen without the fold too (nested cross-validation): so the estimate is of all that `fit` does.
    """
    parts = []
    for i, (inside, outside) in enumerate(folds(labels, groups, seed, single=False, n_folds=n_folds)):
        progress(i, n_folds)
        mine = None if groups is None else groups[inside]
        fitted = fit(features[inside], labels[inside], n_classes, seed=seed, groups=mine, strength=strength)
        parts.append((outside, probabilities(fitted.head, features[outside]), np.full(len(outside), i)))
    progress(n_folds, n_folds)
    held_out, answers, of_fold = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Crossed(held_out, answers, of_fold)


def probabilities(head: Head, features: np.ndarray) -> np.ndarray:
    """What a head makes of features, float (N, D): float64 (N, C)."""
    return metrics.softmax(logits(head, features))


def logits(head: Head, features: np.ndarray) -> np.ndarray:
    """What a head makes of features, float (N, D), before they become probabilities: float32 (N, C)."""
    given = np.empty((len(features), len(head.bias)), np.float32)
    for start in range(0, len(features), BLOCK):
        some = slice(start, start + BLOCK)
        given[some] = np.asarray(features[some], np.float32) @ head.kernel + head.bias
    return given


def learn(features: np.ndarray, labels: np.ndarray, n_classes: int, strength: float) -> Head:
    """The head of a known strength, from features, float (N, D), and labels, int (N,)."""
    return next(_path(features, np.arange(len(labels)), labels, n_classes, (strength,), keeps=False))


def mirroring_hurts(
    features: np.ndarray,
    mirrored: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    *,
    seed: int,
    groups: np.ndarray | None = None,
    strength: float = MIRROR_STRENGTH,
) -> bool:
    """Whether pictures stop being of their class when they are mirrored left to right, as digits and letters do.

    A head learns from pictures alone, another one from them and their mirror images: where the latter is less sure of
    held-out pictures as they are (mean log-loss, by more than its standard error and MIRROR_LOSS), mirroring hurts.
    Features are float (N, D), row by row of the same pictures; labels and groups as in `fit`.
    """
    features, mirrored = np.asarray(features, np.float32), np.asarray(mirrored, np.float32)
    worse = []  # by how much the log-loss of each held-out picture is
    for inside, outside in folds(labels, groups, seed, single=False):
        plain = learn(features[inside], labels[inside], n_classes, strength)
        two = np.concatenate([features[inside], mirrored[inside]])
        # Twice the pictures weigh twice against the penalty: half the strength keeps the balance.
        both = learn(two, np.tile(labels[inside], 2), n_classes, strength / 2)
        rows, right = np.arange(len(outside)), labels[outside]
        given, given_both = (probabilities(head, features[outside])[rows, right] for head in (plain, both))
        worse.append(np.log(np.maximum(given, 1e-15)) - np.log(np.maximum(given_both, 1e-15)))
    worse = np.concatenate(worse)
    return bool(worse.mean() > max(MIRROR_LOSS, worse.std() / math.sqrt(len(worse))))


def folds(
    labels: np.ndarray, groups: np.ndarray | None, seed: int, *, single: bool, n_folds: int = FOLDS
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of pictures to learn from and pictures held out, int64 each; every class keeps one to learn from."""
    rng = np.random.default_rng(seed)
    groups = np.arange(len(labels)) if groups is None else groups
    names, firsts, members = np.unique(groups, return_index=True, return_inverse=True)
    fold, offset = np.empty(len(names), np.int64), 0  # of each group
    for label in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels[firsts] == label))
        if len(mine) == 1:
            fold[mine] = -1  # the only one of its class is always learned from
        else:
            fold[mine] = (np.arange(len(mine)) + offset) % n_folds
            offset += len(mine)
    for i in range(1 if single else n_folds):
        outside = fold[members] == i
        if outside.any():
            yield np.flatnonzero(~outside), np.flatnonzero(outside)


def _path(
    features: np.ndarray,
    rows: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    strengths: tuple[float, ...],
    *,
    keeps: bool,
) -> Iterator[Head]:
    """The heads of growing strength that learn from some rows, each begun from the one before it.

    `keeps` the scaled features from one to the next; else they are made anew, at a small part of what a fit takes.
    """
    labels = labels[rows]
    centre, scale = scaling(features, rows)
    scaled: np.ndarray | None = None
    present, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rarity = np.sqrt(counts.mean() / counts)
    weights = rarity[place] / rarity[place].mean()
    found = np.zeros((len(centre) + 1, len(present)))
    for strength in strengths:
        if scaled is None:
            scaled = _scaled(features, rows, centre, scale)
        found = _minimised(scaled, place, weights, strength, found)
        if not keeps:
            scaled = None
        kernel = found[:-1] / scale[:, None]
        full = Head(np.zeros((len(centre), n_classes), np.float32), np.full(n_classes, -30.0, np.float32))
        full.kernel[:, present] = kernel
        full.bias[present] = found[-1] - centre @ kernel
        yield full


def _minimised(
    features: np.ndarray, labels: np.ndarray, weights: np.ndarray, strength: float, start: np.ndarray
) -> np.ndarray:
    """The kernel and, as its last row, the bias, float64 (D + 1, C), that minimise the regularised loss.

    That is the weighted mean of -log p(right class) with softmax(x @ kernel + bias), plus |kernel|² / (2 strength N).
    """
    from scipy.optimize import minimize

    n, rows = len(labels), np.arange(len(labels))
    penalty = 1 / (strength * n)
    share = (weights / n).astype(np.float32)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        found = flat.reshape(start.shape)
        logits = features @ found[:-1].astype(np.float32) + found[-1].astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        answers = np.exp(logits)
        total = answers.sum(axis=1)
        value = share @ (np.log(total) - logits[rows, labels])
        answers /= total[:, None]
        answers[rows, labels] -= 1
        answers *= share[:, None]
        slope = np.concatenate([features.T @ answers, answers.sum(axis=0)[None]]).astype(np.float64)
        slope[:-1] += penalty * found[:-1]
        return float(value) + 0.5 * penalty * float((found[:-1] ** 2).sum()), slope.ravel()

    settings = {"maxiter": STEPS, "gtol": TOLERANCE, "maxls": 50}
    return minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=settings).x.reshape(start.shape)


def scaling(features: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and spread of each feature, float (N, D), over some rows, int64 (M,): float64 (D,) each.

    Where pictures are few all are divided by nearly the same spread. No more than a block is held at a time.
    """
    n, centre, squares = len(rows), np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for block in _blocks(features, rows):
        centre += block.sum(axis=0) / n
    for block in _blocks(features, rows):
        squares += np.square(block - centre).sum(axis=0)
    variance = squares / n
    shrunk = (n * variance + PRIOR * variance.mean()) / (n + PRIOR)
    return centre, np.sqrt(np.maximum(shrunk, 1e-12))


def _scaled(features: np.ndarray, rows: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Some rows, float32 (M, D), each feature about 0 and about as wide as the others."""
    found = np.empty((len(rows), features.shape[1]), np.float32)
    for start, block in zip(range(0, len(rows), BLOCK), _blocks(features, rows), strict=True):
        found[start : start + BLOCK] = (block - centre) / scale
    return found


def _blocks(features: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Some rows, float64, a block at a time."""
    for start in range(0, len(rows), BLOCK):
        yield np.asarray(features[rows[start : start + BLOCK]], np.float64)
