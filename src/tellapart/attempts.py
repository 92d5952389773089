"""One training that may be stopped and gone on with: its folder in the cache, and what it chose by measuring.

On disk, below the cache folder::

    checkpoints/
        <key>/                  one training: 32 hex digits of its pictures and all that was asked for
            run.json            what was asked for, what was chosen by measuring, the time used so far
            lock                held by the process that trains; the system lets go of it however that ends
            <part>.<step>.npz   see `checkpoints`

Nothing is written before the first choice or the first checkpoint, so a short training leaves nothing to clean up. A
training that ends well removes its folder; what is not gone on with for 30 days is removed by a later one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellapart import checkpoints
from tellapart.checkpoints import Interval, Keeper
from tellapart.errors import OutputError
from tellapart.files import because, shown
from tellapart.outputs import write_text

FORMAT = 1  # of run.json; to be raised when its fields change their meaning
KEPT_S = 30 * 24 * 3600.0
LOOKS = 4  # for a lock, before another process is believed to train
MOST_BYTES = 2**20  # of run.json
ABOUT, LOCK = "run.json", "lock"
_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Kept:
    """One line of `listing`: a training that can be gone on with."""

    name: str  # its folder's name below checkpoints/
    size_bytes: int
    photos: str  # the folder of pictures; "" where that cannot be read
    recipe: str
    step: int  # of the newest checkpoint
    last_used: float  # seconds since the epoch
    running: bool  # a process is at it now


class Attempt:
    """A training under way, in this process."""

    def __init__(self, folder: Path, about: Mapping[str, Any], note: Callable[[str], None], interval: Interval) -> None:
        self.folder, self._about, self._note, self._interval = folder, dict(about), note, interval
        self.choices: dict[str, str] = {}  # made by measuring, here and by earlier processes
        self.used_s = 0.0  # by earlier processes
        self._begun = time.monotonic()
        self._lock: _Lock | None = None
        self._refused = False
        self._keepers: list[Keeper] = []

    def keeper(self, part: str) -> Keeper:
        """The checkpoints of a part of this training."""
        keeper = Keeper(self.folder, part, note=self._note, interval=self._interval, ready=self.ready, after=self._save)
        self._keepers.append(keeper)
        return keeper

    def forget(self, part: str) -> None:
        """Remove the checkpoints of a part that is through, and whose result is kept otherwise."""
        checkpoints.remove(self.folder, part)

    @property
    def resumed_from(self) -> int | None:
        """The step from which the last part that was gone on with went on; None where all began afresh."""
        return next((k.resumed_from for k in reversed(self._keepers) if k.resumed_from is not None), None)

    @property
    def steps_run(self) -> int:
        """Training steps of all parts in this process."""
        return sum(keeper.steps_run for keeper in self._keepers)

    def hear(self, made: Mapping[str, str]) -> None:
        """What was chosen by measuring, to be kept with the first checkpoint."""
        self.choices |= made

    def chose(self, made: Mapping[str, str]) -> None:
        """Keep what was chosen by measuring, so that a resumed run keeps to it."""
        self.hear(made)
        if self.ready():
            self._save()

    def ready(self) -> bool:
        """Whether the folder is there and this process's own, made where it is missing."""
        if self._lock is None and not self._refused:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                for _ in range(LOOKS):
                    self._lock = _Lock.take(self.folder / LOCK)
                    if self._lock is not None:
                        break
                    time.sleep(0.1)  # a process that only looks holds it for a moment
            except OSError as error:
                self._refuse(f"No checkpoint can be kept in {shown(self.folder)}: {because(error)}.")
            else:
                if self._lock is None:
                    self._refuse("The same training runs already, in another process: this one keeps no checkpoints.")
        return self._lock is not None

    def _refuse(self, text: str) -> None:
        self._refused = True
        self._note(text)

    def begin(self, *, resume: bool) -> None:
        """Take over what an earlier process left, or with `resume` False remove it."""
        if not self.folder.is_dir():
            if resume:
                self._note(f"There is nothing to resume: {_why(self.folder, self._about)}. It starts afresh.")
            return
        if not self.ready():
            return
        if not resume:
            _empty(self.folder)
            return
        found = _about(self.folder)
        if found is None:
            self._note("What is known of the training that is to be resumed is damaged: its choices are made anew.")
            return
        self.choices, self.used_s = found["choices"], found["used_s"]
        for line in _doubts(found["versions"], self._about["versions"]):
            self._note(line)

    def _save(self) -> None:
        about = {
            **self._about,
            "format": FORMAT,
            "choices": self.choices,
            "used_s": round(self.used_s + time.monotonic() - self._begun, 3),
        }
        with contextlib.suppress(OSError, OutputError):  # the keeper says what its folder refuses
            write_text(self.folder / ABOUT, json.dumps(about, indent=1), force=True)

    def end(self, *, well: bool) -> None:
        """Let go of the folder, and remove it where the training ended `well`."""
        if self._lock is None:
            return
        if well:
            _empty(self.folder)
            self._lock.drop(remove=True)
            with contextlib.suppress(OSError):
                self.folder.rmdir()
        else:
            self._lock.drop()
        self._lock = None

    def say_what_is_kept(self) -> None:
        """Tell that a training that was stopped can be gone on with, where it can."""
        step = self.last_step()
        if step is not None:
            self._note(
                f"What was learned up to step {step:,} is kept: the same command with --resume goes on from there."
            )

    def last_step(self) -> int | None:
        """The step of the newest checkpoint; None where there is none."""
        return checkpoints.last_step(self.folder) if self._lock is not None else None


@contextlib.contextmanager
def begun(cache: Path, about: Mapping[str, Any], *, resume: bool, note: Callable[[str], None]) -> Iterator[Attempt]:
    """A training; when it fails or is stopped, what it has learned is kept, and said to be.

    Args:
        cache: the cache folder.
        about: plain values: `photos` and `versions`, and under `asked` all that decides what the training will be.
        resume: whether to go on from where an earlier process was stopped.
        note: takes a sentence for a person.

    Raises:
        SettingsError: $TELLAPART_CHECKPOINT_EVERY is not of its form.
    """
    sweep(cache)
    attempt = Attempt(folder(cache) / key(about["asked"]), about, note, Interval.from_environment())
    try:
        attempt.begin(resume=resume)
        yield attempt
    except BaseException:
        attempt.say_what_is_kept()
        raise
    finally:
        attempt.end(well=False)


def folder(cache: Path) -> Path:
    """Where all trainings are that can be gone on with."""
    return cache / "checkpoints"


def key(asked: Any) -> str:
    """32 hex digits of plain values."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]


def listing(cache: Path) -> list[Kept]:
    """The trainings that can be gone on with, the last used first."""
    found = []
    for path in _all(cache):
        about = _about(path) or {}
        size, last = _size_and_time(path)
        lock = None
        with contextlib.suppress(OSError):
            lock = _Lock.take(path / LOCK, make=False)
        running = lock is None and (path / LOCK).exists()
        if lock is not None:
            lock.drop()
        asked = about.get("asked") or {}
        found.append(
            Kept(
                name=path.name,
                size_bytes=size,
                photos=str(about.get("photos") or ""),
                recipe=str(asked.get("recipe") or ""),
                step=checkpoints.last_step(path) or 0,
                last_used=last,
                running=running,
            )
        )
    return sorted(found, key=lambda kept: (-kept.last_used, kept.name))


def clear(cache: Path) -> int:
    """Remove those that no process is at; returns the bytes freed. Only files that this package wrote go."""
    freed = sum(_remove(path) for path in _all(cache))
    with contextlib.suppress(OSError):  # not empty, or never there
        folder(cache).rmdir()
    return freed


def sweep(cache: Path) -> None:
    """Remove those that nobody went on with for 30 days."""
    for path in _all(cache):
        if time.time() - _size_and_time(path)[1] > KEPT_S:
            _remove(path)


def size_bytes(cache: Path) -> int:
    """Of all of them."""
    return sum(_size_and_time(path)[0] for path in _all(cache))


def _all(cache: Path) -> list[Path]:
    try:
        found = sorted(folder(cache).iterdir())
    except OSError:
        return []
    return [path for path in found if _KEY.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]


def _remove(path: Path) -> int:
    """Remove one that no process is at; returns the bytes freed."""
    try:
        lock = _Lock.take(path / LOCK)
    except OSError:
        return 0
    if lock is None:
        return 0
    freed = _empty(path)
    lock.drop(remove=True)
    with contextlib.suppress(OSError):
        path.rmdir()
    return freed


def _empty(path: Path) -> int:
    """Remove all of ours but the lock; returns the bytes freed."""
    freed = checkpoints.remove(path)
    with contextlib.suppress(OSError):
        size = (path / ABOUT).lstat().st_size
        (path / ABOUT).unlink()
        freed += size
    return freed


def _size_and_time(path: Path) -> tuple[int, float]:
    """Bytes of the files in a folder, and when the newest of them was written (seconds since the epoch)."""
    size, last = 0, 0.0
    with contextlib.suppress(OSError):
        for one in path.iterdir():
            with contextlib.suppress(OSError):
                found = one.lstat()
                size, last = size + found.st_size, max(last, found.st_mtime)
        last = last or path.lstat().st_mtime
    return size, last


def _about(path: Path) -> dict[str, Any] | None:
    """run.json of a folder; None where it is not as it was written."""
    try:
        found = (path / ABOUT).lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:  # a pipe would be waited for
            return None
        about = json.loads((path / ABOUT).read_bytes())
        texts = {**about["choices"], **about["versions"]}
        good = (
            about["format"] == FORMAT
            and all(isinstance(text, str) for text in texts.values())
            and isinstance(about["asked"], dict)
            and isinstance(about["photos"], str)
            and not isinstance(about["used_s"], bool)
            and 0 <= float(about["used_s"]) < 1e9
        )
        return about if good else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _why(path: Path, about: Mapping[str, Any]) -> str:
    """Why nothing is found under a key, in a clause: what is different in the one of the same pictures or folder."""
    asked = about["asked"]
    for other in sorted(_all(path.parent.parent), key=lambda each: -_size_and_time(each)[1]):
        found = _about(other)
        if found is None or found["photos"] != about["photos"]:
            continue
        theirs = found["asked"]
        names = sorted(name for name in {*asked, *theirs} if asked.get(name) != theirs.get(name))
        if "pictures" in names:
            return "the pictures or their labels are not those of the training that was stopped"
        told = [f"{name} {_said(theirs.get(name))} then, {_said(asked.get(name))} now" for name in names]
        return f"the training of these pictures that was stopped was asked for otherwise ({'; '.join(told)})"
    return "no training of these pictures was stopped after its first checkpoint"


def _said(value: Any) -> str:
    return "not given" if value is None else shown(json.dumps(value) if isinstance(value, dict | list) else str(value))


def _doubts(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """A sentence where the training began with other versions or another machine."""
    other = [
        f"{name} {before.get(name, 'none')} then, {now.get(name, 'none')} now"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    if other:
        yield (
            f"This training began otherwise ({'; '.join(other)}): it goes on, but may end with slightly different "
            f"weights."
        )


class _Lock:
    """A file that one process holds; the system lets go of it when that process ends, in whatever way."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor

    @classmethod
    def take(cls, path: Path, *, make: bool = True) -> _Lock | None:
        """The lock, or None where another process has it. Raises OSError where the file cannot be made."""
        for _ in range(3):
            descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if make else 0) | getattr(os, "O_NOFOLLOW", 0), 0o600)
            try:
                _hold(descriptor)
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return cls(path, descriptor)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except FileNotFoundError:
                pass  # removed between both: once more
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)
        return None

    def drop(self, *, remove: bool = False) -> None:
        """Let go of it."""
        with contextlib.suppress(OSError):
            if remove and os.name != "nt":
                self._path.unlink()
            os.close(self._descriptor)
            if remove and os.name == "nt":  # there an open file cannot be removed
                self._path.unlink()


def _hold(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        except OSError as error:
            raise BlockingIOError from error
    else:
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a network disk without locks: nobody is kept out
            return
