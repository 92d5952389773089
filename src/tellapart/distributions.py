"""How size, shape, brightness and sharpness of a folder's pictures are spread, by class."""

from __future__ import annotations

import numpy as np

from tellapart.findings import Distribution
from tellapart.traits import Traits

BINS = 30


def of(traits: Traits) -> tuple[Distribution, ...]:
    """Width, height, aspect ratio, file size, brightness and sharpness, of every class that has a picture."""
    if not len(traits):
        return ()
    width, height = traits.column("width").astype(float), traits.column("height").astype(float)
    classes, labels = np.unique(traits.labels, return_inverse=True)
    measured = (
        ("width", "px", width, _growing(width)),
        ("height", "px", height, _growing(height)),
        ("aspect ratio", "width : height", width / height, _growing(width / height)),
        ("file size", "bytes", traits.column("bytes").astype(float), _growing(traits.column("bytes").astype(float))),
        ("brightness", "0–255", traits.column("brightness"), np.linspace(0, 255, BINS + 1)),
        ("sharpness", "0–1", traits.column("sharpness"), np.linspace(0, 1, BINS + 1)),
    )
    return tuple(
        Distribution(
            name,
            unit,
            tuple(edges.tolist()),
            {str(c): tuple(_counts(values[labels == i], edges)) for i, c in enumerate(classes)},
        )
        for name, unit, values, edges in measured
    )


def _counts(values: np.ndarray, edges: np.ndarray) -> list[int]:
    """How many values lie in each bin; the last bin has its upper edge, and rounding puts none outside."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].tolist()


def _growing(values: np.ndarray) -> np.ndarray:
    """Edges of `BINS` bins from the smallest to the largest value, all of one ratio; of few distinct ones, fewer."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.array([low * 0.9, high * 1.1])
    return np.geomspace(low, high, BINS + 1)
