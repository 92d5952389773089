"""The trials in their file: the same again, several processes at once, processes that die, files that are none."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import tellapart
from tellapart import studies, studyfile
from tellapart.errors import InputError, MissingPackageError, OutputError, SettingsError
from tellapart.studies import GivenUp, Study, Trial

pytest.importorskip("optuna", reason="Optuna is not installed; tellapart[tune] brings it")

ASKED = {"pictures": "abc", "seed": 0}
DEFAULT = {"x": 2.0, "kind": "a"}

# A process that works on a study: one line a trial, as soon as it has begun.
WORKER = """
import sys, time
from tellapart import studies, studyfile
def objective(trial):
    x = trial.asked.suggest_float("x", 0.0, 10.0)
    print(trial.number, x, flush=True)
    time.sleep(float(sys.argv[2]))
    trial.kept["x"] = x
    return -(x - 7.0) ** 2
def key(asked):
    return [asked.suggest_float("x", 0.0, 10.0), asked.suggest_categorical("kind", ["a", "b"])]
with studies.opened(sys.argv[1], {"pictures": "abc", "seed": 0}, [{"x": 2.0, "kind": "a"}], seed=0) as study:
    while sum(each.state == "complete" for each in study.records()) < int(sys.argv[3]):
        study.bury()
        study.one(objective, key)
"""


def key(asked: Any) -> Any:
    return [asked.suggest_float("x", 0.0, 10.0), asked.suggest_categorical("kind", ["a", "b"])]


def objective(trial: Trial) -> float:
    x = trial.asked.suggest_float("x", 0.0, 10.0)
    trial.kept["x"] = x
    return -((x - 7.0) ** 2)


def worker(path: Path, wait_s: float, trials: int) -> subprocess.Popen[str]:
    source = str(Path(tellapart.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([source, *sys.path])}
    command = [sys.executable, "-c", WORKER, str(path), str(wait_s), str(trials)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def carried_out(path: Path, n: int, seed: int = 0, asked: dict[str, Any] = ASKED) -> list[studies.Record]:
    with studies.opened(path, asked, [DEFAULT], seed=seed) as study:
        for _ in range(n):
            study.one(objective, key)
        return study.records()


def values(records: Sequence[studies.Record]) -> list[float]:
    return [each.kept["x"] for each in records]


def test_the_same_seed_gives_the_same_trials_stopped_or_not(tmp_path: Path) -> None:
    whole = carried_out(tmp_path / "a", 12)
    assert whole[0].default
    assert whole[0].kept == {"x": 2.0}
    assert [each.default for each in whole[1:]] == [False] * 11
    carried_out(tmp_path / "b", 5)
    assert values(carried_out(tmp_path / "b", 7)) == values(whole)
    assert values(carried_out(tmp_path / "c", 12, seed=1)) != values(whole)
    assert len({*values(whole)}) == 12
    late = values(whole)[8:]  # after those that are drawn at random
    assert sum(abs(x - 7) for x in late) / 4 < 2.5


def test_two_processes_share_a_study_and_do_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "both.study"
    two = [worker(path, 0.05, 14) for _ in range(2)]
    lines = [process.communicate(timeout=120)[0].splitlines() for process in two]
    assert [process.returncode for process in two] == [0, 0]
    numbers = [int(line.split()[0]) for part in lines for line in part]
    assert all(len(part) > 2 for part in lines)
    assert len({*numbers}) == len(numbers)
    with studies.opened(path, ASKED, [DEFAULT], seed=0) as study:
        records = study.records()
        assert study.n_workers() == 3  # this one too
    assert {each.number for each in records} == {*numbers}
    assert sum(each.default for each in records) == 1
    assert len({*values(records)}) == len(records)


def test_a_killed_process_loses_its_trial_alone(tmp_path: Path) -> None:
    path = tmp_path / "killed.study"
    process = worker(path, 30, 99)
    assert process.stdout is not None
    assert process.stdout.readline().split() == ["0", "2.0"]  # the default is under way
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    with studies.opened(path, ASKED, [DEFAULT], seed=0) as study:
        dead = study.records()
        assert [(each.number, each.state, each.why) for each in dead if each.number == 0] == [
            (0, studies.FAILED, studies.DIED)
        ]
        for _ in range(3):
            study.one(objective, key)
        after = study.records()
    default = next(each for each in after if each.default and each.state == studies.COMPLETE)
    assert default.kept == {"x": 2.0}  # once more, for without it nothing is compared
    assert default.number != 0
    assert sum(each.state == studies.COMPLETE for each in after) == 3
    assert all(each.state != studies.RUNNING for each in after)


def test_a_process_of_another_machine_is_dead_when_its_heart_has_not_beaten_for_a_minute(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "far.study"
    process = worker(path, 30, 99)
    assert process.stdout is not None
    process.stdout.readline()
    with contextlib.closing(sqlite3.connect(path)) as base, base:  # it must have beaten once
        until = time.monotonic() + 30
        while not base.execute("select count(*) from trial_heartbeats").fetchone()[0] and time.monotonic() < until:
            time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        base.execute("update trial_user_attributes set value_json = '\"ffffffff-1-ffffffff\"' where key = 'worker'")
    with studies.opened(path, ASKED, [DEFAULT], seed=0) as study:
        study.one(objective, key)
        assert [each.state for each in study.records()] == [studies.RUNNING, studies.COMPLETE]  # it may live
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        base.execute("update trial_heartbeats set heartbeat = datetime('now', '-70 seconds')")
    with studies.opened(path, ASKED, [DEFAULT], seed=0) as study:
        study.one(objective, key)
        study.bury()
        assert [each.state for each in study.records()][:2] == [studies.FAILED, studies.COMPLETE]
        again = study.one(objective, key)
    assert again is not None
    assert again.default
    assert again.kept == {"x": 2.0}


def test_time_is_counted_once_however_many_work(tmp_path: Path) -> None:
    with studies.opened(tmp_path / "s", ASKED, [DEFAULT], seed=0) as study:
        assert study.used_s() == pytest.approx(0, abs=0.5)
        for name, span in {"a": [0.0, 10.0], "b": [5.0, 12.0], "c": [20.0, 21.0], "d": [6.0, 7.0]}.items():
            study._study.set_user_attr(f"worker {name}", span)
        assert study.used_s() == pytest.approx(13.0, abs=0.5)


def test_what_falls_behind_is_given_up_but_the_default_never(tmp_path: Path) -> None:
    seen = []

    def watched(trial: Trial) -> float:
        good = 0.9 if 0 < trial.number < 6 else 0.1
        for step in range(1, 9):
            seen.append((trial.number, step))
            trial.watch(step / 8, good)
            trial.watch(step / 8 + 0.01, 0.0)  # the same part of the training: looked at once
        trial.kept["x"] = good
        return good

    with studies.opened(tmp_path / "s", ASKED, [DEFAULT], seed=0) as study:
        records = [study.one(watched, key) for _ in range(8)]
    states = [each.state for each in records if each is not None]
    assert states == ["complete"] * 6 + ["pruned"] * 2
    last = records[-1]
    assert last is not None
    assert last.why == "behind most others after 2 of 8 parts of the training"
    assert last.curve == ((0.125, 0.1), (0.25, 0.1))
    assert [step for number, step in seen if number == 7] == [1, 2]
    assert [step for number, step in seen if number == 0] == [*range(1, 9)]


def test_kinds_of_training_are_not_compared_with_each_other(tmp_path: Path) -> None:
    def watched(trial: Trial) -> float:
        good, kind = (0.9, 1) if trial.number < 6 else (0.1, 0)
        for step in range(1, 9):
            trial.watch(step / 8, good, kind=kind)
        return good

    with studies.opened(tmp_path / "s", ASKED, [DEFAULT], seed=0) as study:
        records = [study.one(watched, key) for _ in range(8)]
    assert {each.state for each in records if each is not None} == {"complete"}


def test_a_trial_that_fails_is_named_and_the_study_goes_on(tmp_path: Path) -> None:
    def failing(trial: Trial) -> float:
        if trial.number == 1:
            raise SettingsError("The learning rate\nmust be small.")
        if trial.number == 2:
            raise MemoryError
        if trial.number == 3:
            raise GivenUp("too slow")
        if trial.number == 4:
            raise KeyboardInterrupt
        return objective(trial)

    with studies.opened(tmp_path / "s", ASKED, [DEFAULT], seed=0) as study:
        for _ in range(4):
            study.one(failing, key)
        with pytest.raises(KeyboardInterrupt):
            study.one(failing, key)
        told = [(each.state, each.why) for each in study.records()]
    assert told == [
        ("complete", ""),
        ("failed", "The learning rate must be small."),
        ("failed", "MemoryError"),
        ("pruned", "too slow"),
        ("failed", studies.STOPPED),
    ]


def test_a_space_with_nothing_new_in_it_comes_to_an_end(tmp_path: Path) -> None:
    def few(asked: Any) -> Any:
        return asked.suggest_categorical("kind", ["a", "b", "c"])

    carried = []
    with studies.opened(tmp_path / "s", ASKED, [{"kind": "a"}], seed=0) as study:
        while not study.exhausted:
            study.one(lambda trial: carried.append(trial.number) or 1.0, few)
        records = study.records()
    assert len(carried) == 3
    assert len(records) == 3  # what was nothing new is not told of


def test_a_study_of_others_is_refused(tmp_path: Path) -> None:
    carried_out(tmp_path / "s", 1)
    with pytest.raises(SettingsError, match=r"is of others \(pictures abc then, xyz now\)\. Name another file"):
        carried_out(tmp_path / "s", 1, asked={"pictures": "xyz", "seed": 0})


@pytest.mark.parametrize("content", [b"", b"no data base", b"SQLite format 3\0" + b"x" * 500])
def test_a_file_that_is_no_study_is_refused_and_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"--study must be a file that .*tune wrote"):
        carried_out(path, 1)
    with pytest.raises(InputError):
        studyfile.remove(path)
    assert path.read_bytes() == content


def test_a_data_base_of_somebody_else_is_left_as_it_is(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "theirs.db"
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        base.execute("create table mine (x)")
    before = path.read_bytes()
    with pytest.raises(InputError, match="--study must be a file that this version of tune wrote"):
        carried_out(path, 1)
    assert path.read_bytes() == before


def test_where_no_file_can_be_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="The folder of an output must exist"):
        carried_out(tmp_path / "none" / "s", 1)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="is no regular file"):
        carried_out(tmp_path / "folder", 1)


def test_any_name_will_do_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a {0} ?b=c#d é%20.study"
    carried_out(path, 1)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    studyfile.remove(path)
    assert not path.exists()


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'tellapart\[tune\]'"):
        studyfile.check()


def test_a_worker_that_is_believed_dead_and_is_not_loses_its_trial_alone(tmp_path: Path) -> None:
    """Its machine slept, say: another process failed the trial meanwhile."""
    import optuna

    with studies.opened(tmp_path / "s", ASKED, [DEFAULT], seed=0) as study:
        study.one(objective, key)

        def slow(trial: Trial) -> float:
            study._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            return objective(trial)

        record = study.one(slow, key)
        assert isinstance(study, Study)
        assert record is not None
        assert record.state == studies.FAILED
        again = study.one(objective, key)
    assert again is not None
    assert again.state == studies.COMPLETE
