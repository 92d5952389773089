"""A tuning made by hand, for the tests of what is said of one and of its page."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tellapart import config, space, tunings
from tellapart.policies import Augmentation
from tellapart.studies import COMPLETE, FAILED, PRUNED, RUNNING, Record
from tellapart.tunings import Tuned

N = 100
ID = "0123456789abcdef" * 2


def record(
    number: int,
    n_right: int | None,
    recipe: config.Recipe | config.Transfer,
    *,
    state: str = COMPLETE,
    curve: tuple[tuple[float, float], ...] = (),
    why: str = "",
) -> Record:
    """A trial of which the first so many answers are right."""
    kept: dict[str, Any] = {"recipe": recipe.as_dict()}
    if n_right is not None:
        answers = (np.arange(N) < n_right).astype(np.uint8)
        cost = (space.megamacs(recipe, 3), 0.0)
        kept |= tunings.kept(answers, 1 - n_right / N, cost, {})
    return Record(number, state, number == 0, kept, curve, 12.5 + number, why)


def recipes() -> list[config.Recipe | config.Transfer]:
    """Some of both kinds, the default first."""
    found: list[config.Recipe | config.Transfer] = [config.TRANSFER]
    names = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
    found += [
        dataclasses.replace(config.TRANSFER, backbone=names[i % 3], size_px=160 + 32 * (i % 4), strength=0.01 * 3**i)
        for i in range(8)
    ]
    found += [
        config.SCRATCH.override(
            learning_rate=0.05 * (i + 1), dropout=0.1 * i, augment=Augmentation(crop_scale=(0.2 + 0.1 * i, 1.0))
        )
        for i in range(6)
    ]
    return found


def tuned(*, photos: str = "my photos/<b>pets</b>", interrupted: bool = False) -> Tuned:
    """Fifteen trials, one of them given up, one failed, one under way."""
    some, records = recipes(), []
    rights = [80, 85, 88, 84, 90, 91, 86, 87, 92, 60, 65, 70, None, None, None]
    for i, (right, recipe) in enumerate(zip(rights, some, strict=True)):
        curve = tuple(((step + 1) / 8, 0.3 + 0.04 * step + 0.01 * i) for step in range(8)) if i >= 9 else ()
        records.append(record(i, right, recipe, curve=curve))
    records[12] = record(12, None, some[12], state=PRUNED, curve=((0.125, 0.3), (0.25, 0.31)), why="behind most others")
    records[13] = record(13, None, some[13], state=FAILED, why="The learning rate must be <small>.")
    records[14] = record(14, None, some[14], state=RUNNING)
    found = tunings.best(records, seed=0)
    assert found is not None
    top, default, gain = found
    return Tuned(
        photos=photos,
        fingerprint="ab" * 32,
        study="pets.study",
        study_id=ID,
        seed=3,
        records=tuple(records),
        best=top,
        default=default,
        gain=gain,
        counts={"train": 700, "validation": N, "left_alone": 120},
        workers=2,
        seconds=754.0,
        budget_s=1800.0,
        why_ended="it was stopped" if interrupted else "the time was up",
        interrupted=interrupted,
        written="pets.toml",
    )
