"""A bundle to a folder in another format: written aside, checked by its own program, and only then given its name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import bundle as bundles
from tellapart import golden as goldens
from tellapart import guards, outputs
from tellapart.errors import ExportError, OutputError, SettingsError, TellapartError
from tellapart.export import calibrating, formats, gate, sidecar
from tellapart.files import shown
from tellapart.progress import Progress

INT8 = "int8"
MAX_LOSS = 0.01  # of accuracy, by default
UNASKED = ("__pycache__", ".DS_Store", "Thumbs.db")  # what a system or a run of the sample leaves in a folder


@dataclass(frozen=True, slots=True)
class Exported:
    """A folder that was written, and how well it agrees."""

    folder: str
    to: str
    files: Mapping[str, int]  # relative path to bytes
    agreement: gate.Agreement
    quantized: dict[str, Any] | None = field(default=None)  # see `_judged`; None for float32
    skipped: tuple[tuple[str, str], ...] = ()  # path of each file of `calibrate` that could not be used, and why

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "folder": self.folder,
            "to": self.to,
            "files": dict(self.files),
            "bytes": sum(self.files.values()),
            "agreement": self.agreement.as_dict(),
            "quantized": self.quantized,
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
        }


def export(
    bundle: bundles.Bundle,
    to: str,
    folder: str | os.PathLike[str],
    *,
    quantize: str | None = None,
    calibrate: str | os.PathLike[str] | None = None,
    max_loss: float = MAX_LOSS,
    aimed: guards.Guards | None = None,
    force: bool = False,
    progress: Progress | None = None,
    reading: Mapping[str, Any] | None = None,
) -> Exported:
    """Write a bundle to a folder in another format, once it was seen to answer there as the bundle does.

    Args:
        bundle: the model.
        to: a name of `formats.FORMATS`.
        folder: new or empty; with `force` an export that stands there is replaced.
        quantize: "int8", or None for float32.
        calibrate: with `quantize` a folder of labelled pictures, in any input layout: half of them show what values
            come, the other half judges the result.
        max_loss: with `quantize` how much accuracy, 0–1, may be lost on those that judge.
        aimed: the thresholds that go along, in place of the bundle's own.
        progress: is told how far it has come.
        reading: how `calibrate` is read, see `classifier.Reading`.

    Raises:
        SettingsError: a setting is unknown, or not for this format.
        OutputError: the folder cannot be written, or holds something else.
        MissingPackageError: the runtime is not installed.
        InputError: the pictures of `calibrate` cannot be used.
        ExportError: what was written does not answer as the bundle does, or loses too much. Nothing is left of it.
    """
    known, said = formats.find(to), progress or Progress()
    _check_settings(known, quantize, calibrate, max_loss)
    target = _target(folder, force)
    module = formats.module(known)
    golden, thresholds = goldens.of(bundle), aimed or guards.from_dict(bundle.manifest["abstention"])
    shows, judges = None, None
    if quantize and calibrate is not None:
        shows, judges = calibrating.halves(calibrate, bundle, said, dict(reading or {}), thresholds)
    answers = getattr(module, "answers", gate.by_sample)
    quantized: dict[str, Any] | None = None
    agreement = None
    with outputs.whole_folder(target) as aside:
        # What is rounded shows small differences of the resize no more, so the same is checked in float32 before.
        for calibration in [None] if shows is None else [None, shows]:
            with outputs.reported(folder):
                shutil.rmtree(aside)
                aside.mkdir()
            said.update("Writing", 0, 1)
            with outputs.reported(folder):
                written = _written(module, bundle, aside, calibration, known)
            said.update("Writing", 1, 1)
            with outputs.reported(folder):
                sidecar.write(aside, bundle, known, written, guards=thresholds, golden=golden, quantized=None)
            said.update("Checking", 0, 1)
            agreement = gate.check(aside, bundle, golden, thresholds, answers=answers, int8=calibration is not None)
            said.update("Checking", 1, 1)
        assert agreement is not None  # the loop has a round
        if shows is not None and judges is not None:
            quantized = _judged(aside, bundle, shows, judges, answers, max_loss)
            with outputs.reported(folder):
                sidecar.write(aside, bundle, known, written, guards=thresholds, golden=golden, quantized=quantized)
        with outputs.reported(folder):
            sizes = {name: (aside / name).stat().st_size for name in sidecar.files(aside)}
    return Exported(os.fspath(folder), to, sizes, agreement, quantized, () if shows is None else shows.skipped)


def _written(
    module: Any,
    bundle: bundles.Bundle,
    aside: Path,
    shows: calibrating.Calibration | None,
    known: formats.Format,
) -> formats.Written:
    """What a format's module writes; what its converter says against a network becomes an ExportError."""
    try:
        return module.write(bundle, aside, calibration=shows)
    except (TellapartError, OSError):
        raise
    except Exception as error:  # the converters' own exceptions have no common base
        raise ExportError(
            f"{known.runtime} must be able to take the network; its converter says: "
            f"{type(error).__name__} {' '.join(str(error).split())[:300]}. Nothing was written. Try another format."
        ) from error


def _check_settings(
    known: formats.Format, quantize: str | None, calibrate: str | os.PathLike[str] | None, max_loss: float
) -> None:
    if quantize not in (None, INT8):
        raise SettingsError(f"`quantize` must be int8, or left out; got {quantize!r}.")
    if quantize and not known.quantizes:
        able = ", ".join(each.name for each in formats.FORMATS.values() if each.quantizes)
        raise SettingsError(f"int8 can be had for {able}; not for {known.name}. Name one of these, or leave it out.")
    if bool(quantize) != (calibrate is not None):
        raise SettingsError(
            "--quantize int8 and --calibrate PHOTOS go together: labelled pictures set the ranges of values, and judge "
            "what is lost. Give both, or neither."
        )
    if not 0 <= max_loss <= 1:
        raise SettingsError(f"`max_loss` must be a share from 0 to 1; got {max_loss:g}. Try 0.01.")


def _target(folder: str | os.PathLike[str], force: bool) -> Path:
    """Where to write; OutputError unless it is new or empty, or an earlier export and `force` is set."""
    target = Path(folder)
    outputs.check_folder(target, force=force)
    target = Path(os.path.realpath(target))  # replace what a link names, not the link
    with outputs.reported(folder):
        if target.is_dir() and any(target.iterdir()):
            _check_replaceable(target)
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise OutputError(
                f"The folder {shown(target.parent)} takes no new files: permission denied. Name another folder."
            )
    return target


def _check_replaceable(target: Path) -> None:
    """Raise OutputError unless a folder holds an earlier export and nothing else, which may be somebody's own."""
    try:
        told = json.loads((target / sidecar.FACTS).read_text(encoding="utf-8"))
        own = set(told["files"]) if told["format"] == sidecar.FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        own = None
    if own is None:
        raise OutputError(
            f"Only an export can be replaced; {shown(target)} holds something else. Name a new or empty folder."
        )
    others = [
        name
        for name in sidecar.files(target)
        if name not in own and not any(part in UNASKED for part in name.split("/"))
    ]
    if others:
        raise OutputError(
            f"Only what an export wrote is replaced; {shown(target)} also holds {shown(others[0])}. "
            f"Move it elsewhere, or name a new folder."
        )


def _judged(
    folder: Path,
    bundle: bundles.Bundle,
    shows: calibrating.Calibration,
    judges: calibrating.Judges,
    answers: gate.Answers,
    max_loss: float,
) -> dict[str, Any]:
    """Accuracy before and after, on pictures that did not calibrate. Raises ExportError where too much is lost."""
    rows = gate.asked(folder, list(judges.squares), answers)
    told = np.array([[row["probabilities"][name] for name in bundle.classes] for row in rows])
    before, after = (float((each.argmax(axis=1) == judges.labels).mean()) for each in (judges.probabilities, told))
    apart = np.abs(told - judges.probabilities).max(axis=1)
    if not apart.mean() <= gate.CLOSE_INT8:
        raise ExportError(
            f"int8 may move a probability by {gate.CLOSE_INT8:g} in the mean; on {len(judges.labels):,} pictures it "
            f"moved them by {apart.mean():.3g}. Nothing was written. Give more pictures to --calibrate, of all kinds "
            f"that the model will see, or leave out --quantize."
        )
    if before - after > max_loss + 1e-9:
        raise ExportError(
            f"int8 may lose at most {max_loss:.1%} of accuracy; on {len(judges.labels):,} pictures it went from "
            f"{before:.1%} to {after:.1%}. Nothing was written. Give more pictures to --calibrate, or a "
            f"larger --max-loss, or leave out --quantize."
        )
    return {
        "precision": INT8,
        "calibrated_on": len(shows.squares),
        "judged_on": len(judges.labels),
        "accuracy_before": before,
        "accuracy_after": after,
        "answered_before": float(judges.answered.mean()),
        "answered_after": float(np.mean([not row["unknown"] for row in rows])),
        "probability_moved": {"mean": float(apart.mean()), "most": float(apart.max())},
    }
