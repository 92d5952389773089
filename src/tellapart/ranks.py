"""Whether names, numbers or times tell two groups of files apart."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Told:
    """How well one value tells another."""

    right: float  # share told rightly by the value, 0–1
    guessed: float  # share told rightly without it
    n_values: int

    @property
    def gain(self) -> float:
        """The share of what guessing gets wrong that the value gets right, 0–1."""
        return (self.right - self.guessed) / (1 - self.guessed) if self.guessed < 1 else 0.0


def parts(name: str) -> tuple[str, float]:
    """How a file's name begins, up to a digit, and its last number, NaN without one: "IMG_012.jpg" to ("img_", 12)."""
    stem = name.rsplit(".", 1)[0] if "." in name else name
    begin = re.match(r"\D*", stem)
    numbers = re.findall(r"\d{1,15}", stem)
    return (begin[0].casefold() if begin else ""), float(numbers[-1]) if numbers else math.nan


def apart(first: np.ndarray, second: np.ndarray, enough: int) -> float | None:
    """How often a value of the second is above one of the first, 0–1, ties half; None with fewer than `enough`."""
    first, second = np.sort(first[~np.isnan(first)]), second[~np.isnan(second)]
    if min(len(first), len(second)) < enough:
        return None
    below, up_to = np.searchsorted(first, second, "left"), np.searchsorted(first, second, "right")
    return float((below + up_to).sum() / (2 * len(first) * len(second)))


def gap(first: np.ndarray, second: np.ndarray, enough: int) -> float | None:
    """The room between two spans, negative where the second comes first; None where they overlap.

    None too where either has fewer than `enough` different values: files that were unpacked in one go.
    """
    first, second = first[~np.isnan(first)], second[~np.isnan(second)]
    if min(len(np.unique(np.floor(first / 60))), len(np.unique(np.floor(second / 60)))) < enough:
        return None
    if second.min() > first.max():
        return float(second.min() - first.max())
    return float(second.max() - first.min()) if second.max() < first.min() else None


def told_by(values: Sequence[Hashable], sides: Sequence[int], within: Sequence[Hashable]) -> Told | None:
    """How well values tell sides, compared with knowing only what each is `within`; None without any.

    A value that occurs once tells nothing: names that are all different would tell everything.
    """
    if not values:
        return None
    by_value, by_group = defaultdict(Counter), defaultdict(Counter)
    for value, side, group in zip(values, sides, within, strict=True):
        by_value[value][side] += 1
        by_group[group][side] += 1
    group_of = dict(zip(values, within, strict=True))
    n = len(values)
    likeliest = {group: sides.most_common(1)[0][0] for group, sides in by_group.items()}
    right = 0
    for value, some in by_value.items():
        total = sum(some.values())
        right += max(some.values()) if total > 1 else some[likeliest[group_of[value]]]
    guessed = sum(max(some.values()) for some in by_group.values())
    return Told(right / n, guessed / n, len(by_value))
