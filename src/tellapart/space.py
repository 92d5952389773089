"""What may be tuned: the settings of each recipe, between which values, and which of them hang on others.

A trial is asked for one value after the other, as Optuna's trials are (`Asked`); from its answers comes a recipe. What
the recipe does by default lies within the space, so that the first trial can be just that.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tellapart import backbones
from tellapart.config import Recipe, Transfer

SIZES_PX = (160, 192, 224, 256, 288, 320)  # that a pretrained network may look at
LOOKED_AT = (0.003, 0.0)  # `enough`: as by default, or every picture
BY_FOLDS, GIVEN = "by folds", "given"  # how the head's penalty comes about
FINE_TUNE = ("never", "auto", "always")
STRENGTHS, RATES = (1e-3, 10.0), (3e-5, 3e-3)  # of the head; of fine-tuning
WIDTHS = (0.5, 0.75, 1.0, 1.5)  # factors of the filters from scratch
SCALES = (0.75, 1.0, 1.5)  # factors of the size from scratch
STEP_PX, SMALLEST_PX = 16, 32  # of such sizes
LEARNING_RATES, DECAYS = (0.03, 1.0), (1e-4, 2e-2)
MOST_SMOOTHING, MOST_DROPOUT = 0.2, 0.5
CROPS, MOST_COLOUR, MOST_ROTATION_DEG, MOST_ERASE = (0.1, 0.95), 0.4, 20.0, 0.5
DIGITS = 3  # significant ones of a setting: a recipe is to be read by people

RECIPE = "recipe"  # the name of the first question, where there are several recipes


class Asked(Protocol):
    """Who gives the values: a trial."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of some."""
        ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """One between two, both included."""
        ...


@dataclass(frozen=True, slots=True)
class Space:
    """Recipes that are open, each with what it does by default."""

    defaults: Mapping[str, Recipe | Transfer]  # by name; the first is what `train` takes by itself
    fixed: Mapping[str, Any] = field(default_factory=dict)  # fields that the user set: these are not asked for
    looks_open: bool = True  # whether there are more pictures than `transfer` looks at in any case

    def recipe(self, asked: Asked) -> Recipe | Transfer:
        """The recipe of a trial."""
        names = [*self.defaults]
        name = asked.suggest_categorical(RECIPE, names) if len(names) > 1 else names[0]
        base = self.defaults[name]
        return self._transfer(base, asked) if isinstance(base, Transfer) else self._scratch(base, asked)

    def default(self, name: str) -> dict[str, Any]:
        """The answers from which `recipe` makes a recipe as it is by default."""
        answers = _Default(self.defaults[name], name)
        made = self.recipe(answers)
        assert made == self.defaults[name]  # else what is compared with is not the default
        return answers.given

    def _transfer(self, base: Transfer, asked: Asked) -> Transfer:
        settings: dict[str, Any] = {}
        if "backbone" not in self.fixed:
            settings["backbone"] = asked.suggest_categorical("transfer.backbone", [*backbones.BACKBONES])
        if "size_px" not in self.fixed:
            sizes = sorted({*SIZES_PX, base.size_px})
            settings["size_px"] = asked.suggest_categorical("transfer.size_px", sizes)
        if self.looks_open:
            settings["enough"] = asked.suggest_categorical("transfer.enough", LOOKED_AT)
        if asked.suggest_categorical("transfer.penalty", [BY_FOLDS, GIVEN]) == GIVEN:
            settings["strength"] = _rounded(asked.suggest_float("transfer.strength", *STRENGTHS, log=True))
        if "fine_tune" not in self.fixed:
            settings["fine_tune"] = asked.suggest_categorical("transfer.fine_tune", FINE_TUNE)
        if settings.get("fine_tune", base.fine_tune) == "always":
            settings["fine_tune_rate"] = _rounded(asked.suggest_float("transfer.fine_tune_rate", *RATES, log=True))
        return dataclasses.replace(base, **settings)

    def _scratch(self, base: Recipe, asked: Asked) -> Recipe:
        assert base.policy is not None  # a finished recipe
        settings: dict[str, Any] = {}
        if "size_px" not in self.fixed:
            sizes = sorted({max(SMALLEST_PX, round(base.size_px * f / STEP_PX) * STEP_PX) for f in SCALES})
            settings["size_px"] = asked.suggest_categorical("scratch.size_px", sorted({*sizes, base.size_px}))
        width = asked.suggest_categorical("scratch.width", WIDTHS)
        settings["channels"] = tuple(max(8, round(width * filters / 8) * 8) for filters in base.channels)
        for name, (low, high), log in (
            ("learning_rate", LEARNING_RATES, True),
            ("weight_decay", DECAYS, True),
            ("label_smoothing", (0.0, MOST_SMOOTHING), False),
            ("dropout", (0.0, MOST_DROPOUT), False),
        ):
            settings[name] = _rounded(asked.suggest_float(f"scratch.{name}", low, high, log=log))
        crop = _rounded(asked.suggest_float("scratch.crop", *CROPS))
        colour = _rounded(asked.suggest_float("scratch.colour", 0.0, MOST_COLOUR))
        policy = dataclasses.replace(
            base.policy,
            crop_scale=(crop, 1.0),
            brightness=colour,
            contrast=colour,
            saturation=colour,
            rotation_deg=_rounded(asked.suggest_float("scratch.rotation_deg", 0.0, MOST_ROTATION_DEG)),
            erase=_rounded(asked.suggest_float("scratch.erase", 0.0, MOST_ERASE)),
        )
        if policy != base.policy:
            settings["augment"] = policy
        return base.override(**settings)


class _Default:
    """Answers each question as a recipe has it by default, and keeps the answers."""

    def __init__(self, recipe: Recipe | Transfer, name: str) -> None:
        self.given: dict[str, Any] = {}
        values = dataclasses.asdict(recipe)
        if isinstance(recipe, Recipe):
            assert recipe.policy is not None  # a finished recipe
            crop = recipe.policy.crop_scale
            values |= {
                "width": 1.0,
                "crop": CROPS[1] if crop is None else crop[0],
                "colour": recipe.policy.brightness,
                "rotation_deg": recipe.policy.rotation_deg,
                "erase": recipe.policy.erase,
            }
        else:
            values["penalty"] = BY_FOLDS
        self._values = {RECIPE: name, **{f"{name}.{field}": value for field, value in values.items()}}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        assert self._values[name] in choices
        self.given[name] = self._values[name]
        return self.given[name]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        assert low <= self._values[name] <= high
        self.given[name] = float(self._values[name])
        return self.given[name]


def megamacs(recipe: Recipe | Transfer, n_classes: int) -> float:
    """What an answer costs: millions of multiply-adds for one picture, the same on every machine."""
    total, side, came = 0, recipe.size_px, 3
    if isinstance(recipe, Recipe):
        for filters in recipe.channels:  # see `models.residual`
            total += side * side * 9 * came * filters
            side = math.ceil(side / 2)
            total += side * side * 9 * filters * filters
            came = filters
        return (total + came * n_classes) / 1e6
    for block in backbones.blocks(backbones.known(recipe.backbone)):
        for one in block.convolutions:
            side = math.ceil(side / one.stride)
            total += side * side * one.kernel**2 * (1 if one.depthwise else came) * one.filters
            came = one.filters
    return (total + came * n_classes) / 1e6


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
