"""A folder, or a CSV of labels, to a sorted table of pictures: path, label, split, content hash.

Three layouts are known::

    PHOTOS/<class>/…              "classes": any depth below a class folder
    PHOTOS/<split>/<class>/…      "splits":  train, val, test and their other usual names
    PHOTOS and a CSV of labels    "table":   folders mean nothing

Every file that counts as a picture ends in `Catalog.entries` or, with its reason, in
`Catalog.skipped`; every reading that could have been another is a note. Nothing is decoded here.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from tellapart.errors import InputError, PictureError, SettingsError
from tellapart.files import Child, Found, because, candidate, children, shown, split_name, walk
from tellapart.pictures import describe_unknown, read_bytes, sniff
from tellapart.tables import Finder, open_table, rows

__all__ = [
    "SPLITS",
    "Catalog",
    "Entry",
    "Skipped",
    "check_classes",
    "check_usable",
    "scan",
    "shown",
    "walk",
    "without",
]

SPLITS = ("train", "validation", "test")
_BATCH = 16  # files a task of the thread pool: handing over one by one costs as much as reading
_HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture that can be used as far as its first bytes tell."""

    path: str  # opens as it stands: the folder as given, joined with the way down
    label: str  # class name, NFC
    split: str | None  # "train", "validation", "test"; None where the layout gives none
    content: str  # SHA-256 of the file's bytes, 64 hex digits


@dataclass(frozen=True, slots=True)
class Skipped:
    """One file or row that is not used."""

    path: str  # of a row that names no file: the path as the table has it
    reason: str  # a short clause, without the path
    label: str | None = None  # the class it would have counted for; None for a folder, or where there is none
    split: str | None = None  # likewise


@dataclass(frozen=True, slots=True)
class Catalog:
    """What was found, the same for the same tree whatever order the file system lists it in."""

    root: str  # as given
    layout: str  # "classes", "splits" or "table"
    classes: tuple[str, ...]  # sorted; those with at least one entry
    entries: tuple[Entry, ...]  # sorted by path, then label and split
    skipped: tuple[Skipped, ...]  # sorted by path, then reason
    notes: tuple[str, ...]  # one sentence, one line each: readings taken, what was left alone, …

    @property
    def n_found(self) -> int:
        """How many files, or rows of a table, counted as pictures: entries and skipped together."""
        return len(self.entries) + len(self.skipped)

    @property
    def counts(self) -> dict[str, dict[str | None, int]]:
        """Number of entries by class, then by split; every split that occurs stands for every class."""
        counted = Counter((entry.label, entry.split) for entry in self.entries)
        splits = [each for each in (*SPLITS, None) if any(split == each for _, split in counted)]
        return {label: {split: counted[label, split] for split in splits} for label in self.classes}

    @property
    def fingerprint(self) -> str:
        """SHA-256, 64 hex digits, over the sorted contents with label and split; paths play no part."""
        digest = hashlib.sha256()
        for key in sorted((entry.content, entry.label, entry.split or "") for entry in self.entries):
            digest.update(json.dumps(key).encode("ascii") + b"\n")
        return digest.hexdigest()


Progress = Callable[[int, int], None]


def scan(
    photos: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    keep_conflicts: bool = False,
    progress: Progress | None = None,
) -> Catalog:
    """Find, read and hash every picture of a folder.

    Args:
        photos: the folder.
        labels: a CSV of path (or file name, or id) and label; folders then mean nothing.
        path_column, label_column, split_column: columns of `labels`, where their names are unusual.
        keep_conflicts: use the same bytes under two labels as they stand, instead of neither.
        progress: called in this thread with (files read, files in all).

    Raises InputError where the folder or the table cannot be used, or no picture is left.
    """
    root = _root(photos)
    listing = _check_folder(root)
    if labels is not None:
        plan = _plan_table(root, os.fspath(labels), path_column, label_column, split_column)
    elif any(column is not None for column in (path_column, label_column, split_column)):
        raise SettingsError("A column can only be named for a table of labels. Give the table with --labels.")
    else:
        plan = _plan_folders(root, listing)
    return _read(root, plan, keep_conflicts, progress)


# What there is to read


@dataclass(slots=True)
class _Plan:
    layout: str
    pictures: list[tuple[str, str, str | None]] = field(default_factory=list)  # path, label, split
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    n_other: int = 0  # files that are no pictures by name and by first bytes

    def pass_over(self, _path: str) -> None:
        self.n_other += 1


def _root(photos: str | os.PathLike[str]) -> str:
    root = os.fsdecode(os.fspath(photos))
    stripped = root.rstrip(os.sep + (os.altsep or ""))
    # "/" and "C:\" stay what they are.
    return stripped if stripped and os.path.basename(stripped) else root


def _check_folder(root: str) -> list[Child]:
    """Return what the folder holds, or raise InputError."""
    name = shown(root) or "''"
    remedy = "Give the folder that holds the class folders, such as photos/ with photos/cats and photos/dogs."
    try:
        listing = children(root)
    except (FileNotFoundError, ValueError):  # ValueError: a null character
        raise InputError(f"No such folder: {name}. Check its spelling and where you are. {remedy}") from None
    except NotADirectoryError:
        raise InputError(f"A folder is needed; {name} is a file. {remedy}") from None
    except OSError as error:
        raise InputError(
            f"The folder {name} cannot be read: {because(error)}. Check its permissions and links."
        ) from error
    if not listing:
        raise InputError(f"The folder {name} is empty. {remedy}")
    return listing


@dataclass(frozen=True, slots=True)
class _Place:
    folder: Child
    split: str | None


def _plan_folders(root: str, listing: list[Child]) -> _Plan:
    visible = [child for child in listing if not child.hidden]
    folders = [child for child in visible if child.folder]
    splits, notes = _split_folders(root, folders)
    plan = _Plan("splits" if splits else "classes", notes=notes)
    hidden, loose = _hidden_and_loose(listing, plan)
    places = [_Place(folder, None) for folder in folders]
    if splits:
        places = []
        for folder in splits:
            split = split_name(folder.name)
            inside = _children_or_none(folder.path)
            places.extend(_Place(child, split) for child in inside if child.folder and not child.hidden)
            more_hidden, more_loose = _hidden_and_loose(inside, plan)
            hidden, loose = hidden + more_hidden, loose + more_loose
    for folder in hidden:
        plan.notes.append(
            f"hidden folder {shown(folder.path)} holds pictures and is passed over: "
            "if it is a class, take the leading dot off its name"
        )
    if loose:
        plan.skipped.extend(Skipped(each.path, each.reason or "not in a class folder") for each in loose)
        plan.notes.append(
            f"{_n(len(loose), 'picture')} in no class folder not used, e.g. {shown(loose[0].path)}: "
            "move each into the folder of its class"
        )
    names: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    nested = None
    for place in places:
        label = _label(place.folder.name)
        n_before = len(plan.pictures)
        for found in walk(place.folder.path, within=root, passed_over=plan.pass_over):
            if found.folder:
                plan.skipped.append(Skipped(found.path, found.reason or ""))
                continue
            names[label, place.split].add(place.folder.path)
            if found.reason is None:
                plan.pictures.append((found.path, label, place.split))
            else:
                plan.skipped.append(Skipped(found.path, found.reason, label, place.split))
            way = found.path[len(place.folder.path) + 1 :].split(os.sep)
            if nested is None and len(way) > 1 and split_name(way[0]):
                nested = (place.folder.path, way[0], label)
        if n_before == len(plan.pictures) and place.folder.path not in names[label, place.split]:
            plan.notes.append(f"class folder {shown(place.folder.path)} holds no pictures and is left out")
    if nested:
        plan.notes.append(
            f"{shown(os.path.join(*nested[:2]))} has a split's name inside a class: read as class "
            f"'{shown(nested[2])}' without splits (for splits, put the split folders on top and classes below)"
        )
    for label, split in sorted(names, key=str):
        if len(twins := names[label, split]) > 1:
            where = "" if split is None else f" of the {split} split"
            plan.notes.append(f"{len(twins)} folders are read as the one class '{shown(label)}'{where}")
    _check_something(root, plan, loose, {label for label, _ in names if names[label, _]})
    return plan


def _check_something(root: str, plan: _Plan, loose: list[Found], classes: set[str]) -> None:
    """Raise InputError where nothing counts as a class, or one folder is wrapped round the real ones."""
    if not classes:
        if loose:
            raise InputError(
                f"{shown(root)} holds {_n(len(loose), 'picture')} and no class folder with pictures. "
                "Put the pictures of each class into a folder of its own, or give a CSV with --labels."
            )
        raise InputError(
            f"No pictures below {shown(root)} ({_n(plan.n_other, 'other file')} passed over). "
            "Give the folder that holds the class folders, each with pictures in it."
        )
    if plan.layout == "classes" and len(classes) == 1:
        for child in _children_or_none(root):
            if child.folder and not child.hidden and _label(child.name) in classes:
                inner = [each for each in _children_or_none(child.path) if each.folder and not each.hidden]
                if _split_folders(child.path, inner)[0]:
                    raise InputError(
                        f"{shown(root)} holds one folder, {shown(child.name)}, with the split folders inside "
                        f"it. Give the inner folder: {shown(child.path)}"
                    )


def _split_folders(root: str, folders: list[Child]) -> tuple[list[Child], list[str]]:
    """Return the split folders that are to be read as such, none for class folders, and notes on why."""
    named = [folder for folder in folders if split_name(folder.name)]
    if not named:
        return [], []
    splits = [folder for folder in named if _holds_classes(folder)]
    others = [folder for folder in folders if not split_name(folder.name)]
    if not splits:
        if not others and len(named) > 1:
            raise InputError(
                f"The split folders of {shown(root)} ({_listed(named)}) hold no class folders with pictures. "
                f"Put the pictures of each class into a folder of its own, as "
                f"{shown(os.path.join(named[0].path, 'cats'))}, or give a CSV with --labels."
            )
        return [], [f"{_listed(named)}: a split's name, but no class folders inside: read as a class"]
    blocking = [folder for folder in others if _holds_classes(folder)]
    if blocking:
        return [], [
            f"{_listed(named)} read as class, not as split, because {_listed(blocking)} beside it holds folders "
            "of pictures as well; if it is a split, move the other folders away"
        ]
    direct = [folder for folder in others if _holds_directly(folder)]
    if len(splits) == 1 and len(direct) >= 2:
        return [], [
            f"{_listed(splits)} read as class, not as split, because it stands beside folders of pictures "
            f"({_listed(direct)}); if it is a split, move the other folders away"
        ]
    notes = [f"split folders read: {', '.join(f'{shown(s.name)} as {split_name(s.name)}' for s in splits)}"]
    for split in SPLITS:
        same = [folder for folder in splits if split_name(folder.name) == split]
        if len(same) > 1:
            notes.append(f"{_listed(same)} are both read as the {split} split")
    alone = [folder for folder in folders if folder not in splits]
    if alone:
        notes.append(f"left alone beside the split folders, for want of class folders inside: {_listed(alone)}")
    return splits, notes


def _holds_classes(folder: Child) -> bool:
    below = (child for child in _children_or_none(folder.path) if child.folder and not child.hidden)
    return any(_holds_pictures(child.path, within=folder.path) for child in below)


def _holds_directly(folder: Child) -> bool:
    inside = _children_or_none(folder.path)
    return any(not c.folder and not c.hidden and candidate(c) is not None for c in inside)


def _holds_pictures(folder: str, *, within: str, by_bytes: bool = True) -> bool:
    return any(not found.folder for found in walk(folder, within=within, by_bytes=by_bytes))


def _hidden_and_loose(listing: list[Child], plan: _Plan) -> tuple[list[Child], list[Found]]:
    """Return a folder's hidden folders that hold pictures, and the pictures in no class folder."""
    hidden, loose = [], []
    for child in listing:
        if child.folder:
            # By name alone: a hidden folder may be a version control's, with files by the thousand.
            within = os.path.dirname(child.path)
            if child.name.startswith(".") and _holds_pictures(child.path, within=within, by_bytes=False):
                hidden.append(child)
        elif not child.hidden:
            found = candidate(child)
            if found is None:
                plan.n_other += 1
            else:
                loose.append(found)
    return hidden, loose


def _children_or_none(folder: str) -> list[Child]:
    try:
        return children(folder)
    except OSError:  # `walk` names it, with its reason, where its pictures are asked for
        return []


def _label(name: str) -> str:
    """Return a folder's name as a class name: NFC, with bytes that are no text escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace") if os.name == "posix" else name
    return unicodedata.normalize("NFC", text)


def _plan_table(
    root: str, labels: str, path_column: str | None, label_column: str | None, split_column: str | None
) -> _Plan:
    table = open_table(
        labels, path_column=path_column, label_column=label_column, split_column=split_column
    )
    plan = _Plan("table", notes=list(table.notes))
    found = list(walk(root, passed_over=plan.pass_over))
    plan.skipped.extend(Skipped(each.path, each.reason or "") for each in found if each.folder)
    found = [each for each in found if not each.folder]
    finder = Finder(root, [each.path for each in found])
    named = bytearray(len(found))
    seen: set[tuple[str, str, str | None]] = set()
    n_rows = n_repeated = 0
    unused: Counter[str] = Counter()
    example = None
    for row in rows(table):
        n_rows += 1
        index, reason = (None, row.reason) if row.reason else finder.find(row.value)
        path = found[index].path if index is not None else None
        if index is not None:
            named[index] = True
            reason = found[index].reason
        elif reason == Finder.MISSING and (way := finder.way(row.value)) is not None:
            # A row may name what the walk passes over: a hidden file, or one that is no picture.
            path = os.path.join(root, *way.split("/"))
            if os.path.lexists(path):
                reason = None
        if reason is not None:
            where = row.value if row.value.strip() else f"{labels} line {row.line}"
            plan.skipped.append(Skipped(path if index is not None and path else where, reason, row.label or None, row.split))
            unused["other" if index is not None or row.reason else reason] += 1
            example = example or (None if row.reason else row.value)
            continue
        assert path is not None
        key = (path, row.label, row.split)
        if key in seen:
            n_repeated += 1
        else:
            seen.add(key)
    plan.pictures.extend(seen)
    _note_rows(root, labels, plan, n_rows, n_repeated, unused, example, len(named) - sum(named))
    return plan


def _note_rows(
    root: str,
    labels: str,
    plan: _Plan,
    n_rows: int,
    n_repeated: int,
    unused: Counter[str],
    example: str | None,
    n_unnamed: int,
) -> None:
    """Say in notes what became of the rows of a table; InputError where none can be used."""
    if not n_rows:
        raise InputError(f"{shown(labels)} has no rows below its column names. Add one for each picture.")
    if not plan.pictures:
        if example is None:
            first = plan.skipped[0]
            raise InputError(
                f"None of the {_n(n_rows, 'row')} of {shown(labels)} can be used, e.g. {shown(first.path)}: "
                f"{first.reason}. Give each a path and a label."
            )
        raise InputError(
            f"None of the {_n(n_rows, 'row')} of {shown(labels)} names a picture below {shown(root)}, "
            f"e.g. '{shown(example)}'. Give the folder that these paths start from, or name the column of "
            "paths with --path-column."
        )
