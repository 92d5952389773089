"""Where a network looked, and which training pictures are nearest, by the bundle's own graph and without Keras.

What is explained is a class's lead: its log-odds, which move where a probability is as good as 1. The heat of a place
is what the lead owes to it, found in the first of three ways that a network allows:

- At the map before the network's last halving: the map's value times the gradient of the lead, summed over channels, as
  in HiResCAM (Draelos and Carin 2020, arXiv:2011.08891), a little out of focus. See `gradients`.
- At the feature map, where a node behind that is not known: its places are taken away one at a time, and the graph's
  end is asked again (see `tails`). With global average pooling and one dense layer this is the class activation map of
  Zhou et al. 2016 (arXiv:1512.04150), of the kernel's column less those of the other classes.
- At the picture itself, where the answer hangs on more than one map, or there is none (a network of dense layers):
  parts of it are covered, as Zeiler and Fergus 2014 (arXiv:1311.2901) did.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

import numpy as np

from tellapart import gradients, graphfile, metrics, tails
from tellapart.bundle import Bundle
from tellapart.deletions import Deletion, lead, measured
from tellapart.engine import EMBEDDING, FEATURE_MAP, LOGITS, Engine, session
from tellapart.errors import BundleError, SettingsError
from tellapart.nearest import Neighbour, Space

MOST_VALUES = 10_000_000  # of all changed maps of one picture, 40 MB; a finer map is taken away in blocks
COVERS = 8  # a side of the grid of covers over a picture
AT_ONCE = 16  # covered pictures
SILENT = 1e-4  # logits: a lead that no place moves by more is moved by none
NEAREST = 5
SMOOTH = 1 / 18  # standard deviation of the blur of an inner map, in sides of it


class Explainer:
    """A bundle, ready to say why.

    Raises:
        BundleError: its graph cannot be opened.
    """

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        file = bundle.members["model.onnx"]
        self.classes = bundle.classes
        self._bundle = bundle
        self._space: Space | None = None
        self._tail: _Tail | None = None
        self._way: gradients.Way | None = None
        graph, inner = None, []
        try:
            graph = graphfile.read(file)
            self._way = gradients.way(graph, LOGITS)
        except ValueError:  # what ONNX Runtime can open and we cannot read is explained from outside
            pass
        if graph is not None and self._way is not None:
            inner = [name for name in self._way.values if name not in graph.outputs]
        self._engine = Engine(graphfile.exposed(file, inner) if inner else file, threads=threads, inner=inner)
        # A map as fine as the picture is the picture: its single px say nothing.
        coarse = self._engine.map_shape[0] != self._engine.size_px
        if graph is not None and self._way is None and coarse:
            self._tail = _Tail.of(graph, self._engine.map_shape, threads)

    @property
    def size_px(self) -> int:
        """Side of the square that the network sees."""
        return self._engine.size_px

    def heat(self, squares: np.ndarray, classes: Sequence[int] | np.ndarray) -> np.ndarray:
        """How much each part of a picture speaks for a class.

        Args:
            squares: preprocessed pictures, uint8 (B, S, S, 3).
            classes: of each picture the class that is asked about, int (B,).

        Returns:
            float32 (B, h, w), 0–1, as fine as the network's own map (see `enlarged`). 1 is the part to which the class
            owes most of its lead over all others in this picture, so maps of two pictures have no common scale; 0 is
            where nothing speaks for the class, or something against it. All 0 where no part does.

        Raises:
            SettingsError: a class is none of the model's.
        """
        asked = np.asarray(classes, np.int64)
        if asked.shape != (len(squares),) or not ((asked >= 0) & (asked < len(self.classes))).all():
            raise SettingsError(
                f"classes must be a number from 0 to {len(self.classes) - 1} for each of {len(squares)} pictures; "
                f"got {asked.tolist()}. Give one for each."
            )
        if self._way is not None:
            return np.stack([_scaled(self._moved(*each)[0]) for each in zip(squares, asked, strict=True)])
        if self._tail is None:
            return np.stack([_scaled(self._covered(*each)) for each in zip(squares, asked, strict=True)])
        maps = self._engine.feature_map(squares)
        return np.stack([_scaled(self._tail.lost(*each)) for each in zip(maps, asked, strict=True)])

    def look(self, square: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
        """The heat map of one picture, uint8 (S, S, 3), float32 (h, w), and its embedding, float32 (D,)."""
        if self._way is None:
            return self.heat(square[None], [wanted])[0], self.embeddings(square[None])[0]
        added, embedding = self._moved(square, wanted)  # one pass through the network gives both
        return _scaled(added), embedding

    def deletion(self, square: np.ndarray, heat: np.ndarray, wanted: int) -> Deletion:
        """What deleting the hot tenth of a picture, uint8 (S, S, 3), does to a class, and what as much elsewhere.

        `heat` is of the picture's size, float32 (S, S).
        """
        temperature = float(self._bundle.manifest["temperature"])
        return measured(lambda batch: self._engine.run(batch).logits, square, heat, wanted, temperature=temperature)

    def embeddings(self, squares: np.ndarray) -> np.ndarray:
        """Preprocessed pictures, uint8 (B, S, S, 3), to embeddings, float32 (B, D)."""
        return self._engine.run(squares).embedding

    def nearest(self, embeddings: np.ndarray, k: int = NEAREST) -> list[list[Neighbour]]:
        """The training pictures whose embeddings are nearest to each of some, the nearest first.

        Args:
            embeddings: float32 (B, D).
            k: how many of each, at most.

        Returns:
            B lists. Empty ones where the bundle holds no embeddings, as those of very wide networks do not.
        """
        if self._space is None:
            contents = self._bundle.splits().get("train", [])
            self._space = Space(self._bundle.embeddings(), contents, _labels(self._bundle, len(contents)))
        return self._space.nearest(embeddings, k)

    def _moved(self, square: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
        """What each place of the inner map adds to the lead, to first order, float64 (h, w); the embedding (D,)."""
        assert self._way is not None
        known = self._engine.values(square[None], list(dict.fromkeys([LOGITS, EMBEDDING, *self._way.values])))
        slope = self._way.back(known, _lead_slope(known[LOGITS], wanted))
        return _smoothed((slope * known[self._way.inner])[0].sum(0, dtype=np.float64)), known[EMBEDDING][0]

    def _covered(self, square: np.ndarray, wanted: int) -> np.ndarray:
        """What the lead loses where a part of the picture is covered with its mean colour, float64 (h, w)."""
        parts = _parts(len(square), len(square), COVERS, COVERS)
        shown = np.repeat(square[None], 1 + len(parts), axis=0)
        for one, part in zip(shown[1:], parts, strict=True):
            one[part] = square.mean((0, 1)).round()
        batches = (shown[start : start + AT_ONCE] for start in range(0, len(shown), AT_ONCE))
        leads = np.concatenate([lead(self._engine.run(batch).logits, wanted) for batch in batches])
        return (leads[0] - leads[1:]).reshape(min(COVERS, len(square)), -1)


class _Tail:
    """The end of a graph, which answers to feature maps."""

    def __init__(self, tail: tails.Tail, threads: int | None) -> None:
        self._session = session(tail.graph, threads=threads or os.cpu_count() or 1)
        self._input = self._session.get_inputs()[0].name
        self._order = tail.order

    @classmethod
    def of(cls, graph: graphfile.Graph, shape: tuple[int, ...], threads: int | None) -> _Tail | None:
        """None where the logits hang on more than the map, or the map has just one place."""
        if len(shape) != 3 or not all(isinstance(side, int) for side in shape) or shape[0] * shape[1] < 2:
            return None
        tail = tails.cut(graph, FEATURE_MAP, LOGITS, shape)
        try:
            return None if tail is None else cls(tail, threads)
        except BundleError:  # what was cut off does not stand by itself
            return None

    def lost(self, feature_map: np.ndarray, wanted: int) -> np.ndarray:
        """What the lead of a class loses with each part of a map, float32 (H, W, K), taken away: float64 (h, w).

        A part that is taken away has the mean of the map's places in its place.
        """
        height, width, _ = feature_map.shape
        rows, columns = height, width
        while rows * columns > 4 and rows * columns * feature_map.size > MOST_VALUES:
            rows, columns = max(rows * 9 // 10, 2), max(columns * 9 // 10, 2)
        parts = _parts(height, width, rows, columns)
        mean = feature_map.mean((0, 1))
        at_once = max(MOST_VALUES // feature_map.size, 1)
        leads = [self._leads(feature_map[None], wanted)]
        for start in range(0, len(parts), at_once):
            some = parts[start : start + at_once]
            changed = np.repeat(feature_map[None], len(some), axis=0)
            for one, part in zip(changed, some, strict=True):
                one[part] = mean
            leads.append(self._leads(changed, wanted))
        before, *after = np.concatenate(leads)
        return (before - np.array(after)).reshape(min(rows, height), -1)

    def _leads(self, maps: np.ndarray, wanted: int) -> np.ndarray:
        ordered = np.ascontiguousarray(maps.transpose(self._order))
        return lead(np.asarray(self._session.run(None, {self._input: ordered})[0]), wanted)


def enlarged(heat: np.ndarray, size_px: int) -> np.ndarray:
    """A heat map, float32 (h, w), smoothly to the size of the network's square: float32 (S, S), 0–1."""
    import cv2

    return np.clip(cv2.resize(heat, (size_px, size_px), interpolation=cv2.INTER_CUBIC), 0, 1)


def overlay(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A heat map, float32 (h, w), 0–1, over its picture in grey, uint8 (H, W, 3): uint8 (H, W, 3).

    The hotter, the brighter, from violet over red to yellow; what is cold stays grey, so that one sees what it is.
    """
    import cv2

    height, width = picture.shape[:2]
    levels = np.clip(cv2.resize(np.asarray(heat, np.float32), (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    colours = cv2.applyColorMap((255 * levels).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = 0.65 * levels[..., None] ** 0.7
    return ((1 - opacity) * grey + opacity * colours).round().astype(np.uint8)


def _lead_slope(logits: np.ndarray, wanted: int) -> np.ndarray:
    """The gradient of `lead` by the logits, float32 (1, C)."""
    others = logits.astype(np.float64)
    others[:, wanted] = -np.inf
    slope = -metrics.softmax(others)
    slope[:, wanted] = 1
    return slope.astype(np.float32)


def _smoothed(heat: np.ndarray) -> np.ndarray:
    """A map, float (h, w), a little out of focus: single places of an inner map say little."""
    import cv2

    deviation = SMOOTH * max(heat.shape)
    return cv2.GaussianBlur(heat, (0, 0), deviation, borderType=cv2.BORDER_REPLICATE)


def _scaled(lost: np.ndarray) -> np.ndarray:
    """Losses, float64 (h, w), to heat, float32, 0–1."""
    losses = np.where(np.isfinite(lost), lost, 0).clip(0, None)
    most = losses.max()
    return (losses / most if most > SILENT else 0 * losses).astype(np.float32)


def _parts(height: int, width: int, rows: int, columns: int) -> list[tuple[slice, slice]]:
    """A grid of about equal parts, row by row; no more of them than places."""
    downs, acrosses = (
        np.linspace(0, side, min(n, side) + 1).round().astype(int).tolist()
        for side, n in ((height, rows), (width, columns))
    )
    return [
        (slice(top, bottom), slice(left, right))
        for top, bottom in itertools.pairwise(downs)
        for left, right in itertools.pairwise(acrosses)
    ]


def _labels(bundle: Bundle, n: int) -> list[str] | None:
    """The classes of the training pictures, where the bundle says them."""
    numbers = bundle.manifest["training"].get("labels")
    classes = bundle.classes
    if not isinstance(numbers, list) or len(numbers) != n:
        return None
    if not all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < len(classes) for i in numbers):
        return None
    return [classes[i] for i in numbers]
