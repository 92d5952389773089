"""What was chosen by measuring on this machine, kept in the cache folder: a repeated run keeps to it.

`choices.json` is a flat table of key and choice. A key names all that the choice hangs on, so that nothing in it goes
stale; a file that is missing or damaged is no choice at all, and measuring makes it anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from pathlib import Path

from tellapart.errors import OutputError
from tellapart.outputs import write_text

NAME = "choices.json"


def key(*parts: object) -> str:
    """16 hex digits for what a choice hangs on; this machine is always part of it."""
    machine = (platform.node(), platform.machine(), os.cpu_count())
    return hashlib.sha256(repr((*parts, machine)).encode()).hexdigest()[:16]


def recall(cache: Path, key: str) -> str | None:
    """The choice made before, or None."""
    return _read(cache).get(key)


def record(cache: Path, key: str, choice: str) -> None:
    """Keep a choice; where the cache folder cannot be written it is made anew by the next run."""
    with contextlib.suppress(OSError, OutputError):
        cache.mkdir(parents=True, exist_ok=True)
        write_text(cache / NAME, json.dumps({**_read(cache), key: choice}, indent=1), force=True)


def _read(cache: Path) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError):
        choices = json.loads((cache / NAME).read_text())
        if isinstance(choices, dict):
            return choices
    return {}
