"""What is wrong with a folder of pictures: the stages of a check in their order, and their findings worst first."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tellapart import (
    alike,
    distributions,
    duplicates,
    findings,
    growth,
    networks,
    oddities,
    outliers,
    shortcuts,
    sides,
    splits,
    suspects,
    traits,
    twins,
    unreadable,
)
from tellapart.catalog import Catalog
from tellapart.duplicates import Facts
from tellapart.features import Extractor
from tellapart.files import counted, shown
from tellapart.findings import Finding, Findings
from tellapart.progress import Progress
from tellapart.traits import FORMATS, Traits
from tellapart.twins import Twins

# The network by which labels are judged: the fastest of those that are installed, at its own size.
BACKBONE, SIZE_PX = "efficientnet-lite0", 224
SERIOUS = ("label_conflict", "leak", "shortcut", "split")  # kinds that a training tells of even as a warning


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
    seen, copies, found = _look(catalog, cache, seed, said, seconds)
    found += sides.find(catalog, sides.modified([entry.path for entry in catalog.entries]))
    if not quick:
        found += _judged(twins.grouped(catalog, copies), seen, cache, seed, said, seconds)
    return Findings(
        root=catalog.root,
        every=findings.ordered(found),
        quick=quick,
        n_found=catalog.n_found,
        n_used=len(seen),
        skipped=_skipped(catalog, seen),
        classes=_counts(catalog, seen),
        places=_places(catalog, found),
        distributions=distributions.of(seen),
        notes=catalog.notes,
        seconds=seconds,
    )


@dataclass(frozen=True, slots=True)
class Glance:
    """What the quick part found in some pictures of a folder, before a training on it."""

    catalog: Catalog  # copies among them in one group each, so that no split parts them
    every: tuple[Finding, ...]  # worst first
    n_looked: int  # pictures, readable or not

    def lines(self) -> list[str]:
        """What matters for a training, in a few sentences."""
        worst = [each for each in self.every if each.severity == "error" or each.kind in SERIOUS]
        of_kind = Counter(each.kind for each in worst)
        said = []
        for kind, n in of_kind.items():
            first = next(each.message for each in worst if each.kind == kind)
            said.append(first if n == 1 else f"{first} {counted(n - 1, 'more case')} like it.")
        copies = [each for each in self.every if each.kind in ("exact_duplicate", "near_duplicate")]
        n = sum(len(each.paths) - 1 for each in copies if each.detail["changes"] != ["same bytes"])
        if n:
            are = "is a near copy of another" if n == 1 else "are near copies of others"
            said.append(f"{counted(n, 'picture')} {are}: used, and never on two sides of a split.")
        if said:
            of = len(self.catalog.entries)
            some = f"{self.n_looked:,} of {counted(of, 'picture')}" if self.n_looked < of else "all pictures"
            said.append(f"For more, tellapart check {shown(self.catalog.root)} (this was the quick part, on {some}).")
        return said


def glance(catalog: Catalog, at: Sequence[int], *, cache: Path, seed: int, progress: Progress) -> Glance:
    """The quick part for some entries of a catalog, by index, before they are learned from and judged by."""
    # What the catalog set aside, and copies of the same bytes, its notes have told already.
    some = replace(catalog, entries=tuple(catalog.entries[i] for i in sorted(at)), skipped=(), conflicts=())
    _, copies, found = _look(some, cache, seed, progress, {})
    return Glance(twins.grouped(catalog, copies), findings.ordered(found), len(at))


def _look(
    catalog: Catalog, cache: Path, seed: int, said: Progress, seconds: dict[str, float]
) -> tuple[Traits, Twins, list[Finding]]:
    """The quick part: what was measured, the copies among the pictures, and the findings."""
    with _timed(seconds, "look"):
        seen = traits.measure(catalog.entries, cache, progress=lambda done, total: said.update("Looking", done, total))
    found = [*unreadable.find(catalog, seen.failures), *oddities.find(seen)]
    with _timed(seconds, "shortcuts"):
        found += shortcuts.find(seen)
    with _timed(seconds, "copies"):
        copies = _find_copies(seen, seed=seed, progress=said)
        found += duplicates.findings(catalog, copies, _facts(seen))
    return seen, copies, found


def _judged(
    catalog: Catalog, seen: Traits, cache: Path, seed: int, said: Progress, seconds: dict[str, float]
) -> list[Finding]:
    """What a frozen network makes of the pictures: outliers, wrong labels, classes too alike, the worth of more."""
    entries = [entry for entry in catalog.entries if entry.content not in seen.failures]
    if len({entry.label for entry in entries}) < 2:
        return []
    with _timed(seconds, "features"):
        extractor = Extractor(networks.find(BACKBONE, SIZE_PX), cache)
        kept = extractor.extract(
            [(entry.path, entry.content) for entry in entries], lambda done, total: said.update("Judging", done, total)
        )
    entries = [entry for entry in entries if entry.content in kept.rows]  # a file may have gone since
    values = kept.values[[kept.rows[entry.content] for entry in entries]]
    classes = tuple(sorted({entry.label for entry in entries}))
    place = {name: i for i, name in enumerate(classes)}
    labels = np.array([place[entry.label] for entry in entries])
    groups = np.unique(splits.groups(entries), return_inverse=True)[1]
    paths = [entry.path for entry in entries]
    with _timed(seconds, "outliers"):
        strange = outliers.find(values, labels, classes, paths)
    with _timed(seconds, "labels"):
        judged = suspects.judge(values, labels, len(classes), seed=seed, groups=groups)
        at = {path: i for i, path in enumerate(paths)}
        wrong = suspects.find(judged, labels, classes, paths, but={at[each.paths[0]] for each in strange})
    with _timed(seconds, "growth"):
        more = growth.find(growth.measure(values, labels, len(classes), seed=seed, groups=groups), classes)
    one = alike.find(judged.answers[judged.held_out], labels[judged.held_out], classes)
    return [*strange, *wrong, *one, *more]


def _find_copies(seen: Traits, *, seed: int, progress: Progress) -> Twins:
    """The copies among pictures that were measured, besides files of the same bytes."""
    _, firsts = np.unique(seen.contents, return_index=True)
    files = [(seen.entries[i].path, seen.entries[i].content) for i in firsts]
    return twins.find(
        files,
        seen.column("fingerprint", firsts),
        seed=seed,
        threads=os.cpu_count() or 1,
        progress=lambda done, total: progress.update("Comparing", done, total),
    )


def _facts(seen: Traits) -> dict[str, Facts]:
    """By content, what decides which of several copies is the best."""
    columns = [seen.column(name).tolist() for name in ("width", "height", "bytes", "format")]
    return {
        entry.content: Facts(width, height, n_bytes, FORMATS[place])
        for entry, width, height, n_bytes, place in zip(seen.entries, *columns, strict=True)
    }


def _skipped(catalog: Catalog, seen: Traits) -> tuple[tuple[str, str], ...]:
    """Path and reason of every file that cannot be used, sorted."""
    late = [(entry.path, seen.failures[entry.content]) for entry in catalog.entries if entry.content in seen.failures]
    return tuple(sorted([*((each.path, each.reason) for each in catalog.skipped), *late]))


def _counts(catalog: Catalog, seen: Traits) -> dict[str, dict[str, int]]:
    """Pictures that can be used by class and split; "all" where there are no splits."""
    of = Counter((entry.label, entry.split or "all") for entry in seen.entries)
    splits = [split for split in ("train", "validation", "test", "all") if any(key[1] == split for key in of)]
    return {label: {split: of[label, split] for split in splits} for label in catalog.classes}


def _places(catalog: Catalog, found: Sequence[Finding]) -> dict[str, tuple[str, str]]:
    """Class and split, or "", of the pictures that findings name."""
    named = {path for each in found for path in each.paths}
    every = (*catalog.entries, *catalog.conflicts)
    return {entry.path: (entry.label, entry.split or "") for entry in every if entry.path in named}


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 3)
