"""A bounded number of processes that open pictures for a service: one that hangs is ended and replaced.

Each is served by a thread of its own, which waits at its pipes without Python's lock. A picture waits for the next
process that is free. Where some are slow and others wait, there are spare processes, one for each slow one and at most
as many again; the slow get less of the cores, and when all are slow the slowest is given up before its time. So some
hostile pictures cost the others a second at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tellapart import decoders, explanations
from tellapart.decoders import Gone, Limits, Maker, Worker
from tellapart.errors import PictureError, TellapartError
from tellapart.preprocess import Preprocess
from tellapart.serve.refusals import busy

LOOK_S = 0.05  # between two looks at the clock
LOOKED_AT_S = (
    0.2  # from which on a picture's seconds of computing are counted; by the clock many are late on a busy machine
)
SLOW_S = 0.3  # of computing beyond that, from which on a picture is slow; a large photo takes a tenth of it
GIVEN_UP_S = 0.8  # likewise, where all processes are at slow ones and others wait
SPARE_S = 10.0  # without work, after which a spare process ends
AGAIN_S = 1.0  # after which one that could not be started is tried again
NO_PROCESS = "Pictures must be opened by processes of their own; the machine has no room for one now. Ask again later."
LAST_RESORT = 3  # times the time limit after which a process ends by itself, should nobody be there to end it


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A picture, opened."""

    square: np.ndarray  # uint8 (S, S, 3)
    small: np.ndarray | None  # uint8 (H, W, 3), what the network sees, undistorted; None where it was not asked for


@dataclass(slots=True, eq=False)
class _Job:
    data: bytes | bytearray | memoryview
    how: Preprocess
    small: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Decoded]

    def end(self, result: Decoded | Exception) -> None:
        try:
            self.loop.call_soon_threadsafe(self._end, result)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _end(self, result: Decoded | Exception) -> None:
        if self.future.done():  # given up meanwhile
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


@dataclass(slots=True, eq=False)
class _Lane:
    """A process, and what it is at."""

    worker: Worker
    since: float | None = None  # when its picture was given to it, monotonic seconds; None where it is idle
    overran: bool = False
    slowed: bool = False
    # `since` of a picture, and seconds computed when it was first looked at
    looked_at: tuple[float, float] = (0.0, 0.0)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def process(self) -> subprocess.Popen:
        return self.worker.process

    def ask(self, job: _Job) -> Decoded | Exception:
        """Raises Gone."""
        if job.small:
            maker = Maker("tellapart.explanations:square_and_seen", {"how": job.how.as_dict()})
            room = explanations.opened_bytes(job.how)
        else:
            maker, room = decoders.squares(job.how), 3 * job.how.size_px**2
        with self.lock:
            self.since = time.monotonic()
        try:
            (made,) = self.worker.ask(maker, job.data, room)
        except RuntimeError as error:
            return error
        finally:
            with self.lock:
                self.since = None
        if not made.arrays:
            return PictureError(made.reason)
        return Decoded(made.arrays[0], made.arrays[1] if job.small else None)

    def busy_s(self) -> float:
        """For how long it has been at one picture, seconds."""
        since = self.since
        return 0.0 if since is None else time.monotonic() - since

    def computed_s(self) -> float:
        """Seconds that it has computed for its picture since it was looked at; by the clock where that is not told."""
        since = self.since
        if since is None or self.busy_s() < LOOKED_AT_S:
            return 0.0
        computed = _computed_s(self.process.pid)
        if computed is None:
            return self.busy_s() - LOOKED_AT_S
        if self.looked_at[0] != since:
            self.looked_at = (since, computed)
        return computed - self.looked_at[1]

    def end_if_late(self, limit_s: float) -> None:
        """End it where it has been at one picture for longer."""
        with self.lock:
            if self.since is not None and not self.overran and time.monotonic() - self.since >= limit_s:
                self.overran = True
                self.process.kill()

    def slow_down(self) -> None:
        """Leave the cores to others; for good, as only the system's owner may take that back."""
        if not self.slowed and hasattr(os, "setpriority"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                os.setpriority(os.PRIO_PROCESS, self.process.pid, 15)
        self.slowed = True


class Decoders:
    """`n` processes that open pictures."""

    def __init__(
        self,
        n: int,
        *,
        time_limit_s: float,
        max_pixels: int,
        memory_bytes: int,
        on_end: Callable[[str], None] = lambda why: None,
        on_failure: Callable[[str], None] = lambda message: None,
    ) -> None:
        """`on_end` is told why a process had to be replaced: "time" or "crash"; `on_failure` why none could start."""
        self._time_limit_s, self._on_end, self._on_failure = time_limit_s, on_end, on_failure
        last_s = LAST_RESORT * time_limit_s
        self._limits = Limits(max_pixels, memory_bytes, computed_s=last_s, clock_s=last_s)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lanes: set[_Lane] = set()
        self._stopping = threading.Event()
        self._failure: str | None = None
        self._ready = threading.Event()
        self._rest = threading.Event()
        self.n = n
        self._threads: set[threading.Thread] = set()
        for i in range(n):
            self._add(i)
        self._watcher = threading.Thread(target=self._watch, name="decode-watch", daemon=True)
        self._watcher.start()

    def wait(self) -> None:
        """Until the first process is ready; then start the others. Raises TellapartError where it cannot start."""
        while not self._ready.wait(0.2):
            if self._failure is not None:
                raise TellapartError(self._failure)
        self._rest.set()

    async def decode(self, data: bytes | bytearray | memoryview, how: Preprocess, *, small: bool = False) -> Decoded:
        """Open a file's bytes. With `small` the picture comes at 320 px too.

        Raises:
            PictureError: it cannot be opened, or not within the limits.
            Refusal: no process can be started now.
        """
        loop = asyncio.get_running_loop()
        job = _Job(data, how, small, loop, loop.create_future())
        self._jobs.put(job)
        return await job.future

    def stop(self) -> None:
        """End all processes; what is still being opened is lost."""
        self._stopping.set()
        self._rest.set()
        for _ in range(2 * self.n):
            self._jobs.put(None)
        for lane in list(self._lanes):
            if lane.since is not None:
                lane.process.kill()
        for thread in [self._watcher, *self._threads]:
            thread.join(5)

    def _add(self, i: int) -> None:
        """Start the thread of one more process; from `n` on it is a spare one."""
        thread = threading.Thread(target=self._work, args=(i,), name=f"decode-{i}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _work(self, i: int) -> None:
        if i:
            self._rest.wait()  # at the start one is enough, and the cores have other things to do
        lane = None if self._stopping.is_set() else self._start()
        while not self._stopping.is_set():
            try:
                job = self._jobs.get(timeout=SPARE_S if i >= self.n else None)
            except queue.Empty:
                break
            if job is None:
                break
            if job.future.done():  # given up; whether it is done can only change to yes
                continue
            if lane is None:
                lane = self._start()
            if lane is None:
                if self._lanes:  # others can open it; this one comes again
                    self._jobs.put(job)
                    self._stopping.wait(AGAIN_S)
                else:
                    job.end(busy("no_decoder", NO_PROCESS, AGAIN_S))
                continue
            try:
                job.end(lane.ask(job))
            except Gone:
                job.end(self._lost(lane))
                lane = None
            if lane is None or lane.slowed:
                if lane is not None:
                    self._let_go(lane)
                lane = None if self._stopping.is_set() else self._start()
        if lane is not None:
            self._let_go(lane)
        self._threads.discard(threading.current_thread())

    def _let_go(self, lane: _Lane) -> None:
        self._lanes.discard(lane)
        lane.worker.close()

    def _lost(self, lane: _Lane) -> PictureError:
        lane.process.kill()
        self._let_go(lane)
        if lane.overran:
            self._on_end("time")
            return PictureError(f"it takes longer than {self._time_limit_s:g} s to open, or too long while others wait")
        self._on_end("crash")
        return PictureError(
            "its decoder failed on it: it is damaged, or needs more memory than a picture may take here"
        )

    def _start(self) -> _Lane | None:
        """A process, ready; None where it does not start."""
        lane = None
        try:
            lane = _Lane(Worker(self._limits, warm=True))
            self._lanes.add(lane)
            lane.worker.ready()
        except TellapartError as error:
            self._failure = str(error)
            self._on_failure(self._failure)
            if lane is not None:
                lane.process.kill()
                self._let_go(lane)
            return None
        self._ready.set()
        return lane

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_S):
            for lane in list(self._lanes):
                lane.end_if_late(self._time_limit_s)
            if self._jobs.qsize() and self._rest.is_set():
                self._make_way()

    def _make_way(self) -> None:
        """Let pictures that wait not wait for slow ones."""
        computed = [(each.computed_s(), i, each) for i, each in enumerate(list(self._lanes))]
        slow = [each for seconds, _, each in sorted(computed) if seconds >= SLOW_S]
        for lane in slow:
            lane.slow_down()
        n = len(self._threads)
        if n < min(self.n + len(slow), 2 * self.n):
            self._add(n)
        elif len(slow) == 2 * self.n:
            slowest = max(computed)
            if slowest[0] >= GIVEN_UP_S:
                slowest[2].end_if_late(GIVEN_UP_S)


def _computed_s(pid: int) -> float | None:
    """Seconds that a process has computed; None where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user and system time, see proc(5)
