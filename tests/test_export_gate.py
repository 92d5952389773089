"""The gate: what agrees passes, and what does not is told with the place where it parts."""

import dataclasses
import json

import numpy as np
import pytest

from tellapart import golden, guards, metrics, preprocess, strangers
from tellapart.engine import Engine
from tellapart.errors import ExportError
from tellapart.export import gate


@pytest.fixture(scope="module")
def told(trained):
    """Of golden pictures the logits and the scores, by the classifier itself."""
    kept = golden.of(trained.bundle)
    squares = np.stack([preprocess.fit(pixels, trained.predictor.preprocess) for pixels in kept.pictures])
    outputs = Engine(trained.bundle.members["model.onnx"]).run(squares)
    known = strangers.Strangers.from_bytes(trained.bundle.members[strangers.MEMBER])
    return outputs.logits, known.scores(outputs.embedding, outputs.logits)


def rows(bundle, logits, scores, limits, temperature=None):
    """Answers as a sample gives them."""
    found = []
    heat = temperature or bundle.manifest["temperature"]
    for row, score in zip(metrics.softmax(logits, heat), scores, strict=True):
        label = bundle.classes[int(row.argmax())]
        reason = limits.reason(float(row.max()), label, float(score))
        values = dict(zip(bundle.classes, row.tolist(), strict=True))
        found.append({"probabilities": values, "score": float(score), "label": None if reason else label})
    return found


def checked(trained, whole, square, limits=None, int8=False):
    kept = golden.of(trained.bundle)
    limits = limits or trained.predictor.guards
    return gate.check("folder", trained.bundle, kept, limits, answers=lambda *_: [*whole, *square], int8=int8)


def test_the_same_answers_pass(trained, told):
    same = rows(trained.bundle, *told, trained.predictor.guards)
    near = checked(trained, same, same)
    assert (near.pictures, near.score) == (8, pytest.approx(0, abs=1e-5))
    assert near.probability < 1e-6


def test_another_network_is_told_from_another_resize_and_another_temperature(trained, told):
    logits, scores = told
    limits, bundle = trained.predictor.guards, trained.bundle
    same = rows(bundle, logits, scores, limits)
    changed = logits.copy()
    changed[3, 0] += 0.5
    other = rows(bundle, changed, scores, limits)
    with pytest.raises(ExportError, match=r"in its network: golden picture 3 .* brought to its square by us is 0\.\d"):
        checked(trained, other, other)
    with pytest.raises(ExportError, match=r"in its preprocessing: .* golden picture 3 \(15 × 20 px\) is"):
        checked(trained, other, same)
    hot = rows(bundle, logits, scores, limits, temperature=2 * bundle.manifest["temperature"])
    with pytest.raises(ExportError, match=r"in its temperature, which is 2\.00 times the model's"):
        checked(trained, hot, hot)


def test_scores_and_thresholds_are_compared_too(trained, told):
    logits, scores = told
    bundle, limits = trained.bundle, guards.Guards(guards.Targets(), 0.0, float(np.median(scores)) + 1e-3)
    same = rows(bundle, logits, scores, limits)
    assert {row["label"] is None for row in same} == {True, False}
    checked(trained, same, same, limits)
    moved = rows(bundle, logits, scores + np.eye(8)[5], limits)
    with pytest.raises(ExportError, match=r"score of strangeness, while probabilities agree: golden picture 5"):
        checked(trained, moved, moved, limits)
    missing = [{**row, "score": None} for row in same]
    with pytest.raises(ExportError, match=r"score of strangeness"):
        checked(trained, missing, missing, limits)
    lax = rows(bundle, logits, scores, dataclasses.replace(limits, strangeness=np.inf))
    with pytest.raises(ExportError, match=r"in its thresholds or in the order of its classes"):
        checked(trained, lax, lax, limits)


def test_what_is_nearly_a_tie_may_fall_either_way(trained, told):
    """A threshold that stands at a picture's own score is passed on both sides of it, by rounding alone."""
    logits, scores = told
    limits = guards.Guards(guards.Targets(), 0.0, float(scores[2]))
    same = rows(trained.bundle, logits, scores, limits)
    above = rows(trained.bundle, logits, scores + 1e-3, limits)
    assert same[2]["label"] is not None
    assert above[2]["label"] is None
    checked(trained, same, same, limits)
    checked(trained, above, above, limits)


def test_int8_is_given_a_hundredth(trained, told):
    logits, scores = told
    near = logits.copy()
    near[:, 0] += 0.02  # moves a probability by 0.005 at most
    other = rows(trained.bundle, near, scores, trained.predictor.guards)
    assert checked(trained, other, other, int8=True).probability > 1e-3
    with pytest.raises(ExportError, match=r"to 0\.001 of a probability"):
        checked(trained, other, other)


def test_what_is_no_number_or_no_answer_does_not_pass(trained, told):
    same = rows(trained.bundle, *told, trained.predictor.guards)
    nothing = [{**row, "probabilities": dict.fromkeys(trained.classes, float("nan"))} for row in same]
    with pytest.raises(ExportError, match="in its network"):
        checked(trained, nothing, nothing)
    refused = [{"error": "cannot identify image"}, *same[1:]]
    with pytest.raises(ExportError, match=r"must answer every golden picture.*cannot identify image"):
        checked(trained, refused, same)


def test_a_sample_runs_in_a_process_that_has_no_tellapart(tmp_path):
    (tmp_path / "sample.py").write_text(
        "import json, sys\n"
        "try:\n    import tellapart\n    found = True\nexcept ImportError:\n    found = False\n"
        "for path in sys.argv[1:]:\n    print(json.dumps({'path': path, 'found': found}))\n"
    )
    pictures = [tmp_path / "a.png", tmp_path / "b.png"]
    assert gate.by_sample(tmp_path, pictures) == [{"path": each.name, "found": False} for each in pictures]


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise ValueError('no weights')", r"ended with status 1: ValueError: no weights\. Nothing was written"),
        ('print(\'{"path": "other.png"}\')', r"a line of JSON for each picture; it answered 1 of 1"),
        ("print('{oh')", r"a line of JSON for each picture; Expecting property name"),
    ],
)
def test_a_sample_that_fails_is_quoted(tmp_path, program, said):
    (tmp_path / "sample.py").write_text(program)
    with pytest.raises(ExportError, match=said):
        gate.by_sample(tmp_path, [tmp_path / "a.png"])


def test_agreement_is_plain_values():
    assert json.dumps(gate.Agreement(8, 1e-5, None).as_dict()) == '{"pictures": 8, "probability": 1e-05, "score": null}'
