"""The command line as a user meets it: results, streams, exit statuses, one line for an error."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tellapart import cli

COMMAND = [sys.executable, "-m", "tellapart"]
TINY = ["--recipe", "tutorial", "--size", "32", "--epochs", "1", "--conv", "4,8", "--dense", "8"]


@pytest.fixture
def run(capsys):
    """Run a command in this process: exit status, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return run


def shell(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options)


# What is imported


@pytest.mark.parametrize("arguments", [["--help"], ["predict"], ["info"]])
def test_what_answers_loads_no_keras(bundle_path: Path, photos: Path, arguments: list[str]) -> None:
    picture = next(photos.rglob("*.png"))
    more = {"predict": [str(bundle_path), str(picture)], "info": [str(bundle_path)]}.get(arguments[0], [])
    code = f"""
import sys
from tellapart.cli import main
try:
    main({[*arguments, *more]!r})
except SystemExit as exit_:
    assert not exit_.code, exit_.code
heavy = sorted({{"keras", "tensorflow", "sklearn", "scipy", "onnx", "tf2onnx", "jax", "torch"}} & set(sys.modules))
print("loaded:", heavy)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "loaded: []"


# The main job


def test_train_says_and_writes_what_it_promises(run, photos: Path, tmp_path: Path) -> None:
    bundle, curves = tmp_path / "shapes.tellapart", tmp_path / "curves.csv"
    status, out, err = run("train", photos, "-o", bundle, *TINY, "--json", "-", "--history", curves)
    assert status == 0
    result = json.loads(out)
    assert {
        "accuracy", "accuracy_interval", "baseline_accuracy", "log_loss", "expected_calibration_error", "classes",
        "per_class", "confusion_matrix", "n", "skipped", "plan", "times", "bundle", "training", "train_accuracy",
    } <= set(result)  # fmt: skip
    assert result["bundle"] == str(bundle)
    assert result["plan"]["pictures"] == {"train": 64, "validation": 8, "test": 8}
    assert sum(map(sum, result["confusion_matrix"])) == result["n"] == 8
    assert "tutorial" in err
    assert len(list(csv.DictReader(curves.read_text().splitlines()))) == 1
    status, out, _ = run("info", bundle)
    assert status == 0
    assert "circles, squares" in out


def test_evaluate_has_the_fields_of_the_contract(run, bundle_path: Path, photos: Path) -> None:
    status, out, _ = run("evaluate", bundle_path, photos, "--json", "-")
    result = json.loads(out)
    assert status == 0
    assert (result["n"], result["n_trained_on"], result["baseline_accuracy"]) == (80, 64, 0.5)
    low, high = result["accuracy_interval"]
    assert 0 <= low <= result["accuracy"] <= high <= 1
    assert set(result["per_class"]["circles"]) == {"precision", "recall", "f1", "support"}


def test_evaluate_says_how_many_pictures_were_trained_on(run, bundle_path: Path, photos: Path) -> None:
    status, out, _ = run("evaluate", bundle_path, photos)
    assert status == 0
    assert "64 of these pictures were trained on" in out
    assert "Always answering the commonest class would reach 50.0%" in out


@pytest.fixture
def mixed(tmp_path: Path, make_photos) -> Path:
    """Good and bad files among each other."""
    folder = make_photos(tmp_path / "mixed", n=2)
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "page.jpg").write_text("<!DOCTYPE html><html>")
    (folder / "cut.png").write_bytes(next(folder.rglob("*.png")).read_bytes()[:200])
    (folder / "notes.txt").write_text("not a picture")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "loop").symlink_to(folder)
    return folder


def test_predict_accounts_for_every_file(run, bundle_path: Path, mixed: Path) -> None:
    status, out, _ = run("predict", bundle_path, mixed, "--json", "-")
    rows = json.loads(out)
    by_name = {Path(row["path"]).name: row for row in rows}
    assert status == 0
    assert set(rows[0]) == {"path", "label", "probability", "probabilities", "unknown", "error"}
    assert "notes.txt" not in by_name
    for bad in ("empty.jpg", "page.jpg", "cut.png", "pipe.jpg", "loop"):
        assert by_name[bad]["error"], bad
        assert by_name[bad]["label"] is None
    good = [row for row in rows if row["error"] is None]
    assert len(good) == 4
    assert all(set(row["probabilities"]) == {"circles", "squares"} for row in good)


def test_predict_writes_csv(run, bundle_path: Path, mixed: Path, tmp_path: Path) -> None:
    target = tmp_path / "answers.csv"
    status, out, _ = run("predict", bundle_path, mixed / "empty.jpg", mixed / "circles", "--csv", target)
    assert status == 0
    rows = list(csv.DictReader(target.read_text().splitlines()))
    assert list(rows[0]) == ["path", "label", "probability", "unknown", "error", "circles", "squares"]
    assert [Path(row["path"]).name for row in rows] == ["empty.jpg", "circle_000.png", "circle_001.jpg"]
    assert rows[0]["error"] == "empty file (0 bytes)"
    assert "circle_000.png" in out
    status, out, _ = run("predict", bundle_path, mixed / "circles", "--csv", "-")
    assert out.startswith("path,label,probability,unknown,error,circles,squares\n")


def test_predict_fails_where_nothing_could_be_read(run, bundle_path: Path, mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    for asked, says in (
        (mixed / "empty.jpg", "The picture could not be read: "),
        (mixed / "none.jpg", "No such file or folder"),
        (tmp_path / "nothing", "There is no picture in"),
    ):
        status, _, err = run("predict", bundle_path, asked)
        assert status == 1
        assert says in err
        assert len(err.splitlines()) == 1


def test_a_dry_run_writes_nothing(run, photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, _ = run("train", photos, *TINY, "--dry-run", "--cache", tmp_path / "cache")
    assert status == 0
    assert "64 for training, 8 for validation, 8 for test" in out
    assert "Nothing was written." in out
    assert os.listdir(tmp_path) == []


def test_the_cache_is_listed_and_cleared(run, photos: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    status, *_ = run("train", photos, "-o", tmp_path / "a.tellapart", *TINY, "--cache", cache)
    assert status == 0
    _, out, _ = run("cache", "list", "--cache", cache, "--json", "-")
    assert [(each["n_pictures"], each["size_px"]) for each in json.loads(out)] == [(80, 32)]
    _, out, _ = run("cache", "clear", "--cache", cache)
    assert "Freed" in out
    _, out, _ = run("cache", "list", "--cache", cache)
    assert "holds no pictures" in out


def test_ctrl_c_saves_what_was_learned(make_photos, tmp_path: Path) -> None:
    folder, bundle = make_photos(tmp_path / "photos", n=60), tmp_path / "half.tellapart"
    arguments = ["train", str(folder), "-o", str(bundle), *TINY[:4], "--epochs", "2000", "--tensorboard", "log"]
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").exists() and time.monotonic() < deadline:
        time.sleep(0.2)  # TensorBoard's log appears when training begins
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Stopped by you before epoch 2000" in out
    assert shell("info", bundle).returncode == 0


# What is refused


def test_wrong_usage_exits_2(run, photos: Path, tmp_path: Path) -> None:
    for arguments, says in (
        (["predct"], "Did you mean predict?"),
        (["train"], "PHOTOS"),
        (["train", photos, "--no-such"], "No such option"),
        (["train", photos, "--size", "100"], "multiple of 32 from 32 to 512; got 100. Try --size 96."),
        (["train", photos, "--epochs", "0"], "epochs must be a whole number from 1"),
        (["train", photos, "--recipe", "magic"], "--recipe must be one of"),
        (["train", photos, "--recipe", "scratch", "--conv", "8"], "--conv goes with --recipe tutorial"),
        (["train", photos, "--recipe", "tutorial", "--conv", "a,b"], "whole numbers with commas"),
        (["predict", "m", "p", "--csv", "-", "--json", "-"], "Only one of --csv and --json"),
    ):
        status, _, err = run(*arguments)
        assert status == 2, (arguments, err)
        assert says in err


def test_outputs_that_exist_are_refused(run, bundle_path: Path, photos: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for arguments in (
        ["train", photos, "-o", taken, *TINY],
        ["evaluate", bundle_path, photos, "--json", taken],
        ["predict", bundle_path, photos, "--csv", taken],
        ["info", bundle_path, "--json", taken],
    ):
        status, _, err = run(*arguments)
        assert status == 1
        assert "taken exists already" in err
        assert taken.read_text() == "mine"
    status, *_ = run("info", bundle_path, "--json", taken, "--force")
    assert status == 0
    assert json.loads(taken.read_text())["classes"] == ["circles", "squares"]


def test_an_error_is_one_line_and_a_traceback_only_on_demand(run, tmp_path: Path) -> None:
    status, out, err = run("train", tmp_path / "none")
    assert (status, out) == (1, "")
    assert err.startswith("Error: No such folder:")
    assert len(err.splitlines()) == 1
    status, _, err = run("train", tmp_path / "none", "--debug")
    assert status == 1
    assert "Traceback" in err


def test_a_reader_that_leaves_early_gets_no_traceback(bundle_path: Path, photos: Path) -> None:
    command = f"{' '.join(COMMAND)} predict {bundle_path} {photos} {photos} {photos} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_narrow_terminal_and_a_plain_locale_do_not_matter(bundle_path: Path, tmp_path: Path, make_photos) -> None:
    folder = make_photos(tmp_path / "größe 図", n=1)
    plain = {**os.environ, "COLUMNS": "40", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = shell("predict", bundle_path, folder, env=plain)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3  # a line a picture, whatever its length, and the counts
