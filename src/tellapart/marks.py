"""A place that looks the same throughout one class and different elsewhere: a border, a tag, a logo, a date stamp.

Looked for in the small picture of each row, where places move with the size of the picture, and in its corners, where
they are counted in px. The colour must be rare elsewhere in the pictures: the black around a digit is no mark.

What is not one colour, or lets the picture shine through, is found in the corners by the mean of a class there: each
corner is compared with the difference of two such means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tellapart.traits import CORNER, SIDES, THUMB, Traits

NEAR = 20  # levels of each channel within which a place counts as looking the same: what JPEG does to a small logo
COMMON_OWN = 0.5  # of all places of the class itself, against the place in question: grey is usual in grey pictures
CORE = 0.4  # of the class, that lies nearest together: its middle is the colour of a place
SHARE = 0.45  # of the class that must look the same there
ELSEWHERE = 0.05  # of the other pictures that may look so at that place
COMMON = 0.05  # of all places of the other pictures that may have that colour
LEAST = 10  # pictures of a class in each half: places are chosen on one half and judged on the other
MOST_MINE, MOST_OTHERS = 1000, 4000  # pictures that a colour is found on · that a place is compared with
PATTERN_PX = 128  # median shorter side from which on a corner is a small part of the picture
PATTERN = 0.35  # of the way from guessing to certainty that a pattern must go, less three standard errors
BLOCK = 4096  # pictures looked at together


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """What one class has at one place, or at several that look alike in it."""

    label: int
    where: str  # "at the top left corner"
    colour: tuple[int, int, int] | None  # RGB, 0–255, at the place that tells most; None of a pattern
    share: float  # of the class, judged on pictures that the place was not chosen on, 0–1
    elsewhere: float  # of the other pictures, likewise
    at: np.ndarray  # int64: the entries of the class that have it

    @property
    def strength(self) -> float:
        """How much of the way from guessing to certainty it goes, 0–1."""
        return self.share - self.elsewhere


def find(traits: Traits, labels: np.ndarray, n_classes: int, sample: np.ndarray) -> list[Mark]:
    """The mark of each class that has one.

    Args:
        traits: of N entries.
        labels: int (N,), from 0 to C - 1.
        n_classes: C.
        sample: places of the entries to look at, int64.
    """
    shorter = np.minimum(traits.column("width", sample), traits.column("height", sample))
    if not len(sample) or np.median(shorter) < THUMB:  # of pictures that small every pixel may be the subject
        return []
    places = _places(traits, sample)  # uint8 (S, P, 3)
    patterns = np.median(shorter) >= PATTERN_PX
    half = traits.contents[sample] % 2 == 0
    found = []
    for label in range(n_classes):
        mine = labels[sample] == label
        if min((mine & half).sum(), (mine & ~half).sum()) < LEAST:
            continue
        others = np.flatnonzero(~mine)
        others = others[:: max(len(others) // MOST_OTHERS, 1)]
        every = np.flatnonzero(labels == label)
        mark = _of_one_colour(traits, places, half, label, every, np.flatnonzero(mine), others)
        if mark is None and patterns and min((~mine & half).sum(), (~mine & ~half).sum()) >= LEAST:
            mark = _pattern(traits, places, half, label, every, mine)
        if mark is not None:
            found.append(mark)
    return found


def _of_one_colour(
    traits: Traits,
    places: np.ndarray,
    half: np.ndarray,
    label: int,
    every: np.ndarray,
    mine: np.ndarray,
    others: np.ndarray,
) -> Mark | None:
    """A place of one colour, chosen on one half and judged on the other."""
    centre, telling = _telling(places[mine[half[mine]]], places[others[half[others]]])
    if not len(telling):
        return None
    share = _same(places[mine[~half[mine]]][:, telling], centre[telling]).mean(axis=0)
    elsewhere = _same(places[others[~half[others]]][:, telling], centre[telling]).mean(axis=0)
    n, m = (~half[mine]).sum(), (~half[others]).sum()
    error = np.sqrt(share * (1 - share) / n + elsewhere * (1 - elsewhere) / m)
    fine = (share >= SHARE) & (elsewhere <= ELSEWHERE) & (share - elsewhere - 3 * error >= PATTERN)
    if not fine.any():
        return None
    telling, share, elsewhere = telling[fine], share[fine], elsewhere[fine]
    best = int((share - elsewhere).argmax())
    place, colour = int(telling[best]), centre[telling[best]]
    blocks = [every[start : start + BLOCK] for start in range(0, len(every), BLOCK)]
    has = np.concatenate([block[_same(_places(traits, block)[:, place], colour)] for block in blocks])
    rgb = (int(colour[0]), int(colour[1]), int(colour[2]))
    return Mark(label, _where(telling), rgb, float(share[best]), float(elsewhere[best]), has)


def _pattern(
    traits: Traits, places: np.ndarray, half: np.ndarray, label: int, every: np.ndarray, mine: np.ndarray
) -> Mark | None:
    """The corner with a pattern that tells the class best: each half of the pictures is judged by the other's means."""
    marks = []
    for corner in range(4):
        start = THUMB * THUMB + corner * CORNER**2
        cells = _contrast(places[:, start : start + CORNER**2])
        hits, wrong, steady = [], [], True
        template, bar = np.zeros(0), 0.0
        for inside in (half, ~half):
            own, rest = cells[inside & mine].mean(axis=0), cells[inside & ~mine].mean(axis=0)
            steady = steady and bool((own**2).sum() > (rest**2).sum())  # it is this class that has the pattern
            template = (own - rest) / (cells[inside].var(axis=0) + 0.05)
            scores = cells @ template
            bar = _bar(scores[inside], mine[inside])
            hits.append((scores[~inside & mine] > bar).mean())
            wrong.append((scores[~inside & ~mine] > bar).mean())
        share, elsewhere = float(np.mean(hits)), float(np.mean(wrong))
        error = np.sqrt(share * (1 - share) / mine.sum() + elsewhere * (1 - elsewhere) / (~mine).sum())
        if steady and share - elsewhere - 3 * error >= PATTERN:
            blocks = [every[i : i + BLOCK] for i in range(0, len(every), BLOCK)]
            seen = [traits.column("corners", block)[:, corner].reshape(len(block), -1, 3) for block in blocks]
            has = [block[_contrast(part) @ template > bar] for block, part in zip(blocks, seen, strict=True)]
            marks.append(Mark(label, _where(np.array([start])), None, share, elsewhere, np.concatenate(has)))
    return max(marks, key=lambda mark: mark.strength, default=None)


def _contrast(places: np.ndarray) -> np.ndarray:
    """Places, uint8 (M, P, 3), less their mean colour and over their contrast: float32 (M, 3 P)."""
    less = places.astype(np.float32)
    less -= less.mean(axis=1, keepdims=True)
    less /= np.sqrt((less**2).mean(axis=(1, 2), keepdims=True)) + 8  # an even corner is not made of its noise
    return less.reshape(len(places), -1)


def _bar(scores: np.ndarray, mine: np.ndarray) -> float:
    """The score above which most of the class and least of the others are."""
    order = np.argsort(scores)
    below, others_below = np.cumsum(mine[order]) / mine.sum(), np.cumsum(~mine[order]) / (~mine).sum()
    return float(scores[order[(others_below - below).argmax()]])


def _telling(mine: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The usual colour of each place in the class, int16 (P, 3), and the places that tell it from the others."""
    centre = _core(mine[:: max(len(mine) // MOST_MINE, 1)])
    share, elsewhere = _same(mine, centre).mean(axis=0), _same(others, centre).mean(axis=0)
    telling = np.flatnonzero((share >= SHARE) & (elsewhere <= ELSEWHERE))
    seen = others[:: max(len(others) // 500, 1), : THUMB * THUMB]
    own = mine[:: max(len(mine) // 500, 1), : THUMB * THUMB]
    rare = [
        _same(seen, centre[place]).mean() <= COMMON and _same(own, centre[place]).mean() <= COMMON_OWN * share[place]
        for place in telling
    ]
    return centre, telling[np.array(rare, bool)]


def _core(places: np.ndarray) -> np.ndarray:
    """The middle of the narrowest range that holds `CORE` of the values, of uint8 (M, P, 3): int16 (P, 3)."""
    rising = np.sort(places, axis=0).astype(np.int16)
    n = max(round(CORE * len(rising)), 1)
    low, high = rising[: len(rising) - n + 1], rising[n - 1 :]
    narrowest = (high - low).argmin(axis=0)[None]
    ends = np.take_along_axis(low, narrowest, axis=0)[0] + np.take_along_axis(high, narrowest, axis=0)[0]
    return ends // 2


def _same(places: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Where uint8 (…, P, 3) is near to a colour, int16 (P, 3) or (3,): bool (…, P)."""
    low, high = np.clip(colour - NEAR, 0, 255).astype(np.uint8), np.clip(colour + NEAR, 0, 255).astype(np.uint8)
    return np.asarray(((places >= low) & (places <= high)).all(axis=-1))


def _places(traits: Traits, at: np.ndarray) -> np.ndarray:
    """All places of some entries, uint8 (M, P, 3): the small picture, then the corners."""
    parts = [traits.column(name, at).reshape(len(at), -1, 3) for name in ("thumb", "corners")]
    return np.concatenate(parts, axis=1)


def _where(places: np.ndarray) -> str:
    """In words where some places are."""
    corner = places >= THUMB * THUMB
    down, right = np.divmod(places[~corner], THUMB)
    sides = [down == 0, down == THUMB - 1, right == 0, right == THUMB - 1]
    which = np.unique((places[corner] - THUMB * THUMB) // CORNER**2)
    if len(which) == 4 and np.any(sides, axis=0).all():
        return "all round the edge or in all four corners"
    if corner.all():
        names = ("top left", "top right", "bottom left", "bottom right")
        return f"in the {' and the '.join(names[i] for i in which)} corner"
    long = [name for name, side in zip(SIDES, sides, strict=True) if side.sum() >= THUMB * 0.75]
    if long:
        return f"along the {' and the '.join(long)} edge"
    rows = ("top", "middle", "bottom")[int(np.median(down) * 3 // THUMB)]
    columns = ("left", "centre", "right")[int(np.median(right) * 3 // THUMB)]
    return "in the middle" if (rows, columns) == ("middle", "centre") else f"at the {rows} {columns}"
