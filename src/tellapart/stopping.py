"""Signals that are to end a command, heeded as Ctrl-C is: what was learned is saved, what is half written goes."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

INTERRUPTED = 130  # the exit status after Ctrl-C
SIGNALED = 128  # and the signal's number: after another signal, as shells have it
NAMES = ("SIGTERM", "SIGHUP")  # sent by `kill`, by what ends containers and jobs, by a terminal that is closed

_came: list[int] = []


@contextlib.contextmanager
def by_signals() -> Iterator[None]:
    """Heed the signals until the end of the block. One that is ignored already stays so, as `nohup` has it."""
    _came.clear()
    if threading.current_thread() is not threading.main_thread():  # only there Python can take them
        yield
        return
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    heeded = [number for number, handler in before.items() if handler == signal.SIG_DFL]
    for number in heeded:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])


def status() -> int:
    """The exit status of a command that was stopped."""
    return SIGNALED + _came[0] if _came else INTERRUPTED


def _stop(number: int, frame: FrameType | None) -> None:
    _came.append(number)
    heeds = signal.getsignal(signal.SIGINT)  # a training has its own, which lets it end a batch and save
    if not callable(heeds):  # a command that a shell has put into the background ignores Ctrl-C
        raise KeyboardInterrupt
    heeds(signal.SIGINT, frame)
