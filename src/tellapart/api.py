"""`train`, `check`, `load`, `plan`, and the batches for a network of one's own: the only orchestration."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from tellapart import catalog as catalogs
from tellapart import (
    doctor,
    guards,
    judgement,
    mirrors,
    networks,
    outputs,
    pipeline,
    plans,
    previews,
    runs,
    tracking,
    transfer,
)
from tellapart.bundle import Bundle
from tellapart.cache import cache_folder
from tellapart.classifier import Classifier, PathLike, Reading, load, require_keras
from tellapart.config import TRANSFER, TUTORIAL, Recipe, Transfer, budget_s
from tellapart.errors import SettingsError
from tellapart.evaluation import Evaluation
from tellapart.findings import Findings
from tellapart.plans import Settings
from tellapart.policies import Augmentation
from tellapart.progress import Progress, TerminalProgress

if TYPE_CHECKING:
    import keras

    from tellapart.batches import Batches

__all__ = ["Datasets", "check", "datasets", "load", "plan", "preview", "train"]

CHECKED, CHECKED_IN_SHORT = 10_000, 2_000  # pictures that the quick check before a training looks at, at most


@dataclass(frozen=True, slots=True)
class Datasets:
    """The three sides of a folder of pictures, for Keras' `fit`, `evaluate` and `predict`."""

    train: Batches
    validation: Batches | None  # None where there are too few pictures for one
    test: Batches
    class_names: tuple[str, ...]  # in the order of the labels
    skipped: tuple[tuple[str, str], ...]  # (path, reason) of every picture that is not used


class Options(Reading, Settings, total=False):
    """How the pictures are read, and what replaces the recipe's own settings."""


def train(
    photos: PathLike,
    *,
    output: PathLike | None = None,
    recipe: str = "auto",
    model: keras.Model | None = None,
    seed: int = 0,
    budget: str | float | None = None,
    sure: float | None = None,
    answer: float | None = None,
    cache: PathLike | None = None,
    force: bool = False,
    tensorboard: PathLike | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | bool = True,
    **options: Unpack[Options],
) -> Classifier:
    """Learn to tell the classes of a folder of pictures apart.

    Args:
        photos: one folder a class, or split folders with these in them, or with `labels` any folder.
        output: where to save the bundle; left out, nothing is written (see `Classifier.save`).
        recipe: "auto", "transfer", "scratch" or "tutorial".
        model: a network of your own instead: a built Sequential or functional `keras.Model` that takes pixels,
            0–255, (None, S, S, 3), and ends in Dense(C), Dense(C, softmax) or, for two classes, Dense(1, sigmoid).
            It is trained in place. Where it is compiled, its optimizer is used, unless `optimizer` or
            `learning_rate` is given.
        seed: decides splits, first weights, order and augmentation.
        budget: the time to use, "60s", "5m", "1h30m" or a number of seconds, from now to the end: never over it by
            more than a tenth, under it only when more would not help. Left out, accuracy in the least time.
        sure: the share of its answers, 0–1, that must be right: what is less probable it calls unknown.
        answer: or the share of pictures that it must answer: the least probable others it calls unknown. Without either
            it answers whatever looks like one of the classes.
        cache: the folder for decoded pictures.
        force: replace `output` where it exists.
        tensorboard: a folder for TensorBoard's log: epochs, or the rounds of transfer.
        callbacks: Keras callbacks to call as well.
        progress: True for bars and notes on standard error, False for silence, or an object that is told of them.
        options: `labels`, `path_column`, `label_column`, `split_column`, `group`, `keep_conflicts` (see `Reading`), and
            `size`, `epochs`, `batch_size`, `optimizer`, `learning_rate`, `dropout`, `conv`, `dense`, `augment`,
            `flip`, `patience`, `precision` in place of the recipe's own (see `Settings`); for transfer `backbone`,
            the name or the file of a pretrained network, `download`, whether Keras may fetch its weights, and
            `fine_tune`, whether its top is trained as well.

    Returns:
        The classifier, with its `evaluation` on the test split and its `report`.

    Raises:
        InputError: the pictures or the network cannot be used.
        SettingsError: a setting is unknown or out of its range.
        OutputError: `output` or the cache cannot be written.
        MissingPackageError: Keras is not installed.
    """
    reading, settings = _parted(options)
    times: dict[str, float] = {}
    seconds = budget_s(budget)
    deadline = None if seconds is None else time.monotonic() + seconds
    targets = guards.Targets(sure, answer)
    with _told(progress) as said, _timed(times, "total"):
        if output is not None:
            outputs.check(output, force=force)
        tracking.check(tensorboard=tensorboard)
        with _timed(times, "read"):
            catalog = _scan(photos, reading, said)
        own_size_px = _own_size(model, len(catalog.classes))
        choice = _choose(catalog, recipe, settings, own_size_px, seed=seed, cache=cache)
        if deadline is not None and choice.rival is not None:
            with _timed(times, "plan"):
                choice = _in_time(catalog, choice, seed=seed, cache=_cache(cache), deadline=deadline)
        for note in (*catalog.notes, choice.reason):
            said.note(note)
        with _timed(times, "check"):
            some = _first(catalog, choice, seed=seed, short=deadline is not None)
            glance = doctor.glance(catalog, some, cache=_cache(cache), seed=seed, progress=said)
        catalog = glance.catalog
        for line in glance.lines():
            said.note(line)
        if isinstance(choice.recipe, Transfer):
            with _timed(times, "train"):
                result = transfer.run(
                    catalog,
                    choice.recipe,
                    seed=seed,
                    cache=_cache(cache),
                    progress=said,
                    deadline=deadline,
                    network=choice.network,
                )
            said.note(result.reason)
            learned = _Learned(
                result.bundle, result.evaluations, choice.recipe, result.reason, result.counts, result.record
            )
        else:
            rival = _rival(catalog, choice, seed=seed, cache=_cache(cache), times=times, said=said)
            learned = _train_network(
                catalog,
                choice,
                model,
                keep_optimizer=settings.get("optimizer") is None and settings.get("learning_rate") is None,
                seed=seed,
                cache=_cache(cache),
                callbacks=[*callbacks, *tracking.keras_callbacks(tensorboard)],
                times=times,
                said=said,
                deadline=deadline,
                most_epochs=settings.get("epochs"),
            )
            if rival is not None:
                learned = _better(learned, rival, catalog, seed=seed, cache=_cache(cache), said=said)
        if sure is not None or answer is not None:
            learned = _aimed(learned, targets, said)
        classifier = Classifier(learned.bundle, learned.evaluation)
        if output is not None:
            with _timed(times, "save"):
                classifier.save(output, force=force)
    validation = learned.evaluations.get("validation")
    classifier.report = {
        "plan": {**learned.recipe.as_dict(), "reason": learned.reason, "pictures": learned.counts},
        "times": times,
        "notes": list(catalog.notes),
        "training": learned.record,
        "findings": [each.as_dict() for each in glance.every],
        "train_accuracy": learned.evaluations["train"].accuracy,
        "validation_accuracy": validation.accuracy if validation else None,
        "bundle": None if output is None else str(output),
    }
    failed = [runs.record(classifier, photos=photos, output=output, budget=budget)]
    failed.append(tracking.rounds(classifier, tensorboard))
    for note in filter(None, failed):
        said.note(note)
    return classifier


@dataclass(frozen=True, slots=True, eq=False)
class _Learned:
    """What a training of either kind gave."""

    bundle: Bundle
    evaluations: dict[str, Evaluation]
    recipe: Recipe | Transfer  # as it was carried out
    reason: str  # in a sentence, what was done and why
    counts: dict[str, int]  # pictures by side
    record: dict[str, Any]  # the bundle's record of the training

    @property
    def evaluation(self) -> Evaluation:
        """The one to believe."""
        best = ("test", transfer.CROSS_VALIDATION, "validation")
        return next(self.evaluations[side] for side in best if side in self.evaluations)


def _aimed(learned: _Learned, targets: guards.Targets, said: Progress) -> _Learned:
    """With the targets that the user stated; as it is where they cannot be met, which is no reason to lose it."""
    try:
        bundle, evaluations = judgement.aimed(learned.bundle, learned.evaluations, targets)
    except SettingsError as error:
        said.note(f"It answers whatever looks like one of the classes, since {error}")
        return learned
    return dataclasses.replace(learned, bundle=bundle, evaluations=evaluations)


def _first(catalog: catalogs.Catalog, choice: plans.Choice, *, seed: int, short: bool) -> list[int]:
    """The entries that are checked before a training: all that it begins with, or a number spread evenly."""
    if isinstance(choice.recipe, Transfer):
        return transfer.first(catalog, seed)
    n, most = len(catalog.entries), CHECKED_IN_SHORT if short else CHECKED
    return [i * n // min(n, most) for i in range(min(n, most))]


def _in_time(
    catalog: catalogs.Catalog, choice: plans.Choice, *, seed: int, cache: Path, deadline: float
) -> plans.Choice:
    """The one way that a budget is spent on: from scratch where that has time for a few epochs, else pretrained."""
    assert isinstance(choice.recipe, Recipe)
    assert choice.rival is not None
    require_keras()
    epochs = pipeline.epochs_until(catalog, choice.recipe, seed=seed, cache=cache, deadline=deadline)
    if epochs >= plans.FEWEST_IN_TIME:
        return dataclasses.replace(choice, rival=None)
    recipe = dataclasses.replace(choice.rival, most=0)
    reason = (
        f"A classifier on what a pretrained {recipe.backbone} sees at {recipe.size_px} px: in the time there is, "
        f"a network from scratch would see each picture {max(epochs, 0):.1f} times."
    )
    return plans.Choice(recipe, reason, network=networks.find(recipe.backbone, recipe.size_px))


def _rival(
    catalog: catalogs.Catalog, choice: plans.Choice, *, seed: int, cache: Path, times: dict[str, float], said: Progress
) -> float | None:
    """The share of held-out pictures that a pretrained network gets right after a look at some; None if not asked."""
    if choice.rival is None:
        return None
    with _timed(times, "compare"):
        result = transfer.run(catalog, choice.rival, seed=seed, cache=cache, progress=said)
    judged = result.evaluations.get("validation") or result.evaluations[transfer.CROSS_VALIDATION]
    return judged.accuracy


def _better(
    learned: _Learned, rival: float, catalog: catalogs.Catalog, *, seed: int, cache: Path, said: Progress
) -> _Learned:
    """The network from scratch, unless a pretrained one gets more of its held-out pictures right."""
    validation = learned.evaluations.get("validation")
    own = validation.accuracy if validation else 0.0
    if own >= rival:
        reason = (
            f"{learned.reason} It gets {own:.1%} of its validation pictures right, a classifier on a pretrained "
            f"network {rival:.1%} of its own."
        )
        said.note(reason)
        return dataclasses.replace(learned, reason=reason)
    result = transfer.run(catalog, TRANSFER, seed=seed, cache=cache, progress=said)
    reason = f"{result.reason} From scratch {own:.1%} of the validation pictures were right."
    said.note(reason)
    return _Learned(result.bundle, result.evaluations, TRANSFER, reason, result.counts, result.record)


def _train_network(
    catalog: catalogs.Catalog,
    choice: plans.Choice,
    own: keras.Model | None,
    *,
    keep_optimizer: bool,
    seed: int,
    cache: Path,
    callbacks: Sequence[keras.callbacks.Callback],
    times: dict[str, float],
    said: Progress,
    deadline: float | None,
    most_epochs: int | None,
) -> _Learned:
    """Decode, train a whole network in Keras, ask its graph about every side."""
    recipe = choice.recipe
    assert isinstance(recipe, Recipe)
    with _timed(times, "start"):
        require_keras()
    with _timed(times, "decode"):
        prepared = pipeline.prepare(catalog, recipe, seed=seed, cache=cache, progress=said)
    reason, end = choice.reason, None if deadline is None else deadline - pipeline.END_S
    if deadline is not None and own is None:
        with _timed(times, "plan"):
            pace = pipeline.paced(prepared, recipe, seed=seed, cache=cache, deadline=deadline, most_epochs=most_epochs)
        prepared, recipe, end = pace.prepared, pace.recipe, pace.end
        said.note(f"In the time there is: {pace}.")
        reason = f"{reason} In the time there was: {pace}."
    with _timed(times, "train"):
        outcome = pipeline.learn(
            prepared,
            recipe,
            own=own,
            keep_optimizer=keep_optimizer,
            seed=seed,
            cache=cache,
            callbacks=callbacks,
            progress=said,
            end=end,
        )
    with _timed(times, "evaluate"):
        bundle, evaluations = pipeline.pack(outcome, prepared, recipe, seed=seed, progress=said)
    return _Learned(
        bundle, evaluations, recipe, reason, prepared.counts(), outcome.as_dict() | {"unused": prepared.n_unused}
    )


def plan(
    photos: PathLike,
    *,
    recipe: str = "auto",
    cache: PathLike | None = None,
    progress: Progress | bool = True,
    **options: Unpack[Options],
) -> dict[str, Any]:
    """Say what `train` would do with these arguments, how long it would take, and how much disk.

    Every file is read, no bundle and no decoded picture is written. The time comes from decoding some of the
    pictures and training on a few batches of noise.

    Returns:
        `recipe`, `reason` and `precision`; `classes`, `pictures` of each split, `skipped`, `notes`; `seconds` (decode,
        train, total); `disk_bytes` (cache, bundle).
    """
    reading, settings = _parted(options)
    with _told(progress) as said:
        catalog = _scan(photos, reading, said)
        choice = _choose(catalog, recipe, settings, cache=cache)
        if isinstance(choice.recipe, Transfer):
            return transfer.forecast(catalog, choice.recipe, choice.reason, cache=_cache(cache), network=choice.network)
        require_keras()
        return pipeline.forecast(catalog, choice.recipe, choice.reason, cache=_cache(cache))


def preview(
    photos: PathLike,
    *,
    recipe: str = "auto",
    seed: int = 0,
    progress: Progress | bool = True,
    **options: Unpack[Options],
) -> previews.Preview:
    """Some training pictures as `train` with these arguments would show them to the network; nothing is trained.

    Every file is read, nothing is written, and Keras is not needed. Raises as `train` does.
    """
    reading, settings = _parted(options)
    with _told(progress) as said:
        catalog = _scan(photos, reading, said)
        choice = _choose(catalog, recipe, settings, seed=seed)
        if isinstance(choice.recipe, Transfer):
            if recipe != "auto":
                raise SettingsError(
                    "--show-augment goes with a recipe that trains a network; transfer looks at pictures as they are. "
                    "Add --recipe scratch."
                )
            choice = _choose(catalog, "scratch", settings, seed=seed)
            said.note("Without --recipe these pictures are looked at as they are; this is what --recipe scratch does.")
        assert isinstance(choice.recipe, Recipe)  # what is no transfer trains a network
        return previews.preview(catalog, choice.recipe, seed=seed)


def check(
    photos: PathLike,
    *,
    quick: bool = False,
    seed: int = 0,
    cache: PathLike | None = None,
    progress: Progress | bool = True,
    **reading: Unpack[Reading],
) -> Findings:
    """Look for what is wrong with a folder of pictures; nothing in it is changed.

    Args:
        photos: as in `train`.
        quick: leave out what needs a network to look at the pictures: wrong labels, pictures of no class, classes that
            are too alike, and how much more pictures would help.
        seed: of the draws of pictures that stand for all.
        cache, progress, reading: as in `train`.

    Returns:
        The findings, worst first: a sequence, with `rows()` as a table, `counts` and `as_dict()`.

    Raises:
        InputError: the folder or its table of labels cannot be used at all.
        OutputError: the cache cannot be written.
    """
    with _told(progress) as said:
        catalog = _read(photos, reading, said)
        return doctor.examine(catalog, cache=_cache(cache), quick=quick, seed=seed, progress=said)


def datasets(
    photos: PathLike,
    *,
    size: int = 64,
    batch_size: int = 32,
    augment: str | os.PathLike[str] | Augmentation = "tutorial",
    flip: bool | None = None,
    label_mode: str = "int",
    seed: int = 0,
    cache: PathLike | None = None,
    progress: Progress | bool = True,
    **reading: Unpack[Reading],
) -> Datasets:
    """The pictures of a folder as batches for your own Keras `fit`: what `flow_from_directory` was for.

    Pixels come as uint8, 0–255: put `keras.layers.Rescaling(1 / 255)` into the network, where nobody can forget it.

    Args:
        photos: as in `train`.
        size: side of the pictures, px, 8 to 512.
        batch_size: pictures a batch; the last one of an epoch may be smaller.
        augment: how training pictures are varied: "none", "light", "strong", "tutorial", "crop", the path of a TOML
            file, or an `Augmentation`.
        flip: whether training pictures are mirrored left to right at random; left out, they are, unless `augment` says
            otherwise.
        label_mode: "int" (B,), "binary" (B, 1) or "one_hot" (B, C).
        seed: decides splits, order and augmentation.
        cache, progress, reading: as in `train`.
    """
    with _told(progress) as said:
        require_keras()
        catalog = _scan(photos, reading, said)
        recipe = TUTORIAL.override(size_px=size, store_px=size, batch_size=batch_size, augment=augment, flip=flip)
        prepared = pipeline.prepare(catalog, recipe, seed=seed, cache=_cache(cache), progress=said)
    sides: Any = {
        side: pipeline.batches(prepared, side, recipe, seed=seed, label_mode=label_mode) if n else None
        for side, n in prepared.counts().items()
    }
    return Datasets(**sides, class_names=prepared.catalog.classes, skipped=prepared.skipped)


def _cache(folder: PathLike | None) -> Path:
    return cache_folder(None if folder is None else Path(folder))


def _parted(options: Options) -> tuple[Reading, Settings]:
    """The options for reading the pictures, and the others: a recipe's settings."""
    reading: Any = {name: value for name, value in options.items() if name in Reading.__annotations__}
    settings: Any = {name: value for name, value in options.items() if name not in Reading.__annotations__}
    return reading, settings


def _scan(photos: PathLike, reading: Reading, said: Progress) -> catalogs.Catalog:
    catalog = _read(photos, reading, said)
    catalogs.check_classes(catalog)
    return catalog


def _read(photos: PathLike, reading: Reading, said: Progress) -> catalogs.Catalog:
    return catalogs.scan(photos, **reading, progress=lambda done, total: said.update("Reading", done, total))


def _choose(
    catalog: catalogs.Catalog,
    recipe: str,
    settings: Settings,
    own_size_px: int | None = None,
    *,
    seed: int = 0,
    cache: PathLike | None = None,
) -> plans.Choice:
    """`plans.choose`, Keras started before it where a backbone needs it, and what it left open looked up."""
    if networks.needs_keras(settings.get("backbone")):
        require_keras()
    choice = plans.choose(catalog, recipe, settings, own_size_px)
    if choice.mirroring_open and mirrors.hurt(catalog, seed=seed, cache=_cache(cache)):
        return choice.without_mirroring()
    return choice


def _own_size(model: keras.Model | None, n_classes: int) -> int | None:
    """The input side of the user's own network, checked; None where there is none."""
    if model is None:
        return None
    from tellapart import graphs

    graphs.check(model, n_classes)
    return int(model.inputs[0].shape[1])


def _told(progress: Progress | bool) -> Progress:
    if isinstance(progress, Progress):
        return progress
    return TerminalProgress() if progress else Progress()


@contextmanager
def _timed(times: dict[str, float], name: str) -> Iterator[None]:
    """Put the seconds that a stage takes into `times`."""
    start = time.perf_counter()
    yield
    times[name] = round(time.perf_counter() - start, 3)
