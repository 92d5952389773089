"""The folder for LiteRT, on phones and small machines: one .tflite file, for one square, of built-in operations."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tellapart import golden, preprocess
from tellapart.bundle import Bundle
from tellapart.export import tfprocess
from tellapart.export.calibrating import Calibration
from tellapart.export.formats import Written

FILE = "model.tflite"
MOST_SHOWN = 100  # photos that set the ranges of int8: it takes a second for each five
NOTES = (
    "The model takes one square, uint8 (1, side, side, 3), RGB; `square` in the sample makes it from a picture of any "
    "size. Its signature `serving_default` gives `probabilities`, `logits` and, where the model tells strangers, "
    "`score`.",
)
IN_INT8 = (
    "The network computes in int8. Its last layer and the score do in float32, and what goes in and comes out is as "
    "in the float32 model.",
)


def write(bundle: Bundle, folder: Path, *, calibration: Calibration | None) -> Written:
    """Write the file, in int8 where there are pictures that calibrate. Raises ExportError where it cannot be made."""
    squares = None if calibration is None else _shown(bundle, calibration)
    tfprocess.written(bundle, tfprocess.LITERT, folder / FILE, squares)
    notes = NOTES if calibration is None else (*NOTES, *IN_INT8)
    return Written((FILE,), {"path": FILE, "signature": tfprocess.SIGNATURE}, notes)


def _shown(bundle: Bundle, calibration: Calibration) -> np.ndarray:
    """What sets the ranges of values, uint8 (N, S, S, 3).

    The golden pictures are among them: they go further than most pictures do.
    """
    how = preprocess.Preprocess.from_dict(bundle.manifest["preprocess"])
    drawn = [preprocess.fit(pixels, how) for pixels in golden.of(bundle).pictures]
    return np.concatenate([calibration.squares[:MOST_SHOWN], np.stack(drawn)])
