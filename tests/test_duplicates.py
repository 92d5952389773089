"""What is said of copies, and what is proposed to do with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tellapart import catalog, duplicates, twins
from tellapart.catalog import Catalog, Entry
from tellapart.findings import Finding
from test_twins import scene, search


def told(root: Path, **options) -> list[Finding]:
    scanned = catalog.scan(root, **options)
    return duplicates.findings(scanned, search(scanned))


def actions(finding: Finding, root: Path) -> dict[str, str]:
    return {str(Path(each.path).relative_to(root)): each.action for each in finding.proposals}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of twelve scenes each."""
    for i in range(24):
        path = tmp_path / ("left" if i % 2 else "right") / f"{i:02}.png"
        path.parent.mkdir(exist_ok=True)
        scene(i).save(path)
    return tmp_path


def test_different_pictures_give_nothing(root):
    assert told(root) == []


def test_the_same_bytes_in_one_class(root):
    shutil.copy(root / "left/01.png", root / "left/99.png")
    (finding,) = told(root)
    assert (finding.kind, finding.severity) == ("exact_duplicate", "warning")
    first, second = f"{root}/left/01.png", f"{root}/left/99.png"
    assert finding.message == (
        f"2 files of class 'left' show one picture (same bytes): '{first}' (160×120) and '{second}'."
    )
    assert actions(finding, root) == {"left/01.png": "keep", "left/99.png": "drop"}
    assert finding.paths == (f"{root}/left/01.png", f"{root}/left/99.png")


def test_the_largest_of_near_copies_is_kept(root):
    scene(1).resize((80, 60)).save(root / "left/00_small.jpg", quality=80)
    (finding,) = told(root)
    assert (finding.kind, finding.severity) == ("near_duplicate", "warning")
    assert "(rescaled)" in finding.message
    assert actions(finding, root) == {"left/01.png": "keep", "left/00_small.jpg": "drop"}


def test_another_format_with_the_same_pixels_is_exact(root):
    scene(1).save(root / "left/one.jpg", quality=90)
    Image.open(root / "left/one.jpg").save(root / "left/two.png")
    (root / "left/01.png").unlink()
    (finding,) = told(root)
    assert finding.kind == "exact_duplicate"
    assert finding.detail["changes"] == ["same pixels"]
    assert actions(finding, root) == {"left/two.png": "keep", "left/one.jpg": "drop"}


def test_the_same_bytes_under_two_labels_are_told_once(root):
    shutil.copy(root / "left/01.png", root / "right/99.png")
    (finding,) = told(root)
    assert (finding.kind, finding.severity) == ("label_conflict", "error")
    assert finding.message == (
        f"2 files show one picture (same bytes) under 2 labels: 'left' ({root}/left/01.png) and "
        f"'right' ({root}/right/99.png)."
    )
    assert set(actions(finding, root).values()) == {"keep"}
    (kept,) = told(root, keep_conflicts=True)
    assert kept.message == finding.message


def test_a_turned_picture_may_be_of_another_class(root):
    scene(1).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(root / "right/99.png")
    (finding,) = told(root)
    assert (finding.kind, finding.severity) == ("label_conflict", "warning")
    assert finding.detail["changes"] == ["upside down"]


def test_a_copy_in_the_test_is_a_leak(tmp_path):
    for i in range(24):
        path = tmp_path / ("test" if i < 8 else "train") / ("left" if i % 2 else "right") / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(i).save(path)
    scene(1).crop((4, 3, 157, 117)).save(tmp_path / "train/left/big.png")
    (finding,) = told(tmp_path)
    assert (finding.kind, finding.severity) == ("leak", "error")
    assert finding.message == (
        f"2 files show one picture (cropped) on 2 sides of the split: train ({tmp_path}/train/left/big.png) and "
        f"test ({tmp_path}/test/left/01.png)."
    )
    assert actions(finding, tmp_path) == {"test/left/01.png": "keep", "train/left/big.png": "drop"}


def test_groups_of_the_users_own_on_two_sides():
    entries = (
        Entry("1", "x", "train", "a" * 64, "anna"),
        Entry("2", "x", "test", "b" * 64, "anna"),
        Entry("3", "x", "test", "c" * 64, "bert"),
    )
    (finding,) = duplicates.findings(Catalog("", "table", ("x",), entries, (), ()), twins.Twins((), 0))
    assert (finding.kind, finding.paths) == ("leak", ("1", "2"))
    assert finding.message == "1 group of 2 stands on two sides of the split, with 2 pictures: 'anna'."
    assert finding.proposals == ()
