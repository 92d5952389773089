"""A bundle for ONNX Runtime: one graph from a decoded picture to calibrated probabilities."""

from __future__ import annotations

from pathlib import Path

from tellapart.bundle import Bundle
from tellapart.export import onnxgraph
from tellapart.export.calibrating import Calibration
from tellapart.export.formats import Written

FILE = "model.onnx"
NOTES = ("The graph takes `pictures`, uint8 (batch, height, width, 3), RGB, of any size, and resizes them itself.",)


def write(bundle: Bundle, folder: Path, *, calibration: Calibration | None) -> Written:
    """Write `model.onnx`; see the head of this package."""
    (folder / FILE).write_bytes(onnxgraph.build(bundle).SerializeToString())
    return Written((FILE,), {"file": FILE}, NOTES)
