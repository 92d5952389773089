"""What a bundle says of where it comes from: when, from what, with what, and no paths.

A bundle holds no measured time: the same training gives the same bytes, but for `created`. How long things took
stands in `train --json`, in the history log and on the page of a training.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tellapart.errors import SettingsError

VERSIONED = ("tellapart", "keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "onnx", "tf2onnx",
             "onnxruntime", "openvino", "scikit-learn", "scipy", "Pillow", "simplejpeg",
             "opencv-python-headless")  # fmt: skip
TIMES = ("seconds", "epoch_seconds")  # entries of a training's record that are measured times
# Settings of the environment that change how many threads compute, and with them the order of sums; or the sums.
THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
            "TF_NUM_INTEROP_THREADS", "TF_ENABLE_ONEDNN_OPTS", "KERAS_BACKEND")  # fmt: skip


def record(catalog_fingerprint: str, recipe: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The manifest's `provenance`."""
    return {
        "created": now(),
        "catalog_fingerprint": catalog_fingerprint,
        "seed": seed,
        "recipe": dict(recipe),
        "versions": versions(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "threads": os.cpu_count() or 1,
        "environment": {name: os.environ[name][:40] for name in THREADED if name in os.environ},
    }


def depends() -> dict[str, str]:
    """What the last bits of a result hang on besides what was asked for: versions, the processor, threads."""
    environment = {name: os.environ[name][:40] for name in THREADED if name in os.environ}
    return {**versions(), "processor": _cpu(), "threads": str(os.cpu_count() or 1), **environment}


def timeless(record: Mapping[str, Any]) -> dict[str, Any]:
    """A training's record without the times that were measured, at any depth: what of it stands in a bundle."""
    return {
        name: timeless(value) if isinstance(value, Mapping) else value
        for name, value in record.items()
        if name not in TIMES
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


def _cpu() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (named or [platform.processor() or platform.machine()])[0][:200]


def versions() -> dict[str, str]:
    """What a result depends on, by distribution name."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # this one is not in use
    return found
