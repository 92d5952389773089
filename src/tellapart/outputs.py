"""Results to disk: nothing is overwritten unasked, and nothing half-written ever stands under a final name.

The one place that knows how a file, a folder or a line gets to disk whole: under a hidden name, written, synced,
renamed, its folder synced. Whatever stops a run at whatever moment leaves under the final name what stood there before
or all of the new; what it leaves beside it is told by its name (see `leftovers`) and goes with the next run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tellapart import leftovers
from tellapart.addresses import is_place
from tellapart.errors import OutputError
from tellapart.files import because, shown

MOST_WAIT_S = 5.0  # for another process that writes a line or two
MANY = 64  # files from which on all are synced together
NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}
_swept: set[str] = set()  # folders that this process has looked through for leftovers


def check(path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Whether `path` can be written, before the work that leads to it.

    Raises:
        OutputError: it exists and `force` is not set, its folder does not exist or takes no files.
    """
    _check_here(path)
    with reported(path):
        _check(Path(path), force)


def _check_here(path: str | os.PathLike[str]) -> None:
    if is_place(path):
        raise OutputError(
            f"Results are written to this disk; {shown(path)} is elsewhere. Name a path here, and copy it there then."
        )


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
    _check_here(path)
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
    """A file open for writing under a temporary name beside `path`; it gets its name when all of it is on the disk.

    Of two that write the same path at once, one wins whole; without `force` the other is refused. What stood there
    keeps its permissions. What earlier runs left unfinished in that folder is taken away.

    Raises:
        OutputError: as `check` has it, or the disk refuses. The temporary file is gone then.
    """
    _sweep_once(Path(path).parent)
    check(path, force=force)
    target = Path(path)
    if target.is_symlink():
        target = Path(os.path.realpath(target))  # replace what the link names, not the link
    temporary = target.with_name(leftovers.temporary(target.name))
    try:
        with reported(path), open(temporary, "xb") as file:
            yield file
            file.flush()
            _keep_permissions(target, file.fileno())
            sync(file.fileno())
        with reported(path):
            if force:
                temporary.replace(target)
            elif not claim(temporary, target):  # it appeared since the check
                _check(target, force)
                raise OutputError(f"{shown(path)} was written by another program meanwhile. Name another file.")
            sync_folder(target.parent)
    finally:
        with contextlib.suppress(OSError):  # it has its name; or it goes with the next run
            temporary.unlink()


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new folder under a hidden name beside `path`, which takes the place of `path` when all of it is on the disk.

    What stood at `path`, a folder that the caller may replace, is there until then, and is removed afterwards. What
    earlier runs left unfinished beside it is taken away.

    Raises:
        OutputError: the disk refuses. Nothing is left of the new folder then.
    """
    target = Path(os.path.realpath(path))  # replace what a link names, not the link
    _sweep_once(target.parent)
    building = target.with_name(leftovers.temporary(target.name))
    try:
        with reported(path):
            building.mkdir()
        yield building
        with reported(path):
            sync_tree(building)
            _put(building, target)
            sync_folder(target.parent)
    finally:
        # Afterwards, of what was replaced: the two have changed their names.
        shutil.rmtree(building, ignore_errors=True)


def _put(building: Path, target: Path) -> None:
    """Give a finished folder its name; what stood there gets the other's, in one step where the system has it."""
    if not os.path.lexists(target):
        building.rename(target)
        return
    if _exchanged(building, target):
        return
    aside = target.with_name(leftovers.set_aside(target.name))  # found there, and put back, should we be killed now
    target.rename(aside)
    try:
        building.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two folders change their names in one step; False where the system cannot, and nothing was done."""
    import ctypes

    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            done = library.renamex_np(os.fsencode(one), os.fsencode(other), 2)  # RENAME_SWAP
        else:
            done = library.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2)  # AT_FDCWD, RENAME_EXCHANGE
    except (AttributeError, TypeError, OSError):  # Windows; or a C library without it
        return False
    return done == 0


def claim(temporary: str | os.PathLike[str], final: str | os.PathLike[str]) -> bool:
    """Give a file its name; False where that is taken, and nothing was done. Raises OSError."""
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
    with contextlib.suppress(OSError):  # the file has its name; the other goes with the next run
        os.unlink(temporary)
    return True


def new_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file to the disk where nobody looks for it yet: in a folder that is still hidden. Raises OSError."""
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        sync(file.fileno())


def append(path: str | os.PathLike[str], line: bytes, *, mode: int = 0o666) -> None:
    """Add a line, with its end, to a file that several processes may add to at once: whole, or not at all.

    Raises:
        OSError: the disk refuses. Of the line nothing is left, unless the process was killed meanwhile; the next one
            then begins on a line of its own.
    """
    number = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), mode)
    try:
        with locked(number):
            end = os.lseek(number, 0, os.SEEK_END)
            if end:
                os.lseek(number, end - 1, os.SEEK_SET)
                if os.read(number, 1) != b"\n":  # a line that was cut short; ours must not go down with it
                    line = b"\n" + line
            try:
                written = os.write(number, line)
                if written < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                sync(number)
            except OSError:
                os.ftruncate(number, end)
                raise
    finally:
        os.close(number)


@contextlib.contextmanager
def locked(number: int) -> Iterator[None]:
    """Keep other processes out that want the same lock, of an open file; the system takes it off when a process ends.

    Where the system or the disk has no such lock, none is kept out. Raises OSError where somebody holds it too long.
    """
    end = time.monotonic() + MOST_WAIT_S
    while True:
        try:
            took = _lock(number)
            break
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
    try:
        yield
    finally:
        if took:
            _unlock(number)


def _lock(number: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: a write at the end of a file is one step there too
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a network disk without locks
        return False
    return True


def _unlock(number: int) -> None:
    import fcntl

    fcntl.flock(number, fcntl.LOCK_UN)


def sync(number: int) -> None:
    """Wait until an open file is on the disk. Raises OSError where the disk refuses."""
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in NO_SYNC:  # some network disks know no such call
            raise


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Wait until the names in a folder are on the disk. Raises OSError where the disk refuses."""
    if os.name == "nt":  # Windows has no descriptors of folders
        return
    try:
        number = os.open(folder, os.O_RDONLY)
    except PermissionError:  # it takes files, but shows none
        return
    try:
        sync(number)
    finally:
        os.close(number)


def sync_tree(folder: str | os.PathLike[str]) -> None:
    """Wait until all in a folder is on the disk. Raises OSError where the disk refuses."""
    inside = [os.path.join(above, name) for above, _, names in os.walk(folder) for name in names]
    if len(inside) > MANY and sync_disk(folder):
        return
    # Windows syncs what is open for writing only.
    access = os.O_RDWR | os.O_BINARY if os.name == "nt" else os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
    for path in inside:
        number = os.open(path, access)
        try:
            sync(number)
        finally:
            os.close(number)
    for above, _, _ in os.walk(folder):
        sync_folder(above)


def sync_disk(folder: str | os.PathLike[str]) -> bool:
    """Wait until all that was written to the disk of a folder is on it: of many files this takes less.

    Returns False where the system has no such call, and nothing was done. Raises OSError where the disk refuses.
    """
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, TypeError, OSError):  # no Linux
        return False
    number = os.open(folder, os.O_RDONLY)
    try:
        if call(number):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(number)
    return True


def _keep_permissions(target: Path, number: int) -> None:
    if hasattr(os, "fchmod"):
        with contextlib.suppress(OSError):  # it is new, or on a disk without permissions
            os.fchmod(number, stat.S_IMODE(target.stat().st_mode))


def _sweep_once(folder: Path) -> None:
    """Take away what others left in a folder; a process looks once, since a folder may hold very many files."""
    place = os.path.realpath(folder)
    if place not in _swept:
        _swept.add(place)
        leftovers.sweep(place)


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
