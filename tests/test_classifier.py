"""A classifier in use: answers, evaluates, shows itself."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from conftest import draw
from tellapart import classifier as classifiers
from tellapart import pictures
from tellapart.classifier import Classifier, load
from tellapart.errors import BundleError, InputError, MissingPackageError, OutputError, SettingsError
from tellapart.predict import Prediction
from tellapart.progress import Progress


@pytest.fixture(scope="module")
def loaded(bundle_path: Path) -> Classifier:
    return load(bundle_path)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory, make_photos) -> Path:
    """train: 6 pictures a class, test: 4 a class; none of them was trained on."""
    folder = tmp_path_factory.mktemp("splits")
    make_photos(folder / "train", n=6, first=500)
    make_photos(folder / "test", n=4, first=600)
    return folder


def test_what_it_is(loaded: Classifier, trained: Classifier) -> None:
    assert loaded.classes == ("circles", "squares")
    assert loaded.size_px == 32
    assert set(loaded.metrics) == {"train", "validation", "test"}
    assert loaded.metrics == trained.metrics
    assert (loaded.evaluation, loaded.report) == (None, {})
    assert trained.evaluation is not None
    share = f"{trained.evaluation.accuracy:.1%}"
    assert repr(loaded) == f"Classifier(2 classes: circles, squares; 32 px; test accuracy {share})"


def test_its_learning_curves(loaded: Classifier) -> None:
    assert [row["epoch"] for row in loaded.history] == [1, 2, 3]
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"} < set(loaded.history[0])


def test_the_report_of_a_training(trained: Classifier) -> None:
    report = trained.report
    assert report["plan"]["pictures"] == {"train": 64, "validation": 8, "test": 8}
    assert report["training"]["pictures_seen"] == 3 * 64
    assert report["bundle"] is None
    stages = {"read", "start", "decode", "train", "evaluate"}
    assert stages < set(report["times"])
    assert report["times"]["total"] >= sum(report["times"][stage] for stage in stages) - 0.01


def test_one_path_one_answer_several_paths_a_list(loaded: Classifier, photos: Path) -> None:
    files = sorted(photos.rglob("*.*"))[:3]
    one = loaded.predict(files[0])
    assert isinstance(one, Prediction)
    assert loaded.predict(str(files[0])) == one
    several = loaded.predict(files)
    assert [answer.path for answer in several] == [str(path) for path in files]
    folder = loaded.predict(photos)
    assert isinstance(folder, list)
    assert [answer.path for answer in folder] == [str(path) for path in sorted(photos.rglob("*.*"))]
    for answer in folder:
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.ranked[0] == (answer.label, answer.probability)
    assert loaded.predict([]) == []


def test_what_cannot_be_read_is_an_answer_too(loaded: Classifier, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "page.jpg").write_bytes(b"<html></html>" * 30)
    for path in (tmp_path / "empty.jpg", tmp_path / "page.jpg", tmp_path / "none.jpg"):
        answer = loaded.predict(path)
        assert (answer.path, answer.label, answer.probability, answer.probabilities) == (str(path), None, None, {})
        assert answer.error
    os.mkfifo(tmp_path / "pipe.jpg")
    assert [bool(answer.error) for answer in loaded.predict(tmp_path)] == [True, True, True]


def test_pixels_are_a_picture(loaded: Classifier, photos: Path) -> None:
    path = next(photos.rglob("*.png"))
    answer = loaded.predict(pictures.read(path).pixels)
    assert answer.path == ""
    assert answer.probability == pytest.approx(loaded.predict(path).probability, abs=1e-6)
    sliced = np.asfortranarray(pictures.read(path).pixels)[::1]
    assert loaded.predict(sliced).probability == pytest.approx(answer.probability, abs=1e-6)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8),
     np.zeros((1, 8, 8, 3), np.uint8), np.zeros((0, 8, 3), np.uint8)],
    ids=lambda pixels: f"{pixels.dtype} {pixels.shape}",
)  # fmt: skip
def test_pixels_of_another_kind_are_refused(loaded: Classifier, pixels: np.ndarray) -> None:
    with pytest.raises(SettingsError, match=r"uint8 \(H, W, 3\), RGB; got"):
        loaded.predict(pixels)


def test_evaluating_what_it_learned_from_says_so(loaded: Classifier, photos: Path, trained: Classifier) -> None:
    evaluation = loaded.evaluate(photos)
    assert (evaluation.n, evaluation.n_trained_on, evaluation.split) == (80, 64, None)
    unseen = evaluation.unseen()
    assert unseen is not None
    assert unseen.n == 16  # validation and test
    assert trained.evaluation is not None
    assert set(trained.evaluation.paths) < set(unseen.paths)
    hits = sum(loaded.predict(path).label == Path(path).parent.name for path in evaluation.paths)
    assert evaluation.accuracy == pytest.approx(hits / 80)


def test_a_copy_under_another_name_is_still_known(loaded: Classifier, trained: Classifier, tmp_path: Path) -> None:
    known = set(trained.bundle.splits()["train"])
    from tellapart.catalog import scan

    source = next(Path(path) for path in sorted(_folder(trained)) if _content(path) in known)
    (tmp_path / "circles").mkdir()
    (tmp_path / "circles" / "holiday.jpeg").write_bytes(source.read_bytes())
    assert scan(tmp_path).entries[0].content in known
    assert loaded.evaluate(tmp_path).n_trained_on == 1


def _folder(trained: Classifier) -> list[Path]:
    assert trained.evaluation is not None
    root = Path(trained.evaluation.paths[0]).parent.parent
    return list((root / "circles").iterdir())


def _content(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("split", "n", "taken"), [(None, 8, "test"), ("test", 8, "test"), ("train", 12, "train"), ("all", 20, "all")]
)
def test_of_splits_the_test_is_taken_unless_told_otherwise(loaded, splits: Path, split, n: int, taken: str) -> None:
    evaluation = loaded.evaluate(splits, split=split)
    assert (evaluation.n, evaluation.split, evaluation.n_trained_on) == (n, taken, 0)
    assert evaluation.unseen() is not None
    assert any("split folders read" in note for note in evaluation.notes)


def test_a_split_that_is_not_there(loaded: Classifier, splits: Path, photos: Path) -> None:
    with pytest.raises(InputError, match="must have a validation split; it has train, test"):
        loaded.evaluate(splits, split="validation")
    with pytest.raises(InputError, match="must have split folders for --split test; it has none"):
        loaded.evaluate(photos, split="test")
    assert loaded.evaluate(photos, split="all").n == 80


def test_some_of_its_classes_are_enough(loaded: Classifier, tmp_path: Path, make_photos) -> None:
    make_photos(tmp_path, ("squares",), n=5, first=700)
    evaluation = loaded.evaluate(tmp_path)
    assert evaluation.classes == ("circles", "squares")
    assert evaluation.labels.tolist() == [1] * 5  # the class's place in the model, not in this folder
    assert evaluation.confusion[0].tolist() == [0, 0]
    assert evaluation.per_class["circles"].recall is None
    assert evaluation.accuracy == pytest.approx(np.mean(evaluation.predicted == 1))


def test_a_class_that_it_does_not_know_is_named(loaded: Classifier, three_classes: Path) -> None:
    with pytest.raises(InputError, match=r"\(circles, squares\); it also has triangles") as error:
        loaded.evaluate(three_classes)
    assert "\n" not in str(error.value)


def test_every_file_is_accounted_for(loaded: Classifier, tmp_path: Path, make_photos) -> None:
    make_photos(tmp_path, n=3, first=800)
    (tmp_path / "circles" / "empty.png").write_bytes(b"")
    whole = (tmp_path / "circles" / "circle_800.png").read_bytes()
    (tmp_path / "squares" / "cut.png").write_bytes(whole[: len(whole) // 2])
    told = []

    class Said(Progress):
        def update(self, stage, done, total, detail="") -> None:
            told.append((stage, done, total))

    evaluation = loaded.evaluate(tmp_path, progress=Said())
    assert evaluation.n == 6
    assert [Path(path).name for path, _ in evaluation.skipped] == ["empty.png", "cut.png"]
    assert told[-1] == ("Answering", 7, 7)


def test_a_table_of_labels(loaded: Classifier, tmp_path: Path, make_photos) -> None:
    make_photos(tmp_path / "p", n=2, first=900)
    table = tmp_path / "labels.csv"
    rows = [f"{path.name},{path.parent.name}" for path in sorted((tmp_path / "p").rglob("*.*"))]
    table.write_text("\n".join(["file,kind", *rows, "gone.jpg,circles"]))
    evaluation = loaded.evaluate(tmp_path / "p", labels=table, path_column="file", label_column="kind")
    assert (evaluation.n, len(evaluation.skipped)) == (4, 1)
    np.testing.assert_allclose(evaluation.probabilities, loaded.evaluate(tmp_path / "p").probabilities, atol=1e-6)


def test_a_folder_without_one_readable_picture(loaded: Classifier, tmp_path: Path) -> None:
    (tmp_path / "circles").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "circles" / "a.png")
    whole = (tmp_path / "circles" / "a.png").read_bytes()
    (tmp_path / "circles" / "a.png").write_bytes(whole[:-30])
    with pytest.raises(InputError, match=r"None of the 1 pictures of .* could be read, e.g. .*a.png: ") as error:
        loaded.evaluate(tmp_path)
    assert "\n" not in str(error.value)


def test_the_keras_model_is_plain_and_loaded_once(loaded: Classifier) -> None:
    model = loaded.keras_model
    assert isinstance(model, keras.Sequential)
    assert model is loaded.keras_model
    assert not model.compiled
    assert tuple(model.inputs[0].shape) == (None, 32, 32, 3)
    assert all(type(layer).__module__.startswith("keras.src.layers") for layer in model.layers)


def test_saving_and_loading(loaded: Classifier, bundle_path: Path, tmp_path: Path) -> None:
    loaded.save(tmp_path / "again.tellapart")
    assert (tmp_path / "again.tellapart").read_bytes() == bundle_path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        loaded.save(tmp_path / "again.tellapart")
    loaded.save(tmp_path / "again.tellapart", force=True)
    with pytest.raises(BundleError, match="No such bundle"):
        load(tmp_path / "none.tellapart")


def test_a_package_that_is_missing_is_named_with_its_extra() -> None:
    with pytest.raises(MissingPackageError, match=r"Nothing must be installed .* pip install 'tellapart\[train\]'"):
        classifiers.require("tellapart_no_such_module", "Nothing", "train")


def test_what_a_library_says_past_python_is_shown_only_where_it_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with classifiers._native_errors_held():
        os.write(2, b"a page of hints")
    assert capfd.readouterr().err == ""
    with pytest.raises(ZeroDivisionError), classifiers._native_errors_held():
        _ = os.write(2, b"why it failed") / 0
    assert capfd.readouterr().err == "why it failed"


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes from two cameras; pictures of the one camera are dark, and under the wrong label."""
    folder = tmp_path_factory.mktemp("cameras")
    for label, other in (("circles", "squares"), ("squares", "circles")):
        for i in range(24):
            good, bad = folder / label / "day" / f"{i}.png", folder / label / "night" / f"{i}.png"
            good.parent.mkdir(parents=True, exist_ok=True)
            bad.parent.mkdir(parents=True, exist_ok=True)
            draw(label, 900 + i).save(good)
            draw(other, 950 + i).point(lambda level: level // 3).save(bad)
    return folder


def test_the_part_that_is_worse_is_named(cameras: Path) -> None:
    """Asked of a model that answers by the folder's own label by day and against it at night."""
    truth = {path: path.parts[-3] for path in cameras.rglob("*.png")}
    night = {str(path): "night" in path.parts for path in truth}

    class Known:
        def answers(self, questions, look):
            for question in questions:
                pixels = np.asarray(Image.open(question.path))
                look(question.path, pixels, min(pixels.shape[:2]))
                right = Path(question.path).parts[-3]
                sure = 0.1 if night[question.path] and question.path.endswith(("1.png", "2.png")) else 0.9
                of = {right: sure, ({"circles", "squares"} - {right}).pop(): 1 - sure}
                yield Prediction(question.path, right, sure, {name: of[name] for name in sorted(of)})

    class Bundle:
        classes = ("circles", "squares")

        def splits(self):
            return {}

    asked = Classifier.__new__(Classifier)
    asked.bundle, asked.predictor = Bundle(), Known()  # pyright: ignore[reportAttributeAccessIssue]
    found = asked.evaluate(cameras)
    by_folder = {each.name: each for each in found.slices if each.by == "folder"}
    # 1, 2, 11, 12, 21, 22 of 24 pictures of each class are wrong at night.
    assert (by_folder["day"].n_right, by_folder["day"].n, by_folder["day"].worse) == (48, 48, False)
    assert (by_folder["night"].n_right, by_folder["night"].n, by_folder["night"].worse) == (36, 48, True)
    assert found.worst_slice is not None
    assert {each.by for each in found.slices} == {"folder", "brightness"}  # all are of one size


def test_declined_answers_are_counted(loaded: Classifier, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    plain = loaded.predictor.answers

    def some_declined(questions, **more):
        for i, answer in enumerate(plain(questions, **more)):
            gone = {"label": None, "unknown": True, "reason": "not sure enough" if i else None}
            yield dataclasses.replace(answer, **gone) if i < 20 else answer

    monkeypatch.setattr(loaded.predictor, "answers", some_declined)
    found = loaded.evaluate(photos)
    assert found.coverage == 60 / 80
    assert found.declined[:2] == ("declined", "not sure enough")
    assert found.n == 80  # the accuracy is of all, the most probable class counts
    right = (found.predicted == found.labels)[20:]
    assert found.accuracy_when_answered == right.mean()


def test_a_column_needs_a_table(loaded: Classifier, photos: Path) -> None:
    with pytest.raises(SettingsError, match=r"--slice names a column .* Give the table with --labels"):
        loaded.evaluate(photos, slice_by=["camera"])
