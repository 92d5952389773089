"""Labelled pictures as shards: WebDataset's tar files, or Parquet as Hugging Face's `datasets` has it.

The files' own bytes are copied; nothing is decoded. What is packed comes in the order of its content hash, so that each
shard has pictures of all classes, and the same pictures give the same shards.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellapart import catalog, fetching, outputs, parquetfile
from tellapart.addresses import is_place
from tellapart.catalog import Catalog, Entry
from tellapart.errors import InputError, OutputError, PictureError, SettingsError
from tellapart.files import shown
from tellapart.kinds import sniff
from tellapart.pictures import read_bytes

FORMS = ("tar", "parquet")
SHARD_BYTES = 500_000_000
LEAST_BYTES = 100_000
CLASSES = "classes.txt"
ROWS = 100  # of a group in a Parquet file
_AHEAD = 64  # pictures that are fetched meanwhile
_ENDINGS = {"JPEG": "jpg", "TIFF": "tif"}  # others end as they are called

Progress = Callable[[int, int], None]
Add = Callable[[Entry, str, bytes], None]


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written."""

    folder: str
    shards: dict[str, int]  # name of each -> pictures in it
    counts: dict[str, int]  # class -> pictures
    n_bytes: int  # of the pictures
    left_out: int  # pictures that cannot be used, see `tellapart check`
    notes: tuple[str, ...]


def pack(
    photos: str | os.PathLike[str],
    to: str | os.PathLike[str],
    *,
    form: str = "tar",
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
    **reading: Any,
) -> Packed:
    """Write the pictures of a folder, or of anything that `train` takes, as shards.

    Args:
        photos: the pictures, with their classes.
        to: a new or empty folder of this disk.
        form: "tar" or "parquet".
        shard_bytes: of pictures in one shard, about; 100,000 or more.
        progress: called with (pictures done, pictures in all).
        reading: as in `catalog.scan`.

    Raises:
        SettingsError: `form` or `shard_bytes` is none of these.
        InputError: the pictures cannot be used, or one changes meanwhile. Nothing was written.
        OutputError: the folder cannot be written.
        MissingPackageError: "parquet" needs pyarrow.
    """
    if form not in FORMS:
        raise SettingsError(f"form must be one of {', '.join(FORMS)}; got {form!r}.")
    if shard_bytes < LEAST_BYTES:
        raise SettingsError(f"--shard-size must be {LEAST_BYTES:,} bytes or more; got {shard_bytes:,}. Try 500MB.")
    outputs.check_folder(to)
    if form == "parquet":
        parquetfile.arrow()
    found = catalog.scan(photos, keep_conflicts=True, **reading)
    target = os.path.realpath(to)
    if not is_place(found.root) and os.path.commonpath([target, os.path.realpath(found.root)]) == os.path.realpath(
        found.root
    ):
        raise OutputError(
            f"The shards must not lie in {shown(found.root)}, which they are made of. Name another folder."
        )
    with outputs.whole_folder(to) as building:
        shards, n_bytes = _fill(building, found, form, shard_bytes, progress)
    counts = Counter(entry.label for entry in found.entries)
    return Packed(os.fspath(to), shards, dict(sorted(counts.items())), n_bytes, len(found.skipped), found.notes)


def _fill(
    building: Path, found: Catalog, form: str, shard_bytes: int, progress: Progress | None
) -> tuple[dict[str, int], int]:
    outputs.new_file(building / CLASSES, "".join(f"{name}\n" for name in found.classes).encode())
    shards: dict[str, int] = {}
    done = n_bytes = 0
    for split in sorted({entry.split or "" for entry in found.entries}):
        entries = sorted((e for e in found.entries if (e.split or "") == split), key=lambda e: (e.content, e.path))
        waiting = _read(entries)
        number = 0
        entry_and_data = next(waiting, None)
        while entry_and_data is not None:
            name = f"{split or 'photos'}-{number:06}.{form}"
            with _shard(building / name, form, found) as add:
                held = shards[name] = 0
                while entry_and_data is not None and (not held or held < shard_bytes):
                    entry, data = entry_and_data
                    add(entry, f"{done:08}", data)
                    held, n_bytes = held + len(data), n_bytes + len(data)
                    shards[name] += 1
                    done += 1
                    if progress is not None:
                        progress(done, len(found.entries))
                    entry_and_data = next(waiting, None)
            number += 1
    return shards, n_bytes


def _read(entries: list[Entry]) -> Iterator[tuple[Entry, bytes]]:
    for i, entry in enumerate(entries):
        if i % _AHEAD == 0:
            fetching.soon(each.path for each in entries[i : i + 2 * _AHEAD])
        try:
            yield entry, read_bytes(entry.path)
        except PictureError as error:
            raise InputError(f"{shown(entry.path)} can no longer be read: {error}. Nothing was written.") from error


def _shard(path: Path, form: str, found: Catalog) -> contextlib.AbstractContextManager[Add]:
    return _tar(path, found) if form == "tar" else _parquet(path, found)


def _ending(data: bytes) -> str:
    kind = sniff(data[:64]) or "JPEG"  # the catalog has none without a kind
    return _ENDINGS.get(kind, kind.lower())


def _way(entry: Entry, found: Catalog) -> str:
    return parquetfile.text(os.path.relpath(entry.path, found.root).replace(os.sep, "/")) or ""


@contextlib.contextmanager
def _tar(path: Path, found: Catalog) -> Iterator[Add]:
    """A tar file as WebDataset has them: `.cls` is the number of the class in classes.txt, `.json` tells more."""
    number = {name: i for i, name in enumerate(found.classes)}
    with open(path, "xb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:

        def member(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        def add(entry: Entry, key: str, data: bytes) -> None:
            about = {"label": entry.label, "path": _way(entry, found)}
            member(f"{key}.{_ending(data)}", data)
            member(f"{key}.cls", str(number[entry.label]).encode())
            member(f"{key}.json", json.dumps(about, ensure_ascii=False).encode())

        yield add


@contextlib.contextmanager
def _parquet(path: Path, found: Catalog) -> Iterator[Add]:
    """A Parquet file with a column of pictures and one of class numbers, whose names stand in Hugging Face's note."""
    pyarrow, _ = parquetfile.arrow()
    features = {"image": {"_type": "Image"}, "label": {"names": list(found.classes), "_type": "ClassLabel"}}
    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema(
        [("image", picture), ("label", pyarrow.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    number = {name: i for i, name in enumerate(found.classes)}
    with parquetfile.written(path, schema, rows=ROWS) as write:
        yield lambda entry, _key, data: write(
            {"image": {"bytes": data, "path": _way(entry, found)}, "label": number[entry.label]}, len(data)
        )
