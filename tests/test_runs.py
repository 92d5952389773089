"""The log of trainings: what stands in it, and that nothing can spoil it."""

import csv
import hashlib
import json
import multiprocessing
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from tellapart import api, outputs, runs
from tellapart.classifier import Classifier
from tellapart.cli import main
from tellapart.runlist import told

WINDOWS = sys.platform == "win32"


@pytest.fixture
def log(tmp_path: Path, monkeypatch) -> Path:
    path = tmp_path / "data" / "runs.jsonl"
    monkeypatch.setenv("TELLAPART_RUNS", str(path))
    return path


def line(**more: object) -> str:
    values = {
        "time": "2026-11-24T18:00:00+00:00", "photos": "/p/pets", "recipe": "transfer",
        "backbone": "efficientnet-lite2",
        "size_px": 288, "seed": 0, "accuracy": 0.99, "accuracy_interval": [0.98, 0.995], "n": 600, "judged_on": "test",
        "log_loss": 0.03, "seconds": 20.5, "bundle": "/p/pets.tellapart", "command": "tellapart train pets",
    }  # fmt: skip
    return json.dumps(values | more) + "\n"


def fill(log: Path, *lines: str) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(lines))


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    return stop.value.code


def test_a_training_leaves_a_line(log: Path, photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.tellapart"
    model = api.train(
        photos, output=target, recipe="tutorial", size=32, epochs=1, conv=(4,), dense=(4,), precision="float32",
        seed=3, progress=False,
    )  # fmt: skip
    (found,) = runs.read().runs
    assert model.evaluation is not None
    assert found["photos"] == str(photos)
    assert found["accuracy"] == model.evaluation.accuracy
    assert found["accuracy_interval"] == list(model.evaluation.accuracy_interval)
    assert (found["n"], found["judged_on"]) == (model.evaluation.n, "test")
    assert (found["recipe"], found["size_px"], found["seed"], found["backbone"]) == ("tutorial", 32, 3, None)
    assert found["bundle"] == str(target)
    assert found["bundle_sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert found["fingerprint"] == model.bundle.manifest["provenance"]["catalog_fingerprint"]
    assert found["seconds"] == model.report["times"]["total"]
    if not WINDOWS:
        assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_no_history_is_kept_where_it_is_off(trained: Classifier, photos: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("TELLAPART_RUNS", "off")
    assert runs.log_path() is None
    assert runs.record(trained, photos=photos, output=None, budget=None) is None
    assert run("history") == 0
    assert "No history is kept: $TELLAPART_RUNS is off." in capsys.readouterr().out


def test_a_log_that_cannot_be_written_is_a_sentence(trained: Classifier, photos: Path, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TELLAPART_RUNS", str(tmp_path / "file" / "runs.jsonl"))
    said = runs.record(trained, photos=photos, output=None, budget=None)
    assert said is not None
    assert said.startswith("This run is not in the history:")
    assert "could not be written" in said


def test_without_a_home_the_training_stands(trained: Classifier, photos: Path, monkeypatch) -> None:
    monkeypatch.delenv("TELLAPART_RUNS")

    def nowhere(_: str) -> Path:
        return Path("/proc/none/at/all" if not WINDOWS else "Z:/none/at/all")

    monkeypatch.setattr(runs.platformdirs, "user_data_path", nowhere)
    assert runs.record(trained, photos=photos, output=None, budget=None) is not None


def _append_many(path: str, name: str) -> None:
    for i in range(200):
        outputs.append(path, json.dumps({"by": name, "i": i, "pad": "x" * 3000}).encode() + b"\n")


def test_two_at_once_do_not_mix_their_lines(log: Path) -> None:
    log.parent.mkdir()
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_append_many, args=(str(log), name)) for name in "ab"]
    for each in both:
        each.start()
    for each in both:
        each.join()
    found = [json.loads(each) for each in log.read_text().splitlines() if each]
    assert sorted((each["by"], each["i"]) for each in found) == [(name, i) for name in "ab" for i in range(200)]


def test_a_line_that_was_cut_short_takes_no_other_with_it(log: Path, trained: Classifier, photos: Path, capsys) -> None:
    fill(
        log,
        line(),
        '{"time": "2026-11-',
    )
    assert runs.record(trained, photos=photos, output=None, budget="5m") is None
    found = runs.read()
    assert len(found.runs) == 2
    assert found.damaged == (2,)
    assert found.runs[1]["budget"] == "5m"
    assert run("history") == 0
    assert f"1 line of {log} cannot be read and is left out: 2." in capsys.readouterr().out


NOT_RUNS = ["[]", "null", "{}", "[" * 100_000, '"text"', "\x00\xff"]
NO_FIELDS = [("accuracy", "high"), ("accuracy", float("nan")), ("accuracy_interval", [1]), ("photos", 3), ("n", True)]


@pytest.mark.parametrize("damaged", [*NOT_RUNS, *(line(**{name: value}).strip() for name, value in NO_FIELDS)])
def test_a_damaged_line_is_counted_and_the_others_are_read(log: Path, damaged: str, capsys) -> None:
    fill(log, line(), damaged + "\n", "\n", line())
    found = runs.read()
    assert (len(found.runs), found.damaged) == (2, (2,))
    assert run("history") == 0
    assert "cannot be read and is left out: 2." in capsys.readouterr().out


def test_the_table(log: Path, capsys) -> None:
    fill(
        log,
        line(),
        line(photos="/q/birds\n", accuracy=0.5, accuracy_interval=[0.25, 0.75], backbone=None, recipe="scratch",
             size_px=64, bundle=None, n=None, log_loss=None, judged_on="cross-validation"),
    )  # fmt: skip
    assert run("history") == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("When              Photos")
    assert "birds\\n" in second
    for part in ("scratch 64 px", "50.00%", "25.0% to 75.0%", "cross-validation", "not saved"):
        assert part in second
    for part in (
        "pets",
        "transfer efficientnet-lite2 288 px",
        "99.00%",
        "test, 600",
        "0.0300",
        "20 s",
        "pets.tellapart",
    ):
        assert part in third or "…" in third


def test_which_runs_and_in_which_order(log: Path, tmp_path: Path, capsys) -> None:
    fill(log, *(line(accuracy=a, photos=f"/p/{name}", seconds=s) for a, name, s in
                [(0.7, "x", 3), (0.9, "y", 2), (None, "x", None), (0.8, "x", 1)]))  # fmt: skip
    found = runs.read()

    def accuracies(**how) -> list[float | None]:
        return [each["accuracy"] for each in runs.chosen(found, **how)]

    assert accuracies() == [0.8, None, 0.9, 0.7]
    assert accuracies(last=2) == [0.8, None]
    assert accuracies(sort="accuracy") == [0.9, 0.8, 0.7, None]
    assert accuracies(sort="seconds") == [0.8, 0.9, 0.7, None]
    assert accuracies(photos="x") == accuracies(photos="/p/x/") == [0.8, None, 0.7]
    assert run("history", "--photos", "/p/none") == 0
    assert "None of the 4 runs" in capsys.readouterr().out
    out, table = tmp_path / "h.json", tmp_path / "h.csv"
    assert run("history", "--sort", "accuracy", "--json", out, "--csv", table) == 0
    assert [each["accuracy"] for each in json.loads(out.read_text())] == [0.9, 0.8, 0.7, None]
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [each["accuracy"] for each in rows] == ["0.9", "0.8", "0.7", ""]
    assert rows[0]["accuracy_low"] == "0.98"
    assert list(rows[0]) == list(runs.COLUMNS)
    assert run("history", "--sort", "colour") == 2
    assert run("history", "--json", out) == 1


def test_a_history_that_is_not_there_yet(log: Path, capsys) -> None:
    assert run("history", "--json", "-") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run("history") == 0
    assert f"There is no run in {log} yet. tellapart train PHOTOS makes one." in capsys.readouterr().out
    log.mkdir(parents=True)
    assert run("history") == 1
    assert "must be readable" in capsys.readouterr().err


def test_ten_thousand_runs_are_listed_at_once(log: Path, capsys) -> None:
    fill(log, line() * 10_000)
    start = time.process_time()
    assert run("history") == 0
    assert time.process_time() - start < 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 22
    assert lines[-1].startswith("… and 9,980 runs before these")
    start = time.process_time()
    found = runs.read()
    assert len(told(found, runs.chosen(found), 0).plain.splitlines()) == 10_001
    assert time.process_time() - start < 2


def test_no_password_is_kept() -> None:
    said = runs.command(["tellapart", "train", "my photos", "--mlflow", "https://me:secret@host/x"])
    assert said == "tellapart train 'my photos' --mlflow https://…@host/x" or "secret" not in said


def test_the_log_is_in_the_data_folder(monkeypatch) -> None:
    monkeypatch.delenv("TELLAPART_RUNS")
    path = runs.log_path()
    assert path is not None
    assert path.name == "runs.jsonl"
    assert "tellapart" in os.fspath(path.parent)
