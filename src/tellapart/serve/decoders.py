"""A bounded number of `decoder` processes, with a limit of time: one that hangs is ended and replaced.

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
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.errors import PictureError, TellapartError
from tellapart.preprocess import Preprocess
from tellapart.serve import decoder

LOOK_S = 0.05  # between two looks at the clock
LOOKED_AT_S = (
    0.2  # from which on a picture's seconds of computing are counted; by the clock many are late on a busy machine
)
SLOW_S = 0.3  # of computing beyond that, from which on a picture is slow; a large photo takes a tenth of it
GIVEN_UP_S = 0.8  # likewise, where all processes are at slow ones and others wait
SPARE_S = 10.0  # without work, after which a spare process ends
START_S = 60.0  # for a process to be ready
PIPE_BYTES = 2**20  # a whole square and most files in one go, where the system has such pipes
_F_SETPIPE_SZ = 1031  # Linux; named in fcntl since Python 3.10 there alone


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


class _Gone(Exception):
    """The process ended before its answer did."""


@dataclass(slots=True, eq=False)
class _Worker:
    process: subprocess.Popen
    since: float | None = None  # when its picture was given to it, monotonic seconds; None where it is idle
    overran: bool = False
    slowed: bool = False
    looked_at: tuple[float, float] = (
        0.0,
        0.0,
    )  # `since` of a picture, and seconds computed when it was first looked at
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, job: _Job) -> Decoded | Exception:
        """Raises _Gone."""
        size_px, fit = job.how.size_px, decoder.FITS.index(job.how.fit)
        with self.lock:
            self.since = time.monotonic()
        try:
            self._write(decoder.REQUEST.pack(len(job.data), size_px, fit, job.small))
            self._write(job.data)
            kind, n_bytes, height, width = decoder.ANSWER.unpack(self.read(decoder.ANSWER.size))
            content = self.read(n_bytes)
            small = self.read(3 * height * width) if height else None
        finally:
            with self.lock:
                self.since = None
        if kind == decoder.REFUSED:
            return PictureError(content.decode("utf-8", "replace"))
        square = np.frombuffer(content, np.uint8).reshape(size_px, size_px, 3)
        return Decoded(square, None if small is None else np.frombuffer(small, np.uint8).reshape(height, width, 3))

    def read(self, n_bytes: int) -> bytearray:
        content = bytearray(n_bytes)
        left = memoryview(content)
        while len(left):
            n = self.process.stdout.readinto(left)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
            if not n:
                raise _Gone
            left = left[n:]
        return content

    def _write(self, content: bytes | bytearray | memoryview) -> None:
        left = memoryview(content)
        try:
            while len(left):
                left = left[self.process.stdin.write(left) :]  # pyright: ignore[reportOptionalMemberAccess]
        except OSError as error:
            raise _Gone from error

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

    def close(self) -> None:
        """Let the process end, by force where it does not."""
        self.process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()  # pyright: ignore[reportOptionalMemberAccess]


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
    ) -> None:
        """`on_end` is told why a process had to be replaced: "time" or "crash"."""
        self._time_limit_s, self._on_end = time_limit_s, on_end
        self._arguments = [str(max_pixels), str(memory_bytes), str(time_limit_s)]
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._workers: set[_Worker] = set()
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
                raise TellapartError(
                    f"The processes that open pictures must start; they say: {self._failure}. "
                    f"Install tellapart again, or give the machine more memory."
                )
        self._rest.set()

    async def decode(self, data: bytes | bytearray | memoryview, how: Preprocess, *, small: bool = False) -> Decoded:
        """Open a file's bytes. With `small` the picture comes at 320 px too.

        Raises:
            PictureError: it cannot be opened, or not within the limits.
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
        for worker in list(self._workers):
            if worker.since is not None:
                worker.process.kill()
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
        worker = None if self._stopping.is_set() else self._start()
        while not self._stopping.is_set():
            try:
                job = self._jobs.get(timeout=SPARE_S if i >= self.n else None)
            except queue.Empty:
                break
            if job is None:
                break
            if job.future.done():  # given up; whether it is done can only change to yes
                continue
            if worker is None:
                worker = self._start()
            if worker is None:
                job.end(PictureError("the process that opens pictures could not be started"))
                continue
            try:
                job.end(worker.ask(job))
            except _Gone:
                job.end(self._lost(worker))
                worker = None
            if worker is None or worker.slowed:
                if worker is not None:
                    self._let_go(worker)
                worker = None if self._stopping.is_set() else self._start()
        if worker is not None:
            self._let_go(worker)
        self._threads.discard(threading.current_thread())

    def _let_go(self, worker: _Worker) -> None:
        self._workers.discard(worker)
        worker.close()

    def _lost(self, worker: _Worker) -> PictureError:
        worker.process.kill()
        self._let_go(worker)
        if worker.overran:
            self._on_end("time")
            return PictureError(f"it takes longer than {self._time_limit_s:g} s to open, or too long while others wait")
        self._on_end("crash")
        return PictureError(
            "its decoder failed on it: it is damaged, or needs more memory than a picture may take here"
        )

    def _start(self) -> _Worker | None:
        """A process, ready; None where it does not start."""
        worker = _Worker(_spawn(self._arguments))
        self._workers.add(worker)
        worker.since = time.monotonic() + START_S - self._time_limit_s  # ended too where it does not get ready
        try:
            kind, n_bytes, _, _ = decoder.ANSWER.unpack(worker.read(decoder.ANSWER.size))
            reason = bytes(worker.read(n_bytes)).decode("utf-8", "replace")
        except _Gone:
            kind, reason = decoder.FAILED, "it ended at once"
        worker.since = None
        if kind == decoder.READY:
            self._ready.set()
            return worker
        self._failure = " ".join(reason.split())[:300]
        worker.process.kill()
        self._let_go(worker)
        return None

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_S):
            for worker in list(self._workers):
                worker.end_if_late(self._time_limit_s)
            if self._jobs.qsize() and self._rest.is_set():
                self._make_way()

    def _make_way(self) -> None:
        """Let pictures that wait not wait for slow ones."""
        computed = [(each.computed_s(), i, each) for i, each in enumerate(list(self._workers))]
        slow = [each for seconds, _, each in sorted(computed) if seconds >= SLOW_S]
        for worker in slow:
            worker.slow_down()
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


def _spawn(arguments: list[str]) -> subprocess.Popen:
    root = str(Path(__file__).resolve().parents[2])
    # Not by -m, which would look for modules in the folder that the service happens to be started in.
    code = f"import sys; sys.path.append({root!r}); from tellapart.serve import decoder; decoder.main(" + (
        "int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TELLAPART_API_KEY"}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENCV_LOG_LEVEL": "OFF"}
    apart: dict[str, Any] = {"process_group": 0}  # a terminal's Ctrl-C is not for it
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env=environment,
        **apart,
    )
    if sys.platform == "linux":
        import fcntl

        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # the user's pipes hold too much already
                fcntl.fcntl(pipe.fileno(), _F_SETPIPE_SZ, PIPE_BYTES)  # pyright: ignore[reportOptionalMemberAccess]
    return process
