"""Runs `tellapart` for the benchmarks as a person does: from the shell, in processes of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peers import measure


class RunError(Exception):
    """A command did not end well; the text is the end of what it said."""


def clean(home: Path) -> dict[str, str]:
    """The environment of a person who has never run anything: an empty home folder, no cache, no settings."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "TELLAPART_"))}
    return kept | {"HOME": str(home)}


def run(*arguments: str | Path, log: Path, environment: Mapping[str, str] | None = None) -> measure.Used:
    """Run one command; what it prints goes to the end of `log`. Raises RunError where it fails."""
    used = measure.run([sys.executable, "-m", "tellapart", *arguments], log=log, environment=environment)
    if used.status != 0:
        raise RunError(f"tellapart {arguments[0]} ended with status {used.status}: {measure.tail(log)}")
    return used


def train(
    photos: Path, bundle: Path, *options: str, log: Path, environment: Mapping[str, str] | None = None
) -> tuple[measure.Used, dict[str, Any]]:
    """`tellapart train`: what it took, and what it says of itself."""
    out = bundle.with_suffix(".train.json")
    arguments = ["train", photos, "-o", bundle, "--json", out, "--force", *options]
    used = run(*arguments, log=log, environment=environment)
    return used, json.loads(out.read_text())


def evaluate(
    bundle: Path, photos: Path, *, log: Path, environment: Mapping[str, str] | None = None
) -> tuple[measure.Used, dict[str, Any]]:
    """`tellapart evaluate` on a folder of class folders: what it took, and accuracy, n and the rest."""
    out = bundle.with_suffix(".test.json")
    arguments = ["evaluate", bundle, photos, "--json", out, "--force"]
    used = run(*arguments, log=log, environment=environment)
    return used, json.loads(out.read_text())
