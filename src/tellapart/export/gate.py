"""Whether an exported folder answers as its bundle does: asked in its own runtime, by its own program.

The folder answers the golden pictures of the bundle, and the same pictures brought to the network's square by us. Where
the squares agree and the pictures do not, its resizing is another one; where the squares differ too, its network is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import preprocess, tempfolders
from tellapart.bundle import Bundle
from tellapart.errors import ExportError
from tellapart.export.sidecar import SAMPLE
from tellapart.files import shown
from tellapart.golden import Golden, png
from tellapart.guards import Guards

CLOSE = 1e-3  # of a probability
CLOSE_INT8 = 1e-2  # int8: in the mean over photos
DRAWN_INT8 = 0.1  # int8: of a golden picture, which is like no photo, and of which no network is sure
CLOSE_SCORE, CLOSE_SCORE_INT8 = 0.02, 0.5  # of a score of strangeness, whose parts have a standard deviation of 1
LONGEST_S = 600.0
AT_ONCE = 500  # pictures that a program is asked about at a time

Answers = Callable[[Path, Sequence[Path]], list[dict[str, Any]]]  # of a folder to picture files, see `by_sample`

# What runs the sample, as if this package were not installed.
_ALONE = """
import runpy, sys
sys.modules["tellapart"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near an export's answers are to its bundle's."""

    pictures: int  # golden ones that were answered, each in its own size and as a square
    probability: float  # the largest difference of a probability, 0–1
    score: float | None  # the largest difference of a score of strangeness; None where there are none

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"pictures": self.pictures, "probability": self.probability, "score": self.score}


def check(
    folder: Path, bundle: Bundle, golden: Golden, guards: Guards, *, answers: Answers, int8: bool = False
) -> Agreement:
    """Have a folder answer the golden pictures, and compare.

    Raises:
        ExportError: it answers otherwise, or not at all; the message says where it parts.
    """
    how = preprocess.Preprocess.from_dict(bundle.manifest["preprocess"])
    squares = [preprocess.fit(pixels, how) for pixels in golden.pictures]
    rows = asked(folder, [*golden.pictures, *squares], answers)
    whole, square = _Told.of(rows[: len(golden)], bundle.classes), _Told.of(rows[len(golden) :], bundle.classes)
    return compared(golden, guards, whole, square, bundle.classes, int8=int8)


def asked(folder: Path, pictures: Sequence[np.ndarray], answers: Answers) -> list[dict[str, Any]]:
    """What a folder says of pictures, uint8 (H, W, 3), in order; they are given to it as PNG files."""
    with tempfolders.private() as kept:
        paths = [Path(kept, f"{i:05d}.png") for i in range(len(pictures))]
        for path, pixels in zip(paths, pictures, strict=True):
            path.write_bytes(png(pixels))
        return answers(folder, paths)


def by_sample(folder: Path, pictures: Sequence[Path]) -> list[dict[str, Any]]:
    """What a folder's own `sample.py` says, in a process of its own in which this package cannot be imported.

    Args:
        folder: with the sample.
        pictures: files of one folder.

    Returns:
        Of each picture the sample's line of JSON, in order.

    Raises:
        ExportError: the program fails, or says something else.
    """
    rows: list[dict[str, Any]] = []
    program = str(Path(folder, SAMPLE).absolute())
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    for start in range(0, len(pictures), AT_ONCE):
        some = [path.name for path in pictures[start : start + AT_ONCE]]
        try:
            done = subprocess.run(
                [sys.executable, "-c", _ALONE, program, *some],
                cwd=pictures[0].parent,
                env=environment,
                capture_output=True,
                timeout=LONGEST_S,
            )
        except subprocess.TimeoutExpired as error:
            raise ExportError(
                f"The exported program must answer {len(some)} pictures in {LONGEST_S:.0f} s; it did not. "
                f"Nothing was written. Try another format."
            ) from error
        said = done.stdout.decode("utf-8", "replace")
        if done.returncode:
            last = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()][-1:]
            raise ExportError(
                f"The exported program must run by itself; it ended with status {done.returncode}: "
                f"{shown(' '.join(last))[:300]}. Nothing was written. Try another format."
            )
        rows += _rows(said, some)
    return rows


def _rows(said: str, paths: Sequence[str]) -> list[dict[str, Any]]:
    try:
        found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        if [row["path"] for row in found] == list(paths):
            return found
        problem = f"it answered {len(found)} of {len(paths)}"
    except (ValueError, KeyError, TypeError) as error:
        problem = str(error)
    raise ExportError(
        f"The exported program must print a line of JSON for each picture; {shown(problem)[:200]}. Nothing was "
        f"written. Try another format."
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """What an export says of some pictures."""

    probabilities: np.ndarray  # float64 (B, C)
    scores: list[float | None]
    labels: list[str | None]

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any]], classes: tuple[str, ...]) -> _Told:
        try:
            return cls(
                np.array([[row["probabilities"][name] for name in classes] for row in rows], np.float64),
                [row["score"] for row in rows],
                [row["label"] for row in rows],
            )
        except (KeyError, TypeError, ValueError) as error:
            wrong = next((row["error"] for row in rows if "error" in row), f"{type(error).__name__} {error}")
            raise ExportError(
                f"The exported program must answer every golden picture, with a probability for each class; "
                f"it did not ({shown(str(wrong))[:200]}). Nothing was written. Try another format."
            ) from error


def compared(
    golden: Golden, guards: Guards, whole: _Told, square: _Told, classes: tuple[str, ...], *, int8: bool
) -> Agreement:
    """Compare what an export says of the golden pictures and of their squares with what the bundle says of both."""
    close, close_score = (DRAWN_INT8, CLOSE_SCORE_INT8) if int8 else (CLOSE, CLOSE_SCORE)
    far = [_furthest(told.probabilities, golden.probabilities) for told in (whole, square)]
    if far[1][1] > close:
        hot = _temperature(square.probabilities, golden.probabilities)
        where = "in its network" if hot is None else f"in its temperature, which is {hot:.2f} times the model's"
        raise _apart(where, golden, *far[1], close, " brought to its square by us")
    if far[0][1] > close:
        raise _apart("in its preprocessing: of squares alone the answers agree", golden, *far[0], close, "")
    apart = None
    for told, what in ((square, " brought to its square by us"), (whole, "")):
        distance = _scores_apart(golden, told)
        if distance is None:
            continue
        i = int(np.argmax(distance))
        if not distance[i] <= close_score:
            where = "in its score of strangeness, while probabilities agree"
            raise _apart(where, golden, i, float(distance[i]), close_score, what, of="a score")
        apart = max(apart or 0.0, float(distance[i]))
    for i, label in enumerate(whole.labels):
        if label not in _possible(golden, guards, i, classes, close, close_score):
            raise ExportError(
                f"The export must decide as the model does; of golden picture {i} it says "
                f"{'unknown' if label is None else shown(label)}, while probabilities and scores agree. It parts in "
                f"its thresholds or in the order of its classes. Nothing was written."
            )
    return Agreement(len(golden), max(far[0][1], far[1][1]), apart)


def _furthest(told: np.ndarray, expected: np.ndarray) -> tuple[int, float]:
    """The picture of the largest difference, and that; what is no number is as far as can be."""
    apart = np.nan_to_num(np.abs(told - expected).max(axis=1), nan=1.0)
    return int(apart.argmax()), float(apart.max())


def _scores_apart(golden: Golden, told: _Told) -> np.ndarray | None:
    """How far scores are apart, float64 (G,), as a share of the score where that is above 1."""
    if golden.scores is None:
        return None
    found = np.array([np.nan if score is None else score for score in told.scores])
    return np.nan_to_num(np.abs(found - golden.scores) / np.maximum(np.abs(golden.scores), 1), nan=np.inf)


def _possible(
    golden: Golden, guards: Guards, i: int, classes: tuple[str, ...], close: float, close_score: float
) -> list[str | None]:
    """The labels that answers within the tolerance can have; more than one where it is nearly a tie."""
    row = golden.probabilities[i]
    best, score = float(row.max()), None if golden.scores is None else float(golden.scores[i])
    slack = close_score * max(1.0, abs(score)) if score is not None else 0.0
    surely_strange = score is not None and score - slack > guards.strangeness
    maybe_strange = score is not None and score + slack > guards.strangeness
    surely_unsure, maybe_unsure = best + close < guards.confidence, best - close < guards.confidence
    found: list[str | None] = [None] if maybe_strange or maybe_unsure else []
    if not surely_strange and not surely_unsure:
        found += [classes[j] for j in np.flatnonzero(row >= best - 2 * close)]
    return found


def _temperature(told: np.ndarray, expected: np.ndarray) -> float | None:
    """By what the temperature is wrong, where that alone explains how probabilities, float (G, C), differ."""
    logs = [np.log(np.clip(each, 1e-12, 1)) for each in (told, expected)]
    got, right = (each - each.mean(axis=1, keepdims=True) for each in logs)
    heat = float((got * right).sum() / max(float((right**2).sum()), 1e-12))
    if not np.isfinite(heat) or heat <= 0 or not np.abs(got - heat * right).max() < 0.01 * np.abs(got).max():
        return None
    return 1 / heat


def _apart(
    where: str, golden: Golden, i: int, far: float, close: float, what: str, of: str = "a probability"
) -> ExportError:
    height, width = golden.pictures[i].shape[:2]
    return ExportError(
        f"The export must answer as the model does, to {close:g} of {of}; it parts {where}: golden picture {i} "
        f"({width} × {height} px){what} is {far:.3g} off. Nothing was written. Try another format."
    )
