"""What a finished graph says of the pictures that it was made from: quickly of all, or without rounding of some.

They were read before, and their folder may have changed since. A file that no longer holds what it held is told with
its reason; nothing else stands in for its answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tellapart import features, store, streams
from tellapart.engine import EMBEDDING, LOGITS, Engine
from tellapart.errors import InputError
from tellapart.files import shown
from tellapart.preprocess import Preprocess

BATCH = 8  # pictures that the engine takes at once


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Of M of N files."""

    rows: np.ndarray  # int64 (M,), which files
    logits: np.ndarray  # float32 (M, C)
    embeddings: np.ndarray  # (M, D)
    lost: dict[int, str]  # of the other files: why they have no answer


def quickly(
    graph: bytes,
    way: str,
    preprocess: Preprocess,
    files: Sequence[tuple[str, str]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Answers:
    """What it says of files, (path, content hash), the way that features are made; embeddings as float16.

    Raises:
        InputError: none of them holds any more what it held.
    """
    paths: dict[str, list[str]] = {}
    for path, content in files:
        paths.setdefault(content, []).append(path)
    stream = streams.Stream(graph, [LOGITS, EMBEDDING], way)
    told: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    reasons: dict[str, str] = {}
    for one, outputs in features.answers(stream, list(paths.items()), preprocess, os.cpu_count() or 1):
        if outputs:
            told[one.content] = outputs[0][0], outputs[1][0].astype(np.float16)
        else:
            reasons[one.content] = one.reason
        progress(len(told) + len(reasons), len(paths))
    rows, lost = _parted(files, [reasons.get(content, "") for _, content in files])
    pairs = [told[files[i][1]] for i in rows]
    return Answers(rows, np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs]), lost)


def exactly(graph: bytes, preprocess: Preprocess, files: Sequence[tuple[str, str]]) -> Answers:
    """What it says of files, (path, content hash), in float32 throughout. Raises InputError as `quickly` does."""
    read = list(store.decode_all([(content, [path]) for path, content in files], preprocess, 1, BATCH))
    rows, lost = _parted(files, [one.reason if one.value is None else "" for one in read])
    pixels = np.stack([one.value for one in read if one.value is not None])
    engine, batches = Engine(graph), range(0, len(pixels), BATCH)
    outputs = [engine.run(pixels[start : start + BATCH]) for start in batches]
    logits = np.concatenate([each.logits for each in outputs])
    return Answers(rows, logits, np.concatenate([each.embedding for each in outputs]), lost)


def _parted(files: Sequence[tuple[str, str]], reasons: list[str]) -> tuple[np.ndarray, dict[int, str]]:
    """Which files have an answer, and why others have none: those with a reason."""
    lost = {i: reason for i, reason in enumerate(reasons) if reason}
    if len(lost) == len(files):
        raise moved(files[0][0], lost[0])
    return np.array([i for i in range(len(files)) if i not in lost], np.int64), lost


def moved(path: str, reason: str) -> InputError:
    """What to say where pictures of which some must be left are all gone: of the first, its path and the reason."""
    return InputError(
        f"The pictures must stay as they are while they are learned from; these did not. The first: {shown(path)}: "
        f"{reason}. Put them back, then run it again."
    )
