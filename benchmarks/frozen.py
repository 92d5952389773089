"""Frozen features for the benchmarks: of a folder of class folders, or of a file that has them already."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def load(source: Path, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features float16 (N, D) and labels int64 (N,), of an .npz file with `X` and `y` or of a folder."""
    if source.suffix == ".npz":
        data = np.load(source, allow_pickle=False)
        return data["X"], data["y"]
    from tellapart import catalog, features, networks

    found = catalog.scan(source)
    rows = features.Extractor(networks.find("efficientnet-lite0", 224), cache).extract(
        [(entry.path, entry.content) for entry in found.entries]
    )
    usable = [entry for entry in found.entries if entry.content in rows.rows]
    place = {name: i for i, name in enumerate(found.classes)}
    values = np.stack([rows.values[rows.rows[entry.content]] for entry in usable])
    return values, np.array([place[entry.label] for entry in usable])
