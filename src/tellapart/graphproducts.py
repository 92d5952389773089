"""The shapes and the cost of what computes most in an ONNX graph: windows over maps, and products of matrices.

One function a kind of node, named by it: see `graphshapes`, which calls them and checks what they give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tellapart.graphvalues import BATCH, MOST_PAD, Call, Shape, Value, broadcast, said

SAME_UPPER, SAME_LOWER, VALID, NOTSET = "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"


def _windows(call: Call, sides: Shape, kernel: Sequence[int], *, whole: bool = True) -> list[int]:
    """How many places a window has along each side."""
    n = len(sides)
    strides, dilations = call.ints("strides", [1] * n), call.ints("dilations", [1] * n)
    pads, auto = call.ints("pads", [0] * 2 * n), call.text("auto_pad", NOTSET)
    if not (len(kernel) == len(strides) == len(dilations) == n and len(pads) == 2 * n):
        raise ValueError("its window must have as many sides as its input")
    if min((*kernel, *strides, *dilations), default=1) < 1 or min(pads, default=0) < 0:
        raise ValueError("its window, strides and dilations must be 1 or more, its pads 0 or more")
    if any(pad > MOST_PAD or dilation * each > MOST_PAD for pad, dilation, each in
           zip(pads, dilations * 2, [*kernel] * 2, strict=True)):  # fmt: skip
        raise ValueError(f"its pads and its window must be at most {MOST_PAD:,}")
    found = []
    for i, side in enumerate(sides):
        if side >= BATCH:
            raise ValueError("its window must not lie along the batch")
        reach = dilations[i] * (kernel[i] - 1) + 1
        if auto in (SAME_UPPER, SAME_LOWER):
            places = -(-side // strides[i])
        else:
            padded = side + (0 if auto == VALID else pads[i] + pads[n + i]) - reach
            places = (padded // strides[i] if whole else -(-padded // strides[i])) + 1
        if places < 1:
            raise ValueError("its window is larger than its input")
        found.append(places)
    return found


def convolved(call: Call) -> list[Value]:
    """Conv."""
    value, weights = call.value(0), call.value(1)
    n, group = len(value.shape) - 2, call.int("group", 1)
    if n < 1 or len(weights.shape) != n + 2 or group < 1 or not weights.constant:
        raise ValueError("its weights must be constants that fit its input")
    kernel = list(weights.shape[2:])
    if call.ints("kernel_shape", kernel) != kernel or value.shape[1] != group * weights.shape[1]:
        raise ValueError(f"its weights {said(weights.shape)} must fit its input {said(value.shape)}")
    shape = (value.shape[0], weights.shape[0], *_windows(call, value.shape[2:], kernel))
    call.work.append(Value(shape).elements * math.prod(weights.shape[1:]))
    return [Value(shape, value.kind)]


def convolved_back(call: Call) -> list[Value]:
    """ConvTranspose."""
    value, weights = call.value(0), call.value(1)
    n, group = len(value.shape) - 2, call.int("group", 1)
    if n < 1 or len(weights.shape) != n + 2 or group < 1 or not weights.constant or value.shape[1] != weights.shape[0]:
        raise ValueError("its weights must be constants that fit its input")
    kernel = list(weights.shape[2:])
    strides, dilations = call.ints("strides", [1] * n), call.ints("dilations", [1] * n)
    pads, added = call.ints("pads", [0] * 2 * n), call.ints("output_padding", [0] * n)
    if not (len(strides) == len(dilations) == len(added) == n and len(pads) == 2 * n):
        raise ValueError("its window must have as many sides as its input")
    if min((*strides, *dilations)) < 1 or min((*pads, *added)) < 0 or max((*pads, *added, *dilations)) > MOST_PAD:
        raise ValueError(f"its strides must be 1 or more, its pads from 0 to {MOST_PAD:,}")
    sides = call.ints("output_shape", [])[-n:]
    if not sides:
        for i, side in enumerate(value.shape[2:]):
            full = strides[i] * (side - 1) + added[i] + dilations[i] * (kernel[i] - 1) + 1
            auto = call.text("auto_pad", NOTSET)
            cut = 0 if auto == VALID else pads[i] + pads[n + i]
            sides.append(side * strides[i] if auto in (SAME_UPPER, SAME_LOWER) else full - cut)
    shape = (value.shape[0], weights.shape[1] * group, *sides)
    whole = [strides[i] * side + dilations[i] * kernel[i] for i, side in enumerate(value.shape[2:])]
    call.work.append(value.elements * math.prod(weights.shape[1:]) + math.prod(whole) * weights.shape[1] * group)
    return [Value(shape, value.kind)]


def pooled(call: Call) -> list[Value]:
    """MaxPool and AveragePool."""
    value = call.value(0)
    kernel = call.ints("kernel_shape", [])
    sides = _windows(call, value.shape[2:], kernel, whole=not call.int("ceil_mode", 0))
    shape = (*value.shape[:2], *sides)
    call.work.append(Value(shape).elements * math.prod(kernel))
    return [Value(shape, value.kind)]


def pooled_all(call: Call) -> list[Value]:
    """GlobalMaxPool and GlobalAveragePool."""
    value = call.value(0)
    if len(value.shape) < 3:
        raise ValueError("it must take a map")
    return [Value((*value.shape[:2], *[1] * (len(value.shape) - 2)), value.kind)]


def multiplied(call: Call) -> list[Value]:
    """MatMul."""
    first, second = call.value(0), call.value(1)
    a, b = first.shape, second.shape
    if not a or not b:
        raise ValueError("it must take matrices")
    left, right = (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
    if left[-1] != right[-2] or left[-1] >= BATCH:
        raise ValueError(f"its matrices must fit each other; got {said(a)} and {said(b)}")
    shape = (*broadcast(left[:-2], right[:-2]), left[-2], right[-1])
    call.work.append(Value(shape).elements * left[-1])
    shape = shape[:-2] + ((shape[-2],) if len(a) > 1 else ()) + ((shape[-1],) if len(b) > 1 else ())
    return [Value(shape, first.kind)]


def gemm(call: Call) -> list[Value]:
    """Gemm."""
    first, second, added = call.value(0), call.value(1), call.optional(2)
    if len(first.shape) != 2 or len(second.shape) != 2:
        raise ValueError("it must take matrices")
    a = first.shape[::-1] if call.int("transA", 0) else first.shape
    b = second.shape[::-1] if call.int("transB", 0) else second.shape
    if a[1] != b[0] or a[1] >= BATCH:
        raise ValueError(f"its matrices must fit each other; got {said(a)} and {said(b)}")
    shape = (a[0], b[1])
    if added is not None and broadcast(shape, added.shape) != shape:
        raise ValueError("its bias must fit its result")
    call.work.append(Value(shape).elements * a[1])
    return [Value(shape, first.kind)]


def einsum(call: Call) -> list[Value]:
    """Einsum."""
    terms, arrow, result = call.text("equation", "").replace(" ", "").partition("->")
    terms = terms.split(",")
    if not arrow or len(terms) != len(call.inputs) or not all(t.isalpha() or not t for t in (*terms, result)):
        raise ValueError("its equation must name every axis by a letter, as ab,bc->ac")
    sides: dict[str, int] = {}
    for i, term in enumerate(terms):
        shape = call.value(i).shape
        if len(term) != len(shape):
            raise ValueError("its equation must fit its inputs")
        for letter, side in zip(term, shape, strict=True):
            known = sides.setdefault(letter, side)
            if known != side and 1 not in (known, side):
                raise ValueError("its equation must fit its inputs")
            sides[letter] = max(known, side)
    if len(set(result)) != len(result) or not set(result) <= set(sides):
        raise ValueError("its equation must give axes that it takes")
    shape = tuple(sides[letter] for letter in result)
    call.work.append(Value(tuple(sides.values())).elements)
    return [Value(shape, call.value(0).kind)]
