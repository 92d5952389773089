"""`train`, `check`, `load`, `plan`, and the batches for a network of one's own: the only orchestration."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from tellapart import catalog as catalogs
from tellapart import (
    crossvalidation,
    divisions,
    doctor,
    guards,
    learning,
    mirrors,
    networks,
    outputs,
    pipeline,
    plans,
    previews,
    runs,
    slices,
    tracking,
    traits,
    transfer,
)
from tellapart.cache import cache_folder
from tellapart.classifier import Classifier, PathLike, Reading, load, require_keras
from tellapart.config import TUTORIAL, Recipe, Transfer, budget_s
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
    k_fold: int | None = None,
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
        k_fold: hold out every picture once, in this number of folds, 2 to 20, and judge by all of them together. The
            classifier that is given learns from all pictures (transfer) or as without it (scratch, tutorial).
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
    with _told(progress) as said, learning.timed(times, "total"):
        if output is not None:
            outputs.check(output, force=force)
        tracking.check(tensorboard=tensorboard)
        with learning.timed(times, "read"):
            catalog = _scan(photos, reading, said)
        if k_fold is not None:
            crossvalidation.check(k_fold, catalog)
            _check_alone(model, budget, settings)
        own_size_px = _own_size(model, len(catalog.classes))
        choice = _choose(catalog, recipe, settings, own_size_px, seed=seed, cache=cache)
        if deadline is not None and choice.rival is not None:
            with learning.timed(times, "plan"):
                choice = learning.in_time(catalog, choice, seed=seed, cache=_cache(cache), deadline=deadline)
        for note in (*catalog.notes, choice.reason):
            said.note(note)
        with learning.timed(times, "check"):
            some = _first(catalog, choice, seed=seed, short=deadline is not None, whole=k_fold is not None)
            glance = doctor.glance(catalog, some, cache=_cache(cache), seed=seed, progress=said)
        catalog = glance.catalog
        for line in glance.lines():
            said.note(line)
        if isinstance(choice.recipe, Transfer):
            with learning.timed(times, "train"):
                result = transfer.run(
                    catalog,
                    choice.recipe,
                    seed=seed,
                    cache=_cache(cache),
                    progress=said,
                    deadline=deadline,
                    network=choice.network,
                    k_fold=k_fold,
                )
            said.note(result.reason)
            learned = learning.Learned(
                result.bundle, result.evaluations, choice.recipe, result.reason, result.counts, result.record
            )
        else:
            rival = learning.rival(catalog, choice, seed=seed, cache=_cache(cache), times=times, said=said)
            learned = learning.train_network(
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
                learned = learning.better(
                    learned, rival, catalog, seed=seed, cache=_cache(cache), said=said, k_fold=k_fold
                )
        if k_fold is not None and isinstance(learned.recipe, Recipe) and not learned.record["interrupted"]:
            with learning.timed(times, "cross_validate"):
                crossed = crossvalidation.run(
                    catalog, learned.recipe, k_fold, seed=seed, cache=_cache(cache), progress=said
                )
            learned = learned if crossed is None else learned.judged_by(crossed)
        if sure is not None or answer is not None:
            learned = learned.aimed(targets, said)
        measured = _cache(cache) if deadline is None else None
        classifier = Classifier(learned.bundle, _sliced(learned.evaluation, catalog, reading, measured))
        if output is not None:
            with learning.timed(times, "save"):
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


def _first(catalog: catalogs.Catalog, choice: plans.Choice, *, seed: int, short: bool, whole: bool) -> list[int]:
    """The entries that are checked before a training: all that it begins with, or a number spread evenly."""
    if isinstance(choice.recipe, Transfer) and not whole:
        return transfer.first(catalog, seed)
    n, most = len(catalog.entries), CHECKED_IN_SHORT if short else CHECKED
    return [i * n // min(n, most) for i in range(min(n, most))]


def _check_alone(model: keras.Model | None, budget: str | float | None, settings: Settings) -> None:
    """Raise SettingsError for what goes with no cross-validation."""
    odd = {"a network of your own": model, "--budget": budget, "--fine-tune": settings.get("fine_tune") or None}
    for name, value in odd.items():
        if value is not None:
            raise SettingsError(
                f"--k-fold trains anew for each fold and cannot go with {name}; got both. Leave one of them out."
            )


def _sliced(evaluation: Evaluation, catalog: catalogs.Catalog, reading: Reading, cache: Path | None) -> Evaluation:
    """With how its parts fared.

    What is measured of pictures is in the cache for nearly all of them; None where there is no time for the rest.
    """
    looks = None
    if cache is not None:
        asked, looks = set(evaluation.paths), divisions.Looks()
        seen = traits.measure([entry for entry in catalog.entries if entry.path in asked], cache)
        sides = [seen.column(name).tolist() for name in ("width", "height", "brightness")]
        for entry, width, height, level in zip(seen.entries, *sides, strict=True):
            looks.shorter_px[entry.path], looks.brightness[entry.path] = min(width, height), level / 2.55
    names: Any = {f"{role}_column": reading.get(f"{role}_column") for role in ("path", "label", "split")}
    labels = evaluation.labels.tolist()
    kinds = divisions.of(evaluation.paths, labels, catalog, looks, reading.get("labels"), **names)
    return dataclasses.replace(
        evaluation, slices=slices.of(evaluation.predicted == evaluation.labels, evaluation.labels, kinds)
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
