"""Some training pictures as the network will see them, before anything is trained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart import decoders, splits
from tellapart.augment import permutation, vary
from tellapart.catalog import Catalog, Entry
from tellapart.config import Recipe
from tellapart.errors import InputError, PictureError
from tellapart.files import shown
from tellapart.preprocess import Preprocess

PICTURES, EPOCHS = 8, 7  # shown


@dataclass(frozen=True, slots=True, eq=False)
class Varied:
    """One training picture."""

    path: str
    label: str
    index: int  # its place among the training pictures
    used: np.ndarray  # uint8 (S, S, 3), RGB: as it is seen by the network in use
    varied: np.ndarray  # uint8 (E, S, S, 3): as it is seen in training, epochs 0 to E - 1


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """Training pictures and what a recipe makes of them."""

    recipe: Recipe
    seed: int
    pictures: tuple[Varied, ...]  # sorted by class

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the pixels."""
        return {
            "recipe": self.recipe.as_dict(),
            "seed": self.seed,
            "pictures": [{"path": each.path, "label": each.label, "index": each.index} for each in self.pictures],
        }


def preview(
    catalog: Catalog, recipe: Recipe, *, seed: int, n_pictures: int = PICTURES, n_epochs: int = EPOCHS
) -> Preview:
    """Vary some pictures as a training with this recipe and seed would, epoch by epoch.

    The classes take turns, and where there are more classes than pictures, classes spread over all of them. A class's
    pictures come in the order in which the first epoch of training takes them. Where every picture can be read, these
    are pixel by pixel the pictures that training will see; a picture that cannot is passed over here, and left out of
    the training, which then counts its pictures anew and draws other variants of the same kind.

    Args:
        catalog: the pictures; only a few of them are opened.
        recipe: its sizes and its policy.
        seed: decides the split, which pictures are shown, and what happens to them.
        n_pictures, n_epochs: >= 1.

    Raises:
        InputError: not one of the training pictures can be read.
    """
    train = splits.assign(catalog.entries, seed=seed).train
    queues: dict[str, list[int]] = defaultdict(list)
    for index in permutation(len(train), seed=seed, epoch=0).tolist():
        queues[catalog.entries[train[index]].label].append(index)
    labels = sorted(queues)
    if len(labels) > n_pictures:
        labels = [labels[round(i * (len(labels) - 1) / max(n_pictures - 1, 1))] for i in range(n_pictures)]
    found: list[Varied] = []
    reason = ""
    for index in _in_turn([queues[label] for label in labels]):
        if len(found) == n_pictures:
            break
        try:
            found.append(_varied(catalog.entries[train[index]], index, recipe, seed, n_epochs))
        except PictureError as error:
            reason = f", e.g. {shown(catalog.entries[train[index]].path)}: {error.reason}"
    if not found:
        raise InputError(f"None of the training pictures could be read{reason}. Give pictures that open.")
    return Preview(recipe, seed, tuple(sorted(found, key=lambda each: each.label)))


def _in_turn(queues: list[list[int]]) -> Iterator[int]:
    """The first of each queue, then the second of each, and so on."""
    for place in range(max(map(len, queues), default=0)):
        yield from (queue[place] for queue in queues if place < len(queue))


def _varied(entry: Entry, index: int, recipe: Recipe, seed: int, n_epochs: int) -> Varied:
    stored = decoders.square(entry.path, Preprocess(recipe.store_px))[None]
    epochs = [
        vary(stored, recipe.policy, seed=seed, epoch=epoch, indices=np.array([index]), out_px=recipe.size_px)
        for epoch in range(n_epochs)
    ]
    return Varied(
        entry.path, entry.label, index, decoders.square(entry.path, Preprocess(recipe.size_px)), np.concatenate(epochs)
    )
