"""The port against reference outputs recorded from an independent implementation in torch 2.14
(benchmarks/peers/torch_features.py --dump, float32) on the pictures that `waves` draws."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from tellapart import backbones, kerasfile
from tellapart.backbones import BACKBONES, Head
from tellapart.engine import Engine
from tellapart.errors import SettingsError
from tellapart.streams import ONNXRUNTIME, Stream

REFERENCE = Path(__file__).parent / "reference" / "efficientnet_lite.npz"
LITE0 = BACKBONES["efficientnet-lite0"]


def waves(size: int) -> np.ndarray:
    """Two pictures of waves, uint8 (2, size, size, 3)."""
    y, x = np.mgrid[:size, :size] / size
    planes = [
        [
            127.5
            + 127.5
            * np.sin((3 + i + 2 * c) * 6.2831853 * (x * np.cos(i + c) + y * np.sin(i + c)) + c)
            * np.cos((1 + c) * 9 * y * x)
            for c in range(3)
        ]
        for i in range(2)
    ]
    return np.round(np.array(planes)).astype(np.uint8).transpose(0, 2, 3, 1).copy()


def head(n_classes: int = 3) -> Head:
    rng = np.random.default_rng(0)
    return Head(rng.normal(size=(1280, n_classes)).astype(np.float32), np.arange(n_classes, dtype=np.float32))


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_features_equal_those_of_an_independent_implementation(name):
    backbone = BACKBONES[name]
    graph = backbones.graph(backbone, backbone.trained_px)
    ((got,),) = Stream(graph, ["embedding"], ONNXRUNTIME).run([waves(backbone.trained_px)])
    np.testing.assert_allclose(got, np.load(REFERENCE)[name], atol=1e-4)


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_the_keras_model_has_the_same_features(name):
    backbone = BACKBONES[name]
    model = backbones.network(backbone, backbone.trained_px)
    got = model.predict(waves(backbone.trained_px), verbose=0)
    np.testing.assert_allclose(got, np.load(REFERENCE)[name], atol=1e-4)


def test_the_graph_with_a_head_is_what_a_bundle_asks_for():
    graph = backbones.graph(LITE0, 96, head())
    pixels = waves(96)
    engine = Engine(graph)
    assert (engine.size_px, engine.n_classes) == (96, 3)
    outputs = engine.run(pixels)
    np.testing.assert_allclose(outputs.logits, outputs.embedding @ head().kernel + head().bias, rtol=1e-4, atol=1e-4)
    feature_map = engine.feature_map(pixels)
    assert feature_map.shape == (2, 3, 3, 1280)
    np.testing.assert_allclose(feature_map.mean((1, 2)), outputs.embedding, atol=1e-5)


def test_the_same_weights_give_the_same_bytes():
    assert backbones.graph(LITE0, 64, head()) == backbones.graph(LITE0, 64, head())


def test_normalisation_is_folded_into_the_convolutions():
    nodes = onnx.load_from_string(backbones.graph(LITE0, 64)).graph.node
    kinds = [node.op_type for node in nodes]
    assert "BatchNormalization" not in kinds
    assert kinds.count("Conv") == 49


def test_the_keras_file_is_plain_and_agrees_with_the_graph(tmp_path):
    import keras

    with kerasfile.Writer(LITE0.name, 64) as writer:
        content = writer.write(head())
    (tmp_path / "model.keras").write_bytes(content)
    model = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
    pixels = waves(64)
    expected = Engine(backbones.graph(LITE0, 64, head())).run(pixels).logits
    np.testing.assert_allclose(model.predict(pixels, verbose=0), expected, atol=1e-3)


def test_a_keras_process_that_fails_says_why():
    from tellapart.errors import BackboneError

    with kerasfile.Writer("no-such-network", 64) as writer, pytest.raises(BackboneError, match="no-such-network"):
        writer.write(head())


def test_filters_are_scaled_to_multiples_of_eight_never_much_below():
    assert [backbones._filters(n) for n in (17.6, 26.4, 44, 88, 352)] == [16, 24, 48, 88, 352]
    assert backbones._filters(12) == 16  # 8 would be a third below


def test_an_unknown_backbone_is_named_with_those_that_there_are():
    with pytest.raises(SettingsError, match="efficientnet-lite0, efficientnet-lite1, efficientnet-lite2; got 'resnet'"):
        backbones.known("resnet")
