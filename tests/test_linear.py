"""The sets of many pictures and the table of how time and memory grow."""

from __future__ import annotations

import io
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "peers")]

import linear


def test_a_comment_changes_the_bytes_and_not_the_pixels(photos: Path) -> None:
    for name in ("circle_001.jpg", "circle_000.png"):
        data = (photos / "circles" / name).read_bytes()
        changed = linear.commented(data, "7")
        assert changed != data
        before, after = (np.asarray(Image.open(io.BytesIO(each))) for each in (data, changed))
        assert np.array_equal(before, after)
    assert Image.open(io.BytesIO(linear.commented((photos / "circles/circle_001.jpg").read_bytes(), "7"))).info[
        "comment"
    ] == b"7"  # fmt: skip


def test_a_smaller_size_has_fewer_photos_and_the_same_mixture(photos: Path, tmp_path: Path) -> None:
    """80 photos, 240 pictures: three versions of each, so the first 30 are those of ten photos."""
    linear.fill(photos, tmp_path / "240", 240, 240, seed=0)
    linear.fill(photos, tmp_path / "30", 30, 240, seed=0)
    assert [each.name for each in sorted(tmp_path.iterdir())] == ["240", "30"]
    sizes = {}
    for name in ("240", "30"):
        found = sorted((tmp_path / name).rglob("*.*"))
        sizes[name] = Counter(planted_size(path) for path in found)
        assert len({path.read_bytes() for path in found}) == len(found) == int(name)
    assert sizes == {"240": {(72, 56): 160, (36, 28): 80}, "30": {(72, 56): 20, (36, 28): 10}}
    linked = [path for path in (tmp_path / "30").rglob("*.*") if path.stat().st_nlink > 1]
    assert len(linked) == 10


def planted_size(path: Path) -> tuple[int, int]:
    return Image.open(io.BytesIO(path.read_bytes())).size


def test_the_power_is_that_of_the_curve() -> None:
    assert linear.power((10, 4), (20, 8)) == pytest.approx(1)
    assert linear.power((10, 4), (100, 400)) == pytest.approx(2)
    assert linear.power((10, 4), (100, 4)) == pytest.approx(0)


def test_the_table_has_the_slope() -> None:
    """From 10,000 to 30,000 pictures, 20 s more: a second a thousand; 10 to 30 s is linear, 500 MB twice is flat."""
    lines = [
        {"mode": "quick", "n": 30_000, "seconds": 30.0, "cpu_s": 50.0, "peak_mb": 500.0, "cache_mb": 3.0},
        {"mode": "quick", "n": 10_000, "seconds": 10.0, "cpu_s": 18.0, "peak_mb": 500.0, "cache_mb": 1.0},
    ]
    assert linear.table(lines).splitlines()[2:] == [
        "| quick | 10,000 | 10 s | 18 s |  |  | 500 MB |  | 1 MB |",
        "| quick | 30,000 | 30 s | 50 s | 1.00 s | n^1.00 | 500 MB | n^0.00 | 3 MB |",
    ]
