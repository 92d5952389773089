"""Files kept for a while: within a limit, shared by threads and processes, and nothing half-written."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from tellapart import spool
from tellapart.errors import OutputError, SettingsError
from tellapart.spool import Spool


def writes(data: bytes):
    def fill(file: BinaryIO) -> None:
        file.write(data)

    return fill


def never(_: BinaryIO) -> None:
    raise AssertionError("it was there already")


def kept_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_file_is_fetched_once_and_found_by_the_next_run(tmp_path: Path) -> None:
    first = Spool(tmp_path / "spool", 10**6)
    path = first.kept("s3://a", writes(b"one"))
    assert Path(path).read_bytes() == b"one"
    assert first.kept("s3://a", never) == path
    assert Spool(tmp_path / "spool", 10**6).kept("s3://a", never) == path
    assert Path(first.kept("s3://b", writes(b"two"))).read_bytes() == b"two"


def test_it_stays_within_its_limit_and_the_newest_are_there(tmp_path: Path) -> None:
    limit = 80_000
    kept = Spool(tmp_path / "spool", limit)
    for i in range(1000):
        kept.kept(f"{i}", writes(bytes(1000)))
        if i % 20 == 19:
            assert kept_bytes(kept.folder) <= limit + 1000
    assert kept_bytes(kept.folder) >= limit * 6 // 8
    assert all(kept.had(f"{i}") for i in range(950, 1000))
    assert kept.had("0") is None


def test_what_is_used_again_stays_longest(tmp_path: Path) -> None:
    kept = Spool(tmp_path / "spool", 80_000)
    kept.kept("used", writes(bytes(100)))
    for i in range(500):
        kept.kept(f"{i}", writes(bytes(1000)))
        assert kept.kept("used", never)


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    kept = Spool(tmp_path / "spool", 10**6)

    def fill(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(errno.EIO, "the server went away")

    with pytest.raises(OSError, match="went away"):
        kept.kept("x", fill)
    assert kept.had("x") is None
    assert [path for path in kept.folder.rglob("*") if path.is_file()] == []


def test_a_disk_that_is_full_is_no_fault_of_the_picture(tmp_path: Path) -> None:
    kept = Spool(tmp_path / "spool", 10**6)

    def fill(file: BinaryIO) -> None:
        os.close(file._file.fileno())  # pyright: ignore[reportAttributeAccessIssue]
        os.open("/dev/full", os.O_WRONLY)  # takes the number that has just become free
        for _ in range(100):
            file.write(bytes(10_000))

    if not os.path.exists("/dev/full"):
        pytest.skip("no device that is always full")
    with pytest.raises(OutputError, match=r"No space left on device\. Make room"):
        kept.kept("x", fill)


def test_threads_and_another_process_work_in_it_at_once(tmp_path: Path) -> None:
    two = [Spool(tmp_path / "spool", 400_000) for _ in range(2)]
    failures: list[object] = []

    def work(kept: Spool) -> None:
        try:
            for i in range(300):
                path = kept.kept(f"{i}", writes(b"%d" % i * 200))
                data = Path(path).read_bytes()
                if data != b"%d" % i * 200:
                    failures.append((i, data[:10]))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(kept,)) for kept in two * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_one_that_other_processes_have_left_generations_behind_goes_on(tmp_path: Path) -> None:
    slow, quick = Spool(tmp_path / "spool", 8_000), Spool(tmp_path / "spool", 8_000)
    slow.kept("a", writes(b"a"))
    times = []

    def overtaken(file: BinaryIO) -> None:
        times.append(1)
        for i in range(20 if len(times) == 1 else 0):  # each fills a generation
            quick.kept(f"{i}", writes(bytes(1_000)))
        file.write(b"b")

    assert Path(slow.kept("b", overtaken)).read_bytes() == b"b"
    assert len(times) == 2
    shutil.rmtree(tmp_path / "spool")  # as `cache clear` has it
    assert Path(slow.kept("c", writes(b"c"))).read_bytes() == b"c"


def test_a_folder_that_takes_nothing_is_replaced_by_a_private_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept = Spool(tmp_path / "file" / "spool", 10**6)
    assert Path(kept.kept("x", writes(b"y"))).read_bytes() == b"y"
    assert tmp_path not in kept.folder.parents


def test_others_may_not_look_into_it(tmp_path: Path) -> None:
    assert Spool(tmp_path / "spool", 1).folder.stat().st_mode & 0o077 == 0


def test_clearing_frees_what_is_ours(tmp_path: Path) -> None:
    kept = Spool(tmp_path / spool.NAME, 10**6)
    kept.kept("x", writes(bytes(500)))
    (kept.folder / "mine.txt").write_text("keep")
    assert spool.clear(tmp_path) == 500
    assert [path.name for path in kept.folder.iterdir()] == ["mine.txt"]
    assert spool.clear(tmp_path / "nowhere") == 0


@pytest.mark.parametrize("text", ["0", "-1", "much", "inf", "nan"])
def test_a_limit_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(spool.LIMIT, text)
    with pytest.raises(SettingsError, match="must be a number of gigabytes > 0"):
        spool.limit_from_environment()


def test_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(spool.LIMIT, raising=False)
    assert spool.limit_from_environment() == 20 * 10**9
    monkeypatch.setenv(spool.LIMIT, "0.5")
    assert spool.limit_from_environment() == 500_000_000
