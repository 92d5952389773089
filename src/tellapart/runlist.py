"""What was trained on this machine, as a table for a person at a terminal."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from tellapart.files import counted, shown
from tellapart.runs import OFF, Log

HEAD = ("When", "Photos", "Recipe", "Accuracy", "95 % sure", "Judged on", "Log-loss", "Time", "Model")
RIGHT = {"Accuracy", "Log-loss", "Time"}
MOST_WIDE = 32  # characters of a cell; a longer one loses its middle
MOST_LINES = 5  # damaged lines that are named


def told(log: Log, runs: Sequence[Mapping[str, Any]], more: int) -> Text:
    """What `history` says: the runs chosen; `more` are there that were not asked for."""
    if log.path is None:
        return Text(f"No history is kept: $TELLAPART_RUNS is {OFF}. Unset it to keep one.")
    lines = []
    if runs:
        rows = [HEAD, *map(_cells, runs)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
        for row in rows:
            cells = (
                cell.rjust(width) if name in RIGHT else cell.ljust(width)
                for name, cell, width in zip(HEAD, row, widths, strict=True)
            )
            lines.append("  ".join(cells).rstrip())
        if more:
            lines.append(
                f"… and {counted(more, 'run')} before these; --last N lists more, --json FILE and --csv FILE all."
            )
    elif log.runs:
        lines.append(f"None of the {counted(len(log.runs), 'run')} in {shown(log.path)} is of these photos.")
    else:
        lines.append(f"There is no run in {shown(log.path)} yet. tellapart train PHOTOS makes one.")
    if log.damaged:
        named = ", ".join(map(str, log.damaged[:MOST_LINES])) + (" …" if len(log.damaged) > MOST_LINES else "")
        lines.append(
            f"{counted(len(log.damaged), 'line')} of {shown(log.path)} cannot be read and is left out: {named}."
        )
    return Text("\n".join(lines))


def _cells(run: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = run["accuracy_interval"]
    what = run["recipe"] if run["backbone"] is None else f"{run['recipe']} {run['backbone']}"
    size = "" if run["size_px"] is None else f" {run['size_px']} px"
    where = run["judged_on"] if run["n"] is None else f"{run['judged_on']}, {run['n']:,}"
    return (
        _when(run["time"]),
        _short(os.path.basename(run["photos"]) or run["photos"]),
        _short(f"{what}{size}"),
        "–" if run["accuracy"] is None else f"{run['accuracy']:.2%}",
        "–" if low is None or high is None else f"{low:.1%} to {high:.1%}",
        _short(where),
        "–" if run["log_loss"] is None else f"{run['log_loss']:.4f}",
        "–" if run["seconds"] is None else f"{run['seconds']:,.0f} s",
        "not saved" if run["bundle"] is None else _short(os.path.basename(str(run["bundle"]))),
    )


def _when(time: str) -> str:
    """A time of the log, which is UTC, by the clock on the wall."""
    try:
        return datetime.datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return _short(time)


def _short(text: str) -> str:
    text = shown(text)
    half = (MOST_WIDE - 1) // 2
    return text if len(text) <= MOST_WIDE else f"{text[:half]}…{text[-half:]}"
