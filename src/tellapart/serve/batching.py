"""Squares of many requests to answers, by one thread a network: what gathered while it was busy goes together."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tellapart.predict import Prediction

Run = Callable[[Sequence[str], np.ndarray], list[Prediction]]  # names and squares, uint8 (B, S, S, 3), to answers


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


class Batcher:
    """A thread that asks a network."""

    def __init__(self, name: str, run: Run, *, max_batch: int, on_batch: Callable[[int, float], None]) -> None:
        """`on_batch` is told of each batch how many pictures it had and its seconds."""
        self._run, self._max_batch, self._on_batch = run, max_batch, on_batch
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"network-{name}", daemon=True)
        self._thread.start()

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
            self._changed.notify()
        return await one.future

    def close(self) -> None:
        """End the thread when all that waits is answered."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._closed:
                        return
                    self._changed.wait()
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch))]
            group = [one for one in group if not one.future.done()]
            if group:
                self._answer(group)

    def _answer(self, group: list[_Waiting]) -> None:
        start = time.monotonic()
        try:
            found = self._run([one.path for one in group], np.stack([one.square for one in group]))
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
