"""Nothing is overwritten unasked; nothing half-written keeps a final name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tellapart import outputs
from tellapart.errors import OutputError


def test_an_existing_file_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"exists already\. Name another file, or add --force"):
        outputs.write_text(path, "new")
    assert path.read_text() == "mine"
    outputs.write_text(path, "new", force=True)
    assert path.read_text() == "new"


@pytest.mark.parametrize(
    ("name", "says"), [("no/such/a.txt", "there is no .*no/such"), ("folder", "is a folder"), ("dangling", "exists")]
)
def test_places_that_take_no_file(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(OutputError, match=says):
        outputs.check(tmp_path / name)


def test_a_failure_in_the_middle_leaves_nothing_and_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def half() -> None:
        with outputs.atomic(path, force=True) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_link_is_followed_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    outputs.write_text(tmp_path / "link", "new", force=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from tellapart import outputs
from tellapart.errors import OutputError
try:
    outputs.write_text({str(tmp_path / "big.txt")!r}, "x" * 100_000)
except OutputError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "big.txt could not be written: file too large" in said
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path, force: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to pipe").symlink_to("pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to folder").symlink_to("folder")
    for name in ("pipe", "to pipe", "folder", "to folder"):
        with pytest.raises(OutputError, match=r"must be a (regular )?file"):
            outputs.write_text(tmp_path / name, "x", force=force)
    with pytest.raises(OutputError, match="must be a regular file; /dev/null is none"):
        outputs.write_text(os.devnull, "x", force=force)
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe", "to folder", "to pipe"]


def test_a_link_to_nothing_is_written_through_where_asked(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("later")
    outputs.write_text(tmp_path / "link", "new", force=True)
    assert (tmp_path / "later").read_text() == "new"
    (tmp_path / "lost").symlink_to("no/such/folder")
    with pytest.raises(OutputError, match="lost could not be written: no such file or directory"):
        outputs.write_text(tmp_path / "lost", "new", force=True)


@pytest.mark.parametrize("name", ["\U0001f431" * 60 + ".txt", "x" * 255, "a\nb\udcff.txt"])
def test_any_name_that_a_file_may_have(tmp_path: Path, name: str) -> None:
    outputs.write_text(tmp_path / name, "x")
    assert os.listdir(tmp_path) == [name]
    with pytest.raises(OutputError, match="exists already") as error:
        outputs.check(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_name_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="could not be written: file name too long"):
        outputs.write_text(tmp_path / ("x" * 256), "x")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_takes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs.os, "access", lambda path, mode: False)  # as it is for all but root
    with pytest.raises(OutputError, match="takes no new files: permission denied"):
        outputs.check(tmp_path / "a.txt")


def test_a_disk_that_is_full_when_the_last_bytes_go_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs.os, "fsync", full)
    with pytest.raises(OutputError, match=r"a\.txt could not be written: no space left on device\. Make room"):
        outputs.write_text(tmp_path / "a.txt", "x")
    assert os.listdir(tmp_path) == []


def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    def stopped() -> None:
        with outputs.atomic(tmp_path / "a.bin") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert os.listdir(tmp_path) == []


def test_nobody_sees_half_a_file(tmp_path: Path) -> None:
    with outputs.atomic(tmp_path / "a.bin") as file:
        file.write(b"half")
        assert not (tmp_path / "a.bin").exists()
    assert (tmp_path / "a.bin").read_bytes() == b"half"


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outputs.write_text("a.txt", "ä")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa4"


def test_a_folder_for_results_is_new_or_empty_or_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full" / "x").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    outputs.check_folder(tmp_path / "new")
    outputs.check_folder(tmp_path / "empty")
    outputs.check_folder(tmp_path / "full", force=True)
    for name, force, says in (
        ("full", False, r"full must be new or empty; it is not\. Name another, or add --force"),
        ("file", True, "file must be a folder; it is none"),
        ("no/such", True, "there is no .*no"),
    ):
        with pytest.raises(OutputError, match=says):
            outputs.check_folder(tmp_path / name, force=force)
    assert sorted(os.listdir(tmp_path)) == ["empty", "file", "full"]
    monkeypatch.setattr(outputs.os, "access", lambda path, mode: False)
    for name in ("empty", "new"):
        with pytest.raises(OutputError, match="takes no new files: permission denied"):
            outputs.check_folder(tmp_path / name)
