"""How large each export of a model is, how far its answers are from the model's, and how fast its sample answers.

    python benchmarks/exports.py MODEL [--to onnx litert …] [--calibrate PHOTOS] [--rounds 15] [--size H W]

The model is exported to each format, in float32 and, with `--calibrate`, in int8 where there is one. Then every
folder's own `sample.py` answers one picture, in a process of its own that stays open, on as many cores as `--threads`
says; the processes are asked in turn, so that what else the machine does slows all alike, and each is asked a few times
in a row, so that it is not measured cold. The picture is one square as the network sees it, or of `--size`, height and
width in px: then the resize is in the time. Printed, as a Markdown table: megabytes of the model's files, the largest
difference of a probability on the golden pictures, and milliseconds a picture: the median of the rounds, the fastest
and the slowest.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tellapart import bundle as bundles
from tellapart.errors import TellapartError
from tellapart.export import exporting, formats

IN_A_ROW = 5  # questions a round, of which the first is not counted

# A folder's sample, or the model itself, that answers one picture as often as it is told to.
ASKED = """
import json, runpy, sys, time
import numpy as np
place, picture = sys.argv[1], np.load(sys.argv[2])
if place.endswith(".tellapart"):
    import tellapart
    answer = tellapart.load(place).predict
else:
    answer = runpy.run_path(place + "/sample.py")["Classifier"](place)
print("ready", flush=True)
for line in sys.stdin:
    took = []
    for _ in range(int(line)):
        start = time.perf_counter()
        answer(picture)
        took.append(1000 * (time.perf_counter() - start))
    print(json.dumps(took[1:]), flush=True)
"""


class Asked:
    """A process that answers."""

    def __init__(self, place: Path, picture: Path, threads: int) -> None:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", ASKED, str(place), str(picture)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )

    def line(self) -> str:
        """The next line that it says."""
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if not said:
            raise SystemExit(f"A sample must answer; its process ended with status {self._process.wait()}.")
        return said

    def times(self) -> list[float]:
        """Milliseconds of some answers in a row."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{IN_A_ROW}\n")
        self._process.stdin.flush()
        return json.loads(self.line())

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def exported(
    bundle: bundles.Bundle, names: list[str], calibrate: Path | None, folder: Path
) -> dict[str, exporting.Exported]:
    """What could be exported, by format and precision; what could not is told on standard error."""
    found = {}
    for name in names:
        wanted = [(name, {})]
        if calibrate is not None and formats.find(name).quantizes:
            wanted.append((f"{name} int8", {"quantize": exporting.INT8, "calibrate": calibrate}))
        for title, settings in wanted:
            try:
                found[title] = exporting.export(bundle, name, folder / title.replace(" ", "-"), **settings)
            except (TellapartError, ImportError) as error:
                print(f"{title}: {error}", file=sys.stderr)
    return found


def measured(places: dict[str, Path], picture: Path, rounds: int, threads: int) -> dict[str, list[float]]:
    """Milliseconds a picture of each place, by rounds in turn."""
    asked = {title: Asked(place, picture, threads) for title, place in places.items()}
    times: dict[str, list[float]] = {title: [] for title in places}
    try:
        for each in asked.values():
            each.line()
            each.times()  # cold
        for _ in range(rounds):
            for title, each in asked.items():
                times[title].append(statistics.median(each.times()))
    finally:
        for each in asked.values():
            each.end()
    return times


def main() -> None:
    able = [name for name, known in formats.FORMATS.items() if known.sample is not None]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--to", nargs="+", choices=able, default=able)
    parser.add_argument("--calibrate", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"))
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.threads])  # the processes inherit it
    bundle = bundles.read(asked.model)
    size = int(bundle.manifest["preprocess"]["size_px"])
    height, width = asked.size or (size, size)
    with tempfile.TemporaryDirectory(prefix="exports-") as kept:
        picture = Path(kept, "picture.npy")
        np.save(picture, np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
        found = exported(bundle, asked.to, asked.calibrate, Path(kept))
        places = {"the model itself": asked.model} | {title: Path(done.folder) for title, done in found.items()}
        times = measured(places, picture, asked.rounds, asked.threads)
    print(f"One picture of {width} × {height} px, {asked.threads} threads, {asked.rounds} rounds in turn.\n")
    print("| export | MB | largest difference of a probability | ms a picture | fastest–slowest |")
    print("|---|---:|---:|---:|---:|")
    for title, took in times.items():
        done = found.get(title)
        beside = ("README.md", "requirements.txt", "sample.py", "tellapart.json")
        n_bytes = (
            len(bundle.members["model.onnx"])
            if done is None
            else sum(size for name, size in done.files.items() if name not in beside)
        )
        apart = "" if done is None else f"{done.agreement.probability:.1g}"
        spread = f"{min(took):.1f}–{max(took):.1f}"
        print(f"| {title} | {n_bytes / 1e6:.1f} | {apart} | {statistics.median(took):.1f} | {spread} |")


if __name__ == "__main__":
    main()
