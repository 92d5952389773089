"""The log of what was trained on this machine: one line of JSON a training, which `tellapart history` lists.

It lies in the user's data folder, not in the cache, which may be cleared: $TELLAPART_RUNS names another file, or is
`off` to keep none. A line is appended whole, so two trainings that end together do not mix theirs; the file can be read
by its owner alone, for it has paths and commands. That it cannot be written ends no training.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from tellapart import addresses, outputs, provenance
from tellapart.classifier import Classifier
from tellapart.errors import OutputError
from tellapart.files import because, shown

VERSION = 1  # of a line; to be raised when a field changes its meaning
OFF = "off"
MAX_LINE_BYTES = 1_000_000  # a longer one was not written here
# The fields of a line that a table or a CSV shows, in their order; see `record` for all.
COLUMNS = (
    "time", "photos", "recipe", "backbone", "size_px", "seed", "budget", "accuracy", "accuracy_low", "accuracy_high",
    "n", "judged_on", "log_loss", "seconds", "bundle", "bundle_sha256", "fingerprint", "command",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Log:
    """The runs that the log holds, in the order in which they ended."""

    path: Path | None  # None: none is kept
    runs: tuple[Mapping[str, Any], ...]
    damaged: tuple[int, ...] = ()  # lines, from 1, that could not be read


def log_path() -> Path | None:
    """$TELLAPART_RUNS, or a file in the platform's own data folder; None where that is `off`. Creates nothing."""
    chosen = os.environ.get("TELLAPART_RUNS")
    if chosen == OFF:
        return None
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("tellapart") / "runs.jsonl"


def record(
    classifier: Classifier,
    *,
    photos: str | os.PathLike[str],
    output: str | os.PathLike[str] | None,
    budget: str | float | None,
) -> str | None:
    """Append a training that has just ended; returns a sentence where that failed."""
    where = "$TELLAPART_RUNS"
    try:
        path = log_path()
        if path is None:
            return None
        where = shown(path)
        line = json.dumps(_run(classifier, photos, output, budget), allow_nan=False).encode() + b"\n"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        outputs.append(path, line, mode=0o600)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: there is no home folder
        why = because(error) if isinstance(error, OSError) else str(error)
        return (
            f"This run is not in the history: {where} could not be written ({why}). "
            f"Name another file by $TELLAPART_RUNS, or set that to {OFF}."
        )
    return None


def read() -> Log:
    """The log; without one there are no runs.

    Raises:
        OutputError: it is there but cannot be read.
    """
    path = log_path()
    if path is None or not os.path.lexists(path):
        return Log(path, ())
    runs, damaged = [], []
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                run = _parsed(line)
                if run is not None:
                    runs.append(run)
                elif line.strip():
                    damaged.append(number)
    except OSError as error:
        raise OutputError(
            f"The history {shown(path)} must be readable; {because(error)}. Name another file by $TELLAPART_RUNS."
        ) from error
    return Log(path, tuple(runs), tuple(damaged))


def chosen(
    log: Log, *, photos: str | None = None, sort: str = "time", last: int | None = None
) -> list[Mapping[str, Any]]:
    """The runs of a folder of pictures, by its path or its name, sorted; the last `last` of them by time.

    By time the newest comes first; by accuracy the highest; by log-loss and seconds the lowest. What has no such number
    comes last.
    """
    every = list(reversed(log.runs))
    if photos is not None:
        place, name = addresses.absolute(photos), photos.rstrip("/\\")
        every = [each for each in every if each["photos"] == place or os.path.basename(each["photos"]) == name]
    every = every if last is None else every[:last]
    if sort == "time":
        return every
    field, sign = sort.replace("-", "_"), -1 if sort == "accuracy" else 1
    return sorted(every, key=lambda each: sign * each[field] if each[field] is not None else math.inf)


def row(run: Mapping[str, Any]) -> list[str]:
    """A run's cells under COLUMNS; what it does not have is empty."""
    low, high = run["accuracy_interval"]
    values = {**run, "accuracy_low": low, "accuracy_high": high}
    return ["" if values[name] is None else str(values[name]) for name in COLUMNS]


def command(arguments: Sequence[str]) -> str:
    """A command line as one would type it, without the password that an address may have in it."""
    return re.sub(r"(?<=://)[^/@\s]+@", "…@", shlex.join(arguments))


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _run(
    classifier: Classifier, photos: str | os.PathLike[str], output: str | os.PathLike[str] | None, budget: Any
) -> dict[str, Any]:
    """The line of a training: its fields are the contract of `history --json`."""
    manifest = classifier.bundle.manifest
    training, source = manifest["training"], manifest["provenance"]
    side = classifier.evaluation.split if classifier.evaluation is not None else "test"
    judged = manifest["metrics"].get(side, {})
    typed = bool(sys.argv) and Path(sys.argv[0]).stem in ("tellapart", "__main__")
    return {
        "version": VERSION,
        "time": provenance.now(),
        "photos": addresses.absolute(photos),
        "fingerprint": source["catalog_fingerprint"],  # of the pictures: same pictures and labels, same fingerprint
        "classes": len(classifier.classes),
        "pictures": training["pictures"],
        "recipe": source["recipe"]["name"],
        "backbone": training.get("backbone"),
        "size_px": classifier.size_px,
        "seed": source["seed"],
        "budget": None if budget is None else str(budget),
        "accuracy": judged.get("accuracy"),
        "accuracy_interval": judged.get("accuracy_interval", [None, None]),
        "n": judged.get("n"),
        "judged_on": side,
        "log_loss": judged.get("log_loss"),
        "interrupted": training["interrupted"],
        "seconds": classifier.report["times"].get("total"),
        "bundle": None if output is None else os.path.abspath(output),
        "bundle_sha256": None if output is None else sha256(output),
        "versions": source["versions"],
        "command": command(["tellapart", *sys.argv[1:]]) if typed else None,  # None: from Python
    }


_NEEDED: dict[str, type | tuple[type, ...]] = {
    "time": str,
    "photos": str,
    "recipe": str,
    "accuracy_interval": list,
    "judged_on": str,
}


def _parsed(line: bytes) -> dict[str, Any] | None:
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        run = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(run, dict) or not all(isinstance(run.get(name), kind) for name, kind in _NEEDED.items()):
        return None
    interval = run["accuracy_interval"]
    numbers = [*interval, *(run.get(name) for name in ("accuracy", "n", "log_loss", "seconds", "size_px", "seed"))]
    if len(interval) != 2 or not all(each is None or _number(each) for each in numbers):
        return None
    return dict.fromkeys(COLUMNS) | run


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
