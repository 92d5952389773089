"""Which requests are accepted: as many pictures as can be answered in time, and no more.

What was accepted is to be answered within its deadline, so a request is refused at once where the pictures before it,
at the speed that was measured lately, would leave it too little time. All counts are kept on the event loop's thread.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from tellapart.serve.refusals import busy

SHARE = 0.6  # of the deadline that may go by waiting, by estimate; the rest is for what the estimate does not see
WINDOW_S = 0.5  # of work over which speed is measured
WEIGHT = 0.3  # of the newest window


class Speed:
    """Seconds a picture, while there is work: time in which something was under way over pictures answered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.seconds: float | None = None  # a picture; None before anything was measured
        self._busy_since: float | None = None
        self._busy_s = 0.0
        self._n = 0

    def began(self) -> None:
        """Work has begun after a rest."""
        self._busy_since = self._clock()

    def answered(self, n: int, *, rest: bool) -> None:
        """`n` pictures were answered; nothing is under way any more if `rest`."""
        now = self._clock()
        if self._busy_since is not None:
            self._busy_s += now - self._busy_since
        self._busy_since = None if rest else now
        self._n += n
        if self._n and (self._busy_s >= WINDOW_S or self.seconds is None):
            found = self._busy_s / self._n
            self.seconds = found if self.seconds is None else (1 - WEIGHT) * self.seconds + WEIGHT * found
            self._busy_s, self._n = 0.0, 0


class Admission:
    """A bounded number of pictures under way, each expected to be answered in time."""

    def __init__(self, queue: int, deadline_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.queue, self.deadline_s = queue, deadline_s
        self.n = 0  # pictures under way
        self.speed = Speed(clock)
        self._clock = clock
        self._full_since: float | None = None

    def wait_s(self, n: int = 0) -> float:
        """Estimated seconds until `n` pictures more were answered."""
        return (self.n + n) * (self.speed.seconds or 0.0)

    def full_s(self) -> float:
        """For how long requests have been refused without a pause, seconds."""
        if self._full_since is None or self.has_room():
            return 0.0
        return self._clock() - self._full_since

    def has_room(self, n: int = 1) -> bool:
        """Whether `n` pictures more would be taken.

        Where nothing is under way they are, however many they are: later would be no better.
        """
        return not self.n or (self.n + n <= self.queue and self.wait_s(n) <= SHARE * self.deadline_s)

    def check(self, n: int = 1) -> None:
        """Raise Refusal (503) where `n` pictures more cannot be taken now."""
        if self.has_room(n):
            self._full_since = None
            return
        if self._full_since is None:
            self._full_since = self._clock()
        if self.n + n > self.queue:
            what = f"The queue must have room for {n} more; {self.n} of {self.queue} places are taken."
        else:
            what = f"An answer must come within {self.deadline_s:g} s; with {self.n} pictures before it would not."
        retry_s = max(self.wait_s() - SHARE * self.deadline_s / 2, 0)
        raise busy("queue_full", f"{what} Ask again later.", retry_s)

    @contextlib.contextmanager
    def admitted(self, n: int) -> Iterator[None]:
        """Hold the place of `n` pictures. Raises Refusal (503) where there is none."""
        self.check(n)
        if not self.n:
            self.speed.began()
        self.n += n
        answered = 0
        try:
            yield
            answered = n
        finally:
            self.n -= n
            self.speed.answered(answered, rest=not self.n)
