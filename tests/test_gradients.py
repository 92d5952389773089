"""Gradients by hand against differences that are measured."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tellapart import gradients, graphfile
from tellapart.engine import session

SIDE = 9


def graph(nodes: list, constants: dict[str, np.ndarray], classes: int = 3) -> bytes:
    """Nodes from `pixels`, float32 (B, 2, 9, 9), to `logits`, the first of them with a stride."""
    body = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 2, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def node(operator: str, inputs: list[str], output: str, **attributes):
    return helper.make_node(operator, inputs, [output], **attributes)


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


FIRST = [
    node("Conv", ["pixels", "first"], "raw", pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
    node("Relu", ["raw"], "inner"),
]
ENDS = {
    "depthwise, same, pooled": [
        node("Conv", ["inner", "depth"], "a", group=4, strides=[2, 2], auto_pad="SAME_UPPER", kernel_shape=[3, 3]),
        node("Clip", ["a", "zero", "six"], "b"),
        node("Conv", ["b", "point", "shift"], "c"),
        node("Add", ["c", "c"], "d"),
        node("GlobalAveragePool", ["d"], "e"),
        node("Flatten", ["e"], "f"),
        node("Gemm", ["f", "kernel5"], "logits"),
    ],
    "max pooling that leaves a row over, dense": [
        node("MaxPool", ["inner"], "a", kernel_shape=[2, 2], strides=[2, 2]),
        node("Relu", ["a"], "b"),
        node("Transpose", ["b"], "c", perm=[0, 2, 3, 1]),
        node("Reshape", ["c", "flat"], "d"),
        node("MatMul", ["d", "kernel64"], "e"),
        node("Add", ["e", "bias"], "f"),
        node("Tanh", ["f"], "logits"),
    ],
    "average pooling with padding, swish, a mean": [
        node("AveragePool", ["inner"], "a", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Sigmoid", ["a"], "b"),
        node("Mul", ["a", "b"], "c"),
        node("ReduceMean", ["c", "sides"], "d", keepdims=0),
        node("Sub", ["d", "shift4"], "e"),
        node("Gemm", ["e", "kernel4"], "logits", transB=1),
    ],
    "two branches with a stride, joined": [
        node("Conv", ["inner", "wide"], "a", strides=[2, 2], pads=[2, 2, 2, 2]),
        node("MaxPool", ["inner"], "b", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
        node("Concat", ["a", "b"], "c", axis=1),
        node("GlobalMaxPool", ["c"], "d"),
        node("Flatten", ["d"], "e"),
        node("Gemm", ["e", "kernel9", "bias"], "logits", alpha=0.5),
    ],
}
CONSTANTS = {
    "first": values(4, 2, 3, 3), "depth": values(4, 1, 3, 3), "zero": np.float32(0), "six": np.float32(6),
    "point": values(5, 4, 1, 1), "shift": values(5), "shift4": values(4), "kernel5": values(5, 3),
    "flat": np.array([-1, 64]),
    "kernel64": 0.1 * values(64, 3), "bias": values(3), "sides": np.array([2, 3]), "kernel4": values(3, 4),
    "wide": values(5, 4, 5, 5), "kernel9": values(9, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_gradient_is_what_small_changes_measure(name: str) -> None:
    file = graph([*FIRST, *ENDS[name]], {key: np.asarray(value) for key, value in CONSTANTS.items()})
    read = graphfile.read(file)
    way = gradients.way(read, "logits")
    assert way is not None
    assert way.inner == "inner"
    pixels = values(1, 2, SIDE, SIDE, seed=5)
    inner = [each for each in way.values if each != "logits"]
    running = session(graphfile.exposed(file, inner), threads=1)
    known = dict(zip(["logits", *inner], running.run(["logits", *inner], {"pixels": pixels}), strict=True))
    weights = np.array([[1.0, -2.0, 0.5]], np.float32)
    slope = way.back(known, weights)

    behind = [each for each in read.nodes if each.outputs[0] not in ("raw", "inner")]
    given = graphfile.value("inner", [None, *slope.shape[1:]])
    end = session(graphfile.written(read, behind, [given], [read.outputs["logits"]]), threads=1)

    def answer(inner_map: np.ndarray) -> float:
        return float((end.run(None, {"inner": inner_map})[0] * weights).sum())

    rng = np.random.default_rng(3)
    agreed = 0
    for _ in range(20):
        place = tuple(rng.integers(side) for side in slope.shape)
        moved = np.zeros_like(slope)
        moved[place] = 2e-3
        measured = (answer(known["inner"] + moved) - answer(known["inner"] - moved)) / 4e-3
        agreed += measured == pytest.approx(float(slope[place]), abs=5e-3, rel=0.03)
    assert agreed >= 18  # a change may cross a bend of an activation


def test_no_way_through_a_node_that_is_not_known_or_without_a_stride() -> None:
    unknown = [*ENDS["depthwise, same, pooled"]]
    unknown[1] = node("Erf", ["a"], "b")
    constants = {key: np.asarray(value) for key, value in CONSTANTS.items()}
    assert gradients.way(graphfile.read(graph([*FIRST, *unknown], constants)), "logits") is None
    plain = [
        node("GlobalAveragePool", ["inner"], "e"),
        node("Flatten", ["e"], "f"),
        node("Gemm", ["f", "kernel4b"], "logits"),
    ]
    constants["kernel4b"] = values(4, 3)
    assert gradients.way(graphfile.read(graph([*FIRST, *plain], constants)), "logits") is None
