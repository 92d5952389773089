"""When a model answers and when it says "unknown": thresholds from what it said of pictures that it did not learn from.

Two guards. A picture is refused where it is stranger than nearly all held-out pictures of the model's own classes (the
score is made by `strangers`), and, where a target was stated, where the most probable class is not probable enough. A
set of classes that holds the right one as often as asked for is a third way to say how sure a model is.

All thresholds hold for pictures like those held out, and for no others: a claim about new pictures of another kind
cannot be made from any validation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart import arrays
from tellapart.errors import BundleError, SettingsError
from tellapart.files import shown

MOST = 5000  # held-out pictures that are kept
KEEP = 0.98  # share of the model's own pictures that must not be refused as strangers
MEMBER = "held_out.npz"  # of a bundle
KINDS = {"confidence": ("float32", 1), "right": ("bool", 1), "of_right": ("float32", 1), "score": ("float32", 1)}


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """What a model says of M pictures of its own classes that it did not learn from."""

    confidence: np.ndarray  # float32 (M,), the calibrated probability of the most probable class
    right: np.ndarray  # bool (M,), whether that is the right one
    of_right: np.ndarray  # float32 (M,), the calibrated probability of the right class
    score: np.ndarray  # float32 (K,), rising, how strange K such pictures are, see `strangers`; (0,) if not known

    def __len__(self) -> int:
        return len(self.right)

    def to_bytes(self) -> bytes:
        """As a member of a bundle."""
        return arrays.to_bytes({name: getattr(self, name) for name in KINDS})


NOTHING = HeldOut(np.zeros(0, np.float32), np.zeros(0, bool), np.zeros(0, np.float32), np.zeros(0, np.float32))


def held_out(probabilities: np.ndarray, labels: np.ndarray, scores: np.ndarray | None = None) -> HeldOut:
    """From calibrated probabilities, float (N, C), labels, int (N,), and scores of strangeness, float (K,), if any."""
    some = _evenly(len(labels))
    rows, right = probabilities[some], labels[some]
    score = np.sort(np.zeros(0) if scores is None else scores)
    return HeldOut(
        rows.max(axis=1).astype(np.float32),
        rows.argmax(axis=1) == right,
        rows[np.arange(len(some)), right].astype(np.float32),
        score[_evenly(len(score))].astype(np.float32),
    )


def _evenly(n: int) -> np.ndarray:
    """At most MOST of `n` places, spread evenly."""
    return np.arange(min(n, MOST)) * n // max(min(n, MOST), 1)


def from_bytes(content: bytes) -> HeldOut:
    """What `HeldOut.to_bytes` gave. Raises BundleError where it is damaged."""
    what = "A bundle's held-out answers"
    found = arrays.from_bytes(content, KINDS, what)
    if len({len(found[name]) for name in KINDS if name != "score"}) > 1:
        raise BundleError(f"{what} must be of one length. Get the file again, or train anew.")
    return HeldOut(**found)


@dataclass(frozen=True, slots=True)
class Targets:
    """What is asked of a model's answers. Shares are from 0 to 1."""

    sure: float | None = None  # share of the answers that must be right
    answer: float | None = None  # share of its own kinds of pictures that it must answer, if `sure` is not given
    keep: float = KEEP  # share of its own kinds of pictures that must not be refused as strangers

    def __post_init__(self) -> None:
        for name, value in (("sure", self.sure), ("answer", self.answer), ("keep", self.keep)):
            if value is not None and not 0 < value <= 1:
                raise SettingsError(f"`{name}` must be a share above 0 and up to 1; got {value:g}. Try 0.95.")
        if self.sure is not None and self.answer is not None:
            raise SettingsError("Only one of `sure` and `answer` can be asked for: each gives the other.")


@dataclass(frozen=True, slots=True)
class Guards:
    """The thresholds in force."""

    targets: Targets
    confidence: float = 0.0  # the least probability of the most probable class with which it is answered
    strangeness: float = math.inf  # the highest score of strangeness that is answered
    held_out: int = 0  # pictures that they were set on

    def reason(self, probability: float, label: str, score: float | None) -> str | None:
        """Why a picture is refused, in words; None where it is answered."""
        if score is not None and score > self.strangeness:
            return self.words()["strange"]
        if probability < self.confidence:
            return self.words()["unsure"].format(label=shown(label), probability=probability)
        return None

    def words(self) -> dict[str, str]:
        """The sentences of `reason`; in "unsure" stand {label} and {probability:.0%}, to be filled in."""
        return {
            "strange": f"unlike the pictures it knows: stranger than {self.targets.keep:.0%} of them",
            "unsure": f"not sure enough: {{label}} {{probability:.0%}}, and answers need {self.confidence:.0%}",
        }

    def as_dict(self) -> dict[str, Any]:
        """What a bundle's manifest says of it."""
        return {
            "sure": self.targets.sure,
            "answer": self.targets.answer,
            "keep": self.targets.keep,
            "confidence": self.confidence,
            "strangeness": None if math.isinf(self.strangeness) else self.strangeness,
            "held_out": self.held_out,
        }


def from_dict(values: Mapping[str, Any]) -> Guards:
    """What `Guards.as_dict` gave; without values, guards that refuse nothing. Raises BundleError where it is not so."""
    if not values:
        return Guards(Targets())
    try:
        numbers = [values[name] for name in ("sure", "answer", "keep", "confidence", "strangeness", "held_out")]
        sure, answer, keep, confidence, strangeness, n = (None if v is None else float(v) for v in numbers)
        assert keep is not None
        assert n is not None
        assert confidence is not None
        if not (0 <= confidence <= 2 and math.isfinite(n) and (strangeness is None or math.isfinite(strangeness))):
            raise ValueError("a threshold is out of its range")
        return Guards(Targets(sure, answer, keep), confidence, math.inf if strangeness is None else strangeness, int(n))
    except (KeyError, TypeError, ValueError, AssertionError, SettingsError) as error:
        raise BundleError(
            f"A bundle's abstention must be as it was written ({' '.join(str(error).split())[:200]}). "
            f"Get the file again, or train anew."
        ) from error


def aimed(held: HeldOut, targets: Targets) -> Guards:
    """The thresholds by which targets are met on held-out pictures.

    Raises:
        SettingsError: they cannot be met, or there are too few held-out pictures to tell.
    """
    confidence = 0.0
    if targets.sure is not None:
        found = sure_enough(held, targets.sure)
        if found is None:
            raise SettingsError(_unreachable(held, targets.sure))
        confidence = found
    elif targets.answer is not None:
        confidence = answering(held, targets.answer)
    return Guards(targets, confidence, strange(held, targets.keep), len(held))


def sure_enough(held: HeldOut, share: float) -> float | None:
    """The least confidence from which on a share of the answers is right; None where there is none.

    Taken as if one more of the held-out pictures were wrong, so that a threshold found on few pictures does not promise
    too much.
    """
    order = np.argsort(-held.confidence, kind="stable")
    confidence, wrong = held.confidence[order], np.cumsum(~held.right[order])
    last = np.append(confidence[1:] != confidence[:-1], True)  # equal ones are answered together
    n = np.arange(1, len(order) + 1)
    good = np.flatnonzero(last & ((wrong + 1) / (n + 1) <= 1 - share + 1e-9))
    if not len(good):
        return None
    return 0.0 if good[-1] == len(order) - 1 else float(confidence[good[-1]])


def answering(held: HeldOut, share: float) -> float:
    """The confidence that a share of the held-out pictures reaches; 0 where all must be answered."""
    n_answered = math.ceil(share * len(held) - 1e-9)
    if n_answered >= len(held):
        return 0.0
    return float(np.sort(held.confidence)[len(held) - n_answered])


def strange(held: HeldOut, keep: float) -> float:
    """The score of strangeness that a share of pictures of the model's own classes does not exceed.

    That holds for a new picture with at least this probability, whatever the scores are, as long as it is drawn like
    those held out (split conformal prediction, Vovk et al. 2005). Infinite where there are too few to tell.
    """
    place = math.ceil((len(held.score) + 1) * keep - 1e-9)
    return math.inf if place > len(held.score) else float(held.score[place - 1])


def least_probability(held: HeldOut, coverage: float) -> float:
    """How probable a class must be to stand in the set that holds the right one with probability `coverage`.

    Split conformal prediction with the least ambiguous sets (Sadinle, Lei and Wasserman 2019). 0, which is every class,
    where there are too few held-out pictures to tell.

    Raises:
        SettingsError: `coverage` is not above 0 and below 1.
    """
    if not 0 < coverage < 1:
        raise SettingsError(f"`coverage` must be a share above 0 and below 1; got {coverage:g}. Try 0.95.")
    place = math.ceil((len(held) + 1) * coverage - 1e-9)
    return 0.0 if place > len(held) else float(np.sort(held.of_right)[len(held) - place])


def label_set(probabilities: np.ndarray, least: float) -> list[int]:
    """The classes of a set, the most probable first, from probabilities, float (C,); the first one always."""
    order = np.argsort(-probabilities, kind="stable")
    # Half a rounding step of float32, in which `least` was kept.
    return [int(c) for i, c in enumerate(order) if i == 0 or probabilities[c] >= least - 1e-7]


def strangeness(scores: np.ndarray, held: HeldOut) -> np.ndarray:
    """The share of held-out pictures that are less strange, float64 (B,), 0–1, from scores, float (B,)."""
    return np.searchsorted(held.score, scores, side="left") / max(len(held.score), 1)


def _unreachable(held: HeldOut, share: float) -> str:
    n, least = len(held), math.ceil(share / (1 - share) - 1e-9) if share < 1 else None
    if least is None:
        return "`sure` must be below 1: nothing is always right. Try 0.99."
    if n < least:
        return f"`sure` {share:g} needs at least {least:,} held-out pictures to be told; there are {n:,}. Ask for less."
    return (
        f"`sure` {share:g} cannot be reached: also among the surest of {n:,} held-out pictures more answers than that "
        f"are wrong. Ask for less, or train a better model."
    )
