"""A tuning as values: its trials, which is taken, and how much better that is; in words, and as a recipe's file."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart import metrics, picking, provenance, recipefile
from tellapart.charts import percent
from tellapart.config import Recipe, Transfer
from tellapart.files import counted, shown
from tellapart.studies import COMPLETE, FAILED, PRUNED, Record

WORDS = {"transfer": "a classifier on a pretrained network", "scratch": "a network from scratch"}
WIDE = 110  # characters of a line
CODES = "01u"  # how answers are kept: wrong, right, unread


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came of a tuning, as far as it has come."""

    photos: str  # the folder, as given
    fingerprint: str  # of all its pictures
    study: str  # the file of the trials, as given
    study_id: str
    seed: int
    records: tuple[Record, ...]  # by number
    best: Record
    default: Record | None  # None: it is not through yet
    gain: picking.Gain | None  # of the best over the default
    counts: Mapping[str, int]  # pictures: "train", "validation", "left_alone"
    workers: int
    seconds: float  # that somebody worked on it
    budget_s: float | None
    why_ended: str  # a clause
    interrupted: bool
    written: str | None = None  # the recipe's file

    @property
    def taken(self) -> Record:
        """The best trial where it is worth a change, else the default."""
        if self.default is None or self.gain is None or self.gain.is_worth_a_change:
            return self.best
        return self.default

    @property
    def recipe(self) -> Recipe | Transfer:
        """The one that is taken."""
        return recipe_of(self.taken)

    @property
    def is_default(self) -> bool:
        """Whether nothing was found that is worth a change."""
        return self.taken.default

    def count(self, state: str) -> int:
        """How many trials are in a state."""
        return sum(each.state == state for each in self.records)

    def as_dict(self) -> dict[str, Any]:
        """Plain values: `tune --json`."""
        gain = self.gain
        return {
            "recipe": self.written,
            "settings": self.recipe.as_dict(),
            "seed": self.seed,
            "best": trial(self.best),
            "taken": trial(self.taken),
            "default": None if self.default is None else trial(self.default),
            "is_default": self.is_default,
            "gain": None
            if gain is None
            else {
                "difference": gain.difference,
                "interval": [gain.low, gain.high],
                "gained": gain.gained,
                "lost": gain.lost,
                "n": gain.n,
                "expected": gain.expected,
                "expected_interval": [gain.expected_low, gain.expected_high],
            },
            "trials": [trial(each) for each in self.records],
            "counts": {state: self.count(state) for state in (COMPLETE, PRUNED, FAILED)},
            "pictures": dict(self.counts),
            "workers": self.workers,
            "seconds": round(self.seconds, 1),
            "budget_s": self.budget_s,
            "ended": self.why_ended,
            "interrupted": self.interrupted,
            "study": self.study,
            "fingerprint": self.fingerprint,
        }


def trial(record: Record) -> dict[str, Any]:
    """A trial as plain values, without its answers to single pictures."""
    kept = record.kept
    return {
        "trial": record.number + 1,
        "state": record.state,
        "default": record.default,
        "settings": kept.get("recipe"),
        "accuracy": kept.get("accuracy"),
        "accuracy_interval": kept.get("interval"),
        "log_loss": kept.get("log_loss"),
        "megamacs": kept.get("cost", [None])[0],
        "seconds": record.seconds,
        "why": record.why or None,
    }


def kept(answers: np.ndarray, log_loss: float, cost: Sequence[float], detail: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a trial that is through: plain values; `judged` reads them back."""
    right, n = int((answers == picking.RIGHT).sum()), int((answers != picking.UNREAD).sum())
    return {
        "answers": "".join(CODES[each] for each in answers.tolist()),
        "accuracy": right / max(n, 1),
        "interval": list(metrics.wilson_interval(right, n)),
        "log_loss": log_loss,
        "cost": list(cost),
        "detail": dict(detail),
    }


def judged(record: Record) -> picking.Trial:
    """A trial that is through, to be compared."""
    values = record.kept
    answers = np.array([CODES.index(each) for each in values["answers"]], np.uint8)
    return picking.Trial(record.number, answers, float(values["log_loss"]), tuple(map(float, values["cost"])))


def recipe_of(record: Record) -> Recipe | Transfer:
    """The recipe of a trial."""
    values = dict(record.kept["recipe"])
    return Transfer.from_dict(values) if values["name"] == "transfer" else Recipe.from_dict(values)


def best(records: Sequence[Record], *, seed: int) -> tuple[Record, Record | None, picking.Gain | None] | None:
    """The best trial, the default, and the gain over it; None where no trial is through."""
    through = {each.number: each for each in records if each.state == COMPLETE}
    if not through:
        return None
    trials = [judged(each) for each in through.values()]
    default = next((each for each in trials if through[each.number].default), None)
    top = picking.best(trials)
    gain = None if default is None else picking.gain(trials, default, top, seed=seed)
    return through[top.number], None if default is None else through[default.number], gain


def changed(record: Record, default: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """The settings of a trial that are not as in another recipe (all that can be tuned where there is none), in words.

    Name and value of each.
    """
    mine = flat(record.kept.get("recipe") or {})
    theirs = {} if default is None else flat(default)
    same_kind = not theirs or theirs.get("name") == mine.get("name")
    names = [name for name in mine if name not in ("network", "precision", "augment")]
    if same_kind and theirs:
        names = [name for name in names if mine[name] != theirs.get(name)]
    elif not same_kind:
        names = [name for name in names if name in ("name", "backbone", "size_px", "learning_rate", "channels")]
    return [(named(name), valued(mine[name])) for name in names]


def flat(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's settings, the changes of its pictures among them."""
    policy = recipe.get("policy") or {}
    return {name: value for name, value in recipe.items() if name != "policy"} | {
        f"augment.{name}": value for name, value in policy.items() if name != "flip"
    }


def named(name: str) -> str:
    return {"name": "recipe", "size_px": "size"}.get(name, name.replace("_", " ").replace("augment.", ""))


def valued(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(valued, value))
    return "by folds" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def described(record: Record) -> str:
    """A trial's recipe in a few words."""
    recipe = record.kept.get("recipe") or {}
    what = recipe.get("backbone") if recipe.get("name") == "transfer" else recipe.get("name")
    return f"{what}, {recipe.get('size_px')} px"


def told(tuned: Tuned) -> list[str]:
    """What a person is told at the end: sentences."""
    n = tuned.taken.kept["answers"].__len__() - tuned.taken.kept["answers"].count("u")
    through, given_up = tuned.count(COMPLETE), tuned.count(PRUNED)
    said = f"{counted(through, 'trial')} through, {given_up:,} given up early"
    if failed := tuned.count(FAILED):
        said += f", {failed:,} failed or stopped"
    lines = [f"{said}; {tuned.why_ended}."]
    accuracy = percent(tuned.best.kept["accuracy"])
    if tuned.default is None:
        lines.append(f"Best so far: {accuracy} of {n:,} validation pictures right, by {described(tuned.taken)}.")
        lines.append("The default was not through, so nothing is said of how much better that is.")
        return lines
    base = percent(tuned.default.kept["accuracy"])
    assert tuned.gain is not None  # there is a default
    gain = tuned.gain
    if tuned.is_default:
        lines.append(
            f"Nothing was found that is worth a change: the default gets {base} of {n:,} validation pictures right. "
            f"The recipe is the default's."
        )
        if gain.difference > 0:
            lines.append(
                f"The best other one, {described(tuned.best)}, gets {accuracy} of them right, "
                f"{_points(gain.difference)}. Choosing again and again by some of them and judging by the others gives "
                f"{_points(gain.expected)}, so it may well be luck."
            )
        return lines
    lines.append(
        f"{accuracy} of {n:,} validation pictures right, the default {base}: {_points(gain.difference)} "
        f"(95 % sure: {_signed(gain.low)} to {_signed(gain.high)}), by {described(tuned.taken)}."
    )
    lines.append(optimism(tuned))
    if cheaper := _cheaper(tuned):
        lines.append(cheaper)
    return lines


def optimism(tuned: Tuned) -> str:
    """That the best of many looks better than it is, and how much better it may be."""
    assert tuned.gain is not None  # there is a default
    gain = tuned.gain
    return (
        f"The best of {counted(tuned.count(COMPLETE), 'trial')} looks better on the pictures that chose it than it is. "
        f"Choosing again and again by some of them and judging by the others gives {_points(gain.expected)} "
        f"({_signed(gain.expected_low)} to {_signed(gain.expected_high)}). Only the test says how good it is."
    )


def _cheaper(tuned: Tuned) -> str:
    assert tuned.default is not None  # the caller has looked
    mine, base = (each.kept["cost"][0] for each in (tuned.taken, tuned.default))
    share = mine / base if base else 1.0
    if 0.95 <= share <= 1.05:
        return ""
    return f"An answer takes {share:.0%} of the default's computing."


def _points(share: float) -> str:
    points = 100 * share
    return f"{abs(points):.1f} points {'more' if points >= 0 else 'less'}"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}"


def head(tuned: Tuned, path: str) -> list[str]:
    """The first lines of a recipe's file: what it is, what to do with it, where it comes from."""
    return [
        f"{WORDS[tuned.recipe.name][0].upper()}{WORDS[tuned.recipe.name][1:]}, found by tellapart tune.",
        "",
        f"    tellapart train {shown(tuned.photos)} --recipe {shown(path)}",
        "",
        *(part for line in told(tuned) for part in textwrap.wrap(line, WIDE)),
    ]


def text(tuned: Tuned, path: str) -> str:
    """The recipe's file."""
    values = {
        "study": tuned.study_id,
        "trial": tuned.taken.number + 1,
        "trials": tuned.count(COMPLETE) + tuned.count(PRUNED),
        "validation_pictures": tuned.counts["validation"],
        "validation_accuracy": round(tuned.taken.kept["accuracy"], 6),
        "fingerprint": tuned.fingerprint,
        "made": provenance.now(),
        "version": provenance.version(),
    }
    if tuned.default is not None:
        values["default_accuracy"] = round(tuned.default.kept["accuracy"], 6)
    recipe = tuned.recipe
    if isinstance(recipe, Recipe):  # which format trains fastest is for each machine to find
        recipe = recipe.override(precision="auto")
    return recipefile.text(recipe, seed=tuned.seed, about=head(tuned, path), tuned=values)
