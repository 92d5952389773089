"""An evaluation in words and tables for a person at a terminal: the headline first, then what to keep in mind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tellapart.evaluation import CROSS_VALIDATION, Evaluation, Slice
from tellapart.files import counted, shown

MOST_CLASSES = 20  # in a table of classes; beyond, the worst ones are shown
MATRIX_WIDTH = 100  # characters; a wider confusion matrix gives way to a list of the commonest mistakes
MOST_MISTAKES = 10
MOST_REASONS = 5  # kinds of reasons why pictures were not used, each with one example
UNEVEN = 1.5  # times as many test pictures of one class as of another, from which on the balanced accuracy is told
TYPICAL = 13 / 15  # where the bin of confidence begins in which a model says about 90 %
FEWEST_TYPICAL = 20  # pictures there, for a sentence about them


def evaluated(evaluation: Evaluation) -> RenderableType:
    """What `evaluate` says."""
    low, high = evaluation.accuracy_interval
    of = f" of the {evaluation.split} split" if evaluation.split not in (None, "all") else ""
    of = " by cross-validation" if evaluation.split == CROSS_VALIDATION else of
    parts: list[RenderableType] = [
        Text(
            f"Accuracy {evaluation.accuracy:.1%} on {counted(evaluation.n, 'picture')}{of} "
            f"(95 % sure: between {low:.1%} and {high:.1%}).",
            style="bold",
        ),
        Text("\n".join(_facts(evaluation))),
    ]
    if evaluation.slices:
        parts.append(_parts(evaluation))
    if evaluation.warnings:
        parts.append(Text("\n".join(evaluation.warnings), style="yellow"))
    parts.append(_classes(evaluation))
    widths = [max(len(shown(name)), 5) + 2 for name in evaluation.classes]
    if sum(widths) + max(widths) <= MATRIX_WIDTH:
        parts.append(_confusion(evaluation))
    elif (evaluation.predicted != evaluation.labels).any():
        parts.append(_mistakes(evaluation))
    if evaluation.skipped:
        parts.append(skipped(evaluation.skipped))
    return Group(*parts)


def skipped(each: Sequence[tuple[str, str]]) -> RenderableType:
    """How many pictures were not used, and why: the commonest reasons with an example each."""
    reasons = Counter(reason for _, reason in each)
    examples = {reason: path for path, reason in reversed(each)}
    lines = [f"{len(each):,} {'picture was' if len(each) == 1 else 'pictures were'} not used:"]
    for reason, n in reasons.most_common(MOST_REASONS):
        lines.append(f"  {n:,} × {reason} ({shown(examples[reason])})")
    if len(reasons) > MOST_REASONS:
        lines.append(f"  … and {len(reasons) - MOST_REASONS:,} other reasons; --json FILE lists every picture.")
    return Text("\n".join(lines), style="yellow")


def _facts(evaluation: Evaluation) -> list[str]:
    """What goes with the headline, a sentence each."""
    said = []
    folds = evaluation.fold_accuracies
    if len(folds) > 1:
        said.append(
            f"Each picture was answered by a model that had not learned from it: {len(folds)} folds, from "
            f"{min(folds):.1%} to {max(folds):.1%} right."
        )
    said.append(f"Always answering the commonest class would reach {evaluation.baseline_accuracy:.1%}.")
    support = [each.support for each in evaluation.per_class.values() if each.support]
    if max(support) > UNEVEN * min(support):
        said.append(f"With every class counting the same: {evaluation.balanced_accuracy:.1%} (balanced accuracy).")
    if len(evaluation.classes) > max(evaluation.top_k, default=len(evaluation.classes)):
        k = max(evaluation.top_k)
        said.append(f"The right class is among the {k} most probable for {evaluation.top_k[k]:.1%} of the pictures.")
    said.append(_calibration(evaluation))
    n_answered = int(evaluation.answered.sum())
    if n_answered < evaluation.n:
        declined = f"It declines {counted(evaluation.n - n_answered, 'picture')} ({1 - evaluation.coverage:.1%})"
        if evaluation.accuracy_when_answered is None:
            said.append(f"{declined}, which is all of them.")
        else:
            low, high = evaluation.intervals["accuracy_when_answered"]
            said.append(
                f"{declined}; of the {n_answered:,} that it answers {evaluation.accuracy_when_answered:.1%} are right "
                f"(95 % sure: between {low:.1%} and {high:.1%})."
            )
    return said


def _calibration(evaluation: Evaluation) -> str:
    """How far its probabilities can be believed, in words."""
    confidence = float(evaluation.probabilities.max(axis=1).mean())
    said = f"It is {confidence:.1%} sure on average, and right {evaluation.accuracy:.1%} of the time"
    for each in evaluation.reliability:
        if each.n >= FEWEST_TYPICAL and each.low == TYPICAL:
            said += f"; where it says about {each.confidence:.0%}, it is right {each.accuracy:.0%} of the time"
    return f"{said}."


def _parts(evaluation: Evaluation) -> Text:
    """The worst part of the pictures, or that there is none."""
    worst = evaluation.worst_slice
    if worst is None:
        kinds = ", ".join(dict.fromkeys(shown(each.by) for each in evaluation.slices))
        return Text(
            f"No part of the pictures is surely worse than the rest ({counted(len(evaluation.slices), 'part')} looked "
            f"at, by {kinds})."
        )
    others = (evaluation.n_right - worst.n_right) / max(evaluation.n - worst.n, 1)
    said = (
        f"Worst part: {_part(worst)}: {worst.accuracy:.1%} of {counted(worst.n, 'picture')} right, against "
        f"{others:.1%} of the others."
    )
    more = [_part(each) for each in evaluation.slices if each.worse and each is not worst]
    if more:
        said += f" Surely worse too: {', '.join(more[:3])}" + (f" and {len(more) - 3} more." if len(more) > 3 else ".")
    return Text(said, style="yellow")


def _part(each: Slice) -> str:
    return f"{shown(each.by)} {shown(each.name)}"


def _classes(evaluation: Evaluation) -> Table:
    table = Table("Class", "Pictures", "Found (recall)", "Right when answered (precision)", "F1", box=None)
    scores = sorted(evaluation.per_class.items(), key=lambda item: item[1].f1 if item[1].f1 is not None else 2.0)
    if len(scores) <= MOST_CLASSES:
        scores = list(evaluation.per_class.items())
    for name, each in scores[:MOST_CLASSES]:
        shares = ("–" if value is None else f"{value:.1%}" for value in (each.recall, each.precision, each.f1))
        table.add_row(Text(shown(name)), f"{each.support:,}", *shares)
    if len(scores) > MOST_CLASSES:
        table.caption = f"the {MOST_CLASSES} worst of {len(scores):,} classes"
    return uncut(table)


def _confusion(evaluation: Evaluation) -> Table:
    table = Table("right class ↓  answer →", box=None)
    for name in evaluation.classes:
        table.add_column(Text(shown(name)), justify="right")
    for i, row in enumerate(evaluation.confusion.tolist()):
        cells = [Text(f"{n:,}", style="bold green" if i == j else "red" if n else "dim") for j, n in enumerate(row)]
        table.add_row(Text(shown(evaluation.classes[i])), *cells)
    return uncut(table)


def _mistakes(evaluation: Evaluation) -> Text:
    wrong = Counter(
        (right, answer)
        for right, answer in zip(evaluation.labels.tolist(), evaluation.predicted.tolist(), strict=True)
        if right != answer
    )
    name = [shown(each) for each in evaluation.classes]
    lines = [
        f"  {n:,} × {name[right]} taken for {name[answer]}" for (right, answer), n in wrong.most_common(MOST_MISTAKES)
    ]
    return Text("\n".join(["Most often confused:", *lines]))


def uncut(table: Table) -> Table:
    """Let a narrow terminal break what does not fit, rather than cut it off."""
    for column in table.columns:
        column.overflow = "fold"
    return table
