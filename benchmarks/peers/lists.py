"""What the peers of `planted.py` keep: their command line, and a list of findings like `tellapart check --json`.

    python PEER.py PICTURES --json OUT

PICTURES has class folders, perhaps below train, validation and test. OUT gets

    findings   worst first, each with `kind`, `paths`, `message`; a group of twins is one finding
    cannot     the kinds that the peer does not look for
    skipped    what it could not read, with `path` and `reason`, where it says so
    notes      how it was run, where that is not its own way

The standard library alone, because every environment imports it.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
KINDS = (
    "unreadable",
    "leak",
    "label_conflict",
    "shortcut",
    "wrong_label",
    "exact_duplicate",
    "near_duplicate",
    "outlier",
)


def asked(doc: str | None) -> tuple[Path, Path]:
    """Read the command line, and shut the ways out that libraries take unasked; PICTURES and OUT."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, metavar="PICTURES")
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    options = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "SENTRY_OPT_OUT": "1", "NO_COLOR": "1"}
    return options.pictures.resolve(), options.json.resolve()


def files(pictures: Path) -> list[Path]:
    """Every file with a picture's ending, sorted."""
    return sorted(each for each in pictures.rglob("*") if each.suffix.lower() in ENDINGS and each.is_file())


def readable(paths: Sequence[Path]) -> list[Path]:
    """Those that Pillow decodes to the end: for peers that a broken file ends."""
    from PIL import Image

    found = []
    for path in paths:
        try:
            with Image.open(path) as image:
                image.load()
        except Exception:  # whatever a broken file brings about
            continue
        found.append(path)
    return found


def finding(kind: str, paths: Iterable[str | Path], message: str = "") -> dict[str, Any]:
    """One case."""
    return {"kind": kind, "paths": [str(path) for path in paths], "message": message}


def pairs(kind: str, neighbours: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Each pair once."""
    return [finding(kind, sorted(each)) for each in sorted({frozenset(each) for each in neighbours}, key=sorted)]


def write(
    out: Path,
    findings: Sequence[dict[str, Any]],
    *,
    looks_for: Iterable[str],
    skipped: Iterable[tuple[str, str]] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write OUT."""
    cannot = [each for each in KINDS if each not in set(looks_for)]
    reasons = [{"path": path, "reason": reason} for path, reason in skipped]
    out.write_text(json.dumps({"findings": findings, "cannot": cannot, "skipped": reasons, "notes": list(notes)}))
