"""Training pictures that are nearest to a picture in the network's eyes, by their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROWS = 4096  # training pictures that are compared at once: float32 copies of all would double the memory


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training picture near to another one in the network's eyes."""

    content: str  # SHA-256 of its file's bytes, hex
    similarity: float  # cosine of the embeddings, both less the training pictures' mean; -1 to 1
    label: str | None  # its class; None where that is not known


class Space:
    """The training pictures' embeddings, ready to be compared with.

    All are taken less their mean, which most features of a network share whatever the picture: without it every two
    pictures are alike.
    """

    def __init__(self, embeddings: np.ndarray, contents: Sequence[str], labels: Sequence[str] | None = None) -> None:
        """Take embeddings, float (N, D), with the content hash and, where known, the class of each.

        Where there are not as many embeddings as hashes, or they are no finite numbers, nothing is near to anything.
        """
        usable = embeddings.ndim == 2 and len(embeddings) == len(contents) and embeddings.dtype.kind == "f"
        if not usable or not np.isfinite(embeddings).all():
            embeddings = np.zeros((0, embeddings.shape[-1] if embeddings.ndim else 0), np.float16)
        self._rows = embeddings
        self._contents = contents
        self._labels = labels
        self.mean = embeddings.mean(0, dtype=np.float64).astype(np.float32) if len(embeddings) else None

    def nearest(self, embeddings: np.ndarray, k: int) -> list[list[Neighbour]]:
        """The `k` nearest, or all there are, to each of some embeddings, float (B, D): the nearest first."""
        if self.mean is None or embeddings.shape[1] != self._rows.shape[1] or k < 1:
            return [[] for _ in embeddings]
        asked = _directions(embeddings.astype(np.float32) - self.mean)
        parts = (self._rows[start : start + ROWS] for start in range(0, len(self._rows), ROWS))
        cosines = np.hstack([asked @ _directions(part.astype(np.float32) - self.mean).T for part in parts])
        return [[self._neighbour(i, row[i]) for i in np.argsort(-row, kind="stable")[:k]] for row in cosines]

    def _neighbour(self, i: int, cosine: float) -> Neighbour:
        label = None if self._labels is None else self._labels[i]
        return Neighbour(self._contents[i], float(np.clip(cosine, -1, 1)), label)


def _directions(rows: np.ndarray) -> np.ndarray:
    """Rows at length 1; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
