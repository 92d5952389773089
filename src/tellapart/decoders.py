"""Processes that open pictures, so that a decoder that crashes, hangs or takes all memory costs one picture.

Every picture of others is opened here: `make` has a `decoder` process do it, on as many threads at once as the caller
likes. Processes that are idle stay for the next call. They read the files themselves and write what they made of them
into memory that both share, so that neither files nor pixels go through a pipe.

Where a process dies, its pictures are asked about again, each alone, and only one that ends a fresh process by itself
is refused. So no picture pays for another, be it what destroyed the memory that the next one stumbled over.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import hashlib
import json
import math
import mmap
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart import decoder, fetching
from tellapart.addresses import is_place
from tellapart.errors import PictureError, TellapartError

if TYPE_CHECKING:
    import numpy as np

    from tellapart.preprocess import Preprocess

COMPUTED_S = 30.0  # of computing that one picture may take; 120 megapixels take 10 s at most
CLOCK_S = 600.0  # by the clock, for one that waits for something that never comes
START_S = 60.0  # for a process to be ready
PIPE_BYTES = 2**20  # most files in one go, where the system has such pipes
_F_SETPIPE_SZ = 1031  # Linux; named in fcntl since Python 3.10 there alone

Bytes = bytes | bytearray | memoryview
# SHA-256 of a content in hex, or "" for any, and what holds it: files, or [file, start, size in bytes].
Asked = tuple[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Maker:
    """What is made of a picture: a function in a module, and plain values for it."""

    name: str  # "module:function", which takes the bytes of a file: see `decoder`
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What was made of one picture."""

    arrays: tuple[np.ndarray, ...]  # empty where it could not be opened
    reason: str = ""  # why not
    lasting: bool = False  # the reason lies in the content itself


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process may take."""

    max_pixels: int | None = None  # of one picture; None for `pictures.MAX_PIXELS`
    memory_bytes: int | None = None  # beyond what it takes at the start; None for `pictures.MEMORY_BYTES`
    computed_s: float = field(default_factory=lambda: COMPUTED_S)  # for one picture
    clock_s: float = field(default_factory=lambda: CLOCK_S)  # likewise

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the process."""
        from tellapart import pictures

        return {
            "max_pixels": pictures.MAX_PIXELS if self.max_pixels is None else self.max_pixels,
            "memory_bytes": pictures.MEMORY_BYTES if self.memory_bytes is None else self.memory_bytes,
            "computed_s": self.computed_s,
            "clock_s": self.clock_s,
        }


class Gone(Exception):
    """The process ended before its answer did."""


class Worker:
    """One process, for one caller at a time."""

    def __init__(self, limits: Limits, *, warm: bool = False) -> None:
        """Start it, and do not wait; with `warm` it will have loaded all decoders when it is `ready`.

        Raises:
            TellapartError: the system has no room for it; what was opened for it is closed again.
        """
        self.limits, self.n_asked = limits, 0
        self._is_ready = False
        with contextlib.ExitStack() as opened, contextlib.ExitStack() as given_away:
            try:
                self._map, given, close = _shared_memory()
                opened.callback(self._map.close)
                given_away.callback(close)
                life, self._life = os.pipe() if os.name != "nt" else (-1, -1)
                if life >= 0:
                    opened.callback(os.close, self._life)
                    given_away.callback(os.close, life)
                settings = {**limits.as_dict(), "warm": warm, "board": given, "life": life}
                self.process = _spawn(settings, [each for each in (given, life) if isinstance(each, int) and each >= 0])
            except OSError as error:
                raise TellapartError(
                    f"The processes that open pictures must start; the system refuses ({error.strerror or error}). "
                    f"End other programs, or let this user have more processes, files and memory (`ulimit -a`)."
                ) from error
            opened.pop_all()

    def ready(self) -> None:
        """Wait until it can be asked. Raises TellapartError where it does not start."""
        if self._is_ready:
            return
        watch = threading.Timer(START_S, self.process.kill)
        watch.daemon = True
        watch.start()
        try:
            said = self._read()
        except Gone:
            said = "they end before they are ready"
        finally:
            watch.cancel()
        if said != []:
            raise TellapartError(
                f"The processes that open pictures must start; they say: {' '.join(str(said).split())[:300]}. "
                f"Install tellapart again, or give the machine more memory."
            )
        self._is_ready = True

    def ask(self, maker: Maker, asked: list[Asked] | Bytes, row_bytes: int) -> list[Made]:
        """Have something made of files, or of the bytes of one file.

        Raises:
            Gone: it ended; see `refusal`.
            ValueError: rows of so many bytes have no room together.
            RuntimeError: the maker itself is wrong.
        """
        self.ready()
        row_bytes = decoder.aligned(row_bytes)
        task: dict[str, Any] = {"make": maker.name, "settings": dict(maker.settings), "row_bytes": row_bytes}
        data: Bytes = b""
        if isinstance(asked, list):
            n = len(asked)
            task["files"] = [[content, [_absolute(path) for path in paths]] for content, paths in asked]
        else:
            data, n = asked, 1
            task["data"] = len(data)
        if decoder.FIRST_ROW + n * row_bytes > decoder.BOARD_BYTES:
            raise ValueError(f"{n} rows of {row_bytes} bytes have no room on the board")
        self.n_asked += n
        text = json.dumps(task).encode("ascii")
        self._write(decoder.LENGTH.pack(len(text)) + text)
        self._write(data)
        results = self._read()
        if isinstance(results, str):
            raise RuntimeError(f"{maker.name} failed in its process:\n{results}")
        return [self._made(result, decoder.FIRST_ROW + i * row_bytes) for i, result in enumerate(results)]

    def at(self) -> int:
        """Which picture of its task it is, or was, at."""
        return decoder.AT.unpack_from(self._map, 0)[0]

    def overran(self) -> Made | None:
        """The refusal of the picture that it was `at`, where it has ended because that took too long."""
        status = self._status()
        if status == -getattr(signal, "SIGPROF", 0):
            return Made((), f"it takes longer than {self.limits.computed_s:g} s of computing to open", True)
        if status == -getattr(signal, "SIGALRM", 0):
            return Made((), f"it takes longer than {self.limits.clock_s:g} s to open")
        return None

    def refusal(self) -> Made:
        """The refusal of the picture that has ended it."""
        status = self._status()
        if (overran := self.overran()) is not None:
            return overran
        if status == -getattr(signal, "SIGKILL", 0):
            return Made((), "its decoder was killed by the system, as happens when memory runs out")
        name = f"exit status {status}"
        with contextlib.suppress(ValueError):
            name = signal.Signals(-status).name
        return Made((), f"its decoder crashed on it ({name}): it is damaged, or made to do harm", True)

    def _status(self) -> int:
        """How it has ended; it is ended where it has not."""
        self.process.kill()
        return self.process.wait()

    def close(self) -> None:
        """Let the process end, by force where it does not."""
        self.hang_up()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
        finally:  # also where its caller is interrupted
            if self.process.returncode is None:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()  # pyright: ignore[reportOptionalMemberAccess]
            self._map.close()

    def disown(self) -> None:
        """Close the ends of its pipes in a copy of this process that a fork has made."""
        self.hang_up()
        self.process.stdout.close()  # pyright: ignore[reportOptionalMemberAccess]
        self.process.returncode = 0  # it is no child of this one

    def hang_up(self) -> None:
        """Tell it to end, and do not wait."""
        self.process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]
        if self._life >= 0:
            os.close(self._life)
            self._life = -1

    def _made(self, result: decoder.Result, at: int) -> Made:
        import numpy as np

        if result and result[0] is None:
            return Made((), result[1], result[2])
        arrays = []
        for kind, shape in result:
            dtype = np.dtype(kind)
            n = math.prod(shape)
            arrays.append(np.frombuffer(self._map, dtype, n, at).reshape(shape).copy())
            at += decoder.aligned(n * dtype.itemsize)
        return Made(tuple(arrays))

    def _read(self) -> Any:
        return json.loads(self._read_bytes(decoder.LENGTH.unpack(self._read_bytes(decoder.LENGTH.size))[0]))

    def _read_bytes(self, n_bytes: int) -> bytearray:
        content = bytearray(n_bytes)
        left = memoryview(content)
        while len(left):
            n = self.process.stdout.readinto(left)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
            if not n:
                raise Gone
            left = left[n:]
        return content

    def _write(self, content: Bytes) -> None:
        left = memoryview(content)
        try:
            while len(left):
                left = left[self.process.stdin.write(left) :]  # pyright: ignore[reportOptionalMemberAccess]
        except OSError as error:
            raise Gone from error


_lock = threading.Lock()
_idle: list[Worker] = []  # the last one used last
_out: set[Worker] = set()  # those that are asked just now


def begin(n: int = 1) -> None:
    """Start processes that will be needed soon, and do not wait for them: there are `n` at least then."""
    while True:
        with _lock:
            if len(_idle) + len(_out) >= n:
                return
        worker = Worker(Limits())
        with _lock:
            _idle.append(worker)


def make(maker: Maker, asked: list[Asked] | bytes, row_bytes: int) -> list[Made]:
    """Have something made of each of some pictures, in their order.

    Args:
        maker: what is made.
        asked: the pictures. Of several files the first that still holds the content is taken. Or the bytes of one file.
        row_bytes: how much is made of one at most; `decoder.BOARD_BYTES` hold it for all of them.

    Raises:
        TellapartError: no process can be started.
    """
    if isinstance(asked, list) and any(_is_elsewhere(path) for _, paths in asked for path in paths):
        return _of_places(maker, asked, row_bytes)
    with _borrowed() as worker:
        try:
            return worker.ask(maker, asked, row_bytes)
        except Gone:
            late, at = worker.overran(), worker.at()
            fresh = worker.n_asked == 1
            refusal = worker.refusal()
    if not isinstance(asked, list) or len(asked) == 1:
        return [refusal if late or fresh else _alone(maker, asked, row_bytes)]
    return [late if late and i == at else make(maker, [one], row_bytes)[0] for i, one in enumerate(asked)]


def _is_elsewhere(path: Any) -> bool:
    return isinstance(path, str) and is_place(path)


def _of_places(maker: Maker, asked: list[Asked], row_bytes: int) -> list[Made]:
    """`make` of pictures of which some are not files of this disk: fetched here, and opened there."""
    from tellapart import pictures, places

    fetching.soon(paths[0] for _, paths in asked)
    here: list[Asked] = []
    where, found = [], [Made((), "no such file")] * len(asked)
    for i, (content, paths) in enumerate(asked):
        for path in paths:
            try:
                piece = places.piece(path, pictures.MAX_FILE_BYTES) if is_place(path) else path
                if isinstance(piece, str) or piece.unpacked is None:
                    here.append((content, [piece if isinstance(piece, str) else [piece.file, piece.start, piece.size]]))
                    where.append(i)
                else:  # unpacked here, as is bounded and quick
                    found[i] = _of_bytes(maker, content, pictures.read_piece(piece), row_bytes)
                break
            except OSError as error:
                if error.errno == errno.ECANCELED:
                    raise
                found[i] = Made((), pictures.os_reason(error, path))
            except PictureError as error:
                found[i] = Made((), error.reason)
    for i, made in zip(where, make(maker, here, row_bytes) if here else [], strict=True):
        found[i] = made
    return found


def _of_bytes(maker: Maker, content: str, data: bytes, row_bytes: int) -> Made:
    if content and hashlib.sha256(data).hexdigest() != content:
        return Made((), decoder.CHANGED)
    return make(maker, data, row_bytes)[0]


def one(
    maker: Maker, source: str | os.PathLike[str] | bytes, row_bytes: int, *, content: str = ""
) -> tuple[np.ndarray, ...]:
    """What is made of one file, or of its bytes: its arrays.

    Raises PictureError where it cannot be opened, or no longer has the `content` whose SHA-256 is given in hex.
    """
    asked: list[Asked] | bytes = source if isinstance(source, bytes) else [(content, [os.fspath(source)])]
    (made,) = make(maker, asked, row_bytes)
    if not made.arrays:
        raise PictureError(made.reason)
    return made.arrays


def squares(how: Preprocess) -> Maker:
    """What makes a picture the network's square, uint8 (S, S, 3)."""
    return Maker("tellapart.preprocess:square", {"how": how.as_dict()})


def square(source: str | os.PathLike[str] | bytes, how: Preprocess) -> np.ndarray:
    """A picture's square, uint8 (S, S, 3). Raises PictureError."""
    return one(squares(how), source, 3 * how.size_px**2)[0]


def _alone(maker: Maker, asked: list[Asked] | Bytes, row_bytes: int) -> Made:
    """A picture, asked about in a process of its own: what ends this one is the picture."""
    worker = Worker(Limits())
    try:
        (made,) = worker.ask(maker, asked, row_bytes)
    except Gone:
        return worker.refusal()
    finally:
        worker.close()
    return made


@contextlib.contextmanager
def _borrowed() -> Iterator[Worker]:
    with _lock:
        worker = _idle.pop() if _idle else None
    if worker is not None and worker.process.poll() is not None:  # it ended while it was idle
        worker.close()
        worker = None
    worker = worker or Worker(Limits())
    with _lock:
        _out.add(worker)
    interrupted = True
    try:
        yield worker
        interrupted = False
    finally:
        sound = not interrupted and worker.process.poll() is None
        with _lock:
            _out.discard(worker)
            if sound:
                _idle.append(worker)
        if not sound:  # also where the caller was interrupted: its answer would come to the next one
            worker.process.kill()
            worker.close()


def end() -> None:
    """End all processes that are idle."""
    with _lock:
        ending, _idle[:] = _idle[:], []
    for worker in ending:
        worker.hang_up()
    for worker in ending:
        worker.close()


def _forked() -> None:
    """In a copy of this process the others are not its own."""
    global _lock
    _lock = threading.Lock()
    for worker in (*_idle, *_out):
        worker.disown()
    _idle.clear()
    _out.clear()


atexit.register(end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _absolute(path: Any) -> Any:
    """The path for a process whose working folder may be another. Its `..` are kept: they may follow links."""
    if isinstance(path, list):
        return [_absolute(path[0]), *path[1:]]
    if os.path.isabs(path):
        return path
    with contextlib.suppress(OSError):  # the working folder is gone
        return os.path.join(os.getcwd(), path)
    return path


def _shared_memory():
    """A board, what the process is told of it, and what closes this side of that when it is started."""
    if os.name == "nt":
        name = f"tellapart-{os.getpid()}-{os.urandom(8).hex()}"
        return decoder.board(name), name, lambda: None
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("tellapart-board")
    else:
        import tempfile

        file, name = tempfile.mkstemp(prefix="tellapart-board-")
        os.unlink(name)
    try:
        os.ftruncate(file, decoder.BOARD_BYTES)
        return mmap.mmap(file, decoder.BOARD_BYTES), file, lambda: os.close(file)
    except OSError:
        os.close(file)
        raise


def _spawn(settings: dict[str, Any], passed: list[int]) -> subprocess.Popen:
    root = str(Path(__file__).resolve().parents[1])
    # Not by -m, which would look for modules in the folder that this process happens to be started in.
    code = f"import json, sys; sys.path.append({root!r}); from tellapart import decoder; "
    code += "decoder.main(json.loads(sys.argv[1]))"
    environment = {name: value for name, value in os.environ.items() if name != "TELLAPART_API_KEY"}
    # One thread each, and few arenas, whose room counts as memory though nothing is in it.
    environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    environment["OPENCV_LOG_LEVEL"] = "OFF"
    apart: dict[str, Any] = {"process_group": 0, "pass_fds": passed}  # a terminal's Ctrl-C is not for it
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code, json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env=environment,
        **apart,
    )
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # the user's pipes hold too much already
            fcntl.fcntl(process.stdin.fileno(), _F_SETPIPE_SZ, PIPE_BYTES)  # pyright: ignore[reportOptionalMemberAccess]
    return process
