"""Pictures to a folder of explanations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import draw
from tellapart import cli
from tellapart.classifier import Classifier
from tellapart.errors import OutputError, PictureError, SettingsError
from tellapart.explaining import Folder
from tellapart.predict import questions


def test_each_picture_has_its_row_and_its_map(bundle_path: Path, photos: Path, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    (asked / "deeper").mkdir(parents=True)
    draw("circles", 500).save(asked / "a.png")
    draw("squares", 501).save(asked / "deeper" / "A.jpg")
    (asked / "broken.jpg").write_bytes(b"")
    maps, told = tmp_path / "maps", tmp_path / "told.json"
    with pytest.raises(SystemExit) as ended:
        cli.main(
            ["explain", str(bundle_path), str(asked), "-o", str(maps), "--photos", str(photos), "--json", str(told)]
        )
    assert ended.value.code == 0
    rows = {Path(row["path"]).name: row for row in json.loads(told.read_text())}
    assert set(rows) == {"a.png", "A.jpg", "broken.jpg"}
    assert rows["broken.jpg"]["error"] == "empty file (0 bytes)"
    assert rows["broken.jpg"]["heat_map"] is None
    for name in ("a.png", "A.jpg"):
        row = rows[name]
        assert row["error"] is None
        assert row["label"] in ("circles", "squares")
        with Image.open(row["heat_map"]) as image:
            assert image.width > 600
        assert len(row["nearest"]) == 5
        for each in row["nearest"]:
            assert Path(each["path"]).parent.name == each["label"]
        assert 0 <= row["deletion"]["hot"] <= 1
    assert rows["a.png"]["heat_map"].casefold() != rows["A.jpg"]["heat_map"].casefold()
    assert len(list(maps.iterdir())) == 2


def test_what_cannot_be_is_refused(trained: Classifier, tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"--label must be one of the model's classes .circles, squares.; got 'moons'"
    ):
        Folder(trained.bundle, tmp_path / "new", label="moons")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_bytes(b"")
    with pytest.raises(OutputError, match="must be new or empty"):
        Folder(trained.bundle, tmp_path / "full")
    (only,) = Folder(trained.bundle, tmp_path / "new").explain(questions([tmp_path / "none.png"]))
    assert only.error == "no such file or folder"
    assert not (tmp_path / "new").exists()


def test_an_explanation_in_python(trained: Classifier, tmp_path: Path) -> None:
    pixels = np.asarray(draw("circles", 502))
    one = trained.explain(pixels)
    assert one.heat.shape == (32, 32)
    assert one.heat.dtype == np.float32
    assert one.overlay.shape == one.picture.shape
    assert one.label == trained.predict(pixels).label
    assert one._repr_png_().startswith(b"\x89PNG")
    other = trained.explain(pixels, label="squares")
    assert other.label == "squares"
    assert other.probability == pytest.approx(one.answer.probabilities["squares"])
    with pytest.raises(SettingsError, match="label must be one of"):
        trained.explain(pixels, label="moons")
    with pytest.raises(PictureError):
        trained.explain(tmp_path / "none.png")
