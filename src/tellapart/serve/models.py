"""The bundles that are served, by name, each with its network's thread; a file that changes takes the old one's place.

A request holds the model that it began with until it is answered, so that a new file loses none. A new file that is
broken changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart import bundle as bundles
from tellapart import preprocess, streams
from tellapart.bundle import Bundle
from tellapart.errors import SettingsError, TellapartError
from tellapart.files import shown
from tellapart.predict import Prediction, Predictor
from tellapart.serve.batching import Batcher, Fast
from tellapart.serve.refusals import Refusal

POLL_S = 1.0
FAST_BATCH = 4  # pictures a batch of the way for many: as fast as more, and less is lost where fewer wait
NEEDED = ("model.onnx", "splits.json", "embeddings.npy", "held_out.npz", "strangers.npz")  # to answer and to explain

Stamp = tuple[int, int, int]  # of a file: time of change (ns), bytes, inode


class Model:
    """One bundle, loaded and warm."""

    def __init__(
        self,
        name: str,
        path: str,
        bundle: Bundle,
        sha256: str,
        *,
        max_batch: int,
        on_batch: Callable[[int, float], None],
    ) -> None:
        self.name, self.path, self.sha256 = name, path, sha256
        self.bundle = Bundle(bundle.manifest, {m: c for m, c in bundle.members.items() if m in NEEDED})
        self.classes = bundle.classes
        self.predictor = Predictor(bundle, spinning=False)
        self.preprocess = self.predictor.preprocess
        side = self.preprocess.size_px
        self.predictor.predictions([""], np.zeros((1, side, side, 3), np.uint8))  # warm
        self._max_batch = max_batch
        self.batcher = Batcher(name, self.predictor.predictions, max_batch=max_batch, on_batch=on_batch)
        self.retired = False  # another one has taken its place
        self._lock = threading.Lock()
        self._held = 0

    def hold(self) -> bool:
        """Keep it until `release`; False where another one has taken its place already."""
        with self._lock:
            if self.retired:
                return False
            self._held += 1
            return True

    def release(self) -> None:
        """What was held is needed no more."""
        with self._lock:
            self._held -= 1
            last = self.retired and not self._held
        if last:
            self.batcher.close()

    def quicken(self) -> None:
        """Find the way that answers many pictures fastest, and use it. Takes seconds; answers are given meanwhile."""
        stream = None if self._max_batch < FAST_BATCH else self.predictor.stream(self._squares(), FAST_BATCH)
        if stream is None or self.retired:
            return

        predictor = self.predictor  # not the model, which has the batcher: in a circle, both would stay for long

        def run(slot: int, paths: Sequence[str], batch: np.ndarray) -> list[Prediction]:
            return predictor.streamed(stream, slot, paths, batch)

        self.batcher.use(Fast(run, max(stream.slots - 1, 1), FAST_BATCH))

    def _squares(self) -> np.ndarray:
        """Drawn pictures to measure on, uint8 (N, S, S, 3): colours that change smoothly, and a little noise."""
        rng, side = np.random.default_rng(0), self.preprocess.size_px
        coarse = rng.integers(0, 256, (2 * streams.BATCH, 6, 6, 3), np.uint8)
        smooth = np.stack([preprocess.fit(one, self.preprocess) for one in coarse])
        return (smooth // 8 * 7 + rng.integers(0, 32, (len(coarse), side, side, 3), np.uint8)).astype(np.uint8)

    def retire(self) -> None:
        """Let it go as soon as nobody holds it."""
        with self._lock:
            self.retired = True
            last = not self._held
        if last:
            self.batcher.close()

    def facts(self) -> dict[str, Any]:
        """What the service says of it."""
        manifest = self.bundle.manifest
        training = manifest["training"]
        return {
            "name": self.name,
            "classes": list(self.classes),
            "size_px": self.preprocess.size_px,
            "fit": self.preprocess.fit,
            "metrics": _judged(manifest["metrics"]),
            "abstention": dict(manifest["abstention"]),
            "pictures": dict(training["pictures"]),
            "created": manifest["provenance"]["created"],
            "hash": self.sha256,
        }


def _judged(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """How good a model was on pictures that it did not learn from: those of the test split, where it has one."""
    side = next((each for each in ("test", "cross-validation", "validation", "train") if each in metrics), None)
    numbers = metrics.get(side, {}) if side is not None else {}
    return {
        "split": side,
        "n": numbers.get("n"),
        "accuracy": numbers.get("accuracy"),
        "accuracy_interval": numbers.get("accuracy_interval"),
    }


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from."""

    name: str
    path: str


def sources(given: Sequence[str]) -> list[Source]:
    """Names and paths of MODEL or NAME=MODEL; a name is by default the file's own without its ending.

    Raises:
        SettingsError: two have the same name, or a name cannot stand in an address.
    """
    found: dict[str, Source] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or os.path.exists(text):
            name, path = os.path.splitext(os.path.basename(text))[0], text
        if not name or not name.isprintable() or any(c in name for c in "/\\?#%"):
            raise SettingsError(
                f"A model's name must be printable and without / \\ ? # %; got '{shown(name)}'. "
                f"Name it yourself: NAME={shown(path)}."
            )
        if name in found:
            raise SettingsError(
                f"Each model must have a name of its own; {shown(found[name].path)} and {shown(path)} are both "
                f"'{name}'. Name one yourself: NAME={shown(path)}."
            )
        found[name] = Source(name, path)
    return list(found.values())


def stamp(path: str) -> Stamp | None:
    """What tells whether a file has changed; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who is told what happens to models."""

    on_batch: Callable[[str, int, float], None] = lambda name, n, seconds: None
    on_loaded: Callable[[Model], None] = lambda model: None
    on_reload: Callable[[str, str | None], None] = lambda name, error: None  # error: why a new file was not taken


class Models:
    """What is served. Reading and reloading happen on threads that may wait; `pick` and `all` on any."""

    def __init__(self, wanted: Sequence[Source], *, max_batch: int, hooks: Hooks) -> None:
        self._wanted, self._max_batch, self._hooks = list(wanted), max_batch, hooks
        self._models: dict[str, Model] = {}
        self._stamps: dict[str, Stamp | None] = {}
        self._seen: dict[str, Stamp | None] = {}  # a change that was seen once and may not be finished yet

    def load(self) -> None:
        """Load and warm up every model. Raises TellapartError for the first that cannot be."""
        for source in self._wanted:
            self._stamps[source.name] = stamp(source.path)
            self._models[source.name] = self._loaded(source)
            self._hooks.on_loaded(self._models[source.name])

    @property
    def ready(self) -> bool:
        """Whether all are loaded."""
        return len(self._models) == len(self._wanted)

    @property
    def names(self) -> list[str]:
        """All names, in the order given."""
        return [source.name for source in self._wanted]

    def all(self) -> list[Model]:
        """The models as they are now, in the order given."""
        return list(self._models.values())

    def pick(self, name: str | None) -> Model:
        """The model of a name, or the first. Raises Refusal (404; 503 while they are being loaded)."""
        if name is not None and name not in self.names:
            known = ", ".join(shown(each) for each in self.names[:20])
            raise Refusal(
                404,
                "unknown_model",
                f"`model` must be one that is served ({known}); got '{shown(name[:100])}'. Name one.",
            )
        model = self._models.get(self.names[0] if name is None else name)
        if model is None:
            raise Refusal(
                503,
                "not_ready",
                "The models must be loaded first; they are not yet. Ask again in a second.",
                headers={"retry-after": "1"},
            )
        return model

    @contextlib.contextmanager
    def held(self, name: str | None) -> Iterator[Model]:
        """`pick`, and keep it while a request needs it, also where another one takes its place meanwhile."""
        model = self.pick(name)
        while not model.hold():  # replaced since it was picked
            model = self.pick(name)
        try:
            yield model
        finally:
            model.release()

    def look(self) -> None:
        """Take over each file that has changed and stayed the same for one look."""
        for source in self._wanted:
            now = stamp(source.path)
            if now is None or now == self._stamps[source.name]:
                self._seen.pop(source.name, None)
                continue
            if self._seen.get(source.name) != now:
                self._seen[source.name] = now
                continue
            self._stamps[source.name] = now  # broken or not, it is not tried again before it changes again
            try:
                new = self._loaded(source)
            except TellapartError as error:
                self._hooks.on_reload(source.name, str(error))
                continue
            old, self._models[source.name] = self._models[source.name], new
            old.retire()
            new.quicken()
            self._hooks.on_loaded(new)
            self._hooks.on_reload(source.name, None)

    def close(self) -> None:
        """Let all go; there is none to be picked any more."""
        gone, self._models = self.all(), {}
        for model in gone:
            model.retire()

    def _loaded(self, source: Source) -> Model:
        content = bundles.read(source.path)
        try:
            with open(source.path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise TellapartError(f"{shown(source.path)} went away while it was read. Start again.") from error
        return Model(
            source.name,
            source.path,
            content,
            digest,
            max_batch=self._max_batch,
            on_batch=lambda n, seconds: self._hooks.on_batch(source.name, n, seconds),
        )
