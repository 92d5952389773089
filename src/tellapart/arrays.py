"""Named arrays as bytes and back: an .npz without pickles, nothing in it trusted."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from tellapart.errors import BundleError

MOST_BYTES = 256 * 2**20  # of all arrays together, unpacked


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
    problem = "it cannot be read"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            if sorted(info.filename for info in infos) != sorted(f"{name}.npy" for name in expected):
                problem = f"it must hold {', '.join(expected)}"
            elif sum(info.file_size for info in infos) > MOST_BYTES:
                problem = "it is too large"
            else:
                found = {}
                for name in expected:
                    with archive.open(f"{name}.npy") as file:
                        limited = io.BytesIO(file.read(MOST_BYTES))  # the header's word for the size is not trusted
                    found[name] = np.load(limited, allow_pickle=False)
                wrong = [name for name, kind in expected.items() if not _fits(found[name], *kind)]
                if not wrong:
                    return found
                problem = (
                    f"its {wrong[0]} must be {expected[wrong[0]][0]} numbers in {expected[wrong[0]][1]} dimensions"
                )
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, MemoryError, NotImplementedError) as error:
        problem = " ".join(str(error).split())[:200] or problem
    raise BundleError(f"{what} must be as they were written; {problem}. Get the file again, or train anew.")


def _fits(array: np.ndarray, dtype: str, dimensions: int) -> bool:
    return array.dtype == np.dtype(dtype) and array.ndim == dimensions and bool(np.isfinite(array).all())
