"""Mutation testing: small wrong changes of what decides about a result, each of which must make a test fail.

    .venv/bin/python benchmarks/mutation.py                                   # all of [tool.mutmut] in pyproject.toml
    .venv/bin/python benchmarks/mutation.py --module splits --workers 1       # one of its modules

Mutants are made and tried by mutmut 3 (BSD licence) in a copy of the project, each with the tests that reach the
changed function, until one fails or a limit of CPU time is reached. Mutants that do the very same are listed, each with
its reason, in benchmarks/equivalent_mutants.toml; they count as survivors in `killed_share` and are left out of
`killed_share_without_equivalents`. Prints JSON by module, and writes the changes that no test noticed to --survivors.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.toml")
# What mutmut writes down of a mutant: the exit code of pytest, or the signal that ended it.
KINDS = {0: "survived", 1: "killed", 3: "killed", 5: "no tests", 33: "no tests", None: "not tried"}
TIMED_OUT = {-24, 24, 152, 36, 255}  # SIGXCPU: a limit of CPU time


def kind(code: int | None) -> str:
    """What became of a mutant."""
    return "timed out" if code in TIMED_OUT else KINDS.get(code, "crashed")


def change_of(name: str, copy: Path) -> list[str]:
    """The lines that a mutant takes out and puts in: ["-was", "+is"]."""
    shown = subprocess.run(
        [sys.executable, "-m", "mutmut", "show", name], cwd=copy, capture_output=True, text=True, check=True
    ).stdout
    lines = [line for line in shown.splitlines() if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    return [line[0] + " ".join(line[1:].split()) for line in lines]


def targeted(pyproject: str, module: str, modules: list[str]) -> str:
    """The project's settings with one module to be changed, and that module's own tests and properties alone."""
    others = "|".join(each for each in modules if each != module)
    return re.sub(
        rf'^ *"(src/tellapart/|tests/test_|tests/test_properties_)({others})\.py",\n', "", pyproject, flags=re.M
    )


def tried(module: str, modules: list[str], copy: Path, workers: int) -> dict[str, int | None]:
    """Mutants by name, with the exit code of their tests."""
    for part in ("src", "tests"):
        shutil.copytree(ROOT / part, copy / part, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "pyproject.toml").write_text(targeted((ROOT / "pyproject.toml").read_text(), module, modules))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HYPOTHESIS_PROFILE": "mutants"}
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(workers), f"tellapart.{module}.*"]
    done = subprocess.run(command, cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    written = copy / f"mutants/src/tellapart/{module}.py.meta"
    codes = json.loads(written.read_text())["exit_code_by_key"] if written.exists() else {}
    if all(code is None for code in codes.values()):
        sys.exit(f"mutmut ended with {done.returncode}:\n{done.stdout.decode(errors='replace')[-3000:]}")
    return codes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--module", help="one module, as `splits`; default: all of them")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, help="folder of the copies, kept; what was tried there is not tried again")
    parser.add_argument("--survivors", type=Path, help="a text file for the changes that no test noticed")
    parser.add_argument("--least", type=float, default=0.85, help="exit with 1 where less of a module is killed")
    args = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    every = [Path(each).stem for each in project["tool"]["mutmut"]["only_mutate"]]
    if args.module and args.module not in every:
        parser.error(f"--module must be one of {', '.join(every)}")
    excused = tomllib.loads(EQUIVALENT.read_text())
    report, unnoticed = {}, []
    with tempfile.TemporaryDirectory() as temporary:
        for module in [args.module] if args.module else every:
            copy, start = (args.work or Path(temporary)) / module, time.monotonic()
            codes = tried(module, every, copy, args.workers)
            counts = Counter(kind(code) for code in codes.values())
            equivalents = 0
            for name in (name for name, code in codes.items() if code is not None and kind(code) != "killed"):
                change = change_of(name, copy)
                reason = next((e["reason"] for e in excused.get(module, []) if e["change"] == change), None)
                equivalents += kind(codes[name]) == "survived" and reason is not None
                unnoticed.append(f"{name} ({kind(codes[name])}{'; equivalent: ' + reason if reason else ''})")
                unnoticed.extend(f"    {line}" for line in change)
            killed = counts["killed"] + counts["timed out"]
            report[module] = {
                "mutants": len(codes),
                **dict(sorted(counts.items())),
                "equivalent": equivalents,
                "killed_share": round(killed / len(codes), 4),
                "killed_share_without_equivalents": round(killed / (len(codes) - equivalents), 4),
                "seconds": round(time.monotonic() - start),
            }
    if args.survivors:
        args.survivors.write_text("\n".join(unnoticed) + "\n")
    print(json.dumps({"workers": args.workers, "least": args.least, "modules": report}, indent=1))
    if any(each["killed_share"] < args.least or each.get("not tried") for each in report.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
