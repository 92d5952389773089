"""Ctrl-C that ends a training after the step that is under way, or a round of work that others carry out."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def heeded(heard: Callable[[], None] = lambda: None) -> Iterator[threading.Event]:
    """Let the first Ctrl-C set the event, and call `heard`; the second one raises KeyboardInterrupt."""
    stopped = threading.Event()

    def stop(signum, frame) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        heard()

    if threading.current_thread() is not threading.main_thread():
        yield stopped  # only the main thread may set a handler
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def noted() -> Iterator[threading.Event]:
    """Set the event at each Ctrl-C, which does what it did before: what it raises may be lost in a library."""
    heard = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield heard
        return

    def note(signum, frame) -> None:
        heard.set()
        before(signum, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield heard
    finally:
        signal.signal(signal.SIGINT, before)
