"""Squares of many requests to answers, by a thread or some a network: what gathered while it was busy goes together.

Where one picture waits, the way to run the network that answers soonest is taken. Where many do, it is the one that
answers most a second, if the machine has another; it takes batches of a fixed size, some at once.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tellapart.predict import Prediction

Run = Callable[[Sequence[str], np.ndarray], list[Prediction]]  # names and squares, uint8 (B, S, S, 3), to answers


MANY = 2  # pictures that wait from which on the way for many is taken; a single one would wait longer for it


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer and how long it took to get there."""

    prediction: Prediction
    waited_s: float  # from the square to the batch that it went in


@dataclass(slots=True, eq=False)
class _Waiting:
    path: str
    square: np.ndarray
    future: asyncio.Future[Answered]
    loop: asyncio.AbstractEventLoop
    since: float  # monotonic seconds


@dataclass(frozen=True, slots=True)
class Fast:
    """The way for many: `slots` batches of up to `batch` pictures at once, each by a thread of its own."""

    run: Callable[[int, Sequence[str], np.ndarray], list[Prediction]]  # slot, names and squares to answers
    slots: int
    batch: int


class Batcher:
    """The threads that ask a network."""

    def __init__(self, name: str, run: Run, *, max_batch: int, on_batch: Callable[[int, float], None]) -> None:
        """`on_batch` is told of each batch how many pictures it had and its seconds."""
        self._name, self._run, self._max_batch, self._on_batch = name, run, max_batch, on_batch
        self._fast: Fast | None = None
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._start(0)

    def use(self, fast: Fast) -> None:
        """Take a fast way from now on, where many wait."""
        with self._changed:
            self._fast = fast
        for slot in range(1, fast.slots):
            self._start(slot)

    def __len__(self) -> int:
        """Squares that wait."""
        return len(self._waiting)

    async def answer(self, path: str, square: np.ndarray) -> Answered:
        """The answer to a square, uint8 (S, S, 3). Who stops waiting for it is passed over."""
        loop = asyncio.get_running_loop()
        one = _Waiting(path, square, loop.create_future(), loop, time.monotonic())
        with self._changed:
            if self._closed:
                raise RuntimeError("the network was closed")  # nobody holds it any more, see `models`
            self._waiting.append(one)
            self._changed.notify_all()
        return await one.future

    def close(self) -> None:
        """End the thread when all that waits is answered."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _start(self, slot: int) -> None:
        threading.Thread(target=self._work, args=(slot,), name=f"network-{self._name}-{slot}", daemon=True).start()

    def _work(self, slot: int) -> None:
        """Answer what waits. The thread of the first slot takes whatever there is, the others what is many."""
        while True:
            with self._changed:
                while len(self._waiting) < (MANY if slot else 1):
                    if self._closed and (slot or not self._waiting):
                        return
                    self._changed.wait()
                fast = self._fast if len(self._waiting) >= MANY else None
                most = self._max_batch if fast is None else fast.batch
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), most))]
            group = [one for one in group if not one.future.done()]
            if group:
                self._answer(group, None if fast is None else functools.partial(fast.run, slot))

    def _answer(self, group: list[_Waiting], fast: Run | None) -> None:
        start = time.monotonic()
        try:
            found = (fast or self._run)([one.path for one in group], np.stack([one.square for one in group]))
            results = [Answered(each, start - one.since) for each, one in zip(found, group, strict=True)]
        except Exception as error:  # whatever it is, those who wait are told, and the next batch is another one
            results = [error] * len(group)
        self._on_batch(len(group), time.monotonic() - start)
        pairs = list(zip(group, results, strict=True))
        try:
            group[0].loop.call_soon_threadsafe(_deliver, pairs)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return


def _deliver(pairs: list[tuple[_Waiting, Answered | Exception]]) -> None:
    for one, result in pairs:
        if one.future.done():
            continue
        if isinstance(result, Exception):
            one.future.set_exception(result)
        else:
            one.future.set_result(result)
