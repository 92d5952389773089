"""Arrays to bytes and back, and what comes of bytes that are no such arrays."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest

from tellapart import arrays
from tellapart.errors import BundleError

KINDS = {"a": ("float32", 2), "b": ("bool", 1)}
GOOD = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([True, False])}


def npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_what_was_packed_comes_back_and_the_same_arrays_give_the_same_bytes():
    packed = arrays.to_bytes(GOOD)
    found = arrays.from_bytes(packed, KINDS, "These")
    assert found.keys() == GOOD.keys()
    assert all((found[name] == GOOD[name]).all() and found[name].dtype == GOOD[name].dtype for name in GOOD)
    assert packed == arrays.to_bytes(GOOD)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no zip",
        arrays.to_bytes(GOOD)[:-30],
        arrays.to_bytes({"a": GOOD["a"]}),
        arrays.to_bytes({**GOOD, "c": GOOD["b"]}),
        arrays.to_bytes({**GOOD, "a": GOOD["a"].astype(np.float64)}),
        arrays.to_bytes({**GOOD, "b": np.array([[True]])}),
        arrays.to_bytes({**GOOD, "a": np.full((2, 2), np.nan, np.float32)}),
        npz(a=b"not an array", b=npy(GOOD["b"])),
        npz(a=npy(GOOD["a"])[:-8], b=npy(GOOD["b"])),
        arrays.to_bytes({**GOOD, "a": GOOD["a"].astype(np.int32)}),
        npz(a=npy(np.asfortranarray(GOOD["a"])), b=npy(GOOD["b"])),
        npz(a=npy(GOOD["a"]).replace(b"v\0", b"z\0", 1) + bytes(4), b=npy(GOOD["b"])),
    ],
    ids=[
        "empty",
        "no zip",
        "cut",
        "too few",
        "too many",
        "dtype",
        "shape",
        "not finite",
        "no array",
        "short array",
        "dtype of the same size",
        "by columns",
        "length of the head",
    ],
)
def test_anything_else_is_refused_in_one_sentence(content: bytes):
    with pytest.raises(BundleError, match=r"^These must be as they were written; .*Get the file again"):
        arrays.from_bytes(content, KINDS, "These")


def test_a_pickle_in_it_is_not_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    trap = np.lib.format.magic(1, 0) + b"v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117)
    with pytest.raises(BundleError):
        arrays.from_bytes(npz(a=trap + b"\n" + pickle.dumps(Trap()), b=npy(GOOD["b"])), KINDS, "These")
    assert not (tmp_path / "sprung").exists()


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arrays, "MOST_BYTES", 10_000)
    huge = arrays.to_bytes({"a": np.zeros((100, 1000), np.float32), "b": GOOD["b"]})
    assert len(huge) < 10_000
    with pytest.raises(BundleError, match="must hold at most 10,000 bytes in all"):
        arrays.from_bytes(huge, KINDS, "These")
