"""What shape each kind of node in an ONNX graph gives, and what it costs, before anything is computed.

One function a kind of node, for the kinds that Keras' exporter and this package write. A kind that is not here is one
that a bundle does not need. The operators: https://onnx.ai/onnx/operators
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart import graphproducts
from tellapart.graphvalues import (
    BATCH,
    BOOL,
    FARTHEST,
    FLOAT,
    INT64,
    MOST_KNOWN,
    MOST_NUMBER,
    MOST_PAD,
    MOST_SIDE,
    WHOLE,
    Call,
    Shape,
    Value,
    broadcast,
    checked,
    said,
)  # fmt: skip

MOST_PARTS = 10_000  # outputs of one node


def outputs(call: Call) -> list[Value]:
    """What a node gives. Raises ValueError where it cannot, or where that is not known beforehand."""
    rule = RULES.get(call.operator)
    if rule is None:
        raise ValueError("it is of a kind that no network of this program has")
    found = rule(call)
    if not call.outputs <= len(found):
        raise ValueError(f"it has {call.outputs} outputs; there may be {len(found)}")
    for value in found:
        checked(value.shape)
    return found


def _exact(known: np.ndarray | None) -> bool:
    """Whether known numbers are small, or small times the batch: then what is computed of them stays told apart."""
    return known is not None and all(
        abs(n) < MOST_NUMBER or (n % BATCH == 0 and abs(n) // BATCH < MOST_SIDE) for n in known.ravel()
    )


def _whole(values: Any, shape: Shape) -> np.ndarray | None:
    """Known whole numbers, if they are few."""
    found = np.array(values, dtype=object)
    return found.reshape(shape) if found.size <= MOST_KNOWN else None


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(f"its axis must be one of {rank}; got {axis}")
    return axis % rank if rank else 0


def _axes(call: Call, rank: int, place: int = 1) -> list[int] | None:
    """Axes, an attribute or an input; None where it names none."""
    if "axes" in call.attributes:
        axes = call.ints("axes", [])
    elif call.optional(place) is not None:
        axes = call.numbers(place)
    else:
        return None
    found = [_axis(axis, rank) for axis in axes]
    if len(set(found)) != len(found):
        raise ValueError("its axes must each stand once")
    return found


def _same(call: Call) -> list[Value]:
    first = call.value(0)
    return [Value(first.shape, first.kind, known=first.known if call.operator == "Identity" else None)]


def _slope(call: Call) -> list[Value]:
    value = call.value(0)
    if broadcast(value.shape, call.value(1).shape) != value.shape:
        raise ValueError("its slopes must fit its input")
    return [Value(value.shape, value.kind)]


def _cast(call: Call) -> list[Value]:
    value, kind = call.value(0), call.int("to", FLOAT)
    return [Value(value.shape, kind, known=value.known if kind in WHOLE else None)]


def _quantized(call: Call) -> list[Value]:
    value, scale = call.value(0), call.value(1)
    if len(scale.shape) > 1:
        raise ValueError("its scale must be one number, or one a channel")
    return [Value(value.shape, scale.kind if call.operator == "DequantizeLinear" else 2)]


def _combined(call: Call) -> list[Value]:
    values = [call.value(i) for i in range(len(call.inputs))]
    shape = broadcast(*(value.shape for value in values))
    known = None
    compared = call.operator in COMPARED
    if call.operator in ARITHMETIC and len(values) == 2 and all(_exact(value.known) for value in values):
        first, second = values[0].known, values[1].known
        if call.operator != "Div" or all(0 < each < MOST_SIDE for each in second.ravel()):  # pyright: ignore[reportOptionalMemberAccess]
            known = ARITHMETIC[call.operator](first, second)
            known = _whole(known, shape) if math.prod(shape) <= MOST_KNOWN else None
    return [Value(shape, BOOL if compared else values[-1].kind, known=known)]


def _normalized(call: Call) -> list[Value]:
    value = call.value(0)
    if call.int("training_mode", 0) or any(len(each.shape) > 1 for each in call.inputs[1:] if each is not None):
        raise ValueError("it must have one number a channel, and not be in training")
    return [Value(value.shape, value.kind)]


def _layer_normalized(call: Call) -> list[Value]:
    value = call.value(0)
    axis = _axis(call.int("axis", -1), len(value.shape))
    for each in call.inputs[1:]:
        if each is not None and broadcast(value.shape, each.shape) != value.shape:
            raise ValueError("its scale and bias must fit its input")
    reduced = value.shape[:axis] + (1,) * (len(value.shape) - axis)
    return [Value(value.shape, value.kind), Value(reduced), Value(reduced)]


def _transposed(call: Call) -> list[Value]:
    value = call.value(0)
    order = call.ints("perm", list(range(len(value.shape)))[::-1])
    if sorted(order) != list(range(len(value.shape))):
        raise ValueError("its order must name every axis once")
    return [Value(tuple(value.shape[i] for i in order), value.kind)]


def _flattened(call: Call) -> list[Value]:
    value = call.value(0)
    axis = call.int("axis", 1)
    axis = axis + len(value.shape) if axis < 0 else axis
    if not 0 <= axis <= len(value.shape):
        raise ValueError("its axis must be one of its input")
    return [Value((math.prod(value.shape[:axis]), math.prod(value.shape[axis:])), value.kind)]


def _reshaped(call: Call) -> list[Value]:
    value, wanted = call.value(0), call.numbers(1)
    if not call.int("allowzero", 0):
        if any(side == 0 and i >= len(value.shape) for i, side in enumerate(wanted)):
            raise ValueError("its shape keeps a side that is not there")
        wanted = [value.shape[i] if side == 0 else side for i, side in enumerate(wanted)]
    total = math.prod(value.shape)
    if wanted.count(-1) == 1:
        rest = math.prod(side for side in wanted if side != -1)
        if rest <= 0 or total % rest:
            raise ValueError(f"its shape must fit its input {said(value.shape)}")
        wanted[wanted.index(-1)] = total // rest
    if min(wanted, default=0) < 0 or math.prod(wanted) != total:
        raise ValueError(f"its shape must fit its input {said(value.shape)}")
    shape = checked(tuple(wanted))
    return [Value(shape, value.kind, known=None if value.known is None else value.known.reshape(shape))]


def _squeezed(call: Call) -> list[Value]:
    value = call.value(0)
    axes = _axes(call, len(value.shape))
    axes = [i for i, side in enumerate(value.shape) if side == 1] if axes is None else axes
    if any(value.shape[axis] != 1 for axis in axes):
        raise ValueError("it must take away sides of 1 only")
    shape = tuple(side for i, side in enumerate(value.shape) if i not in axes)
    return [Value(shape, value.kind, known=None if value.known is None else value.known.reshape(shape))]


def _unsqueezed(call: Call) -> list[Value]:
    value = call.value(0)
    n = len(call.ints("axes", [])) if "axes" in call.attributes else len(call.numbers(1))
    rank = len(value.shape) + n
    axes, sides = _axes(call, rank) or [], iter(value.shape)
    shape = tuple(1 if i in axes else next(sides) for i in range(rank))
    return [Value(shape, value.kind, known=None if value.known is None else value.known.reshape(shape))]


def _joined(call: Call) -> list[Value]:
    values = [call.value(i) for i in range(len(call.inputs))]
    first = values[0].shape
    axis = _axis(call.int("axis", 0), len(first))
    if any(v.shape[:axis] + v.shape[axis + 1 :] != first[:axis] + first[axis + 1 :] for v in values):
        raise ValueError("its inputs must fit each other")
    shape = (*first[:axis], sum(v.shape[axis] for v in values), *first[axis + 1 :])
    parts = [v.known for v in values]
    known = None
    if len(first) == 1 and all(part is not None for part in parts):
        known = _whole(np.concatenate(parts), shape)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return [Value(shape, values[0].kind, known=known)]


def _sliced(call: Call) -> list[Value]:
    value, rank = call.value(0), len(call.value(0).shape)
    if call.optional(1) is None:
        starts, ends = list(call.attributes.get("starts", [])), list(call.attributes.get("ends", []))
        axes, steps = call.ints("axes", list(range(len(starts)))), [1] * len(starts)
    else:
        starts, ends = call.numbers(1), call.numbers(2)
        axes = list(range(len(starts))) if call.optional(3) is None else call.numbers(3)
        steps = [1] * len(starts) if call.optional(4) is None else call.numbers(4)
    if not len(starts) == len(ends) == len(axes) == len(steps) or len(set(axes)) != len(axes):
        raise ValueError("its starts, ends and axes must be as many")
    shape, known = list(value.shape), value.known
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis, side = _axis(axis, rank), value.shape[_axis(axis, rank)]
        if side >= BATCH:
            if start != 0 or step != 1 or not (end in (side, FARTHEST[0]) or MOST_SIDE - 1 <= end < MOST_NUMBER):
                raise ValueError("it must take the whole batch")
            continue
        if step == 0 or not all(abs(n) < MOST_NUMBER or n in FARTHEST for n in (start, end, step)):
            raise ValueError("what it takes must not hang on the batch")
        part = slice(*slice(start, end if end > -MOST_SIDE or step > 0 else None, step).indices(side))
        if step < 0 and (end < -side or part.stop < 0):
            part = slice(part.start, None, step)
        shape[axis] = len(range(side)[part])
        known = known[part] if known is not None and rank == 1 else None
    return [Value(tuple(shape), value.kind, known=known)]


def _gathered(call: Call) -> list[Value]:
    value, places = call.value(0), call.value(1)
    axis = _axis(call.int("axis", 0), len(value.shape))
    shape = value.shape[:axis] + places.shape + value.shape[axis + 1 :]
    known = None
    if value.known is not None and places.known is not None and len(value.shape) == 1:
        if any(not -len(value.known) <= i < len(value.known) for i in places.known.ravel()):
            raise ValueError("it takes what is not there")
        known = (
            _whole(value.known[places.known.astype(np.int64)], shape) if Value(shape).elements < MOST_KNOWN else None
        )
    return [Value(shape, value.kind, known=known)]


def _split(call: Call) -> list[Value]:
    value = call.value(0)
    axis = _axis(call.int("axis", 0), len(value.shape))
    side = value.shape[axis]
    if side >= BATCH:
        raise ValueError("it must not divide the batch")
    if "split" in call.attributes or call.optional(1) is not None:
        parts = call.ints("split", []) if "split" in call.attributes else call.numbers(1)
    else:
        n = max(call.outputs, 1)
        most = -(-side // n)
        parts = [min(most, max(side - i * most, 0)) for i in range(n)]
    if len(parts) > MOST_PARTS or min(parts) < 0 or sum(parts) != side:
        raise ValueError("its parts must make up its input")
    return [Value((*value.shape[:axis], part, *value.shape[axis + 1 :]), value.kind) for part in parts]


def _shape(call: Call) -> list[Value]:
    shape = call.value(0).shape[call.int("start", 0) : call.attributes.get("end")]
    return [Value((len(shape),), INT64, known=_whole(shape, (len(shape),)))]


def _filled(call: Call) -> list[Value]:
    shape = checked(tuple(call.numbers(0)))
    told = call.attributes.get("value", Value((1,)))
    kind, known = told.kind, None
    if kind in WHOLE and told.known is not None and max(shape, default=0) < BATCH and math.prod(shape) <= MOST_KNOWN:
        known = _whole([int(told.known.ravel()[0])] * math.prod(shape), shape)
    return [Value(shape, kind, known=known)]


def _constant(call: Call) -> list[Value]:
    names = list(call.attributes)
    if names != ["value"] or not isinstance(call.attributes["value"], Value):
        raise ValueError("it must hold a tensor")
    return [call.attributes["value"]]


def _expanded(call: Call) -> list[Value]:
    value = call.value(0)
    return [Value(broadcast(value.shape, checked(tuple(call.numbers(1)))), value.kind)]


def _tiled(call: Call) -> list[Value]:
    value, times = call.value(0), call.numbers(1)
    if len(times) != len(value.shape) or min(times, default=0) < 0:
        raise ValueError("it must repeat each axis")
    return [Value(tuple(side * n for side, n in zip(value.shape, times, strict=True)), value.kind)]


def _padded(call: Call) -> list[Value]:
    value, rank = call.value(0), len(call.value(0).shape)
    pads = call.ints("pads", []) if "pads" in call.attributes else call.numbers(1)
    axes = list(range(rank)) if call.optional(3) is None else [_axis(axis, rank) for axis in call.numbers(3)]
    if len(pads) != 2 * len(axes) or max(map(abs, pads), default=0) > MOST_PAD:
        raise ValueError(f"its pads must be two an axis, of at most {MOST_PAD:,}")
    shape = list(value.shape)
    for i, axis in enumerate(axes):
        if shape[axis] >= BATCH and (pads[i] or pads[i + len(axes)]):
            raise ValueError("it must not pad the batch")
        shape[axis] += pads[i] + pads[i + len(axes)]
    return [Value(tuple(shape), value.kind)]


def _resized(call: Call) -> list[Value]:
    value, rank = call.value(0), len(call.value(0).shape)
    axes = [_axis(axis, rank) for axis in call.ints("axes", list(range(rank)))]
    shape = list(value.shape)
    if call.optional(3) is not None:
        wanted = call.numbers(3)
        if len(wanted) != len(axes):
            raise ValueError("its sizes must be one an axis")
        for axis, side in zip(axes, wanted, strict=True):
            shape[axis] = side
    else:
        scales = call.value(2 if call.opset >= 11 else 1).numbers
        if scales is None or len(scales) != len(axes):
            raise ValueError("its scales must be constants, one an axis")
        for axis, scale in zip(axes, scales, strict=True):
            if not 0 < scale < MOST_SIDE or (shape[axis] >= BATCH and scale != 1):
                raise ValueError("its scales must be above 0, and 1 for the batch")
            if scale != 1:
                shape[axis] = math.floor(shape[axis] * scale)
    if any(side != old and max(side, old) >= BATCH for side, old in zip(shape, value.shape, strict=True)):
        raise ValueError("it must not resize the batch")
    call.work.append(16 * Value(checked(tuple(shape))).elements)
    return [Value(tuple(shape), value.kind)]


def _blocks(call: Call) -> list[Value]:
    value, side = call.value(0), call.int("blocksize", 0)
    if len(value.shape) != 4 or side < 1:
        raise ValueError("it must take a map, and blocks of 1 or more")
    n, channels, height, width = value.shape
    if call.operator == "DepthToSpace":
        shape = (n, channels // side**2, height * side, width * side)
    else:
        shape = (n, channels * side**2, height // side, width // side)
    if math.prod(shape) != math.prod(value.shape):
        raise ValueError("its blocks must fit its input")
    return [Value(shape, value.kind)]


def _reduced(call: Call) -> list[Value]:
    value = call.value(0)
    axes = _axes(call, len(value.shape))
    if not axes:
        axes = [] if call.int("noop_with_empty_axes", 0) else list(range(len(value.shape)))
    kept = call.int("keepdims", 1)
    shape = tuple(1 if i in axes else side for i, side in enumerate(value.shape) if kept or i not in axes)
    known = None
    if (
        call.operator == "ReduceProd"
        and value.known is not None
        and _exact(value.known)
        and len(value.shape) == 1
        and axes
    ):
        known = _whole([math.prod(value.known.tolist())], shape)
    call.work.append(value.elements)
    return [Value(shape, value.kind, known=known)]


def _words(text: str) -> list[str]:
    return text.split()


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a // b,
}
COMPARED = frozenset(_words("Equal Greater Less GreaterOrEqual LessOrEqual And Or"))
RULES: dict[str, Callable[[Call], list[Value]]] = {
    **dict.fromkeys(
        _words(
            "Abs Ceil Celu Clip Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Log LogSoftmax Mish "
            "Neg Not Reciprocal Relu Round Selu Sigmoid Sign Softmax Softplus Softsign Sqrt Tanh ThresholdedRelu"
        ),
        _same,
    ),
    **dict.fromkeys(_words("Add Sub Mul Div Pow Min Max Sum Mean Where"), _combined),
    **dict.fromkeys(COMPARED, _combined),
    "PRelu": _slope,
    "Cast": _cast,
    "QuantizeLinear": _quantized,
    "DequantizeLinear": _quantized,
    "BatchNormalization": _normalized,
    "InstanceNormalization": _normalized,
    "GroupNormalization": _normalized,
    "LayerNormalization": _layer_normalized,
    "Conv": graphproducts.convolved,
    "ConvTranspose": graphproducts.convolved_back,
    "MaxPool": graphproducts.pooled,
    "AveragePool": graphproducts.pooled,
    "GlobalAveragePool": graphproducts.pooled_all,
    "GlobalMaxPool": graphproducts.pooled_all,
    "MatMul": graphproducts.multiplied,
    "Gemm": graphproducts.gemm,
    "Einsum": graphproducts.einsum,
    "Transpose": _transposed,
    "Flatten": _flattened,
    "Reshape": _reshaped,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Concat": _joined,
    "Slice": _sliced,
    "Gather": _gathered,
    "Split": _split,
    "Shape": _shape,
    "ConstantOfShape": _filled,
    "Constant": _constant,
    "Expand": _expanded,
    "Tile": _tiled,
    "Pad": _padded,
    "Resize": _resized,
    "DepthToSpace": _blocks,
    "SpaceToDepth": _blocks,
    **dict.fromkeys(
        _words("ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum"),
        _reduced,
    ),
    "ReduceLogSumExp": _reduced,
}
