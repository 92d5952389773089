"""A training that is stopped and gone on with: found by what was asked for, held by one process, removed in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tellapart import attempts, choices

ASKED = {"pictures": "abc", "recipe": "scratch", "epochs": 3, "seed": 0}


def about(**changes: Any) -> dict[str, Any]:
    """What a training says of itself."""
    return {"photos": "/photos", "asked": {**ASKED, **changes}, "versions": {"keras": "3.15.1"}}


def stopped(cache: Path, step: int = 8, **changes: Any) -> list[str]:
    """A training that fails after a checkpoint; what it said."""
    notes: list[str] = []

    def train() -> None:
        with attempts.begun(cache, about(**changes), resume=False, note=notes.append) as attempt:
            attempt.hear({"precision": "float32"})
            attempt.keeper("network").write(step, {"a": np.arange(3)}, {})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    return notes


def test_what_is_stopped_is_kept_and_said_and_found_again(tmp_path: Path) -> None:
    assert stopped(tmp_path, 1234) == [
        "What was learned up to step 1,234 is kept: the same command with --resume goes on from there."
    ]
    with attempts.begun(tmp_path, about(), resume=True, note=pytest.fail) as attempt:
        found = attempt.keeper("network").newest(10**6)
        assert found is not None
        assert found.step == 1234
        assert attempt.choices == {"precision": "float32"}
        with choices.noted(attempt.choices):
            assert choices.given("precision") == "float32"
        attempt.end(well=True)
    assert list((tmp_path / "checkpoints").iterdir()) == []  # one that ended well leaves nothing


def test_without_resume_it_starts_afresh(tmp_path: Path) -> None:
    stopped(tmp_path)
    with attempts.begun(tmp_path, about(), resume=False, note=pytest.fail) as attempt:
        assert attempt.keeper("network").newest(10**6) is None
        assert attempt.choices == {}


def test_a_short_training_writes_nothing(tmp_path: Path) -> None:
    with attempts.begun(tmp_path, about(), resume=False, note=pytest.fail) as attempt:
        attempt.hear({"precision": "float32"})
        assert not attempt.keeper("network").due(10**6)
        attempt.end(well=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"epochs": 10}, "asked for otherwise (epochs 3 then, 10 now)"),
        ({"dropout": 0.5}, "asked for otherwise (dropout not given then, 0.5 now)"),
        ({"pictures": "other"}, "the pictures or their labels are not those of the training that was stopped"),
    ],
)
def test_why_there_is_nothing_to_resume(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    notes: list[str] = []
    with attempts.begun(tmp_path, about(), resume=True, note=notes.append):
        pass
    stopped(tmp_path)
    with attempts.begun(tmp_path, about(**changes), resume=True, note=notes.append):
        pass
    assert notes[0] == (
        "There is nothing to resume: no training of these pictures was stopped after its first checkpoint. "
        "It starts afresh."
    )
    assert notes[1].startswith("There is nothing to resume: ")
    assert notes[1].endswith(f"{why}. It starts afresh.")
    assert attempts.listing(tmp_path)[0].step == 8  # the other one stays


def test_time_used_counts(tmp_path: Path, monkeypatch) -> None:
    now = [50.0]
    monkeypatch.setattr(attempts.time, "monotonic", lambda: now[0])
    with attempts.begun(tmp_path, about(), resume=False, note=pytest.fail) as attempt:
        now[0] += 30
        attempt.chose({"pace": "3 epochs"})
    now[0] += 1000  # nobody was at it
    with attempts.begun(tmp_path, about(), resume=True, note=pytest.fail) as attempt:
        assert (attempt.used_s, attempt.choices) == (30.0, {"pace": "3 epochs"})
        now[0] += 5
        attempt.chose({})
    with attempts.begun(tmp_path, about(), resume=True, note=pytest.fail) as attempt:
        assert attempt.used_s == 35.0


def test_two_at_once_do_not_share_their_checkpoints(tmp_path: Path) -> None:
    notes: list[str] = []
    with attempts.begun(tmp_path, about(), resume=False, note=pytest.fail) as first:
        first.keeper("network").write(8, {"a": np.arange(3)}, {})
        with attempts.begun(tmp_path, about(), resume=False, note=notes.append) as second:
            assert not second.keeper("network").write(16, {"a": np.arange(3)}, {})
            second.end(well=True)
        assert notes == ["The same training runs already, in another process: this one keeps no checkpoints."]
        assert attempts.listing(tmp_path)[0].running
        assert attempts.clear(tmp_path) == 0  # what is under way stays
        assert first.last_step() == 8
    assert not attempts.listing(tmp_path)[0].running
    assert attempts.clear(tmp_path) > 0
    assert not (tmp_path / "checkpoints").exists()


HOLD = """
import sys, time
from pathlib import Path
from tellapart import attempts
import numpy as np
about = {"photos": "", "asked": {"a": 1}, "versions": {}}
with attempts.begun(Path(sys.argv[1]), about, resume=False, note=print) as one:
    one.keeper("network").write(8, {"a": np.arange(3)}, {})
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert attempts.listing(tmp_path)[0].running
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert not attempts.listing(tmp_path)[0].running
    mine = {"photos": "", "asked": {"a": 1}, "versions": {}}
    with attempts.begun(tmp_path, mine, resume=True, note=pytest.fail) as attempt:
        found = attempt.keeper("network").newest(10**6)
        assert found is not None
        assert found.step == 8


def test_other_versions_are_said(tmp_path: Path) -> None:
    stopped(tmp_path)
    notes: list[str] = []
    now = about() | {"versions": {"keras": "3.16.0"}}
    with attempts.begun(tmp_path, now, resume=True, note=notes.append) as attempt:
        assert attempt.keeper("network").newest(10**6) is not None
    assert notes == [
        "This training began otherwise (keras 3.15.1 then, 3.16.0 now): it goes on, but may end with slightly "
        "different weights."
    ]


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', "[" * 10**5, '{"format": 1, "used_s": "x"}'])
def test_a_damaged_record_is_said_and_the_checkpoint_taken(tmp_path: Path, text: str) -> None:
    stopped(tmp_path)
    (path,) = (tmp_path / "checkpoints").glob("*/run.json")
    path.write_text(text)
    notes: list[str] = []
    with attempts.begun(tmp_path, about(), resume=True, note=notes.append) as attempt:
        assert (attempt.choices, attempt.used_s) == ({}, 0.0)
        assert attempt.keeper("network").newest(10**6) is not None
    assert notes == ["What is known of the training that is to be resumed is damaged: its choices are made anew."]
    assert attempts.listing(tmp_path)[0].photos == ""


def test_old_ones_are_swept_and_strangers_left_alone(tmp_path: Path) -> None:
    stopped(tmp_path)
    stopped(tmp_path, seed=1)
    old = attempts.folder(tmp_path) / attempts.key({**ASKED, "seed": 1})
    for path in [*old.iterdir(), old]:
        os.utime(path, (time.time() - 31 * 24 * 3600,) * 2)
    mine = attempts.folder(tmp_path) / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with attempts.begun(tmp_path, about(seed=2), resume=False, note=pytest.fail):
        pass
    assert not old.exists()
    assert [kept.step for kept in attempts.listing(tmp_path)] == [8]
    attempts.clear(tmp_path)
    assert (mine / "notes.txt").exists()


def test_a_listing_says_what_it_is(tmp_path: Path) -> None:
    stopped(tmp_path, 40)
    (kept,) = attempts.listing(tmp_path)
    assert (kept.photos, kept.recipe, kept.step, kept.running) == ("/photos", "scratch", 40, False)
    files = list((attempts.folder(tmp_path) / kept.name).iterdir())
    assert kept.size_bytes == sum(path.stat().st_size for path in files) == attempts.size_bytes(tmp_path)
    asked = json.loads((attempts.folder(tmp_path) / kept.name / "run.json").read_text())["asked"]
    assert asked == ASKED


def test_a_pipe_in_place_of_the_record_is_not_waited_for(tmp_path: Path) -> None:
    stopped(tmp_path)
    (path,) = (tmp_path / "checkpoints").glob("*/run.json")
    path.unlink()
    os.mkfifo(path)
    assert attempts.listing(tmp_path)[0].recipe == ""
