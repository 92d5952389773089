"""A bundle's graph from a decoded picture of any size to calibrated probabilities: what ONNX Runtime, OpenVINO and a
browser are given.

Nodes are put before and behind the bundle's own `model.onnx`, which stays as it is:

- before it the resize of `preprocess.fit`, in the arithmetic of OpenCV. Where a side shrinks each new pixel is a mean
  of the pixels that it covers, by weights that the graph makes from the picture's shape: `cv2.INTER_AREA`. Where a side
  grows: `cv2.INTER_LINEAR` in its fixed point, whose whole numbers float32 holds exactly. A picture that is S × S
  passes unchanged.
- behind it the temperature, softmax, and the score of strangeness (`strangers.Strangers.scores`).

Numbers of pixels are computed in whole numbers, so that a large picture has its weights as exactly as a small one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tellapart import engine, preprocess, strangers
from tellapart.bundle import Bundle
from tellapart.engine import EMBEDDING, FEATURE_MAP, LOGITS

PICTURES = "pictures"  # the input, uint8 (B, H, W, 3), or (B, S, S, 3) without the resize
PROBABILITIES, SCORE = "probabilities", "score"  # float32 (B, C) and (B,)
OPSET = 18
LEAST_SHARE = 1000  # OpenCV leaves out what covers less than a thousandth of a pixel
BITS = 2048.0  # of OpenCV's weights of interpolation


def build(bundle: Bundle, *, resize: bool = True, feature_map: bool = False) -> onnx.ModelProto:
    """The whole graph.

    Args:
        bundle: the model.
        resize: take pictures of any height and width (all of a batch alike); else squares, (B, S, S, 3).
        feature_map: give the last feature map as well, float32 (B, h, w, K).

    Returns:
        A checked model. Input: `pictures`. Outputs: `probabilities` float32 (B, C), `score` float32 (B,) where the
        bundle can tell strangers, `logits` float32 (B, C), `embedding` float32 (B, D), and `feature_map` if asked for.

    Raises:
        BundleError: the bundle's graph is none that a runtime can be given.
    """
    engine.check(bundle.members["model.onnx"])  # not every runtime that this is written for checks it
    model = onnx.load_from_string(bundle.members["model.onnx"])
    graph = model.graph
    how = preprocess.Preprocess.from_dict(bundle.manifest["preprocess"])
    (pixels,) = (value.name for value in graph.input)
    before, behind = Nodes("before"), Nodes("behind")
    if resize:
        before.named("Identity", _square(before, PICTURES, how), output=pixels)
    else:
        before.named("Identity", PICTURES, output=pixels)
    temperature = float(bundle.manifest["temperature"])
    cooled = behind("Div", LOGITS, behind.constant(np.float32(temperature)))
    behind.named("Softmax", cooled, output=PROBABILITIES, axis=-1)
    known = bundle.members.get(strangers.MEMBER)
    if known is not None:
        score(behind, strangers.Strangers.from_bytes(known))
    own = list(graph.node)
    del graph.node[:]
    graph.node.extend([*before.nodes, *own, *behind.nodes])
    graph.initializer.extend([*before.tensors, *behind.tensors])
    sides = ["height", "width"] if resize else [how.size_px] * 2
    outputs = {value.name: value for value in graph.output}
    del graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info(PICTURES, TensorProto.UINT8, ["batch", *sides, 3]))
    n_classes = len(bundle.classes)
    graph.output.append(helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["batch", n_classes]))
    if known is not None:
        graph.output.append(helper.make_tensor_value_info(SCORE, TensorProto.FLOAT, ["batch"]))
    graph.output.extend(outputs[name] for name in (LOGITS, EMBEDDING, *([FEATURE_MAP] if feature_map else [])))
    onnx.checker.check_model(model, full_check=True)
    return model


def square(how: preprocess.Preprocess) -> onnx.ModelProto:
    """The resize alone: `pictures`, uint8 (B, H, W, 3), to `pixels`, uint8 (B, S, S, 3)."""
    nodes = Nodes("before")
    nodes.named("Identity", _square(nodes, PICTURES, how), output="pixels")
    pictures = helper.make_tensor_value_info(PICTURES, TensorProto.UINT8, ["batch", "height", "width", 3])
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", how.size_px, how.size_px, 3])
    graph = helper.make_graph(nodes.nodes, "square", [pictures], [pixels], nodes.tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


class Nodes:
    """Nodes and constants that are being added to a graph; values have names that begin with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self._prefix = prefix
        self._known: dict[tuple[Any, ...], str] = {}

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; the name of its output."""
        output = f"{self._prefix}/{operator.lower()}_{len(self.nodes)}"
        self.named(operator, *inputs, output=output, **attributes)
        return output

    def named(self, operator: str, *inputs: str, output: str, **attributes: Any) -> None:
        """Add a node whose output has a name of its own."""
        name = f"{self._prefix}/{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name, **attributes))

    def constant(self, value: Any) -> str:
        """The name of a constant; a number is a scalar, int64 or float32."""
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32, copy=False)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"{self._prefix}/constant_{len(self._known)}"
            self.tensors.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def as_float(self, value: str) -> str:
        return self("Cast", value, to=TensorProto.FLOAT)

    def as_int(self, value: str) -> str:
        return self("Cast", value, to=TensorProto.INT64)

    def column(self, value: str, axis: int = 1) -> str:
        """With one more axis of length one."""
        return self("Unsqueeze", value, self.constant([axis]))

    def counted(self, n: str) -> str:
        """0, 1, … up to but without `n`, int64."""
        return self("Range", self.constant(0), n, self.constant(1))

    def divided(self, number: str, by: str) -> str:
        """Whole numbers, not negative, divided and rounded down; exact also where a runtime divides in float32."""
        near = self.as_int(self("Floor", self("Div", self.as_float(number), self.as_float(by))))
        left = self("Sub", number, self("Mul", near, by))
        more = self.as_int(self("Not", self("Less", left, by)))
        less = self.as_int(self("Less", left, self.constant(0)))
        return self("Sub", self("Add", near, more), less)


def _square(n: Nodes, pictures: str, how: preprocess.Preprocess) -> str:
    """Pictures, uint8 (B, H, W, 3), to squares, uint8 (B, S, S, 3): the value's name."""
    height, width = (n("Gather", n("Shape", pictures), n.constant(axis)) for axis in (1, 2))
    if how.fit == "crop":
        side = n("Min", height, width)
        starts = [n.column(n.divided(n("Sub", each, side), n.constant(2)), 0) for each in (height, width)]
        ends = [n("Add", start, n.column(side, 0)) for start in starts]
        starts, ends = n("Concat", *starts, axis=0), n("Concat", *ends, axis=0)
        pictures = n("Slice", pictures, starts, ends, n.constant([1, 2]))
        height = width = side
    size = n.constant(how.size_px)
    to_height, to_width = n("Min", height, size), n("Min", width, size)
    means = _rounded(
        n, _sums(n, pictures, (height, width), (to_height, to_width)), (height, width), (to_height, to_width)
    )
    grown = _grown(n, means, to_height, to_width, how.size_px)
    level = n("Cast", grown, to=TensorProto.UINT8)
    return n("Reshape", level, n.constant([-1, how.size_px, how.size_px, 3]))


def _sums(n: Nodes, pictures: str, sides: tuple[str, str], to: tuple[str, str]) -> str:
    """Of each new pixel the sum over what it covers, in pixels: float32 (B, h, w, 3).

    For every new row its K rows are gathered and weighed by one product, so that no more than a picture's worth of
    float32 is made, and no more is multiplied than there are pixels.
    """
    index, share = _areas(n, sides[0], to[0])
    rows = n("Reshape", pictures, n.constant([0, 0, -1]))  # (B, H, 3 W)
    rows = n.as_float(n("Gather", rows, index, axis=1))  # (B, h, K, 3 W)
    rows = n("MatMul", n.column(share), rows)  # (B, h, 1, 3 W)
    batch = n("Gather", n("Shape", pictures), n.constant([0]))
    shape = n("Concat", batch, n.column(to[0], 0), n.column(sides[1], 0), n.constant([3]), axis=0)
    rows = n("Reshape", rows, shape)
    index, share = _areas(n, sides[1], to[1])
    columns = n("Gather", rows, index, axis=2)  # (B, h, w, K, 3)
    columns = n("Mul", columns, n.column(share, 2))
    return n("ReduceSum", columns, n.constant([3]), keepdims=0)


def _areas(n: Nodes, length: str, to: str) -> tuple[str, str]:
    """Which of `length` pixels each of `to` new ones covers, int64 (to, K), and how much of each, float32 0–1.

    In units of a `to`-th pixel pixel j reaches from j * to to (j + 1) * to, and new pixel i from i * length to
    (i + 1) * length: all whole numbers.
    """
    i = n.counted(to)
    begin = n("Mul", i, length)
    whole = n.divided(length, to)
    odd = n.as_int(n("Less", n("Mul", whole, to), length))
    taps = n("Add", whole, n("Mul", odd, n.constant(2)))
    index = n("Add", n.column(n.divided(begin, to)), n("Unsqueeze", n.counted(taps), n.constant([0])))
    begin, end = n.column(begin), n.column(n("Add", begin, length))
    pixel = n("Mul", index, to)
    over = n("Sub", n("Min", end, n("Add", pixel, to)), n("Max", begin, pixel))
    counts = n("Less", to, n("Mul", over, n.constant(LEAST_SHARE)))
    share = n("Div", n.as_float(over), n.as_float(to))
    share = n("Where", counts, share, n.constant(0.0))
    return n("Min", index, n("Sub", length, n.constant(1))), share


def _rounded(n: Nodes, sums: str, sides: tuple[str, str], to: tuple[str, str]) -> str:
    """Sums to means in whole levels: half to even, but half up where both sides halve, as OpenCV has it."""
    down, across = (n("Div", n.as_float(side), n.as_float(less)) for side, less in zip(sides, to, strict=True))
    area = n("Mul", down, across)
    means = n("Mul", sums, n("Div", n.constant(1.0), area))
    two = n.constant(2.0)
    halves = n("And", n("Equal", down, two), n("Equal", across, two))
    up = n("Floor", n("Add", means, n.constant(0.5)))
    return n("Where", halves, up, n("Round", means))


def _grown(n: Nodes, means: str, to_height: str, to_width: str, size: int) -> str:
    """Levels, float32 (B, h, w, 3), to float32 (B, S, S, 3) by linear interpolation; a side of S stays as it is."""
    left, right, near, far = _neighbours(n, to_width, size)
    inside = n("And", n("Not", n("Less", left, n.constant(0))), n("Less", right, to_width))
    near = n.column(n("Where", inside, near, n.constant(BITS)))  # at the edges one pixel counts whole
    far = n.column(n("Where", inside, far, n.constant(0.0)))
    sides = (n("Gather", means, _clipped(n, place, to_width), axis=2) for place in (left, right))
    both = n("Add", *(n("Mul", side, weight) for side, weight in zip(sides, (near, far), strict=True)))
    rows = n("Floor", n("Mul", both, n.constant(1 / 16)))
    top, bottom, near, far = _neighbours(n, to_height, size)
    parts = []
    for place, weight in ((top, near), (bottom, far)):
        some = n("Gather", rows, _clipped(n, place, to_height), axis=1)
        product = n("Mul", some, n("Unsqueeze", weight, n.constant([1, 2])))
        parts.append(n("Floor", n("Mul", product, n.constant(1 / 65536))))
    total = n("Add", n("Add", *parts), n.constant(2.0))
    return n("Floor", n("Mul", total, n.constant(1 / 4)))


def _neighbours(n: Nodes, length: str, size: int) -> tuple[str, str, str, str]:
    """Pixels before and after each of `size` new ones, int64 (S,), -1 to `length`; their weights, float32, 0–2048."""
    middle = n("Sub", n("Mul", n.constant(2 * np.arange(size) + 1), length), n.constant(size))  # in 2 S-th pixels
    at = n("Div", n.as_float(middle), n.constant(2.0 * size))
    before = n("Floor", at)
    share = n("Sub", at, before)
    near = n("Round", n("Mul", n("Sub", n.constant(1.0), share), n.constant(BITS)))
    far = n("Round", n("Mul", share, n.constant(BITS)))
    first = n.as_int(before)
    return first, n("Add", first, n.constant(1)), near, far


def _clipped(n: Nodes, place: str, length: str) -> str:
    return n("Min", n("Max", place, n.constant(0)), n("Sub", length, n.constant(1)))


def score(n: Nodes, known: strangers.Strangers) -> None:
    """The score of strangeness, see `strangers`, from logits and embedding."""
    length = n("ReduceL2", EMBEDDING, n.constant([1]), keepdims=1)
    unit = n("Div", EMBEDDING, n("Max", length, n.constant(1e-12)))
    apart = n("Sub", unit, n.constant(known.centre))
    along = n("MatMul", apart, n.constant(known.axes.T.astype(np.float32)))
    outside, inside = (n("ReduceSumSquare", each, n.constant([1]), keepdims=0) for each in (apart, along))
    rest = n("Max", n("Sub", outside, inside), n.constant(strangers.LEAST))
    means = known.means.astype(np.float32)
    towards = n("MatMul", n("Div", along, n.constant(known.scale)), n.constant(np.ascontiguousarray(means.T)))
    towards = n("Sub", towards, n.constant(0.5 * (means**2).sum(axis=1)))
    undrawn = n("Neg", n("ReduceMax", towards, n.constant([1]), keepdims=0))
    parts = [n("Log", rest), undrawn, _doubt(n)]
    weighed = []
    for part, middle, weight in zip(parts, known.middle, known.weight, strict=True):
        standard = n("Mul", n("Sub", part, n.constant(np.float32(middle))), n.constant(np.float32(weight)))
        weighed.append(n("Max", standard, n.constant(strangers.LOWEST)))
    total = n("Sum", *weighed)
    n.named("Where", n("IsNaN", total), n.constant(np.float32(np.inf)), total, output=SCORE)


def _doubt(n: Nodes) -> str:
    """Logarithm of the odds against the most probable class, float32 (B,)."""
    highest = n("ReduceMax", LOGITS, n.constant([1]), keepdims=1)
    others = n("Exp", n("Sub", LOGITS, highest))
    classes = n("Gather", n("Shape", LOGITS), n.constant(1))
    best = n("Equal", n("ArgMax", LOGITS, axis=1, keepdims=1), n.counted(classes))
    others = n("Where", best, n.constant(0.0), others)
    return n("Log", n("Add", n("ReduceSum", others, n.constant([1]), keepdims=0), n.constant(1e-15)))
