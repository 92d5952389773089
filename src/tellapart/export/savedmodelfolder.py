"""The folder for TensorFlow: a SavedModel that takes pictures of any size, as TensorFlow Serving wants it."""

from __future__ import annotations

from pathlib import Path

from tellapart.bundle import Bundle
from tellapart.export import tfprocess
from tellapart.export.calibrating import Calibration
from tellapart.export.formats import Written

PATH = "model/1"  # TensorFlow Serving looks for a folder of versions
NOTES = (
    "`model` is what TensorFlow Serving calls a base path; its signature `serving_default` takes `pictures`, uint8 "
    "(batch, height, width, 3), RGB, upright, of any height and width, those of one batch alike. It gives "
    "`probabilities`, `logits`, `embedding` and, where the model tells strangers, `score`:",
    "",
    "```",
    'docker run -p 8501:8501 -v "$PWD/model:/models/classifier" -e MODEL_NAME=classifier tensorflow/serving',
    "```",
)


def write(bundle: Bundle, folder: Path, *, calibration: Calibration | None) -> Written:
    """Write the SavedModel. Raises ExportError where TensorFlow cannot write the network."""
    assert calibration is None  # there is no int8 of it
    target = folder / PATH
    target.parent.mkdir()
    tfprocess.written(bundle, tfprocess.SAVED_MODEL, target)
    return Written((PATH,), {"path": PATH, "signature": tfprocess.SIGNATURE}, NOTES)
