"""Two evaluations on the same pictures to what is different: how much, how surely, and which pictures.

Pictures are paired by path, classes matched by name, whatever their order. Where the sets of classes differ, the
pictures of a class that only one model knows are left out and counted: on these one of the two cannot be right. An
answer is what the model says of all its own classes, as in use: it may be a class that the other one does not know.
"""

from __future__ import annotations

import dataclasses
import functools
import html
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart import metrics, paired, rulings
from tellapart.changes import BROKEN, FIXED, WRONG_DIFFERENTLY, Change, ClassChange, Speed
from tellapart.errors import InputError
from tellapart.evaluation import Evaluation
from tellapart.files import counted, quoted, shown


@dataclass(frozen=True, repr=False, eq=False)
class Comparison:
    """Two models on the same pictures: A is the first, B the second; all follows from the two evaluations."""

    a: Evaluation  # both have the same pictures in the same order
    b: Evaluation
    classes: tuple[str, ...]  # that both know, sorted; the pictures are of these
    only_a: tuple[str, ...] = ()  # pictures that only A could answer, and that are left out
    only_b: tuple[str, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()  # (class, pictures) of the classes that not both know
    speed: Speed | None = None  # None: not measured
    size_bytes: tuple[int, int] | None = None  # of A's and B's file

    @property
    def n(self) -> int:
        """How many pictures both answered."""
        return self.a.n

    @property
    def difference(self) -> float:
        """B's accuracy less A's, -1 to 1."""
        return (self.n_fixed - self.n_broken) / self.n

    @functools.cached_property
    def difference_interval(self) -> tuple[float, float]:
        """The 95 % interval of `difference` (see `paired.difference_interval`)."""
        return paired.difference_interval(self.n_fixed, self.n_broken, self.n)

    @functools.cached_property
    def p_value(self) -> float:
        """How often chance alone would make a difference as large: the exact McNemar test, 0–1."""
        return paired.mcnemar(self.n_fixed, self.n_broken)

    @property
    def better(self) -> str | None:
        """Which is better, "a" or "b"; None where no difference can be told."""
        if not paired.tells_apart(self.n_fixed, self.n_broken):
            return None
        return "b" if self.n_fixed > self.n_broken else "a"

    @property
    def needed(self) -> int | None:
        """How many pictures it would take to tell a difference of this size, four times in five."""
        return paired.needed(self.n_fixed, self.n_broken, self.n)

    @functools.cached_property
    def right_a(self) -> np.ndarray:
        """Which pictures A has right, bool (N,)."""
        return self.a.predicted == self.a.labels

    @functools.cached_property
    def right_b(self) -> np.ndarray:
        """Which pictures B has right, bool (N,)."""
        return self.b.predicted == self.b.labels

    @property
    def n_fixed(self) -> int:
        """How many pictures only B has right."""
        return int((self.right_b & ~self.right_a).sum())

    @property
    def n_broken(self) -> int:
        """How many pictures only A has right."""
        return int((self.right_a & ~self.right_b).sum())

    @property
    def both_right(self) -> int:
        """How many pictures both have right."""
        return int((self.right_a & self.right_b).sum())

    @property
    def both_wrong(self) -> int:
        """How many pictures neither has right."""
        return int((~self.right_a & ~self.right_b).sum())

    @property
    def fixed(self) -> tuple[Change, ...]:
        """The pictures that only B has right."""
        return tuple(each for each in self.changes if each.kind == FIXED)

    @property
    def broken(self) -> tuple[Change, ...]:
        """The pictures that only A has right."""
        return tuple(each for each in self.changes if each.kind == BROKEN)

    @functools.cached_property
    def changes(self) -> tuple[Change, ...]:
        """The fixed, then the broken, then those that both have wrong but differently, each by path."""
        return tuple(each for kind in (FIXED, BROKEN, WRONG_DIFFERENTLY) for each in self._of_kind(kind))

    def _of_kind(self, kind: str) -> Iterator[Change]:
        answers_a, answers_b = _answers(self.a), _answers(self.b)
        chosen = {
            FIXED: self.right_b & ~self.right_a,
            BROKEN: self.right_a & ~self.right_b,
            WRONG_DIFFERENTLY: ~self.right_a & ~self.right_b & (answers_a != answers_b),
        }[kind]
        for i in sorted(np.flatnonzero(chosen).tolist(), key=lambda i: self.a.paths[i]):
            yield Change(
                path=self.a.paths[i],
                label=self.a.classes[self.a.labels[i]],
                kind=kind,
                answer_a=str(answers_a[i]),
                probability_a=float(self.a.probabilities[i].max()),
                answer_b=str(answers_b[i]),
                probability_b=float(self.b.probabilities[i].max()),
            )

    @property
    def per_class(self) -> dict[str, ClassChange]:
        """What changed in each class that both know, by its name."""
        place = {name: i for i, name in enumerate(self.a.classes)}
        found = {}
        for name in self.classes:
            of_class = self.a.labels == place[name]
            right_a, right_b = self.right_a[of_class], self.right_b[of_class]
            found[name] = ClassChange(
                n=int(of_class.sum()),
                n_right_a=int(right_a.sum()),
                n_right_b=int(right_b.sum()),
                fixed=int((right_b & ~right_a).sum()),
                broken=int((right_a & ~right_b).sum()),
            )
        return found

    @functools.cached_property
    def losses(self) -> dict[str, dict[str, Any]]:
        """Log-loss and Brier score of `a` and `b`, their `difference` (B less A) and its 95 % bootstrap `interval`.

        Both are better the lower they are (see `metrics`).
        """
        every = {
            "log_loss": _of_both(metrics.log_loss_terms, self.a, self.b),
            "brier_score": _of_both(metrics.brier_terms, self.a, self.b),
        }
        differences = np.stack([b - a for a, b in every.values()], axis=1)
        return {
            name: {
                "a": float(a.mean()),
                "b": float(b.mean()),
                "difference": float(np.mean(b - a)),
                "interval": list(interval),
            }
            for (name, (a, b)), interval in zip(every.items(), paired.mean_intervals(differences), strict=True)
        }

    @property
    def seen(self) -> np.ndarray:
        """Which pictures A or B was trained on, bool (N,)."""
        none = np.zeros(self.n, bool)
        a, b = (each.trained_on if len(each.trained_on) else none for each in (self.a, self.b))
        return a | b

    def unseen(self) -> Comparison | None:
        """The same on the pictures that neither was trained on; None where none is left."""
        keep = np.flatnonzero(~self.seen)
        if not len(keep):
            return None
        return dataclasses.replace(self, a=_taken(self.a, keep), b=_taken(self.b, keep))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why the result may say less than it seems to, a sentence each."""
        said = []
        if self.seen.any():
            n_a, n_b = self.a.n_trained_on, self.b.n_trained_on
            said.append(
                f"A was trained on {n_a:,} of these pictures, B on {n_b:,}: on these a model looks better than it is."
            )
            unseen = self.unseen()
            rest = f"on the {unseen.n:,} others: {unseen.verdict}" if unseen else "there are no others."
            said.append(f"Believe what comes out {rest}" if unseen else f"And {rest} Compare on other pictures.")
        if self.left_out:
            classes = ", ".join(f"{shown(name)} {n:,}" for name, n in self.left_out[:8])
            more = f" and {len(self.left_out) - 8:,} more classes" if len(self.left_out) > 8 else ""
            said.append(f"Left out, for not both models know their class: {classes}{more}.")
        for name, other, paths in (("A", "B", self.only_a), ("B", "A", self.only_b)):
            if paths:
                said.append(
                    f"{counted(len(paths), 'picture')} left out that only {name} could answer, e.g. "
                    f"{shown(paths[0])}; {other} could not read {'it' if len(paths) == 1 else 'them'}."
                )
        return tuple(said)

    @property
    def verdict(self) -> str:
        """The result in a sentence or two."""
        return rulings.sentence(self.n_fixed, self.n_broken, self.n)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the contract of `compare --json`."""
        sides: dict[str, Any] = {}
        for name, each in (("a", self.a), ("b", self.b)):
            sides[name] = {
                "accuracy": each.accuracy,
                "accuracy_interval": list(each.accuracy_interval),
                "log_loss": self.losses["log_loss"][name],
                "brier_score": self.losses["brier_score"][name],
                "expected_calibration_error": each.expected_calibration_error,
                "coverage": each.coverage,
                "accuracy_when_answered": each.accuracy_when_answered,
                "n_trained_on": each.n_trained_on,
            }
        unseen = self.unseen() if self.seen.any() else None
        return {
            "verdict": self.verdict,
            "better": self.better,
            "difference": self.difference,
            "difference_interval": list(self.difference_interval),
            "p_value": self.p_value,
            "n": self.n,
            "n_needed": self.needed,
            **sides,
            "fixed": [each.path for each in self.fixed],
            "broken": [each.path for each in self.broken],
            "wrong_differently": [each.path for each in self.changes if each.kind == WRONG_DIFFERENTLY],
            "both_right": self.both_right,
            "both_wrong": self.both_wrong,
            "per_class": {name: dataclasses.asdict(each) for name, each in self.per_class.items()},
            "losses": self.losses,
            "speed": None if self.speed is None else self.speed.as_dict(),
            "size_bytes": None if self.size_bytes is None else dict(zip("ab", self.size_bytes, strict=True)),
            "classes": list(self.classes),
            "split": self.a.split,
            "verdict_unseen": unseen.verdict if unseen else None,
            "left_out": dict(self.left_out),
            "only_a": list(self.only_a),
            "only_b": list(self.only_b),
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
            "warnings": list(self.warnings),
        }

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """(path, reason) of the pictures that at least one model could not use."""
        return tuple(sorted({*self.a.skipped, *self.b.skipped}))

    def __repr__(self) -> str:
        return f"Comparison({self.n:,} pictures: {self.verdict})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        rows = "".join(
            f"<tr><th>{name}</th><td>{each.accuracy:.1%}</td><td>{each.accuracy_interval[0]:.1%} to "
            f"{each.accuracy_interval[1]:.1%}</td></tr>"
            for name, each in (("A", self.a), ("B", self.b))
        )
        head = "<tr><th></th><th>accuracy</th><th>95 % sure</th></tr>"
        return f"<p><b>{html.escape(self.verdict)}</b></p><table>{head}{rows}</table>"


def compare(a: Evaluation, b: Evaluation) -> Comparison:
    """Compare two evaluations on the pictures that are in both, paired by path and right class.

    Raises:
        InputError: they have fewer than two classes in common, or no picture.
    """
    classes = common_classes(a.classes, b.classes)
    left_out: Counter[str] = Counter()
    rows: list[dict[tuple[str, str], int]] = []
    for each in (a, b):
        found = {}
        of_others: Counter[str] = Counter()
        for i, (path, label) in enumerate(zip(each.paths, each.labels.tolist(), strict=True)):
            if each.classes[label] in classes:
                found[path, each.classes[label]] = i
            else:
                of_others[each.classes[label]] += 1
        rows.append(found)
        left_out |= of_others
    both = [key for key in rows[0] if key in rows[1]]
    if not both:
        raise InputError(
            "Two models must have pictures in common to be compared; there is none that both could answer. "
            "Give pictures of classes that both know."
        )
    return Comparison(
        a=_taken(a, [rows[0][key] for key in both]),
        b=_taken(b, [rows[1][key] for key in both]),
        classes=classes,
        only_a=tuple(path for path, label in rows[0] if (path, label) not in rows[1]),
        only_b=tuple(path for path, label in rows[1] if (path, label) not in rows[0]),
        left_out=tuple(sorted(left_out.items())),
    )


def common_classes(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    """The classes that both know, sorted. InputError where they are fewer than two: nothing could be mistaken."""
    common = tuple(sorted(set(a) & set(b)))
    if len(common) < 2:
        raise InputError(
            f"Two models must have two classes or more in common to be compared; A knows {quoted(sorted(a))}, "
            f"B {quoted(sorted(b))}. Compare models of the same classes."
        )
    return common


def _taken(evaluation: Evaluation, rows: list[int] | np.ndarray) -> Evaluation:
    """The evaluation of some of its pictures, in this order."""
    at = [int(i) for i in rows]
    return dataclasses.replace(
        evaluation,
        probabilities=evaluation.probabilities[at],
        labels=evaluation.labels[at],
        paths=tuple(evaluation.paths[i] for i in at),
        trained_on=evaluation.trained_on[at] if len(evaluation.trained_on) else evaluation.trained_on,
        declined=tuple(evaluation.declined[i] for i in at) if evaluation.declined else (),
        slices=(),
        folds=evaluation.folds[at] if len(evaluation.folds) else evaluation.folds,
    )


def _answers(evaluation: Evaluation) -> np.ndarray:
    """The name of the most probable class of each picture, object (N,)."""
    return np.array(evaluation.classes, dtype=object)[evaluation.predicted]


def _of_both(
    terms: Callable[[np.ndarray, np.ndarray], np.ndarray], a: Evaluation, b: Evaluation
) -> tuple[np.ndarray, np.ndarray]:
    """What a loss is the mean of, float64 (N,), of A and of B."""
    return terms(a.probabilities, a.labels), terms(b.probabilities, b.labels)
