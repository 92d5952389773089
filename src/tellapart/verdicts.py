"""Results in words for who has to decide: how good, whether to trust it, what to fix first; each by a stated rule.

Every sentence here is plain text: whoever shows it escapes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart import caveats
from tellapart.charts import percent
from tellapart.evaluation import Evaluation
from tellapart.files import counted, shown
from tellapart.findings import KIND_NAMES

WIDE = 0.15  # an interval of the accuracy this wide tells too little
GOOD, USABLE = 0.9, 0.7  # of the accuracy's lower end
WEAK = 0.75  # precision or recall of a class below which its answers are to be looked over
FEW = caveats.FEWEST_OF_CLASS
SURE = 0.95  # an answer this sure that is wrong is worth a look at its label
LARGE_GAP = 0.05  # between training and test accuracy
HARMLESS = ("odd", "exact_duplicate", "near_duplicate")  # kinds of findings that spoil little
MOST_LETTERS = 300  # of a finding
MOST_NAMED = 4  # classes in a sentence

RULES = (
    f"“Too few test pictures to tell”: the interval of the accuracy is wider than {100 * WIDE:.0f} points, unless all "
    "of it lies above or below the limits that follow.",
    "“Do not trust it”: the accuracy is not surely above what always answering the commonest class would reach, or its "
    f"upper end lies below {100 * USABLE:.0f} %, or every picture was one that it was trained on.",
    f"“Trust it”: the lower end of the interval is at least {100 * GOOD:.0f} %. A class is named as an exception where "
    f"fewer than {100 * WEAK:.0f} % of its pictures are found or of its answers are right, of {FEW} pictures or more.",
    "“Use it, and look over its answers”: everything between.",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to trust a model."""

    level: str  # "trust", "partly", "unclear" or "distrust"
    title: str  # in a few words
    says: str  # in a sentence or two


@dataclass(frozen=True, slots=True)
class Fix:
    """Something to do about a model or its pictures."""

    severity: str  # "error", "warning" or "info", as findings have it
    title: str
    says: str
    where: str = ""  # the part of the report that shows it


@dataclass(frozen=True, slots=True)
class Pair:
    """Pictures of one class that were given one answer."""

    right: int  # class indices
    answer: int
    n: int
    of: int  # pictures of the right class


def judged(evaluation: Evaluation) -> Evaluation:
    """The pictures that say how good a model is: those it was not trained on, where there are any."""
    return (evaluation.unseen() or evaluation) if evaluation.n_trained_on else evaluation


def headline(evaluation: Evaluation) -> str:
    """The accuracy with its interval, in words."""
    n_right, n = int((evaluation.predicted == evaluation.labels).sum()), evaluation.n
    low, high = evaluation.accuracy_interval
    kind = "pictures that it was trained on" if evaluation.n_trained_on == n else "new pictures"
    base = 1000 if n >= 500 and n_right / n > 0.98 else 100
    # Never rounded up to all of them.
    some = [base if share == 1 else min(round(base * share), base - 1) for share in (n_right / n, low, high)]
    if n_right == n:
        return f"It is right on all {n:,} of the {kind}; 95 % sure: on at least {some[1]:,} of {base:,} more."
    return f"It is right on {some[0]:,} of {base:,} {kind}; 95 % sure: between {some[1]:,} and {some[2]:,}."


def beside_baseline(evaluation: Evaluation) -> str:
    """The accuracy against the simplest rule there is."""
    if evaluation.baseline_accuracy == 1:
        return "All these pictures are of one class, so guessing that class would never fail here."
    return (
        f"Always answering the commonest class would be right on {percent(evaluation.baseline_accuracy)}; "
        f"this model is right on {percent(evaluation.accuracy)} ({counted(evaluation.n, 'picture')})."
    )


def verdict(evaluation: Evaluation) -> Verdict:
    """Whether to trust a model, by `RULES`."""
    low, high = evaluation.accuracy_interval
    base = evaluation.baseline_accuracy
    if evaluation.n_trained_on == evaluation.n:
        return Verdict(
            "distrust",
            "Do not trust these numbers",
            "Every picture here was one that it was trained on. Test it on pictures that it has never seen.",
        )
    if high < USABLE or (high - low <= WIDE and low <= base < 1):
        why = f"It is wrong on {_one_in(1 - evaluation.accuracy)}."
        if low <= base < 1:
            why += " That is not surely better than always answering the commonest class."
        return Verdict("distrust", "Do not trust it yet", why)
    if high - low > WIDE and low < GOOD:
        return Verdict(
            "unclear",
            "Too few test pictures to tell",
            f"With {counted(evaluation.n, 'picture')} anything from {percent(low)} to {percent(high)} may be true. "
            "Test it on a few hundred.",
        )
    weak, unknown = weak_classes(evaluation), untold_classes(evaluation)
    exceptions = f" Look over its answers about {named(evaluation, weak)}." if weak else ""
    if unknown:
        exceptions += f" Of {named(evaluation, unknown)} there were too few test pictures to tell."
    wrong = (
        "It was never wrong here."
        if evaluation.accuracy == 1
        else f"It is wrong on {_one_in(1 - evaluation.accuracy)}."
    )
    like = "That holds for pictures like those of the test."
    if low >= GOOD and not weak:
        classes = [i for i in range(len(evaluation.classes)) if i not in unknown]
        title = f"Trust it for {named(evaluation, classes)}" if len(classes) <= MOST_NAMED else "Trust it"
        return Verdict("trust", title, f"{wrong} {like}{exceptions}")
    if low >= GOOD:
        return Verdict("trust", f"Trust it, but not for {named(evaluation, weak)}", f"{wrong} {like}{exceptions}")
    return Verdict("partly", "Use it, and look over its answers", f"{wrong} {like}{exceptions}")


def weak_classes(evaluation: Evaluation) -> list[int]:
    """Classes of enough pictures of which too few are found, or whose answers are too often wrong."""
    scores = list(evaluation.per_class.values())
    low = [min(1.0 if each is None else each for each in (one.recall, one.precision)) for one in scores]
    return [i for i in np.argsort(low, kind="stable").tolist() if low[i] < WEAK and scores[i].support >= FEW]


def untold_classes(evaluation: Evaluation) -> list[int]:
    """Classes of too few test pictures."""
    return [i for i, each in enumerate(evaluation.per_class.values()) if each.support < FEW]


def pairs(evaluation: Evaluation) -> list[Pair]:
    """Every pair of classes that was mixed up, the most often first."""
    counts = evaluation.confusion
    rows, columns = np.nonzero(counts * ~np.eye(len(counts), dtype=bool))
    found = [
        Pair(right, answer, int(counts[right, answer]), int(counts[right].sum()))
        for right, answer in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    return sorted(found, key=lambda each: -each.n)


def certainty(evaluation: Evaluation) -> list[str]:
    """How far its percentages can be believed, in sentences."""
    confidence = evaluation.probabilities.max(axis=1)
    right = evaluation.predicted == evaluation.labels
    mean, share = float(confidence.mean()), float(right.mean())
    low, high = evaluation.accuracy_interval
    said = [f"On average it says that it is {percent(mean)} sure, and it is right {percent(share)} of the time"]
    little = "a little " if abs(mean - share) < 0.03 else ""
    if low <= mean <= high or abs(mean - share) < 0.01:
        said[0] += ": it means what it says."
    else:
        said[0] += f": it is {little}too sure of itself." if mean > share else f": it is {little}too modest."
    for claimed in (0.9, 0.7):
        near = np.abs(confidence - claimed) <= 0.05
        if near.sum() >= FEW:
            n, true = int(near.sum()), float(right[near].mean())
            said.append(
                f"When it says about {percent(claimed)} it is right {percent(true)} of the time ({n:,} pictures)."
            )
    surest = confidence >= 0.99
    if surest.sum() >= FEW:
        n, true = int(surest.sum()), float(right[surest].mean())
        said.append(f"When it says 99 % or more it is right {percent(true)} of the time ({n:,} pictures).")
    return said


def fixes(evaluation: Evaluation, judged: Evaluation, report: Mapping[str, Any]) -> list[Fix]:
    """What to fix first, the worst first.

    Args:
        evaluation: of all pictures.
        judged: of those that the verdict is about.
        report: of the training, where it is known: `Classifier.report`.
    """
    found = [*_warnings(evaluation), *_by_heart(report, judged), *_weak(judged), *_confused(judged)]
    worst = judged.worst_slice or evaluation.worst_slice
    if worst is not None and worst.worse:
        says = (
            f"Of {counted(worst.n, 'picture')} there, {percent(worst.accuracy)} are right, against "
            f"{percent(judged.accuracy)} of all. More training pictures like these help most."
        )
        found.append(Fix("warning", f"Worse where {shown(worst.by)} is “{shown(worst.name)}”", says, "slices"))
    sure = int(((judged.predicted != judged.labels) & (judged.probabilities.max(axis=1) >= SURE)).sum())
    if sure:
        says = f"It was surer than {percent(SURE)}. Often the label is what is wrong: look at each."
        found.append(Fix("info", f"{counted(sure, 'mistake')} that it was sure of", says, "mistakes"))
    if evaluation.skipped:
        says = "They are named below, each with its reason."
        found.append(Fix("info", f"{counted(len(evaluation.skipped), 'picture')} could not be used", says, "data"))
    found += _found(report)
    return sorted(found, key=lambda each: ("error", "warning", "info").index(each.severity))


def _warnings(evaluation: Evaluation) -> Iterator[Fix]:
    """What the evaluation itself warns of; its sentences begin with the point."""
    for each in evaluation.warnings:
        point, _, rest = min((each.partition(end) for end in (": ", ". ")), key=lambda parts: len(parts[0]))
        seen = "trained on" in each
        where = "data" if seen else "calibration" if "probabilities" in each else "classes"
        yield Fix("error" if seen else "warning", point.rstrip("."), rest[:1].upper() + rest[1:], where)


def _found(report: Mapping[str, Any]) -> Iterator[Fix]:
    """What the check before the training found, the first of each kind."""
    every = [each for each in report.get("findings") or () if each.get("severity") in ("error", "warning")]
    every = [each for each in every if each.get("kind") not in HARMLESS]
    for kind in dict.fromkeys(str(each.get("kind")) for each in every):
        mine = [each for each in every if each.get("kind") == kind]
        says = f"{mine[0].get('message', '')} {mine[0].get('remedy', '')}".strip()
        more = f" And {len(mine) - 1:,} more: see tellapart check." if len(mine) > 1 else ""
        severity = "error" if mine[0]["severity"] == "error" else "info"
        yield Fix(severity, KIND_NAMES.get(kind, kind), f"{says[:MOST_LETTERS]}{more}", "data")


def _by_heart(report: Mapping[str, Any], judged: Evaluation) -> Iterator[Fix]:
    trained = report.get("train_accuracy")
    if isinstance(trained, float) and trained - judged.accuracy > LARGE_GAP and trained > judged.accuracy_interval[1]:
        gap = f"{percent(trained)} of the training pictures are right, {percent(judged.accuracy)} of the test pictures."
        yield Fix(
            "warning", "It has partly learned its pictures by heart", f"{gap} More pictures help most.", "learning"
        )


def _weak(judged: Evaluation) -> Iterator[Fix]:
    for i in weak_classes(judged)[:2]:
        name = shown(judged.classes[i])
        one = judged.per_class[judged.classes[i]]
        says = f"Of its {counted(one.support, 'picture')} {percent(one.recall or 0)} are found"
        if one.precision is not None:
            says += f"; {percent(one.precision)} of the answers “{name}” are right"
        yield Fix("warning", f"Weak at “{name}”", f"{says}. Give it more of these.", "classes")


def _confused(judged: Evaluation) -> Iterator[Fix]:
    every = pairs(judged)
    if every and every[0].n >= 2:
        worst, n_wrong = every[0], sum(each.n for each in every)
        one, other = (shown(judged.classes[i]) for i in (worst.right, worst.answer))
        says = (
            f"{worst.n:,} of {counted(worst.of, 'picture')}, {percent(worst.n / n_wrong)} of all mistakes. "
            "Look what they have in common."
        )
        severity = "warning" if worst.n / worst.of > 0.1 else "info"
        yield Fix(severity, f"“{one}” taken for “{other}”", says, "confusion")


def named(evaluation: Evaluation, indices: Sequence[int]) -> str:
    """Some classes in a sentence."""
    names = [f"“{shown(evaluation.classes[i])}”" for i in indices[:MOST_NAMED]]
    if len(indices) > MOST_NAMED:
        return f"{', '.join(names)} and {len(indices) - MOST_NAMED:,} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _one_in(share: float) -> str:
    """A share of errors as people say it: 1 picture in 7."""
    if share >= 0.4:
        return f"{percent(share)} of the pictures"
    return f"about 1 picture in {round(1 / share):,}"
