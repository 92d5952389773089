"""What a network is trained towards: the loss that fits its last layer, the optimizer, the schedule of its rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tellapart import graphs, kernels
from tellapart.config import Recipe

WARM_UP = 0.25  # share of the steps in which one cycle's rate rises
FIRST_RATE, LAST_RATE = 0.1, 0.001  # of one cycle, as shares of its highest rate


@keras.saving.register_keras_serializable("tellapart")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises along a half cosine, then falls along another to almost nothing (Smith 2018)."""

    def __init__(self, highest: float, n_steps: int) -> None:
        super().__init__()
        self.highest, self.n_steps = highest, n_steps

    def __call__(self, step):
        done = ops.cast(step, "float32") / max(self.n_steps, 1)
        rising = FIRST_RATE + (1 - FIRST_RATE) * (1 - ops.cos(math.pi * done / WARM_UP)) / 2
        falling = LAST_RATE + (1 - LAST_RATE) * (1 + ops.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2
        return self.highest * ops.where(done < WARM_UP, rising, falling)

    def get_config(self) -> dict[str, float]:
        return {"highest": self.highest, "n_steps": self.n_steps}


@keras.saving.register_keras_serializable("tellapart")
class Layered(keras.optimizers.AdamW):
    """AdamW whose rate differs from variable to variable: `factors` are in the order of the trainable variables."""

    def __init__(self, learning_rate: Any, factors: Sequence[float], **settings: Any) -> None:
        super().__init__(learning_rate, **settings)
        self.factors = list(factors)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable in place."""
        super().update_step(gradient, variable, learning_rate * self.factors[self._get_variable_index(variable)])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factors": self.factors}


def label_mode(model: keras.Model) -> str:
    """How `model` wants its labels: "binary" for one unit, "one_hot" otherwise."""
    return "binary" if graphs.last_dense(model).units == 1 else "one_hot"


def compile_model(
    model: keras.Model,
    recipe: Recipe,
    *,
    steps_per_epoch: int,
    steps_per_execution: int = 1,
    optimizer: keras.optimizers.Optimizer | None = None,
) -> None:
    """Give `model` its optimizer (the recipe's, unless given), the loss that fits its last layer, and accuracy."""
    from_logits = graphs.ends_in_logits(model)
    if label_mode(model) == "binary":
        loss = keras.losses.BinaryCrossentropy(from_logits=from_logits, label_smoothing=recipe.label_smoothing)
        accuracy = keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0 if from_logits else 0.5)
    else:
        loss = keras.losses.CategoricalCrossentropy(from_logits=from_logits, label_smoothing=recipe.label_smoothing)
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    chosen = optimizer or _optimizer(recipe, steps_per_epoch)
    model.compile(chosen, loss, metrics=[accuracy], steps_per_execution=min(steps_per_execution, steps_per_epoch))


def _optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    rate: Any = recipe.learning_rate  # Keras declares a float and takes a schedule as well
    if recipe.schedule == "one_cycle":
        rate = OneCycle(rate, recipe.epochs * steps_per_epoch)
    decay = recipe.weight_decay or None
    made = {
        "adadelta": lambda: kernels.adadelta(rate, decay),
        "adam": lambda: keras.optimizers.Adam(rate, weight_decay=decay),
        "adamw": lambda: keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay),
        "rmsprop": lambda: keras.optimizers.RMSprop(rate, weight_decay=decay),
        "sgd": lambda: kernels.sgd(rate, decay),
    }[recipe.optimizer]()
    if decay:
        made.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return made
