"""One training, of either kind, from a catalog and a choice of recipe to what was learned."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart import catalog as catalogs
from tellapart import choices, divisions, guards, judgement, networks, pipeline, plans, slices, traits, transfer
from tellapart.attempts import Attempt
from tellapart.bundle import Bundle
from tellapart.classifier import Reading, require_keras
from tellapart.config import TRANSFER, Recipe, Transfer
from tellapart.errors import SettingsError
from tellapart.evaluation import CROSS_VALIDATION, Evaluation
from tellapart.progress import Progress

if TYPE_CHECKING:
    import keras


EPOCHS_IN_TIME = f"{choices.IN_TIME}: epochs from scratch"  # what `choices` calls them


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
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
        best = (CROSS_VALIDATION, "test", "validation")
        return next(self.evaluations[side] for side in best if side in self.evaluations)

    def judged_by(self, evaluation: Evaluation) -> Learned:
        """The same with a cross-validation, which the bundle records too."""
        metrics = {**self.bundle.manifest["metrics"], CROSS_VALIDATION: evaluation.record()}
        bundle = dataclasses.replace(self.bundle, manifest={**self.bundle.manifest, "metrics": metrics})
        return dataclasses.replace(self, bundle=bundle, evaluations={**self.evaluations, CROSS_VALIDATION: evaluation})

    def told(self, **depends: Any) -> Learned:
        """The same, its bundle telling what else it depends on: entries of the manifest's `provenance`."""
        source = {**self.bundle.manifest["provenance"], **depends}
        bundle = dataclasses.replace(self.bundle, manifest={**self.bundle.manifest, "provenance": source})
        return dataclasses.replace(self, bundle=bundle)

    def aimed(self, targets: guards.Targets, said: Progress) -> Learned:
        """With the targets that the user stated; as it is where they cannot be met, which is no reason to lose it."""
        try:
            bundle, evaluations = judgement.aimed(self.bundle, self.evaluations, targets)
        except SettingsError as error:
            said.note(f"It answers whatever looks like one of the classes, since {error}")
            return self
        return dataclasses.replace(self, bundle=bundle, evaluations=evaluations)


def in_time(
    catalog: catalogs.Catalog, choice: plans.Choice, *, seed: int, cache: Path, deadline: float
) -> plans.Choice:
    """The one way that a budget is spent on: from scratch where that has time for a few epochs, else pretrained."""
    assert isinstance(choice.recipe, Recipe)
    assert choice.rival is not None
    require_keras()
    recipe_of_its_own = choice.recipe

    def measured() -> str:
        epochs = pipeline.epochs_until(catalog, recipe_of_its_own, seed=seed, cache=cache, deadline=deadline)
        return f"{epochs:.1f}"

    # Kept to by a run that is gone on with, which has less time left: what it began is not to become something else.
    epochs = float(choices.chosen(EPOCHS_IN_TIME, None, cache, _is_number, measured))
    if epochs >= plans.FEWEST_IN_TIME:
        return dataclasses.replace(choice, rival=None)
    recipe = dataclasses.replace(choice.rival, most=0)
    reason = (
        f"A classifier on what a pretrained {recipe.backbone} sees at {recipe.size_px} px: in the time there is, "
        f"a network from scratch would see each picture {max(epochs, 0):.1f} times."
    )
    return plans.Choice(recipe, reason, network=networks.find(recipe.backbone, recipe.size_px))


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d{1,6}\.\d", text) is not None


def rival(
    catalog: catalogs.Catalog, choice: plans.Choice, *, seed: int, cache: Path, times: dict[str, float], said: Progress
) -> float | None:
    """The share of held-out pictures that a pretrained network gets right after a look at some; None if not asked."""
    if choice.rival is None:
        return None
    with timed(times, "compare"), choices.noted():  # apart: it is no part of what is made
        result = transfer.run(catalog, choice.rival, seed=seed, cache=cache, progress=said)
    judged = result.evaluations.get("validation") or result.evaluations[CROSS_VALIDATION]
    return judged.accuracy


def better(
    learned: Learned,
    rival: float,
    catalog: catalogs.Catalog,
    *,
    seed: int,
    cache: Path,
    said: Progress,
    k_fold: int | None = None,
    attempt: Attempt | None = None,
) -> Learned:
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
    choices.afresh()
    result = transfer.run(catalog, TRANSFER, seed=seed, cache=cache, progress=said, k_fold=k_fold, attempt=attempt)
    reason = f"{result.reason} From scratch {own:.1%} of the validation pictures were right."
    said.note(reason)
    return Learned(result.bundle, result.evaluations, TRANSFER, reason, result.counts, result.record)


def train_network(
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
    attempt: Attempt | None = None,
) -> Learned:
    """Decode, train a whole network in Keras, ask its graph about every side."""
    recipe = choice.recipe
    assert isinstance(recipe, Recipe)
    with timed(times, "start"):
        require_keras()
    with timed(times, "decode"):
        prepared = pipeline.prepare(catalog, recipe, seed=seed, cache=cache, progress=said)
    reason, end = choice.reason, None if deadline is None else deadline - pipeline.END_S
    in_time = deadline is not None or choices.given(pipeline.IN_TIME) is not None
    if in_time and own is None:
        with timed(times, "plan"):
            pace = pipeline.paced(prepared, recipe, seed=seed, cache=cache, deadline=deadline, most_epochs=most_epochs)
        prepared, recipe, end = pace.prepared, pace.recipe, pace.end
        said.note(f"In the time there is: {pace}.")
        reason = f"{reason} In the time there was: {pace}."
    with timed(times, "train"):
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
            keeper=None if attempt is None else attempt.keeper("network"),
        )
    with timed(times, "evaluate"):
        bundle, evaluations = pipeline.pack(outcome, prepared, recipe, seed=seed, progress=said)
    return Learned(
        bundle, evaluations, recipe, reason, prepared.counts(), outcome.as_dict() | {"unused": prepared.n_unused}
    )


def sliced(evaluation: Evaluation, catalog: catalogs.Catalog, reading: Reading, cache: Path | None) -> Evaluation:
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


@contextmanager
def timed(times: dict[str, float], name: str) -> Iterator[None]:
    """Put the seconds that a stage takes into `times`."""
    start = time.perf_counter()
    yield
    times[name] = round(time.perf_counter() - start, 3)
