"""The demo: the digits as they are in scikit-learn, a run from end to end, and what it leaves alone."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import tellapart
from tellapart import demo
from tellapart.errors import InputError, MissingPackageError, OutputError

DIGITS = tuple("0123456789")


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder, by its path there, with its hash."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "photos"
    demo.write_digits(folder)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work") / "new" / "demo"


@pytest.fixture(scope="module")
def result(home: Path) -> demo.DemoResult:
    return demo.run(None, home, recipe="tutorial", epochs=2, progress=False)


@pytest.fixture
def few(tmp_path: Path, digits: Path) -> Path:
    """A small folder of a user's own: 0 and 1, twenty each."""
    for name in ("0", "1"):
        target = tmp_path / "mine" / name
        target.mkdir(parents=True)
        for path in sorted((digits / name).iterdir())[:20]:
            (target / path.name).write_bytes(path.read_bytes())
    return tmp_path / "mine"


def test_every_digit_is_a_grey_png_with_the_levels_of_scikit_learn(digits: Path) -> None:
    bunch: Any = load_digits()
    names = {f"{digit}/{i:04d}.png" for i, digit in enumerate(bunch.target)}
    assert len(names) == 1797
    assert set(contents(digits)) == names
    for i, digit in enumerate(bunch.target):
        with Image.open(digits / str(digit) / f"{i:04d}.png") as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (8, 8))
            # 16 levels up to 255: 255 / 16 = 15.9375 each, so every level comes back by a division.
            np.testing.assert_array_equal(np.rint(np.asarray(image) / 15.9375), bunch.images[i])
    with Image.open(digits / "0" / "0000.png") as image:  # the first picture, 0 0 5 13 9 1 0 0 in its first row
        assert np.asarray(image)[0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    assert sorted(each.name for each in digits.parent.iterdir()) == ["photos"]


def test_digits_that_are_there_stay_and_lost_ones_come_back(tmp_path: Path, digits: Path) -> None:
    folder = tmp_path / "photos"
    demo.write_digits(folder)
    before = contents(folder)
    (folder / "3" / "0003.png").unlink()
    for path in (folder / "7").iterdir():
        path.unlink()
    (folder / "7").rmdir()
    kept = folder / "5" / "0005.png"
    os.utime(kept, (1, 1))
    (folder / ".DS_Store").write_bytes(b"a system's own")
    demo.write_digits(folder)
    assert contents(folder) == {**before, ".DS_Store": hashlib.sha256(b"a system's own").hexdigest()}
    assert before == contents(digits)
    assert kept.stat().st_mtime == 1
    assert [each.name for each in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("strange", ["cats/1.jpg", "notes.txt", "3/0003.png", "0/0001.png", "photos"])
def test_a_folder_with_anything_else_is_left_alone(tmp_path: Path, strange: str) -> None:
    folder = tmp_path / "photos"
    if strange == "photos":
        folder.write_bytes(b"a file")
    else:
        (folder / strange).parent.mkdir(parents=True)
        Image.new("L", (8, 8), 200).save(folder / strange, "PNG")
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="must hold the demo's digits and nothing else") as caught:
        demo.run(None, tmp_path, force=True, progress=False)
    assert strange.split("/")[0] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


def test_digits_that_cannot_be_written_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def png(pixels: np.ndarray) -> bytes:
        drawn.append(pixels)
        if len(drawn) == 5:
            raise OSError(28, "No space left on device")
        return b"half"

    monkeypatch.setattr(demo, "_png", png)
    with pytest.raises(OutputError, match=r"could not be written to .*photos: no space left on device"):
        demo.write_digits(tmp_path / "photos")
    assert not list(tmp_path.iterdir())


def test_without_scikit_learn_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        MissingPackageError, match=r"scikit-learn must be installed .* pip install 'tellapart\[train\]'"
    ):
        demo.run(None, tmp_path / "demo", progress=False)
    assert not list(tmp_path.iterdir())


def test_a_run_leaves_photos_bundle_and_sheet(home: Path, result: demo.DemoResult, digits: Path) -> None:
    assert result.paths == (home / "photos", home / "model.tellapart", home / "sheet.png", home / "report.html")
    assert sorted(each.name for each in home.iterdir()) == ["model.tellapart", "photos", "report.html", "sheet.png"]
    assert contents(home / "photos") == contents(digits)
    assert result.report["training"]["epochs"] == 2
    assert sum(result.report["plan"]["pictures"].values()) == 1797


def test_the_bundle_answers_as_it_was_evaluated(home: Path, result: demo.DemoResult) -> None:
    loaded = tellapart.load(home / "model.tellapart")
    assert loaded.classes == result.classifier.classes == DIGITS
    assert loaded.metrics["test"]["accuracy"] == result.evaluation.accuracy
    assert result.evaluation.accuracy > 0.5  # five times what guessing reaches
    assert 165 <= result.evaluation.n <= 195  # a tenth
    for one in result.predictions:
        row = result.evaluation.probabilities[result.evaluation.paths.index(one.path)]
        np.testing.assert_allclose(list(one.probabilities.values()), row, atol=1e-5)
        assert loaded.predict(one.path) == one


def test_one_test_picture_of_each_class_is_answered_the_first_by_path(result: demo.DemoResult) -> None:
    assert result.truths == DIGITS
    assert len(result.predictions) == 10
    for truth, one in zip(result.truths, result.predictions, strict=True):
        assert Path(one.path).parent.name == truth
        assert one.path == min(path for path in result.evaluation.paths if Path(path).parent.name == truth)
        assert one.error is None


def test_the_sheet_shows_these_pictures(home: Path, result: demo.DemoResult) -> None:
    with Image.open(home / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape[1] == 2 * 24 + 5 * 160 + 4 * 20
    for i in range(5):  # the first row, below the title
        with Image.open(result.predictions[i].path) as image:
            levels = np.kron(np.asarray(image), np.ones((20, 20), np.uint8))
        x = 24 + i * 180
        np.testing.assert_array_equal(pixels[24 + 39 : 24 + 39 + 160, x : x + 160], levels[..., None].repeat(3, 2))


def test_nothing_is_replaced_without_force(home: Path, result: demo.DemoResult) -> None:
    before = contents(home)
    with pytest.raises(OutputError, match=r"model\.tellapart exists already.*--force"):
        demo.run(None, home, epochs=1, progress=False)
    assert contents(home) == before


def test_a_sheet_alone_is_refused_before_the_training(tmp_path: Path, few: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "sheet.png").write_bytes(b"somebody's")
    with pytest.raises(OutputError, match=r"sheet\.png exists already"):
        demo.run(few, tmp_path / "demo", epochs=1, progress=False)
    assert contents(tmp_path / "demo").keys() == {"sheet.png"}


@pytest.mark.slow
def test_on_pictures_of_ones_own_with_force_nothing_else_is_touched(tmp_path: Path, few: Path) -> None:
    out = tmp_path / "demo"
    (out / "photos").mkdir(parents=True)
    for name in ("model.tellapart", "sheet.png", "report.html", "notes.txt", "photos/holiday.png"):
        (out / name).write_bytes(name.encode())
    before, mine = contents(out), contents(few)
    result = demo.run(few, out, recipe="tutorial", epochs=1, force=True, progress=False)
    after = contents(out)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {"model.tellapart", "sheet.png", "report.html"}
    assert contents(few) == mine
    assert result.paths == (out / "model.tellapart", out / "sheet.png", out / "report.html")
    assert result.truths == ("0", "1")
    assert tellapart.load(out / "model.tellapart").classes == ("0", "1")


@pytest.mark.parametrize("out", ["mine", "mine/demo", "mine/0/demo"])
def test_the_demos_folder_must_stand_outside_the_pictures(few: Path, out: str) -> None:
    before = contents(few)
    with pytest.raises(OutputError, match="must stand outside the pictures"):
        demo.run(few, few.parent / out, progress=False)
    assert contents(few) == before
    assert sorted(each.name for each in few.iterdir()) == ["0", "1"]


def test_pictures_that_cannot_be_used_leave_no_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        demo.run(tmp_path / "nowhere", tmp_path / "demo", progress=False)
    assert not list(tmp_path.iterdir())
