"""Batches to outputs as fast as this machine can: a graph on all cores, several batches under way at once.

`engine` answers a single picture soonest; this module answers thousands. It runs the graph by OpenVINO, in bfloat16
where the processor multiplies it natively, or by ONNX Runtime, whichever a short measurement on the user's own
pictures finds fastest; a format that changes the outputs by more than rounding is not taken.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tellapart import choices, engine
from tellapart.errors import ClusterError, MissingPackageError

BATCH = 8  # pictures a request: more would not fit the cores' caches, and fewer would wait on each other
OPENVINO_BF16, OPENVINO_F32, ONNXRUNTIME = "openvino bfloat16", "openvino float32", "onnxruntime float32"
EXACT = (OPENVINO_F32, ONNXRUNTIME)  # those that do not round to fewer bits
CLOSE = 0.1  # how far the outputs may differ from float32's, as a share of their length; bfloat16 was 0.06 away
ROUND_S = 0.15  # a look at a way's speed takes this long, or one pass over the sample where that is longer


class _Requests(Protocol):
    """A graph that takes batches of one size, some of them at once."""

    slots: int  # how many requests may be under way

    def start(self, slot: int, batch: np.ndarray) -> None: ...

    def wait(self, slot: int) -> tuple[np.ndarray, ...]: ...


class Stream:
    """A graph on all cores: uint8 pictures (B, S, S, 3) to the outputs that are asked for."""

    def __init__(
        self, graph: bytes, outputs: Sequence[str], way: str, *, threads: int | None = None, batch: int = BATCH
    ) -> None:
        """`way` is one of `ways()`, `batch` the pictures a request."""
        make = _OnnxRuntime if way == ONNXRUNTIME else _OpenVino
        self.way, self.batch = way, batch
        self._requests: _Requests = make(graph, tuple(outputs), way, threads or os.cpu_count() or 1, batch)

    def run(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
        """Each batch, uint8 (B, S, S, 3), B from 1 to `batch`, to its outputs, float32 (B, …), in the order given.

        Batches are taken as they are needed: while some are computed, the next ones can be made.
        """
        slots, waiting = self.slots, deque[tuple[int, int]]()  # (slot, pictures)
        for i, batch in enumerate(batches):
            slot, n = i % slots, len(batch)
            if len(waiting) == slots:
                yield self._wait(*waiting.popleft())
            self._start(slot, batch)
            waiting.append((slot, n))
        while waiting:
            yield self._wait(*waiting.popleft())

    @property
    def slots(self) -> int:
        """How many batches may be under way at once."""
        return self._requests.slots

    def one(self, slot: int, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """One batch, as `run` has it, in a slot, 0 to `slots` - 1. Each slot may be used by a thread of its own."""
        self._start(slot, batch)
        return self._wait(slot, len(batch))

    def _start(self, slot: int, batch: np.ndarray) -> None:
        if len(batch) < self.batch:  # the graph has one size of batch, which is quicker
            batch = np.concatenate([batch, np.zeros((self.batch - len(batch), *batch.shape[1:]), np.uint8)])
        self._requests.start(slot, batch)

    def _wait(self, slot: int, n: int) -> tuple[np.ndarray, ...]:
        return tuple(output[:n] for output in self._requests.wait(slot))


def ways() -> list[str]:
    """The ways to run a graph that this machine has, the one that starts soonest first."""
    found = [ONNXRUNTIME]
    if importlib.util.find_spec("openvino"):
        found.append(OPENVINO_F32)
        if "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            found.append(OPENVINO_BF16)
    return found


def required(way: str) -> str:
    """The way itself. Raises ClusterError where this machine has not got it, so that answers would differ here."""
    if way not in (here := ways()):
        raise ClusterError(
            f"Every worker must run the graph by {way}, as was measured to be fastest where the command was given; "
            f"{platform.node()} has {' and '.join(here)} alone. Give the command on a machine like that one, or take "
            f"workers of one kind."
        )
    return way


def choose(graph: bytes, output: str, sample: np.ndarray, name: str, cache: Path) -> str:
    """The fastest way to run a graph on this machine, measured on `sample`, uint8 (N, S, S, 3), and kept in the cache.

    `name` says which graph it is. The way whose `output` is further than CLOSE from ONNX Runtime's is left out.
    """
    found = ways()
    key = choices.key("stream", name, sample.shape[1:], found, _versions())
    about = f"engine of {name.rpartition(' ')[0] or name} at {sample.shape[1]} px"
    return choices.chosen(about, key, cache, found.__contains__, lambda: _fastest(graph, output, sample, found))


def _fastest(graph: bytes, output: str, sample: np.ndarray, found: list[str]) -> str:
    if found == [ONNXRUNTIME]:
        return ONNXRUNTIME
    batches = [sample[i : i + BATCH] for i in range(0, len(sample), BATCH)]
    expected, speeds = np.zeros(0), dict[str, float]()
    for way in found:
        stream = Stream(graph, [output], way)
        got = np.concatenate([values for (values,) in stream.run(batches)])
        if way == ONNXRUNTIME:
            expected = got
        if np.linalg.norm(got - expected) <= CLOSE * np.linalg.norm(expected):
            speeds[way] = _speed(stream, batches)
    return max(speeds, key=speeds.__getitem__)


def _speed(stream: Stream, batches: list[np.ndarray]) -> float:
    """Pictures a second, over a moment."""
    n, start = 0, time.perf_counter()
    while n == 0 or time.perf_counter() - start < ROUND_S:
        n += sum(len(values) for (values,) in stream.run(batches))
    return n / (time.perf_counter() - start)


def _versions() -> tuple[str, ...]:
    import onnxruntime

    openvino = [quiet_openvino().__version__] if importlib.util.find_spec("openvino") else []
    return (onnxruntime.__version__, *openvino)


class _OnnxRuntime:
    """One batch after the other, each on all cores, by a thread of its own."""

    slots = 2

    def __init__(self, graph: bytes, outputs: tuple[str, ...], way: str, threads: int, batch: int) -> None:
        self._session, self._outputs = engine.session(graph, threads=threads), outputs
        self._input = self._session.get_inputs()[0].name
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tellapart-engine")
        self._under_way: dict[int, Any] = {}

    def start(self, slot: int, batch: np.ndarray) -> None:
        self._under_way[slot] = self._pool.submit(self._session.run, list(self._outputs), {self._input: batch})

    def wait(self, slot: int) -> tuple[np.ndarray, ...]:
        return tuple(map(np.asarray, self._under_way.pop(slot).result()))


class _OpenVino:
    """As many batches at once as there are cores, each on one of them."""

    def __init__(self, graph: bytes, outputs: tuple[str, ...], way: str, threads: int, batch: int) -> None:
        engine.check(graph)  # ONNX Runtime's way does so by itself
        ov, core = quiet_openvino(), _core()
        model = core.read_model(graph)
        kept = [model.output(name) for name in outputs]
        model = ov.Model([port.get_node().input_value(0) for port in kept], model.get_parameters())
        model.reshape([batch, *list(model.inputs[0].partial_shape)[1:]])
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if way == OPENVINO_BF16 else "f32",
            "NUM_STREAMS": str(threads),
            "INFERENCE_NUM_THREADS": str(threads),
            "ENABLE_CPU_PINNING": "NO",  # each process would take the same cores, the first ones
        }
        compiled = core.compile_model(model, "CPU", settings)
        self.slots = threads + 1  # one more than can run, so that none has to wait for its next batch
        self._requests = [compiled.create_infer_request() for _ in range(self.slots)]
        self._inputs: list[Any] = [None] * self.slots

    def start(self, slot: int, batch: np.ndarray) -> None:
        self._inputs[slot] = tensor = quiet_openvino().Tensor(np.ascontiguousarray(batch), shared_memory=True)
        self._requests[slot].set_input_tensor(0, tensor)
        self._requests[slot].start_async()

    def wait(self, slot: int) -> tuple[np.ndarray, ...]:
        request = self._requests[slot]
        request.wait()
        return tuple(np.array(tensor.data, np.float32) for tensor in request.output_tensors)


def quiet_openvino() -> Any:
    """OpenVINO without its telemetry: where that package cannot be imported, OpenVINO puts nothing in its place."""
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
    try:
        import openvino
    except ImportError as error:
        raise MissingPackageError(
            "OpenVINO must be installed to run a graph by it. Run: pip install openvino"
        ) from error
    return openvino


@functools.cache
def _core() -> Any:
    return quiet_openvino().Core()
