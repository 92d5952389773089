"""The stages of a training, each from plain values to plain values; `api` calls them in order."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart import bundle as bundles
from tellapart import (
    calibration,
    calls,
    choices,
    decoders,
    devices,
    golden,
    hosts,
    judgement,
    metrics,
    provenance,
    splits,
    store,
    strangers,
)
from tellapart import catalog as catalogs
from tellapart.augment import Augmentation
from tellapart.checkpoints import Keeper
from tellapart.config import Recipe
from tellapart.engine import Engine
from tellapart.errors import InputError, PictureError, SettingsError
from tellapart.evaluation import Evaluation
from tellapart.files import counted
from tellapart.preprocess import Preprocess
from tellapart.progress import Progress
from tellapart.relays import Relay

if TYPE_CHECKING:
    import keras

    from tellapart.batches import Batches
    from tellapart.training import Outcome

FORECAST_PICTURES = 64  # decoded to tell how long all of them will take
START_S = 12.0  # Keras' start, building the graph, exporting it
END_S = 9.0  # to export, save and end, besides the evaluation
FORWARD = 2.0  # how much faster answering is than training, at least
PACE = 0.92  # share of the time that is planned for, since speeds vary
BATCH = 32  # pictures that the engine sees at once
FEWEST_OF_CLASS = 100  # training pictures, however little time there is: less teaches nothing
IN_TIME = f"{choices.IN_TIME}: training"  # what `choices` calls a pace
MAX_EMBEDDING = 4096  # floats a picture; a network whose last layer sees more keeps none in its bundle


@dataclass(frozen=True, slots=True)
class Prepared:
    """Pictures that can be used, decoded, and on which side each stands."""

    catalog: catalogs.Catalog  # of the pictures that opened
    labels: np.ndarray  # int64 (N,), the place of each entry's class in the catalog's classes
    sides: Mapping[str, np.ndarray]  # "train", "validation", "test": indices of entries, int64
    skipped: tuple[tuple[str, str], ...]  # (path, reason) of every picture that is not used
    varied: store.Store  # decoded at the size from which training pictures are varied
    seen: store.Store  # decoded as the network sees a picture
    n_unused: int = 0  # training pictures that there was no time for

    def rows(self, decoded: store.Store, side: str) -> np.ndarray:
        """Where the pictures of a side stand in a store, int64."""
        return np.array([decoded.rows[self.catalog.entries[i].content] for i in self.sides[side]], dtype=np.int64)

    def paths(self, side: str) -> tuple[str, ...]:
        """The files of a side, in the order of `rows`."""
        return tuple(self.catalog.entries[i].path for i in self.sides[side])

    def contents(self, side: str) -> list[str]:
        """The content hashes of a side, in the order of `rows`."""
        return [self.catalog.entries[i].content for i in self.sides[side]]

    def counts(self) -> dict[str, int]:
        """How many pictures stand on each side."""
        return {name: len(indices) for name, indices in self.sides.items()}


def prepare(
    catalog: catalogs.Catalog, recipe: Recipe, *, seed: int, cache: Path, progress: Progress, tested: bool = True
) -> Prepared:
    """Decode every picture, leave out those that do not open, and give the others their sides.

    Without `tested` there is no test side, unless the pictures come with one.

    Raises:
        InputError: what opens is not enough to train on.
    """
    files = [(entry.path, entry.content) for entry in catalog.entries]

    def decode(size_px: int) -> store.Store:
        return store.build(
            files,
            Preprocess(size_px),
            cache,
            progress=lambda done, total: progress.update("Decoding", done, total),
        )

    seen = decode(recipe.size_px)
    varied = seen if recipe.store_px == recipe.size_px else decode(recipe.store_px)
    usable = catalogs.check_usable(catalog, {**varied.failures, **seen.failures})
    assigned = splits.assign(usable.entries, seed=seed, **({} if tested else {"test_fraction": 0.0}))
    sides = {side: np.array(getattr(assigned, side), dtype=np.int64) for side in catalogs.SPLITS}
    dropped = [(usable.entries[i].path, reason) for i, reason in assigned.dropped]
    skipped = sorted([*((each.path, each.reason) for each in usable.skipped), *dropped])
    place = {name: i for i, name in enumerate(usable.classes)}
    labels = np.array([place[entry.label] for entry in usable.entries], dtype=np.int64)
    for side in ("train", "test") if tested else ("train",):
        missing = [name for name, i in place.items() if i not in set(labels[sides[side]])]
        if missing:
            raise InputError(
                f"Every class must have a picture to train on and another to test on; class "
                f"'{catalogs.shown(missing[0])}' has none in {side}. Add pictures that are not copies of each other."
            )
    return Prepared(usable, labels, sides, tuple(skipped), varied, seen)


def batches(prepared: Prepared, side: str, recipe: Recipe, *, seed: int, label_mode: str) -> Batches:
    """The batches of a side that has pictures: training pictures shuffled and varied, others as they are."""
    from tellapart.batches import Batches

    varied = side == "train"
    decoded = prepared.varied if varied else prepared.seen
    return Batches(
        decoded.values,
        prepared.rows(decoded, side),
        prepared.labels[prepared.sides[side]],
        class_names=prepared.catalog.classes,
        paths=prepared.paths(side),
        batch_size=recipe.batch_size,
        seed=seed,
        size_px=recipe.size_px,
        augmentation=_augmentation(recipe) if varied else None,
        shuffle=varied,
        label_mode=label_mode,
        spread=devices.spread(),
    )


@dataclass(frozen=True, slots=True)
class Pace:
    """What the time until a deadline allows."""

    prepared: Prepared  # with fewer training pictures where not even one epoch over all of them fits
    recipe: Recipe  # with as many epochs as fit, at least one
    # When training must end, so that export and evaluation are through at the deadline; `time.monotonic`. None: never,
    # where another training is repeated.
    end: float | None

    def __str__(self) -> str:
        """In a few words."""
        n, unused = self.prepared.counts()["train"], self.prepared.n_unused
        of = f" over {n:,} of {n + unused:,} training pictures" if unused else ""
        return f"{counted(self.recipe.epochs, 'epoch')}{of}"


def paced(
    prepared: Prepared,
    recipe: Recipe,
    *,
    seed: int,
    cache: Path,
    deadline: float | None,
    most_epochs: int | None = None,
) -> Pace:
    """As many epochs as the time until `deadline` allows, by the measured speed; at least one, over fewer pictures.

    More than the recipe's own are taken, up to `most_epochs` where the user set it, else to `plans.MOST_EPOCHS`. What
    is to be kept to, see `choices.given`, is taken without a look at the clock.
    """
    from tellapart import plans

    n_classes, counts = len(prepared.catalog.classes), prepared.counts()
    speed = 0.0

    def measured() -> str:
        nonlocal speed
        assert deadline is not None  # without one it is given
        speed = _speed(recipe, n_classes, counts["train"], cache)
        left = PACE * (deadline - END_S - time.monotonic()) * speed  # in pictures trained on
        most, n = most_epochs or plans.MOST_EPOCHS, counts["train"]
        epochs = max((e for e in range(1, most + 1) if _cost(counts, recipe, e) <= left), default=1)
        over = _cost(counts, recipe, epochs) - left
        if over > 0:
            cost = recipe.override(epochs=epochs).full_epochs() + 1 / FORWARD
            n = max(n - math.ceil(over / cost), FEWEST_OF_CLASS * n_classes)
        return f"{epochs} epochs over {n} pictures"

    found = choices.chosen(IN_TIME, None, cache, _is_pace, measured)
    epochs, n = (int(number) for number in found.split()[::3])
    prepared = _fewer(prepared, n, seed)
    judging = 0.0 if speed == 0 else sum(prepared.counts().values()) / (FORWARD * speed)
    end = None if deadline is None else deadline - END_S - judging
    return Pace(prepared, recipe.override(epochs=epochs), end)


def _is_pace(text: str) -> bool:
    return re.fullmatch(r"[1-9]\d{0,3} epochs over [1-9]\d{0,8} pictures", text) is not None


def epochs_until(catalog: catalogs.Catalog, recipe: Recipe, *, seed: int, cache: Path, deadline: float) -> float:
    """How many epochs there is time for, decoding apart, by the measured speed: less than one where it is short."""
    sides = splits.assign(catalog.entries, seed=seed)
    counts = {side: len(getattr(sides, side)) for side in catalogs.SPLITS}
    speed = _speed(recipe, len(catalog.classes), counts["train"], cache)
    left = PACE * (deadline - END_S - time.monotonic()) * speed
    one = recipe.override(epochs=1)
    judging = sum(counts.values()) / FORWARD
    return (left - judging) / (_cost(counts, one, 1) - judging)


def _speed(recipe: Recipe, n_classes: int, n_train: int, cache: Path) -> float:
    from tellapart import speeds

    return speeds.pictures_per_second(recipe, n_classes, speeds.choose_precision(recipe, n_classes, n_train, cache))


def _cost(counts: Mapping[str, int], recipe: Recipe, epochs: int) -> float:
    """What some epochs and the evaluation cost, in pictures trained on."""
    full = recipe.override(epochs=epochs).full_epochs()
    return full * (counts["train"] + counts["validation"] / FORWARD) + sum(counts.values()) / FORWARD


def _fewer(prepared: Prepared, n: int, seed: int) -> Prepared:
    """With about `n` training pictures only, of every class the same share."""
    train = prepared.sides["train"]
    if n >= len(train):
        return prepared
    rng, share, kept = np.random.default_rng(seed), n / len(train), []
    labels = prepared.labels[train]
    for label in np.unique(labels):
        mine = train[labels == label]
        kept.append(rng.permutation(mine)[: math.ceil(share * len(mine))])
    chosen = np.sort(np.concatenate(kept))
    sides = {**prepared.sides, "train": chosen}
    return dataclasses.replace(prepared, sides=sides, n_unused=len(train) - len(chosen))


def learn(
    prepared: Prepared,
    recipe: Recipe,
    *,
    own: keras.Model | None,
    keep_optimizer: bool,
    seed: int,
    cache: Path,
    callbacks: Sequence[keras.callbacks.Callback],
    progress: Progress,
    end: float | None = None,
    keeper: Keeper | None = None,
) -> Outcome:
    """Make the recipe's network, or take the user's `own` (with its optimizer, if `keep_optimizer`), and train it.

    At `end`, on `time.monotonic`'s clock, the training ends, through or not. It goes on from where `keeper` says. The
    devices of `devices.spread` share its steps; where there are other processes, they are called to take part.
    """
    import keras

    from tellapart import graphs, models, objectives, speeds, training

    n_classes = len(prepared.catalog.classes)
    optimizer, spread, team = None, devices.spread(), hosts.team()
    kept_by: Keeper | Relay | None = keeper
    if spread is not None:
        spread.check(recipe.batch_size)
        if own is not None:
            raise SettingsError(
                f"A network of your own must be trained on one device; got {spread.n} devices. Leave devices out."
            )
    if own is None:
        precision = speeds.choose_precision(recipe, n_classes, len(prepared.sides["train"]), cache)
        if team is not None:
            if team.leads:
                calls.make(team, calls.NETWORK, _called(team, prepared, recipe, seed, precision))
            kept_by = Relay(team, keeper)
        keras.utils.set_random_seed(seed)
        with devices.scope():
            model = models.build(recipe, n_classes, dtype=precision)
    else:
        keras.utils.set_random_seed(seed)
        model, precision = own, own.dtype_policy.name
        graphs.check_export(model)  # now, not after hours of training
        if own.compiled and keep_optimizer:
            optimizer = own.optimizer
    mode = objectives.label_mode(model)
    return training.train(
        model,
        recipe,
        batches(prepared, "train", recipe, seed=seed, label_mode=mode),
        batches(prepared, "validation", recipe, seed=seed, label_mode=mode)
        if len(prepared.sides["validation"])
        else None,
        precision=precision,
        optimizer=optimizer,
        deadline=end,
        callbacks=callbacks,
        progress=lambda done, total, detail: progress.update("Training", done, total, detail),
        keeper=kept_by,
    )


def _called(team: hosts.Team, prepared: Prepared, recipe: Recipe, seed: int, precision: str) -> dict[str, Any]:
    """What other processes need to take part in a training: see `helping`."""
    catalog = prepared.catalog
    sides = {side: prepared.sides[side].tolist() for side in ("train", "validation")}
    entries = {
        side: calls.below(team, [(catalog.entries[i].path, catalog.entries[i].content) for i in indices])
        for side, indices in sides.items()
    }
    return {
        "recipe": recipe.override(precision=precision).as_dict(),
        "classes": list(catalog.classes),
        "seed": seed,
        "labels": {side: prepared.labels[indices].tolist() for side, indices in sides.items()},
        **entries,
    }


def _augmentation(recipe: Recipe) -> Augmentation | None:
    return recipe.policy if recipe.policy is not None and recipe.policy.changes else None


def pack(
    outcome: Outcome, prepared: Prepared, recipe: Recipe, *, seed: int, progress: Progress
) -> tuple[bundles.Bundle, dict[str, Evaluation]]:
    """Turn a trained network into a bundle, and ask its graph about every side.

    The numbers in the bundle are the graph's own answers to pictures as the network sees them when it is used.
    """
    import keras

    from tellapart import graphs

    gc.collect()  # the network in training, with its optimizer and graphs, is not needed any more
    prepared.varied.rest()
    prepared.seen.rest()
    progress.update("Exporting", 0, 1)
    graph = graphs.to_onnx(outcome.model)
    progress.update("Exporting", 1, 1)
    engine = Engine(graph)
    told = {side: _ask(engine, prepared, side, progress) for side in catalogs.SPLITS if len(prepared.sides[side])}
    judged = _judgement(told, prepared, seed=seed)
    # So that Keras' own answers are the calibrated ones too.
    keras_file = graphs.keras_file(graphs.tempered(outcome.model, judged.temperature))
    evaluations = {
        side: Evaluation(
            classes=prepared.catalog.classes,
            probabilities=judged.probabilities(logits),
            labels=prepared.labels[prepared.sides[side]],
            paths=prepared.paths(side),
            skipped=prepared.skipped if side == "test" else (),
            split=side,
            notes=prepared.catalog.notes,
            declined=judged.declined(logits, embedded),
        )
        for side, (logits, embedded) in told.items()
    }
    manifest = {
        "classes": list(prepared.catalog.classes),
        "preprocess": Preprocess(recipe.size_px).as_dict(),
        **judged.as_dict(),
        "metrics": {side: evaluation.record() for side, evaluation in evaluations.items()},
        "training": {
            **provenance.timeless(outcome.as_dict()),
            "pictures": prepared.counts(),
            "skipped": len(prepared.skipped),
            "unused": prepared.n_unused,
            "labels": prepared.labels[prepared.sides["train"]].tolist(),  # of the embeddings, as places in `classes`
        },
        "provenance": provenance.record(prepared.catalog.fingerprint, recipe.as_dict(), seed)
        | {"backend": keras.backend.backend()},
    }
    bundle = bundles.make(
        manifest,
        graph=graph,
        keras_file=keras_file,
        splits={side: prepared.contents(side) for side in catalogs.SPLITS},
        history_csv=outcome.history_csv(),
        embeddings=told["train"][1],
        guarding=judged.members,
    )
    return golden.kept(bundle), evaluations


def _judgement(
    told: Mapping[str, tuple[np.ndarray, np.ndarray]], prepared: Prepared, *, seed: int
) -> judgement.Judgement:
    """Temperature and guards by the validation pictures, where there are some."""
    n_classes = len(prepared.catalog.classes)
    logits, embedded = told.get("validation", (np.zeros((0, n_classes)), np.zeros((0, 0))))
    labels, known, scores = prepared.labels[prepared.sides["validation"]], None, None
    learned = told["train"][1]
    if len(labels) and learned.shape[1]:
        known = strangers.fit(learned, prepared.labels[prepared.sides["train"]], n_classes, seed=seed)
        known = known.settled(embedded, logits)
        scores = known.scores(embedded, logits)
    return judgement.judge(logits, labels, prepared.catalog.classes, known=known, scores=scores)


def judged(outcome: Outcome, prepared: Prepared, progress: Progress) -> np.ndarray:
    """What a trained network's graph answers to the test pictures, calibrated by validation: float64 (N, C)."""
    from tellapart import graphs

    gc.collect()
    prepared.varied.rest()
    engine = Engine(graphs.to_onnx(outcome.model))
    temperature = 1.0
    if len(prepared.sides["validation"]):
        logits, _ = _ask(engine, prepared, "validation", progress)
        temperature = calibration.temperature(logits, prepared.labels[prepared.sides["validation"]])
    return metrics.softmax(_ask(engine, prepared, "test", progress)[0], temperature)


def _ask(engine: Engine, prepared: Prepared, side: str, progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """What the graph answers to a side: logits, float32 (N, C), and embeddings, float16 (N, D), D = 0 if not kept."""
    rows = prepared.rows(prepared.seen, side)
    pixels = np.asarray(prepared.seen.values)  # a plain view: taking rows of np.memmap itself is slow
    logits, embeddings = [], []
    for start in range(0, len(rows), BATCH):
        outputs = engine.run(pixels[rows[start : start + BATCH]])
        logits.append(outputs.logits)
        if outputs.embedding.shape[1] <= MAX_EMBEDDING:
            embeddings.append(outputs.embedding.astype(np.float16))
        progress.update("Evaluating", min(start + BATCH, len(rows)), len(rows), f"{side} pictures")
    prepared.seen.rest()
    return np.concatenate(logits), np.concatenate(embeddings or [np.zeros((len(rows), 0), np.float16)])


def forecast(catalog: catalogs.Catalog, recipe: Recipe, reason: str, *, cache: Path) -> dict[str, Any]:
    """What a training will be: its recipe and counts, and how long and how large, measured on a small share of it."""
    from tellapart import models, speeds

    n = len(catalog.entries)
    sides = splits.assign(catalog.entries, seed=0)
    start = time.perf_counter()
    sample = catalog.entries[:: max(n // FORECAST_PICTURES, 1)]
    for entry in sample:
        with contextlib.suppress(PictureError):  # counted and named when it is decoded for the training
            decoders.square(entry.path, Preprocess(recipe.store_px))
    sizes_px = {recipe.store_px, recipe.size_px}
    cores = os.cpu_count() or 1
    decode_s = (time.perf_counter() - start) / len(sample) * n * len(sizes_px) / cores
    precision = speeds.choose_precision(recipe, len(catalog.classes), len(sides.train), cache, keep=False)
    speed = speeds.pictures_per_second(recipe, len(catalog.classes), precision)
    train_s = len(sides.train) * recipe.full_epochs() / speed
    weights = models.build(recipe, len(catalog.classes)).count_params()
    return {
        "recipe": recipe.as_dict(),
        "reason": reason,
        "precision": precision,
        "classes": list(catalog.classes),
        "pictures": {side: len(getattr(sides, side)) for side in catalogs.SPLITS},
        "skipped": [{"path": each.path, "reason": each.reason} for each in catalog.skipped],
        "notes": list(catalog.notes),
        "seconds": {
            "decode": round(decode_s, 1),
            "train": round(train_s, 1),
            "total": round(decode_s + train_s + START_S, 1),
        },
        "disk_bytes": {
            "cache": n * 3 * sum(side**2 for side in sizes_px),
            "bundle": 8 * weights + 1024 * len(sides.train),
        },
    }
