"""Every picture answered by a network that has not learned from it: as many trainings as folds.

Heads on frozen features are cross-validated in `transfer`, where their features are.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np

from tellapart import catalog as catalogs
from tellapart import head as heads
from tellapart import pipeline, splits
from tellapart.attempts import Attempt
from tellapart.checkpoints import Checkpoint
from tellapart.config import Recipe
from tellapart.errors import InputError, SettingsError
from tellapart.evaluation import CROSS_VALIDATION, Evaluation
from tellapart.files import shown
from tellapart.plans import Settings
from tellapart.progress import Progress
from tellapart.transfer import ALONE

FEWEST, MOST = 2, 20  # folds


def check(k_fold: int, catalog: catalogs.Catalog) -> None:
    """Raise SettingsError where the number of folds is out of range, InputError where the folder has splits."""
    if isinstance(k_fold, bool) or not isinstance(k_fold, int) or not FEWEST <= k_fold <= MOST:
        raise SettingsError(f"--k-fold must be a whole number from {FEWEST} to {MOST}; got {k_fold}. Try --k-fold 5.")
    there = [name for name in catalogs.SPLITS if any(entry.split == name for entry in catalog.entries)]
    if there:
        raise InputError(
            f"--k-fold needs a folder without splits, since it holds out every picture in its turn; "
            f"{shown(catalog.root)} has {', '.join(there)}. Leave --k-fold out, or give a folder of class folders."
        )


def check_alone(model: object, budget: str | float | None, settings: Settings) -> None:
    """Raise SettingsError for what goes with no cross-validation."""
    odd = {"a network of your own": model, "--budget": budget, "--fine-tune": settings.get("fine_tune") or None}
    for name, value in odd.items():
        if value is not None:
            raise SettingsError(
                f"--k-fold trains anew for each fold and cannot go with {name}; got both. Leave one of them out."
            )


def run(
    catalog: catalogs.Catalog,
    recipe: Recipe,
    k_fold: int,
    *,
    seed: int,
    cache: Path,
    progress: Progress,
    attempt: Attempt | None = None,
) -> Evaluation | None:
    """Train a network for each fold, by the recipe, on the other folds; None where the user stopped it.

    Pictures of one group, copies among them, are held out together. Of the pictures that a network may learn from a
    tenth is its validation, as in every training. With an `attempt` a fold that is through is not trained again.
    """
    prepared = pipeline.prepare(catalog, recipe, seed=seed, cache=cache, progress=progress)
    entries, labels = prepared.catalog.entries, prepared.labels
    groups = np.unique(splits.groups(entries), return_inverse=True)[1]
    answers: list[np.ndarray] = []
    held_out: list[np.ndarray] = []
    for i, (inside, outside) in enumerate(heads.folds(labels, groups, seed, single=False, n_folds=k_fold)):
        shape = (len(outside), len(prepared.catalog.classes))
        told = None if attempt is None else attempt.keeper(f"fold-{i + 1}-answers")
        known = None if told is None else told.newest(8 * shape[0] * shape[1], functools.partial(_misfit, shape))
        held_out.append(outside)
        if known is not None:
            progress.note(f"Fold {i + 1} of {k_fold} was through.")
            answers.append(known.arrays["answers"])
            continue
        progress.note(f"Fold {i + 1} of {k_fold}.")
        part = splits.assign([entries[at] for at in inside], seed=seed, test_fraction=0.0)
        sides = {"train": inside[list(part.train)], "validation": inside[list(part.validation)], "test": outside}
        fold = dataclasses.replace(prepared, sides=sides)
        outcome = pipeline.learn(
            fold,
            recipe,
            own=None,
            keep_optimizer=False,
            seed=seed,
            cache=cache,
            callbacks=(),
            progress=progress,
            keeper=None if attempt is None else attempt.keeper(f"fold-{i + 1}"),
        )
        if outcome.interrupted:
            return None
        answers.append(pipeline.judged(outcome, fold, progress))
        if told is not None and attempt is not None and told.write(i, {"answers": answers[-1]}, {}):
            attempt.forget(f"fold-{i + 1}")
    every = np.concatenate(held_out)
    alone = sorted(set(range(len(entries))) - set(every.tolist()))
    unused = [
        *((each.path, each.reason) for each in prepared.catalog.skipped),
        *((entries[i].path, ALONE) for i in alone),
    ]
    return Evaluation(
        classes=prepared.catalog.classes,
        probabilities=np.concatenate(answers),
        labels=labels[every],
        paths=tuple(entries[i].path for i in every),
        skipped=tuple(sorted(unused)),
        split=CROSS_VALIDATION,
        notes=catalog.notes,
        folds=np.repeat(np.arange(len(held_out)), [len(outside) for outside in held_out]),
    )


def _misfit(shape: tuple[int, int], checkpoint: Checkpoint) -> str:
    """What is wrong with the kept answers of a fold, as a clause; "" where nothing is."""
    found = checkpoint.arrays.get("answers")
    good = found is not None and found.dtype == np.float64 and found.shape == shape and bool(np.isfinite(found).all())
    return "" if good else "its answers are not those of this fold"
