"""A bundle for ONNX Runtime: one graph from a decoded picture to calibrated probabilities."""

from __future__ import annotations

from pathlib import Path

from tellapart.bundle import Bundle
from tellapart.export import onnxgraph, quantizing
from tellapart.export.calibrating import Calibration
from tellapart.export.formats import Written

FILE = "model.onnx"
INT8_NOTE = (
    "It computes in whole numbers of 8 bits where that pays. On x86 processors without VNNI ONNX Runtime's sums may "
    "overflow: compare a few answers there with those of the model itself."
)
NOTES = ("The graph takes `pictures`, uint8 (batch, height, width, 3), RGB, of any size, and resizes them itself.",)


def write(bundle: Bundle, folder: Path, *, calibration: Calibration | None) -> Written:
    """Write `model.onnx`; see the head of this package."""
    model = bundle if calibration is None else quantizing.quantized(bundle, calibration)
    (folder / FILE).write_bytes(onnxgraph.build(model).SerializeToString())
    return Written((FILE,), {"file": FILE}, NOTES if calibration is None else (*NOTES, INT8_NOTE))
