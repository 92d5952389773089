"""Copies of pictures, in a folder for each answer. The originals are only read, and nothing is ever overwritten."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from tellapart import copies, leftovers, outputs
from tellapart.errors import OutputError
from tellapart.files import because, shown
from tellapart.predict import NO_SUCH_FILE, Prediction

UNKNOWN, UNREADABLE = "unknown", "unreadable"  # the folders of what has no class
REMEMBERED = 8  # a name that was taken more often than this has its next number remembered, others are looked up


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
    appears under its name when it is complete. All are synced to the disk together, at the end: one by one would take
    many times as long, and after a loss of power the originals are still there. Of a million pictures only the names
    that were taken often are held.
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
            if os.path.isdir(path) and copies.within(os.path.realpath(path), inside):
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._made:
            with outputs.reported(self.folder):
                outputs.sync_disk(self.folder)
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
            source = copies.opened(answer.path)
        except OSError as error:
            return self._lost(answer.path, answer.error or because(error))
        with source:
            try:
                copy = self._copy(source, folder, os.path.basename(os.path.abspath(answer.path)))
            except copies.SourceError as error:
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
        temporary = os.path.join(place, leftovers.temporary(name))
        with outputs.reported(os.path.join(place, name)):
            self._make(folder)
            try:
                copies.write(source, temporary)
                for number, candidate in copies.numbered(name, self._numbers.get((folder, name), 2)):
                    if outputs.claim(temporary, os.path.join(place, candidate)):
                        if number > REMEMBERED:
                            self._numbers[folder, name] = number + 1
                        return os.path.join(place, candidate)
            finally:
                with contextlib.suppress(OSError):  # it has its name; or it goes with the next run
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
            leftovers.sweep(place)
        self._made.add(folder)


def folder_names(classes: Iterable[str]) -> dict[str, str]:
    """A folder's name for each class, as `copies.folder_names` has it, none of them that of what has no class."""
    return copies.folder_names(classes, (UNKNOWN, UNREADABLE))
