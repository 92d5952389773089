"""A classifier on a frozen backbone: look at as many pictures as it takes, fit a head, put both into a bundle.

A good backbone needs few pictures of a class. So training pictures are looked at in rounds, each twice as large as
the one before it, and after each the head is fitted and judged on held-out pictures. The errors that are left fall
with about the fourth root of the number of pictures (a cautious reading of learning curves on frozen features); once
all remaining pictures together promise less than `Transfer.enough`, the rest is left alone, and the run says so.
"""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import backbones, features, kerasfile, metrics, preprocess, provenance, splits
from tellapart import bundle as bundles
from tellapart import catalog as catalogs
from tellapart import head as heads
from tellapart.config import Transfer
from tellapart.engine import Engine
from tellapart.errors import InputError
from tellapart.evaluation import Evaluation
from tellapart.files import counted
from tellapart.preprocess import Preprocess
from tellapart.progress import Progress
from tellapart.store import Store

FIRST, FIRST_OF_CLASS = 512, 32  # pictures of the first round: at least so many, and so many of a class
POWER = 0.25  # errors fall with the number of pictures to this power, at best
FEW = 500  # with fewer pictures in all there is no test split: each is answered by a head that did not see it
CHECKED = 8  # pictures that the finished graph answers too, to see that it agrees with the features
CROSS_VALIDATION = "cross-validation"


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A finished classifier and how it fared."""

    bundle: bundles.Bundle
    evaluations: dict[str, Evaluation]  # "train"; "validation" or CROSS_VALIDATION; "test" unless there are few
    counts: dict[str, int]  # pictures used, by side
    record: dict[str, Any]  # the bundle's record of the training
    reason: str  # in a sentence, what was done and why


@dataclass(frozen=True, slots=True)
class _Sides:
    """Who learns and who judges: indices of entries."""

    train: list[int]  # in the order in which they are looked at
    validation: list[int]  # only where the user's own splits have one
    test: list[int]
    dropped: tuple[tuple[int, str], ...]


def run(catalog: catalogs.Catalog, recipe: Transfer, *, seed: int, cache: Path, progress: Progress) -> Result:
    """Fit a head for the classes of `catalog` on the recipe's backbone.

    Raises:
        InputError: what opens is not enough to train on.
        BackboneError, MissingPackageError: the backbone's weights are not as they should be, or not there.
    """
    start = time.perf_counter()
    backbone, how = backbones.known(recipe.backbone), Preprocess(recipe.size_px)
    sides = _sides(catalog, seed)
    with kerasfile.Writer(recipe.backbone, recipe.size_px) as writer:
        look = _Looker(catalog, features.Extractor(backbone, how, cache), progress)
        train, fitted, rounds = _learn(catalog, recipe, sides.train, look, seed=seed)
        test, validation = look.at(sides.test, "test"), look.at(sides.validation, "validation")
        usable = catalogs.check_usable(catalog, look.failures)
        missing = sorted(set(usable.classes) - {catalog.entries[i].label for i in test}) if sides.test else []
        if missing:
            raise InputError(
                f"Every class must have a picture to test on; class '{catalogs.shown(missing[0])}' has none. "
                f"Add pictures that are not copies of each other."
            )
        progress.update("Saving", 0, 1)
        graph = backbones.graph(backbone, recipe.size_px, fitted.head)
        keras_file = writer.write(fitted.head)
        progress.update("Saving", 1, 1)
    skipped = sorted(
        [
            *((each.path, each.reason) for each in usable.skipped),
            *((catalog.entries[i].path, reason) for i, reason in sides.dropped),
        ]
    )

    def evaluation(side: str, indices: Sequence[int], answers: np.ndarray) -> Evaluation:
        return Evaluation(
            classes=catalog.classes,
            probabilities=answers,
            labels=look.labels(indices),
            paths=tuple(catalog.entries[i].path for i in indices),
            skipped=tuple(skipped) if side in ("test", CROSS_VALIDATION) else (),
            split=side,
            notes=catalog.notes,
        )

    seen = look.features(train)
    evaluations = {"train": evaluation("train", train, heads.probabilities(fitted.head, seen))}
    if validation:
        answers = heads.probabilities(fitted.head, look.features(validation))
        evaluations["validation"] = evaluation("validation", validation, answers)
    else:
        held_out = [train[i] for i in fitted.held_out]
        name = "validation" if test else CROSS_VALIDATION
        evaluations[name] = evaluation(name, held_out, fitted.answers)
    if test:
        answers = heads.probabilities(fitted.head, look.features(test))
        evaluations["test"] = evaluation("test", test, answers)
    unused = len(sides.train) - len(train) - sum(i in look.unreadable for i in sides.train)
    record = {
        "epochs": 0,
        "backbone": backbone.name,
        "engine": look.extractor.way,
        "strength": fitted.strength,
        "precision": "float32",
        "pictures": {"train": len(train), "validation": len(validation), "test": len(test)},
        "unused": unused,
        "skipped": len(skipped),
        "agreement": _agreement(graph, how, catalog, (test or train)[:CHECKED], look, fitted.head),
        "interrupted": False,
        "seconds": round(time.perf_counter() - start, 3),
    }
    manifest = {
        "classes": list(catalog.classes),
        "preprocess": how.as_dict(),
        "temperature": 1.0,  # the regression's own probabilities, as they are
        "abstention": {},  # it always answers
        "metrics": {side: each.record() for side, each in evaluations.items()},
        "training": record,
        "provenance": provenance.record(catalog.fingerprint, recipe.as_dict(), seed),
    }
    bundle = bundles.make(
        manifest,
        graph=graph,
        keras_file=keras_file,
        splits={
            side: [catalog.entries[i].content for i in indices]
            for side, indices in (("train", train), ("validation", validation), ("test", test))
        },
        history_csv=_csv(rounds),
        embeddings=seen,
    )
    return Result(bundle, evaluations, record["pictures"], record, _reason(recipe, evaluations, train, unused))


class _Looker:
    """Features of entries by index, looked up as they are asked for."""

    def __init__(self, catalog: catalogs.Catalog, extractor: features.Extractor, progress: Progress) -> None:
        self.extractor = extractor
        self.failures: dict[str, str] = {}  # content hash -> reason
        self.unreadable: set[int] = set()
        self._entries = catalog.entries
        self._place = {name: i for i, name in enumerate(catalog.classes)}
        self._progress = progress
        self._stores: list[Store] = []

    def at(self, indices: Sequence[int], what: str) -> list[int]:
        """Look at some entries; returns those that could be read."""
        if not indices:
            return []
        store = self.extractor.extract(
            [(self._entries[i].path, self._entries[i].content) for i in indices],
            lambda done, total: self._progress.update("Looking", done, total, f"{what} pictures"),
        )
        self._stores.append(store)
        self.failures.update(store.failures)
        self.unreadable.update(i for i in indices if self._entries[i].content in store.failures)
        return [i for i in indices if i not in self.unreadable]

    def features(self, indices: Sequence[int]) -> np.ndarray:
        """Float16 (N, D) of entries that were looked at."""
        found = []
        for i in indices:
            content = self._entries[i].content
            store = next(each for each in reversed(self._stores) if content in each.rows)
            found.append(store.values[store.rows[content]])
        return np.stack(found)

    def contents(self, indices: Sequence[int]) -> np.ndarray:
        """A number for the content of each entry, int64 (N,): copies have the same."""
        return np.unique([self._entries[i].content for i in indices], return_inverse=True)[1]

    def labels(self, indices: Sequence[int]) -> np.ndarray:
        """The place of each entry's class, int64 (N,)."""
        return np.array([self._place[self._entries[i].label] for i in indices], dtype=np.int64)


def _sides(catalog: catalogs.Catalog, seed: int) -> _Sides:
    """The user's own splits where there are some; else a tenth for the test, unless there are few."""
    entries = catalog.entries
    own = any(entry.split is not None for entry in entries)
    few = not own and len(entries) < FEW
    assigned = splits.assign(entries, seed=seed, validation_fraction=0.0, test_fraction=0.0 if few else 0.1)
    return _Sides(
        train=_by_turns(catalog, assigned.train, seed),
        validation=list(assigned.validation),
        test=list(assigned.test),
        dropped=assigned.dropped,
    )


def _by_turns(catalog: catalogs.Catalog, indices: Sequence[int], seed: int) -> list[int]:
    """An order in which each beginning has about the same share of every class; it hangs on contents and seed alone."""
    of_class: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
    for i in indices:
        entry = catalog.entries[i]
        key = hashlib.blake2b(f"{seed} {entry.content}".encode(), digest_size=16).digest()
        of_class[entry.label].append((key, i))
    placed = []
    for mine in of_class.values():
        for place, (key, i) in enumerate(sorted(mine)):
            placed.append(((place + 1) / len(mine), key, i))
    return [i for *_, i in sorted(placed)]


def _learn(
    catalog: catalogs.Catalog, recipe: Transfer, order: list[int], look: _Looker, *, seed: int
) -> tuple[list[int], heads.Fit, list[dict[str, float]]]:
    """Rounds of looking and fitting: the pictures used, the last fit, and a row a round."""
    n_classes, rounds = len(catalog.classes), []
    n = max(FIRST, FIRST_OF_CLASS * n_classes)
    while True:
        start = time.perf_counter()
        n = len(order) if n > 0.75 * len(order) else n  # a last small step would only cost time
        used = look.at(order[:n], "training")
        labels = look.labels(used)
        if len(np.unique(labels)) < n_classes and n < len(order):
            n *= 2
            continue
        catalogs.check_usable(catalog, look.failures)
        fitted = heads.fit(look.features(used), labels, n_classes, seed=seed, groups=look.contents(used))
        held_out = labels[fitted.held_out]
        rounds.append(
            {
                "epoch": len(rounds) + 1,
                "pictures": len(used),
                "accuracy": fitted.train_accuracy,
                "val_loss": metrics.log_loss(fitted.answers, held_out),
                "val_accuracy": metrics.accuracy(fitted.answers, held_out),
                "seconds": round(time.perf_counter() - start, 3),
            }
        )
        errors = (1 - rounds[-1]["val_accuracy"]) * len(held_out)
        expected = (errors + 1) / (len(held_out) + 2)  # what so few errors are evidence of (Laplace)
        if n >= len(order) or expected * (1 - (n / len(order)) ** POWER) < recipe.enough:
            return used, fitted, rounds
        n *= 2


def _agreement(
    graph: bytes,
    how: Preprocess,
    catalog: catalogs.Catalog,
    indices: Sequence[int],
    look: _Looker,
    head: backbones.Head,
) -> float:
    """The largest difference between a probability by the finished graph and one by the features."""
    pixels = np.stack([preprocess.load(catalog.entries[i].path, how) for i in indices])
    by_graph = metrics.softmax(Engine(graph).run(pixels).logits)
    return float(np.abs(by_graph - heads.probabilities(head, look.features(indices))).max())


def _reason(recipe: Transfer, evaluations: dict[str, Evaluation], train: Sequence[int], unused: int) -> str:
    judged = evaluations.get("validation") or evaluations[CROSS_VALIDATION]
    said = (
        f"A classifier on what a pretrained {recipe.backbone} sees at {recipe.size_px} px: "
        f"{judged.accuracy:.1%} of {counted(judged.n, 'held-out picture')} right"
    )
    if not unused:
        return f"{said}."
    return (
        f"{said} after {counted(len(train), 'training picture')}; the other {unused:,} promised less than "
        f"{100 * recipe.enough:.1f} points more and were not looked at (a longer --budget looks at them)."
    )


def _csv(rounds: list[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rounds[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rounds)
    return text.getvalue()
