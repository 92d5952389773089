"""What pictures' frozen features say of their classes, out of sample: a linear discriminant, held out by folds.

A linear discriminant (Fisher 1936; one covariance for all classes, drawn towards a multiple of the identity as by
Friedman 1989) is told by sums alone: the class means and one matrix of products. The sums of all folds less those of
one are what the others say, so that every picture is answered by pictures of other folds at the price of a single pass.
It has no weights to bend towards single pictures, and so hardly learns wrong labels.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tellapart import head

BLOCK = 2048  # pictures at a time as float32
NEVER = -1e4  # score of a class that has no picture to learn from


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Centre and spread of each feature, float32 (D,) each, as the classifier's head scales them."""

    centre: np.ndarray
    spread: np.ndarray

    def blocks(self, features: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Some rows, a block at a time: their numbers and the scaled features, float32."""
        for start in range(0, len(rows), BLOCK):
            some = rows[start : start + BLOCK]
            yield some, (np.asarray(features[some], np.float32) - self.centre) / self.spread


@dataclass(slots=True, eq=False)
class _Sums:
    """What a discriminant is made of, all float64."""

    products: np.ndarray  # (D, D), of each picture with itself
    totals: np.ndarray  # (C, D), by class
    counts: np.ndarray  # (C,)

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(self.products + other.products, self.totals + other.totals, self.counts + other.counts)

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(self.products - other.products, self.totals - other.totals, self.counts - other.counts)


class Sides:
    """The sums of every fold, kept so that pictures can be left out of them later."""

    def __init__(
        self, features: np.ndarray, labels: np.ndarray, n_classes: int, *, seed: int, groups: np.ndarray | None = None
    ) -> None:
        """Features float (N, D), labels int (N,) from 0 to C - 1; one group, int (N,), is held out together."""
        self.features, self.labels, self.n_classes = features, labels, n_classes
        self.scaling = Scaling(*(each.astype(np.float32) for each in head.scaling(features, np.arange(len(features)))))
        self.folds = [outside for _, outside in head.folds(labels, groups, seed, single=False)]
        self.held_out = np.zeros(len(labels), bool)  # false for the only picture of a class, or its only group
        for outside in self.folds:
            self.held_out[outside] = True
        always = np.flatnonzero(~self.held_out)
        self._sums = [self._of(rows) for rows in (*self.folds, always)]

    def scores(self, shrinkages: Sequence[float], without: np.ndarray | None = None) -> np.ndarray:
        """The held-out scores, float32 (S, N, C), for each of S shrinkages; rows never held out are zero.

        A score is a log density up to what all classes share; `without`, bool (N,), are pictures to learn nothing from.
        """
        sums = self._sums
        if without is not None:
            sums = [
                mine - self._of(rows[without[rows]])
                for mine, rows in zip(sums, (*self.folds, np.flatnonzero(~self.held_out)), strict=True)
            ]
        whole = functools.reduce(_Sums.__add__, sums)
        inside = [_within(whole - mine) for mine in sums[:-1]]
        given = np.zeros((len(shrinkages), len(self.labels), self.n_classes), np.float32)
        for outside, (covariance, means, counts) in zip(self.folds, inside, strict=True):
            rules = [_rule(covariance, means, counts, shrinkage) for shrinkage in shrinkages]
            kernel, bias = (np.concatenate(parts, axis=-1) for parts in zip(*rules, strict=True))
            for rows, scaled in self.scaling.blocks(self.features, outside):
                answers = (scaled @ kernel + bias).reshape(len(rows), len(shrinkages), self.n_classes)
                given[:, rows] = answers.transpose(1, 0, 2)
        return given

    def _of(self, rows: np.ndarray) -> _Sums:
        d = self.features.shape[1]
        sums = _Sums(np.zeros((d, d)), np.zeros((self.n_classes, d)), np.zeros(self.n_classes))
        for some, scaled in self.scaling.blocks(self.features, rows):
            sums.products += scaled.T @ scaled
            of_class = np.zeros((self.n_classes, len(some)), np.float32)
            of_class[self.labels[some], np.arange(len(some))] = 1
            sums.totals += of_class @ scaled
            sums.counts += of_class.sum(axis=1)
        return sums


def _within(sums: _Sums) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The covariance within classes (D, D), the class means (C, D), the pictures of each class (C,)."""
    means = sums.totals / np.maximum(sums.counts, 1)[:, None]
    freedom = max(sums.counts.sum() - (sums.counts > 0).sum(), 1.0)
    return (sums.products - (means.T * sums.counts) @ means) / freedom, means, sums.counts


def _rule(
    covariance: np.ndarray, means: np.ndarray, counts: np.ndarray, shrinkage: float
) -> tuple[np.ndarray, np.ndarray]:
    """The kernel (D, C) and bias (C,) of the discriminant, float32."""
    from scipy.linalg import cho_factor, cho_solve

    d = len(covariance)
    shrunk = (1 - shrinkage) * covariance
    shrunk[np.diag_indices(d)] += shrinkage * max(float(np.trace(covariance)) / d, 1e-9)
    kernel = cho_solve(cho_factor(shrunk, lower=True), means.T)
    bias = np.where(counts > 0, -0.5 * (means.T * kernel).sum(axis=0), NEVER)
    return kernel.astype(np.float32), bias.astype(np.float32)
