"""A recipe that is tried: learned from training pictures, judged by validation pictures, and no bundle made of it.

The test pictures are taken out before anything else (`divided`), so nothing that happens here can hang on them.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart import (
    calibration,
    features,
    finetune,
    graphanswers,
    looking,
    metrics,
    networks,
    picking,
    pipeline,
    sampling,
    splits,
    transfer,
)
from tellapart import catalog as catalogs
from tellapart import head as heads
from tellapart.backbones import BACKBONES
from tellapart.catalog import Catalog
from tellapart.classifier import require_keras
from tellapart.config import Recipe, Transfer
from tellapart.errors import InputError
from tellapart.files import counted
from tellapart.preprocess import Preprocess
from tellapart.progress import Progress
from tellapart.space import megamacs

if TYPE_CHECKING:
    import keras

JUDGES = 400  # validation pictures that are wished for: they tell five points from none, one time in two
SHARE, MOST_SHARE = 0.1, 0.3  # of the pictures, for validation: where there are many, and at most
FEWEST = 20  # validation pictures, below which no recipe can be told from another
AT_ONCE = 256  # pictures that a network from scratch answers at a time

# Called with how much of a training is done, 0–1, and how it fares: accuracy and log-loss of pictures that it does not
# learn from. What it raises ends the training.
Watch = Callable[[float, float, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What a recipe is worth."""

    answers: np.ndarray  # uint8 (V,), see `picking`; of the validation pictures in the order of the catalog
    log_loss: float  # calibrated, nats
    cost: tuple[float, ...]  # see `picking.Trial`
    detail: dict[str, Any]  # what else there is to tell, as plain values


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """The pictures that recipes are tried on: training and validation, and no others."""

    catalog: Catalog  # every entry has its split: "train" or "validation"
    n_left_alone: int  # test pictures

    @property
    def train(self) -> list[int]:
        """Indices of entries."""
        return self._side("train")

    @property
    def validation(self) -> list[int]:
        """Indices of entries, rising: the order of `Judged.answers`."""
        return self._side("validation")

    def _side(self, name: str) -> list[int]:
        return [i for i, entry in enumerate(self.catalog.entries) if entry.split == name]


def divided(catalog: Catalog, readings: Sequence[tuple[Catalog, bool]], *, seed: int) -> Field:
    """Take out the pictures that will be tested on, and divide the others.

    Args:
        catalog: all pictures, copies in one group each.
        readings: the catalog as each of the recipes would see it in a training, and whether that is a transfer: what
            any of them tests on is taken out.
        seed: of the splits, that of the training to come.

    Raises:
        InputError: there are too few pictures.
    """
    tested: set[str] = set()
    for each, is_transfer in readings:
        test = looking.sides_of(each, seed).test if is_transfer else splits.assign(each.entries, seed=seed).test
        tested |= {each.entries[i].content for i in test}
    named = splits.groups(catalog.entries)
    groups = {group for entry, group in zip(catalog.entries, named, strict=True) if entry.content in tested}
    kept = [i for i, group in enumerate(named) if group not in groups]
    entries = [catalog.entries[i] for i in kept]
    n = len(entries)
    share = min(max(JUDGES / max(n, 1), SHARE), MOST_SHARE)
    assigned = splits.assign(entries, seed=seed, validation_fraction=share, test_fraction=0.0)
    side = dict.fromkeys(assigned.train, "train") | dict.fromkeys(assigned.validation, "validation")
    used = tuple(dataclasses.replace(entries[i], split=side[i]) for i in sorted(side))
    for name in catalog.classes:
        mine = {entry.split for entry in used if entry.label == name}
        if "train" not in mine:
            raise InputError(
                f"Every class must have a picture to learn from beside those for the test; class "
                f"'{catalogs.shown(name)}' has none. Add pictures that are not copies of each other."
            )
    field = Field(dataclasses.replace(catalog, entries=used), len(catalog.entries) - n)
    if len(field.validation) < FEWEST:
        raise InputError(
            f"Tuning must have {FEWEST} validation pictures at least, or no recipe can be told from another; there are "
            f"{len(field.validation)} of {counted(n, 'picture')}. Add pictures, or take tellapart train."
        )
    return field


def tried(
    field: Field, recipe: Recipe | Transfer, *, seed: int, cache: Path, progress: Progress, watch: Watch
) -> Judged:
    """Learn from the training pictures as a recipe has it, and answer the validation pictures.

    Raises:
        TellapartError: the recipe cannot be carried out, or its weights grew beyond all numbers.
        KeyboardInterrupt: Ctrl-C.
    """
    if isinstance(recipe, Transfer):
        return _transfer(field, recipe, seed=seed, cache=cache, progress=progress, watch=watch)
    return _scratch(field, recipe, seed=seed, cache=cache, progress=progress, watch=watch)


def _transfer(field: Field, recipe: Transfer, *, seed: int, cache: Path, progress: Progress, watch: Watch) -> Judged:
    catalog, network = field.catalog, networks.find(recipe.backbone, recipe.size_px)
    look = looking.Looker(catalog, features.Extractor(network, cache), progress)
    order = looking.by_turns(catalog, field.train, seed)
    used, fitted, rounds = sampling.in_rounds(catalog, recipe, order, look, seed=seed)
    asked = field.validation
    read = look.at(asked, "validation")
    _check_read(read)
    logits = heads.logits(fitted.head, look.features(read))
    detail: dict[str, Any] = {"strength": fitted.strength, "pictures": len(used)}
    installed = BACKBONES.get(network.name)
    good = rounds[-1]["val_accuracy"] >= finetune.GOOD and recipe.fine_tune == "auto"
    if installed is not None and recipe.fine_tune != "never" and not good:
        require_keras()
        tuned = finetune.run(
            transfer.job_of(used, [], read, fitted, look, seed=seed),  # who judges an epoch is not who judges a recipe
            installed,
            Preprocess(recipe.size_px),
            look.extractor,
            wish=recipe.fine_tune,
            seed=seed,
            cache=cache,
            progress=progress.update,
            rate=recipe.fine_tune_rate,
            watch=watch,
        )
        if tuned.interrupted:
            raise KeyboardInterrupt
        if tuned.tensors is not None and tuned.head is not None:
            detail["fine_tuned"] = True
            logits = _of_tuned(recipe, tuned, look, read, progress)
    # Fine-tuning makes a training dearer, not an answer.
    cost = (megamacs(recipe, len(catalog.classes)), float(bool(detail.get("fine_tuned"))))
    return _judged(field, asked, read, logits, cost, detail)


def _of_tuned(
    recipe: Transfer, tuned: finetune.Outcome, look: looking.Looker, read: list[int], progress: Progress
) -> np.ndarray:
    """What a network with a trained top says of pictures: logits."""
    from tellapart import backbones

    assert tuned.head is not None  # it was trained
    graph = backbones.graph(backbones.known(recipe.backbone), recipe.size_px, tuned.head, tensors=tuned.tensors)
    way = look.extractor.way
    assert way is not None  # pictures were looked at
    told = graphanswers.quickly(
        graph, way, Preprocess(recipe.size_px), look.files(read), lambda n, of: progress.update("Evaluating", n, of)
    )
    if told.lost:  # trials are compared picture by picture
        first = min(told.lost)
        raise graphanswers.moved(look.files([read[first]])[0][0], told.lost[first])
    return told.logits


def _scratch(field: Field, recipe: Recipe, *, seed: int, cache: Path, progress: Progress, watch: Watch) -> Judged:
    keras = require_keras()
    prepared = pipeline.prepare(field.catalog, recipe, seed=seed, cache=cache, progress=progress, tested=False)
    _check_read(prepared.sides["validation"])
    try:
        outcome = pipeline.learn(
            prepared,
            recipe,
            own=None,
            keep_optimizer=False,
            seed=seed,
            cache=cache,
            callbacks=[_watching(watch, recipe.epochs)],
            progress=progress,
        )
        if outcome.interrupted:
            raise KeyboardInterrupt
        rows = prepared.rows(prepared.seen, "validation")
        pixels, told = np.asarray(prepared.seen.values), []
        for start in range(0, len(rows), AT_ONCE):
            told.append(np.asarray(outcome.model.predict_on_batch(pixels[rows[start : start + AT_ONCE]])))
            progress.update("Evaluating", min(start + AT_ONCE, len(rows)), len(rows))
        logits = np.concatenate(told)
    finally:
        prepared.varied.rest()
        prepared.seen.rest()
        keras.backend.clear_session()
        gc.collect()  # Keras models are full of cycles
    place = {entry.path: i for i, entry in enumerate(field.catalog.entries)}
    read = [place[path] for path in prepared.paths("validation")]
    detail = {"best_epoch": outcome.best_epoch, "epochs": len(outcome.history)}
    cost = (megamacs(recipe, len(field.catalog.classes)), recipe.full_epochs())
    return _judged(field, field.validation, read, logits, cost, detail)


def _watching(watch: Watch, epochs: int) -> keras.callbacks.Callback:
    """What Keras calls after each epoch."""
    import keras

    class Watching(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            watch((epoch + 1) / epochs, float(logs["val_accuracy"]), float(logs["val_loss"]))

    return Watching()


def _check_read(read: Sequence[int] | np.ndarray) -> None:
    if not len(read):
        raise InputError("Validation pictures must be readable; none is. Look at tellapart check.")


def _judged(
    field: Field,
    asked: Sequence[int],
    read: Sequence[int],
    logits: np.ndarray,
    cost: tuple[float, ...],
    detail: dict[str, Any],
) -> Judged:
    """Logits, (len(read), C), as what they are worth."""
    classes = {name: i for i, name in enumerate(field.catalog.classes)}
    labels = np.array([classes[field.catalog.entries[i].label] for i in read], np.int64)
    answers = np.full(len(asked), picking.UNREAD, np.uint8)
    place = {i: at for at, i in enumerate(asked)}
    where = np.array([place[i] for i in read], np.int64)
    answers[where] = np.where(logits.argmax(axis=1) == labels, picking.RIGHT, picking.WRONG)
    hot = calibration.temperature(logits, labels)
    return Judged(answers, metrics.log_loss(metrics.softmax(logits, hot), labels), cost, detail)
