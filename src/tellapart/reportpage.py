"""An evaluation as one page for a browser: whether to trust the model, and what to fix first."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tellapart import charts, diagrams, htmlpage, metrics, outputs, pictures, scenes, verdicts
from tellapart.bundle import Bundle
from tellapart.charts import percent
from tellapart.evaluation import Evaluation
from tellapart.files import counted, shown
from tellapart.scenes import MATRIX_CLASSES, Heat, Scenes
from tellapart.thumbnails import Read

MOST_MATRIX = 150  # classes of a confusion matrix that is drawn at all
MOST_CLASSES = 20  # rows of the table of classes that stand open
MOST_SKIPPED = 500
MOST_SLICES = 40
MOST_FIXES = 5  # that stand open
LEVELS = 5  # shades of a cell
TARGETS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)  # shares of right answers

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
    from tellapart import __version__

    judged = verdicts.judged(evaluation)
    report: Mapping[str, Any] = facts.get("report") or {}
    fixes = verdicts.fixes(evaluation, judged, report)
    learning = _learning(bundle)
    there = {where for where, _ in PARTS}
    there -= {where for where, some in (("mistakes", shown_scenes.mistakes), ("slices", evaluation.slices)) if not some}
    there -= set() if learning else {"learning"}
    return {
        "name": str(facts.get("name") or "the model"),
        "version": __version__,
        "headline": verdicts.headline(judged),
        "baseline": verdicts.beside_baseline(judged),
        "verdict": verdicts.verdict(judged),
        "rules": verdicts.RULES,
        "severities": {"error": "wrong results", "warning": "weak spot", "info": "good to know"},
        "heat": any(each.heat for each in shown_scenes.mistakes),
        "guards": _guards(bundle),
        "fixes": fixes[:MOST_FIXES],
        "more_fixes": fixes[MOST_FIXES:],
        "numbers": _numbers(evaluation),
        "n": evaluation.n,
        "scenes": shown_scenes,
        "percent": percent,
        "matrix": _matrix(evaluation, shown_scenes),
        "n_classes": len(evaluation.classes),
        "n_pairs": len(verdicts.pairs(evaluation)),
        "classes": evaluation.classes,
        "open_mistakes": scenes.OPEN_MISTAKES,
        "parts": [(where, name) for where, name in PARTS if where in there],
        "picked": len(evaluation.classes) <= MATRIX_CLASSES,
        "rows": _class_rows(evaluation),
        "most_rows": MOST_CLASSES,
        "calibration": _calibration(evaluation),
        "certainty": _coverage(evaluation),
        "slices": _slices(evaluation),
        "data": _data(evaluation, bundle, report),
        "learning": learning,
        "facts": _facts(bundle, facts),
        "command": str(facts.get("command") or ""),
        "recipe": _recipe(bundle),
    }


def _numbers(one: Evaluation) -> list[tuple[str, str, str]]:
    """The numbers of a test: name, value, interval."""
    spans = one.intervals
    low, high = one.accuracy_interval
    found = [
        ("Accuracy", percent(one.accuracy), f"{percent(low)} to {percent(high)}"),
        ("Baseline", percent(one.baseline_accuracy), "always the commonest class"),
    ]

    def add(name: str, key: str, value: float | None, write: Any) -> None:
        if value is not None:
            span = spans.get(key)
            found.append((name, write(value), "" if span is None else f"{write(span[0])} to {write(span[1])}"))

    add("Balanced accuracy", "balanced_accuracy", one.balanced_accuracy, percent)
    for k, share in one.top_k.items():
        if k > 1:
            add(f"Right class among the first {k}", f"top_{k}", share, percent)
    add("ROC-AUC", "roc_auc", one.roc_auc, _three)
    add("Log-loss", "log_loss", one.log_loss, _three)
    add("Brier score", "brier_score", one.brier_score, _three)
    add("Calibration error (ECE)", "expected_calibration_error", one.expected_calibration_error, _three)
    if one.declined:
        add("Answered (coverage)", "coverage", one.coverage, percent)
        add("Right when answered", "accuracy_when_answered", one.accuracy_when_answered, percent)
    return found


def _matrix(evaluation: Evaluation, shown_scenes: Scenes) -> list[dict[str, Any]]:
    """The rows of the confusion matrix; none where there are too many classes."""
    counts = evaluation.confusion
    if len(counts) > MOST_MATRIX:
        return []
    linked = {(cell.right, cell.answer): cell.key for cell in shown_scenes.cells}
    totals = np.maximum(counts.sum(axis=1), 1)
    rows = []
    for i, row in enumerate(counts.tolist()):
        cells = []
        for j, n in enumerate(row):
            level = min(math.ceil(LEVELS * math.sqrt(n / totals[i])), LEVELS) if n else 0
            cells.append((n, f"{'ok' if i == j else 'no'}{level}" if n else "", linked.get((i, j), "")))
        rows.append({"name": evaluation.classes[i], "total": int(counts[i].sum()), "cells": cells})
    return rows


def _class_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """How each class fared; of many the worst first."""
    rows = []
    for name, one in evaluation.per_class.items():
        parts = []
        for share, span in ((one.recall, one.recall_interval), (one.precision, one.precision_interval)):
            if share is None or span is None:
                parts.append(None)
            else:
                kind = "high" if share < verdicts.WEAK and one.support >= verdicts.FEW else ""
                bar = diagrams.interval(share, *span, kind=kind)
                parts.append({"text": percent(share), "bar": bar, "span": f"{percent(span[0])} to {percent(span[1])}"})
        rows.append({"name": name, "n": one.support, "f1": one.f1, "recall": parts[0], "precision": parts[1]})
    if len(rows) > MOST_CLASSES:
        rows.sort(key=lambda row: math.inf if row["f1"] is None else row["f1"])
    return [{**row, "f1": "–" if row["f1"] is None else percent(row["f1"])} for row in rows]


def _calibration(evaluation: Evaluation) -> dict[str, Any]:
    bins = evaluation.reliability
    spans = [metrics.wilson_interval(round(each.n * each.accuracy), each.n) for each in bins]
    drawn = [
        diagrams.Share(each.confidence, each.accuracy, *span, each.n) for each, span in zip(bins, spans, strict=True)
    ]
    said = verdicts.certainty(evaluation)
    rows = [("it says", "pictures", "mean confidence", "right", "95 % sure from", "to")]
    for each, (low, high) in zip(bins, spans, strict=True):
        ends = f"{percent(each.low)} to {percent(each.high)}"
        rows.append(
            (ends, f"{each.n:,}", percent(each.confidence), percent(each.accuracy), percent(low), percent(high))
        )
    return {"said": said, "chart": diagrams.reliability(drawn, told=" ".join(said)), "rows": rows}


def _coverage(evaluation: Evaluation) -> dict[str, Any]:
    """Coverage against accuracy, and what each target would give."""
    n = evaluation.n
    points = []
    for share, accuracy in evaluation.coverage_curve:
        some = round(share * n)
        points.append(diagrams.Share(share, accuracy, *metrics.wilson_interval(round(some * accuracy), some), some))
    at = None
    if evaluation.declined and evaluation.accuracy_when_answered is not None:
        right = evaluation.accuracy_when_answered
        at = diagrams.Share(evaluation.coverage, right, right, right, int(evaluation.answered.sum()))
    targets = _targets(evaluation)
    told = f"Of all pictures {percent(evaluation.accuracy)} are right"
    if targets[1:]:
        told += f"; answering only the surest {targets[-1][2]}, {targets[-1][0]} would be"
    rows = [("answered", "right", "95 % sure from", "to")]
    rows += [(percent(each.x), percent(each.y), percent(each.low), percent(each.high)) for each in points[::8]]
    chart = diagrams.coverage(points, at=at, floor=evaluation.baseline_accuracy, told=told + ".")
    return {"chart": chart, "rows": rows, "targets": targets, "declines": bool(evaluation.declined),
        "answered": percent(evaluation.coverage), "right": None if at is None else percent(at.y)}


def _targets(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """Shares of right answers beyond that of all pictures: the target, how sure it has to be, how many are answered."""
    confidence = evaluation.probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = np.cumsum((evaluation.predicted == evaluation.labels)[order]) / np.arange(1, evaluation.n + 1)
    last = np.append(np.diff(confidence[order]) != 0, True)  # pictures of equal confidence go together
    found = []
    for target in TARGETS:
        reached = np.flatnonzero(last & (right >= target))
        if target > evaluation.accuracy and len(reached) and reached[-1] + 1 >= verdicts.FEW:
            k = int(reached[-1])
            found.append((percent(target), percent(float(confidence[order[k]])), percent((k + 1) / evaluation.n)))
    return found


def _slices(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {
            "by": each.by,
            "name": each.name,
            "n": each.n,
            "accuracy": percent(each.accuracy),
            "bar": diagrams.interval(each.accuracy, *each.accuracy_interval, kind="high" if each.worse else ""),
            "span": " to ".join(map(percent, each.accuracy_interval)),
            "worse": each.worse,
        }
        for each in evaluation.slices[:MOST_SLICES]
    ]


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


def _learning(bundle: Bundle) -> dict[str, Any] | None:
    """The learning curves, by epoch or by how many pictures were looked at."""
    rows = list(csv.DictReader(io.StringIO(bundle.members["history.csv"].decode())))
    columns = {name: [_number(row.get(name)) for row in rows] for name in (rows[0] if rows else ())}
    x_name, x = "epoch", [float(i + 1) for i in range(len(rows))]
    if "pictures" in columns:
        x_name, x = "pictures looked at", columns["pictures"]
    best = bundle.manifest["training"].get("best_epoch") if x_name == "epoch" else None
    shares = _lines(columns, "accuracy")
    if not rows or not shares:
        return None
    last = " and ".join(f"{percent(line[-1])} of the {name} pictures" for name, line in shares.items() if line)
    told = f"At the end {last} are right."
    drawn = []
    if len(rows) > 1:
        for title, lines in (("Right answers", shares), ("Loss", _lines(columns, "loss"))):
            if lines:
                chart = diagrams.lines(
                    lines, shares=title != "Loss", x_name=x_name, x=x, mark=best, told=f"{title} by {x_name}. {told}"
                )
                drawn.append((title, chart, [*zip(map(diagrams.key, diagrams.LETTERS), lines, strict=False)]))
    heads = [x_name, *(name.replace("_", " ") for name in columns if name not in ("epoch", "pictures"))]
    cells = [
        (f"{place:,.0f}", *(f"{columns[name][i]:.4g}" for name in columns if name not in ("epoch", "pictures")))
        for i, place in enumerate(x)
    ]
    return {"charts": drawn, "told": told, "rows": [tuple(heads), *cells], "best": best, "n": len(rows)}


def _lines(columns: Mapping[str, list[float]], name: str) -> dict[str, list[float]]:
    """The lines of a diagram: of training and of held-out pictures."""
    sides = (("training", name), ("held-out", f"val_{name}"))
    found = {side: columns[column] for side, column in sides if column in columns}
    return {side: line for side, line in found.items() if any(map(math.isfinite, line))}


def _facts(bundle: Bundle, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Speed and size."""
    sizes = bundle.manifest["members"]
    found = []
    if seconds := facts.get("seconds_per_picture"):
        found.append(("One picture, from file to answer", f"{1000 * seconds:.0f} ms"))
    if rate := facts.get("pictures_per_second"):
        found.append(("Many pictures", f"{rate:,.0f} a second" if rate >= 1 else f"{1 / rate:.1f} s each"))
    if facts.get("machine"):
        found.append(("Measured on", str(facts["machine"])))
    if facts.get("bundle_bytes"):
        found.append(("The model's file", _bytes(facts["bundle_bytes"])))
    found.append(("Of that the graph that answers", _bytes(sizes["model.onnx"]["bytes"])))
    side = bundle.manifest["preprocess"]["size_px"]
    found.append(("It sees", f"squares of {side} × {side} px"))
    seconds = (facts.get("report") or {}).get("times", {}).get("total")
    if isinstance(seconds, (int, float)):
        found.append(("Trained in", f"{seconds:.0f} s"))
    return found


def _guards(bundle: Bundle) -> list[tuple[str, str]]:
    """What the bundle holds of when not to answer; plain values alone."""
    guards = bundle.manifest["abstention"]
    return [
        (name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value))
        for name, value in guards.items()
        if isinstance(value, (int, float, str))
    ]


def _recipe(bundle: Bundle) -> list[tuple[str, str]]:
    """How to make the same again."""
    made = bundle.manifest["provenance"]
    recipe = {name: value for name, value in made["recipe"].items() if value is not None and name != "name"}
    return [
        ("Recipe", str(made["recipe"].get("name", "own"))),
        ("Its settings", ", ".join(f"{name} {value}" for name, value in recipe.items())[:1500]),
        ("Seed", str(made["seed"])),
        ("Fingerprint of the pictures", made["catalog_fingerprint"]),
        ("Made", f"{made['created']} on {made['machine']}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in made["versions"].items())),
    ]


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _three(value: float) -> str:
    return f"{value:.3f}"


def _bytes(n: int) -> str:
    return f"{n / 1e6:.1f} MB" if n >= 1e6 else f"{n / 1e3:.0f} kB"
