"""A table of labels of ten million rows: seconds and memory to read it beside a folder of few pictures.

    python benchmarks/labels.py [--rows N] [--json FILE]

Three tables: rows that each name one of 1,000 pictures; rows of which none names a file; and one whose first quote is
never closed, so that all the rest would be one cell. Each is read in a process of its own; memory is the highest that
the process had beyond what it had before reading.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PICTURES = 1000
TABLES: dict[str, Callable[[int], str]] = {
    "each names a picture": lambda i: f"class{i % 5}/{i % PICTURES:04d}.jpg,class{i % 5}\n",
    "none names a file": lambda i: f"elsewhere/{i}.jpg,class{i % 5}\n",
    "a quote stays open": lambda i: f"{chr(34) if i == 0 else ''}class{i % 5}/{i:08d}.jpg,class{i % 5}\n",
}
CHILD = """
import json, sys, time
from tellapart import tables
from tellapart.errors import InputError

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) // 1024

before, start = peak(), time.perf_counter()
try:
    plan = tables.plan_table(sys.argv[1], sys.argv[2], None, None, None, None)
    said = f"{len(plan.pictures):,} pictures; {plan.notes[1]}"
except InputError as error:
    said = str(error)
print(json.dumps({"seconds": time.perf_counter() - start, "mebibytes": peak() - before, "said": said}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--json", type=Path, help="write the result here too")
    asked = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="tellapart-") as name:
        photos, table = Path(name, "photos"), Path(name, "labels.csv")
        for i in range(PICTURES):
            path = photos / f"class{i % 5}" / f"{i:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\xff\xd8\xff\xe0")
        for kind, row in TABLES.items():
            with table.open("w", encoding="utf-8") as file:
                file.write("path,label\n")
                file.writelines(map(row, range(asked.rows)))
            start = time.perf_counter()
            said = subprocess.run(
                [sys.executable, "-c", CHILD, str(photos), str(table)], capture_output=True, text=True
            )
            if said.returncode:
                sys.exit(said.stderr)
            found[kind] = {**json.loads(said.stdout), "process_seconds": time.perf_counter() - start,
                           "bytes": table.stat().st_size}  # fmt: skip
            one = found[kind]
            print(f"{kind}, {one['bytes'] / 1e6:.0f} MB: {one['seconds']:.1f} s, {one['mebibytes']} MiB")
            print(f"  {one['said'][:200]}")
    if asked.json:
        asked.json.write_text(json.dumps({"rows": asked.rows, "tables": found}, indent=1))


if __name__ == "__main__":
    main()
