"""Batches and a recipe to a trained Keras model, in Keras' own `fit`."""

from __future__ import annotations

import csv
import io
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from tellapart import graphs, objectives
from tellapart.batches import Batches
from tellapart.config import Recipe
from tellapart.errors import SettingsError

STEPS_PER_EXECUTION = 8  # steps that Keras runs between two calls of the callbacks


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training gave."""

    model: keras.Model  # float32, with the weights of the best epoch
    history: tuple[dict[str, float], ...]  # one row an epoch: loss, accuracy, val_loss, val_accuracy, rate, seconds
    # 1-based, by validation accuracy, then loss; the last one where one cycle was gone through, or without validation
    best_epoch: int
    precision: str  # of training: "float32" or "mixed_bfloat16"
    n_pictures: int  # training pictures, each seen once an epoch
    n_seen: int  # pictures seen in all; an epoch that was cut short counts with what it saw
    seconds: float  # wall time of `fit`, validation included
    interrupted: bool  # the user stopped it before the recipe was through

    def as_dict(self) -> dict[str, object]:
        """The bundle's record of the training."""
        return {
            "epochs": len(self.history),
            "best_epoch": self.best_epoch,
            "pictures_per_epoch": self.n_pictures,
            "pictures_seen": self.n_seen,
            "precision": self.precision,
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
        }

    def history_csv(self) -> str:
        """The learning curves as CSV, one row an epoch."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.history[0]) if self.history else ["epoch"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        return text.getvalue()


def train(
    model: keras.Model,
    recipe: Recipe,
    training: Batches,
    validation: Batches | None,
    *,
    precision: str,
    optimizer: keras.optimizers.Optimizer | None = None,
    deadline: float | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Callable[[int, int, str], None] = lambda done, total, detail: None,
) -> Outcome:
    """Compile and fit `model`; keep the weights of the best epoch (see `_Best`).

    Ctrl-C ends the training after the batch that is under way: what was learned so far is kept, `interrupted` says so.
    A second Ctrl-C raises KeyboardInterrupt as ever.

    `deadline`, on `time.monotonic`'s clock, ends it likewise, should it take longer than planned.
    `progress` is called with pictures done, pictures in all, and a line about the last epoch.

    Raises:
        SettingsError: the weights grew beyond all numbers, as they do at too high a learning rate.
    """
    best = _Best(recipe.patience, last=recipe.epochs if recipe.schedule == "one_cycle" else None)
    grows = recipe.grow_from < 1
    if grows:
        model = graphs.of_any_size(model)
        training.set_sides(recipe.sides_px())
    objectives.compile_model(
        model,
        recipe,
        steps_per_epoch=len(training),
        steps_per_execution=STEPS_PER_EXECUTION,
        optimizer=optimizer,
    )
    record = _Record(training, recipe, progress)
    start = time.perf_counter()
    with _stop_on_interrupt(model) as stop:
        watched = [*([] if validation is None else [best]), record, _Stop(stop, deadline), *callbacks]
        model.fit(
            training,
            validation_data=validation,
            epochs=recipe.epochs,
            shuffle=False,  # Keras would shuffle the batches once more, by a generator that no seed of ours decides
            callbacks=watched,
            verbose=0,  # pyright: ignore[reportArgumentType]
        )
    seconds = time.perf_counter() - start
    if not all(np.isfinite(weights).all() for weights in model.get_weights()):
        own: Any = None if optimizer is None else ops.convert_to_numpy(optimizer.learning_rate)
        rate = recipe.learning_rate if own is None else float(own)
        raise SettingsError(
            f"The learning rate must be small enough for the weights to stay finite; at {rate:g} they did not. "
            f"Take a lower --learning-rate."
        )
    return Outcome(
        model=graphs.in_float32(model, recipe.size_px if grows else None),
        history=tuple(record.rows),
        best_epoch=len(record.rows) if validation is None else best.epoch,
        precision=precision,
        n_pictures=len(training.paths),
        n_seen=record.n_seen,
        seconds=seconds,
        interrupted=stop.is_set(),
    )


class _Best(keras.callbacks.Callback):
    """Keeps the weights of the best epoch by validation accuracy, and stops after `patience` epochs without a better.

    Among epochs of equal accuracy the one of the lowest loss is the best: with few validation pictures many are equal,
    and the loss tells which of them is surest.

    Where the rate fell to nothing by epoch `last`, that one is the best, whatever a few hundred pictures say: on cats
    and dogs 600 of them preferred, by one picture, an epoch three points worse on the training pictures.
    """

    def __init__(self, patience: int | None, last: int | None = None) -> None:
        super().__init__()
        self._last = last
        self.epoch = 0  # 1-based
        self._patience = patience
        self._best = (-1.0, 0.0)  # validation accuracy, negative validation loss
        self._weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch, logs=None) -> None:
        logs, model = logs or {}, self._trained()
        score = (logs["val_accuracy"], -logs["val_loss"])
        if math.isnan(logs["val_loss"]):
            return  # not even the first such epoch is the best so far
        if score > self._best or epoch + 1 == self._last:
            self._best, self.epoch, self._weights = score, epoch + 1, model.get_weights()
        elif self._patience is not None and epoch + 1 - self.epoch >= self._patience:
            model.stop_training = True

    def on_train_end(self, logs=None) -> None:
        if self._weights:
            self._trained().set_weights(self._weights)

    def _trained(self) -> Any:
        return self.model  # Keras declares that it may be None, which within `fit` it is not


class _Record(keras.callbacks.Callback):
    """Keeps the learning curves and tells of progress."""

    def __init__(self, training: Batches, recipe: Recipe, progress: Callable[[int, int, str], None]) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []
        self.n_seen = 0
        self._training = training
        self._n = len(training.paths)
        self._epochs = recipe.epochs
        self._batch_size = recipe.batch_size
        self._progress = progress
        self._detail = ""

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self._training.set_epoch(epoch)  # backends differ in how often they call it for a trial pass
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None) -> None:
        done = len(self.rows) * self._n + min((batch + 1) * self._batch_size, self._n)
        self.n_seen = done
        self._progress(done, self._epochs * self._n, self._detail)

    def on_epoch_end(self, epoch, logs=None) -> None:
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        model: Any = self.model
        row["learning_rate"] = float(np.asarray(ops.convert_to_numpy(model.optimizer.learning_rate)))
        row["seconds"] = round(time.perf_counter() - self._start, 3)
        self.rows.append(row)
        if not math.isfinite(row["loss"]):
            model.stop_training = True  # from here on it cannot learn
        validation = f", {row['val_accuracy']:.1%} on validation" if "val_accuracy" in row else ""
        self._detail = f"epoch {epoch + 1} of {self._epochs}: {row['accuracy']:.1%} on training pictures{validation}"
        self._progress(len(self.rows) * self._n, self._epochs * self._n, self._detail)


class _Stop(keras.callbacks.Callback):
    """Ends the training when time is up, and repeats the wish to stop, which `fit` forgets before the first epoch."""

    def __init__(self, stopped: threading.Event, deadline: float | None) -> None:
        super().__init__()
        self._stopped, self._deadline = stopped, math.inf if deadline is None else deadline

    def on_train_batch_end(self, batch, logs=None) -> None:
        if self._stopped.is_set() or time.monotonic() > self._deadline:
            model: Any = self.model
            model.stop_training = True


@contextmanager
def _stop_on_interrupt(model: keras.Model) -> Iterator[threading.Event]:
    """Let the first Ctrl-C end `fit` at the end of the batch, and the second one raise KeyboardInterrupt."""
    stopped = threading.Event()

    def stop(signum, frame) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        model.stop_training = True

    if threading.current_thread() is not threading.main_thread():
        yield stopped  # only the main thread may set a handler
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
