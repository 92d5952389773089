"""Whether the forecast of twice the pictures holds, on sets that have twice the pictures.

    python benchmarks/growth.py SET [SET …] [--cache DIR] [--draws 20] [--sizes 100,400,1600]

Of each SET (a folder of class folders, or an .npz file with `X` and `y`) some pictures are drawn, the curve is measured
on them, and twice as many, these among them, are learned from; the truth is the accuracy of that on all the rest of the
set. Prints Markdown: how often the 90 % band held it, how wide the band was, how far the forecast was off on average.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import frozen


def draw(features: np.ndarray, labels: np.ndarray, n: int, seed: int) -> tuple[bool, float, float, float] | None:
    """One draw: whether the band held, its width, forecast less truth, what was gained."""
    from tellapart import growth, head, metrics

    order = np.random.default_rng([seed, n]).permutation(len(labels))
    n_classes = int(labels.max()) + 1
    some, twice, rest = order[:n], order[: 2 * n], order[2 * n :]
    forecast = growth.measure(features[some], labels[some], n_classes, seed=seed)
    if forecast is None:
        return None
    held, learned = features[rest].astype(np.float32), features[twice].astype(np.float32)
    given = [head.probabilities(head.learn(learned, labels[twice], n_classes, s), held) for s in growth.STRENGTHS]
    best = min(given, key=lambda each: metrics.log_loss(each, labels[rest]))
    truth = metrics.accuracy(best, labels[rest])
    return (
        forecast.low <= truth <= forecast.high,
        forecast.high - forecast.low,
        forecast.later - truth,
        truth - forecast.now,
    )


def main() -> None:
    """A row for each set and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path, metavar="SET")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), metavar="DIR")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--sizes", default="100,400,1600")
    options = parser.parse_args()
    print(
        "| set | pictures | draws | band held | its width | off by | forecast too high by |\n"
        "|---|---|---|---|---|---|---|"
    )
    for source in options.sets:
        features, labels = frozen.load(source, options.cache)
        for n in (int(each) for each in options.sizes.split(",")):
            if 2 * n > 0.7 * len(labels):
                continue
            found = [each for i in range(options.draws) if (each := draw(features, labels, n, i)) is not None]
            if not found:
                continue
            held, width, off, _ = np.array(found, float).T
            print(
                f"| {source.stem} | {n:,} | {len(found)} | {100 * held.mean():.0f} % | {100 * width.mean():.1f} points "
                f"| {100 * np.abs(off).mean():.2f} points | {100 * off.mean():+.2f} points |",
                flush=True,
            )


if __name__ == "__main__":
    main()
