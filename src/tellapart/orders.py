"""Splits and classes that go by the numbers or beginnings of file names, or by time.

Numbers that run on from training to test pictures are no harm by themselves: many clean sets are numbered so. They are
told for information, and as a warning where only some classes are ordered so.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence

import numpy as np

from tellapart import ranks
from tellapart.catalog import Catalog, Entry
from tellapart.files import counted, shown
from tellapart.findings import Finding

APART = 0.99  # how surely order tells two sides apart from which they count as separated
ENOUGH = 10  # pictures on each side, below which an order means nothing
SOURCE = 0.5  # share of wrong guesses that the beginnings of names must put right
HOUR_S = 3600
NAMED = {"train": "training", "validation": "validation", "test": "test"}


def of_splits(entries: Sequence[Entry], splits: Sequence[str], times: Sequence[float] | None) -> list[Finding]:
    """How each further split differs from the first in its files' names, or times in seconds, NaN where unknown."""
    named = [ranks.parts(os.path.basename(entry.path)) for entry in entries]
    begins, numbers = [begin for begin, _ in named], np.array([number for _, number in named])
    sides = np.array([splits.index(entry.split) if entry.split in splits else -1 for entry in entries])
    classes = np.array([entry.label for entry in entries])
    found = []
    for k, split in enumerate(splits[1:], start=1):
        some = np.flatnonzero((sides == 0) | (sides == k))
        pair, later = (NAMED[splits[0]], NAMED[split]), sides[some] == k
        mine = _source([begins[i] for i in some], later, classes[some], pair)
        mine += _numbers(numbers[some], later, classes[some], pair)
        if times is not None and not mine:
            mine = _times(np.asarray(times, np.float64)[some], later, pair)
        found += mine
    return found


def _numbers(numbers: np.ndarray, later: np.ndarray, classes: np.ndarray, pair: tuple[str, str]) -> list[Finding]:
    ways = {}
    for label in np.unique(classes):
        mine = classes == label
        way = ranks.apart(numbers[mine & ~later], numbers[mine & later], ENOUGH)
        if way is not None:
            ways[str(label)] = way
    higher = [label for label, way in ways.items() if way >= APART]
    lower = [label for label, way in ways.items() if way <= 1 - APART]
    n = len(higher) + len(lower)
    if not n:
        return []
    mixed = len(ways) not in (len(higher), len(lower))
    how = "other" if higher and lower else "higher" if higher else "lower"
    return [
        Finding(
            "split",
            "warning" if mixed else "info",
            f"In {n} of {len(ways)} classes all {pair[1]} pictures have {how} numbers in their names than the "
            f"{pair[0]} pictures{', in the others not' if n < len(ways) else ''}: if they were numbered as they were "
            f"taken, the splits differ in time or place.",
            "If the numbers follow a day, a place or a camera, draw the splits anew by those; if not, leave it.",
            (),
            score=n / len(ways),
            detail={"topic": "order", "split": pair[1], "higher": higher, "lower": lower, "of": len(ways)},
        )
    ]


def _source(begins: list[str], later: np.ndarray, classes: np.ndarray, pair: tuple[str, str]) -> list[Finding]:
    labels = [str(label) for label in classes]
    told = ranks.told_by([*zip(labels, begins, strict=True)], later.tolist(), labels)
    if told is None or told.gain < SOURCE:
        return []
    return [
        Finding(
            "split",
            "warning",
            f"How a file's name begins tells the {pair[0]} from the {pair[1]} pictures: {100 * told.right:.0f} % are "
            f"told rightly by it, where guessing does {100 * told.guessed:.0f} %. They seem to come from different "
            f"sources.",
            "If the sources are different cameras, places or people, mix them in both splits.",
            (),
            score=told.gain,
            detail={"topic": "source", "split": pair[1], "right": told.right, "guessed": told.guessed},
        )
    ]


def _times(times: np.ndarray, later: np.ndarray, pair: tuple[str, str]) -> list[Finding]:
    gap = ranks.gap(times[~later], times[later], ENOUGH)
    if gap is None or abs(gap) < HOUR_S:
        return []
    return [
        Finding(
            "split",
            "info",
            f"All {pair[1]} files were last changed {'after' if gap > 0 else 'before'} all {pair[0]} files, "
            f"{_long(abs(gap))} apart.",
            "If that is when they were taken, the splits differ in time: draw them anew, by day or place.",
            (),
            detail={"topic": "time", "split": pair[1], "gap_s": gap},
        )
    ]


def of_classes(catalog: Catalog) -> list[Finding]:
    """Classes photographed one after the other: same beginnings of names, numbers that do not overlap."""
    named = [ranks.parts(os.path.basename(entry.path)) for entry in catalog.entries]
    spans: dict[str, dict[str, list[float]]] = {}
    for entry, (begin, number) in zip(catalog.entries, named, strict=True):
        if not math.isnan(number):
            spans.setdefault(begin, {}).setdefault(entry.label, []).append(number)
    for begin, of_class in sorted(spans.items(), key=lambda each: -sum(map(len, each[1].values()))):
        enough = {label: numbers for label, numbers in of_class.items() if len(numbers) >= ENOUGH}
        n = sum(map(len, enough.values()))
        if len(enough) < 2 or len(enough) < len(catalog.classes) or n < 0.9 * len(catalog.entries):
            continue
        order = sorted(enough.items(), key=lambda each: min(each[1]))
        if all(max(a[1]) < min(b[1]) for a, b in itertools.pairwise(order)):
            return [
                Finding(
                    "split",
                    "info",
                    f"The classes were numbered one after the other ({begin or 'numbers'}: "
                    + ", ".join(f"{shown(label)} {min(of):.0f}–{max(of):.0f}" for label, of in order[:4])
                    + (", …" if len(order) > 4 else "")
                    + "): if they were also photographed so, light or place may give the class away.",
                    "If a class was taken on a day or in a place of its own, mix days and places.",
                    (),
                    score=0.1,
                    detail={"topic": "turns", "classes": {label: [min(of), max(of)] for label, of in order}},
                )
            ]
    return []


def _long(seconds: float) -> str:
    return counted(round(seconds / HOUR_S), "hour") if seconds < 48 * HOUR_S else f"{seconds / 86400:.0f} days"
