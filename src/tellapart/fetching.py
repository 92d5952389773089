"""What is not on this disk, fetched while other things are done; and no longer than somebody waits for it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor

from tellapart.addresses import is_place


def soon(paths: Iterable[str]) -> None:
    """Begin to fetch those pictures that are elsewhere and will be opened; nothing is loaded where none is."""
    if elsewhere := [path for path in paths if is_place(path)]:
        from tellapart import pictures, places

        places.soon(elsewhere, pictures.MAX_FILE_BYTES)


@contextlib.contextmanager
def by(pool: Executor) -> Iterator[None]:
    """Where the run is stopped in here, or nobody wants the rest, let nothing more be done by `pool`, nor be fetched.

    Else the end of a pool would wait for servers that do not answer.
    """
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        stop()
        raise


def stop() -> None:
    """End what is being fetched, if anything is."""
    if (places := sys.modules.get("tellapart.places")) is not None:
        places.stop()
