"""A model that cannot be saved where it was asked for is saved elsewhere, and its user is told."""

import os
import tempfile
from pathlib import Path

import pytest

import tellapart
from tellapart import outputs, rescue
from tellapart.classifier import Classifier
from tellapart.errors import OutputError


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Lets folders of the test take no files; folders for results and for temporary files."""
    for name in ("out", "cache", "tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    real = os.fsync

    def fill(*names: str) -> None:
        def fsync(number: int) -> None:
            if any(os.readlink(f"/proc/self/fd/{number}").startswith(str(tmp_path / name)) for name in names):
                raise OSError(28, "No space left on device")
            real(number)

        monkeypatch.setattr(outputs.os, "fsync", fsync)

    return fill


@pytest.mark.parametrize(("filled", "where"), [(["out"], "cache"), (["out", "cache"], "tmp")])
def test_it_is_saved_where_there_is_room(trained: Classifier, tmp_path: Path, full, filled, where: str) -> None:
    full(*filled)
    with pytest.raises(OutputError) as caught:
        rescue.save(trained, tmp_path / "out" / "m.tellapart", force=False, elsewhere=[tmp_path / "cache"])
    (saved,) = (tmp_path / where).iterdir()
    assert f"{tmp_path / 'out' / 'm.tellapart'} could not be written: no space left on device." in str(caught.value)
    assert f"The model is not lost: it was saved as {saved}. Move it from there." in str(caught.value)
    assert tellapart.load(saved).bundle.members == trained.bundle.members
    assert os.listdir(tmp_path / "out") == []


def test_a_name_that_was_taken_meanwhile_costs_no_training(trained: Classifier, tmp_path: Path, full) -> None:
    taken = tmp_path / "out" / "m.tellapart"
    taken.write_text("mine")
    with pytest.raises(
        OutputError, match=r"m\.tellapart exists already.*The model is not lost: it was saved as .*out/m-"
    ):
        rescue.save(trained, taken, force=False, elsewhere=[])
    assert taken.read_text() == "mine"
    (saved,) = set((tmp_path / "out").iterdir()) - {taken}
    assert tellapart.load(saved).classes == trained.classes


def test_where_no_place_takes_it_the_way_on_is_told(trained: Classifier, tmp_path: Path, full) -> None:
    full("out", "cache", "tmp")
    with pytest.raises(OutputError, match=r"No other place took the model either .* with --resume"):
        rescue.save(trained, tmp_path / "out" / "m.tellapart", force=False, elsewhere=[tmp_path / "cache"])
    assert [os.listdir(tmp_path / name) for name in ("out", "cache", "tmp")] == [[], [], []]


def test_one_that_can_be_saved_is(trained: Classifier, tmp_path: Path, full) -> None:
    rescue.save(trained, tmp_path / "out" / "m.tellapart", force=False, elsewhere=[tmp_path / "cache"])
    assert [os.listdir(tmp_path / name) for name in ("out", "cache", "tmp")] == [["m.tellapart"], [], []]


def test_a_training_that_could_not_be_saved_anywhere_is_not_done_again(
    photos: Path, tmp_path: Path, monkeypatch
) -> None:
    notes: list[str] = []

    class Said(tellapart.progress.Progress):
        def note(self, text: str) -> None:
            notes.append(text)

    def train(*, resume: bool) -> Classifier:
        return tellapart.train(
            photos, recipe="tutorial", size=32, epochs=2, conv=(4,), dense=(4,), precision="float32", resume=resume,
            cache=tmp_path / "cache", output=tmp_path / "m.tellapart", progress=Said(),
        )  # fmt: skip

    def refused(*_: object, **__: object) -> None:
        raise OutputError("The disk is full. Make room.")

    with monkeypatch.context() as full:
        full.setattr(Classifier, "save", refused)
        with pytest.raises(OutputError, match="with --resume"):
            train(resume=False)
    assert any("is kept: the same command with --resume goes on from there" in note for note in notes)
    model = train(resume=True)
    assert any(note.endswith("(the training was through).") for note in notes)
    assert model.report["steps_run"] == 0
    assert model.report["training"]["epochs"] == 2
    assert tellapart.load(tmp_path / "m.tellapart").bundle.members == model.bundle.members
