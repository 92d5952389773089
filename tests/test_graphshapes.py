"""Shapes that are found beforehand against those that ONNX Runtime computes, node by node and for two batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tellapart import graphcheck
from tellapart.graphvalues import BATCH

INPUT = (4, 8, 6)  # behind the batch


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def one(operator: str, *constants: np.ndarray | None, **attributes: Any) -> list[tuple[str, list[Any], dict[str, Any]]]:
    """One node on the input and constants."""
    return [(operator, ["x", *constants], attributes)]


CHAIN: dict[str, list[tuple[str, list[Any], dict[str, Any]]]] = {
    "Relu": one("Relu"),
    "Clip": one("Clip", np.float32(0), np.float32(6)),
    "Softmax": one("Softmax", axis=1),
    "Add a bias": one("Add", floats(4, 1, 1)),
    "Add more dimensions": one("Add", floats(2, 1, 1, 1, 1)),
    "Mul by one": one("Mul", np.float32(2)),
    "Greater": one("Greater", np.float32(0)),
    "Min": one("Min", np.float32(0), floats(6)),
    "PRelu": one("PRelu", floats(4, 1, 1)),
    "Cast": one("Cast", to=TensorProto.INT64),
    "BatchNormalization": one("BatchNormalization", floats(4), floats(4), floats(4), floats(4)),
    "InstanceNormalization": one("InstanceNormalization", floats(4), floats(4)),
    "LayerNormalization": one("LayerNormalization", floats(6), floats(6), axis=-1),
    "Conv": one("Conv", floats(5, 4, 3, 3)),
    "Conv, all settings": one("Conv", floats(6, 2, 3, 2), group=2, pads=[1, 2, 3, 0], strides=[2, 3], dilations=[2, 1]),
    "Conv SAME_UPPER": one("Conv", floats(5, 4, 3, 3), auto_pad="SAME_UPPER", strides=[3, 2]),
    "Conv SAME_LOWER": one("Conv", floats(5, 4, 2, 2), auto_pad="SAME_LOWER", strides=[2, 2]),
    "Conv VALID": one("Conv", floats(5, 4, 3, 3), auto_pad="VALID", strides=[2, 2]),
    "depthwise Conv": one("Conv", floats(8, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    "ConvTranspose": one("ConvTranspose", floats(4, 3, 3, 3), strides=[2, 3]),
    "ConvTranspose, all settings": one(
        "ConvTranspose", floats(4, 3, 3, 2), strides=[2, 3], pads=[1, 0, 1, 1], output_padding=[1, 0], group=2,
        dilations=[2, 1],
    ),
    "ConvTranspose SAME": one("ConvTranspose", floats(4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    "ConvTranspose to a shape": one("ConvTranspose", floats(4, 3, 3, 3), strides=[2, 2], output_shape=[17, 12]),
    "MaxPool": one("MaxPool", kernel_shape=[3, 2], strides=[2, 2]),
    "MaxPool, ceil": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "AveragePool SAME": one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    "AveragePool with pads": one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0]),
    "GlobalAveragePool": one("GlobalAveragePool"),
    "MatMul": one("MatMul", floats(6, 7)),
    "MatMul with a vector": one("MatMul", floats(6)),
    "MatMul of stacks": one("MatMul", floats(4, 6, 5)),
    "Gemm": [("Flatten", ["x"], {}), ("Gemm", ["y0", floats(192, 3), floats(3)], {})],
    "Gemm, transposed": [("Flatten", ["x"], {}), ("Gemm", ["y0", floats(3, 192)], {"transB": 1})],
    "Einsum": one("Einsum", floats(6, 4, 3), equation="bchw,wcd->bhd"),
    "Transpose": one("Transpose", perm=[0, 2, 3, 1]),
    "Flatten": one("Flatten", axis=2),
    "Flatten from behind": one("Flatten", axis=-1),
    "Reshape": one("Reshape", ints(-1, 8, 24)),
    "Reshape, sides kept": one("Reshape", ints(0, 0, -1)),
    "Squeeze": [("GlobalMaxPool", ["x"], {}), ("Squeeze", ["y0", ints(2, -1)], {})],
    "Unsqueeze": one("Unsqueeze", ints(1, -1)),
    "Concat": [("Relu", ["x"], {}), ("Concat", ["x", "y0", "x"], {"axis": -2})],
    "Slice": one("Slice", ints(1, -5), ints(3, 2**63 - 1), ints(1, 2), ints(1, 2)),
    "Slice with the batch": one("Slice", ints(0, 2), ints(2**31 - 1, 100), ints(0, 3)),
    "Slice backwards": one("Slice", ints(-1), ints(-(2**63) + 1), ints(3), ints(-1)),
    "Slice backwards a part": one("Slice", ints(6, 4), ints(1, 0), ints(2, 3), ints(-2, -1)),
    "Gather": one("Gather", np.array([[0, 2], [1, 1]], np.int64), axis=2),
    "Gather one": one("Gather", np.array(3, np.int64), axis=1),
    "Split": one("Split", ints(1, 3), axis=1),
    "Expand": one("Expand", ints(2, 1, 4, 1, 6)),
    "Tile": one("Tile", ints(1, 2, 1, 3)),
    "Pad": one("Pad", ints(0, 1, 2, 0, 0, 0, 3, -1)),
    "Pad some axes": one("Pad", ints(1, 2), None, ints(3)),
    "Resize to sizes": [
        ("Shape", ["x"], {}),
        ("Gather", ["y0", ints(0, 1)], {}),
        ("Concat", ["y1", ints(16, 3)], {"axis": 0}),
        ("Resize", ["x", None, None, "y2"], {}),
    ],
    "Resize by scales": one("Resize", None, np.array([1, 1, 1.7, 0.4], np.float32), mode="linear"),
    "DepthToSpace": one("DepthToSpace", blocksize=2),
    "SpaceToDepth": one("SpaceToDepth", blocksize=2),
    "ReduceMean": one("ReduceMean", axes=[-1, 1], keepdims=0),
    "ReduceMax": one("ReduceMax", axes=[2]),
    "ReduceSum": one("ReduceSum", ints(1, 3), keepdims=0),
    "ReduceSum of all sides": one("ReduceSum"),
    "ReduceSum of none": one("ReduceSum", ints(), noop_with_empty_axes=1),
    "QuantizeLinear": one("QuantizeLinear", np.float32(0.1), np.uint8(3)),
    # What exporters do with the size of a batch
    "Shape and back": [
        ("Shape", ["x"], {}),
        ("Gather", ["y0", ints(0)], {}),
        ("Concat", ["y1", ints(24, -1)], {"axis": 0}),
        ("Reshape", ["x", "y2"], {}),
    ],
    "Shape, multiplied": [
        ("Shape", ["x"], {"start": 0, "end": 1}),
        ("Mul", ["y0", ints(8)], {}),
        ("Concat", ["y1", ints(4, 6)], {"axis": 0}),
        ("Reshape", ["x", "y2"], {}),
    ],
    "Shape, sliced and cast": [
        ("Shape", ["x"], {}),
        ("Cast", ["y0"], {"to": TensorProto.INT32}),
        ("Slice", ["y1", ints(0), ints(2), ints(0)], {}),
        ("Cast", ["y2"], {"to": TensorProto.INT64}),
        ("ReduceProd", ["y3"], {"keepdims": 1}),
        ("Concat", ["y4", ints(-1)], {"axis": 0}),
        ("Reshape", ["x", "y5"], {}),
    ],
    "ConstantOfShape": [
        ("Shape", ["x"], {}),
        ("Slice", ["y0", ints(0), ints(1), ints(0)], {}),
        ("Concat", ["y1", ints(5)], {"axis": 0}),
        ("ConstantOfShape", ["y2"], {}),
    ],
    "the batch put behind": [
        ("Transpose", ["x"], {"perm": [1, 2, 3, 0]}),
        ("Reshape", ["y0", ints(32, -1)], {}),
        ("Transpose", ["y1"], {"perm": [1, 0]}),
    ],
}  # fmt: skip


def model(nodes: list[tuple[str, list[Any], dict[str, Any]]]) -> tuple[bytes, str]:
    """A graph of nodes y0, y1, …, with their constants, and the name of its output."""
    made, constants = [], []
    for i, (operator, inputs, attributes) in enumerate(nodes):
        names = []
        for each in inputs:
            if each is None or isinstance(each, str):
                names.append(each or "")
            else:
                constants.append(numpy_helper.from_array(np.asarray(each), f"c{len(constants)}"))
                names.append(constants[-1].name)
        outputs = [f"y{i}", f"z{i}"] if operator == "Split" else [f"y{i}"]
        made.append(helper.make_node(operator, names, outputs, **attributes))
    last = f"y{len(nodes) - 1}"
    kind = {"Cast": TensorProto.INT64, "Greater": TensorProto.BOOL, "QuantizeLinear": TensorProto.UINT8}
    graph = helper.make_graph(
        made,
        "by hand",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", *INPUT])],
        [helper.make_tensor_value_info(last, kind.get(nodes[-1][0], TensorProto.FLOAT), None)],
        constants,
    )
    opset = [helper.make_opsetid("", 17)]
    if any(each[0] == "Pad" and len(each[1]) > 3 for each in nodes):
        opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString(), last


@pytest.mark.parametrize("name", CHAIN)
def test_shapes_are_those_that_come_out(name: str) -> None:
    file, last = model(CHAIN[name])
    shape = graphcheck.values(file)[last].shape
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    for n in (1, 3):
        (got,) = session.run([last], {"x": np.zeros((n, *INPUT), np.float32)})
        assert got.shape == tuple(n * (side // BATCH) if side >= BATCH else side for side in shape)


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        (one("Slice", ints(0), ints(1), ints(0)), "must take the whole batch"),
        (one("Slice", ints(1), ints(2**31 - 1), ints(0)), "must take the whole batch"),
        (one("Split", ints(1, 1), axis=0), "must not divide the batch"),
        (one("Pad", ints(1, 0, 0, 0, 0, 0, 0, 0)), "must not pad the batch"),
        (one("Resize", None, np.array([2, 1, 1, 1], np.float32)), "1 for the batch"),
        (one("Resize", None, None, ints(7, 4, 8, 6)), "must not resize the batch"),
        (one("Reshape", ints(7, -1)), "its shape must fit its input"),
        (one("Reshape", ints(2**61 - 1, 192)), "whole numbers that are known"),
        (one("Expand", ints(2**61 - 1, 4, 8, 6)), "whole numbers that are known"),
        (one("Tile", ints(1, 1, 1, -1)), "must repeat each axis"),
        (one("MatMul", floats(5, 5)), "matrices must fit each other"),
        (one("Conv", floats(5, 3, 3, 3)), "must fit its input"),
        (one("Conv", floats(5, 4, 9, 9)), "window is larger than its input"),
        (one("Conv", floats(5, 4, 3, 3), strides=[0, 1]), "must be 1 or more"),
        (one("Transpose", perm=[0, 1, 1, 2]), "must name every axis once"),
        (one("Concat", floats(2, 2), axis=0), "its inputs must fit each other"),
        (one("Gather", ints(0), axis=9), "its axis must be one of 4"),
        (one("Einsum", floats(6, 4), equation="bchw,wc"), "must name every axis by a letter"),
        (one("Flatten", axis=7), "its axis must be one of its input"),
        (
            [("Shape", ["x"], {}), ("Sub", ["y0", ints(1, 0, 0, 0)], {}), ("Expand", [floats(1), "y1"], {})],
            "does not grow with the batch in proportion",
        ),
        (
            [("Shape", ["x"], {}), ("Div", ["y0", ints(2, 1, 1, 1)], {}), ("Expand", [floats(1), "y1"], {})],
            "does not grow with the batch in proportion",
        ),
        ([("Shape", ["x"], {}), ("Max", ["y0", ints(1)], {}), ("Expand", [floats(1), "y1"], {})], "known before"),
        ([("Transpose", ["x"], {}), ("MatMul", ["x", "y0"], {})], "must fit each other"),
        (
            [("Shape", ["x"], {}), ("Gather", ["y0", ints(0, 0)], {}), ("ConstantOfShape", ["y1"], {})],
            "grows with more than the batch",
        ),
        (
            [("Transpose", ["x"], {"perm": [1, 2, 0, 3]}), ("MaxPool", ["y0"], {"kernel_shape": [1, 1]})],
            "must not lie along the batch",
        ),
        (one("Pad", ints(0, 0, 0, -5, 0, 0, 0, -5)), "a side of its result is -4"),
        (one("Pad", ints(1, 1, 1)), "its pads must be two an axis"),
        (one("Pad", ints(0, 0, 0, 4097, 0, 0, 0, 0)), "of at most 4,096"),
        (one("Add", floats(5, 1, 1)), "shapes must fit each other"),
        (one("PRelu", floats(2, 1, 1, 1, 1)), "its slopes must fit"),
        (one("Flatten", axis=2**31), "must be a whole number below"),
        (one("ReduceMean", axes=[1, 1]), "must each stand once"),
        (one("QuantizeLinear", floats(2, 2), np.uint8(3)), "its scale must be one number"),
        (one("InstanceNormalization", floats(4, 1), floats(4)), "must have one number a channel"),
        (one("BatchNormalization", *[floats(4)] * 4, training_mode=1), "and not be in training"),
        (one("LayerNormalization", floats(2, 1, 1, 1, 6), axis=-1), "its scale and bias must fit"),
        (one("Conv"), "its input 1 is missing"),
        (one("Conv", floats(5, 4, 3, 3), strides=[2**31, 1]), "must be whole numbers below"),
        (one("Conv", floats(5, 4, 3, 3), pads=[1, 1, 1]), "as many sides as its input"),
        (one("Conv", "x"), "its weights must be constants"),
        (one("ConvTranspose", floats(5, 3, 3, 3)), "its weights must be constants that fit"),
        (one("ConvTranspose", floats(4, 3, 3, 3), pads=[1, 1, 1]), "as many sides as its input"),
        (one("ConvTranspose", floats(4, 3, 3, 3), pads=[5000] * 4), "from 0 to 4,096"),
        (one("MatMul", np.float32(2)), "must take matrices"),
        (one("Gemm", floats(6, 3)), "must take matrices"),
        ([("Flatten", ["x"], {}), ("Gemm", ["y0", floats(100, 3)], {})], "matrices must fit each other"),
        ([("Flatten", ["x"], {}), ("Gemm", ["y0", floats(192, 3), floats(1, 1, 3)], {})], "its bias must fit"),
        ([("Flatten", ["x"], {}), ("GlobalMaxPool", ["y0"], {})], "it must take a map"),
        (one("Einsum", floats(6, 4), equation="bch,wc->bh"), "its equation must fit its inputs"),
        (one("Einsum", floats(6, 5), equation="bchw,wc->bh"), "its equation must fit its inputs"),
        (one("Einsum", floats(6, 4), equation="bchw,wc->bz"), "must give axes that it takes"),
        (one("Reshape", ints(-1, 4, 8, 6, 0)), "keeps a side that is not there"),
        (one("Reshape", ints(0, -1), allowzero=1), "its shape must fit its input"),
        (one("Reshape", ints(-1, -1)), "its shape must fit its input"),
        (one("Reshape", ints(4, 8, 6)), "its shape must fit its input"),
        (one("Squeeze", ints(1)), "must take away sides of 1 only"),
        (one("Unsqueeze", ints(1, 2, 3, 4, 5)), "it has 9 dimensions; there may be 8"),
        (one("Slice", ints(0), ints(1, 2), ints(1)), "must be as many"),
        (one("Slice", ints(0), ints(1), ints(1), ints(0)), "must not hang on the batch"),
        ([("Shape", ["x"], {}), ("Gather", ["y0", ints(9)], {})], "it takes what is not there"),
        (one("Split", ints(1, 1), axis=1), "its parts must make up its input"),
        ([("Constant", [], {"value_float": 1.0})], "it must hold a tensor"),
        (one("Resize", None, None, ints(1, 2)), "its sizes must be one an axis"),
        (one("Resize", None, floats(3)), "its scales must be constants, one an axis"),
        (one("Resize", None, np.array([1, 1, 0, 1], np.float32)), "must be above 0"),
        (one("DepthToSpace", blocksize=0), "blocks of 1 or more"),
        (one("DepthToSpace", blocksize=3), "its blocks must fit its input"),
        (one("Softplop"), "of a kind that no network"),
    ],
)
def test_what_cannot_be_or_hangs_on_the_batch_otherwise_is_refused(nodes, says: str) -> None:
    file, _ = model(nodes)
    with pytest.raises(ValueError, match=says):
        graphcheck.check(file)
