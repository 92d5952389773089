"""Splits and class sizes that cannot judge or cannot teach, from the catalog alone: nothing is opened."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np

from tellapart import orders
from tellapart.catalog import SPLITS, Catalog
from tellapart.files import counted, quoted, shown
from tellapart.findings import Finding

SINGLE, FEW, THIN = 1, 5, 20  # pictures of a class: alone; too few to tell anything; few
RATIO = 10  # of the largest class to the smallest, from which it is told
SURE = 1e-3  # probability below which chance is no explanation
DIFFERS = 0.05  # difference of a class's share between splits below which it does not matter
NAMED = orders.NAMED


def find(catalog: Catalog, times: Sequence[float] | None = None) -> list[Finding]:
    """Everything about splits and class sizes; `times` are of the entries, in seconds, see `modified`."""
    labels = {name: i for i, name in enumerate(catalog.classes)}
    splits = [each for each in SPLITS if any(entry.split == each for entry in catalog.entries)]
    counts = np.zeros((len(labels), max(len(splits), 1)), np.int64)
    for entry in catalog.entries:
        counts[labels[entry.label], splits.index(entry.split) if entry.split in splits else 0] += 1
    found = _sizes(counts[:, 0], catalog.classes, "to learn from" if "train" in splits[:1] else "in all")
    if len(splits) > 1:
        found += _swapped(counts, splits) + _missing(counts, splits, catalog.classes)
        found += _shares(counts, splits, catalog.classes) + orders.of_splits(catalog.entries, splits, times)
    return found + orders.of_classes(catalog)


def modified(paths: Sequence[str]) -> list[float]:
    """When each file was last changed, in seconds; NaN where it is gone."""
    found = []
    for path in paths:
        try:
            found.append(os.stat(path).st_mtime)
        except OSError:
            found.append(math.nan)
    return found


def _sizes(counts: np.ndarray, classes: Sequence[str], where: str) -> list[Finding]:
    found = []
    for low, high, severity, means, remedy in (
        (SINGLE, SINGLE, "error", "nothing can be learned and checked from one", "Add pictures, or remove the class."),
        (SINGLE + 1, FEW - 1, "warning", "what is learned from so few is luck", f"Add pictures: {THIN} at least."),
        (FEW, THIN - 1, "info", "accuracy is only known roughly", "More pictures of these help most."),
    ):
        some = [i for i in range(len(classes)) if low <= counts[i] <= high]
        if some:
            few = f"{counted(low, 'picture')}" if low == high else f"{low} to {high} pictures"
            names = quoted([classes[i] for i in some])
            found.append(
                Finding(
                    "imbalance",
                    severity,
                    f"{len(some):,} of {len(classes):,} classes {'has' if len(some) == 1 else 'have'} only {few} "
                    f"{where} ({names}): {means}.",
                    remedy,
                    (),
                    score=len(some) / len(classes),
                    detail={"topic": "few", "classes": {classes[i]: int(counts[i]) for i in some}},
                )
            )
    filled = np.flatnonzero(counts)
    if len(filled) > 1:
        most, least = int(filled[counts[filled].argmax()]), int(filled[counts[filled].argmin()])
        ratio = counts[most] / counts[least]
        if ratio >= RATIO:
            found.append(
                Finding(
                    "imbalance",
                    "warning",
                    f"{shown(classes[most])} has {counts[most]:,} pictures {where}, {ratio:.0f} times as many as "
                    f"{shown(classes[least])} with {counts[least]:,}: the rare class will be missed more often.",
                    f"Add pictures of {shown(classes[least])}, and judge by the accuracy of each class.",
                    (),
                    score=float(1 - 1 / ratio),
                    detail={"topic": "ratio", "ratio": float(ratio), "classes": [classes[most], classes[least]]},
                )
            )
    return found


def _swapped(counts: np.ndarray, splits: list[str]) -> list[Finding]:
    if not {"train", "test"} <= set(splits):
        return []
    train, test = (int(counts[:, splits.index(each)].sum()) for each in ("train", "test"))
    if test <= train:
        return []
    return [
        Finding(
            "split",
            "warning",
            f"There are {test:,} pictures to test on and only {train:,} to learn from: the two folders may be swapped.",
            "Swap the names of the two folders, unless it is meant so.",
            (),
            score=test / (train + test),
            detail={"topic": "swapped", "train": train, "test": test},
        )
    ]


def _missing(counts: np.ndarray, splits: list[str], classes: Sequence[str]) -> list[Finding]:
    found = []
    for k, split in enumerate(splits):
        lacking = [classes[i] for i in range(len(classes)) if counts[i, k] == 0]
        if not lacking:
            continue
        train = split == "train"
        found.append(
            Finding(
                "split",
                "error" if train else "warning",
                f"The {NAMED[split]} pictures lack {len(lacking)} of {len(classes)} classes ({quoted(lacking)}): "
                + ("what is never shown cannot be learned." if train else "nothing is known about how these fare."),
                f"Add {NAMED[split]} pictures of each class, or look whether the folders' names differ in spelling.",
                (),
                score=len(lacking) / len(classes),
                detail={"topic": "missing", "split": split, "classes": lacking},
            )
        )
    return found


def _shares(counts: np.ndarray, splits: list[str], classes: Sequence[str]) -> list[Finding]:
    """Whether classes have other shares in one split than in another (Pearson's chi-square)."""
    from scipy.stats import chi2

    everywhere = counts[(counts > 0).all(axis=1)]
    if len(everywhere) < 2:
        return []
    expected = np.outer(everywhere.sum(axis=1), everywhere.sum(axis=0)) / everywhere.sum()
    square = float(((everywhere - expected) ** 2 / expected).sum())
    freedom = (len(everywhere) - 1) * (len(splits) - 1)
    chance = float(chi2.sf(square, freedom))
    shares = counts / counts.sum(axis=0)
    first = 0  # the training pictures, where there are any
    gap = np.abs(shares - shares[:, [first]])
    i, k = divmod(int(gap.argmax()), len(splits))
    if chance >= SURE or gap[i, k] < DIFFERS:
        return []
    return [
        Finding(
            "split",
            "warning",
            f"{shown(classes[i])} makes up {100 * shares[i, first]:.0f} % of the {NAMED[splits[first]]} pictures "
            f"({counts[i, first]:,} of {counts[:, first].sum():,}) but {100 * shares[i, k]:.0f} % of the "
            f"{NAMED[splits[k]]} pictures ({counts[i, k]:,} of {counts[:, k].sum():,}): more than chance explains.",
            "Draw the splits anew from all pictures, unless the difference is meant; then judge class by class.",
            (),
            score=float(gap[i, k]),
            detail={"topic": "shares", "chi_square": square, "freedom": freedom, "chance": chance},
        )
    ]
