"""Does the interval of `tellapart compare` hold the truth, and how often is chance taken for a difference?

`python benchmarks/paired.py`, seconds. Two models are drawn by how often both are right, only one is, and neither; of
each setting many sets of pictures are drawn, and each is judged as `compare` does it.
"""

from __future__ import annotations

import argparse
import functools

import numpy as np

from tellapart import paired

# Only B right, only A right, both right: shares. The rest both have wrong.
SETTINGS = {
    "as good, both 99 %": (0.005, 0.005, 0.985),
    "as good, both 90 %": (0.03, 0.03, 0.87),
    "as good, both 70 %": (0.1, 0.1, 0.6),
    "99 % after 98 %": (0.015, 0.005, 0.975),
    "95 % after 90 %": (0.07, 0.02, 0.88),
    "70 % after 60 %": (0.2, 0.1, 0.5),
    "99.5 % after 99.4 %": (0.002, 0.001, 0.993),
}
SIZES = (30, 100, 600, 2000)


@functools.cache
def judged(gained: int, lost: int, n: int) -> tuple[float, float, bool]:
    """The interval, and whether a difference is told."""
    return *paired.difference_interval(gained, lost, n), paired.tells_apart(gained, lost)


def main() -> None:
    """Print a row for each setting and number of pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    print("| setting | pictures | interval holds the truth | a difference told |")
    print("|---|---|---|---|")
    for name, (only_b, only_a, both) in SETTINGS.items():
        for n in SIZES:
            drawn = rng.multinomial(n, [only_b, only_a, both, 1 - only_b - only_a - both], args.draws)
            truth = only_b - only_a
            held, told = 0, 0
            for gained, lost in drawn[:, :2].tolist():
                low, high, apart = judged(gained, lost, n)
                held += low <= truth <= high
                told += apart
            print(f"| {name} | {n:,} | {held / args.draws:.1%} | {told / args.draws:.1%} |")


if __name__ == "__main__":
    main()
