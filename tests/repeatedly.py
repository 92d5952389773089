"""What must come out the same in another process: `python repeatedly.py PHOTOS FOLDER` writes it there."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

TRAININGS = {
    "transfer": {"recipe": "transfer", "backbone": "efficientnet-lite0", "size": 64, "fine_tune": False},
    "tutorial": {
        "recipe": "tutorial", "size": 32, "epochs": 1, "conv": [4, 8], "dense": [8], "precision": "float32", "seed": 3,
    },
}  # fmt: skip


def trained(name: str, photos: Path, folder: Path) -> bytes:
    """The bundle of a small training, in a cache of its own."""
    from tellapart import api

    file = folder / f"{name}.tellapart"
    api.train(photos, output=file, cache=folder / f"{name}-cache", progress=False, force=True, **TRAININGS[name])
    return file.read_bytes()


def graphs_of_networks() -> dict[str, str]:
    """SHA-256 of a graph from the backbone's writer and of one from Keras' exporter."""
    import keras
    import numpy as np

    from tellapart import backbones, config, graphs, models

    head = backbones.Head(np.ones((1280, 2), np.float32), np.zeros(2, np.float32))
    keras.utils.set_random_seed(5)
    model = models.build(config.SCRATCH.override(size_px=32, channels=(4, 8)), 3)
    made = {
        "backbone": backbones.graph(backbones.BACKBONES["efficientnet-lite0"], 64, head),
        "keras": graphs.to_onnx(graphs.in_float32(model)),
    }
    return {name: hashlib.sha256(graph).hexdigest() for name, graph in made.items()}


def exported(model: Path, folder: Path) -> dict[str, str]:
    """SHA-256 of every file of an export for ONNX Runtime, as our own code writes it."""
    from tellapart import bundle, golden, guards
    from tellapart.export import formats, onnxfolder, sidecar

    folder.mkdir()
    found, known = bundle.read(model), formats.find("onnx")
    held = guards.from_dict(found.manifest["abstention"])
    written = onnxfolder.write(found, folder, calibration=None)
    sidecar.write(folder, found, known, written, guards=held, golden=golden.of(found), quantized=None)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


if __name__ == "__main__":
    photos, folder = map(Path, sys.argv[1:])
    for each in TRAININGS:
        trained(each, photos, folder)
    (folder / "graphs").write_text(repr(graphs_of_networks()))
    (folder / "files").write_text(repr(exported(folder / "tutorial.tellapart", folder / "onnx")))
