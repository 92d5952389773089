"""One training's checkpoints for several processes: the first keeps and reads them, the others are told what was read.

The state that is kept is whole, not a part of it for each process: so a training goes on with any number of them.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tellapart import checkpoints
from tellapart.checkpoints import Checkpoint, Keeper
from tellapart.hosts import Team


class Relay:
    """The checkpoints of the first process, as every process of a team sees them."""

    def __init__(self, team: Team, keeper: Keeper | None) -> None:
        """`keeper` is given in the first process alone, and there only where checkpoints are kept."""
        self._team, self._keeper = team, keeper
        self.resumed_from: int | None = None
        self._steps_run = 0

    @property
    def steps_run(self) -> int:
        """In this process, as the training counts them."""
        return self._steps_run

    @steps_run.setter
    def steps_run(self, n: int) -> None:
        self._steps_run = n
        if self._keeper is not None:
            self._keeper.steps_run = n

    def due(self, step: int) -> bool:
        """Whether it is time for another one; never in the others."""
        return self._keeper is not None and self._keeper.due(step)

    def begin(self) -> float:
        """The time at which the state begins to be taken."""
        return time.monotonic() if self._keeper is None else self._keeper.begin()

    def write(
        self, step: int, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any], *, since: float | None = None
    ) -> bool:
        """Keep this state, in the first process."""
        return self._keeper is not None and self._keeper.write(step, arrays, values, since=since)

    def newest(self, most_bytes: int, fits: Callable[[Checkpoint], str] = lambda checkpoint: "") -> Checkpoint | None:
        """The newest one that is whole, told to all."""
        found = None if self._keeper is None else self._keeper.newest(most_bytes, fits)
        content = io.BytesIO()
        if found is not None:
            checkpoints.write(content, found.arrays, found.values)
        about, told = self._team.tell({"step": None if found is None else found.step}, content.getvalue())
        if self._team.leads or about["step"] is None:
            return found
        return checkpoints.from_bytes(told, about["step"])

    def going_on(self, checkpoint: Checkpoint, n_steps: int, where: str) -> None:
        """Say where this process goes on; the first says it for all."""
        self.resumed_from = checkpoint.step
        if self._keeper is not None:
            self._keeper.going_on(checkpoint, n_steps, where)
