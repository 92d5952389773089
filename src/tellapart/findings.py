"""What is wrong with a folder of pictures, as values: one finding a case, worst first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tellapart.cells import guarded

# The kinds, in the order in which findings of one severity are told.
KINDS = (
    "unreadable",  # a file that is no picture, or a broken one
    "leak",  # the same or nearly the same picture on two sides of a split
    "label_conflict",  # the same or nearly the same picture under two labels
    "split",  # a split that cannot judge: swapped, lacking classes, ordered by time or source
    "shortcut",  # the class can be told without looking at what the picture shows
    "wrong_label",  # a picture that looks like another class
    "exact_duplicate",
    "near_duplicate",
    "imbalance",  # too few pictures, or far more of one class than of another; classes that cannot be told apart
    "outlier",  # a picture that looks like none of the classes
    "odd",  # read, but unusual: dark, blurred, tiny, animated, …
)
SEVERITIES = ("error", "warning", "info")  # makes results wrong · makes them worse · good to know
KIND_NAMES = {  # as a title
    "unreadable": "Files that cannot be read",
    "leak": "The same picture on two sides of a split",
    "label_conflict": "The same picture under two labels",
    "split": "Splits",
    "shortcut": "Classes that can be told without the subject",
    "wrong_label": "Labels that are probably wrong",
    "exact_duplicate": "Copies",
    "near_duplicate": "Near copies",
    "imbalance": "Numbers of pictures",
    "outlier": "Pictures that look like none of the classes",
    "odd": "Unusual pictures",
}
CSV_COLUMNS = ("kind", "severity", "path", "message", "remedy", "score")
ACTIONS = ("keep", "drop", "move")  # what a cleaned copy does with a file


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to do with one file in a cleaned copy."""

    path: str
    action: str  # one of ACTIONS
    to: str = ""  # the class to move it to, where the action is "move"
    reason: str = ""  # a few words


@dataclass(frozen=True, slots=True)
class Finding:
    """One case: what was found, how bad it is, where, and what to do."""

    kind: str  # one of KINDS
    severity: str  # one of SEVERITIES
    message: str  # one sentence, with numbers
    remedy: str  # one sentence: what to do
    paths: tuple[str, ...]  # of the pictures concerned, those to act upon last; none where the whole folder is meant
    score: float = 0.0  # orders findings of one kind and severity: the higher, the worse
    detail: Mapping[str, Any] = field(default_factory=dict)  # plain values for JSON: what the message tells, as values
    proposals: tuple[Proposal, ...] = ()

    def __post_init__(self) -> None:
        for name, value, among in (("kind", self.kind, KINDS), ("severity", self.severity, SEVERITIES)):
            if value not in among:
                raise ValueError(f"{name} must be one of {', '.join(among)}; got {value!r}")
        if not math.isfinite(self.score):
            raise ValueError(f"score must be finite; got {self.score}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "paths": list(self.paths),
            "message": self.message,
            "remedy": self.remedy,
            "score": self.score,
            "detail": dict(self.detail),
            "proposals": [
                {"path": each.path, "action": each.action, "to": each.to, "reason": each.reason}
                for each in self.proposals
            ],
        }


@dataclass(frozen=True, slots=True)
class Distribution:
    """How a measured property of the pictures is spread, by class."""

    name: str  # "brightness", "width", …
    unit: str  # "px", "0–255"; "" where there is none
    edges: tuple[float, ...]  # of the bins, rising, one more than there are bins
    counts: Mapping[str, tuple[int, ...]]  # class -> pictures in each bin


@dataclass(frozen=True, slots=True)
class Findings(Sequence[Finding]):
    """All findings about a folder, worst first, with what they are about: a table of rows."""

    root: str  # the folder, as given
    every: tuple[Finding, ...]  # sorted, see `ordered`
    quick: bool  # whether only the fast part was done
    n_found: int  # files that counted as pictures
    n_used: int  # of them, pictures that can be learned from
    skipped: tuple[tuple[str, str], ...]  # (path, reason) of all others
    classes: Mapping[str, Mapping[str, int]]  # class -> split ("all" where there is none) -> pictures used
    distributions: tuple[Distribution, ...] = ()
    notes: tuple[str, ...] = ()  # how the folder was read
    seconds: Mapping[str, float] = field(default_factory=dict)  # stage -> wall time
    places: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # path in a finding -> its class and split

    def __len__(self) -> int:
        return len(self.every)

    def __getitem__(self, index: Any) -> Any:
        return self.every[index]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.every)

    def of_kind(self, *kinds: str) -> tuple[Finding, ...]:
        """The findings of some kinds."""
        return tuple(each for each in self.every if each.kind in kinds)

    @property
    def counts(self) -> dict[str, int]:
        """How many files were found and used, how many not, and how many findings there are of each kind."""
        of_kind = Counter(each.kind for each in self.every)
        about = {"found": self.n_found, "used": self.n_used, "skipped": len(self.skipped)}
        return about | {kind: of_kind[kind] for kind in KINDS}

    def rows(self) -> list[dict[str, Any]]:
        """A row a finding: kind, severity, paths (list), message, remedy, score; `pandas.DataFrame` takes it."""
        keys = ("kind", "severity", "paths", "message", "remedy", "score")
        return [{key: each.as_dict()[key] for key in keys} for each in self.every]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "root": self.root,
            "quick": self.quick,
            "counts": self.counts,
            "findings": [each.as_dict() for each in self.every],
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
            "classes": {name: dict(by_split) for name, by_split in self.classes.items()},
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
        }


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Worst first: by severity, kind, falling score, then paths."""
    return tuple(
        sorted(
            findings,
            key=lambda each: (SEVERITIES.index(each.severity), KINDS.index(each.kind), -each.score, each.paths),
        )
    )


def csv_rows(findings: Iterable[Finding]) -> Iterator[list[str]]:
    """Rows under `CSV_COLUMNS`: one for each path of each finding, one without a path where the whole folder is meant.

    A cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    for each in findings:
        for path in each.paths or ("",):
            cells = (each.kind, each.severity, path, each.message, each.remedy)
            yield [*map(guarded, cells), f"{each.score:.6g}"]
