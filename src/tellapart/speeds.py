"""How fast a network trains on this machine, and in which number format it trains fastest.

bfloat16 halves the bytes and on some processors doubles the products, on others it crawls; so the format is
measured, network by network, and the choice is kept in the cache folder: a repeated run trains in the same format.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from pathlib import Path

import keras
import numpy as np

from tellapart import models, objectives
from tellapart.config import Recipe
from tellapart.outputs import write_text

MEASURED_S = 0.4  # of steps, after the first one, which builds the graph
WORTH_S = 15.0  # a training shorter than this is not worth measuring two formats for
GAIN = 1.1  # bfloat16 rounds more: it has to be this much faster to be taken


def pictures_per_second(recipe: Recipe, n_classes: int, precision: str) -> float:
    """Training speed of the recipe's network on noise, without the data's way, pictures/s."""
    model = models.build(recipe, n_classes, dtype=precision)
    objectives.compile_model(model, recipe, steps_per_epoch=1)
    rng = np.random.default_rng(0)
    side = recipe.size_px
    pixels = rng.integers(0, 256, (recipe.batch_size, side, side, 3), dtype=np.uint8)
    classes = rng.integers(0, n_classes, recipe.batch_size)
    binary = objectives.label_mode(model) == "binary"
    labels = (classes[:, None] if binary else np.eye(n_classes)[classes]).astype(np.float32)
    model.train_on_batch(pixels, labels)
    model.train_on_batch(pixels, labels)
    n, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < MEASURED_S:
        model.train_on_batch(pixels, labels)
        n += recipe.batch_size
    return n / passed


def choose_precision(recipe: Recipe, n_classes: int, n_pictures: int, cache: Path) -> str:
    """The number format to train in: the recipe's, or where that is "auto", the one that is faster here.

    A choice that was measured is written to `cache`/choices.json and read from there the next time.
    """
    if recipe.precision != "auto":
        return recipe.precision
    known = cache / "choices.json"
    choices = _read(known)
    key = _key(recipe, n_classes)
    if choices.get(key) in ("float32", "mixed_bfloat16"):
        return choices[key]
    in_float32 = pictures_per_second(recipe, n_classes, "float32")
    if n_pictures * recipe.epochs / in_float32 < WORTH_S:
        return "float32"
    in_bfloat16 = pictures_per_second(recipe, n_classes, "mixed_bfloat16")
    chosen = "mixed_bfloat16" if in_bfloat16 > GAIN * in_float32 else "float32"
    cache.mkdir(parents=True, exist_ok=True)
    write_text(known, json.dumps({**choices, key: chosen}, indent=1), force=True)
    return chosen


def _read(path: Path) -> dict[str, str]:
    """The choices made before; none where there is no such file or it is damaged: they are measured again."""
    with contextlib.suppress(OSError, ValueError):
        choices = json.loads(path.read_text())
        if isinstance(choices, dict):
            return choices
    return {}


def _key(recipe: Recipe, n_classes: int) -> str:
    """All that the speed of a step hangs on."""
    parts = [recipe.network, recipe.size_px, recipe.channels, recipe.dense, recipe.batch_size, recipe.optimizer,
             n_classes > 2, keras.backend.backend(), keras.__version__, platform.node(), os.cpu_count()]  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
