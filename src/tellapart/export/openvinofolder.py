"""A bundle for OpenVINO: the graph of `onnxgraph` in OpenVINO's own format."""

from __future__ import annotations

from pathlib import Path

from tellapart import streams
from tellapart.bundle import Bundle
from tellapart.export import onnxfolder, onnxgraph, quantizing
from tellapart.export.calibrating import Calibration
from tellapart.export.formats import Written

FILES = ("model.xml", "model.bin")


def write(bundle: Bundle, folder: Path, *, calibration: Calibration | None) -> Written:
    """Write `model.xml` and `model.bin`; see the head of this package."""
    model = bundle if calibration is None else quantizing.quantized(bundle, calibration)
    save(onnxgraph.build(model).SerializeToString(), folder)
    return Written(FILES, {"file": FILES[0]}, onnxfolder.NOTES)


def save(graph: bytes, folder: Path) -> None:
    """An ONNX graph as OpenVINO's two files."""
    openvino = streams.quiet_openvino()
    model = openvino.Core().read_model(graph)
    openvino.save_model(model, folder / FILES[0], compress_to_fp16=False)
