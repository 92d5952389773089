"""From a model and labelled pictures to a report, a page or a model card: what both say is gathered here."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from tellapart import card as cards
from tellapart import classifier as classifiers
from tellapart import explain, explanations, outputs, reportpage
from tellapart.classifier import Classifier, PathLike, Reading
from tellapart.errors import PictureError
from tellapart.evaluation import Evaluation
from tellapart.explain import Explainer
from tellapart.predict import Question
from tellapart.preprocess import Preprocess
from tellapart.progress import Progress
from tellapart.scenes import Heat

TIMED = 9  # pictures that are answered alone; the middle one of their times counts


def report(
    model: Classifier | PathLike,
    photos: PathLike,
    output: PathLike | None = None,
    *,
    card: PathLike | None = None,
    split: str | None = None,
    heat: Heat | None = None,
    command: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **reading: Unpack[Reading],
) -> Evaluation:
    """Answer labelled pictures and write what came of it as one page for a browser, which fetches nothing.

    Args:
        model: a classifier, or the path of its bundle.
        photos, split, reading: as in `Classifier.evaluate`.
        output: the page; left out, it is called as the model's file, with .html, and stands where one works.
        card: a model card, Markdown with Hugging Face's metadata, to write as well.
        heat: a path and a class index to the picture with the heat of that class laid over, uint8 (h, w, 3), or None.
        command: how this was called, to be named on the page.
        force: replace what exists.
        progress: is told how far it has come.

    Returns:
        What the page is made of.

    Raises:
        InputError: as `Classifier.evaluate` does.
        OutputError: an output exists and `force` is not set, or cannot be written.
    """
    loaded = model if isinstance(model, Classifier) else classifiers.load(model)
    name = "model.tellapart" if isinstance(model, Classifier) else os.path.basename(os.fspath(model))
    page = Path(place(name)) if output is None else output
    for path in (page, card):
        if path is not None:
            outputs.check(path, force=force)
    start = time.perf_counter()
    evaluation = loaded.evaluate(photos, split=split, progress=progress, **reading)
    seconds = time.perf_counter() - start
    rate = (evaluation.n + len(evaluation.skipped)) / seconds
    known = facts(loaded, evaluation, name=name, command=command) | {"pictures_per_second": rate}
    if not isinstance(model, Classifier):
        known["bundle_bytes"] = os.path.getsize(model)
    save(loaded, evaluation, page, card=card, known=known, heat=heat, force=force)
    return evaluation


def save(
    classifier: Classifier,
    evaluation: Evaluation,
    page: PathLike | None,
    *,
    card: PathLike | None = None,
    known: Mapping[str, Any],
    heat: Heat | None = None,
    force: bool = False,
) -> None:
    """Write the page, the card or both, of an evaluation that there is already; `known` is what `facts` gives.

    Where no `heat` is given the bundle's own graph tells where it looked.
    """
    if page is not None:
        heat = heat or looked(Explainer(classifier.bundle), classifier.predictor.preprocess)
        reportpage.save(evaluation, classifier.bundle, page, facts=known, heat=heat, force=force)
    if card is not None:
        cards.save(evaluation, classifier.bundle, card, facts=known, force=force)


def facts(classifier: Classifier, evaluation: Evaluation, *, name: str, command: str | None = None) -> dict[str, Any]:
    """What is known beside an evaluation, measured on this machine: see `reportpage.page`."""
    return {
        "name": name,
        "command": command,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "seconds_per_picture": _one_alone(classifier, evaluation),
        "report": classifier.report,
    }


def looked(explainer: Explainer, how: Preprocess) -> Heat:
    """Heat for a page: a path and a class index to what the network saw of the picture, with the class's heat over it.

    `how` is the model's preprocessing. A picture that cannot be read any more gives None.
    """

    def heat(path: str, label: int) -> np.ndarray | None:
        try:
            square, picture = explanations.opened(path, how)
        except PictureError:
            return None
        return explain.overlay(picture, explainer.heat(square[None], [label])[0])

    return heat


def place(model: PathLike) -> str:
    """Where the report of a model goes if nobody says."""
    return f"{Path(model).stem}.html"


def _one_alone(classifier: Classifier, evaluation: Evaluation) -> float:
    """Seconds from the file of one picture to its answer, the first one left out."""
    times = []
    for path in evaluation.paths[: TIMED + 1]:
        start = time.perf_counter()
        list(classifier.predictor.answers([Question(path)]))
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:] or times)
