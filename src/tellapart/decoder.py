"""A process that opens pictures, one after the other: what is hostile in them can harm only it.

`decoders` starts it and asks it. Tasks come through standard input, answers go through standard output, each a length
and that many bytes of JSON; what was made of the pictures stands in memory that both share, the board.

- A task: `make`, the maker, "module:function", and its `settings`; `row_bytes`, what there is on the board for each
  picture; and `files`, content hash and paths of each picture, which are read here (in a path's place may stand a file,
  and where in it the picture begins and how long it is), or `data`, how many bytes of one file come behind the task.
- An answer: for each picture a list of its arrays, [dtype, shape] each, or [null, reason, whether the reason lasts].
  Before the first one `[]` comes once, when it is ready. A text instead of a list says what is wrong with the maker
  itself, or with the start.

A maker takes the bytes of a file and its settings; it gives an array or a tuple of them, or raises PictureError.

It ends with its input, and on most systems with its parent, even in the middle of a picture.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import mmap
import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

LENGTH = struct.Struct("!I")
BOARD_BYTES = 8 * 2**20  # the largest square is 3 MiB
AT = struct.Struct("!I")  # at the begin of the board: which picture of the task it is at
FIRST_ROW = 64  # where on the board the first picture's arrays begin
ALIGN = 16  # arrays begin at multiples of this
GONE, CHANGED = "the file vanished during the run", "the file changed during the run"
NO_MEMORY = "it needs more memory than a picture may take here"

Result = list[Any]  # as in an answer, see above


def main(settings: dict[str, Any]) -> None:
    """Answer until the input ends.

    `settings`: `max_pixels`; `memory_bytes`, which may be taken beyond what is taken at the start; `computed_s` and
    `clock_s`, seconds that one picture may take, by computing and by the clock; `warm`, whether to load all decoders
    before saying that it is ready; `board`, `life`: see `board` and `_end_with`.
    """
    for name in ("SIGINT", "SIGTERM"):  # sent to a whole group; it ends with its parent, which may have to finish first
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    source = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 (open to the end)
    target = open(os.dup(1), "wb", buffering=0)  # noqa: SIM115
    os.dup2(2, 1)  # nothing that a library prints comes between the answers
    try:
        _end_with(settings["life"])
        shared = board(settings["board"])
        from tellapart import pictures

        pictures.MAX_PIXELS = settings["max_pixels"]
        _warm(settings["warm"])
        _bounded(settings["memory_bytes"])
    except Exception as error:
        _write(target, f"{type(error).__name__}: {error}")
        return
    _write(target, [])
    while (content := _read(source, LENGTH.size)) is not None:
        head = _read(source, LENGTH.unpack(content)[0])
        if head is None:
            break
        task = json.loads(head)
        data = _read(source, task["data"]) if "data" in task else None
        if "data" in task and data is None:
            break
        try:
            answered: list[Result] | str = answer(shared, task, data, settings["computed_s"], settings["clock_s"])
        except Exception:
            answered = traceback.format_exc()
        _write(target, answered)
    os._exit(0)  # at once: the parent waits for it


def answer(
    board: mmap.mmap | bytearray,
    task: dict[str, Any],
    data: bytes | bytearray | None,
    computed_s: float,
    clock_s: float,
) -> list[Result]:
    """Do a task: its results, with the arrays on the board."""
    module, function = task["make"].split(":")
    maker: Callable[..., Any] = getattr(importlib.import_module(module), function)
    row_bytes, results = task["row_bytes"], []

    def make(content: bytes) -> Result:
        _end_after(clock_s, "ITIMER_REAL")
        made = maker(content, **task["settings"])
        _end_after(0, "ITIMER_REAL")
        arrays = made if isinstance(made, tuple) else (made,)
        return _put(board, FIRST_ROW + len(results) * row_bytes, row_bytes, arrays)

    try:
        for content, paths in [("", [])] if data is not None else task["files"]:
            AT.pack_into(board, 0, len(results))
            _end_after(computed_s, "ITIMER_PROF")  # anew for each picture
            results.append(_guarded(make, bytes(data)) if data is not None else _of_files(make, content, paths))
    finally:
        _end_after(0, "ITIMER_PROF")
        _end_after(0, "ITIMER_REAL")
    return results


def _of_files(make: Callable[[bytes], Result], content: str, paths: list[Any]) -> Result:
    """Make of one content, SHA-256 in hex, or "" for any, from the first of its files that still holds it."""
    from tellapart import pictures
    from tellapart.errors import PictureError

    reasons = []
    for path in paths:
        try:
            data = pictures.read_piece(pictures.Piece(*path)) if isinstance(path, list) else pictures.read_bytes(path)
        except PictureError as error:
            file = path[0] if isinstance(path, list) else path
            reasons.append(error.reason if os.path.lexists(file) or not content else GONE)
            continue
        except MemoryError:
            reasons.append(NO_MEMORY)
            continue
        if content and hashlib.sha256(data).hexdigest() != content:
            reasons.append(CHANGED)
            continue
        return _guarded(make, data)
    return [None, reasons[0], False]


def _guarded(make: Callable[[bytes], Result], data: bytes) -> Result:
    from tellapart.errors import PictureError

    try:
        return make(data)
    except PictureError as error:
        # Too little memory is a matter of this run, not of the picture.
        return [None, error.reason, not isinstance(error.__cause__, MemoryError)]
    except MemoryError:
        return [None, NO_MEMORY, False]


def _put(board: mmap.mmap | bytearray, at: int, room: int, arrays: tuple[Any, ...]) -> Result:
    """Write arrays to the board, one behind the other; what they are."""
    import numpy as np

    end, described = at + room, []
    for array in map(np.ascontiguousarray, arrays):
        if at + array.nbytes > end:
            raise ValueError(f"arrays of a picture must have at most {room} bytes")
        board[at : at + array.nbytes] = array.data.cast("B") if array.nbytes else b""
        described.append([array.dtype.str, list(array.shape)])
        at += aligned(array.nbytes)
    return described


def aligned(n_bytes: int) -> int:
    """The room that so many bytes take on the board."""
    return -(-n_bytes // ALIGN) * ALIGN


def board(given: int | str) -> mmap.mmap:
    """The shared memory: by its name on Windows, by its file descriptor elsewhere."""
    if isinstance(given, str):
        return mmap.mmap(-1, BOARD_BYTES, tagname=given)  # pyright: ignore[reportCallIssue]
    return mmap.mmap(given, BOARD_BYTES)


def _end_with(life: int) -> None:
    """End with the parent: a pipe, whose other end it holds, then sends a signal that ends this process."""
    if life < 0 or not hasattr(signal, "SIGIO"):
        return
    import fcntl

    with contextlib.suppress(OSError):  # then it ends with its picture
        fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        if os.read(life, 1) == b"":  # it has ended already
            os._exit(0)


def _warm(all_of_it: bool) -> None:
    """Load what decodes most pictures; with `all_of_it` the rest too, and use it once."""
    import cv2
    import simplejpeg

    from tellapart import preprocess

    cv2.setNumThreads(1)  # the processes share the cores with the network
    if all_of_it:
        import numpy as np
        from PIL import JpegImagePlugin, PngImagePlugin

        assert JpegImagePlugin
        assert PngImagePlugin
        preprocess.load(simplejpeg.encode_jpeg(np.full((16, 16, 3), 128, np.uint8)), preprocess.Preprocess(8))


def _bounded(memory_bytes: int) -> None:
    """Limit memory where the system can, and forbid what no decoder needs."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file is ever written
    try:
        with open("/proc/self/statm", "rb") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # without a way to know it, a limit could be below it already
        return
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory_bytes, taken + memory_bytes))


def _end_after(seconds: float, timer: str) -> None:
    """End the process after `seconds`, also in the middle of a decoder, by the signal alone. 0 takes it back."""
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(getattr(signal, timer), seconds)


def _write(target: BinaryIO, content: Any) -> None:
    text = json.dumps(content).encode("ascii")
    left = memoryview(LENGTH.pack(len(text)) + text)
    while len(left):
        left = left[target.write(left) :]


def _read(source: BinaryIO, n_bytes: int) -> bytearray | None:
    """Just so many bytes; None where the input ends."""
    content = bytearray(n_bytes)
    left = memoryview(content)
    while len(left):
        n = source.readinto(left)  # pyright: ignore[reportAttributeAccessIssue]
        if not n:
            return None
        left = left[n:]
    return content


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
