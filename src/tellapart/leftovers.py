"""What is being written, and what was left of it when its process ended: both are told by their names.

Whatever is not complete yet bears a name that says which process writes it. So a later run can take away what a process
that is gone has left, and nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import time

AGE_S = 24 * 3600  # nothing writes so long without a change: older, it is a leftover whoever's the number is now
MARK = r"(?P<owner>[0-9a-f]{8})-(?P<pid>\d{1,10})-[0-9a-f]{8}"
_NAME = re.compile(rf"\.(?P<name>.*)\.{MARK}\.(?P<kind>tmp|old)", re.DOTALL)
_KEPT_CHARACTERS = 50  # of a name; a file's may have 255 bytes, which are some 60 letters of the largest alphabets


def mark() -> str:
    """A part of a name that no other process or thread has; `MARK` reads it."""
    return f"{owner()}-{os.getpid()}-{secrets.token_hex(4)}"


def temporary(name: str) -> str:
    """The hidden name under which a file or folder is written that will be called `name`."""
    return f".{name[:_KEPT_CHARACTERS]}.{mark()}.tmp"


def set_aside(name: str) -> str:
    """The hidden name of what stood under `name` while another takes its place."""
    return f".{name[:_KEPT_CHARACTERS]}.{mark()}.old"


@functools.cache
def owner() -> str:
    """8 hex digits: where a process number means the same process as here (containers have their own)."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        namespace = ""
    return hashlib.sha256(f"{socket.gethostname()}\n{namespace}".encode()).hexdigest()[:8]


def is_stale(match: re.Match[str], changed: float) -> bool:
    """Whether what bears a name with `MARK` in it cannot be written any more.

    `changed` is when it was last changed, in seconds since the epoch.
    """
    return is_gone(match) or time.time() - changed > AGE_S


def is_gone(match: re.Match[str]) -> bool:
    """Whether the process that a name with `MARK` in it tells of ran here and has ended."""
    return match["owner"] == owner() and not is_alive(int(match["pid"]))


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs here."""
    if os.name == "nt":  # os.kill would end the process there; age alone decides
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's, alive
        return True
    return True


def sweep(folder: str | os.PathLike[str]) -> None:
    """Take away what processes that are gone were writing in a folder; what they had set aside gets its name back.

    Housekeeping: what cannot be looked at or taken away stays.
    """
    found: list[tuple[str, re.Match[str]]] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if match and is_stale(match, _changed(entry.path)):
                found.append((entry.path, match))
    for path, match in sorted(found, key=lambda each: each[1]["kind"]):  # what was set aside first
        with contextlib.suppress(OSError):
            place = os.path.join(folder, match["name"])
            # A long name was cut, and cannot be given back; then it stays for its owner to see.
            if match["kind"] == "old" and len(match["name"]) == _KEPT_CHARACTERS:
                continue
            if match["kind"] == "old" and not os.path.lexists(place):
                os.rename(path, place)
                continue
            _remove(path)


def _remove(path: str) -> None:
    if stat.S_ISDIR(os.lstat(path).st_mode):
        shutil.rmtree(path, ignore_errors=True)
    else:
        os.unlink(path)


def _changed(path: str) -> float:
    """When a file, or anything in a folder, was last changed: seconds since the epoch."""
    newest = 0.0
    with contextlib.suppress(OSError):
        newest = os.lstat(path).st_mtime
        for folder, _, files in os.walk(path):
            for each in (folder, *(os.path.join(folder, name) for name in files)):
                # A picture of a cleaned copy keeps its original's time, so that a folder's own counts too.
                newest = max(newest, os.lstat(each).st_mtime)
    return newest
