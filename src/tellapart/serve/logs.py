"""One JSON line an event on standard error, written by a thread: a reader that stalls stalls nobody else.

Never in a line: pictures, keys, queries, and names that a sender gave.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO

MOST_WAITING = 10_000  # lines; what comes while the reader is further behind is counted, not kept


class Log:
    """A log of a service."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue(MOST_WAITING)
        self._lost = 0
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def write(self, event: str, **values: Any) -> None:
        """Add a line. Values are plain; those that are None are left out."""
        line = {"time": _now(), "event": event} | {key: value for key, value in values.items() if value is not None}
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._lost += 1

    def close(self) -> None:
        """Write what is left, for two seconds at most."""
        try:
            self._lines.put(None, timeout=1)
        except queue.Full:
            return
        self._thread.join(2)

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            if self._lost:
                line["lines_lost"], self._lost = self._lost, 0
            try:
                self._stream.write(json.dumps(line) + "\n")
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):  # the reader has left: no more to say
                continue


class Handler(logging.Handler):
    """Warnings of the libraries below, as lines of the same log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        traceback = None if record.exc_info is None else logging.Formatter().formatException(record.exc_info)
        self._log.write(
            record.levelname.lower(), source=record.name, message=record.getMessage()[:1000], traceback=traceback
        )


@contextlib.contextmanager
def logged(log: Log) -> Iterator[None]:
    """Have what libraries warn of in the log meanwhile, instead of as bare text beside it."""
    root, talkative = logging.getLogger(), logging.getLogger("python_multipart")
    handler, level = Handler(log), talkative.level
    root.addHandler(handler)
    talkative.setLevel(logging.CRITICAL)  # it tells of every wrong body, of which the sender is told
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        talkative.setLevel(level)
        root.removeHandler(handler)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
