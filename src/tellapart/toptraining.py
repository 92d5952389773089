"""The part of a backbone above the cut: as a Keras model, and its training on what stands at the cut.

See `finetune` for when that is done, and how. The steps are taken one by one, not by `fit`: after each the moving
average of the weights goes on.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart import augment, backbones, devices, hosts, interrupts, metrics
from tellapart.backbones import Backbone, Head
from tellapart.checkpoints import Checkpoint, Keeper
from tellapart.config import TRANSFER
from tellapart.relays import Relay

if TYPE_CHECKING:
    import keras

BLOCKS = 4  # trained, from the top, the last convolution among them; all of them see the picture at 1/32 of its size
BATCH = 32  # pictures a step
RATE = TRANSFER.fine_tune_rate
SLOWER = 0.7  # factor of the rate from block to block downwards
DECAY, SMOOTHING = 1e-2, 0.05
AVERAGE = 0.9  # of the weights' moving average, a step
PATIENCE = 4  # epochs without a better one


def cut_shape(backbone: Backbone, size_px: int) -> tuple[int, int, int]:
    """(H, W, K) of what stands at the cut."""
    side, filters = size_px, 3
    for block in list(backbones.blocks(backbone))[:-BLOCKS]:
        for one in block.convolutions:
            side, filters = math.ceil(side / one.stride), one.filters
    return side, side, filters


def top(backbone: Backbone, size_px: int, head: Head, *, dtype: str = "float32") -> keras.Model:
    """What lies above the cut, as a Keras model: activations (B, H, W, K) to logits (B, C), float32.

    Normalisations are folded in; the depthwise convolutions are not trained.
    """
    import keras
    from keras import layers

    tensors = backbones.pretrained(backbone)
    entry = keras.Input(cut_shape(backbone, size_px), dtype="float16", name="activations")
    x = layers.Rescaling(1.0, dtype=dtype)(entry)
    for block in list(backbones.blocks(backbone))[-BLOCKS:]:
        came = x
        for one in block.convolutions:
            kernel, bias = backbones.folded(tensors, one)
            if one.depthwise:
                layer = layers.DepthwiseConv2D(one.kernel, one.stride, "same", dtype=dtype, name=one.name)
                layer.trainable, kernel = False, kernel.transpose(2, 3, 0, 1)
            else:
                layer = layers.Conv2D(one.filters, one.kernel, one.stride, "same", dtype=dtype, name=one.name)
                kernel = kernel.transpose(2, 3, 1, 0)
            x = layer(x)
            layer.set_weights([kernel, bias])
            if one.relu6:
                x = layers.ReLU(6.0, dtype=dtype)(x)
        if block.skip:
            x = layers.Add(dtype=dtype)([x, came])
    x = layers.GlobalAveragePooling2D(dtype="float32")(x)
    answer = layers.Dense(len(head.bias), name="answer", dtype="float32")
    model = keras.Model(entry, answer(x))
    answer.set_weights([head.kernel, head.bias])
    return model


def factors(n_blocks: int) -> list[float]:
    """Of the rate, from the lowest trained block to the highest, then the answer."""
    return [SLOWER ** (n_blocks - 1 - i) for i in range(n_blocks)] + [1.0]


@dataclass(slots=True, eq=False)
class Best:
    weights: list[np.ndarray]
    score: tuple[float, float] = (-1.0, 0.0)  # accuracy, negative log-loss
    epoch: int = 0
    epochs: int = 0  # done
    interrupted: bool = False
    stopped_by_clock: bool = False


class Steps:
    """Training steps of the part above the cut."""

    def __init__(
        self,
        model: keras.Model,
        factors: list[float],
        seed: int,
        precision: str = "float32",
        spread: devices.Spread | None = None,
        *,
        rate: float = RATE,
    ) -> None:
        """`model` stands on the devices of `spread` where that is given; `rate` is the highest of the cycle."""
        self.model = model if spread is None else spread.sharing(model, unevenly=True)  # it has no normalisations
        self.precision = precision
        self.rate = rate
        self._factors, self._seed = factors, seed
        self._first = model.get_weights()
        self._spread = spread

    def _compile(self, n_steps: int) -> None:
        import keras

        from tellapart import objectives

        trained = [layer for layer in self.model.layers if layer.trainable_variables]
        per_layer = [self._factors[-1] for _ in trained]
        # From the top: the answer, the last convolution, then blocks of two trained convolutions each.
        for place in range(1, len(trained)):
            per_layer[-1 - place] = self._factors[-2 - min(place // 2, len(self._factors) - 2)]
        factors = [f for layer, f in zip(trained, per_layer, strict=True) for _ in layer.trainable_variables]
        optimizer = objectives.Layered(objectives.OneCycle(self.rate, n_steps), factors, weight_decay=DECAY)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=SMOOTHING)
        self.model.compile(optimizer, loss)

    def seconds(self, batch: int) -> float:
        """Of one step, measured; the weights are as before afterwards."""
        self._compile(1)
        rng = np.random.default_rng(0)
        pixels = rng.random((batch, *self.model.inputs[0].shape[1:])).astype(np.float16)
        wanted = np.eye(self.model.outputs[0].shape[-1], dtype=np.float32)[np.zeros(batch, int)]
        self.model.train_on_batch(pixels, wanted)  # builds the graph
        start = time.perf_counter()
        for _ in range(3):
            self.model.train_on_batch(pixels, wanted)
        self.model.set_weights(self._first)
        return (time.perf_counter() - start) / 3

    def train(
        self,
        values: np.ndarray,
        inside: tuple[np.ndarray, np.ndarray],
        outside: tuple[np.ndarray, np.ndarray],
        *,
        epochs: int,
        until: float,
        progress: Callable[[int, int, str], None],
        watch: Callable[[float, float, float], None] = lambda share, accuracy, loss: None,
        keeper: Keeper | Relay | None = None,
    ) -> Best:
        """Train on views `values`, float16 (M, V, H, W, K), by (rows, labels); the best epoch by those outside.

        With a `keeper` the state is kept now and then, and where it has one the training goes on from that, bit for
        bit. Ctrl-C ends it after the step that is under way, whose state is kept at once; a second one as ever.

        After each epoch `watch` is called with the share of the epochs that are done and with accuracy and log-loss of
        the pictures outside; what it raises ends the training.
        """
        with contextlib.nullcontext() if self._spread is None else self._spread.scope():
            rows, labels = inside
            n, n_views, n_classes = len(rows), values.shape[1], self.model.outputs[0].shape[-1]
            batch = min(BATCH, n)
            n_steps = n // batch
            self._compile(epochs * n_steps)
            average = self.model.get_weights()
            best = Best(average)
            wanted = np.eye(n_classes, dtype=np.float32)[labels]
            first_view = augment.permutation(n, seed=self._seed, epoch=-1)
            done, finished = 0, False
            if keeper is not None:
                done, average, finished = self._gone_on(keeper, best, epochs, n_steps)
            kept = functools.partial(self._keep, keeper, best, n_steps)
            team = hosts.team()
            cut_short = False  # by the user, before it was through
            try:
                # Of several processes each would be interrupted at another step: all end after the same one.
                with interrupts.heeded() as stop, hosts.jointly():
                    for epoch in range(epochs if finished else done // n_steps, epochs):
                        order = augment.permutation(n, seed=self._seed, epoch=epoch)
                        for i in range(done - epoch * n_steps, n_steps):
                            chosen = order[i * batch : (i + 1) * batch]
                            view = (first_view[chosen] + epoch) % n_views
                            self._step(values, rows[chosen], view, wanted[chosen])
                            done += 1
                            if keeper is not None:
                                keeper.steps_run += 1
                            keep = min(AVERAGE, done / (done + 9))
                            now = self.model.get_weights()
                            average = [keep * old + (1 - keep) * new for old, new in zip(average, now, strict=True)]
                            progress(done * batch, epochs * n_steps * batch, "")
                            over, stopped = time.monotonic() > until, stop.is_set()
                            if team is not None:
                                over, stopped = team.agree(over, stopped)
                            cut_short = stopped and done < epochs * n_steps
                            if over and not cut_short:
                                best.stopped_by_clock = True
                                break
                            if done % n_steps:  # else the epoch ends now, and is kept with its end
                                kept(done, average, at_once=cut_short)
                                if cut_short:
                                    break
                        if cut_short and done % n_steps:
                            break
                        now = self.model.get_weights()
                        self.model.set_weights(average)
                        told = metrics.softmax(self._logits(values, outside[0]))
                        self.model.set_weights(now)
                        score = metrics.accuracy(told, outside[1]), -metrics.log_loss(told, outside[1])
                        if team is not None:
                            accuracy, loss = team.first(*score)
                            score = accuracy, loss
                        best.epochs = epoch + 1
                        watch((epoch + 1) / epochs, score[0], -score[1])
                        if score > best.score:
                            best.score, best.epoch, best.weights = score, epoch, average
                        over = time.monotonic() > until
                        if team is not None:
                            (over,) = team.agree(over)
                        if epoch - best.epoch >= PATIENCE or over or not np.isfinite(score[1]):
                            cut_short = False
                            break
                        if done < epochs * n_steps:
                            kept(done, average, at_once=cut_short)
                        if cut_short:
                            break
                best.interrupted = cut_short or stop.is_set()
            except KeyboardInterrupt:
                best.interrupted = cut_short = True
            if not finished and not cut_short:
                kept(done, average, finished=True)
            return best

    def _step(self, values: np.ndarray, rows: np.ndarray, view: np.ndarray, wanted: np.ndarray) -> None:
        """One step on some views, by all devices that share it."""

        def made(part: slice) -> tuple[np.ndarray, np.ndarray]:
            return values[rows[part], view[part]], wanted[part]

        batch = (*made(slice(None)), None) if self._spread is None else self._spread.share(len(rows), made)
        seen, truth, marks = batch
        self.model.train_on_batch(seen, truth, marks)

    def _keep(
        self,
        keeper: Keeper | Relay | None,
        best: Best,
        n_steps: int,
        done: int,
        average: list[np.ndarray],
        *,
        at_once: bool = False,
        finished: bool = False,
    ) -> None:
        """Keep the state after `done` steps where it is time, `at_once`, or where the training is through."""
        if keeper is None or not (at_once or finished or keeper.due(done)):
            return
        from tellapart import modelstate

        since = keeper.begin()
        arrays = modelstate.numbered("best", best.weights)
        if not finished:
            arrays |= modelstate.take(self.model) | modelstate.numbered("average", average)
        values = {"finished": finished, "score": [*best.score], "best_epoch": best.epoch, "epochs": best.epochs}
        keeper.write(
            done, arrays, values | {"stopped_by_clock": best.stopped_by_clock, "n_steps": n_steps}, since=since
        )

    def _gone_on(
        self, keeper: Keeper | Relay, best: Best, epochs: int, n_steps: int
    ) -> tuple[int, list[np.ndarray], bool]:
        """Give the kept state back: the steps done, the moving average, and whether that was the end."""
        from tellapart import modelstate

        model: Any = self.model
        model.optimizer.build(model.trainable_variables)
        weights = model.get_weights()

        def misfit(checkpoint: Checkpoint) -> str:
            values, arrays, finished = checkpoint.values, checkpoint.arrays, checkpoint.values.get("finished")
            score = values.get("score")
            good = (
                isinstance(finished, bool)
                and values.get("n_steps") == n_steps
                and (checkpoint.step <= epochs * n_steps if finished else 0 < checkpoint.step < epochs * n_steps)
                and isinstance(score, list) and len(score) == 2
                and all(isinstance(one, int | float) for one in score)
                and all(type(values.get(name)) is int for name in ("best_epoch", "epochs"))
                and isinstance(values.get("stopped_by_clock"), bool)
            )  # fmt: skip
            if not good:
                return "its values are not those of this training"
            wrong = modelstate.misfit(model, checkpoint, training=True, metrics=False) if not finished else ""
            for kind in ("best",) if finished else ("best", "average"):
                if modelstate.alike(modelstate.counted(kind, arrays), weights) is None:
                    wrong = wrong or f"its {kind} weights are not of this network"
            return wrong

        found = keeper.newest(3 * modelstate.n_bytes(model), misfit)
        if found is None:
            return 0, weights, False
        values = found.values
        best.score, best.epoch, best.epochs = tuple(values["score"]), values["best_epoch"], values["epochs"]
        best.stopped_by_clock = values["stopped_by_clock"]
        best.weights = modelstate.alike(modelstate.counted("best", found.arrays), weights) or weights
        if values["finished"]:
            keeper.going_on(found, epochs * n_steps, "the fine-tuning was through")
            return found.step, best.weights, True
        modelstate.put(model, found.arrays, [modelstate.MODEL, modelstate.OPTIMIZER])
        keeper.going_on(found, epochs * n_steps, f"fine-tuning, epoch {found.step // n_steps + 1:,}")
        return found.step, modelstate.alike(modelstate.counted("average", found.arrays), weights) or weights, False

    def _logits(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Of the plain views."""
        told = []
        for start in range(0, len(rows), BATCH):
            seen = values[rows[start : start + BATCH], 0]
            short = BATCH - len(seen)  # one size of batch, one graph
            padded = np.concatenate([seen, np.zeros((short, *seen.shape[1:]), seen.dtype)]) if short else seen
            told.append(np.asarray(self.model.predict_on_batch(padded))[: len(seen)])
        return np.concatenate(told)

    def taken(self, backbone: Backbone, weights: list[np.ndarray]) -> tuple[dict[str, np.ndarray], Head]:
        """`weights` as tensors of the backbone, and the head."""
        self.model.set_weights(weights)
        tensors: dict[str, np.ndarray] = {}
        for block in list(backbones.blocks(backbone))[-BLOCKS:]:
            for one in block.convolutions:
                kernel, bias = self.model.get_layer(one.name).get_weights()
                axes = (2, 3, 0, 1) if one.depthwise else (3, 2, 0, 1)
                tensors |= backbones.unfolded(one, kernel.transpose(axes), bias)
        kernel, bias = self.model.get_layer("answer").get_weights()
        return tensors, Head(kernel, bias)
