"""The nodes and weights of an ONNX file, read without the package `onnx`, which only training needs.

An ONNX file is a protobuf message (https://protobuf.dev/programming-guides/encoding/) whose fields are numbered in
onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). Messages are kept as bytes, so that what is not
looked at is carried over as it is. Files are not trusted: whatever is no such message raises ValueError, and what is
written here is opened by ONNX Runtime, which checks it like any graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
# Numbers of fields in onnx.proto.
MODEL_IR_VERSION, MODEL_GRAPH, MODEL_OPSET = 1, 7, 8
GRAPH_NODE, GRAPH_NAME, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 2, 5, 11, 12
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR, NODE_ATTRIBUTE = 1, 2, 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_STRING, ATTRIBUTE_INTS = 1, 2, 3, 4, 8
TENSOR_DIMS, TENSOR_TYPE, TENSOR_FLOATS, TENSOR_INTS, TENSOR_NAME, TENSOR_RAW, TENSOR_EXTERNAL = 1, 2, 4, 7, 8, 9, 13
VALUE_NAME = 1
FLOAT, INT64 = 1, 7  # TensorProto.DataType
MAX_FIELDS = 1_000_000  # of one message; a network has some thousands

Fields = list[tuple[int, "int | bytes"]]  # number, and an integer or the bytes


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation of a graph."""

    content: bytes  # the message
    operator: str
    inputs: tuple[str, ...]  # "" where an optional one is left out
    outputs: tuple[str, ...]

    def attributes(self) -> dict[str, Any]:
        """Its attributes that are numbers, lists of integers, or text."""
        found: dict[str, Any] = {}
        for message in every(fields(self.content), NODE_ATTRIBUTE):
            parts = fields(message)
            name = last(parts, ATTRIBUTE_NAME).decode()
            for number, value in parts:
                if number == ATTRIBUTE_INTS:  # one by one, or all in one string of bytes
                    ints = [value] if isinstance(value, int) else varints(value)
                    found[name] = [*found.get(name, []), *map(_signed, ints)]
                elif number == ATTRIBUTE_INT and isinstance(value, int):
                    found[name] = _signed(value)
                elif number == ATTRIBUTE_FLOAT and isinstance(value, bytes):
                    found[name] = float(np.frombuffer(value, "<f4")[0])
                elif number == ATTRIBUTE_STRING and isinstance(value, bytes):
                    found[name] = value.decode()
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """What an ONNX file holds."""

    nodes: tuple[Node, ...]  # each after those whose outputs it takes
    tensors: dict[str, bytes]  # messages of constants, by name
    inputs: tuple[str, ...]
    outputs: dict[str, bytes]  # messages of outputs, by name
    ir_version: int
    opsets: tuple[bytes, ...]

    def makers(self) -> dict[str, Node]:
        """Which node makes a value."""
        return {name: node for node in self.nodes for name in node.outputs}

    def constant(self, name: str) -> np.ndarray:
        """A constant of float32 or int64. Raises ValueError for other ones, and for one that stands in another file."""
        parts = fields(self.tensors[name])
        shape = [int(value) for value in _integers(parts, TENSOR_DIMS)]
        kind = next((value for number, value in parts if number == TENSOR_TYPE), 0)
        if kind not in (FLOAT, INT64) or every(parts, TENSOR_EXTERNAL):
            raise ValueError(f"a tensor of type {kind}")
        raw = every(parts, TENSOR_RAW)
        if raw:
            values = np.frombuffer(raw[-1], "<f4" if kind == FLOAT else "<i8")
        elif kind == FLOAT:
            values = np.frombuffer(b"".join(every(parts, TENSOR_FLOATS)), "<f4")
        else:
            values = np.array([_signed(value) for value in _integers(parts, TENSOR_INTS)], np.int64)
        if math.prod(shape) != values.size:
            raise ValueError(f"{values.size} values for {shape}")
        return values.reshape(shape)


def read(file: bytes) -> Graph:
    """The graph in the bytes of an ONNX file. Raises ValueError where they are none."""
    try:
        model = fields(file)
        body = fields(last(model, MODEL_GRAPH))
        tensors = {last(fields(each), TENSOR_NAME).decode(): each for each in every(body, GRAPH_INITIALIZER)}
        named = [last(fields(each), VALUE_NAME).decode() for each in every(body, GRAPH_INPUT)]
        return Graph(
            tuple(_node(each) for each in every(body, GRAPH_NODE)),
            tensors,
            tuple(name for name in named if name not in tensors),
            {last(fields(each), VALUE_NAME).decode(): each for each in every(body, GRAPH_OUTPUT)},
            next((value for number, value in model if number == MODEL_IR_VERSION and isinstance(value, int)), 0),
            tuple(every(model, MODEL_OPSET)),
        )
    except IndexError as error:
        raise ValueError("cut short") from error


def written(graph: Graph, nodes: Iterable[Node], inputs: Iterable[bytes], outputs: Iterable[bytes]) -> bytes:
    """The bytes of an ONNX file with some of a graph's nodes and the constants that they take."""
    kept = list(nodes)
    taken = {name for node in kept for name in node.inputs}
    body = [
        *(tag(GRAPH_NODE, node.content) for node in kept),
        tag(GRAPH_NAME, b"part"),
        *(tag(GRAPH_INITIALIZER, content) for name, content in graph.tensors.items() if name in taken),
        *(tag(GRAPH_INPUT, each) for each in inputs),
        *(tag(GRAPH_OUTPUT, each) for each in outputs),
    ]
    head = varint(MODEL_IR_VERSION << 3 | VARINT) + varint(graph.ir_version)
    return b"".join([head, *(tag(MODEL_OPSET, each) for each in graph.opsets), tag(MODEL_GRAPH, b"".join(body))])


def exposed(file: bytes, names: Iterable[str]) -> bytes:
    """The same ONNX file with inner values, float32, among its outputs, behind those that it has."""
    # Where a message stands twice a reader joins the two, so what is added can stand at the end.
    return file + tag(MODEL_GRAPH, b"".join(tag(GRAPH_OUTPUT, value(name)) for name in names))


def value(name: str, shape: Sequence[int | None] | None = None) -> bytes:
    """The message of an input or output, float32, of a shape where that is given, None for the pictures of a batch."""
    tensor = varint(1 << 3 | VARINT) + varint(FLOAT)
    if shape is not None:
        sides = (tag(2, b"batch") if side is None else varint(1 << 3 | VARINT) + varint(side) for side in shape)
        tensor += tag(2, b"".join(tag(1, side) for side in sides))
    return tag(VALUE_NAME, name.encode()) + tag(2, tag(1, tensor))


def fields(message: bytes) -> Fields:
    """The fields of a message."""
    return list(_fields(message))


def every(parts: Fields, number: int) -> list[bytes]:
    """The fields of a number that are bytes."""
    return [value for each, value in parts if each == number and isinstance(value, bytes)]


def last(parts: Fields, number: int) -> bytes:
    """The field of a number; where it comes again, the last one counts. Raises ValueError where there is none."""
    values = every(parts, number)
    if not values:
        raise ValueError(f"no field {number}")
    return values[-1]


def varints(packed: bytes) -> list[int]:
    """Integers written one after the other."""
    values, place = [], 0
    while place < len(packed):
        number, place = _read_varint(packed, place)
        values.append(number)
    return values


def varint(number: int) -> bytes:
    """An integer from 0 up, as a message has it."""
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


def tag(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | BYTES) + varint(len(content)) + content


def _node(content: bytes) -> Node:
    parts = fields(content)
    inputs, outputs = (tuple(name.decode() for name in every(parts, number)) for number in (NODE_INPUT, NODE_OUTPUT))
    return Node(content, last(parts, NODE_OPERATOR).decode(), inputs, outputs)


def _integers(parts: Fields, number: int) -> list[int]:
    found: list[int] = []
    for each, value in parts:
        if each == number:
            found += [value] if isinstance(value, int) else varints(value)
    return found


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    for _ in range(MAX_FIELDS):
        if place >= len(message):
            return
        key, place = _read_varint(message, place)
        kind = key & 7
        if kind == VARINT:
            number, place = _read_varint(message, place)
            yield key >> 3, number
            continue
        if kind == BYTES:
            length, place = _read_varint(message, place)
        elif kind in (FIXED32, FIXED64):
            length = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        if place + length > len(message):
            raise ValueError("cut short")
        yield key >> 3, message[place : place + length]
        place += length
    raise ValueError("too many fields")


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
    raise ValueError("an integer of over 64 bits")
