"""The SavedModel and the LiteRT file, read back: by their own samples, and by TensorFlow and LiteRT in this process."""

import dataclasses
import os
import runpy
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import clouds, draw
from tellapart import bundle as bundles
from tellapart import golden, graphs, guards, preprocess, strangers
from tellapart.engine import Engine
from tellapart.errors import ExportError
from tellapart.export import formats, gate, sidecar, tfprocess

BESIDE = {"README.md", "requirements.txt", "sample.py", "tellapart.json"}
# What TensorFlow's converter says of itself in this process; in its own nobody hears it.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def shapes():
    """Two pictures of one size, uint8 (2, 60, 100, 3)."""
    return np.stack([np.asarray(draw(shape, 5, (100, 60))) for shape in ("circles", "squares")])


@pytest.fixture(scope="module")
def expected(trained, shapes):
    """What the bundle's own graph says of these."""
    squares = np.stack([preprocess.fit(pixels, trained.predictor.preprocess) for pixels in shapes])
    found = Engine(trained.bundle.members["model.onnx"]).run(squares)
    known = strangers.Strangers.from_bytes(trained.bundle.members[strangers.MEMBER])
    scores = known.scores(found.embedding, found.logits)
    probabilities = trained.predictor.probabilities(squares)
    return SimpleNamespace(
        squares=squares, logits=found.logits, embedding=found.embedding, scores=scores, probabilities=probabilities
    )


def in_this_process(bundle, kind, path, squares=None):
    """What `tfprocess.written` has another process do."""
    with tempfile.TemporaryDirectory() as kept:
        bundles.write(bundle, Path(kept, "model.tellapart"))
        if squares is not None:
            np.save(Path(kept, "squares.npy"), squares)
        tfprocess.main(kind, kept, str(path))


def test_square_is_what_the_model_sees_to_the_last_bit():
    import tensorflow as tf

    from tellapart.export import tfnodes

    rng = np.random.default_rng(0)
    for fit in preprocess.FITS:
        square = tf.function(
            lambda pictures, fit=fit: tfnodes.square(pictures, 32, fit),
            input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)],
            autograph=False,
        )
        for shape in ((1, 1), (3, 70), (32, 32), (64, 64), (64, 32), (45, 52), (20, 14), (13, 61), (49 * 32, 64)):
            picture = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
            ours = preprocess.fit(picture, preprocess.Preprocess(32, fit))
            np.testing.assert_array_equal(square(picture[None])[0], ours, err_msg=f"{shape} {fit}")


def test_strangeness_is_the_score_of_the_package():
    import tensorflow as tf

    from tellapart.export import tfnodes

    features, labels = clouds(30, 6.0, n_classes=3)
    logits = (features[:, :3] * 2).astype(np.float32)
    known = strangers.fit(features, labels, 3).settled(features, logits)
    asked = np.concatenate([features, np.random.default_rng(1).normal(size=(20, features.shape[1])) * 9])
    asked = asked.astype(np.float32)
    told = np.concatenate([logits, np.zeros((20, 3), np.float32)])
    score = tfnodes.strangeness(known, tf.constant(asked), tf.constant(told))
    np.testing.assert_allclose(score, known.scores(asked, told), atol=2e-4)


def test_saved_model_takes_pictures_of_any_size(trained, tmp_path, monkeypatch, shapes, expected):
    import tensorflow as tf

    monkeypatch.setattr(tfprocess, "written", in_this_process)
    agreement = sample_in_this_process(trained.bundle, tmp_path, "saved-model")
    assert agreement.probability < 1e-4
    assert agreement.score is not None
    assert agreement.score < 1e-3
    assert set(os.listdir(tmp_path)) == {"model", *BESIDE}
    model = tf.saved_model.load(str(tmp_path / "model" / "1"))
    assert model.classes.numpy().tolist() == [b"circles", b"squares"]
    (taken,) = model.signatures["serving_default"].structured_input_signature[1].values()
    assert (taken.name, taken.dtype, taken.shape.as_list()) == ("pictures", tf.uint8, [None, None, None, 3])
    for pictures in (shapes, expected.squares):
        found = model.signatures["serving_default"](pictures=tf.constant(pictures))
        assert set(found) == {"probabilities", "logits", "embedding", "score"}
        np.testing.assert_allclose(found["probabilities"], expected.probabilities, atol=1e-5)
        np.testing.assert_allclose(found["logits"], expected.logits, atol=1e-4)  # before the temperature
        np.testing.assert_allclose(found["embedding"], expected.embedding, atol=1e-4)
        np.testing.assert_allclose(found["score"], expected.scores, atol=1e-3)


def read_back(content):
    """The signature of a LiteRT file, and the names of its operations."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(model_content=content, num_threads=1)
    return model.get_signature_runner("serving_default"), {each["op_name"] for each in model._get_ops_details()}, model


def test_litert_is_one_file_of_operations_that_are_built_in(trained, tmp_path, expected, capfd):
    done = trained.export("litert", tmp_path / "out")
    assert capfd.readouterr() == ("", "")
    assert set(done.files) == {"model.tflite", *BESIDE}
    assert done.agreement.probability < 1e-4
    answers, operations, _model = read_back((tmp_path / "out" / "model.tflite").read_bytes())
    assert "CONV_2D" in operations
    assert not {name for name in operations if "Flex" in name or name == "CUSTOM"}
    for i, square in enumerate(expected.squares):
        found = answers(pictures=square[None])
        assert set(found) == {"probabilities", "logits", "score"}
        np.testing.assert_allclose(found["probabilities"][0], expected.probabilities[i], atol=1e-5)
        np.testing.assert_allclose(found["logits"][0], expected.logits[i], atol=1e-4)
        np.testing.assert_allclose(found["score"][0], expected.scores[i], atol=1e-3)


def test_int8_computes_the_network_in_int8_and_the_score_in_float(trained, tmp_path, expected):
    rng = np.random.default_rng(2)
    drawn = [np.asarray(draw(shape, 50 + i)) for i in range(12) for shape in ("circles", "squares")]
    squares = [preprocess.fit(pixels, trained.predictor.preprocess) for pixels in drawn]
    path = tmp_path / "model.tflite"
    in_this_process(trained.bundle, tfprocess.LITERT, path, np.stack(squares))
    answers, operations, model = read_back(path.read_bytes())
    assert {"QUANTIZE", "DEQUANTIZE", "LOG"} <= operations
    types = {each["name"]: each["dtype"] for each in model.get_tensor_details()}
    assert np.int8 in types.values()
    assert all(kind is not np.int8 for name, kind in types.items() if name.startswith("answer/"))
    noise = rng.integers(0, 256, expected.squares.shape[1:], dtype=np.uint8)
    for square in (*expected.squares, noise):
        (row,) = trained.predictor.probabilities(square[None])
        np.testing.assert_allclose(answers(pictures=square[None])["probabilities"][0], row, atol=0.05)


def of_network(trained, network, temperature):
    """The bundle of a network of 32 px that was trained by nobody, with what the package makes of it."""
    how = {**trained.bundle.manifest, "temperature": temperature}
    members = {
        **trained.bundle.members,
        "model.onnx": graphs.to_onnx(graphs.in_float32(network)),
        "model.keras": graphs.keras_file(graphs.tempered(network, temperature)),
    }
    made = bundles.make(
        {key: value for key, value in how.items() if key not in ("members", "format", "format_version")},
        graph=members["model.onnx"],
        keras_file=members["model.keras"],
        splits=trained.bundle.splits(),
        history_csv="",
        embeddings=np.zeros((len(trained.bundle.splits()["train"]), 1)),
    )
    return golden.kept(made)


def one_sigmoid():
    """A sequential network for two classes that ends in one sigmoid, with a layer that varies pictures in training."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 64),
            layers.RandomFlip(),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(5),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid", use_bias=False),
        ]
    )


def sample_in_this_process(bundle, folder, to):
    """A folder's answers by its own program; TensorFlow is loaded already."""
    known = formats.find(to)
    written = formats.module(known).write(bundle, folder, calibration=None)
    thresholds = guards.from_dict(bundle.manifest["abstention"])
    expected = golden.of(bundle)
    sidecar.write(folder, bundle, known, written, guards=thresholds, golden=expected, quantized=None)
    classifier = runpy.run_path(str(folder / "sample.py"))["Classifier"](folder)

    def answers(_folder, pictures):
        from PIL import Image

        return [{"path": path.name, **classifier(np.asarray(Image.open(path)))} for path in pictures]

    return gate.check(folder, bundle, expected, thresholds, answers=answers)


def test_keras_answers_by_the_file_of_the_bundle(trained, tmp_path):
    agreement = sample_in_this_process(trained.bundle, tmp_path, "keras")
    assert agreement.probability < 1e-4
    assert agreement.score is not None
    assert agreement.score < 1e-3
    assert (tmp_path / "model.keras").read_bytes() == trained.bundle.members["model.keras"]


def test_one_sigmoid_becomes_two_probabilities(trained, tmp_path):
    import tensorflow as tf

    network = one_sigmoid()
    bundle = of_network(trained, network, 1.6)
    (tmp_path / "keras").mkdir()
    assert sample_in_this_process(bundle, tmp_path / "keras", "keras").probability < 1e-4
    in_this_process(bundle, tfprocess.SAVED_MODEL, tmp_path / "saved")
    answers = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    expected = golden.of(bundle)
    for pixels, row in zip(expected.pictures, expected.probabilities, strict=True):
        found = answers(pictures=tf.constant(pixels[None]))
        assert "score" not in found  # this bundle knows no strangers
        np.testing.assert_allclose(found["probabilities"][0], row, atol=1e-4)
        logit = np.log(row[1] / row[0]) * 1.6
        np.testing.assert_allclose(found["logits"][0], [0, logit], atol=1e-3)


def test_a_temperature_that_was_folded_in_twice_is_found(trained, tmp_path):
    hot = graphs.keras_file(graphs.tempered(trained.keras_model, 1.5))
    wrong = dataclasses.replace(trained.bundle, members={**trained.bundle.members, "model.keras": hot})
    with pytest.raises(ExportError, match=r"in its temperature, which is 1\.50 times the model's"):
        sample_in_this_process(wrong, tmp_path, "keras")


def test_a_process_that_fails_says_why(trained, tmp_path):
    damaged = dataclasses.replace(trained.bundle, members={**trained.bundle.members, "model.keras": b""})
    with pytest.raises(ExportError, match=r"ended with status 1: .*its model.keras has not the size that"):
        tfprocess.written(damaged, tfprocess.LITERT, tmp_path / "model.tflite")
    assert not (tmp_path / "model.tflite").exists()
