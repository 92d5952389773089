"""A store that is being written, of which a killed run loses little: the next one of the same kind takes its rows over.

Rows are appended to `values.bin`. Now and then they are synced to the disk, and after them an index of those rows,
under a temporary name that is then replaced: what an index names is there, whatever ends the process. It has the form
of a store's index, so a draft becomes a store by a last index and its name. A draft of a process that is gone, or of a
run in this process that failed, is claimed by a rename, so that one run alone takes it over.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import stat
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import cache as caches
from tellapart import outputs
from tellapart.errors import OutputError
from tellapart.files import shown

SHORTEST_S, SPARSE = 10.0, 50.0  # between two syncs: at least so long, and so many times what the last one took
MOST_INDEX_BYTES = 2**31
_given_up: set[Path] = set()  # drafts of this process that ended in an error, and are free to be taken over


class Draft:
    """One that this process writes."""

    def __init__(self, path: Path, file: FileIO, about: Mapping[str, Any], clock: Callable[[], float]) -> None:
        self.path, self.contents, self.failures = path, list[str](), dict[str, str]()
        self.kept = 0  # rows that a next run would find
        self._file, self._about, self._clock = file, about, clock
        self._row_bytes = math.prod(about["row"]) * np.dtype(about["dtype"]).itemsize
        self._last, self._cost_s = clock(), 0.0
        self._checksum = 0  # CRC-32 of the rows that are kept

    def write(self, rows: np.ndarray, contents: Sequence[str]) -> None:
        """Append rows, one for each content."""
        rest = np.ascontiguousarray(rows).data.cast("B")
        with caches.reporting(self.path.parent):
            while rest:
                rest = rest[self._file.write(rest) :]
        self.contents.extend(contents)

    def keep_if_due(self) -> None:
        """Sync the rows and name them, where the last time was long enough ago."""
        if self._clock() - self._last < max(SHORTEST_S, SPARSE * self._cost_s):
            return
        start = self._clock()
        with caches.reporting(self.path.parent):
            if len(self.contents) > self.kept:  # read back, so that a run that is through sooner pays nothing for it
                values = np.memmap(self.path / caches.VALUES_NAME, np.uint8, "r", self.kept * self._row_bytes)
                self._checksum = _checksum(values, self._checksum)
            self._index({"checksum": self._checksum})
        self.kept = len(self.contents)
        self._last = self._clock()
        self._cost_s = self._last - start

    def _index(self, more: Mapping[str, Any]) -> None:
        outputs.sync(self._file.fileno())
        index = {
            "version": caches.STORE_VERSION,
            "shape": [len(self.contents), *self._about["row"]],
            "dtype": self._about["dtype"],
            "bytes": len(self.contents) * self._row_bytes,
            "recipe": self._about["recipe"],
            "contents": self.contents,
            "failures": self.failures,
            **more,
        }
        new = self.path / caches.NEW_INDEX_NAME
        new.unlink(missing_ok=True)
        outputs.new_file(new, json.dumps(index).encode("ascii"))
        new.replace(self.path / caches.INDEX_NAME)
        outputs.sync_folder(self.path)

    def finish(self, final: Path) -> None:
        """Complete it and give it its name; where another process was quicker, its store is kept."""
        with caches.reporting(final.parent):
            self._index({})
            self._file.close()
            for _ in range(3):
                try:
                    self.path.rename(final)
                except OSError:
                    if not final.exists():
                        raise
                    if caches.open_or_remove(final) is not None:
                        return
                else:
                    outputs.sync_folder(final.parent)
                    return


@contextlib.contextmanager
def begun(
    folder: Path, need_bytes: int, about: Mapping[str, Any], clock: Callable[[], float] = time.monotonic
) -> Iterator[Draft]:
    """A draft in a private folder; gone at the end, unless it was given its name, or failed with rows worth keeping.

    Args:
        folder: where the stores are.
        need_bytes: that the disk must have free.
        about: plain values: `recipe`, all that decides a row; `row`, its shape; `dtype`.
        clock: in seconds.

    Raises:
        OutputError: the disk is full or refuses.
    """
    path = folder / caches.private_name("building")
    draft, failed = None, False
    try:
        with caches.reporting(folder):
            path.mkdir(parents=True)
            free_bytes = shutil.disk_usage(folder).free
            if free_bytes < need_bytes:
                raise OutputError(
                    f"The disk must have {-(-need_bytes // 10**6):,} MB free for the decoded pictures; that of "
                    f"{shown(folder)} has {free_bytes // 10**6:,} MB. Free some space, or choose another "
                    f"folder with --cache DIR."
                )
            # Written, not mapped: a full disk is then an error here, not a bus error that ends the process.
            file = FileIO(path / caches.VALUES_NAME, "x")
        with file:
            draft = Draft(path, file, about, clock)
            yield draft
    except OutputError:
        raise  # the disk needs the room
    except BaseException:
        failed = draft is not None and draft.kept > 0
        raise
    finally:
        if failed:
            _given_up.add(path)
        else:
            shutil.rmtree(path, ignore_errors=True)


def taken_over(folder: Path, about: Mapping[str, Any]) -> list[caches.Opened]:
    """The drafts of the same kind that nobody writes any more, claimed by this process; damaged ones are removed."""
    found = []
    for path in caches.entries(folder):
        if not (path in _given_up or caches.is_stale(path)) or not (path / caches.INDEX_NAME).exists():
            continue
        opened = _opened(path, about)
        if opened is None:
            continue
        mine = folder / caches.private_name("building")
        with contextlib.suppress(OSError):  # another process was quicker
            path.rename(mine)
            _given_up.discard(path)
            _given_up.add(mine)  # the next run of this process may have it, should this one fail
            found.append(caches.Opened(mine, opened.values, opened.rows, opened.failures))
    return found


def _opened(path: Path, about: Mapping[str, Any]) -> caches.Opened | None:
    """The rows that a draft's index names; None where they are of another kind. A damaged draft is removed."""
    try:
        found = (path / caches.INDEX_NAME).lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_INDEX_BYTES:  # a pipe would be waited for
            return None
        index = json.loads((path / caches.INDEX_NAME).read_bytes())
        kind = {"recipe": index["recipe"], "row": index["shape"][1:], "dtype": index["dtype"]}
        if index["version"] != caches.STORE_VERSION or kind != json.loads(json.dumps(about)):
            return None
        n, n_bytes, contents = index["shape"][0], index["bytes"], index["contents"]
        dtype, shape = np.dtype(about["dtype"]), (n, *about["row"])
        values = np.memmap(path / caches.VALUES_NAME, dtype, "r", shape=shape)
        whole = n_bytes == values.nbytes and len(contents) == n == len(set(contents))
        if whole and _checksum(values) == index["checksum"]:
            return caches.Opened(path, values, {c: i for i, c in enumerate(contents)}, dict(index["failures"]))
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        pass  # cut short by a power loss, or not written here: no source of rows
    caches.remove_if_possible(path)
    return None


def _checksum(values: np.ndarray, checksum: int = 0) -> int:
    every = values.reshape(-1).view(np.uint8)
    for start in range(0, len(every), 2**24):
        checksum = zlib.crc32(every[start : start + 2**24].data, checksum)
    return checksum
