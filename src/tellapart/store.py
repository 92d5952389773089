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
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tellapart import cache as caches
from tellapart import decoders, drafts, fetching, jobs, pictures
from tellapart.cache import StoreInfo, cache_folder, clear, listing
from tellapart.decoders import Maker
from tellapart.errors import OutputError
from tellapart.files import shown
from tellapart.jobs import Job
from tellapart.preprocess import Preprocess

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
    # What workers elsewhere do instead: "module:function", which takes the settings and `threads`, and gives a function
    # of Contents that gives rows as `make` does.
    afar: Job | None = None  # None for what is always made here

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self.shape) * self.dtype.itemsize

    def described(self) -> dict[str, Any]:
        """What stands in the index of its stores, besides the rows: plain values."""
        return {"recipe": self.recipe, "row": [*self.shape], "dtype": self.dtype.name}

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
        made_afar(decoders.squares(preprocess), 3 * preprocess.size_px**2),
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
    folder = caches.pictures_folder(cache)
    caches.sweep(folder)
    for _ in range(3):
        store = None
        with contextlib.suppress(caches.VanishedError):  # somebody has cleared the cache meanwhile
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
    stores = list(sources)
    sources += drafts.taken_over(folder, kind.described())

    known: dict[str, int] = {}  # content -> the first of the sources that has it
    for i, source in enumerate(sources):
        for content in paths:
            if content in source.rows or content in source.failures:
                known.setdefault(content, i)
    todo = [(content, paths[content]) for content in paths if content not in known]
    progress(len(known), len(paths))

    outside: dict[str, str] = {}  # failures of this run only
    with drafts.begun(folder, len(paths) * kind.row_bytes, kind.described()) as draft:
        block = max(1, min(_BLOCK_PICTURES, _BLOCK_BYTES // kind.row_bytes))
        for i, result in enumerate(_made(todo, kind, threads, block), start=1):
            if result.value is not None:
                draft.write(result.value, [result.content])
            elif result.lasting:
                draft.failures[result.content] = result.reason
            else:
                outside[result.content] = result.reason
            if i % block == 0 or i == len(todo):
                progress(len(known) + i, len(paths))
                draft.keep_if_due()
        contents, failures = draft.contents, draft.failures
        n_decoded = len(contents)
        if not contents and not failures:
            # Nothing was learned: a source that has the rest needs no copy.
            for source in stores:
                if source.covers(paths.keys() - outside.keys()):
                    return _part(source, paths, outside, 0)
        for i, source in enumerate(sources):
            mine = [content for content, j in known.items() if i == j]
            failures.update((c, source.failures[c]) for c in mine if c in source.failures)
            _copy(source, [c for c in mine if c in source.rows], draft)
        final = folder / (prefix + _contents_key([*contents, *failures]))
        draft.finish(final)

    opened = caches.open_or_remove(final)
    if opened is None:
        return None
    for source in sources:
        if source.path != final and opened.covers([*source.rows, *source.failures]):
            caches.remove_if_possible(source.path)
    return _part(opened, paths, outside, n_decoded)


def _made(todo: Contents, kind: Kind, threads: int, block: int) -> Iterator[Decoded]:
    """The rows of `kind`, by workers where there are some and enough to do for them."""
    workers = jobs.workers()
    if workers is None or kind.afar is None or len(todo) <= jobs.BLOCK:
        return kind.make(todo, threads, block)
    return _by_workers(todo, kind, kind.afar, workers)


def _by_workers(todo: Contents, kind: Kind, afar: Job, workers: jobs.Workers) -> Iterator[Decoded]:
    row = {"shape": list(kind.shape), "dtype": kind.dtype.str}
    settings = {"make": afar.name, "settings": dict(afar.settings), **row}
    job = Job("tellapart.store:making", settings, jobs.some_seen(path for _, paths in todo for path in paths))
    blocks = ({"asked": jobs.packed(todo[start : start + jobs.BLOCK])} for start in range(0, len(todo), jobs.BLOCK))
    for done in workers.run(job, blocks):
        told, values = jobs.unpacked(done.columns["told"]), np.asarray(done.columns["values"])
        for (content, read, reason, lasting), value in zip(told, values, strict=True):
            yield Decoded(content, value if read else None, reason, lasting)


def making(make: str, settings: dict[str, Any], shape: list[int], dtype: str, threads: int) -> jobs.Doing:
    """What a worker does with contents and their files: `told` of each, and `values` (N, …), zeros where unread."""
    do_each = jobs.named(make)(**settings, threads=threads)

    def do(columns: jobs.Columns) -> jobs.Columns:
        told, values = [], np.zeros((len(columns["asked"]), *shape), dtype)
        asked = [(content, paths) for content, paths in jobs.unpacked(columns["asked"])]
        for i, one in enumerate(do_each(asked)):
            told.append((one.content, one.value is not None, one.reason, one.lasting))
            if one.value is not None:
                values[i] = one.value
        return {"told": jobs.packed(told), "values": values}

    return do


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
    """Decode to the network's square; see `make_all`."""
    return make_all(todo, decoders.squares(preprocess), 3 * preprocess.size_px**2, threads, block)


def make_all(todo: Contents, maker: Maker, row_bytes: int, threads: int, block: int) -> Iterator[Decoded]:
    """Make each row of a file's bytes, in `decoders`; in the order of `todo`, with a bounded number under way.

    `maker` makes one array of a picture, of at most `row_bytes`; `threads` processes are at it at once, with `block`
    pictures a task.
    """
    waiting: deque[Future[list[Decoded]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="tellapart-decode")
    try:
        with fetching.by(pool):
            for start in range(0, len(todo), block):
                fetching.soon(paths[0] for _, paths in todo[start : start + block])
                waiting.append(pool.submit(_make_block, todo[start : start + block], maker, row_bytes))
                if len(waiting) >= _TASKS_PER_THREAD * threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def made_afar(maker: Maker, row_bytes: int) -> Job:
    """`Kind.afar` of what `make_all` makes."""
    settings = {"maker": maker.name, "settings": dict(maker.settings), "row_bytes": row_bytes}
    return Job("tellapart.store:makes", settings)


def makes(
    maker: str, settings: dict[str, Any], row_bytes: int, threads: int
) -> Callable[[Contents], Iterator[Decoded]]:
    """`make_all` for a worker."""
    return lambda todo: make_all(todo, Maker(maker, settings), row_bytes, threads, _BLOCK_PICTURES)


def _make_block(todo: Contents, maker: Maker, row_bytes: int) -> list[Decoded]:
    return [
        Decoded(content, made.arrays[0] if made.arrays else None, made.reason, made.lasting)
        for (content, _), made in zip(todo, decoders.make(maker, todo, row_bytes), strict=True)
    ]


# --- names


@functools.cache
def decoder_versions() -> dict[str, str | None]:
    """A newer decoder may give other pixels, and one that was missing may read what failed before."""
    versions: dict[str, str | None] = {"cv2": cv2.__version__, "pictures": str(pictures.VERSION)}
    for package in ("pillow", "simplejpeg", "pi-heif"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _contents_key(contents: Iterable[str]) -> str:
    """16 hex digits for a set of contents, whatever their order."""
    return hashlib.sha256("\n".join(sorted(contents)).encode()).hexdigest()[:16]


def _copy(source: caches.Opened, contents: list[str], draft: drafts.Draft) -> None:
    """Copy rows of another store, a few at a time."""
    contents = sorted(contents, key=source.rows.__getitem__)  # in reading order
    step = max(1, _BLOCK_BYTES // max(1, source.values[:1].nbytes))
    for start in range(0, len(contents), step):
        some = contents[start : start + step]
        draft.write(source.values[[source.rows[content] for content in some]], some)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
