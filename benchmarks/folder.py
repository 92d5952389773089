"""A folder of pictures from the shell: `tellapart predict MODEL FOLDER --csv`, pictures a second, decoding included.

    python benchmarks/folder.py --photos PHOTOS [--sizes 160,224] [--runs 3]
    python benchmarks/folder.py --photos PHOTOS --models A.tellapart,B.tellapart

Without `--models`, a model is trained on PHOTOS at each size first, which is not timed. How to read: "shell to shell"
is all photos over the wall time of the command, start included; "running" leaves the start out, by taking off a run on
a tenth of the photos. The most, the middle and the least of the runs; memory is of all processes together, its peak.
"Memory, a tenth" beside it: where both are alike, a longer folder needs no more.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
from pathlib import Path

import product
import sets


def link(paths: list[Path], folder: Path) -> Path:
    """A flat folder of links."""
    folder.mkdir()
    for i, path in enumerate(paths):
        (folder / f"{i:07d}{path.suffix.lower()}").symlink_to(path.resolve())
    return folder


def predict(model: Path, folder: Path, out: Path, log: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Seconds and peak memory in MB of one run; every picture must have its row, without an error."""
    used = product.run("predict", model, folder, "--csv", out, "--force", log=log, environment=environment)
    with open(out, newline="", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    n = sum(1 for _ in folder.iterdir())
    if len(rows) != n or any(row["error"] for row in rows):
        sys.exit(f"{len(rows)} rows for {n} pictures, {sum(bool(row['error']) for row in rows)} with an error.")
    return used.seconds, used.peak_mb


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, metavar="PHOTOS", help="a folder of class folders")
    parser.add_argument("--models", metavar="A,B", help="models to measure, instead of training some")
    parser.add_argument("--sizes", default="160,224", metavar="PX,PX", help="train a model at each")
    parser.add_argument("--train-options", default="", help="more options for `tellapart train`, in one string")
    parser.add_argument("--most", type=int, metavar="N", help="photos to answer, at most")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    wish = sets.Wish(options.photos, None, 0, None, None, 0.2)
    paths = [path for some in sets.photographs(wish).values() for _, path in some][: options.most]
    with tempfile.TemporaryDirectory(prefix="tellapart-folder-") as name:
        work, log = Path(name), Path(name, "log.txt")
        environment = product.clean(work / "home")
        everything, tenth = link(paths, work / "all"), link(paths[: max(1, len(paths) // 10)], work / "tenth")
        n_more = len(paths) - sum(1 for _ in tenth.iterdir())
        try:
            if options.models:
                models = [(Path(each).name, Path(each).resolve()) for each in options.models.split(",")]
            else:
                models = []
                for size in options.sizes.split(","):
                    model, arguments = work / f"{size}.tellapart", ["--size", size, *options.train_options.split()]
                    product.train(options.photos, model, *arguments, log=log, environment=environment)
                    models.append((f"{size} px", model))
            print(f"{len(paths):,} photos, {options.runs} runs each.\n")
            print("| model | shell to shell, pictures/s | running, pictures/s | peak memory | memory, a tenth |")
            print("|---|---|---|---|---|")
            for label, model in models:
                predict(model, tenth, work / "out.csv", log, environment)  # warms up
                short = [predict(model, tenth, work / "out.csv", log, environment) for _ in range(options.runs)]
                long = [predict(model, everything, work / "out.csv", log, environment) for _ in range(options.runs)]
                whole = sorted((len(paths) / seconds for seconds, _ in long), reverse=True)
                start_s = statistics.median(seconds for seconds, _ in short)
                steady = sorted((n_more / max(1e-9, seconds - start_s) for seconds, _ in long), reverse=True)
                cells = [f"{each[0]:.0f} / {statistics.median(each):.0f} / {each[-1]:.0f}" for each in (whole, steady)]
                memory = [f"{max(megabytes for _, megabytes in each):,.0f} MB" for each in (long, short)]
                print(f"| {label} | {' | '.join([*cells, *memory])} |", flush=True)
        except product.RunError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
