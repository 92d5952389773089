"""What is known of a value in an ONNX graph before anything is computed: its shape, and its numbers where they matter.

The size of a batch is not known. It stands in shapes as the number BATCH, a prime far above all others, so that what
is computed with it by +, -, × and exact ÷ shows how it hangs on the batch: a side may be BATCH times a whole number,
and everything else above MOST_SIDE is refused. So memory grows with the batch in proportion, and no faster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

BATCH = 2**61 - 1
MOST_SIDE = 2**31
MOST_PAD = 4096  # px, of a window or beside a map
MOST_RANK = 8
MOST_NUMBER = 2**40  # of whole numbers that are computed with
FARTHEST = (2**63 - 1, -(2**63 - 1), -(2**63))  # how "to the end" is written
MOST_KNOWN = 4096  # whole numbers of a value that are followed
FLOAT, INT32, INT64, BOOL = 1, 6, 7, 9  # TensorProto.DataType
WHOLE = (INT32, INT64)

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """What is known of a value before it is computed."""

    shape: Shape
    kind: int = FLOAT  # TensorProto.DataType
    known: np.ndarray | None = None  # its whole numbers, Python's, of this shape; BATCH among them
    numbers: tuple[float, ...] | None = None  # a few constants of float32
    constant: bool = False  # it hangs on no input

    @property
    def elements(self) -> int:
        """How many numbers it has a picture of the batch."""
        return math.prod(1 if side == BATCH else side // BATCH if side > BATCH else side for side in self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One node with what it takes."""

    operator: str
    inputs: tuple[Value | None, ...]  # None where an optional one is left out
    attributes: Mapping[str, Any]
    outputs: int  # how many it gives
    opset: int
    work: list[int] = field(default_factory=list)  # multiply-adds a picture, beyond one for each output

    def value(self, place: int) -> Value:
        """An input that must be there."""
        found = self.inputs[place] if place < len(self.inputs) else None
        if found is None:
            raise ValueError(f"its input {place} is missing")
        return found

    def optional(self, place: int) -> Value | None:
        """An input, or None."""
        return self.inputs[place] if place < len(self.inputs) else None

    def ints(self, name: str, default: Sequence[int]) -> list[int]:
        """An attribute of whole numbers, each small enough to be a side."""
        found = self.attributes.get(name, default)
        if not isinstance(found, (list, tuple)) or not all(abs(each) < MOST_SIDE for each in found):
            raise ValueError(f"its `{name}` must be whole numbers below {MOST_SIDE:,}")
        return list(found)

    def int(self, name: str, default: int) -> int:
        """An attribute that is a whole number."""
        return self.ints(name, [default])[0] if name not in self.attributes else _single(self.attributes[name], name)

    def text(self, name: str, default: str) -> str:
        """An attribute that is text."""
        return str(self.attributes.get(name, default))

    def numbers(self, place: int) -> list[int]:
        """An input whose whole numbers must be known, as a shape's."""
        found = self.value(place).known
        if found is None:
            raise ValueError(f"its input {place} must be whole numbers that are known before it is computed")
        return [int(each) for each in found.ravel()]


def checked(shape: Shape) -> Shape:
    """A shape with sides that can be computed with. Raises ValueError for another one."""
    if len(shape) > MOST_RANK:
        raise ValueError(f"it has {len(shape)} dimensions; there may be {MOST_RANK}")
    on_batch = 0
    for side in shape:
        if side >= MOST_NUMBER:
            on_batch += 1
            if side % BATCH or side // BATCH >= MOST_SIDE:
                raise ValueError("a side of its result does not grow with the batch in proportion")
        elif not 0 <= side < MOST_SIDE:
            raise ValueError(f"a side of its result is {side:,}; it must be from 0 to {MOST_SIDE:,}")
    if on_batch > 1:
        raise ValueError("its result grows with more than the batch")
    return shape


def broadcast(*shapes: Shape) -> Shape:
    """The shape of values that are combined one by one, as numpy has it."""
    n = max(map(len, shapes))
    found = []
    for sides in zip(*((1,) * (n - len(shape)) + shape for shape in shapes), strict=True):
        others = {side for side in sides if side != 1}
        if len(others) > 1:
            raise ValueError(f"shapes must fit each other; got {' and '.join(map(said, shapes))}")
        found.append(others.pop() if others else 1)
    return tuple(found)


def said(shape: Shape) -> str:
    """A shape in words, B for the batch."""
    return "(" + ", ".join("B" if s == BATCH else f"{s // BATCH}B" if s > BATCH else str(s) for s in shape) + ")"


def _single(value: Any, name: str) -> int:
    if not isinstance(value, int) or abs(value) >= MOST_SIDE:
        raise ValueError(f"its `{name}` must be a whole number below {MOST_SIDE:,}")
    return value
