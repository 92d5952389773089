"""Private folders among the system's temporary files, whose names say whose they are.

A process that is killed leaves its own behind; the next that makes one takes away those of processes that are gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tellapart import leftovers

_NAME = re.compile(rf"tellapart-(?:[a-z]+-)?{leftovers.MARK}")
_swept: set[str] = set()  # places that this process has looked through


@contextlib.contextmanager
def private(kind: str = "", place: str | None = None) -> Iterator[Path]:
    """A new folder that only this user can look into, gone at the end of the block.

    Args:
        kind: small letters for its name, where it helps a person to know what is in it.
        place: where to make it; None for the system's own place.

    Raises:
        OSError: the place for temporary files takes none.
    """
    place = place or tempfile.gettempdir()
    if place not in _swept:
        _swept.add(place)
        sweep(place)
    folder = Path(place, "-".join(filter(None, ("tellapart", kind, leftovers.mark()))))
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        # What a program that was ended may still write into it goes with the next run.
        shutil.rmtree(folder, ignore_errors=True)


def sweep(place: str | os.PathLike[str]) -> None:
    """Take away the private folders in `place` of this user's processes that are gone; never those of others.

    Housekeeping: what cannot be looked at or taken away stays.
    """
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if match and entry.is_dir(follow_symlinks=False) and _is_ours(entry) and leftovers.is_gone(match):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    return not hasattr(os, "getuid") or entry.stat(follow_symlinks=False).st_uid == os.getuid()
