"""Two bundles asked about the same pictures in turn, so that their answers and their speeds can be compared.

A part of the pictures goes to one, the same part to the other, then the next part in the other order: what else the
machine does meanwhile slows both alike, and neither always finds the files read already.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

from tellapart import compare
from tellapart.bundle import Bundle
from tellapart.catalog import Entry
from tellapart.changes import Speed
from tellapart.compare import Comparison
from tellapart.errors import InputError
from tellapart.files import shown
from tellapart.marking import marked
from tellapart.predict import Prediction, Predictor, Question
from tellapart.progress import Progress

PART = 128  # pictures asked in one go; twice as many as `Predictor` decodes ahead, which falls into the other's time
FEWEST_PARTS = 2  # that a speed is told from


def ask(
    rivals: tuple[Predictor, Predictor], entries: Sequence[Entry], progress: Progress
) -> tuple[list[Prediction], list[Prediction], Speed | None]:
    """The answers of both, each in the order of `entries`, and how fast; None where there are too few to tell.

    The first part, with which the graphs start, and the last, which was decoded beforehand, do not count.
    """
    running = [each.answers(Question(entry.path, content=entry.content) for entry in entries) for each in rivals]
    answers: tuple[list[Prediction], list[Prediction]] = ([], [])
    speeds: tuple[list[float], list[float]] = ([], [])
    for part, start in enumerate(range(0, len(entries), PART)):
        n = min(PART, len(entries) - start)
        for side in (0, 1) if part % 2 == 0 else (1, 0):
            began = time.perf_counter()
            answers[side].extend(itertools.islice(running[side], n))
            if part and start + n < len(entries):
                speeds[side].append(n / (time.perf_counter() - began))
        progress.update("Answering", start + n, len(entries))
    speed = Speed(tuple(speeds[0]), tuple(speeds[1])) if len(speeds[0]) >= FEWEST_PARTS else None
    return *answers, speed


def run(
    bundles: tuple[Bundle, Bundle],
    rivals: tuple[Predictor, Predictor],
    entries: Sequence[Entry],
    *,
    skipped: Sequence[tuple[str, str]],
    split: str | None,
    notes: tuple[str, ...],
    progress: Progress,
) -> Comparison:
    """Ask both about the entries of classes that they share, and compare.

    Raises:
        InputError: fewer than two classes are shared, no entry is of one of them, or none could be read.
    """
    classes = compare.common_classes(*(each.classes for each in bundles))
    shared = [entry for entry in entries if entry.label in classes]
    if not shared:
        raise InputError(
            f"Some pictures must be of classes that both models know ({', '.join(map(shown, classes[:8]))}); none is. "
            f"Give such pictures, in folders named like the classes."
        )
    *answers, speed = ask(rivals, shared, progress)
    a, b = (
        marked(bundle, shared, told, skipped=skipped, split=split, notes=notes)
        for bundle, told in zip(bundles, answers, strict=True)
    )
    left_out = sorted({entry.label for entry in entries} - set(classes))
    counts = [(name, sum(entry.label == name for entry in entries)) for name in left_out]
    size_bytes = (_size(bundles[0]), _size(bundles[1]))
    found = compare.compare(a, b)
    return Comparison(found.a, found.b, classes, found.only_a, found.only_b, tuple(counts), speed, size_bytes)


def _size(bundle: Bundle) -> int:
    return sum(map(len, bundle.members.values()))
