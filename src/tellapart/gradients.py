"""How the answer hangs on an inner map of a network: gradients through the end of its graph, by numpy.

The runtime only goes forward. Of the end of a network, what comes behind the last halving of its maps, the way back is
short: for each kind of node here stands what the chain rule says. A node that is not known here ends the attempt.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.graphfile import Graph, Node

Arrays = dict[str, np.ndarray]  # of one picture: values by name, each with a first axis of 1
WINDOWED = ("Conv", "MaxPool", "AveragePool")


@dataclass(frozen=True, slots=True)
class Step:
    """One node on the way back."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """The way from the logits back to an inner map."""

    inner: str  # the map's name; float32 (B, K, H, W)
    steps: tuple[Step, ...]  # in the graph's order
    constants: Arrays
    values: tuple[str, ...]  # what must be known of a picture to go the way, `inner` among them

    def back(self, known: Arrays, gradient: np.ndarray) -> np.ndarray:
        """The gradient of a number by the inner map, (1, K, H, W), given that by the logits, (1, C)."""
        slopes: Arrays = {self.steps[-1].output: gradient}
        for step in reversed(self.steps):
            slope = slopes.pop(step.output, None)
            if slope is None:
                continue
            for name, part in RULES[step.operator](step, known, self.constants, slope):
                slopes[name] = slopes[name] + part if name in slopes else part
        return slopes[self.inner]


def way(graph: Graph, logits: str) -> Way | None:
    """The way back to the map before the last halving; None where there is none, or a node on it is not known.

    Where only convolutions of single places come before the halving, as in the blocks of mobile networks, it is the
    narrow map before these.
    """
    makers = graph.makers()
    ancestors = _ancestors(graph, makers, logits)
    halving = [i for i, node in enumerate(ancestors) if _halves(node)]
    if not halving:
        return None
    uses: dict[str, list[int]] = {}
    for i, node in enumerate(ancestors):
        for name in node.inputs:
            uses.setdefault(name, []).append(i)
    found: tuple[int, str] | None = None
    for start in range(halving[-1], 0, -1):
        if found is not None and _kernel(ancestors[start]) > 1:
            break
        # A value on which all that comes later hangs: nothing else that was made before it is used after it.
        made = {name for node in ancestors[:start] for name in node.outputs} | set(graph.inputs)
        alive = {name for name in made if any(i >= start for i in uses.get(name, []))}
        seen = any(node.operator in WINDOWED for node in ancestors[:start])  # else it is the picture itself
        if len(alive) == 1 and seen and not alive & set(graph.inputs):
            (inner,) = alive
            users = [ancestors[i] for i in uses[inner]]
            placed = all(node.operator in WINDOWED and node.inputs[0] == inner for node in users)
            # What a convolution gives to a pooling has no activation behind it: there 0 is not "nothing is there".
            raw = makers[inner].operator == "Conv" and any(node.operator != "Conv" for node in users)
            if placed and not raw:
                found = start, inner
    return None if found is None else _way(graph, ancestors[found[0] :], found[1])


def _way(graph: Graph, nodes: list[Node], inner: str) -> Way | None:
    if any(node.operator not in RULES or len(node.outputs) != 1 for node in nodes):
        return None
    taken = {name for node in nodes for name in _heeded(node) if name}
    try:
        constants = {name: graph.constant(name) for name in taken if name in graph.tensors}
        steps = tuple(Step(node.operator, node.inputs, node.outputs[0], node.attributes()) for node in nodes)
    except ValueError:
        return None
    if any(set(step.attributes.get("dilations", [1])) != {1} or step.attributes.get("ceil_mode") for step in steps):
        return None
    values = (inner, *(step.output for step in steps))
    if taken - set(constants) - set(values):
        return None
    return Way(inner, steps, constants, values)


def _ancestors(graph: Graph, makers: dict[str, Node], logits: str) -> list[Node]:
    """The nodes that lead from the picture to the logits, in the graph's order."""
    needed, waiting = set(), [logits]
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node not in needed:
            needed.add(node)
            waiting.extend(node.inputs)
    moving = set(graph.inputs)
    found = []
    for node in graph.nodes:
        # A value's sides are the same whatever is in it.
        if node in needed and node.operator != "Shape" and moving & set(node.inputs):
            moving.update(node.outputs)
            found.append(node)
    return found


def _heeded(node: Node) -> tuple[str, ...]:
    """The inputs that the way back asks for; what new sides a value gets is not among them."""
    return node.inputs[:1] if RULES[node.operator] is _same_shape else node.inputs


def _kernel(node: Node) -> int:
    """The longer side of a node's window, 1 where it has none."""
    return max(node.attributes().get("kernel_shape", [3])) if node.operator in WINDOWED else 1


def _halves(node: Node) -> bool:
    return node.operator in WINDOWED and max(node.attributes().get("strides", [1])) > 1


Rule = Callable[[Step, Arrays, Arrays, np.ndarray], "list[tuple[str, np.ndarray]]"]


def _value(name: str, known: Arrays, constants: Arrays) -> np.ndarray:
    return constants[name] if name in constants else known[name]


def _same_shape(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    name = step.inputs[0]
    return [(name, slope.reshape(known[name].shape))]


def _sum(sign: int) -> Rule:
    def rule(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
        signs = (1, sign)
        moving = [(name, way) for name, way in zip(step.inputs, signs, strict=True) if name not in constants]
        return [(name, way * _narrowed(slope, known[name].shape)) for name, way in moving]

    return rule


def _product(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    pairs = (step.inputs, step.inputs[::-1])
    return [
        (name, _narrowed(slope * _value(other, known, constants), known[name].shape))
        for name, other in pairs
        if name not in constants
    ]


def _narrowed(slope: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The slope by a value that was spread over more axes, or longer ones."""
    slope = slope.sum(tuple(range(slope.ndim - len(shape))))
    longer = tuple(i for i, side in enumerate(shape) if side == 1 and slope.shape[i] > 1)
    return slope.sum(longer, keepdims=True)


def _relu(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [(step.inputs[0], slope * (known[step.output] > 0))]


def _clip(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    kept = np.ones(slope.shape, bool)
    bounds = (*step.inputs[1:], "", "")
    if bounds[0]:
        kept &= known[step.output] > constants[bounds[0]]
    if bounds[1]:
        kept &= known[step.output] < constants[bounds[1]]
    return [(step.inputs[0], slope * kept)]


def _sigmoid(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    out = known[step.output]
    return [(step.inputs[0], slope * out * (1 - out))]


def _tanh(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [(step.inputs[0], slope * (1 - known[step.output] ** 2))]


def _transpose(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [(step.inputs[0], slope.transpose(np.argsort(step.attributes["perm"])))]


def _mean(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    name = step.inputs[0]
    before = known[name]
    if step.operator == "GlobalAveragePool":
        axes = tuple(range(2, before.ndim))
    else:
        given = constants[step.inputs[1]].tolist() if len(step.inputs) > 1 else step.attributes.get("axes", [])
        axes = tuple(axis % before.ndim for axis in given) or tuple(range(before.ndim))
    kept = tuple(1 if i in axes else side for i, side in enumerate(before.shape))
    n = math.prod(before.shape[axis] for axis in axes)
    return [(name, np.broadcast_to(slope.reshape(kept) / np.float32(n), before.shape))]


def _highest(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    before = known[step.inputs[0]]
    most = before == before.max(tuple(range(2, before.ndim)), keepdims=True)
    return [(step.inputs[0], slope * most / most.sum(tuple(range(2, before.ndim)), keepdims=True))]


def _gemm(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    kernel = constants[step.inputs[1]]
    kernel = kernel if step.attributes.get("transB") else kernel.T
    return [(step.inputs[0], np.float32(step.attributes.get("alpha", 1.0)) * slope @ kernel)]


def _matmul(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [(step.inputs[0], slope @ constants[step.inputs[1]].T)]


def _concat(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    axis, start, parts = step.attributes["axis"], 0, []
    for name in step.inputs:
        side = _value(name, known, constants).shape[axis]
        if name not in constants:
            parts.append((name, slope.take(range(start, start + side), axis)))
        start += side
    return parts


def _conv(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The kernel's every place carries the slope back to where it stood."""
    kernel = constants[step.inputs[1]]  # (O, I / groups, h, w)
    before = known[step.inputs[0]].shape
    groups = step.attributes.get("group", 1)
    if groups == before[1] == kernel.shape[0]:
        flat = slope[0]

        def carried(i: int, j: int) -> np.ndarray:
            return flat * kernel[:, 0, i, j, None, None]
    else:
        # All places of the kernel in one product: (G, I / G * h * w, O / G) by (G, O / G, places).
        kernels = kernel.reshape(groups, kernel.shape[0] // groups, -1).transpose(0, 2, 1)
        all_of_them = np.matmul(kernels, slope.reshape(groups, kernel.shape[0] // groups, -1))
        parts = all_of_them.reshape(before[1], *kernel.shape[2:], *slope.shape[2:])

        def carried(i: int, j: int) -> np.ndarray:
            return parts[:, i, j]

    return [(step.inputs[0], _strewn(step, before, slope.shape, kernel.shape[2:], carried))]


def _maxpool(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The highest of a window takes all; of equals, the first."""
    before, after = known[step.inputs[0]], known[step.output][0]
    sides = tuple(step.attributes["kernel_shape"])
    strides, (top, left, *_), padded = _frame(step, before.shape, slope.shape, sides)
    room = np.full((before.shape[1], *padded), -np.inf, np.float32)
    room[:, top : top + before.shape[2], left : left + before.shape[3]] = before[0]
    free = np.ones(after.shape, bool)

    def carried(i: int, j: int) -> np.ndarray:
        nonlocal free
        rows, columns = (
            slice(at, at + n * step, step) for at, n, step in zip((i, j), after.shape[1:], strides, strict=True)
        )
        taken = free & (room[:, rows, columns] == after)
        free = free & ~taken
        return slope[0] * taken

    return [(step.inputs[0], _strewn(step, before.shape, slope.shape, sides, carried))]


def _averagepool(step: Step, known: Arrays, constants: Arrays, slope: np.ndarray) -> list[tuple[str, np.ndarray]]:
    before, sides = known[step.inputs[0]].shape, tuple(step.attributes["kernel_shape"])
    counts = np.full(slope.shape[2:], math.prod(sides), np.float32)
    if not step.attributes.get("count_include_pad"):
        strides, (top, left, *_), padded = _frame(step, before, slope.shape, sides)
        inside = np.zeros(padded, np.float32)
        inside[top : top + before[2], left : left + before[3]] = 1
        counts[:] = 0
        for i in range(sides[0]):
            for j in range(sides[1]):
                rows = slice(i, i + slope.shape[2] * strides[0], strides[0])
                counts += inside[rows, j : j + slope.shape[3] * strides[1] : strides[1]]
    share = slope[0] / counts
    return [(step.inputs[0], _strewn(step, before, slope.shape, sides, lambda i, j: share))]


def _strewn(
    step: Step,
    before: tuple[int, ...],
    after: tuple[int, ...],
    sides: tuple[int, ...],
    carried: Callable[[int, int], np.ndarray],
) -> np.ndarray:
    """What each place of a window carries back, (K, h, w), summed up where the windows stood: (1, K, H, W)."""
    (down, across), (top, left, *_), padded = _frame(step, before, after, sides)
    total = np.zeros((before[1], *padded), np.float32)
    for i in range(sides[0]):
        for j in range(sides[1]):
            total[:, i : i + after[2] * down : down, j : j + after[3] * across : across] += carried(i, j)
    return total[None, :, top : top + before[2], left : left + before[3]]


def _frame(
    step: Step, before: tuple[int, ...], after: tuple[int, ...], sides: tuple[int, ...]
) -> tuple[list[int], list[int], tuple[int, int]]:
    """Strides, padding (top, left, bottom, right) and the padded sides of a windowed node."""
    strides = step.attributes.get("strides", [1, 1])
    auto = step.attributes.get("auto_pad", "NOTSET")
    spare = [max((after[i + 2] - 1) * strides[i] + sides[i] - before[i + 2], 0) for i in (0, 1)]
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        first = [(each + (auto == "SAME_LOWER")) // 2 for each in spare]
        pads = [*first, spare[0] - first[0], spare[1] - first[1]]
    else:
        pads = step.attributes.get("pads", [0, 0, 0, 0])
    # A window may hang over what is padded where a stride does not come out even.
    padded = tuple(
        max(before[i + 2] + pads[i] + pads[i + 2], (after[i + 2] - 1) * strides[i] + sides[i] + strides[i] - 1)
        for i in (0, 1)
    )
    return strides, pads, (padded[0], padded[1])


RULES: dict[str, Rule] = {
    "Add": _sum(1),
    "AveragePool": _averagepool,
    "Cast": _same_shape,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Flatten": _same_shape,
    "Gemm": _gemm,
    "GlobalAveragePool": _mean,
    "GlobalMaxPool": _highest,
    "Identity": _same_shape,
    "MatMul": _matmul,
    "MaxPool": _maxpool,
    "Mul": _product,
    "ReduceMean": _mean,
    "Relu": _relu,
    "Reshape": _same_shape,
    "Sigmoid": _sigmoid,
    "Squeeze": _same_shape,
    "Sub": _sum(-1),
    "Tanh": _tanh,
    "Transpose": _transpose,
    "Unsqueeze": _same_shape,
}
