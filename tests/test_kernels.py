"""The fused kernels give what Keras' own operations give."""

import keras
import numpy as np
import pytest

from tellapart import kernels


@pytest.mark.parametrize("weight_decay", [None, 0.01])
def test_fused_adadelta_equals_keras_own(weight_decay: float | None) -> None:
    rng = np.random.default_rng(5)
    start = rng.normal(size=(7, 3)).astype("float32")
    gradients = [rng.normal(size=(7, 3)).astype("float32") for _ in range(6)]
    ends = []
    for optimizer in (
        kernels.adadelta(1.0, weight_decay),
        keras.optimizers.Adadelta(1.0, weight_decay=weight_decay),
    ):
        weights = keras.Variable(start.copy(), name="kernel")
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weights])
        ends.append([keras.ops.convert_to_numpy(each) for each in (weights, *optimizer.variables)])
    assert isinstance(kernels.adadelta(1.0), kernels.FusedAdadelta)
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_adadelta_by_hand() -> None:
    """One step of Zeiler's algorithm 1 with rho 0.95, epsilon 1e-7 and a gradient of 2."""
    optimizer = kernels.adadelta(1.0)
    weights = keras.Variable(np.array([10.0], "float32"), name="kernel")
    optimizer.apply([keras.ops.convert_to_tensor(np.array([2.0], "float32"))], [weights])
    mean_square = 0.05 * 2.0**2
    step = np.sqrt(1e-7) / np.sqrt(mean_square + 1e-7) * 2.0
    assert float(keras.ops.convert_to_numpy(weights)[0]) == pytest.approx(10 - step, abs=1e-5)


@pytest.mark.parametrize(("weight_decay", "nesterov"), [(None, True), (0.01, True), (None, False)])
def test_fused_sgd_equals_keras_own(weight_decay: float | None, nesterov: bool) -> None:
    rng = np.random.default_rng(6)
    start = rng.normal(size=(7, 3)).astype("float32")
    gradients = [rng.normal(size=(7, 3)).astype("float32") for _ in range(6)]
    ends = []
    for made in (kernels.FusedSGD, keras.optimizers.SGD):
        optimizer = made(0.1, momentum=0.9, nesterov=nesterov, weight_decay=weight_decay)
        weights = keras.Variable(start.copy(), name="kernel")
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weights])
        ends.append([keras.ops.convert_to_numpy(each) for each in (weights, *optimizer.variables)])
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_sgd_by_hand() -> None:
    """Two steps at rate 0.1 and gradient 1: v = -0.1, then -0.19; each step is 0.9 v - 0.1."""
    optimizer = kernels.sgd(0.1)
    weights = keras.Variable(np.array([1.0], "float32"), name="kernel")
    for _ in range(2):
        optimizer.apply([keras.ops.convert_to_tensor(np.array([1.0], "float32"))], [weights])
    assert isinstance(optimizer, kernels.FusedSGD)
    assert float(keras.ops.convert_to_numpy(weights)[0]) == pytest.approx(1 - 0.19 - 0.271, abs=1e-6)


def test_sgd_without_momentum_is_keras_own() -> None:
    optimizer = kernels.FusedSGD(0.5)
    weights = keras.Variable(np.array([1.0], "float32"), name="kernel")
    optimizer.apply([keras.ops.convert_to_tensor(np.array([1.0], "float32"))], [weights])
    assert float(keras.ops.convert_to_numpy(weights)[0]) == 0.5


def normalised(made: type[keras.Layer], policy: str, shape: tuple[int, ...], **more) -> list[np.ndarray]:
    """What a layer gives for two batches in training: its answers, gradients, moving statistics, then inference."""
    import tensorflow as tf

    rng = np.random.default_rng(3)
    layer = made(momentum=0.9, dtype=policy, **more)
    layer.build(shape)
    layer.set_weights([w + rng.uniform(0.1, 1, w.shape).astype("float32") for w in layer.get_weights()])
    results = []

    @tf.function  # where TensorFlow takes its own kernels for bfloat16
    def step(pictures):
        with tf.GradientTape() as tape:
            tape.watch(pictures)
            answers = layer(pictures, training=True)
            loss = tf.reduce_sum(tf.cast(answers, "float32") ** 3)
        return answers, tape.gradient(loss, [pictures, *(weight.value for weight in layer.trainable_variables)])

    for _ in range(2):
        pictures = tf.cast(rng.normal(2, 3, shape).astype("float32"), layer.compute_dtype)
        answers, gradients = step(pictures)
        results += [answers, *gradients, *layer.non_trainable_variables]
        results.append(layer(pictures, training=False))
    return [np.array(tf.cast(keras.ops.convert_to_tensor(each), "float32")) for each in results]


@pytest.mark.parametrize(
    ("policy", "shape", "more"),
    [
        ("float32", (6, 5, 4, 32), {}),
        ("float32", (3, 1, 1, 7), {"epsilon": 1e-5}),
        ("mixed_bfloat16", (6, 5, 4, 32), {}),
        ("mixed_bfloat16", (8, 4, 4, 16), {"center": False}),  # for this and the next there is no kernel
        ("float32", (8, 16), {}),
    ],
)
def test_batch_normalisation_equals_keras_own(policy: str, shape: tuple[int, ...], more) -> None:
    ours = normalised(kernels.BatchNormalization, policy, shape, **more)
    theirs = normalised(keras.layers.BatchNormalization, policy, shape, **more)
    # bfloat16 keeps 8 bits: a result may be rounded the other way.
    relative = 1e-5 if policy == "float32" else 2**-7
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=relative, atol=relative * np.abs(other).max())


def test_batch_normalisation_by_hand() -> None:
    """Of 1 and 3 the mean is 2 and the variance 1; a tenth of each goes into the moving ones."""
    layer = kernels.BatchNormalization(momentum=0.9, epsilon=0.0)
    pictures = np.array([1.0, 3.0], "float32").reshape(2, 1, 1, 1)
    assert keras.ops.convert_to_numpy(layer(pictures, training=True)).ravel() == pytest.approx([-1, 1])
    mean, variance = (keras.ops.convert_to_numpy(each) for each in layer.non_trainable_variables)
    assert (mean[0], variance[0]) == (pytest.approx(0.2), pytest.approx(0.9 * 1 + 0.1 * 1))


def test_frozen_batch_normalisation_keeps_its_statistics() -> None:
    layer = kernels.BatchNormalization()
    layer.build((2, 1, 1, 1))
    layer.trainable = False
    pictures = np.array([1.0, 3.0], "float32").reshape(2, 1, 1, 1)
    answers = keras.ops.convert_to_numpy(layer(pictures, training=True)).ravel()
    assert answers == pytest.approx(np.array([1.0, 3.0]) / np.sqrt(1.001), rel=1e-5)
    moving = (layer.moving_mean, layer.moving_variance)
    assert [float(keras.ops.convert_to_numpy(each)[0]) for each in moving] == [0, 1]


def test_a_saved_network_has_the_standard_layer() -> None:
    assert kernels.plain(kernels.BatchNormalization()) is keras.layers.BatchNormalization
    assert kernels.plain(keras.layers.ReLU()) is keras.layers.ReLU
