"""A tuning as one page for a browser: what was found, by how much it is better, and every trial."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from tellapart import diagrams, htmlpage, outputs, provenance, tunings
from tellapart.charts import Svg, percent
from tellapart.diagrams import Dot
from tellapart.files import counted, shown
from tellapart.studies import COMPLETE, FAILED, PRUNED, Record
from tellapart.tunings import Tuned

MOST_ROWS = 500  # of the table; more are counted
MOST_CURVES = 60
MOST_CHARTS = 12  # settings that are drawn
STATES = {
    COMPLETE: "through",
    PRUNED: "given up",
    FAILED: "failed",
    "running": "under way",
    "waiting": "to come",
}


def page(tuned: Tuned) -> Iterator[str]:
    """The page, piece by piece; every piece can be encoded as UTF-8."""
    styles = ("page.css", "report.css", "tune.css")
    yield from htmlpage.render("tune.html", script="tune.js", styles=styles, view=_view(tuned))


def save(tuned: Tuned, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write the page. Raises OutputError as `outputs.atomic` does."""
    with outputs.atomic(path, force=force) as file:
        for piece in page(tuned):
            file.write(piece.encode("utf-8"))


def _view(tuned: Tuned) -> dict[str, Any]:
    """All that the template names."""
    through = [each for each in tuned.records if each.state == COMPLETE]
    ranked = sorted(tuned.records, key=lambda each: (each.state != COMPLETE, -_accuracy(each), each.number))
    base = tuned.default.kept["recipe"] if tuned.default is not None else None
    name = tuned.written or "RECIPE.toml"
    return {
        "name": os.path.basename(os.path.abspath(tuned.photos)) or tuned.photos,
        "version": provenance.version(),
        "study_id": tuned.study_id,
        "headline": _headline(tuned),
        "kind": "unclear" if tuned.is_default or tuned.gain is None or tuned.gain.expected_low <= 0 else "trust",
        "told": tunings.told(tuned),
        "numbers": _numbers(tuned),
        "text": tunings.text(tuned, name),
        "command": shlex.join(["tellapart", "train", shown(tuned.photos), "--recipe", shown(name)]),
        "order": _order(tuned),
        "order_told": _order_told(tuned),
        "cost": _cost(tuned, through),
        "curves": _curves(tuned),
        "settings": _settings(tuned, through),
        "rows": [_row(each, tuned, base) for each in ranked[:MOST_ROWS]],
        "n_beyond": max(len(ranked) - MOST_ROWS, 0),
        "workers": tuned.workers,
        "study": tuned.study,
    }


def _headline(tuned: Tuned) -> str:
    mine = percent(tuned.taken.kept["accuracy"])
    if tuned.default is None:
        return f"{mine} right so far; the default was not through."
    if tuned.is_default:
        return f"Nothing was found that is expected to beat the default's {mine}."
    return f"{mine} right on validation pictures, the default {percent(tuned.default.kept['accuracy'])}."


def _numbers(tuned: Tuned) -> list[tuple[str, str, str]]:
    """What there is to know at once: name, value, note."""
    low, high = tuned.best.kept["interval"]
    rows = [("Right, best recipe", percent(tuned.best.kept["accuracy"]), f"{percent(low)} to {percent(high)}")]
    if tuned.default is not None:
        low, high = tuned.default.kept["interval"]
        rows.append(("Right, default", percent(tuned.default.kept["accuracy"]), f"{percent(low)} to {percent(high)}"))
    if tuned.gain is not None:
        gain = tuned.gain
        rows.append(
            ("Better by, points", f"{100 * gain.difference:+.1f}", f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}")
        )
        ends = f"{100 * gain.expected_low:+.1f} to {100 * gain.expected_high:+.1f}"
        rows.append(("Of that expected on new pictures", f"{100 * gain.expected:+.1f}", ends))
    done = f"{tuned.count(PRUNED):,} given up, {tuned.count(FAILED):,} failed"
    rows.append(("Trials through", f"{tuned.count(COMPLETE):,}", done))
    by = "one process" if tuned.workers == 1 else f"{tuned.workers:,} processes"
    rows.append(("Time", f"{tuned.seconds / 60:,.1f} min", f"by {by}"))
    rows.append(("Validation pictures", f"{tuned.counts['validation']:,}", f"{tuned.counts['train']:,} to learn from"))
    return rows


def _accuracy(record: Record) -> float:
    """Of a trial that is through; of another what it came to, 0 where that is not known."""
    value = record.kept.get("accuracy")
    if isinstance(value, int | float):
        return float(value)
    return min(record.curve[-1][1], 1.0) if record.curve else 0.0


def _kind(record: Record, tuned: Tuned) -> str:
    if record.number == tuned.taken.number:
        return "taken"
    return "base" if record.default else "pruned" if record.state == PRUNED else "through"


def _dots(records: Sequence[Record], tuned: Tuned, x: Any) -> list[Dot]:
    """A dot for each trial, the one that is taken on top."""
    ordered = sorted(records, key=lambda each: each.number == tuned.taken.number)
    return [
        Dot(
            x(each),
            _accuracy(each),
            _kind(each, tuned),
            f"trial {each.number + 1}: {percent(_accuracy(each))}, {tunings.described(each)}",
        )
        for each in ordered
    ]


def _order(tuned: Tuned) -> Svg:
    """The trials as they came, and the best so far."""
    some = [each for each in tuned.records if each.state == COMPLETE or (each.state == PRUNED and each.curve)]
    best, line = 0.0, []
    for each in tuned.records:
        if each.state == COMPLETE:
            best = max(best, _accuracy(each))
            line.append((each.number + 1.0, best))
    level = None if tuned.default is None else _accuracy(tuned.default)
    return diagrams.dots(
        _dots(some, tuned, lambda each: each.number + 1.0),
        x_name="trial",
        best=line,
        level=level,
        told=_order_told(tuned),
    )


def _order_told(tuned: Tuned) -> str:
    through = [each for each in tuned.records if each.state == COMPLETE]
    top = max(through, key=_accuracy)
    return (
        f"{counted(len(through), 'trial')} in their order; the best gets {percent(_accuracy(top))} of the validation "
        f"pictures right (trial {top.number + 1}), the one that is taken {percent(_accuracy(tuned.taken))} "
        f"(trial {tuned.taken.number + 1})."
    )


def _cost(tuned: Tuned, through: Sequence[Record]) -> Svg | None:
    """Accuracy against what an answer costs; None where all cost the same."""
    if len({each.kept["cost"][0] for each in through}) < 2:
        return None
    level = None if tuned.default is None else _accuracy(tuned.default)
    return diagrams.dots(
        _dots(through, tuned, lambda each: each.kept["cost"][0]),
        x_name="millions of multiply-adds for one answer",
        level=level,
        logarithmic=True,
        told="Right answers of each trial against what an answer costs; the table has the numbers.",
    )


def _curves(tuned: Tuned) -> Svg | None:
    """How trainings fared while they went on; None where none was looked at."""
    some = [each for each in tuned.records if len(each.curve) > 1]
    if not some:
        return None
    order = {"pruned": 0, "through": 1, "base": 2, "taken": 3}
    kinds = sorted(((_kind(each, tuned), each.curve) for each in some[-MOST_CURVES:]), key=lambda pair: order[pair[0]])
    return diagrams.strands(
        [(kind, [(x, min(y, 1.0)) for x, y in line]) for kind, line in kinds],
        x_name="how far a training had come",
        told=f"Right answers of {counted(len(kinds), 'training')} while they went on; those given up end early.",
    )


def _settings(tuned: Tuned, through: Sequence[Record]) -> list[tuple[str, Svg]]:
    """Each setting that was tried with several values, against right answers."""
    values: dict[str, list[tuple[Record, Any]]] = {}
    for each in through:
        for name, value in tunings.flat(each.kept["recipe"]).items():
            values.setdefault(name, []).append((each, value))
    found = []
    for name, pairs in values.items():
        distinct = {repr(value) for _, value in pairs}
        if len(distinct) < 2 or name in ("augment", "precision", "store_px"):
            continue
        some, told = [record for record, _ in pairs], {record.number: value for record, value in pairs}
        label = tunings.named(name)
        pairs_of_numbers = [
            (record, value) for record, value in pairs if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        others = {repr(value) for _, value in pairs} - {repr(value) for _, value in pairs_of_numbers}
        if others <= {"None"} and len(distinct) > 6:
            pairs, some = pairs_of_numbers, [record for record, _ in pairs_of_numbers]
            told = {record.number: value for record, value in pairs}
            positive = all(value > 0 for _, value in pairs)
            wide = positive and max(told.values()) / min(told.values()) > 20
            chart = diagrams.dots(
                _dots(some, tuned, lambda each, told=told: float(told[each.number])),
                x_name=label,
                logarithmic=wide,
                told=f"Right answers against {label}; the table has the numbers.",
            )
        else:
            names = sorted({tunings.valued(value) for _, value in pairs}, key=_by_number)
            places = {text: float(i) for i, text in enumerate(names)}
            chart = diagrams.dots(
                _dots(some, tuned, lambda each, told=told, places=places: places[tunings.valued(told[each.number])]),
                x_name=label,
                names=[text[-18:] for text in names],
                told=f"Right answers against {label}: {', '.join(names)}; the table has the numbers.",
            )
        found.append((label, chart))
    return found[:MOST_CHARTS]


def _by_number(text: str) -> tuple[float, str]:
    try:
        return float(text.split(",")[0]), text
    except ValueError:
        return float("inf"), text


def _row(record: Record, tuned: Tuned, base: Any) -> dict[str, Any]:
    """A row of the table."""
    through = record.state == COMPLETE
    cost = record.kept.get("cost")
    changed = tunings.changed(record, base)
    return {
        "number": record.number + 1,
        "taken": record.number == tuned.taken.number,
        "default": record.default,
        "state": STATES[record.state],
        "through": through,
        "accuracy": percent(_accuracy(record)) if through else "–",
        "log_loss": f"{record.kept['log_loss']:.3f}" if through else "–",
        "seconds": "–" if record.seconds is None else f"{record.seconds:,.0f} s",
        "cost": f"{cost[0]:,.0f}" if cost else "–",
        "what": tunings.described(record) if record.kept.get("recipe") else "–",
        "changed": "as the default" if record.default else ", ".join(f"{name} {value}" for name, value in changed),
        "why": record.why,
        "order": [record.number, -_accuracy(record) if through else 1, record.seconds or 0, cost[0] if cost else 0],
    }
