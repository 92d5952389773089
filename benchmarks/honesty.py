"""How long all numbers of an evaluation take, and how often a part is called worse for nothing.

    python benchmarks/honesty.py

Evaluations are drawn: a model that is equally good everywhere, its pictures divided by folder, size and brightness. The
share of them in which any part is called worse must be 5 % at most. Then one part is made worse, and the share in which
it is named is the power.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from tellapart import metrics, slices
from tellapart.evaluation import Evaluation

DRAWS = 1000


def drawn(n: int, n_classes: int, seed: int) -> Evaluation:
    """An evaluation of a fair model."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    probabilities = metrics.softmax(rng.normal(size=(n, n_classes)) * 1.5 + 4 * np.eye(n_classes)[labels])
    return Evaluation(tuple(map(str, range(n_classes))), probabilities, labels, tuple(map(str, range(n))))


def named(seed: int, n: int, accuracy: float, dark: float) -> tuple[bool, bool]:
    """Whether any part is called worse, and whether the darkest is, whose accuracy is `dark`."""
    rng = np.random.default_rng(seed)
    light = rng.uniform(0, 100, n)
    right = rng.random(n) < np.where(light < 10, dark, accuracy)
    kinds = {
        "folder": rng.integers(0, 12, n).astype(str).tolist(),
        "size": slices.by_number(rng.lognormal(5, 1, n), " px"),
        "brightness": slices.by_number(light, " %"),
    }
    worse = [each for each in slices.of(right, rng.integers(0, 3, n), kinds) if each.worse]
    return bool(worse), any(each.by == "brightness" and each.name.startswith("under") for each in worse)


def main() -> None:
    """Print both tables."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for n, n_classes in ((2000, 2), (2000, 10), (20_000, 2), (100_000, 10)):
        one = drawn(n, n_classes, 0)
        start = time.perf_counter()
        one.as_dict()
        print(f"{n:,} pictures, {n_classes} classes: {time.perf_counter() - start:.2f} s")
    for n, accuracy in ((200, 0.8), (600, 0.95), (2000, 0.98)):
        falsely = np.mean([named(seed, n, accuracy, accuracy)[0] for seed in range(DRAWS)])
        found = np.mean([named(seed, n, accuracy, accuracy - 0.2)[1] for seed in range(DRAWS)])
        print(
            f"{n:,} pictures, {accuracy:.0%} right: a part called worse for nothing in {falsely:.1%} of {DRAWS:,}; "
            f"the darkest tenth, 20 points worse, named in {found:.1%}"
        )


if __name__ == "__main__":
    main()
