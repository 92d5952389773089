"""Losses, labels, rates."""

import keras
import numpy as np
import pytest
from keras import layers

from tellapart import config, models, objectives

RECIPE = config.TUTORIAL.override(size_px=32, channels=(4,), dense=(4,))


def head(units: int, activation: str | None) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(units, activation=activation)])


@pytest.mark.parametrize(
    ("units", "activation", "mode", "loss", "from_logits"),
    [
        (1, "sigmoid", "binary", "BinaryCrossentropy", False),
        (1, None, "binary", "BinaryCrossentropy", True),
        (3, "softmax", "one_hot", "CategoricalCrossentropy", False),
        (3, None, "one_hot", "CategoricalCrossentropy", True),
    ],
)
def test_the_loss_fits_the_last_layer(units, activation, mode, loss, from_logits) -> None:
    model = head(units, activation)
    objectives.compile_model(model, RECIPE, steps_per_epoch=4)
    assert objectives.label_mode(model) == mode
    assert type(model.loss).__name__ == loss
    assert model.loss.get_config()["from_logits"] is from_logits


def test_accuracy_of_one_logit_is_counted_at_zero() -> None:
    model = keras.Sequential([keras.Input((1, 1, 3)), layers.Flatten(), layers.Dense(1, kernel_initializer="ones")])
    objectives.compile_model(model, RECIPE, steps_per_epoch=1)
    pixels = np.array([[0.1, 0.1, 0.1], [-0.1, 0.0, 0.0]]).reshape(2, 1, 1, 3)  # logits 0.3 and -0.1
    assert model.evaluate(pixels, np.array([[1.0], [0.0]]), verbose=0, return_dict=True)["accuracy"] == 1.0


def test_the_tutorials_optimizer() -> None:
    model = models.build(RECIPE, 2)
    objectives.compile_model(model, RECIPE, steps_per_epoch=4)
    assert isinstance(model.optimizer, keras.optimizers.Adadelta)
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == 1.0


def test_one_cycle_rises_to_its_highest_rate_and_falls_to_almost_nothing() -> None:
    rate = objectives.OneCycle(0.2, 100)
    at = {step: float(keras.ops.convert_to_numpy(rate(step))) for step in (0, 25, 62, 100)}
    assert at[0] == pytest.approx(0.2 * 0.1)
    assert at[25] == pytest.approx(0.2)
    assert at[62] == pytest.approx(0.2 * (0.001 + 0.999 * (1 + np.cos(np.pi * 37 / 75)) / 2), rel=1e-5)
    assert at[100] == pytest.approx(0.2 * 0.001, rel=1e-3)
    again = objectives.OneCycle.from_config(rate.get_config())
    assert float(keras.ops.convert_to_numpy(again(25))) == pytest.approx(0.2)


def test_weight_decay_spares_biases_and_batch_normalisation() -> None:
    model = models.build(config.SCRATCH.override(size_px=32, channels=(4,)), 2)
    objectives.compile_model(model, config.SCRATCH, steps_per_epoch=4)
    model.optimizer.build(model.trainable_variables)
    decayed = {v.path for v in model.trainable_variables if model.optimizer._use_weight_decay(v)}
    assert decayed == {v.path for v in model.trainable_variables if v.name == "kernel"}
    assert len(decayed) < len(model.trainable_variables)


@pytest.mark.parametrize("name", config.OPTIMIZERS)
def test_every_optimizer_learns_a_constant(name: str) -> None:
    recipe = RECIPE.override(optimizer=name, learning_rate=0.1, schedule="constant")
    model = head(2, None)
    objectives.compile_model(model, recipe, steps_per_epoch=1)
    pixels, labels = np.ones((4, 8, 8, 3), "float32"), np.eye(2, dtype="float32")[[0, 0, 0, 0]]
    losses = model.fit(pixels, labels, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_an_optimizer_of_the_users_own_is_kept() -> None:
    model, own = head(2, None), keras.optimizers.Lion(0.003)
    objectives.compile_model(model, RECIPE, steps_per_epoch=1, optimizer=own)
    assert model.optimizer is own
