"""Answers that were given already, kept while a long run is under way, so that a killed one loses little.

One line of JSON an answer, in the order asked. The same command with `--resume` takes the lines as they stand, as long
as they are about the same paths in the same order, and asks only about the rest: no answer comes twice, none is left
out. When the run has ended the journal goes. Nothing of it is held in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tellapart import addresses, outputs
from tellapart.errors import OutputError
from tellapart.files import because, shown
from tellapart.predict import Prediction, Question

FOLDER = "answers"  # in the cache folder
KEEP_S = 1.0  # at most so much work is lost
VERSION = 1


class Journal:
    """The journal of one command, held by one process at a time. A context manager."""

    def __init__(self, cache: Path, model: bytes, asked: Sequence[str], settings: dict[str, Any]) -> None:
        """Name it; nothing is opened.

        Args:
            cache: the cache folder.
            model: what stands for the model: its manifest as text.
            asked: the pictures of the command.
            settings: all else that decides an answer: plain values.
        """
        about = [VERSION, hashlib.sha256(model).hexdigest(), [addresses.absolute(each) for each in asked], settings]
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        self.path = cache / FOLDER / f"{key}.jsonl"
        self.n_known = 0  # answers taken from it
        self._file: BinaryIO | None = None
        self._kept = 0.0

    def __enter__(self) -> Journal:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+b")
            _lock(self._file)
        except BlockingIOError:
            self._file.close()  # pyright: ignore[reportOptionalMemberAccess] - what cannot be locked is open
            raise OutputError(
                "The same command must not run twice at once, and another process is at it. Wait for it, or leave out "
                "--resume."
            ) from None
        except OSError as error:
            raise self._refused(error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._file is not None
        with contextlib.suppress(OSError):  # the answers are where they were asked for
            if kind is None:
                os.unlink(self.path)
            else:
                self._sync()
        self._file.close()

    def answers(
        self, questions: Iterable[Question], ask: Callable[[Iterable[Question]], Iterator[Prediction]]
    ) -> Iterator[Prediction]:
        """The answer to each question, in their order: those that are known, then what `ask` gives, which is kept."""
        assert self._file is not None
        waiting = iter(questions)
        self._file.seek(0)
        end, rest = 0, []
        for line in iter(self._file.readline, b""):
            known = _read(line)
            if known is None:  # cut short
                break
            question = next(waiting, None)
            if question is None or question.path != known.path:  # other pictures are there now
                rest = [] if question is None else [question]
                break
            end += len(line)
            self.n_known += 1
            yield known
        self._file.truncate(end)
        for answer in ask(_chained(rest, waiting)):
            self._add(answer)
            yield answer

    def _add(self, answer: Prediction) -> None:
        assert self._file is not None
        try:
            self._file.write(json.dumps(answer.as_dict()).encode() + b"\n")
            if time.monotonic() - self._kept > KEEP_S:
                self._sync()
        except OSError as error:
            raise self._refused(error) from error

    def _sync(self) -> None:
        assert self._file is not None
        self._file.flush()
        outputs.sync(self._file.fileno())
        self._kept = time.monotonic()

    def _refused(self, error: OSError) -> OutputError:
        return OutputError(
            f"With --resume the answers must be kept in {shown(self.path.parent)}; {because(error)}. Make room, name "
            "another folder by $TELLAPART_CACHE, or leave out --resume."
        )


def clear(cache: Path) -> int:
    """Remove all journals that no process is writing; the bytes freed."""
    freed = 0
    for path in (cache / FOLDER).glob("*.jsonl"):
        with contextlib.suppress(OSError), path.open("a+b") as file:
            _lock(file)
            size = file.tell()
            path.unlink()
            freed += size
    with contextlib.suppress(OSError):  # never there, or not empty
        (cache / FOLDER).rmdir()
    return freed


def _chained(first: list[Question], others: Iterator[Question]) -> Iterator[Question]:
    yield from first
    yield from others


def _read(line: bytes) -> Prediction | None:
    if not line.endswith(b"\n"):
        return None
    try:
        values = json.loads(line)
        sets = values.pop("label_set")
        return Prediction(**values, label_set=None if sets is None else tuple(sets))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _lock(file: BinaryIO) -> None:
    """Hold a file until it is closed, however that happens. Raises BlockingIOError where another process does."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a network disk without locks
        return
