"""An ONNX graph and a batch to outputs, without Keras.

ONNX Runtime runs the graph: of the runtimes it starts fastest, which is what a single picture waits for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart import graphcheck
from tellapart.errors import BundleError

if TYPE_CHECKING:
    import onnxruntime

LOGITS, EMBEDDING, FEATURE_MAP = "logits", "embedding", "feature_map"


def quiet_onnxruntime() -> Any:
    """ONNX Runtime without its telemetry."""
    # Its wheel reports to its maker and keeps an identifier in the home folder; read when it is first loaded.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # on Windows it is this that counts
    return onnxruntime


def check(graph: bytes) -> None:
    """Raise BundleError unless these are the bytes of a graph that a runtime can be given, see `graphcheck`."""
    try:
        graphcheck.check(graph)
    except ValueError as error:
        raise BundleError(
            f"The graph must be one that ONNX Runtime or OpenVINO can open, and bounded; "
            f"{' '.join(str(error).split())[:300]}. Get the bundle again, or train anew."
        ) from error


def session(graph: bytes, *, threads: int, spinning: bool = True) -> onnxruntime.InferenceSession:
    """ONNX Runtime's session of a graph. Raises BundleError where the bytes are no graph that it can open.

    `spinning` lets its threads keep the cores while they wait for the next run: right where nothing computes between.
    """
    check(graph)
    onnxruntime = quiet_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    options.log_severity_level = 3  # errors; they come as exceptions too
    # A graph may name files to read weights from; ours holds its own, so a folder is named that has no files.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exceptions have no common base
        raise BundleError(
            f"The graph must be one that ONNX Runtime {onnxruntime.__version__} can open; it says: "
            f"{' '.join(str(error).split())[:300]}. Get the bundle again, or train anew."
        ) from error


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the graph says of a batch."""

    logits: np.ndarray  # float32 (B, C)
    embedding: np.ndarray  # float32 (B, D): what the last dense layer sees


def finite(outputs: Outputs) -> Outputs:
    """The same; BundleError where some are infinite or none (NaN), of which no answer can be made."""
    for name, values in ((LOGITS, outputs.logits), (EMBEDDING, outputs.embedding)):
        if not np.isfinite(values).all():
            raise BundleError(
                f"The graph must answer every picture with numbers; its {name} are infinite or none (NaN). "
                f"Get the bundle again, or train anew."
            )
    return outputs


class Engine:
    """A loaded graph: uint8 pictures (B, S, S, 3), RGB, 0–255, to float32 outputs.

    `inner` are outputs that were added behind the three of every bundle's graph.

    Raises:
        BundleError: the bytes are not such a graph.
    """

    def __init__(
        self, graph: bytes, *, threads: int | None = None, inner: Sequence[str] = (), spinning: bool = True
    ) -> None:
        # Whoever wants inner values computes with them, on the same cores.
        self._session = session(graph, threads=threads or os.cpu_count() or 1, spinning=spinning and not inner)
        inputs, outputs = self._session.get_inputs(), [o.name for o in self._session.get_outputs()]
        if len(inputs) != 1 or inputs[0].type != "tensor(uint8)" or len(inputs[0].shape) != 4:
            raise BundleError("The graph must have one input, uint8 (B, S, S, 3). Get the bundle again, or train anew.")
        if outputs != [LOGITS, EMBEDDING, FEATURE_MAP, *inner]:
            raise BundleError(
                f"The graph must have the outputs {LOGITS}, {EMBEDDING}, {FEATURE_MAP}; got {outputs}. Train anew."
            )
        logits = self._session.get_outputs()[0]
        if logits.type != "tensor(float)" or len(logits.shape) != 2:
            raise BundleError(
                f"The graph's {LOGITS} must be float32 (B, C); got {logits.type} {logits.shape}. Train anew."
            )
        self._input = inputs[0].name
        self.size_px: int = inputs[0].shape[1]
        self.n_classes: int = logits.shape[1]
        self.map_shape: tuple[int, ...] = tuple(self._session.get_outputs()[2].shape[1:])  # H, W, K

    def run(self, batch: np.ndarray) -> Outputs:
        """A batch, uint8 (B, S, S, 3), to its logits and embeddings."""
        logits, embedding = self._session.run([LOGITS, EMBEDDING], {self._input: batch})
        return finite(Outputs(np.asarray(logits), np.asarray(embedding)))

    def values(self, batch: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Outputs by name, float32 with a first axis of B, of a batch, uint8 (B, S, S, 3)."""
        found = self._session.run(list(names), {self._input: batch})
        return {name: np.asarray(value) for name, value in zip(names, found, strict=True)}

    def feature_map(self, batch: np.ndarray) -> np.ndarray:
        """The last map with a place to it, float32 (B, H, W, K), of a batch, uint8 (B, S, S, 3)."""
        return np.asarray(self._session.run([FEATURE_MAP], {self._input: batch})[0])
