"""Named arrays as bytes and back: an .npz without pickles, nothing in it trusted."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping

import numpy as np

from tellapart import zipmembers
from tellapart.errors import BundleError

MOST_BYTES = 128 * 2**20  # of all arrays together, unpacked
LIMIT = zipmembers.Limit(MOST_BYTES, ratio=100)
MOST_OF_HEAD = 512  # bytes
HEAD = (
    rb"\x93NUMPY\x01\x00(..)\{'descr': '([<|][a-z]\d)', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,10}(?:,|, \d{1,10}){0,7})?)\), \} *\n"
)
_KINDS = {np.dtype(each).str.encode(): np.dtype(each) for each in "?bBhHiIlLqQefd"}


def to_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name as the bytes of an .npz; the same arrays give the same bytes."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **dict(arrays))
    return file.getvalue()


def from_bytes(content: bytes, expected: Mapping[str, tuple[str, int]], what: str) -> dict[str, np.ndarray]:
    """What `to_bytes` packed.

    Args:
        content: the bytes.
        expected: the arrays that must be there: name to dtype, like "float32", and number of dimensions.
        what: whose arrays they are, for the error: "A bundle's held-out answers".

    Raises:
        BundleError: there are others, or they are of another kind, too large or not finite.
    """
    try:
        file = io.BytesIO(content)
        found = zipmembers.listed(file, len(content))
        if found.keys() != {f"{name}.npy" for name in expected}:
            raise ValueError(f"it must hold {', '.join(expected)}")
        zipmembers.checked(found, dict.fromkeys(found, LIMIT), MOST_BYTES)
        return {
            name: _array(zipmembers.content(file, found[f"{name}.npy"]), name, *kind) for name, kind in expected.items()
        }
    except ValueError as error:
        problem = " ".join(str(error).split())[:200]
    raise BundleError(f"{what} must be as they were written; {problem}. Get the file again, or train anew.")


def plain_shape(content: bytes, dtype: str) -> tuple[int, ...]:
    """The shape of the array in the bytes of an .npy file; what stands behind its head is just as long as that needs.

    The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

    Raises:
        ValueError: it is no such file, or not of this dtype in the order of C.
    """
    head = re.match(HEAD, content[:MOST_OF_HEAD], re.DOTALL)
    if head is None:
        raise ValueError("it is no array as numpy writes one")
    length, kind, by_column, sides = head.groups()
    n_head = 10 + int.from_bytes(length, "little")
    if head.end() != n_head:
        raise ValueError("the head of an array has another length than it says")
    if by_column != b"False" or np.dtype(dtype) != _KINDS.get(kind):
        raise ValueError(f"an array must be of {dtype} in the order of C")
    shape = tuple(int(side) for side in sides.split(b",") if side.strip())
    if n_head + math.prod(shape) * np.dtype(dtype).itemsize != len(content):
        raise ValueError(f"an array must have as many values as its shape says; it has another number than {shape}")
    return shape


def _array(content: bytes, name: str, dtype: str, dimensions: int) -> np.ndarray:
    try:
        shape = plain_shape(content, dtype)
    except ValueError as error:
        raise ValueError(f"its {name} must be {dtype} numbers in {dimensions} dimensions ({error})") from error
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    found = np.frombuffer(content, dtype, offset=len(content) - n_bytes) if n_bytes else np.zeros(0, dtype)
    if len(shape) != dimensions or (dtype == "bool" and found.view(np.uint8).max(initial=0) > 1):
        raise ValueError(f"its {name} must be {dtype} numbers in {dimensions} dimensions")
    if not np.isfinite(found).all():
        raise ValueError(f"its {name} must be {dtype} numbers in {dimensions} dimensions; some are infinite or none")
    return found.reshape(shape)
