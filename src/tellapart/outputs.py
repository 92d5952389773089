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
    with _reported(path):
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
        with _reported(path), open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with _reported(path):
            temporary.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


@contextlib.contextmanager
def _reported(path: str | os.PathLike[str]) -> Iterator[None]:
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
