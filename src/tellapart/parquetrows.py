"""Pictures in the rows of a Parquet file, unpacked one after the other by a process that can be thrown away.

A row has a picture, as bytes or as Hugging Face's struct of `bytes` and `path`, and may have a label: a text, or a
number whose names stand in Hugging Face's note in the file. A page of Parquet may unpack to far more than the file has,
so the process has a limit of memory and of computed seconds, and what comes out of it has one too. It writes all
pictures into one file, then an index: after that they are read by their place, like the members of a tar.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tellapart.archives import MOST_MEMBERS, Tree, tree_of
from tellapart.errors import MissingPackageError

IMAGE_NAMES = ("image", "img", "picture", "photo", "jpg", "png", "image_bytes", "bytes")
# Usual names of columns of labels, best first, in tables of every kind.
LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "class_name",
    "category",
    "target",
    "species",
    "breed",
    "diagnosis",
    "y",
)
MEMORY_BYTES = 4 * 2**30  # that the process may take beyond what it has at the start
COMPUTED_S = 600  # and one more for each SLOWEST bytes of the file
SLOWEST = 5_000_000
ROWS = 8  # unpacked at once
NO_PICTURE = "the row has no picture"

_FOOTER = struct.Struct("!Q8s")  # the index' bytes, and what it is
_MAGIC = b"tellrows"
_NEEDS = "pyarrow is needed"
_BEGINNINGS = (
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The label of each row."""

    names: list[str]
    rows: np.ndarray  # int32 (N,): which name; -1 for none

    def of(self, row: int) -> str | None:
        """The label of a row, None where it has none."""
        return self.names[self.rows[row]] if self.rows[row] >= 0 else None


def unpack(file: str, target: BinaryIO, most_bytes: int) -> None:
    """Write the pictures of a Parquet file, and their index, to an open one.

    Raises:
        OSError: it is no Parquet file, or has no column of pictures, or asks for more than it may.
        MissingPackageError: pyarrow is not installed.
    """
    root = str(Path(__file__).resolve().parents[1])
    code = f"import sys; sys.path.append({root!r}); from tellapart import parquetrows; parquetrows.main(sys.argv[1])"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code, os.path.abspath(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            n_bytes = 0
            while chunk := process.stdout.read(2**20):
                n_bytes += len(chunk)
                if n_bytes > most_bytes:
                    raise OSError(
                        errno.EFBIG,
                        f"its pictures unpack to over {most_bytes / 1e9:.1f} GB, half of what may be kept "
                        "(raise $TELLAPART_SPOOL_LIMIT_GB, or divide the file)",
                    )
                target.write(chunk)
            said = process.stderr.read(4096).decode(errors="replace").strip()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        if _NEEDS in said:
            raise MissingPackageError(
                "Parquet files need a package that is not installed: pip install 'tellapart[shards]'"
            )
        how = signal.Signals(-process.returncode).name if process.returncode < 0 else ""
        reason = (
            said.splitlines()[-1][:300] if said else f"it needs more memory or time than it may, or crashes ({how})"
        )
        raise OSError(errno.EINVAL, f"not readable as Parquet: {reason}")


def tree(file: str) -> tuple[Tree, Labels]:
    """The rows of what `unpack` has written, by name, and their labels."""
    with open(file, "rb") as opened:
        end = opened.seek(0, os.SEEK_END)
        opened.seek(end - _FOOTER.size)
        n_bytes, magic = _FOOTER.unpack(opened.read(_FOOTER.size))
        if magic != _MAGIC:
            raise OSError(errno.EIO, "what was unpacked of it is damaged: run tellapart cache clear")
        opened.seek(end - _FOOTER.size - n_bytes)
        index = json.loads(opened.read(n_bytes))
    starts = np.concatenate([[0], np.cumsum(index["sizes"])[:-1]]).astype(np.int64).tolist() if index["sizes"] else []
    rows, reasons = [], {}
    for i, (ending, start, size) in enumerate(zip(index["endings"], starts, index["sizes"], strict=True)):
        name = f"{i:08}{ending}"
        rows.append((name, start, size, -1, -1))
        if not size:
            reasons[name] = NO_PICTURE
    return tree_of(rows, reasons), Labels(index["names"], np.array(index["labels"], np.int32))


def main(file: str) -> None:
    """Write the pictures of a Parquet file, and their index, to standard output; this is the process."""
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        sys.exit(_NEEDS)
    pyarrow.set_cpu_count(1)
    _bounded(os.path.getsize(file))
    try:
        opened = parquet.ParquetFile(file, pre_buffer=False, buffer_size=2**20)
        _write(opened, sys.stdout.buffer)
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError) as error:
        sys.exit(" ".join(str(error).split())[:300] or type(error).__name__)
    sys.stdout.flush()
    os._exit(0)


def _write(opened: Any, target: BinaryIO) -> None:
    schema = opened.schema_arrow
    image, label = _image_column(schema), _label_column(schema)
    if opened.metadata.num_rows > MOST_MEMBERS:
        raise ValueError(f"a file may have {MOST_MEMBERS:,} rows; it has {opened.metadata.num_rows:,}")
    known = _class_names(schema, label)
    names: dict[str, int] = {}
    sizes, endings, labels = [], [], []
    columns = [image, *([label] if label else [])]
    for batch in opened.iter_batches(batch_size=ROWS, columns=columns, use_threads=False):
        pictures = batch.column(0)
        given = batch.column(1).to_pylist() if label else [None] * len(pictures)
        for value, text in zip(pictures, [_label(each, known) for each in given], strict=True):
            data = _bytes(value.as_py())
            target.write(data)
            sizes.append(len(data))
            endings.append(_ending(data))
            labels.append(-1 if text is None else names.setdefault(text, len(names)))
    index = json.dumps({"sizes": sizes, "endings": endings, "labels": labels, "names": list(names)}).encode()
    target.write(index + _FOOTER.pack(len(index), _MAGIC))


def _bytes(value: Any) -> bytes:
    return (value.get("bytes") if isinstance(value, dict) else value) or b""


def _ending(data: bytes) -> str:
    for begin, ending in _BEGINNINGS:
        if data.startswith(begin):
            return ending
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    if data[4:8] == b"ftyp":
        return ".avif" if b"avif" in data[8:32] else ".heic"
    return ".jpg"


def _label(value: Any, known: list[str] | None) -> str | None:
    if isinstance(value, int) and known is not None and 0 <= value < len(known):
        return known[value]
    return None if value is None or str(value).strip() == "" else str(value).strip()


def _image_column(schema: Any) -> str:
    import pyarrow.types as types

    def holds(kind: Any) -> bool:
        if types.is_struct(kind):
            return any(kind.field(i).name == "bytes" and holds(kind.field(i).type) for i in range(kind.num_fields))
        return types.is_binary(kind) or types.is_large_binary(kind)

    fit = [field.name for field in schema if holds(field.type)]
    found = next((name for name in IMAGE_NAMES if name in fit), fit[0] if len(fit) == 1 else None)
    if found is None:
        raise ValueError(f"it must have a column 'image' with bytes of pictures; it has {_listed(schema)}")
    return found


def _label_column(schema: Any) -> str | None:
    import pyarrow.types as types

    def does(kind: Any) -> bool:
        kind = kind.value_type if types.is_dictionary(kind) else kind
        return types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_boolean(kind)

    by_name = {field.name.casefold(): field for field in schema}
    return next((by_name[name].name for name in LABEL_NAMES if name in by_name and does(by_name[name].type)), None)


def _class_names(schema: Any, label: str | None) -> list[str] | None:
    """The names of classes by number, as Hugging Face's `datasets` writes them into the file."""
    try:
        note = json.loads((schema.metadata or {})[b"huggingface"])
        names = note["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _listed(schema: Any) -> str:
    return ", ".join(f"'{name}'" for name in schema.names[:10])[:200]


def _bounded(file_bytes: int) -> None:
    """Limit memory and time where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seconds = COMPUTED_S + file_bytes // SLOWEST
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        with open("/proc/self/statm", "rb") as statm:
            taken = int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_BYTES, taken + MEMORY_BYTES))
