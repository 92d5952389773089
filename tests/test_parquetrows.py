"""Parquet files that are not trusted, unpacked by a process of its own."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tellapart import archives, parquetrows
from tellapart.errors import MissingPackageError


def unpacked(path: Path, to: Path, most_bytes: int = 10**8) -> list[bytes]:
    with to.open("wb") as target:
        parquetrows.unpack(str(path), target, most_bytes)
    tree, _ = parquetrows.tree(str(to))
    names = [key.replace("\0", "/") for key in tree.keys if key not in tree.reasons]
    return [archives.read(archives.piece("parquet", str(to), tree, name, 10**8)) for name in names]


def test_every_row_has_its_bytes_and_label(tmp_path: Path) -> None:
    data = [os.urandom(random.Random(i).randint(1, 5000)) for i in range(1000)]
    labels = [None if i % 10 == 0 else f"class {i % 3}" for i in range(1000)]
    table = pyarrow.table({"image": data, "label": labels})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet", row_group_size=90)
    assert unpacked(tmp_path / "x.parquet", tmp_path / "out") == data
    tree, known = parquetrows.tree(str(tmp_path / "out"))
    assert [known.of(i) for i in range(1000)] == labels
    assert tree.keys[-1].startswith("00000999.")


def test_endings_are_those_of_the_bytes(tmp_path: Path) -> None:
    starts = [b"\xff\xd8\xff", b"\x89PNG", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"BM", b"II*\0", b"\0\0\0\x1cftypavif", b"?"]
    pyarrow.parquet.write_table(pyarrow.table({"image": [each + b"x" for each in starts]}), tmp_path / "x.parquet")
    unpacked(tmp_path / "x.parquet", tmp_path / "out")
    tree, _ = parquetrows.tree(str(tmp_path / "out"))
    endings = [key.partition(".")[2] for key in tree.keys]
    assert endings == ["jpg", "png", "gif", "webp", "bmp", "tif", "avif", "jpg"]


def test_a_bomb_ends_at_a_limit(tmp_path: Path) -> None:
    image = pyarrow.array([bytes(10**6)] * 400, pyarrow.binary())
    pyarrow.parquet.write_table(pyarrow.table({"image": image}), tmp_path / "x.parquet", compression="zstd")
    assert (tmp_path / "x.parquet").stat().st_size < 10**6
    with pytest.raises(OSError, match=r"unpack to over 0\.1 GB"):
        unpacked(tmp_path / "x.parquet", tmp_path / "out")


def test_a_page_that_needs_more_memory_than_there_may_be(tmp_path: Path) -> None:
    image = pyarrow.array([bytes(300 * 2**20)], pyarrow.binary())
    pyarrow.parquet.write_table(pyarrow.table({"image": image}), tmp_path / "x.parquet", compression="zstd")
    code = (
        "import sys; from tellapart import parquetrows; parquetrows.MEMORY_BYTES = 2**28; parquetrows.main(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x.parquet"], capture_output=True, check=False)
    assert done.returncode != 0
    assert len(done.stdout) < 2**20


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"<html>" * 100])
def test_what_is_no_parquet_says_so(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(OSError, match="not readable as Parquet: "):
        unpacked(tmp_path / "x.parquet", tmp_path / "out")


def test_damage_ends_in_a_reason(tmp_path: Path) -> None:
    file = io.BytesIO()
    table = pyarrow.table({"image": [os.urandom(300) for _ in range(50)], "label": ["a", "b"] * 25})
    pyarrow.parquet.write_table(table, file)
    pick = random.Random(0)
    for _ in range(8):
        data = bytearray(file.getvalue())
        for _ in range(5):
            data[pick.randrange(len(data))] ^= 1 << pick.randrange(8)
        (tmp_path / "x.parquet").write_bytes(data)
        reason = "not readable as Parquet: "
        try:
            unpacked(tmp_path / "x.parquet", tmp_path / "out")
        except OSError as error:
            reason = error.strerror or ""
        assert reason.startswith("not readable as Parquet: ")


def test_pyarrow_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pyarrow.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site") + os.pathsep + os.environ.get("PYTHONPATH", ""))
    pyarrow.parquet.write_table(pyarrow.table({"image": [b"x"]}), tmp_path / "x.parquet")
    with pytest.raises(MissingPackageError, match=r"pip install 'tellapart\[shards\]'"):
        unpacked(tmp_path / "x.parquet", tmp_path / "out")
