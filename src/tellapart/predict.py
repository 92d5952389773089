"""A bundle and pictures to ranked answers, in the order asked, every file accounted for.

Decoding runs on threads ahead of the graph; what is under way is bounded, so that memory stays flat however many
pictures there are. A few pictures are answered by `engine`, which begins soonest; many by `streams`, which is fastest,
and may round: then what is nearly a tie is asked again in float32, so that no answer hangs on the rounding.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tellapart import metrics, preprocess, streams
from tellapart.bundle import Bundle
from tellapart.cache import cache_folder
from tellapart.cells import guarded
from tellapart.engine import LOGITS, Engine
from tellapart.errors import BundleError, PictureError, SettingsError
from tellapart.files import walk

BATCH = 32  # pictures the engine sees at once
MANY = 64  # pictures from which on the fastest way to run the graph is worth its start
NEAR = 0.6  # lead of the first logit over the second, below which an answer by a rounding way is asked again
NO_SUCH_FILE = "no such file or folder"


@dataclass(frozen=True, slots=True)
class Question:
    """A picture to be asked about."""

    path: str
    error: str | None = None  # why it cannot be asked about, where that is known already


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one picture."""

    path: str
    label: str | None  # the most probable class; None where unknown or unreadable
    probability: float | None  # of the most probable class, 0–1; None where unreadable
    probabilities: dict[str, float] = field(default_factory=dict)  # by class name, in class order; sum 1
    unknown: bool = False  # the model declined to answer
    error: str | None = None  # why the picture could not be read
    reason: str | None = None  # why it declined, in a sentence
    label_set: tuple[str, ...] | None = None  # classes among which the right one is, at the coverage that was asked for
    strangeness: float | None = None  # share of the model's own held-out pictures that are less strange, 0–1

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Classes and probabilities, the most probable first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: one element of `predict --json`."""
        return {
            "path": self.path,
            "label": self.label,
            "probability": self.probability,
            "probabilities": self.probabilities,
            "unknown": self.unknown,
            "error": self.error,
            "reason": self.reason,
            "label_set": None if self.label_set is None else list(self.label_set),
            "strangeness": self.strangeness,
        }


Loaded = tuple[Question, np.ndarray | str]  # pixels, uint8 (S, S, 3), or why there are none
Look = Callable[[str, np.ndarray], None]  # is shown a path and its square, uint8 (S, S, 3)


class Predictor:
    """A bundle, ready to answer."""

    def __init__(self, bundle: Bundle) -> None:
        """Open the bundle's graph. Raises BundleError where graph and manifest do not fit each other."""
        self.classes = bundle.classes
        try:
            self.preprocess = preprocess.Preprocess.from_dict(bundle.manifest["preprocess"])
        except (SettingsError, TypeError, AttributeError) as error:
            raise BundleError(f"The bundle's preprocessing is not known here: {error}") from error
        self._temperature = float(bundle.manifest["temperature"])
        self._graph = bundle.members["model.onnx"]
        self._engine = Engine(self._graph)
        if self._engine.size_px != self.preprocess.size_px or self._engine.n_classes != len(self.classes):
            raise BundleError(
                f"A bundle's graph must fit its manifest ({self.preprocess.size_px} px, {len(self.classes)} classes); "
                f"it has {self._engine.size_px} px, {self._engine.n_classes} classes. Get it again, or train anew."
            )

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """Preprocessed pictures, uint8 (B, S, S, 3), to probabilities, float64 (B, C), by the stored temperature."""
        return metrics.softmax(self._engine.run(batch).logits, self._temperature)

    def embeddings(self, batch: np.ndarray) -> np.ndarray:
        """Preprocessed pictures, uint8 (B, S, S, 3), to embeddings, float32 (B, D)."""
        return self._engine.run(batch).embedding

    def answers(
        self, questions: Iterable[Question], *, threads: int | None = None, look: Look | None = None
    ) -> Iterator[Prediction]:
        """The answer to each question, in their order; `look` sees each picture that opens, on the decoding threads."""
        n_threads = threads or os.cpu_count() or 1
        with ThreadPoolExecutor(n_threads, thread_name_prefix="decode") as pool:
            loaded = self._loaded(iter(questions), pool, 2 * BATCH + n_threads, look)
            first = list(itertools.islice(loaded, MANY))
            if len(first) == MANY:
                yield from self._stream(itertools.chain(first, loaded), first)
                return
            for start in range(0, len(first), BATCH):
                yield from self._answer(first[start : start + BATCH])

    def _loaded(
        self, questions: Iterator[Question], pool: ThreadPoolExecutor, ahead: int, look: Look | None
    ) -> Iterator[Loaded]:
        """Each question with its pixels, or why there are none; `ahead` of them are under way."""
        pending = deque((one, pool.submit(self._load, one, look)) for one in itertools.islice(questions, ahead))
        while pending:
            question, future = pending.popleft()
            pending.extend((one, pool.submit(self._load, one, look)) for one in itertools.islice(questions, 1))
            yield question, future.result()

    def _stream(self, loaded: Iterator[Loaded], sample: list[Loaded]) -> Iterator[Prediction]:
        """The answers to many, by the fastest way to run the graph."""
        graph = self._graph
        pixels = [found for _, found in sample if not isinstance(found, str)][: 2 * streams.BATCH]
        if not pixels:  # nothing to measure on: the first of them are no pictures
            while group := list(itertools.islice(loaded, BATCH)):
                yield from self._answer(group)
            return
        name = hashlib.sha256(graph).hexdigest()[:16]
        way = streams.choose(graph, LOGITS, np.stack(pixels), name, cache_folder())
        groups: deque[list[Loaded]] = deque([[]])  # what was read, in order; each but the last has gone to the stream

        def batches() -> Iterator[np.ndarray]:
            batch: list[np.ndarray] = []
            for question, found in loaded:
                groups[-1].append((question, found))
                if not isinstance(found, str):
                    batch.append(found)
                if len(batch) == streams.BATCH:
                    groups.append([])
                    yield np.stack(batch)
                    batch = []
            if batch:
                groups.append([])
                yield np.stack(batch)

        for (logits,) in streams.Stream(graph, [LOGITS], way).run(batches()):
            group = groups.popleft()
            rows = metrics.softmax(logits, self._temperature)
            first_two = np.sort(logits, axis=1)[:, -2:]
            near = np.flatnonzero(first_two[:, 1] - first_two[:, 0] < NEAR)
            if way not in streams.EXACT and len(near):
                pixels = [found for _, found in group if not isinstance(found, str)]
                rows[near] = self.probabilities(np.stack([pixels[i] for i in near]))
            yield from self._predictions(group, iter(rows))
        yield from self._predictions(groups.popleft(), iter(()))

    def _load(self, question: Question, look: Look | None = None) -> np.ndarray | str:
        """The picture's pixels, or why there are none."""
        if question.error is not None:
            return question.error
        try:
            square = preprocess.load(question.path, self.preprocess)
        except PictureError as error:
            return error.reason
        if look is not None:
            look(question.path, square)
        return square

    def _answer(self, loaded: list[Loaded]) -> Iterator[Prediction]:
        pixels = [found for _, found in loaded if not isinstance(found, str)]
        yield from self._predictions(loaded, iter(self.probabilities(np.stack(pixels))) if pixels else iter(()))

    def _predictions(self, loaded: list[Loaded], rows: Iterator[np.ndarray]) -> Iterator[Prediction]:
        for question, found in loaded:
            if isinstance(found, str):
                yield Prediction(question.path, None, None, error=found)
            else:
                yield self.ranked(question.path, next(rows))

    def ranked(self, path: str, probabilities: np.ndarray) -> Prediction:
        """Probabilities, float (C,), of one picture as an answer."""
        best = int(probabilities.argmax())
        by_name = dict(zip(self.classes, probabilities.tolist(), strict=True))
        return Prediction(path, self.classes[best], float(probabilities[best]), by_name)


def questions(
    paths: Iterable[str | os.PathLike[str]], *, leave_out: str | os.PathLike[str] | None = None
) -> Iterator[Question]:
    """Files as they are and folders walked to the bottom, in the order given.

    A path that does not exist becomes a question with an error, so that it has its row too. `leave_out` names a folder
    that no walk enters.
    """
    for path in paths:
        name = os.fspath(path)
        if os.path.isdir(name):
            for found in walk(name, leave_out=leave_out):
                yield Question(found.path, found.reason)
        else:
            yield Question(name, None if os.path.lexists(name) else NO_SUCH_FILE)


def csv_header(classes: tuple[str, ...]) -> list[str]:
    """The columns of `predict --csv`: path, label, probability, unknown, error, then one a class."""
    return ["path", "label", "probability", "unknown", "error", *(guarded(name) for name in classes)]


def csv_row(classes: tuple[str, ...], one: Prediction) -> list[str]:
    """A prediction under `csv_header`.

    A cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    each = [f"{one.probabilities[name]:.6f}" if one.probabilities else "" for name in classes]
    probability = "" if one.probability is None else f"{one.probability:.6f}"
    unknown = "true" if one.unknown else "false"
    return [guarded(one.path), guarded(one.label or ""), probability, unknown, guarded(one.error or ""), *each]
