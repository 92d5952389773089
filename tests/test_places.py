"""Pictures on servers and in archives: one reading, however they are had, and each fetched once."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import elsewhere
from conftest import SHAPES, draw, fill
from elsewhere import Web
from tellapart import catalog, decoders, files, pictures, places, remote, spool
from tellapart.errors import InputError, PictureError
from tellapart.preprocess import Preprocess

SIZE = decoders.squares(Preprocess(16))


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of its own, waits that a test has time for, nothing remembered from another test."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(spool, "_spool", None)
    monkeypatch.setattr(spool, "_cache", None)
    monkeypatch.setattr(remote, "IDLE_S", 10.0)
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(remote, "_systems", {})
    monkeypatch.setattr(remote, "_given_up", {})
    yield
    places.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes and what lies about in folders."""
    root = fill(tmp_path_factory.mktemp("elsewhere") / "photos", SHAPES, 6)
    (root / "circles" / "notes.txt").write_text("hello")
    (root / "circles" / ".hidden.jpg").write_bytes(b"x")
    (root / "circles" / "broken.jpg").write_bytes(b"<html>")
    draw("squares", 77).save(root / "squares" / "without ending", "PNG")
    (root / "squares" / "deeper").mkdir()
    draw("squares", 78).save(root / "squares" / "deeper" / "é.png")
    return root


@pytest.fixture(params=["http", "s3", "zip", "zip stored", "tar", "tar+http", "zip+s3"])
def place(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[str]:
    """The same pictures elsewhere."""
    archive = tmp_path / "photos.tar"
    if "tar" in request.param:
        with tarfile.open(archive, "w") as opened:
            opened.add(folder, ".")
    if "zip" in request.param:
        archive = tmp_path / "photos.zip"
        method = zipfile.ZIP_STORED if "stored" in request.param else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(archive, "w", method) as opened:
            for path in sorted(folder.rglob("*")):
                opened.write(path, path.relative_to(folder).as_posix())
    if request.param in ("zip", "zip stored", "tar"):
        yield str(archive)
    elif request.param.endswith("http"):
        with elsewhere.web(folder if request.param == "http" else tmp_path) as server:
            yield server.address if request.param == "http" else f"{server.address}/photos.tar"
    else:
        with pytest.MonkeyPatch.context() as patch, elsewhere.s3() as address:
            for name, value in {**elsewhere.KEYS, "AWS_ENDPOINT_URL": address}.items():
                patch.setenv(name, value)
            if request.param == "s3":
                found = {f"a/{p.relative_to(folder)}": p.read_bytes() for p in folder.rglob("*") if p.is_file()}
                elsewhere.put(address, "bucket", found)
                yield "s3://bucket/a/"
            else:
                elsewhere.put(address, "bucket", {"photos.zip": archive.read_bytes()})
                yield "s3://bucket/photos.zip"


def test_the_catalog_is_that_of_the_folder(place: str, folder: Path) -> None:
    here, there = catalog.scan(folder), catalog.scan(place)
    assert there.fingerprint == here.fingerprint
    assert there.counts == here.counts == {"circles": {None: 6}, "squares": {None: 8}, "triangles": {None: 6}}
    assert there.layout == "classes"
    assert [each.reason for each in there.skipped] == [each.reason for each in here.skipped]
    assert there.notes == here.notes
    names = [os.path.relpath(each.path, here.root) for each in here.entries]
    if "http" not in place:  # there a name is written as the server wants it
        assert [os.path.relpath(each.path, there.root) for each in there.entries] == names
    for mine, other in zip(here.entries, there.entries, strict=True):
        assert pictures.read_bytes(other.path) == pictures.read_bytes(mine.path)


def test_the_processes_make_the_same_of_them(place: str, folder: Path) -> None:
    here, there = catalog.scan(folder), catalog.scan(place)
    mine = decoders.make(SIZE, [(each.content, [each.path]) for each in here.entries], 768)
    other = decoders.make(SIZE, [(each.content, [each.path]) for each in there.entries], 768)
    assert [made.arrays[0].tobytes() for made in mine] == [made.arrays[0].tobytes() for made in other]
    (wrong,) = decoders.make(SIZE, [("0" * 64, [there.entries[0].path])], 768)
    assert wrong.reason == "the file changed during the run"
    (broken,) = decoders.make(SIZE, [("", [there.skipped[0].path])], 768)
    assert broken.reason == "not a picture: it begins like HTML"


@pytest.fixture
def web(folder: Path) -> Iterator[Web]:
    with elsewhere.web(folder) as server:
        yield server


def test_each_file_is_fetched_once_in_all_stages_and_in_the_next_run(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "IDLE_S", 20.0)  # on a busy machine too

    def run() -> None:
        found = catalog.scan(web.address)
        for _ in range(2):
            decoders.make(SIZE, [(each.content, [each.path]) for each in found.entries], 768)
            list(map(pictures.read_bytes, [each.path for each in found.entries]))

    run()
    named = {path: n for path, n in web.fetched().items() if path.endswith((".jpg", ".png"))}
    assert set(named.values()) == {1}, web.seen
    assert len(named) == 20
    monkeypatch.setattr(spool, "_spool", None)  # as in a process of its own
    web.seen.clear()
    run()
    assert set(web.fetched()) <= {"/circles/notes.txt", "/squares/without ending"}, "looked at for their first bytes"


def test_what_changed_on_the_server_is_fetched_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "served", n=2)
    path = tmp_path / "served" / "circles" / "circle_000.png"
    with elsewhere.web(tmp_path / "served") as server:
        before = pictures.read_bytes(f"{server.address}/circles/circle_000.png")
        draw("circles", 55).save(path)
        os.utime(path, (1, 1))
        monkeypatch.setattr(places, "_known", type(places._known)())  # as in a process of its own
        after = pictures.read_bytes(f"{server.address}/circles/circle_000.png")
    assert before != after == path.read_bytes()


def test_one_bad_file_has_its_reason_and_the_others_are_used(
    web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "IDLE_S", 1.0)
    web.plan["/circles/circle_001.jpg"] = ["stall"] * 99
    web.plan["/circles/circle_002.png"] = [503, "cut"]
    web.plan["/squares/square_003.jpg"] = [403]
    found = catalog.scan(web.address)
    reasons = {each.path.rpartition("/")[2]: each.reason for each in found.skipped}
    assert reasons.pop("circle_001.jpg").startswith("cannot be read: the server did not answer within 1 s (5 tries in")
    assert reasons == {
        "broken.jpg": "not a picture: it begins like HTML",
        "square_003.jpg": "no permission to read it",
    }
    assert len(found.entries) == 18


def test_files_are_fetched_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "IDLE_S", 20.0)
    fill(tmp_path / "served", n=16)
    with elsewhere.web(tmp_path / "served") as server:
        names = [path.relative_to(tmp_path / "served") for path in (tmp_path / "served").rglob("*.*g")]
        for name in names:
            server.plan[f"/{name}"] = ["stall"]  # until all have come; the second try has its answer
        paths = [f"{server.address}/{name}" for name in names]
        places.soon(paths, pictures.MAX_FILE_BYTES)
        assert elsewhere.soon(lambda: sum(server.fetched().values()) == 32, 9), "none waits for another"
        server.release.set()
        assert [len(pictures.read_bytes(path)) > 100 for path in paths] == [True] * 32


def test_a_file_over_the_limit_is_not_fetched(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", 100)
    with pytest.raises(PictureError, match=r"^0 MB, over the limit of 0 MB$"):
        pictures.read_bytes(f"{web.address}/circles/circle_000.png")
    assert not web.fetched()


def test_what_a_path_leads_to(web: Web, folder: Path, tmp_path: Path) -> None:
    assert files.is_folder(web.address)
    assert files.is_folder(f"{web.address}/circles")
    assert places.kind(f"{web.address}/circles/circle_000.png") == "file"
    assert places.kind(f"{web.address}/none") is None
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/b.jpg", b"x")
    root = f"zip://{tmp_path}/x.zip"
    assert [places.kind(f"{root}{way}") for way in ("", "/a", "/a/b.jpg", "/b.jpg")] == [
        "folder", "folder", "file", None,
    ]  # fmt: skip
    assert places.kind(f"zip://{tmp_path}/none.zip") is None


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("ftp://host/photos", "A place must be one of s3://.*; got ftp://. Copy it here first"),
        ("zip://none.zip", "No such folder: zip://none.zip"),
        ("http://127.0.0.1:9/photos", "cannot be looked at: the server cannot be reached"),
    ],
)
def test_a_place_that_cannot_be_used_says_why(path: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        catalog.scan(path)


def test_a_damaged_archive_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK but no more")
    with pytest.raises(InputError, match="cannot be looked at: not a zip file, or cut short"):
        catalog.scan(tmp_path / "x.zip")


def test_a_tar_that_ends_early_is_told_and_the_rest_is_used(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(folder, "")
    data = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(data[: len(data) * 2 // 3])
    found = catalog.scan(tmp_path / "x.tar")
    assert any("the archive is cut short or damaged after" in each.reason for each in found.skipped)
    assert 5 < len(found.entries) < 19


def test_a_table_of_labels_may_lie_there_too(web: Web, folder: Path, tmp_path: Path) -> None:
    table = folder / "labels.csv"
    table.write_text("path,label\ncircles/circle_000.png,round\nsquare_001.jpg,edged\nnone.jpg,edged\n")
    try:
        there = catalog.scan(web.address, labels=f"{web.address}/labels.csv")
        here = catalog.scan(folder, labels=table)
    finally:
        table.unlink()
    assert [(each.label, each.content) for each in there.entries] == [(e.label, e.content) for e in here.entries]
    assert [each.reason for each in there.skipped] == ["no such file below PHOTOS"]
    with pytest.raises(InputError, match="cannot be had: no such file"):
        catalog.scan(web.address, labels=f"{web.address}/none.csv")


def test_names_of_a_zip_are_listed_with_little_memory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for i in range(500):
            archive.writestr(f"cats/{i:03}.jpg", b"\xff\xd8\xff")
    found = [each.path for each in files.walk(f"zip://{tmp_path}/x.zip")]
    assert found == [f"zip://{tmp_path}/x.zip/cats/{i:03}.jpg" for i in range(500)]


def test_an_archive_that_changes_is_read_anew(tmp_path: Path) -> None:
    for data in (b"one", b"another"):
        with tarfile.open(tmp_path / "x.tar", "w") as archive:
            info = tarfile.TarInfo("1.jpg")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        os.utime(tmp_path / "x.tar", (len(data), len(data)))
        assert pictures.read_bytes(f"tar://{tmp_path}/x.tar/1.jpg") == data


def test_a_bucket_is_listed_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with elsewhere.s3() as address:
        for name, value in {**elsewhere.KEYS, "AWS_ENDPOINT_URL": address}.items():
            monkeypatch.setenv(name, value)
        keys = [f"p/{i:04}.jpg" for i in range(1200)] + ["p/0500/x.jpg", "p/0700.a/y.jpg", "p/"]
        elsewhere.put(address, "bucket", dict.fromkeys(keys, b"x"))
        pages = places.pages("s3://bucket/p")
        first = next(pages)
        assert len(first) == 999, "the folder itself is one of a thousand"
        rest = [member for page in pages for member in page]
        names = [member.name for member in (*first, *rest)]
        assert len(names) == 1202
        assert [each.path for each in files.walk("s3://bucket/p")] == [
            f"s3://bucket/{key}" for key in sorted(keys) if key.endswith("jpg")
        ]
