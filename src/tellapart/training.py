"""Batches and a recipe to a trained Keras model, in Keras' own `fit`."""

from __future__ import annotations

import csv
import io
import math
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import keras
import numpy as np
from keras import ops

from tellapart import devices, graphs, hosts, interrupts, keeping, modelstate, objectives
from tellapart.batches import Batches
from tellapart.checkpoints import Checkpoint, Keeper
from tellapart.config import Recipe
from tellapart.errors import SettingsError
from tellapart.relays import Relay

STEPS_PER_EXECUTION = 8  # steps that Keras runs between two calls of the callbacks


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training gave."""

    model: keras.Model  # float32, with the weights of the best epoch
    history: tuple[dict[str, float], ...]  # one row an epoch: loss, accuracy, val_loss, val_accuracy, rate
    # 1-based, by validation accuracy, then loss; the last one where one cycle was gone through, or without validation
    best_epoch: int
    precision: str  # of training: "float32" or "mixed_bfloat16"
    n_pictures: int  # training pictures, each seen once an epoch
    n_seen: int  # pictures seen in all; an epoch that was cut short counts with what it saw
    seconds: float  # wall time of `fit`, validation included
    interrupted: bool  # the user stopped it before the recipe was through
    epoch_seconds: tuple[float, ...] = ()  # wall time of each epoch
    resumed_from: int | None = None  # the step at which this process went on; None where it began
    steps_run: int = 0  # in this process

    def as_dict(self) -> dict[str, object]:
        """The record of the training; the bundle's is without the seconds, see `provenance.timeless`."""
        return {
            "epochs": len(self.history),
            "best_epoch": self.best_epoch,
            "pictures_per_epoch": self.n_pictures,
            "pictures_seen": self.n_seen,
            "precision": self.precision,
            "seconds": round(self.seconds, 3),
            "epoch_seconds": list(self.epoch_seconds),
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
    keeper: Keeper | Relay | None = None,
) -> Outcome:
    """Compile and fit `model`; keep the weights of the best epoch (see `_Best`).

    With a `keeper` the whole state is kept now and then, and where it has one the training goes on from that: it ends
    with the weights of one that was never stopped, bit for bit. `callbacks` are not part of that state. They are told
    of the epochs and batches that this process runs; within an epoch gone on with, batches are counted from there.

    Ctrl-C ends the training after the batch that is under way: what was learned so far is kept, `interrupted` says so.
    A second Ctrl-C raises KeyboardInterrupt as ever.

    `deadline`, on `time.monotonic`'s clock, ends it likewise, should it take longer than planned.
    `progress` is called with pictures done, pictures in all, and a line about the last epoch.

    Raises:
        SettingsError: the weights grew beyond all numbers, as they do at too high a learning rate.
    """
    best = _Best(recipe.patience, last=recipe.epochs if recipe.schedule == "one_cycle" else None)
    grows = recipe.grow_from < 1
    spread = devices.spread()
    with devices.scope():
        if grows:
            model = graphs.of_any_size(model)
            training.set_sides(recipe.sides_px())
        trained = model if spread is None else spread.sharing(model)
        objectives.compile_model(
            trained,
            recipe,
            steps_per_epoch=len(training),
            steps_per_execution=STEPS_PER_EXECUTION,
            optimizer=optimizer,
        )
        if keras.backend.backend() != "tensorflow":
            modelstate.build(trained)
        record = _Record(training, recipe, progress)
        with interrupts.heeded(lambda: _end(trained)) as stop, hosts.jointly():
            keep = keeping.Keep(keeper, trained, training, recipe.epochs, [best, record], stop)
            if not keep.finished:
                watched = [*([] if validation is None else [best]), record, _Stop(stop, deadline), *callbacks]
                with warnings.catch_warnings():
                    if keep.first:  # what is left of an epoch is less than Keras counts on
                        warnings.filterwarnings("ignore", "Your input ran out of data", UserWarning)
                    trained.fit(
                        training,
                        validation_data=validation,
                        initial_epoch=keep.epoch,
                        epochs=recipe.epochs,
                        shuffle=False,  # Keras would shuffle the batches again, by a generator that no seed decides
                        callbacks=[*watched, *([] if hosts.team() is None else [_Together(stop)]), keep],
                        verbose=0,  # pyright: ignore[reportArgumentType]
                    )
    if not all(np.isfinite(weights).all() for weights in model.get_weights()):
        own: Any = None if optimizer is None else ops.convert_to_numpy(optimizer.learning_rate)
        rate = recipe.learning_rate if own is None else float(own)
        raise SettingsError(
            f"The learning rate must be small enough for the weights to stay finite; at {rate:g} they did not. "
            f"Take a lower --learning-rate."
        )
    if not stop.is_set():
        keep.finish()
    return Outcome(
        model=graphs.in_float32(model, recipe.size_px if grows else None),
        history=tuple(record.rows),
        best_epoch=len(record.rows) if validation is None else best.epoch,
        precision=precision,
        n_pictures=len(training.paths),
        n_seen=record.n_seen,
        seconds=keep.seconds(),
        epoch_seconds=tuple(record.seconds),
        interrupted=stop.is_set(),
        resumed_from=None if keeper is None else keeper.resumed_from,
        steps_run=keep.steps_run,
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

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What it knows so far, as arrays and plain values."""
        return modelstate.numbered("best", self._weights), {"best": [*self._best], "best_epoch": self.epoch}

    def misfit(self, checkpoint: Checkpoint, model: keras.Model) -> str:
        """What of a checkpoint cannot be its state, as a clause; "" where all can."""
        best, weights = checkpoint.values.get("best"), modelstate.counted("best", checkpoint.arrays)
        good = isinstance(best, list) and len(best) == 2 and all(map(keeping.number, best))
        if not good or not keeping.whole(checkpoint.values.get("best_epoch"), 0, 10**6):
            return "its best epoch is not of this training"
        whole = not weights or modelstate.alike(weights, model.get_weights()) is not None
        return "" if whole else "its best weights are not of this network"

    def put(self, checkpoint: Checkpoint, model: keras.Model) -> None:
        """The inverse of `state`."""
        accuracy, loss = checkpoint.values["best"]
        self._best, self.epoch = (float(accuracy), float(loss)), checkpoint.values["best_epoch"]
        weights = modelstate.counted("best", checkpoint.arrays)
        self._weights = (modelstate.alike(weights, model.get_weights()) if weights else None) or []


class _Record(keras.callbacks.Callback):
    """Keeps the learning curves and tells of progress."""

    def __init__(self, training: Batches, recipe: Recipe, progress: Callable[[int, int, str], None]) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []
        self.seconds: list[float] = []  # of each epoch
        self.n_seen = 0
        self._training = training
        self._n = len(training.paths)
        self._epochs = recipe.epochs
        self._batch_size = recipe.batch_size
        self._progress = progress
        self._detail = ""
        self.first = 0  # batches of the present epoch that an earlier process has done
        self._spent_s = 0.0  # on these
        self._start = 0.0

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What it knows so far, as arrays and plain values."""
        spent_s = self._spent_s + time.perf_counter() - self._start
        return {}, {
            "rows": self.rows, "epoch_seconds": self.seconds, "n_seen": self.n_seen, "detail": self._detail,
            "epoch_s": spent_s,
        }  # fmt: skip

    def misfit(self, checkpoint: Checkpoint, model: keras.Model) -> str:
        """What of a checkpoint cannot be its state, as a clause; "" where all can."""
        values: Any = checkpoint.values
        names = ("rows", "epoch_seconds", "n_seen", "detail", "epoch_s")
        rows, seconds, n_seen, detail, epoch_s = (values.get(name) for name in names)
        lists = isinstance(rows, list) and isinstance(seconds, list) and len(rows) == len(seconds) <= self._epochs
        good = (
            lists
            and (checkpoint.values.get("finished") or len(rows) == checkpoint.values.get("epoch"))
            and all(isinstance(row, dict) and [*row] == [*rows[0]] for row in rows)
            and all(keeping.number(value) for row in rows for value in row.values())
            and all(map(keeping.time_s, [*seconds, epoch_s]))
            and keeping.whole(n_seen, 0, self._epochs * self._n)
            and isinstance(detail, str)
        )  # fmt: skip
        return "" if good else "its learning curves are not of this training"

    def put(self, checkpoint: Checkpoint, model: keras.Model) -> None:
        """The inverse of `state`."""
        values = checkpoint.values
        self.rows, self.seconds = values["rows"], values["epoch_seconds"]
        self.n_seen, self._detail = values["n_seen"], values["detail"]
        self.first = values["place"]
        self._spent_s = values["epoch_s"] if self.first else 0.0

    def on_epoch_begin(self, epoch, logs=None) -> None:
        self._training.set_epoch(epoch, self.first)  # backends differ in how often they call it for a trial pass
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None) -> None:
        done = len(self.rows) * self._n + min((self.first + batch + 1) * self._batch_size, self._n)
        self.n_seen = done
        self._progress(done, self._epochs * self._n, self._detail)

    def on_epoch_end(self, epoch, logs=None) -> None:
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        model: Any = self.model
        row["learning_rate"] = float(np.asarray(ops.convert_to_numpy(model.optimizer.learning_rate)))
        self.seconds.append(round(self._spent_s + time.perf_counter() - self._start, 3))
        self.first, self._spent_s = 0, 0.0
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


def _end(model: Any) -> None:
    """End `fit` at the end of the batch. Of several processes each would end it at another one: see `_Together`."""
    if hosts.team() is None:
        model.stop_training = True


class _Together(keras.callbacks.Callback):
    """Ends the training in every process at the same step where one of them wants to end it."""

    def __init__(self, stopped: threading.Event) -> None:
        super().__init__()
        self._stopped = stopped

    def on_train_batch_end(self, batch, logs=None) -> None:
        model, team = cast(Any, self.model), hosts.team()
        assert team is not None
        stopped, ends = team.agree(self._stopped.is_set(), model.stop_training)
        if stopped:
            self._stopped.set()
        model.stop_training = ends

    def on_epoch_end(self, epoch, logs=None) -> None:
        self.on_train_batch_end(0)
