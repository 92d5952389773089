"""The command line as a user meets it: results, streams, exit statuses, one line for an error."""

import csv
import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tellapart
from conftest import TINY
from tellapart import cli, config, metrics

COMMAND = [sys.executable, "-m", "tellapart"]
EVALUATION = {
    "accuracy", "accuracy_interval", "baseline_accuracy", "log_loss", "expected_calibration_error", "classes",
    "per_class", "confusion_matrix", "n", "skipped", "split", "n_trained_on", "accuracy_unseen",
    "balanced_accuracy", "brier_score", "roc_auc", "top_k", "coverage", "accuracy_when_answered", "coverage_curve",
    "reliability", "intervals", "warnings", "slices", "worst_slice", "folds",
}  # fmt: skip
ANSWER = ["path", "label", "probability", "probabilities", "unknown", "error", "reason", "label_set", "strangeness"]


@pytest.fixture
def run(capfdbinary):
    """Run a command in this process: exit status, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capfdbinary.readouterr()  # what came before is not this command's
        with pytest.raises(SystemExit) as exit_:
            cli.main([str(argument) for argument in arguments])
        captured = capfdbinary.readouterr()
        return int(exit_.value.code or 0), captured.out.decode(), captured.err.decode()

    return run


def shell(*arguments: object, environment: dict[str, str] | None = None, **options) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=_environment(environment or {}),
        **{"capture_output": True, "encoding": "utf-8", "timeout": 120, **options},
    )


def _environment(more: dict[str, str]) -> dict[str, str]:
    source = str(Path(tellapart.__file__).parents[1])  # wherever the command is started
    return {**os.environ, "PYTHONPATH": source, **more}


# What is imported, and what is left behind


@pytest.mark.parametrize("arguments", [["--help"], ["predict"], ["info"], ["explain"]])
def test_what_answers_loads_no_keras(bundle_path: Path, photos: Path, tmp_path: Path, arguments: list[str]) -> None:
    picture = next(photos.rglob("*.png"))
    more = {
        "predict": [str(bundle_path), str(picture)],
        "info": [str(bundle_path)],
        "explain": [str(bundle_path), str(picture), "-o", str(tmp_path / "maps")],
    }.get(arguments[0], [])
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


@pytest.mark.parametrize("command", ["predict", "explain", "evaluate", "report"])
def test_numpy_leaves_the_cores_to_decoders_and_network(
    bundle_path: Path, photos: Path, tmp_path: Path, command: str
) -> None:
    """It reads how many threads it may have when it is loaded, so that must be later."""
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl comes with scikit-learn")
    blas = [each for each in threadpoolctl.threadpool_info() if each["internal_api"] == "openblas"]
    if not blas:
        pytest.skip("numpy has another library here")
    arguments = [command, str(bundle_path), str(photos)]
    if command in ("explain", "report"):
        arguments += ["-o", str(tmp_path / "out")]
    code = f"""
import sys
from tellapart.cli import main
assert "numpy" not in sys.modules
try:
    main({arguments!r})
except SystemExit as exit_:
    assert not exit_.code, exit_.code
import threadpoolctl
found = [each["num_threads"] for each in threadpoolctl.threadpool_info() if "numpy" in each["filepath"]]
print("threads:", found)
"""
    environment = _environment({})
    environment.pop("OPENBLAS_NUM_THREADS", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "threads: [1]"


def test_predicting_leaves_nothing_in_the_home_folder(bundle_path: Path, photos: Path, tmp_path: Path) -> None:
    # ONNX Runtime's wheel would put an identifier and a queue of reports there.
    home = tmp_path / "home"
    home.mkdir()
    settings = {"HOME": str(home), "XDG_CACHE_HOME": "", "ORT_DISABLE_TELEMETRY": "0"}
    done = shell("predict", bundle_path, photos / "circles", environment=settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(home.rglob("*")) == []


def test_a_home_that_cannot_be_written_does_not_matter(bundle_path: Path, photos: Path) -> None:
    done = shell("predict", bundle_path, photos / "circles", environment={"HOME": "/proc/none", "XDG_CACHE_HOME": ""})
    assert (done.returncode, done.stderr) == (0, "")


# The main job


def test_train_says_and_writes_what_it_promises(run, photos: Path, tmp_path: Path) -> None:
    bundle, curves = tmp_path / "shapes.tellapart", tmp_path / "curves.csv"
    status, out, err = run("train", photos, "-o", bundle, *TINY, "--json", "-", "--history", curves)
    assert status == 0
    result = json.loads(out)
    assert set(result) == EVALUATION | {
        "findings", "plan", "times", "notes", "training", "train_accuracy", "validation_accuracy", "bundle",
        "resumed_from", "steps_run",
    }  # fmt: skip
    assert (result["resumed_from"], result["steps_run"]) == (None, 2)  # 64 pictures, 32 a step
    assert result["bundle"] == str(bundle)
    assert result["plan"]["pictures"] == {"train": 64, "validation": 8, "test": 8}
    assert (result["plan"]["size_px"], result["plan"]["channels"], result["plan"]["dense"]) == (32, [4, 8], [8])
    assert set(result["times"]) == {"read", "check", "start", "decode", "train", "evaluate", "save", "total"}
    parts = sum(seconds for name, seconds in result["times"].items() if name != "total")
    assert parts <= result["times"]["total"] <= parts + 1
    assert set(result["training"]) == {
        "epochs", "best_epoch", "pictures_per_epoch", "pictures_seen", "precision", "seconds", "interrupted",
        "epoch_seconds", "unused",
    }  # fmt: skip
    assert (result["training"]["epochs"], result["training"]["pictures_seen"]) == (1, 64)
    assert sum(map(sum, result["confusion_matrix"])) == result["n"] == 8
    assert (result["split"], result["n_trained_on"], result["skipped"]) == ("test", 0, [])
    assert err == "The tutorial's network and settings, as asked for.\n"
    (row,) = csv.DictReader(curves.read_text().splitlines())
    assert set(row) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    status, out, _ = run("info", bundle)
    assert status == 0
    assert "circles, squares" in out
    assert "seed 0, 1 epoch\n" in out


def test_a_policy_from_a_file_stands_in_the_bundle(run, photos: Path, tmp_path: Path) -> None:
    bundle, policy = tmp_path / "shapes.tellapart", tmp_path / "mine.toml"
    policy.write_text("rotation_deg = 20\nerase = 0.5\ncontrast = 0.5\nflip = false\n")
    assert run("train", photos, "-o", bundle, *TINY, "--augment", policy)[0] == 0
    recipe = json.loads(run("info", bundle, "--json", "-")[1])["provenance"]["recipe"]
    assert (recipe["augment"], recipe["flip"]) == ("own", False)
    kept = config.Recipe.from_dict(recipe)
    assert kept.policy == tellapart.Augmentation(rotation_deg=20, erase=0.5, contrast=0.5, flip=False)
    status, out, err = run("train", photos, "-o", tmp_path / "b", *TINY, "--augment", tmp_path / "none.toml")
    assert (status, out) == (1, "")
    assert f"The augmentation file '{tmp_path}/none.toml' must be a file; there is none." in err


def test_training_is_named_after_its_folder_and_repeats_with_its_seed(run, make_photos, tmp_path, monkeypatch) -> None:
    folder = make_photos(tmp_path / "pets", n=6)
    monkeypatch.chdir(folder)  # "." has a name too
    status, out, _ = run("train", ".", *TINY, "--seed", "7", "--json", "first.json")
    assert status == 0
    assert out.endswith("Saved: pets.tellapart\n")
    monkeypatch.chdir(tmp_path)
    assert run("train", "pets/", *TINY, "--seed", "7", "--json", "second.json")[0] == 0
    assert (tmp_path / "pets.tellapart").is_file()
    first, second = (json.loads(path.read_text()) for path in (folder / "first.json", tmp_path / "second.json"))
    for field in sorted(EVALUATION):
        assert first[field] == second[field], field


def test_evaluate_has_the_fields_of_the_contract(run, bundle_path: Path, photos: Path) -> None:
    status, out, err = run("evaluate", bundle_path, photos, "--json", "-")
    result = json.loads(out)
    assert (status, err) == (0, "")
    assert set(result) == EVALUATION
    assert (result["n"], result["n_trained_on"], result["baseline_accuracy"]) == (80, 64, 0.5)
    assert (result["classes"], result["split"], result["skipped"]) == (["circles", "squares"], None, [])
    # From what `predict` answers to the same files, all of it follows.
    _, out, _ = run("predict", bundle_path, photos, "--json", "-")
    answers = json.loads(out)
    right = [Path(answer["path"]).parent.name for answer in answers]
    table = {(a, b): 0 for a in result["classes"] for b in result["classes"]}
    for label, answer in zip(right, answers, strict=True):
        table[label, max(answer["probabilities"], key=answer["probabilities"].get)] += 1
    (cc, cs), (sc, ss) = result["confusion_matrix"]
    assert [cc, cs, sc, ss] == list(table.values())
    assert result["accuracy"] == (cc + ss) / 80
    assert result["accuracy_interval"] == pytest.approx(metrics.wilson_interval(cc + ss, 80))
    loss = np.mean([-math.log(a["probabilities"][label]) for label, a in zip(right, answers, strict=True)])
    assert result["log_loss"] == pytest.approx(loss)
    squares = result["per_class"]["squares"]
    assert set(squares) == {"precision", "recall", "f1", "support", "precision_interval", "recall_interval"}
    assert squares["recall_interval"] == pytest.approx(metrics.wilson_interval(ss, 40))
    assert (squares["support"], squares["recall"]) == (40, ss / 40)
    assert squares["precision"] == pytest.approx(ss / (cs + ss))
    assert squares["f1"] == pytest.approx(2 * ss / (40 + cs + ss))


def test_evaluate_says_how_many_pictures_were_trained_on(run, bundle_path: Path, photos: Path) -> None:
    status, out, _ = run("evaluate", bundle_path, photos)
    assert status == 0
    assert "64 of these pictures were trained on" in out
    assert "Without them:" in out
    assert "Always answering the commonest class would reach 50.0%" in out


def test_evaluate_by_a_column_of_the_table(run, bundle_path: Path, photos: Path, tmp_path: Path) -> None:
    rows = [f"{path},{path.parent.name},{'ab'[i % 2]},{i}" for i, path in enumerate(sorted(photos.rglob("*.*")))]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["file,label,camera,number", *rows]) + "\n")
    status, out, _ = run("evaluate", bundle_path, photos, "--labels", table, "--slice", "camera", "--json", "-")
    assert status == 0
    cameras = [each for each in json.loads(out)["slices"] if each["by"] == "camera"]
    assert [(each["name"], each["n"]) for each in cameras] == [("a", 40), ("b", 40)]
    status, _, err = run("evaluate", bundle_path, photos, "--labels", table, "--slice", "kamera")
    assert status == 1
    assert "--slice" in err
    assert "Did you mean 'camera'?" in err
    assert run("evaluate", bundle_path, photos, "--slice", "camera")[0] == 2


def test_train_by_folds(run, tmp_path: Path, photos: Path) -> None:
    options = ["--recipe", "transfer", "--backbone", "efficientnet-lite0", "--size", "64", "--k-fold", "3"]
    status, out, _ = run("train", photos, "-o", tmp_path / "m.tellapart", *options)
    assert status == 0
    assert "on 80 pictures by cross-validation" in out
    assert "Each picture was answered by a model that had not learned from it: 3 folds" in out
    assert run("train", photos, "-o", tmp_path / "n.tellapart", "--k-fold", "1")[0] == 2


def test_results_go_to_files_and_words_to_the_terminal(run, bundle_path: Path, photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "numbers.json"
    status, out, err = run("evaluate", bundle_path, photos, "--json", target)
    assert (status, err) == (0, "")
    assert out.startswith("Accuracy ")
    assert set(json.loads(target.read_bytes())) == EVALUATION


def test_info_shows_the_manifest(run, bundle_path: Path) -> None:
    status, out, err = run("info", bundle_path, "--json", "-")
    manifest = json.loads(out)
    assert (status, err) == (0, "")
    assert next(iter(manifest)) == "format_version"
    assert set(manifest) == {
        "format_version", "format", "classes", "preprocess", "temperature", "abstention", "metrics", "training",
        "provenance", "members",
    }  # fmt: skip
    status, out, _ = run("info", bundle_path)
    fingerprint = manifest["provenance"]["catalog_fingerprint"]
    assert [line for line in out.splitlines() if fingerprint in line], "a row is one line where there is no terminal"
    assert not any(line.endswith(" ") for line in out.splitlines())


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
    status, out, err = run("predict", bundle_path, mixed, "--json", "-")
    rows = json.loads(out)
    assert (status, err) == (0, "")
    assert [Path(row["path"]).name for row in rows] == [
        "circle_000.png", "circle_001.jpg", "cut.png", "empty.jpg", "loop", "page.jpg", "pipe.jpg",
        "square_000.png", "square_001.jpg",
    ]  # fmt: skip
    for row in rows:
        assert list(row) == ANSWER
        assert row["unknown"] is False
        if row["error"] is None:
            assert set(row["probabilities"]) == {"circles", "squares"}
            assert sum(row["probabilities"].values()) == pytest.approx(1)
            assert row["probability"] == max(row["probabilities"].values()) == row["probabilities"][row["label"]]
        else:
            assert (row["label"], row["probability"], row["probabilities"]) == (None, None, {})
    assert [row["error"] for row in rows if row["error"]] == [
        "truncated: the file ends before the picture does",
        "empty file (0 bytes)",
        "a symbolic link to a folder above itself (a loop)",
        "not a picture: it begins like HTML",
        "not a regular file (a FIFO)",
    ]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_with_a_carriage_return_stays_in_its_row(run, bundle_path: Path, mixed: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a\rb.png"
    odd.write_bytes((mixed / "circles" / "circle_000.png").read_bytes())
    assert run("predict", bundle_path, odd, "--csv", tmp_path / "answers.csv")[0] == 0
    with open(tmp_path / "answers.csv", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [str(odd)]


def test_predict_writes_csv(run, bundle_path: Path, mixed: Path, tmp_path: Path) -> None:
    target, both = tmp_path / "answers.csv", tmp_path / "answers.json"
    asked = [mixed / "squares" / "square_001.jpg", mixed / "empty.jpg", mixed / "circles", mixed / "empty.jpg"]
    status, out, _ = run("predict", bundle_path, *asked, "--csv", target, "--json", both)
    assert status == 0
    rows = list(csv.DictReader(target.read_text().splitlines()))
    assert list(rows[0]) == ["path", "label", "probability", "unknown", "error", "circles", "squares"]
    names = ["square_001.jpg", "empty.jpg", "circle_000.png", "circle_001.jpg", "empty.jpg"]  # as asked, twice too
    assert [Path(row["path"]).name for row in rows] == names
    assert list(rows[1].values())[1:] == ["", "", "false", "empty file (0 bytes)", "", ""]
    for row, answer in zip(rows, json.loads(both.read_bytes()), strict=True):
        assert (row["path"], row["label"]) == (answer["path"], answer["label"] or "")
        if answer["error"] is None:
            for name, probability in (("probability", answer["probability"]), *answer["probabilities"].items()):
                assert float(row[name]) == pytest.approx(probability, abs=5e-7)
    assert [line.split(": ")[0] for line in out.splitlines()[:5]] == [row["path"] for row in rows]
    assert "not read: 2" in out.splitlines()[5]
    status, out, _ = run("predict", bundle_path, mixed / "circles", "--csv", "-")
    assert len(list(csv.reader(io.StringIO(out)))) == 3
    assert out.startswith("path,label,probability,unknown,error,circles,squares\n")


def test_predict_fails_where_nothing_could_be_read(run, bundle_path: Path, mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    for asked, says in (
        ([mixed / "empty.jpg"], f"The picture could not be read: {mixed}/empty.jpg: empty file (0 bytes)."),
        ([mixed / "page.jpg", mixed / "cut.png"], f"None of 2 pictures could be read, e.g. {mixed}/page.jpg: "),
        ([mixed / "none.jpg"], f"No such file or folder: {mixed}/none.jpg."),
        ([mixed / "circles", mixed / "none.jpg"], f"No such file or folder: {mixed}/none.jpg."),
        ([""], "No such file or folder: ''."),
        ([tmp_path / "nothing"], f"There is no picture in {tmp_path}/nothing."),
    ):
        status, _, err = run("predict", bundle_path, *asked)
        assert status == 1
        assert err.startswith(f"Error: {says}")
        assert len(err.splitlines()) == 1
    # What there is gets its row all the same.
    status, out, _ = run("predict", bundle_path, mixed / "none.jpg", mixed / "circles", "--csv", "-")
    assert status == 1
    assert len(out.splitlines()) == 4


def test_predict_copies_each_picture_to_its_class(run, bundle_path: Path, mixed: Path, tmp_path: Path) -> None:
    to = tmp_path / "sorted"
    before = {path: path.stat() for path in mixed.rglob("*.[jp]*")}
    status, out, err = run("predict", bundle_path, mixed, "--copy-to", to)
    assert (status, err) == (0, "")
    counts = {name: len(list((to / name).iterdir())) for name in sorted(os.listdir(to))}
    assert counts["unreadable"] == 3  # of the five that are not read, the loop and the pipe are no files
    assert sum(counts.values()) == 7
    said = ", ".join(f"{name} {n}" for name, n in counts.items())
    assert out.splitlines()[-2:] == [
        f"Copied to {to}: {said}.",
        f"Not copied: 2, e.g. {mixed}/loop: a symbolic link to a folder above itself (a loop).",
    ]
    after = {path: path.stat() for path in mixed.rglob("*.[jp]*")}
    assert {path: (s.st_ino, s.st_mtime_ns, s.st_size) for path, s in before.items()} == {
        path: (s.st_ino, s.st_mtime_ns, s.st_size) for path, s in after.items()
    }
    status, out, err = run("predict", bundle_path, mixed, "--copy-to", to)
    assert (status, out) == (1, "")
    assert err == f"Error: The folder {to} must be new or empty; it is not. Name another, or add --force.\n"
    status, out, err = run("predict", bundle_path, mixed, mixed / "none.jpg", "--copy-to", to, "--force", "--csv", "-")
    assert status == 1  # the missing one is named
    assert len(list(csv.DictReader(io.StringIO(out)))) == 10
    assert err.startswith(f"Copied to {to}: {said}.\nNot copied: 3, e.g. ")
    assert err.endswith(f"Error: No such file or folder: {mixed}/none.jpg. Give paths that exist.\n")
    assert len(list((to / "unreadable").iterdir())) == 6


def test_copying_refuses_before_it_answers(run, bundle_path: Path, photos: Path, tmp_path: Path) -> None:
    for to, says in (
        (photos, "must be new or empty"),
        (tmp_path / "no" / "such", f"there is no {tmp_path}/no"),
        (bundle_path, "must be a folder; it is none"),
    ):
        status, out, err = run("predict", bundle_path, photos, "--copy-to", to)
        assert (status, out) == (1, "")
        assert says in err
        assert len(err.splitlines()) == 1
    status, out, err = run("predict", bundle_path, photos / "circles", "--copy-to", photos, "--force")
    assert (status, out) == (1, "")
    assert "must not go where their originals are" in err
    assert run("predict", bundle_path, tmp_path, "--copy-to", tmp_path / "new")[0] == 1  # no picture
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_writes_nothing(run, photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, _ = run("train", photos, *TINY, "--dry-run", "--cache", tmp_path / "cache")
    assert status == 0
    assert "64 for training, 8 for validation, 8 for test" in out
    assert "1 epoch, batches of 32, adadelta at 1, float32." in out
    assert "Nothing was written." in out
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_show_augment_draws_and_does_no_more(run, photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["train", photos, "--augment", "strong", "--size", "32", "--seed", "6"]
    status, out, err = run(*asked, "--show-augment", "sheet.png", "--cache", tmp_path / "cache")
    assert (status, out, err) == (0, "Written: sheet.png\n", "")
    assert os.listdir(tmp_path) == ["sheet.png"]
    with Image.open("sheet.png") as drawn:
        expected = tellapart.show_augment(photos, augment="strong", size=32, seed=6, progress=False)
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(expected))
    before = Path("sheet.png").read_bytes()
    status, out, err = run(*asked, "--show-augment", "sheet.png")
    assert (status, out) == (1, "")
    assert err == "Error: sheet.png exists already. Name another file, or add --force to replace it.\n"
    assert Path("sheet.png").read_bytes() == before
    status, out, _ = run(*asked[:-1], "7", "--show-augment", "sheet.png", "--force", "--json", "-")
    assert status == 0
    assert Path("sheet.png").read_bytes() != before
    said = json.loads(out)
    assert (said["seed"], said["sheet"], said["recipe"]["augment"]) == (7, "sheet.png", "strong")
    assert len(said["pictures"]) == 8


def test_show_augment_needs_no_keras(photos: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from tellapart.cli import main
try:
    main(["train", {str(photos)!r}, "--show-augment", {str(tmp_path / "a.png")!r}])
except SystemExit as exit_:
    assert not exit_.code, exit_.code
print(sorted({{"keras", "tensorflow", "sklearn"}} & set(sys.modules)))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"


def test_the_cache_is_listed_and_cleared(run, photos: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    status, *_ = run("train", photos, "-o", tmp_path / "a.tellapart", *TINY, "--cache", cache)
    assert status == 0
    _, out, _ = run("cache", "list", "--cache", cache, "--json", "-")
    assert sorted((each["n_pictures"], each["size_px"]) for each in json.loads(out)) == [(80, 32), (80, 96)]
    _, out, _ = run("cache", "clear", "--cache", cache)
    assert "Freed" in out
    _, out, _ = run("cache", "list", "--cache", cache)
    assert "holds no pictures" in out


# Ctrl-C


def test_ctrl_c_saves_what_was_learned(make_photos, tmp_path: Path) -> None:
    folder, bundle = make_photos(tmp_path / "photos", n=60), tmp_path / "half.tellapart"
    # The command itself, but for a file that says when the first epoch is over.
    code = """
import sys
from tellapart import progress
def update(self, stage, done, total, detail=""):
    if stage == "Training" and detail:
        open("begun", "w").close()
progress.TerminalProgress.update = update
from tellapart.cli import main
main(sys.argv[1:])
"""
    arguments = ["train", folder, "-o", bundle, *TINY, "--epochs", "9999"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=tmp_path, env=_environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, err
    assert "Stopped by you before epoch 9999: this is what was learned so far." in out
    assert out.endswith(f"Saved: {bundle}\n")
    assert "Traceback" not in err
    assert shell("info", bundle).returncode == 0


def test_ctrl_c_before_the_first_epoch_is_not_forgotten(photos: Path) -> None:
    import keras

    class Impatient(keras.callbacks.Callback):
        def set_model(self, model) -> None:
            super().set_model(model)
            os.kill(os.getpid(), signal.SIGINT)  # after this, `fit` says to itself that it need not stop

    model = tellapart.train(
        photos, recipe="tutorial", size=32, conv=(4,), dense=(4,), epochs=200, callbacks=[Impatient()], progress=False,
        precision="float32",
    )  # fmt: skip
    assert model.report["training"]["interrupted"]
    assert model.report["training"]["epochs"] == 1


@pytest.mark.parametrize("stage", ["catalog.scan", "pipeline.prepare", "learning.require_keras"])
def test_ctrl_c_before_anything_was_learned(run, photos: Path, tmp_path: Path, monkeypatch, stage: str) -> None:
    def press(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)  # here Python notices

    monkeypatch.setattr(f"tellapart.{stage}", press)
    target = tmp_path / "never.tellapart"
    status, out, err = run("train", photos, "-o", target, *TINY)
    assert (status, out, err.splitlines()[-1]) == (130, "", "Stopped.")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_no_half_table(run, bundle_path: Path, photos: Path, tmp_path: Path, monkeypatch) -> None:
    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tellapart.predict.csv_row", press)
    status, *_ = run("predict", bundle_path, photos, "--csv", tmp_path / "a.csv")
    assert status == 130
    assert list(tmp_path.iterdir()) == []


# What is refused


def test_wrong_usage_exits_2(run, photos: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange.toml"
    strange.write_text("zom = 0.2")
    for arguments, says in (
        (["predct"], "No such command 'predct'. Did you mean predict?"),
        (["cache", "lst"], "Did you mean list?"),
        (["train"], "Missing argument 'PHOTOS'. See: tellapart train --help"),
        (["train", photos, "--no-such"], "No such option '--no-such'."),
        (["train", photos, "--size", "100"], "--size must be a multiple of 32 from 32 to 512; got 100. Try --size 96."),
        (["train", photos, "--size", "big"], "'--size'"),
        (["train", photos, "--epochs", "0"], "--epochs must be a whole number from 1 to 10000; got 0."),
        (["train", photos, "--learning-rate", "0"], "--learning-rate must be a number from 1e-08 to 100.0; got 0.0."),
        (["train", photos, "--learning-rate", "nan"], "--learning-rate must be"),
        (["train", photos, "--dropout", "1"], "--dropout must be a number from 0.0 to 0.95; got 1.0."),
        (["train", photos, "--batch-size", "0"], "--batch-size must be"),
        (["train", photos, "--patience", "0"], "--patience must be"),
        (["train", photos, "--optimizer", "adm"], "--optimizer must be one of"),
        (
            ["train", photos, "--augment", "strnog"],
            "--augment must be one of none, light, strong, tutorial, crop, or a",
        ),
        (
            ["train", photos, "--augment", strange],
            f"In '{strange}', every key must be a way to vary pictures; got 'zom'.",
        ),
        (
            ["train", photos, "--recipe", "magic"],
            "--recipe must be one of auto, transfer, tutorial, scratch, or FILE.toml; got 'magic'.",
        ),
        (["train", photos, "--recipe", "scratch", "--conv", "8"], "--conv goes with --recipe tutorial"),
        (["train", photos, "--recipe", "tutorial", "--conv", "a,b"], "whole numbers with commas"),
        (["train", photos, "--recipe", "tutorial", "--conv", "0"], "--conv must be a whole number from 1 to 2048"),
        (["train", photos, "--label-column", "x"], "Give the table with --labels."),
        (["train", photos, "-o", "same", "--json", "./same"], "--output and --json are both ./same."),
        (["train", photos, "-o", "a", "--json", "b", "--history", "b"], "--json and --history are both b."),
        (["train", photos, "--dry-run", "--show-augment", "a.png"], "Only one of --dry-run and --show-augment"),
        (["train", photos, "--show-augment", "a", "--json", "./a"], "--show-augment and --json are both ./a."),
        (["evaluate", "m", photos, "--split", "foo"], "'foo' is not one of"),
        (["predict", "m"], "Missing argument 'PICTURES...'."),
        (["predict", "m", "p", "--csv", "-", "--json", "-"], "Only one of --csv and --json can be standard output."),
        (["predict", "m", "p", "--csv", "a", "--json", "a"], "--csv and --json are both a."),
        (["predict", "m", "p", "--csv", "a", "--copy-to", "./a"], "--csv and --copy-to are both ./a."),
    ):
        status, out, err = run(*arguments)
        assert (status, out) == (2, ""), (arguments, err)
        assert says in err
        assert len(err.splitlines()) == 1, err
        assert err.startswith("Error: ")


def test_without_a_command_there_is_help(run) -> None:
    status, _, err = run()
    assert status == 2
    assert "Begin with: tellapart train PHOTOS" in err
    status, out, _ = run("--help")
    assert status == 0
    places = [out.index(f"  {name} ") for name in ("train", "evaluate", "predict", "info", "cache", "demo")]
    assert places == sorted(places)
    assert run("--version")[1] == f"tellapart, version {tellapart.__version__}\n"


def test_a_backend_that_there_is_not_is_named() -> None:
    code = "from tellapart.classifier import require_keras; require_keras()"
    asked = _environment({"KERAS_BACKEND": "caffe"})
    done = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True)
    assert "SettingsError: Keras' backend must be tensorflow, jax or torch" in done.stderr


def test_outputs_that_exist_are_refused(run, bundle_path: Path, photos: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for arguments in (
        ["train", photos, "-o", taken, *TINY],
        ["train", photos, "--json", taken, *TINY],
        ["train", photos, "--history", taken, *TINY],
        ["evaluate", bundle_path, photos, "--json", taken],
        ["predict", bundle_path, photos, "--csv", taken],
        ["predict", bundle_path, photos, "--json", taken],
        ["info", bundle_path, "--json", taken],
        ["cache", "list", "--json", taken],
    ):
        status, out, err = run(*arguments)
        assert (status, out) == (1, "")
        assert err == f"Error: {taken} exists already. Name another file, or add --force to replace it.\n"
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


@pytest.mark.parametrize("name", ["/tmp/tellapart-x/00001.png", None])
def test_a_refusal_that_no_stage_expects_says_what_to_do(run, bundle_path: Path, monkeypatch, name: str | None) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", name)

    monkeypatch.setattr("tellapart.bundle.read", full)
    status, _, err = run("info", bundle_path)
    assert status == 1
    assert err.startswith(
        f"Error: {name or 'A file'} could not be read or written: no space left on device. Make room,"
    )
    assert err.endswith("temporary files go where $TMPDIR says.\n")


def test_what_should_not_happen_is_one_line_too(run, bundle_path: Path, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("tellapart.bundle.read", fail)
    status, _, err = run("info", bundle_path)
    assert status == 1
    assert err.startswith("Error: Something went wrong that should not: RuntimeError: two lines.")
    assert len(err.splitlines()) == 1


# Streams


def test_a_reader_that_leaves_early_gets_no_traceback(bundle_path: Path, photos: Path) -> None:
    for more in ("", "--json -", "--csv -"):
        command = f"{' '.join(COMMAND)} predict {bundle_path} {photos} {photos} {photos} {more} | head -n 1"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, env=_environment({}))
        assert len(done.stdout.splitlines()) == 1
        assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_standard_output_is_named(bundle_path: Path, photos: Path, unbuffered: str) -> None:
    for arguments in (["info", bundle_path], ["predict", bundle_path, photos / "circles", "--csv", "-"]):
        with open("/dev/full", "w") as full:
            done = shell(
                *arguments, environment={"PYTHONUNBUFFERED": unbuffered},
                capture_output=False, stdout=full, stderr=subprocess.PIPE,
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == (
            "Error: Standard output could not be written: no space left on device. Make room, or send it elsewhere.\n"
        )


def test_closed_streams_do_not_matter(bundle_path: Path, photos: Path) -> None:
    command = f"{' '.join(COMMAND)} predict {bundle_path} {photos}/circles"
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["bash", "-c", f"{command} {closed}"], capture_output=True, timeout=60, env=_environment({})
        )
        assert (done.returncode, done.stderr) == (0, b""), closed


@pytest.mark.parametrize(
    "settings",
    [
        {"COLUMNS": "40", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1", "NO_COLOR": "1", "PYTHONOPTIMIZE": "2"},
    ],
)
def test_a_plain_locale_and_a_narrow_terminal_do_not_matter(bundle_path, tmp_path, make_photos, settings) -> None:
    folder = make_photos(tmp_path / "größe 図", n=1)
    done = shell("predict", bundle_path, folder, environment=settings, encoding="latin-1")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3  # a line a picture, whatever its length, and the counts
    done = shell("evaluate", bundle_path, folder, environment=settings, encoding="latin-1")
    assert done.returncode == 0, done.stderr
    assert "Right when answered (precision)" in done.stdout  # no terminal, no cut
    assert (done.stderr, "\x1b" in done.stdout) == ("", False)  # no bars, no colours
    # What is for machines is UTF-8 everywhere.
    for more in (["--json", "-"], ["--csv", "-"]):
        out = shell("predict", bundle_path, folder, *more, environment=settings, encoding="utf-8").stdout
        paths = [row["path"] for row in (json.loads(out) if more[0] == "--json" else csv.DictReader(io.StringIO(out)))]
        assert [os.fsencode(path).decode() for path in paths] == sorted(map(str, folder.rglob("*.png")))


def test_a_name_that_is_no_text_stays_one_line_and_valid_json(run, bundle_path, photos: Path, tmp_path: Path) -> None:
    source = photos / "circles" / "circle_000.png"
    path = os.fsdecode(os.fsencode(tmp_path) + b"/a\xff\n\x1bb.png")
    Path(path).write_bytes(source.read_bytes())
    status, out, _ = run("predict", bundle_path, tmp_path)
    assert status == 0
    assert out.startswith(rf"{tmp_path}/a\udcff\n\x1bb.png: ")
    assert len(out.splitlines()) == 1
    (answer,) = json.loads(run("predict", bundle_path, tmp_path, "--json", "-")[1])
    assert answer["path"] == path
    run("predict", bundle_path, path, "--csv", tmp_path / "a.csv")
    assert b"a\xff\n\x1bb.png" in (tmp_path / "a.csv").read_bytes()


def test_predict_can_be_asked_to_be_sure(run, bundle_path: Path, photos: Path, tmp_path: Path) -> None:
    shots, rows = photos / "circles", tmp_path / "rows.csv"
    code, out, _ = run("predict", bundle_path, shots, "--answer", "10%", "--coverage", "0.6", "--csv", rows)
    assert code == 0
    assert "unknown: not sure enough: " in out
    assert "; one of: " in out
    with open(rows, newline="") as file:
        table = list(csv.DictReader(file))
    assert sum(row["unknown"] == "true" for row in table) > 10
    assert all((row["label"] == "") is (row["unknown"] == "true") for row in table)
    assert {row["label_set"] for row in table} <= {"circles", "squares", "circles; squares", "squares; circles"}


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--sure", "0.999"], 2, "`sure` 0.999 needs at least 999 held-out pictures to be told"),
        (["--sure", "0.9", "--answer", "0.9"], 2, "Only one of `sure` and `answer` can be asked for"),
        (["--coverage", "2"], 2, "must be a share above 0 and up to 1, like 0.95 or 95%; got '2'"),
        (["--answer", "many"], 2, "must be a share above 0 and up to 1"),
    ],
)
def test_what_cannot_be_promised_is_said(run, bundle_path: Path, photos: Path, options, code, message) -> None:
    status, _, said = run("predict", bundle_path, photos, *options)
    assert status == code
    assert message in said


def test_a_model_can_be_trained_to_be_sure(run, photos: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.tellapart"
    code, _, said = run("train", photos, "-o", model, *TINY, "--answer", "0.5")
    assert code == 0, said
    code, out, _ = run("info", model, "--json", "-")
    told = json.loads(out)["abstention"]
    assert (told["answer"], told["sure"]) == (0.5, None)
    assert told["confidence"] > 0.4
    code, _, said = run("train", photos, "-o", model, *TINY, "--sure", "0.999", "--force")
    assert code == 0
    assert "It answers whatever looks like one of the classes, since `sure` 0.999 needs at least 999" in said
