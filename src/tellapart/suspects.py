"""Pictures that look like another class than the one they are filed under, from their frozen features.

Each picture is answered by pictures of other folds (`discriminants`), and answers and labels together tell how often
labels are wrong and which are (`labelnoise`). The likely wrong ones are then left out and all is asked again, because
wrong labels teach wrong answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tellapart import discriminants, labelnoise
from tellapart.files import shown
from tellapart.findings import Finding, Proposal

SHRINKAGES = (0.1, 0.3, 0.6)  # of the covariance; the one under which the given labels are likeliest is taken
LIKELY = 0.5  # a picture is a finding from this probability of a wrong label on
# A few right labels look surer to be wrong than any model of errors allows: odd digits, shirts like dresses. On sets
# without a wrong label there were up to so many of them for each ordinary error of the classifier, and no way to tell
# them from wrong labels. They decide how many of the findings are right at least.
SURPRISES = 0.12
SURE = 0.97  # a cleaned copy moves a picture from here on, and only
SURE_OF_CLASS = 0.9  # where it is as sure of the class,
SURE_IN_ALL = 0.75  # and so many of all findings are right at least
DOUBTFUL = 0.9  # probability of another class, by looks alone, from which a picture is worth a look
DOUBTFUL_SHARE, MOST_DOUBTFUL = 1e-3, 20  # how many of these are shown at most


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What held-out answers say of the labels."""

    wrong: np.ndarray  # float64 (N,): how likely the given label is wrong, 0–1; 0 where nothing was held out
    likely: np.ndarray  # int64 (N,): the likeliest other class
    truths: np.ndarray  # float64 (N, C): how likely each class is the true one, given picture and label
    answers: np.ndarray  # float64 (N, C): the same from the picture alone
    held_out: np.ndarray  # bool (N,): whether the picture was answered by others

    @property
    def n_wrong(self) -> float:
        """How many labels are wrong in all, as expected."""
        return float(self.wrong.sum())


def judge(
    features: np.ndarray, labels: np.ndarray, n_classes: int, *, seed: int = 0, groups: np.ndarray | None = None
) -> Judged:
    """Judge the labels, int (N,) from 0 to C - 1, by frozen features, float (N, D).

    N and C must be at least 2. Pictures of one group, int (N,), are held out together; twins would answer each other.
    """
    sides = discriminants.Sides(features, labels, n_classes, seed=seed, groups=groups)
    held = np.flatnonzero(sides.held_out)
    if len(held) == 0:
        even = np.full((len(labels), n_classes), 1 / n_classes)
        return Judged(np.zeros(len(labels)), labels.astype(np.int64), even, even, sides.held_out)
    found = None
    for shrinkage, scores in zip(SHRINKAGES, sides.scores(SHRINKAGES), strict=True):
        noise = labelnoise.learn(scores[held], labels[held])
        if found is None or noise.loss < found[0].loss:
            found = noise, shrinkage
        elif noise.loss > found[0].loss:
            break  # the loss has one valley
    assert found is not None
    noise, shrinkage = found
    rows = np.arange(len(held))
    suspected = np.zeros(len(labels), bool)
    suspected[held] = noise.truths[rows, labels[held]] < 1 - LIKELY
    if suspected.any():
        scores = sides.scores((shrinkage,), without=suspected)[0]
        noise = labelnoise.learn(scores[held], labels[held])
    truths, answers = np.full((2, len(labels), n_classes), 1 / n_classes)
    truths[held], answers[held] = noise.truths, noise.answers
    wrong = np.where(sides.held_out, 1 - truths[np.arange(len(labels)), labels], 0.0)
    others = answers.copy()
    others[np.arange(len(labels)), labels] = -1
    return Judged(wrong, others.argmax(axis=1), truths, answers, sides.held_out)


def find(
    judged: Judged,
    labels: np.ndarray,
    classes: Sequence[str],
    paths: Sequence[str],
    but: frozenset[int] | set[int] = frozenset(),
) -> list[Finding]:
    """One finding a picture: likely wrong labels as warnings, then some that are worth a look, the worst first.

    `but` are pictures to leave out, such as those that belong to no class at all.
    """
    rows = np.arange(len(labels))
    of_given, of_likely = judged.answers[rows, labels], judged.answers[rows, judged.likely]
    # Beyond a few digits the probability says nothing: how far the answers are apart then orders the pictures.
    order = np.lexsort((np.log(of_given + 1e-12) - np.log(of_likely + 1e-12), -judged.wrong.round(6)))
    order = [int(i) for i in order if judged.held_out[i] and int(i) not in but]
    likely = [i for i in order if judged.wrong[i] >= LIKELY]
    expected = judged.wrong[likely].mean() if likely else 0.0
    doubtful = [i for i in order if judged.wrong[i] < LIKELY and of_likely[i] >= DOUBTFUL]
    doubtful = sorted(doubtful, key=lambda i: -of_likely[i])
    most = min(MOST_DOUBTFUL, max(5, math.ceil(DOUBTFUL_SHARE * len(labels))))
    held = judged.held_out
    errors = float((1 - judged.answers[held].max(axis=1)).sum())
    at_least = max(0.0, 1 - SURPRISES * errors / len(likely)) if likely else 0.0
    about = {
        "wrong_in_all": round(judged.n_wrong, 1),
        "found": len(likely),
        "right_at_least": round(min(at_least, expected), 3),
        "right_at_most": round(float(expected), 3),
        "of": int(held.sum()),
    }
    return [
        _finding(i, judged, float(of_likely[i]), labels, classes, paths, about)
        for i in (*likely, *doubtful[: max(0, most - len(likely))])
    ]


def _finding(
    i: int,
    judged: Judged,
    looks: float,
    labels: np.ndarray,
    classes: Sequence[str],
    paths: Sequence[str],
    about: dict[str, float | int],
) -> Finding:
    given, to, wrong = classes[int(labels[i])], classes[int(judged.likely[i])], float(judged.wrong[i])
    likely = wrong >= LIKELY
    if likely:
        message = (
            f"{shown(paths[i])} is filed under {shown(given)} but looks like {shown(to)}: its label is wrong with a "
            f"probability of up to {_percent(wrong)}. {_in_all(about)}"
        )
        remedy = f"Look at it; if it shows {shown(to)}, file it there."
    else:
        message = (
            f"{shown(paths[i])} is filed under {shown(given)} but looks more like {shown(to)} ({_percent(looks)} by "
            f"looks alone); it may just be a difficult picture."
        )
        remedy = "Look at it when you have the time."
    sure = wrong >= SURE and about["right_at_least"] >= SURE_IN_ALL
    sure = sure and judged.truths[i, judged.likely[i]] >= SURE_OF_CLASS
    proposal = (
        Proposal(paths[i], "move", to, f"{_percent(wrong)} sure that it is no {shown(given)}")
        if sure
        else Proposal(paths[i], "keep", to, f"{_percent(wrong)} sure that it is no {shown(given)}: look at it")
        if likely
        else Proposal(paths[i], "keep", reason=f"looks like {shown(to)}, but may be difficult")
    )
    return Finding(
        "wrong_label",
        "warning" if likely else "info",
        message,
        remedy,
        (paths[i],),
        score=wrong + (0 if likely else looks / 1e3),
        detail={"given": given, "likely": to, "probability": wrong, "looks": looks, **about},
        proposals=(proposal,),
    )


def _in_all(about: dict[str, float | int]) -> str:
    n, low, high = about["found"], round(about["found"] * about["right_at_least"]), about["right_at_most"]
    high = max(1, round(n * high))
    if n == 1:
        return f"No other of the {about['of']:,} labels seems wrong{'' if low else ', and this may be a rare sight'}."
    many = f"about {high:,}" if low == high else f"between {low:,} and {high:,}"
    return f"It is one of {n:,} that seem wrong among {about['of']:,}; {many} of them will be."


def _percent(share: float) -> str:
    """A share, 0–1, in whole per cent; never 100 % or 0 % of something that is not certain."""
    return f"{min(max(round(100 * share), 1), 99)} %"
