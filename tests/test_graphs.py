"""The graph that answers equals the network that was trained."""

import io
import json
import re
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

from tellapart import config, graphs, kerasmodels, metrics, models
from tellapart.engine import Engine
from tellapart.errors import BundleError, InputError

SIZE_PX = 32


def tutorial(n_classes: int) -> keras.Model:
    return models.build(config.TUTORIAL.override(size_px=SIZE_PX, channels=(8, 16), dense=(12,)), n_classes)


def residual(n_classes: int) -> keras.Model:
    model = models.build(config.SCRATCH.override(size_px=SIZE_PX, channels=(8, 16)), n_classes)
    # Noise gives an untrained network answers so sure that all pictures would get the same.
    graphs.last_dense(model).kernel.assign(graphs.last_dense(model).kernel * 0.05)
    return model


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


def normalising() -> keras.Model:
    """With the layer that learns mean and variance of each channel, once at the top and once in a model inside."""
    inside = keras.Input((SIZE_PX, SIZE_PX, 3))
    backbone = keras.Model(inside, layers.Conv2D(4, 3)(layers.Normalization(name="inner")(inside)), name="backbone")
    pixels = keras.Input((SIZE_PX, SIZE_PX, 3))
    scaled = layers.Normalization(name="outer")(pixels)
    model = keras.Model(pixels, layers.Dense(3)(layers.GlobalMaxPooling2D()(backbone(scaled))))
    for layer, mean, variance in (
        (model.get_layer("outer"), (120, 90, 60), (900, 1600, 2500)),
        (backbone.get_layer("inner"), (0.1, 0.2, 0.3), (2, 3, 4)),
    ):
        layer.set_weights([np.float32(mean), np.float32(variance), *layer.get_weights()[2:]])
        layer.finalize_state()
    return model


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
    "pixels at once": lambda: (keras.Sequential([keras.Input((SIZE_PX, SIZE_PX, 3)), *scaled(3)]), 3),
    "dense layers only, one sigmoid": lambda: (
        keras.Sequential([keras.Input((SIZE_PX, SIZE_PX, 3)), layers.Rescaling(1 / 255), layers.Flatten(),
                          layers.Dense(8, activation="tanh"), layers.Dense(1, activation="sigmoid")]),
        2,
    ),
    "max pooling, one sigmoid as a layer": lambda: (
        sequential(layers.GlobalMaxPooling2D(), layers.Dense(1), layers.Activation("sigmoid")),
        2,
    ),
    "batch normalisation and depthwise": lambda: (
        sequential(
            layers.BatchNormalization(), layers.ReLU(max_value=6.0),
            layers.DepthwiseConv2D(3, padding="same", use_bias=False), layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax"),
        ),
        3,
    ),
    "logits through a linear layer": lambda: (
        sequential(layers.Flatten(), layers.Dense(3), layers.Activation("linear", dtype="float32")),
        3,
    ),
    "softmax through a linear layer": lambda: (
        sequential(layers.Flatten(), layers.Dense(3), layers.Softmax(), layers.Activation("linear")),
        3,
    ),
    "a layer of the name that Keras would give": lambda: (
        sequential(layers.Flatten(name="flatten"), layers.Dense(3, name="dense")),
        3,
    ),
    "GELU": lambda: (
        sequential(layers.Activation("gelu"), layers.GlobalAveragePooling2D(), layers.Dense(3)),
        3,
    ),
    "pixels normalised by statistics": lambda: (normalising(), 3),
    "convolutions in groups and by channel": lambda: (
        sequential(
            layers.Conv2D(8, 3, groups=2, padding="same"), layers.Conv2D(8, 7, groups=8, padding="same", strides=2),
            layers.GlobalAveragePooling2D(), layers.Dense(3),
        ),
        3,
    ),
    "no bias": lambda: (sequential(layers.Flatten(), layers.Dense(3, use_bias=False)), 3),
    "operations and random layers": lambda: (operations(), 2),
}  # fmt: skip


def scaled(n_classes: int) -> list[keras.Layer]:
    """A first dense layer on pixels from 0 to 255, small enough for answers that are not all 0 or 1."""
    initializer = keras.initializers.RandomNormal(stddev=1e-4)
    return [layers.Flatten(), layers.Dense(n_classes, activation="softmax", kernel_initializer=initializer)]


def operations() -> keras.Model:
    pixels = keras.Input((SIZE_PX, SIZE_PX, 3))
    x = layers.RandomFlip("horizontal")(pixels / 255.0)
    x = layers.Concatenate()([layers.Conv2D(4, 3, strides=2, padding="same")(x), layers.AveragePooling2D(2)(x)])
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(layers.Activation("swish")(x)))
    return keras.Model(pixels, layers.Dense(2)(x))


def stirred(model: keras.Model, seed: int = 6) -> keras.Model:
    """The network with batch normalisation as a training leaves it: a new one does next to nothing."""
    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weights.shape) for weights in layer.get_weights()])
    return model


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
    keras.utils.set_random_seed(4)
    model, n_classes = NETWORKS[name]()
    stirred(model)
    graphs.check(model, n_classes)
    engine = Engine(graphs.to_onnx(model))
    for batch in (pixels[:1], pixels):
        outputs = engine.run(batch)
        assert outputs.logits.shape == (len(batch), n_classes)
        assert outputs.embedding.shape == (len(batch), np.prod(graphs.last_dense(model).input.shape[1:]))
        ours = metrics.softmax(outputs.logits)
        assert len(batch) == 1 or np.ptp(ours, axis=0).max() > 1e-3  # else they would be equal for nothing
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


def test_statistics_of_pixels_survive_the_copy_in_float32(pixels: np.ndarray) -> None:
    model = normalising()
    expected = model.predict(pixels.astype("float32"), verbose=0)
    np.testing.assert_allclose(
        graphs.in_float32(model).predict(pixels.astype("float32"), verbose=0), expected, atol=1e-5
    )


def test_a_saved_network_has_no_time_and_no_address_in_it(monkeypatch) -> None:
    def made() -> bytes:
        policy = keras.DTypePolicy("float32")  # what two layers share, Keras names by its address
        body = [
            layers.Conv2D(2, 3, name="a", dtype=policy),
            layers.Flatten(name="f"),
            layers.Dense(2, name="b", dtype=policy),
        ]
        network = keras.Sequential([keras.Input((8, 8, 3), name="pixels"), *body], name="n")
        network.set_weights([np.ones(each.shape) for each in network.get_weights()])
        return graphs.keras_file(network)

    one = made()
    kept = [keras.DTypePolicy("float32") for _ in range(50)]  # so that the next one has another address
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        told = archive.read("config.json").decode()
        numbers = re.findall(r'"shared_object_id": (\d+)', told)
        assert numbers
        assert max(map(int, numbers)) <= len(numbers)
        assert json.loads(archive.read("metadata.json"))["date_saved"] == "1980-01-01@00:00:00"
    assert made() == one
    assert len(kept) == 50


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


class Halved(layers.Layer):
    def call(self, inputs):
        return inputs / 2


def two_answers() -> keras.Model:
    pixels = keras.Input((32, 32, 3))
    flat = layers.Flatten()(pixels)
    return keras.Model(pixels, [layers.Dense(3)(flat), layers.Dense(3)(flat)])


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
        (lambda: keras.Sequential([layers.Flatten(), layers.Dense(3)]), "built Sequential or functional"),
        (lambda: keras.Sequential([keras.Input((32, 32, 3)), layers.Dense(3)]), "Flatten or pool"),
        (lambda: two_answers(), r"got \(None, 3\), \(None, 3\)"),
        (
            lambda: keras.Sequential([keras.Input((None, None, 3)), layers.GlobalMaxPooling2D(), layers.Dense(3)]),
            "square RGB",
        ),
        (lambda: keras.Sequential([keras.Input((3072,)), layers.Dense(3)]), "square RGB"),
        (lambda: sequential(layers.Flatten(), layers.Dense(3, activation="relu")), "by one softmax; got relu"),
        (lambda: sequential(layers.Flatten(), layers.Dense(3, activation="sigmoid")), "by one softmax; got sigmoid"),
        (
            lambda: sequential(layers.Flatten(), layers.Dense(3, activation="softmax"), layers.Softmax()),
            "got softmax and softmax after",
        ),
        (lambda: sequential(layers.Lambda(lambda x: x / 2), layers.Flatten(), layers.Dense(3)), "got Lambda 'lambda"),
        (lambda: sequential(Halved(), layers.Flatten(), layers.Dense(3)), "Keras' own layers only.* got Halved"),
    ],
)
def test_networks_that_cannot_be_used_are_named(model, says: str) -> None:
    with pytest.raises(InputError, match=says) as error:
        graphs.check(model(), 3)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (lambda: sequential(layers.Reshape((-1, 4)), layers.GRU(3), layers.Dense(3)), r"got GRU of keras\.layers"),
        (lambda: sequential(layers.Flatten(), layers.Dense(3, kernel_initializer=own)), "got own of builtins"),
        (lambda: through(keras.ops.erfinv), r"got Erfinv of keras\.src\.ops\.math"),
        (lambda: Named(*ends(sequential(layers.Flatten(), layers.Dense(3)))), "got Named of "),
    ],
)
def test_a_network_whose_bundle_could_not_be_opened_again_is_refused_before_it_is_trained(model, says: str) -> None:
    """The list that the file in a bundle is opened by, `kerasclasses`, is that of a network to be trained."""
    made = model()
    with pytest.raises(InputError, match=f"must be made of what its bundle is opened with again, .*; {says}") as error:
        graphs.check(made, 3)
    assert "\n" not in str(error.value)
    with pytest.raises((BundleError, TypeError)):  # TypeError: Keras itself cannot make it again
        kerasmodels.of_bundle(graphs.keras_file(graphs.in_float32(made)))


def own(shape, dtype=None):
    """An initializer of one's own."""
    return keras.ops.zeros(shape, dtype)


class Named(keras.Model):
    """A functional network of a class of its own."""


def ends(model: keras.Model) -> tuple[object, object]:
    return model.inputs[0], model.outputs[0]


def through(operation) -> keras.Model:
    pixels = keras.Input((SIZE_PX, SIZE_PX, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 510)(pixels))
    return keras.Model(pixels, layers.Dense(3)(operation(pooled)))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_of_a_network_that_was_taken_can_be_opened_again(name: str) -> None:
    model = NETWORKS[name]()[0]
    model.compile("sgd", loss=lambda truth, told: told)  # what it was compiled with is nobody's business
    graphs.check(model, NETWORKS[name]()[1])
    assert model.compiled
    opened = kerasmodels.of_bundle(graphs.keras_file(graphs.in_float32(model)))
    for mine, theirs in zip(opened.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_one_unit_is_for_two_classes_and_a_sigmoid() -> None:
    one = sequential(layers.Flatten(), layers.Dense(1))
    graphs.check(one, 2)
    with pytest.raises(InputError, match=r"there are 3 classes, and it has 1\. Make it Dense\(3\)"):
        graphs.check(one, 3)
    with pytest.raises(InputError, match="by one sigmoid; got softmax"):  # of one unit it is always 1
        graphs.check(sequential(layers.Flatten(), layers.Dense(1, activation="softmax")), 2)


def test_the_graph_is_as_the_bundle_says(pixels: np.ndarray) -> None:
    import onnx

    model = onnx.load_from_string(graphs.to_onnx(residual(3)))
    assert [value.name for value in model.graph.input] == ["pixels"]
    assert [value.name for value in model.graph.output] == ["logits", "embedding", "feature_map"]
    kinds = {value.name: value.type.tensor_type for value in (*model.graph.input, *model.graph.output)}
    assert kinds["pixels"].elem_type == onnx.TensorProto.UINT8
    shapes = {name: [dim.dim_param or dim.dim_value for dim in kind.shape.dim] for name, kind in kinds.items()}
    # 32 px, halved by each of the two stages
    assert shapes == {
        "pixels": ["batch", 32, 32, 3], "logits": ["batch", 3], "embedding": ["batch", 16],
        "feature_map": ["batch", 8, 8, 16],
    }  # fmt: skip
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert {tensor.data_type for tensor in model.graph.initializer} <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert {made_by[node.input[0]] for node in norms} == {"MaxPool"}  # all others are folded into their convolutions


def test_the_feature_map_of_dense_layers_is_the_picture(pixels: np.ndarray) -> None:
    model = keras.Sequential([keras.Input((SIZE_PX, SIZE_PX, 3)), *scaled(2)])
    np.testing.assert_array_equal(Engine(graphs.to_onnx(model)).feature_map(pixels), pixels)


def test_networks_in_mixed_precision_become_float32_to_their_depth(pixels: np.ndarray) -> None:
    """A backbone inside a network: its layers as well."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = stirred(nested(3))
    finally:
        keras.config.set_dtype_policy("float32")
    assert "bfloat16" in {layer.compute_dtype for layer in model._flatten_layers(include_self=False)}
    copy = graphs.in_float32(model)
    inner = [layer for layer in copy._flatten_layers(include_self=False) if not isinstance(layer, keras.Model)]
    assert {layer.compute_dtype for layer in inner} == {"float32"}
    for theirs, ours in zip(model.get_weights(), copy.get_weights(), strict=True):
        assert np.array_equal(theirs, ours)
    answers = metrics.softmax(Engine(graphs.to_onnx(copy)).run(pixels).logits)
    np.testing.assert_allclose(answers, probabilities(copy, pixels), atol=1e-4)
    np.testing.assert_allclose(answers, probabilities(model, pixels), atol=0.1)


def test_a_compiled_network_stays_compiled_and_its_copy_is_not() -> None:
    model = tutorial(2)
    model.compile("sgd", "binary_crossentropy")
    assert not graphs.in_float32(model).compiled
    assert model.compiled


def test_a_network_that_cannot_be_exported_is_refused_before_it_is_trained() -> None:
    # ONNX has no such resampling.
    model = sequential(layers.Resizing(8, 8, interpolation="lanczos3"), layers.Flatten(), layers.Dense(2))
    graphs.check(model, 2)
    with pytest.raises(InputError, match="must be one that Keras can export to ONNX"):
        graphs.check_export(model)
    graphs.check_export(sequential(layers.Flatten(), layers.Dense(2)))


def test_a_network_of_any_size_answers_as_the_one_it_was_made_of() -> None:
    model = residual(3)
    free = graphs.of_any_size(model)
    side = model.inputs[0].shape[1]
    pixels = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    np.testing.assert_array_equal(free(pixels), model(pixels))
    assert free(pixels[:, : side // 2, : side // 2]).shape == (2, 3)
    fixed = graphs.in_float32(free, side)
    assert fixed.inputs[0].shape == model.inputs[0].shape
    np.testing.assert_allclose(fixed(pixels), model(pixels), rtol=1e-5, atol=1e-5)
