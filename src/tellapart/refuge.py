"""A private folder in place of a cache that cannot be written, for the user's result matters more than the cache."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tellapart import cache as caches
from tellapart import choices, tempfolders
from tellapart.errors import OutputError
from tellapart.files import because, shown


@contextlib.contextmanager
def writable(folder: str | os.PathLike[str] | None, note: Callable[[str], None]) -> Iterator[Path]:
    """The cache folder; a private one for this run where that cannot be written, which is said.

    What the other holds and shows is used all the same.

    Args:
        folder: the one that the user names, which must do; None for the usual one, see `cache.cache_folder`.
        note: is told where the private one is, and why.

    Raises:
        OutputError: the one that the user names cannot be written.
    """
    chosen = caches.cache_folder(None if folder is None else Path(folder))
    try:
        _try(chosen)
    except OSError as error:
        if folder is not None:
            raise caches.cannot_write(chosen, error) from error
        refusal = error
    else:
        yield chosen
        return
    with contextlib.ExitStack() as made:
        try:
            private = made.enter_context(tempfolders.private("cache"))
        except OSError as error:  # no folder for temporary files takes any
            raise caches.cannot_write(chosen, refusal) from error
        note(
            f"The cache folder {shown(chosen)} cannot be written: {because(refusal)}. What this run keeps is in "
            f"{shown(private)} and goes with it, so that nothing can be resumed. Name another folder with --cache DIR."
        )
        _borrow(chosen, private)
        yield private


def _try(cache: Path) -> None:
    """Raise OSError where a folder cannot be made in the cache, or where that would be; nothing stays of it."""
    place = caches.pictures_folder(cache)
    while not os.path.lexists(place):
        place = place.parent
    trial = place / caches.private_name("building")
    trial.mkdir()
    trial.rmdir()
    for left in place.glob(".building-*"):  # a trial whose removal failed
        if caches.is_stale(left):
            with contextlib.suppress(OSError):  # it holds something, and is no trial
                left.rmdir()


def _borrow(chosen: Path, private: Path) -> None:
    """Let the private cache show what the other holds."""
    with contextlib.suppress(OSError, OutputError):  # it shows nothing, or there are no links: all is made anew
        stores = [file for store in caches.entries(caches.pictures_folder(chosen)) for file in store.iterdir()]
        for found in (*stores, *(chosen / "graphs").glob("*.onnx")):
            link = private / found.relative_to(chosen)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(found.absolute())
    with contextlib.suppress(OSError):
        shutil.copyfile(chosen / choices.NAME, private / choices.NAME)
