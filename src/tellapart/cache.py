"""The cache folder: what lies in it, what of it can be used, and how it is kept within its limit.

On disk, below the cache folder::

    checkpoints/                           trainings that were stopped, see `attempts`
    graphs/
        <key>-<SHA-256>.onnx               a backbone's graph, and what its bytes must hash to
    spool/                                 what was fetched from servers, see `spool`
    pictures/
        80px-squash-<recipe>-<contents>/   one store, never changed once it has its name
            values.bin                     (N, …), C order, no header: pixels, uint8 (N, S, S, 3), or features
            index.json                     version, shape, dtype, content hashes in row order, failures; its
                                           modification time says when the store was last used
        .building-<owner>-<pid>-<random>/  being written: renamed when complete and synced; see `drafts`
        .removed-<owner>-<pid>-<random>/   being removed

Several processes may work in it at once: a store appears and goes in one step, and each of them takes it as
it comes when another was quicker. What does not bear one of these names is not ours and is left alone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tellapart import attempts, leftovers, spool
from tellapart.cacheplace import cache_folder as cache_folder
from tellapart.errors import OutputError, SettingsError
from tellapart.files import because, shown

STORE_VERSION = 2  # to be raised when the files below change their meaning
USEFUL_S = 7 * 24 * 3600.0  # for which the rows of a killed run are kept
DEFAULT_LIMIT_BYTES = 20 * 10**9
VALUES_NAME, INDEX_NAME = "values.bin", "index.json"
NEW_INDEX_NAME = "index.json.new"  # of a draft, before it takes the place of the index (see `drafts`)

_STORE_NAME = re.compile(r"(?P<size>\d{1,6})px-(?P<what>[a-z0-9_]+)-[0-9a-f]{12}-[0-9a-f]{16}")
_LEFTOVER_NAME = re.compile(rf"\.(building|removed)-{leftovers.MARK}")
_GRAPH_NAME = re.compile(r"(?P<key>[0-9a-f]{32})-(?P<sha256>[0-9a-f]{64})\.onnx")


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """One line of `listing`."""

    name: str  # the folder's name below pictures/
    size_bytes: int
    n_pictures: int  # 0 where `usable` is false
    size_px: int  # side of the pictures; 0 for what an unfinished run left
    last_used: float  # seconds since the epoch
    usable: bool  # false: damaged, of another version, or unfinished


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """One store on disk whose files agree with each other."""

    path: Path
    values: np.ndarray  # (N, …), a read-only memory map
    rows: dict[str, int]  # content hash -> row
    failures: dict[str, str]  # content hash -> why it has no row

    def covers(self, contents: Iterable[str]) -> bool:
        """Whether it has an answer for each of the contents."""
        return all(content in self.rows or content in self.failures for content in contents)


def pictures_folder(cache: Path) -> Path:
    """Where the stores are; with graphs/ the only part of the cache folder that is ours."""
    return cache / "pictures"


def graph_path(cache: Path, key: str, graph: bytes) -> Path:
    """Where the graph of a key, 32 hex digits, belongs."""
    return cache / "graphs" / f"{key}-{hashlib.sha256(graph).hexdigest()}.onnx"


def recall_graph(cache: Path, key: str) -> bytes | None:
    """The graph of a key; None where there is none whose bytes are those that were written."""
    for path in _graphs(cache):
        match = _GRAPH_NAME.fullmatch(path.name)
        if match and match["key"] == key:
            with contextlib.suppress(OSError):
                graph = path.read_bytes()
                if hashlib.sha256(graph).hexdigest() == match["sha256"]:
                    return graph
    return None


def _graphs(cache: Path) -> list[Path]:
    try:
        found = sorted((cache / "graphs").iterdir())
    except OSError:
        return []
    return [path for path in found if _GRAPH_NAME.fullmatch(path.name) and path.is_file()]


def listing(cache: Path) -> list[StoreInfo]:
    """Everything of ours in the cache, the last used first. Raises `OutputError` where it may not be read."""
    infos = []
    for path in entries(pictures_folder(cache)):
        match = _STORE_NAME.fullmatch(path.name)
        opened = open_store(path) if match else None
        size_bytes, last_used = size_and_time(path)
        infos.append(
            StoreInfo(
                name=path.name,
                size_bytes=size_bytes,
                n_pictures=len(opened.rows) if opened else 0,
                size_px=int(match["size"]) if match else 0,
                last_used=last_used,
                usable=opened is not None,
            )
        )
    return sorted(infos, key=lambda info: (-info.last_used, info.name))


def clear(cache: Path) -> int:
    """Remove all stores, graphs, checkpoints and leftovers; returns the bytes freed.

    Only files that this package wrote go, and the folders pictures/, graphs/ and checkpoints/ once they are empty;
    never the cache folder itself. What another running process is building stays, and so do the checkpoints of a
    training under way.
    Raises `OutputError` where the disk refuses.
    """
    folder = pictures_folder(cache)
    freed = attempts.clear(cache) + spool.clear(cache)
    for path in entries(folder):
        if _STORE_NAME.fullmatch(path.name) or is_stale(path):
            try:
                freed += _remove(path)
            except OSError as error:
                raise OutputError(
                    f"It must be possible to remove {shown(path)}; {because(error)}. Close the programs that "
                    f"use it and check its permissions."
                ) from error
    for path in _graphs(cache):
        with contextlib.suppress(OSError):  # gone meanwhile, or not ours to remove
            size = path.stat().st_size
            path.unlink()
            freed += size
    for ours in (folder, cache / "graphs"):
        with contextlib.suppress(OSError):  # not empty, or never there: it stays as it is
            ours.rmdir()
    return freed


def sweep(folder: Path) -> None:
    """Remove what crashed runs left behind: older than a day, or of a process that is gone.

    What holds rows that the next run of its kind can take over (see `drafts`) stays for a week.
    """
    for path in entries(folder):
        useful = (path / INDEX_NAME).exists() and time.time() - size_and_time(path)[1] < USEFUL_S
        if is_stale(path) and not useful:
            remove_if_possible(path)


def evict(folder: Path, *, keep: Path, limit_bytes: int) -> None:
    """Remove the stores not used for longest, but never `keep`, until the cache is within its limit.

    Checkpoints count too, and stay: they are work that is to be gone on with, the rest can be made again.
    """
    stores = [(*size_and_time(path), path) for path in entries(folder) if _STORE_NAME.fullmatch(path.name)]
    total = sum(size for size, _, _ in stores) + attempts.size_bytes(folder.parent)
    for size, _, path in sorted(stores, key=lambda store: store[1]):
        if total <= limit_bytes:
            return
        if path != keep:
            remove_if_possible(path)
            total -= size


def limit_from_environment() -> int:
    """$TELLAPART_CACHE_LIMIT_GB in bytes, or the default of 20 GB. Raises `SettingsError`."""
    text = os.environ.get("TELLAPART_CACHE_LIMIT_GB", "").strip()
    if not text:
        return DEFAULT_LIMIT_BYTES
    try:
        limit = float(text) * 1e9
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise SettingsError(
            f"TELLAPART_CACHE_LIMIT_GB must be a number of gigabytes >= 0; got {text!r}. Set it to 20, or unset it."
        )
    return int(limit)


def entries(folder: Path) -> list[Path]:
    """The folders in pictures/ that bear our names; links and everything else are passed over."""
    try:
        found = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise cannot_write(folder, error) from error
    ours = (p for p in found if _STORE_NAME.fullmatch(p.name) or _LEFTOVER_NAME.fullmatch(p.name))
    return [path for path in ours if path.is_dir() and not path.is_symlink()]


def open_store(path: Path) -> Opened | None:
    """The store in a folder, or None where it is gone, damaged, or of another version."""
    try:
        index = json.loads((path / INDEX_NAME).read_bytes())
        shape, dtype = tuple(index["shape"]), np.dtype(index["dtype"])
        n, n_bytes, contents = shape[0], index["bytes"], index["contents"]
        if (
            index["version"] != STORE_VERSION
            or (path / VALUES_NAME).stat().st_size != n_bytes
            or n_bytes != math.prod(shape) * dtype.itemsize
            or len(contents) != n
        ):
            return None
        if n:
            values = np.memmap(path / VALUES_NAME, dtype, "r", shape=shape)
        else:  # an empty file cannot be mapped
            values = np.empty(shape, dtype)
            values.flags.writeable = False
        rows = {content: row for row, content in enumerate(contents)}
        return Opened(path, values, rows, dict(index["failures"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def open_or_remove(path: Path) -> Opened | None:
    """`open_store`; what cannot be used makes room for a new one."""
    opened = open_store(path)
    if opened is None:
        remove_if_possible(path)
    return opened


def touch(path: Path) -> None:
    """Mark a store as used now."""
    # A cache that this user may only read still serves; its order of removal is then its owner's matter.
    with contextlib.suppress(OSError):
        os.utime(path / INDEX_NAME)


def size_and_time(path: Path) -> tuple[int, float]:
    """Bytes of our files in a folder, and when it was last used or written (seconds since the epoch)."""
    stats = {}
    for name in (VALUES_NAME, INDEX_NAME, "."):
        with contextlib.suppress(OSError):  # missing in a damaged store, or removed meanwhile
            stats[name] = (path / name).stat()
    size = sum(stat.st_size for name, stat in stats.items() if name != ".")
    if INDEX_NAME in stats and _STORE_NAME.fullmatch(path.name):
        return size, stats[INDEX_NAME].st_mtime
    return size, max((stat.st_mtime for stat in stats.values()), default=0.0)


def private_name(kind: str) -> str:
    """A folder name that no other process or thread has; `kind` is "building" or "removed"."""
    return f".{kind}-{leftovers.mark()}"


def is_stale(path: Path) -> bool:
    """Whether a folder is the leftover of a run that cannot be alive any more."""
    match = _LEFTOVER_NAME.fullmatch(path.name)
    return match is not None and leftovers.is_stale(match, size_and_time(path)[1])


def _remove(path: Path) -> int:
    """Remove our files of a store or a leftover, and its folder; returns the bytes freed."""
    size, _ = size_and_time(path)
    ours = {VALUES_NAME, INDEX_NAME, NEW_INDEX_NAME}
    try:
        if _STORE_NAME.fullmatch(path.name) and {entry.name for entry in path.iterdir()} <= ours:
            # Out of sight in one step, so that no other process opens half of it.
            path = path.rename(path.parent / private_name("removed"))
        for name in ours:
            (path / name).unlink(missing_ok=True)
    except FileNotFoundError:  # another process was quicker
        return 0
    with contextlib.suppress(OSError):  # somebody else's file in it: that stays, and so does its folder
        path.rmdir()
    return size


def remove_if_possible(path: Path) -> None:
    """Housekeeping that may fail without harm: not ours to write, or (Windows) still mapped by a process."""
    with contextlib.suppress(OSError):
        _remove(path)


class VanishedError(Exception):
    """Something has taken the cache folder, or a part of it, away while it was written."""


@contextlib.contextmanager
def reporting(folder: Path) -> Iterator[None]:
    """Turn the disk's refusal into an `OutputError` that names the folder and the remedy.

    Raises VanishedError where what was just written is no longer there.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise VanishedError from error
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(folder: Path, error: OSError) -> OutputError:
    """The message for a refusal of the disk."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return OutputError(
            f"The disk must have room for the decoded pictures; that of {shown(folder)} is full. Free some "
            f"space, or choose another folder with --cache DIR."
        )
    return OutputError(
        f"The cache folder must be readable and writable; {shown(folder)}: {because(error)}. Choose another "
        f"folder with --cache DIR."
    )
