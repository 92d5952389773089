"""A fixed number of `decoder` processes, with a limit of time: one that hangs is ended and replaced.

Each is served by a thread of its own, which waits at its pipes without Python's lock. A picture waits for the next
process that is free.
"""

from __future__ import annotations

import asyncio
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

    def end_if_late(self, limit_s: float) -> bool:
        with self.lock:
            if self.since is None or self.overran or time.monotonic() - self.since < limit_s:
                return False
            self.overran = True
            self.process.kill()
            return True

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
        self._threads = [
            threading.Thread(target=self._work, args=(i,), name=f"decode-{i}", daemon=True) for i in range(n)
        ]
        self._threads.append(threading.Thread(target=self._watch, name="decode-watch", daemon=True))
        for thread in self._threads:
            thread.start()

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
        for _ in range(self.n):
            self._jobs.put(None)
        for worker in list(self._workers):
            if worker.since is not None:
                worker.process.kill()
        for thread in self._threads:
            thread.join(5)

    def _work(self, i: int) -> None:
        if i:
            self._rest.wait()  # at the start one is enough, and the cores have other things to do
        worker = None if self._stopping.is_set() else self._start()
        while not self._stopping.is_set():
            job = self._jobs.get()
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
                worker = None if self._stopping.is_set() else self._start()
        if worker is not None:
            self._workers.discard(worker)
            worker.close()

    def _lost(self, worker: _Worker) -> PictureError:
        self._workers.discard(worker)
        worker.process.kill()
        worker.close()
        if worker.overran:
            self._on_end("time")
            return PictureError(f"it takes longer than {self._time_limit_s:g} s to open")
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
        self._workers.discard(worker)
        worker.process.kill()
        worker.close()
        return None

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_S):
            for worker in list(self._workers):
                worker.end_if_late(self._time_limit_s)


def _spawn(arguments: list[str]) -> subprocess.Popen:
    import tellapart

    root = str(Path(tellapart.__file__).resolve().parent.parent)
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
        import contextlib
        import fcntl

        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # the user's pipes hold too much already
                fcntl.fcntl(pipe.fileno(), _F_SETPIPE_SZ, PIPE_BYTES)  # pyright: ignore[reportOptionalMemberAccess]
    return process
