"""How far a long run has come, for the person who waits: bars on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

SHOW_AFTER_S = 1.0  # a stage that is through sooner needs no bar


class Progress:
    """Says nothing; the base of those who do. Used as a context manager."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        """`done` of `total` of a stage, None where nobody knows; `detail` is one line beside the bar."""

    def counted(self, stage: str, items: Iterable[T], total: int) -> Iterator[T]:
        """The items as they are, each told of as done once the next one is asked for."""
        for i, item in enumerate(items):
            yield item
            self.update(stage, i + 1, total)

    def note(self, text: str) -> None:
        """A sentence that a person should read."""

    def close(self) -> None:
        """Take away what stands on the terminal."""


class TerminalProgress(Progress):
    """Bars and notes on standard error: bars only where it is a terminal, or a notebook's cell."""

    def __init__(self) -> None:
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._started: dict[str, float] = {}
        self._live = sys.stderr.isatty()

    def update(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        """See `Progress.update`."""
        started = self._started.setdefault(stage, time.monotonic())
        if not self._live or (stage not in self._tasks and time.monotonic() - started < SHOW_AFTER_S):
            return
        if self._bars is None:
            self._bars = self._begin()
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, detail="")
        self._bars.update(self._tasks[stage], completed=done, total=total, detail=detail)

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr)  # noqa: T201 - standard error is where a note belongs

    def close(self) -> None:
        """See `Progress.close`."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
        self._tasks.clear()
        self._started.clear()

    def _begin(self) -> Any:
        from rich import progress
        from rich.console import Console

        bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TimeRemainingColumn(compact=True),
            progress.TextColumn("{task.fields[detail]}", style="dim", markup=False),
            console=Console(stderr=True),
        )
        bars.start()
        return bars
