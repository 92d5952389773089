"""What a training that was stopped is found again by: its pictures, and all that was asked for."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart import addresses, attempts, policies, provenance, splits
from tellapart import catalog as catalogs
from tellapart.classifier import PathLike, Reading
from tellapart.plans import Settings
from tellapart.progress import Progress

if TYPE_CHECKING:
    import keras

UNLESS_SAID = ("download", "keep_conflicts")  # flags that are off; of others False says something


def wanted(recipe: str, settings: Settings, reading: Reading, **more: Any) -> dict[str, Any]:
    """What was asked for, as plain values: all that decides what a training will be, besides the pictures."""
    asked: dict[str, Any] = {"recipe": recipe, **settings, **more}
    augment = settings.get("augment")
    if augment is not None:
        asked["augment"] = policies.resolve(augment)[1].as_dict()
    asked |= {name: reading.get(name) for name in ("group", "keep_conflicts")}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asked.items()}
    return {
        name: value if isinstance(value, bool | int | float | list | dict) else str(value)
        for name, value in plain.items()
        if value is not None and not (value is False and name in UNLESS_SAID)
    }


def begun(
    catalog: catalogs.Catalog,
    wanted: dict[str, Any],
    model: keras.Model | None,
    photos: PathLike,
    cache: Path,
    said: Progress,
    *,
    resume: bool,
) -> contextlib.AbstractContextManager[attempts.Attempt]:
    """The checkpoints of this training of these pictures."""
    together = sorted(zip((each.content for each in catalog.entries), splits.groups(catalog.entries), strict=True))
    asked = {"pictures": catalog.fingerprint, "groups": attempts.key(together), **wanted}
    if model is not None:
        from tellapart import modelstate

        asked["network"] = attempts.key(modelstate.architecture(model))
    about = {"photos": addresses.absolute(photos), "asked": asked, "versions": provenance.depends()}
    return attempts.begun(cache, about, resume=resume, note=said.note)
