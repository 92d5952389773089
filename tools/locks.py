"""Lock what is installed: `make lock` writes requirements/*.txt anew, each version with the hashes of its files.

    python tools/locks.py [--upgrade]    # needs uv and a package index
    python tools/locks.py --check        # needs neither; status 1 where a lock does not fit pyproject.toml

`make setup`, CI and the Dockerfile install by these files and by nothing else; pyproject.toml keeps the ranges that
users get. One file serves every Python and every system that pyproject.toml names: what differs stands behind a marker.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
OLDEST = "3.11"  # of the Pythons in pyproject.toml; markers say what newer ones get
# Each lock: what it is for, and the extras of pyproject.toml that it holds beside the dependencies of all.
USERS = (
    "train", "gpu", "jax", "fast", "heic", "litert", "tensorboard", "tune", "mlflow", "wandb",
    "ray", "remote", "shards",
)  # fmt: skip
EXTRAS = {
    "dev": ("`make setup` and CI: everything that the tests need", ("dev",)),
    "slim": ("the Dockerfile: what answers", ()),
    "fast": ("the Dockerfile with INSTALL=fast: what answers, and OpenVINO", ("fast",)),
    "users": ("`make audit` and the list of licences: everything that a user can install", USERS),
}
BUILD, TOOLS = "build", "tools"
OTHERS = {
    BUILD: "the Dockerfile and `make wheel-test`: what builds the wheel",
    TOOLS: "`make lock`, `make audit` and `make wheel-test`: tools that the product and its tests do not import",
}
NAMES = (*EXTRAS, *OTHERS)
# uv looks at the oldest Python that a release takes, not at the newest.
KEPT_BACK = ("backports-strenum<1.3",)  # 1.3 is for Python 3.10 and older


@dataclass(frozen=True, slots=True)
class Locked:
    """One distribution of a lock."""

    name: str  # as the index spells it, normalised
    version: str
    marker: Marker | None  # where it is installed; None: everywhere
    hashes: tuple[str, ...]  # "sha256:" and 64 hex digits, one a file


def wanted(name: str) -> list[str]:
    """What pyproject.toml asks for in a lock, a requirement a line, sorted; extras of our own are written out."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if name == BUILD:
        return sorted(document["build-system"]["requires"])
    if name == TOOLS:
        return sorted(document["dependency-groups"]["tools"])
    project, found, waiting = document["project"], set(document["project"]["dependencies"]), [*EXTRAS[name][1]]
    while waiting:
        for line in project["optional-dependencies"][waiting.pop()]:
            requirement = Requirement(line)
            if canonicalize_name(requirement.name) == project["name"]:
                waiting += requirement.extras
            else:
                found.add(line)
    return sorted(found)


def digest(requirements: list[str]) -> str:
    """By which a lock knows the requirements that it was made from: 64 hex digits."""
    return hashlib.sha256("\n".join(requirements).encode()).hexdigest()


def header(name: str) -> str:
    """The first lines of a lock."""
    purpose = EXTRAS[name][0] if name in EXTRAS else OTHERS[name]
    return (
        f"# For {purpose}.\n# Written by `make lock`; made from requirements with the SHA-256\n"
        f"# {digest(wanted(name))}\n"
    )


def read(name: str) -> list[Locked]:
    """The distributions of a lock, in its order."""
    text = re.sub(r"\\\n\s*", " ", (FOLDER / f"{name}.txt").read_text())
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            said, *hashes = re.split(r"\s+--hash=", line.strip())
            requirement = Requirement(said)
            ((operator, version),) = ((each.operator, each.version) for each in requirement.specifier)
            assert operator == "==", line
            found.append(Locked(canonicalize_name(requirement.name), version, requirement.marker, tuple(hashes)))
    return found


def problems() -> Iterator[str]:
    """A sentence for each place where a lock does not do what it is for."""
    kept: dict[tuple[str, str], str] = {}
    for name in NAMES:
        path = FOLDER / f"{name}.txt"
        if not path.exists():
            yield f"requirements/{name}.txt is not there; run: make lock"
            continue
        if not path.read_text().startswith(header(name)):
            yield f"requirements/{name}.txt was made from other requirements than pyproject.toml's; run: make lock"
        locked = read(name)
        for each in locked:
            if not each.hashes or not all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in each.hashes):
                yield f"requirements/{name}.txt has no hash for {each.name}; run: make lock"
        for line in wanted(name):
            requirement = Requirement(line)
            versions = [each.version for each in locked if each.name == canonicalize_name(requirement.name)]
            if not versions or not all(requirement.specifier.contains(each, prereleases=True) for each in versions):
                got = ", ".join(versions) or "nothing"
                yield f"requirements/{name}.txt must have {line}; it has {got}. Run: make lock"
        if name in ("slim", "fast", "dev"):  # what is shipped is what was tested
            for each in locked:
                key = (each.name, str(each.marker))
                if kept.setdefault(key, each.version) != each.version:
                    versions = f"{each.version} in requirements/{name}.txt, {kept[key]} in another"
                    yield f"{each.name} is {versions}. Run: make lock"


def compile_lock(name: str, uv: str, *, upgrade: bool) -> None:
    """Write a lock anew. What it and requirements/dev.txt say stays, where that still fits, unless `upgrade`."""
    path = FOLDER / f"{name}.txt"
    command = [uv, "pip", "compile", "-", "--universal", "--python-version", OLDEST, "--generate-hashes"]
    command += ["--no-annotate", "--no-header", "--quiet", "--output-file", str(path)]
    command += ["--upgrade"] if upgrade else []
    if name in EXTRAS and name != "dev":
        command += ["--constraints", str(FOLDER / "dev.txt")]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as kept_back:
        kept_back.write("\n".join(KEPT_BACK))
        kept_back.flush()
        command += ["--constraints", kept_back.name]
        subprocess.run(command, input="\n".join(wanted(name)), text=True, check=True, stdout=subprocess.DEVNULL)
    path.write_text(header(name) + path.read_text().removeprefix(header(name)))


def main() -> None:
    """Write the locks, or only look at them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that pyproject.toml allows")
    parser.add_argument("--check", action="store_true", help="write nothing, say what does not fit")
    options = parser.parse_args()
    if not options.check:
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
        if uv is None:
            sys.exit("uv must be installed to write the locks. Run: make lock")
        FOLDER.mkdir(exist_ok=True)
        for name in NAMES:
            compile_lock(name, uv, upgrade=options.upgrade)
            sys.stdout.write(f"requirements/{name}.txt: {len(read(name))} distributions\n")
    found = list(problems())
    sys.stdout.writelines(f"{problem}\n" for problem in found)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
