"""The fix list: what a cleaned copy of a folder does with its pictures, as a CSV that a person can edit.

The columns are path, action, to, kind and reason. A path leads from the folder of pictures down, with "/". The first
rows say what the list is about: the action "folder" stands beside the folder's own path, "labels" beside that of its
table of labels. A cell that begins like a formula has an apostrophe before it, which is taken off when the list is
read. The file is UTF-8; a name that is no text has its own bytes.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tellapart import addresses
from tellapart.cells import plain, reversible
from tellapart.errors import InputError
from tellapart.files import because, shown
from tellapart.findings import ACTIONS, Findings

COLUMNS = ("path", "action", "to", "kind", "reason")
ENCODING, ERRORS = "utf-8", "surrogateescape"  # a name's own bytes
FOLDER, LABELS = "folder", "labels"  # actions of the rows that say what the list is about
MOST_BYTES = 256 * 2**20
MOST_PROBLEMS = 8  # told at once
_GRAVEST = ("drop", "move", "keep")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, slots=True)
class Move:
    """What to do with one picture."""

    path: str  # from the folder of pictures down, with "/", or absolute
    action: str  # one of `findings.ACTIONS`
    to: str = ""  # the class to move it to; "" unless the action is "move"
    kind: str = ""  # of the finding that proposed it
    reason: str = ""
    line: int = 0  # in a list that was read, from 1; of a row over several lines, its last


@dataclass(frozen=True, slots=True)
class Listed:
    """A fix list that was read."""

    path: str
    folder: str | None  # of the pictures, absolute; None where the list does not say
    labels: str | None  # the table of labels, absolute; None where there is none
    moves: tuple[Move, ...]


def proposed(findings: Findings) -> list[Move]:
    """One row a path, in the order of the findings: of several proposals the gravest, of equals the first.

    "drop" is graver than "move", and that than "keep".
    """
    chosen: dict[str, Move] = {}
    for finding in findings:
        for each in finding.proposals:
            known = chosen.get(each.path)
            if known is None or _GRAVEST.index(each.action) < _GRAVEST.index(known.action):
                to = each.to if each.action == "move" else ""
                chosen[each.path] = Move(relative(each.path, findings.root), each.action, to, finding.kind, each.reason)
    return list(chosen.values())


def relative(path: str, root: str) -> str:
    """A path from the folder down, with "/"; one that does not lie in it stays as it is."""
    base, full = os.path.abspath(root), os.path.abspath(path)
    if not full.startswith(os.path.join(base, "")):
        return path
    return full[len(os.path.join(base, "")) :].replace(os.sep, "/")


def lines(moves: Iterable[Move], folder: str, *, labels: str | None = None) -> Iterator[str]:
    """The list as CSV, line by line, each with its line end.

    Args:
        moves: the rows.
        folder: the folder of pictures.
        labels: its table of labels, where it has one.
    """
    yield line(COLUMNS)
    yield line((addresses.absolute(folder), FOLDER, "", "", "the folder that this list is about"))
    if labels is not None:
        yield line((addresses.absolute(labels), LABELS, "", "", "its table of labels"))
    for each in moves:
        yield row(each)


def row(move: Move) -> str:
    """One row of the list as CSV, with its line end."""
    return line((move.path, move.action, move.to, move.kind, move.reason))


def line(cells: Iterable[str]) -> str:
    """Cells as a line of CSV, guarded, with its line end."""
    text, guarded = io.StringIO(newline=""), [reversible(cell) for cell in cells]
    # Left to itself the writer does not quote a lone carriage return, which ends a line all the same.
    quoting = csv.QUOTE_ALL if any("\r" in cell for cell in guarded) else csv.QUOTE_MINIMAL
    csv.writer(text, lineterminator="\n", quoting=quoting).writerow(guarded)
    return text.getvalue()


def read(path: str | os.PathLike[str]) -> Listed:
    """Read a fix list, as it was written or edited by hand or in a spreadsheet.

    Raises:
        InputError: it cannot be read, or some of its rows make no sense; each is named with its line.
    """
    name = os.fspath(path)
    about: dict[str, str | None] = {FOLDER: None, LABELS: None}
    moves: list[Move] = []
    problems: list[tuple[int, str]] = []
    for number, cells in _records(name):
        move = Move(*(plain(cells.get(column, "")) for column in COLUMNS), line=number)
        action = move.action.strip().casefold()
        move = Move(move.path, action, move.to.strip(), move.kind, move.reason, number)
        problem = _problem(move, cells.get("", ""))
        if problem is not None:
            problems.append((number, problem))
        elif action in about:
            if about[action] not in (None, move.path):
                problems.append((number, f"the action '{action}' must stand once; another row has it"))
            about[action] = move.path
        else:
            moves.append(move)
    refuse(name, problems)
    return Listed(name, about[FOLDER], about[LABELS], tuple(moves))


def refuse(name: str, problems: list[tuple[int, str]]) -> None:
    """Raise InputError where rows of the list make no sense: pairs of line and what is wrong."""
    if problems:
        told = "; ".join(f"line {number}: {what}" for number, what in problems[:MOST_PROBLEMS])
        more = f"; and {len(problems) - MOST_PROBLEMS:,} more" if len(problems) > MOST_PROBLEMS else ""
        raise InputError(f"{shown(name)} cannot be applied: {told}{more}. Nothing was done. Correct these rows.")


def _problem(move: Move, rest: str) -> str | None:
    if rest:
        return f"more cells than columns ('{_short(rest)}')"
    if not move.path.strip():
        return "the path is empty"
    if "\0" in move.path:
        return "the path holds a null character"
    if move.action not in (*ACTIONS, FOLDER, LABELS):
        return f"the action must be {', '.join(ACTIONS[:-1])} or {ACTIONS[-1]}; got '{_short(move.action)}'"
    if move.action == "move" and not move.to:
        return "'to' must name the class to move the picture to; it is empty"
    if move.action != "move" and move.to:
        return f"'to' must be empty unless the action is move; got '{_short(move.to)}' with {move.action}"
    return None


def _records(name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column, blank rows left out; "" holds what is beyond the columns."""
    text = io.StringIO(_text(name), newline="")
    head = next((each for each in text if each.strip()), "")
    delimiter = max(",;\t", key=head.count)
    text.seek(0)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    columns: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                columns = [cell.strip().casefold() for cell in cells]
                _check_columns(name, columns)
                continue
            rest = next((cell for cell in cells[len(columns) :] if cell.strip()), "")
            yield reader.line_num, {**dict(zip(columns, cells, strict=False)), "": rest}
    except csv.Error as error:
        raise InputError(
            f"{shown(name)} breaks the rules of CSV at line {reader.line_num}: {error}. Close every quote, and double "
            f"those within a value."
        ) from error
    if columns is None:
        raise InputError(f"{shown(name)} is empty; a fix list begins with the columns {', '.join(COLUMNS)}.")


def _check_columns(name: str, columns: list[str]) -> None:
    missing = [column for column in COLUMNS[:3] if column not in columns]
    if missing:
        raise InputError(
            f"A fix list must have the columns path, action and to; {shown(name)} has no {' and no '.join(missing)}. "
            f"Give what `tellapart check PHOTOS --fix-list` wrote."
        )
    if twice := next((column for column in COLUMNS if columns.count(column) > 1), None):
        raise InputError(f"{shown(name)} has two columns named '{twice}'. Take one away.")


def _text(name: str) -> str:
    if not os.path.isfile(name):
        what = "there is no such file" if not os.path.exists(name) else "that is no regular file"
        raise InputError(f"The fix list {shown(name)} cannot be read: {what}. Check the path.")
    try:
        with open(name, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"The fix list {shown(name)} cannot be read: {because(error)}. Check the file.") from error
    if len(data) > MOST_BYTES:
        raise InputError(f"A fix list must have at most {MOST_BYTES >> 20} MB; {shown(name)} has more.")
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), ENCODING)
    text = data.decode(encoding, ERRORS if encoding != "utf-16" else "replace")
    if "\0" in text or data.startswith(b"PK\x03\x04"):
        raise InputError(
            f"A fix list must be plain text; {shown(name)} is not (a spreadsheet?). Save it as CSV in UTF-8."
        )
    return text


def _short(text: str, most: int = 60) -> str:
    return shown(text if len(text) <= most else text[:most] + "…")
