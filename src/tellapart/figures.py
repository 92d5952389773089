"""Parts of a report: what is drawn of an evaluation, each with its numbers as rows of text."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tellapart import diagrams, metrics, verdicts
from tellapart.bundle import Bundle
from tellapart.charts import percent
from tellapart.evaluation import Evaluation
from tellapart.scenes import Scenes

MOST_MATRIX = 150  # classes of a confusion matrix that is drawn at all
MOST_CLASSES = 20  # up to this many stand in their own order, of more the worst come first
MOST_SLICES = 40
LEVELS = 5  # shades of a cell
TARGETS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)  # shares of right answers


def matrix(evaluation: Evaluation, shown_scenes: Scenes) -> list[dict[str, Any]]:
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


def class_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
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


def calibration(evaluation: Evaluation) -> dict[str, Any]:
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


def coverage(evaluation: Evaluation) -> dict[str, Any]:
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
    if targets:
        told += f"; answering only the surest {targets[-1][2]}, {targets[-1][0]} would be"
    rows = [("answered", "right", "95 % sure from", "to")]
    rows += [(percent(each.x), percent(each.y), percent(each.low), percent(each.high)) for each in points[::8]]
    chart = diagrams.coverage(points, at=at, floor=evaluation.baseline_accuracy, told=told + ".")
    return {
        "chart": chart,
        "rows": rows,
        "targets": targets,
        "declines": bool(evaluation.declined),
        "answered": percent(evaluation.coverage),
        "right": None if at is None else percent(at.y),
    }


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
            row = (percent(target), percent(float(confidence[order[k]])), percent((k + 1) / evaluation.n))
            found = [
                *(each for each in found if each[2] != row[2]),
                row,
            ]
    return found


def slices(evaluation: Evaluation) -> list[dict[str, Any]]:
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


def learning(bundle: Bundle) -> dict[str, Any] | None:
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


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
