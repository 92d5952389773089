"""Which trial `tune` should take: the best, or the best only where it is worth a change (`picking.Gain`)?

    python benchmarks/choosing.py [--tunings 200] [--seed 0]

No picture plays a part: trials are drawn whose true accuracy is known. The default is right on 92 % of all pictures;
the other trials differ from it by a normal number of points. A picture is as hard for all trials, but for each trial's
own noise, so that trials are right and wrong together as networks are. Log-loss follows the accuracy, with noise.

How to read: points that the trial taken is truly better than the default, on average over the tunings; and in
brackets how many in a hundred tunings took one that is truly worse by more than half a point.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import norm

from tellapart import picking

DEFAULT = 0.92  # true accuracy
OWN = 0.6  # of a trial's own noise, where what all trials share has 1
WORSE = 0.005
# Points by which the other trials are better than the default on average, and their standard deviation.
WORLDS = ((-1.0, 1.0), (-1.0, 2.0), (-3.0, 3.0), (0.0, 1.0))
PICTURES, TRIALS = (100, 400, 1500), (5, 20)


def drawn(rng: np.random.Generator, mean: float, deviation: float, n: int, n_trials: int):
    """True accuracies, float64 (T,), and trials, the default first."""
    accuracies = DEFAULT + np.concatenate([[0.0], rng.normal(mean, deviation, n_trials - 1) / 100])
    accuracies = np.clip(accuracies, 0.01, 0.999)
    limits = norm.ppf(accuracies) * np.sqrt(1 + OWN**2)
    right = rng.normal(size=n) + OWN * rng.normal(size=(n_trials, n)) < limits[:, None]
    losses = -2 * np.log(accuracies) + rng.normal(0, 1.5 / np.sqrt(n), n_trials)
    trials = [picking.Trial(i, right[i].astype(np.uint8), float(losses[i]), (1.0,)) for i in range(n_trials)]
    return accuracies, trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tunings", type=int, default=200, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    print("| others, points | pictures | trials | the best | where it is worth a change |")
    print("|---|---|---|---|---|")
    for mean, deviation in WORLDS:
        for n in PICTURES:
            for n_trials in TRIALS:
                taken = []
                for i in range(asked.tunings):
                    accuracies, trials = drawn(rng, mean, deviation, n, n_trials)
                    top = picking.best(trials)
                    lead = accuracies[top.number] - accuracies[0]
                    worth = picking.gain(trials, trials[0], top, seed=i).is_worth_a_change
                    taken.append((lead, lead if worth else 0.0))
                leads = np.array(taken)
                cells = [
                    f"{100 * each.mean():+.2f} ({100 * (each < -WORSE).mean():.0f})"
                    for each in (leads[:, 0], leads[:, 1])
                ]
                print(f"| {mean:+.0f} ± {deviation:.0f} | {n:,} | {n_trials} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
