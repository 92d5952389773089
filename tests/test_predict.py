"""Answers in the order asked, every file accounted for, one picture one answer on every road."""

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart import pictures, preprocess
from tellapart.classifier import Classifier, load
from tellapart.predict import BATCH, NO_SUCH_FILE, Prediction, Question, csv_header, csv_row, questions


@pytest.mark.parametrize("n", [1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 6])
def test_every_file_has_its_row_in_the_order_asked(trained: Classifier, photos: Path, tmp_path: Path, n: int) -> None:
    files = sorted(photos.rglob("*.png"))
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    asked = [tmp_path / "bad.jpg" if i % 7 == 3 else files[i % len(files)] for i in range(n)]
    answers = trained.predict(asked)
    assert [answer.path for answer in answers] == [str(path) for path in asked]
    alone = {path: trained.predict(str(path)) for path in set(asked)}
    for path, answer in zip(asked, answers, strict=True):
        assert (answer.error is None) == (path.suffix == ".png")
        if answer.error is None:
            assert answer.probability == pytest.approx(alone[path].probability, abs=1e-6)
            assert sum(answer.probabilities.values()) == pytest.approx(1)
            assert answer.label == max(answer.probabilities, key=lambda name: answer.probabilities[name])
        else:
            assert answer.as_dict() | {"error": None} == {
                "path": str(path), "label": None, "probability": None, "probabilities": {}, "unknown": False,
                "error": None,
            }  # fmt: skip


def test_order_holds_when_decoding_takes_unequal_time(trained: Classifier, photos: Path, monkeypatch) -> None:
    files = [str(path) for path in sorted(photos.rglob("*.png"))[:12]]
    real, slow = preprocess.load, files[0]

    def load_slowly(path, settings):
        if path == slow:
            time.sleep(0.2)
        return real(path, settings)

    monkeypatch.setattr(preprocess, "load", load_slowly)
    assert [answer.path for answer in trained.predict(files)] == files


def test_not_all_questions_are_taken_ahead(trained: Classifier, photos: Path) -> None:
    path = str(next(photos.rglob("*.png")))
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield Question(path)

    answers = trained.predictor.answers(endless())
    for _ in range(3):
        next(answers)
    assert taken < 6 * BATCH
    answers.close()


def test_folders_are_walked_and_a_missing_path_keeps_its_place(tmp_path: Path, make_photos) -> None:
    make_photos(tmp_path / "a" / "deep", n=2)
    (tmp_path / "a" / ".hidden.png").write_bytes(b"")
    asked = list(questions([tmp_path / "none.jpg", tmp_path / "a"]))
    assert asked[0] == Question(str(tmp_path / "none.jpg"), NO_SUCH_FILE)
    assert [Path(each.path).name for each in asked[1:]] == [
        "circle_000.png", "circle_001.jpg", "square_000.png", "square_001.jpg",
    ]  # fmt: skip


def test_one_picture_gives_one_answer_on_every_road(trained: Classifier, bundle_path: Path, photos: Path) -> None:
    assert trained.evaluation is not None
    loaded = load(bundle_path)
    evaluated = loaded.evaluate(photos)
    by_path = dict(zip(evaluated.paths, evaluated.probabilities, strict=True))
    for i, path in enumerate(trained.evaluation.paths):
        right_after_training = trained.evaluation.probabilities[i]
        single = np.array(list(loaded.predict(path).probabilities.values()))
        np.testing.assert_allclose(single, right_after_training, atol=1e-5)
        np.testing.assert_allclose(by_path[path], right_after_training, atol=1e-5)
        square = preprocess.load(path, loaded.predictor.preprocess)
        in_keras = float(loaded.keras_model.predict(square[None], verbose=0)[0, 0])
        assert in_keras == pytest.approx(right_after_training[1], abs=1e-4)
        whole = pictures.read(path).pixels
        if min(whole.shape[:2]) < 64:  # too small for scaled decoding: the pixels alone are the same picture
            pixels = np.array(list(loaded.predict(whole).probabilities.values()))
            np.testing.assert_allclose(pixels, right_after_training, atol=1e-5)


def test_a_photo_lying_on_its_side_gives_the_answer_of_the_upright_one(trained: Classifier, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    upright = Image.fromarray(rng.integers(0, 256, (60, 40, 3), dtype=np.uint8))
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it upright
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    one, other = trained.predict([tmp_path / "upright.png", tmp_path / "lying.png"])
    assert one.probability == pytest.approx(other.probability, abs=1e-6)


def test_csv_cells_that_a_spreadsheet_would_run_are_text() -> None:
    one = Prediction("=cmd.jpg", "@sum", 0.75, {"@sum": 0.75, "b": 0.25})
    assert csv_header(("@sum", "b")) == ["path", "label", "probability", "unknown", "error", "'@sum", "b"]
    assert csv_row(("@sum", "b"), one) == ["'=cmd.jpg", "'@sum", "0.750000", "false", "", "0.750000", "0.250000"]
    broken = Prediction("a.jpg", None, None, error="empty file (0 bytes)")
    assert csv_row(("a", "b"), broken) == ["a.jpg", "", "", "false", "empty file (0 bytes)", "", ""]
