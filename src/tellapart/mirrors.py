"""Whether pictures may be mirrored in training: digits and letters lose their meaning, most other things do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tellapart import head as heads
from tellapart import networks, splits
from tellapart.catalog import Catalog
from tellapart.features import Extractor

PICTURES = 400  # on which it is found out, at most
BACKBONE, SIZE_PX = "efficientnet-lite0", 160  # that look at them where no other network does


def hurts(extractor: Extractor, files: list[tuple[str, str]], labels: np.ndarray, n_classes: int, *, seed: int) -> bool:
    """Whether mirroring hurts, see `head.mirroring_hurts`; so too where nothing can be told, which is the safe side.

    Args:
        extractor: what looks at the pictures.
        files: (path, content hash) of training pictures; those that cannot be read are left out.
        labels: int (N,), of the files, from 0 to `n_classes` - 1.
        n_classes: of the whole task; the files need not show all.
        seed: decides which pictures judge.
    """
    plain, mirrored, read = extractor.mirrored(files)
    labels = labels[read]
    if len(np.unique(labels)) < 2:
        return True
    groups = np.unique([files[i][1] for i in read], return_inverse=True)[1]
    return heads.mirroring_hurts(plain, mirrored, labels, n_classes, seed=seed, groups=groups)


def hurt(catalog: Catalog, *, seed: int, cache: Path) -> bool:
    """Whether mirroring hurts these pictures, by a look at some that `seed` puts on the training side."""
    train = np.array(splits.assign(catalog.entries, seed=seed).train)
    some = np.random.default_rng(seed).permutation(train)[:PICTURES]
    entries = [catalog.entries[i] for i in some]
    place = {name: i for i, name in enumerate(catalog.classes)}
    labels = np.array([place[entry.label] for entry in entries])
    extractor = Extractor(networks.find(BACKBONE, SIZE_PX), cache)
    files = [(entry.path, entry.content) for entry in entries]
    return hurts(extractor, files, labels, len(catalog.classes), seed=seed)
