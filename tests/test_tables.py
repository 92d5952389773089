"""Tables of labels from anywhere: every way to write one is read, and what is none, or too much, is said."""

from __future__ import annotations

import codecs
import os
import tracemalloc
from pathlib import Path

import pytest

from tellapart import tables
from tellapart.errors import InputError
from tellapart.files import Plan


def _table(folder: Path, content: bytes) -> Path:
    (folder / "photos" / "cats").mkdir(parents=True, exist_ok=True)
    for i in range(3):
        (folder / "photos" / "cats" / f"{i}.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    path = folder / "labels.csv"
    path.write_bytes(content)
    return path


def _plan(folder: Path, content: bytes, **columns: str) -> Plan:
    path = _table(folder, content)
    names = (columns.get(f"{role}_column") for role in ("path", "label", "split", "group"))
    return tables.plan_table(str(folder / "photos"), str(path), *names)


TEXT = "path,label\ncats/0.jpg,größe\ncats/1.jpg,x\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
        TEXT.encode("cp1252"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", "\t").encode(),
        TEXT.replace("größe", '"größe"').encode(),
    ],
)
def test_one_table_in_every_way_to_write_it(tmp_path: Path, content: bytes) -> None:
    found = {(os.path.basename(path), label) for path, label, _, _ in _plan(tmp_path, content).pictures}
    assert found == {("0.jpg", "größe"), ("1.jpg", "x")}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n \n\t\n", "is empty"),
        (b"path,label\n", "has no rows below its column names"),
        (TEXT.encode("utf-16-le"), "must be plain text"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le")[:-1], "is not the text its first bytes promise"),
        (b"PK\x03\x04" + bytes(100), "must be plain text"),
        (b"path,label,label\ncats/0.jpg,a,b\n", "has 2 columns named 'label'"),
        (
            b'path,label\ncats/0.jpg,"a\n' + b"cats/1.jpg,b\n" * 200_000,
            "rules of CSV at line 2: field larger",
        ),
        (b"path,label\n" + b'"",' * 600_000 + b"\n", "breaks the rules of CSV at line 2: a row has over 1,048,576"),
        (b"path,label\n" + b'"a\n",' * 400_000 + b"\n", "breaks the rules of CSV at line 2: a row has over 1,048,576"),
        (b"x" * 3_000_000, "breaks the rules of CSV at line 1: a row has over 1,048,576"),
        (b",".join(b"c%d" % i for i in range(10_001)) + b"\npath\n", "at most 10,000 columns; .* has 10,001"),
        (b"path,label\ncats/0.jpg," + b"x" * 200_000 + b"\n", "field larger than field limit"),
    ],
)
def test_what_is_no_table_is_said_in_a_line(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says) as error:
        _plan(tmp_path, content)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1000 + len(str(tmp_path))


def test_paths_that_climb_are_named_and_counted(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    climbing = [
        "../secret.jpg", "cats/../../secret.jpg", "..\\secret.jpg", "/etc/passwd", str(tmp_path / "secret.jpg"),
        "C:\\secret.jpg", "c:/secret.jpg", "\\\\server\\share\\secret.jpg", "//server/share/secret.jpg", "..", "./..",
    ]  # fmt: skip
    rows = "".join(f'"{path}",a\n' for path in climbing)
    plan = _plan(tmp_path, f"path,label\ncats/0.jpg,a\ncats/1.jpg,b\n{rows}".encode())
    assert [os.path.relpath(path, tmp_path / "photos") for path, *_ in plan.pictures] == ["cats/0.jpg", "cats/1.jpg"]
    assert {each.path: each.reason for each in plan.skipped} == dict.fromkeys(climbing, "outside PHOTOS")
    assert f"{len(climbing)} rows not used: outside PHOTOS, e.g. ../secret.jpg" in plan.notes


def test_a_null_character_ends_no_path(tmp_path: Path) -> None:
    rows = b"cats/0.jpg,a\ncats/1.jpg\0.txt,b\ncats/2.jpg,b\0\n" + b" " * 5000
    plan = _plan(tmp_path, b"path,label" + b" " * 5000 + b"\n" + rows)
    assert [os.path.basename(path) for path, *_ in plan.pictures] == ["0.jpg"]
    assert "2 rows not used: the row holds a null character, e.g. cats/1.jpg\\x00.txt" in plan.notes


def test_too_many_labels_are_another_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_LABELS", 10)
    rows = "".join(f"cats/0.jpg,{i}\n" for i in range(11)).encode()
    with pytest.raises(InputError, match=r"at most 10 different labels; column 'label' of .* has more"):
        _plan(tmp_path, b"path,label\n" + rows)
    monkeypatch.setattr(tables, "MOST_LABELS_OF_ONE", 0)
    monkeypatch.setattr(tables, "MOST_LABELS", 1000)
    with pytest.raises(InputError, match="must give each picture one label"):
        _plan(tmp_path, b"path,label\n" + rows)
    monkeypatch.setattr(tables, "MOST_LABELS_OF_ONE", 20)
    monkeypatch.setattr(tables, "MOST_ROWS", 11)
    assert len(_plan(tmp_path, b"path,label\n" + rows).pictures) == 11
    monkeypatch.setattr(tables, "MOST_ROWS", 10)
    with pytest.raises(InputError, match="at most 10 rows"):
        _plan(tmp_path, b"path,label\n" + rows)


def test_rows_that_name_nothing_take_no_memory_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_NAMED", 7)
    rows = "".join(f"gone/{i}.jpg,a\n" for i in range(20)).encode()
    plan = _plan(tmp_path, b"path,label\ncats/0.jpg,a\ncats/1.jpg,b\n" + rows)
    assert [each.path for each in plan.skipped] == [f"gone/{i}.jpg" for i in range(7)]
    assert "20 rows not used: no such file below PHOTOS, e.g. gone/0.jpg" in plan.notes
    assert "of the rows that name no picture the first 7 are listed, 13 rows more only counted" in plan.notes


def test_a_line_without_an_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    _table(tmp_path, b"path,label\n" + b"x" * 2**25)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="a row has over 1,048,576 characters"):
            tables.plan_table(str(tmp_path / "photos"), str(tmp_path / "labels.csv"), None, None, None, None)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_path_of_any_length_is_listed_by_its_begin(tmp_path: Path) -> None:
    plan = _plan(tmp_path, b"path,label\ncats/0.jpg,a\ncats/1.jpg,b\n" + b"y" * 100_000 + b",a\n")
    assert [len(each.path) for each in plan.skipped] == [4096]
    assert max(map(len, plan.notes)) < 5000


def test_a_table_is_read_in_little_memory(tmp_path: Path) -> None:
    """Of 15,000 rows no more stays than of the few pictures that there are; a list of the rows would be 6 MB."""
    content = b"path,label\n" + b"".join(b"cats/%d.jpg,class%d\n" % (i % 3, i % 2) for i in range(15_000))
    _table(tmp_path, content)
    del content
    tracemalloc.start()
    try:
        plan = tables.plan_table(str(tmp_path / "photos"), str(tmp_path / "labels.csv"), None, None, None, None)
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()
    assert len(plan.pictures) == 6
    assert "14,994 rows of" in " ".join(plan.notes)
