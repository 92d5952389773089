"""Answers and right labels to a table of results."""

from __future__ import annotations

import dataclasses
import functools
import html
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tellapart import bootstrap, caveats, metrics
from tellapart.files import shown
from tellapart.slices import Slice

__all__ = ["CROSS_VALIDATION", "Evaluation", "Slice"]

CROSS_VALIDATION = "cross-validation"  # a split in which each picture was held out once
MOST_MATRIX = 500  # classes of a confusion matrix that a bundle keeps: its size grows with their square
TOP = (3, 5)  # of how many most probable classes it is counted whether the right one is among them


@dataclass(frozen=True, repr=False, eq=False)
class Evaluation:
    """How a model fared on pictures whose label is known.

    Everything is counted from the fields; what takes longer is counted once, when it is first asked for.
    """

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
    # By cross-validation: which fold each picture was held out in, int64 (N,), from 0; empty where one model was asked.
    folds: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

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
        return metrics.wilson_interval(self.n_right, self.n)

    @property
    def n_right(self) -> int:
        """How many pictures' most probable class is the right one."""
        return int((self.predicted == self.labels).sum())

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the classes' recalls, 0–1: what rare classes count as much in as common ones."""
        return metrics.balanced_accuracy(self.probabilities, self.labels)

    @property
    def log_loss(self) -> float:
        """The mean negative logarithm of the right class's probability, in nats."""
        return metrics.log_loss(self.probabilities, self.labels)

    @property
    def brier_score(self) -> float:
        """The mean squared error of the probabilities, summed over the classes, 0–2."""
        return metrics.brier_score(self.probabilities, self.labels)

    @functools.cached_property
    def roc_auc(self) -> float | None:
        """The area under the ROC curve, 0–1 (see `metrics.roc_auc`); None where all pictures are of one class."""
        return metrics.roc_auc(self.probabilities, self.labels)

    @property
    def top_k(self) -> dict[int, float]:
        """How often the right class is among the k most probable, 0–1, for each k of TOP below their number."""
        return {k: metrics.top_k_accuracy(self.probabilities, self.labels, k) for k in TOP if k < len(self.classes)}

    @property
    def expected_calibration_error(self) -> float:
        """The mean gap between confidence and accuracy over 15 equal-width bins, 0–1."""
        return metrics.expected_calibration_error(self.probabilities, self.labels)

    @property
    def reliability(self) -> tuple[metrics.Bin, ...]:
        """Confidence against accuracy in the bins of `expected_calibration_error` that hold pictures, low to high."""
        return metrics.reliability(self.probabilities, self.labels)

    @property
    def coverage(self) -> float:
        """The share of pictures that the model answers, 0–1."""
        return float(self.answered.mean())

    @property
    def accuracy_when_answered(self) -> float | None:
        """The share of right answers among the pictures that the model answers, 0–1; None where it answers none."""
        answered = self.answered
        return float((self.predicted == self.labels)[answered].mean()) if answered.any() else None

    @property
    def coverage_curve(self) -> tuple[tuple[float, float], ...]:
        """(share answered, accuracy of these) when only the surest pictures were answered, surest first."""
        return metrics.coverage_curve(self.probabilities, self.labels)

    @functools.cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % interval of each number, by its name: Wilson's for shares of pictures, else `bootstrap`'s."""
        found = {
            "accuracy": self.accuracy_interval,
            **bootstrap.intervals(self.probabilities, self.labels),
            "coverage": metrics.wilson_interval(int(self.answered.sum()), self.n),
        }
        if self.accuracy_when_answered is not None:
            right = int((self.predicted == self.labels)[self.answered].sum())
            found["accuracy_when_answered"] = metrics.wilson_interval(right, int(self.answered.sum()))
        for k, share in self.top_k.items():
            found[f"top_{k}"] = metrics.wilson_interval(round(share * self.n), self.n)
        return found

    @functools.cached_property
    def warnings(self) -> tuple[str, ...]:
        """What to keep in mind when these numbers are read, a sentence each."""
        unseen = self.unseen()
        error = self.expected_calibration_error
        doubted = error >= caveats.BADLY  # only then it is worth the draws
        by_chance = bootstrap.calibration_by_chance(self.probabilities) if doubted else 1.0
        every = [
            caveats.seen(self.n_trained_on, self.accuracy, (unseen.accuracy, unseen.n) if unseen else None),
            caveats.small(self.n_right, self.n),
            caveats.baseline(self.n_right, self.n, self.baseline_accuracy),
            *caveats.classes(self.per_class),
            caveats.calibration(error, by_chance, self.reliability),
        ]
        return tuple(each for each in every if each)

    @property
    def worst_slice(self) -> Slice | None:
        """Of the parts that are surely worse than the other pictures the one of the surely lowest accuracy, or None."""
        worse = [each for each in self.slices if each.worse]
        return min(worse, key=lambda each: each.accuracy_interval[1], default=None)

    @property
    def fold_accuracies(self) -> tuple[float, ...]:
        """The accuracy of each fold, 0–1; empty where there was no cross-validation."""
        right = self.predicted == self.labels
        return tuple(float(right[self.folds == fold].mean()) for fold in np.unique(self.folds))

    @property
    def baseline_accuracy(self) -> float:
        """What always answering the commonest class would reach, 0–1."""
        return metrics.baseline_accuracy(self.labels)

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
            folds=self.folds[keep] if len(self.folds) else self.folds,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the contract of `evaluate --json`."""
        unseen = self.unseen() if self.n_trained_on else None
        folds = self.fold_accuracies
        return {
            **self.record(),
            "confusion_matrix": self.confusion.tolist(),
            "accuracy_unseen": unseen.accuracy if unseen else None if self.n_trained_on else self.accuracy,
            "classes": list(self.classes),
            "n_trained_on": self.n_trained_on,
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
            "split": self.split,
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "reliability": [dataclasses.asdict(each) for each in self.reliability],
            "coverage_curve": [list(point) for point in self.coverage_curve],
            "warnings": list(self.warnings),
            "slices": [each.as_dict() for each in self.slices],
            "worst_slice": self.worst_slice.as_dict() if self.worst_slice else None,
            "folds": {"accuracies": list(folds), "mean": float(np.mean(folds)), "spread": float(np.std(folds, ddof=1))}
            if len(folds) > 1
            else None,
        }

    def record(self) -> dict[str, Any]:
        """What a bundle keeps of it: plain numbers that are quickly counted, no paths, which may be private."""
        matrix = {"confusion_matrix": self.confusion.tolist()} if len(self.classes) <= MOST_MATRIX else {}
        return {
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "accuracy_when_answered": self.accuracy_when_answered,
            "balanced_accuracy": self.balanced_accuracy,
            "baseline_accuracy": self.baseline_accuracy,
            "brier_score": self.brier_score,
            **matrix,
            "coverage": self.coverage,
            "expected_calibration_error": self.expected_calibration_error,
            "log_loss": self.log_loss,
            "n": self.n,
            "per_class": {name: _plain(scores) for name, scores in self.per_class.items()},
            "roc_auc": self.roc_auc,
            "top_k": {str(k): share for k, share in self.top_k.items()},
        }

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


def _plain(scores: metrics.ClassScores) -> dict[str, Any]:
    """As JSON has it: no tuples."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(scores).items()
    }


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    """An HTML table of cells that are HTML already."""
    first = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table>"
