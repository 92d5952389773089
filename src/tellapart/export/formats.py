"""The formats that a bundle can be exported to, and which module writes each."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass, field
from typing import Any

from tellapart.errors import MissingPackageError, SettingsError


@dataclass(frozen=True, slots=True)
class Format:
    """What is known of a format without loading its runtime."""

    name: str  # as `--to` has it
    runtime: str  # what runs it, in words
    module: str  # in this package, see the head of it
    needs: tuple[str, ...]  # distributions that the sample needs; alternatives with | between
    imports: tuple[str, ...]  # modules that writing and checking it need
    extra: str  # of this package, that brings them
    sample: str | None = None  # its text in `samples/`; None where it has no `sample.py`
    quantizes: bool = True  # whether there is an int8 of it


@dataclass(frozen=True, slots=True)
class Written:
    """What the module of a format has put into a folder."""

    files: tuple[str, ...]  # the model's files, relative to the folder, with / between
    facts: dict[str, Any] = field(default_factory=dict)  # for the sample: becomes `model` of tellapart.json
    notes: tuple[str, ...] = ()  # sentences for the folder's README: limits, memory, what is special


_ALL = (
    Format(
        "onnx",
        "ONNX Runtime",
        "onnxfolder",
        ("onnxruntime", "numpy", "Pillow"),
        ("onnx", "onnxruntime"),
        "train",
        "sample_onnx.py",
    ),
    Format(
        "openvino",
        "OpenVINO",
        "openvinofolder",
        ("openvino", "numpy", "Pillow"),
        ("onnx", "openvino"),
        "train",
        "sample_openvino.py",
    ),
    Format(
        "litert",
        "LiteRT",
        "litertfolder",
        ("ai-edge-litert", "numpy", "Pillow"),
        ("keras", "tensorflow", "ai_edge_litert"),
        "train,litert",
        "sample_litert.py",
    ),
    Format(
        "saved-model",
        "TensorFlow",
        "savedmodelfolder",
        ("tensorflow-cpu|tensorflow", "numpy", "Pillow"),
        ("keras", "tensorflow"),
        "train",
        "sample_saved_model.py",
        quantizes=False,
    ),
    Format(
        "keras",
        "Keras",
        "kerasfolder",
        ("keras", "tensorflow-cpu|tensorflow", "numpy", "Pillow"),
        ("keras", "tensorflow"),
        "train",
        "sample_keras.py",
        quantizes=False,
    ),
    Format("web", "a web browser", "webfolder", (), ("onnx",), "train"),
)
FORMATS = {each.name: each for each in _ALL}


def find(name: str) -> Format:
    """The format of a name. Raises SettingsError where there is none."""
    if name not in FORMATS:
        raise SettingsError(f"`to` must be one of {', '.join(FORMATS)}; got {name!r}. Name one of them.")
    return FORMATS[name]


def module(known: Format) -> Any:
    """The module that writes a format. Raises MissingPackageError where it could not."""
    missing = [name for name in known.imports if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"{', '.join(missing)} must be installed to export for {known.runtime} and to check the result. "
            f"Run: pip install 'tellapart[{known.extra}]'"
        )
    return importlib.import_module(f"tellapart.export.{known.module}")


def requirements(known: Format) -> list[str]:
    """What the sample needs, in the versions that are installed here: lines of a requirements.txt."""
    lines = []
    for alternatives in known.needs:
        for name in alternatives.split("|"):
            try:
                lines.append(f"{name}=={importlib.metadata.version(name)}")
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return lines
