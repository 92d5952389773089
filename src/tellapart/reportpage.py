"""An evaluation as one page for a browser: whether to trust the model, and what to fix first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from tellapart import charts, figures, htmlpage, outputs, pictures, provenance, results, scenes, verdicts
from tellapart.bundle import Bundle
from tellapart.charts import percent
from tellapart.evaluation import Evaluation
from tellapart.scenes import MATRIX_CLASSES, Heat, Scenes
from tellapart.thumbnails import Read

OPEN_PAIRS = 12  # of many classes
MOST_SKIPPED = 500
MOST_FIXES = 5  # that stand open

PARTS = (
    ("confusion", "What it takes for what"),
    ("mistakes", "Surest mistakes"),
    ("unsure", "Least sure"),
    ("classes", "Each class"),
    ("calibration", "Its percentages"),
    ("coverage", "Only when sure"),
    ("slices", "Better and worse"),
    ("data", "What went in"),
    ("learning", "How it learned"),
    ("cost", "Speed and size"),
    ("again", "The same again"),
    ("terms", "The terms"),
)


def page(
    evaluation: Evaluation,
    bundle: Bundle,
    *,
    facts: Mapping[str, Any],
    heat: Heat | None = None,
    read: Read = pictures.read_bytes,
) -> Iterator[str]:
    """The page, piece by piece; every piece can be encoded as UTF-8.

    Args:
        evaluation: of at least one picture.
        bundle: the model.
        facts: what else is known, each as a plain value and each of them optional: `name` (of the model), `command`,
            `machine`, `bundle_bytes`, `seconds_per_picture` (one picture alone, from file to answer),
            `pictures_per_second` (many), and `report`, of the training (`Classifier.report`).
        heat: a path and a class index to the picture with the heat of that class laid over, uint8 (h, w, 3), or None.
        read: a path to the bytes of its file, for thumbnails; raises PictureError.
    """
    shown_scenes = scenes.choose(evaluation, read=read, heat=heat)
    view = _view(evaluation, bundle, shown_scenes, facts)
    yield from htmlpage.render("report.html", script="report.js", styles=("page.css", "report.css"), view=view)


def save(
    evaluation: Evaluation,
    bundle: Bundle,
    path: str | os.PathLike[str],
    *,
    facts: Mapping[str, Any],
    heat: Heat | None = None,
    read: Read = pictures.read_bytes,
    force: bool = False,
) -> None:
    """Write the page. Raises OutputError as `outputs.atomic` does."""
    with outputs.atomic(path, force=force) as file:
        for piece in page(evaluation, bundle, facts=facts, heat=heat, read=read):
            file.write(piece.encode("utf-8"))


def _view(evaluation: Evaluation, bundle: Bundle, shown_scenes: Scenes, facts: Mapping[str, Any]) -> dict[str, Any]:
    """All that the template names."""
    judged = verdicts.judged(evaluation)
    report: Mapping[str, Any] = facts.get("report") or {}
    fixes = verdicts.fixes(evaluation, judged, report)
    learning = figures.learning(bundle)
    there = {where for where, _ in PARTS}
    there -= {where for where, some in (("mistakes", shown_scenes.mistakes), ("slices", evaluation.slices)) if not some}
    there -= set() if learning else {"learning"}
    return {
        "name": str(facts.get("name") or "the model"),
        "version": provenance.version(),
        "headline": verdicts.headline(judged),
        "baseline": verdicts.beside_baseline(judged),
        "verdict": verdicts.verdict(judged),
        "rules": verdicts.RULES,
        "severities": {"error": "wrong results", "warning": "weak spot", "info": "good to know"},
        "heat": any(each.heat for each in shown_scenes.mistakes),
        "guards": results.guards(bundle),
        "fixes": fixes[:MOST_FIXES],
        "more_fixes": fixes[MOST_FIXES:],
        "numbers": results.numbers(evaluation),
        "n": evaluation.n,
        "scenes": shown_scenes,
        "percent": percent,
        "matrix": figures.matrix(evaluation, shown_scenes),
        "n_classes": len(evaluation.classes),
        "n_pairs": len(verdicts.pairs(evaluation)),
        "classes": evaluation.classes,
        "most_cells": scenes.MOST_CELLS,
        "open_cells": len(shown_scenes.cells) if len(evaluation.classes) <= MATRIX_CLASSES else OPEN_PAIRS,
        "open_mistakes": scenes.OPEN_MISTAKES,
        "parts": [(where, name) for where, name in PARTS if where in there],
        "picked": len(evaluation.classes) <= MATRIX_CLASSES,
        "rows": figures.class_rows(evaluation),
        "most_rows": figures.MOST_CLASSES,
        "calibration": figures.calibration(evaluation),
        "certainty": figures.coverage(evaluation),
        "slices": figures.slices(evaluation),
        "data": _data(evaluation, bundle, report),
        "learning": learning,
        "facts": results.costs(bundle, facts),
        "trained_by": results.command(bundle, str(facts.get("name") or "model.tellapart")),
        "command": str(facts.get("command") or ""),
        "recipe": results.recipe(bundle),
    }


def _data(evaluation: Evaluation, bundle: Bundle, report: Mapping[str, Any]) -> dict[str, Any]:
    """What went in and what was left out."""
    training = bundle.manifest["training"]
    sides = [(side, n) for side, n in training["pictures"].items() if n]
    support = {name: each.support for name, each in evaluation.per_class.items()}
    most = max(support.values(), default=0) or 1
    notes = [*evaluation.notes, *(note for note in report.get("notes") or () if note not in evaluation.notes)]
    reason = (report.get("plan") or {}).get("reason")
    root = scenes.common_folder([path for path, _ in evaluation.skipped])
    return {
        "sides": sides,
        "unused": training.get("unused") or 0,
        "split": evaluation.split,
        "n_trained_on": evaluation.n_trained_on,
        "support": [(name, n, charts.bar(n / most)) for name, n in support.items()],
        "skipped": [(scenes.shorter(path, root), why[:300]) for path, why in evaluation.skipped[:MOST_SKIPPED]],
        "n_skipped": len(evaluation.skipped),
        "notes": [note[:600] for note in ([reason] if reason else []) + notes],
    }
