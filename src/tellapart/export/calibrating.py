"""Labelled pictures for a model in int8: one half shows what values come, the other half judges the result."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart import catalog as catalogs
from tellapart import decoders, preprocess
from tellapart.bundle import Bundle
from tellapart.errors import InputError, PictureError
from tellapart.files import shown
from tellapart.guards import Guards
from tellapart.predict import Predictor
from tellapart.progress import Progress

MOST_SHOWN = 300  # pictures that calibrate
MOST_JUDGES = 1000
FEWEST = 10  # of each half
BATCH = 16  # pictures that the network sees at once


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Pictures that show a quantizer what values come."""

    squares: np.ndarray  # uint8 (N, S, S, 3), as the network sees them
    skipped: tuple[tuple[str, str], ...] = ()  # path of each file that neither calibrates nor judges, and why


@dataclass(frozen=True, slots=True, eq=False)
class Judges:
    """Other labelled pictures, and what the model itself says of them."""

    squares: np.ndarray  # uint8 (M, S, S, 3)
    labels: np.ndarray  # int64 (M,), places in the model's classes
    probabilities: np.ndarray  # float64 (M, C), by the model itself
    answered: np.ndarray  # bool (M,), whether the model itself does not say unknown


def halves(
    photos: str | os.PathLike[str],
    bundle: Bundle,
    progress: Progress,
    reading: dict[str, Any],
    aimed: Guards | None = None,
) -> tuple[Calibration, Judges]:
    """Half of the labelled pictures of a folder to calibrate, the other half to judge.

    Copies of a picture stand on one side: the halves go by the hash of the bytes. Pictures that the model learned from
    do not judge. `aimed` are the thresholds by which the model answers.

    Raises:
        InputError: there are too few, or a class is none of the model's.
    """
    catalog = catalogs.scan(photos, **reading, progress=lambda done, total: progress.update("Reading", done, total))
    strange = sorted({entry.label for entry in catalog.entries} - set(bundle.classes))
    if strange:
        raise InputError(
            f"Every class of --calibrate {shown(photos)} must be one of the model's; it also has {shown(strange[0])}. "
            f"Rename it or take it away."
        )
    learned = set(bundle.splits().get("train", []))
    ordered = sorted(catalog.entries, key=lambda entry: (entry.content, entry.path))
    shows, judges = [], []
    for entry in ordered:
        (shows if int(entry.content[:8], 16) % 2 or entry.content in learned else judges).append(entry)
    shows = _mixed(shows, bundle.classes)[:MOST_SHOWN]
    judges = _mixed(judges, bundle.classes)[:MOST_JUDGES]
    how = preprocess.Preprocess.from_dict(bundle.manifest["preprocess"])
    squares: dict[str, np.ndarray] = {}
    skipped = [(each.path, each.reason) for each in catalog.skipped]
    for entry in progress.counted("Decoding", (*shows, *judges), len(shows) + len(judges)):
        try:
            squares[entry.path] = decoders.square(entry.path, how)
        except PictureError as error:
            skipped.append((entry.path, error.reason))
    shows, judges = ([e for e in some if e.path in squares] for some in (shows, judges))
    if min(len(shows), len(judges)) < FEWEST:
        raise InputError(
            f"--calibrate must name a folder with at least {FEWEST} labelled pictures for each half, and those that "
            f"judge must be none that the model learned from; there are {len(shows)} and "
            f"{len(judges)}. Give more pictures."
        )
    place = {name: i for i, name in enumerate(bundle.classes)}
    labels = np.array([place[entry.label] for entry in judges], np.int64)
    asked = np.stack([squares[entry.path] for entry in judges])
    predictor = Predictor(bundle)
    predictor.guards = aimed or predictor.guards
    told = []
    for start in range(0, len(asked), BATCH):
        told += predictor.predictions([""] * len(asked[start : start + BATCH]), asked[start : start + BATCH])
        progress.update("Answering", len(told), len(asked))
    probabilities = np.array([list(each.probabilities.values()) for each in told])
    answered = np.array([not each.unknown for each in told])
    shown_squares = np.stack([squares[entry.path] for entry in shows])
    return Calibration(shown_squares, tuple(skipped)), Judges(asked, labels, probabilities, answered)


def _mixed(entries: list[catalogs.Entry], classes: tuple[str, ...]) -> list[catalogs.Entry]:
    """By turns one of each class, so that the first of them hold all classes."""
    of = {name: [entry for entry in entries if entry.label == name] for name in classes}
    return [each[i] for i in range(max(map(len, of.values()), default=0)) for each in of.values() if i < len(each)]
