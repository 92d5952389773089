"""Backbones by name and by file, from their weights to a bundle, without a network to fetch anything from."""

import hashlib
import importlib
import json
import re
import socket
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from keras.src.legacy.saving import legacy_h5_format

from tellapart import api, applications, cache, graphcheck, networks, plans
from tellapart import catalog as catalogs
from tellapart.applications import APPLICATIONS, Wanted
from tellapart.backbones import BACKBONES, Head
from tellapart.engine import Engine
from tellapart.errors import BackboneError, SettingsError
from tellapart.preprocess import Preprocess, load
from tellapart.streams import ONNXRUNTIME, Stream

V2_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
V2_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/{V2_FILE}"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No road to anywhere."""

    def refused(*_):
        raise AssertionError("somebody called")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


@pytest.fixture
def home(monkeypatch, tmp_path_factory) -> Path:
    """A Keras home that is empty."""
    folder = tmp_path_factory.mktemp("keras")
    monkeypatch.setenv("KERAS_HOME", str(folder))
    return folder


def drawn(name: str, seed: int = 0, **settings) -> keras.Model:
    """A network of Keras with weights drawn at random, its running means and variances too."""
    model = getattr(keras.applications, name)(include_top=False, weights=None, **settings)
    rng = np.random.default_rng(seed)
    model.set_weights(
        [
            np.abs(each) + rng.uniform(0, 0.2, each.shape) if each.ndim == 1 else rng.normal(0, 0.1, each.shape)
            for each in model.get_weights()
        ]
    )
    return model


def into_cache(model: keras.Model, home: Path, name: str) -> Path:
    """Weights in the old format, which is that of the files on Keras' server."""
    path = home / "models" / name
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


def noise(side: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, side, side, 3), dtype=np.uint8)


def features_of(network: networks.Network, folder: Path, pixels: np.ndarray) -> np.ndarray:
    ((got,),) = Stream(network.graph(folder, None), ["embedding"], ONNXRUNTIME).run([pixels])
    return got


@pytest.mark.slow
def test_a_network_of_keras_goes_the_whole_road(home, photos, tmp_path):
    theirs = drawn("MobileNetV2", input_shape=(64, 64, 3))
    file = into_cache(theirs, home, V2_FILE)
    got = api.train(photos, backbone="MobileNetV2", size=64, cache=tmp_path / "cache", progress=False)
    manifest = got.bundle.manifest
    assert manifest["provenance"]["backbone"] == {
        "name": "MobileNetV2",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "licence": "Apache-2.0",
    }
    pixels = np.stack([load(str(path), Preprocess(64)) for path in sorted((photos / "circles").iterdir())[:4]])
    engine = Engine(got.bundle.members["model.onnx"])
    outputs = engine.run(pixels)
    scaled = keras.applications.mobilenet_v2.preprocess_input(pixels.astype("float32"))
    expected = theirs.predict(scaled, verbose=0)
    np.testing.assert_allclose(engine.feature_map(pixels), expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(outputs.embedding, expected.mean((1, 2)), rtol=1e-3, atol=1e-3)
    # Features of weights that are drawn hardly vary, and the head, which standardises them, enlarges what is rounded.
    np.testing.assert_allclose(
        got.keras_model.predict(pixels, verbose=0), outputs.logits / got.bundle.manifest["temperature"], atol=0.05
    )
    assert {type(layer).__module__.split(".")[0] for layer in got.keras_model.layers} == {"keras"}


def test_without_weights_the_message_says_how_to_get_them(home, photos):
    with pytest.raises(BackboneError) as caught:
        api.train(photos, backbone="MobileNetV2", size=64, progress=False)
    said = str(caught.value)
    for part in (V2_URL, V2_FILE, str(home / "models"), "--download", "efficientnet-lite2, which is installed"):
        assert part in said
    assert not any(home.iterdir())


def test_a_download_that_fails_says_how_to_get_the_file(home):
    with pytest.raises(
        BackboneError, match=f"must be within reach for --download.*fetch {re.escape(V2_URL)} elsewhere"
    ):
        networks.find("MobileNetV2", 64, download=True)
    assert not any((home / "models").iterdir())


def test_a_download_that_is_asked_for_is_keras_own(home, monkeypatch):
    theirs = drawn("MobileNetV2", input_shape=(32, 32, 3))
    from keras.src.utils import file_utils

    def served(url, target, *_):
        assert url == V2_URL
        into_cache(theirs, home, V2_FILE).rename(target)

    monkeypatch.setattr(file_utils, "urlretrieve", served)
    assert networks.find("MobileNetV2", 32, download=True).n_features == 1280
    assert file_utils.urlretrieve is served


def test_a_file_with_another_digest_is_not_read(home):
    path = home / "models" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    path.parent.mkdir()
    path.write_bytes(b"half a file")
    with pytest.raises(BackboneError, match=r"must have the digest 6d6bbae143d832006294945121d1f1fc.*cut short"):
        networks.find("VGG16", 32)
    assert path.read_bytes() == b"half a file"


def test_weights_of_another_network_are_named(home):
    into_cache(drawn("MobileNet", input_shape=(32, 32, 3)), home, V2_FILE)
    with pytest.raises(BackboneError, match=r"must hold the weights of MobileNetV2\(include_top=False\)"):
        networks.find("MobileNetV2", 32)


# For each its file and the module of its `preprocess_input`.
FAMILIES = {
    "MobileNet": ("mobilenet_1_0_224_tf_no_top.h5", "mobilenet"),
    "VGG16": ("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "vgg16"),
    "MobileNetV3Small": ("weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5", "mobilenet_v3"),
    "ConvNeXtTiny": ("convnext_tiny_notop.h5", "convnext"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "ConvNeXtTiny")) for name in FAMILIES]
)
def test_a_network_s_features_are_those_that_keras_gives(name, home, monkeypatch):
    file, module = FAMILIES[name]
    monkeypatch.setattr(applications, "_is_whole", lambda *_: True)  # of weights that are drawn there is no digest
    theirs = drawn(name, input_shape=(32, 32, 3))
    into_cache(theirs, home, file)
    pixels = noise(32)
    scaled = getattr(keras.applications, module).preprocess_input(pixels.astype("float32"))
    expected = theirs.predict(scaled, verbose=0).mean((1, 2))
    got = networks.find(name, 32).model().predict(pixels, verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_pixels_are_scaled_as_each_family_wants_them():
    pixels = noise(8)
    seen = set()
    for name, application in APPLICATIONS.items():
        module = importlib.import_module(getattr(keras.applications, name).__module__)
        scale, offset = (np.array(each) for each in (application.scaling.scale, application.scaling.offset))
        got = pixels * scale + offset
        got = got[..., ::-1] if application.scaling.bgr else got
        np.testing.assert_allclose(got, module.preprocess_input(pixels.astype("float32")), atol=1e-4, err_msg=name)
        seen.add(application.scaling)
    assert len(seen) == 4


def test_every_network_of_keras_is_in_the_table():
    there = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(APPLICATIONS) == there
    assert {applications.default_px(each) % 32 for each in APPLICATIONS.values()} == {0}


@pytest.mark.slow
def test_weights_of_one_s_own_for_a_network_of_keras(tmp_path):
    theirs = drawn("MobileNetV2", input_shape=(32, 32, 3))
    theirs.save_weights(tmp_path / "mine.weights.h5")
    network = networks.find(f"MobileNetV2:{tmp_path}/mine.weights.h5", 32)
    assert (network.name, network.licence) == ("MobileNetV2:mine.weights.h5", None)
    pixels = noise(32)
    expected = theirs.predict(pixels / 127.5 - 1, verbose=0).mean((1, 2))
    np.testing.assert_allclose(features_of(network, tmp_path, pixels), expected, rtol=1e-3, atol=1e-3)


@pytest.fixture
def own(tmp_path) -> Path:
    """A small network in a `.keras` file."""
    keras.utils.set_random_seed(5)
    pixels = keras.Input((None, None, 3))
    x = layers.Conv2D(12, 5, 2, use_bias=False)(layers.Rescaling(1 / 64, -2)(pixels))
    x = layers.Conv2D(16, 3, 2)(layers.ReLU()(layers.BatchNormalization()(x)))
    model = keras.Model(pixels, layers.Dense(3, "softmax")(layers.GlobalMaxPooling2D()(layers.ReLU()(x))))
    model.save(tmp_path / "my net.keras")
    return tmp_path / "my net.keras"


def test_a_backbone_that_would_take_too_much_is_named_before_it_is_kept(own, tmp_path, monkeypatch):
    monkeypatch.setattr(graphcheck, "MOST_WORK", 1000)
    with pytest.raises(BackboneError, match=r"of 64 px it would take over 1,000 .*Give a smaller --size") as error:
        networks.find(str(own), 64).graph(tmp_path / "cache", None)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "cache").exists()


def test_a_network_of_one_s_own_goes_the_whole_road(own, photos, tmp_path, monkeypatch):
    got = api.train(photos, backbone=str(own), size=64, cache=tmp_path / "cache", progress=False)
    manifest = got.bundle.manifest
    assert manifest["provenance"]["backbone"]["name"] == "my net.keras"
    assert str(tmp_path) not in json.dumps(manifest)
    model = keras.saving.load_model(own)
    pixels = np.stack([load(str(path), Preprocess(64)) for path in sorted((photos / "circles").iterdir())[:4]])
    outputs = Engine(got.bundle.members["model.onnx"]).run(pixels)
    seen = keras.Model(model.inputs[0], model.layers[-1].input).predict(pixels.astype("float32"), verbose=0)
    np.testing.assert_allclose(outputs.embedding, seen, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        got.keras_model.predict(pixels, verbose=0), outputs.logits / manifest["temperature"], rtol=1e-3, atol=1e-3
    )
    nodes = {node.op_type for node in _nodes(got.bundle.members["model.onnx"])}
    assert "BatchNormalization" not in nodes

    from tellapart import graphs

    monkeypatch.setattr(graphs, "features_to_onnx", lambda _: pytest.fail("exported again"))
    again = api.train(photos, backbone=str(own), size=64, cache=tmp_path / "cache", progress=False)
    assert again.bundle.members["model.onnx"] == got.bundle.members["model.onnx"]
    plan = api.plan(photos, backbone=str(own), size=64, cache=tmp_path / "cache", progress=False)
    assert plan["recipe"]["backbone"] == "my net.keras"


def _nodes(graph: bytes):
    import onnx

    return onnx.load_from_string(graph).graph.node


def test_a_kept_graph_is_verified_and_cleared(own, tmp_path):
    network, folder = networks.find(str(own), 32), tmp_path / "cache"
    first = network.graph(folder, None)
    (kept,) = (folder / "graphs").iterdir()
    kept.write_bytes(first[:-1] + b"x")
    assert network.graph(folder, None) == first
    assert kept.read_bytes() == first
    assert cache.clear(folder) == len(first)
    assert not (folder / "graphs").exists()


def test_the_graph_with_a_head_has_its_logits(own, tmp_path):
    network = networks.find(str(own), 32)
    head = Head(np.eye(16, 2, dtype=np.float32), np.array([1, 2], np.float32))
    outputs = Engine(network.graph(tmp_path, head)).run(noise(32))
    np.testing.assert_allclose(outputs.logits, outputs.embedding[:, :2] + [1, 2], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mobilenetv2", "Did you mean MobileNetV2?"),
        ("EfficientNetV2-B0", "Did you mean EfficientNetV2B0?"),
        ("efficientnet-lite3", r"Did you mean efficientnet-lite\d?"),
        ("zzz", "Of Keras there are MobileNet, "),
        ("MobilNetV2:x.weights.h5", "Did you mean MobileNetV2?"),
        ("https://example.org/x.keras", "must be a name or a file of this machine"),
        ("hf://user/model", "must be a name or a file of this machine"),
        ("x.h5", r"must be a \.keras file; got x.h5"),
        ("folder/x.pkl", r"must be a \.keras file"),
        ("x.weights.h5", "must say whose weights these are"),
        ("MobileNetV2:x.h5", r"must name weights alone, a \.weights\.h5 file; got x\.h5"),
    ],
)
def test_names_that_are_none(name, said):
    with pytest.raises(SettingsError, match=said):
        networks.find(name)


@pytest.mark.parametrize("name", ["no/such.keras", "MobileNetV2:no/such.weights.h5"])
def test_files_that_are_not_there(name):
    with pytest.raises(BackboneError, match="must name a file that exists"):
        networks.find(name)


def test_a_size_that_a_network_does_not_take(home):
    with pytest.raises(SettingsError, match=r"--size must suit InceptionV3; of 32 px Keras says: .* Try --size 288"):
        networks.find("InceptionV3", 32)


def test_installed_networks_need_no_keras_to_be_found():
    for name, backbone in BACKBONES.items():
        network = networks.find(name)
        assert (network.name, network.size_px, network.fingerprint) == (name, 288, backbone.source.sha256)


def test_download_goes_with_a_backbone(photos):
    with pytest.raises(SettingsError, match="--download goes with --backbone NAME"):
        plans.choose(catalogs.scan(photos), "auto", {"download": True})


def test_where_keras_keeps_its_files(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert Wanted("x.h5", "", None).path == tmp_path / "models" / "x.h5"
    monkeypatch.delenv("KERAS_HOME")
    assert Wanted("x.h5", "", None).path == Path.home() / ".keras" / "models" / "x.h5"
