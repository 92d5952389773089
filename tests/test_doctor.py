"""A check of a folder with known damage: what is found, what it leaves alone, and what a training makes of it."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tellapart
from conftest import draw, fill
from tellapart import cli, doctor
from tellapart.catalog import scan
from tellapart.progress import Progress


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 circles, 28 squares; a broken file, a copy, a smaller copy, a mirrored one under the other label."""
    folder = fill(tmp_path_factory.mktemp("damaged"), n=28)
    whole = (folder / "circles" / "circle_001.jpg").read_bytes()
    (folder / "circles" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "circles" / "empty.jpg").write_bytes(b"")
    (folder / "circles" / "twin.jpg").write_bytes((folder / "circles" / "circle_003.jpg").read_bytes())
    large = draw("squares", 1000, (144, 112))
    large.save(folder / "squares" / "large.png")
    large.resize((100, 78), Image.Resampling.BICUBIC).save(folder / "squares" / "small.jpg", quality=80)
    large.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "circles" / "mirror.png")
    Image.new("RGB", (72, 56), (3, 3, 3)).save(folder / "squares" / "black.png")
    return folder


@pytest.fixture(scope="module")
def found(damaged: Path, cache: Path) -> tellapart.Findings:
    return tellapart.check(damaged, quick=True, cache=cache, progress=False)


def names(paths) -> list[str]:
    return sorted(os.path.basename(path) for path in paths)


def test_all_damage_is_found_and_every_file_accounted_for(found) -> None:
    assert (found.n_found, found.n_used, len(found.skipped)) == (63, 61, 2)
    assert names(path for path, _ in found.skipped) == ["cut.jpg", "empty.jpg"]
    assert [names(each.paths) for each in found.of_kind("unreadable")] == [["cut.jpg"], ["empty.jpg"]]
    assert [names(each.paths) for each in found.of_kind("exact_duplicate")] == [["circle_003.jpg", "twin.jpg"]]
    assert [names(each.paths) for each in found.of_kind("label_conflict")] == [["large.png", "mirror.png", "small.jpg"]]
    assert any("black.png" in names(each.paths) for each in found.of_kind("odd"))
    assert not found.of_kind("leak", "near_duplicate", "shortcut")
    assert found.classes == {"circles": {"all": 30}, "squares": {"all": 31}}
    assert found.counts["unreadable"] == 2


def test_a_copy_across_the_users_splits_is_a_leak(tmp_path: Path, cache: Path) -> None:
    for split, first in (("train", 0), ("test", 20)):
        fill(tmp_path / split, n=20 if split == "train" else 6, first=first)
    Image.open(tmp_path / "train" / "circles" / "circle_004.png").resize((60, 47)).save(
        tmp_path / "test" / "circles" / "again.png"
    )
    leak = tellapart.check(tmp_path, quick=True, cache=cache, progress=False).of_kind("leak")
    assert [(each.severity, names(each.paths)) for each in leak] == [("error", ["again.png", "circle_004.png"])]
    assert [(names([each.path]), each.action) for each in leak[0].proposals] == [
        (["again.png"], "keep"),
        (["circle_004.png"], "drop"),
    ]


def test_the_command_writes_what_it_found_and_touches_nothing(damaged: Path, found, tmp_path: Path, capsys) -> None:
    def state() -> dict[str, tuple[bytes, int]]:
        return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in damaged.rglob("*") if p.is_file()}

    before = state()
    outputs = {name: str(tmp_path / name) for name in ("found.json", "found.csv", "moves.csv", "page.html")}
    options = ["--json", outputs["found.json"], "--csv", outputs["found.csv"], "--fix-list", outputs["moves.csv"]]
    with pytest.raises(SystemExit) as end:
        cli.main(["check", str(damaged), "--quick", *options, "--html", outputs["page.html"]])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "63 pictures found, 61 used, 2 not." in said
    assert "What makes them worse: 5 findings" in said
    got = json.loads(Path(outputs["found.json"]).read_text())
    assert [each["kind"] for each in got["findings"]] == [each.kind for each in found]
    assert got["counts"]["found"] == 63
    rows = list(csv.DictReader(Path(outputs["found.csv"]).read_text().splitlines()))
    assert sum(row["kind"] == "label_conflict" for row in rows) == 3
    assert Path(outputs["page.html"]).read_text().startswith("<!doctype html>")

    with pytest.raises(SystemExit) as end:
        cli.main(["apply", outputs["moves.csv"], "--to", str(tmp_path / "clean")])
    assert end.value.code == 0
    clean = names(p for p in (tmp_path / "clean").rglob("*") if p.is_file() and not p.name.startswith("."))
    assert not {"cut.jpg", "empty.jpg", "twin.jpg"} & set(clean)  # circle_003.jpg stays
    assert "circle_003.jpg" in clean
    assert state() == before


def test_a_training_keeps_copies_on_one_side(damaged: Path, cache: Path) -> None:
    catalog = scan(damaged)
    at = range(len(catalog.entries))
    glance = doctor.glance(catalog, at, cache=cache, seed=0, progress=Progress())
    groups = {os.path.basename(each.path): each.group for each in glance.catalog.entries if each.group}
    assert set(groups) == {"large.png", "mirror.png", "small.jpg"}
    assert len(set(groups.values())) == 1
    assert glance.catalog.fingerprint == catalog.fingerprint
    lines = glance.lines()
    assert lines[0].startswith("3 files show one picture")
    assert lines[-1].startswith("For more, tellapart check ")
    assert "(this was the quick part, on all pictures)" in lines[-1]


def test_nothing_wrong_is_said_in_one_sentence(tmp_path: Path, cache: Path, capsys) -> None:
    fill(tmp_path / "p", n=30, first=500)
    with pytest.raises(SystemExit):
        cli.main(["check", str(tmp_path / "p"), "--quick", "--cache", str(cache)])
    said = capsys.readouterr().out
    assert "60 pictures found, all of them used." in said
    assert "What makes results wrong" not in said


def test_the_full_check_names_wrong_labels_and_what_belongs_to_no_class(tmp_path: Path, cache: Path) -> None:
    """60 circles and 60 triangles; two of each filed under the other class, one page of stripes among them."""
    folder = fill(tmp_path / "p", ("circles", "triangles"), n=60)
    wrong = {"circles": ["circle_007.jpg", "circle_010.png"], "triangles": ["triangle_020.png", "triangle_031.jpg"]}
    for (label, files), other in zip(wrong.items(), ("triangles", "circles"), strict=True):
        for name in files:
            (folder / label / name).rename(folder / other / name)
    stripes = np.zeros((200, 300, 3), np.uint8)
    stripes[:, ::20] = stripes[:, 1::20] = 255
    Image.fromarray(stripes).save(folder / "circles" / "stripes.png")
    found = tellapart.check(folder, cache=cache, progress=False)
    suspected = [each for each in found.of_kind("wrong_label") if each.severity == "warning"]
    planted = {name for files in wrong.values() for name in files}
    named = {os.path.basename(each.paths[0]): each.detail["likely"] for each in suspected}
    assert planted <= set(named)
    assert len(named) <= 6
    assert named["circle_007.jpg"] == "circles"
    assert named["triangle_020.png"] == "triangles"
    assert "stripes.png" in [os.path.basename(each.paths[0]) for each in found.of_kind("outlier")]
    growth = [each for each in found.of_kind("imbalance") if each.detail.get("topic") == "growth"]
    assert len(growth) == 1
    assert set(found.seconds) == {"look", "shortcuts", "copies", "features", "outliers", "labels", "growth"}


def test_a_table_with_columns_of_its_own_goes_all_the_way(tmp_path: Path, cache: Path) -> None:
    fill(tmp_path / "p", n=12)
    files = sorted((tmp_path / "p").rglob("*.*"))
    lines = ["file,animal", *(f"{path.name},{path.parent.name}" for path in files)]
    (tmp_path / "l.csv").write_text("\n".join(lines))
    table = ["--labels", str(tmp_path / "l.csv"), "--label-column", "animal"]
    for arguments in (
        ["check", str(tmp_path / "p"), *table, "--quick", "--fix-list", str(tmp_path / "moves.csv")],
        ["apply", str(tmp_path / "moves.csv"), "--to", str(tmp_path / "clean"), "--label-column", "animal"],
    ):
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        assert end.value.code == 0
    clean = sorted(p.parent.name for p in (tmp_path / "clean").rglob("*.*") if not p.name.startswith("."))
    assert clean == ["circles"] * 12 + ["squares"] * 12
