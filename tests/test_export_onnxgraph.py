"""The exported graph against the package's own code: resize, probabilities, strangeness."""

import numpy as np
import onnxruntime
import pytest

from tellapart import bundle as bundles
from tellapart import strangers
from tellapart.engine import Engine
from tellapart.export import onnxgraph
from tellapart.preprocess import Preprocess, fit

SIZES = [
    # as it is; halves; whole ratios of which one is 1; and of two kinds
    (32, 32), (64, 64), (32, 96), (128, 32), (96, 64), (96, 160),
    # a pixel or two
    (1, 1), (1, 5), (7, 1), (2, 33), (1, 400), (300, 2),
    # shrinking by no whole ratio; growing; one of each; nearly the square
    (47, 61), (500, 333), (700, 41), (20, 15), (16, 16), (9, 90), (90, 9), (31, 33), (33, 31), (31, 31), (33, 33),
]  # fmt: skip


def session(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def picture(height, width, seed=0):
    """Smooth below, noise in the middle, two levels on top, whose means are often exactly between two levels."""
    rng = np.random.default_rng([height, width, seed])
    pixels = np.add.outer(np.arange(height) * 3, np.arange(width) * 2)[..., None] + np.array([0, 70, 140])
    pixels[: height // 3] = rng.integers(0, 256, (height // 3, width, 3))
    pixels[height // 2 :] = 255 * rng.integers(0, 2, (height - height // 2, width, 3))
    return (pixels % 256).astype(np.uint8)


@pytest.mark.parametrize("way", ["squash", "crop"])
def test_its_resize_is_that_of_the_package(way):
    how = Preprocess(32, way)
    graph = session(onnxgraph.square(how))
    n_off = 0
    for height, width in SIZES:
        pixels = picture(height, width)
        expected = fit(pixels, how).astype(int)
        (got,) = graph.run(None, {"pictures": pixels[None]})
        off = np.abs(got[0] - expected)
        assert off.max() <= 1, (height, width)
        n_off += (off > 0).sum()
        if (height, width) == (32, 32):
            np.testing.assert_array_equal(got[0], pixels)
    assert n_off <= 0.002 * len(SIZES) * 32 * 32 * 3


def test_a_large_picture_has_its_weights_as_exactly_as_a_small_one():
    """Places in a row of 12,000 px would be off by a hundredth of a pixel in float32."""
    how = Preprocess(288)
    pixels = picture(11, 12_001)
    (got,) = session(onnxgraph.square(how)).run(None, {"pictures": pixels[None]})
    off = np.abs(got[0].astype(int) - fit(pixels, how))
    assert off.max() <= 1
    assert (off > 0).mean() < 0.001


def test_it_answers_batches_of_any_size_as_the_classifier_does(trained):
    graph = session(onnxgraph.build(trained.bundle))
    assert [each.name for each in graph.get_outputs()] == ["probabilities", "score", "logits", "embedding"]
    known = strangers.Strangers.from_bytes(trained.bundle.members[strangers.MEMBER])
    engine = Engine(trained.bundle.members["model.onnx"])
    for n, height, width in ((3, 50, 70), (1, 32, 32), (2, 5, 200)):
        pictures = np.stack([picture(height, width, seed) for seed in range(n)])
        probabilities, scores, logits, embedding = graph.run(None, {"pictures": pictures})
        squares = np.stack([fit(each, trained.predictor.preprocess) for each in pictures])
        outputs = engine.run(squares)
        np.testing.assert_allclose(probabilities, trained.predictor.probabilities(squares), atol=1e-3)
        np.testing.assert_allclose(logits, outputs.logits, atol=0.02)
        np.testing.assert_allclose(scores, known.scores(outputs.embedding, outputs.logits), atol=0.02, rtol=1e-3)
        np.testing.assert_allclose(scores, known.scores(embedding, logits), atol=1e-3, rtol=1e-4)


def test_squares_alone_are_answered_to_the_bit_and_with_the_map(trained):
    graph = session(onnxgraph.build(trained.bundle, resize=False, feature_map=True))
    assert graph.get_inputs()[0].shape[1:] == [32, 32, 3]
    squares = np.stack([picture(32, 32, seed) for seed in range(2)])
    outputs = Engine(trained.bundle.members["model.onnx"])
    names = [each.name for each in graph.get_outputs()]
    told = dict(zip(names, graph.run(None, {"pictures": squares}), strict=True))
    np.testing.assert_allclose(told["logits"], outputs.run(squares).logits, atol=1e-5)
    np.testing.assert_allclose(told["feature_map"], outputs.feature_map(squares), atol=1e-5)


def test_without_a_way_to_tell_strangers_there_is_no_score(trained):
    members = {name: each for name, each in trained.bundle.members.items() if name != strangers.MEMBER}
    graph = session(onnxgraph.build(bundles.Bundle(trained.bundle.manifest, members)))
    assert [each.name for each in graph.get_outputs()] == ["probabilities", "logits", "embedding"]


def test_what_is_no_number_is_strange(trained):
    """An embedding of zeros has no direction; one that is no number is stranger than all."""
    import onnx
    from onnx import TensorProto, helper

    known = strangers.Strangers.from_bytes(trained.bundle.members[strangers.MEMBER])
    nodes = onnxgraph.Nodes("behind")
    onnxgraph.score(nodes, known)
    width = len(known.centre)
    inputs = [
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", width]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2]),
    ]
    output = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"])
    graph = helper.make_graph(nodes.nodes, "score", inputs, [output], nodes.tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(5, width)).astype(np.float32)
    embedding[0], embedding[1] = 0, np.nan
    logits = np.array([[1, 1], [2, -2], [90, -90], [0.5, 3], [-4, 1]], np.float32)  # a tie, and as good as certain
    (got,) = session(model).run(None, {"embedding": embedding, "logits": logits})
    assert got[1] == np.inf
    np.testing.assert_allclose(got, known.scores(embedding, logits), rtol=1e-4, atol=1e-4)
