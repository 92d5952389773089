"""Work that can be done on another machine: a function by its name with plain values, and blocks of what it is asked.

A stage that goes through very many pictures asks `workers()`. Where there are none it does its work itself, on threads;
else it gives them a `Job` and blocks of cells, and takes what comes back in the same order. The job's function is the
stage's own, so that it makes no difference to a result where it was made. Nothing here knows who the workers are.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

BLOCK = 128  # pictures that are decoded in one go: a worker that ends midway loses half a second of its work
_SOME = 64  # files by which a worker finds out whether it sees the pictures: one may go meanwhile
# What makes the same pixels and the same numbers of the same picture.
PACKAGES = (
    "tellapart",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "simplejpeg",
    "pi-heif",
    "onnxruntime",
    "openvino",
)

Columns = Mapping[str, np.ndarray | list[bytes]]  # of a block, by name: arrays (N, …), or N cells of bytes
Doing = Callable[[Columns], Columns]


@dataclass(frozen=True, slots=True)
class Job:
    """What workers do with each block."""

    name: str  # "module:function", which takes `settings` and `threads`, and gives a `Doing`
    settings: Mapping[str, Any] = field(default_factory=dict)  # plain values, bytes among them
    seen: tuple[str, ...] = ()  # some of the files, as this process sees them: who sees none cannot do the job


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """A block that was done."""

    columns: Columns
    worker: str  # which of them did it: a name for people


class Workers(Protocol):
    """Those who do jobs."""

    def run(self, job: Job, blocks: Iterable[Columns]) -> Iterator[Done]:
        """Each block done, in the order given, each once; blocks are taken as they are needed.

        Raises:
            TellapartError: a worker cannot do the job at all, in one line.
        """
        ...


_AT_WORK: ContextVar[Workers | None] = ContextVar("workers", default=None)


@contextlib.contextmanager
def given_to(workers: Workers) -> Iterator[None]:
    """Have these workers do, in this thread, what can be done elsewhere."""
    before = _AT_WORK.set(workers)
    try:
        yield
    finally:
        _AT_WORK.reset(before)


def workers() -> Workers | None:
    """Who does what can be done elsewhere; None where this process does all itself."""
    return _AT_WORK.get()


def opened(job: Job, threads: int) -> Doing:
    """Make ready to do a job in this process, on at most so many cores."""
    return named(job.name)(**job.settings, threads=threads)


def named(name: str) -> Callable[..., Any]:
    """The function that "module:function" names."""
    module, function = name.split(":")
    return getattr(importlib.import_module(module), function)


def some_seen(paths: Iterable[str]) -> tuple[str, ...]:
    """Of the first paths those that this process sees, for `Job.seen`."""
    return tuple(path for path in itertools.islice(paths, _SOME) if os.path.lexists(path))


def packed(values: Iterable[Any]) -> list[bytes]:
    """Plain values as cells: numbers come back bit for bit, and so do names that are no text."""
    return [json.dumps(value).encode("ascii") for value in values]


def unpacked(cells: np.ndarray | list[bytes]) -> list[Any]:
    """What was `packed`."""
    return [json.loads(cell) for cell in cells]


@functools.cache
def versions() -> dict[str, str | None]:
    """What must be the same wherever a job is done, by name of the package; None where it is not installed."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        found[package] = None
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
