"""Build the archives that users get, and try the wheel where nothing of this checkout is: `make wheel-test`.

    python tools/archives.py [--folder FOLDER]

The wheel is built from the unpacked source archive, so that is complete too. It is installed twice, by the locks:
without extras, where it answers (predict, explain, serve), and with everything that learns, where it trains a model,
runs the demo and passes tests that need no checkout. Environments that stand in FOLDER already are used again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Tests of the road from a folder of pictures to an answer; they read nothing but the package and what they draw.
TESTS = ("test_exported_members", "test_classifier", "test_bundle", "test_predict", "test_htmlpage", "test_webfolder")
WHERE = "import tellapart, sysconfig; print(tellapart.__file__); print(sysconfig.get_path('purelib'))"
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TELLAPART", "XDG"))}


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """A command's output; ends everything where it fails."""
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=cwd, env=CLEAN | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def build(source: Path, target: Path, kind: str) -> Path:
    """The archive of a source folder, "sdist" or "wheel"; by the hatchling of this Python, without a network."""
    target.mkdir(parents=True, exist_ok=True)
    run(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", target, cwd=source)
    (archive,) = target.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return archive


def unpack(archive: Path, target: Path) -> Path:
    """The folder that a source archive holds."""
    with tarfile.open(archive) as tar:
        tar.extractall(target, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # 3.11.4 and newer
    (folder,) = target.iterdir()
    return folder


def environment(folder: Path, lock: str, wheel: Path) -> Path:
    """The Python of an environment that has a lock's distributions and the wheel, and nothing of this checkout."""
    python = folder / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", folder, cwd=ROOT)
        run(python, ROOT / "tools" / "install.py", lock, cwd=ROOT)
    run(python, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel, cwd=folder)
    module, site = run(python, "-c", WHERE, cwd=folder).split()
    if not Path(module).is_relative_to(site):
        sys.exit(f"The installed wheel must be what is imported; that was {module}.")
    return python


def main() -> None:
    """Build, install, try; a line for each thing that worked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "wheel-test", metavar="FOLDER")
    folder: Path = parser.parse_args().folder.resolve()
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    archive = build(ROOT, work / "sdist", "sdist")
    wheel = build(unpack(archive, work / "unpacked"), work / "wheel", "wheel")
    for path in (archive, wheel):
        print(f"{path.name}: {path.stat().st_size:,} bytes, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")

    learner = environment(folder / "train", "dev", wheel)
    tellapart = learner.with_name("tellapart")
    shutil.copytree(ROOT / "tests", work / "tests")  # beside nothing that could be imported instead
    chosen = [work / "tests" / f"{name}.py" for name in TESTS]
    own = {"TELLAPART_CACHE": str(work / "cache"), "TELLAPART_RUNS": str(work / "runs.jsonl"), "HOME": str(work)}
    print("with [train]: demo", flush=True)
    run(tellapart, "demo", "-o", work / "demo", "--recipe", "tutorial", "--epochs", "2", cwd=work, **own)
    photos, model = work / "demo" / "photos", work / "model.tellapart"
    run(tellapart, "train", photos, "-o", model, "--backbone", "efficientnet-lite0", cwd=work, **own)
    print("with [train]: train", flush=True)
    said = run(learner, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, cwd=work, **own)
    print(f"with [train]: tests, {said.strip().splitlines()[-1]}", flush=True)

    slim = environment(folder / "slim", "slim", wheel)
    tellapart = slim.with_name("tellapart")
    run(tellapart, "--help", cwd=work, **own)
    run(tellapart, "info", model, cwd=work, **own)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import slim as answering

    picture = next(photos.rglob("*.png"))
    for command, answer in answering.works(slim, model, picture, work):
        print(f"slim: {command}: {answer}", flush=True)


if __name__ == "__main__":
    main()
