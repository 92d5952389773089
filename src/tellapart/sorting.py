"""Copies of pictures, in a folder for each answer. The originals are only read, and nothing is ever overwritten."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from tellapart import outputs
from tellapart.errors import OutputError
from tellapart.files import because, is_hidden, shown
from tellapart.predict import NO_SUCH_FILE, Prediction

UNKNOWN, UNREADABLE = "unknown", "unreadable"  # the folders of what has no class
CHUNK_BYTES = 1 << 20
MOST_NAME_BYTES = 255  # of a file's name, on most file systems
MOST_CLASS_BYTES = 200  # of a class folder's name, which may get a suffix
REMEMBERED = 8  # a name that was taken more often than this has its next number remembered, others are looked up
# What Windows takes for a device, in any case and with any ending.
DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"
}


@dataclass(frozen=True, slots=True)
class Sorted:
    """Where the copies of pictures went."""

    folder: str
    folders: dict[str, str]  # class name -> its folder's name in `folder`, where they differ and there are copies
    copied: dict[str, int]  # folder's name in `folder` -> copies, classes first; no folder without any
    not_copied: int  # pictures without a copy: missing, no regular file, or not readable as a file
    example: tuple[str, str] | None  # path and reason of the first of these


class Sorter:
    """Takes answers one by one and copies their pictures. A context manager.

    A copy has the original's name and time of change. Where that name is taken, it gets a number: ``x-2.jpg``. It
    appears under its name when it is complete. Of a million pictures only the names that were taken often are held.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        classes: Sequence[str],
        *,
        asked: Iterable[str | os.PathLike[str]] = (),
        force: bool = False,
    ) -> None:
        """Check the folder; it is made when the work begins.

        Args:
            folder: where the copies go; new or empty, unless `force` is set.
            classes: the model's classes.
            asked: what is sorted, files and folders.
            force: let the folder hold something already; that stays as it is.

        Raises:
            OutputError: the folder cannot take the copies, or one of `asked` is in it.
        """
        self.folder = os.fspath(folder)
        outputs.check_folder(self.folder, force=force)
        inside = os.path.realpath(self.folder)
        for each in asked:
            path = os.fspath(each)
            if os.path.isdir(path) and _within(os.path.realpath(path), inside):
                raise OutputError(
                    f"The copies must not go where their originals are; {shown(path)} is in {shown(self.folder)}. "
                    f"Name another folder."
                )
        self._class_folders = folder_names(classes)
        self._copied: Counter[str] = Counter()
        self._not_copied = 0
        self._example: tuple[str, str] | None = None
        self._numbers: dict[tuple[str, str], int] = {}  # folder and name -> the next number, of names taken often
        self._made: set[str] = set()
        self._created = False

    def __enter__(self) -> Sorter:
        with outputs.reported(self.folder):
            if not os.path.isdir(self.folder):
                os.mkdir(self.folder)
                self._created = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._created:
            with contextlib.suppress(OSError):
                os.rmdir(self.folder)  # only where it is still empty

    def add(self, answer: Prediction) -> str | None:
        """Copy the picture of an answer. Returns the copy's path; None where there is none.

        Raises:
            OutputError: the copy cannot be written. What was copied before stays.
        """
        if answer.error == NO_SUCH_FILE:
            return self._lost(answer.path, NO_SUCH_FILE)
        if answer.error is not None:
            folder = UNREADABLE
        else:
            folder = UNKNOWN if answer.label is None else self._class_folders[answer.label]
        try:
            source = _opened(answer.path)
        except OSError as error:
            return self._lost(answer.path, answer.error or because(error))
        with source:
            try:
                copy = self._copy(source, folder, os.path.basename(os.path.abspath(answer.path)))
            except _SourceError as error:
                return self._lost(answer.path, str(error))
        self._copied[folder] += 1
        return copy

    @property
    def result(self) -> Sorted:
        """What was done so far."""
        places = [*self._class_folders.values(), UNKNOWN, UNREADABLE]
        renamed = {name: place for name, place in self._class_folders.items() if name != place and self._copied[place]}
        copied = {place: self._copied[place] for place in places if self._copied[place]}
        return Sorted(self.folder, renamed, copied, self._not_copied, self._example)

    def _lost(self, path: str, reason: str) -> None:
        self._not_copied += 1
        self._example = self._example or (path, reason)

    def _copy(self, source: BinaryIO, folder: str, name: str) -> str:
        place = os.path.join(self.folder, folder)
        temporary = os.path.join(place, f".{secrets.token_hex(8)}.tmp")
        with outputs.reported(os.path.join(place, name)):
            self._make(folder)
            try:
                with open(temporary, "xb") as file:
                    while chunk := _read(source):
                        file.write(chunk)
                made = os.fstat(source.fileno())
                os.utime(temporary, ns=(made.st_atime_ns, made.st_mtime_ns))
                for number, candidate in self._names(folder, name):
                    if _claim(temporary, os.path.join(place, candidate)):
                        if number > REMEMBERED:
                            self._numbers[folder, name] = number + 1
                        return os.path.join(place, candidate)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
        raise AssertionError("numbers have no end")

    def _make(self, folder: str) -> None:
        if folder in self._made:
            return
        place = os.path.join(self.folder, folder)
        try:
            os.mkdir(place)
        except FileExistsError:
            if os.path.islink(place) or not os.path.isdir(place):
                raise OutputError(
                    f"{shown(place)} must be a folder of its own; it is a link or a file. Name another folder than "
                    f"{shown(self.folder)}."
                ) from None
        self._made.add(folder)

    def _names(self, folder: str, name: str) -> Iterator[tuple[int, str]]:
        """The name as it is, then with numbers from 2 on."""
        yield 1, name
        stem, ending = os.path.splitext(name)
        if len(os.fsencode(ending)) > MOST_NAME_BYTES // 2:
            stem, ending = name, ""
        for number in itertools.count(self._numbers.get((folder, name), 2)):
            end = f"-{number}{ending}"
            kept = stem
            while len(os.fsencode(kept + end)) > MOST_NAME_BYTES:
                kept = kept[:-1]
            yield number, kept + end


def folder_names(classes: Iterable[str]) -> dict[str, str]:
    """A folder's name for each class that every usual system can have, no two of them one folder on any.

    What Windows, macOS or Linux would refuse, hide or take for something else (``/``, ``..``, ``con``, a dot or a blank
    at the end, …) becomes ``_``. Names that differ only in their case or in how an accent is written get a number, as
    does a class that is called "unknown" or "unreadable". Classes that can keep their name do.
    """
    names = {name: _safe(name) for name in classes}
    taken = {_folded(UNKNOWN), _folded(UNREADABLE)}
    chosen: dict[str, str] = {}
    for name in sorted(names, key=lambda name: names[name] != name):  # a stable sort: else in their order
        candidate = names[name]
        for number in itertools.count(2):
            if _folded(candidate) not in taken:
                break
            candidate = f"{names[name]}-{number}"
        taken.add(_folded(candidate))
        chosen[name] = candidate
    return {name: chosen[name] for name in names}


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


def _folded(name: str) -> str:
    """What names have in common that are one on a file system that heeds neither case nor composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


class _SourceError(Exception):
    """The original cannot be read any further; not an OSError, which would be taken for the copy's."""


def _opened(path: str) -> BinaryIO:
    """A regular file, open for reading. Raises OSError, also where it is none."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    # Without blocking: by now a pipe may have taken the file's place.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    return os.fdopen(handle, "rb", buffering=0)


def _read(source: BinaryIO) -> bytes:
    try:
        return source.read(CHUNK_BYTES)
    except OSError as error:
        raise _SourceError(because(error)) from error


def _claim(temporary: str, final: str) -> bool:
    """Give a file its name; False where that is taken, and nothing was done."""
    if os.path.lexists(final):
        return False
    try:
        if os.name == "nt":
            os.rename(temporary, final)  # refuses by itself what exists
            return True
        os.link(temporary, final)  # unlike a rename, this takes no other file's place
    except FileExistsError:
        return False
    except OSError:
        os.rename(temporary, final)  # a file system without links, or an error that now comes again
        return True
    os.unlink(temporary)
    return True
