"""Processes that open pictures: the same pixels as here, and no picture that harms another."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from conftest import draw
from hostilefiles import slow_jpeg
from tellapart import explanations, pictures
from tellapart.errors import PictureError, TellapartError
from tellapart.preprocess import Preprocess, load
from tellapart.serve import decoders as serve_decoders
from tellapart.serve.decoders import Decoders
from tellapart.serve.refusals import Refusal

HOW = Preprocess(40)
ended: list[str] = []


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    """Two of them, a second and a half a picture, 160 MiB."""
    found = Decoders(2, time_limit_s=1.5, max_pixels=50_000_000, memory_bytes=160 * 2**20, on_end=ended.append)
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
    fine, hostile = encoded(draw("circles", 6)), slow_jpeg()

    async def ask() -> None:
        start = time.monotonic()
        held = asyncio.create_task(decoders.decode(hostile, HOW))
        await asyncio.sleep(0.05)
        for _ in range(10):
            await decoders.decode(fine, HOW)
        with pytest.raises(PictureError, match=r"longer than 1\.5 s to open"):
            await held
        assert time.monotonic() - start < 30
        for _ in range(4):
            assert (await decoders.decode(fine, HOW)).square.shape == (40, 40, 3)

    asyncio.run(ask())
    assert set(ended) == {"time"}


def test_several_that_hang_make_way(decoders: Decoders) -> None:
    """Four are more than there are processes; a picture after them is opened before they are all given up."""
    fine, hostile = encoded(draw("circles", 6)), slow_jpeg()

    async def ask() -> None:
        held = [asyncio.create_task(decoders.decode(hostile, HOW)) for _ in range(4)]
        await asyncio.sleep(0.1)
        assert (await decoders.decode(fine, HOW)).square.shape == (40, 40, 3)
        assert len(decoders._lanes) <= 4
        for each in await asyncio.gather(*held, return_exceptions=True):
            assert isinstance(each, PictureError)
        assert (await decoders.decode(fine, HOW)).square.shape == (40, 40, 3)

    asyncio.run(ask())


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="seconds of computing are told on Linux")
def test_slow_ones_have_spares_less_of_the_cores_and_an_end_before_their_time() -> None:
    """By seconds of computing alone: by the clock each of them could take ten minutes."""
    gone: list[str] = []
    found = Decoders(2, time_limit_s=600, max_pixels=50_000_000, memory_bytes=160 * 2**20, on_end=gone.append)
    found.wait()

    async def ask() -> None:
        held = [asyncio.create_task(found.decode(slow_jpeg(), HOW)) for _ in range(4)]
        await asyncio.sleep(0.1)
        fine = asyncio.create_task(found.decode(encoded(draw("circles", 6)), HOW))
        most, nice = 0, set()
        start = time.monotonic()
        while not fine.done() and time.monotonic() - start < 120:
            most = max(most, len(found._threads))
            for lane in list(found._lanes):
                with contextlib.suppress(ProcessLookupError):  # it has ended
                    nice.add(os.getpriority(os.PRIO_PROCESS, lane.process.pid) - os.getpriority(os.PRIO_PROCESS, 0))
            await asyncio.sleep(0.02)
        assert fine.done()
        assert (await fine).square.shape == (40, 40, 3)
        assert most == 4
        assert max(nice) > 0
        assert gone[:1] == ["time"]
        for each in held:
            each.cancel()

    try:
        asyncio.run(ask())
    finally:
        found.stop()


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_one_that_nobody_ends_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times as late, should the thread that watches have died."""
    monkeypatch.setattr(serve_decoders._Lane, "end_if_late", lambda *_: None)
    found = Decoders(1, time_limit_s=0.2, max_pixels=50_000_000, memory_bytes=160 * 2**20)
    found.wait()
    try:
        with pytest.raises(PictureError, match="its decoder failed on it"):
            asyncio.run(found.decode(slow_jpeg(), HOW))
    finally:
        found.stop()


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is limited on Linux")
def test_memory_is_limited(decoders: Decoders) -> None:
    """49 megapixels are 196 MB in Pillow, more than the 160 MiB that are allowed."""
    large = encoded(Image.new("RGB", (7000, 7000)))

    async def ask() -> None:
        with pytest.raises(PictureError, match="more memory"):
            await decoders.decode(large, HOW)
        assert (await decoders.decode(encoded(draw("circles", 6)), HOW)).square.shape == (40, 40, 3)

    asyncio.run(ask())


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_one_that_crashes_is_replaced(decoders: Decoders) -> None:
    async def ask() -> None:
        held = asyncio.create_task(decoders.decode(slow_jpeg(), HOW))
        await asyncio.sleep(0.2)
        (busy,) = [lane for lane in decoders._lanes if lane.since is not None]
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


class _NoRoom:
    """Stands for `subprocess.Popen`, and has no room for a process while it is full."""

    def __init__(self) -> None:
        self.full, self.refused, self._real = False, 0, subprocess.Popen

    def __call__(self, *arguments: object, **kinds: object) -> subprocess.Popen:
        if self.full:
            self.refused += 1
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return self._real(*arguments, **kinds)  # pyright: ignore


@pytest.fixture
def popen(monkeypatch: pytest.MonkeyPatch) -> _NoRoom:
    made = _NoRoom()
    monkeypatch.setattr(subprocess, "Popen", made)
    monkeypatch.setattr(serve_decoders, "AGAIN_S", 0.05)
    return made


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_where_no_process_can_start_it_is_said_when_to_come_again_and_then_one_does(popen: _NoRoom) -> None:
    told: list[str] = []
    found = Decoders(1, time_limit_s=60, max_pixels=10**6, memory_bytes=160 * 2**20, on_failure=told.append)
    found.wait()
    fine = encoded(draw("circles", 6))

    async def ask() -> None:
        popen.full = True
        (lane,) = found._lanes
        os.kill(lane.process.pid, signal.SIGKILL)
        lane.process.wait()
        with pytest.raises(PictureError, match="its decoder failed on it"):  # the one that was lost with it
            await found.decode(fine, HOW)
        for _ in range(3):
            with pytest.raises(Refusal, match="Ask again later") as refused:
                await asyncio.wait_for(found.decode(fine, HOW), 20)
            assert (refused.value.status, refused.value.headers) == (503, {"retry-after": "1"})
        popen.full = False
        assert (await found.decode(fine, HOW)).square.shape == (40, 40, 3)

    try:
        asyncio.run(ask())
    finally:
        found.stop()
    assert popen.refused >= 3
    assert len(told) == popen.refused
    assert "the system refuses (Resource temporarily unavailable)" in told[0]


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_where_one_of_two_cannot_start_the_other_opens_all(popen: _NoRoom) -> None:
    found = Decoders(2, time_limit_s=60, max_pixels=10**6, memory_bytes=160 * 2**20)
    found.wait()
    fine = encoded(draw("circles", 6))

    async def ask() -> None:
        while len(found._lanes) < 2 or not all(lane.worker._is_ready for lane in found._lanes):
            await asyncio.sleep(0.01)
        popen.full = True
        first, _ = found._lanes
        first.process.kill()
        first.process.wait()
        results = await asyncio.gather(*(found.decode(fine, HOW) for _ in range(30)), return_exceptions=True)
        lost = [each for each in results if isinstance(each, Exception)]
        assert len(lost) <= 1  # what the process that was ended had been given
        assert all(isinstance(each, PictureError) for each in lost)

    try:
        asyncio.run(asyncio.wait_for(ask(), 60))
    finally:
        found.stop()
    assert popen.refused >= 1


def test_a_service_whose_processes_cannot_start_says_so(popen: _NoRoom) -> None:
    popen.full = True
    found = Decoders(2, time_limit_s=60, max_pixels=10**6, memory_bytes=160 * 2**20)
    try:
        with pytest.raises(
            TellapartError, match=r"the system refuses \(Resource temporarily unavailable\)\. End other"
        ):
            found.wait()
    finally:
        found.stop()
