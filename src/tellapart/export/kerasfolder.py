"""The folder for plain Keras: the bundle's own `.keras` file, and the arrays that tell strangers."""

from __future__ import annotations

from pathlib import Path

from tellapart import kerasmodels, strangers
from tellapart.bundle import Bundle
from tellapart.export.calibrating import Calibration
from tellapart.export.formats import Written

FILE = "model.keras"
NOTES = (
    "`model.keras` is a plain Keras network of standard layers, not compiled, for squares, (batch, side, side, 3), "
    "RGB, 0–255; `square` in the sample makes them. Its answers are calibrated: the temperature is in the weights of "
    "its last dense layer already.",
)


def write(bundle: Bundle, folder: Path, *, calibration: Calibration | None) -> Written:
    """Write the network and, where the bundle has them, the arrays."""
    assert calibration is None  # there is no int8 of it
    kerasmodels.of_bundle(bundle.members["model.keras"])  # who gets the folder opens it by Keras' own loader
    names = [FILE]
    (folder / FILE).write_bytes(bundle.members["model.keras"])
    if strangers.MEMBER in bundle.members:
        (folder / strangers.MEMBER).write_bytes(bundle.members[strangers.MEMBER])
        names.append(strangers.MEMBER)
    return Written(tuple(names), {"path": FILE}, NOTES)
