"""A zip file by the letter: what zipfile writes is read alike, and every byte counts."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest

from tellapart import zipmembers
from tellapart.zipmembers import Limit, ZipError

CONTENTS = {"a": b"", "b.json": b"[1, 2]" * 50, "c": bytes(range(256)) * 10}


def zipped(method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in CONTENTS.items():
            archive.writestr(name, content)
    return file.getvalue()


def read(content: bytes) -> dict[str, bytes]:
    file = io.BytesIO(content)
    return {name: zipmembers.content(file, each) for name, each in zipmembers.listed(file, len(content)).items()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_zipfile_writes_is_read_alike(method: int) -> None:
    assert read(zipped(method)) == CONTENTS


def test_what_numpy_writes_in_a_stream_is_read_too() -> None:
    """Its members have 64-bit sizes before them and 32-bit ones in the directory."""
    file = io.BytesIO()
    arrays: dict[str, Any] = {"x": np.arange(300), "y": np.zeros(3)}
    np.savez_compressed(file, allow_pickle=True, **arrays)
    found = read(file.getvalue())
    np.testing.assert_array_equal(np.load(io.BytesIO(found["x.npy"])), np.arange(300))


def test_what_numpy_writes_in_a_stream_under_an_older_python_is_read_too() -> None:
    """Before 3.11.4 zipfile wrote the sizes themselves, and that version 2.0 can read it."""
    written = io.BytesIO()
    np.savez(written, a=np.arange(3.0))
    content = bytearray(written.getvalue())
    (member,) = zipfile.ZipFile(written).infolist()
    directory = content.index(b"PK\x01\x02")
    content[4], content[directory + 6] = 20, 20
    content[18:26] = struct.pack("<2I", member.compress_size, member.file_size)
    np.testing.assert_array_equal(np.load(io.BytesIO(read(bytes(content))["a.npy"])), np.arange(3.0))
    content[18] ^= 1
    with pytest.raises(ZipError, match="says otherwise in its own header"):
        read(bytes(content))


def test_no_byte_can_be_another_one_unseen() -> None:
    """Whatever byte is changed: it is refused, or it is one of those that nobody uses: dates, systems, attributes."""
    content, unseen = zipped(), 0
    for i in range(len(content)):
        changed = bytearray(content)
        changed[i] ^= 0x01
        try:
            assert read(bytes(changed)) == CONTENTS
            unseen += 1
        except ZipError:
            pass
    # Of each of three members in the directory: the writer's version and system, and what is told of the file.
    assert unseen <= 3 * (2 + 2 + 4)


def test_no_byte_can_be_left_out_or_put_in() -> None:
    content = zipped()
    for i in range(len(content)):
        with pytest.raises(ZipError):
            read(content[:i])
        for changed in (content[:i] + content[i + 1 :], content[:i] + b"\0" + content[i:]):
            try:
                assert read(changed) == CONTENTS  # a zero next to a zero is the same file but for its place
            except ZipError:
                continue


def test_limits_are_kept_before_anything_is_unpacked() -> None:
    members = zipmembers.listed(io.BytesIO(zipped()), len(zipped()))
    good = {"a": Limit(10, 2), "b.json": Limit(300, 100), "c": Limit(3000, 20)}
    zipmembers.checked(members, good, 3000)
    for name, limit, says in (
        ("b.json", Limit(299, 100), "b.json must be at most 299 bytes; it has 300"),
        ("c", Limit(3000), "c must be stored as it is"),
    ):
        with pytest.raises(ZipError, match=says):
            zipmembers.checked(members, {**good, name: limit}, 3000)
    with pytest.raises(ZipError, match="at most 2,859 bytes in all; it has 2,860"):
        zipmembers.checked(members, good, 2859)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(2**20 + 1))
    bomb = zipmembers.listed(file, len(file.getvalue()))
    with pytest.raises(ZipError, match="unpacks to over 50 times its size"):
        zipmembers.checked(bomb, {"a": Limit(2**30, 50)}, 2**30)


@pytest.mark.parametrize("said", [0, 1000, 2**20])
def test_no_more_is_unpacked_than_is_said(said: int) -> None:
    """64 MiB of zeros, packed, which say in both places that they are few; one byte more than that is unpacked."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(64 * 2**20))
    content = bytearray(file.getvalue())
    for place in (22, content.index(b"PK\x01\x02") + 24):
        struct.pack_into("<I", content, place, said)
    lying = io.BytesIO(content)
    member = zipmembers.listed(lying, len(content))["a"]
    assert member.size == said
    tracemalloc.start()
    try:
        with pytest.raises(ZipError, match="its member a is not as long as the file says"):
            zipmembers.content(lying, member)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_a_file_that_becomes_shorter_while_it_is_read_is_cut_short() -> None:
    content = zipped(zipfile.ZIP_STORED)
    member = zipmembers.listed(io.BytesIO(content), len(content))["c"]
    with pytest.raises(ZipError, match="it is cut short"):
        zipmembers.content(io.BytesIO(content[: member.start + 100]), member)
