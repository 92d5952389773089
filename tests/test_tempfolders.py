"""Private folders among temporary files: whose they are stands in their names, and nobody else's are taken away."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tellapart import leftovers, tempfolders


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go; nobody has looked through it yet."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfolders, "_swept", set())
    return tmp_path


def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def test_one_is_this_users_alone_and_goes_at_the_end(place: Path) -> None:
    with tempfolders.private() as plain, tempfolders.private("browser") as named:
        assert {plain.parent, named.parent} == {place}
        assert [each.stat().st_mode & 0o777 for each in (plain, named)] == [0o700, 0o700]
        assert named.name.startswith(f"tellapart-browser-{leftovers.owner()}-{os.getpid()}-")
        (plain / "in").mkdir()
        (plain / "in" / "file").write_text("something")
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_goes_and_nothing_else(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, dead = f"{leftovers.owner()}-{os.getpid()}", f"{leftovers.owner()}-{gone()}"
    left = [f"tellapart-{dead}-0123abcd", f"tellapart-cache-{dead}-0123abcd"]
    kept = [
        f"tellapart-{mine}-0123abcd",  # of a process that runs
        f"tellapart-00000000-{dead.split('-')[1]}-0123abcd",  # of another machine or container: who knows
        *("tellapart-abc", "tellapart-cache-mine", f"other-{dead}-0123abcd", f"tellapart-{dead}-0123abcd.d"),
    ]
    for name in (*left, *kept):
        (place / name / "in").mkdir(parents=True)
        (place / name / "in" / "file").write_text("something")
        os.utime(place / name, (0, 0))  # however long nothing in it has changed
    outside = place.parent / f"{place.name} outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    (place / f"tellapart-{dead}-89abcdef").symlink_to(outside)
    (place / f"tellapart-{dead}-456789ab").write_text("no folder")
    with tempfolders.private():
        pass
    assert sorted(os.listdir(place)) == sorted([*kept, f"tellapart-{dead}-89abcdef", f"tellapart-{dead}-456789ab"])
    assert (outside / "file").read_text() == "mine"
    assert all((place / name / "in" / "file").exists() for name in kept)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="users of POSIX")
def test_those_of_another_user_stay(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"tellapart-{leftovers.owner()}-{gone()}-0123abcd"
    (place / name).mkdir()
    me = os.getuid()
    monkeypatch.setattr(tempfolders.os, "getuid", lambda: me + 1)
    tempfolders.sweep(place)
    assert os.listdir(place) == [name]
    monkeypatch.undo()
    tempfolders.sweep(place)
    assert os.listdir(place) == []


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_the_next_process_takes_away_what_a_sigkill_left(place: Path) -> None:
    code = "import os, signal; from tellapart import tempfolders\nwith tempfolders.private(): {}"
    environment = {**os.environ, "TMPDIR": str(place), "PYTHONPATH": os.pathsep.join(sys.path)}
    for then, status in (
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("print(len(os.listdir(os.environ['TMPDIR'])))", 0),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code.format(then)], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stderr
        if status:
            assert len(os.listdir(place)) == 1
    assert done.stdout == "1\n"  # its own
    assert os.listdir(place) == []
