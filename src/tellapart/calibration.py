"""How far a network's probabilities can be believed, learned from pictures that it did not learn from.

Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks"): all logits are divided by one number,
so that no answer changes, only how sure it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tellapart import metrics

# How far the logarithm of a temperature is from 0 before anything was seen (standard deviation). It counts for little
# beyond a hundred pictures; with fewer, or where all of them were right, it keeps the answers from becoming certain.
# Of 0.25, 0.5, 1 and none, the smallest log-loss on photos, digits, shapes and textures, with 100 and with 1,000.
PRIOR = 0.25
LOW, HIGH = 0.05, 20.0  # of a temperature
PRECISION = 1e-4  # of its logarithm


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature at which held-out pictures are most likely to be what they are.

    Args:
        logits: float (N, C), of pictures that the network did not learn from; logarithms of probabilities do as well.
        labels: int (N,), their right classes.

    Returns:
        From LOW to HIGH: above 1 where the network is too sure, below 1 where it is not sure enough; 1 by no pictures.
    """
    if len(labels) == 0:
        return 1.0

    def loss(log_t: float) -> float:
        nats = metrics.log_loss(metrics.softmax(logits, math.exp(log_t)), labels) * len(labels)
        return nats + log_t**2 / (2 * PRIOR**2)

    return math.exp(_lowest(loss, math.log(LOW), math.log(HIGH)))


def by_turns(logits: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Probabilities, float64 (N, C), each fold's by the temperature of the others, so that none judges itself.

    `logits` float (N, C), `labels` and `folds` int (N,), as for `temperature`.
    """
    found = metrics.softmax(logits)
    for fold in np.unique(folds):
        mine = folds == fold
        found[mine] = metrics.softmax(logits[mine], temperature(logits[~mine], labels[~mine]))
    return found


def _lowest(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is lowest, by golden sections (Kiefer 1953)."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > PRECISION:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return (low + high) / 2
