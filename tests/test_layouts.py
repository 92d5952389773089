"""Every input layout, trained end to end: what is a class, what is a split, what is left alone and named."""

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import TINY
from tellapart import cli
from tellapart.bundle import read

CLASSES = ["circles", "squares"]
SIDES = ("train", "validation", "test")


@pytest.fixture
def train(capfd, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], dict[str, set[str]], str]]:
    """Train in this process: the JSON, the content hashes of each split in the bundle, what was said beside it."""

    def train(*arguments: object) -> tuple[dict[str, Any], dict[str, set[str]], str]:
        target = tmp_path / "model.tellapart"
        given = ["train", *map(str, arguments), "-o", str(target), *TINY, "--json", "-"]
        with pytest.raises(SystemExit) as exit_:
            cli.main(given)
        captured = capfd.readouterr()
        assert exit_.value.code == 0, captured.err
        return json.loads(captured.out), {side: set(each) for side, each in read(target).splits().items()}, captured.err

    return train


def hashes(*folders: Path) -> set[str]:
    """SHA-256 of every file below some folders."""
    files = (file for folder in folders for file in folder.rglob("*") if file.is_file())
    return {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def table(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


# Folders


def test_classes_at_any_depth(train, make_photos, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", n=4)
    make_photos(tmp_path / "more", n=6, first=100)
    for shape in CLASSES:
        shutil.move(tmp_path / "more" / shape, photos / shape / "2024" / "July" / "camera 1")
    result, splits, said = train(photos)
    assert result["classes"] == CLASSES
    assert result["plan"]["pictures"] == {"train": 16, "validation": 2, "test": 2}
    assert set.union(*splits.values()) == hashes(photos)
    assert sum(map(len, splits.values())) == 20
    assert said == "The tutorial's network and settings, as asked for.\n"


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "TESTING")])
def test_three_splits_are_kept_as_they_are(train, make_photos, tmp_path: Path, names: tuple[str, str, str]) -> None:
    for name, first, n in zip(names, (0, 100, 200), (4, 2, 3), strict=True):
        make_photos(tmp_path / "photos" / name, n=n, first=first)
    result, splits, said = train(tmp_path / "photos")
    assert result["plan"]["pictures"] == {"train": 8, "validation": 4, "test": 6}
    for side, name in zip(SIDES, names, strict=True):
        assert splits[side] == hashes(tmp_path / "photos" / name)
        assert f"{name} as {side}" in said
    assert (result["n"], result["split"]) == (6, "test")


def test_training_and_test_sets_of_the_tutorial(train, make_photos, tmp_path: Path, bundle_path: Path) -> None:
    photos = tmp_path / "dataset"
    make_photos(photos / "training_set", n=6)
    make_photos(photos / "test_set", n=3, first=100)
    (photos / "single_prediction").mkdir()
    shutil.copy(photos / "test_set" / "circles" / "circle_100.png", photos / "single_prediction" / "this_or_that.png")
    result, splits, said = train(photos)
    assert result["classes"] == CLASSES
    # Validation comes from training; the test split is whole and nobody learned from it.
    assert result["plan"]["pictures"] == {"train": 10, "validation": 2, "test": 6}
    assert splits["test"] == hashes(photos / "test_set")
    assert splits["train"] | splits["validation"] == hashes(photos / "training_set")
    assert not splits["train"] & splits["validation"]
    assert (result["n"], result["n_trained_on"]) == (6, 0)
    assert "split folders read: test_set as test, training_set as train" in said
    assert "left alone beside the split folders, for want of class folders inside: 'single_prediction'" in said


def test_the_bundle_remembers_what_it_learned_from(train, make_photos, tmp_path: Path, capfd) -> None:
    photos = make_photos(tmp_path / "photos", n=10)
    _, splits, _ = train(photos)
    renamed = tmp_path / "renamed"  # the same pictures under other names, with one more of each class
    for i, file in enumerate(sorted(photos.rglob("*.*"))):
        (renamed / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, renamed / file.parent.name / f"x{i}{file.suffix}")
    make_photos(renamed, n=1, first=500)
    with pytest.raises(SystemExit):
        cli.main(["evaluate", str(tmp_path / "model.tellapart"), str(renamed), "--json", "-"])
    result = json.loads(capfd.readouterr().out)
    assert (result["n"], result["n_trained_on"]) == (22, len(splits["train"])) == (22, 16)


def test_train_beside_class_names_is_a_class(train, make_photos, tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", n=5)
    (tmp_path / "photos" / "squares").rename(tmp_path / "photos" / "train")  # the one on rails
    result, _, said = train(tmp_path / "photos")
    assert result["classes"] == ["circles", "train"]
    assert result["plan"]["pictures"] == {"train": 6, "validation": 2, "test": 2}
    assert "'train': a split's name, but no class folders inside: read as a class\n" in said


def test_copies_never_stand_on_two_sides(train, make_photos, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", n=6)
    for file in sorted(photos.rglob("*.*")):
        for i in range(2):
            shutil.copy(file, file.with_stem(f"{file.stem}_copy_{i}"))
    result, splits, said = train(photos)
    assert sum(result["plan"]["pictures"].values()) == 36
    assert all(n % 3 == 0 for n in result["plan"]["pictures"].values())
    assert sum(map(len, splits.values())) == len(set.union(*splits.values())) == 12
    assert "24 pictures are copies, byte for byte, of another of the same class" in said


def test_a_picture_in_two_splits_stays_in_the_test(train, make_photos, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    make_photos(photos / "train", n=5)
    make_photos(photos / "test", n=2, first=100)
    leaked = photos / "train" / "circles" / "leaked.png"
    original = photos / "test" / "circles" / "circle_100.png"
    shutil.copy(original, leaked)
    result, splits, _ = train(photos)
    assert result["skipped"] == [{"path": str(leaked), "reason": f"the same picture is in the test split: {original}"}]
    assert splits["test"] == hashes(photos / "test")
    assert sum(result["plan"]["pictures"].values()) == 14


# Tables of labels


@pytest.fixture
def shelf(make_photos, tmp_path: Path) -> tuple[Path, list[tuple[Path, str]]]:
    """Twelve pictures in folders that say nothing, and the label of each."""
    made = make_photos(tmp_path / "made", n=6)
    photos = tmp_path / "photos"
    labelled = []
    for i, file in enumerate(sorted(made.rglob("*.*"))):
        (photos / f"drawer {i % 3}").mkdir(parents=True, exist_ok=True)
        target = photos / f"drawer {i % 3}" / f"img{i:02}{file.suffix}"
        shutil.move(file, target)
        labelled.append((target, file.parent.name))
    return photos, labelled


@pytest.mark.parametrize("column", ["path", "file name", "id"])
def test_a_table_by_path_by_name_and_by_id(train, shelf, tmp_path: Path, column: str) -> None:
    photos, labelled = shelf
    names = {
        "path": lambda file: file.relative_to(photos),
        "file name": lambda file: file.name,
        "id": lambda file: file.stem,
    }
    rows = [[column, "label"], *([names[column](file), label] for file, label in labelled)]
    result, splits, said = train(photos, "--labels", table(tmp_path / "labels.csv", rows))
    assert result["classes"] == CLASSES
    assert result["plan"]["pictures"] == {"train": 8, "validation": 2, "test": 2}
    assert set.union(*splits.values()) == hashes(photos)
    assert f"path from column '{column}', label from 'label'; folders mean nothing" in said


def test_a_table_with_splits_and_columns_of_other_names(train, shelf, tmp_path: Path, capfd) -> None:
    photos, labelled = shelf
    sides = ["train", "train", "train", "val", "test", "test"] * 2
    files = dict.fromkeys(SIDES, frozenset())
    rows: list[list[object]] = [["Bild", "Art", "Teil"]]
    for (file, label), side in zip(labelled, sides, strict=True):
        rows.append([file.name, label, side])
        name = {"val": "validation"}.get(side, side)
        files[name] |= {hashlib.sha256(file.read_bytes()).hexdigest()}
    named = ["--path-column", "Bild", "--label-column", "Art", "--split-column", "Teil"]
    labels = table(tmp_path / "labels.csv", rows)
    result, splits, _ = train(photos, "--labels", labels, *named)
    assert splits == files
    assert result["plan"]["pictures"] == {"train": 6, "validation": 2, "test": 4}
    for more, n in (([], 4), (["--split", "validation"], 2), (["--split", "all"], 12)):
        given = ["evaluate", tmp_path / "model.tellapart", photos, "--labels", labels, *named, *more, "--json", "-"]
        with pytest.raises(SystemExit):
            cli.main(list(map(str, given)))
        assert json.loads(capfd.readouterr().out)["n"] == n


def test_rows_whose_files_are_missing_are_counted_and_listed(train, shelf, tmp_path: Path) -> None:
    photos, labelled = shelf
    rows = [["path", "label"], *([file.relative_to(photos), label] for file, label in labelled[:-1])]
    rows[3:3] = [["gone/1.jpg", "circles"], ["gone/2.jpg", "squares"], ["gone/3.jpg", "triangles"]]
    result, _, said = train(photos, "--labels", table(tmp_path / "labels.csv", rows))
    assert result["classes"] == CLASSES
    assert sum(result["plan"]["pictures"].values()) == 11
    assert result["skipped"] == [{"path": f"gone/{i}.jpg", "reason": "no such file below PHOTOS"} for i in (1, 2, 3)]
    assert "3 rows not used: no such file below PHOTOS, e.g. gone/1.jpg\n" in said
    assert "classes of the table without any picture, left out: 'triangles'\n" in said
    assert f"1 picture below {photos} in no row of the table: not used\n" in said


def test_a_table_means_more_than_split_folders(train, make_photos, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    make_photos(photos / "train", n=4)
    make_photos(photos / "test", n=4, first=50)
    files = sorted(photos.rglob("*.*"))
    rows = [["file", "class"], *([file.name, file.parent.name] for file in files)]
    result, splits, said = train(photos, "--labels", table(tmp_path / "labels.csv", rows))
    assert result["plan"]["pictures"] == {"train": 12, "validation": 2, "test": 2}
    assert splits["test"] != hashes(photos / "test")
    assert "split folders" not in said
