"""A comparison of two models in words and tables for a person at a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tellapart.cells import guarded
from tellapart.changes import BROKEN, FIXED, Change, Speed
from tellapart.compare import Comparison
from tellapart.files import counted, shown

MOST_CLASSES = 20  # in the table of classes; beyond, those that changed most
MOST_CHANGES = 3  # pictures of a kind that are named


def told(found: Comparison, names: tuple[str, str]) -> RenderableType:
    """What `compare` says; `names` are the files of A and B."""
    of = f" of the {found.a.split} split" if found.a.split not in (None, "all") else ""
    parts: list[RenderableType] = [
        Text(found.verdict, style="bold"),
        Text(
            f"On {counted(found.n, 'picture')}{of}: both right {found.both_right:,}, both wrong {found.both_wrong:,}. "
            f"{_chance(found)}"
        ),
        _sides(found, names),
    ]
    if found.speed is not None:
        parts.append(Text(_speed(found.speed)))
    parts += [Text(each, style="yellow") for each in found.warnings]
    changed = {name: each for name, each in found.per_class.items() if each.fixed or each.broken}
    if changed and len(found.classes) > 1:
        parts.append(_classes(found))
    for kind, every in ((FIXED, found.fixed), (BROKEN, found.broken)):
        parts += [Text(line) for line in _named(kind, every)]
    return Group(*parts)


def csv_row(change: Change) -> list[str]:
    """A change under `changes.CSV_COLUMNS`; a cell that a spreadsheet would take for a formula is guarded."""
    return [guarded(cell) for cell in change.row()]


def _chance(found: Comparison) -> str:
    if found.n_fixed == found.n_broken:
        return ""
    p = found.p_value
    share = f"{p:.0%}" if p >= 0.095 else f"{p:.1g}" if p < 0.0005 else f"{100 * p:.2g}%"
    return f"Chance alone would part them as unevenly with probability {share} (exact McNemar test)."


def _speed(speed: Speed) -> str:
    low, high = speed.ratio_interval
    if low <= 1 <= high:
        return f"Neither is surely faster: measured in turn, B was {low:.2f} to {high:.2f} times as fast as A."
    return f"B is {speed.ratio:.2f} times as fast as A (measured in turn, 95 % sure: {low:.2f} to {high:.2f})."


def _sides(found: Comparison, names: tuple[str, str]) -> Table:
    table = Table("", "Model", "Accuracy", "95 % sure", "Log-loss", "Brier", "ECE", box=None)
    if found.speed is not None:
        table.add_column("Pictures/s", justify="right")
    if found.size_bytes is not None:
        table.add_column("Size", justify="right")
    for i, (letter, each) in enumerate((("A", found.a), ("B", found.b))):
        low, high = each.accuracy_interval
        key = letter.lower()
        row = [
            letter,
            Text(shown(names[i])),
            f"{each.accuracy:.2%}",
            f"{low:.1%} to {high:.1%}",
            f"{found.losses['log_loss'][key]:.4f}",
            f"{found.losses['brier_score'][key]:.4f}",
            f"{each.expected_calibration_error:.4f}",
        ]
        if found.speed is not None:
            row.append(f"{found.speed.as_dict()[key]:,.0f}")
        if found.size_bytes is not None:
            row.append(f"{found.size_bytes[i] / 1e6:,.1f} MB")
        table.add_row(*row)
    for column in table.columns:
        column.overflow = "fold"
    return table


def _classes(found: Comparison) -> Table:
    table = Table("Class", "Pictures", "A finds", "B finds", "Fixed", "Broken", box=None)
    every = list(found.per_class.items())
    if len(every) > MOST_CLASSES:
        every.sort(key=lambda item: -(item[1].fixed + item[1].broken))
        table.caption = f"the {MOST_CLASSES} that changed most of {len(every):,} classes"
    for name, each in every[:MOST_CLASSES]:
        shares = (f"{n / each.n:.1%}" if each.n else "–" for n in (each.n_right_a, each.n_right_b))
        table.add_row(Text(shown(name)), f"{each.n:,}", *shares, f"{each.fixed:,}", f"{each.broken:,}")
    for column in table.columns:
        column.overflow = "fold"
    return table


def _named(kind: str, every: tuple[Change, ...]) -> list[str]:
    lines = [
        f"  {kind}: {shown(each.path)} ({shown(each.label)}; A said {shown(each.answer_a)} {each.probability_a:.1%}, "
        f"B {shown(each.answer_b)} {each.probability_b:.1%})"
        for each in every[:MOST_CHANGES]
    ]
    if len(every) > MOST_CHANGES:
        lines.append(f"  … and {len(every) - MOST_CHANGES:,} more {kind}; --csv FILE lists them.")
    return lines
