"""How many pictures a head learns from: in rounds until more would not help, or as many as there is time for.

A good backbone needs few pictures of a class. So training pictures are looked at in rounds, each twice as large as
the one before it, and after each the head is fitted and judged on held-out pictures. The errors that are left fall
with about the fourth root of the number of pictures (a cautious reading of learning curves on frozen features); once
all remaining pictures together promise less than `Transfer.enough`, the rest is left alone, and the run says so.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np

from tellapart import catalog as catalogs
from tellapart import choices, metrics
from tellapart import head as heads
from tellapart.config import Transfer
from tellapart.looking import Looker, Sides, sides_of

FIRST, FIRST_OF_CLASS = 1024, 32  # pictures of the first round: at least so many, and so many of a class
POWER = 0.25  # errors fall with the number of pictures to this power, at best
CHUNK = 512  # pictures looked at between two looks at the clock, where there is a budget
FIRST_CHUNK = 64  # the first of them, which tells how fast it goes
END_S = 5.0  # to fit, judge, write and end, besides what grows with the number of pictures
FIT_SHARE = 0.1  # time to fit, as a share of the time to look
TEST_SHARE = 0.3  # of the pictures that a budget allows, at most, for the test
LOOKED_AT = f"{choices.IN_TIME}: pictures looked at"  # what `choices` calls it


def first(catalog: catalogs.Catalog, seed: int) -> list[int]:
    """The entries that `run` looks at in any case: those that judge, and the first to be learned from."""
    sides = sides_of(catalog, seed)
    return [*sides.train[: max(FIRST, FIRST_OF_CLASS * len(catalog.classes))], *sides.validation, *sides.test]


def in_rounds(
    catalog: catalogs.Catalog, recipe: Transfer, order: list[int], look: Looker, *, seed: int
) -> tuple[list[int], heads.Fit, list[dict[str, float]]]:
    """Rounds of looking and fitting: the pictures used, the last fit, and a row a round."""
    n_classes, rounds, used, start = len(catalog.classes), [], [], 0
    order = order[: recipe.most or None]
    n = max(FIRST, FIRST_OF_CLASS * n_classes)
    while True:
        n = len(order) if n > 0.75 * len(order) else n  # a last small step would only cost time
        used += look.at(order[start:n], "training")
        start = n
        if n < len(order) and len(np.unique(look.labels(used))) < n_classes:
            n *= 2
            continue
        fitted, row = fit(catalog, used, look, recipe.strength, seed=seed)
        rounds.append({**row, "epoch": len(rounds) + 1})
        n_held_out = len(fitted.held_out)
        errors = (1 - row["val_accuracy"]) * n_held_out
        expected = (errors + 1) / (n_held_out + 2)  # what so few errors are evidence of (Laplace)
        if n >= len(order) or expected * (1 - (n / len(order)) ** POWER) < recipe.enough:
            return used, fitted, rounds
        n *= 2


def in_time(deadline: float | None, sides: Sides, look: Looker, cache: Path) -> tuple[list[int], list[int]]:
    """The training pictures looked at in the time there is, and the test pictures that there is time left for.

    Without a deadline it is as many as is to be kept to, see `choices.given`.
    """
    seen: list[tuple[list[int], list[int]]] = []

    def measured() -> str:
        assert deadline is not None  # without one it is given
        seen.append(_timed(deadline, sides, look))
        used, test = seen[0]
        n = next((i for i, one in enumerate(sides.train) if used and one == used[-1]), -1) + 1
        return f"{n} training and {len(test)} test pictures"

    found = choices.chosen(LOOKED_AT, None, cache, _is_looked_at, measured)
    if seen:
        return seen[0]
    n, n_test = (int(number) for number in found.split()[:4:3])
    return look.at(sides.train[:n], "training"), evenly(sides.test, n_test)


def _is_looked_at(text: str) -> bool:
    return re.fullmatch(r"\d{1,9} training and \d{1,9} test pictures", text) is not None


def _timed(deadline: float, sides: Sides, look: Looker) -> tuple[list[int], list[int]]:
    """What there is time for, by the clock."""
    start = time.monotonic()
    used = look.at(sides.train[:FIRST_CHUNK], "training")
    began = time.monotonic()  # what came before has the backbone's start in it
    used += look.at(sides.train[FIRST_CHUNK : 2 * FIRST_CHUNK], "training")
    done = min(2 * FIRST_CHUNK, len(sides.train))
    each_s = (time.monotonic() - began) / FIRST_CHUNK
    n_all = (deadline - END_S - start) / max(each_s, 1e-6)
    n_judges = len(sides.test) + len(sides.validation)
    test = sides.test
    if n_judges > TEST_SHARE * n_all:
        keep = max(int(TEST_SHARE * n_all) - len(sides.validation), len(set(look.labels(sides.test))))
        test = evenly(sides.test, keep)
    while done < len(sides.train):
        each_s = (time.monotonic() - began) / (done - FIRST_CHUNK)
        left = deadline - END_S - time.monotonic() - each_s * (len(test) + len(sides.validation))
        n = min(CHUNK, int(left / (each_s * (1 + FIT_SHARE))))
        if n < 1:
            break
        used += look.at(sides.train[done : done + n], "training")
        done += n
    return used, test


def evenly(indices: list[int], n: int) -> list[int]:
    """`n` of them, spread evenly."""
    return [indices[i * len(indices) // n] for i in range(min(n, len(indices)))]


def fit(
    catalog: catalogs.Catalog, used: list[int], look: Looker, strength: float | None, *, seed: int
) -> tuple[heads.Fit, dict[str, float]]:
    """Fit the head to pictures that were looked at; a row of the learning curve."""
    catalogs.check_usable(catalog, look.failures)
    labels = look.labels(used)
    groups = look.groups(used)
    fitted = heads.fit(look.features(used), labels, len(catalog.classes), seed=seed, groups=groups, strength=strength)
    held_out = labels[fitted.held_out]
    return fitted, {
        "epoch": 1,
        "pictures": len(used),
        "accuracy": fitted.train_accuracy,
        "val_loss": metrics.log_loss(fitted.answers, held_out),
        "val_accuracy": metrics.accuracy(fitted.answers, held_out),
    }
