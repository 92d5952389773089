"""A process that opens pictures for the service, one after the other: what is hostile can harm only it.

It reads requests from standard input and writes answers to standard output, each a head of fixed size and what the head
announces:

- request: `REQUEST` (bytes of the file, side of the square, fit, whether a small picture is wanted), the file;
- answer: `ANSWER` (kind, bytes, height and width of the small picture). `OPENED`: the square, uint8 (S, S, 3), then
  the small picture, uint8 (H, W, 3). `REFUSED`: the reason, UTF-8. `READY` comes once, at the start, and `FAILED`
  instead of it, with the reason.

It ends with its input.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import sys
from typing import BinaryIO

REQUEST = struct.Struct("!IHBB")
ANSWER = struct.Struct("!BIHH")
OPENED, REFUSED, READY, FAILED = range(4)
FITS = ("squash", "crop")
LAST_RESORT = 3  # times the time limit after which it ends by itself, should nobody be there to end it


def main(max_pixels: int, memory_bytes: int, time_limit_s: float) -> None:
    """Answer until the input ends. `memory_bytes` may be taken beyond what is taken at the start."""
    for name in ("SIGINT", "SIGTERM"):  # sent to a whole group; the service lets it finish what was accepted
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    source = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 (open to the end)
    target = open(os.dup(1), "wb", buffering=0)  # noqa: SIM115
    os.dup2(2, 1)  # nothing that a library prints comes between the answers
    try:
        from tellapart import pictures

        pictures.MAX_PIXELS = max_pixels
        _warm()
        _bounded(memory_bytes)
    except Exception as error:
        _answer(target, FAILED, f"{type(error).__name__}: {error}".encode())
        return
    _answer(target, READY, b"")
    while (head := _read(source, REQUEST.size)) is not None:
        n_bytes, size_px, fit, small = REQUEST.unpack(head)
        data = _read(source, n_bytes)
        if data is None:
            return
        with _time_limit(LAST_RESORT * time_limit_s):
            _serve(target, bytes(data), size_px, FITS[fit], bool(small))


def _serve(target: BinaryIO, data: bytes, size_px: int, fit: str, small: bool) -> None:
    from tellapart import preprocess
    from tellapart.errors import PictureError

    try:
        square = preprocess.load(data, preprocess.Preprocess(size_px, fit))
        shown = _small(data, fit) if small else None
    except PictureError as error:
        _answer(target, REFUSED, error.reason.encode("utf-8", "backslashreplace"))
        return
    except MemoryError:
        _answer(target, REFUSED, b"it needs more memory than a picture may take here")
        return
    sides = (0, 0) if shown is None else shown.shape[:2]
    _answer(target, OPENED, square.data, *sides)
    if shown is not None:
        _write(target, shown.data)


def _small(data: bytes, fit: str):
    from tellapart import explanations, pictures

    whole = pictures.decode(data, at_least_px=explanations.SIDE_PX).pixels
    return explanations.seen(whole, fit)


def _warm() -> None:
    """Load what decodes, and use it once."""
    import cv2
    import numpy as np
    import simplejpeg
    from PIL import JpegImagePlugin, PngImagePlugin

    from tellapart import preprocess

    assert JpegImagePlugin
    assert PngImagePlugin
    cv2.setNumThreads(1)  # the processes share the cores with the network
    grey = np.full((16, 16, 3), 128, np.uint8)
    preprocess.load(simplejpeg.encode_jpeg(grey), preprocess.Preprocess(8))


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


@contextlib.contextmanager
def _time_limit(seconds: float):
    """End the process after `seconds`, also in the middle of a decoder: the signal's own action does."""
    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(target: BinaryIO, kind: int, content: bytes | memoryview, height: int = 0, width: int = 0) -> None:
    n_bytes = content.nbytes if isinstance(content, memoryview) else len(content)
    _write(target, ANSWER.pack(kind, n_bytes, height, width))
    _write(target, content)


def _write(target: BinaryIO, content: bytes | memoryview) -> None:
    left = memoryview(content).cast("B")
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
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
