"""The end of a bundle's graph, cut off behind its feature map, so that it can be asked about changed maps.

The end of a network is small: a pooling and a dense layer or two. What one place of the map contributes to an answer can be
measured there by asking again without it, as often as the map has places, in less time than the whole network takes for
one picture.

A graph is a protobuf message (https://protobuf.dev/programming-guides/encoding/) whose fields onnx.proto numbers
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). To cut one takes the names of its nodes' inputs and outputs and
nothing of their weights, so the messages are sorted as bytes; the package `onnx`, which only training needs, stays out of
what answers. What comes out is opened by ONNX Runtime, which checks it like any graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Wire types, and the numbers of fields in onnx.proto.
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MODEL_IR_VERSION, MODEL_GRAPH, MODEL_OPSET = 1, 7, 8
GRAPH_NODE, GRAPH_NAME, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 2, 5, 11, 12
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR, NODE_ATTRIBUTE = 1, 2, 4, 5
TENSOR_NAME, VALUE_NAME = 8, 1
ATTRIBUTE_NAME, ATTRIBUTE_INTS = 1, 8
FLOAT = 1  # TensorProto.DataType

MAX_FIELDS = 1_000_000  # of one message; a network has some thousands
CHANNELS_LAST, CHANNELS_FIRST = (0, 1, 2, 3), (0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class Tail:
    """The graph from a feature map to the logits."""

    graph: bytes  # one input, the map, float32; one output, the logits
    order: tuple[int, ...]  # axes of (B, H, W, K) in the order in which the input has them


@dataclass(frozen=True, slots=True)
class _Node:
    content: bytes
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def cut(graph: bytes, feature_map: str, logits: str, shape: Sequence[int]) -> Tail | None:
    """The end of a graph from `feature_map` to `logits`; None where the logits hang on more than that map.

    Args:
        graph: an ONNX model, not trusted.
        feature_map: the name of the map, float32 (B, H, W, K), among the graph's values.
        logits: the name of an output, float32 (B, C).
        shape: H, W, K.
    """
    try:
        return _cut(graph, feature_map, logits, tuple(shape))
    except (ValueError, IndexError, UnicodeDecodeError):  # not such a message, or cut short
        return None


def _cut(graph: bytes, feature_map: str, logits: str, shape: tuple[int, ...]) -> Tail | None:
    model = list(_fields(graph))
    body = list(_fields(_only(model, MODEL_GRAPH)))
    nodes = [_node(content) for number, content in body if number == GRAPH_NODE and isinstance(content, bytes)]
    makers = {name: node for node in nodes for name in node.outputs}
    constants = {_name(content, TENSOR_NAME): content for content in _all(body, GRAPH_INITIALIZER)}
    given = {_name(content, VALUE_NAME) for content in _all(body, GRAPH_INPUT)} - set(constants)
    for name, order in _same(makers, feature_map):
        needed = _needed(makers, logits, name)
        values = {value for node in needed for value in node.inputs} | {logits}
        if name in values and not values & given:
            break
    else:
        return None
    ending = [_tag(GRAPH_NODE, node.content) for node in nodes if node in needed]
    ending += [_tag(GRAPH_INITIALIZER, constants[value]) for value in constants if value in values]
    ending.append(_tag(GRAPH_NAME, b"tail"))
    ending.append(_tag(GRAPH_INPUT, _value(name, [(None, *shape)[axis] for axis in order])))
    ending += [_tag(GRAPH_OUTPUT, each) for each in _all(body, GRAPH_OUTPUT) if _name(each, VALUE_NAME) == logits]
    version = next(value for number, value in model if number == MODEL_IR_VERSION)
    head = _varint(MODEL_IR_VERSION << 3 | VARINT) + _varint(int(version))
    opsets = [_tag(MODEL_OPSET, each) for each in _all(model, MODEL_OPSET)]
    return Tail(b"".join([head, *opsets, _tag(MODEL_GRAPH, b"".join(ending))]), order)


def _same(makers: dict[str, _Node], name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names under which the map stands in the graph, and the order of its axes there."""
    order = CHANNELS_LAST
    seen = set()
    while name not in seen:
        seen.add(name)
        yield name, order
        node = makers.get(name)
        if node is None or len(node.inputs) != 1 or node.operator not in ("Identity", "Transpose"):
            return
        if node.operator == "Transpose":
            moved = _permutation(node)
            if sorted(moved) != [0, 1, 2, 3]:
                return
            before = [0] * 4  # output axis i is input axis moved[i]
            for i, axis in enumerate(moved):
                before[axis] = order[i]
            order = tuple(before)
        if order[0] != 0:
            return
        name = node.inputs[0]


def _needed(makers: dict[str, _Node], logits: str, stop: str) -> set[_Node]:
    """The nodes that lead to the logits, back to `stop`."""
    needed: set[_Node] = set()
    waiting = [logits]
    while waiting:
        name = waiting.pop()
        node = makers.get(name)
        if name != stop and node is not None and node not in needed:
            needed.add(node)
            waiting.extend(node.inputs)
    return needed


def _node(content: bytes) -> _Node:
    fields = list(_fields(content))
    operators = _all(fields, NODE_OPERATOR)
    inputs, outputs = (
        tuple(value.decode() for value in _all(fields, number) if value) for number in (NODE_INPUT, NODE_OUTPUT)
    )
    return _Node(content, operators[0].decode() if operators else "", inputs, outputs)


def _permutation(node: _Node) -> list[int]:
    for attribute in _all(list(_fields(node.content)), NODE_ATTRIBUTE):
        fields = list(_fields(attribute))
        if _only(fields, ATTRIBUTE_NAME) == b"perm":
            axes: list[int] = []
            for number, value in fields:
                if number == ATTRIBUTE_INTS:  # one by one, or all in one string of bytes
                    axes += [value] if isinstance(value, int) else _varints(value)
            return axes
    return []


def _name(message: bytes, number: int) -> str:
    return _only(list(_fields(message)), number).decode()


def _only(fields: list[tuple[int, int | bytes]], number: int) -> bytes:
    values = _all(fields, number)
    if not values:
        raise ValueError(f"no field {number}")
    return values[-1]


def _all(fields: list[tuple[int, int | bytes]], number: int) -> list[bytes]:
    return [value for each, value in fields if each == number and isinstance(value, bytes)]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: their number, and an integer or the bytes."""
    place = 0
    for _ in range(MAX_FIELDS):
        if place >= len(message):
            return
        key, place = _read_varint(message, place)
        kind = key & 7
        if kind == VARINT:
            value, place = _read_varint(message, place)
            yield key >> 3, value
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
    value = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("an integer of over 64 bits")


def _varints(packed: bytes) -> list[int]:
    values, place = [], 0
    while place < len(packed):
        value, place = _read_varint(packed, place)
        values.append(value)
    return values


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def _tag(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(len(content)) + content


def _value(name: str, shape: list[int | None]) -> bytes:
    """A ValueInfoProto: float32 of a shape, None for the pictures of a batch."""
    dimensions = b"".join(
        _tag(1, _tag(2, b"batch") if side is None else _varint(1 << 3 | VARINT) + _varint(side)) for side in shape
    )
    tensor = _varint(1 << 3 | VARINT) + _varint(FLOAT) + _tag(2, dimensions)
    return _tag(VALUE_NAME, name.encode()) + _tag(2, _tag(1, tensor))
