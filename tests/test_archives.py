"""Zip and tar files that are not trusted."""

from __future__ import annotations

import io
import os
import random
import stat
import struct
import tarfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from tellapart import archives
from tellapart.archives import Tree

MOST = 2**20
FILES = {
    "cats/1.jpg": b"one",
    "cats/black/2.jpg": b"two" * 400,
    "dogs/3.jpg": b"",
    "top.jpg": b"four",
    "a b/é.png": b"5",
}


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def tree(path: Path) -> Tree:
    with path.open("rb") as file:
        return archives.of_zip(file) if path.suffix == ".zip" else archives.of_tar(file)


def bytes_of(path: Path, name: str, found: Tree | None = None, most: int = MOST) -> bytes:
    found = found or tree(path)
    return archives.read(archives.piece(path.suffix[1:], str(path), found, name, most))


@pytest.fixture(
    params=["stored", "deflated", "pax", "gnu", "ustar", "prefixed", "dots"],
)
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    match request.param:
        case "stored":
            return zipped(tmp_path / "x.zip", FILES, zipfile.ZIP_STORED)
        case "deflated":
            return zipped(tmp_path / "x.zip", FILES)
        case "prefixed":  # as of a program that unpacks itself
            path = zipped(tmp_path / "x.zip", FILES)
            path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
            return path
        case "dots":
            return tarred(tmp_path / "x.tar", {f"./{name}": data for name, data in FILES.items()})
        case form:
            forms = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
            return tarred(tmp_path / "x.tar", FILES, forms[form])


def test_every_member_has_its_bytes(archive: Path) -> None:
    found = tree(archive)
    assert {name: bytes_of(archive, name, found) for name in FILES} == FILES
    assert (found.reasons, found.problem) == ({}, None)


def test_members_form_a_tree(archive: Path) -> None:
    found = tree(archive)
    assert list(found.children("")) == [("a b", True), ("cats", True), ("dogs", True), ("top.jpg", False)]
    assert list(found.children("cats")) == [("1.jpg", False), ("black", True)]
    assert list(found.children("cats/black")) == [("2.jpg", False)]
    assert list(found.children("nothing")) == []
    assert [found.has_folder(name) for name in ("", "cats", "cats/black", "ca", "top.jpg")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    with pytest.raises(FileNotFoundError):
        archives.piece("zip", "", found, "cats", MOST)


def test_the_tree_is_that_of_the_names(tmp_path: Path) -> None:
    pick = random.Random(0)
    names = {
        "/".join(pick.choice(["a", "a-", "a b", "a.x", "b"]) for _ in range(pick.randint(1, 4))) for _ in range(300)
    }
    files = {name for name in names if not any(other.startswith(name + "/") for other in names)}
    found = tree(zipped(tmp_path / "x.zip", dict.fromkeys(sorted(files, reverse=True), b"x")))
    for folder in {"", *(name.rpartition("/")[0] for name in files)}:
        below = [
            name[len(folder) + 1 :] if folder else name for name in files if name.startswith(f"{folder}/") or not folder
        ]
        assert list(found.children(folder)) == sorted({(name.partition("/")[0], "/" in name) for name in below})


def test_a_large_zip_is_read_by_its_64_bit_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.zip"
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 50)
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(4):
            archive.writestr(f"{i:05}.jpg", b"%d" % i * 100)
    data = path.read_bytes()
    assert b"PK\x06\x06" in data
    assert b"\xff" * 8 in data
    assert {name: bytes_of(path, name) for name in ("00000.jpg", "00003.jpg")} == {
        "00000.jpg": b"0" * 100,
        "00003.jpg": b"3" * 100,
    }


@pytest.mark.parametrize(
    "name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg", "a/./b.jpg", "a//b.jpg", "x" * 5000 + ".jpg"]
)
def test_a_name_that_leads_out_has_its_reason(name: str, tmp_path: Path) -> None:
    for path in (zipped(tmp_path / "x.zip", {name: b"x"}), tarred(tmp_path / "x.tar", {name: b"x"})):
        found = tree(path)
        (key,) = found.keys
        assert list(found.reasons.values()) == [archives.LEADS_OUT]
        assert ".." not in key.split("\0")
        with pytest.raises(OSError, match="leads out"):
            bytes_of(path, key.replace("\0", "/"), found)


def test_links_and_devices_are_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for i, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(f"{i}.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("0.jpg")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert list(tree(tmp_path / "x.tar").reasons.values()) == [archives.NOT_A_FILE] * 4
    assert tree(tmp_path / "x.zip").reasons == {"0.jpg": archives.NOT_A_FILE}


def test_a_bomb_costs_nothing(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"bomb.jpg": bytes(40 * 2**20)})
    assert path.stat().st_size < 50_000
    found = tree(path)
    with pytest.raises(OSError, match="40 MB, over the limit of 1 MB"):
        bytes_of(path, "bomb.jpg", found)
    # One that lies about what it unpacks to.
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        struct.pack_into("<I", data, data.rfind(signature) + at, 1000)
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(OSError, match="not as long as its zip file says"):
        bytes_of(path, "bomb.jpg")
    assert tracemalloc.get_traced_memory()[1] < 2 * MOST
    tracemalloc.stop()


def test_what_was_changed_or_cannot_be_unpacked_has_its_reason(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a.jpg": b"a" * 1000, "b.jpg": b"b" * 1000}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"a" * 1000, b"a" * 999 + b"c"))
    with pytest.raises(OSError, match="not what was put into"):
        bytes_of(path, "a.jpg")
    assert bytes_of(path, "b.jpg") == b"b" * 1000
    with zipfile.ZipFile(tmp_path / "y.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.jpg", b"a")
    with pytest.raises(OSError, match=r"packed in a way that is not read here \(method 14"):
        bytes_of(tmp_path / "y.zip", "a.jpg")


def test_a_tar_that_is_cut_short_keeps_what_is_whole(tmp_path: Path) -> None:
    path = tarred(tmp_path / "x.tar", {f"{i}.jpg": bytes([i]) * 5000 for i in range(10)})
    whole = path.read_bytes()
    path.write_bytes(whole[: 6144 * 7 + 512 + 100])  # a header and ten blocks of data each
    found = tree(path)
    assert [bytes_of(path, f"{i}.jpg", found) for i in range(7)] == [bytes([i]) * 5000 for i in range(7)]
    assert found.problem is not None
    assert "cut short or damaged after" in found.problem


def test_a_header_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**33
    with path.open("wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**33 + 10_240)  # takes no room
    tracemalloc.start()
    with pytest.raises(OSError, match="says more about a member than it may"):
        tree(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize("data", [b"", b"<html>" * 500, b"\xff" * 5000, bytes(range(256)) * 40])
def test_what_is_no_archive_says_so(data: bytes, tmp_path: Path) -> None:
    for name in ("x.zip", "x.tar"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(OSError, match=f"not a {name[2:]} file"):
            tree(tmp_path / name)


def test_any_damage_ends_in_a_reason(tmp_path: Path) -> None:
    pick = random.Random(1)
    for whole in (zipped(tmp_path / "w.zip", FILES), tarred(tmp_path / "w.tar", FILES)):
        original = whole.read_bytes()
        damaged = tmp_path / f"d{whole.suffix}"
        for _ in range(100):
            data = bytearray(original[: pick.choice([len(original), pick.randrange(len(original))])])
            for _ in range(pick.randint(0, 8)):
                if data:
                    data[pick.randrange(len(data))] = pick.randrange(256)
            damaged.write_bytes(data)
            reasons = []
            try:
                found = tree(damaged)
                for key in found.keys:
                    bytes_of(damaged, key.replace("\0", "/"), found)
            except OSError as error:
                reasons.append(error.strerror)
            assert all(reasons)


def test_very_many_members_take_little_memory(tmp_path: Path) -> None:
    path, n = tmp_path / "x.zip", 100_000
    entry = struct.Struct("<4s6H3I5H2I")
    with path.open("wb") as file:
        for i in range(n):
            name = b"%08d.jpg" % i
            file.write(entry.pack(b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0) + name)
        end = file.tell()
        file.write(struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, n, n, end, 0))
        file.write(struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1))
        file.write(struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, end, 0, 0))
    begin = time.monotonic()
    found = tree(path)
    assert len(found.keys) == n
    assert time.monotonic() - begin < 10
    assert found.places.nbytes == 32 * n


def test_more_members_than_may_be_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    with pytest.raises(OSError, match="may have 3 members; it has 5"):
        tree(zipped(tmp_path / "x.zip", FILES))
    found = tree(tarred(tmp_path / "x.tar", FILES))
    assert len(found.keys) == 3
    assert found.problem == "an archive may have 3 members; this one has more"


def test_of_members_of_one_name_the_last_counts(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for data in (b"old", b"new!"):
            info = tarfile.TarInfo("a.jpg")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    assert bytes_of(tmp_path / "x.tar", "a.jpg") == b"new!"
    assert os.path.getsize(tmp_path / "x.tar") > 0
