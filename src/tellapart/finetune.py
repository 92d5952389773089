"""The top of a backbone, trained on: what a frozen network sees is near enough for most pictures, not for all.

The network is cut below its last blocks. What stands at the cut is computed once for each picture, by the inference
engine, and kept in the cache: of the picture as it is, of its mirror image where that keeps the meaning, and of random
crops. Only what lies above the cut is trained, in Keras, on these activations; normalisations are folded into their
convolutions and depthwise kernels stay as they are (their gradients take longer than all others together). Lower blocks
learn more slowly (Howard and Ruder 2018, arXiv:1801.06146), the rate follows one cycle, and the weights that are kept
are a moving average, of the epoch that does best on held-out pictures. Where that is no better than the frozen
network with its head, which learned from the same pictures and is judged by the same, the latter stays.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart import augment, backbones, choices, features, metrics, mirrors, policies, store, streams
from tellapart.backbones import Backbone, Head
from tellapart.engine import EMBEDDING, FEATURE_MAP, LOGITS
from tellapart.files import counted
from tellapart.preprocess import Preprocess
from tellapart.store import Contents, Decoded, Kind

if TYPE_CHECKING:
    import keras

BLOCKS = 4  # trained, from the top, the last convolution among them; all of them see the picture at 1/32 of its size
CROPS = 2  # random crops kept of each picture
BATCH = 32  # pictures a step
RATE = 3e-4  # the highest of the cycle
SLOWER = 0.7  # factor of the rate from block to block downwards
DECAY, SMOOTHING = 1e-2, 0.05
AVERAGE = 0.9  # of the weights' moving average, a step
EPOCHS, FEWEST_EPOCHS = 12, 3
PATIENCE = 4  # epochs without a better one
FEW = 40  # held-out pictures below which an improvement is mostly luck
GOOD = 0.97  # held-out accuracy from which on nothing is done unasked
MOST_S = 120.0  # that are taken unasked, without a budget
MOST_BYTES = 2_000_000_000  # of activations
START_S = 12.0  # to load Keras and build the graphs of training
GRAPH_COST = 1.5  # of the whole network, against the part below the cut
GAIN, WORTH_S = 1.15, 30.0  # bfloat16 rounds more: taken where it is so much faster in a training so long
NOISE = 0.9  # share of the measured speed that is planned with


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Pictures, and what the frozen network with its head makes of them."""

    files: Sequence[tuple[str, str]]  # (path, content hash) of those to learn from and those held out
    labels: np.ndarray  # int64 (N,)
    inside: np.ndarray  # int64, which to learn from, in an order whose every beginning has its share of each class
    outside: np.ndarray  # int64, which to judge by
    head: Head  # learned from the features of `inside` alone
    answers: np.ndarray  # float64 (len(outside), C), what it says of `outside`
    others: int  # pictures that the new graph has to answer at the end besides `inside` and `outside`


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of it."""

    reason: str = ""  # in a sentence; "" where there is nothing to say
    tensors: dict[str, np.ndarray] | None = None  # in place of the backbone's; None: the frozen network stays
    head: Head | None = None
    record: dict[str, Any] = field(default_factory=dict)  # of what was tried
    interrupted: bool = False


def run(
    job: Job,
    backbone: Backbone,
    preprocess: Preprocess,
    extractor: features.Extractor,
    *,
    wish: str,
    seed: int,
    cache: Path,
    deadline: float | None = None,
    progress: Callable[[str, int, int, str], None] = lambda stage, done, total, detail: None,
) -> Outcome:
    """Train the top of the backbone where that can pay, and keep what is better.

    Args:
        wish: "auto", "always" or "never".
        deadline: when all must be done on `time.monotonic`'s clock, what follows here included.
    """
    frozen = metrics.accuracy(job.answers, job.labels[job.outside])
    if wish == "never" or not len(job.outside) or (wish == "auto" and deadline is None and frozen >= GOOD):
        return Outcome()
    if wish == "auto" and frozen == 1:
        return Outcome()  # nothing is left to gain, as far as these pictures can tell
    if wish == "auto" and len(job.outside) < FEW:
        return Outcome(f"For fine-tuning there are too few pictures: {counted(len(job.outside), 'held-out picture')}")
    start = time.monotonic()
    unasked = start + MOST_S if wish == "auto" else math.inf
    limit = unasked if deadline is None else deadline
    if limit - start < START_S:
        return Outcome("There was no time to fine-tune")
    try:
        return _tune(job, backbone, preprocess, extractor, wish, seed, cache, start, limit, deadline, progress)
    except KeyboardInterrupt:
        return Outcome("Fine-tuning was interrupted: kept frozen", interrupted=True)


def _tune(
    job: Job,
    backbone: Backbone,
    preprocess: Preprocess,
    extractor: features.Extractor,
    wish: str,
    seed: int,
    cache: Path,
    start: float,
    limit: float,
    deadline: float | None,
    progress: Callable[[str, int, int, str], None],
) -> Outcome:
    n_in, n_out = len(job.inside), len(job.outside)
    some = job.inside[: mirrors.PICTURES]
    n_classes = len(job.head.bias)
    flips = not mirrors.hurts(extractor, [job.files[i] for i in some], job.labels[some], n_classes, seed=seed)
    way = extractor.way
    assert way is not None
    cut = Cut(backbone, preprocess, way, flips=flips, crops=CROPS)
    speed = NOISE * cut.speed([job.files[i] for i in job.inside[: 2 * streams.BATCH]])  # pictures/s, all views
    n_views = cut.kind.shape[0]
    graph_s = GRAPH_COST * (n_in + n_out + job.others) / (speed * n_views)  # to ask the new graph at the end
    most = max(MOST_BYTES // cut.kind.row_bytes - n_out, 1)
    look_s = (min(n_in, most) + n_out) / speed
    if time.monotonic() + look_s / 2 + graph_s + START_S > limit:
        return Outcome(_too_long(time.monotonic() - start + 2 * look_s + graph_s + START_S, deadline))
    steps = Steps(top(backbone, preprocess.size_px, job.head), _factors(BLOCKS), seed)
    step_s = steps.seconds(min(BATCH, n_in)) / NOISE
    per_picture = step_s / min(BATCH, n_in)
    n, epochs = min(n_in, most), EPOCHS
    left = limit - time.monotonic() - graph_s

    def needed(n: int, epochs: int) -> float:
        return (n + n_out) / speed + epochs * per_picture * (n + n_out / 3)

    if needed(n, epochs) > left and deadline is None:
        return Outcome(_too_long(time.monotonic() - start + needed(n, epochs) + graph_s, deadline))
    if needed(n, epochs) > left:
        epochs = max(FEWEST_EPOCHS, int((left - needed(n, 0)) / (per_picture * (n + n_out / 3))))
    if needed(n, epochs) > left:
        n = int(n * (left - needed(0, epochs)) / (needed(n, epochs) - needed(0, epochs)))
        if n < n_in / 2:
            took = time.monotonic() - start
            return Outcome(_too_long(took + needed(n_in, FEWEST_EPOCHS) + graph_s, deadline))
    if epochs * n * per_picture > WORTH_S:
        steps = _faster(steps, backbone, preprocess.size_px, job.head, seed, step_s * NOISE, min(BATCH, n), cache)
    inside = job.inside[:n]
    kept = store.keep(
        [job.files[i] for i in (*inside, *job.outside)],
        cut.kind,
        cache,
        progress=lambda done, total: progress("Looking", done, total, "at more views"),
    )
    rows = {i: kept.rows.get(job.files[i][1]) for i in (*inside.tolist(), *job.outside.tolist())}
    inside = np.array([i for i in inside.tolist() if rows[i] is not None], np.int64)
    outside = np.array([i for i in job.outside.tolist() if rows[i] is not None], np.int64)
    best = steps.train(
        np.asarray(kept.values),
        (np.array([rows[i] for i in inside.tolist()]), job.labels[inside]),
        (np.array([rows[i] for i in outside.tolist()]), job.labels[outside]),
        epochs=epochs,
        until=math.inf if deadline is None else limit - graph_s,
        progress=lambda done, total, detail: progress("Fine-tuning", done, total, detail),
    )
    kept.rest()
    tensors, head = steps.taken(backbone, best.weights)
    graph = backbones.graph(backbone, preprocess.size_px, head, tensors=tensors)
    judged = [job.files[i] for i in job.outside]
    told = metrics.softmax(ask(graph, way, preprocess, judged)[0])
    right = job.labels[job.outside]
    before, after = metrics.accuracy(job.answers, right), metrics.accuracy(told, right)
    seconds = time.monotonic() - start
    record = {
        "blocks": BLOCKS,
        "epochs": best.epochs,
        "pictures": len(inside),
        "flips": flips,
        "precision": steps.precision,
        "seconds": round(seconds, 3),
        "frozen_accuracy": before,
        "tuned_accuracy": after,
        "kept": better(told, job.answers, right),
    }
    what = f"Fine-tuning the last {BLOCKS} blocks"
    if not record["kept"]:
        reason = f"{what} did not surely help ({before:.1%} before, {after:.1%} after {seconds:.0f} s): kept frozen"
        return Outcome(reason, record=record, interrupted=best.interrupted)
    reason = f"{what} raised held-out accuracy from {before:.1%} to {after:.1%} in {seconds:.0f} s"
    return Outcome(reason, tensors, head, record, best.interrupted)


def better(after: np.ndarray, before: np.ndarray, right: np.ndarray) -> bool:
    """Whether answers, (N, C), beat those before them by more than their paired standard error.

    Of f pictures fixed and b broken, f - b must be above the root of f + b: one picture in sixty is luck.
    """
    now, then = after.argmax(axis=1) == right, before.argmax(axis=1) == right
    fixed, broken = int((now & ~then).sum()), int((then & ~now).sum())
    return bool(np.isfinite(after).all()) and fixed - broken > math.sqrt(fixed + broken)


def _too_long(seconds: float, deadline: float | None) -> str:
    if deadline is not None:
        return "There was no time to fine-tune"
    minutes = math.ceil(seconds / 60) + 1
    return (
        f"Fine-tuning could raise this, but would take about {minutes} minutes: a --budget of {2 * minutes}m allows it"
    )


class Cut:
    """The backbone up to the cut, and the views of each picture whose activations are kept there."""

    def __init__(self, backbone: Backbone, preprocess: Preprocess, way: str, *, flips: bool, crops: int) -> None:
        self._preprocess = preprocess
        until = len(list(backbones.blocks(backbone))) - BLOCKS
        self._stream = streams.Stream(backbones.graph(backbone, preprocess.size_px, until=until), [FEATURE_MAP], way)
        self._flips, self._crops = flips, crops
        self._policy = policies.Augmentation(crop_scale=policies.CROP.crop_scale, flip=flips)
        self.kind = Kind(
            f"{preprocess.size_px}px-{backbone.name.replace('-', '_')}_cut",
            [
                preprocess.as_dict(),
                store.decoder_versions(),
                backbone.source.sha256,
                way,
                until,
                flips,
                crops,
                self._policy.as_dict(),
            ],
            (1 + flips + crops, *cut_shape(backbone, preprocess.size_px)),
            np.dtype(np.float16),
            self._made,
        )

    def views(self, content: str, pixels: np.ndarray) -> np.ndarray:
        """A picture, uint8 (S, S, 3), as it is, perhaps mirrored, and in random crops: uint8 (V, S, S, 3)."""
        seen = [pixels, pixels[:, ::-1]] if self._flips else [pixels]
        place = np.array([int(content[:12], 16)])
        for i in range(self._crops):
            crop = augment.vary(
                pixels[None], self._policy, seed=0, epoch=i, indices=place, out_px=len(pixels), rows=np.array([0])
            )
            seen.append(crop[0])
        return np.stack(seen)

    def speed(self, files: Sequence[tuple[str, str]]) -> float:
        """Pictures a second, all views of each, measured on some."""
        todo = [(content, [path]) for path, content in files]
        start = time.perf_counter()
        n = sum(1 for _ in self._made(todo, os.cpu_count() or 1, streams.BATCH))
        return n / (time.perf_counter() - start)

    def _made(self, todo: Contents, threads: int, block: int) -> Iterator[Decoded]:
        for one, rows in features.answers(self._stream, todo, self._preprocess, threads, self.views):
            yield Decoded(one.content, rows[0].astype(np.float16)) if rows else one


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


def _factors(n_blocks: int) -> list[float]:
    """Of the rate, from the lowest trained block to the highest, then the answer."""
    return [SLOWER ** (n_blocks - 1 - i) for i in range(n_blocks)] + [1.0]


@dataclass(slots=True, eq=False)
class _Best:
    weights: list[np.ndarray]
    score: tuple[float, float] = (-1.0, 0.0)  # accuracy, negative log-loss
    epoch: int = 0
    epochs: int = 0  # done
    interrupted: bool = False


class Steps:
    """Training steps of the part above the cut."""

    def __init__(self, model: keras.Model, factors: list[float], seed: int, precision: str = "float32") -> None:
        self.model, self.precision = model, precision
        self._factors, self._seed = factors, seed
        self._first = model.get_weights()

    def _compile(self, n_steps: int) -> None:
        import keras

        from tellapart import objectives

        trained = [layer for layer in self.model.layers if layer.trainable_variables]
        per_layer = [self._factors[-1] for _ in trained]
        # From the top: the answer, the last convolution, then blocks of two trained convolutions each.
        for place in range(1, len(trained)):
            per_layer[-1 - place] = self._factors[-2 - min(place // 2, len(self._factors) - 2)]
        factors = [f for layer, f in zip(trained, per_layer, strict=True) for _ in layer.trainable_variables]
        optimizer = objectives.Layered(objectives.OneCycle(RATE, n_steps), factors, weight_decay=DECAY)
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
    ) -> _Best:
        """Train on views `values`, float16 (M, V, H, W, K), by (rows, labels); the best epoch by those outside."""
        rows, labels = inside
        n, n_views, n_classes = len(rows), values.shape[1], self.model.outputs[0].shape[-1]
        batch = min(BATCH, n)
        n_steps = n // batch
        self._compile(epochs * n_steps)
        average = self.model.get_weights()
        best = _Best(average)
        wanted = np.eye(n_classes, dtype=np.float32)[labels]
        first_view = augment.permutation(n, seed=self._seed, epoch=-1)
        done = 0
        try:
            for epoch in range(epochs):
                order = augment.permutation(n, seed=self._seed, epoch=epoch)
                for i in range(n_steps):
                    chosen = order[i * batch : (i + 1) * batch]
                    seen = values[rows[chosen], (first_view[chosen] + epoch) % n_views]
                    self.model.train_on_batch(seen, wanted[chosen])
                    done += 1
                    keep = min(AVERAGE, done / (done + 9))
                    now = self.model.get_weights()
                    average = [keep * old + (1 - keep) * new for old, new in zip(average, now, strict=True)]
                    progress(done * batch, epochs * n_steps * batch, "")
                    if time.monotonic() > until:
                        break
                now = self.model.get_weights()
                self.model.set_weights(average)
                told = metrics.softmax(self._logits(values, outside[0]))
                self.model.set_weights(now)
                score = metrics.accuracy(told, outside[1]), -metrics.log_loss(told, outside[1])
                best.epochs = epoch + 1
                if score > best.score:
                    best.score, best.epoch, best.weights = score, epoch, average
                if epoch - best.epoch >= PATIENCE or time.monotonic() > until or not np.isfinite(score[1]):
                    break
        except KeyboardInterrupt:
            best.interrupted = True
        return best

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


def _faster(
    plain: Steps, backbone: Backbone, size_px: int, head: Head, seed: int, plain_s: float, batch: int, cache: Path
) -> Steps:
    """The steps in bfloat16 where they are faster on this machine, else `plain`; the choice is kept in the cache."""
    import keras

    key = choices.key("fine-tuning", keras.backend.backend(), keras.__version__, backbone.name, size_px, batch)
    known = choices.recall(cache, key)
    if known == "float32":
        return plain
    mixed = Steps(top(backbone, size_px, head, dtype="mixed_bfloat16"), _factors(BLOCKS), seed, "mixed_bfloat16")
    if known != "mixed_bfloat16":
        known = "mixed_bfloat16" if mixed.seconds(batch) * GAIN < plain_s else "float32"
        choices.record(cache, key, known)
    return mixed if known == "mixed_bfloat16" else plain


def ask(
    graph: bytes,
    way: str,
    preprocess: Preprocess,
    files: Sequence[tuple[str, str]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[np.ndarray, np.ndarray]:
    """What a finished graph says of files: logits, float32 (N, C), and embeddings, float16 (N, D)."""
    paths: dict[str, list[str]] = {}
    for path, content in files:
        paths.setdefault(content, []).append(path)
    stream = streams.Stream(graph, [LOGITS, EMBEDDING], way)
    told: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for one, rows in features.answers(stream, list(paths.items()), preprocess, os.cpu_count() or 1):
        if rows:
            told[one.content] = rows[0][0], rows[1][0].astype(np.float16)
        progress(len(told), len(paths))
    logits, embedding = next(iter(told.values()))
    lost = np.zeros_like(logits), np.zeros_like(embedding)  # of a file that vanished since it was looked at
    pairs = [told.get(content, lost) for _, content in files]
    return np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])
