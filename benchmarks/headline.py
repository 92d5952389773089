"""The headline, in one run: one epoch of the tutorial's code against all of `tellapart train`, on the same photos.

    python benchmarks/headline.py --photos PHOTOS [--test HELD_OUT] [--renamed] [--budget 5m] [--markdown FILE]

PHOTOS has class folders to learn from; HELD_OUT the same classes, photos never seen. Left out, a fifth of PHOTOS is
drawn and held out, and the rest is learnt from.

(a) one epoch of the tutorial's code (64 px, batch 32): the training pass alone, and with its validation on HELD_OUT;
(b) `tellapart train` without an option, from an empty home folder, shell to shell, then `evaluate` on HELD_OUT;
(c) the same again: what was decoded and computed lies in its cache;
(d) with `--budget`, from an empty home folder once more.

`--renamed` copies the photos (as links) into class folders a, b, … with numbers for names, for all of them: nothing is
to be learnt from a name. Memory is of all processes together, its peak. The photos are read once before anything is
timed, so that the disk's cache favours nobody.
"""

from __future__ import annotations

import argparse
import json
import string
import sys
import tempfile
from pathlib import Path
from typing import Any

import product
import sets
from peers import measure
from tellapart.metrics import wilson_interval

SCRIPT = Path(__file__).parent / "peers" / "tutorial_keras.py"
SIZE_PX = 64


def renamed(folder: Path, to: Path) -> Path:
    """Links to the pictures of class folders, in folders a, b, … in the order of the classes' names."""
    classes = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    if len(classes) > len(string.ascii_lowercase):
        sys.exit(f"--renamed has a letter for each class; {folder} has {len(classes)} classes.")
    for letter, source in zip(string.ascii_lowercase, classes, strict=False):
        (to / letter).mkdir(parents=True)
        paths = (each for each in sorted(source.rglob("*")) if each.is_file() and not each.name.startswith("."))
        for i, path in enumerate(paths):
            (to / letter / f"{i:06d}{path.suffix.lower()}").symlink_to(path.resolve())
    return to


def read_all(folder: Path) -> int:
    """Read every file once; how many there are."""
    return sum(len(path.read_bytes()) > 0 for path in folder.rglob("*") if path.is_file())


def tutorial(train: Path, test: Path, work: Path, log: Path) -> tuple[measure.Used, dict[str, Any]]:
    """One epoch of the tutorial's code, in a process of its own."""
    out = work / "tutorial.json"
    command = [sys.executable, SCRIPT, train, test, "--json", out, "--epochs", "1", "--size", str(SIZE_PX)]
    used = measure.run([*command, "--seconds", "100000"], log=log)
    if used.status != 0:
        raise product.RunError(f"The tutorial's code ended with status {used.status}: {measure.tail(log)}")
    return used, json.loads(out.read_text())


def row(name: str, used: measure.Used, accuracy: float | None, n: int) -> str:
    """A row of the table."""
    share = ""
    if accuracy is not None:
        low, high = wilson_interval(round(accuracy * n), n)
        share = f"{100 * accuracy:.2f} % ({100 * low:.2f} to {100 * high:.2f} %)"
    return f"| {name} | {used.seconds:.1f} s | {used.cpu_s:.0f} s | {used.peak_mb:,.0f} MB | {share} |"


def main() -> None:
    """Run (a) to (d) and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, metavar="PHOTOS", help="a folder of class folders")
    parser.add_argument("--test", type=Path, metavar="HELD_OUT", help="the same classes, photos never seen")
    parser.add_argument("--renamed", action="store_true", help="class folders a, b, … and numbered files")
    parser.add_argument("--budget", metavar="5m", help="train once more with this `--budget`")
    parser.add_argument("--seed", type=int, default=0, help="of `tellapart train`, and of what is held out")
    parser.add_argument("--options", default="", help="more options for `tellapart train`, in one string")
    parser.add_argument("--markdown", type=Path, help="write the table there as well")
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep what the commands print")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tellapart-headline-") as name:
        work = Path(name)
        log = options.log.resolve() if options.log else work / "log.txt"
        train, test = options.photos, options.test
        if test is None:
            sets.write("photos", work / "drawn", sets.Wish(options.photos, None, options.seed, None, None, 0.2))
            train, test = work / "drawn" / "train", work / "drawn" / "test"
        if options.renamed:
            train, test = renamed(train, work / "photos"), renamed(test, work / "held-out")
        counts = [read_all(side) for side in (train, test)]
        chosen = ["--seed", str(options.seed), *options.options.split()]
        rows, n = [], counts[1]
        try:
            used, epoch = tutorial(train, test, work, log)
            pass_s, whole_s = epoch["train_seconds"], epoch["train_seconds"] + epoch["settings"]["test_seconds"]
            rows.append(row("(a) the tutorial's code, one epoch, from start to exit", used, epoch["accuracy"], n))
            walls, name = {}, " ".join(["tellapart train", *options.options.split()])
            for label, what, home, more in (
                ("b", f"`{name}`, nothing cached", "home", []),
                ("c", "again, cached", "home", []),
                ("d", f"`--budget {options.budget}`", "budget", ["--budget", str(options.budget)]),
            )[: 3 if options.budget else 2]:
                environment, bundle = product.clean(work / home), work / f"{label}.tellapart"
                used, _ = product.train(train, bundle, *chosen, *more, log=log, environment=environment)
                tested, found = product.evaluate(bundle, test, log=log, environment=environment)
                walls[label] = used.seconds
                rows.append(row(f"({label}) {what}", used, found["accuracy"], found["n"]))
                rows.append(row(f"… `evaluate` of the {found['n']:,}", tested, None, 0))
                print(rows[-2], file=sys.stderr, flush=True)
        except product.RunError as error:
            sys.exit(str(error))
    folders = ", class folders and files renamed" if options.renamed else ""
    lines = [
        f"{counts[0]:,} photos to learn from, {counts[1]:,} held out{folders}.",
        "",
        "| | shell to shell | processor time | peak memory | accuracy on the held-out photos (95 % sure) |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"One epoch of the tutorial's code: {pass_s:.1f} s for the training pass, {whole_s:.1f} s with its validation. "
        f"All of `tellapart train` takes {walls['b'] / pass_s:.2f} × the training pass, "
        f"{walls['b'] / whole_s:.2f} × the epoch with validation.",
    ]
    text = "\n".join(lines)
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n")


if __name__ == "__main__":
    main()
