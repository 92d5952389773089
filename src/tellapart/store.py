"""What was made of pictures, once: a versioned memory map in the cache, keyed by content and by how it was made.

`build` keeps decoded pixels; `keep` keeps whatever a `Kind` makes of a picture, as `features` does.

The name of a store (see `cache` for the layout on disk) has a hash of all that decides a row apart from
the content, and a hash of the content hashes. A store serves every set of pictures that it covers, so a
part of the pictures of an earlier run needs no decoding and no copy; where some are new, the known are copied.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import math
import mmap
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tellapart import cache as caches
from tellapart import pictures
from tellapart.cache import StoreInfo, cache_folder, clear, listing
from tellapart.errors import OutputError, PictureError
from tellapart.files import shown
from tellapart.preprocess import Preprocess, load

__all__ = [
    "Decoded",
    "Kind",
    "Store",
    "StoreInfo",
    "build",
    "cache_folder",
    "clear",
    "decode_all",
    "keep",
    "listing",
    "make_all",
]

_BLOCK_BYTES = 4 * 2**20  # what one task decodes, or one step of a copy moves, at most
_BLOCK_PICTURES = 16  # more in one task would not save anything
_TASKS_PER_THREAD = 4  # waiting or under way at once


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """What was made of some pictures, ready for use."""

    values: np.ndarray  # (M, …), a read-only memory map; pixels are uint8 (M, S, S, 3), RGB; M may exceed len(rows)
    rows: dict[str, int]  # content hash -> row of `values`, for every picture asked for that can be read
    failures: dict[str, str]  # content hash -> reason, for all the others
    path: Path  # the store's own folder
    n_decoded: int  # pictures decoded in this run; 0 when all came from the cache

    def rest(self) -> None:
        """Tell the system that the values are not needed for now: their pages leave this process's memory.

        They come back from the file when they are read again. Does nothing where the system has no such call.
        """
        mapped = getattr(self.values, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """One content, read."""

    content: str
    value: np.ndarray | None  # its row: of pixels, uint8 (S, S, 3)
    reason: str = ""  # why there is no value
    lasting: bool = False  # the reason lies in the content itself, so it is remembered


Contents = list[tuple[str, list[str]]]  # (content hash, the files that hold it)


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What a store keeps of each picture."""

    name: str  # the begin of its stores' names, `<size>px-<what>`, lower case
    recipe: Any  # plain values for JSON: all that decides a row apart from the content
    shape: tuple[int, ...]  # of a row
    dtype: np.dtype
    make: Callable[[Contents, int, int], Iterator[Decoded]]  # (what, threads, pictures a task) to rows, in any order

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def prefix(self) -> str:
        """How the names of its stores begin: with 12 hex digits of all that decides a row."""
        what = json.dumps([caches.STORE_VERSION, self.recipe], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(what.encode()).hexdigest()[:12]}-"


def build(
    files: Sequence[tuple[str, str]],
    preprocess: Preprocess,
    cache: Path,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    limit_bytes: int | None = None,
) -> Store:
    """The decoded pixels of some files: from the cache where it has them, else decoded on threads.

    A file whose bytes no longer hash to its content, or that cannot be opened, is a failure of this run
    only; bytes that no decoder reads are remembered with their reason. Memory use does not grow with the
    number of pictures.

    Args:
        files: (path, SHA-256 of the bytes in hex) of each; equal contents are stored once.
        preprocess: what every picture goes through.
        cache: the cache folder, see `cache_folder`; created where it is missing.
        threads: decoding threads, >= 1; by default one for each core that this process may use.
        progress: called in this thread with (pictures done, pictures in all), distinct contents only.
        limit_bytes: >= 0, size of the cache above which the stores not used for longest are removed, never
            the one returned; by default $TELLAPART_CACHE_LIMIT_GB (in 10^9 bytes), or 20 GB.

    Raises:
        OutputError: the cache folder cannot be written, or its disk is full.
        SettingsError: $TELLAPART_CACHE_LIMIT_GB is not a number >= 0.
    """
    return keep(files, _pixels(preprocess), cache, threads=threads, progress=progress, limit_bytes=limit_bytes)


def _pixels(preprocess: Preprocess) -> Kind:
    return Kind(
        f"{preprocess.size_px}px-{preprocess.fit}",
        [preprocess.as_dict(), decoder_versions()],
        (preprocess.size_px, preprocess.size_px, 3),
        np.dtype(np.uint8),
        lambda todo, threads, block: decode_all(todo, preprocess, threads, block),
    )


def keep(
    files: Sequence[tuple[str, str]],
    kind: Kind,
    cache: Path,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    limit_bytes: int | None = None,
) -> Store:
    """What `kind` makes of some files: from the cache where it has them, else made now. Otherwise as `build`."""
    limit = caches.limit_from_environment() if limit_bytes is None else limit_bytes
    paths: dict[str, list[str]] = {}
    for path, content in files:
        paths.setdefault(content, []).append(path)
    # Pictures are decoded side by side; OpenCV's own threads would only fight for the same cores.
    cv2.setNumThreads(1)
    folder = caches.pictures_folder(cache)
    caches.sweep(folder)
    for _ in range(3):
        store = _build(paths, kind, folder, threads or _cores(), progress or (lambda done, total: None))
        if store is not None:
            caches.evict(folder, keep=store.path, limit_bytes=limit)
            return store
    raise OutputError(
        f"The decoded pictures must stay in {shown(folder)} until they are opened; other processes keep "
        f"removing them. Let those end, or choose another folder with --cache DIR."
    )


def _build(
    paths: dict[str, list[str]],
    kind: Kind,
    folder: Path,
    threads: int,
    progress: Callable[[int, int], None],
) -> Store | None:
    """`build` once; None where the finished store was removed before it could be opened."""
    prefix = kind.prefix
    sources: list[caches.Opened] = []
    for path in _candidates(folder, prefix, prefix + _contents_key(paths)):
        opened = caches.open_or_remove(path)
        if opened is not None:
            if opened.covers(paths):
                progress(len(paths), len(paths))
                return _part(opened, paths, {}, 0)
            sources.append(opened)

    known: dict[str, int] = {}  # content -> the first of the sources that has it
    for i, source in enumerate(sources):
        for content in paths:
            if content in source.rows or content in source.failures:
                known.setdefault(content, i)
    todo = [(content, paths[content]) for content in paths if content not in known]
    progress(len(known), len(paths))

    contents: list[str] = []  # in the order of rows
    failures: dict[str, str] = {}
    outside: dict[str, str] = {}  # failures of this run only
    with _draft(folder, len(paths) * kind.row_bytes) as (draft, file):
        block = max(1, min(_BLOCK_PICTURES, _BLOCK_BYTES // kind.row_bytes))
        for i, result in enumerate(kind.make(todo, threads, block), start=1):
            if result.value is not None:
                contents.append(result.content)
                _write(file, result.value, folder)
            elif result.lasting:
                failures[result.content] = result.reason
            else:
                outside[result.content] = result.reason
            if i % block == 0 or i == len(todo):
                progress(len(known) + i, len(paths))
        n_decoded = len(contents)
        if not contents and not failures:
            # Nothing was learned: a source that has the rest needs no copy.
            for source in sources:
                if source.covers(paths.keys() - outside.keys()):
                    return _part(source, paths, outside, 0)
        for i, source in enumerate(sources):
            mine = [content for content, j in known.items() if i == j]
            failures.update((c, source.failures[c]) for c in mine if c in source.failures)
            contents.extend(_copy(source, [c for c in mine if c in source.rows], file, folder))
        final = folder / (prefix + _contents_key([*contents, *failures]))
        _finish(draft, file, final, contents, failures, kind)

    opened = caches.open_or_remove(final)
    if opened is None:
        return None
    for source in sources:
        if source.path != final and opened.covers([*source.rows, *source.failures]):
            caches.remove_if_possible(source.path)
    return _part(opened, paths, outside, n_decoded)


def _candidates(folder: Path, prefix: str, own_name: str) -> list[Path]:
    """The stores of the same recipe: the one of exactly these contents, then the last used first."""
    found = [path for path in caches.entries(folder) if path.name.startswith(prefix)]
    return sorted(found, key=lambda path: (path.name != own_name, -caches.size_and_time(path)[1]))


def _part(opened: caches.Opened, contents: Iterable[str], outside: dict[str, str], n_decoded: int) -> Store:
    """The part of an opened store that was asked for; marks it as used."""
    caches.touch(opened.path)
    rows, failures = {}, {}
    for content in contents:
        if content in opened.rows:
            rows[content] = opened.rows[content]
        elif content in outside:
            failures[content] = outside[content]
        else:
            failures[content] = opened.failures[content]
    return Store(opened.values, rows, failures, opened.path, n_decoded)


# --- decoding


def decode_all(todo: Contents, preprocess: Preprocess, threads: int, block: int) -> Iterator[Decoded]:
    """Decode on threads to the network's square; see `make_all`."""
    return make_all(todo, lambda data: load(data, preprocess), threads, block)


def make_all(todo: Contents, make: Callable[[bytes], np.ndarray], threads: int, block: int) -> Iterator[Decoded]:
    """Make each row of a file's bytes, on threads; in the order of `todo`, with a bounded number under way.

    `make` raises PictureError where it cannot.
    """
    waiting: deque[Future[list[Decoded]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="tellapart-decode")
    try:
        for start in range(0, len(todo), block):
            waiting.append(pool.submit(_make_block, todo[start : start + block], make))
            if len(waiting) >= _TASKS_PER_THREAD * threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _make_block(todo: Contents, make: Callable[[bytes], np.ndarray]) -> list[Decoded]:
    return [_make(content, paths, make) for content, paths in todo]


def _make(content: str, paths: list[str], make: Callable[[bytes], np.ndarray]) -> Decoded:
    """Make the row of one content from the first of its files that still holds it."""
    reasons = []
    for path in paths:
        try:
            data = pictures.read_bytes(path)
        except PictureError as error:
            reasons.append(error.reason if os.path.lexists(path) else "the file vanished during the run")
            continue
        if hashlib.sha256(data).hexdigest() != content:
            reasons.append("the file changed during the run")
            continue
        try:
            return Decoded(content, make(data))
        except PictureError as error:
            # Too little memory is a matter of this run, not of the picture.
            lasting = not isinstance(error.__cause__, MemoryError)
            return Decoded(content, None, error.reason, lasting)
    return Decoded(content, None, reasons[0])


# --- names


@functools.cache
def decoder_versions() -> dict[str, str | None]:
    """A newer decoder may give other pixels, and one that was missing may read what failed before."""
    versions: dict[str, str | None] = {"cv2": cv2.__version__}
    for package in ("pillow", "simplejpeg", "pi-heif"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _contents_key(contents: Iterable[str]) -> str:
    """16 hex digits for a set of contents, whatever their order."""
    return hashlib.sha256("\n".join(sorted(contents)).encode()).hexdigest()[:16]


# --- writing


@contextlib.contextmanager
def _draft(folder: Path, need_bytes: int) -> Iterator[tuple[Path, FileIO]]:
    """A private folder with an open pixels file; gone at the end unless it was renamed."""
    draft = folder / caches.private_name("building")
    try:
        with caches.reporting(folder):
            draft.mkdir(parents=True)
            free_bytes = shutil.disk_usage(folder).free
            if free_bytes < need_bytes:
                raise OutputError(
                    f"The disk must have {-(-need_bytes // 10**6):,} MB free for the decoded pictures; that of "
                    f"{shown(folder)} has {free_bytes // 10**6:,} MB. Free some space, or choose another "
                    f"folder with --cache DIR."
                )
            # Written, not mapped: a full disk is then an error here, not a bus error that ends the process.
            file = FileIO(draft / caches.VALUES_NAME, "x")
        with file:
            yield draft, file
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write(file: FileIO, row: np.ndarray, folder: Path) -> None:
    rest = np.ascontiguousarray(row).data.cast("B")
    with caches.reporting(folder):
        while rest:
            rest = rest[file.write(rest) :]


def _copy(source: caches.Opened, contents: list[str], file: FileIO, folder: Path) -> list[str]:
    """Copy rows of another store, a few at a time; returns the contents in the order of their new rows."""
    contents = sorted(contents, key=source.rows.__getitem__)  # in reading order
    step = max(1, _BLOCK_BYTES // max(1, source.values[:1].nbytes))
    for start in range(0, len(contents), step):
        rows = [source.rows[content] for content in contents[start : start + step]]
        _write(file, source.values[rows], folder)
    return contents


def _finish(
    draft: Path,
    file: FileIO,
    final: Path,
    contents: list[str],
    failures: dict[str, str],
    kind: Kind,
) -> None:
    """Complete a draft and give it its name; where another process was quicker, its store is kept."""
    index = {
        "version": caches.STORE_VERSION,
        "shape": [len(contents), *kind.shape],
        "dtype": kind.dtype.name,
        "bytes": len(contents) * kind.row_bytes,
        "recipe": kind.recipe,
        "contents": contents,
        "failures": failures,
    }
    with caches.reporting(final.parent):
        os.fsync(file.fileno())
        file.close()
        with (draft / caches.INDEX_NAME).open("x", encoding="ascii") as stream:
            json.dump(index, stream)
            stream.flush()
            os.fsync(stream.fileno())
        _sync_folder(draft)
        for _ in range(3):
            try:
                draft.rename(final)
            except OSError:
                if not final.exists():
                    raise
                if caches.open_or_remove(final) is not None:
                    return
            else:
                _sync_folder(final.parent)
                return


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows has no descriptors of folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
