"""A backbone with its head as a `.keras` file, written by a process of its own while the pictures are looked at.

Building and saving a Keras model needs Keras, and Keras on TensorFlow takes some four seconds to begin, which a
classifier on frozen features needs for nothing else. The process runs beside the others, on Keras' OpenVINO backend,
which begins at once, where that is there. What it writes is the same file: it holds no backend's code.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import tempfolders
from tellapart.backbones import Head
from tellapart.errors import BackboneError

TENSOR = "tensor:"  # before the name of a changed weight


class Writer:
    """The process that waits for a head. Used as a context manager, which ends it."""

    def __init__(self, backbone: str, size_px: int) -> None:
        environment = dict(os.environ)
        if importlib.util.find_spec("openvino"):
            environment["KERAS_BACKEND"] = "openvino"
        with contextlib.ExitStack() as made:
            folder = made.enter_context(tempfolders.private())
            self._path = folder / "model.keras"
            self._errors = made.enter_context((folder / "errors").open("w+b"))
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, backbone, str(size_px), str(self._path)],
                stdin=subprocess.PIPE,
                stdout=self._errors,
                stderr=self._errors,
                env=environment,
            )
            self._made = made.pop_all()  # to be closed with the process

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        with self._made:
            if self._process.poll() is None:
                self._process.kill()
            self._process.communicate()

    def write(self, head: Head, tensors: dict[str, np.ndarray] | None = None) -> bytes:
        """The file of the backbone with `head`; `tensors` take the place of the backbone's own weights."""
        sent = io.BytesIO()
        changed: dict[str, Any] = {f"{TENSOR}{name}": value for name, value in (tensors or {}).items()}
        np.savez(sent, kernel=head.kernel, bias=head.bias, **changed)
        self._process.communicate(sent.getvalue())
        if self._process.returncode:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise BackboneError(
                f"Keras must be able to write the network; its process ended with status {self._process.returncode}: "
                f"{' '.join(said)[:300]}. Run: pip install --upgrade 'tellapart[train]'"
            )
        return self._path.read_bytes()


def main(backbone: str, size_px: str, path: str) -> None:
    """Build the network, wait for the head on standard input, write the file."""
    if os.environ.get("KERAS_BACKEND") == "openvino":
        # Keras looks for TensorFlow's shapes in what it saves; there are none, and looking takes seconds.
        sys.modules["tensorflow"] = None  # pyright: ignore[reportArgumentType]
        sys.modules["openvino_telemetry"] = None  # pyright: ignore[reportArgumentType] - see `streams`
    from tellapart import backbones, graphs

    known = backbones.known(backbone)
    body = backbones.network(known, int(size_px))
    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as sent:
        head = Head(sent["kernel"], sent["bias"])
        tensors = {name.removeprefix(TENSOR): sent[name] for name in sent.files if name.startswith(TENSOR)}
    if tensors:
        body = backbones.network(known, int(size_px), tensors)
    Path(path).write_bytes(graphs.keras_file(backbones.with_head(body, head)))


if __name__ == "__main__":
    main(*sys.argv[1:])
