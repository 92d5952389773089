"""A bundle and pictures to ranked answers, in the order asked, every file accounted for.

Decoding runs ahead of the graph, in `decoders`; what is under way is bounded, so that memory stays flat however many
pictures there are. A few pictures are answered by `engine`, which begins soonest; many by `streams`, which is fastest,
and may round: then what is nearly a tie is asked again in float32, so that no answer hangs on the rounding.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tellapart import addresses, decoders, engine, fetching, guards, metrics, preprocess, strangers, streams
from tellapart.addresses import is_place
from tellapart.bundle import Bundle
from tellapart.cache import cache_folder
from tellapart.cells import guarded
from tellapart.decoders import Maker
from tellapart.engine import EMBEDDING, LOGITS, Engine, Outputs
from tellapart.errors import BundleError, SettingsError
from tellapart.files import kind_of_place, walk

BATCH = 32  # pictures the engine sees at once
TASK = 8  # pictures that a process opens in one go
MANY = 64  # pictures from which on the fastest way to run the graph is worth its start
NEAR = 0.6  # lead of the first logit over the second, below which an answer by a rounding way is asked again
NEAR_STRANGE = 0.8  # distance of a score of strangeness from its threshold, likewise; rounding moved it by 0.75 at most
NO_SUCH_FILE = "no such file or folder"


@dataclass(frozen=True, slots=True)
class Question:
    """A picture to be asked about."""

    path: str
    error: str | None = None  # why it cannot be asked about, where that is known already
    content: str = ""  # SHA-256 of the bytes that are asked about, in hex; "" for whatever the file holds


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
    worker: str | None = None  # who answered, where that was not this process

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
            **({} if self.worker is None else {"worker": self.worker}),
        }


Loaded = tuple[Question, np.ndarray | str]  # pixels, uint8 (S, S, 3), or why there are none
Row = tuple[np.ndarray, float | None]  # probabilities, float64 (C,), and a score of strangeness
Look = Callable[[str, np.ndarray, int], None]  # is shown a path, its square, uint8 (S, S, 3), and its shorter side, px


class Predictor:
    """A bundle, ready to answer."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        targets: guards.Targets | None = None,
        coverage: float | None = None,
        spinning: bool = True,
        threads: int | None = None,
    ) -> None:
        """Open the bundle's graph.

        Args:
            bundle: verified.
            targets: what is asked of the answers, instead of what was asked when it was trained.
            coverage: how often, 0–1, the `label_set` of an answer is to hold the right class; None for no such sets.
            spinning: let the graph's threads keep the cores between two batches; not where others need them then.
            threads: of the graph; None for one for each core.

        Raises:
            BundleError: graph and manifest do not fit each other.
            SettingsError: the bundle cannot promise what is asked.
        """
        self.classes = bundle.classes
        try:
            self.preprocess = preprocess.Preprocess.from_dict(bundle.manifest["preprocess"])
        except (SettingsError, TypeError, AttributeError) as error:
            raise BundleError(f"The bundle's preprocessing is not known here: {error}") from error
        self._temperature = float(bundle.manifest["temperature"])
        self._graph = bundle.members["model.onnx"]
        self._engine = Engine(self._graph, spinning=spinning, threads=threads)
        if self._engine.size_px != self.preprocess.size_px or self._engine.n_classes != len(self.classes):
            raise BundleError(
                f"A bundle's graph must fit its manifest ({self.preprocess.size_px} px, {len(self.classes)} classes); "
                f"it has {self._engine.size_px} px, {self._engine.n_classes} classes. Get it again, or train anew."
            )
        self.guards = guards.from_dict(bundle.manifest["abstention"])
        kept = bundle.members.get(guards.MEMBER)
        self._held_out = guards.NOTHING if kept is None else guards.from_bytes(kept)
        if targets is not None:
            self.guards = guards.aimed(self._held_out, targets)
        self.targets, self.coverage = targets, coverage
        self.gives_sets = coverage is not None
        self._least = None if coverage is None else guards.least_probability(self._held_out, coverage)
        known = bundle.members.get(strangers.MEMBER)
        self._strangers = None if known is None else strangers.Strangers.from_bytes(known)

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """Preprocessed pictures, uint8 (B, S, S, 3), to probabilities, float64 (B, C), by the stored temperature."""
        return self._judged(self._engine.run(batch))[0]

    def predictions(self, paths: Sequence[str], batch: np.ndarray) -> list[Prediction]:
        """The answers to preprocessed pictures, uint8 (B, S, S, 3), under the given names."""
        return [self._ranked(path, *row) for path, row in zip(paths, self._rows(self._engine.run(batch)), strict=True)]

    def _judged(self, outputs: Outputs) -> tuple[np.ndarray, np.ndarray | None]:
        """Probabilities, float64 (B, C), and scores of strangeness, float64 (B,), if the bundle has a way to tell."""
        probabilities = metrics.softmax(engine.finite(outputs).logits, self._temperature)
        known = self._strangers
        return probabilities, None if known is None else known.scores(outputs.embedding, outputs.logits)

    def _rows(self, outputs: Outputs) -> list[Row]:
        probabilities, scores = self._judged(outputs)
        return list(zip(probabilities, [None] * len(probabilities) if scores is None else scores, strict=True))

    def embeddings(self, batch: np.ndarray) -> np.ndarray:
        """Preprocessed pictures, uint8 (B, S, S, 3), to embeddings, float32 (B, D)."""
        return self._engine.run(batch).embedding

    def answers(
        self, questions: Iterable[Question], *, threads: int | None = None, look: Look | None = None
    ) -> Iterator[Prediction]:
        """The answer to each question, in their order; `look` sees each picture that opens, on the decoding threads."""
        n_threads = threads or os.cpu_count() or 1  # and as many processes
        with ThreadPoolExecutor(n_threads, thread_name_prefix="decode") as pool, fetching.by(pool):
            loaded = self._loaded(iter(questions), pool, 2 * BATCH + n_threads, look)
            first = list(itertools.islice(loaded, MANY))
            if len(first) == MANY:
                yield from self._stream(itertools.chain(first, loaded), first)
                return
            yield from self._exact(iter(first))

    def way(self, first: list[Question]) -> str | None:
        """How `answers` would run the graph, see `streams.ways`, by its first MANY questions; None for by `engine`."""
        if len(first) < MANY:
            return None
        with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode") as pool:
            sample = _pixels(self._loaded(iter(first), pool, len(first), None))
        return self._chosen(sample) if len(sample) else None

    def ready(
        self, way: str | None, threads: int, look: Look | None = None
    ) -> Callable[[Sequence[Question]], Iterator[Prediction]]:
        """What `answers` does, the way chosen beforehand, for a hundred or so at once, on at most so many cores.

        They are decoded first and run then, so that decoding and the graph never want the cores together.
        """
        stream = None if way is None else self._by(streams.required(way), threads=threads)

        def answer(questions: Sequence[Question]) -> Iterator[Prediction]:
            with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
                loaded = list(self._loaded(iter(questions), pool, len(questions), look))
            return self._exact(iter(loaded)) if stream is None else self._run(stream, iter(loaded))

        return answer

    def _loaded(
        self, questions: Iterator[Question], pool: ThreadPoolExecutor, ahead: int, look: Look | None
    ) -> Iterator[Loaded]:
        """Each question with its pixels, or why there are none; `ahead` of them are under way."""

        def task() -> Iterator[tuple[list[Question], Future[list[np.ndarray | str]]]]:
            if some := list(itertools.islice(questions, TASK)):
                fetching.soon(one.path for one in some if one.error is None)
                yield some, pool.submit(self._load, some, look)

        pending = deque(each for _ in range(-(-ahead // TASK)) for each in task())
        while pending:
            some, future = pending.popleft()
            pending.extend(task())
            yield from zip(some, future.result(), strict=True)

    def _stream(self, loaded: Iterator[Loaded], sample: list[Loaded]) -> Iterator[Prediction]:
        """The answers to many, by the fastest way to run the graph."""
        pixels = _pixels(sample)
        if not len(pixels):  # nothing to measure on: the first of them are no pictures
            return self._exact(loaded)
        return self._run(self._fastest(pixels), loaded)

    def _exact(self, loaded: Iterator[Loaded]) -> Iterator[Prediction]:
        """The answers by `engine`."""
        while group := list(itertools.islice(loaded, BATCH)):
            yield from self._answer(group)

    def _run(self, stream: streams.Stream, loaded: Iterator[Loaded]) -> Iterator[Prediction]:
        """The answers by a stream."""
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

        for logits, embedding in stream.run(batches()):
            group = groups.popleft()
            pixels = [found for _, found in group if not isinstance(found, str)]
            yield from self._predictions(group, iter(self._settled(Outputs(logits, embedding), pixels, stream.way)))
        yield from self._predictions(groups.popleft(), iter(()))

    def stream(self, sample: np.ndarray, batch: int = streams.BATCH) -> streams.Stream | None:
        """The way of `streamed`; None where there is no other than that of `predictions`.

        It is measured on preprocessed pictures, uint8 (N, S, S, 3), for some seconds, or known from the cache;
        `batch` is how many pictures it takes at once.
        """
        if streams.ways() == [streams.ONNXRUNTIME]:
            return None
        stream = self._fastest(sample, batch)
        return None if stream.way == streams.ONNXRUNTIME else stream

    def streamed(self, stream: streams.Stream, slot: int, paths: Sequence[str], batch: np.ndarray) -> list[Prediction]:
        """`predictions` of up to `stream.batch` pictures by the fastest way, as `answers` has it for many."""
        rows = self._settled(Outputs(*stream.one(slot, batch)), batch, stream.way)
        return [self._ranked(path, *row) for path, row in zip(paths, rows, strict=True)]

    def _fastest(self, sample: np.ndarray, batch: int = streams.BATCH) -> streams.Stream:
        return self._by(self._chosen(sample), batch=batch)

    def _chosen(self, sample: np.ndarray) -> str:
        name = hashlib.sha256(self._graph).hexdigest()[:16]
        return streams.choose(self._graph, LOGITS, sample, name, cache_folder())

    def _by(self, way: str, *, threads: int | None = None, batch: int = streams.BATCH) -> streams.Stream:
        return streams.Stream(self._graph, [LOGITS, EMBEDDING], way, threads=threads, batch=batch)

    def _settled(self, outputs: Outputs, pixels: Sequence[np.ndarray] | np.ndarray, way: str) -> list[Row]:
        """The rows of a batch; what hangs on the rounding of a way is asked again without it."""
        rows = self._rows(outputs)
        near = [] if way in streams.EXACT else self._near(outputs.logits, rows)
        if len(near):
            again = self._rows(self._engine.run(np.stack([pixels[i] for i in near])))
            for i, row in zip(near, again, strict=True):
                rows[i] = row
        return rows

    def _near(self, logits: np.ndarray, rows: list[Row]) -> np.ndarray:
        """Pictures whose answer may hang on rounding, int64: nearly a tie, or near a threshold of the guards."""
        first_two = np.sort(logits, axis=1)[:, -2:]
        lead = first_two[:, 1] - first_two[:, 0]
        confidence = np.clip([row.max() for row, _ in rows], 1e-9, 1 - 1e-9)
        threshold = np.clip(self.guards.confidence, 1e-9, 1 - 1e-9)
        apart = np.abs(np.log(confidence / (1 - confidence)) - np.log(threshold / (1 - threshold)))
        strange = np.array([-np.inf if score is None else score for _, score in rows])
        return np.flatnonzero(
            (lead < NEAR) | (apart < NEAR) | (np.abs(strange - self.guards.strangeness) < NEAR_STRANGE)
        )

    def _load(self, some: list[Question], look: Look | None = None) -> list[np.ndarray | str]:
        """Each picture's pixels, or why there are none."""
        asked = [one for one in some if one.error is None]
        maker = Maker("tellapart.preprocess:square_and_size", {"how": self.preprocess.as_dict()})
        row_bytes = 3 * self.preprocess.size_px**2 + preprocess.SIZE_BYTES
        made = decoders.make(maker, [(one.content, [one.path]) for one in asked], row_bytes) if asked else []
        found = dict(zip(map(id, asked), made, strict=True))
        loaded: list[np.ndarray | str] = []
        for one in some:
            if one.error is not None:
                loaded.append(one.error)
            elif not (arrays := found[id(one)].arrays):
                loaded.append(found[id(one)].reason)
            else:
                loaded.append(arrays[0])
                if look is not None:
                    look(one.path, arrays[0], int(arrays[1].min()))
        return loaded

    def _answer(self, loaded: list[Loaded]) -> Iterator[Prediction]:
        pixels = [found for _, found in loaded if not isinstance(found, str)]
        yield from self._predictions(loaded, iter(self._rows(self._engine.run(np.stack(pixels))) if pixels else ()))

    def _predictions(self, loaded: list[Loaded], rows: Iterator[Row]) -> Iterator[Prediction]:
        for question, found in loaded:
            if isinstance(found, str):
                yield Prediction(question.path, None, None, error=found)
            else:
                yield self._ranked(question.path, *next(rows))

    def _ranked(self, path: str, probabilities: np.ndarray, score: float | None) -> Prediction:
        """Probabilities, float (C,), and strangeness of one picture as an answer."""
        best = int(probabilities.argmax())
        label, probability = self.classes[best], float(probabilities[best])
        reason = self.guards.reason(probability, label, score)
        return Prediction(
            path,
            None if reason else label,
            probability,
            dict(zip(self.classes, probabilities.tolist(), strict=True)),
            unknown=reason is not None,
            reason=reason,
            label_set=None
            if self._least is None
            else tuple(self.classes[i] for i in guards.label_set(probabilities, self._least)),
            strangeness=None if score is None else float(guards.strangeness(np.array(score), self._held_out)),
        )


def _pixels(loaded: Iterable[Loaded]) -> np.ndarray:
    """Of the first that could be read the pixels, uint8 (N, S, S, 3), to choose a way by; N may be 0."""
    found = [found for _, found in loaded if not isinstance(found, str)][: 2 * streams.BATCH]
    return np.stack(found) if found else np.zeros((0, 1, 1, 3), np.uint8)


def questions(
    paths: Iterable[str | os.PathLike[str]], *, leave_out: str | os.PathLike[str] | None = None
) -> Iterator[Question]:
    """Files as they are and folders walked to the bottom, in the order given.

    A path that does not exist becomes a question with an error, so that it has its row too. `leave_out` names a folder
    that no walk enters.
    """
    for path in paths:
        name = os.fspath(path)
        place = addresses.given(name)
        if is_place(place):
            kind = kind_of_place(place)
            if kind == "folder":
                yield from (Question(found.path, found.reason) for found in walk(place))
            else:
                yield Question(place, NO_SUCH_FILE if kind is None else None)
        elif os.path.isdir(name):
            for found in walk(name, leave_out=leave_out):
                yield Question(found.path, found.reason)
        else:
            yield Question(name, None if os.path.lexists(name) else NO_SUCH_FILE)


def csv_header(classes: tuple[str, ...], *, sets: bool = False, workers: bool = False) -> list[str]:
    """The columns of `predict --csv`: path, label, probability, unknown, error, then one a class.

    With `sets` the `label_set` follows, names with semicolons between; with `workers` who answered is the last one.
    """
    last = [*(["label_set"] if sets else []), *(["worker"] if workers else [])]
    return ["path", "label", "probability", "unknown", "error", *(guarded(name) for name in classes), *last]


def csv_row(classes: tuple[str, ...], one: Prediction, *, sets: bool = False, workers: bool = False) -> list[str]:
    """A prediction under `csv_header`.

    A cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    each = [f"{one.probabilities[name]:.6f}" if one.probabilities else "" for name in classes]
    probability = "" if one.probability is None else f"{one.probability:.6f}"
    unknown = "true" if one.unknown else "false"
    last = [guarded("; ".join(one.label_set or ()))] if sets else []
    last += [guarded(one.worker or "")] if workers else []
    return [guarded(one.path), guarded(one.label or ""), probability, unknown, guarded(one.error or ""), *each, *last]
