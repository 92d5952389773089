"""Processes that open pictures: the same pixels as here, and no picture that harms another."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from conftest import draw
from hostilefiles import slow_jpeg
from tellapart import explanations, pictures
from tellapart.errors import PictureError
from tellapart.preprocess import Preprocess, load
from tellapart.serve.decoders import Decoders

HOW = Preprocess(40)
ended: list[str] = []


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    """Two of them, three seconds a picture, 64 MiB."""
    found = Decoders(2, time_limit_s=3, max_pixels=50_000_000, memory_bytes=64 * 2**20, on_end=ended.append)
    found.wait()
    yield found
    found.stop()


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def test_pixels_are_those_of_preprocess(decoders: Decoders) -> None:
    async def ask() -> None:
        for how in (HOW, Preprocess(24, "crop")):
            for kind in ("PNG", "JPEG"):
                data = encoded(draw("circles", 5, (200, 90)), kind)
                found = await decoders.decode(data, how, small=True)
                np.testing.assert_array_equal(found.square, load(data, how))
                assert found.small is not None
                whole = pictures.decode(data, at_least_px=320).pixels
                np.testing.assert_array_equal(found.small, explanations.seen(whole, how.fit))
                assert (await decoders.decode(data, how)).small is None

    asyncio.run(ask())


def test_one_that_hangs_is_ended_and_the_others_go_on(decoders: Decoders) -> None:
    fine, hostile = encoded(draw("circles", 6)), slow_jpeg(5000, 1000)

    async def ask() -> None:
        start = time.monotonic()
        held = asyncio.create_task(decoders.decode(hostile, HOW))
        await asyncio.sleep(0.05)
        for _ in range(10):
            await decoders.decode(fine, HOW)
        with pytest.raises(PictureError, match="longer than 3 s to open"):
            await held
        assert time.monotonic() - start < 30
        for _ in range(4):
            assert (await decoders.decode(fine, HOW)).square.shape == (40, 40, 3)

    asyncio.run(ask())
    assert set(ended) == {"time"}


def test_several_that_hang_make_way(decoders: Decoders) -> None:
    """Four are more than there are processes; a picture after them is opened before they are all given up."""
    fine, hostile = encoded(draw("circles", 6)), slow_jpeg(5000, 1000)

    async def ask() -> None:
        held = [asyncio.create_task(decoders.decode(hostile, HOW)) for _ in range(4)]
        await asyncio.sleep(0.1)
        assert (await decoders.decode(fine, HOW)).square.shape == (40, 40, 3)
        assert len(decoders._workers) <= 4
        for each in await asyncio.gather(*held, return_exceptions=True):
            assert isinstance(each, PictureError)
        assert (await decoders.decode(fine, HOW)).square.shape == (40, 40, 3)

    asyncio.run(ask())


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is limited on Linux")
def test_memory_is_limited(decoders: Decoders) -> None:
    """49 megapixels are 147 MB as RGB, more than the 64 MiB that are allowed."""
    large = encoded(Image.new("RGB", (7000, 7000)))

    async def ask() -> None:
        with pytest.raises(PictureError, match="more memory"):
            await decoders.decode(large, HOW)
        assert (await decoders.decode(encoded(draw("circles", 6)), HOW)).square.shape == (40, 40, 3)

    asyncio.run(ask())


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_one_that_crashes_is_replaced(decoders: Decoders) -> None:
    async def ask() -> None:
        held = asyncio.create_task(decoders.decode(slow_jpeg(5000, 1000), HOW))
        await asyncio.sleep(0.2)
        (busy,) = [worker for worker in decoders._workers if worker.since is not None]
        os.kill(busy.process.pid, signal.SIGSEGV)
        with pytest.raises(PictureError, match="its decoder failed on it"):
            await held
        assert (await decoders.decode(encoded(draw("circles", 6)), HOW)).square.shape == (40, 40, 3)

    asyncio.run(ask())
    assert ended[-1] == "crash"


def test_who_gives_up_is_passed_over(decoders: Decoders) -> None:
    async def ask() -> None:
        data = encoded(draw("circles", 6))
        tasks = [asyncio.create_task(decoders.decode(data, HOW)) for _ in range(6)]
        await asyncio.sleep(0)
        for task in tasks[:5]:
            task.cancel()
        assert (await tasks[5]).square.shape == (40, 40, 3)

    asyncio.run(ask())
