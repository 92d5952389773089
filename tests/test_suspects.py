"""Wrong labels, planted in clouds of points."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import clouds
from tellapart import suspects


def named(n: int) -> list[str]:
    return [f"{i}.jpg" for i in range(n)]


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_planted_labels_come_first_and_are_counted(share: float) -> None:
    features, truth = clouds(500, 6.0, 3)
    rng = np.random.default_rng(1)
    planted = rng.permutation(len(truth))[: round(share * len(truth))]
    labels = truth.copy()
    labels[planted] = (truth[planted] + 1) % 3
    judged = suspects.judge(features, labels, 3)
    found = suspects.find(judged, labels, ["cats", "dogs", "owls"], named(len(labels)))
    likely = [f for f in found if f.severity == "warning"]
    assert {int(f.paths[0][:-4]) for f in likely} == set(planted.tolist())
    assert judged.n_wrong == pytest.approx(len(planted), abs=max(1, 0.05 * len(planted)))
    names = ["cats", "dogs", "owls"]
    for f in likely:
        i = int(f.paths[0][:-4])
        assert (f.detail["given"], f.detail["likely"]) == (names[labels[i]], names[truth[i]])
        assert [p.to for p in f.proposals] == [names[truth[i]]]
    moved = [p.path for f in likely for p in f.proposals if p.action == "move"]
    assert len(moved) > 0.9 * len(planted)


def test_a_clean_set_has_no_likely_wrong_label_and_few_worth_a_look() -> None:
    features, labels = clouds(400, 1.5)  # one in seventy is on the wrong side
    judged = suspects.judge(features, labels, 2)
    found = suspects.find(judged, labels, ["cats", "dogs"], named(len(labels)))
    assert [f.severity for f in found if f.severity != "info"] == []
    assert len(found) <= 5
    assert judged.n_wrong < 5


def test_few_pictures_and_a_class_of_one() -> None:
    features, labels = clouds(20, 6.0)
    labels[5] = 1
    features = np.concatenate([features, features[:1]])
    labels = np.concatenate([labels, [2]])
    judged = suspects.judge(features, labels, 3)
    assert not judged.held_out[-1]
    assert judged.wrong[-1] == 0
    assert judged.wrong.argmax() == 5


def test_the_message_has_the_numbers() -> None:
    truths = np.array([[0.02, 0.98], [0.9, 0.1]])
    judged = suspects.Judged(np.array([0.98, 0.1]), np.array([1, 1]), truths, truths, np.ones(2, bool))
    (one,) = suspects.find(judged, np.array([0, 0]), ["cats", "dogs"], ["a.jpg", "b.jpg"])
    # 0.12 of the 0.02 + 0.1 errors that the answers allow for: 0.986 of 1 at least, but no more than 0.98.
    assert one.message == (
        "a.jpg is filed under cats but looks like dogs: its label is wrong with a probability of up to 98 %. "
        "No other of the 2 labels seems wrong."
    )
    assert (one.detail["right_at_least"], one.detail["right_at_most"]) == (0.98, 0.98)
    assert [(p.action, p.to) for p in one.proposals] == [("move", "dogs")]
    assert suspects.find(judged, np.array([0, 0]), ["cats", "dogs"], ["a.jpg", "b.jpg"], but={0}) == []
