"""How a model fares on parts of the pictures: by folder, by a column of a table, by size, by brightness.

Parts are made without a look at the answers. A part is called worse where its share of right answers is below that of
all other pictures by more than chance explains: Fisher's exact test (1922), one-sided, with all parts that were looked
at taken into account by Holm's method (1979), so that in 19 of 20 evaluations of a model that is equally good
everywhere no part is called worse.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.metrics import wilson_interval

FEWEST = 10  # pictures of a part
MOST = 50  # parts of a kind: those with the most pictures
ALPHA = 0.05  # chance that a model which is equally good everywhere has any part called worse
DEEPEST = 3  # folders below the class in which a division is looked for
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)  # between which numbers are cut into parts: what is unusual shows at the ends
ABOVE_CLASS = {"classes": 1, "splits": 2, "table": 0, "shards": 99}  # folders of a path, class among them, by layout
FOLDER, SIZE, BRIGHTNESS = "folder", "size", "brightness"


@dataclass(frozen=True, slots=True)
class Slice:
    """How a model fared on a part of the pictures."""

    by: str  # what the parts were made by: "folder", "size", "brightness", or the name of a CSV's column
    name: str  # which part: "night", "under 120 px"
    n: int  # pictures in it, at least 1
    n_right: int
    worse: bool = False  # whether it is surely worse than the other pictures, all parts that were looked at considered

    @property
    def accuracy(self) -> float:
        """The share of right answers, 0–1."""
        return self.n_right / self.n

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of `accuracy`."""
        return wilson_interval(self.n_right, self.n)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        more = {"accuracy": self.accuracy, "accuracy_interval": list(self.accuracy_interval)}
        return {**dataclasses.asdict(self), **more}


def of(right: np.ndarray, labels: np.ndarray, kinds: Mapping[str, Sequence[str]]) -> tuple[Slice, ...]:
    """The parts of every kind that is a division at all, kind after kind, in the order of their names or numbers.

    Args:
        right: which pictures were answered rightly, bool (N,).
        labels: the right class of each, int (N,): a kind that only repeats the classes is left out.
        kinds: by what parts are made, to the name of each picture's part, N of them; "" is no part.
    """
    found, known = [], {_division(labels.tolist())}
    for by, names in kinds.items():
        division = _division(names)
        usual = [name for name, n in Counter(names).most_common(MOST + 1) if name and n >= FEWEST][:MOST]
        if division in known or len(set(names)) < 2 or not usual:
            continue  # parts that are the classes, or those of a kind before, would only be counted twice
        known.add(division)
        place = np.array(names)
        for name in sorted(usual, key=_in_order):
            mine = place == name
            found.append(Slice(by, name, int(mine.sum()), int(right[mine].sum())))
    chances = [chance(each.n_right, each.n, int(right.sum()), len(right)) for each in found]
    worse = holm(chances)
    return tuple(dataclasses.replace(each, worse=bad) for each, bad in zip(found, worse, strict=True))


def chance(n_right: int, n: int, all_right: int, n_all: int) -> float:
    """How likely a part of `n` of `n_all` pictures has `n_right` or fewer of the `all_right` right ones by chance."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n_all + 1)))])

    def log_ways(of: int, taken: np.ndarray | int) -> np.ndarray:
        return log_factorial[of] - log_factorial[taken] - log_factorial[of - taken]

    fewest = max(0, n - (n_all - all_right))
    hits = np.arange(fewest, n_right + 1)
    each = log_ways(all_right, hits) + log_ways(n_all - all_right, n - hits) - log_ways(n_all, n)
    return float(min(np.exp(each).sum(), 1.0))


def holm(chances: Sequence[float], alpha: float = ALPHA) -> list[bool]:
    """Which of several tests hold, so that with `alpha` at most any holds falsely (Holm 1979)."""
    holds = [False] * len(chances)
    for i, place in enumerate(sorted(range(len(chances)), key=lambda place: chances[place])):
        if chances[place] > alpha / (len(chances) - i):
            break
        holds[place] = True
    return holds


def folders(paths: Sequence[str], root: str, layout: str, labels: Sequence[Any]) -> list[str] | None:
    """The folder of each picture that tells them apart, "" where there is none; None where no level of folders does.

    That is the first level below the class folder (in a table's layout: below the root) with two folders of FEWEST
    pictures or more that are not just the classes. Folders of one name in several classes, as of a camera or a day,
    are one part.
    """
    ways = [os.path.relpath(path, root).split(os.sep)[ABOVE_CLASS[layout] : -1] for path in paths]
    for level in range(DEEPEST):
        names = [way[level] if len(way) > level else "" for way in ways]
        usual = [name for name, n in Counter(names).items() if name and n >= FEWEST]
        if len(usual) >= 2 and _division(names) != _division(labels):
            return names
    return None


def by_number(values: Sequence[float] | np.ndarray, unit: str = "") -> list[str]:
    """Parts of a measure, cut at round numbers near its quantiles; "" for NaN. A part has FEWEST numbers or more."""
    numbers = np.asarray(values, np.float64)
    there = numbers[np.isfinite(numbers)]
    if not len(there):
        return [""] * len(numbers)
    edges: list[float] = []
    for edge in _edges(there):
        low = edges[-1] if edges else -np.inf
        if ((there >= low) & (there < edge)).sum() >= FEWEST and (there >= edge).sum() >= FEWEST:
            edges.append(edge)
    if not edges:
        return ["all" if np.isfinite(value) else "" for value in numbers]
    told = [f"{edge:,.10g}" for edge in edges]
    names = [f"under {told[0]}{unit}"]
    names += [f"{low} to {high}{unit}" for low, high in itertools.pairwise(told)]
    names += [f"{told[-1]}{unit} and more"]
    at = np.searchsorted(edges, numbers, "right")
    return [names[i] if np.isfinite(value) else "" for i, value in zip(at, numbers, strict=True)]


def _edges(values: np.ndarray) -> list[float]:
    """Round numbers near the quantiles, ascending; where nearly all values are one, that one."""
    cuts = np.quantile(values, QUANTILES)
    spread = (cuts[-1] - cuts[0]) / 8
    if spread == 0:
        return [float(cuts[0])]
    power = 10.0 ** np.floor(np.log10(spread))
    step = power * max(digit for digit in (1, 2, 5) if digit * power <= spread)
    return sorted({round(float(np.round(cut / step) * step), 10) for cut in cuts})


def _in_order(name: str) -> tuple[float, bool, str]:
    """Sorts "under 10 %", "10 to 20 %", "20 % and more", and "cam 2" before "cam 10"; what has no number comes last."""
    number = re.search(r"\d[\d,]*(\.\d+)?", name)
    return (float(number[0].replace(",", "")) if number else math.inf, not name.startswith("under"), name)


def _division(names: Sequence[Any]) -> tuple[int, ...]:
    """Names as numbers in the order in which they come: the same for the same division under other names."""
    numbers: dict[Any, int] = {}
    return tuple(numbers.setdefault(name, len(numbers)) for name in names)
