"""Squares of many to answers: what gathers goes together, and nobody is answered with another's answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from tellapart.predict import Prediction
from tellapart.serve.batching import Batcher, Fast


def square(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def told(paths: Sequence[str], batch: np.ndarray) -> list[Prediction]:
    """The label is what the square holds."""
    return [Prediction(path, str(one[0, 0, 0]), 1.0) for path, one in zip(paths, batch, strict=True)]


def test_what_gathers_while_it_is_busy_goes_together() -> None:
    begun, go_on, batches = threading.Event(), threading.Event(), []

    def run(paths: Sequence[str], batch: np.ndarray) -> list[Prediction]:
        begun.set()
        go_on.wait(30)
        batches.append(len(batch))
        return told(paths, batch)

    async def ask() -> list[str | None]:
        batcher = Batcher("a", run, max_batch=4, on_batch=lambda n, seconds: None)
        first = asyncio.create_task(batcher.answer("0", square(0)))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batcher.answer(str(i), square(i))) for i in range(1, 7)]
        given_up = asyncio.create_task(batcher.answer("no", square(99)))
        await asyncio.sleep(0.01)
        given_up.cancel()
        await asyncio.sleep(0)
        go_on.set()
        found = await asyncio.gather(first, *others)
        batcher.close()
        return [each.prediction.label for each in found]

    assert asyncio.run(ask()) == [str(i) for i in range(7)]
    assert batches == [1, 4, 2]


def test_many_go_the_fast_way_in_slots_of_their_own() -> None:
    used: list[tuple[int, int]] = []
    both = threading.Barrier(2)

    def fast(slot: int, paths: Sequence[str], batch: np.ndarray) -> list[Prediction]:
        used.append((slot, len(batch)))
        both.wait(30)  # two batches are under way at once
        return told(paths, batch)

    async def ask() -> list[str | None]:
        batcher = Batcher("a", told, max_batch=4, on_batch=lambda n, seconds: None)
        alone = await batcher.answer("alone", square(7))
        batcher.use(Fast(fast, slots=2, batch=8))
        found = await asyncio.gather(*(batcher.answer(str(i), square(i)) for i in range(16)))
        batcher.close()
        assert alone.prediction.label == "7"
        return [each.prediction.label for each in found]

    assert asyncio.run(ask()) == [str(i) for i in range(16)]
    assert sorted(used) == [(0, 8), (1, 8)]


def test_an_error_is_told_to_its_batch_alone() -> None:
    def run(paths: Sequence[str], batch: np.ndarray) -> list[Prediction]:
        if "bad" in paths:
            raise MemoryError("no")
        return told(paths, batch)

    async def ask() -> None:
        batcher = Batcher("a", run, max_batch=4, on_batch=lambda n, seconds: None)
        with pytest.raises(MemoryError):
            await batcher.answer("bad", square(0))
        assert (await batcher.answer("good", square(3))).prediction.label == "3"
        batcher.close()

    asyncio.run(ask())
