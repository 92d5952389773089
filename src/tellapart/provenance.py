"""What a bundle says of where it comes from: when, from what, with what, and no paths."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from typing import Any

from tellapart.errors import SettingsError

VERSIONED = ("tellapart", "keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "onnx", "tf2onnx",
             "onnxruntime", "openvino", "scikit-learn", "Pillow", "simplejpeg", "opencv-python-headless")  # fmt: skip


def record(catalog_fingerprint: str, recipe: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The manifest's `provenance`."""
    return {
        "created": now(),
        "catalog_fingerprint": catalog_fingerprint,
        "seed": seed,
        "recipe": dict(recipe),
        "versions": _versions(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def version() -> str:
    """The version of this package."""
    return importlib.metadata.version("tellapart")


def now() -> str:
    """The time in UTC, or $SOURCE_DATE_EPOCH (reproducible-builds.org), as ISO 8601."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if not given:
        return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    try:
        return datetime.datetime.fromtimestamp(int(given), datetime.UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError) as error:
        raise SettingsError(
            f"$SOURCE_DATE_EPOCH must be whole seconds since 1970; got {given!r}. Set it right, or unset it."
        ) from error


def _versions() -> dict[str, str]:
    """What the result depends on, by distribution name."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # this one is not in use
    return found
