"""What is different between two models, as values: a picture that changed, a class, the speed."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from tellapart import paired

CSV_COLUMNS = ("path", "label", "change", "answer_a", "probability_a", "answer_b", "probability_b")
FIXED, BROKEN, WRONG_DIFFERENTLY = "fixed", "broken", "wrong differently"


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast both answered the same pictures, measured in turn."""

    a: tuple[float, ...]  # pictures/s, reading and decoding included, of each part of the pictures
    b: tuple[float, ...]  # of the same parts

    @property
    def ratio(self) -> float:
        """How many times as fast as A B is: the median over the parts."""
        return statistics.median(self._ratios)

    @property
    def ratio_interval(self) -> tuple[float, float]:
        """The 95 % interval of `ratio`, by the ranks of the parts; of fewer than six the lowest and the highest."""
        return paired.median_interval(self._ratios)

    @property
    def _ratios(self) -> list[float]:
        return [b / a for a, b in zip(self.a, self.b, strict=True)]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "a": statistics.median(self.a),
            "b": statistics.median(self.b),
            "ratio": self.ratio,
            "ratio_interval": list(self.ratio_interval),
        }


@dataclass(frozen=True, slots=True)
class Change:
    """A picture that the two answer differently, at least one of them wrongly."""

    path: str
    label: str  # the right class
    kind: str  # FIXED: only B is right; BROKEN: only A is; WRONG_DIFFERENTLY: neither
    answer_a: str
    probability_a: float  # 0–1
    answer_b: str
    probability_b: float

    def row(self) -> list[str]:
        """The cells under CSV_COLUMNS, as they are: who writes them sees to formulas."""
        return [
            self.path, self.label, self.kind,
            self.answer_a, f"{self.probability_a:.6f}", self.answer_b, f"{self.probability_b:.6f}",
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClassChange:
    """How the pictures of one class fared, counts."""

    n: int
    n_right_a: int
    n_right_b: int
    fixed: int
    broken: int
