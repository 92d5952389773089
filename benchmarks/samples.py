"""Each export's sample program in a clean environment of its own, without tellapart, against `tellapart predict`.

    python benchmarks/samples.py MODEL.tellapart PHOTOS [--to onnx openvino …] [--count 40] [--work DIR]

For each format: export, make a virtual environment, install the folder's `requirements.txt` and nothing else, run its
`sample.py` over some pictures of PHOTOS, and compare with what `predict` says of the same files. The web format has no
sample; its page is checked in a browser by the export itself.

"apart" is the largest difference of a probability. `predict` decodes a large JPEG at a half, a quarter or an eighth,
and by another decoder than the samples' Pillow, so JPEGs differ by more than the networks do; PNGs do not. Seconds are
wall time of a process over all pictures less that over one, for each picture: decoding, resizing, network.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

from tellapart.files import walk

FORMATS = ("onnx", "openvino", "litert", "saved-model", "keras")


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def environment(folder: Path, requirements: Path) -> Path:
    """A new virtual environment with what a file of requirements names; its Python."""
    venv.create(folder, with_pip=True, clear=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", requirements], check=True)
    alone = subprocess.run([python, "-I", "-c", "import tellapart"], capture_output=True)
    if alone.returncode == 0:
        raise SystemExit(f"{folder} must have no tellapart; it has one.")
    return python


def answered(python: Path, folder: Path, pictures: list[Path]) -> tuple[list[dict[str, Any]], float]:
    """What the sample says of pictures, and the wall seconds of its process."""
    start = time.perf_counter()
    command = [python, "-I", folder / "sample.py", *pictures]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{folder}/sample.py must run by itself; it says: {done.stderr.strip()[-400:]}")
    return [json.loads(line) for line in done.stdout.splitlines()], seconds


def row(model: str, to: str, pictures: list[Path], expected: list[dict[str, Any]], work: Path) -> str:
    """One format's row of the table."""
    folder = work / to
    subprocess.run(
        [sys.executable, "-m", "tellapart", "export", model, "--to", to, "-o", folder, "--force"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    python = environment(work / f"venv-{to}", folder / "requirements.txt")
    answered(python, folder, pictures[:1])  # byte code is written, files are in the system's cache
    _, one_s = answered(python, folder, pictures[:1])
    rows, all_s = answered(python, folder, pictures)
    alike = sum(
        told["label"] == right["label"] and told["unknown"] == right["unknown"]
        for told, right in zip(rows, expected, strict=True)
    )
    apart = max(
        abs(told["probabilities"][name] - value)
        for told, right in zip(rows, expected, strict=True)
        for name, value in right["probabilities"].items()
    )
    cells = [
        f"`{to}`",
        f"{size(folder) / 1e6:.1f} MB",
        f"{size(work / f'venv-{to}') / 1e6:.0f} MB",
        f"{alike} of {len(rows)}",
        f"{apart:.5f}",
        f"{one_s:.1f} s",
        f"{(all_s - one_s) / (len(rows) - 1):.3f} s",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print a row for each format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("photos")
    parser.add_argument("--to", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--count", type=int, default=40, help="pictures, spread evenly over PHOTOS")
    parser.add_argument("--work", help="a folder to keep exports and environments in; by default a temporary one")
    asked = parser.parse_args()
    found = [Path(each.path).absolute() for each in walk(asked.photos) if each.reason is None]
    pictures = found[:: max(len(found) // asked.count, 1)][: asked.count]
    if len(pictures) < 2:
        parser.error(f"PHOTOS must hold at least 2 pictures; {asked.photos} has {len(found)}.")
    with tempfile.TemporaryDirectory(prefix="tellapart-bench-") as temporary:
        work = Path(asked.work or temporary)
        work.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tellapart", "predict", asked.model, *map(str, pictures), "--json", "-"]
        expected = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        print(f"{len(pictures)} pictures of {asked.photos}, by {asked.model}\n")
        print("| format | folder | environment | answers alike | apart | start and one picture | a picture |")
        print("|---|---|---|---|---|---|---|")
        for to in asked.to:
            print(row(asked.model, to, pictures, expected, work), flush=True)


if __name__ == "__main__":
    main()
