"""Networks of the user's own: what is taken of them equals what they say themselves; what is not plain is refused."""

import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from tellapart import kerasmodels
from tellapart.errors import BackboneError, SettingsError


def convolutional(side: int | None = 64, ending: tuple = ("dense",), **settings) -> keras.Model:
    """A small network that ends as asked."""
    keras.utils.set_random_seed(3)
    pixels = keras.Input((side, side, 3), **settings)
    x = layers.Rescaling(1 / 255, name="scaling")(pixels)
    x = layers.Conv2D(6, 3, 2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(name="features")(x)
    x = layers.ReLU()(x)
    if "map" not in ending:
        x = layers.GlobalMaxPooling2D(name="pool")(x)
    if "dense" in ending:
        x = layers.Dense(4, name="answer")(x)
    if "softmax" in ending:
        x = layers.Activation("softmax")(x)
    return keras.Model(pixels, x)


def noise(side: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, side, side, 3), dtype=np.uint8)


def saved(model: keras.Model, folder: Path) -> Path:
    model.save(folder / "my.keras")
    return folder / "my.keras"


@pytest.mark.parametrize("ending", [("dense",), ("dense", "softmax"), ()])
def test_what_the_last_dense_layer_sees_is_the_features(ending, tmp_path):
    model = convolutional(ending=ending)
    got = kerasmodels.extractor(saved(model, tmp_path), None)
    pixels = noise(64)
    expected = keras.Model(model.inputs[0], model.get_layer("pool").output).predict(pixels.astype("float32"), verbose=0)
    np.testing.assert_allclose(got.predict(pixels, verbose=0), expected, atol=1e-5)
    assert got.inputs[0].dtype == "uint8"


def test_a_last_map_is_averaged_over_its_places(tmp_path):
    model = convolutional(side=None, ending=("map",))
    got = kerasmodels.extractor(saved(model, tmp_path), 96)
    pixels = noise(96)
    expected = model.predict(pixels.astype("float32"), verbose=0).mean((1, 2))
    np.testing.assert_allclose(got.predict(pixels, verbose=0), expected, atol=1e-5)


def test_sequential_nested_adapted_and_mixed_precision(tmp_path):
    rng = np.random.default_rng(0)
    normal = layers.Normalization()
    normal.adapt(rng.uniform(0, 255, (50, 3)))
    inner = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(5, 3, activation="relu")])
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            normal,
            inner,
            layers.Conv2D(4, 3, dtype="mixed_bfloat16"),
            layers.GlobalAveragePooling2D(dtype="float32", name="pool"),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(loss="mse")  # what it was compiled with is not looked at
    got = kerasmodels.extractor(saved(model, tmp_path), None)
    expected = keras.Model(model.inputs[0], model.get_layer("pool").output)(noise(32).astype("float32"))
    np.testing.assert_allclose(got(noise(32)), expected, atol=0.02)  # of bfloat16
    assert {layer.dtype_policy.name for layer in got.layers[1:]} == {"float32"}


def test_the_size_of_a_fixed_input_is_kept_to(tmp_path):
    path = saved(convolutional(64), tmp_path)
    assert kerasmodels.extractor(path, 64).inputs[0].shape == (None, 64, 64, 3)
    with pytest.raises(SettingsError, match="--size must be that of the network, 64, or be left out; got 96"):
        kerasmodels.extractor(path, 96)


def test_pixels_that_are_not_scaled_are_noticed(tmp_path):
    pixels = keras.Input((64, 64, 3))
    model = keras.Model(pixels, layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1)(layers.Rescaling(1e4)(pixels))))
    with pytest.raises(BackboneError, match=r"must be numbers below 60,000; .* Put its scaling into it"):
        kerasmodels.extractor(saved(model, tmp_path), None)


def test_too_many_features_are_refused(tmp_path):
    pixels = keras.Input((64, 64, 3))
    model = keras.Model(pixels, layers.Dense(2)(layers.Flatten()(pixels)))
    with pytest.raises(BackboneError, match="at most 8,192 features; it gives 12,288 at 64 px"):
        kerasmodels.extractor(saved(model, tmp_path), None)


def test_code_in_a_file_is_never_run(tmp_path):
    ran = tmp_path / "ran"
    pixels = keras.Input((32, 32, 3))
    evil = layers.Lambda(lambda x, to=str(ran): [Path(to).touch(), x][1], output_shape=(32, 32, 3))
    path = saved(keras.Model(pixels, evil(pixels)), tmp_path)
    ran.unlink(missing_ok=True)
    with pytest.raises(BackboneError, match=r"no Lambda and nothing custom.*has Lambda of keras\.layers"):
        kerasmodels.load(path)
    assert not ran.exists()


def rewritten(path: Path, change) -> Path:
    """A copy of a `.keras` file with its configuration changed."""
    other = path.with_name("changed.keras")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                content = json.dumps(change(json.loads(content))).encode()
            target.writestr(name, content)
    return other


def in_place_of_relu(value):
    def change(config):
        layer = next(each for each in config["config"]["layers"] if each["class_name"] == "ReLU")
        layer.update(value)
        return config

    return change


@pytest.mark.parametrize(
    "value",
    [
        {"class_name": "TFSMLayer", "config": {"filepath": "x"}},
        {"class_name": "TorchModuleWrapper"},
        {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"module": "os", "class_name": "system"},
        {"module": None},  # the way of Keras 2, which looks names up elsewhere
        {"module": ["keras.layers"]},
        {"class_name": ["ReLU"]},
        {"registered_name": "somebody>ReLU"},
        {"config": {"name": "x", "activation": {"module": "builtins", "class_name": "function", "config": "get_file"}}},
        {"config": {"name": "x", "f": {"class_name": "__lambda__", "config": {"value": "e30="}}}},
    ],
)
def test_classes_that_are_not_on_the_list_are_refused(value, tmp_path):
    path = rewritten(saved(convolutional(), tmp_path), in_place_of_relu(value))
    with pytest.raises(BackboneError, match="must have Keras' own layers only"):
        kerasmodels.load(path)


@pytest.mark.parametrize("config", [[], "x", {"module": "keras.layers", "class_name": "Dense"}])
def test_what_is_no_model_is_refused(config, tmp_path):
    with pytest.raises(BackboneError, match="must hold a functional or Sequential model"):
        kerasmodels.load(rewritten(saved(convolutional(), tmp_path), lambda _: config))


def test_a_deep_configuration_is_refused(tmp_path):
    deep: list = []
    for _ in range(300):
        deep = [deep]
    path = rewritten(saved(convolutional(), tmp_path), in_place_of_relu({"build_config": deep}))
    with pytest.raises(BackboneError, match="at most 200 deep"):
        kerasmodels.load(path)


def test_other_members_and_cut_files_are_refused(tmp_path):
    path = saved(convolutional(), tmp_path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/../../x", b"")
    with pytest.raises(BackboneError, match=r"and nothing else; it also has 'assets/\.\./\.\./x'"):
        kerasmodels.load(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackboneError, match=r"must be a whole \.keras file"):
        kerasmodels.load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(BackboneError, match=r"must name a \.keras file; .* is none"):
        kerasmodels.load(path)


def test_values_that_lie_elsewhere_are_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(64)))
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("x", (16,), "f4", external=[(str(secret), 0, 64)])
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["x"] = h5py.ExternalLink("external.h5", "x")
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((16,), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "external.h5"), "x", (16,))
        file.create_virtual_dataset("x", layout)
    for name in ("external", "virtual"):
        with pytest.raises(BackboneError, match="must keep its values in itself; /x is elsewhere"):
            kerasmodels.check_hdf5(tmp_path / f"{name}.h5")
    with pytest.raises(BackboneError, match="must have no links in it"):
        kerasmodels.check_hdf5(tmp_path / "link.h5")
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("x", (2**40,), "f4", chunks=True)
    with pytest.raises(BackboneError, match="at most 4,000,000,000 bytes"):
        kerasmodels.check_hdf5(tmp_path / "bomb.h5")
    with h5py.File(tmp_path / "ring.h5", "w") as file:
        file["a"] = file.create_group("b")
        file["b/up"] = file["b"]
    with pytest.raises(BackboneError, match="at most 64 groups deep"):
        kerasmodels.check_hdf5(tmp_path / "ring.h5")
