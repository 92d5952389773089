"""An evaluation of drawn pictures and a bundle made by hand, for the tests of reports."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from conftest import draw
from tellapart import bundle as bundles
from tellapart.bundle import Bundle
from tellapart.evaluation import Evaluation, Slice

HOSTILE = '<script>alert(1)</script>"\n\u202e'  # a class
NO_TEXT = os.fsdecode(b"caf\xe9.png")
NETWORK_CSV = """epoch,loss,accuracy,val_loss,val_accuracy,seconds
1,1.5,0.5,1.6,0.45,2
2,0.9,0.7,1.1,0.6,2
3,nan,0.8,1.2,0.55,2
"""
TRANSFER_CSV = "epoch,pictures,accuracy,val_loss,val_accuracy,seconds\n1,100,1.0,0.2,0.9,4\n"
FACTS: dict[str, Any] = {
    "name": "shapes.tellapart",
    "command": "tellapart report shapes.tellapart 'my photos'",
    "machine": "Linux x86_64, 2 cores",
    "bundle_bytes": 12_345_678,
    "seconds_per_picture": 0.0314,
    "report": {"train_accuracy": 0.99, "times": {"total": 12.3}, "notes": ["Read so."], "plan": {"reason": "Because."}},
}


def evaluation(
    counts: list[list[int]],
    *,
    classes: tuple[str, ...] = (),
    sure: float = 0.8,
    paths: tuple[str, ...] = (),
    **more: Any,
) -> Evaluation:
    """Answers as a confusion matrix counts them (row: right, column: answer), each `sure` but a trifle of its answer.

    The surest of each cell come first.
    """
    n_classes = len(counts)
    rows, labels = [], []
    for right, row in enumerate(counts):
        for answer, n in enumerate(row):
            for k in range(n):
                share = sure - 0.01 * k / n
                rest = (1 - share) / (n_classes - 1)
                rows.append([share if i == answer else rest for i in range(n_classes)])
                labels.append(right)
    names = classes or tuple(f"class {i}" for i in range(n_classes))
    here = paths or tuple(f"photos/{names[label]}/{i:03d}.png" for i, label in enumerate(labels))
    return Evaluation(names, np.array(rows), np.array(labels), here, **more)


def drawn(folder: Path) -> Evaluation:
    """60 pictures of three classes, one of which has a hostile name; 12 mistakes, 3 declined, one file broken."""
    counts = [[16, 4, 0], [6, 14, 0], [2, 0, 18]]
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(60):
        shape = ("circles", "squares", "triangles")[i // 20]
        name = {18: "<img src=x onerror=alert(1)>.png", 20: NO_TEXT, 40: 'a "b"\n\u202ec.png'}.get(i, f"{i:03d}.png")
        path = folder / shape / name
        path.parent.mkdir(exist_ok=True)
        draw(shape, i).save(path)
        paths.append(str(path))
    Path(paths[17]).write_bytes(b"")  # one of those taken for squares
    declined = tuple("It is only 79 % sure." if i in (3, 4, 50) else "" for i in range(60))
    return evaluation(
        counts,
        classes=("circles", HOSTILE, "triangles"),
        paths=tuple(paths),
        skipped=((str(folder / "circles" / NO_TEXT), "empty file (0 bytes)"),),
        declined=declined,
        slices=(Slice("brightness", "dark", 20, 8, True), Slice("brightness", "bright", 40, 40)),
        split="test",
        notes=("Two split folders.",),
    )


def bundle(classes: tuple[str, ...], *, history: str = NETWORK_CSV, recipe: str = "scratch", **more: Any) -> Bundle:
    """A bundle whose graph is none."""
    manifest = {
        "classes": list(classes),
        "preprocess": {"version": 1, "size_px": 64, "fit": "squash"},
        "temperature": 1.0,
        "abstention": {},
        "metrics": {},
        "training": {
            "epochs": 3,
            "best_epoch": 2,
            "pictures": {"train": 500, "validation": 50, "test": 60},
            "unused": 7,
        },
        "provenance": {
            "recipe": {"name": recipe, "size_px": 64},
            "seed": 5,
            "created": "2026-11-24T00:00:00+00:00",
            "machine": "Linux x86_64",
            "versions": {"python": "3.11.7", "tellapart": "0.1.0"},
            "catalog_fingerprint": "ab" * 32,
        },
        **more,
    }
    return bundles.make(
        manifest, graph=b"x" * 2_000_000, keras_file=b"", splits={}, history_csv=history, embeddings=np.zeros((0, 0))
    )


def warmed(path: str, label: int) -> np.ndarray:
    """A made-up heat map: the picture, its upper half red."""
    try:
        pixels = np.asarray(Image.open(path).convert("RGB")).copy()
    except OSError:
        return np.zeros((8, 8, 3), np.uint8)
    pixels[: len(pixels) // 2, :, 0] = 255
    return pixels


def png(side: int, seed: int) -> bytes:
    """A picture of noise as a PNG."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()
