"""From a bundle and pictures to a page and a card, by Python and by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tellapart
from conftest import TINY
from tellapart import explain, explanations, pictures, preprocess, reporting
from tellapart.classifier import Classifier
from tellapart.cli import cli, main
from tellapart.errors import OutputError


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_a_report_by_python(trained: Classifier, photos: Path, tmp_path: Path):
    found = tellapart.report(trained, photos, tmp_path / "r.html", card=tmp_path / "c.md")
    assert found.n == 80
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "tellapart report · <bdi>model.tellapart</bdi>" in page
    assert "One picture, from file to answer" in page
    assert (tmp_path / "c.md").read_text("utf-8").startswith("---\n# license:")
    with pytest.raises(OutputError, match="exists already"):
        tellapart.report(trained, photos, tmp_path / "r.html")


def test_nothing_is_answered_where_an_output_is_refused(bundle_path: Path, tmp_path: Path):
    (tmp_path / "c.md").write_text("mine")
    with pytest.raises(OutputError, match=r"c\.md exists already"):
        tellapart.report(bundle_path, tmp_path / "no such folder", tmp_path / "r.html", card=tmp_path / "c.md")
    assert not (tmp_path / "r.html").exists()


def test_pictures_that_were_trained_on_are_named_first(trained: Classifier, photos: Path, tmp_path: Path):
    tellapart.report(trained, photos, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "of these pictures were trained on" in page
    unseen = trained.evaluate(photos).unseen()
    assert unseen is not None
    assert f"({unseen.n:,} pictures)" in page


def test_the_command_writes_beside_where_one_works(
    bundle_path: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    status, said = run("report", str(bundle_path), str(photos), "--card", "card.md", "--json", "r.json")
    assert status == 0
    assert "Report: shapes.html" in said
    assert "Card: card.md" in said
    assert "It is right on" in said
    written = json.loads((tmp_path / "r.json").read_text())
    assert (written["report"], written["card"], written["n"]) == ("shapes.html", "card.md", 80)
    assert "shapes.tellapart" in (tmp_path / "shapes.html").read_text("utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(bundle_path), str(photos)])
    assert stopped.value.code == 1  # shapes.html is there
    status, _ = run("report", str(bundle_path), str(photos), "--force")
    assert status == 0


def test_two_outputs_cannot_be_one_file(bundle_path: Path, photos: Path, tmp_path: Path):
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(bundle_path), str(photos), "-o", str(tmp_path / "a"), "--card", str(tmp_path / "a")])
    assert stopped.value.code == 2
    assert not (tmp_path / "a").exists()


def test_training_writes_its_report_of_the_test_pictures(photos: Path, tmp_path: Path):
    names = {name: str(tmp_path / name) for name in ("m.tellapart", "m.html", "m.md", "m.json")}
    status, said = run(
        "train", str(photos), "-o", names["m.tellapart"], "--report", names["m.html"], "--card", names["m.md"],
        "--json", names["m.json"], *TINY,
    )  # fmt: skip
    assert status == 0
    assert f"Report: {names['m.html']}" in said
    page, result = (tmp_path / "m.html").read_text("utf-8"), json.loads((tmp_path / "m.json").read_text())
    assert f"On {result['n']:,} pictures." in page
    assert "How it learned" in page
    assert "The model&#39;s file" in page
    assert (tmp_path / "m.md").exists()


def test_the_page_is_called_as_the_model():
    assert reporting.place("a/b c.tellapart") == "b c.html"


def test_heat_is_laid_over_the_picture_that_the_network_sees(trained: Classifier, photos: Path, tmp_path: Path):
    explainer = explain.Explainer(trained.bundle)
    heat = reporting.looked(explainer, trained.predictor.preprocess)
    path = str(sorted(photos.rglob("*.png"))[0])
    found = heat(path, 1)
    square = preprocess.load(path, trained.predictor.preprocess)
    picture = explanations.seen(pictures.read(path).pixels, "squash")
    assert found is not None
    assert np.array_equal(found, explain.overlay(picture, explainer.heat(square[None], [1])[0]))
    assert not np.array_equal(found, heat(path, 0))
    assert heat(str(tmp_path / "gone.png"), 0) is None
