"""What lies in a place that is no folder of this disk: on a server, in an archive, in an archive on a server.

A file on a server is fetched once, whole, into the `spool`, and read from there ever after; so is an archive. What will
be needed `soon` is fetched meanwhile, many at a time. What fails is an OSError whose `strerror` is a short clause.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

from tellapart import addresses, archives, parquetrows, remote, spool
from tellapart.addresses import is_place
from tellapart.archives import Piece, Tree
from tellapart.errors import InputError

MOST_ARCHIVE_BYTES = 2**40
MOST_KNOWN = 300_000  # files whose size and version are remembered from the list they stood in
PAGE = 1000  # members of an archive that are made at once
MOST_AHEAD = 2048  # files that are fetched before they are asked for
MOST_OPEN_MEMBERS = 3_000_000  # of archives whose names are held at once


@dataclass(frozen=True, slots=True)
class Member:
    """One name in a folder of such a place."""

    name: str
    path: str  # opens as it stands
    folder: bool
    reason: str | None = None  # why it cannot be read; None where nothing is known against it


_run = secrets.token_hex(8)  # stands for the version of what has none: it is fetched anew in each run
_lock = threading.Lock()
_known: OrderedDict[str, tuple[int | None, str]] = OrderedDict()  # path on a server -> bytes, version
_coming: OrderedDict[str, Future[str]] = OrderedDict()
_trees: OrderedDict[tuple[str, str, int, int], tuple[str, Tree, parquetrows.Labels | None]] = OrderedDict()


def check(path: str) -> None:
    """Raise InputError where places of this kind are not known."""
    if not addresses.is_known(path):
        schemes = ", ".join(f"{each}://" for each in (*addresses.REMOTE, *addresses.ARCHIVES))
        raise InputError(f"A place must be one of {schemes}; got {addresses.scheme(path)}://. Copy it here first.")


def kind(path: str) -> str | None:
    """ "folder" or "file"; None where there is nothing. Raises OSError where that cannot be found out."""
    check(path)
    within = addresses.inside(path)
    try:
        if within is None:
            return _remote_kind(path)
        if within.archive is None:
            return _outer_kind(within.member)
        if _outer_kind(within.archive) is None:
            return None
        _, tree, _ = _opened(within.kind, within.archive)
    except FileNotFoundError:
        return None
    if tree.at(within.member) is not None:
        return "file"
    return "folder" if tree.has_folder(within.member) else None


def children(folder: str) -> list[Member]:
    """What a folder holds, sorted by name. Raises OSError."""
    found = [member for page in pages(folder) for member in page]
    return sorted(found, key=lambda member: (member.name, member.folder))


def pages(folder: str) -> Iterator[list[Member]]:
    """What a folder holds, some at a time, in the same order in each run: no more of it is held. Raises OSError."""
    check(folder)
    within = addresses.inside(folder)
    if within is None:
        yield from _remote_pages(folder)
    elif within.archive is None:
        yield [
            Member(each.name, addresses.joined(folder, each.name), True, each.reason)
            for each in _outer_children(within.member)
            if each.folder or addresses.ends_as(each.name, within.kind)
        ]
    else:
        _, tree, _ = _opened(within.kind, within.archive)
        begin = f"{within.member}/" if within.member else ""
        members = (
            Member(name, addresses.joined(folder, name), below, None if below else tree.reasons.get(begin + name))
            for name, below in tree.children(within.member)
        )
        while page := list(itertools.islice(members, PAGE)):
            yield page


def problem(path: str) -> str | None:
    """Why an archive may hold more than its `children`; None where it is whole, and for what is no archive."""
    within = addresses.inside(path)
    if within is None or within.archive is None or within.member:
        return None
    return _opened(within.kind, within.archive)[1].problem


def label(path: str) -> str | None:
    """The label that a row of a Parquet file has; None for all else. Raises OSError."""
    within = addresses.inside(path)
    if within is None or within.archive is None or within.kind != "parquet":
        return None
    _, tree, labels = _opened(within.kind, within.archive)
    at = tree.at(within.member)
    return None if labels is None or at is None else labels.of(at)


def piece(path: str, most_bytes: int) -> Piece:
    """Where on this disk a file's bytes stand, fetched if need be. Raises OSError; EFBIG where they are too many."""
    within = addresses.inside(path)
    if within is None:
        file = _local(path, most_bytes)
        return Piece(file, 0, os.stat(file).st_size)
    if within.archive is None:
        raise IsADirectoryError(errno.EISDIR, "a folder")
    file, tree, _ = _opened(within.kind, within.archive)
    return archives.piece(within.kind, file, tree, within.member, most_bytes)


def read(path: str, most_bytes: int) -> bytes:
    """The bytes of a file. Raises OSError; EFBIG where they are more than `most_bytes`."""
    return archives.read(piece(path, most_bytes))


def file(path: str, most_bytes: int) -> str:
    """A file of this disk with the bytes of a file and nothing else. Raises OSError as `piece` does."""
    found = piece(path, most_bytes)
    if addresses.inside(path) is None:
        return found.file
    return spool.current().kept(f"{path}\n{found}", lambda target: _write(target, archives.read(found)))


def _write(target: BinaryIO, data: bytes) -> None:
    target.write(data)


def heads(paths: Iterable[str], n_bytes: int) -> Iterator[bytes | OSError]:
    """`head` of each file in their order, or why it cannot be read; many at a time."""
    waiting: deque[Future[bytes | OSError]] = deque()
    for path in paths:
        waiting.append(_pool().submit(_head, path, n_bytes))
        if len(waiting) > 2 * remote.CONNECTIONS:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _head(path: str, n_bytes: int) -> bytes | OSError:
    try:
        return head(path, n_bytes)
    except OSError as error:
        return error


def head(path: str, n_bytes: int) -> bytes:
    """The first bytes of a file. Raises OSError."""
    if addresses.inside(path) is None:
        return remote.head(path, n_bytes)
    found = piece(path, 2**62)
    if found.unpacked is not None:
        found = piece(path, archives.BLOCK)  # all of it must be unpacked for its first bytes
        return archives.read(found)[:n_bytes]
    return archives.read(Piece(found.file, found.start, min(n_bytes, found.size)))


def soon(paths: Iterable[str], most_bytes: int) -> None:
    """Begin to fetch files, or archives, that will be read; those of this disk need nothing."""
    for path in paths:
        if not is_place(path):
            continue
        if (within := addresses.inside(path)) is not None:
            if within.member or within.archive is None or not is_place(within.archive):
                continue
            path, most_bytes = within.archive, MOST_ARCHIVE_BYTES
        with _lock:
            if path in _coming or len(_coming) >= MOST_AHEAD:
                continue
            _coming[path] = _pool().submit(_fetched, path, most_bytes)


def stop() -> None:
    """Take back what was to be fetched, and end what is being fetched."""
    with _lock:
        going = list(_coming.values())
        _coming.clear()
    for future in going:
        future.cancel()
    remote.stop()


# On servers


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(remote.CONNECTIONS, thread_name_prefix="tellapart-fetch")


def _remote_kind(path: str) -> str | None:
    if addresses.scheme(path) in ("http", "https"):
        if not addresses.ends_as_picture(path):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                remote.listing(path)
                return "folder"
        found = remote.looked_at(path)
    else:
        found = remote.looked_at(path)
        if found.folder:
            return "folder"
    _remember(path, found)
    return "file"


def _remote_pages(folder: str) -> Iterator[list[Member]]:
    for page in remote.pages(folder):
        members = []
        for item in page:
            path = addresses.joined(folder, item.part or item.name)
            if not item.folder:
                _remember(path, item)
            members.append(Member(item.name, path, item.folder))
        yield members if addresses.scheme(folder) == "s3" else sorted(members, key=lambda each: each.name)


def _remember(path: str, item: remote.Item) -> None:
    if item.size is None and not item.version:
        return
    with _lock:
        _known[path] = (item.size, item.version)
        if len(_known) > MOST_KNOWN:
            _known.popitem(last=False)


def _local(path: str, most_bytes: int) -> str:
    """The file of this disk that has a file's bytes, fetched by one thread at a time."""
    with _lock:
        future = _coming.get(path)
        mine = future is None or future.cancelled()
        if mine:
            future = _coming[path] = Future()
    assert future is not None
    if mine:
        try:
            future.set_result(_fetched(path, most_bytes))
        except BaseException as error:  # those who wait for it are told as well
            future.set_exception(error)
    try:
        return future.result()
    finally:
        with _lock:
            if _coming.get(path) is future:
                del _coming[path]


def _fetched(path: str, most_bytes: int) -> str:
    with _lock:
        known = _known.get(path)
    if known is None:
        found = remote.looked_at(path)
        if found.folder:
            raise IsADirectoryError(errno.EISDIR, "a folder")
        _remember(path, found)
        known = found.size, found.version
    size, version = known
    if size is not None and size > most_bytes:
        raise OSError(errno.EFBIG, f"{size / 2**20:.0f} MB, over the limit of {most_bytes // 2**20} MB")
    key = f"{path}\n{size}\n{version or _run}"
    return spool.current().kept(key, lambda file: remote.fetch(path, file, size, most_bytes))


# Archives


def _outer_kind(path: str) -> str | None:
    if is_place(path):
        return _remote_kind(path)
    return "folder" if os.path.isdir(path) else "file" if os.path.lexists(path) else None


def _outer_children(folder: str) -> list[Member]:
    if is_place(folder):
        return children(folder)
    with os.scandir(folder) as entries:
        found = [Member(entry.name, entry.path, entry.is_dir()) for entry in entries]
    return sorted(found, key=lambda each: each.name)


def _opened(kind: str, archive: str) -> tuple[str, Tree, parquetrows.Labels | None]:
    """The file of this disk that has an archive's bytes, its tree, and the labels of a Parquet file's rows."""
    file = _local(archive, MOST_ARCHIVE_BYTES) if is_place(archive) else archive
    status = os.stat(file)
    key = (kind, file, status.st_size, status.st_mtime_ns)
    with _lock:
        if key in _trees and os.path.exists(_trees[key][0]):
            _trees.move_to_end(key)
            return _trees[key]
    with _opening:  # one at a time: each may take a while and memory
        with _lock:
            if key in _trees and os.path.exists(_trees[key][0]):
                return _trees[key]
        opened = _open(kind, file, key)
        with _lock:
            _trees[key] = opened
            while len(_trees) > 1 and sum(len(each[1].keys) for each in _trees.values()) > MOST_OPEN_MEMBERS:
                _trees.popitem(last=False)
    return opened


_opening = threading.Lock()


def _open(kind: str, file: str, key: tuple[str, str, int, int]) -> tuple[str, Tree, parquetrows.Labels | None]:
    if kind == "parquet":
        most_bytes = spool.current().limit_bytes // 2
        unpacked = spool.current().kept(repr(key), lambda target: parquetrows.unpack(file, target, most_bytes))
        tree, labels = parquetrows.tree(unpacked)
        return unpacked, tree, labels
    with open(file, "rb") as opened:
        return file, archives.of_tar(opened) if kind == "tar" else archives.of_zip(opened), None
