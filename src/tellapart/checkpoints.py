"""How far a training has come, on disk: arrays and plain values that a later process goes on from.

A checkpoint is an uncompressed .npz (no pickle) with two members more: `values.json`, and `members.json` with the
SHA-256 of every other one. It is written under a temporary name, synced and renamed; the last two are kept, so that
one cut short by a power loss costs an interval, not the training. What is read is not trusted: a file whose names,
sizes, hashes, shapes or number formats are not as they must be is a damaged one, which is said, and the one before it
is taken.

A disk that is full or refuses ends no training: that is said once, and the training goes on without.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import re
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tellapart.errors import OutputError, SettingsError
from tellapart.files import because, shown
from tellapart.leftovers import MARK
from tellapart.outputs import atomic

FORMAT = 1  # to be raised when the members change their meaning
KEPT = 2
SHORTEST_S = 10.0  # between two, at least
MOST_SHARE = 0.015  # of a training's time that goes into them
EVERY = "TELLAPART_CHECKPOINT_EVERY"  # for tests: "5s", "8steps" or "never" in place of that
MOST_VALUES_BYTES = 16 * 2**20  # of values.json and of members.json
MOST_MEMBERS = 20_000
CHUNK_BYTES = 8 * 2**20
VALUES, MEMBERS = "values.json", "members.json"
_NAME = re.compile(r"(?P<part>[a-z0-9-]{1,40})\.(?P<step>\d{12})\.npz")
_TEMPORARY_NAME = re.compile(rf"\.[a-z0-9-]{{1,40}}\.\d{{12}}\.npz\.{MARK}\.tmp")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """One that was read, and whose hashes are right."""

    step: int  # training steps done when it was made
    arrays: dict[str, np.ndarray]  # by name; of an extended number format as raw bytes, see `stored`
    values: dict[str, Any]


class DamagedError(Exception):
    """A checkpoint is not as it was written; the message is a clause, "it is cut short"."""


@dataclass(frozen=True, slots=True)
class Interval:
    """When the next one is due."""

    seconds: float = SHORTEST_S
    share: float = MOST_SHARE  # of the time so far, for all of them, the next one as dear as the last one was
    steps: int | None = None  # steps in place of seconds

    @classmethod
    def from_environment(cls) -> Interval:
        """The ordinary one, or what $TELLAPART_CHECKPOINT_EVERY says.

        Raises:
            SettingsError: it says nothing that is known here.
        """
        text = os.environ.get(EVERY, "").strip()
        if not text:
            return cls()
        if text == "never":
            return cls(seconds=math.inf)
        found = re.fullmatch(r"(\d+(?:\.\d+)?)s|(\d{1,9})steps", text)
        if found is None:
            raise SettingsError(f"{EVERY} must be like 5s, 8steps or never; got {text!r}. Unset it.")
        return cls(float(found[1]), math.inf) if found[1] else cls(steps=int(found[2]))


class Keeper:
    """The checkpoints of one part of a training: "network", "fine-tuning", "fold-3"."""

    def __init__(
        self,
        folder: Path,
        part: str,
        *,
        note: Callable[[str], None] = lambda text: None,
        interval: Interval | None = None,
        ready: Callable[[], bool] = lambda: True,
        after: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folder` is the training's own; `ready` says whether it may be written, `after` is called when it was."""
        self._folder, self._part, self._note, self._clock = folder, part, note, clock
        self._interval = Interval.from_environment() if interval is None else interval
        self._ready, self._after, self._told = ready, after, False
        self._begun = self._last_time = clock()
        self._last_step = 0
        self.cost_s = 0.0  # of the last one
        self.spent_s = 0.0  # on all
        self.resumed_from: int | None = None  # the step; None where it began afresh
        self.steps_run = 0  # in this process, as the training counts them

    def due(self, step: int) -> bool:
        """Whether it is time for another one."""
        if self._interval.steps is not None:
            return step - self._last_step >= self._interval.steps
        now, interval = self._clock(), self._interval
        fits = self.spent_s + self.cost_s <= interval.share * (now - self._begun)
        return fits and now - self._last_time >= interval.seconds

    def begin(self) -> float:
        """The time at which the state begins to be taken: for `write`, which counts that too."""
        return self._clock()

    def write(
        self, step: int, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any], *, since: float | None = None
    ) -> bool:
        """Keep this state, begun to be taken at `since`; False where the disk does not take it, which is said once."""
        start = self._clock() if since is None else since
        try:
            if not self._ready():
                return False
            self._folder.mkdir(parents=True, exist_ok=True)  # it may have been removed meanwhile
            with atomic(self._folder / f"{self._part}.{step:012}.npz", force=True) as file:
                write(file, arrays, values)
            for path in [path for path in _found(self._folder, self._part) if path[0] != step][KEPT - 1 :]:
                path[1].unlink(missing_ok=True)
            self._after()
        except (OSError, OutputError) as error:
            if not self._told:
                why = because(error) if isinstance(error, OSError) else str(error).split(". ")[0]
                self._note(
                    f"No checkpoint could be kept in {shown(self._folder)} ({why}). The training goes on; if it is "
                    f"stopped, --resume begins at the one before."
                )
                self._told = True
            return False
        finally:
            self._last_time, self._last_step = self._clock(), step
            self.cost_s = self._last_time - start
            self.spent_s += self.cost_s
        return True

    def newest(self, most_bytes: int, fits: Callable[[Checkpoint], str] = lambda checkpoint: "") -> Checkpoint | None:
        """The newest one that is whole; each newer one that is damaged is named.

        Args:
            most_bytes: of all its arrays: a larger file is not read.
            fits: says in a clause what is wrong with one whose hashes are right; "" where nothing is.
        """
        damaged = []
        for step, path in _found(self._folder, self._part):
            try:
                checkpoint = read(path, step, most_bytes)
                wrong = fits(checkpoint)
                if wrong:
                    raise DamagedError(wrong)
            except DamagedError as error:
                damaged.append(f"The checkpoint of step {step:,} is damaged ({error})")
                with contextlib.suppress(OSError):
                    path.unlink()  # or it would count as one of the two that are kept
                continue
            for text in damaged:
                self._note(f"{text}; the one of step {checkpoint.step:,} before it is taken.")
            return checkpoint
        for text in damaged:
            self._note(f"{text}; there is none before it, so this part starts afresh.")
        return None

    def going_on(self, checkpoint: Checkpoint, n_steps: int, where: str) -> None:
        """Say where this process goes on."""
        self.resumed_from, self._last_step = checkpoint.step, checkpoint.step
        self._last_time = self._clock()
        self._note(f"Going on from step {checkpoint.step:,} of {n_steps:,} ({where}).")


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
    """Write a checkpoint into an open file.

    Each array is written as it is, little-endian numbers and booleans; numbers of a format that numpy does not know by
    itself (bfloat16) as bytes, their format's name among the members.
    """
    members: dict[str, Any] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            plain, kind = stored(np.asarray(array))
            digest = hashlib.sha256()
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=plain.nbytes > 2**30) as member:
                header = _Header()
                np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(plain))
                for part in (header.content, *_parts(plain)):
                    digest.update(part)
                    member.write(part)
            members[f"{name}.npy"] = [digest.hexdigest(), kind]
        text = json.dumps(values).encode()
        members[VALUES] = [hashlib.sha256(text).hexdigest(), ""]
        archive.writestr(zipfile.ZipInfo(VALUES), text)
        about = {"format": FORMAT, "members": members}
        archive.writestr(zipfile.ZipInfo(MEMBERS), json.dumps(about).encode())


class _Header:
    """Takes the header that numpy writes."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, content: bytes) -> int:
        self.content += content
        return len(content)


def _parts(array: np.ndarray) -> Iterator[memoryview]:
    """An array's bytes, a few at a time."""
    every = array.reshape(-1).view(np.uint8).data.cast("B")
    for start in range(0, len(every), CHUNK_BYTES):
        yield every[start : start + CHUNK_BYTES]


def stored(array: np.ndarray) -> tuple[np.ndarray, str]:
    """An array as a file has it, and the name of its number format where that is not numpy's own, else ""."""
    if array.dtype.kind in "biuf" and array.dtype.isbuiltin == 1:
        return np.asarray(array, order="C"), ""
    plain = np.asarray(array, order="C").view(np.dtype(f"u{array.dtype.itemsize}"))
    return plain, array.dtype.name


def restored(array: np.ndarray, like: np.ndarray) -> np.ndarray | None:
    """An array of a checkpoint in the number format of `like`; None where it is of another format or shape."""
    plain, _ = stored(like)
    if array.dtype != plain.dtype or array.shape != plain.shape:
        return None
    return array.view(like.dtype)


def read(path: Path, step: int, most_bytes: int) -> Checkpoint:
    """A checkpoint whose every member is as it was written.

    Raises:
        DamagedError: it is not.
    """
    try:
        size = path.lstat().st_size
        if path.is_symlink() or not path.is_file():
            raise DamagedError("it is no file")
        if size > most_bytes + 2 * MOST_VALUES_BYTES:
            raise DamagedError("it is larger than such a one can be")
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            return _read(archive, step, size)
    except zipfile.BadZipFile as error:
        raise DamagedError("it is cut short") from error
    except OSError as error:
        raise DamagedError(because(error)) from error
    except (zlib.error, EOFError, ValueError, KeyError, TypeError, RecursionError, NotImplementedError) as error:
        raise DamagedError("it is not of the form in which they are written") from error


def from_bytes(content: bytes, step: int) -> Checkpoint:
    """A checkpoint that `write` wrote in another process of the same training. Raises DamagedError as `read`."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return _read(archive, step, len(content))


def _read(archive: zipfile.ZipFile, step: int, size: int) -> Checkpoint:
    infos = archive.infolist()
    stored_only = all(info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1 for info in infos)
    if len(infos) > MOST_MEMBERS or not stored_only or sum(info.file_size for info in infos) > size:
        raise DamagedError("its members are not as they are written")
    small = {info.filename: info.file_size for info in infos}
    if max(small.get(VALUES, 0), small.get(MEMBERS, 0)) > MOST_VALUES_BYTES:
        raise DamagedError("its values are larger than they can be")
    about = json.loads(archive.read(MEMBERS))
    members = about["members"]
    if about["format"] != FORMAT:
        raise DamagedError("another version of tellapart wrote it")
    if sorted(info.filename for info in infos) != sorted([*members, MEMBERS]):
        raise DamagedError("its members are not those that were written")
    arrays, values = {}, None
    for name, (sha256, _) in members.items():
        content = archive.read(name)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DamagedError(f"{name} has changed")
        if name == VALUES:
            values = json.loads(content)
        else:
            arrays[name.removesuffix(".npy")] = _array(content)
    if not isinstance(values, dict):
        raise DamagedError("its values are not those of a training")
    return Checkpoint(step, arrays, values)


def _array(content: bytes) -> np.ndarray:
    """An .npy of plain numbers; its size is that of the bytes that are there. Raises ValueError."""
    start = _Reader(content)
    if np.lib.format.read_magic(start) != (1, 0):
        raise ValueError("not an .npy of this form")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(start)
    n_bytes = math.prod(shape) * dtype.itemsize
    if fortran or dtype.hasobject or dtype.kind not in "biuf" or n_bytes != len(content) - start.place:
        raise ValueError("not plain numbers")
    return np.frombuffer(content, dtype, offset=start.place).reshape(shape)


class _Reader:
    """Gives the header that numpy reads."""

    def __init__(self, content: bytes) -> None:
        self._content, self.place = content, 0

    def read(self, n: int = -1, /) -> bytes:
        part = self._content[self.place : self.place + n] if n >= 0 else self._content[self.place :]
        self.place += len(part)
        return part


def _found(folder: Path, part: str) -> list[tuple[int, Path]]:
    """The checkpoints of a part, by step, the newest first."""
    found = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match and match["part"] == part:
                found.append((int(match["step"]), path))
    return sorted(found, reverse=True)


def last_step(folder: Path) -> int | None:
    """The highest step of which a folder has a checkpoint; None where it has none."""
    steps = []
    with contextlib.suppress(OSError):
        steps = [int(match["step"]) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return max(steps, default=None)


def remove(folder: Path, part: str | None = None) -> int:
    """Remove the checkpoints of a part, or of all, in a folder, and what was left of some; returns the bytes freed."""
    freed = 0
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            if is_ours(path) and (part is None or path.name.startswith(f"{part}.")):
                with contextlib.suppress(OSError):
                    size = path.lstat().st_size
                    path.unlink()
                    freed += size
    return freed


def is_ours(path: Path) -> bool:
    """Whether a file is a checkpoint or the temporary one of a checkpoint that was being written."""
    ours = _NAME.fullmatch(path.name) or _TEMPORARY_NAME.fullmatch(path.name)
    return bool(ours) and path.is_file() and not path.is_symlink()
