"""Rows to a Parquet file that appears under its name when it is whole."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tellapart import outputs
from tellapart.errors import MissingPackageError

ROWS = 5000  # held at once, where they are small


def arrow() -> tuple[Any, Any]:
    """pyarrow and pyarrow.parquet. Raises MissingPackageError."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingPackageError(
            "Parquet files need a package that is not installed: pip install 'tellapart[shards]'"
        ) from error


def text(value: str | None) -> str | None:
    """A text as UTF-8 can have it: bytes of a file's name that are no text are escaped."""
    return value if value is None else value.encode("utf-8", "backslashreplace").decode()


@contextlib.contextmanager
def written(
    path: str | os.PathLike[str], schema: Any, *, rows: int = ROWS, most_bytes: int = 2**25, force: bool = False
) -> Iterator[Callable[[dict[str, Any], int], None]]:
    """What takes one row after the other, as values by column, and how many bytes it has; `rows` of them are held.

    Raises:
        OutputError: as `outputs.atomic` has it.
    """
    pyarrow, parquet = arrow()
    with outputs.atomic(Path(path), force=force) as file:
        held: list[dict[str, Any]] = []
        n_bytes = 0

        def flush() -> None:
            nonlocal n_bytes
            if held:
                writer.write_table(pyarrow.Table.from_pylist(held, schema=schema))
                held.clear()
                n_bytes = 0

        def add(row: dict[str, Any], size: int = 0) -> None:
            nonlocal n_bytes
            held.append(row)
            n_bytes += size
            if len(held) >= rows or n_bytes >= most_bytes:
                flush()

        with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            yield add
            flush()
