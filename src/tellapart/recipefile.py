"""A recipe as a TOML file: written by `tune`, read by `train`, and short enough to be written by hand.

``recipe`` names what it builds on, ``seed`` may be there, and all else are settings of that recipe (`config`). How
training pictures are varied is a name, or a table ``[augment]``. The table ``[tuned]`` says where the recipe comes
from; a training does nothing with it but keep it.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tellapart import policies
from tellapart.config import RECIPE_NAMES, RECIPES, TRANSFER, Recipe, Transfer, checked_seed
from tellapart.errors import SettingsError

NAMES = tuple(name for name in RECIPE_NAMES if name != "auto")
ENDING = ".toml"
TUNED = "tuned"  # the table of where it comes from
MOST_TEXT = 200  # characters of a value of that table that a bundle keeps
NOT_THERE = ("name", "policy", "network")  # fields that a file says otherwise, or not at all


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """A recipe that was read from a file."""

    recipe: str  # "transfer", "scratch" or "tutorial"
    settings: Mapping[str, Any]  # fields of `config.Recipe` or `config.Transfer`, `augment` a name or the changes
    seed: int | None = None
    tuned: Mapping[str, Any] = field(default_factory=dict)  # plain values

    def on(self, base: Recipe | Transfer) -> Recipe | Transfer:
        """A recipe of the same kind with these settings."""
        if isinstance(base, Recipe):
            return base.override(**self.settings)
        return dataclasses.replace(base, **self.settings)

    def record(self) -> dict[str, Any]:
        """What a bundle keeps of it besides the finished recipe: plain values."""
        settings = {
            name: value.as_dict() if isinstance(value, policies.Augmentation) else plain(value)
            for name, value in self.settings.items()
        }
        tuned = {
            str(name): value[:MOST_TEXT] if isinstance(value, str) else value
            for name, value in self.tuned.items()
            if isinstance(value, str | int | float)
        }
        return {"recipe": self.recipe, "settings": settings, **({"tuned": tuned} if tuned else {})}


def given(recipe: str | os.PathLike[str]) -> RecipeFile | None:
    """The file that a user names as a recipe; None where it is the name of one, or of nothing. Raises as `read`."""
    name = os.fspath(recipe)
    if isinstance(recipe, str) and name in RECIPE_NAMES:
        return None
    if isinstance(recipe, os.PathLike) or name.lower().endswith(ENDING) or os.path.isfile(name):
        return read(name)
    return None


def read(path: str | os.PathLike[str]) -> RecipeFile:
    """The recipe in a TOML file (toml.io, 1.0).

    Raises:
        SettingsError: an unknown key, or a value out of range: named with the file.
        InputError: no such file, or it is no TOML.
    """
    values = policies.table(path, "recipe file", like="learning_rate = 0.1")
    try:
        return _parsed(values)
    except SettingsError as error:
        raise SettingsError(f"In {os.fspath(path)!r}, {error}") from error


def _parsed(values: dict[str, Any]) -> RecipeFile:
    name, seed, tuned = values.pop("recipe", None), values.pop("seed", None), values.pop(TUNED, {})
    if name not in NAMES:
        came = "none" if name is None else repr(name)
        raise SettingsError(
            f'recipe must be one of {", ".join(NAMES)}; got {came}. Add a line like: recipe = "scratch"'
        )
    if not isinstance(tuned, dict):
        raise SettingsError(f"{TUNED} must be a table; got {tuned!r:.60}. Leave it out.")
    base = TRANSFER if name == TRANSFER.name else RECIPES[name]
    known = [each.name for each in dataclasses.fields(base) if each.name not in NOT_THERE]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
            other = Recipe if base is TRANSFER else Transfer
            if key in other.__dataclass_fields__ and key not in NOT_THERE:
                hint = f"That is one of {'scratch and tutorial' if other is Recipe else 'transfer'}."
            raise SettingsError(f"every key must be a setting of recipe {name}; got {key!r}. {hint}")
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    for key in ("channels", "dense"):
        if key in settings and not isinstance(settings[key], tuple):
            raise SettingsError(f"{key} must be a list of whole numbers; got {settings[key]!r:.60}. Write [32, 64].")
    if "backbone" in settings and not isinstance(settings["backbone"], str):
        raise SettingsError(f"backbone must be a name in quotes; got {settings['backbone']!r:.60}.")
    if "flip" in settings and not isinstance(settings["flip"], bool):
        raise SettingsError(f"flip must be true or false; got {settings['flip']!r:.60}.")
    if "augment" in settings:
        settings["augment"] = _augment(settings["augment"])
    found = RecipeFile(name, settings, None if seed is None else checked_seed(seed), tuned)
    found.on(base)  # so that each value is looked at now
    return found


def _augment(value: Any) -> Any:
    if isinstance(value, dict):
        return policies.Augmentation.from_dict(value)
    if value not in policies.NAMED:
        raise SettingsError(
            f"augment must be one of {', '.join(policies.NAMED)}, or a table [augment]; got {value!r:.60}."
        )
    return value


def text(
    recipe: Recipe | Transfer, *, seed: int, about: Sequence[str] = (), tuned: Mapping[str, Any] | None = None
) -> str:
    """A recipe as the text of such a file; `read` gives the same recipe back.

    Args:
        recipe: every setting of it is written, so that other defaults later change nothing.
        seed: of the splits that it was found with.
        about: lines for the head of the file.
        tuned: plain values for the table of where it comes from.
    """
    lines = [*(f"# {line}".rstrip() for line in about), f"recipe = {toml(recipe.name)}", f"seed = {seed}", ""]
    changes = None
    for setting in dataclasses.fields(recipe):
        value = getattr(recipe, setting.name)
        if setting.name in NOT_THERE or value is None:
            continue
        if isinstance(recipe, Recipe) and setting.name == "augment" and not _is_named(recipe):
            changes = recipe.policy
            continue
        lines.append(f"{setting.name} = {toml(plain(value))}  # {setting.metadata['help']}")
    if changes is not None:
        lines += ["", "[augment]  # how training pictures are varied"]
        for setting in dataclasses.fields(changes):
            value = getattr(changes, setting.name)
            if value != setting.default and setting.name != "flip":
                lines.append(f"{setting.name} = {toml(plain(value))}  # {setting.metadata['help']}")
    if tuned:
        lines += ["", f"[{TUNED}]  # where this comes from; nothing depends on it"]
        lines += [f"{name} = {toml(value)}" for name, value in tuned.items()]
    return "\n".join(lines) + "\n"


def _is_named(recipe: Recipe) -> bool:
    """Whether its changes are those that its name stands for."""
    named = policies.NAMED.get(recipe.augment)
    return named is not None and recipe.policy == dataclasses.replace(named, flip=recipe.flip)


def plain(value: Any) -> Any:
    """A value as TOML and JSON have it: lists for tuples."""
    return list(value) if isinstance(value, tuple) else value


def toml(value: Any) -> str:
    """A plain value as TOML."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return repr(value)
