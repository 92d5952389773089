"""Answers in the order asked, every file accounted for, one picture one answer on every road."""

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart import bundle as bundles
from tellapart import decoders, pictures, preprocess, streams
from tellapart.bundle import Bundle
from tellapart.classifier import Classifier, load
from tellapart.errors import SettingsError
from tellapart.guards import Targets
from tellapart.predict import BATCH, MANY, NO_SUCH_FILE, Prediction, Predictor, Question, csv_header, csv_row, questions


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
                "error": None, "reason": None, "label_set": None, "strangeness": None,
            }  # fmt: skip


def test_order_holds_when_decoding_takes_unequal_time(trained: Classifier, photos: Path, monkeypatch) -> None:
    files = [str(path) for path in sorted(photos.rglob("*.png"))[:12]]
    make = decoders.make

    def make_slowly(maker, asked, row_bytes):
        if asked[0][1] == [files[0]]:
            time.sleep(0.2)
        return make(maker, asked, row_bytes)

    monkeypatch.setattr(decoders, "make", make_slowly)
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


def test_a_batch_without_one_readable_picture(trained: Classifier, tmp_path: Path, photos: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    good = next(photos.rglob("*.png"))
    asked = [tmp_path / "bad.png"] * (BATCH + 2) + [good]
    answers = trained.predict(asked)
    assert [answer.error is None for answer in answers] == [False] * (BATCH + 2) + [True]
    assert len({answer.error for answer in answers}) == 2


def test_one_thread_and_several_give_the_same(trained: Classifier, photos: Path) -> None:
    asked = list(questions([photos]))
    one, several = (list(trained.predictor.answers(asked, threads=n)) for n in (1, 5))
    assert one == several
    assert len(one) == 80


def test_no_questions_no_answers(trained: Classifier) -> None:
    assert list(trained.predictor.answers(iter(()))) == []


def test_few_pictures_are_held_at_a_time(trained: Classifier, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many questions there are, what is decoded and not answered yet is bounded."""
    path, decoded, answered, most = str(next(photos.rglob("*.png"))), 0, 0, 0
    make = decoders.make

    def counted(maker, asked, row_bytes):
        nonlocal decoded
        decoded += len(asked)
        return make(maker, asked, row_bytes)

    monkeypatch.setattr(decoders, "make", counted)
    for _ in trained.predictor.answers((Question(path) for _ in range(10 * BATCH)), threads=2):
        answered += 1
        most = max(most, decoded - answered)
    assert answered == 10 * BATCH
    assert most <= MANY + 2 * BATCH + 2 + BATCH  # the sample to measure on, what is ahead, and what is under way


def test_an_error_known_beforehand_is_passed_on_in_its_place(trained: Classifier, photos: Path) -> None:
    good = str(next(photos.rglob("*.png")))
    answers = list(trained.predictor.answers([Question("a", "no permission"), Question(good), Question("b", "a loop")]))
    assert [(answer.path, answer.error) for answer in answers] == [
        ("a", "no permission"), (good, None), ("b", "a loop"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "", "no/such/folder/"])
def test_names_that_no_file_can_have(name: str) -> None:
    assert list(questions([name])) == [Question(name, NO_SUCH_FILE)]


def test_a_link_to_nothing_and_a_file_that_disappears(trained: Classifier, tmp_path: Path, photos: Path) -> None:
    (tmp_path / "link.png").symlink_to("nowhere.png")
    gone = tmp_path / "gone.png"
    gone.write_bytes(next(photos.rglob("*.png")).read_bytes())
    asked = list(questions([tmp_path / "link.png", gone]))
    gone.unlink()
    answers = list(trained.predictor.answers(asked))
    assert [answer.path for answer in answers] == [str(tmp_path / "link.png"), str(gone)]
    assert all(answer.error for answer in answers)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_no_cell_is_a_formula(text: str) -> None:
    row = csv_row(("a",), Prediction(text, text, 0.5, {"a": 0.5}))
    assert row[0] == row[1] == "'" + text
    assert csv_row(("a",), Prediction("x", None, None, error=text))[4] == "'" + text
    assert csv_header((text,))[-1] == "'" + text


def test_rows_of_a_csv_survive_any_name() -> None:
    import csv
    import io

    file = io.StringIO()
    one = Prediction('a "b", c\nd.jpg', "x,y", 1.0, {"x,y": 1.0, "z": 0.0}, unknown=True)
    writer = csv.writer(file)
    writer.writerows([csv_header(("x,y", "z")), csv_row(("x,y", "z"), one)])
    header, row = csv.reader(io.StringIO(file.getvalue()))
    assert dict(zip(header, row, strict=True)) == {
        "path": 'a "b", c\nd.jpg', "label": "x,y", "probability": "1.000000", "unknown": "true", "error": "",
        "x,y": "1.000000", "z": "0.000000",
    }  # fmt: skip


def test_temperature_softens_by_the_stored_number(trained: Classifier) -> None:
    from tellapart.bundle import Bundle
    from tellapart.predict import Predictor

    hot = 2 * trained.bundle.manifest["temperature"]
    soft = Predictor(Bundle(dict(trained.bundle.manifest) | {"temperature": hot}, trained.bundle.members))
    batch = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    plain = trained.predictor.probabilities(batch)
    # Of two classes the log of the ratio halves.
    np.testing.assert_allclose(
        np.log(plain[:, 1] / plain[:, 0]) / 2,
        np.log(soft.probabilities(batch)[:, 1] / soft.probabilities(batch)[:, 0]),
        rtol=1e-6,
    )


def test_embeddings_of_pictures_are_those_in_the_bundle(trained: Classifier, photos: Path) -> None:
    import hashlib

    by_content = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in photos.rglob("*.*")}
    train = [by_content[content] for content in trained.bundle.splits()["train"][:5]]
    batch = np.stack([preprocess.load(path, trained.predictor.preprocess) for path in train])
    np.testing.assert_allclose(
        trained.predictor.embeddings(batch), trained.bundle.embeddings()[:5], rtol=2e-3, atol=1e-3
    )


def test_many_pictures_are_answered_as_one_is(trained: Classifier, photos: Path) -> None:
    """By the fastest way to run the graph, in the order asked, errors in their places."""
    paths = sorted(str(path) for path in photos.rglob("*.*"))
    asked = [Question(path) for path in paths] + [Question("gone", "no such file")] + [Question(p) for p in paths[:20]]
    asked.insert(3, Question("early", "no permission"))
    answers = list(trained.predictor.answers(asked))
    assert len(asked) > MANY
    assert [answer.path for answer in answers] == [question.path for question in asked]
    assert [answer.path for answer in answers if answer.error] == ["early", "gone"]
    for answer in answers:
        if answer.error is None:
            (alone,) = trained.predictor.answers([Question(answer.path)])
            assert answer.label == alone.label
            assert answer.probability == pytest.approx(alone.probability, abs=0.03)


def test_a_near_tie_is_asked_again_exactly(trained: Classifier, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = next(photos.rglob("*.png"))
    monkeypatch.setattr(streams, "choose", lambda *arguments: streams.OPENVINO_F32)
    monkeypatch.setattr(streams, "EXACT", ())  # as if it rounded
    run = streams.Stream.run

    def rounding(self, batches):
        for logits, embedding in run(self, batches):
            yield 0 * logits + [[0.0, 0.1]], embedding

    monkeypatch.setattr(streams.Stream, "run", rounding)
    (alone,) = trained.predictor.answers([Question(str(path))])
    for answer in trained.predictor.answers([Question(str(path))] * (MANY + 5)):
        assert answer.probabilities == pytest.approx(alone.probabilities)


def test_many_that_are_no_pictures(trained: Classifier) -> None:
    answers = list(trained.predictor.answers([Question(str(i), "gone") for i in range(MANY + 5)]))
    assert [answer.path for answer in answers] == [str(i) for i in range(MANY + 5)]
    assert {answer.error for answer in answers} == {"gone"}


def declining(trained: Classifier, **abstention: float) -> Predictor:
    """A predictor with other thresholds than those that the bundle was made with."""
    manifest = dict(trained.bundle.manifest)
    manifest["abstention"] = {**manifest["abstention"], **abstention}
    return Predictor(Bundle(manifest, trained.bundle.members))


def test_what_is_not_sure_enough_is_unknown_and_says_why(trained: Classifier, photos: Path) -> None:
    (one,) = declining(trained, confidence=2.0).answers([Question(str(next(photos.rglob("*.png"))))])
    assert (one.label, one.unknown, one.error) == (None, True, None)
    best, share = one.ranked[0]
    assert one.probability == share
    assert one.reason == f"not sure enough: {best} {share:.0%}, and answers need 200%"
    assert one.as_dict()["label"] is None
    assert csv_row(trained.classes, one)[1:4] == ["", f"{share:.6f}", "true"]


def test_strangers_are_unknown_on_every_road(trained: Classifier, photos: Path) -> None:
    paths = sorted(str(path) for path in photos.rglob("*.*"))
    assert len(paths) > MANY
    scores = {one.path: one.strangeness for one in trained.predictor.answers([Question(path) for path in paths])}
    assert all(0 <= score <= 1 for score in scores.values())
    strict = declining(trained, strangeness=-1e9)
    for one in (*strict.answers([Question(path) for path in paths]), *strict.answers([Question(paths[0])])):
        assert one.unknown
        assert "unlike the pictures it knows" in one.reason


def test_a_threshold_is_the_same_for_one_and_for_many(trained: Classifier, photos: Path) -> None:
    """Where rounding could decide, the picture is asked again without it."""
    paths = sorted(str(path) for path in photos.rglob("*.*"))
    alone = {path: next(trained.predictor.answers([Question(path)])) for path in paths}
    middle = float(np.median([one.probability for one in alone.values()]))
    strict = declining(trained, confidence=middle)
    for one in strict.answers([Question(path) for path in paths]):
        assert one.unknown is (alone[one.path].unknown or alone[one.path].probability < middle)


def test_sets_of_classes_are_given_where_a_coverage_is_asked_for(trained: Classifier, photos: Path) -> None:
    sets = Predictor(trained.bundle, coverage=0.6)
    (one,) = sets.answers([Question(str(next(photos.rglob("*.png"))))])
    assert one.label_set is not None
    assert one.label_set[0] == one.ranked[0][0]
    assert csv_header(trained.classes, sets=True)[-1] == "label_set"
    assert csv_row(trained.classes, one, sets=True)[-1] == "; ".join(one.label_set)
    (every,) = Predictor(trained.bundle, coverage=0.999).answers([Question(one.path)])  # too few were held out to tell
    assert set(every.label_set) == set(trained.classes)


def test_a_bundle_without_held_out_answers_answers_all_and_promises_nothing(trained: Classifier, photos: Path) -> None:
    bare = {name: content for name, content in trained.bundle.members.items() if name not in bundles.OPTIONAL}
    bundle = Bundle(dict(trained.bundle.manifest) | {"abstention": {}}, bare)
    (one,) = Predictor(bundle).answers([Question(str(next(photos.rglob("*.png"))))])
    assert (one.unknown, one.strangeness) == (False, None)
    with pytest.raises(SettingsError, match="needs at least 9 held-out pictures to be told; there are 0"):
        Predictor(bundle, targets=Targets(sure=0.9))
