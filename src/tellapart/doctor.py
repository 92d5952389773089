"""What is wrong with a folder of pictures: the stages of a check in their order, and their findings worst first."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tellapart import distributions, findings, oddities, shortcuts, traits, unreadable
from tellapart.catalog import Catalog
from tellapart.findings import Findings
from tellapart.progress import Progress
from tellapart.traits import Traits


def examine(
    catalog: Catalog, *, cache: Path, quick: bool = False, seed: int = 0, progress: Progress | None = None
) -> Findings:
    """Look at every picture of a catalog.

    Args:
        catalog: as scanned; nothing of it is changed.
        cache: the cache folder, where what was measured of a content is kept.
        quick: leave out what needs a look at the content by a network: wrong labels, outliers, classes that are too
            alike, and how much more pictures would help.
        seed: of the draws of pictures that stand for all.
        progress: is told how far each stage is.

    Raises OutputError where the cache cannot be written.
    """
    said = progress or Progress()
    seconds: dict[str, float] = {}
    with _timed(seconds, "look"):
        seen = traits.measure(catalog.entries, cache, progress=lambda done, total: said.update("Looking", done, total))
    found = [*unreadable.find(catalog, seen.failures), *oddities.find(seen)]
    with _timed(seconds, "shortcuts"):
        found += shortcuts.find(seen)
    return Findings(
        root=catalog.root,
        every=findings.ordered(found),
        quick=quick,
        n_found=catalog.n_found,
        n_used=len(seen),
        skipped=_skipped(catalog, seen),
        classes=_counts(catalog, seen),
        distributions=distributions.of(seen),
        notes=catalog.notes,
        seconds=seconds,
    )


def _skipped(catalog: Catalog, seen: Traits) -> tuple[tuple[str, str], ...]:
    """Path and reason of every file that cannot be used, sorted."""
    late = [(entry.path, seen.failures[entry.content]) for entry in catalog.entries if entry.content in seen.failures]
    return tuple(sorted([*((each.path, each.reason) for each in catalog.skipped), *late]))


def _counts(catalog: Catalog, seen: Traits) -> dict[str, dict[str, int]]:
    """Pictures that can be used by class and split; "all" where there are no splits."""
    of = Counter((entry.label, entry.split or "all") for entry in seen.entries)
    splits = [split for split in ("train", "validation", "test", "all") if any(key[1] == split for key in of)]
    return {label: {split: of[label, split] for split in splits} for label in catalog.classes}


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 3)
