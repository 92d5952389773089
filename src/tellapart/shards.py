"""Tar files as WebDataset has them, and Parquet files, many or one, to what there is to read.

In a tar all files of one sample share a name up to its first full stop: `0001.jpg` is the picture, `0001.cls`,
`0001.json` or `0001.txt` says its class; or the class is the first folder in the tar. In a Parquet file each row is a
sample. What split a shard belongs to is told by the folder that it is in, or by how its name begins (`train-0001.tar`).
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

from tellapart import addresses, places
from tellapart.errors import InputError
from tellapart.files import (
    Child,
    Plan,
    Skipped,
    because,
    candidate,
    counted,
    holds_pictures,
    listing,
    shown,
    split_name,
)
from tellapart.parquetrows import LABEL_NAMES

CLASS_NAMES = ("classes.txt", "classnames.txt", "class_names.txt", "labels.txt")  # beside the shards: a name a line
SIDES = ("cls", "json", "txt")  # what says the class of a sample, best first
MOST_SIDE_BYTES = 2**20
MOST_LABEL = 200  # characters of a `.txt`: longer, it is a caption
AHEAD = 2  # shards that are fetched while one is read
_INSIDE = ("data",)  # beside the names of splits: folders that shards may lie in
_BEGIN = re.compile(r"[A-Za-z]+(?:[_-]set)?")


def root_of(root: str, below: list[Child]) -> str:
    """The place of a folder that holds shards; any other as it is. Raises InputError where two kinds lie together."""
    if addresses.inside(root) is not None:
        return root
    kinds = _kinds(below)
    folders = [child for child in below if child.folder and not child.hidden]
    if not kinds:
        among = [child for child in folders if split_name(child.name) or child.name.casefold() in _INSIDE]
        kinds = sum((_kinds(listing(child.path)) for child in among), Counter())
    elif any(holds_pictures(child.path, within=root, by_bytes=False) for child in folders):
        return root
    if len(kinds) > 1:
        raise InputError(
            f"The shards in {shown(root)} must be of one kind; there are {kinds['tar']} .tar and {kinds['parquet']} "
            ".parquet files. Give them folders of their own."
        )
    return addresses.of_shards(next(iter(kinds)), root) if kinds else root


def _kinds(inside: list[Child]) -> Counter[str]:
    files = [child.name for child in inside if not child.folder and not child.hidden]
    return Counter(kind for name in files for kind in addresses.SHARDS if addresses.ends_as(name, kind))


def plan(root: str) -> Plan | None:
    """What the shards of a place give to read; None where it has none, or folders alone say what is what."""
    within = addresses.inside(root)
    if within is None or within.kind == "zip" or (within.archive is not None and within.member):
        return None
    shards = [root] if within.archive is not None else list(_below(root))
    if not shards:
        return None
    result = Plan("shards")
    splits = _splits(root, shards, result)
    names = _class_names(within.member if within.archive is None else _folder(within.archive))
    for i, shard in enumerate(shards):
        places.soon(shards[i + 1 : i + 1 + AHEAD], 0)
        try:
            reason = places.problem(shard)
            samples = list(_rows(shard) if within.kind == "parquet" else _samples(shard, "", names, result))
        except OSError as error:
            result.skipped.append(Skipped(shard, f"the shard cannot be read: {because(error)}", None, splits[i]))
            continue
        if reason is not None:
            result.skipped.append(Skipped(shard, reason, None, splits[i]))
        if within.archive is not None and within.kind == "tar" and not any(sided for *_, sided in samples):
            return None  # one tar with folders: its classes, or its splits
        for path, label, reason, _ in samples:
            if reason is None and label is None:
                reason = "it has no label"
            if reason is None and label is not None:
                result.pictures.append((path, label, splits[i], None))
            else:
                result.skipped.append(Skipped(path, reason or "", label, splits[i]))
    what = "Parquet file" if within.kind == "parquet" else "tar file"
    result.notes.insert(0, f"{counted(len(shards), what)} read as shards")
    if not result.pictures:
        first = f", e.g. {shown(result.skipped[0].path)}: {result.skipped[0].reason}" if result.skipped else ""
        raise InputError(
            f"The shards of {shown(root)} hold no picture with a label{first}. Put its class beside each picture, as "
            "0001.jpg and 0001.cls, or name its column 'label'."
        )
    if unlabelled := sum(each.reason == "it has no label" for each in result.skipped):
        result.notes.append(f"{counted(unlabelled, 'picture')} without a label not used")
    return result


def _below(folder: str) -> Iterator[str]:
    """The shards in a folder, and in the folders in it."""
    for child in listing(folder):
        if child.hidden:
            continue
        within = addresses.inside(child.path)
        if within is not None and within.archive is not None:
            yield child.path
        elif split_name(child.name) or child.name.casefold() in _INSIDE:
            yield from _below(child.path)


def _splits(root: str, shards: list[str], result: Plan) -> list[str | None]:
    """The split of each shard; of all or of none."""
    found: list[str | None] = []
    for shard in shards:
        *folders, name = shard[len(root) + 1 :].split("/")
        begin = _BEGIN.match(name)
        found.append(next(filter(None, map(split_name, [*folders, begin[0] if begin else ""])), None))
    if None in found and any(found):
        without = shards[found.index(None)]
        result.notes.append(f"no splits read from the names of shards, because {shown(without)} has none")
        return [None] * len(shards)
    return found


def _class_names(folder: str) -> list[str]:
    """The names of classes by number; none where no file beside the shards has them."""
    for name in CLASS_NAMES:
        path = addresses.joined(folder, name) if addresses.is_place(folder) else os.path.join(folder, name)
        try:
            if addresses.is_place(path):
                data = places.read(path, MOST_SIDE_BYTES)
            else:
                with open(path, "rb") as file:
                    data = file.read(MOST_SIDE_BYTES)
        except OSError:
            continue  # the usual case: numbers are names themselves
        return [line.strip() for line in data.decode("utf-8-sig", "replace").splitlines()]
    return []


def _folder(archive: str) -> str:
    return addresses.parent(archive) if addresses.is_place(archive) else os.path.dirname(archive)


Sample = tuple[str, str | None, str | None, bool]  # path, label, why it cannot be read, whether a file says the label


def _rows(shard: str) -> Iterator[Sample]:
    for member in places.children(shard):
        yield member.path, places.label(member.path), member.reason, True


def _samples(folder: str, label: str, names: list[str], result: Plan) -> Iterator[Sample]:
    """The pictures in a folder of a tar and below; `label` is the first folder's name, "" at the top."""
    inside = listing(folder)
    by_key: dict[str, dict[str, Child]] = {}
    for child in inside:
        if not child.folder and not child.hidden:
            key, _, ending = child.name.partition(".")
            by_key.setdefault(key, {})[ending.lower()] = child
    for members in by_key.values():
        found = [each for child in members.values() if (each := candidate(child)) is not None]
        plain = [each for each in found if "." not in each.path.rpartition("/")[2].partition(".")[2]]
        side = next((members[ending] for ending in SIDES if ending in members), None)
        beside = sum(ending in SIDES for ending in members) if found else 0  # a class, a caption: parts of the sample
        result.n_other += len(members) - len(plain or found) - beside
        said, reason = _said(side, names) if side is not None and found else (None, None)
        for each in plain or found:
            yield each.path, said or label or None, each.reason or reason, side is not None
    for child in inside:
        if child.folder and not child.hidden:
            yield from _samples(child.path, label or unicodedata.normalize("NFC", child.name), names, result)


def _said(side: Child, names: list[str]) -> tuple[str | None, str | None]:
    """The class that the file beside a picture says, or why it cannot be read."""
    try:
        text = places.read(side.path, MOST_SIDE_BYTES).decode("utf-8-sig", "replace").strip()
    except OSError as error:
        return None, f"its label {shown(side.name)} cannot be read: {because(error)}"
    value: object = text
    if side.name.lower().endswith("json"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None, f"its label {shown(side.name)} is no JSON"
        if isinstance(value, dict):
            lower = {str(key).casefold(): each for key, each in value.items()}
            value = next((lower[name] for name in (*LABEL_NAMES, "cls") if name in lower), None)
    if not isinstance(value, str | int) or len(str(value)) > MOST_LABEL or "\n" in str(value) or "\0" in str(value):
        return None, None
    label = str(value).strip()
    if label.isdecimal() and int(label) < len(names):
        label = names[int(label)]
    return unicodedata.normalize("NFC", label) or None, None
