"""Whether the bytes of an ONNX graph are safe to give to a runtime, found out before one sees them.

A runtime believes a graph: it reads files that it names, computes at once what hangs on no input, and makes room for
whatever shapes come out. So the file is read here by the letter of onnx.proto; it may have just the parts that a
network needs, nodes of known kinds in order, and constants that hold what they say. Then the shape of every value is
found (`graphshapes`), and no value, no set of values that are needed at once, and no amount of work may pass a bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tellapart import graphfile, graphshapes, graphvalues
from tellapart.graphvalues import BATCH, Call, Shape, Value, said

MOST_NODES = 10_000
MOST_CONSTANTS = 20_000
MOST_OF_NAME = 2_000  # bytes
MOST_OF_TEXT = 20_000  # bytes of what is for people only
MOST_INPUTS = 1_000  # of one node
MOST_INTEGERS = 2**20  # in one list, where they stand one after the other and not as raw bytes
MOST_VALUE = 2**25  # numbers in a value a picture: 128 MiB of float32
MOST_LIVE = 3 * 2**24  # numbers that are needed at once a picture: 192 MiB
MOST_FOLDED = 2**23  # numbers that hang on no input, or twice those of the constants where these are more
MOST_WORK = 4 * 10**11  # multiply-adds a picture: Keras' largest network, ConvNeXtXLarge, takes 2.8e11 at 480 px
OPSETS = range(7, 25)
DOMAINS = ("", "ai.onnx", "ai.onnx.ml")  # exporters name the last one also where they use none of it
ITEM_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}  # TensorProto.DataType
FLOATS = {1: "<f4", 10: "<f2", 11: "<f8"}
INTS = {6: "<i4", 7: "<i8"}
MOST_READ = 64  # numbers of a constant of float32 that are looked at one by one
# Fields of the messages of onnx.proto that may stand there, by number.
MODEL = {1: "version", 2: "text", 3: "text", 4: "text", 5: "version", 6: "text", 7: "graph", 8: "opset", 14: "text"}
GRAPH = {1: "node", 2: "text", 5: "constant", 10: "text", 11: "input", 12: "output", 13: "value", 16: "text"}
NODE = {1: "input", 2: "output", 3: "text", 4: "operator", 5: "attribute", 6: "text", 7: "domain", 9: "text"}
OF_TYPE = {1: 2, 2: 3, 3: 4, 4: 5, 6: 7, 7: 8}  # AttributeProto.AttributeType to the field with such a value
WIDEST = 2**64

Parts = list[tuple[int, Any]]  # a field's number, and an integer or a view of bytes


def check(file: bytes) -> None:
    """Raise ValueError, with what is wrong, unless a runtime can be given this graph."""
    values(file)


def values(file: bytes) -> dict[str, Value]:
    """What is known beforehand of every value in a graph, by name. Raises ValueError as `check` does."""
    model = _fields(memoryview(file), MODEL, "the file")
    opset = _opset([each for number, each in model if number == 8])
    graphs = [each for number, each in model if number == 7]
    if not graphs:
        raise ValueError("it has no graph")
    # Where a message stands twice a reader joins the two; what this package adds stands so.
    body = [part for each in graphs[:2] for part in _fields(each, GRAPH, "the graph")]
    if len(graphs) > 2:
        raise ValueError("it has several graphs")
    constants = [each for number, each in body if number == 5]
    nodes = [each for number, each in body if number == 1]
    if len(constants) > MOST_CONSTANTS or len(nodes) > MOST_NODES:
        raise ValueError(
            f"it has {len(nodes):,} nodes and {len(constants):,} constants; there may be {MOST_NODES:,} and "
            f"{MOST_CONSTANTS:,}"
        )
    found: dict[str, Value] = {}
    for each in constants:
        name, value = _tensor(each)
        _add(found, name, value)
    for each in (each for number, each in body if number == 11):
        name, kind, shape = _declared(each)
        if name in found:  # old exporters name constants among the inputs
            continue
        _add(found, name, Value(_of_batch(name, shape), kind))
    declared = {name: shape for number, each in body if number in (12, 13) for name, _, shape in [_declared(each)]}
    outputs = [_declared(each)[0] for number, each in body if number == 12]
    _walk([_node(each) for each in nodes], found, opset, declared, outputs)
    return found


def _walk(
    nodes: list[tuple[str, list[str], list[str], dict[str, Any]]],
    values: dict[str, Value],
    opset: int,
    declared: dict[str, list[int | None] | None],
    outputs: list[str],
) -> None:
    """Find the shapes of all values in the nodes' order, and keep count of numbers and work."""
    last = {name: i for i, (_, taken, _, _) in enumerate(nodes) for name in taken}
    last.update(dict.fromkeys(outputs, len(nodes)))
    folded_most = max(MOST_FOLDED, 2 * sum(value.elements for value in values.values() if value.constant))
    live, folded, work = 0, 0, 0
    due: dict[int, list[int]] = {}
    for i, (operator, taken, given, attributes) in enumerate(nodes):
        try:
            if missing := next((name for name in taken if name and name not in values), None):
                raise ValueError(f"it takes {_shown(missing)}, which nothing before it gives")
            inputs = tuple(values[name] if name else None for name in taken)
            call = Call(operator, inputs, attributes, len(given), opset)
            found = graphshapes.outputs(call)
            constant = all(value is None or value.constant for value in inputs) and operator != "Shape"
            for name, value in zip(given, found, strict=False):
                if not name:
                    continue
                if value.elements > MOST_VALUE:
                    raise ValueError(f"it would give {value.elements:,} numbers a picture; there may be {MOST_VALUE:,}")
                _fits(name, value.shape, declared.get(name))
                _add(
                    values, name, Value(value.shape, value.kind, value.known, value.numbers, constant or value.constant)
                )
                live += value.elements
                if constant:
                    folded += value.elements
                else:
                    due.setdefault(last.get(name, i), []).append(value.elements)
                work += value.elements
        except ValueError as error:
            raise ValueError(f"its node {i} ({_shown(operator)}) cannot be: {error}") from error
        work += sum(call.work)
        if live > MOST_LIVE + folded_most or live - folded > MOST_LIVE:
            raise ValueError(f"at its node {i} it needs {live:,} numbers a picture at once; there may be {MOST_LIVE:,}")
        if folded > folded_most:
            raise ValueError(f"it makes {folded:,} constants out of others; there may be {folded_most:,}")
        if work > MOST_WORK:
            raise ValueError(f"it would take over {MOST_WORK:,} multiplications a picture")
        live -= sum(due.pop(i, []))
    for name in outputs:
        if name not in values:
            raise ValueError(f"nothing gives its output {_shown(name)}")
        _fits(name, values[name].shape, declared.get(name))


def _add(values: dict[str, Value], name: str, value: Value) -> None:
    if name in values:
        raise ValueError(f"two values of it are called {_shown(name)}")
    if not name:
        raise ValueError("a value of it has no name")
    values[name] = value


def _fits(name: str, shape: Shape, told: list[int | None] | None) -> None:
    """Raise ValueError where a value has another shape than the file says of it."""
    if told is not None and (
        len(told) != len(shape) or any(side not in (None, mine) for side, mine in zip(told, shape, strict=True))
    ):
        raise ValueError(f"{_shown(name)} is said to have another shape than {said(shape)}, which it has")


def _of_batch(name: str, sides: list[int | None] | None) -> Shape:
    """The shape of an input: its first side is the batch where the file gives no number."""
    if sides is None or any(side is None for side in sides[1:]):
        raise ValueError(f"its input {_shown(name)} must have a shape, all but the batch in numbers")
    shape = graphvalues.checked(tuple(BATCH if side is None else side for side in sides))
    if Value(shape).elements > MOST_VALUE:
        raise ValueError(f"its input {_shown(name)} must have at most {MOST_VALUE:,} numbers a picture")
    return shape


def _opset(messages: Iterable[Any]) -> int:
    """The version of the operators that the graph is written in."""
    found = 0
    for each in messages:
        domain, version = "", 0
        for number, value in _fields(each, {1: "text", 2: "version"}, "an opset"):
            domain, version = (_name(value), version) if number == 1 else (domain, value)
        if domain not in DOMAINS:
            raise ValueError(f"it has operators of its own, by the name of {_shown(domain)}")
        if domain in DOMAINS[:2]:
            if found or version not in OPSETS:
                raise ValueError(f"it must be of one opset from {OPSETS[0]} to {OPSETS[-1]}; it has {version}")
            found = version
    if not found:
        raise ValueError("it does not say of which opset it is")
    return found


def _node(message: Any) -> tuple[str, list[str], list[str], dict[str, Any]]:
    """Operator, inputs, outputs and attributes of a node."""
    operator, taken, given, attributes = "", [], [], {}
    for number, value in _fields(message, NODE, "a node"):
        if number == 1:
            taken.append(_name(value))
        elif number == 2:
            given.append(_name(value))
        elif number == 4:
            operator = _name(value)
        elif number == 5:
            name, found = _attribute(value)
            if name in attributes:
                raise ValueError(f"a node of it has the attribute {_shown(name)} twice")
            attributes[name] = found
        elif number == 7 and _name(value) not in DOMAINS[:2]:
            raise ValueError(f"it has an operator of its own, {_shown(_name(value))}.{_shown(operator)}")
    if len(taken) > MOST_INPUTS or len(given) > MOST_INPUTS:
        raise ValueError(f"a node of it has over {MOST_INPUTS:,} inputs or outputs")
    return operator, taken, given, attributes


def _attribute(message: Any) -> tuple[str, Any]:
    parts = _fields(
        message, {1: "", 2: "", 3: "", 4: "", 5: "", 7: "", 8: "", 13: "text", 20: "version"}, "an attribute"
    )
    name = _name(next((value for number, value in parts if number == 1), b""))
    wanted = OF_TYPE.get(next((value for number, value in parts if number == 20), 0))
    if wanted is None or any(number not in (1, 13, 20, wanted) for number, _ in parts):
        raise ValueError(f"a node of it has an attribute {_shown(name)} that is not of the type that it says")
    found = [value for number, value in parts if number == wanted]
    if wanted == 8:
        return name, _integers(found)
    if wanted == 7:
        numbers = np.frombuffer(b"".join(bytes(value) for value in found), "<f4")
        return name, numbers.tolist()
    if len(found) > 1:
        raise ValueError(f"a node of it has two values of the attribute {_shown(name)}")
    if wanted == 3:
        return name, _signed(found[0]) if found else 0
    if wanted == 2:
        return name, float(np.frombuffer(found[0], "<f4")[0]) if found else 0.0
    if wanted == 4:
        return name, _name(found[0]) if found else ""
    if not found:
        raise ValueError(f"a node of it has no value of the attribute {_shown(name)}")
    return name, _tensor(found[0])[1]


def _tensor(message: Any) -> tuple[str, Value]:
    """Name and shape of a constant whose numbers are there, as many as it says, and none of them NaN or infinite."""
    allowed = {1: "", 2: "version", 4: "", 5: "", 7: "", 8: "text", 9: "", 10: "", 11: "", 12: "text", 14: "version"}
    parts = _fields(message, allowed, "a constant")
    name = _name(next((value for number, value in parts if number == 8), b""))
    kind = next((value for number, value in parts if number == 2), 0)
    sides = [_signed(side) for side in _integers([value for number, value in parts if number == 1])]
    if any(value for number, value in parts if number == 14):
        raise ValueError(f"its constant {_shown(name)} stands in another file; it must hold its numbers itself")
    if kind not in ITEM_BYTES:
        raise ValueError(f"its constant {_shown(name)} must be of numbers; it is of type {kind}")
    shape = tuple(sides)
    if len(shape) > graphvalues.MOST_RANK or not all(0 <= side < graphvalues.MOST_SIDE for side in shape):
        raise ValueError(f"its constant {_shown(name)} has a shape that cannot be")
    n, holders = math.prod(shape), {number for number, _ in parts if number in (4, 5, 7, 9, 10, 11)}
    if len(holders) > 1:
        raise ValueError(f"its constant {_shown(name)} holds its numbers in two ways")
    try:
        values = _numbers(parts, holders.pop() if holders else 9, kind)
    except ValueError as error:
        raise ValueError(f"its constant {_shown(name)} cannot be read: {error}") from error
    if len(values) != n:
        raise ValueError(f"its constant {_shown(name)} must hold {n:,} numbers by its shape; it holds {len(values):,}")
    if values.dtype.kind == "f" and not _finite(values):
        raise ValueError(f"its constant {_shown(name)} must hold numbers; some are infinite or none (NaN)")
    known = numbers = None
    if kind in graphvalues.WHOLE and n <= graphvalues.MOST_KNOWN:
        ints = values.tolist()
        if all(abs(each) < graphvalues.MOST_NUMBER or each in graphvalues.FARTHEST for each in ints):
            known = np.array(ints, dtype=object).reshape(shape)
    elif kind == graphvalues.FLOAT and n <= MOST_READ:
        numbers = tuple(values.tolist())
    return name, Value(shape, kind, known, numbers, constant=True)


def _numbers(parts: Parts, place: int, kind: int) -> np.ndarray:
    """The numbers of a constant, (N,), by the field that they stand in; of what is no number for us just as many."""
    found = [value for number, value in parts if number == place]
    if place == 9:
        if len(found) > 1 or len(found[0] if found else b"") % ITEM_BYTES[kind]:
            raise ValueError("its bytes are not as many as numbers need")
        return np.frombuffer(found[0] if found else b"", FLOATS.get(kind) or INTS.get(kind) or f"V{ITEM_BYTES[kind]}")
    if place in (4, 10):
        width = 4 if place == 4 else 8
        if kind != (1 if place == 4 else 11) or any(isinstance(value, int) or len(value) % width for value in found):
            raise ValueError("its numbers are not of its type")
        return np.frombuffer(b"".join(bytes(value) for value in found), f"<f{width}")
    if {5: kind in (2, 3, 4, 5, 6, 9, 10, 16), 7: kind == 7, 11: kind in (12, 13)}[place] is False:
        raise ValueError("its numbers are not of its type")
    values = [_signed(value) for value in _integers(found)]
    if kind == 10:  # the bits of float16
        return np.array([value & 0xFFFF for value in values], np.uint16).view(np.float16)
    return np.array(values, np.int64)


def _finite(values: np.ndarray) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        # One pass without a table of answers; a sum that overflows is looked at again.
        return bool(np.isfinite(values.sum(dtype=values.dtype))) or bool(np.isfinite(values).all())


def _declared(message: Any) -> tuple[str, int, list[int | None] | None]:
    """Name, type and sides of an input, output or inner value; None for sides that are not said."""
    name, kind, shape = "", 0, None
    for number, value in _fields(message, {1: "", 2: "", 3: "text", 4: "text"}, "a value"):
        if number == 1:
            name = _name(value)
        elif number == 2:
            kind, shape = _type(value)
    return name, kind, shape


def _type(message: Any) -> tuple[int, list[int | None] | None]:
    kind, shape = 0, None
    for number, tensor in _fields(message, {1: "", 6: "text"}, "a type that is no tensor's,"):
        if number != 1:
            continue
        for place, value in _fields(tensor, {1: "version", 2: ""}, "a type"):
            if place == 1:
                kind = value
                continue
            shape = []
            for _, side in _fields(value, {1: ""}, "a shape"):
                told = [each for each_number, each in _fields(side, {1: "version", 2: "text", 3: "text"}, "a side")
                        if each_number == 1]  # fmt: skip
                shape.append(_signed(told[-1]) if told else None)
    if kind not in ITEM_BYTES:
        raise ValueError(f"a value of it must be of numbers; it is of type {kind}")
    return kind, shape


def _fields(message: Any, allowed: dict[int, str], what: str) -> Parts:
    """The fields of a message, views and not copies. Raises ValueError for one that it must not have."""
    if isinstance(message, int):
        raise ValueError(f"{what} is a number where it must be a message")
    try:
        found: Parts = graphfile.fields(message)
    except IndexError as error:
        raise ValueError("it is cut short") from error
    for number, value in found:
        meaning = allowed.get(number)
        if meaning is None:
            raise ValueError(f"{what} has a part that it must not have (field {number} of onnx.proto)")
        if (meaning == "version") != isinstance(value, int) and meaning:
            raise ValueError(f"{what} has a part of another type than it must have (field {number} of onnx.proto)")
        if meaning == "text" and len(value) > MOST_OF_TEXT:
            raise ValueError(f"{what} has a text of over {MOST_OF_TEXT:,} bytes")
    return found


def _name(value: Any) -> str:
    if isinstance(value, int) or len(value) > MOST_OF_NAME:
        raise ValueError(f"a name in it must be a text of at most {MOST_OF_NAME:,} bytes")
    return bytes(value).decode()


def _integers(values: Iterable[Any]) -> list[int]:
    """Integers one by one, or packed."""
    found: list[int] = []
    try:
        for value in values:
            # Counted before they are made: of each but its last byte the top bit is set.
            n = 1 if isinstance(value, int) else np.count_nonzero(np.frombuffer(value, np.uint8) < 128)
            if len(found) + n > MOST_INTEGERS:
                raise ValueError(f"it has over {MOST_INTEGERS:,} numbers in a list")
            found += [value] if isinstance(value, int) else graphfile.varints(bytes(value))
    except IndexError as error:
        raise ValueError("it is cut short") from error
    return [_signed(each) for each in found]


def _signed(number: int) -> int:
    if isinstance(number, int) and -WIDEST < number < WIDEST:
        return number - WIDEST if number >= WIDEST // 2 else number
    raise ValueError("a number in it is over 64 bits")


def _shown(name: str) -> str:
    return ascii(name)[1:-1][:80]
