"""Which requests are accepted: as many pictures as can be answered in time, and no more.

What was accepted is to be answered within its deadline, so a request is refused at once where the pictures before it
would leave it too little time, at the speed that was measured lately: of each request the time that it took, over the
pictures that were under way when it came, its own among them. All is kept on the event loop's thread.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from tellapart.serve.refusals import busy

SHARE = 0.6  # of the deadline that may go by waiting, by estimate; the rest is for what the estimate does not see
WEIGHT = 0.1  # of the newest request in the speed


class Admission:
    """A bounded number of pictures under way, each expected to be answered in time."""

    def __init__(self, queue: int, deadline_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.queue, self.deadline_s = queue, deadline_s
        self.n = 0  # pictures under way
        self.seconds: float | None = None  # a picture, lately; None before one was answered
        self._clock = clock
        self._full_since: float | None = None

    def wait_s(self, n: int = 0) -> float:
        """Estimated seconds until `n` pictures more were answered."""
        return (self.n + n) * (self.seconds or 0.0)

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
        start = self._clock()
        self.n += n
        place = self.n
        try:
            yield
        finally:
            self.n -= n
        # Only of what was answered: a picture that is given up has taken the time of no other.
        seconds = (self._clock() - start) / place
        self.seconds = seconds if self.seconds is None else (1 - WEIGHT) * self.seconds + WEIGHT * seconds
