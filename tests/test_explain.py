"""Where a network looked: against hand computations, and on networks of which one knows where they look."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from onnx import TensorProto, helper, numpy_helper

from conftest import SHAPES, draw
from tellapart import explain, graphfile, graphs, preprocess, tails
from tellapart.bundle import Bundle
from tellapart.classifier import Classifier
from tellapart.deletions import lead
from tellapart.engine import Engine, session
from tellapart.errors import SettingsError
from tellapart.explain import Explainer

SIZE_PX = 32


def bundle_of(graph: bytes, classes: Sequence[str] = ("a", "b"), **members: bytes) -> Bundle:
    manifest = {"classes": list(classes), "temperature": 1.0, "training": {}}
    return Bundle(manifest, {"model.onnx": graph, "splits.json": b'{"train": []}', **members})


def noise(n: int = 1, size_px: int = SIZE_PX) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (n, size_px, size_px, 3), dtype=np.uint8)


def pooled(kernel: np.ndarray, bias: np.ndarray) -> bytes:
    """A network like those of transfer without its strides: 4 by 4 means of the picture, clipped, pooled, one Gemm."""
    filters = np.random.default_rng(2).normal(size=(kernel.shape[0], 3, 8, 8)).astype(np.float32) / 800
    constants = {"filters": filters, "zero": np.float32(0), "six": np.float32(6), "kernel": kernel, "bias": bias}
    nodes = [
        helper.make_node("Cast", ["pixels"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["real"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "filters"], ["raw"], strides=[8, 8], kernel_shape=[8, 8]),
        helper.make_node("Clip", ["raw", "zero", "six"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "kernel", "bias"], ["logits"]),
        helper.make_node("Transpose", ["map"], ["feature_map"], perm=[0, 2, 3, 1]),
    ]
    shapes = {"logits": [len(bias)], "embedding": [len(kernel)], "feature_map": [4, 4, len(kernel)]}
    body = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIZE_PX, SIZE_PX, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape]) for name, shape in shapes.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def test_tail_is_the_graph_behind_the_map() -> None:
    rng = np.random.default_rng(0)
    file = pooled(rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32))
    engine = Engine(file)
    tail = tails.cut(graphfile.read(file), "feature_map", "logits", engine.map_shape)
    assert tail is not None
    assert tail.order == (0, 3, 1, 2)
    maps = engine.feature_map(noise(3))
    (logits,) = session(tail.graph, threads=1).run(None, {"map": np.ascontiguousarray(maps.transpose(0, 3, 1, 2))})
    np.testing.assert_allclose(logits, engine.run(noise(3)).logits, atol=1e-5)


def test_with_pooling_and_one_layer_it_is_the_class_activation_map() -> None:
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(5, 2)).astype(np.float32), rng.normal(size=2).astype(np.float32)
    explainer = Explainer(bundle_of(pooled(kernel, bias)))
    for wanted in (0, 1):
        heat = explainer.heat(noise(2), [wanted] * 2)
        for one, feature_map in zip(heat, Engine(pooled(kernel, bias)).feature_map(noise(2)), strict=True):
            evidence = (feature_map - feature_map.mean((0, 1))) @ (kernel[:, wanted] - kernel[:, 1 - wanted])
            np.testing.assert_allclose(one, evidence.clip(0) / evidence.max(), atol=1e-4)


def quadrant(which: tuple[int, int]) -> keras.Model:
    """A network that answers by how bright one quarter of the picture is."""
    pixels = keras.Input((SIZE_PX, SIZE_PX, 3), dtype="uint8")
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(layers.Rescaling(1 / 255)(pixels))
    x = layers.MaxPooling2D(4)(x)
    flat = layers.Flatten()(x)
    dense = layers.Dense(2)
    model = keras.Model(pixels, dense(flat))
    convolution = model.layers[2]
    convolution.set_weights([np.full((3, 3, 3, 4), 1 / 27), np.zeros(4)])
    kernel = np.zeros((8, 8, 4, 2))
    kernel[4 * which[0] : 4 * which[0] + 4, 4 * which[1] : 4 * which[1] + 4, :, 1] = 0.05
    dense.set_weights([kernel.reshape(-1, 2), np.zeros(2)])
    return model


@pytest.mark.parametrize("which", [(0, 0), (0, 1), (1, 0)])
def test_heat_lies_where_the_answer_comes_from(which: tuple[int, int]) -> None:
    explainer = Explainer(bundle_of(graphs.to_onnx(quadrant(which))))
    heat = explain.enlarged(explainer.heat(noise(), [1])[0], SIZE_PX)
    top, left = 16 * which[0], 16 * which[1]
    assert heat[top : top + 16, left : left + 16].sum() > 0.8 * heat.sum()
    assert explain.enlarged(explainer.heat(noise(), [0])[0], SIZE_PX).max() == 0  # nothing speaks for the other class


def dense_only() -> keras.Model:
    pixels = keras.Input((SIZE_PX, SIZE_PX, 3))
    dense = layers.Dense(2)
    model = keras.Model(pixels, dense(layers.Flatten()(layers.Rescaling(1 / 255)(pixels))))
    kernel = np.zeros((SIZE_PX, SIZE_PX, 3, 2))
    kernel[16:, :16, :, 1] = 0.01
    kernel[:16, :16, :, 1] = -0.01
    dense.set_weights([kernel.reshape(-1, 2), np.zeros(2)])
    return model


def test_a_network_of_dense_layers_is_explained_by_covering_the_picture() -> None:
    explainer = Explainer(bundle_of(graphs.to_onnx(dense_only())))
    # The covers have the picture's mean colour: what is brighter than that, in the lower left quarter, speaks for b.
    square = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
    square[20:28, 4:12] = 200
    heat = explainer.heat(square[None], [1])[0]
    assert heat.shape == (8, 8)
    expected = np.zeros((8, 8), np.float32)
    expected[5:7, 1:3] = 1
    np.testing.assert_array_equal(heat > 0.5, expected > 0.5)
    assert heat[:, 4:].max() < 1e-3


def odd(name: str) -> keras.Model:
    pixels = keras.Input((SIZE_PX, SIZE_PX, 3))
    x = layers.Conv2D(6, 3, strides=2, padding="same")(layers.Rescaling(1 / 255)(pixels))
    if name == "two roads":
        y = layers.GlobalAveragePooling2D()(x)
        x = layers.Concatenate()([y, layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3, strides=2)(x))])
    elif name == "a node that is not known":
        x = layers.GlobalAveragePooling2D()(layers.Activation("elu")(layers.Conv2D(4, 3, strides=2)(x)))
    elif name == "one place":
        x = layers.Flatten()(layers.Conv2D(4, 16)(x))
    else:
        x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
        x = layers.Dense(6, activation="tanh")(layers.Dropout(0.5)(layers.Flatten()(x)))
    return keras.Model(pixels, layers.Dense(3)(x))


@pytest.mark.parametrize("name", ["two roads", "a node that is not known", "one place", "several dense layers"])
def test_any_network_is_explained(name: str) -> None:
    keras.utils.set_random_seed(3)
    explainer = Explainer(bundle_of(graphs.to_onnx(odd(name)), "abc"))
    heat = explainer.heat(noise(3), [0, 1, 2])
    assert heat.dtype == np.float32
    assert heat.shape[0] == 3
    assert heat.min() == 0
    assert (heat.max((1, 2)) == 1).all()
    np.testing.assert_array_equal(explainer.heat(noise(3)[:1], [0])[0], heat[0])


def test_the_trained_network_looked_at_the_shape(trained: Classifier) -> None:
    how = trained.predictor.preprocess
    hits = 0
    pictures = [(shape, seed) for shape in SHAPES[:2] for seed in range(200, 220)]
    for shape, seed in pictures:
        pixels = np.asarray(draw(shape, seed))
        square = preprocess.fit(pixels, how)
        answered = int(trained.predictor.probabilities(square[None])[0].argmax())
        heat = explain.enlarged(trained.explainer.heat(square[None], [answered])[0], how.size_px)
        bright = square.max(2) > 120
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        near = bright[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
        hits += bool(near.any())
    assert hits >= 0.7 * len(pictures)


def test_other_weights_give_another_map(trained: Classifier) -> None:
    """The sanity check of Adebayo et al. 2018 (arXiv:1810.03292): a map that outlives its network shows the picture."""
    model = keras.models.clone_model(trained.keras_model)
    rng = np.random.default_rng(5)
    model.set_weights([rng.permutation(w.reshape(-1)).reshape(w.shape) for w in trained.keras_model.get_weights()])
    stirred = Explainer(
        dataclasses.replace(trained.bundle, members={**trained.bundle.members, "model.onnx": graphs.to_onnx(model)})
    )
    squares = np.stack(
        [preprocess.fit(np.asarray(draw("circles", i)), trained.predictor.preprocess) for i in range(300, 320)]
    )
    for wanted in (0, 1):
        ours, theirs = (each.heat(squares, [wanted] * 20) for each in (trained.explainer, stirred))
        alike = [
            np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(ours, theirs, strict=True) if a.std() and b.std()
        ]
        assert np.mean(alike or [0]) < 0.5


def test_the_lead_falls_more_where_it_is_hot(trained: Classifier) -> None:
    won = 0
    for seed in range(400, 420):
        square = preprocess.fit(np.asarray(draw("squares", seed)), trained.predictor.preprocess)
        wanted = int(trained.predictor.probabilities(square[None])[0].argmax())
        heat = explain.enlarged(trained.explainer.heat(square[None], [wanted])[0], len(square))
        found = trained.explainer.deletion(square, heat, wanted)
        assert found.before == pytest.approx(trained.predictor.probabilities(square[None])[0, wanted], abs=1e-6)
        won += found.lead_hot < found.lead_elsewhere
    assert won >= 14


def test_nearest_are_training_pictures(trained: Classifier, photos: Path) -> None:
    import hashlib

    path = next(
        p
        for p in sorted(photos.rglob("*.*"))
        if hashlib.sha256(p.read_bytes()).hexdigest() in trained.bundle.splits()["train"]
    )
    square = preprocess.load(path, trained.predictor.preprocess)
    (found,) = trained.explainer.nearest(trained.explainer.embeddings(square[None]), 3)
    assert found[0].content == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found[0].similarity == pytest.approx(1, abs=1e-3)
    assert len(found) == 3
    assert found[0].label == path.parent.name


def test_a_class_that_there_is_not() -> None:
    explainer = Explainer(bundle_of(graphs.to_onnx(dense_only())))
    for classes in ([2], [-1], [0, 1], []):
        with pytest.raises(SettingsError, match="classes must be a number from 0 to 1"):
            explainer.heat(noise(), classes)


def test_overlay_keeps_cold_parts_grey() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = 1
    square = noise()[0]
    laid = explain.overlay(square, heat)
    assert laid.shape == square.shape
    assert laid.dtype == np.uint8
    assert (laid[20:, 20:].max(2) == laid[20:, 20:].min(2)).all()
    assert (laid[:4, :4, 0].astype(int) - laid[:4, :4, 2]).mean() > 40  # yellow


def test_lead_slope_is_the_gradient_of_lead() -> None:
    logits = np.array([[0.3, -1.0, 2.0]])
    for wanted in range(3):
        slope = explain._lead_slope(logits, wanted)[0]
        for i in range(3):
            moved = np.zeros((1, 3))
            moved[0, i] = 1e-5
            measured = (lead(logits + moved, wanted) - lead(logits - moved, wanted))[0] / 2e-5
            assert slope[i] == pytest.approx(measured, abs=1e-4)


def test_one_look_gives_the_heat_map_and_the_embedding(trained: Classifier, photos: Path) -> None:
    square = preprocess.load(next(photos.rglob("*.png")), trained.predictor.preprocess)
    heat, embedding = trained.explainer.look(square, 1)
    np.testing.assert_allclose(heat, trained.explainer.heat(square[None], [1])[0], atol=1e-6)
    np.testing.assert_allclose(embedding, trained.predictor.embeddings(square[None])[0], rtol=1e-5, atol=1e-6)
