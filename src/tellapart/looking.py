"""Which pictures are learned from and which judge, in which order, and what a backbone says of them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tellapart import catalog as catalogs
from tellapart import features, splits
from tellapart.progress import Progress
from tellapart.store import Store

FEW = 500  # with fewer pictures in all there is no test split: each is answered by a head that did not see it
TEST = 600  # pictures of a test split of ours, where that is less than a tenth: it tells accuracy within two points


@dataclass(frozen=True, slots=True)
class Sides:
    """Who learns and who judges: indices of entries."""

    train: list[int]  # in the order in which they are looked at
    validation: list[int]  # only where the user's own splits have one
    test: list[int]
    dropped: tuple[tuple[int, str], ...]


def sides_of(catalog: catalogs.Catalog, seed: int, *, whole: bool = False) -> Sides:
    """The user's own splits where there are some; else a test of a tenth or TEST, unless there are few, or `whole`."""
    entries = catalog.entries
    own = any(entry.split is not None for entry in entries)
    few = not own and (whole or len(entries) < FEW)
    share = min(0.1, max(TEST / max(len(entries), 1), 0.01))
    assigned = splits.assign(entries, seed=seed, validation_fraction=0.0, test_fraction=0.0 if few else share)
    return Sides(
        train=by_turns(catalog, assigned.train, seed),
        validation=list(assigned.validation),
        test=list(assigned.test),
        dropped=assigned.dropped,
    )


def by_turns(catalog: catalogs.Catalog, indices: Sequence[int], seed: int) -> list[int]:
    """An order in which each beginning has about the same share of every class; it hangs on contents and seed alone."""
    of_class: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
    for i in indices:
        entry = catalog.entries[i]
        key = hashlib.blake2b(f"{seed} {entry.content}".encode(), digest_size=16).digest()
        of_class[entry.label].append((key, i))
    placed = []
    for mine in of_class.values():
        for place, (key, i) in enumerate(sorted(mine)):
            placed.append(((place + 1) / len(mine), key, i))
    return [i for *_, i in sorted(placed)]


class Looker:
    """Features of entries by index, looked up as they are asked for."""

    def __init__(self, catalog: catalogs.Catalog, extractor: features.Extractor, progress: Progress) -> None:
        self.extractor = extractor
        self.failures: dict[str, str] = {}  # content hash -> reason
        self.unreadable: set[int] = set()
        self._entries = catalog.entries
        self._groups = splits.groups(catalog.entries)
        self._place = {name: i for i, name in enumerate(catalog.classes)}
        self._progress = progress
        self._stores: dict[str, Store] = {}  # content hash -> where its features are

    def at(self, indices: Sequence[int], what: str) -> list[int]:
        """Look at some entries; returns those that could be read."""
        if not indices:
            return []
        store = self.extractor.extract(
            self.files(indices),
            lambda done, total: self._progress.update("Looking", done, total, f"{what} pictures"),
        )
        self._stores.update(dict.fromkeys(store.rows, store))
        self.failures.update(store.failures)
        self.unreadable.update(i for i in indices if self._entries[i].content in store.failures)
        return [i for i in indices if i not in self.unreadable]

    def features(self, indices: Sequence[int]) -> np.ndarray:
        """Float16 (N, D) of entries that were looked at."""
        found = []
        for i in indices:
            content = self._entries[i].content
            store = self._stores[content]
            found.append(store.values[store.rows[content]])
        return np.stack(found)

    def files(self, indices: Sequence[int]) -> list[tuple[str, str]]:
        """Path and content hash of each entry."""
        return [(self._entries[i].path, self._entries[i].content) for i in indices]

    def groups(self, indices: Sequence[int]) -> np.ndarray:
        """A number for the group of each entry, int64 (N,): copies and pictures of one group have the same."""
        return np.unique([self._groups[i] for i in indices], return_inverse=True)[1]

    def labels(self, indices: Sequence[int]) -> np.ndarray:
        """The place of each entry's class, int64 (N,)."""
        return np.array([self._place[self._entries[i].label] for i in indices], dtype=np.int64)
