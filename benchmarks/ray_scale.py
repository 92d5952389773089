"""Workers of Ray against one process, in turns on the same photos; and memory while very many rows are written.

    python benchmarks/ray_scale.py --photos PHOTOS --model MODEL.tellapart [--most 4000] [--rounds 3]
    python benchmarks/ray_scale.py --photos PHOTOS --model MODEL.tellapart --rows N [--workers 2] [--kill-at ROW]

Without `--rows`: pictures a second of one process on all cores, of one worker on a machine that has one core for it,
the command and Ray, and of one worker, two and so on up to the cores where those have all cores; each in every round,
so that what else the machine does meets all alike; the middle of the rounds. "Running" is from the first row to the
last, "whole" has the start in it. What was computed a picture, by all processes of Ray together, hangs less on what
else the machine does. Every table is compared with that of one process.

With `--rows`: that many hard links in folders of a thousand, answered by workers of Ray through the command, as a CSV;
memory of the command and of all of Ray at each tenth of the rows. Flat is what it should be. Each row must be that of
the picture whose turn it is. With `--kill-at` the command is killed after so many rows and given again with `--resume`.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import sets
from tellapart import afar, jobs, rayworkers
from tellapart.bundle import read
from tellapart.predict import Prediction, Predictor, Question

FOLDER = 1000  # links a folder


def timed(answers: Iterable[Prediction], n: int) -> tuple[list[Prediction], float, float, float]:
    """`n` answers; seconds from the first to the last, and in all; and computed seconds a picture in between.

    What is computed counts in this process and all below it, until two blocks are left: then workers begin to end.
    """
    start, first, rows = time.perf_counter(), 0.0, []
    cpu = [0.0, 0.0]
    for one in answers:
        if not rows:
            first, cpu[0] = time.perf_counter(), computed_s()
        rows.append(one)
        if len(rows) == n - 2 * jobs.BLOCK:
            cpu[1] = computed_s()
    end = time.perf_counter()
    return rows, end - first, end - start, (cpu[1] - cpu[0]) / (n - 2 * jobs.BLOCK)


def computed_s() -> float:
    """Seconds that this process and all below it have computed, those that ended among them."""
    ticks = 0
    for pid in (os.getpid(), *below(os.getpid())):
        try:
            text = Path("/proc", str(pid), "stat").read_text()
        except OSError:  # it has ended
            continue
        ticks += sum(int(value) for value in text.rpartition(")")[2].split()[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def scaling(model: Path, paths: list[Path], rounds: int) -> None:
    """Print a row for one process and for each number of workers."""
    bundle, asked = read(model), [Question(str(path)) for path in paths]
    cores = sorted(os.sched_getaffinity(0))
    ways = [(0, len(cores)), (1, 1), *((n, len(cores)) for n in range(1, len(cores) + 1))]
    running: dict[str, list[float]] = {}
    whole: dict[str, list[float]] = {}
    cost: dict[str, list[float]] = {}  # computed ms a picture
    expected: list[Prediction] = []
    differing = 0
    for _ in range(rounds):
        for n, n_cores in ways:
            os.sched_setaffinity(0, cores[:n_cores])  # and with it all that starts from here
            if n == 0:
                rows, seconds, total, computed = timed(Predictor(bundle).answers(asked), len(asked))
                expected = rows
                held = 1
            else:
                with rayworkers.at_work("ray", workers=n) as crew:
                    assert crew is not None
                    answers = afar.answers(bundle, Predictor(bundle), crew, asked)
                    rows, seconds, total, computed = timed(answers, len(asked))
                held = jobs.BLOCK  # come together
                for one, other in zip(rows, expected, strict=True):
                    same = (one.path, one.label, one.unknown, one.error) == (
                        other.path,
                        other.label,
                        other.unknown,
                        other.error,
                    )
                    differing += not same or one.probabilities != other.probabilities
            name = f"{n} worker{'s' * (n > 1)} of one core" if n else "one process"
            name += f", {n_cores} core{'s' * (n_cores > 1)} in all"
            running.setdefault(name, []).append((len(rows) - held) / seconds)
            whole.setdefault(name, []).append(len(rows) / total)
            cost.setdefault(name, []).append(1000 * computed)
            print(
                f"  {name}: {running[name][-1]:.0f} running, {whole[name][-1]:.0f} whole, {1000 * computed:.2f} ms",
                file=sys.stderr,
            )
    middle = {name: statistics.median(values) for name, values in running.items()}
    names = list(running)
    print(f"{len(paths):,} photos, {rounds} rounds, the middle of them; pictures a second.\n")
    print(f"| | running | whole | of {names[0]} | of one worker | computed, ms a picture |")
    print("|---|---|---|---|---|---|")
    for name in names:
        pairs = [zip(running[name], running[of], strict=True) for of in names[:2]]
        shares = [statistics.median(a / b for a, b in pair) for pair in pairs]
        print(
            f"| {name} | {middle[name]:.0f} | {statistics.median(whole[name]):.0f} | {shares[0]:.0%} | "
            f"{shares[1]:.2f} x | {statistics.median(cost[name]):.2f} |"
        )
    print(
        f"\n{differing} rows of {rounds * (len(ways) - 1) * len(paths):,} differ from those of one process in any bit."
    )


def link(folder: Path, i: int, suffix: str) -> Path:
    """The `i`-th of the links, in the order in which a folder is read."""
    return folder / f"{i // FOLDER:05d}" / f"{i:08d}{suffix}"


def links(paths: list[Path], folder: Path, n: int) -> Path:
    """A folder of folders of hard links, or of soft ones where that is another disk."""
    turns = itertools.cycle(paths)
    for i in range(n):
        if i % FOLDER == 0:
            link(folder, i, "").parent.mkdir(parents=True)
        path = next(turns)
        place = link(folder, i, path.suffix.lower())
        try:
            os.link(path, place)
        except OSError:
            place.symlink_to(path.resolve())
    return folder


def memory_mb(pids: Iterable[int]) -> float:
    """Memory of processes, what they share counted once (PSS), MB."""
    total = 0
    for pid in pids:
        try:
            text = Path("/proc", str(pid), "smaps_rollup").read_text()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


def below(pid: int) -> Iterator[int]:
    """The processes that a process has started, and those that these have."""
    for task in Path("/proc", str(pid), "task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            yield child
            yield from below(child)


def many(model: Path, paths: list[Path], n: int, workers: int, kill_at: int | None) -> None:
    """Print memory at each tenth of the rows; with `kill_at` of a run that goes on after a killed one."""
    with tempfile.TemporaryDirectory(prefix="tellapart-ray-scale-") as name:
        start = time.perf_counter()
        folder = links(paths, Path(name, "pictures"), n)
        print(f"{n:,} links in {time.perf_counter() - start:.0f} s.")
        command = [sys.executable, "-m", "tellapart", "predict", str(model), str(folder), "--csv", "-"]
        command += ["--engine", "ray", "--workers", str(workers)]
        environment = os.environ | {"TELLAPART_CACHE": str(Path(name, "cache"))}
        if kill_at is not None:
            command.append("--resume")
            with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as run:
                assert run.stdout is not None
                for _ in itertools.islice(run.stdout, kill_at + 1):
                    pass
                run.kill()
            print(f"Killed after {kill_at:,} rows. The same command once more:")
        start, first, seen, wrong, known = time.perf_counter(), 0.0, 0, 0, 0
        print("| rows | rows a second | the command, MB | all of Ray, MB |\n|---|---|---|---|")
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as run:
            assert run.stdout is not None
            for row in csv.DictReader(run.stdout):
                wrong += row["path"] != str(link(folder, seen, Path(row["path"]).suffix))
                seen += 1
                now = time.perf_counter()
                if not first and seen > (kill_at or 0):
                    first, known = now, seen
                if seen % max(1, n // 10) == 0 and first and seen > known:
                    rate = (seen - known) / (now - first)
                    ray = memory_mb(list(below(run.pid)))
                    print(f"| {seen:,} | {rate:.0f} | {memory_mb([run.pid]):.0f} | {ray:.0f} |", flush=True)
        print(f"\n{seen:,} rows in {time.perf_counter() - start:.0f} s, status {run.returncode}; {wrong} out of place.")
        if run.returncode or seen != n or wrong:
            sys.exit(1)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, metavar="PHOTOS", help="a folder of class folders")
    parser.add_argument("--model", type=Path, required=True, metavar="MODEL.tellapart")
    parser.add_argument("--most", type=int, default=4000, metavar="N", help="photos to answer, at most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, metavar="N", help="measure memory over so many rows instead")
    parser.add_argument("--workers", type=int, default=2, help="with --rows")
    parser.add_argument("--kill-at", type=int, metavar="ROW", help="with --rows: kill it there, and go on")
    options = parser.parse_args()
    wish = sets.Wish(options.photos, None, 0, None, None, 0.2)
    paths = [path for some in sets.photographs(wish).values() for _, path in some][: options.most]
    if options.rows is not None:
        many(options.model, paths, options.rows, options.workers, options.kill_at)
    else:
        scaling(options.model, paths, options.rounds)


if __name__ == "__main__":
    main()
