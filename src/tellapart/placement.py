"""Where each picture of a cleaned copy goes: a catalog and a fix list to a plan, before anything is done."""

from __future__ import annotations

import contextlib
import difflib
import os
import unicodedata
from dataclasses import dataclass

from tellapart import copies, moves
from tellapart.catalog import Catalog, Entry
from tellapart.files import counted, quoted, shown, split_name
from tellapart.moves import Listed, Move


@dataclass(frozen=True, slots=True)
class Placed:
    """One picture of the copy."""

    source: str
    way: tuple[str, ...]  # folders and name in the copy
    label: str
    moved: bool


def chosen(listed: Listed, found: Catalog) -> dict[str, Move]:
    """What the list does with each picture, by its path in the catalog; a row on a file that is not used does nothing.

    Raises:
        InputError: rows that make no sense for this folder, each named with its line.
    """
    places = {_place(entry.path): entry.path for entry in found.entries}
    composed: dict[str, str | None] = {}  # where a program wrote letters with accents in another form
    for place, path in places.items():
        form = unicodedata.normalize("NFC", place)
        composed[form] = path if form not in composed else None
    reasons = {_place(each.path): each.reason for each in found.skipped}
    by_path: dict[str, Move] = {}
    problems: list[tuple[int, str]] = []
    for move in listed.moves:
        place = _find(move.path, found.root, [places, composed, reasons])
        if place is None:
            problems.append((move.line, _why_not(move.path, found.root)))
            continue
        path = places.get(place) or composed.get(place)
        if path is None:  # it is not used anyway
            if move.action == "move":
                problems.append((move.line, f"'{shown(move.path)}' cannot be moved: {reasons.get(place)}"))
            continue
        known = by_path.setdefault(path, move)
        if (known.action, known.to) != (move.action, move.to):
            problems.append((move.line, f"'{shown(move.path)}' stands in line {known.line} with another action"))
        if move.action == "move" and (problem := _class_problem(move.to, found)):
            problems.append((move.line, problem))
    moves.refuse(listed.path, problems)
    return by_path


def _place(path: str) -> str:
    return os.path.normpath(os.path.abspath(path))


def _find(value: str, root: str, among: list[dict]) -> str | None:
    """The place of a path of the list, as a key of one of the tables; None where there is none."""
    forms = [value, value.strip(), f"'{value}", value.replace("\\", "/")]
    with contextlib.suppress(UnicodeError):  # a spreadsheet may have saved it in the old encoding of Western Europe
        forms.append(value.encode("utf-8", "surrogateescape").decode("cp1252"))
    for form in forms:
        place = _place(os.path.join(os.path.abspath(root), form))
        if not copies.within(place, _place(root)):
            continue
        for key in (place, unicodedata.normalize("NFC", place)):
            if any(table.get(key) is not None for table in among):
                return key
    return None


def _why_not(value: str, root: str) -> str:
    place = _place(os.path.join(os.path.abspath(root), value))
    if not copies.within(place, _place(root)):
        return f"'{shown(value)}' lies outside {shown(root)}"
    return f"'{shown(value)}' is no picture in {shown(root)}"


def _class_problem(name: str, found: Catalog) -> str | None:
    """Why a class cannot take pictures; None for one that exists, or whose name any system can have as a folder."""
    if name in found.classes:
        return None
    if copies.folder_names([name])[name] != name or "\ufffd" in name:
        return f"'{shown(name)}' cannot be a class: its name must do as the name of one folder"
    if split_name(name):
        return f"'{shown(name)}' cannot be a new class: it is the name of a split"
    same = next((each for each in found.classes if copies.folded(each) == copies.folded(name)), None)
    return None if same is None else f"'{shown(name)}' differs from the class '{shown(same)}' in its spelling only"


def plan(found: Catalog, chosen: dict[str, Move]) -> tuple[list[Placed], list[str]]:
    """Every picture of the copy, those first that keep their place, and notes."""
    ways = _Ways(found)
    planned: dict[tuple[str, tuple[str, ...]], Placed] = {}
    for entry in found.entries:
        move = chosen.get(entry.path)
        if move is not None and move.action == "drop":
            continue
        label = move.to if move is not None and move.action == "move" else entry.label
        each = Placed(entry.path, ways.of(entry, label), label, label != entry.label)
        planned[each.source, each.way] = each
    in_order = sorted(planned.values(), key=lambda each: (each.moved, each.way, each.source))
    notes = []
    if found.layout in ("table", "shards"):
        notes.append("The copy has a folder for each class; it needs no table of labels.")
    for label in sorted({each.label for each in in_order} - set(found.classes)):
        near = difflib.get_close_matches(label, found.classes, n=1)
        hint = f" (is '{shown(near[0])}' meant?)" if near else ""
        n = sum(each.label == label for each in in_order)
        notes.append(f"New class '{shown(label)}' with {counted(n, 'picture')}{hint}.")
    if gone := sorted(set(found.classes) - {each.label for each in in_order}):
        notes.append(f"No picture is left in {quoted(gone)}.")
    return in_order, notes


class _Ways:
    """Where a picture of a class goes in the copy."""

    def __init__(self, found: Catalog) -> None:
        self.found = found
        self.depth = {"classes": 1, "splits": 2}.get(found.layout, 0)  # folders that name split and class
        self.folders: dict[tuple[tuple[str, ...], str], str] = {}  # split folder, class -> its folder's name
        self.anywhere = copies.folder_names(found.classes)
        if self.depth:
            for entry in reversed(found.entries):  # the first one counts
                way = self._parts(entry)
                self.folders[way[: self.depth - 1], entry.label] = way[self.depth - 1]
                self.anywhere[entry.label] = way[self.depth - 1]

    def of(self, entry: Entry, label: str) -> tuple[str, ...]:
        """Folders and name."""
        if not self.depth:
            split = () if entry.split is None else (entry.split,)
            return (*split, self.anywhere.get(label, label), os.path.basename(entry.path))
        way = self._parts(entry)
        if label == entry.label:
            return way
        above = way[: self.depth - 1]
        folder = self.folders.get((above, label)) or self.anywhere.get(label, label)
        return (*above, folder, *way[self.depth :])

    def _parts(self, entry: Entry) -> tuple[str, ...]:
        return tuple(os.path.relpath(entry.path, self.found.root).split(os.sep))
