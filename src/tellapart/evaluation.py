"""Answers and right labels to a table of results."""

from __future__ import annotations

import dataclasses
import html
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tellapart import metrics
from tellapart.files import shown


@dataclass(frozen=True, slots=True)
class Slice:
    """How a model fared on a part of the pictures."""

    by: str  # what the parts were made by: "folder", "size", "brightness", or the name of a CSV's column
    name: str  # which part: "night", "under 120 px"
    n: int  # pictures in it, at least 1
    n_right: int
    worse: bool = False  # whether it is surely worse than the other pictures, all parts that were looked at considered

    @property
    def accuracy(self) -> float:
        """The share of right answers, 0–1."""
        return self.n_right / self.n

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of `accuracy`."""
        return metrics.wilson_interval(self.n_right, self.n)


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """How a model fared on pictures whose label is known: all of it follows from the first four fields."""

    classes: tuple[str, ...]  # in the order of the columns of `probabilities`
    probabilities: np.ndarray  # float64 (N, C), rows sum to 1
    labels: np.ndarray  # int64 (N,), the right class
    paths: tuple[str, ...]  # the N pictures
    skipped: tuple[tuple[str, str], ...] = ()  # (path, reason) of the pictures that could not be used
    split: str | None = None  # which split of the input was taken; None where it has none
    trained_on: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))  # bool (N,): was it a training picture
    notes: tuple[str, ...] = ()  # sentences about how the input was read
    # Why the model declines to answer each picture, str (N,), "" where it answers; empty: it answers all.
    declined: tuple[str, ...] = ()
    slices: tuple[Slice, ...] = ()  # parts of the pictures, those of one kind together

    @property
    def answered(self) -> np.ndarray:
        """Which pictures the model answers, bool (N,)."""
        return np.array([not why for why in self.declined]) if self.declined else np.ones(self.n, bool)

    @property
    def n(self) -> int:
        """How many pictures were answered."""
        return len(self.labels)

    @property
    def accuracy(self) -> float:
        """The share of right answers, 0–1."""
        return metrics.accuracy(self.probabilities, self.labels)

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of `accuracy`."""
        return metrics.wilson_interval(int((self.predicted == self.labels).sum()), self.n)

    @property
    def baseline_accuracy(self) -> float:
        """What always answering the commonest class would reach, 0–1."""
        return metrics.baseline_accuracy(self.labels, len(self.classes))

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each picture, int64 (N,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def confusion(self) -> np.ndarray:
        """Counts, int64 (C, C): row = the right class, column = the answer."""
        return metrics.confusion_matrix(self.predicted, self.labels, len(self.classes))

    @property
    def per_class(self) -> dict[str, metrics.ClassScores]:
        """Precision, recall, F1 and support, by class name."""
        return dict(zip(self.classes, metrics.class_scores(self.confusion), strict=True))

    @property
    def n_trained_on(self) -> int:
        """How many of the pictures the model was trained on: on these it looks better than it is."""
        return int(self.trained_on.sum())

    def unseen(self) -> Evaluation | None:
        """The same without the pictures that the model was trained on; None where none is left."""
        keep = ~self.trained_on if len(self.trained_on) else np.ones(self.n, bool)
        if not keep.any():
            return None
        return dataclasses.replace(
            self,
            probabilities=self.probabilities[keep],
            labels=self.labels[keep],
            paths=tuple(path for path, kept in zip(self.paths, keep, strict=True) if kept),
            trained_on=np.zeros(int(keep.sum()), bool),
            declined=tuple(why for why, kept in zip(self.declined, keep, strict=True) if kept) if self.declined else (),
            slices=(),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the contract of `evaluate --json`."""
        values = {
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "baseline_accuracy": self.baseline_accuracy,
            "log_loss": metrics.log_loss(self.probabilities, self.labels),
            "expected_calibration_error": metrics.expected_calibration_error(self.probabilities, self.labels),
            "classes": list(self.classes),
            "per_class": {name: dataclasses.asdict(scores) for name, scores in self.per_class.items()},
            "confusion_matrix": self.confusion.tolist(),
            "n": self.n,
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
            "split": self.split,
            "n_trained_on": self.n_trained_on,
        }
        unseen = self.unseen() if self.n_trained_on else None
        values["accuracy_unseen"] = unseen.accuracy if unseen else None if self.n_trained_on else self.accuracy
        return values

    def record(self) -> dict[str, Any]:
        """What a bundle keeps of it: the numbers, no paths, which may be private."""
        values = self.as_dict()
        for name in ("classes", "skipped", "split", "n_trained_on", "accuracy_unseen"):
            del values[name]
        return values

    def __repr__(self) -> str:
        low, high = self.accuracy_interval
        return f"Evaluation(accuracy {self.accuracy:.1%}, 95 % sure {low:.1%} to {high:.1%}, {self.n:,} pictures)"

    def _repr_html_(self) -> str:
        """What a notebook shows: the accuracy in words, the classes, and the confusion matrix."""
        low, high = self.accuracy_interval
        head = (
            f"<p><b>Accuracy {self.accuracy:.1%}</b> on {self.n:,} pictures (95 % sure: between "
            f"{low:.1%} and {high:.1%}). Always answering the commonest class would reach "
            f"{self.baseline_accuracy:.1%}.</p>"
        )
        names = [html.escape(shown(name)) for name in self.classes]
        scores = [
            [name, f"{each.support:,}", *map(_percent, (each.recall, each.precision, each.f1))]
            for name, each in zip(names, self.per_class.values(), strict=True)
        ]
        counts = [[f"<b>{name}</b>", *map(str, row)] for name, row in zip(names, self.confusion.tolist(), strict=True)]
        return (
            head
            + _table(["class", "pictures", "found (recall)", "right when answered (precision)", "F1"], scores)
            + _table(["right class ↓ answer →", *names], counts)
        )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    """An HTML table of cells that are HTML already."""
    first = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table>"
