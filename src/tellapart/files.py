"""Names and folders on disk: a printable form of any name, and every picture below a folder.

Folders are never trusted: a name may hold a newline or bytes that are no text, a link may lead
back to where it came from, and what is called ``x.jpg`` may be a named pipe.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tellapart import addresses
from tellapart.addresses import is_place
from tellapart.errors import InputError
from tellapart.kinds import PICTURE_EXTENSIONS, sniff

if TYPE_CHECKING:
    from tellapart.places import Member

SPLITS = ("train", "validation", "test")
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


@dataclass(frozen=True, slots=True)
class Skipped:
    """One file or row that is not used."""

    path: str  # of a row that names no file: the path as the table has it
    reason: str  # a short clause, without the path
    label: str | None = None  # the class that counts it as one of its pictures; None where none does
    split: str | None = None  # likewise


@dataclass(slots=True)
class Plan:
    """What a layout gives to read, before any file is opened."""

    layout: str  # "classes", "splits", "table" or "shards"
    # path, label, split, group
    pictures: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    n_other: int = 0  # files that are no pictures by name and by first bytes

    def pass_over(self, _path: str) -> None:
        """Count a file that is no picture."""
        self.n_other += 1


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
    if is_place(folder):
        from tellapart import places

        return [_of_member(each) for each in places.children(folder)]
    with os.scandir(folder) as entries:
        return sorted((_child(entry) for entry in entries), key=lambda child: child.name)


def candidate(child: Child, *, by_bytes: bool = True) -> Found | None:
    """Return a file as Found where its extension or (`by_bytes`) its first bytes are a picture's."""
    if _is_named_so(child):
        return Found(child.path, child.reason)
    if not by_bytes or child.reason is not None:
        return None
    if is_place(child.path):
        return next(_by_first_bytes([child]))[1]
    return Found(child.path) if sniff(_head(child.path)) is not None else None


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether a path leads to a folder, on this disk or elsewhere. Raises InputError where nobody can say."""
    return os.path.isdir(path) if not is_place(path) else kind_of_place(os.fspath(path)) == "folder"


def kind_of_place(path: str) -> str | None:
    """Return "folder" or "file", None where there is nothing; of a place. Raises InputError where nobody can say."""
    from tellapart import places

    try:
        return places.kind(path)
    except OSError as error:
        raise InputError(
            f"{shown(path)} cannot be looked at: {because(error)}. Check its name, or try later."
        ) from error


def walk(
    folder: str | os.PathLike[str],
    *,
    within: str | None = None,
    passed_over: Callable[[str], None] | None = None,
    by_bytes: bool = True,
    leave_out: str | os.PathLike[str] | None = None,
) -> Iterator[Found]:
    """Yield every picture below a folder to the bottom, sorted by name at each level.

    A file counts where its extension or (`by_bytes`) its first bytes are a picture's. Hidden and
    system names are passed over without a word; any other file is told to `passed_over`. Links are
    followed; a link to a folder above itself, or to one that another link of this walk has led to,
    and a folder that cannot be read come as Found with a reason. `within` names a folder above
    `folder` that a link may not lead back to either, where `folder` itself is a link. `leave_out` names a
    folder that is passed over without a word, as is a link to it or to a folder in it.
    """
    start = os.fspath(folder)
    if is_place(start):
        yield from _walk_place(start, passed_over, by_bytes)
        return
    left_out = None if leave_out is None else _identity(os.fspath(leave_out))
    linked: set[tuple[int, int] | str] = set()
    root = Child(os.path.basename(start), start, True, False, None)
    stack: list[tuple[Iterator[Child], frozenset[tuple[int, int] | str]]] = [(iter([root]), _above(start, within))]
    while stack:
        siblings, above = stack[-1]
        child = next(siblings, None)
        if child is None:
            stack.pop()
            continue
        if not child.folder:
            found = candidate(child, by_bytes=by_bytes)
            if found is not None:
                yield found
            elif passed_over is not None:
                passed_over(child.path)
            continue
        try:
            here = _identity(child.path)
            if here == left_out or (child.link and leave_out is not None and _leads_into(child.path, leave_out)):
                continue
            if here in above or (child.link and here in linked):
                yield Found(child.path, LOOP if here in above else SEEN, folder=True)
                continue
            below = _visible(child.path)
        except OSError as error:
            yield Found(child.path, f"the folder cannot be read: {because(error)}", folder=True)
            continue
        if child.link:
            linked.add(here)
        stack.append((below, above | {here}))


def _of_member(member: Member) -> Child:
    return Child(member.name, member.path, member.folder, False, member.reason)


def problem_of_place(path: str) -> str | None:
    """Return why an archive may hold more than can be listed; None where it is whole, and for what is no archive."""
    from tellapart import places

    return places.problem(path)


def _walk_place(folder: str, passed_over: Callable[[str], None] | None, by_bytes: bool) -> Iterator[Found]:
    """`walk` where there are no links, and a look at a file is a request."""
    from tellapart import places

    def each(inside: list[Child]) -> Iterator[tuple[Child, Found | None]]:
        plain = [child for child in inside if not child.folder and _is_named_so(child)]
        unsure = [child for child in inside if not (child.folder or child.reason or _is_named_so(child)) and by_bytes]
        looked = _by_first_bytes(unsure)
        folders = deque(child.path for child in inside if child.folder)
        named, asked = {id(child) for child in plain}, {id(child) for child in unsure}
        for child in inside:
            if child.folder:
                folders.popleft()
                places.soon(itertools.islice(folders, 2), 0)  # archives: the next come meanwhile
                yield child, None
            elif id(child) in named:
                yield child, Found(child.path, child.reason)
            else:
                yield next(looked) if id(child) in asked else (child, None)

    def below(path: str) -> Iterator[tuple[Child, Found | None]]:
        if (problem := problem_of_place(path)) is not None:
            yield Child(path, path, False, False, problem), Found(path, problem)
        for page in places.pages(path):
            yield from each([child for child in map(_of_member, page) if not child.hidden])

    stack: list[tuple[str, Iterator[tuple[Child, Found | None]]]] = [(folder, below(folder))]
    while stack:
        path, siblings = stack[-1]
        try:
            child, found = next(siblings)
        except StopIteration:
            stack.pop()
            continue
        except OSError as error:
            stack.pop()
            yield Found(path, f"the folder cannot be read: {because(error)}", folder=True)
            continue
        if child.folder:
            stack.append((child.path, below(child.path)))
        elif found is not None:
            yield found
        elif passed_over is not None:
            passed_over(child.path)


def _is_named_so(child: Child) -> bool:
    return addresses.ending(child.name) in PICTURE_EXTENSIONS


def _by_first_bytes(inside: Iterable[Child]) -> Iterator[tuple[Child, Found | None]]:
    """Each file of a place as Found where its first bytes are a picture's, or cannot be had."""
    from tellapart import places

    asked, paths = itertools.tee(inside)
    for child, head in zip(asked, places.heads((child.path for child in paths), HEAD_BYTES), strict=True):
        if isinstance(head, OSError):
            yield child, Found(child.path, f"cannot be read: {because(head)}")
        else:
            yield child, Found(child.path) if sniff(head) is not None else None


def _leads_into(path: str, folder: str | os.PathLike[str]) -> bool:
    return os.path.join(os.path.realpath(path), "").startswith(os.path.join(os.path.realpath(folder), ""))


def _visible(folder: str) -> Iterator[Child]:
    """`children` but for the hidden, one by one: of a million files only the names are held. Raises OSError."""
    marked: list[str] = []  # name, NUL and "d" for a folder: NUL is in no name, and it sorts before all that may follow
    others: dict[str, Child] = {}  # links, and what can be neither entered nor opened
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            child = _child(entry)
            marked.append(f"{child.name}\0{'d' if child.folder else ''}")
            if child.link or child.reason is not None:
                others[child.name] = child
    marked.sort(reverse=True)

    def each() -> Iterator[Child]:
        while marked:
            name, _, mark = marked.pop().partition("\0")
            yield others.pop(name, None) or Child(name, os.path.join(folder, name), bool(mark), False, None)

    return each()


def split_folders(root: str, folders: list[Child]) -> tuple[list[Child], list[str]]:
    """Return the split folders that are to be read as such, none for class folders, and notes on why."""
    named = [folder for folder in folders if split_name(folder.name)]
    if not named:
        return [], []
    splits = [folder for folder in named if _holds_classes(folder)]
    others = [folder for folder in folders if not split_name(folder.name)]
    if not splits:
        if len(named) > 1 and not any(holds_pictures(other.path, within=root) for other in others):
            raise InputError(
                f"The split folders of {shown(root)} ({listed(named)}) hold no class folders with pictures. "
                f"Put the pictures of each class into a folder of its own, as "
                f"{shown(os.path.join(named[0].path, 'cats'))}, or give a CSV with --labels."
            )
        return [], [f"{listed(named)}: a split's name, but no class folders inside: read as a class"]
    blocking = [folder for folder in others if _holds_classes(folder)]
    if blocking:
        return [], [
            f"{listed(named)} read as class, not as split, because {listed(blocking)} beside it holds "
            "folders of pictures as well; if it is a split, move the other folders away"
        ]
    direct = [folder for folder in others if _holds_directly(folder)]
    if len(splits) == 1 and len(direct) >= 2:
        return [], [
            f"{listed(splits)} read as class, not as split, because it stands beside folders of pictures "
            f"({listed(direct)}); if it is a split, move the other folders away"
        ]
    notes = [f"split folders read: {', '.join(f'{shown(s.name)} as {split_name(s.name)}' for s in splits)}"]
    for split in SPLITS:
        same = [folder for folder in splits if split_name(folder.name) == split]
        if len(same) > 1:
            notes.append(f"{listed(same)} are both read as the {split} split")
    alone = [folder for folder in folders if folder not in splits]
    if alone:
        notes.append(f"left alone beside the split folders, for want of class folders inside: {listed(alone)}")
    return splits, notes


def _holds_classes(folder: Child) -> bool:
    below = (child for child in listing(folder.path) if child.folder and not child.hidden)
    return any(holds_pictures(child.path, within=folder.path) for child in below)


def _holds_directly(folder: Child) -> bool:
    inside = listing(folder.path)
    return any(not c.folder and not c.hidden and candidate(c) is not None for c in inside)


def holds_pictures(folder: str, *, within: str, by_bytes: bool = True) -> bool:
    return any(not found.folder for found in walk(folder, within=within, by_bytes=by_bytes))


def listing(folder: str) -> list[Child]:
    """Return `children`, of a folder that cannot be done without: InputError where it cannot be read."""
    try:
        return children(folder)
    except OSError as error:
        raise InputError(
            f"The folder {shown(folder)} cannot be read: {because(error)}. Check its permissions and links."
        ) from error


def counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def listed(folders: Iterable[Child]) -> str:
    return quoted([folder.name for folder in folders])


def quoted(names: list[str], most: int = 8) -> str:
    text = ", ".join(f"'{shown(name)}'" for name in names[:most])
    return text + (f" and {len(names) - most} more" if len(names) > most else "")


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
