"""What a person waits for before anything happens: `--help`, and `predict` on one picture, from the shell.

    python benchmarks/start.py [--runs 7]

Trains a small bundle on scikit-learn's digits first, at 64 px, so that the network is the one of the photos.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tellapart import demo


def timed(command: list[str], runs: int) -> list[float]:
    """Wall seconds of each run after one warm-up."""
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def main() -> None:
    """Print a row for each command: the least, the middle and the most of its runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="tellapart-bench-") as folder:
        photos, bundle = Path(folder, "digits"), Path(folder, "digits.tellapart")
        demo.write_digits(photos)
        command = [sys.executable, "-m", "tellapart"]
        training = [*command, "train", str(photos), "--size", "64", "--epochs", "1", "--cache", f"{folder}/cache"]
        subprocess.run([*training, "-o", str(bundle)], check=True, stdout=subprocess.DEVNULL)
        picture = str(next(iter(sorted(photos.rglob("*.png")))))
        print("| command | least | median | most |\n|---|---|---|---|")
        for name, arguments in (
            ("tellapart --help", ["--help"]),
            ("tellapart predict MODEL one.png", ["predict", str(bundle), picture]),
            ("tellapart info MODEL", ["info", str(bundle)]),
        ):
            seconds = timed([*command, *arguments], runs)
            figures = (min(seconds), statistics.median(seconds), max(seconds))
            print(f"| `{name}` | " + " | ".join(f"{figure:.2f} s" for figure in figures) + " |", flush=True)


if __name__ == "__main__":
    main()
