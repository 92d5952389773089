"""What a frozen backbone says of pictures, computed once and kept by content, backbone and size.

Decoding runs on threads ahead of the engine, so that both fill the cores together. The backbone's graph runs in the way
that `streams` measured to be fastest; each way has features of its own in the cache.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from tellapart import store, streams
from tellapart.engine import EMBEDDING
from tellapart.errors import BackboneError
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
        assert self._stream is not None
        name = f"{self.preprocess.size_px}px-{self.network.slug}"
        kind = Kind(
            name,
            [self.preprocess.as_dict(), store.decoder_versions(), self.network.fingerprint, self._stream.way],
            (self.network.n_features,),
            np.dtype(np.float16),
            self._made,
        )
        return store.keep(files, kind, self._cache, progress=progress)

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
        """Decode and run; what cannot be read comes as it is, between the others."""
        read = store.decode_all(todo, self.preprocess, threads, streams.BATCH)
        unread: list[Decoded] = []
        names: list[str] = []  # of the pictures under way, in order

        def batches() -> Iterator[np.ndarray]:
            while group := list(itertools.islice(read, streams.BATCH)):
                pixels = []
                for one in group:
                    if one.value is None:
                        unread.append(one)
                    else:
                        names.append(one.content)
                        pixels.append(one.value)
                if pixels:
                    yield np.stack(pixels)

        assert self._stream is not None  # `extract` has made it
        done = 0
        for (features,) in self._stream.run(batches()):
            if not np.abs(features).max() <= LARGEST:  # NaN too
                raise BackboneError(
                    f"Features must be numbers up to {LARGEST:,.0f}; {self.network.name} gives others. Put the scaling "
                    f"of pixels, 0 to 255, into the network."
                )
            for row in features:
                yield Decoded(names[done], row.astype(np.float16))
                done += 1
            yield from unread
            unread.clear()
        yield from unread
