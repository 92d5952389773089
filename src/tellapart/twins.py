"""Copies of one picture: found by fingerprints, confirmed pixel by pixel, put into groups.

What counts as a copy hangs on the folder. Two photos agree in their fine detail only where one was made from the other;
two digits of 28 × 28 nearly always do. So a pair must agree far more than either of its pictures agrees with others of
the folder that look like it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np

from tellapart import decoders, hashes, likeness, neighbours, pictures
from tellapart.catalog import Catalog
from tellapart.decoders import Maker
from tellapart.errors import PictureError

SIDE = 64  # px, at which two pictures are compared from disk
LEAST = 0.8  # agreement of fine detail that every copy must reach
APART = 1.3  # how far a pair must stand above the pictures' other likenesses, on the scale of Fisher's z
HOPELESS = 0.45  # agreement of the thumbnails below which two pictures are not read again
MARGIN = 0.3  # of Fisher's z, by which thumbnails must agree better than needed to be believed without reading
# Pairs in a row looked at in vain before the rest, which is less likely, is left alone: a number and a share of all.
FEWEST_TRIES, TRIES = 200, 0.02
CROPPED = 0.985  # share of a side below which a copy is called cropped
_BLOCK = 256

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Link:
    """Two contents that show the same picture."""

    first: str  # content hash
    second: str
    how: str  # "same pixels", "copy", "mirrored", "turned by 90°", …; with ", cropped" where it is a part
    score: float  # agreement of fine detail, to 1


@dataclass(frozen=True, slots=True)
class Twins:
    """Copies among the pictures of a folder, besides files of the same bytes."""

    links: tuple[Link, ...]  # enough of them to connect every group, sorted
    n_compared: int  # pairs that were looked at closely

    def groups(self) -> list[tuple[str, ...]]:
        """Contents that show the same picture, two or more each, sorted."""
        joined = _Joined()
        for link in self.links:
            joined.join(link.first, link.second)
        return joined.groups()


def find(
    files: Sequence[tuple[str, str]],
    fingerprints: np.ndarray,
    *,
    seed: int = 0,
    threads: int = 2,
    progress: Progress | None = None,
) -> Twins:
    """Find the copies among some pictures.

    Args:
        files: path and content hash of each picture; contents differ.
        fingerprints: uint8 (N, hashes.BYTES), row by row of the same pictures.
        seed: of the pictures that tell how alike unrelated ones are.
        threads: that read pictures.
        progress: called with (pairs looked at, pairs in all).
    """
    if len(files) != len(fingerprints):
        raise ValueError(f"as many fingerprints as files are needed; got {len(fingerprints)} and {len(files)}")
    cv2.setNumThreads(1)  # pairs are compared side by side
    contents = [content for _, content in files]
    joined = _Joined()
    links: list[Link] = []
    alone: list[int] = []  # one of each digest
    of_digest: dict[int, int] = {}
    for i, digest in enumerate(hashes.digests(fingerprints).tolist()):
        first = of_digest.setdefault(digest, i)
        if first == i:
            alone.append(i)
        elif joined.join(first, i):
            links.append(Link(contents[first], contents[i], "same pixels", 1.0))
    places = np.array(alone, dtype=np.int64)
    seen = fingerprints[places]
    proposed = neighbours.candidates(hashes.thumbnails(seen), seed=seed)
    judge = _Judge([files[i][0] for i in alone], seen, proposed.others)
    most_in_vain = FEWEST_TRIES + TRIES * len(alone)
    in_vain = n_compared = 0
    with ThreadPoolExecutor(threads, thread_name_prefix="tellapart-twins") as pool:
        for start in range(0, len(proposed.first), _BLOCK):
            block = range(start, min(start + _BLOCK, len(proposed.first)))
            pairs = [(int(proposed.first[k]), int(proposed.second[k]), int(proposed.turn[k])) for k in block]
            # What is connected already by others needs no look.
            pairs = [pair for pair in pairs if not joined.same(int(places[pair[0]]), int(places[pair[1]]))]
            for (one, other, _), verdict in zip(pairs, pool.map(judge.look, pairs), strict=True):
                n_compared += 1
                if verdict is None:
                    in_vain += 1
                    continue
                in_vain = 0
                if joined.join(int(places[one]), int(places[other])):
                    links.append(Link(contents[places[one]], contents[places[other]], *verdict))
            if progress is not None:
                progress(block.stop, len(proposed.first))
            if in_vain > most_in_vain:
                break
    return Twins(tuple(sorted(links, key=lambda link: (link.first, link.second))), n_compared)


class _Judge:
    """Whether two pictures are copies, as measured against others of the folder."""

    def __init__(self, paths: list[str], fingerprints: np.ndarray, others: np.ndarray) -> None:
        self._paths = paths
        self._thumbnails, self._colours = hashes.thumbnails(fingerprints), hashes.colours(fingerprints)
        self._others = others
        self._usual: dict[int, float] = {}

    def look(self, pair: tuple[int, int, int]) -> tuple[str, float] | None:
        """How the two go together and how well, or None where they are no copies."""
        first, second, place = pair
        turn = hashes.TURNS[place]
        if not likeness.same_colours(hashes.turned_picture(self._colours[first], turn), self._colours[second]):
            return None
        found = self._rough(first, second, turn)
        if found.score < HOPELESS:
            return None
        needed = max(_z(LEAST), APART + max(self.usual(first), self.usual(second)))
        if _z(found.score) < needed + MARGIN:
            try:
                one, other = self._read(first), self._read(second)
            except PictureError:  # it was there before, and is left alone now
                return None
            found = likeness.compare(hashes.turned_picture(one, turn), other)
            if _z(found.score) < needed:  # the first may be the part, the second the whole
                found = likeness.compare(other, hashes.turned_picture(one, turn))
            if _z(found.score) < needed:
                return None
        how = turn[0] or "copy"
        return f"{how}, cropped" if found.shown < CROPPED else how, round(found.score, 4)

    def usual(self, place: int) -> float:
        """How well a picture agrees with others that look like it: the median, Fisher's z."""
        if place not in self._usual:
            others = [int(other) for other in self._others[place] if other >= 0]
            scores = [self._rough(place, other, hashes.TURNS[0]).score for other in others]
            self._usual[place] = _z(float(np.median(scores))) if scores else 0.0
        return self._usual[place]

    def _rough(self, first: int, second: int, turn: tuple[str, bool, bool, bool]) -> likeness.Likeness:
        picture = hashes.turned_picture(self._thumbnails[first], turn)
        return likeness.compare(picture, self._thumbnails[second], refine=False)

    def _read(self, place: int) -> np.ndarray:
        return decoders.one(Maker("tellapart.twins:grey"), self._paths[place], SIDE**2)[0]


def grey(data: bytes) -> np.ndarray:
    """The bytes of a file squashed to a square, in grey, uint8 (SIDE, SIDE). Raises PictureError."""
    pixels = pictures.decode(data, at_least_px=SIDE).pixels
    return cv2.cvtColor(cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def _z(score: float) -> float:
    return float(np.arctanh(min(max(score, -0.999), 0.9995)))


# --- groups


def grouped(catalog: Catalog, twins: Twins) -> Catalog:
    """The catalog with copies in one group each, united with the user's own groups: no split then parts them."""
    joined = _Joined()
    for link in twins.links:
        joined.join("content " + link.first, "content " + link.second)
    for entry in catalog.entries:
        if entry.group is not None:
            joined.join("content " + entry.content, "group " + entry.group)
    groups = {thing: group[0] for group in joined.groups() for thing in group}
    entries = tuple(replace(each, group=groups.get("content " + each.content)) for each in catalog.entries)
    return replace(catalog, entries=entries)


def files(catalog: Catalog) -> list[tuple[str, str]]:
    """Path and content hash of every different picture, those in two classes among them, by path."""
    found: dict[str, str] = {}
    for entry in sorted((*catalog.entries, *catalog.conflicts), key=lambda entry: entry.path):
        found.setdefault(entry.content, entry.path)
    return [(path, content) for content, path in found.items()]


class _Joined:
    """Things joined into groups (union by the smaller root, with path halving)."""

    def __init__(self) -> None:
        self._root: dict[Hashable, Hashable] = {}

    def root(self, thing: Hashable) -> Hashable:
        root = self._root
        root.setdefault(thing, thing)
        while root[thing] != thing:
            root[thing] = root[root[thing]]
            thing = root[thing]
        return thing

    def same(self, one: Hashable, other: Hashable) -> bool:
        return self.root(one) == self.root(other)

    def join(self, one: Hashable, other: Hashable) -> bool:
        """Returns whether they were apart."""
        a, b = self.root(one), self.root(other)
        if a == b:
            return False
        low, high = (a, b) if str(a) < str(b) else (b, a)
        self._root[high] = low
        return True

    def groups(self) -> list[tuple]:
        found: dict[Hashable, list] = defaultdict(list)
        for thing in self._root:
            found[self.root(thing)].append(thing)
        return sorted(tuple(sorted(group)) for group in found.values() if len(group) > 1)
