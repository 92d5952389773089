"""Pictures as shards: what others read in them, and what comes back."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import SHAPES, fill
from tellapart import catalog, packing
from tellapart.catalog import Catalog
from tellapart.errors import InputError, OutputError, SettingsError
from tellapart.packing import pack


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tellapart import spool

    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(spool, "_spool", None)
    monkeypatch.setattr(spool, "_cache", None)


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Two splits of three classes, and what cannot be used."""
    for i, name in enumerate(("train", "test")):
        fill(tmp_path / "photos" / name, SHAPES, 5, first=10 * i)
    (tmp_path / "photos" / "train" / "circles" / "broken.jpg").write_bytes(b"<html>")
    return tmp_path / "photos"


def contents(found: Catalog) -> list[tuple[str, str, str | None]]:
    return sorted((entry.content, entry.label, entry.split) for entry in found.entries)


@pytest.mark.parametrize("form", packing.FORMS)
def test_what_is_packed_comes_back(form: str, split: Path, tmp_path: Path) -> None:
    done = pack(split, tmp_path / "shards", form=form, shard_bytes=100_000)
    assert done.left_out == 1
    assert done.counts == {"circles": 10, "squares": 10, "triangles": 10}
    assert sum(done.shards.values()) == 30
    assert set(done.shards) == {path.name for path in (tmp_path / "shards").iterdir()} - {packing.CLASSES}
    assert len(done.shards) > 2, "several of a split"
    assert contents(catalog.scan(tmp_path / "shards")) == contents(catalog.scan(split))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files open
def test_webdataset_reads_them(split: Path, tmp_path: Path) -> None:
    import webdataset

    done = pack(split, tmp_path / "shards")
    classes = (tmp_path / "shards" / packing.CLASSES).read_text().splitlines()
    urls = [str(tmp_path / "shards" / name) for name in done.shards]
    got = []
    for sample in webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode("rgb8"):
        picture = sample.get("jpg", sample.get("png"))
        got.append((sample["json"]["path"], classes[sample["cls"]], picture.shape))
        original = np.asarray(Image.open(split / sample["json"]["path"]).convert("RGB"))
        assert np.array_equal(picture, original)
    assert sorted(got) == sorted(
        (str(path.relative_to(split)), path.parent.name, (56, 72, 3))
        for path in split.rglob("*_*.*g")
    )  # fmt: skip


def test_pyarrow_reads_them_as_hugging_face_writes_them(split: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    pack(split, tmp_path / "shards", form="parquet")
    table = pyarrow.parquet.read_table(tmp_path / "shards" / "test-000000.parquet")
    names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    assert names == sorted(SHAPES)
    assert table.schema.field("image").type.field("bytes").type == pyarrow.binary()
    for row in table.to_pylist():
        path = split / row["image"]["path"]
        assert row["image"]["bytes"] == path.read_bytes()
        assert names[row["label"]] == path.parent.name


@pytest.mark.parametrize("form", packing.FORMS)
def test_the_same_pictures_give_the_same_files(form: str, split: Path, tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        pack(split, tmp_path / name, form=form, shard_bytes=100_000)
        made.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert made[0] == made[1]


def test_shards_hold_all_classes_mixed(tmp_path: Path) -> None:
    fill(tmp_path / "photos", SHAPES, 20)
    pack(tmp_path / "photos", tmp_path / "shards", shard_bytes=150_000)
    shards = sorted((tmp_path / "shards").glob("photos-*.tar"))
    assert len(shards) > 2
    for shard in shards[:-1]:
        with tarfile.open(shard) as archive:
            labels = {
                json.load(archive.extractfile(m) or io.BytesIO())["label"] for m in archive if m.name.endswith("json")
            }
        assert labels == set(SHAPES)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"form": "zip"}, SettingsError, "form must be one of tar, parquet; got 'zip'"),
        ({"shard_bytes": 10}, SettingsError, "--shard-size must be 100,000 bytes or more; got 10"),
    ],
)
def test_settings_that_are_none(options: dict, error: type, said: str, split: Path, tmp_path: Path) -> None:
    with pytest.raises(error, match=said):
        pack(split, tmp_path / "shards", **options)


def test_places_that_shards_must_not_go_to(split: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="must not lie in"):
        pack(split, split / "train" / "shards")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(OutputError, match="must be new or empty"):
        pack(split, tmp_path / "full")
    with pytest.raises(OutputError, match="Results are written to this disk; s3://bucket/x is elsewhere"):
        pack(split, "s3://bucket/x")


def test_a_picture_that_goes_meanwhile_leaves_nothing(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = catalog.scan

    def scan_and_remove(*args: object, **options: object) -> Catalog:
        found = scan(*args, **options)  # pyright: ignore
        Path(found.entries[7].path).unlink()
        return found

    monkeypatch.setattr(catalog, "scan", scan_and_remove)
    with pytest.raises(InputError, match=r"can no longer be read: no such file\. Nothing was written"):
        pack(split, tmp_path / "shards")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "photos"] or not (tmp_path / "shards").exists()
