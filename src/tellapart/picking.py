"""Which of many trials is the best, how much better than the default it really is, and whether that is worth a change.

All trials answered the same validation pictures. The best of many looks better than it is on the pictures that chose
it. How much better is told by choosing again and again among pictures that are drawn anew, and judging each choice by
the pictures that were not drawn (Tsamardinos et al. 2018, "Bootstrapping the out-of-sample predictions for efficient
and accurate cross-validation", Machine Learning 107, 1895-1922). Where that leaves nothing the default is kept;
benchmarks/choosing.py has what this costs and what it saves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tellapart import paired

RESAMPLES = 500
WRONG, RIGHT, UNREAD = 0, 1, 2  # an answer to a picture; the last where its file could not be read


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What a trial said of the validation pictures, and what it costs."""

    number: int
    answers: np.ndarray  # uint8 (V,): WRONG, RIGHT or UNREAD
    log_loss: float  # of those that were read, calibrated; nats
    cost: tuple[float, ...]  # the lower the better, the first number first: of an answer, then of the training

    @property
    def n(self) -> int:
        """Pictures that were read."""
        return int((self.answers != UNREAD).sum())

    @property
    def accuracy(self) -> float:
        """The share of right answers, 0–1."""
        return float((self.answers == RIGHT).sum() / max(self.n, 1))

    @property
    def score(self) -> float:
        """See `score`."""
        return score(self.accuracy, self.log_loss, self.n)


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better a trial is than the default, in shares of right answers: -1 to 1."""

    gained: int  # pictures that only the trial has right
    lost: int  # pictures that only the default has right
    n: int
    low: float  # 95 % interval of the difference, for two models that nobody chose by these pictures
    high: float
    expected: float  # the difference that pictures which chose nothing would show
    expected_low: float  # 95 % interval of that
    expected_high: float

    @property
    def difference(self) -> float:
        """As it is on these pictures."""
        return (self.gained - self.lost) / max(self.n, 1)

    @property
    def is_worth_a_change(self) -> bool:
        """Whether new pictures are to be expected to show it too."""
        return self.expected > 0


def score(accuracy: float, log_loss: float, n: int) -> float:
    """One number for accuracy, and among equals for log-loss, which never counts as much as one of n pictures."""
    loss = min(log_loss, 700.0) if math.isfinite(log_loss) else 700.0
    return accuracy + math.exp(-loss) / max(n, 1) * 0.999


def best(trials: Sequence[Trial]) -> Trial:
    """The one of most right answers, of equal ones that of the lower log-loss, then the cheaper; there is one."""
    table = _Table(trials)
    return trials[table.choose(np.ones(table.right.shape[1]))]


def gain(trials: Sequence[Trial], default: Trial, top: Trial, *, seed: int = 0) -> Gain:
    """How much better the best trial is than the default."""
    read = (top.answers != UNREAD) & (default.answers != UNREAD)
    better, base = (each.answers[read] == RIGHT for each in (top, default))
    gained, lost, n = int((better & ~base).sum()), int((base & ~better).sum()), int(read.sum())
    low, high = paired.difference_interval(gained, lost, n)
    if top is default:  # which is no choice
        return Gain(gained, lost, n, low, high, 0.0, 0.0, 0.0)
    table, place = _Table(trials), next(i for i, each in enumerate(trials) if each is default)
    rng, n_all = np.random.default_rng(seed), len(default.answers)
    found = []
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(0, n_all, n_all), minlength=n_all)
        apart = times == 0
        if not apart.any():
            continue
        picked = table.choose(times.astype(np.float64))
        found.append(table.accuracy(picked, apart) - table.accuracy(place, apart))
    middle = float(np.mean(found)) if found else 0.0
    ends = np.percentile(found, [2.5, 97.5]).tolist() if found else [-1.0, 1.0]
    return Gain(gained, lost, n, low, high, middle, *ends)


class _Table:
    """Trials as arrays."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        answers = np.stack([each.answers for each in trials])  # (T, V)
        self.right, self.read = answers == RIGHT, answers != UNREAD
        self._ties = np.array([score(0.0, each.log_loss, each.n) for each in trials])
        costs = sorted({each.cost for each in trials})
        self._ranks = np.array([costs.index(each.cost) for each in trials])

    def accuracy(self, trial: int, among: np.ndarray) -> float:
        """Of one trial, of some pictures, bool (V,)."""
        return float(self.right[trial, among].sum() / max(self.read[trial, among].sum(), 1))

    def choose(self, times: np.ndarray) -> int:
        """The best trial where each picture counts so many times, float64 (V,)."""
        right = (self.right * times).sum(axis=1)
        scores = right / np.maximum((self.read * times).sum(axis=1), 1) + self._ties
        return int(np.lexsort((self._ranks, -scores))[0])
