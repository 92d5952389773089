"""What every command that learns begins with: read the folder, choose the recipe, say which pictures are checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tellapart import catalog as catalogs
from tellapart import mirrors, networks, plans, sampling, spool
from tellapart.cache import cache_folder
from tellapart.classifier import PathLike, Reading, require_keras
from tellapart.config import Transfer
from tellapart.plans import Settings
from tellapart.progress import Progress, TerminalProgress
from tellapart.recipefile import RecipeFile

CHECKED, CHECKED_IN_SHORT = 10_000, 2_000  # pictures that the quick check before a training looks at, at most


class Options(Reading, Settings, total=False):
    """How the pictures are read, and what replaces the recipe's own settings."""


def folder(cache: PathLike | None) -> Path:
    """The cache folder; see `cache.cache_folder`."""
    return cache_folder(None if cache is None else Path(cache))


def parted(options: Options) -> tuple[Reading, Settings]:
    """The options for reading the pictures, and the others: a recipe's settings."""
    reading: Any = {name: value for name, value in options.items() if name in Reading.__annotations__}
    settings: Any = {name: value for name, value in options.items() if name not in Reading.__annotations__}
    return reading, settings


def scan(photos: PathLike, reading: Reading, said: Progress, cache: PathLike | None = None) -> catalogs.Catalog:
    """What there is to learn from; raises InputError where that is not two classes at least."""
    catalog = read(photos, reading, said, cache)
    catalogs.check_classes(catalog)
    return catalog


def read(photos: PathLike, reading: Reading, said: Progress, cache: PathLike | None = None) -> catalogs.Catalog:
    """All that is in a folder of pictures; what is fetched from elsewhere is kept in the cache folder."""
    spool.keep_in(folder(cache))
    return catalogs.scan(photos, **reading, progress=lambda done, total: said.update("Reading", done, total))


def choose(
    catalog: catalogs.Catalog,
    recipe: str | RecipeFile,
    settings: Settings,
    own_size_px: int | None = None,
    *,
    seed: int = 0,
    cache: PathLike | None = None,
) -> plans.Choice:
    """`plans.choose`, Keras started before it where a backbone needs it, and what it left open looked up."""
    named = None if isinstance(recipe, str) else recipe.settings.get("backbone")
    if networks.needs_keras(settings.get("backbone") or named):
        require_keras()
    choice = plans.choose(catalog, recipe, settings, own_size_px)
    if choice.mirroring_open and mirrors.hurt(catalog, seed=seed, cache=folder(cache)):
        return choice.without_mirroring()
    return choice


def first(catalog: catalogs.Catalog, choice: plans.Choice, *, seed: int, short: bool, whole: bool) -> list[int]:
    """The entries that are checked before a training: all that it begins with, or a number spread evenly."""
    if isinstance(choice.recipe, Transfer) and not whole:
        return sampling.first(catalog, seed)
    n, most = len(catalog.entries), CHECKED_IN_SHORT if short else CHECKED
    return [i * n // min(n, most) for i in range(min(n, most))]


def told(progress: Progress | bool) -> Progress:
    """Who is told of the progress: bars and notes, nobody, or whom the caller brings."""
    if isinstance(progress, Progress):
        return progress
    return TerminalProgress() if progress else Progress()
