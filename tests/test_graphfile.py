"""ONNX files read and cut without the package `onnx`, against that package."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tellapart import graphfile
from tellapart.classifier import Classifier
from tellapart.engine import session


@pytest.fixture(scope="module")
def file(trained: Classifier) -> bytes:
    return trained.bundle.members["model.onnx"]


def test_nodes_attributes_and_constants_are_those_that_onnx_reads(file: bytes) -> None:
    ours, theirs = graphfile.read(file), onnx.load_from_string(file).graph
    assert [(n.operator, n.inputs, n.outputs) for n in ours.nodes] == [
        (n.op_type, tuple(n.input), tuple(n.output)) for n in theirs.node
    ]
    for one, other in zip(ours.nodes, theirs.node, strict=True):
        expected = {a.name: onnx.helper.get_attribute_value(a) for a in other.attribute if a.type != a.TENSOR}
        expected = {key: each.decode() if isinstance(each, bytes) else each for key, each in expected.items()}
        assert one.attributes() == {key: list(v) if isinstance(v, list) else v for key, v in expected.items()}
    assert set(ours.tensors) == {tensor.name for tensor in theirs.initializer}
    for tensor in theirs.initializer:
        if tensor.data_type in (graphfile.FLOAT, graphfile.INT64):
            np.testing.assert_array_equal(ours.constant(tensor.name), numpy_helper.to_array(tensor))
    assert list(ours.outputs) == [output.name for output in theirs.output]
    assert ours.inputs == ("pixels",)


def test_constants_that_are_not_raw() -> None:
    tensors = [
        onnx.helper.make_tensor("floats", onnx.TensorProto.FLOAT, [2, 2], [1.5, -2.0, 0.25, 1e9]),
        onnx.helper.make_tensor("integers", onnx.TensorProto.INT64, [3], [-1, 0, 300]),
    ]
    graph = onnx.helper.make_graph([], "test", [], [], tensors)
    read = graphfile.read(onnx.helper.make_model(graph).SerializeToString())
    np.testing.assert_array_equal(read.constant("floats"), np.array([[1.5, -2.0], [0.25, 1e9]], np.float32))
    np.testing.assert_array_equal(read.constant("integers"), [-1, 0, 300])


def test_exposed_values_are_given_out(file: bytes) -> None:
    inner = next(node.outputs[0] for node in graphfile.read(file).nodes if node.operator == "Conv")
    opened = session(graphfile.exposed(file, [inner]), threads=1)
    assert [output.name for output in opened.get_outputs()] == ["logits", "embedding", "feature_map", inner]
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    before = session(file, threads=1).run(["logits"], {"pixels": pixels})[0]
    np.testing.assert_allclose(opened.run(["logits"], {"pixels": pixels})[0], before, atol=1e-6)


def test_what_is_no_onnx_file_is_said_to_be_none(file: bytes) -> None:
    for rubbish in (b"", b"\x00" * 100, b"not a graph", file[:1000], b"\xff" * 100, b"\x3a\xff\xff\xff\xff\x0f"):
        with pytest.raises(ValueError):
            graphfile.read(rubbish)
    rng = np.random.default_rng(1)
    for _ in range(200):
        damaged = bytearray(file[:4000])
        damaged[int(rng.integers(len(damaged)))] = int(rng.integers(256))
        with pytest.raises(ValueError):
            graphfile.read(bytes(damaged))
