"""Files to the SHA-256 of their bytes, on threads or by workers (see `jobs`).

What is no picture by its first bytes has its reason instead.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from tellapart import fetching, jobs
from tellapart.errors import PictureError
from tellapart.jobs import Columns, Job
from tellapart.kinds import describe_unknown, sniff
from tellapart.pictures import read_bytes

_BATCH = 16  # files a task of the thread pool: handing over one by one costs as much as reading
_HEAD_BYTES = 4096
_BLOCK = 1024  # files that a worker elsewhere reads in one go


def hash_all(paths: list[str], progress: Callable[[int, int], None] | None) -> Iterator[tuple[str | None, str | None]]:
    """Yield (content, None) or (None, reason) of each file in order, few in flight at a time."""
    workers = jobs.workers()
    if workers is not None and len(paths) > _BLOCK:
        yield from _by_workers(paths, workers, progress)
        return
    threads = os.cpu_count() or 1
    waiting: deque[Future[list[tuple[str | None, str | None]]]] = deque()
    done = 0
    with ThreadPoolExecutor(threads, thread_name_prefix="tellapart-catalog") as pool, fetching.by(pool):
        for start in range(0, len(paths) + 4 * threads * _BATCH, _BATCH):
            if start < len(paths):
                fetching.soon(paths[start : start + _BATCH])
                waiting.append(pool.submit(_hash_batch, paths[start : start + _BATCH]))
            if waiting and (start >= len(paths) or len(waiting) >= 4 * threads):
                for result in waiting.popleft().result():
                    done += 1
                    if progress is not None:
                        progress(done, len(paths))
                    yield result


def _by_workers(
    paths: list[str], workers: jobs.Workers, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[str | None, str | None]]:
    job = Job("tellapart.contents:hashing", seen=jobs.some_seen(paths))
    blocks = ({"path": jobs.packed(paths[start : start + _BLOCK])} for start in range(0, len(paths), _BLOCK))
    done = 0
    for each in workers.run(job, blocks):
        for content, reason in jobs.unpacked(each.columns["found"]):
            done += 1
            if progress is not None:
                progress(done, len(paths))
            yield content, reason


def hashing(threads: int) -> jobs.Doing:
    """What a worker does with paths: `found`, content and reason of each."""

    def do(columns: Columns) -> Columns:
        paths = jobs.unpacked(columns["path"])
        with ThreadPoolExecutor(threads, thread_name_prefix="tellapart-catalog") as pool:
            return {"found": jobs.packed(pool.map(_hash, paths))}

    return do


def _hash_batch(paths: list[str]) -> list[tuple[str | None, str | None]]:
    return [_hash(path) for path in paths]


def _hash(path: str) -> tuple[str | None, str | None]:
    try:
        data = read_bytes(path)
    except PictureError as error:
        return None, error.reason
    head = data[:_HEAD_BYTES]
    if sniff(head) is None:
        return None, describe_unknown(head)
    return hashlib.sha256(data).hexdigest(), None
