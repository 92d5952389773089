"""How a new model's answers are to be taken: temperature and guards, set on pictures that it did not learn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart import calibration, guards, metrics, strangers
from tellapart.bundle import Bundle
from tellapart.evaluation import Evaluation


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What a bundle says about its own answers."""

    temperature: float
    guards: guards.Guards
    members: dict[str, bytes]  # of the bundle: what was held out, and what tells strangers
    classes: tuple[str, ...]
    known: strangers.Strangers | None  # None where strangers cannot be told

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Logits, float (N, C), to calibrated probabilities, float64 (N, C)."""
        return metrics.softmax(logits, self.temperature)

    def declined(self, logits: np.ndarray, embeddings: np.ndarray) -> tuple[str, ...]:
        """Why each of N pictures is not answered, "" where it is, from logits (N, C) and embeddings, float (N, D)."""
        rows = self.probabilities(logits)
        scores = [None] * len(rows) if self.known is None else self.known.scores(embeddings, logits).tolist()
        best = rows.argmax(axis=1)
        told = zip(rows.max(axis=1).tolist(), (self.classes[i] for i in best), scores, strict=True)
        return tuple(self.guards.reason(*each) or "" for each in told)

    def as_dict(self) -> dict[str, Any]:
        """The entries of a bundle's manifest."""
        return {"temperature": self.temperature, "abstention": self.guards.as_dict()}


def judge(
    logits: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    *,
    known: strangers.Strangers | None = None,
    scores: np.ndarray | None = None,
) -> Judgement:
    """Set temperature and guards.

    Args:
        logits: float (N, C), of pictures that the model did not learn from; logarithms of probabilities do as well.
        labels: int (N,), their right classes.
        classes: the class names.
        known: what tells strangers, if anything.
        scores: float (K,), how strange `known`, or one that is made like it, finds held-out pictures.
    """
    temperature = calibration.temperature(logits, labels)
    held = guards.held_out(metrics.softmax(logits, temperature), labels, None if known is None else scores)
    members = {guards.MEMBER: held.to_bytes()} if len(held) else {}
    if known is not None:
        members[strangers.MEMBER] = known.to_bytes()
    return Judgement(temperature, guards.aimed(held, guards.Targets()), members, classes, known)


def aimed(
    bundle: Bundle, evaluations: Mapping[str, Evaluation], targets: guards.Targets
) -> tuple[Bundle, dict[str, Evaluation]]:
    """A new bundle and its evaluations with other targets than the usual ones.

    Raises:
        SettingsError: the targets cannot be met, or there are too few held-out pictures to tell.
    """
    kept = bundle.members.get(guards.MEMBER)
    guard = guards.aimed(guards.NOTHING if kept is None else guards.from_bytes(kept), targets)

    def anew(each: Evaluation) -> Evaluation:
        # Who was refused as a stranger stays so: it is the confidence that the targets are about.
        told = zip(each.declined or [""] * each.n, each.probabilities.max(axis=1).tolist(), each.predicted, strict=True)
        why = (before or guard.reason(best, each.classes[label], None) or "" for before, best, label in told)
        return dataclasses.replace(each, declined=tuple(why))

    judged = {side: anew(each) for side, each in evaluations.items()}
    numbers = {side: each.record() for side, each in judged.items()}
    manifest = {**bundle.manifest, "abstention": guard.as_dict(), "metrics": numbers}
    return Bundle(manifest, bundle.members), judged
