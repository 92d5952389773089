"""Servers that answer, fail, stall, break off and lie: S3 by moto, and a web server that does as told."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem

import elsewhere
from elsewhere import Web
from tellapart import remote
from tellapart.errors import InputError, MissingPackageError
from tellapart.remote import Item

MOST = 2**20


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that a test has time for, and no server remembered from another one."""
    monkeypatch.setattr(remote, "IDLE_S", 10.0)
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(remote, "LONGEST_WAIT_S", 0.3)
    monkeypatch.setattr(remote, "_systems", {})
    monkeypatch.setattr(remote, "_given_up", {})


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    folder = tmp_path / "served"
    (folder / "cats").mkdir(parents=True)
    (folder / "cats" / "1.jpg").write_bytes(b"one" * 1000)
    (folder / "cats" / "a b&c.jpg").write_bytes(b"two")
    (folder / "top.jpg").write_bytes(b"top")
    with elsewhere.web(folder) as server:
        yield server


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, elsewhere.s3() as address:
        for name, value in {**elsewhere.KEYS, "AWS_ENDPOINT_URL": address}.items():
            patch.setenv(name, value)
        files = {"photos/cats/1.jpg": b"one" * 1000, "photos/cats/a b.jpg": b"two", "photos/top.jpg": b"top"}
        elsewhere.put(address, "bucket", {**files, "photos/": b""})
        yield address


def fetched(path: str, size: int | None = None, most: int = MOST) -> bytes:
    file = io.BytesIO(b"before")
    file.seek(6)
    remote.fetch(path, file, size, most)
    assert file.getvalue()[:6] == b"before"
    return file.getvalue()[6:]


def named(items: list[Item]) -> list[tuple[str, bool]]:
    return sorted((item.name, item.folder) for item in items)


def test_a_bucket_is_listed_looked_at_and_read(s3: str) -> None:
    assert named(remote.listing("s3://bucket/photos")) == [("cats", True), ("top.jpg", False)]
    (big, small) = sorted(remote.listing("s3://bucket/photos/cats"), key=lambda item: item.name)
    assert (big.size, small.size) == (3000, 3)
    assert remote.looked_at("s3://bucket/photos/cats/1.jpg") == big
    assert big.version != small.version != ""
    assert remote.looked_at("s3://bucket/photos/cats").folder
    assert fetched("s3://bucket/photos/cats/1.jpg", 3000) == b"one" * 1000
    assert fetched("s3://bucket/photos/cats/a b.jpg") == b"two"
    assert remote.head("s3://bucket/photos/cats/1.jpg", 7) == b"oneoneo"
    assert remote.head("s3://bucket/photos/top.jpg", 64) == b"top"


@pytest.mark.parametrize("path", ["s3://bucket/photos/none.jpg", "s3://no-such-bucket/x.jpg"])
def test_what_is_not_in_a_bucket(path: str, s3: str) -> None:
    with pytest.raises(FileNotFoundError):
        remote.looked_at(path)


def test_a_web_folder_is_listed_looked_at_and_read(web: Web) -> None:
    assert named(remote.listing(web.address)) == [("cats", True), ("top.jpg", False)]
    items = remote.listing(f"{web.address}/cats")
    assert named(items) == [("1.jpg", False), ("a b&c.jpg", False)], "names as people write them"
    part = next(item.part for item in items if item.name == "a b&c.jpg")
    assert fetched(f"{web.address}/cats/{part}") == b"two", "and paths as the server wants them"
    found = remote.looked_at(f"{web.address}/cats/1.jpg")
    assert (found.size, bool(found.version), found.folder) == (3000, True, False)
    assert remote.head(f"{web.address}/cats/1.jpg", 7) == b"oneoneo"
    with pytest.raises(FileNotFoundError, match="no such file"):
        remote.looked_at(f"{web.address}/none.jpg")
    with pytest.raises((FileNotFoundError, NotADirectoryError)):
        remote.listing(f"{web.address}/cats/1.jpg")


@pytest.mark.parametrize("failure", [500, 502, 503, 504, 429, 408, "stall", "cut"])
def test_what_passes_is_tried_again(failure: object, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.plan["/cats/1.jpg"] = [failure, failure]
    if failure == "stall":
        monkeypatch.setattr(remote, "IDLE_S", 0.5)
    assert fetched(f"{web.address}/cats/1.jpg", 3000) == b"one" * 1000
    # A busy machine may be as slow as one that stalls: that is tried again too.
    assert web.seen["GET", "/cats/1.jpg"] in ((3,) if failure != "stall" else (3, 4, 5))


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(403, "no permission"), (401, "no permission"), (404, "no such file"), (400, "status 400"), (501, "status 501")],
)
def test_what_does_not_pass_is_not(failure: int, reason: str, web: Web) -> None:
    web.plan["/cats/1.jpg"] = [failure] * 9
    with pytest.raises(OSError, match=reason):
        fetched(f"{web.address}/cats/1.jpg")
    assert web.seen["GET", "/cats/1.jpg"] == 1


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (503, "the server answered with status 503 (5 tries in"),
        ("stall", "the server did not answer within 0.5 s (5 tries in"),
        ("cut", "the connection broke (5 tries in"),
    ],
)
def test_a_file_that_never_comes_has_its_reason_in_bounded_time(
    failure: object, reason: str, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.plan["/cats/1.jpg"] = [failure] * 99
    if failure == "stall":
        monkeypatch.setattr(remote, "IDLE_S", 0.5)
    begin = time.monotonic()
    with pytest.raises(OSError) as raised:
        fetched(f"{web.address}/cats/1.jpg", 3000)
    assert raised.value.strerror is not None
    assert raised.value.strerror.startswith(reason)
    assert time.monotonic() - begin < 15
    # A try may be over before a busy server has come to it.
    assert web.seen["GET", "/cats/1.jpg"] in ((remote.TRIES,) if failure != "stall" else range(1, remote.TRIES + 1))


def test_bytes_that_trickle_have_an_end_too(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TRIES", 1)
    monkeypatch.setattr(remote, "IDLE_S", 0.5)
    monkeypatch.setattr(remote, "SLOWEST", 3000)  # so that 3,000 bytes may take 1.5 s; they would take 150
    web.plan["/cats/1.jpg"] = ["trickle"]
    begin = time.monotonic()
    with pytest.raises(OSError, match="did not answer"):
        fetched(f"{web.address}/cats/1.jpg", 3000)
    assert time.monotonic() - begin < 10


def test_a_server_may_say_when_to_come_again(web: Web) -> None:
    web.plan["/cats/1.jpg"] = [503]
    web.headers["Retry-After"] = "0.3"
    begin = time.monotonic()
    fetched(f"{web.address}/cats/1.jpg")
    assert time.monotonic() - begin >= 0.3


def test_more_than_may_be_is_refused_while_it_comes(web: Web) -> None:
    with pytest.raises(OSError, match="over the limit of 0 MB"):
        fetched(f"{web.address}/cats/1.jpg", most=1000)
    assert web.seen["GET", "/cats/1.jpg"] == 1


def test_a_server_that_is_gone_stops_the_run(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TRIES", 2)
    monkeypatch.setattr(remote, "GIVEN_UP", 3)
    web.plan["/cats/1.jpg"] = [503] * 99
    for _ in range(2):
        with pytest.raises(OSError, match="status 503"):
            fetched(f"{web.address}/cats/1.jpg")
    assert fetched(f"{web.address}/top.jpg") == b"top"
    for _ in range(2):
        with pytest.raises(OSError, match="status 503"):
            fetched(f"{web.address}/cats/1.jpg")
    with pytest.raises(InputError, match=f"{web.address} has not answered 3 requests in a row"):
        fetched(f"{web.address}/cats/1.jpg")


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match=r"the server cannot be reached \(5 tries in"):
        fetched("http://127.0.0.1:9/x.jpg")


def test_an_address_that_was_signed_keeps_its_secret() -> None:
    assert remote.clause(ValueError("https://h/x.jpg?Signature=secret")) == "https://h/x.jpg"


def test_s3_is_asked_once_a_try(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore and s3fs have tries of their own, which would multiply ours."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(remote, "TRIES", 2)

    begin = time.monotonic()
    with pytest.raises(OSError, match=r"the server cannot be reached \(2 tries in"):
        remote.looked_at("s3://bucket/photos/top.jpg")
    assert time.monotonic() - begin < 5


def test_a_package_that_is_missing_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(MissingPackageError, match=r"gs:// need packages .*gcsfs.*pip install 'tellapart\[remote\]'"):
        remote.listing("gs://bucket/x")


def test_nothing_is_told_to_hugging_face(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError):
        remote.listing("hf://datasets/x/y")
    assert os.environ.pop("HF_HUB_DISABLE_TELEMETRY") == "1"


FILES = {"bucket/a/1.jpg": b"one" * 1000, "bucket/a/empty.jpg": b"", "bucket/top.jpg": b"top"}


def found(path: str) -> dict:
    return {"name": path, "type": "file", "size": len(FILES[path]), "etag": path[-5:]}


class InParts(AsyncFileSystem):
    """As Google's and Azure's: `asyncio`, and no streams."""

    protocol = "gs"

    async def _info(self, path: str, **_: object) -> dict:
        return found(self._strip_protocol(path))

    async def _ls(self, path: str, detail: bool = True, **_: object) -> list:
        folder = self._strip_protocol(path)
        return [found(key) for key in FILES if key.rpartition("/")[0] == folder] + [
            {"name": f"{folder}/a", "type": "directory"} for _ in range(folder == "bucket")
        ]

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: object) -> bytes:
        self.asked = [*getattr(self, "asked", []), (start, end)]
        return FILES[self._strip_protocol(path)][start:end]


class InTurn(AbstractFileSystem):
    """As Hugging Face's: no `asyncio`."""

    protocol = "hf"

    def info(self, path: str, **_: object) -> dict:
        return found(self._strip_protocol(path))

    def ls(self, path: str, detail: bool = True, **_: object) -> list:
        return [found(key) for key in FILES if key.rpartition("/")[0] == self._strip_protocol(path)]

    def _open(self, path: str, *_: object, **__: object) -> io.BytesIO:
        return io.BytesIO(FILES[path])


def test_file_systems_without_streams_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PART_BYTES", 1000)
    system = InParts(skip_instance_cache=True)
    monkeypatch.setattr(remote, "_systems", {"gs": system})
    assert named(remote.listing("gs://bucket")) == [("a", True), ("top.jpg", False)]
    assert fetched("gs://bucket/a/1.jpg", 3000) == fetched("gs://bucket/a/1.jpg") == b"one" * 1000
    assert system.asked == [(0, 1000), (1000, 2000), (2000, 3000)] * 2
    assert fetched("gs://bucket/a/empty.jpg", 0) == b""
    assert remote.head("gs://bucket/a/1.jpg", 7) == b"oneoneo"
    with pytest.raises(OSError, match="over the limit"):
        fetched("gs://bucket/a/1.jpg", most=1000)


def test_file_systems_that_wait_themselves_are_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_systems", {"hf": InTurn(skip_instance_cache=True)})
    assert remote.looked_at("hf://bucket/top.jpg") == Item("top.jpg", False, 3, "p.jpg")
    assert named(remote.listing("hf://bucket/a")) == [("1.jpg", False), ("empty.jpg", False)]
    assert fetched("hf://bucket/a/1.jpg", 3000) == b"one" * 1000
    assert remote.head("hf://bucket/a/1.jpg", 7) == b"oneoneo"
    with pytest.raises(OSError, match="over the limit"):
        fetched("hf://bucket/a/1.jpg", most=1000)
