"""Names and folders on disk: a printable form of any name, and every picture below a folder.

Folders are never trusted: a name may hold a newline or bytes that are no text, a link may lead
back to where it came from, and what is called ``x.jpg`` may be a named pipe.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tellapart.pictures import PICTURE_EXTENSIONS, sniff

SPLIT_NAMES = {
    name: split
    for split, names in {
        "train": ("train", "training", "training_set", "train_set", "trainset"),
        "validation": ("val", "valid", "validation", "dev", "validation_set", "val_set"),
        "test": ("test", "testing", "test_set", "testset"),
    }.items()
    for name in names
}
SYSTEM_NAMES = frozenset(
    {
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
        "__macosx",
        "@eadir",
        "$recycle.bin",
        "system volume information",
    }
)
HEAD_BYTES = 64  # enough for `sniff`
LOOP = "a symbolic link to a folder above itself (a loop)"
SEEN = "a symbolic link to a folder that another link has led to already"


@dataclass(frozen=True, slots=True)
class Found:
    """One file that counts as a picture, or a file or folder that would and cannot be read."""

    path: str  # the walked folder's path as given, joined with the way down; opens as it stands
    reason: str | None = None  # why it cannot be read; None where nothing is known against it
    folder: bool = False  # True for a folder, which then always has a reason


@dataclass(frozen=True, slots=True)
class Child:
    """One name in a folder."""

    name: str  # as the file system has it, surrogate escapes included
    path: str
    folder: bool  # a folder, or a link to one
    link: bool
    reason: str | None  # why it can be neither entered nor opened; None where it can

    @property
    def hidden(self) -> bool:
        """Whether the name is hidden or the system's own."""
        return is_hidden(self.name)


def shown(path_or_name: str | os.PathLike[str]) -> str:
    r"""Return any path or name in a printable form of one line.

    Control characters, line ends, marks that turn the direction of writing, and bytes that are no
    text are escaped as in a Python string (``\n``, ``\x1b``, ``\udcff``); all else stays.
    """
    text = os.fspath(path_or_name)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is passed over: hidden, or the system's own."""
    return name.startswith(".") or name.casefold() in SYSTEM_NAMES


def split_name(name: str) -> str | None:
    """Return "train", "validation" or "test" for one of a split's usual names in any case, else None."""
    return SPLIT_NAMES.get(name.strip().casefold().replace("-", "_").replace(" ", "_"))


def because(error: OSError) -> str:
    """Return the system's reason as a short clause without the path ("permission denied")."""
    text = error.strerror or type(error).__name__
    return text[:1].lower() + text[1:]


def children(folder: str) -> list[Child]:
    """Return what a folder holds, hidden names included, sorted by name. Raises OSError."""
    with os.scandir(folder) as entries:
        return sorted((_child(entry) for entry in entries), key=lambda child: child.name)


def candidate(child: Child, *, by_bytes: bool = True) -> Found | None:
    """Return a file as Found where its extension or (`by_bytes`) its first bytes are a picture's."""
    if os.path.splitext(child.name)[1].lower() in PICTURE_EXTENSIONS:
        return Found(child.path, child.reason)
    if by_bytes and child.reason is None and sniff(_head(child.path)) is not None:
        return Found(child.path)
    return None


def walk(
    folder: str | os.PathLike[str],
    *,
    within: str | None = None,
    passed_over: Callable[[str], None] | None = None,
    by_bytes: bool = True,
) -> Iterator[Found]:
    """Yield every picture below a folder to the bottom, sorted by name at each level.

    A file counts where its extension or (`by_bytes`) its first bytes are a picture's. Hidden and
    system names are passed over without a word; any other file is told to `passed_over`. Links are
    followed; a link to a folder above itself, or to one that another link of this walk has led to,
    and a folder that cannot be read come as Found with a reason. `within` names a folder above
    `folder` that a link may not lead back to either, where `folder` itself is a link.
    """
    start = os.fspath(folder)
    linked: set[tuple[int, int] | str] = set()
    stack = [(Child(os.path.basename(start), start, True, False, None), _above(start, within))]
    while stack:
        child, above = stack.pop()
        if not child.folder:
            found = candidate(child, by_bytes=by_bytes)
            if found is not None:
                yield found
            elif passed_over is not None:
                passed_over(child.path)
            continue
        try:
            here = _identity(child.path)
            if here in above or (child.link and here in linked):
                yield Found(child.path, LOOP if here in above else SEEN, folder=True)
                continue
            below = children(child.path)
        except OSError as error:
            yield Found(child.path, f"the folder cannot be read: {because(error)}", folder=True)
            continue
        if child.link:
            linked.add(here)
        stack.extend((each, above | {here}) for each in reversed(below) if not each.hidden)


def _child(entry: os.DirEntry[str]) -> Child:
    folder, link, reason = False, False, None
    try:
        link = entry.is_symlink()
        folder = entry.is_dir()
        if not folder and not entry.is_file():
            reason = _odd(os.stat(entry.path).st_mode)
    except FileNotFoundError:
        reason = "a symbolic link to nothing" if link else "it disappeared during the run"
    except OSError as error:
        reason = "symbolic links that go in a circle" if error.errno == errno.ELOOP else because(error)
    return Child(entry.name, entry.path, folder, link, reason)


def _odd(mode: int) -> str | None:
    """Return what stands in a file's place, None for a regular file."""
    for test, name in (
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if test(mode):
            return f"not a regular file ({name})"
    return None if stat.S_ISREG(mode) else "not a regular file"


def _head(path: str) -> bytes:
    """Return the first bytes of a regular file; none of anything that cannot be opened."""
    try:
        # Without blocking: between the listing and this line a pipe may have taken the file's place.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        return b""  # without a picture's extension nothing says that it is one
    try:
        return os.read(handle, HEAD_BYTES) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(handle)


def _identity(path: str) -> tuple[int, int] | str:
    """Return what two paths to one folder have in common."""
    found = os.stat(path)
    # Some network drives number no files.
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)


def _above(start: str, within: str | None) -> frozenset[tuple[int, int] | str]:
    """Return the folders above `start`, both by its real place and by the way that leads to it."""
    places = set(_parents(os.path.realpath(start)))
    if within is not None:
        places |= {within, *_parents(os.path.realpath(within))}
        way = os.path.dirname(start)
        while len(way) > len(within):
            places.add(way)
            way = os.path.dirname(way)
    known: set[tuple[int, int] | str] = set()
    for place in places:
        try:
            known.add(_identity(place))
        except OSError:
            continue  # a folder that cannot be looked at cannot be reached by a link either
    return frozenset(known)


def _parents(path: str) -> Iterator[str]:
    parent = os.path.dirname(path)
    while parent != path:
        yield parent
        path, parent = parent, os.path.dirname(parent)
