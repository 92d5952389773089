"""JSON that is not trusted to plain values: strict, and bounded before anything is made of it.

Python's own reader takes NaN, numbers that overflow, keys that stand twice, several encodings and halves of surrogate
pairs, and makes of each byte up to thirty of memory. The format: RFC 8259.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np

MOST_DEEP = 32  # lists and objects in one another
MOST_GROUPS = 400_000  # lists and objects
MOST_STRINGS = 1_000_000
MOST_VALUES = 4_000_000
LONG_INTEGER = re.compile(rb"(?<![0-9.eE+])[0-9]{19,}(?![0-9.eE])")  # over 64 bits, or nearly
QUOTE = 0x22
BLOCK = 2**20


def read(
    content: bytes,
    *,
    most_values: int = MOST_VALUES,
    most_strings: int = MOST_STRINGS,
    most_deep: int = MOST_DEEP,
) -> Any:
    """The value in a JSON text of UTF-8.

    Raises:
        ValueError: it is none, holds more than it may, or what has no one meaning; said as the end of a sentence.
    """
    _bounded(content, most_values, most_strings, most_deep)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 at byte {error.start:,}") from error
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_float=_finite, parse_constant=_no_constant)
    except RecursionError as error:  # not from the bounds above, but from little room left on the stack
        raise ValueError("it is nested too deep") from error
    if b"\\u" in content:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError("it holds half of a surrogate pair, which is no text") from error
    return value


def _bounded(content: bytes, most_values: int, most_strings: int, most_deep: int) -> None:
    """Raise ValueError where a text holds more than it may. What stands in strings does not count."""
    if content.count(b'"') > 2 * most_strings + content.count(b'\\"'):
        raise ValueError(f"it holds over {most_strings:,} texts")
    plain = content
    if b"\\" in content:
        plain = plain.replace(b"\\\\", b"").replace(b'\\"', b"")
    inside, depth, deepest, groups, values = 0, 0, 0, 0, 0
    for start in range(0, len(plain), BLOCK):  # block by block, so that counting takes no memory
        every = np.frombuffer(plain, np.uint8)[start : start + BLOCK]
        quotes = np.cumsum(every == QUOTE, dtype=np.uint32) + np.uint32(inside)
        inside = int(quotes[-1]) & 1  # odd from an opening quote to before its closing one
        outside = every[quotes & 1 == 0]
        opening, closing = ((outside == a) | (outside == b) for a, b in (b"[{", b"]}"))
        depths = np.cumsum(opening.astype(np.int8) - closing.astype(np.int8), dtype=np.int32) + np.int32(depth)
        depth, deepest = int(depths[-1]) if len(depths) else depth, max(deepest, int(depths.max(initial=0)))
        groups += int(np.count_nonzero(opening))
        values += int(np.count_nonzero(outside == ord(",")))
        if deepest > most_deep:
            raise ValueError(f"it must be at most {most_deep} deep; it is {deepest:,}")
        if groups > MOST_GROUPS:
            raise ValueError(f"it holds over {MOST_GROUPS:,} lists and objects")
        if values >= most_values:
            raise ValueError(f"it holds over {most_values:,} values")
        if LONG_INTEGER.search(outside.tobytes()):
            raise ValueError("it holds a whole number of over 18 digits")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1) if len(keys) < 1000 else "one"
        raise ValueError(f"a key stands twice: {ascii(twice)[:60]}")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"it holds a number that is too large: {text[:40]}")
    return number


def _no_constant(text: str) -> float:
    raise ValueError(f"it holds {text}, which is no number")
