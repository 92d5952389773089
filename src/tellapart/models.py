"""A recipe to a Keras model of standard layers: pixels, uint8 range (B, S, S, 3), to answers.

Scaling is inside the model, so that no user can forget it. The networks end as their users expect
them to: `tutorial` in probabilities, as the tutorial has it, `residual` in logits (B, C).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import keras
from keras import layers

from tellapart import kernels
from tellapart.config import Recipe
from tellapart.errors import SettingsError

SMALLEST_PX = 32  # below, four halvings leave nothing to look at
# What the last layer of `residual` sees is scaled by this. Its features are positive, some hundreds of them, so that
# their common part would make the answers swing at the rates that suit the convolutions.
FEATURE_SCALE = 1 / 8


def build(recipe: Recipe, n_classes: int, *, dtype: str = "float32") -> keras.Model:
    """The network of `recipe` for `n_classes` (2 or more), freshly initialised from Keras' global seed.

    `dtype` is a Keras policy, "float32" or "mixed_bfloat16". The answers are float32 in both.
    """
    policy = keras.dtype_policies.get(dtype)
    if recipe.network == "tutorial":
        return tutorial(recipe, n_classes, policy)
    return residual(recipe, n_classes, policy)


def tutorial(recipe: Recipe, n_classes: int, policy: keras.DTypePolicy) -> keras.Model:
    """The tutorial's CNN: convolutions 3×3 with max-pooling, dense layers, dropout, one sigmoid.

    Output: float32 (B, 1), the probability of the second class, or (B, C) where there are more than two.

    Raises:
        SettingsError: the pictures are too small for that many convolutions.
    """
    side = recipe.size_px
    for _ in recipe.channels:
        side = (side - 2) // 2
    if side < 1:
        raise SettingsError(
            f"--size must leave room for {len(recipe.channels)} convolutions with pooling; "
            f"got {recipe.size_px} px. Take fewer convolutions or a larger --size."
        )
    new = _Layers(policy)
    model = keras.Sequential(name="tutorial")
    model.add(keras.Input((recipe.size_px, recipe.size_px, 3), dtype="uint8", name="pixels"))
    model.add(new(layers.Rescaling, 1 / 255))
    for filters in recipe.channels:
        model.add(new(layers.Conv2D, filters, 3, activation="relu"))
        model.add(new(layers.MaxPooling2D, 2))
    model.add(new(layers.Flatten))
    for units in recipe.dense:
        model.add(new(layers.Dense, units, activation="relu"))
    model.add(new(layers.Dropout, recipe.dropout))
    if n_classes == 2:
        model.add(layers.Dense(1, activation="sigmoid", dtype="float32", name="answer"))
    else:
        model.add(layers.Dense(n_classes, activation="softmax", dtype="float32", name="answer"))
    return model


def residual(recipe: Recipe, n_classes: int, policy: keras.DTypePolicy) -> keras.Model:
    """A small residual network (He et al. 2015), with a stage for each entry of `recipe.channels`.

    A stage is a convolution, max-pooling that halves the picture, and a second convolution whose result is added to
    what it was made of. Then come global average pooling, scaling, dropout and one dense layer.
    Output: logits, float32 (B, C).

    Measured on 4,500 photos of cats and dogs, for the same CPU time: convolutions with a stride in place of the
    pooling, two of them and a shortcut to a stage, are three points less accurate; a stem with a stride three more.
    """
    new = _Layers(policy)
    pixels = keras.Input((recipe.size_px, recipe.size_px, 3), dtype="uint8", name="pixels")
    x = new(layers.Rescaling, 1 / 64, offset=-127.5 / 64)(pixels)  # about zero mean, unit variance
    for filters in recipe.channels:
        x = _convolution(x, filters, new)
        x = new(layers.MaxPooling2D, 2, padding="same")(x)  # at once: what follows has a quarter of the work
        x = new(layers.ReLU)(_norm(x, new))
        change = _norm(_convolution(x, filters, new), new)
        x = new(layers.ReLU)(new(layers.Add)([x, change]))
    x = new(layers.GlobalAveragePooling2D)(x)
    x = new(layers.Rescaling, FEATURE_SCALE)(x)
    x = new(layers.Dropout, recipe.dropout)(x)
    logits = layers.Dense(n_classes, dtype="float32", name="answer")(x)
    return keras.Model(pixels, logits, name="residual")


class _Layers:
    """Layers of one policy, named by their kind and counted from the start.

    Keras counts on for as long as a process lives, and names stand in the file: the second network of a process would
    be saved in other bytes than the first.
    """

    def __init__(self, policy: keras.DTypePolicy) -> None:
        self._policy, self._counts = policy, Counter[str]()

    def __call__(self, kind: Any, *values: Any, **settings: Any) -> Any:
        name = kind.__name__
        n = self._counts[name]
        self._counts[name] += 1
        called = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", name).lower()
        return kind(*values, dtype=self._policy, name=f"{called}_{n}" if n else called, **settings)


def _convolution(x: Any, filters: int, new: _Layers) -> Any:
    return new(layers.Conv2D, filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)


def _norm(x: Any, new: _Layers) -> Any:
    # A short training sees few steps: Keras' momentum of 0.99 would still remember the first ones.
    return new(kernels.BatchNormalization, momentum=0.9, epsilon=1e-5)(x)
