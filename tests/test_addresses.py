"""What kind of place a path names."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from tellapart import addresses
from tellapart.addresses import Inside


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("photos/cats/1.jpg", False),
        ("/photos//cats", False),
        ("C:\\photos", False),
        ("C://photos", False),
        ("a:b//c", False),
        ("s3://bucket/x", True),
        ("https://host/x.jpg", True),
        ("zip://photos.zip/cats", True),
        ("tar+s3://bucket/1.tar/x", True),
    ],
)
def test_only_a_scheme_makes_a_place(path: str, is_one: bool) -> None:
    assert addresses.is_place(path) == is_one
    assert not addresses.is_place(Path(path))  # a Path has lost one of the two slashes


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("s3://b/x", True),
        ("HTTPS://h/x", True),
        ("tar+s3://b/x.tar", True),
        ("parquet://x.parquet", True),
        ("ftp://h/x", False),
        ("tar+zip://x", False),
        ("s3+tar://x", False),
        ("file:///etc", False),
    ],
)
def test_schemes_that_can_be_read(path: str, known: bool) -> None:
    assert addresses.is_known(path) == known


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("s3://bucket/photos/", "s3://bucket/photos"),
        ("s3://bucket/photos.zip", "zip+s3://bucket/photos.zip"),
        ("https://host/1.tar?sig=a%2Fb", "tar+https://host/1.tar?sig=a%2Fb"),
        ("zip://cats::s3://bucket/photos.zip", "zip+s3://bucket/photos.zip/cats"),  # as fsspec chains them
        ("zip://::photos.zip", "zip://photos.zip"),
        ("zip://photos.zip", "zip://photos.zip"),
        ("photos/", "photos/"),
        ("no-such.zip", "no-such.zip"),
        (os.fspath(PurePosixPath("s3://bucket/photos.zip")), "zip+s3://bucket/photos.zip"),
        (os.fspath(PurePosixPath("tar+s3://bucket/1.tar")), "tar+s3://bucket/1.tar"),
        ("c:/photos", "c:/photos"),
        ("ab:/photos", "ab:/photos"),
    ],
)
def test_what_a_person_means(given: str, meant: str) -> None:
    assert addresses.given(given) == meant


def test_a_folder_that_is_called_like_a_place_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:" / "photos").mkdir(parents=True)
    assert addresses.given("s3:/photos") == "s3:/photos"


def test_an_archive_on_this_disk_is_taken_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.TAR").touch()
    (tmp_path / "b.zip").mkdir()
    assert addresses.given(f"{tmp_path}/a.TAR") == f"tar://{tmp_path}/a.TAR"
    assert addresses.given(f"{tmp_path}/b.zip") == f"{tmp_path}/b.zip", "a folder of that name stays one"


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("s3://bucket/x.tar", None),
        ("photos/x.tar/y", None),
        ("tar://shards/0.tar/cats/1.jpg", Inside("tar", "shards/0.tar", "cats/1.jpg")),
        ("tar+s3://b/s/0.tar", Inside("tar", "s3://b/s/0.tar", "")),
        ("tar+https://h/0.tar?k=1/x.jpg", Inside("tar", "https://h/0.tar?k=1", "x.jpg")),
        ("zip://a.tar/b.zip/c.zip/d.jpg", Inside("zip", "a.tar/b.zip", "c.zip/d.jpg")),
        ("parquet://data", Inside("parquet", None, "data")),
        ("tar+s3://bucket/shards", Inside("tar", None, "s3://bucket/shards")),
    ],
)
def test_places_in_archives(path: str, inside: Inside | None) -> None:
    assert addresses.inside(path) == inside


def test_ways_down_and_up() -> None:
    assert addresses.joined("s3://b", "x/y") == "s3://b/x/y"
    assert addresses.joined("s3://b/", "x") == "s3://b/x"
    assert addresses.joined("s3://b", "") == "s3://b"
    assert addresses.parent("s3://b/x/y") == "s3://b/x"
    assert addresses.parent("s3://b") == "s3://b"
    assert os.path.relpath("tar+s3://b/0.tar/cats/1.jpg", "tar+s3://b/0.tar") == "cats/1.jpg", "as elsewhere"


def test_what_means_the_same_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert addresses.absolute("s3://b/x") == "s3://b/x"
    assert addresses.absolute("tar+s3://b/x.tar") == "tar+s3://b/x.tar"
    assert addresses.absolute("zip://x.zip/y") == f"zip://{tmp_path}/x.zip/y"
    assert addresses.absolute("tar://shards") == f"tar://{tmp_path}/shards"
    assert addresses.absolute("x") == f"{tmp_path}/x"


@pytest.mark.parametrize(
    ("path", "stem"),
    [("s3://b/photos", "photos"), ("s3://b/photos.zip?x=1", "photos"), ("a/pets.tar", "pets"), ("photos/", "photos")],
)
def test_the_name_that_a_model_gets(path: str, stem: str) -> None:
    assert addresses.stem(path) == stem


def test_endings() -> None:
    assert addresses.ending("x.JPG") == ".jpg"
    assert addresses.ending("x.jpg?X-Amz-Signature=a.b") == ".jpg"
    assert addresses.ending("x?.jpg") == "", "of an address that is signed"
