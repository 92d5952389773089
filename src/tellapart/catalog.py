"""A folder, or a CSV of labels, to a sorted table of pictures: path, label, split, content hash, group.

Four layouts are known::

    PHOTOS/<class>/…              "classes": any depth below a class folder
    PHOTOS/<split>/<class>/…      "splits":  train, val, test and their other usual names
    PHOTOS and a CSV of labels    "table":   folders mean nothing
    PHOTOS/*.tar, *.parquet       "shards":  see `shards`

Every file that counts as a picture ends in `Catalog.entries` or, with its reason, in
`Catalog.skipped`; every reading that could have been another is a note. Nothing is decoded here.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tellapart import addresses, shards
from tellapart.addresses import is_place
from tellapart.contents import hash_all
from tellapart.errors import InputError, SettingsError
from tellapart.files import (
    LOOP,
    SEEN,
    SPLITS,
    Child,
    Found,
    Plan,
    Skipped,
    candidate,
    counted,
    holds_pictures,
    kind_of_place,
    listing,
    problem_of_place,
    quoted,
    shown,
    split_folders,
    split_name,
    walk,
)
from tellapart.tables import plan_table

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


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture that can be used as far as its first bytes tell."""

    path: str  # opens as it stands: the folder as given, joined with the way down
    label: str  # class name, NFC
    split: str | None  # "train", "validation", "test"; None where the layout gives none
    content: str  # SHA-256 of the file's bytes, 64 hex digits
    group: str | None = None  # entries of one group never stand on two sides of a split


@dataclass(frozen=True, slots=True)
class Catalog:
    """What was found, the same for the same tree whatever order the file system lists it in."""

    root: str  # as given
    layout: str  # "classes", "splits", "table" or "shards"
    classes: tuple[str, ...]  # sorted; those with at least one entry
    entries: tuple[Entry, ...]  # sorted by path, then label and split
    skipped: tuple[Skipped, ...]  # sorted by path, then reason
    notes: tuple[str, ...]  # one sentence, one line each: readings taken, what was left alone, …
    # Of the skipped, the same bytes under two labels; sorted as entries are. Their labels cannot both be right.
    conflicts: tuple[Entry, ...] = ()

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
        """SHA-256, 64 hex digits, over the sorted contents with label and split; paths and groups play no part."""
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
    group: str | None = None,
    keep_conflicts: bool = False,
    progress: Progress | None = None,
) -> Catalog:
    """Find, read and hash every picture of a folder.

    Args:
        photos: the folder.
        labels: a CSV of path (or file name, or id) and label; folders then mean nothing.
        path_column, label_column, split_column: columns of `labels`, where their names are unusual.
        group: a column of `labels`; pictures with the same value there stay on one side of a split.
        keep_conflicts: use the same bytes under two labels as they stand, instead of neither.
        progress: called in this thread with (files read, files in all).

    Raises InputError where the folder or the table cannot be used, or no picture is left.
    """
    root = _root(photos)
    below = _check_folder(root)
    root = shards.root_of(root, below)
    if labels is not None:
        plan = plan_table(root, os.fspath(labels), path_column, label_column, split_column, group)
    elif any(column is not None for column in (path_column, label_column, split_column, group)):
        raise SettingsError("A column can only be named for a table of labels. Give the table with --labels.")
    else:
        plan = shards.plan(root) or _plan_folders(root, below)
    return _read(root, plan, keep_conflicts, progress)


# What there is to read


def _root(photos: str | os.PathLike[str]) -> str:
    root = addresses.given(os.fsdecode(os.fspath(photos)))
    if is_place(root):
        return root
    stripped = root.rstrip(os.sep + (os.altsep or ""))
    # "/" and "C:\" stay what they are.
    return stripped if stripped and os.path.basename(stripped) else root


def _check_folder(root: str) -> list[Child]:
    """Return what the folder holds, or raise InputError."""
    name = shown(root) or "''"
    remedy = "Give the folder that holds the class folders, such as photos/ with photos/cats and photos/dogs."
    if is_place(root):
        kind = kind_of_place(root)
        if kind != "folder":
            what = "No such folder" if kind is None else "A folder is needed, and this is a file"
            raise InputError(f"{what}: {name}. {remedy}")
    elif not os.path.lexists(root):
        raise InputError(f"No such folder: {name}. Check its spelling and where you are. {remedy}")
    elif os.path.exists(root) and not os.path.isdir(root):
        raise InputError(f"A folder is needed; {name} is a file. {remedy}")
    below = listing(root)
    if not below:
        raise InputError(f"The folder {name} is empty. {remedy}")
    return below


@dataclass(frozen=True, slots=True)
class _Place:
    folder: Child
    split: str | None


def _plan_folders(root: str, below: list[Child]) -> Plan:
    visible = [child for child in below if not child.hidden]
    folders = [child for child in visible if child.folder]
    splits, notes = split_folders(root, folders)
    plan = Plan("splits" if splits else "classes", notes=notes)
    hidden, loose = _hidden_and_loose(below, plan)
    if is_place(root) and (problem := problem_of_place(root)) is not None:
        plan.skipped.append(Skipped(root, problem))
        plan.notes.append(f"{shown(root)} may hold more pictures than were found: {problem}")
    places = [_Place(folder, None) for folder in folders]
    if splits:
        places = []
        for folder in splits:
            split = split_name(folder.name)
            inside = listing(folder.path)
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
            f"{counted(len(loose), 'picture')} in no class folder not used, e.g. {shown(loose[0].path)}: "
            "move each into the folder of its class"
        )
    names: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    nested = None
    for place in places:
        label = _label(place.folder.name)
        empty = True
        for found in walk(place.folder.path, within=root, passed_over=plan.pass_over):
            if found.folder:
                # A class whose folder cannot be read must not go without a word; a loop is no class.
                known = None if found.reason in (LOOP, SEEN) else label
                plan.skipped.append(Skipped(found.path, found.reason or "", known, place.split))
                empty = empty and known is None
                continue
            empty = False
            if found.reason is None:
                plan.pictures.append((found.path, label, place.split, None))
            else:
                plan.skipped.append(Skipped(found.path, found.reason, label, place.split))
            way = found.path[len(place.folder.path) + 1 :].split(os.sep)
            if nested is None and len(way) > 1 and split_name(way[0]):
                nested = (place.folder.path, way[0], label)
        if empty:
            plan.notes.append(f"class folder {shown(place.folder.path)} holds no pictures and is left out")
        else:
            names[label, place.split].add(place.folder.path)
    if nested:
        plan.notes.append(
            f"{shown(os.path.join(*nested[:2]))} has a split's name inside a class: read as class "
            f"'{shown(nested[2])}' without splits (for splits, put the split folders on top, classes below)"
        )
    for label, split in sorted(names, key=str):
        if len(twins := names[label, split]) > 1:
            where = "" if split is None else f" of the {split} split"
            plan.notes.append(f"{len(twins)} folders are read as the one class '{shown(label)}'{where}")
    _check_something(root, plan, loose, {label for label, _ in names})
    return plan


def _check_something(root: str, plan: Plan, loose: list[Found], classes: set[str]) -> None:
    """Raise InputError where nothing counts as a class, or one folder is wrapped round the real ones."""
    if not classes:
        if loose:
            raise InputError(
                f"{shown(root)} holds {counted(len(loose), 'picture')} and no class folder with pictures. "
                "Put the pictures of each class into a folder of its own, or give a CSV with --labels."
            )
        raise InputError(
            f"No pictures below {shown(root)} ({counted(plan.n_other, 'other file')} passed over). "
            "Give the folder that holds the class folders, each with pictures in it."
        )
    if plan.layout == "classes" and len(classes) == 1:
        for child in listing(root):
            if child.folder and not child.hidden and _label(child.name) in classes:
                inner = [each for each in listing(child.path) if each.folder and not each.hidden]
                if split_folders(child.path, inner)[0]:
                    raise InputError(
                        f"{shown(root)} holds one folder, {shown(child.name)}, with the split folders inside "
                        f"it. Give the inner folder: {shown(child.path)}"
                    )


def _hidden_and_loose(below: list[Child], plan: Plan) -> tuple[list[Child], list[Found]]:
    """Return a folder's hidden folders that hold pictures, and the pictures in no class folder."""
    hidden, loose = [], []
    for child in below:
        if child.folder:
            # By name alone: a hidden folder may be a version control's, with files by the thousand.
            within = os.path.dirname(child.path)
            if child.name.startswith(".") and holds_pictures(child.path, within=within, by_bytes=False):
                hidden.append(child)
        elif not child.hidden:
            found = candidate(child)
            if found is None:
                plan.n_other += 1
            else:
                loose.append(found)
    return hidden, loose


def _label(name: str) -> str:
    """Return a folder's name as a class name: NFC, with bytes that are no text escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace") if os.name == "posix" else name
    return unicodedata.normalize("NFC", text)


# Reading


def _read(root: str, plan: Plan, keep_conflicts: bool, progress: Progress | None) -> Catalog:
    paths = sorted({path for path, *_ in plan.pictures})
    results = dict(zip(paths, hash_all(paths, progress), strict=True))
    entries, skipped = [], list(plan.skipped)
    for path, label, split, group in plan.pictures:
        content, reason = results[path]
        if content is None:
            skipped.append(Skipped(path, reason or "", label, split))
        else:
            entries.append(Entry(path, label, split, content, group))
    entries.sort(key=lambda entry: (entry.path, entry.label, entry.split or ""))
    notes = list(plan.notes)
    entries, conflicts, reasons = _settle_conflicts(entries, keep_conflicts, notes)
    skipped.extend(reasons)
    _note_copies(entries, notes)
    if plan.n_other:
        notes.append(
            f"{counted(plan.n_other, 'other file')} passed over: "
            "neither a picture's name nor, as far as they can be read, a picture's first bytes"
        )
    catalog = _build(Catalog(root, plan.layout, (), (), (), tuple(notes), tuple(conflicts)), entries, skipped)
    if not entries:
        first = next(each for each in catalog.skipped if each.label is not None)
        raise InputError(
            f"None of the {counted(len(skipped), 'picture')} below {shown(root)} can be used, "
            f"e.g. {shown(first.path)}: {first.reason}. Give a folder with pictures that can be read."
        )
    return catalog


def _build(catalog: Catalog, entries: list[Entry], skipped: list[Skipped]) -> Catalog:
    """Return a catalog with other entries (sorted) and other files skipped."""
    classes = tuple(sorted({entry.label for entry in entries}))
    skipped = sorted(skipped, key=lambda each: (each.path, each.reason, each.label or "", each.split or ""))
    twins: dict[str, list[str]] = defaultdict(list)
    for label in classes:
        twins[" ".join(label.casefold().split())].append(label)
    notes = list(catalog.notes)
    for labels in twins.values():
        note = f"{quoted(labels)} differ in case or spaces only and are classes of their own"
        if len(labels) > 1 and note not in notes:
            notes.append(note)
    return replace(catalog, classes=classes, entries=tuple(entries), skipped=tuple(skipped), notes=tuple(notes))


def _settle_conflicts(
    entries: list[Entry], keep: bool, notes: list[str]
) -> tuple[list[Entry], list[Entry], list[Skipped]]:
    """Take out what has the same bytes under two labels, both sides, unless they are to be kept.

    Returns the entries to use, those that were taken out, and these with their reasons.
    """
    labels: dict[str, str] = {}
    torn: dict[str, list[Entry]] = {}
    for entry in entries:
        if labels.setdefault(entry.content, entry.label) != entry.label:
            torn[entry.content] = []
    if not torn:
        return entries, [], []
    for entry in entries:
        if entry.content in torn:
            torn[entry.content].append(entry)
    skipped = []
    for group in torn.values():
        first = group[0]
        other = next(entry for entry in group if entry.label != first.label)
        for entry in group:
            against = first if entry.label != first.label else other
            reason = f"the same picture is also in class '{shown(against.label)}': {shown(against.path)}"
            skipped.append(Skipped(entry.path, reason, entry.label, entry.split))
    example = f"e.g. {shown(skipped[0].path)}: {skipped[0].reason}"
    n = counted(len(skipped), "picture")
    if keep:
        notes.append(f"{n} under two labels (same bytes), used as they stand, {example}")
        return entries, [], []
    notes.append(f"{n} under two labels (same bytes), none of them used, {example}")
    kept = [entry for entry in entries if entry.content not in torn]
    return kept, [entry for entry in entries if entry.content in torn], skipped


def _note_copies(entries: list[Entry], notes: list[str]) -> None:
    n_copies = len(entries) - len({(entry.content, entry.label) for entry in entries})
    if n_copies:
        verb = "is a copy" if n_copies == 1 else "are copies"
        notes.append(
            f"{counted(n_copies, 'picture')} {verb}, byte for byte, of another of the same class: "
            "used, and never on two sides of a split"
        )


# Checks before training


def without(catalog: Catalog, failures: Mapping[str, str]) -> Catalog:
    """Return the catalog with the pictures of these contents skipped for these reasons."""
    skipped = [
        Skipped(entry.path, failures[entry.content], entry.label, entry.split)
        for entry in catalog.entries
        if entry.content in failures
    ]
    kept = [entry for entry in catalog.entries if entry.content not in failures]
    return _build(catalog, kept, [*catalog.skipped, *skipped])


def check_usable(catalog: Catalog, failures: Mapping[str, str]) -> Catalog:
    """Return `without(catalog, failures)` if that can be trained on.

    Args:
        failures: content hash to reason, of pictures that could not be decoded.

    Raises InputError where a class has no usable picture or a single one (copies count once), and
    as `check_classes` does.
    """
    left = without(catalog, failures)
    _check_none_empty(left)
    contents: dict[str, set[str]] = defaultdict(set)
    examples: dict[str, str] = {}
    for entry in left.entries:
        contents[entry.label].add(entry.content)
        examples.setdefault(entry.label, entry.path)
    for label in left.classes:
        if len(contents[label]) == 1:
            lost = [each for each in left.skipped if each.label == label]
            why = f"; {len(lost)} more cannot be used, e.g. {_why(lost[0])}" if lost else ""
            raise InputError(
                f"class '{shown(label)}' has one usable picture ({shown(examples[label])}{why}); "
                "at least 2 are needed, better 20 or more. Add pictures or take the folder away."
            )
    check_classes(left)
    return left


def check_classes(catalog: Catalog) -> None:
    """Raise InputError where there are fewer than two classes, or not the same in every split."""
    _check_none_empty(catalog)
    if len(catalog.classes) < 2:
        raise InputError(_one_class(catalog))
    counts = catalog.counts
    splits = {each.split for each in (*catalog.entries, *catalog.skipped) if each.split is not None}
    for split in (each for each in SPLITS if each in splits):
        present = [label for label in catalog.classes if counts[label].get(split)]
        for label in catalog.classes:
            if label in present:
                continue
            other = next(each for each in SPLITS if counts[label].get(each))
            lost = [each for each in catalog.skipped if (each.label, each.split) == (label, split)]
            why = f" ({len(lost)} cannot be used, e.g. {_why(lost[0])})" if lost else ""
            strangers = [each for each in present if not counts[each].get(other)]
            near = difflib.get_close_matches(label, strangers, n=1, cutoff=0.5)
            hint = f" (is it '{shown(near[0])}' there?)" if near else ""
            raise InputError(
                f"Every split of {shown(catalog.root)} must have the same classes: '{shown(label)}' has "
                f"{counted(counts[label][other], 'picture')} in {other} and none in {split}{why}{hint}. "
                f"Give the class the same name and pictures in both, or take it out of {other}."
            )


def _one_class(catalog: Catalog) -> str:
    label = catalog.classes[0] if catalog.classes else ""
    has = f"'{shown(label)}' ({counted(len(catalog.entries), 'picture')})" if label else "none"
    root = shown(catalog.root)
    if catalog.layout in ("table", "shards"):
        what = "the table for" if catalog.layout == "table" else "the labels of"
        return f"At least two classes are needed; {what} {root} has {has}. Add rows of another class."
    ways = [os.path.relpath(entry.path, catalog.root).split(os.sep) for entry in catalog.entries]
    if catalog.layout == "classes" and len({way[1] for way in ways if len(way) > 2}) > 1:
        inner = shown(os.path.join(catalog.root, ways[0][0]))
        return (
            f"At least two classes are needed; {root} has {has}. If the folders inside it are the classes, give {inner}"
        )
    return (
        f"At least two classes are needed; {root} has {has}. Add a folder of pictures for each other class beside it."
    )


def _check_none_empty(catalog: Catalog) -> None:
    """Raise InputError where all pictures of a class were skipped."""
    lost: dict[str, list[Skipped]] = defaultdict(list)
    for each in catalog.skipped:
        if each.label is not None and each.label not in catalog.classes:
            lost[each.label].append(each)
    for label in sorted(lost):
        n = len(lost[label])
        which = "its only picture" if n == 1 else f"none of its {n} pictures"
        verb = "could not be read" if n == 1 else "could be read"
        if any(each.reason.startswith("the same picture") for each in lost[label]):
            verb = verb.replace("read", "used")
        raise InputError(
            f"class '{shown(label)}': {which} {verb}, e.g. {_why(lost[label][0])}. "
            "Put good pictures there, or take the folder away."
        )


def _why(skipped: Skipped) -> str:
    return f"{shown(skipped.path)}: {skipped.reason}"
