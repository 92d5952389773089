"""The main job, shown: train, evaluate, predict, on real pictures that need no download, or on the user's."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tellapart import api, outputs, sheets
from tellapart.classifier import Classifier, PathLike, require
from tellapart.errors import OutputError
from tellapart.evaluation import Evaluation
from tellapart.files import because, shown
from tellapart.predict import Prediction
from tellapart.progress import Progress

MOST_CLASSES = 25  # pictures on the sheet


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo did."""

    classifier: Classifier  # loaded back from its bundle
    evaluation: Evaluation  # on the test split
    report: dict[str, object]  # plan, times and notes of the training
    predictions: tuple[Prediction, ...]  # one test picture of each class
    truths: tuple[str, ...]  # their right labels
    paths: tuple[Path, ...]  # what was written


def write_digits(folder: Path) -> None:
    """Write scikit-learn's handwritten digits (UCI, 1,797 pictures, 8×8, grey) as PNG, one folder a class.

    Their 17 levels, 0–16, become 0–255. The folder appears when it is complete.

    Raises:
        MissingPackageError: scikit-learn is not installed.
        OutputError: the folder cannot be written.
    """
    from PIL import Image

    digits = require("sklearn.datasets", "scikit-learn", "train").load_digits()
    levels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        for i, (pixels, digit) in enumerate(zip(levels, digits.target, strict=True)):
            picture = temporary / str(digit) / f"{i:04d}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(picture)
        temporary.replace(folder)
    except OSError as error:
        raise OutputError(
            f"The digits could not be written to {shown(folder)}: {because(error)}. Name another folder with -o."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def run(
    data: PathLike | None = None,
    *,
    folder: PathLike = "demo",
    recipe: str = "auto",
    epochs: int | None = None,
    cache: PathLike | None = None,
    force: bool = False,
    progress: Progress | bool = True,
) -> DemoResult:
    """Train on the digits, or on `data`; load the bundle back, answer one test picture of each class, draw a sheet.

    Args:
        data: a folder of class folders; left out, the digits are written to `folder`/digits.
        folder: where to write; made where it is missing. Of what is in it only what is named here is ever replaced.
        recipe, epochs, cache, progress: as in `train`.
        force: replace model.tellapart and sheet.png from an earlier run.

    Raises:
        OutputError: something of that name exists and `force` is not set, or the disk refuses.
    """
    home = Path(folder)
    bundle, picture = home / "model.tellapart", home / "sheet.png"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The demo's folder {shown(home)} could not be made: {because(error)}. Name another one with -o."
        ) from error
    for path in (bundle, picture):
        outputs.check(path, force=force)
    photos = Path(data) if data is not None else home / "digits"
    if data is None and not photos.exists():
        write_digits(photos)
    trained = api.train(
        photos, output=bundle, recipe=recipe, epochs=epochs, cache=cache, force=force, progress=progress
    )
    evaluation = trained.evaluation
    assert evaluation is not None  # just trained
    classifier = api.load(bundle)
    paths, truths = _one_of_each(evaluation)
    predictions = classifier.predict(paths)
    low, high = evaluation.accuracy_interval
    title = f"{evaluation.accuracy:.1%} of {evaluation.n:,} test pictures right (95 % sure: {low:.1%} to {high:.1%})"
    sheets.save(sheets.sheet(predictions, truths=truths, title=title), picture, force=force)
    return DemoResult(classifier, evaluation, trained.report, tuple(predictions), tuple(truths), (bundle, picture))


def _one_of_each(evaluation: Evaluation) -> tuple[list[str | os.PathLike[str]], list[str]]:
    """The first test picture of each class, in class order."""
    paths: list[str | os.PathLike[str]] = []
    truths = []
    for i, name in list(enumerate(evaluation.classes))[:MOST_CLASSES]:
        paths.append(evaluation.paths[int(np.flatnonzero(evaluation.labels == i)[0])])
        truths.append(name)
    return paths, truths
