"""A bundle's graph in int8: weights by channel, values between layers by the ranges that pictures show.

ONNX Runtime's quantizer puts pairs of QuantizeLinear and DequantizeLinear around layers (static QDQ), which ONNX
Runtime and OpenVINO both run in whole numbers. What stands before and behind the network stays float32, and so do its
last layer and as many of its first ones as it takes: all others build on what those round. On EfficientNet-Lite2 the
weights of the first 10 of 65 layers, rounded, moved the answers to drawn pictures by four fifths of what all weights
did together.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import bundle as bundles
from tellapart import engine, golden, metrics, preprocess, strangers, tempfolders
from tellapart.bundle import Bundle
from tellapart.engine import Engine
from tellapart.export.calibrating import Calibration

GRAPH = "model.onnx"  # of a bundle
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
SPARED = (0, 2, 4, 8, 12, 16)  # first layers that stay float32: tried in this order
MOST_SPARED = 1 / 3  # of all layers
NEAR = 0.05  # of a probability of a golden picture: then no more layers are spared
MOST_SHOWN = 100  # pictures that set ranges
BATCH = 8


def quantized(bundle: Bundle, calibration: Calibration) -> Bundle:
    """The same bundle with a graph in int8, of the same input and outputs.

    The golden pictures help to set the ranges, since they go further than most pictures do. The score of strangeness is
    set anew for the rounded network, by the pictures that calibrate.
    """
    how = preprocess.Preprocess.from_dict(bundle.manifest["preprocess"])
    kept = golden.of(bundle)
    drawn = np.stack([preprocess.fit(pixels, how) for pixels in kept.pictures])
    shown = calibration.squares[:MOST_SHOWN]
    best: tuple[float, bytes] | None = None
    for graph in _graphs(bundle.members[GRAPH], np.concatenate([shown, drawn])):
        told = metrics.softmax(Engine(graph).run(drawn).logits, float(bundle.manifest["temperature"]))
        off = float(np.abs(told - kept.probabilities).max())
        if best is None or off < best[0]:
            best = off, graph
        if off <= NEAR:
            break
    assert best is not None
    return _settled(bundles.extended(bundle, GRAPH, best[1]), bundle, shown)


def _settled(rounded: Bundle, bundle: Bundle, shown: np.ndarray) -> Bundle:
    """With strangeness for the rounded network: where it finds pictures stranger throughout, that is taken off."""
    known = bundle.members.get(strangers.MEMBER)
    if known is None:
        return rounded
    both = []
    for each in (bundle, rounded):
        running = Engine(each.members[GRAPH])
        outputs = [running.run(shown[i : i + BATCH]) for i in range(0, len(shown), BATCH)]
        both.append((np.concatenate([o.embedding for o in outputs]), np.concatenate([o.logits for o in outputs])))
    allowing = strangers.Strangers.from_bytes(known).allowing(*both)
    return bundles.extended(rounded, strangers.MEMBER, allowing.to_bytes())


def _graphs(graph: bytes, squares: np.ndarray) -> Iterator[bytes]:
    """The graph in int8, each time with more of its first layers in float32."""
    import onnx

    quantization = _quantization()
    with tempfolders.private() as folder, _silent():
        source = Path(folder, "float32.onnx")
        model = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph))
        for i, node in enumerate(model.graph.node):
            node.name = node.name or f"node_{i}"
        onnx.save(model, source)
        kinds = sorted({*LAYERS, "Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "MaxPool", "Mul", "Relu"})
        calibrator = quantization.create_calibrator(
            source,
            kinds,
            augmented_model_path=str(Path(folder, "shown.onnx")),
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
        calibrator.collect_data(_reader(model.graph.input[0].name, squares))
        ranges = calibrator.compute_data()
        del calibrator  # it holds the file
        layers = [i for i, node in enumerate(model.graph.node) if node.op_type in LAYERS]
        for n_spared in SPARED:
            if n_spared > MOST_SPARED * len(layers):
                return
            first = layers[n_spared - 1] if n_spared else layers[0] - 1
            spared = [node.name for i, node in enumerate(model.graph.node) if i <= first or i >= layers[-1]]
            quantizer = quantization.QDQQuantizer(
                onnx.load(source),
                per_channel=True,
                reduce_range=False,
                weight_qType=quantization.QuantType.QInt8,
                activation_qType=quantization.QuantType.QUInt8,
                tensors_range=ranges,
                nodes_to_quantize=[],
                nodes_to_exclude=spared,
                op_types_to_quantize=kinds,
                extra_options={},
            )
            quantizer.quantize_model()
            quantizer.model.topological_sort()
            yield quantizer.model.model.SerializeToString()


def _quantization() -> Any:
    engine.quiet_onnxruntime()
    from onnxruntime import quantization

    return quantization


def _reader(name: str, squares: np.ndarray) -> Any:
    quantization = _quantization()

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(squares)

        def get_next(self) -> dict[str, np.ndarray] | None:
            square = next(self._left, None)
            return None if square is None else {name: square[None]}

    return Reader()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without the hints that the quantizer gives to programmers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
