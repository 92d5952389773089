"""What a report shows of the pictures of an evaluation: which ones, their thumbnails, where the model looked.

Only those that say something are shown: mistakes, the least sure answers, pictures that were declined, and some of each
cell of the confusion matrix.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tellapart import thumbnails, verdicts
from tellapart.evaluation import Evaluation
from tellapart.files import shown
from tellapart.thumbnails import Album, Read, Thumbnail

Heat = Callable[[str, int], np.ndarray | None]  # path and class index -> uint8 (h, w, 3), the heat laid over; or None

THUMBNAIL_BYTES = 4_000_000  # of all together, without the heat maps
MOST_PICTURES = 400  # that are opened at all: reading and shrinking one takes some milliseconds
MOST_MISTAKES, MOST_UNSURE, MOST_DECLINED = 12, 12, 12
OPEN_MISTAKES = 6  # that stand open
MOST_CELLS = 60  # of mistakes that show pictures
MOST_OF_CELL, MOST_OF_RIGHT = 12, 6  # pictures of a cell: of mistakes, of right answers
MATRIX_CLASSES = 30  # up to this many classes right answers are shown, too
MOST_OF_PATH = 160  # letters


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture and its answer."""

    label: str  # the right class
    answer: str  # the most probable class
    probability: float  # of the answer, 0–1
    of_right: float  # of the right class, 0–1
    right: bool
    folder: str  # as shown, with "/" at its end
    name: str  # of the file
    alt: str
    declined: str = ""  # why the model does not answer
    thumbnail: Thumbnail | None = None
    key: str = ""  # of the thumbnail on the page
    first: bool = False  # whether the page has it here
    reason: str = ""  # why there is no thumbnail
    heat: Thumbnail | None = None  # where the model looked for its answer


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the confusion matrix with some of its pictures."""

    right: int  # class indices
    answer: int
    n: int
    share: float  # of the pictures of the right class, 0–1
    scenes: tuple[Scene, ...]

    @property
    def key(self) -> str:
        """What the cell is called on the page."""
        return f"cell-{self.right}-{self.answer}"


@dataclass(frozen=True, slots=True)
class Scenes:
    """All that a report shows of pictures."""

    mistakes: tuple[Scene, ...]  # the surest first
    n_mistakes: int
    unsure: tuple[Scene, ...]  # the least sure first
    declined: tuple[Scene, ...]
    n_declined: int
    cells: tuple[Cell, ...]  # mistakes, the most frequent first, then right answers
    n_left_out: int  # pictures that are named without being shown


def choose(evaluation: Evaluation, *, read: Read, heat: Heat | None = None) -> Scenes:
    """Choose the pictures of a report and shrink them.

    Args:
        evaluation: with at least one picture.
        read: a path to the bytes of its file; raises PictureError.
        heat: the picture with the heat of a class laid over, for the surest mistakes.
    """
    confidence = evaluation.probabilities.max(axis=1)
    wrong = evaluation.predicted != evaluation.labels
    by_sureness = np.argsort(-confidence, kind="stable")
    mistakes = by_sureness[wrong[by_sureness]].tolist()
    unsure = by_sureness[::-1][:MOST_UNSURE].tolist()
    declined = np.flatnonzero(~evaluation.answered).tolist()
    cells = _cells(evaluation, by_sureness)
    wanted = [*mistakes[:MOST_MISTAKES], *unsure, *declined[:MOST_DECLINED]]
    # Of each cell the first picture, of each the second, …: no cell takes the room of another.
    wanted += [some[k] for k in range(MOST_OF_CELL) for *_, some in cells if k < len(some)]
    chosen = [evaluation.paths[i] for i in dict.fromkeys(wanted)]
    album = thumbnails.album(chosen[:MOST_PICTURES], read=read, limit_bytes=THUMBNAIL_BYTES)
    maker = _Maker(evaluation, album)
    return Scenes(
        tuple(maker.scene(i, heat) for i in mistakes[:MOST_MISTAKES]),
        len(mistakes),
        tuple(maker.scene(i) for i in unsure),
        tuple(maker.scene(i) for i in declined[:MOST_DECLINED]),
        len(declined),
        tuple(Cell(*where, n, share, tuple(map(maker.scene, some))) for where, n, share, some in cells),
        maker.n_left_out,
    )


_Chosen = tuple[tuple[int, int], int, float, list[int]]  # (right, answer), pictures, share, those to be shown


def _cells(evaluation: Evaluation, by_sureness: np.ndarray) -> list[_Chosen]:
    """The cells that show pictures, and which: mistakes the surest first, right answers the least sure first."""
    counts = evaluation.confusion
    places = [((each.right, each.answer), each.n) for each in verdicts.pairs(evaluation)[:MOST_CELLS]]
    if len(counts) <= MATRIX_CLASSES:
        places += [((i, i), int(counts[i, i])) for i in range(len(counts)) if counts[i, i]]
    predicted = evaluation.predicted
    members: dict[tuple[int, int], list[int]] = {}
    for i in by_sureness.tolist():
        members.setdefault((int(evaluation.labels[i]), int(predicted[i])), []).append(i)
    chosen = []
    for where, n in places:
        some = members[where]
        some = some[::-1][:MOST_OF_RIGHT] if where[0] == where[1] else some[:MOST_OF_CELL]
        chosen.append((where, n, n / int(counts[where[0]].sum()), some))
    return chosen


class _Maker:
    """Makes scenes in the order of the page: a picture that comes again refers to where it came first."""

    def __init__(self, evaluation: Evaluation, album: Album) -> None:
        self.evaluation, self.album = evaluation, album
        self.predicted, self.root = evaluation.predicted, common_folder(evaluation.paths)
        self.keys: dict[str, str] = {}  # content -> key of its thumbnail
        self.n_left_out = 0

    def scene(self, i: int, heat: Heat | None = None) -> Scene:
        one = self.evaluation
        path, right, answer = one.paths[i], int(one.labels[i]), int(self.predicted[i])
        folder, slash, name = shorter(path, self.root).rpartition("/")
        label, told = shown(one.classes[right]), shown(one.classes[answer])
        alt = f"{name}: {label}" if right == answer else f"{name}: {label}, taken for {told}"
        content = self.album.contents.get(path)
        reason = ""
        if content is None:
            reason = self.album.reasons.get(path) or "not shown, to keep this page small"
            self.n_left_out += path not in self.album.reasons
        first = content is not None and content not in self.keys
        key = "" if content is None else self.keys.setdefault(content, f"p{len(self.keys)}")
        laid = None if heat is None else heat(path, answer)
        return Scene(
            label,
            told,
            float(one.probabilities[i, answer]),
            float(one.probabilities[i, right]),
            right == answer,
            folder + slash,
            name,
            alt,
            one.declined[i] if one.declined else "",
            None if content is None else self.album.thumbnails[content],
            key,
            first,
            reason,
            None if laid is None else thumbnails.of_pixels(laid),
        )


def common_folder(paths: Sequence[str]) -> str:
    """The folder that all paths are in; "" where there is none."""
    try:
        common = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # some are absolute, or on another drive
        return ""
    return common


def shorter(path: str, root: str) -> str:
    """A path from the folder `root` down, its middle left out where it is long."""
    text = shown(os.path.relpath(path, root) if root else path).replace("\\", "/" if os.sep == "\\" else "\\")
    half = MOST_OF_PATH // 2
    return text if len(text) <= MOST_OF_PATH else f"{text[:half]}…{text[-half:]}"
