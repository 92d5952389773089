"""Two classifiers' right and wrong answers to the same pictures: is one better, and by how much?

Of the pictures only those tell that one of the two has right and the other one wrong. They are called `gained` (only
the second is right) and `lost` (only the first is right) here; `n` are all pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tellapart.metrics import Z_95

SURE = 0.05  # a difference is told from none where chance alone would make one as large less often than this
Z_POWER = 0.8416212335729143  # the normal quantile of 80 %: a difference that is there is then found 4 times in 5


def mcnemar(gained: int, lost: int) -> float:
    """The exact McNemar test (McNemar 1947): how often chance alone would part the pictures as unevenly, 0–1.

    Where neither is better, each of the pictures that tell falls to either side with probability 1/2: twice the smaller
    tail of a binomial distribution, summed in logarithms, so that thousands of them lose nothing.
    """
    n, few = gained + lost, min(gained, lost)
    if gained == lost:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(few + 1)]
    largest = max(logs)
    total = math.fsum(math.exp(each - largest) for each in logs)
    return min(1.0, math.exp(largest + math.log(total) + (1 - n) * math.log(2)))


def difference_interval(gained: int, lost: int, n: int) -> tuple[float, float]:
    """The 95 % interval of the difference of two shares of right answers, second less first: (low, high), -1 to 1.

    Tango's score interval (Statistics in Medicine 17, 1998, 891–908), which is good for few pictures and for shares
    near 1, too. Where it just leaves 0 out but the exact test cannot tell a difference, it is widened to 0, so that
    test and interval never say two things; without pictures nothing is known: (-1, 1).
    """
    if n == 0:
        return -1.0, 1.0
    low, high = _where_score_is(Z_95, gained, lost, n), _where_score_is(-Z_95, gained, lost, n)
    if mcnemar(gained, lost) >= SURE:
        low, high = min(low, 0.0), max(high, 0.0)
    return low, high


def tells_apart(gained: int, lost: int) -> bool:
    """Whether a difference can be told from none."""
    return mcnemar(gained, lost) < SURE


def needed(gained: int, lost: int, n: int) -> int | None:
    """How many pictures it takes to tell a difference of this size, four times in five; None where there is none.

    By the share of pictures that tell and the difference as they were seen (Connor, Biometrics 43, 1987, 207–211).
    """
    if gained == lost:
        return None
    telling, difference = (gained + lost) / n, abs(gained - lost) / n
    spread = math.sqrt(max(telling - difference**2, 0.0))
    return math.ceil(((Z_95 * math.sqrt(telling) + Z_POWER * spread) / difference) ** 2)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of a median by ranks, which outliers do not move; of fewer than six: least and greatest."""
    ordered, n, cut = sorted(values), len(values), 0
    while cut + 1 < n / 2 and mcnemar(cut + 1, n - cut - 1) <= SURE:
        cut += 1
    return ordered[cut], ordered[-1 - cut]


def mean_intervals(differences: np.ndarray, *, seed: int = 0, resamples: int = 2000) -> Sequence[tuple[float, float]]:
    """95 % bootstrap intervals (percentiles) of the means of paired differences, float (N, K): K of (low, high)."""
    n = len(differences)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, differences.shape[1]))
    for i in range(resamples):
        times = np.bincount(rng.integers(0, n, n), minlength=n)
        means[i] = times @ differences / n
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _where_score_is(z: float, gained: int, lost: int, n: int) -> float:
    """The difference at which Tango's score has the value `z`; the score falls as the difference grows."""
    low, high = -1.0, 1.0
    for _ in range(60):  # halvings: to the last digit
        middle = (low + high) / 2
        if _score(middle, gained, lost, n) > z:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _score(difference: float, gained: int, lost: int, n: int) -> float:
    """How far what was seen is from `difference`, in standard errors under it (Tango 1998, equations 5 to 7)."""
    a = 2 * n
    b = -gained - lost + (2 * n - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)  # the likeliest share of lost pictures
    variance = n * (2 * share + difference * (1 - difference))
    off = gained - lost - n * difference
    if variance <= 0:
        return 0.0 if off == 0 else math.copysign(math.inf, off)
    return off / math.sqrt(variance)
