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

import functools
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart import (
    augment,
    backbones,
    calls,
    choices,
    devices,
    features,
    graphanswers,
    hosts,
    metrics,
    mirrors,
    policies,
    store,
    streams,
)
from tellapart.backbones import Backbone, Head
from tellapart.checkpoints import Keeper
from tellapart.engine import FEATURE_MAP
from tellapart.files import counted
from tellapart.preprocess import Preprocess
from tellapart.relays import Relay
from tellapart.store import Contents, Decoded, Kind
from tellapart.toptraining import BATCH, BLOCKS, RATE, Steps, cut_shape, top
from tellapart.toptraining import factors as _factors

if TYPE_CHECKING:
    pass

CROPS = 2  # random crops kept of each picture
EPOCHS, FEWEST_EPOCHS = 12, 3
FEW = 40  # held-out pictures below which an improvement is mostly luck
GOOD = 0.97  # held-out accuracy from which on nothing is done unasked
MOST_S = 120.0  # that are taken unasked, without a budget
MOST_BYTES = 2_000_000_000  # of activations
START_S = 12.0  # to load Keras and build the graphs of training
GRAPH_COST = 1.5  # of the whole network, against the part below the cut
GAIN, WORTH_S = 1.15, 30.0  # bfloat16 rounds more: taken where it is so much faster in a training so long
MIXED = "mixed_bfloat16"
Watch = Callable[[float, float, float], None]  # share of the epochs done, accuracy and log-loss of those held out
NOTHING = "none"  # the plan where there is no time
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
    keeper: Keeper | None = None,
    rate: float = RATE,
    watch: Watch = lambda share, accuracy, loss: None,
) -> Outcome:
    """Train the top of the backbone where that can pay, and keep what is better.

    Args:
        wish: "auto", "always" or "never".
        deadline: when all must be done on `time.monotonic`'s clock, what follows here included.
        keeper: the checkpoints of this training, to go on from and to add to.
        rate: the highest of the training.
        watch: see `toptraining.Steps.train`.
    """
    frozen = metrics.accuracy(job.answers, job.labels[job.outside])
    enough = deadline is None and not choices.given(about(backbone, preprocess.size_px)) and frozen >= GOOD
    if wish == "never" or not len(job.outside) or (wish == "auto" and enough):
        return Outcome()
    if wish == "auto" and frozen == 1:
        return Outcome()  # nothing is left to gain, as far as these pictures can tell
    if wish == "auto" and len(job.outside) < FEW:
        return Outcome(f"For fine-tuning there are too few pictures: {counted(len(job.outside), 'held-out picture')}")
    start = time.monotonic()
    unasked = start + MOST_S if wish == "auto" else math.inf
    limit = unasked if deadline is None else deadline
    try:
        return _tune(
            job,
            backbone,
            preprocess,
            extractor,
            wish,
            seed,
            cache,
            start,
            limit,
            deadline,
            progress,
            keeper,
            rate,
            watch,
        )
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
    keeper: Keeper | None,
    rate: float,
    watch: Watch,
) -> Outcome:
    n_in, n_out = len(job.inside), len(job.outside)
    size_px = preprocess.size_px
    graph_s, why, step_s = 0.0, "", 0.0  # to ask the new graph at the end; why nothing is done; of a step

    @functools.cache
    def cut() -> Cut:
        return _cut(job, backbone, preprocess, extractor, seed)

    @functools.cache
    def plain() -> Steps:
        return Steps(top(backbone, size_px, job.head), _factors(BLOCKS), seed, rate=rate)

    def plan() -> str:
        """What there is time for, by measuring; as a choice to be kept, so that the same is done again."""
        nonlocal graph_s, why, step_s
        if limit - start < START_S:
            why = "There was no time to fine-tune"
            return NOTHING
        speed = NOISE * cut().speed([job.files[i] for i in job.inside[: 2 * streams.BATCH]])  # pictures/s, all views
        graph_s = GRAPH_COST * (n_in + n_out + job.others) / (speed * cut().kind.shape[0])
        most = max(MOST_BYTES // cut().kind.row_bytes - n_out, 1)
        look_s = (min(n_in, most) + n_out) / speed
        if time.monotonic() + look_s / 2 + graph_s + START_S > limit:
            why = _too_long(time.monotonic() - start + 2 * look_s + graph_s + START_S, deadline)
            return NOTHING
        step_s = plain().seconds(min(BATCH, n_in)) / NOISE
        per_picture = step_s / min(BATCH, n_in)
        n, epochs = min(n_in, most), EPOCHS
        left = limit - time.monotonic() - graph_s

        def needed(n: int, epochs: int) -> float:
            return (n + n_out) / speed + epochs * per_picture * (n + n_out / 3)

        if needed(n, epochs) > left and deadline is None:
            why = _too_long(time.monotonic() - start + needed(n, epochs) + graph_s, deadline)
            return NOTHING
        if needed(n, epochs) > left:
            epochs = max(FEWEST_EPOCHS, int((left - needed(n, 0)) / (per_picture * (n + n_out / 3))))
        if needed(n, epochs) > left:
            n = int(n * (left - needed(0, epochs)) / (needed(n, epochs) - needed(0, epochs)))
            if n < n_in / 2:
                took = time.monotonic() - start
                why = _too_long(took + needed(n_in, FEWEST_EPOCHS) + graph_s, deadline)
                return NOTHING
        return f"{epochs} epochs over {n} pictures"

    key = choices.key("fine-tuning", backbone.name, size_px, extractor.way, n_in, n_out, job.others, wish)
    planned = choices.chosen(about(backbone, size_px), key if deadline is None else None, cache, _is_plan, plan)
    if planned == NOTHING:
        return Outcome(why or "Fine-tuning could raise this, but would take long: a --budget allows it")
    way = extractor.way
    assert way is not None
    epochs, n = (int(number) for number in planned.split()[::3])
    n = min(n, n_in)
    steps = _faster(plain(), backbone, size_px, job.head, seed, step_s * NOISE, min(BATCH, n), epochs * n, cache, rate)
    inside = job.inside[:n]
    kept = store.keep(
        [job.files[i] for i in (*inside, *job.outside)],
        cut().kind,
        cache,
        progress=lambda done, total: progress("Looking", done, total, "at more views"),
    )
    rows = {i: kept.rows.get(job.files[i][1]) for i in (*inside.tolist(), *job.outside.tolist())}
    inside = np.array([i for i in inside.tolist() if rows[i] is not None], np.int64)
    outside = np.array([i for i in job.outside.tolist() if rows[i] is not None], np.int64)
    team, kept_by = hosts.team(), keeper
    if team is not None:
        order = [*inside.tolist(), *outside.tolist()]
        calls.make(
            team,
            calls.TOP,
            {
                "files": calls.below(team, [job.files[i] for i in order]),
                "labels": [job.labels[inside].tolist(), job.labels[outside].tolist()],
                "backbone": backbone.name,
                "size_px": size_px,
                "way": way,
                "flips": cut().flips,
                "epochs": epochs,
                "seed": seed,
                "precision": steps.precision,
                "rate": steps.rate,
            },
            {"kernel": job.head.kernel, "bias": job.head.bias},
        )
        kept_by = Relay(team, keeper)
    if devices.spread() is not None:  # its weights come to all processes at once: after the call
        steps = shared(backbone, size_px, job.head, seed, steps.precision, steps.rate)
    best = steps.train(
        np.asarray(kept.values),
        (np.array([rows[i] for i in inside.tolist()]), job.labels[inside]),
        (np.array([rows[i] for i in outside.tolist()]), job.labels[outside]),
        epochs=epochs,
        until=math.inf if deadline is None else limit - graph_s,
        progress=lambda done, total, detail: progress("Fine-tuning", done, total, detail),
        watch=watch,
        keeper=kept_by,
    )
    kept.rest()
    tensors, head = plain().taken(backbone, best.weights)
    graph = backbones.graph(backbone, preprocess.size_px, head, tensors=tensors)
    judged = [job.files[i] for i in job.outside]
    answers = graphanswers.quickly(graph, way, preprocess, judged)  # of those that are still there
    told, frozen = metrics.softmax(answers.logits), job.answers[answers.rows]
    right = job.labels[job.outside][answers.rows]
    before, after = metrics.accuracy(frozen, right), metrics.accuracy(told, right)
    seconds = time.monotonic() - start
    record = {
        "blocks": BLOCKS,
        "epochs": best.epochs,
        "pictures": len(inside),
        "flips": cut().flips,
        "precision": steps.precision,
        "seconds": round(seconds, 3),
        "stopped_by_clock": best.stopped_by_clock,
        "frozen_accuracy": before,
        "tuned_accuracy": after,
        "kept": better(told, frozen, right),
    }
    what = f"Fine-tuning the last {BLOCKS} blocks"
    if not record["kept"]:
        reason = f"{what} did not surely help ({before:.1%} before, {after:.1%} after {seconds:.0f} s): kept frozen"
        return Outcome(reason, record=record, interrupted=best.interrupted)
    reason = f"{what} raised held-out accuracy from {before:.1%} to {after:.1%} in {seconds:.0f} s"
    return Outcome(reason, tensors, head, record, best.interrupted)


def shared(backbone: Backbone, size_px: int, head: Head, seed: int, precision: str, rate: float) -> Steps:
    """The steps of a training that several devices share."""
    import keras

    keras.utils.set_random_seed(seed)  # what is drawn before the weights come must be the same in all processes
    with devices.scope():
        model = top(backbone, size_px, head, dtype=precision)
        return Steps(model, _factors(BLOCKS), seed, precision, devices.spread(), rate=rate)


def along(call: calls.Call, team: hosts.Team, cache: Path) -> None:
    """Take part in a training that the first process has called for; what comes of it stays with that one."""
    values = call.values
    with calls.readying(team):
        backbone, preprocess = backbones.known(values["backbone"]), Preprocess(values["size_px"])
        files = call.files(team, "files")
        kind = Cut(backbone, preprocess, values["way"], flips=values["flips"], crops=CROPS).kind
        kept = store.keep(files, kind, cache)
        calls.check_same(files, kept.failures)
        rows = np.array([kept.rows[content] for _, content in files])
        labels = [np.array(some, np.int64) for some in values["labels"]]
        head = Head(call.arrays["kernel"], call.arrays["bias"])
    steps = shared(backbone, preprocess.size_px, head, values["seed"], values["precision"], values["rate"])
    n = len(labels[0])
    steps.train(
        np.asarray(kept.values),
        (rows[:n], labels[0]),
        (rows[n:], labels[1]),
        epochs=values["epochs"],
        until=math.inf,
        progress=lambda done, total, detail: None,
        keeper=Relay(team, None),
    )


def better(after: np.ndarray, before: np.ndarray, right: np.ndarray) -> bool:
    """Whether answers, (N, C), beat those before them by more than their paired standard error.

    Of f pictures fixed and b broken, f - b must be above the root of f + b: one picture in sixty is luck.
    """
    now, then = after.argmax(axis=1) == right, before.argmax(axis=1) == right
    fixed, broken = int((now & ~then).sum()), int((then & ~now).sum())
    return bool(np.isfinite(after).all()) and fixed - broken > math.sqrt(fixed + broken)


def about(backbone: Backbone, size_px: int) -> str:
    """What `choices` calls the plan for this network."""
    return f"fine-tuning of {backbone.name} at {size_px} px"


def _is_plan(text: str) -> bool:
    return text == NOTHING or re.fullmatch(r"[1-9]\d{0,4} epochs over [1-9]\d{0,8} pictures", text) is not None


def _cut(job: Job, backbone: Backbone, preprocess: Preprocess, extractor: features.Extractor, seed: int) -> Cut:
    """The network cut, its views mirrored where that keeps the meaning."""
    some = job.inside[: mirrors.PICTURES]
    files, n_classes = [job.files[i] for i in some], len(job.head.bias)
    hurts = mirrors.hurts(extractor, files, job.labels[some], n_classes, seed=seed)
    assert extractor.way is not None
    return Cut(backbone, preprocess, extractor.way, flips=not hurts, crops=CROPS)


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
        self.flips, self._crops = flips, crops
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
        seen = [pixels, pixels[:, ::-1]] if self.flips else [pixels]
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


def _faster(
    plain: Steps,
    backbone: Backbone,
    size_px: int,
    head: Head,
    seed: int,
    plain_s: float,
    batch: int,
    n_seen: int,
    cache: Path,
    rate: float,
) -> Steps:
    """The steps in bfloat16 where they are faster on this machine and it is worth it, else `plain`.

    `plain_s` is how long one of the plain steps takes, 0 where that is not known.
    """
    import keras

    def mixed() -> Steps:
        return Steps(top(backbone, size_px, head, dtype=MIXED), _factors(BLOCKS), seed, MIXED, rate=rate)

    def measure() -> str:
        took = plain_s or plain.seconds(batch)
        if took / NOISE * n_seen / batch <= WORTH_S:
            return plain.precision
        return MIXED if mixed().seconds(batch) * GAIN < took else plain.precision

    key = choices.key("fine-tuning", keras.backend.backend(), keras.__version__, backbone.name, size_px, batch, n_seen)
    formats = (plain.precision, MIXED)
    found = choices.chosen("precision of fine-tuning", key, cache, formats.__contains__, measure)
    return mixed() if found == MIXED else plain
