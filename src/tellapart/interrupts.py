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


class Held:
    """Ctrl-C that waits until it does no harm, see `held`."""

    def __init__(self) -> None:
        self._heard = threading.Event()
        self._open = False

    def is_set(self) -> bool:
        """Whether there was one."""
        return self._heard.is_set()

    def hear(self) -> bool:
        """There is one: whether it may be heeded at once."""
        self._heard.set()
        return self._open

    @contextlib.contextmanager
    def opened(self, heeds: bool = True) -> Iterator[None]:
        """Heed it at once meanwhile, and one that was heard before at the start; or, without `heeds`, at the end."""
        before, self._open = self._open, heeds
        try:
            self._check()
            yield
        finally:
            self._open = before
        self._check()

    def _check(self) -> None:
        if self._open and self._heard.is_set():
            raise KeyboardInterrupt


@contextlib.contextmanager
def held() -> Iterator[Held]:
    """Let Ctrl-C do what it did before where it is `opened`, and else only be known: libraries lose what it raises."""
    found = Held()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield found
        return

    def note(signum, frame) -> None:
        if found.hear():
            before(signum, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield found
    finally:
        signal.signal(signal.SIGINT, before)
