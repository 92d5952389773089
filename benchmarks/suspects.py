"""Wrong labels and foreign pictures, planted among frozen features and looked for.

    python benchmarks/suspects.py SET [SET …] [--cache DIR] [--seeds 3] [--each N]

A SET is a folder of class folders or an .npz file with features `X` (N, D) and labels `y` (N,). Of each: labels changed
at random (1, 5 and 20 %) and from one class into another (5 %), and ten pictures of every other SET as foreigners.
Prints Markdown. "In the first" counts planted ones among the first 1.25 times as many of the ranked list.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import frozen

FOREIGNERS = 10


def plant(labels: np.ndarray, n_classes: int, share: float, seed: int, *, one_way: bool) -> np.ndarray:
    """Labels with a share of them wrong: any other class, or all from one class into another."""
    rng, changed = np.random.default_rng(seed), labels.copy()
    n = round(share * len(labels))
    if one_way:
        first, second = rng.permutation(n_classes)[:2]
        some = rng.permutation(np.flatnonzero(labels == first))
        changed[some[: min(n, len(some) // 4)]] = second
    else:
        some = rng.permutation(len(labels))[:n]
        changed[some] = (labels[some] + rng.integers(1, n_classes, n)) % n_classes
    return changed


def wrong_labels(name: str, features: np.ndarray, labels: np.ndarray, seeds: int) -> None:
    """One row for each kind of planting."""
    from tellapart import suspects

    n_classes = int(labels.max()) + 1
    names, paths = [str(k) for k in range(n_classes)], [str(i) for i in range(len(labels))]
    for share, one_way in ((0.0, False), (0.01, False), (0.05, False), (0.2, False), (0.05, True)):
        rows = []
        for seed in range(seeds if share else 1):
            given = plant(labels, n_classes, share, seed, one_way=one_way)
            start = time.perf_counter()
            judged = suspects.judge(features, given, n_classes, seed=seed)
            found = suspects.find(judged, given, names, paths)
            seconds = time.perf_counter() - start
            planted = given != labels
            ranked = np.argsort(-judged.wrong, kind="stable")[: round(1.25 * planted.sum())]
            warned = np.array([int(f.paths[0]) for f in found if f.severity == "warning"], int)
            moved = [f.proposals[0] for f in found if f.proposals[0].action == "move"]
            right = sum(int(p.to) == labels[int(p.path)] for p in moved)
            expected = judged.wrong[warned].mean() if len(warned) else np.nan
            n = max(planted.sum(), 1)
            hits = planted[warned].sum()
            rows.append(
                (planted.sum(), planted[ranked].sum() / n, len(warned), hits / n, hits / max(len(warned), 1), expected,
                 judged.n_wrong, len(moved), right, seconds)
            )  # fmt: skip
        mean = np.nanmean(np.array(rows, float), axis=0) if len(rows) > 1 else np.array(rows[0], float)
        kind = f"{100 * share:.0f} %{' one way' if one_way else ''}" if share else "none"
        cells = [f"{name} {len(labels):,}", kind, f"{mean[0]:.0f}", f"{100 * mean[1]:.1f} %", f"{mean[2]:.1f}"]
        cells += [f"{100 * mean[3]:.1f} %", f"{100 * mean[4]:.1f} %", f"{100 * mean[5]:.0f} %", f"{mean[6]:.0f}"]
        cells += [f"{mean[7]:.1f}", f"{mean[8]:.1f}", f"{mean[9]:.1f} s"]
        print(f"| {' | '.join(cells)} |", flush=True)


def foreigners(name: str, mine: tuple[np.ndarray, np.ndarray], other: str, theirs: np.ndarray, seeds: int) -> None:
    """One row: foreign pictures of one other set."""
    from tellapart import outliers

    found = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        some = theirs[rng.permutation(len(theirs))[:FOREIGNERS]]
        features = np.concatenate([mine[0], some])
        far = outliers.distances(features)
        flagged = far > outliers.cut(far)
        first = np.argsort(-far)[:15] >= len(mine[0])
        found.append((first.sum(), flagged[len(mine[0]) :].sum(), flagged[: len(mine[0])].sum()))
    mean = np.mean(found, axis=0)
    print(f"| {name} {len(mine[1]):,} | {other} | {mean[0]:.1f} | {mean[1]:.1f} | {mean[2]:.1f} |", flush=True)


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path, metavar="SET")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), metavar="DIR")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--each", type=int, metavar="N", help="another run with N pictures of each class alone")
    options = parser.parse_args()
    every = {source.stem: frozen.load(source, options.cache) for source in options.sets}
    print(
        "| set | planted | labels | in the first | warned | of the planted | precision at least | expected "
        "| wrong in all, estimated | moved | rightly | time |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for name, (features, labels) in every.items():
        if labels.max() == 0:
            continue
        if options.each:
            rng = np.random.default_rng(0)
            some = [rng.permutation(np.flatnonzero(labels == k))[: options.each] for k in range(labels.max() + 1)]
            features, labels = features[np.concatenate(some)], labels[np.concatenate(some)]
        wrong_labels(name, features, labels, options.seeds)
    if options.each:
        return
    print("\n| set | ten foreigners of | among the first 15 | found | others flagged |\n|---|---|---|---|---|")
    for name, mine in every.items():
        for other, (theirs, _) in every.items():
            if other != name and mine[1].max() > 0:
                foreigners(name, mine, other, theirs, options.seeds)


if __name__ == "__main__":
    main()
