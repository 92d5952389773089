"""Answers to pictures whose label is known, put together to an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tellapart.bundle import Bundle
from tellapart.catalog import Entry
from tellapart.evaluation import Evaluation
from tellapart.predict import Prediction

DECLINED = "declined"  # where the model does not say why


def marked(
    bundle: Bundle,
    entries: Sequence[Entry],
    answers: Iterable[Prediction],
    *,
    skipped: Iterable[tuple[str, str]],
    split: str | None,
    notes: tuple[str, ...],
) -> Evaluation:
    """What a bundle answered to entries, in their order, as an evaluation; of no picture at all if none could be read.

    Answers are taken one by one and not kept. `skipped` are pictures that were not asked about, path and reason.
    """
    place = {name: i for i, name in enumerate(bundle.classes)}
    seen = set(bundle.splits().get("train", ()))
    rows, labels, paths, trained_on, declined, unread = [], [], [], [], [], []
    for entry, answer in zip(entries, answers, strict=True):
        if answer.error is not None:
            unread.append((entry.path, answer.error))
            continue
        rows.append(np.fromiter(answer.probabilities.values(), np.float64, len(place)))
        labels.append(place[entry.label])
        paths.append(entry.path)
        trained_on.append(entry.content in seen)
        declined.append((answer.reason or DECLINED) if answer.unknown else "")
    return Evaluation(
        classes=bundle.classes,
        probabilities=np.array(rows).reshape(len(rows), len(place)),
        labels=np.array(labels, np.int64),
        paths=tuple(paths),
        skipped=tuple(sorted([*skipped, *unread])),
        split=split,
        trained_on=np.array(trained_on, bool),
        notes=notes,
        declined=tuple(declined) if any(declined) else (),
    )
