"""Pictures of none of the classes: how strange a picture is to a classifier, by its embedding and its logits.

Three things make a picture strange, and none of them alone tells all strangers (`benchmarks/strangers.py` compares):

- `far`: it differs from the training pictures in ways in which these hardly differ among each other: what is left of
  its embedding, scaled to length one, outside their principal subspace (as in Wang et al. 2022, arXiv:2203.10807).
  That tells pictures of another kind.
- `undrawn`: from the middle of all pictures it goes towards no class, by linear discriminants. Pictures of a class that
  was left out stand between the others.
- `doubtful`: the classifier itself wavers between classes (Hendrycks and Gimpel 2017, arXiv:1610.02136).

Each is standardised by pictures that the fit did not see, and they are added; the latter two with weights that shrink
by 1 - 1/C, since with few classes they say much the same. `doubtful` weighs least: a network that learned its
embeddings is sure of nearly everything. Only an excess counts: that a classifier is sure excuses no picture that is far
from all others, since of those it often is.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from tellapart import arrays
from tellapart.errors import BundleError

MEMBER = "strangers.npz"  # of a bundle
KINDS = {
    "centre": ("float32", 1),
    "axes": ("float16", 2),
    "scale": ("float32", 1),
    "means": ("float16", 2),
    "middle": ("float64", 1),
    "weight": ("float64", 1),
}

MOST = 8_000  # pictures that are learned from
SHARE = 0.9  # of the variance of embeddings, in the principal subspace
MOST_AXES = 256
MOST_NUMBERS = 400_000  # in axes and class means, each two bytes: less than a megabyte in the bundle
OVERSAMPLED, ROUNDS = 16, 1  # of the randomised search for the axes
FEW = 20  # pictures held out, below which nothing is standardised by them
LEAST = 1e-6  # of a squared distance: float32 tells no less
LARGEST = 6e4  # that float16 holds, nearly
UNDRAWN, DOUBTFUL = 1.5, 0.5  # weights against `far`
LOWEST = -1.0  # of each part, standardised and weighted
BLOCK = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Strangers:
    """What is known of a classifier's own pictures; D features, R axes, C classes."""

    centre: np.ndarray  # float32 (D,), the mean of embeddings of length one
    axes: np.ndarray  # float16 (R, D), orthonormal but for rounding
    scale: np.ndarray  # float32 (R,), the spread within classes along each axis
    means: np.ndarray  # float16 (C, R), of the classes, along the axes, divided by `scale`
    middle: np.ndarray  # float64 (3,), the mean of each part over pictures held out
    weight: np.ndarray  # float64 (3,), by its standard deviation; 0 where the part does not count

    def scores(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """How strange pictures are, float64 (B,), larger is stranger; embeddings float (B, D), logits float (B, C).

        Logits may be shifted by a constant, so logarithms of probabilities serve as well.
        """
        return self._joined(self.parts(embeddings, logits))

    def parts(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """`far`, `undrawn` and `doubtful` (see the head of this module), float64 (B, 3), not yet standardised."""
        found = [
            self._parts(embeddings[start : start + BLOCK], logits[start : start + BLOCK])
            for start in range(0, len(embeddings), BLOCK)
        ]
        return np.concatenate(found) if found else np.zeros((0, 3))

    def settled(self, embeddings: np.ndarray, logits: np.ndarray) -> Strangers:
        """The same, each part standardised by pictures that were not learned from, see `scores`."""
        return self._settled(self.parts(embeddings, logits))

    def allowing(self, settled: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> Strangers:
        """The same, for answers by another way to run the graph than the one that it was settled by.

        Rounding moves scores, by little for photos, by half a standard deviation for digits blown up from 8 px. Where
        the other way finds pictures stranger, that is taken off: own ones are answered as often as was promised.

        Args:
            settled: embeddings, float (B, D), and logits, float (B, C), of some pictures of all classes, best ones that
                were not learned from, by the way that it was settled by.
            other: of the same pictures by the other way.
        """
        further = self.parts(*other) - self.parts(*settled)
        if not len(further) or not np.isfinite(further).all():
            return self
        return dataclasses.replace(self, middle=self.middle + np.maximum(np.median(further, axis=0), 0))

    def to_bytes(self) -> bytes:
        """As a member of a bundle."""
        return arrays.to_bytes({name: getattr(self, name) for name in KINDS})

    @classmethod
    def from_bytes(cls, content: bytes) -> Strangers:
        """What `to_bytes` gave. Raises BundleError where it is damaged."""
        what = "What a bundle knows of strange pictures"
        found = cls(**arrays.from_bytes(content, KINDS, what))
        n_axes, d = found.axes.shape
        shapes = {
            "centre": (d,),
            "scale": (n_axes,),
            "means": (len(found.means), n_axes),
            "middle": (3,),
            "weight": (3,),
        }
        wrong = [name for name, shape in shapes.items() if getattr(found, name).shape != shape]
        if not found.axes.size or not len(found.means) or (found.scale <= 0).any():
            wrong.append("scale")
        if wrong:
            raise BundleError(f"{what}: `{wrong[0]}` does not fit the rest. Get the file again, or train anew.")
        return found

    def _parts(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        apart = _unit(embeddings) - self.centre
        along = apart @ self.axes.astype(np.float32).T
        rest = (apart**2).sum(axis=1) - (along**2).sum(axis=1)
        means = self.means.astype(np.float32)
        towards = (along / self.scale) @ means.T - 0.5 * (means**2).sum(axis=1)
        return np.stack([np.log(np.maximum(rest, LEAST)), -towards.max(axis=1), _doubt(logits)], axis=1, dtype=float)

    def _joined(self, parts: np.ndarray) -> np.ndarray:
        score = np.maximum((parts - self.middle) * self.weight, LOWEST).sum(axis=1)
        return np.where(np.isnan(score), np.inf, score)  # what is no number is strange

    def _settled(self, parts: np.ndarray) -> Strangers:
        parts = parts[np.isfinite(parts).all(axis=1)]
        if len(parts) < 2:
            return self
        few = 1 - 1 / len(self.means)
        weight = np.array([1, UNDRAWN * few, DOUBTFUL * few]) / np.maximum(parts.std(axis=0), 1e-9)
        return dataclasses.replace(self, middle=parts.mean(axis=0), weight=weight)


def fit(embeddings: np.ndarray, labels: np.ndarray, n_classes: int, *, seed: int = 0) -> Strangers:
    """Learn from embeddings of training pictures, float (N, D), and their labels, int (N,), 0 to `n_classes` - 1.

    The parts are not standardised yet: that is what `Strangers.settled` does, by pictures that were not learned from.
    """
    labels = np.asarray(labels, np.int64)
    some = _some(labels, seed)
    return _geometry(_unit(embeddings[some]), labels[some], n_classes, seed)


def fit_and_score(
    embeddings: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    *,
    logits: np.ndarray,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[Strangers, np.ndarray]:
    """`fit`, settled by the pictures that it learned from, in folds, and the scores of these, float64, rising.

    Args:
        embeddings, labels, n_classes: as for `fit`.
        logits: float (N, C), of each picture by a head that did not learn from it; rows of NaN where there is none, and
            such a picture gets no score.
        groups: int (N,), pictures of one group are held out together.

    The scores serve where the network did not learn from these pictures, as a frozen one. Pictures that it learned from
    stand nearer together than new ones do: there `Strangers.settled` and `scores` of other pictures serve.
    """
    from tellapart import head  # answering needs none of it

    labels = np.asarray(labels, np.int64)
    some = _some(labels, seed)
    values, labels = _unit(embeddings[some]), labels[some]
    told = logits[some]
    groups = None if groups is None else groups[some]
    whole = _geometry(values, labels, n_classes, seed)
    parts = [np.zeros((0, 3))]
    for inside, outside in head.folds(labels, groups, seed, single=False):
        without = _geometry(values[inside], labels[inside], n_classes, seed)
        parts.append(without.parts(values[outside], told[outside]))
    found = np.concatenate(parts)
    found = found[~np.isnan(found).any(axis=1)]
    whole = whole._settled(found if len(found) >= FEW else whole.parts(values, told))
    return whole, np.sort(whole._joined(found))


def _some(labels: np.ndarray, seed: int) -> np.ndarray:
    """At most MOST pictures, of every class the same share but for rounding, int64, rising."""
    if len(labels) <= MOST:
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    turn = np.empty(len(labels))  # how far through its class a picture stands, 0–1: the lowest are taken
    for label in np.unique(labels):
        mine = order[labels[order] == label]
        turn[mine] = np.arange(len(mine)) / len(mine)
    return np.sort(order[np.argsort(turn[order], kind="stable")[:MOST]])


def _geometry(values: np.ndarray, labels: np.ndarray, n_classes: int, seed: int) -> Strangers:
    """Subspace and discriminants of embeddings of length one, float32 (N, D), not standardised."""
    n, d = values.shape
    centre = values.mean(axis=0)
    apart = values - centre
    axes = _axes(apart, max(1, min(MOST_AXES, MOST_NUMBERS // (d + n_classes), n - 1, d)), seed)
    along = apart @ axes.T
    total = max(float((apart**2).sum()), 1e-12)
    kept = 1 + int(np.searchsorted(np.cumsum((along**2).sum(axis=0)) / total, SHARE))
    axes, along = axes[:kept], along[:, :kept]
    present, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(present), along.shape[1]))
    np.add.at(sums, place, along)
    means = sums / counts[:, None]
    within = along - means[place]
    degrees = max(n - len(present), 1)
    covariance = within.T @ within / degrees
    # Drawn towards equal variance in all directions, by Oracle Approximating Shrinkage (Chen et al. 2010).
    variance = np.trace(covariance) + float((apart**2).sum() - (along**2).sum()) / degrees  # outside the axes too
    squared = float((covariance**2).sum())
    left = (degrees + 1 - 2 / d) * (squared - variance**2 / d)
    drawn = min(1.0, ((1 - 2 / d) * squared + variance**2) / left) if left > 0 else 1.0
    eigenvalues, turned = np.linalg.eigh(covariance)
    scale = np.sqrt((1 - drawn) * np.maximum(eigenvalues, 0) + drawn * max(variance, LEAST) / d)
    every = np.zeros((n_classes, len(scale)))
    every[present] = np.clip(means @ turned / scale, -LARGEST, LARGEST)
    return Strangers(
        centre=centre.astype(np.float32),
        axes=(turned.T @ axes).astype(np.float16),
        scale=scale.astype(np.float32),
        means=every.astype(np.float16),
        middle=np.zeros(3),
        weight=np.ones(3),
    )


def _axes(apart: np.ndarray, n: int, seed: int) -> np.ndarray:
    """The first `n` principal axes of centred rows, float32 (n, D), by a randomised search (Halko et al. 2011)."""
    rng = np.random.default_rng(seed)
    width = min(n + OVERSAMPLED, *apart.shape)
    found = apart.T @ rng.standard_normal((len(apart), width)).astype(np.float32)
    for _ in range(ROUNDS):
        found = apart.T @ (apart @ np.linalg.qr(found)[0])
    basis = np.linalg.qr(found)[0]
    along = apart @ basis
    _, turned = np.linalg.eigh(along.T @ along)
    return np.ascontiguousarray((basis @ turned[:, ::-1])[:, :n].T)


def _doubt(logits: np.ndarray) -> np.ndarray:
    """Logarithm of the odds against the most probable class, float64 (B,)."""
    logits = np.asarray(logits, np.float64)
    best = logits.argmax(axis=1)[:, None]
    highest = np.take_along_axis(logits, best, axis=1)
    others = np.exp(logits - highest)
    np.put_along_axis(others, best, 0, axis=1)
    return np.log(others.sum(axis=1) + 1e-15)


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
