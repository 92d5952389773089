"""Pictures of none of the classes: how strange a picture is to a classifier, by its embedding and its logits.

Three things make a picture strange, and none of them alone tells all strangers (`benchmarks/strangers.py` compares):

- `far`: it differs from the training pictures in ways in which these hardly differ among each other: what is left of
  its embedding, scaled to length one, outside their principal subspace (as in Wang et al. 2022, arXiv:2203.10807).
  That tells pictures of another kind.
- `undrawn`: from the middle of all pictures it goes towards no class, by linear discriminants. Pictures of a class that
  was left out stand between the others.
- `doubtful`: the classifier itself wavers between classes (Hendrycks and Gimpel 2017, arXiv:1610.02136).

Each is standardised by pictures that the fit did not see, and they are added. Only an excess counts: that a classifier
is sure excuses no picture that is far from all others, since of those it often is.
"""

from __future__ import annotations

import dataclasses
import io
import math
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.errors import BundleError

MEMBER = "strangers.npz"  # of a bundle
MOST = 8_000  # pictures that are learned from
SHARE = 0.9  # of the variance of embeddings, in the principal subspace
MOST_AXES = 256
MOST_NUMBERS = 400_000  # in axes and class means, each two bytes: less than a megabyte in the bundle
OVERSAMPLED, ROUNDS = 16, 2  # of the randomised search for the axes
FEW = 20  # pictures held out, below which nothing is standardised by them
LEAST = 1e-6  # of a squared distance: float32 tells no less
LARGEST = 6e4  # that float16 holds, nearly
LOWEST = -1.0  # of each standardised part
MOST_BYTES = 64 * 2**20  # of the member of a bundle
BLOCK = 1024
REMEDY = "Get the file again, or train anew."


@dataclass(frozen=True, slots=True, eq=False)
class Strangers:
    """What is known of a classifier's own pictures; D features, R axes, C classes."""

    centre: np.ndarray  # float32 (D,), the mean of embeddings of length one
    axes: np.ndarray  # float16 (R, D), orthonormal but for rounding
    scale: np.ndarray  # float32 (R,), the spread within classes along each axis
    means: np.ndarray  # float16 (C, R), of the classes, along the axes, divided by `scale`
    middle: np.ndarray  # float64 (3,), the mean of each part over pictures held out
    spread: np.ndarray  # float64 (3,), its standard deviation; infinite where the part does not count

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

    def to_bytes(self) -> bytes:
        """The arrays as a `.npz` file, the same bytes for the same values."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for field in dataclasses.fields(self):
                array = io.BytesIO()
                np.save(array, getattr(self, field.name), allow_pickle=False)
                info = zipfile.ZipInfo(f"{field.name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
                archive.writestr(info, array.getvalue())
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Strangers:
        """Read what `to_bytes` wrote.

        Raises:
            BundleError: it is anything else.
        """
        try:
            found = _arrays(content)
        except (ValueError, EOFError, OSError, MemoryError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as e:
            raise _wrong(" ".join(str(e).split())[:200]) from e
        wrong = _first_wrong(found)
        if wrong:
            raise _wrong(wrong)
        return cls(**found)

    def _parts(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        apart = _unit(embeddings) - self.centre
        along = apart @ self.axes.astype(np.float32).T
        rest = (apart**2).sum(axis=1) - (along**2).sum(axis=1)
        means = self.means.astype(np.float32)
        towards = (along / self.scale) @ means.T - 0.5 * (means**2).sum(axis=1)
        return np.stack([np.log(np.maximum(rest, LEAST)), -towards.max(axis=1), _doubt(logits)], axis=1, dtype=float)

    def _joined(self, parts: np.ndarray) -> np.ndarray:
        score = np.maximum((parts - self.middle) / self.spread, LOWEST).sum(axis=1)
        return np.where(np.isnan(score), np.inf, score)  # what is no number is strange

    def _settled(self, parts: np.ndarray) -> Strangers:
        parts = parts[np.isfinite(parts).all(axis=1)]
        if len(parts) < 2:
            return self
        spread = np.maximum(parts.std(axis=0), 1e-9)
        return dataclasses.replace(self, middle=parts.mean(axis=0), spread=spread)


def fit(
    embeddings: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    *,
    logits: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> Strangers:
    """Learn from embeddings of training pictures, float (N, D), and their labels, int (N,), 0 to `n_classes` - 1.

    Args:
        logits: float (N, C), of each picture by a head that did not learn from it, as far as known: rows of NaN
            otherwise. Without them `doubtful` does not count, unless `Strangers.settled` is called.
        groups: int (N,), pictures of one group are held out together.
    """
    return fit_and_score(embeddings, labels, n_classes, logits=logits, groups=groups, seed=seed)[0]


def held_out_scores(
    embeddings: np.ndarray, labels: np.ndarray, n_classes: int, *, logits: np.ndarray, **settings: Any
) -> np.ndarray:
    """Scores of training pictures, each by a fit of others, float64, rising; arguments as for `fit`."""
    return fit_and_score(embeddings, labels, n_classes, logits=logits, **settings)[1]


def fit_and_score(
    embeddings: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    *,
    logits: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[Strangers, np.ndarray]:
    """`fit` and `held_out_scores` in one go.

    The latter serve where the network did not learn from these pictures, as a frozen one. Pictures that it learned from
    stand nearer together than new ones do: there `Strangers.settled` and `scores` of other pictures serve.
    """
    from tellapart import head  # answering needs none of it

    labels = np.asarray(labels, np.int64)
    some = _some(labels, seed)
    values, labels = _unit(embeddings[some]), labels[some]
    told = np.zeros((len(some), 1)) if logits is None else logits[some]
    groups = None if groups is None else groups[some]
    whole = _geometry(values, labels, n_classes, seed)
    parts = [np.zeros((0, 3))]
    for inside, outside in head.folds(labels, groups, seed, single=False):
        without = _geometry(values[inside], labels[inside], n_classes, seed)
        parts.append(without.parts(values[outside], told[outside]))
    found = np.concatenate(parts)
    found = found[~np.isnan(found).any(axis=1)]
    whole = whole._settled(found if len(found) >= FEW else whole.parts(values, told))
    if logits is None:
        whole.spread[2] = np.inf
    return whole, np.sort(whole._joined(found))


def strangeness(scores: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """The share of own pictures held out that are less strange, float64 (B,), 0 to 1; `held_out` rising, not empty."""
    return np.searchsorted(held_out, scores, side="left") / len(held_out)


def cut(held_out: np.ndarray, answered: float) -> float | None:
    """The score up to which pictures are answered, so that a share of own ones of `answered` (0 to 1) or more is.

    The share holds on average over drawings of the pictures held out (split conformal prediction, Vovk et al. 2005).
    None where there are too few of them to tell, `held_out` float (M,), rising.
    """
    place = math.ceil((len(held_out) + 1) * answered)
    return float(held_out[place - 1]) if 1 <= place <= len(held_out) else None


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
        spread=np.ones(3),
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


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` file whose names and sizes are what they should be."""
    names = [f"{field.name}.npy" for field in dataclasses.fields(Strangers)]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
        if [info.filename for info in infos] != names:
            raise ValueError(f"it must hold {', '.join(names)}")
        if sum(info.file_size for info in infos) > MOST_BYTES or any(info.compress_type for info in infos):
            raise ValueError(f"it must be stored and hold under {MOST_BYTES:,} bytes")
        return {
            info.filename.removesuffix(".npy"): np.load(io.BytesIO(archive.read(info)), allow_pickle=False)
            for info in infos
        }


def _first_wrong(found: dict[str, np.ndarray]) -> str | None:
    n_axes, d = found["axes"].shape if found["axes"].ndim == 2 else (0, 0)
    n_classes = len(found["means"]) if found["means"].ndim == 2 else 0
    if not (n_axes and d and n_classes):
        return "`axes` and `means` must be tables"
    expected = {
        "centre": (np.float32, (d,)),
        "axes": (np.float16, (n_axes, d)),
        "scale": (np.float32, (n_axes,)),
        "means": (np.float16, (n_classes, n_axes)),
        "middle": (np.float64, (3,)),
        "spread": (np.float64, (3,)),
    }
    for name, (kind, shape) in expected.items():
        array = found[name]
        if array.dtype != kind or array.shape != shape:
            return f"`{name}` must be {np.dtype(kind)} {shape}; it is {array.dtype} {array.shape}"
        if np.isnan(array).any() or (name != "spread" and np.isinf(array).any()):
            return f"`{name}` must be finite"
    if (found["scale"] <= 0).any() or (found["spread"] <= 0).any():
        return "`scale` and `spread` must be above zero"
    return None


def _wrong(what: str) -> BundleError:
    return BundleError(f"What a bundle knows of strange pictures must be as it was written: {what}. {REMEDY}")
