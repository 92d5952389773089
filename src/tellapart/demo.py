"""The main job, shown: train, evaluate, predict, on real pictures that need no download, or on the user's."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import api, outputs, pictures, reporting, sheets
from tellapart.classifier import Classifier, PathLike, require, require_keras
from tellapart.errors import OutputError, PictureError
from tellapart.evaluation import Evaluation
from tellapart.files import because, is_hidden, shown
from tellapart.predict import Prediction
from tellapart.progress import Progress

MOST_CLASSES = 24  # pictures on the sheet
PHOTOS, BUNDLE, SHEET, REPORT = "photos", "model.tellapart", "sheet.png", "report.html"  # what a demo's folder holds


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo did."""

    classifier: Classifier  # loaded back from its bundle
    evaluation: Evaluation  # on the test split
    report: dict[str, Any]  # plan, times and notes of the training
    predictions: tuple[Prediction, ...]  # one test picture of each class, at most 24
    truths: tuple[str, ...]  # their right labels, in class order
    paths: tuple[Path, ...]  # what was written, or stood there already: photos (the digits only), bundle, sheet, …


def write_digits(folder: Path) -> None:
    """Write scikit-learn's handwritten digits (1,797 pictures, 8×8, grey) as PNG files, one folder a class.

    `folder`/7/0011.png is picture 11 of `sklearn.datasets.load_digits` (the test part of "Optical Recognition of
    Handwritten Digits", E. Alpaydin and C. Kaynak, UCI, 1998), a 7; its levels 0–16 become 0–255. A new folder appears
    when it is complete. In one that exists, digits that are there stay as they are and those that are missing are
    added; nothing is ever removed.

    Raises:
        MissingPackageError: scikit-learn is not installed.
        OutputError: the folder holds anything else, or cannot be written.
    """
    digits = require("sklearn.datasets", "scikit-learn", "train").load_digits()
    levels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    wanted = {f"{digit}/{i:04d}.png": levels[i] for i, digit in enumerate(digits.target)}
    try:
        there = _digits_in(folder, wanted) if os.path.lexists(folder) else set()
        if not os.path.lexists(folder) or not any(folder.iterdir()):
            with outputs.whole_folder(folder) as building:
                for name, pixels in wanted.items():
                    (building / name).parent.mkdir(exist_ok=True)
                    (building / name).write_bytes(_png(pixels))
            return
        for name in sorted(wanted.keys() - there):
            (folder / name).parent.mkdir(exist_ok=True)
            with outputs.atomic(folder / name) as file:
                file.write(_png(wanted[name]))
    except OSError as error:
        raise OutputError(
            f"The digits could not be written to {shown(folder)}: {because(error)}. Name another folder with -o."
        ) from error


def run(
    data: PathLike | None = None,
    folder: PathLike = "demo",
    *,
    recipe: str = "auto",
    epochs: int | None = None,
    cache: PathLike | None = None,
    force: bool = False,
    progress: Progress | bool = True,
) -> DemoResult:
    """Train on the digits, or on `data`; load the bundle back, answer one test picture of each class, draw a
    sheet, write a report.

    Args:
        data: a folder of pictures in any layout that `train` takes, which is only read; left out, the digits are
            written to `folder`/photos (see `write_digits`).
        folder: where to write model.tellapart, sheet.png and report.html; made where it is missing. Nothing else in it
            is touched.
        recipe, epochs, cache, progress: as in `train`.
        force: replace model.tellapart, sheet.png and report.html where they exist.

    Raises:
        OutputError: one of these exists and `force` is not set, `folder`/photos holds anything but the digits,
            `folder` stands among the pictures of `data`, or the disk refuses.
        MissingPackageError: Keras or scikit-learn is not installed.
    """
    home = Path(folder)
    bundle, sheet, report = home / BUNDLE, home / SHEET, home / REPORT
    if data is not None and Path(data).resolve() in (home.resolve(), *home.resolve().parents):
        raise OutputError(
            f"The demo's folder must stand outside the pictures, or the sheet would be one of them the next time; "
            f"{shown(home)} is in {shown(data)}. Name another folder with -o."
        )
    with _made(home):
        for path in (bundle, sheet, report):
            outputs.check(path, force=force)
        require_keras()  # before anything is written
        photos = home / PHOTOS if data is None else Path(data)
        if data is None:
            write_digits(photos)
        trained = api.train(
            photos, output=bundle, recipe=recipe, epochs=epochs, cache=cache, force=force, progress=progress
        )
    evaluation = trained.evaluation
    assert evaluation is not None  # just trained
    classifier = api.load(bundle)
    asked = _one_of_each(evaluation)
    predictions = classifier.predict(list(asked.values()))
    sheets.save(sheets.sheet(predictions, truths=list(asked), title=_title(evaluation)), sheet, force=force)
    known = reporting.facts(trained, evaluation, name=BUNDLE) | {"bundle_bytes": bundle.stat().st_size}
    reporting.save(trained, evaluation, report, known=known, force=force)
    return DemoResult(
        classifier=classifier,
        evaluation=evaluation,
        report=trained.report,
        predictions=tuple(predictions),
        truths=tuple(asked),
        paths=(bundle, sheet, report) if data is not None else (photos, bundle, sheet, report),
    )


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def _digits_in(folder: Path, wanted: dict[str, np.ndarray]) -> set[str]:
    """Which of the digits are in `folder`. Raises OutputError where anything else is, be it a changed digit."""
    there = set()
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        name = path.relative_to(folder).as_posix()
        if is_hidden(path.name) or (path.is_dir() and name in {digit.split("/")[0] for digit in wanted}):
            continue
        try:
            same = name in wanted and np.array_equal(pictures.read(path).pixels[..., 0], wanted[name])
        except PictureError:
            same = False
        if not same:
            raise OutputError(
                f"{shown(folder)} must hold the demo's digits and nothing else; {shown(path)} is none of them. "
                f"Move it away, or name another folder with -o."
            )
        there.add(name)
    return there


@contextlib.contextmanager
def _made(folder: Path):
    """Make a folder where it is missing; where nothing came of it, take it away again."""
    new = not os.path.lexists(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"The demo's folder {shown(folder)} could not be made: {because(error)}. Name another one with -o."
        ) from error
    try:
        yield
    finally:
        if new:
            with contextlib.suppress(OSError):  # it is not empty: all went well
                folder.rmdir()


def _one_of_each(evaluation: Evaluation) -> dict[str, str]:
    """The test picture of each class that is first by path, by class name, in class order."""
    pairs = sorted(zip(evaluation.labels.tolist(), evaluation.paths, strict=True), reverse=True)
    first = dict(pairs)
    return {name: first[i] for i, name in enumerate(evaluation.classes[:MOST_CLASSES])}


def _title(evaluation: Evaluation) -> str:
    low, high = evaluation.accuracy_interval
    right = int((evaluation.predicted == evaluation.labels).sum())
    shares = [f"{100 * share:.1f} %" for share in (evaluation.accuracy, low, high)]
    return f"{right:,} of {evaluation.n:,} test pictures right: {shares[0]} (95 % sure: {shares[1]} to {shares[2]})"
