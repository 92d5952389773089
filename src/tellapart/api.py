"""`train`, `check`, `load`, `plan`, and the batches for a network of one's own: the only orchestration."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack, cast

from tellapart import (
    beginning,
    choices,
    crossvalidation,
    decoders,
    doctor,
    guards,
    helping,
    hosts,
    learning,
    networks,
    outputs,
    pipeline,
    plans,
    previews,
    rayworkers,
    recipefile,
    refuge,
    repeating,
    rescue,
    resuming,
    runs,
    tracking,
    transfer,
)
from tellapart.beginning import Options
from tellapart.classifier import Classifier, PathLike, Reading, load, require_keras
from tellapart.config import TUTORIAL, Recipe, Transfer, budget_s, checked_seed
from tellapart.errors import SettingsError
from tellapart.files import shown
from tellapart.findings import Findings
from tellapart.plans import Settings
from tellapart.policies import Augmentation
from tellapart.progress import Progress

if TYPE_CHECKING:
    import keras

    from tellapart.batches import Batches

__all__ = ["Datasets", "check", "datasets", "load", "plan", "preview", "train"]


@dataclass(frozen=True, slots=True)
class Datasets:
    """The three sides of a folder of pictures, for Keras' `fit`, `evaluate` and `predict`."""

    train: Batches
    validation: Batches | None  # None where there are too few pictures for one
    test: Batches
    class_names: tuple[str, ...]  # in the order of the labels
    skipped: tuple[tuple[str, str], ...]  # (path, reason) of every picture that is not used


def train(
    photos: PathLike,
    *,
    output: PathLike | None = None,
    recipe: str | os.PathLike[str] = "auto",
    model: keras.Model | None = None,
    like: PathLike | None = None,
    seed: int | None = None,
    budget: str | float | None = None,
    sure: float | None = None,
    answer: float | None = None,
    k_fold: int | None = None,
    cache: PathLike | None = None,
    resume: bool = False,
    force: bool = False,
    tensorboard: PathLike | None = None,
    devices: int | str | None = None,
    n_hosts: int | None = None,
    host_index: int | None = None,
    coordinator: str | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | bool = True,
    engine: str = rayworkers.LOCAL,
    address: str | None = None,
    workers: int | None = None,
    worker_cores: int | None = None,
    **options: Unpack[Options],
) -> Classifier:
    """Learn to tell the classes of a folder of pictures apart.

    Args:
        photos: one folder a class, or split folders with these in them, or with `labels` any folder.
        output: where to save the bundle; left out, nothing is written (see `Classifier.save`).
        recipe: "auto", "transfer", "scratch", "tutorial", or a TOML file with settings of one of the last three (see
            `recipefile`), its seed among them.
        model: a network of your own instead: a built Sequential or functional `keras.Model` that takes pixels,
            0–255, (None, S, S, 3), and ends in Dense(C), Dense(C, softmax) or, for two classes, Dense(1, sigmoid).
            It is trained in place. Where it is compiled, its optimizer is used, unless `optimizer` or
            `learning_rate` is given.
        like: a bundle whose training is to be repeated: recipe, settings, seed, what it chose by measuring and what a
            budget allowed are taken from it, but for what is given here. The report's `like` says what differs.
        seed: decides splits, first weights, order and augmentation; 0, or as in `like`.
        budget: the time to use, "60s", "5m", "1h30m" or a number of seconds, from now to the end: never over it by
            more than a tenth, under it only when more would not help. Left out, accuracy in the least time.
        sure: the share of its answers, 0–1, that must be right: what is less probable it calls unknown.
        answer: or the share of pictures that it must answer: the least probable others it calls unknown. Without either
            it answers whatever looks like one of the classes.
        k_fold: hold out every picture once, in this number of folds, 2 to 20, and judge by all of them together. The
            classifier that is given learns from all pictures (transfer) or as without it (scratch, tutorial).
        cache: the folder for decoded pictures, and for checkpoints.
        resume: go on from where the same training was stopped: same pictures, same arguments. It ends with the weights
            of one that was never stopped, bit for bit, on the same machine and versions. With a `budget` the plan is
            kept, and the time used before counts. Where there is nothing to go on from it starts afresh, and says so.
            A `model` of your own must have the same layers again; its weights and its optimizer's are put back. Your
            `callbacks` get no state of theirs back, and layers that draw from a generator other than Keras'
            `SeedGenerator` draw anew.
        force: replace `output` where it exists.
        tensorboard: a folder for TensorBoard's log: epochs, or the rounds of transfer.
        devices: share each training step between this number of devices of this host, or "auto" for all that JAX sees.
            Keras must run on JAX. The model is that of one device but for the order of sums.
        n_hosts, host_index, coordinator: how many hosts share the training, which one this is, from 0, and HOST:PORT of
            host 0. Slurm and Open MPI tell it by themselves, as do $JAX_NUM_PROCESSES, $JAX_PROCESS_ID and
            $JAX_COORDINATOR_ADDRESS. Each host runs the same call; on all but host 0 it does not return: it ends the
            process by SystemExit, with status 0 where host 0 came through.
        callbacks: Keras callbacks to call as well; on host 0 alone.
        progress: True for bars and notes on standard error, False for silence, or an object that is told of them.
        engine: "local", or "ray": pictures are read, decoded and looked at by a frozen network by workers of Ray; what
            is learned is the same.
        address: of the Ray cluster, "auto" on one of its nodes; left out, workers are of this machine alone.
        workers: how many; left out, as many as there are cores for.
        worker_cores: cores of each of them; 1 where it is left out.
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
        HostsError: another host has ended, or they do not find each other.
    """
    asked_devices, launch = hosts.wanted(devices, coordinator, n_hosts, host_index)
    reading, settings = beginning.parted(options)
    file = recipefile.given(recipe)
    asked_for = os.fspath(recipe) if file is None else file.recipe
    wish = None if like is None else repeating.read(like)
    if file is not None and seed is None:
        seed = file.seed
    if wish is not None:
        seed = wish.seed if seed is None else seed
        reading = cast(Reading, repeating.reading(wish, reading))
        if k_fold is None and budget is None and model is None:
            k_fold = repeating.number(wish, "k_fold", int)
        if sure is None and answer is None:
            sure, answer = (repeating.number(wish, name, float) for name in ("sure", "answer"))
    seed = checked_seed(seed or 0)
    times: dict[str, float] = {}
    seconds = budget_s(budget)
    deadline = None if seconds is None else time.monotonic() + seconds
    targets = guards.Targets(sure, answer)
    kept_to = None if wish is None else wish.given(timed=deadline is not None)
    with beginning.told(progress) as said, learning.timed(times, "total"), contextlib.ExitStack() as under_way:
        under_way.enter_context(helping.together(asked_devices, launch, photos, cache, said))
        if output is not None:
            outputs.check(output, force=force)
        tracking.check(tensorboard=tensorboard)
        decoders.begin()
        under_way.enter_context(
            rayworkers.at_work(engine, address=address, workers=workers, cores=worker_cores, note=said.note)
        )
        with learning.timed(times, "read"):
            catalog = beginning.scan(photos, reading, said, cache)
        usual = beginning.folder(cache)
        cache = under_way.enter_context(refuge.writable(cache, said.note))
        if k_fold is not None:
            crossvalidation.check(k_fold, catalog)
            crossvalidation.check_alone(model, budget, settings)
        own_size_px = _own_size(model, len(catalog.classes))
        wanted = resuming.wanted(
            asked_for,
            settings,
            reading,
            seed=seed,
            budget=budget,
            k_fold=k_fold,
            like=like,
            recipe_file=None if file is None else file.record(),
        )
        attempt = under_way.enter_context(
            resuming.begun(catalog, wanted, model, photos, beginning.folder(cache), said, resume=resume)
        )
        if deadline is not None:
            deadline -= attempt.used_s
        kept_to = {**(kept_to or {}), **attempt.choices}
        chosen = under_way.enter_context(
            choices.noted(kept_to, attempt.chose if deadline is not None else attempt.hear)
        )
        told_of = None if file is None else file.record()
        if wish is not None and file is None and repeating.follows(wish, asked_for, own=model is not None):
            told_of = wish.asked.get("recipe_file")
            choice = _like(wish, settings, own_size_px)
            for doubt in repeating.doubts_before(wish):
                said.note(f"An exact repeat of {shown(wish.model)} is not to be expected: {doubt}.")
        else:
            choice = beginning.choose(catalog, file or asked_for, settings, own_size_px, seed=seed, cache=cache)
        # Whether a network of the user's own gets another optimizer than the one that it was compiled with.
        anew = any(settings.get(name) is not None for name in ("optimizer", "learning_rate"))
        anew = anew or (wish is not None and bool(wish.asked.get("optimizer_anew")))
        timed = deadline is not None or (wish is not None and wish.was_timed)
        if deadline is not None and choice.rival is not None:
            with learning.timed(times, "plan"):
                choice = learning.in_time(catalog, choice, seed=seed, cache=beginning.folder(cache), deadline=deadline)
        for note in (*catalog.notes, choice.reason):
            said.note(note)
        with learning.timed(times, "check"):
            some = beginning.first(catalog, choice, seed=seed, short=timed, whole=k_fold is not None)
            glance = doctor.glance(catalog, some, cache=beginning.folder(cache), seed=seed, progress=said)
        catalog = glance.catalog
        for line in glance.lines():
            said.note(line)
        choices.afresh()  # what came before decided nothing that the recipe does not say
        if isinstance(choice.recipe, Transfer):
            with learning.timed(times, "train"):
                result = transfer.run(
                    catalog,
                    choice.recipe,
                    seed=seed,
                    cache=beginning.folder(cache),
                    progress=said,
                    deadline=deadline,
                    network=choice.network,
                    k_fold=k_fold,
                    attempt=attempt,
                )
            said.note(result.reason)
            learned = learning.Learned(
                result.bundle, result.evaluations, choice.recipe, result.reason, result.counts, result.record
            )
        else:
            rival = learning.rival(catalog, choice, seed=seed, cache=beginning.folder(cache), times=times, said=said)
            learned = learning.train_network(
                catalog,
                choice,
                model,
                keep_optimizer=not anew,
                seed=seed,
                cache=beginning.folder(cache),
                callbacks=[*callbacks, *tracking.keras_callbacks(tensorboard)],
                times=times,
                said=said,
                deadline=deadline,
                most_epochs=settings.get("epochs"),
                attempt=attempt,
            )
            if rival is not None:
                learned = learning.better(
                    learned,
                    rival,
                    catalog,
                    seed=seed,
                    cache=beginning.folder(cache),
                    said=said,
                    k_fold=k_fold,
                    attempt=attempt,
                )
        if k_fold is not None and isinstance(learned.recipe, Recipe) and not learned.record["interrupted"]:
            with learning.timed(times, "cross_validate"):
                crossed = crossvalidation.run(
                    catalog,
                    learned.recipe,
                    k_fold,
                    seed=seed,
                    cache=beginning.folder(cache),
                    progress=said,
                    attempt=attempt,
                )
            learned = learned if crossed is None else learned.judged_by(crossed)
        depends = repeating.asked(
            reading,
            k_fold=k_fold,
            sure=sure,
            answer=answer,
            optimizer_anew=(anew and model is not None) or None,
            recipe_file=told_of,
        )
        learned = learned.told(asked=depends, choices=dict(sorted(chosen.made.items())))
        if sure is not None or answer is not None:
            learned = learned.aimed(targets, said)
        measured = beginning.folder(cache) if deadline is None else None
        classifier = Classifier(learned.bundle, learning.sliced(learned.evaluation, catalog, reading, measured))
        if output is not None:
            with learning.timed(times, "save"):
                rescue.save(classifier, output, force=force, elsewhere=[usual])
        if learned.record["interrupted"]:
            attempt.say_what_is_kept()
        attempt.end(well=not learned.record["interrupted"])
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
        "resumed_from": attempt.resumed_from,
        "steps_run": attempt.steps_run,
    }
    if wish is not None:
        classifier.report["like"] = repeating.compared(wish, classifier.bundle).as_dict()
    failed = [runs.record(classifier, photos=photos, output=output, budget=budget)]
    failed.append(tracking.rounds(classifier, tensorboard))
    for note in filter(None, failed):
        said.note(note)
    return classifier


def plan(
    photos: PathLike,
    *,
    recipe: str | os.PathLike[str] = "auto",
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
    reading, settings = beginning.parted(options)
    with beginning.told(progress) as said:
        catalog = beginning.scan(photos, reading, said, cache)
        with refuge.writable(cache, said.note) as usable:
            choice = beginning.choose(catalog, _named(recipe), settings, cache=usable)
            if isinstance(choice.recipe, Transfer):
                return transfer.forecast(catalog, choice.recipe, choice.reason, cache=usable, network=choice.network)
            require_keras()
            return pipeline.forecast(catalog, choice.recipe, choice.reason, cache=usable)


def preview(
    photos: PathLike,
    *,
    recipe: str | os.PathLike[str] = "auto",
    seed: int = 0,
    progress: Progress | bool = True,
    **options: Unpack[Options],
) -> previews.Preview:
    """Some training pictures as `train` with these arguments would show them to the network; nothing is trained.

    Every file is read, nothing is written, and Keras is not needed. Raises as `train` does.
    """
    reading, settings = beginning.parted(options)
    with beginning.told(progress) as said:
        catalog = beginning.scan(photos, reading, said, None)
        choice = beginning.choose(catalog, _named(recipe), settings, seed=seed)
        if isinstance(choice.recipe, Transfer):
            if recipe != "auto":
                raise SettingsError(
                    "--show-augment goes with a recipe that trains a network; transfer looks at pictures as they are. "
                    "Add --recipe scratch."
                )
            choice = beginning.choose(catalog, "scratch", settings, seed=seed)
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
    engine: str = rayworkers.LOCAL,
    address: str | None = None,
    workers: int | None = None,
    worker_cores: int | None = None,
    **reading: Unpack[Reading],
) -> Findings:
    """Look for what is wrong with a folder of pictures; nothing in it is changed.

    Args:
        photos: as in `train`.
        quick: leave out what needs a network to look at the pictures: wrong labels, pictures of no class, classes that
            are too alike, and how much more pictures would help.
        seed: of the draws of pictures that stand for all.
        cache, progress, engine, address, workers, worker_cores, reading: as in `train`.

    Returns:
        The findings, worst first: a sequence, with `rows()` as a table, `counts` and `as_dict()`.

    Raises:
        InputError: the folder or its table of labels cannot be used at all.
        OutputError: the cache cannot be written.
    """
    with (
        beginning.told(progress) as said,
        rayworkers.at_work(engine, address=address, workers=workers, cores=worker_cores, note=said.note),
    ):
        decoders.begin()
        catalog = beginning.read(photos, reading, said, cache)
        with refuge.writable(cache, said.note) as usable:
            return doctor.examine(catalog, cache=usable, quick=quick, seed=seed, progress=said)


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
    with beginning.told(progress) as said:
        require_keras()
        catalog = beginning.scan(photos, reading, said, cache)
        recipe = TUTORIAL.override(size_px=size, store_px=size, batch_size=batch_size, augment=augment, flip=flip)
        prepared = pipeline.prepare(catalog, recipe, seed=seed, cache=beginning.folder(cache), progress=said)
    sides: Any = {
        side: pipeline.batches(prepared, side, recipe, seed=seed, label_mode=label_mode) if n else None
        for side, n in prepared.counts().items()
    }
    return Datasets(**sides, class_names=prepared.catalog.classes, skipped=prepared.skipped)


def _named(recipe: str | os.PathLike[str]) -> str | recipefile.RecipeFile:
    """A recipe's name, or the file that was named in its place, read."""
    return recipefile.given(recipe) or os.fspath(recipe)


def _like(wish: repeating.Wish, settings: Settings, own_size_px: int | None) -> plans.Choice:
    """`plans.like`, Keras started before it where a backbone needs it."""
    if networks.needs_keras(settings.get("backbone") or str(wish.recipe.get("backbone") or "")):
        require_keras()
    return plans.like(wish.recipe, settings, own_size_px)


def _own_size(model: keras.Model | None, n_classes: int) -> int | None:
    """The input side of the user's own network, checked; None where there is none."""
    if model is None:
        return None
    from tellapart import graphs

    graphs.check(model, n_classes)
    return int(model.inputs[0].shape[1])
