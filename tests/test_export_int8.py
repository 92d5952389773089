"""int8: who calibrates, who judges, what is lost, and when it is refused."""

import dataclasses
import json
import shutil

import numpy as np
import onnx
import pytest

from conftest import fill
from tellapart import golden, preprocess, strangers
from tellapart.contents import hash_all
from tellapart.engine import Engine
from tellapart.errors import ExportError, InputError
from tellapart.export import calibrating, exporting, gate, quantizing
from tellapart.progress import Progress


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Pictures that the classifier did not learn from, 30 a class."""
    return fill(tmp_path_factory.mktemp("others"), n=30, first=200)


@pytest.fixture(scope="module")
def parts(trained, others):
    return calibrating.halves(others, trained.bundle, Progress(), {})


def test_the_halves_share_no_picture_and_hold_every_class(trained, others, parts):
    shows, judges = parts
    assert len(shows.squares) + len(judges.squares) == 60
    assert min(len(shows.squares), len(judges.squares)) >= 15
    assert set(judges.labels.tolist()) == {0, 1}
    seen = {square.tobytes() for square in shows.squares}
    assert not seen & {square.tobytes() for square in judges.squares}
    np.testing.assert_allclose(judges.probabilities, trained.predictor.probabilities(judges.squares), atol=1e-6)


def test_a_copy_stands_on_its_pictures_side_and_what_was_learned_does_not_judge(trained, others, photos, tmp_path):
    folder = tmp_path / "more"
    shutil.copytree(others, folder)
    for path in list(folder.rglob("*.png")):
        shutil.copy(path, path.with_name(f"copy_of_{path.name}"))
    shutil.copytree(photos, folder, dirs_exist_ok=True)
    shows, judges = calibrating.halves(folder, trained.bundle, Progress(), {})
    learned = set(trained.bundle.splits()["train"])
    how = trained.predictor.preprocess
    paths = [str(path) for path in sorted(photos.rglob("*.*"))]
    of_learned = {
        preprocess.load(path, how).tobytes()
        for path, (content, _) in zip(paths, hash_all(paths, lambda *_: None), strict=True)
        if content in learned
    }
    judging = {square.tobytes() for square in judges.squares}
    assert not judging & of_learned
    assert not judging & {square.tobytes() for square in shows.squares}
    assert len(of_learned) == 64


def test_the_graph_computes_in_int8_and_answers_nearly_the_same(trained, parts):
    shows, judges = parts
    rounded = quantizing.quantized(trained.bundle, shows)
    model = onnx.load_from_string(rounded.members["model.onnx"])
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") >= 2
    whole = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8}
    assert sum(node.op_type == "DequantizeLinear" and node.input[0] in whole for node in model.graph.node) >= 2
    assert len(rounded.members["model.onnx"]) < 0.6 * len(trained.bundle.members["model.onnx"])
    squares = judges.squares
    exact, near = (Engine(each.members["model.onnx"]).run(squares) for each in (trained.bundle, rounded))
    assert 0 < np.abs(exact.logits - near.logits).max() < 0.5
    known, moved = (strangers.Strangers.from_bytes(b.members[strangers.MEMBER]) for b in (trained.bundle, rounded))
    before = np.median(known.scores(exact.embedding, exact.logits))
    assert np.median(moved.scores(near.embedding, near.logits)) < before + 0.5


def test_a_folder_in_int8_says_what_it_cost(trained, others, tmp_path):
    shutil.copytree(others, tmp_path / "photos")
    broken = tmp_path / "photos" / "circles" / "broken.jpg"
    broken.write_bytes(next(others.rglob("*.jpg")).read_bytes()[:400])
    done = trained.export("onnx", tmp_path / "out", quantize="int8", calibrate=tmp_path / "photos")
    assert [path for path, _ in done.skipped] == [str(broken)]
    assert done.as_dict()["skipped"][0]["reason"] == "truncated: the file ends before the picture does"
    told = done.quantized
    assert told["judged_on"] + told["calibrated_on"] == 60
    assert abs(told["accuracy_before"] - told["accuracy_after"]) <= 0.1
    assert 0 < told["probability_moved"]["mean"] <= told["probability_moved"]["most"]
    assert done.files["model.onnx"] < 0.7 * len(trained.bundle.members["model.onnx"])
    facts = json.loads((tmp_path / "out" / "tellapart.json").read_text())
    assert facts["files"] == sorted(done.files)
    assert facts["quantized"] == told
    assert "VNNI" in (tmp_path / "out" / "README.md").read_text()


def rows(bundle, probabilities):
    return lambda *_: [
        {"probabilities": dict(zip(bundle.classes, row, strict=True)), "unknown": False} for row in probabilities
    ]


def test_too_great_a_loss_is_refused(trained, parts, tmp_path):
    shows, judges = parts
    n = len(judges.labels)
    right = np.eye(2)[judges.labels] * 0.98 + 0.01
    sure = calibrating.Judges(judges.squares, judges.labels, right, np.ones(n, bool))
    told = exporting._judged(tmp_path, trained.bundle, shows, sure, rows(trained.bundle, right), 0.0)
    assert (told["accuracy_before"], told["accuracy_after"], told["answered_after"]) == (1, 1, 1)
    two_wrong = right.copy()
    two_wrong[:2] = 1 - two_wrong[:2]
    with pytest.raises(ExportError, match=r"may move a probability by 0\.01 in the mean"):
        exporting._judged(tmp_path, trained.bundle, shows, sure, rows(trained.bundle, two_wrong), 0.5)
    tie = np.where(right > 0.5, 0.5001, 0.4999)
    nearly = calibrating.Judges(judges.squares, judges.labels, tie, np.ones(n, bool))
    turned = tie.copy()
    turned[:2] = 1 - turned[:2]
    with pytest.raises(ExportError, match=rf"on {n} pictures it went from 100\.0% to {1 - 2 / n:.1%}"):
        exporting._judged(tmp_path, trained.bundle, shows, nearly, rows(trained.bundle, turned), 0.01)


def test_too_few_pictures_and_classes_of_others_are_told(trained, three_classes, tmp_path):
    few = fill(tmp_path, n=6, first=300)
    with pytest.raises(InputError, match=r"at least 10 labelled pictures for each half.*there are \d+ and \d+\."):
        calibrating.halves(few, trained.bundle, Progress(), {})
    with pytest.raises(InputError, match=r"must be one of the model's; it also has triangles"):
        calibrating.halves(three_classes, trained.bundle, Progress(), {})


def test_a_network_that_moves_golden_pictures_too_far_is_told(trained):
    kept = golden.of(trained.bundle)

    def told(shift):
        return [
            {"probabilities": dict(zip(trained.classes, row, strict=True)), "score": score, "label": None}
            for row, score in zip(kept.probabilities + np.array([shift, -shift]), kept.scores, strict=True)
        ]

    limits = dataclasses.replace(trained.predictor.guards, confidence=1.5)

    def check(whole, square):
        both = [*told(whole), *told(square)]
        return gate.check("folder", trained.bundle, kept, limits, answers=lambda *_: both, int8=True)

    assert check(0.03, 0.01).probability == pytest.approx(0.03)
    with pytest.raises(ExportError, match="in its network"):
        check(0.12, 0.12)


def test_a_resize_of_its_own_is_told_before_anything_is_rounded(trained, others, tmp_path, monkeypatch):
    """A resize by the nearest pixel, which int8 could hide."""
    text = exporting.sidecar.sampletext.text
    nearest = "picture = picture[np.arange(32) * len(picture) // 32][:, np.arange(32) * len(picture[0]) // 32]"

    def other(name):
        plain = text(name)
        begin = plain.index("    def __call__(self, picture):")
        line = plain.index("\n", begin) + 1
        return f"{plain[:line]}        {nearest}\n{plain[line:]}"

    monkeypatch.setattr(exporting.sidecar.sampletext, "text", other)
    monkeypatch.setattr(quantizing, "quantized", lambda *_: pytest.fail("it was rounded"))
    with pytest.raises(ExportError, match="in its preprocessing"):
        trained.export("onnx", tmp_path / "out", quantize="int8", calibrate=others)
    assert list(tmp_path.iterdir()) == []
