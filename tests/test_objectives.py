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


def losses(units: int, activation: str | None, logits: list[list[float]], labels: list, **settings) -> list[float]:
    """What a compiled network with these logits has as loss and accuracy."""
    model = head(units, activation)
    objectives.compile_model(model, RECIPE.override(**settings), steps_per_epoch=1)
    flat = 8 * 8 * 3
    kernel = np.zeros((flat, units), "float32")
    kernel[: len(logits)] = logits  # picture i has its i-th number 1 and all others 0
    model.layers[-1].set_weights([kernel, np.zeros(units, "float32")])
    pixels = np.eye(flat, dtype="float32")[: len(logits)].reshape(-1, 8, 8, 3)
    result = model.evaluate(pixels, np.array(labels, "float32"), verbose=0, return_dict=True)
    return [result["loss"], result["accuracy"]]


@pytest.mark.parametrize("activation", [None, "sigmoid"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_one_unit_by_hand(activation: str | None, smoothing: float) -> None:
    """Logits 2 and -1 and 0.5 for labels 1, 0, 0: two of three right."""
    p = 1 / (1 + np.exp(-np.array([2.0, -1.0, 0.5])))
    target = np.array([1, 0, 0]) * (1 - smoothing) + smoothing / 2
    expected = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    loss, accuracy = losses(1, activation, [[2.0], [-1.0], [0.5]], [[1], [0], [0]], label_smoothing=smoothing)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize("activation", [None, "softmax"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_of_three_units_by_hand(activation: str | None, smoothing: float) -> None:
    logits, labels = np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0], [1.0, 0.0, 2.0]]), np.eye(3)[[0, 1, 0]]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    target = labels * (1 - smoothing) + smoothing / 3
    expected = -(target * np.log(p)).sum(axis=1).mean()
    loss, accuracy = losses(3, activation, logits.tolist(), labels.tolist(), label_smoothing=smoothing)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert accuracy == pytest.approx(2 / 3)


def test_a_closing_linear_activation_is_no_probability() -> None:
    """Mixed precision ends in one, to get back to float32: what stands before it are logits."""
    model = keras.Sequential([*head(3, None).layers, layers.Activation("linear", dtype="float32")])
    model.build((None, 8, 8, 3))
    objectives.compile_model(model, RECIPE, steps_per_epoch=1)
    assert model.loss.get_config()["from_logits"] is True


def test_weight_decay_shrinks_kernels_and_nothing_else_by_rate_times_decay() -> None:
    recipe = RECIPE.override(optimizer="sgd", learning_rate=0.5, weight_decay=0.1)
    model = head(2, None)
    objectives.compile_model(model, recipe, steps_per_epoch=1)
    kernel, bias = model.get_weights()
    kernel, bias = np.ones_like(kernel), np.ones_like(bias)
    model.set_weights([kernel, bias])
    zeros = [keras.ops.zeros(variable.shape) for variable in model.trainable_variables]
    model.optimizer.apply(zeros, model.trainable_variables)
    np.testing.assert_allclose(model.get_weights()[0], 1 - 0.5 * 0.1, rtol=1e-6)
    np.testing.assert_array_equal(model.get_weights()[1], 1)


def test_one_cycle_is_as_long_as_the_training() -> None:
    recipe = config.SCRATCH.override(size_px=32, channels=(4,), epochs=5, learning_rate=0.4)
    model = models.build(recipe, 2)
    objectives.compile_model(model, recipe, steps_per_epoch=40)
    rate = model.optimizer._learning_rate
    assert isinstance(rate, objectives.OneCycle)
    assert (rate.highest, rate.n_steps) == (0.4, 200)
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(0.04)  # of the first step
    at = [float(keras.ops.convert_to_numpy(rate(step))) for step in range(201)]
    assert at.index(max(at)) == 50  # a quarter of them
    assert np.all(np.diff(at[:51]) > 0)
    assert np.all(np.diff(at[50:]) < 0)
    assert at[25] == pytest.approx(0.4 * 0.55)  # halfway up: the mean of 0.1 and 1


def test_steps_taken_together_are_never_more_than_an_epoch_has() -> None:
    for steps_per_epoch, together in ((3, 3), (100, 8)):
        model = head(2, None)
        objectives.compile_model(model, RECIPE, steps_per_epoch=steps_per_epoch, steps_per_execution=8)
        assert model.steps_per_execution == together
