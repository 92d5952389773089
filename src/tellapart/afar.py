"""Answers by workers elsewhere, see `jobs`: in the order asked, the same as this process would give.

How the graph is run is chosen here, once, by the first pictures, and every worker keeps to it; what they do is
`predict`'s own.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tellapart import guards, jobs, strangers
from tellapart.bundle import Bundle, checked
from tellapart.divisions import Looks
from tellapart.jobs import Columns, Job
from tellapart.predict import MANY, Prediction, Predictor, Question

_MEMBERS = ("model.onnx", guards.MEMBER, strangers.MEMBER)  # of a bundle, those that answer
# Of a Prediction, besides its probabilities, which travel as numbers.
_FIELDS = ("path", "label", "probability", "unknown", "error", "reason", "label_set", "strangeness")


def answers(
    bundle: Bundle,
    predictor: Predictor,
    workers: jobs.Workers,
    questions: Iterable[Question],
    *,
    looks: Looks | None = None,
) -> Iterator[Prediction]:
    """The answer to each question, in their order, with the worker that gave it.

    Args:
        bundle: verified.
        predictor: of this bundle; what is asked of its answers is asked of theirs.
        workers: who answer.
        questions: taken as they are needed.
        looks: takes what is measured of the pictures that open; None where nothing is to be.

    Raises:
        ClusterError: the workers cannot do it.
    """
    left, targets = iter(questions), predictor.targets
    first = list(itertools.islice(left, MANY))
    settings = {
        "manifest": bundle.manifest,
        "members": {name: bundle.members[name] for name in _MEMBERS if name in bundle.members},
        "targets": None if targets is None else dataclasses.asdict(targets),
        "coverage": predictor.coverage,
        "looking": looks is not None,
        "way": predictor.way(first),
    }
    job = Job("tellapart.afar:answering", settings, jobs.some_seen(one.path for one in first if one.error is None))
    classes = predictor.classes
    for done in workers.run(job, _blocks(itertools.chain(first, left))):
        told = jobs.unpacked(done.columns["told"])
        if looks is not None:
            looks.add([values[0] for values in told], np.asarray(done.columns["looks"]))
        for values, row in zip(told, np.asarray(done.columns["probabilities"]), strict=True):
            yield _answer(classes, values, row, done.worker)


def _blocks(questions: Iterable[Question]) -> Iterator[Columns]:
    left = iter(questions)
    while some := list(itertools.islice(left, jobs.BLOCK)):
        yield {"asked": jobs.packed((one.path, one.error, one.content) for one in some)}


def _answer(classes: tuple[str, ...], values: list[Any], row: np.ndarray, worker: str) -> Prediction:
    """A Prediction of what a worker told of it; probabilities, float64 (C,), are NaN where it could not be read."""
    told = dict(zip(_FIELDS, values, strict=True))
    if told["label_set"] is not None:
        told["label_set"] = tuple(told["label_set"])
    probabilities = {} if np.isnan(row[0]) else dict(zip(classes, row.tolist(), strict=True))
    return Prediction(**told, probabilities=probabilities, worker=worker)


def answering(
    manifest: Mapping[str, Any],
    members: Mapping[str, bytes],
    targets: Mapping[str, Any] | None,
    coverage: float | None,
    looking: bool,
    way: str | None,
    threads: int,
) -> jobs.Doing:
    """What a worker does with questions: `told`, the fields of each answer, and `probabilities`, float64 (N, C).

    Where it is `looking`, `looks` is what was measured, float64 (N, 2), as `Looks` has it.
    """
    bundle = checked(Bundle(manifest, members))
    predictor = Predictor(
        bundle, targets=None if targets is None else guards.Targets(**targets), coverage=coverage, threads=threads
    )
    looks = Looks()
    answer, n_classes = predictor.ready(way, threads, looks.look if looking else None), len(predictor.classes)

    def do(columns: Columns) -> Columns:
        answered = list(answer([Question(*asked) for asked in jobs.unpacked(columns["asked"])]))
        rows = np.full((len(answered), n_classes), np.nan)
        for i, one in enumerate(answered):
            if one.probabilities:
                rows[i] = list(one.probabilities.values())
        measured = {"looks": looks.taken([one.path for one in answered])} if looking else {}
        return measured | {
            "told": jobs.packed([getattr(one, name) for name in _FIELDS] for one in answered),
            "probabilities": rows,
        }

    return do
