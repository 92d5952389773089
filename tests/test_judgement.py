"""Temperature and guards of a new bundle, and the same with other targets."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from conftest import clouds
from tellapart import guards, judgement, metrics, strangers
from tellapart.classifier import Classifier
from tellapart.errors import SettingsError
from tellapart.guards import Targets

CLASSES = ("cats", "dogs")


def answers(n: int, hot: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of two classes, `hot` times too large, and labels drawn from what they should be."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 2))
    return logits * hot, (rng.random(n) < metrics.softmax(logits)[:, 1]).astype(int)


def test_a_model_that_is_too_sure_is_told_so():
    logits, labels = answers(3000, hot=2.0)
    judged = judgement.judge(logits, labels, CLASSES)
    assert judged.temperature == pytest.approx(2.0, rel=0.07)
    np.testing.assert_allclose(judged.probabilities(logits), metrics.softmax(logits, judged.temperature))
    assert judged.as_dict() == {"temperature": judged.temperature, "abstention": judged.guards.as_dict()}
    assert judged.members.keys() == {guards.MEMBER}
    assert len(guards.from_bytes(judged.members[guards.MEMBER])) == 3000
    assert set(judged.declined(logits, np.zeros((3000, 0)))) == {""}


def test_without_held_out_pictures_nothing_is_claimed():
    judged = judgement.judge(np.zeros((0, 2)), np.zeros(0, int), CLASSES)
    assert (judged.temperature, judged.members) == (1.0, {})
    assert judged.guards.confidence == 0
    assert judged.guards.strangeness == np.inf


def test_strangers_are_declined_and_own_pictures_are_not():
    shape = np.where(np.arange(24) < 5, 1, 0.05)  # they hardly differ but in five features
    embeddings, labels = clouds(300, 6.0)
    embeddings = embeddings * shape
    logits = embeddings[:, :2].astype(np.float32)
    known, scores = strangers.fit_and_score(embeddings, labels, 2, logits=logits, seed=0)
    judged = judgement.judge(logits, labels, CLASSES, known=known, scores=scores)
    own = clouds(300, 6.0, seed=1)[0] * shape
    foreign = own.copy()
    foreign[:, 5:] += 5
    declined = [bool(why) for why in judged.declined(own[:, :2], own)]
    assert np.mean(declined) < 0.05
    far = judged.declined(own[:, :2], foreign)
    assert np.mean([bool(why) for why in far]) > 0.95
    assert set(far) - {""} == {"unlike the pictures it knows: stranger than 98% of them"}


def test_other_targets_change_the_guards_and_what_is_declined_and_nothing_else(trained: Classifier):
    assert trained.evaluation is not None
    evaluations = {"test": trained.evaluation}
    bundle, judged = judgement.aimed(trained.bundle, evaluations, Targets(answer=0.5))
    assert bundle.manifest["abstention"]["answer"] == 0.5
    assert 0.5 < bundle.manifest["abstention"]["confidence"] < 1
    assert bundle.members is trained.bundle.members
    sure = trained.evaluation.probabilities.max(axis=1) >= bundle.manifest["abstention"]["confidence"]
    before = trained.evaluation.answered
    np.testing.assert_array_equal(judged["test"].answered, before & sure)
    assert (
        dataclasses.replace(judged["test"], declined=trained.evaluation.declined).accuracy
        == trained.evaluation.accuracy
    )


def test_what_so_few_pictures_cannot_promise_is_said(trained: Classifier):
    with pytest.raises(SettingsError, match=r"needs at least 999 held-out pictures to be told; there are \d+\."):
        judgement.aimed(trained.bundle, {}, Targets(sure=0.999))
