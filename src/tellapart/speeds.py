"""How fast a network trains on this machine, and in which number format it trains fastest.

bfloat16 halves the bytes and on some processors doubles the products, on others it crawls; so the format is
measured, network by network, and the choice is kept in the cache folder: a repeated run trains in the same format.
"""

from __future__ import annotations

import gc
import statistics
import time
from pathlib import Path

import keras
import numpy as np

from tellapart import choices, models, objectives
from tellapart.config import Recipe

ROUND_S, ROUNDS = 0.2, 4  # one look at the speed, and how many of them are taken
WORTH_S = 15.0  # a training shorter than this is not worth measuring two formats for
FEW = 16  # pictures a step when two formats are compared: enough for their ratio, and a quarter of the memory
FORMATS = ("float32", "mixed_bfloat16")
GAIN = 1.1  # bfloat16 rounds more: it has to be this much faster to be taken


class _Steps:
    """Training steps of the recipe's network on noise, without the data's way."""

    def __init__(self, recipe: Recipe, n_classes: int, precision: str) -> None:
        self._model = models.build(recipe, n_classes, dtype=precision)
        objectives.compile_model(self._model, recipe, steps_per_epoch=1)
        rng = np.random.default_rng(0)
        side = recipe.size_px
        self._pixels = rng.integers(0, 256, (recipe.batch_size, side, side, 3), dtype=np.uint8)
        classes = rng.integers(0, n_classes, recipe.batch_size)
        binary = objectives.label_mode(self._model) == "binary"
        self._labels = (classes[:, None] if binary else np.eye(n_classes)[classes]).astype(np.float32)
        self._model.train_on_batch(self._pixels, self._labels)  # builds the graph

    def speed(self) -> float:
        """Pictures a second, over a moment."""
        n, start = 0, time.perf_counter()
        while n == 0 or time.perf_counter() - start < ROUND_S:
            self._model.train_on_batch(self._pixels, self._labels)
            n += len(self._pixels)
        return n / (time.perf_counter() - start)


def pictures_per_second(recipe: Recipe, n_classes: int, precision: str) -> float:
    """Training speed of the recipe's network on noise, without the data's way, pictures/s."""
    steps = _Steps(recipe, n_classes, precision)
    return statistics.median(steps.speed() for _ in range(ROUNDS))


def choose_precision(recipe: Recipe, n_classes: int, n_pictures: int, cache: Path, *, keep: bool = True) -> str:
    """The number format to train in: the recipe's, or where that is "auto", the one that is faster here.

    With `keep` the choice is written to `cache`/choices.json; it is read from there the next time.
    """
    if recipe.precision != "auto":
        return recipe.precision
    network = (recipe.network, recipe.size_px, recipe.channels, recipe.dense, n_classes > 2)
    training = (recipe.batch_size, recipe.optimizer, n_pictures * recipe.full_epochs())
    key = choices.key("precision", keras.backend.backend(), keras.__version__, network, training)

    def measure() -> str:
        chosen = _faster(recipe, n_classes, n_pictures)
        gc.collect()  # Keras models are full of cycles; the training to come needs their memory
        return chosen

    about = f"precision of {recipe.network} at {recipe.size_px} px"
    return choices.chosen(about, key, cache, FORMATS.__contains__, measure, keep=keep)


def _faster(recipe: Recipe, n_classes: int, n_pictures: int) -> str:
    """The number format in which the network trains faster; float32 where the training is too short to care."""
    few = recipe.override(batch_size=min(recipe.batch_size, FEW))
    plain = _Steps(few, n_classes, "float32")
    if n_pictures * recipe.full_epochs() / plain.speed() < WORTH_S:
        return "float32"
    mixed = _Steps(few, n_classes, "mixed_bfloat16")
    # In turn: what else the machine does then slows both alike.
    gain = statistics.median(mixed.speed() / plain.speed() for _ in range(ROUNDS))
    return "mixed_bfloat16" if gain > GAIN else "float32"
