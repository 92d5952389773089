"""Copies of files: names that every system can have, nothing overwritten, an original only read."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from tellapart.addresses import is_place
from tellapart.files import because, is_hidden
from tellapart.pictures import MAX_FILE_BYTES

CHUNK_BYTES = 1 << 20
MOST_NAME_BYTES = 255  # of a file's name, on most file systems
MOST_CLASS_BYTES = 200  # of a class folder's name, which may get a suffix
# What Windows takes for a device, in any case and with any ending.
DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"
}


class SourceError(Exception):
    """The original cannot be read any further; not an OSError, which would be taken for the copy's."""


def opened(path: str) -> BinaryIO:
    """A regular file, or what was fetched of one elsewhere, open for reading. Raises OSError, also where it is none."""
    if is_place(path):
        from tellapart import places

        path = places.file(path, MAX_FILE_BYTES)
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    # Without blocking: by now a pipe may have taken the file's place.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    return os.fdopen(handle, "rb", buffering=0)


def write(source: BinaryIO, path: str) -> None:
    """Write what a file holds to a new file, with its times. Raises SourceError where it cannot be read any further."""
    with open(path, "xb") as file:
        while chunk := _read(source):
            file.write(chunk)
    made = os.fstat(source.fileno())
    os.utime(path, ns=(made.st_atime_ns, made.st_mtime_ns))


def numbered(name: str, first: int = 2) -> Iterator[tuple[int, str]]:
    """The name as it is, with 1, then with numbers from `first` on: ``x.jpg``, ``x-2.jpg``, …"""
    yield 1, name
    stem, ending = os.path.splitext(name)
    if len(os.fsencode(ending)) > MOST_NAME_BYTES // 2:
        stem, ending = name, ""
    for number in itertools.count(first):
        end = f"-{number}{ending}"
        kept = stem
        while len(os.fsencode(kept + end)) > MOST_NAME_BYTES:
            kept = kept[:-1]
        yield number, kept + end


def folder_names(classes: Iterable[str], reserved: Iterable[str] = ()) -> dict[str, str]:
    """A folder's name for each class that every usual system can have, no two of them one folder on any.

    What Windows, macOS or Linux would refuse, hide or take for something else (``/``, ``..``, ``con``, a dot or a blank
    at the end, …) becomes ``_``. Names that differ only in their case or in how an accent is written get a number, as
    does a class that is called like a `reserved` folder. Classes that can keep their name do.
    """
    names = {name: _safe(name) for name in classes}
    taken = {folded(name) for name in reserved}
    chosen: dict[str, str] = {}
    for name in sorted(names, key=lambda name: names[name] != name):  # a stable sort: else in their order
        candidate = names[name]
        for number in itertools.count(2):
            if folded(candidate) not in taken:
                break
            candidate = f"{names[name]}-{number}"
        taken.add(folded(candidate))
        chosen[name] = candidate
    return {name: chosen[name] for name in names}


def folded(name: str) -> str:
    """What names have in common that are one on a file system that heeds neither case nor composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def within(path: str, folder: str) -> bool:
    """Whether a path is a folder or below it; both resolved."""
    return path == folder or path.startswith(os.path.join(folder, ""))


def _safe(name: str) -> str:
    safe = "".join(c if _usable(c) else "_" for c in name)
    while len(safe.encode("utf-8")) > MOST_CLASS_BYTES:
        safe = safe[:-1]
    kept = safe.rstrip(". ")
    safe = kept + "_" * (len(safe) - len(kept))
    if safe[:1] in ("", ".", " ") or is_hidden(safe) or safe.split(".")[0].rstrip().casefold() in DEVICES:
        safe = f"_{safe[1:]}" if safe[:1] in (".", " ") else f"_{safe}"
    return safe


def _usable(character: str) -> bool:
    try:
        os.fsencode(character)  # an old locale may know ASCII only
    except UnicodeEncodeError:
        return False
    return character.isprintable() and character not in '<>:"/\\|?*'


def _read(source: BinaryIO) -> bytes:
    try:
        return source.read(CHUNK_BYTES)
    except OSError as error:
        raise SourceError(because(error)) from error
