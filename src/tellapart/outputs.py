"""Results to disk: nothing is overwritten unasked, and a half-written file never stands under a final name."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tellapart.errors import OutputError
from tellapart.files import because, shown


def check(path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Whether `path` can be written, before the work that leads to it.

    Raises:
        OutputError: it exists and `force` is not set, its folder does not exist or takes no files.
    """
    with reported(path):
        _check(Path(path), force)


def _check(target: Path, force: bool) -> None:
    name = shown(target)
    if target.is_dir():
        raise OutputError(f"An output must be a file; {name} is a folder. Name a file in it.")
    if target.exists() and not target.is_file():
        # Renamed to it, the result would take the place of a device.
        raise OutputError(f"An output must be a regular file; {name} is none. Name another file.")
    if not force and os.path.lexists(target):
        raise OutputError(f"{name} exists already. Name another file, or add --force to replace it.")
    folder = target.parent
    if not folder.is_dir():
        raise OutputError(f"The folder of an output must exist; there is no {shown(folder)}. Make it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"The folder {shown(folder)} takes no new files: permission denied. Name another folder.")


def check_folder(path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Whether `path` can be, or be made, a folder for results, before the work that leads to it.

    Raises:
        OutputError: it is no folder, or holds something and `force` is not set; its parent does not exist or takes no
            files.
    """
    target = Path(path)
    with reported(path):
        if not os.path.lexists(target):
            _check(target, force)
            return
        if not target.is_dir():
            raise OutputError(f"{shown(target)} must be a folder; it is none. Name another one.")
        if not force and any(target.iterdir()):
            raise OutputError(
                f"The folder {shown(target)} must be new or empty; it is not. Name another, or add --force."
            )
        if not os.access(target, os.W_OK | os.X_OK):
            raise OutputError(f"The folder {shown(target)} takes no new files: permission denied. Name another folder.")


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str], *, force: bool = False) -> Iterator[BinaryIO]:
    """A file open for writing under a temporary name beside `path`; renamed to `path` when all went well.

    Raises:
        OutputError: as `check` has it, or the disk refuses. The temporary file is gone then.
    """
    check(path, force=force)
    target = Path(path)
    if target.is_symlink():
        target = Path(os.path.realpath(target))  # replace what the link names, not the link
    # Cut, for a name may have 255 bytes, which are some 60 letters of the largest alphabets.
    temporary = target.with_name(f".{target.name[:50]}.{secrets.token_hex(4)}.tmp")
    try:
        with reported(path), open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with reported(path):
            temporary.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


@contextlib.contextmanager
def reported(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the system says against writing `path` into an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{shown(path)} could not be written: {because(error)}. Make room, or name a path on another disk."
        ) from error


def write_text(path: str | os.PathLike[str], text: str, *, force: bool = False) -> None:
    """Write `text` as UTF-8, as `atomic` does."""
    with atomic(path, force=force) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
