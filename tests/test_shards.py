"""Tar files as WebDataset has them and Parquet files, to what there is to read."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import elsewhere
from conftest import draw
from tellapart import catalog, places, remote, spool
from tellapart.catalog import Catalog
from tellapart.errors import InputError


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(spool, "_spool", None)
    monkeypatch.setattr(spool, "_cache", None)
    monkeypatch.setattr(remote, "_systems", {})


def picture(seed: int, shape: str = "circles", kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    draw(shape, seed).save(file, kind)
    return file.getvalue()


def tar(path: Path, members: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, value in members.items():
            data = value if isinstance(value, bytes) else str(value).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def parquet(path: Path, rows: list[dict[str, Any]], note: dict[str, Any] | None = None, schema: Any = None) -> Path:
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows, schema=schema)
    if note is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps(note)})
    pyarrow.parquet.write_table(table, path)
    return path


def labelled(found: Catalog) -> list[tuple[str, str, str | None]]:
    return [(each.path.removeprefix(found.root + "/"), each.label, each.split) for each in found.entries]


def reasons(found: Catalog) -> dict[str, str]:
    return {each.path.removeprefix(found.root + "/"): each.reason for each in found.skipped}


def test_the_class_stands_beside_the_picture(tmp_path: Path) -> None:
    tar(
        tmp_path / "s" / "0.tar",
        {
            "a/0001.jpg": picture(1),
            "a/0001.cls": 1,
            "0002.png": picture(2, kind="PNG"),
            "0002.json": json.dumps({"caption": "long", "Label": "dogs"}),
            "0003.cls": "birds",
            "0003.jpg": picture(3),
            "0003.txt": "not asked",
            "0004.jpg": picture(4),
            "0004.txt": "  dogs\n",
            "0005.jpg": picture(5),
            "0005.json": '"cats"',
        },
    )
    (tmp_path / "s" / "classes.txt").write_text("dogs\ncats\n")
    found = catalog.scan(tmp_path / "s")
    assert found.layout == "shards"
    assert found.root == f"tar://{tmp_path}/s"
    assert labelled(found) == [
        ("0.tar/0002.png", "dogs", None),
        ("0.tar/0003.jpg", "birds", None),
        ("0.tar/0004.jpg", "dogs", None),
        ("0.tar/0005.jpg", "cats", None),
        ("0.tar/a/0001.jpg", "cats", None),
    ]
    assert found.skipped == ()
    assert found.notes[0] == "1 tar file read as shards"


def test_numbers_without_names_are_names(tmp_path: Path) -> None:
    tar(tmp_path / "0.tar", {"1.jpg": picture(1), "1.cls": "7", "2.jpg": picture(2), "2.cls": "10"})
    assert [(label) for _, label, _ in labelled(catalog.scan(tmp_path / "0.tar"))] == ["7", "10"]


def test_what_has_no_label_or_cannot_be_read_has_its_reason(tmp_path: Path) -> None:
    tar(
        tmp_path / "0.tar",
        {
            "1.jpg": picture(1),
            "1.cls": "cats",
            "2.jpg": picture(2),
            "3.jpg": b"<html>",
            "3.cls": "cats",
            "4.jpg": picture(4),
            "4.json": "{broken",
            "5.jpg": picture(5),
            "5.txt": "a caption of two\nlines",
        },
    )
    found = catalog.scan(tmp_path / "0.tar")
    assert [label for _, label, _ in labelled(found)] == ["cats"]
    assert reasons(found) == {
        "2.jpg": "it has no label",
        "3.jpg": "not a picture: it begins like HTML",
        "4.jpg": "its label 4.json is no JSON",
        "5.jpg": "it has no label",
    }
    assert "2 pictures without a label not used" in found.notes


def test_masks_beside_a_picture_are_none_of_it(tmp_path: Path) -> None:
    members = {"1.jpg": picture(1), "1.seg.png": picture(2, kind="PNG")}
    members |= {"1.cls": "cats", "1.txt": "a caption", "1.json": "{}"}  # these are
    found = catalog.scan(tar(tmp_path / "0.tar", members))
    assert labelled(found) == [("1.jpg", "cats", None)]
    assert any("1 other file passed over" in note for note in found.notes)


def test_folders_in_the_tars_are_classes(tmp_path: Path) -> None:
    for i in range(2):
        tar(tmp_path / f"{i}.tar", {f"cats/{i}.jpg": picture(i), f"dogs/old/{i}.jpg": picture(i, "squares")})
    assert labelled(catalog.scan(tmp_path)) == [
        ("0.tar/cats/0.jpg", "cats", None),
        ("0.tar/dogs/old/0.jpg", "dogs", None),
        ("1.tar/cats/1.jpg", "cats", None),
        ("1.tar/dogs/old/1.jpg", "dogs", None),
    ]
    one = catalog.scan(tar(tmp_path / "one" / "x.tar", {"train/a/1.jpg": picture(8), "test/a/2.jpg": picture(9)}))
    assert (one.layout, labelled(one)) == ("splits", [("test/a/2.jpg", "a", "test"), ("train/a/1.jpg", "a", "train")])


@pytest.mark.parametrize(
    "names", [("train-0.tar", "val-0.tar"), ("train/0.tar", "valid/0.tar"), ("data/train_1.tar", "data/dev.tar")]
)
def test_splits_by_the_names_of_shards_or_their_folders(names: tuple[str, str], tmp_path: Path) -> None:
    for i, name in enumerate(names):
        tar(tmp_path / name, {f"{i}.jpg": picture(i), f"{i}.cls": "cats"})
    assert sorted(str(each.split) for each in catalog.scan(tmp_path).entries) == ["train", "validation"]


def test_a_shard_of_no_split_among_others_takes_the_splits_away(tmp_path: Path) -> None:
    for i, name in enumerate(("train-0.tar", "more-0.tar")):
        tar(tmp_path / name, {f"{i}.jpg": picture(i), f"{i}.cls": "cats"})
    found = catalog.scan(tmp_path)
    assert {each.split for each in found.entries} == {None}
    assert any("no splits read from the names of shards" in note for note in found.notes)


def test_tars_beside_class_folders_are_other_files(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "1.jpg").write_bytes(picture(1))
    tar(tmp_path / "backup.tar", {"1.jpg": picture(2), "1.cls": "x"})
    assert catalog.scan(tmp_path).layout == "classes"


def test_a_shard_that_cannot_be_read_is_named_and_the_others_are_used(tmp_path: Path) -> None:
    tar(tmp_path / "0.tar", {"1.jpg": picture(1), "1.cls": "cats"})
    (tmp_path / "1.tar").write_bytes(b"\xff" * 3000)
    found = catalog.scan(tmp_path)
    assert len(found.entries) == 1
    assert reasons(found)["1.tar"].startswith("the shard cannot be read: not a tar file")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: tar(folder / "0.tar", {"1.jpg": picture(1), "1.cls": ""}), "hold no picture with a label"),
        (lambda folder: [tar(folder / "0.tar", {}), (folder / "0.parquet").touch()], "must be of one kind"),
    ],
)
def test_shards_that_cannot_be_used(make: Any, said: str, tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(InputError, match=said):
        catalog.scan(tmp_path)


NOTE = {
    "info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cats", "dogs"]}}}
}


def test_rows_of_parquet_with_names_by_hugging_face(tmp_path: Path) -> None:
    rows = [
        {"image": {"bytes": picture(1), "path": "x.jpg"}, "label": 1},
        {"image": {"bytes": picture(2, kind="PNG"), "path": None}, "label": 0},
        {"image": {"bytes": None, "path": "gone.jpg"}, "label": 0},
        {"image": {"bytes": picture(3), "path": None}, "label": None},
        {"image": {"bytes": b"<html>", "path": None}, "label": 1},
    ]
    parquet(tmp_path / "train-00000-of-00001.parquet", rows, NOTE)
    found = catalog.scan(tmp_path)
    name = "train-00000-of-00001.parquet"
    assert labelled(found) == [(f"{name}/00000000.jpg", "dogs", "train"), (f"{name}/00000001.png", "cats", "train")]
    assert reasons(found) == {
        f"{name}/00000002.jpg": "the row has no picture",
        f"{name}/00000003.jpg": "it has no label",
        f"{name}/00000004.jpg": "not a picture: it begins like HTML",
    }
    assert places.read(found.entries[1].path, 10**6) == rows[1]["image"]["bytes"]


@pytest.mark.parametrize("columns", [("image", "label"), ("img", "species"), ("jpg", "Category")])
def test_rows_of_parquet_with_texts(columns: tuple[str, str], tmp_path: Path) -> None:
    image, label = columns
    rows = [{"id": i, image: picture(i), label: "cats" if i % 2 else "dogs"} for i in range(40)]
    found = catalog.scan(parquet(tmp_path / "x.parquet", rows))
    assert [label for _, label, _ in labelled(found)] == ["dogs", "cats"] * 20


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": "x", "label": "y"}], "must have a column 'image' with bytes of pictures; it has 'text', 'label'"),
        ([{"image": b"x", "other": 1}], "hold no picture with a label"),
    ],
)
def test_parquet_that_has_not_what_it_needs(rows: list[dict[str, Any]], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        catalog.scan(parquet(tmp_path / "x.parquet", rows))


def test_shards_on_a_server(tmp_path: Path) -> None:
    served = tmp_path / "served"
    for i in range(5):
        tar(
            served / f"train-{i}.tar",
            {f"{k}.jpg": picture(10 * i + k) for k in range(3)} | {f"{k}.cls": k for k in range(3)},
        )
    (served / "classes.txt").write_text("one\ntwo\nthree\n")
    here = catalog.scan(served)
    with elsewhere.web(served) as server:
        there = catalog.scan(server.address)
        assert there.fingerprint == here.fingerprint
        assert there.classes == ("one", "three", "two")
        assert {server.fetched()[f"/train-{i}.tar"] for i in range(5)} == {1}


@pytest.fixture
def s3() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, elsewhere.s3() as address:
        for name, value in {**elsewhere.KEYS, "AWS_ENDPOINT_URL": address}.items():
            patch.setenv(name, value)
        yield address


def test_parquet_in_a_bucket(s3: str, tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", [{"image": picture(i), "label": i % 2} for i in range(6)], NOTE)
    elsewhere.put(s3, "bucket", {"d/data/test.parquet": path.read_bytes(), "d/README.md": b"hello"})
    found = catalog.scan("s3://bucket/d")
    assert found.root == "parquet+s3://bucket/d"
    assert found.counts == {"cats": {"test": 3}, "dogs": {"test": 3}}
