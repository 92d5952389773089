"""A CSV of labels: its encoding, delimiter and columns found out, its rows read one at a time.

`finder.Finder` then says which file below the folder of pictures a row means.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TextIO

from tellapart.addresses import is_place
from tellapart.errors import InputError
from tellapart.files import Plan, Skipped, because, counted, quoted, shown, split_name, walk
from tellapart.finder import Finder
from tellapart.kinds import PICTURE_EXTENSIONS
from tellapart.parquetrows import LABEL_NAMES

# Usual names of columns, best first; compared without case, a space or hyphen being an underscore.
PATH_NAMES = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "image_path",
    "image_id",
    "img",
    "img_path",
    "picture",
    "photo",
    "id",
    "name",
)
SPLIT_COLUMN_NAMES = ("split", "set", "subset", "partition", "fold")
DELIMITERS = ",;\t|"
MOST_ROWS = 20_000_000
MOST_BYTES = 2**34  # of a table that is fetched
MOST_COLUMNS = 10_000
MOST_LABELS = 100_000  # different ones: as many as a model can have classes
MOST_OF_LABEL = 1000  # characters
MOST_OF_ROW = 2**20  # characters
MOST_OF_NAME = 4096  # characters of a path that is listed: no system has longer ones
MOST_NAMED = 100_000  # rows that name no file and are listed one by one; the others are counted
MOST_LABELS_OF_ONE = 20  # rows with other labels or splits, a picture on average
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """A readable table of labels; `rows` reads it."""

    path: str
    encoding: str  # as Python's codecs name it
    delimiter: str  # one character
    columns: tuple[str, ...]  # as the first line names them, stripped
    path_index: int  # which column names the file
    label_index: int
    split_index: int | None  # None: the table gives no splits
    group_index: int | None  # None: no groups were asked for
    notes: tuple[str, ...]  # one-line sentences about the reading taken


class Row(NamedTuple):  # made ten million times: a tuple is five times as quick as a frozen dataclass
    """One row of a table of labels."""

    line: int  # in the file, from 1; of a row over several lines, its last
    value: str  # what names the file, as the table has it
    label: str  # stripped, NFC; not empty unless there is a reason
    split: str | None  # "train", "validation", "test"; None where the table gives no splits
    group: str | None  # stripped, NFC; None where the table gives no groups, or none for this row
    reason: str | None  # why the row cannot be used
    cells: tuple[str, ...] = ()  # all of it, as the table has it; empty where there is a reason


def open_table(
    path: str | os.PathLike[str],
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
) -> Table:
    """Find out how a table of labels is to be read. Raises InputError."""
    name = os.fspath(path)
    encoding, notes = _encoding(name)
    with open(_here(name), encoding=encoding, newline="") as file:
        try:
            line = next((line for line in _lines(file, [0]) if line.strip()), "")
        except (csv.Error, UnicodeError, OSError) as error:
            raise _broken(name, error, 1) from error
    if not line:
        raise InputError(
            f"{shown(name)} is empty: a table of labels begins with a line of column names. "
            "Give a CSV such as: path,label"
        )
    wanted = [c for c in (path_column, label_column, split_column, group_column) if c is not None]
    delimiter = max(DELIMITERS, key=lambda each: _score(line, each, wanted))
    _, header = next(_records(name, encoding, delimiter), (0, []))
    columns = tuple(cell.strip() for cell in header)
    if len(columns) > MOST_COLUMNS:
        raise InputError(
            f"A table of labels must have at most {MOST_COLUMNS:,} columns; {shown(name)} has {len(columns):,}. "
            "Leave out those that are not needed."
        )
    if any(os.path.splitext(cell)[1].lower() in PICTURE_EXTENSIONS for cell in columns):
        raise InputError(
            f"{shown(name)} has no line of column names: its first line is '{_short(line.strip())}'. "
            "Put a first line above it, such as: path,label"
        )
    path_index = _column(name, columns, path_column, PATH_NAMES, "path", None)
    label_index = _column(name, columns, label_column, LABEL_NAMES, "label", path_index)
    split_index = None
    if split_column is not None:
        split_index = _named(name, columns, split_column, "split")
    else:
        split_index = next((i for each in SPLIT_COLUMN_NAMES for i in _where(columns, each)), None)
        if split_index in (path_index, label_index):
            split_index = None
    if split_column is None and split_index is not None and _plain(columns[split_index]) == "fold":
        records = islice(_records(name, encoding, delimiter), 1, None)
        if not all(len(cells) > split_index and split_name(cells[split_index]) for _, cells in records):
            notes.append("column 'fold' does not hold the names of splits and is not read as one")
            split_index = None
    taken = [
        f"path from column '{shown(columns[path_index])}'",
        f"label from '{shown(columns[label_index])}'",
    ]
    if split_index is not None:
        taken.append(f"split from '{shown(columns[split_index])}'")
    group_index = None
    if group_column is not None:
        group_index = _named(name, columns, group_column, "group")
        taken.append(f"group from '{shown(columns[group_index])}'")
    notes.insert(0, f"table of labels {shown(name)}: {', '.join(taken)}; folders mean nothing")
    return Table(name, encoding, delimiter, columns, path_index, label_index, split_index, group_index, tuple(notes))


def rows(table: Table) -> Iterator[Row]:
    """Yield the rows below the line of column names, blank ones left out, one at a time.

    A row with too few or too many columns, without a path or without a label has its reason.
    Raises InputError where the split column holds anything but a split's name, and where the file
    breaks off or breaks the rules of CSV.
    """
    width, n_rows = len(table.columns), 0
    labels: dict[str, str] = {}  # one string object a class, however many rows
    needed = 1 + max(table.path_index, table.label_index, table.split_index or 0, table.group_index or 0)
    for line, cells in islice(_records(table.path, table.encoding, table.delimiter), 1, None):
        n_rows += 1
        if n_rows > MOST_ROWS:
            raise InputError(
                f"A table of labels must have at most {MOST_ROWS:,} rows; {shown(table.path)} has more. Divide it."
            )
        value = cells[table.path_index] if len(cells) > table.path_index else ""
        if len(cells) < needed or any(cells[width:]):
            what = "few" if len(cells) < needed else "many"
            reason = f"too {what} columns (line {line}: {len(cells)} of {width})"
            yield Row(line, value, "", None, None, reason)
            continue
        split = None
        if table.split_index is not None:
            split = split_name(cells[table.split_index])
            if split is None:
                raise _bad_split(table, line, cells[table.split_index].strip())
        text = cells[table.label_index].strip()
        label = labels.get(text)
        if label is None:
            label = labels[text] = unicodedata.normalize("NFC", text)
            if len(labels) > MOST_LABELS:
                raise InputError(
                    f"A table must have at most {MOST_LABELS:,} different labels; column "
                    f"'{shown(table.columns[table.label_index])}' of {shown(table.path)} has more. "
                    "Name the column of the classes with --label-column."
                )
        reason = None if label else "the row's label is empty"
        if "\0" in value or "\0" in label:
            reason = "the row holds a null character"
        elif len(label) > MOST_OF_LABEL:
            reason = f"the row's label has over {MOST_OF_LABEL:,} characters"
        if not value.strip():
            reason = "the row's path is empty"
        group = None if table.group_index is None else cells[table.group_index].strip()
        group = unicodedata.normalize("NFC", group) if group else None
        yield Row(line, value, label, split, group, reason, () if reason else tuple(cells))


def named(table: Table, column: str) -> int:
    """Where a column stands that pictures are to be divided by. Raises InputError where there is none of this name."""
    return _named(table.path, table.columns, column, "slice")


def plan_table(
    root: str,
    labels: str,
    path_column: str | None,
    label_column: str | None,
    split_column: str | None,
    group_column: str | None,
) -> Plan:
    table = open_table(
        labels,
        path_column=path_column,
        label_column=label_column,
        split_column=split_column,
        group_column=group_column,
    )
    plan = Plan("table", notes=list(table.notes))
    found = list(walk(root, passed_over=plan.pass_over))
    plan.skipped.extend(Skipped(each.path, each.reason or "") for each in found if each.folder)
    found = [each for each in found if not each.folder]
    finder = Finder(root, [each.path for each in found])
    named = bytearray(len(found))

    def locate(value: str) -> tuple[str | None, str | None]:
        index, reason = finder.find(value)
        if index is not None:
            named[index] = True
            return found[index].path, found[index].reason
        if reason == Finder.MISSING and (way := finder.way(value)) is not None:
            # A row may name what the walk passes over: a hidden file, or one that is no picture.
            path = os.path.join(root, *way.split("/"))
            if not is_place(path) and os.path.lexists(path):
                return path, None
        return None, reason

    groups: dict[tuple[str, str, str | None], str | None] = {}  # of path, label and split
    regrouped, first_regrouped = 0, ""  # rows that give a picture another group
    n_listed, most = 0, MOST_LABELS_OF_ONE * (len(found) + 1000)
    unused: Counter[str] = Counter()  # by reason
    examples: dict[str, str] = {}
    absent: set[str] = set()  # classes with rows whose files are not there
    n_rows = 0
    for row in rows(table):
        n_rows += 1
        path, reason = (None, row.reason) if row.reason else locate(row.value)
        if path is not None and reason is None:
            if groups.setdefault((path, row.label, row.split), row.group) != row.group:
                regrouped, first_regrouped = regrouped + 1, first_regrouped or path
            if len(groups) > most:
                raise InputError(
                    f"A table must give each picture one label; {shown(labels)} gives {counted(len(found), 'picture')} "
                    f"over {most:,} of them. Name the column of the classes with --label-column."
                )
            continue
        name = path or row.value.strip() or f"{labels} line {row.line}"
        # A file that is not there says nothing about its class or split; one that cannot be read does.
        about = (row.label or None, row.split) if path else (None, None)
        n_listed += path is None
        if path is not None or n_listed <= MOST_NAMED:
            plan.skipped.append(Skipped(name[:MOST_OF_NAME], reason or "", *about))
        kind = "matches more than one file" if (reason or "").startswith("matches") else reason or ""
        kind = kind.split(" (line")[0]
        unused[kind] += 1
        if kind not in examples:
            examples[kind] = name[:MOST_OF_NAME]
        absent.add(row.label)
    if not n_rows:
        raise InputError(f"{shown(labels)} has no rows below its column names. Add one for each picture.")
    if not groups:
        kind, _ = unused.most_common(1)[0]
        raise InputError(
            f"None of the {counted(n_rows, 'row')} of {shown(labels)} can be used, "
            f"e.g. '{shown(examples[kind])}': {kind}. Give as PHOTOS the folder that the "
            f"paths start from (it is {shown(root)} now), or name the right columns with --path-column and "
            "--label-column."
        )
    plan.pictures.extend((*picture, group) for picture, group in groups.items())
    for kind, n in sorted(unused.items()):
        plan.notes.append(f"{counted(n, 'row')} not used: {kind}, e.g. {shown(examples[kind])}")
    if n_listed > MOST_NAMED:
        plan.notes.append(
            f"of the rows that name no picture the first {MOST_NAMED:,} are listed, "
            f"{counted(n_listed - MOST_NAMED, 'row')} more only counted"
        )
    if n_repeated := n_rows - len(groups) - unused.total():
        plan.notes.append(f"{counted(n_repeated, 'row')} of {shown(labels)} repeating another: counted once")
    if regrouped:
        plan.notes.append(
            f"{counted(regrouped, 'row')} giving a picture another group than a row before: the first counts, "
            f"e.g. {shown(first_regrouped)}"
        )
    if table.group_index is not None:
        n_groups, n_without = len(set(groups.values()) - {None}), sum(group is None for group in groups.values())
        rest = f"; {counted(n_without, 'picture')} without a group" if n_without else ""
        plan.notes.append(f"{counted(n_groups, 'group')} of pictures{rest}: none will stand on two sides of a split")
    if gone := sorted(absent - {label for _, label, _ in groups} - {""}):
        plan.notes.append(f"classes of the table without any picture, left out: {quoted(gone)}")
    if n_unnamed := len(named) - sum(named):
        plan.notes.append(f"{counted(n_unnamed, 'picture')} below {shown(root)} in no row of the table: not used")
    return plan


def _encoding(name: str) -> tuple[str, list[str]]:
    """Return a text file's encoding and notes on it, from its first bytes, or by reading it through."""
    here = _here(name)
    if not os.path.exists(here):
        raise InputError(f"No such table of labels: {shown(name)}. Check the path.")
    if not os.path.isfile(here):
        raise InputError(f"The table of labels must be a regular file; {shown(name)} is not. Give a CSV file.")
    try:
        with open(here, "rb") as data:
            head = data.read(4096)
        for mark, encoding in MARKS:
            if head.startswith(mark):
                return encoding, []
        if head.startswith(b"PK\x03\x04") or b"\0" in head:
            raise InputError(
                f"The table of labels must be plain text; {shown(name)} is not (a spreadsheet?). "
                "Save it as CSV in UTF-8."
            )
        encoding = next(each for each in ("utf-8", "cp1252", "latin-1") if _decodes(here, each))
    except OSError as error:
        raise _broken(name, error) from error
    if encoding == "utf-8":
        return encoding, []
    return encoding, [f"{shown(name)} is not in UTF-8 and was read as {encoding}: check letters with accents"]


def _here(name: str) -> str:
    """The table as a file of this disk, fetched where it is elsewhere."""
    if not is_place(name):
        return name
    from tellapart import places

    try:
        return places.file(name, MOST_BYTES)
    except OSError as error:
        raise InputError(
            f"The table of labels {shown(name)} cannot be had: {because(error)}. Check its name."
        ) from error


def _decodes(name: str, encoding: str) -> bool:
    """Return whether all of a file is text in an encoding, read in pieces."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with open(name, "rb") as data:
            while chunk := data.read(1 << 20):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _score(line: str, delimiter: str, wanted: list[str]) -> tuple[int, int]:
    """Return how many known columns, and how many columns at all, a delimiter makes of the first line."""
    try:
        cells = [_plain(cell) for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return 0, 0  # said with its line number when the file is read
    known = {*PATH_NAMES, *LABEL_NAMES, *SPLIT_COLUMN_NAMES, *map(_plain, wanted)}
    return sum(cell in known for cell in cells), len(cells)


def _records(name: str, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) from the line of column names on, blank rows left out."""
    with open(_here(name), encoding=encoding, newline="") as file:
        taken, begun = [0], 1  # characters of the row, and the line that it begins on
        reader = csv.reader(_lines(file, taken), delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                taken[0], begun = 0, reader.line_num + 1
                if any(map(str.strip, cells)):
                    yield reader.line_num, cells
        except (csv.Error, UnicodeError, OSError) as error:
            raise _broken(name, error, begun) from error


def _lines(file: TextIO, taken: list[int]) -> Iterator[str]:
    """The lines of a file, while those of one row are not too long: where a quote stays open all the rest is one row.

    `taken` holds the number of characters of the row so far; who reads sets it to 0 at a row's end.
    """
    while line := file.readline(MOST_OF_ROW + 1):
        taken[0] += len(line)
        if taken[0] > MOST_OF_ROW:
            raise csv.Error(f"a row has over {MOST_OF_ROW:,} characters")
        yield line


def _broken(name: str, error: Exception, line: int | None = None) -> InputError:
    at = "" if line is None else f" at line {line}"
    if isinstance(error, OSError):
        return InputError(f"{shown(name)} cannot be read{at}: {because(error)}. Check the file.")
    if isinstance(error, UnicodeError):
        return InputError(f"{shown(name)} is not the text its first bytes promise{at}. Save it as CSV in UTF-8.")
    return InputError(
        f"{shown(name)} breaks the rules of CSV{at}: {error}. Close every quote, and double those within a value."
    )


def _plain(column: str) -> str:
    return column.strip().casefold().replace(" ", "_").replace("-", "_")


def _where(columns: Sequence[str], name: str) -> list[int]:
    return [i for i, column in enumerate(columns) if _plain(column) == _plain(name)]


def _column(
    name: str, columns: Sequence[str], asked: str | None, usual: Sequence[str], role: str, taken: int | None
) -> int:
    """Return where the column of a role stands, asked for by name or by its usual names, best first."""
    if asked is not None:
        index = _named(name, columns, asked, role)
    else:
        index = next((i for each in usual for i in _where(columns, each) if i != taken), None)
        if index is None:
            raise InputError(
                f"{shown(name)} has no column with a usual name for the {role} (as '{usual[0]}'); "
                f"its columns are {_columns_listed(columns)}. Name it with --{role}-column, "
                "or put a line of column names on top."
            )
    if index == taken:
        raise InputError(
            f"Path and label must be two columns of {shown(name)}; both are '{shown(columns[index])}'. "
            "Name the other with --path-column or --label-column."
        )
    if len(same := _where(columns, columns[index])) > 1 and columns.count(columns[index]) > 1:
        raise InputError(
            f"{shown(name)} has {len(same)} columns named '{shown(columns[index])}'. Give each its own name."
        )
    return index


def _named(name: str, columns: Sequence[str], asked: str, role: str) -> int:
    found = [i for i, column in enumerate(columns) if column == asked.strip()] or _where(columns, asked)
    if found:
        return found[0]
    near = difflib.get_close_matches(_plain(asked), [_plain(column) for column in columns], n=1)
    hint = f" Did you mean '{shown(columns[_where(columns, near[0])[0]])}'?" if near else ""
    option = f"--{role}" if role in ("group", "slice") else f"--{role}-column"
    raise InputError(
        f"{option}: {shown(name)} has no column '{shown(asked)}'; "
        f"its columns are {_columns_listed(columns)}." + (hint or " Name one of these.")
    )


def _columns_listed(columns: Sequence[str]) -> str:
    names = [f"'{shown(_short(column))}'" for column in columns[:20]]
    return ", ".join(names) + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")


def _short(text: str, most: int = 60) -> str:
    return shown(text if len(text) <= most else text[:most] + "…")


def _bad_split(table: Table, line: int, value: str) -> InputError:
    assert table.split_index is not None
    column = shown(table.columns[table.split_index])
    came = f"'{_short(value)}'" if value else "an empty value"
    return InputError(
        f"Every row's '{column}' in {shown(table.path)} must be train, validation or test (or another usual "
        f"name of one, as val); line {line} has {came}. Fill it in, or rename the column "
        "to have the pictures split afresh."
    )
