"""How likely each given label is wrong: held-out scores, a temperature, and a matrix of how labels go wrong.

The given label is seen as the true one gone through a noisy channel (Dawid and Skene 1979; the joint of given and true
label is what confident learning estimates, Northcutt et al. 2021): p(given k | picture) = Σ_j p(j | picture) T[j, k].
A classifier that is merely unsure makes errors where it is unsure; a wrong label does not care how sure the classifier
is. That tells them apart: temperature and T are those under which the given labels are likeliest, by expectation
maximisation from several beginnings, and Bayes' rule then gives each picture's probabilities of its true class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tellapart import metrics

MOST = 20_000  # pictures from which temperature and matrix are learned
TEMPERATURES = np.geomspace(0.02, 1.2, 8)  # factors on the scores that are tried first
BEGINNINGS = (0.01, 0.15)  # shares of wrong labels to begin from
ROUNDS, LAST_ROUNDS = 8, 25
OWN = 2.0  # pictures of each class and class that the common share of wrong labels counts for
CLEAN = 100.0  # right labels seen beforehand: what keeps a small folder from being called wrong by halves


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """What the labels are worth."""

    truths: np.ndarray  # float64 (N, C): how likely each class is the true one, given picture and label
    answers: np.ndarray  # float64 (N, C): the same from the picture alone
    channel: np.ndarray  # float64 (C, C): row = true class, column = given label
    loss: float  # mean -log p(given label), nats


def learn(scores: np.ndarray, labels: np.ndarray) -> Noise:
    """Held-out scores, float (N, C), and given labels, int (N,), to what the labels are worth."""
    n, c = scores.shape
    share = np.log((np.bincount(labels, minlength=c) + 0.5) / (n + 0.5 * c))
    some = np.arange(n) if n <= MOST else np.sort(np.random.default_rng(0).permutation(n)[:MOST])
    found = [
        _maximised(scores[some], labels[some], share, factor, beginning, ROUNDS)
        for factor in TEMPERATURES
        for beginning in BEGINNINGS
    ]
    loss, factor, channel = min(found, key=lambda each: each[0])
    # Closer to the best temperature, between its neighbours of the first grid.
    step = TEMPERATURES[1] / TEMPERATURES[0]
    for finer in factor * step ** np.array([-0.5, -0.25, 0.25, 0.5]):
        other = _maximised(scores[some], labels[some], share, finer, channel, ROUNDS)
        if other[0] < loss:
            loss, factor, channel = other
    loss, factor, channel = _maximised(scores[some], labels[some], share, factor, channel, LAST_ROUNDS)
    answers = metrics.softmax(scores * factor + share)
    joint = answers * channel[:, labels].T
    return Noise(joint / joint.sum(axis=1, keepdims=True), answers, channel, loss)


def _maximised(
    scores: np.ndarray, labels: np.ndarray, share: np.ndarray, factor: float, begin: float | np.ndarray, rounds: int
) -> tuple[float, float, np.ndarray]:
    """Loss, factor and channel after some rounds of expectation maximisation at one temperature."""
    c = scores.shape[1]
    answers = metrics.softmax(scores * factor + share)
    of_class = [np.flatnonzero(labels == k) for k in range(c)]
    channel = begin if isinstance(begin, np.ndarray) else _even(c, begin)
    for _ in range(rounds):
        counts = np.zeros((c, c))  # row = true class, column = given label
        for k, rows in enumerate(of_class):
            joint = answers[rows] * channel[:, k]
            counts[:, k] = (joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)).sum(axis=0)
        wrong = (counts.sum() - np.trace(counts) + 0.5) / (counts.sum() + CLEAN)
        channel = counts + OWN * c * _even(c, wrong)
        channel /= channel.sum(axis=1, keepdims=True)
    given = sum(np.log(np.maximum(answers[rows] @ channel[:, k], 1e-300)).sum() for k, rows in enumerate(of_class))
    return -float(given) / len(labels), factor, channel


def _even(c: int, wrong: float) -> np.ndarray:
    channel = np.full((c, c), wrong / max(c - 1, 1))
    np.fill_diagonal(channel, 1 - wrong)
    return channel
