"""A training that is killed and gone on with gives the bundle of one that was not, byte for byte; `benchmarks/kills.py`
does so a hundred times.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

import tellapart
import tellapart.catalog
import tellapart.progress
from tellapart import attempts, cli
from tellapart.errors import SettingsError

SETTINGS = ("--recipe", "tutorial", "--size", 32, "--conv", "4,8", "--dense", 8, "--dropout", 0.3, "--epochs", 16,
            "--batch-size", 8, "--precision", "float32")  # fmt: skip


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints follow each other soon, and a bundle has the same time in it whenever it is made."""
    monkeypatch.setenv("TELLAPART_CHECKPOINT_EVERY", "8steps")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Iterator:
    """Train in this process: exit status, standard error."""

    def run(*arguments: object) -> tuple[int, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(["train", *map(str, arguments)])
        return int(ended.value.code or 0), capfd.readouterr().err

    yield run
    keras.backend.clear_session()


def test_a_killed_training_goes_on_and_gives_the_same_bundle(photos: Path, tmp_path: Path, run) -> None:
    cache, killed, whole = tmp_path / "cache", tmp_path / "killed.tellapart", tmp_path / "whole.tellapart"
    command = [photos, *SETTINGS, "-o", killed, "--cache", cache]
    environment = {**os.environ, "PYTHONPATH": str(Path(tellapart.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", "tellapart", "train", *map(str, command)], env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while not any(step >= 16 for step in steps(cache)):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    newest = max((cache / "checkpoints").glob("*/network.*.npz"), key=lambda path: path.name)
    newest.write_bytes(newest.read_bytes()[:-100])  # as a power loss may leave it
    assert not killed.exists()
    assert attempts.listing(cache)[0].photos == str(photos)
    status, said = run(*command, "--resume", "--json", tmp_path / "killed.json")
    assert status == 0, said
    found = re.search(r"Going on from step (\d+) of (\d+) \(epoch \d+\)", said)
    assert found is not None, said
    assert "is damaged (it is cut short); the one of step" in said
    told = json.loads((tmp_path / "killed.json").read_text())
    assert told["resumed_from"] == int(found[1])
    assert told["resumed_from"] + told["steps_run"] == int(found[2])
    assert attempts.listing(cache) == []  # what is through leaves nothing
    status, said = run(photos, *SETTINGS, "-o", whole, "--cache", cache, "--resume", "--json", tmp_path / "whole.json")
    assert status == 0, said
    assert "There is nothing to resume" in said
    told = json.loads((tmp_path / "whole.json").read_text())
    assert (told["resumed_from"], told["steps_run"]) == (None, int(found[2]))
    assert killed.read_bytes() == whole.read_bytes()


def steps(cache: Path) -> list[int]:
    """Of the checkpoints that there are."""
    return [int(path.name.split(".")[1]) for path in (cache / "checkpoints").glob("*/network.*.npz")]


def test_a_fold_that_was_through_is_not_trained_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tellapart import crossvalidation, pipeline
    from tellapart.config import TUTORIAL

    recipe = TUTORIAL.override(size_px=32, store_px=32, channels=(4,), dense=(4,), epochs=1, precision="float32")
    learned: list[int] = []
    stop_at = 1

    class Learned:
        interrupted = False

    def learn(fold, recipe, **more) -> Learned:
        if len(learned) == stop_at:
            raise KeyboardInterrupt
        learned.append(len(fold.sides["test"]))
        return Learned()

    def judged(outcome, fold, progress) -> np.ndarray:
        n = len(fold.sides["test"])
        return np.stack([np.linspace(0.1, 0.9, n), 1 - np.linspace(0.1, 0.9, n)], axis=1)

    monkeypatch.setattr(pipeline, "learn", learn)
    monkeypatch.setattr(pipeline, "judged", judged)
    notes: list[str] = []

    class Said(tellapart.progress.Progress):
        def note(self, text: str) -> None:
            notes.append(text)

    catalog = tellapart.catalog.scan(photos)
    about = {"photos": str(photos), "asked": {"k": 3}, "versions": {}}

    def cross(resume: bool):
        with attempts.begun(tmp_path, about, resume=resume, note=notes.append) as attempt:
            return crossvalidation.run(
                catalog, recipe, 3, seed=0, cache=tmp_path, progress=Said(), attempt=attempt
            )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        cross(resume=False)
    stop_at = 99
    evaluation = cross(resume=True)
    assert evaluation is not None
    assert len(learned) == 3  # the first fold once, before; two more after
    assert "Fold 1 of 3 was through." in notes
    assert sum(learned) == evaluation.n == 80
    np.testing.assert_array_equal(
        evaluation.probabilities[: learned[0], 0], np.linspace(0.1, 0.9, learned[0])
    )  # as they were kept


def test_an_interval_that_is_none_is_wrong_usage(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELLAPART_CHECKPOINT_EVERY", "often")
    with pytest.raises(SettingsError, match="must be like 5s"):
        tellapart.train(photos, recipe="tutorial", progress=False)
