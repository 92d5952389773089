"""A training in Keras' `fit` whose whole state is kept now and then, and that goes on from there, bit for bit.

What is kept: the network and the optimizer (see `modelstate`), the place in the epoch, and the states of the callbacks
that know something. The order of the pictures and how they are varied need no keeping: both are functions of (seed,
epoch, place). Within an epoch `fit` begins it anew, with batches that begin at the place (`Batches.set_epoch`), and
the metrics go on from what they had added up.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np

from tellapart import modelstate
from tellapart.batches import Batches
from tellapart.checkpoints import Checkpoint, Keeper
from tellapart.relays import Relay


class Stateful(Protocol):
    """A callback that knows something which must not be lost."""

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """It, as arrays and plain values, under names of its own."""
        ...

    def misfit(self, checkpoint: Checkpoint, model: keras.Model) -> str:
        """What of a checkpoint cannot be that, as a clause; "" where all can."""
        ...

    def put(self, checkpoint: Checkpoint, model: keras.Model) -> None:
        """The inverse of `state`, where `misfit` finds nothing."""
        ...


class Keep(keras.callbacks.Callback):
    """Keeps the state of a training when it is due, and gives a kept one back as the training goes on.

    It stands last among the callbacks: what the others do to the network at the end of an epoch is kept too.
    """

    def __init__(
        self,
        keeper: Keeper | Relay | None,
        model: keras.Model,
        training: Batches,
        epochs: int,
        parts: Sequence[Stateful],
        stop: threading.Event,
    ) -> None:
        """`model` is compiled; `stop` says that the user wants it to end: then its state is kept at once."""
        super().__init__()
        self._keeper, self._trained, self._parts, self._stop = keeper, model, parts, stop
        self._n_batches, self._epochs = training.n_batches, epochs
        self._begun, self._before_s = time.perf_counter(), 0.0
        self.epoch = self.first = 0  # where this process begins: the epoch, and the batch in it
        self.finished = False  # by an earlier process
        self.steps_run = 0
        self._done = 0  # epochs
        self._offset = 0  # batches of the present epoch that an earlier process has done
        self._place = 0  # batches of the present epoch that are done
        self._found: Checkpoint | None = None  # to be given back as the first epoch begins
        if keeper is not None:
            self._go_on(keeper, model)

    def _go_on(self, keeper: Keeper | Relay, model: Any) -> None:
        model.optimizer.build(model.trainable_variables)
        found = keeper.newest(2 * modelstate.n_bytes(model), self._misfit)
        if found is None:
            return
        values = found.values
        self.finished, self.epoch, self.first = values["finished"], values["epoch"], values["place"]
        self._before_s, self._done = values["seconds"], values["epoch"]
        for part in self._parts:
            part.put(found, model)
        n_steps = self._epochs * self._n_batches
        if self.finished:
            modelstate.put(model, found.arrays, [modelstate.MODEL])
            keeper.going_on(found, n_steps, "the training was through")
        else:
            self._found = found
            modelstate.build_metrics(model)
            keeper.going_on(found, n_steps, f"epoch {self.epoch + 1:,}")

    def _misfit(self, checkpoint: Checkpoint) -> str:
        """What is wrong with a checkpoint, as a clause; "" where nothing is."""
        values = checkpoint.values
        finished, epoch = values.get("finished"), values.get("epoch")
        good = (
            isinstance(finished, bool)
            and whole(epoch, 0, self._epochs if finished else self._epochs - 1)
            and whole(values.get("place"), 0, self._n_batches - 1)
            and time_s(values.get("seconds"))
        )
        if not good:
            return "its place is not one of this training"
        wrong = modelstate.misfit(self._trained, checkpoint, training=not finished)
        return next(filter(None, [wrong, *(part.misfit(checkpoint, self._trained) for part in self._parts)]), "")

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self._offset = self._place = self.first if self._found is not None else 0
        if self._found is not None:  # not earlier: Keras has just set the metrics to nothing
            kinds = [modelstate.MODEL, modelstate.OPTIMIZER, *([modelstate.METRICS] if self.first else [])]
            modelstate.put(self._now(), self._found.arrays, kinds)
            self._found = None

    def on_train_batch_end(self, batch, logs=None) -> None:
        place = min(self._offset + batch + 1, self._n_batches)
        self.steps_run += place - self._place
        if self._keeper is not None:
            self._keeper.steps_run = self.steps_run
        self._place = place
        if place < self._n_batches:  # else the epoch ends now, and is kept with its end
            self._keep(place)

    def on_epoch_end(self, epoch, logs=None) -> None:
        if self._place == self._n_batches:  # not where it was cut short
            self._done = epoch + 1
            if self._done < self._epochs:
                self._keep(0)

    def _keep(self, place: int) -> None:
        if self._keeper is not None and (self._keeper.due(self._step(place)) or self._stop.is_set()):
            since = self._keeper.begin()
            self._write(self._keeper, modelstate.take(self._now()), place, since, finished=False)

    def finish(self) -> None:
        """Keep what came of the training, so that all that follows can be repeated without it."""
        if self._keeper is not None and not self.finished:
            since = self._keeper.begin()
            self._write(self._keeper, modelstate.take(self._trained, training=False), 0, since, finished=True)

    def _write(
        self, keeper: Keeper | Relay, arrays: dict[str, np.ndarray], place: int, since: float, *, finished: bool
    ) -> None:
        values: dict[str, Any] = {}
        for part in self._parts:
            more, plain = part.state()
            arrays, values = arrays | more, values | plain
        values |= {"epoch": self._done, "place": place, "finished": finished, "seconds": self.seconds()}
        keeper.write(self._step(place), arrays, values, since=since)

    def _step(self, place: int) -> int:
        return self._done * self._n_batches + place

    def seconds(self) -> float:
        """Of the whole training, earlier processes included, up to their last checkpoints."""
        return self._before_s + time.perf_counter() - self._begun

    def _now(self) -> Any:
        return self.model  # brings the variables up to date where the backend keeps them elsewhere meanwhile


def whole(value: Any, low: int, high: int) -> bool:
    """Whether a value that was read is a whole number from `low` to `high`."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def number(value: Any) -> bool:
    """Whether a value that was read is a number; a loss may be none that is finite."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def time_s(value: Any) -> bool:
    """Whether a value that was read is a time, s."""
    return number(value) and math.isfinite(value) and value >= 0
