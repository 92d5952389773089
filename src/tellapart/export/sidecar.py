"""What goes along with an exported model: facts for its sample program, requirements, a page of instructions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tellapart import provenance
from tellapart.bundle import Bundle
from tellapart.export import formats, sampletext
from tellapart.files import shown
from tellapart.golden import Golden
from tellapart.guards import Guards

FORMAT, FORMAT_VERSION = "tellapart-export", 1
FACTS, SAMPLE, REQUIREMENTS, README = "tellapart.json", "sample.py", "requirements.txt", "README.md"


def write(
    folder: Path,
    bundle: Bundle,
    known: formats.Format,
    written: formats.Written,
    *,
    guards: Guards,
    golden: Golden,
    quantized: dict[str, Any] | None,
) -> None:
    """Write them all into a folder that holds the model's files."""
    if known.sample is not None:
        _text(folder / SAMPLE, sampletext.text(known.sample))
        lines = ["# The versions with which this folder was checked.", *formats.requirements(known)]
        _text(folder / REQUIREMENTS, "\n".join(lines) + "\n")
    _text(folder / README, readme(bundle, known, written))
    values = facts(bundle, known, written, guards=guards, golden=golden, quantized=quantized)
    values["files"] = sorted({*files(folder), FACTS})
    _text(folder / FACTS, _json(values))


def facts(
    bundle: Bundle,
    known: formats.Format,
    written: formats.Written,
    *,
    guards: Guards,
    golden: Golden,
    quantized: dict[str, Any] | None,
) -> dict[str, Any]:
    """What `tellapart.json` holds, but for `files`; plain values."""
    told = bundle.manifest["provenance"]
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "to": known.name,
        "classes": list(bundle.classes),  # in the order of the probabilities
        "preprocess": dict(bundle.manifest["preprocess"]),
        "temperature": float(bundle.manifest["temperature"]),
        "guards": {**guards.as_dict(), "words": guards.words()},
        "model": written.facts,
        "quantized": quantized,
        "golden": golden.digest(),
        "provenance": {
            "graph": hashlib.sha256(bundle.members["model.onnx"]).hexdigest(),
            "created": told["created"],
            "recipe": told["recipe"].get("name"),
            "backbone": told.get("backbone"),
            "accuracy": {
                side: {"accuracy": each["accuracy"], "interval": each["accuracy_interval"], "pictures": each.get("n")}
                for side, each in bundle.manifest["metrics"].items()
            },
            "exported_by": f"tellapart {provenance.version()}",
            "versions": formats.requirements(known),
        },
    }


def readme(bundle: Bundle, known: formats.Format, written: formats.Written) -> str:
    """A page that says what is in the folder and how to run it."""
    size = int(bundle.manifest["preprocess"]["size_px"])
    some = ", ".join(shown(name) for name in bundle.classes[:10])
    more = f" and {len(bundle.classes) - 10:,} more" if len(bundle.classes) > 10 else ""
    lines = [
        f"# A picture classifier for {known.runtime}",
        "",
        f"It tells {len(bundle.classes):,} classes apart: {some}{more}. The network sees squares of {size} px.",
        "",
        *(f"- `{name}`: the model" for name in written.files),
        f"- `{FACTS}`: class names in order, how a picture becomes a square, thresholds, where the model comes from",
    ]
    if known.sample is not None:
        lines += [
            f"- `{SAMPLE}`: a program that answers pictures, to run or to copy from",
            f"- `{REQUIREMENTS}`: the packages that it needs",
            "",
            "```",
            f"pip install -r {REQUIREMENTS}",
            f"python {SAMPLE} PICTURE…",
            "```",
            "",
            "Each picture gives a line of JSON. `label` is null where the model declines to answer; `reason` says why.",
        ]
    lines += ["", *written.notes] if written.notes else []
    return "\n".join(lines) + "\n"


def files(folder: Path) -> list[str]:
    """The files below a folder, relative to it, with / between."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _json(values: dict[str, Any]) -> str:
    text = json.dumps(values, ensure_ascii=False, indent=1) + "\n"
    # A class name that is no text, as a folder's name can be, is written as escapes: the file stays UTF-8.
    return text if text.isascii() or _is_text(text) else json.dumps(values, indent=1) + "\n"


def _is_text(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _text(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
