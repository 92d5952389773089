"""Workers of a Ray that is started here: each row once and in order whatever is killed, and nobody else is told."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tellapart import afar, contents, jobs, raysession, rayworkers
from tellapart.classifier import Classifier
from tellapart.cli import main
from tellapart.errors import ClusterError, MissingPackageError, SettingsError
from tellapart.jobs import Job
from tellapart.predict import Question, questions

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")  # Ray warns of what itself does
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason='Ray is not installed: pip install "tellapart[ray]"'
)

TIMES = 40  # the same pictures, so that a worker is killed long before all is done


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """One Ray for all tests of this file: its start takes seconds. Workers find the jobs of this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]))
        with raysession.connected(None):
            yield


def descendants(pid: int) -> set[int]:
    """The processes below one."""
    parents = {}
    for entry in os.listdir("/proc"):
        try:
            stat = Path("/proc", entry, "stat").read_text() if entry.isdigit() else ""
        except OSError:  # it has ended
            continue
        if stat:
            parents[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    found, left = set(), [pid]
    while left:
        one = left.pop()
        below = {child for child, parent in parents.items() if parent == one} - found
        found |= below
        left += below
    return found


def sockets(pid: int) -> set[str]:
    """The inodes of a process's open sockets; none where it has ended meanwhile."""
    found = set()
    with contextlib.suppress(OSError):
        for file in Path("/proc", str(pid), "fd").iterdir():
            with contextlib.suppress(OSError):  # it was closed
                target = os.readlink(file)
                if target.startswith("socket:["):
                    found.add(target[8:-1])
    return found


def listening() -> dict[str, str]:
    """The address, in hex, of every TCP socket that listens, by inode."""
    found = {}
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found[fields[9]] = fields[1].rpartition(":")[0]
    return found


@needs_ray
def test_a_killed_worker_costs_no_row_and_adds_none(
    ray_here: None, trained: Classifier, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    asked = [*questions([photos, tmp_path / "bad.png", tmp_path / "gone.png"])] * TIMES
    expected = {one.path: one for one in trained.predictor.answers(asked[: len(asked) // TIMES])}
    notes: list[str] = []
    got, killed = [], None
    with rayworkers.at_work("ray", workers=2, note=notes.append) as crew:
        assert crew is not None
        for one in afar.answers(trained.bundle, trained.predictor, crew, asked):
            got.append(one)
            if killed is None:
                killed = one.worker
                os.kill(int(killed.rpartition("/")[2]), signal.SIGKILL)
    assert [one.path for one in got] == [one.path for one in asked]
    for one in got:
        told = one.as_dict()
        del told["worker"]
        other = expected[one.path]
        assert told == {
            **other.as_dict(),
            "probability": pytest.approx(other.probability, abs=1e-6),
            "probabilities": pytest.approx(other.probabilities, abs=1e-6),
            "strangeness": pytest.approx(other.strangeness, abs=1e-3),
        }
    assert set(notes) <= {"A worker ended midway; another took over its block."}  # none where it was at no block
    assert capfd.readouterr() == ("", "")  # Ray keeps quiet: rows may be on standard output


@needs_ray
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="this system does not show its sockets as files")
def test_a_ray_of_our_own_listens_on_the_loopback_alone(ray_here: None) -> None:
    every = listening()
    ours = {every[inode] for pid in descendants(os.getpid()) for inode in sockets(pid) & every.keys()}
    assert ours  # it does listen
    assert ours <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@needs_ray
def test_blocks_go_out_in_windows_and_come_back_in_order(ray_here: None, photos: Path, monkeypatch) -> None:
    monkeypatch.setattr(rayworkers, "WINDOW", 2)
    monkeypatch.setattr(rayworkers, "WINDOW_A_WORKER", 1)
    paths = sorted(str(path) for path in photos.rglob("*.png"))[:3]
    taken = []

    def blocks():
        for path in paths:
            taken.append(path)
            yield {"path": jobs.packed([path])}

    with rayworkers.at_work("ray", workers=1) as crew:
        assert crew is not None
        done = crew.run(Job("tellapart.contents:hashing"), blocks())
        first = next(done)
        assert taken == paths[:2]  # no more are held than are under way
        got = [each.columns["found"] for each in (first, *done)]
    assert got == [jobs.packed([found]) for found in contents.hash_all(paths, None)]


@needs_ray
def test_what_a_worker_cannot_do_is_one_line(ray_here: None, trained: Classifier) -> None:
    with rayworkers.at_work("ray", workers=1) as crew:
        assert crew is not None
        run = crew.run(Job("tellapart.contents:hashing", seen=("/nowhere/a.jpg",)), [{"path": [b'"a"']}])
        with pytest.raises(ClusterError, match=r"does not see /nowhere/a\.jpg\. Put them into a folder") as caught:
            next(run)
        assert "\n" not in str(caught.value)
        run = crew.run(Job("tellapart.contents:hashing", {"strange": 1}), [{"path": [b'"a"']}])
        with pytest.raises(ClusterError, match="strange") as caught:
            next(run)
        assert "\n" not in str(caught.value)


def doomed(mark: str | None, threads: int) -> jobs.Doing:
    """A job that ends its worker at one of the blocks; where there is a `mark` to set, the first time alone."""

    def do(columns: jobs.Columns) -> jobs.Columns:
        if columns["path"] == [b'"b"'] and not (mark and os.path.exists(mark)):
            if mark:
                Path(mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return columns

    return do


@needs_ray
def test_a_worker_that_ends_is_told_of(ray_here: None, tmp_path: Path) -> None:
    notes: list[str] = []
    with rayworkers.at_work("ray", workers=2, note=notes.append) as crew:
        assert crew is not None
        asked = [{"path": [f'"{name}"'.encode()]} for name in "abc"]
        done = crew.run(Job("test_rayworkers:doomed", {"mark": str(tmp_path / "mark")}), asked)
        assert [each.columns["path"] for each in done] == [each["path"] for each in asked]
    assert notes == ["A worker ended midway; another took over its block."]


@needs_ray
def test_a_block_that_always_ends_its_worker_ends_the_run(ray_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rayworkers, "TRIES", 2)
    with rayworkers.at_work("ray", workers=1) as crew:
        assert crew is not None
        asked = [{"path": [f'"{name}"'.encode()]} for name in "abc"]
        run = crew.run(Job("test_rayworkers:doomed", {"mark": None}), asked)
        assert next(run).columns["path"] == [b'"a"']
        with pytest.raises(ClusterError, match=r"one after the other ended at the same one.*--workers"):
            list(run)


@needs_ray
def test_the_command_writes_who_answered_behind_all_other_columns(
    ray_here: None, bundle_path: Path, photos: Path, tmp_path: Path, monkeypatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos)  # paths that hang on where the command is given
    here, there = tmp_path / "here.csv", tmp_path / "there.csv"
    for path, options in ((here, []), (there, ["--engine", "ray", "--workers", "1"])):
        with pytest.raises(SystemExit) as ended:
            main(["predict", str(bundle_path), "squares", "--csv", str(path), *options])
        assert ended.value.code == 0
    rows = [line.rpartition(",") for line in there.read_text().splitlines()]
    assert [row[0] for row in rows] == here.read_text().splitlines()
    assert [row[2] for row in rows[:1]] == ["worker"]
    assert all(row[2].startswith("127.0.0.1/") for row in rows[1:])


@needs_ray
def test_the_command_that_evaluates_says_the_same(
    ray_here: None, bundle_path: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = []
    for options in ([], ["--engine", "ray", "--workers", "1"]):
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", str(bundle_path), str(photos), *options])
        assert ended.value.code == 0
        said.append(capfd.readouterr())
    assert said[0] == said[1]
    assert "Accuracy" in said[0].out


def test_a_table_of_arrow_keeps_every_value() -> None:
    pytest.importorskip("pyarrow", reason="pyarrow comes with tellapart[ray]")
    columns = {
        "cells": [b"", b"\xff\x00", "ü".encode()],
        "flags": np.array([True, False, True]),
        "rows": np.arange(24, dtype=np.float16).reshape(3, 2, 4) / 3,
        "numbers": np.array([[np.nan, 0.1], [np.inf, -0.0], [1e-320, 1]]),
    }
    got = rayworkers._columns(rayworkers._table(columns))
    assert got["cells"] == columns["cells"]
    for name in ("flags", "rows", "numbers"):
        assert got[name].dtype == columns[name].dtype
        assert got[name].tobytes() == columns[name].tobytes()


def test_other_packages_on_a_worker_are_refused() -> None:
    wanted = jobs.versions()
    rayworkers._ready("w", Job("tellapart.contents:hashing"), 1, wanted, None)
    with pytest.raises(ClusterError, match=r"w has numpy .* instead of 1\.0\. Install the same"):
        rayworkers._ready("w", Job("tellapart.contents:hashing"), 1, wanted | {"numpy": "1.0"}, None)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"engine": "spark"}, "--engine must be local or ray; got 'spark'"),
        ({"engine": "local", "address": "auto"}, "--address goes with a cluster. Add --engine ray"),
        ({"engine": "local", "workers": 2}, "--workers goes with a cluster"),
        ({"engine": "ray", "workers": 0}, "--workers must be a whole number from 1 on; got 0"),
        ({"engine": "ray", "cores": -1}, "--worker-cores must be a whole number from 1 on; got -1"),
    ],
)
def test_what_cannot_be_asked_for(asked: dict, said: str) -> None:
    with pytest.raises(SettingsError, match=said), rayworkers.at_work(**asked):
        pass


@needs_ray
def test_more_workers_than_cores_are_refused(ray_here: None) -> None:
    with pytest.raises(SettingsError, match="--workers times --worker-cores"), rayworkers.at_work("ray", workers=999):
        pass


def test_without_ray_the_extra_is_named(monkeypatch) -> None:
    find: Callable = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "ray" else find(name))
    with (
        pytest.raises(MissingPackageError, match=r'pip install "tellapart\[ray\]"'),
        rayworkers.at_work("ray"),
    ):
        pass


def test_nothing_of_ray_is_loaded_unless_it_is_asked_for(bundle_path: Path, photos: Path) -> None:
    code = (
        "import json, sys; from tellapart import cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit: print(json.dumps([n for n in ('ray', 'pyarrow', 'pandas') if n in sys.modules]))"
    )
    picture = next(photos.rglob("*.png"))
    command = [sys.executable, "-c", code, "predict", str(bundle_path), str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_a_question_survives_its_way() -> None:
    asked = [Question("a\udcff\n.jpg"), Question("b", "no such file"), Question("c", content="1f")]
    (block,) = afar._blocks(asked)
    assert [Question(*each) for each in jobs.unpacked(block["asked"])] == asked
