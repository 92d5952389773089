"""What was chosen by measuring on this machine, kept in the cache folder: a repeated run keeps to it.

`choices.json` is a flat table of key and choice. A key names all that the choice hangs on, so that nothing in it goes
stale; a file that is missing or damaged is no choice at all, and measuring makes it anew.

A result depends on such choices, so a bundle tells them: whatever is chosen within `noted` is written down under the
words that it is about. A training that is to be like another one is given the other's choices there, which go before
those of the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from tellapart import outputs
from tellapart.errors import OutputError

NAME = "choices.json"
LOCK = ".choices.lock"  # empty; beside the table, which a new one replaces
IN_TIME = "in the time there was"  # how those begin that a budget decides


@dataclass(frozen=True, slots=True)
class Notes:
    """What was chosen within `noted`: what about, and the choice."""

    given: Mapping[str, str]  # choices of another training, to be kept to
    made: dict[str, str] = field(default_factory=dict)
    told: Callable[[Mapping[str, str]], None] = lambda made: None  # called after each choice


_NOTES: ContextVar[Notes | None] = ContextVar("notes", default=None)


@contextlib.contextmanager
def noted(
    given: Mapping[str, str] | None = None, told: Callable[[Mapping[str, str]], None] = lambda made: None
) -> Iterator[Notes]:
    """Note every choice that is made, in this thread; those `given`, by what they are about, are kept to.

    `told` is called with all that were made after each.
    """
    notes = Notes(given or {}, told=told)
    before = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(before)


def afresh() -> None:
    """Forget what this training chose so far: something else is trained in its place."""
    notes = _NOTES.get()
    if notes is not None:
        notes.made.clear()


def key(*parts: object) -> str:
    """16 hex digits for what a choice hangs on; this machine is always part of it."""
    machine = (platform.node(), platform.machine(), os.cpu_count())
    return hashlib.sha256(repr((*parts, machine)).encode()).hexdigest()[:16]


def chosen(
    about: str,
    key: str | None,
    cache: Path,
    is_one: Callable[[str], bool],
    measure: Callable[[], str],
    *,
    keep: bool = True,
) -> str:
    """The choice that was given or made before, if it is one here; else what measuring finds, which is kept.

    Args:
        about: what is chosen, in words that are the same on every machine.
        key: see `key`; None for what is good for this training alone, as what a budget has room for.
        cache: the cache folder.
        is_one: whether a choice can be made on this machine.
        measure: makes the choice.
        keep: whether to write it into the cache.
    """
    notes = _NOTES.get()
    found = given(about)
    if found is None or not is_one(found):
        found = None if key is None else recall(cache, key)
    if found is None or not is_one(found):
        found = measure()
        if keep and key is not None:
            record(cache, key, found)
    if notes is not None:
        notes.made[about] = found
        notes.told(notes.made)
    return found


def given(about: str) -> str | None:
    """What is to be kept to: what this training chose already, or what it is to be like; None if anything goes."""
    notes = _NOTES.get()
    return None if notes is None else notes.made.get(about, notes.given.get(about))


def recall(cache: Path, key: str) -> str | None:
    """The choice made before, or None."""
    found = _read(cache).get(key)
    return found if isinstance(found, str) else None


def record(cache: Path, key: str, choice: str) -> None:
    """Keep a choice; where the cache folder cannot be written it is made anew by the next run.

    Of two processes that record at once, each adds to what the other has written.
    """
    with contextlib.suppress(OSError, OutputError):
        cache.mkdir(parents=True, exist_ok=True)
        with open(cache / LOCK, "ab") as lock, outputs.locked(lock.fileno()):
            outputs.write_text(cache / NAME, json.dumps({**_read(cache), key: choice}, indent=1), force=True)


def _read(cache: Path) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        choices = json.loads((cache / NAME).read_text(encoding="utf-8"))
        if isinstance(choices, dict):
            return {key: choice for key, choice in choices.items() if isinstance(choice, str)}
    return {}
