"""Networks of the user's own: what is taken of them equals what they say themselves; what is not plain is refused."""

import json
import os
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from hostilebundles import good
from tellapart import classifier, kerasmodels, zipmembers
from tellapart.errors import BackboneError, BundleError, SettingsError
from tellapart.export import kerasfolder


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
        {"config": {"activation": {"module": "builtins", "class_name": "function", "config": "deserialize"}}},
        {"config": {"activation": {"module": "keras.activations", "class_name": "function", "config": "get"}}},
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
    with pytest.raises(BackboneError, match="at most 1,800,000,000 bytes"):
        kerasmodels.check_hdf5(tmp_path / "bomb.h5")
    with h5py.File(tmp_path / "ring.h5", "w") as file:
        file["a"] = file.create_group("b")
        file["b/up"] = file["b"]
    with pytest.raises(BackboneError, match="at most 64 groups deep"):
        kerasmodels.check_hdf5(tmp_path / "ring.h5")


def with_weights(path: Path, change) -> Path:
    """A copy of a `.keras` file whose file of weights was changed in place."""
    other, weights = path.with_name("weights.keras"), path.with_name("changed.h5")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "model.weights.h5":
                weights.write_bytes(content)
                with h5py.File(weights, "r+") as file:
                    change(file)
                content = weights.read_bytes()
            target.writestr(name, content)
    return other


def tables(file: h5py.File) -> list[h5py.Dataset]:
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return found


def anew(file: h5py.File, **settings) -> None:
    """The largest table once more, with other settings."""
    table = max(tables(file), key=lambda each: each.size)
    name, values = table.name, table[()]
    del file[name]
    file.create_dataset(name, values.shape, values.dtype, **settings)


def test_weights_that_are_not_there_packed_or_no_numbers_are_refused(tmp_path):
    path = saved(convolutional(), tmp_path)
    for change, says in (
        (lambda file: anew(file), "must hold its values itself; those of .* are not there"),
        (lambda file: anew(file, compression="gzip"), "must hold its values as they are; .* is packed"),
        (lambda file: tables(file)[0].write_direct(np.full(tables(file)[0].shape, np.nan, "f4")), "must be numbers"),
    ):
        with pytest.raises(BackboneError, match=says):
            kerasmodels.load(with_weights(path, change))


def test_a_file_without_permission_and_a_model_without_input_are_refused(tmp_path, monkeypatch):
    def without_input(config):
        config["config"]["layers"].pop(0)
        config["config"].pop("build_input_shape", None)
        config.pop("build_config", None)
        return config

    path = saved(keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2)]), tmp_path)
    with pytest.raises(BackboneError, match="it says: it is no built model"):
        kerasmodels.load(rewritten(path, without_input))
    monkeypatch.setattr(kerasmodels.os, "access", lambda *_: False)  # chmod does not bind the administrator
    with pytest.raises(BackboneError, match="permission denied"):
        kerasmodels.load(path)


def test_members_and_tables_have_bounds(tmp_path, monkeypatch):
    path = saved(convolutional(), tmp_path)
    monkeypatch.setattr(kerasmodels, "MAX_NODES", 5)
    with pytest.raises(BackboneError, match="must hold weights of at most"):
        kerasmodels.load(path)
    for name in kerasmodels.LIMITS:
        with monkeypatch.context() as patch:
            patch.setitem(kerasmodels.LIMITS, name, zipmembers.Limit(60, ratio=1000))
            with pytest.raises(BackboneError, match=f"its member {name} must be at most 60 bytes; it has "):
                kerasmodels.load(path)


def test_a_configuration_that_asks_for_more_than_the_file_has_makes_nothing(tmp_path, monkeypatch):
    """A Dense layer of 10^9 units behind 6 features would take 24 GB."""

    def large(config):
        config["config"]["layers"][-1]["config"]["units"] = 10**9
        return config

    path = rewritten(saved(convolutional(), tmp_path), large)
    made = []
    monkeypatch.setattr(keras.initializers.GlorotUniform, "__call__", lambda *_, **__: made.append(1))
    with pytest.raises(BackboneError, match=r"must have its weights in it; its layers ask for [0-9,]{9,} numbers"):
        kerasmodels.load(path)
    with keras.StatelessScope():
        pass  # what waits to be made is made at its end
    assert made == []


def test_a_bundles_own_file_goes_the_same_way(tmp_path):
    """`Classifier.keras_model` and every export that needs Keras."""
    ran = tmp_path / "ran"
    pixels = keras.Input((32, 32, 3))
    evil = layers.Lambda(lambda x, to=str(ran): [Path(to).touch(), x][1], output_shape=(32, 32, 3))
    lambda_file = saved(keras.Model(pixels, evil(pixels)), tmp_path).read_bytes()
    ran.unlink(missing_ok=True)
    model = classifier.Classifier(good(model_keras=lambda_file))
    with pytest.raises(BundleError, match=r"The bundle's model\.keras has Lambda"):
        _ = model.keras_model
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleError, match=r"The bundle's model\.keras has Lambda"):
        kerasfolder.write(model.bundle, tmp_path / "out", calibration=None)
    assert os.listdir(tmp_path / "out") == []
    assert not ran.exists()
    sound = convolutional()
    sound_file = saved(sound, tmp_path).read_bytes()
    found = classifier.Classifier(good(model_keras=sound_file)).keras_model
    for mine, theirs in zip(found.get_weights(), sound.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
