"""The graph that answers equals the network that was trained."""

import keras
import numpy as np
import pytest
from keras import layers

from tellapart import config, graphs, metrics, models
from tellapart.engine import Engine
from tellapart.errors import InputError

SIZE_PX = 32


def tutorial(n_classes: int) -> keras.Model:
    return models.build(config.TUTORIAL.override(size_px=SIZE_PX, channels=(8, 16), dense=(12,)), n_classes)


def residual(n_classes: int) -> keras.Model:
    return models.build(config.SCRATCH.override(size_px=SIZE_PX, channels=(8, 16)), n_classes)


def sequential(*after: keras.Layer) -> keras.Model:
    first = [keras.Input((SIZE_PX, SIZE_PX, 3)), layers.Rescaling(1 / 255)]
    return keras.Sequential([*first, layers.Conv2D(4, 3, strides=2), *after])


def nested(n_classes: int) -> keras.Model:
    inside = keras.Input((SIZE_PX, SIZE_PX, 3))
    x = layers.DepthwiseConv2D(3, padding="same")(inside)
    backbone = keras.Model(inside, layers.BatchNormalization()(layers.Conv2D(6, 3)(x)), name="backbone")
    pixels = keras.Input((SIZE_PX, SIZE_PX, 3))
    pooled = layers.GlobalMaxPooling2D()(backbone(layers.Rescaling(1 / 255)(pixels)))
    return keras.Model(pixels, layers.Dense(n_classes, activation="softmax")(pooled))


NETWORKS = {
    "tutorial, one sigmoid": lambda: (tutorial(2), 2),
    "tutorial, softmax": lambda: (tutorial(3), 3),
    "residual, logits": lambda: (residual(3), 3),
    "softmax as a layer": lambda: (sequential(layers.Flatten(), layers.Dense(3), layers.Softmax()), 3),
    "activation as a layer": lambda: (
        sequential(layers.GlobalAveragePooling2D(), layers.Dense(2), layers.Activation("softmax")),
        2,
    ),
    "one logit": lambda: (sequential(layers.Flatten(), layers.Dense(1)), 2),
    "a backbone inside": lambda: (nested(4), 4),
}


def probabilities(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """What the Keras model answers, as probabilities (N, C)."""
    answers = np.asarray(model.predict(pixels, verbose=0), dtype=np.float64)
    if answers.shape[1] == 1:
        one = 1 / (1 + np.exp(-answers)) if graphs.ends_in_logits(model) else answers
        return np.hstack([1 - one, one])
    return metrics.softmax(answers) if graphs.ends_in_logits(model) else answers


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (7, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", NETWORKS)
def test_graph_equals_keras(name: str, pixels: np.ndarray) -> None:
    model, n_classes = NETWORKS[name]()
    graphs.check(model, n_classes)
    engine = Engine(graphs.to_onnx(model))
    for batch in (pixels[:1], pixels):
        outputs = engine.run(batch)
        assert outputs.logits.shape == (len(batch), n_classes)
        assert len(outputs.embedding) == len(batch)
        ours = metrics.softmax(outputs.logits)
        np.testing.assert_allclose(ours, probabilities(model, batch.astype("float32")), atol=1e-4)


def test_one_sigmoid_gives_two_logits_of_which_the_first_is_zero(pixels: np.ndarray) -> None:
    outputs = Engine(graphs.to_onnx(tutorial(2))).run(pixels)
    assert (outputs.logits[:, 0] == 0).all()
    assert np.ptp(outputs.logits[:, 1]) > 0


def test_embedding_and_feature_map_are_those_of_the_layers(pixels: np.ndarray) -> None:
    model = tutorial(2)
    engine = Engine(graphs.to_onnx(model))
    inside = keras.Model(model.inputs[0], [model.layers[-2].output, model.get_layer(index=4).output])
    embedding, pooled = inside.predict(pixels, verbose=0)
    np.testing.assert_allclose(engine.run(pixels).embedding, embedding, atol=1e-4)
    assert engine.feature_map(pixels).shape == (7, 6, 6, 16)  # 32 → 30 → 15 → 13 → 6
    np.testing.assert_allclose(engine.feature_map(pixels), pooled, atol=1e-4)


def test_the_same_network_gives_the_same_bytes() -> None:
    model = residual(2)
    assert graphs.to_onnx(model) == graphs.to_onnx(model)


def test_a_network_in_bfloat16_becomes_float32_with_the_same_answers(pixels: np.ndarray) -> None:
    recipe = config.TUTORIAL.override(size_px=SIZE_PX, channels=(8, 16), dense=(12,))
    model = models.build(recipe, 2, dtype="mixed_bfloat16")
    copy = graphs.in_float32(model)
    assert model.layers[1].compute_dtype == "bfloat16"
    assert {layer.compute_dtype for layer in copy.layers} == {"float32"}
    for theirs, ours in zip(model.get_weights(), copy.get_weights(), strict=True):
        assert np.array_equal(theirs, ours)
    before, after = probabilities(model, pixels), metrics.softmax(Engine(graphs.to_onnx(copy)).run(pixels).logits)
    assert np.abs(before - after).max() < 0.1


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Subclassed, "Sequential or functional"),
        (lambda: sequential(layers.Flatten(), layers.Dense(5)), "there are 3 classes, and it has 5"),
        (lambda: sequential(layers.GlobalAveragePooling2D()), "must end in a Dense layer"),
        (lambda: keras.Sequential([keras.Input((32, 16, 3)), layers.Flatten(), layers.Dense(3)]), "square RGB"),
        (lambda: keras.Sequential([keras.Input((32, 32, 1)), layers.Flatten(), layers.Dense(3)]), "square RGB"),
        (lambda: "resnet50", "got str"),
    ],
)
def test_networks_that_cannot_be_used_are_named(model, says: str) -> None:
    with pytest.raises(InputError, match=says):
        graphs.check(model(), 3)
