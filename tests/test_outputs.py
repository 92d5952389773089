"""Nothing is overwritten unasked; nothing half-written keeps a final name."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tellapart import leftovers, outputs
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
from tellapart import leftovers, outputs
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


# --- to the disk, whole


def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left(name: str, kind: str = "tmp", pid: int | None = None, owner: str | None = None) -> str:
    """The name of what a process was writing under `name`."""
    return f".{name}.{owner or leftovers.owner()}-{gone() if pid is None else pid}-0123abcd.{kind}"


def test_a_name_that_is_taken_at_the_last_moment_stays_with_who_took_it(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "temporary").write_text("new")
    (tmp_path / "final").write_text("somebody else's")
    monkeypatch.setattr(outputs.os.path, "lexists", lambda path: False)  # it was free when it was looked at
    assert not outputs.claim(tmp_path / "temporary", tmp_path / "final")
    assert (tmp_path / "final").read_text() == "somebody else's"
    assert (tmp_path / "temporary").read_text() == "new"


def test_a_file_is_synced_before_it_has_its_name_and_its_folder_afterwards(tmp_path: Path, monkeypatch) -> None:
    done: list[str] = []
    real = {name: getattr(os, name) for name in ("fsync", "link", "replace")}
    monkeypatch.setattr(outputs.os, "link", lambda *paths: (done.append("name"), real["link"](*paths)))

    def fsync(number: int) -> None:
        done.append(
            (os.path.basename(os.readlink(f"/proc/self/fd/{number}")).split(".")[1:2] == ["a"] and "file") or "folder"
        )
        real["fsync"](number)

    monkeypatch.setattr(outputs.os, "fsync", fsync)
    outputs.write_text(tmp_path / "a", "x")
    assert done == ["file", "name", "folder"]


def test_a_folder_is_synced_with_all_in_it_before_it_has_its_name(tmp_path: Path, monkeypatch) -> None:
    done: list[str] = []
    real_sync, real_rename = os.fsync, os.rename

    def fsync(number: int) -> None:
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{number}"))[:5])
        real_sync(number)

    def rename(one: str, other: str) -> None:
        done.append("rename")
        real_rename(one, other)

    monkeypatch.setattr(outputs.os, "fsync", fsync)
    monkeypatch.setattr(outputs.os, "rename", rename)
    with outputs.whole_folder(tmp_path / "to") as building:
        (building / "in").mkdir()
        (building / "in" / "file").write_text("x")
    assert done[-2:] == ["rename", tmp_path.name[:5]]
    assert sorted(done[:-2]) == [".to.0"[:4] + leftovers.owner()[0], "file", "in"]


def test_of_two_that_write_a_new_file_at_once_the_second_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"

    def second() -> None:
        with outputs.atomic(path) as file:
            file.write(b"second")
            outputs.write_text(path, "first")

    with pytest.raises(OutputError, match="exists already"):
        second()
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o600)
    outputs.write_text(path, "new", force=True)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)


def test_leftovers_of_processes_that_are_gone_are_taken_away_and_nothing_else(tmp_path: Path) -> None:
    stale = [left("a.txt"), left("folder"), left("other.csv")]
    elsewhere = left("a.txt", owner="00000000")  # of another machine: alive, for all we know
    old_elsewhere = left("b.txt", owner="00000000")
    kept = [left("a.txt", pid=os.getpid()), elsewhere, ".a.txt.tmp", ".a.txt.0123abcd.tmp", "a.txt.tmp"]
    for name in (*stale, *kept, old_elsewhere):
        if "folder" in name:
            (tmp_path / name / "in").mkdir(parents=True)
            (tmp_path / name / "in" / "x").write_text("half")
        else:
            (tmp_path / name).write_text("half")
    os.utime(tmp_path / old_elsewhere, (0, time.time() - 25 * 3600))
    outputs.write_text(tmp_path / "a.txt", "x")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "a.txt"])


def test_a_link_named_like_a_leftover_takes_nothing_with_it(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("mine")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / left("a")).symlink_to(tmp_path / "mine")
    outputs.write_text(tmp_path / "in" / "a", "x")
    assert (tmp_path / "mine" / "x").read_text() == "mine"
    assert os.listdir(tmp_path / "in") == ["a"]


@pytest.mark.parametrize("swap", [True, False])
def test_a_folder_takes_the_place_of_another_whole(tmp_path: Path, monkeypatch, swap: bool) -> None:
    target = tmp_path / "to"
    target.mkdir()
    (target / "old").write_text("old")
    if not swap:  # a system that cannot let two names change places
        monkeypatch.setattr(outputs, "_exchanged", lambda one, other: False)
    with outputs.whole_folder(target) as building:
        (building / "new").write_text("new")
        assert os.listdir(target) == ["old"]
    assert os.listdir(target) == ["new"]
    assert os.listdir(tmp_path) == ["to"]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux lets two names change places in one step")
def test_two_names_change_places_in_one_step(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    assert outputs._exchanged(tmp_path / "a", tmp_path / "b")
    assert (os.listdir(tmp_path / "a"), os.listdir(tmp_path / "b")) == (["b"], ["a"])
    assert not outputs._exchanged(tmp_path / "a", tmp_path / "no such")


def test_a_folder_that_was_set_aside_by_a_killed_run_gets_its_name_back(tmp_path: Path) -> None:
    aside = tmp_path / left("to", "old")
    aside.mkdir()
    (aside / "x").write_text("old")
    (tmp_path / left("to")).mkdir()
    leftovers.sweep(tmp_path)
    assert os.listdir(tmp_path) == ["to"]
    assert (tmp_path / "to" / "x").read_text() == "old"
    os.rename(tmp_path / "to", tmp_path / left("to", "old"))
    (tmp_path / "to").mkdir()  # the new one stands: the old one goes
    leftovers.sweep(tmp_path)
    assert os.listdir(tmp_path) == ["to"]
    assert os.listdir(tmp_path / "to") == []


def test_a_failure_while_a_folder_is_made_leaves_the_old_one(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "old").write_text("old")

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    def replace(error: type[BaseException] | None = None) -> None:
        with outputs.whole_folder(tmp_path / "to") as building:
            (building / "new").write_text("new")
            if error is not None:
                raise error

    with pytest.raises(KeyboardInterrupt):
        replace(KeyboardInterrupt)
    for name in ("sync_tree", "_put"):
        with monkeypatch.context() as patch:
            patch.setattr(outputs, name, refuse)
            with pytest.raises(OutputError, match=r"to could not be written: input/output error"):
                replace()
        assert (os.listdir(tmp_path), os.listdir(tmp_path / "to")) == (["to"], ["old"])


def test_a_line_is_added_whole_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "log"
    outputs.append(path, b"one\n")
    real = os.write
    monkeypatch.setattr(outputs.os, "write", lambda number, data: real(number, data[:2]))  # a disk with two bytes left
    with pytest.raises(OSError, match="No space left"):
        outputs.append(path, b"two\n")
    monkeypatch.undo()
    assert path.read_bytes() == b"one\n"
    path.write_bytes(b"one\nha")  # a process that was killed in the middle of a line
    outputs.append(path, b"three\n")
    assert path.read_bytes() == b"one\nha\nthree\n"


def test_a_disk_that_knows_no_sync_is_no_failure_and_one_that_fails_is(tmp_path: Path, monkeypatch) -> None:
    def fsync(number: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(outputs.os, "fsync", fsync)
    code = errno.EINVAL
    outputs.write_text(tmp_path / "a", "x")
    code = errno.EIO
    with pytest.raises(OutputError, match="input/output error"):
        outputs.write_text(tmp_path / "b", "x")
    assert os.listdir(tmp_path) == ["a"]


def test_who_waits_too_long_for_a_lock_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(outputs, "MOST_WAIT_S", 0.05)
    with open(tmp_path / "lock", "ab") as one, open(tmp_path / "lock", "ab") as other:
        with outputs.locked(one.fileno()), pytest.raises(BlockingIOError), outputs.locked(other.fileno()):
            pass
        with outputs.locked(other.fileno()):
            pass


def test_a_file_that_a_program_holds_open_is_named_where_it_then_cannot_be_replaced(tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:  # as Windows does
        raise PermissionError(13, "The process cannot access the file because it is being used by another process")

    (tmp_path / "a.txt").write_text("old")
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputError, match=r"a\.txt could not be written: the process cannot access the file"):
        outputs.write_text(tmp_path / "a.txt", "new", force=True)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]
