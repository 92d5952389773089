"""Crafted model files, each opened in a process of its own: what is said of it, and what time and memory it takes.

    python benchmarks/hostile_bundles.py [--json FILE]

The files are those of `tests/hostilebundles.py`. Each process opens a good file first, so that what is measured is the
file and not the start of Python; then reads the crafted one, opens its graph, asks it about a picture and describes it.
A file fails that is not refused for what it is, that opens another file, a socket or a process, or that takes more
than 256 MiB beyond what there was before, or more than 2 s of processor time or, waiting included, 30 s. Some 150
files, two to three seconds each.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

TESTS = Path(__file__).resolve().parent.parent / "tests"
MOST_MEBIBYTES, MOST_CPU_S, MOST_WALL_S = 256, 2.0, 30.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the result here too")
    asked = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    import hostilebundles  # pyright: ignore[reportMissingImports]

    rows, failed = [], 0
    with tempfile.TemporaryDirectory(prefix="tellapart-") as name:
        folder = Path(name)
        Image.fromarray(np.zeros((20, 30, 3), np.uint8) + 90).save(folder / "picture.png")
        (folder / hostilebundles.CANARY).write_bytes(bytes(24))
        (folder / "good").write_bytes(hostilebundles.packed(hostilebundles.good()))
        for case in hostilebundles.every():
            (folder / "bad").write_bytes(case.content)
            before = hostilebundles.fingerprint(folder)
            command = [sys.executable, "-B", str(TESTS / "hostilechild.py"), "picture.png", "good", "bad"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            told = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"says": done.stderr[-300:]}
            right = re.search(case.says, told["says"]) is not None if case.says else told["says"] == ""
            clean = told.get("seen") == [] and hostilebundles.fingerprint(folder) == before
            quick = told.get("cpu", 1e9) <= MOST_CPU_S and told.get("seconds", 1e9) <= MOST_WALL_S
            small = quick and told.get("mebibytes", 1e9) <= MOST_MEBIBYTES
            failed += not (right and clean and small)
            row = {name: told.get(name) for name in ("cpu", "seconds", "mebibytes")}
            row |= {"name": case.name, "right": right, "clean": clean, "says": told["says"][:200]}
            rows.append(row)
            mark = "  " if right and clean and small else "!!"
            print(f"{mark} {row['cpu']:7.3f} s {row['mebibytes']:5d} MiB  {case.name}")
    worst = {key: max(row[key] for row in rows) for key in ("cpu", "seconds", "mebibytes")}
    cpu, wall, memory = (worst[key] for key in ("cpu", "seconds", "mebibytes"))
    print(f"{len(rows)} files, {failed} failed; at most {cpu:.2f} s of processor time ({wall:.2f} s) and {memory} MiB")
    if asked.json:
        asked.json.write_text(json.dumps({"failed": failed, "worst": worst, "files": rows}, indent=1))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
