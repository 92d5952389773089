"""The slim install, which answers and does not train: what it takes on the disk, and whether it does its work.

    python benchmarks/slim.py MODEL PICTURE [--python PYTHON] [--keep DIR]

Builds the wheel of this checkout, installs it without extras into a fresh environment that has nothing else, measures
that, and runs `predict`, `explain` and `serve` in it on one picture. No Keras, no TensorFlow, no scikit-learn may be
there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import load
import server

ROOT = Path(__file__).resolve().parent.parent
TARGET_MB = 400
HEAVY = ("keras", "tensorflow", "sklearn", "torch", "scipy", "onnx", "openvino", "pandas", "matplotlib", "jax")
SHOWN = 12  # packages

# The bytes of each distribution, by its own list of files.
WEIGH = """
import importlib.metadata, json, os
found = {}
for each in importlib.metadata.distributions():
    paths = {os.path.realpath(path.locate()) for path in each.files or ()}
    found[f"{each.name} {each.version}"] = sum(os.lstat(path).st_size for path in paths if os.path.isfile(path))
print(json.dumps(found))
"""
LOOK = "import importlib.util, sys; print(' '.join(n for n in sys.argv[1:] if importlib.util.find_spec(n)))"


def taken_mb(folder: Path) -> float:
    """What a folder takes on the disk, in 10⁶ bytes, each file once however many names it has."""
    seen: dict[tuple[int, int], int] = {}
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            status = os.lstat(os.path.join(place, name))
            seen[status.st_dev, status.st_ino] = 512 * status.st_blocks
    return sum(seen.values()) / 1e6


def install(home: Path, python: str) -> Path:
    """Build the wheel and install it, with bytecode, into an environment without pip; its interpreter."""
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _run([*pip, "wheel", "--no-deps", "--wheel-dir", home, ROOT])
    (wheel,) = home.glob("tellapart-*.whl")
    _run([python, "-m", "venv", "--without-pip", home / "slim"])
    inside = home / "slim" / "bin" / "python"
    _run([*pip, "--python", inside, "install", "--compile", wheel])
    return inside


def _run(command: list[str | Path], **more) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **more)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def works(python: Path, model: Path, picture: Path, home: Path) -> list[tuple[str, str]]:
    """Each command and what it answered; ends the run where one fails or two disagree."""
    tellapart = python.with_name("tellapart")
    # Another folder, no settings, nothing of this checkout: it is the wheel that answers.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TELLAPART", "XDG"))}
    environment = kept | {"HOME": str(home)}
    clean = {"cwd": home, "env": environment}
    said = [("tellapart --version", _run([tellapart, "--version"], **clean).strip())]
    answers = home / "answers.json"
    _run([tellapart, "predict", model, picture, "--json", answers], **clean)
    (first,) = json.loads(answers.read_text())
    said.append(("tellapart predict", f"{first['label']}, {first['probability']:.4f}"))
    _run([tellapart, "explain", model, picture, "-o", home / "why"], **clean)
    written = sorted(path.name for path in (home / "why").rglob("*") if path.is_file())
    said.append(("tellapart explain", ", ".join(written[:4])))
    port = server.free_port()
    command = [tellapart, "serve", model, "--port", str(port)]
    with server.Server(command, port, home / "serve.log", environment=environment, folder=home) as service:
        body, kind = load.body("multipart", [(picture.name, picture.read_bytes())])
        status, answer = service.ask("POST", "/v1/predict", body, {"Content-Type": kind})
        if status != 200:
            sys.exit(f"tellapart serve answered with {status}: {answer[:500]!r}")
        (second,) = json.loads(answer)["predictions"]
        memory, ended = service.memory_mb(), service.stop()
    if second["label"] != first["label"] or abs(second["probability"] - first["probability"]) > 1e-3:
        sys.exit(f"predict and serve must agree; got {first} and {second}.")
    words = f"{second['label']}, {second['probability']:.4f}; ready after {service.cold_s:.2f} s, {memory:.0f} MB"
    said.append(("tellapart serve", f"{words}, exit status {ended.status}"))
    return said


def main() -> None:
    """Install, weigh, run; print two tables; end with status 1 where it is over the target or has what it must not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .tellapart file")
    parser.add_argument("picture", type=Path, metavar="PICTURE")
    parser.add_argument("--python", default=sys.executable, metavar="PYTHON", help="with pip [default: this one]")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="install there and leave it; DIR must not exist")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tellapart-slim-") as temporary:
        home = (options.keep or Path(temporary, "home")).resolve()
        home.mkdir(parents=True)
        python = install(home, options.python)
        size = taken_mb(home / "slim")
        packages = json.loads(_run([python, "-c", WEIGH]))
        heavy = _run([python, "-c", LOOK, *HEAVY]).split()
        print(f"| package | MB |\n|---|---|\n| **the environment, {len(packages)} packages** | **{size:.0f}** |")
        ranked = sorted(packages.items(), key=lambda item: -item[1])
        for name, weight in ranked[:SHOWN]:
            print(f"| {name} | {weight / 1e6:.1f} |")
        rest = sum(weight for _, weight in ranked[SHOWN:])
        print(f"| {max(0, len(ranked) - SHOWN)} others | {rest / 1e6:.1f} |", flush=True)
        print("\n| command in it | says |\n|---|---|")
        for command, answer in works(python, options.model.resolve(), options.picture.resolve(), home):
            print(f"| `{command}` | {answer} |", flush=True)
    if heavy:
        sys.exit(f"The slim install must be without {', '.join(heavy)}.")
    if size > TARGET_MB:
        sys.exit(f"The slim install must take {TARGET_MB} MB at the most; it takes {size:.0f} MB.")


if __name__ == "__main__":
    main()
