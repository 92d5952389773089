"""What a frozen backbone says of pictures, computed once and kept by content, backbone and size.

Decoding runs on threads ahead of the engine, so that both fill the cores together. The backbone's graph runs in the way
that `streams` measured to be fastest; each way has features of its own in the cache.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import store, streams
from tellapart.engine import EMBEDDING
from tellapart.errors import BackboneError
from tellapart.jobs import Job
from tellapart.networks import Network
from tellapart.preprocess import Preprocess
from tellapart.store import Contents, Decoded, Kind, Store

LARGEST = float(np.finfo(np.float16).max)  # features are kept as float16
SAMPLE = 16  # pictures on which the way to run the backbone is chosen


class Extractor:
    """A frozen backbone at one size, ready for pictures."""

    def __init__(self, network: Network, cache: Path) -> None:
        self.network, self.preprocess = network, Preprocess(network.size_px)
        self._cache = cache
        self._graph = network.graph(cache, None)
        self._stream: streams.Stream | None = None

    def mirrored(self, files: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """The features of some files and of their mirror images, float16 (M, D) each, and which files these are.

        A file that cannot be read is left out: the last value has the places of the others, rising.
        """
        self._begin(files)
        assert self._stream is not None
        todo = [(content, [path]) for path, content in files]
        seen = answers(self._stream, todo, self.preprocess, os.cpu_count() or 1, lambda _, p: np.stack([p, p[:, ::-1]]))
        pairs = {one.content: rows[0].astype(np.float16) for one, rows in seen if rows}
        read = [i for i, (_, content) in enumerate(files) if content in pairs]
        both = np.stack([pairs[files[i][1]] for i in read]) if read else np.zeros((0, 2, self.network.n_features))
        return both[:, 0], both[:, 1], read

    @property
    def graph_bytes(self) -> int:
        """How large the backbone's graph is."""
        return len(self._graph)

    @property
    def way(self) -> str | None:
        """How the backbone runs, see `streams.ways`; None before the first picture."""
        return self._stream.way if self._stream else None

    def extract(
        self, files: Sequence[tuple[str, str]], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Store:
        """The features of some files: `values` float16 (M, D), see `store.keep` for all else.

        Args:
            files: (path, SHA-256 of the bytes in hex) of each.
            progress: called with (pictures done, pictures in all).
        """
        self._begin(files)
        kind = self._kind()
        return store.keep(files, kind, self._cache, progress=progress)

    def _kind(self) -> Kind:
        assert self._stream is not None
        name = f"{self.preprocess.size_px}px-{self.network.slug}"
        return Kind(
            name,
            [self.preprocess.as_dict(), store.decoder_versions(), self.network.fingerprint, self._stream.way],
            (self.network.n_features,),
            np.dtype(np.float16),
            self._made,
            Job(
                "tellapart.features:extracting",
                {
                    "graph": self._graph,
                    "way": self._stream.way,
                    "preprocess": self.preprocess.as_dict(),
                    "name": self.network.name,
                },
            ),
        )

    def speed(self, files: Sequence[tuple[str, str]]) -> float:
        """How many pictures a second it looks at, decoding included, measured on some; nothing is kept."""
        self._begin(files)
        todo, start = [(content, [path]) for path, content in files], time.perf_counter()
        n = sum(1 for _ in self._made(todo, os.cpu_count() or 1, streams.BATCH))
        return n / (time.perf_counter() - start)

    def _begin(self, files: Sequence[tuple[str, str]]) -> None:
        if self._stream is None:
            self._stream = streams.Stream(self._graph, [EMBEDDING], self._choose(files))

    def _choose(self, files: Sequence[tuple[str, str]]) -> str:
        todo = [(content, [path]) for path, content in files[:: max(len(files) // SAMPLE, 1)]][:SAMPLE]
        read = store.decode_all(todo, self.preprocess, 1, SAMPLE)
        sample = [one.value for one in read if one.value is not None]
        size = self.preprocess.size_px
        pixels = np.stack(sample) if sample else np.zeros((1, size, size, 3), np.uint8)
        name = f"{self.network.name} {self.network.fingerprint}"
        return streams.choose(self._graph, EMBEDDING, pixels, name, self._cache)

    def _made(self, todo: Contents, threads: int, block: int) -> Iterator[Decoded]:
        assert self._stream is not None  # `extract` has made it
        return _rounded(answers(self._stream, todo, self.preprocess, threads), self.network.name)


def _rounded(seen: Iterator[tuple[Decoded, tuple[np.ndarray, ...]]], name: str) -> Iterator[Decoded]:
    """Features, float32, as they are kept. Raises BackboneError where they are no such numbers."""
    for one, rows in seen:
        if not rows:
            yield one
            continue
        if not np.abs(rows[0]).max() <= LARGEST:  # NaN too
            raise BackboneError(
                f"Features must be numbers up to {LARGEST:,.0f}; {name} gives others. Put the scaling "
                f"of pixels, 0 to 255, into the network."
            )
        yield Decoded(one.content, rows[0][0].astype(np.float16))


def extracting(
    graph: bytes, way: str, preprocess: dict[str, Any], name: str, threads: int
) -> Callable[[Contents], Iterator[Decoded]]:
    """What a worker does with contents and their files: features as `Extractor.extract` keeps them.

    They are decoded first and run then, so that it never takes more cores than it was given.
    """
    stream = streams.Stream(graph, [EMBEDDING], streams.required(way), threads=threads)
    how = Preprocess.from_dict(preprocess)

    def do(todo: Contents) -> Iterator[Decoded]:
        read = list(store.decode_all(todo, how, threads, streams.BATCH))
        return _rounded(answered(stream, iter(read)), name)

    return do


def answers(
    stream: streams.Stream,
    todo: Contents,
    preprocess: Preprocess,
    threads: int,
    views: Callable[[str, np.ndarray], np.ndarray] | None = None,
) -> Iterator[tuple[Decoded, tuple[np.ndarray, ...]]]:
    """Decode and run: each picture with the graph's outputs, float32 (V, …) each, one row for each of its views.

    `views` makes uint8 (V, S, S, 3) of a content hash and its pixels, uint8 (S, S, 3); by default it is these alone. A
    picture that cannot be read comes with no outputs, between the others.
    """
    return answered(stream, store.decode_all(todo, preprocess, threads, streams.BATCH), views)


def answered(
    stream: streams.Stream,
    read: Iterator[Decoded],
    views: Callable[[str, np.ndarray], np.ndarray] | None = None,
) -> Iterator[tuple[Decoded, tuple[np.ndarray, ...]]]:
    """`answers` of pictures that are decoded already, or just being decoded."""
    unread: list[Decoded] = []
    under_way: deque[tuple[Decoded, int]] = deque()  # pictures in order, and how many views of each

    def batches() -> Iterator[np.ndarray]:
        while group := list(itertools.islice(read, streams.BATCH)):
            pixels = []
            for one in group:
                if one.value is None:
                    unread.append(one)
                    continue
                seen = one.value[None] if views is None else views(one.content, one.value)
                under_way.append((Decoded(one.content, None), len(seen)))
                pixels.extend(seen)
            for start in range(0, len(pixels), streams.BATCH):
                yield np.stack(pixels[start : start + streams.BATCH])

    waiting: list[tuple[np.ndarray, ...]] = []
    for outputs in stream.run(batches()):
        for rows in zip(*outputs, strict=True):
            waiting.append(rows)
            if len(waiting) == under_way[0][1]:
                yield under_way.popleft()[0], tuple(map(np.stack, zip(*waiting, strict=True)))
                waiting.clear()
        for one in unread:
            yield one, ()
        unread.clear()
    for one in unread:
        yield one, ()
