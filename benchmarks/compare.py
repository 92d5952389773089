"""tellapart against its peers: the same pictures, the same seconds, the same cores, one after the other.

    python benchmarks/peers/environments.py ENVIRONMENTS
    python benchmarks/compare.py --work DIR --environments ENVIRONMENTS [--photos PHOTOS]
                                 [--sets digits,fashion,…] [--methods timm,…] [--seconds 60] [--seeds 0,1,2]

Each set is written once (benchmarks/sets.py; photos: the half that nothing was chosen on). Every method learns from its
train folder and answers all of its test folder. From scratch is compared with from scratch; who may use pretrained
weights stands apart, and which recipe `tellapart train` chose for itself is said.

A peer's seconds count from the start of its process to its exit, the test included. tellapart trains with
`--budget`, less what `tellapart evaluate` is expected to take (2 s, and 1 s for 400 pictures); its seconds are those of
both commands, and its cache is empty. Pictures that lose their meaning in a mirror (digits, pages) are not mirrored by
the peers, as a person would tell them; tellapart gets no such hint. The size is what the peers' networks see; tellapart
chooses its own.

Every run adds a line to RESULTS.jsonl (DIR/results.jsonl); what stands there is not run again, so an interrupted
comparison goes on where it was; other photos need another DIR. `--again` repeats what failed. `--table` only prints.

How to read the table: accuracy is the mean over the seeds; the interval is what the number of test pictures alone
leaves open (Wilson, 95 %), and "seeds" the worst and the best run. Methods stand in the order of their accuracy.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import product
import sets
from peers import measure
from tellapart import __version__
from tellapart.metrics import wilson_interval

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Method:
    """One way to a classifier."""

    kind: str  # scratch, or transfer: may start from pretrained weights
    script: str | None = None  # of a peer
    environment: str | None = None  # the peer's
    size_px: int | None = None  # where it is not the set's
    options: tuple[str, ...] = ()  # of the peer's script, or of `tellapart train`


METHODS = {
    "tellapart scratch": Method("scratch", options=("--recipe", "scratch")),
    "timm": Method("scratch", "timm_loop.py", "torch"),
    "fastai": Method("scratch", "fastai_learner.py", "torch"),
    "ultralytics": Method("scratch", "ultralytics_cls.py", "torch"),
    "autokeras": Method("scratch", "autokeras_clf.py", "autokeras"),
    "tutorial": Method("scratch", "tutorial_keras.py", "keras"),
    "tellapart": Method("transfer"),
    "torch lite0": Method("transfer", "torch_features.py", "torch", size_px=224),
}
NAMES = {"tellapart scratch": "**`tellapart train --recipe scratch`**", "tellapart": "**`tellapart train`**"}
KINDS = {"scratch": "From scratch", "transfer": "Pretrained weights allowed"}

SIZES_PX = {"digits": 32, "fashion": 32, "faces": 32, "documents": 128}  # all others: 64
UNMIRRORED = {"digits", "documents"}
DEFAULT_SETS = ("digits", "fashion", "shapes", "textures", "documents")
DEFAULT_PHOTO_SETS = ("photos", "grey", "small", "imbalanced", "few-20", "large")


def prepare(name: str, folder: Path, photos: Path | None, environments: Path, more: list[str]) -> Path:
    """The folder of a set, written where it is missing, with `more` options of sets.py."""
    place = folder / name
    if place.is_dir():
        return place
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, sets.__file__, name, "-o", place, *more]
    if name in ("patches", "faces"):  # the images that scikit-image carries
        command[0] = environments / "sets" / "bin" / "python"
    if photos is not None and (name in sets.OF_PHOTOS or name.startswith("few-")):
        command += ["--photos", photos, "--half", "figure"]
    log = folder / f"{name}.log"
    if measure.run(command, log=log).status != 0:
        sys.exit(f"The set {name} could not be written: {measure.tail(log)}")
    return place


def ours(method: Method, data: Path, seed: int, seconds: float, n_test: int, log: Path) -> dict[str, Any]:
    """Train with what the test will leave of the time, then evaluate."""
    budget = max(1.0, seconds - 2 - n_test / 400)
    with tempfile.TemporaryDirectory(prefix="tellapart-compare-") as name:
        home = Path(name)
        bundle = home / "model.tellapart"
        options = [*method.options, "--seed", str(seed), "--budget", f"{budget:.0f}s"]
        environment = product.clean(home / "home")
        trained, report = product.train(data / "train", bundle, *options, log=log, environment=environment)
        tested, found = product.evaluate(bundle, data / "test", log=log, environment=environment)
    return {
        "accuracy": found["accuracy"],
        "n_test": found["n"],
        "train_s": trained.seconds,
        "total_s": trained.seconds + tested.seconds,
        "peak_mb": max(trained.peak_mb, tested.peak_mb),
        "version": __version__,
        "epochs": (report.get("training") or {}).get("epochs"),
        "settings": {"budget_s": round(budget), "plan": report.get("plan"), "training": report.get("training")},
    }


def theirs(method: Method, data: Path, job: dict[str, Any], environments: Path, log: Path) -> dict[str, Any]:
    """Run a peer's script in its own environment."""
    assert method.script is not None
    assert method.environment is not None
    python = environments / method.environment / "bin" / "python"
    if not python.exists():
        raise product.RunError(f"{python} is missing; run benchmarks/peers/environments.py {environments}")
    with tempfile.TemporaryDirectory(prefix="tellapart-compare-") as name:
        out = Path(name, "out.json")
        command = [python, PEERS / method.script, data / "train", data / "test", "--json", out, *method.options]
        command += ["--seconds", f"{job['seconds']:g}", "--size", str(job["size_px"]), "--seed", str(job["seed"])]
        if job["set"] in UNMIRRORED:
            command.append("--no-flip")
        used = measure.run(command, log=log, limit_s=3 * job["seconds"] + 300)
        if used.status != 0 or not out.is_file():
            raise product.RunError(f"{method.script} ended with status {used.status}: {measure.tail(log)}")
        found = json.loads(out.read_text())
    return {
        "accuracy": found["accuracy"],
        "n_test": found["n_test"],
        "train_s": found["train_seconds"],
        "total_s": used.seconds,
        "peak_mb": used.peak_mb,
        "version": found["version"],
        "epochs": found["epochs"],
        "settings": found["settings"],
    }


def key(line: dict[str, Any]) -> tuple:
    """What makes a run the same run."""
    return line["set"], line["method"], line["seed"], line["seconds"], line["size_px"]


def read(path: Path) -> dict[tuple, dict[str, Any]]:
    """The runs of a file of JSON lines, the last of each; a line that an interruption cut off is passed over."""
    found = {}
    for text in path.read_text().splitlines() if path.is_file() else []:
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        found[key(line)] = line
    return found


def add(path: Path, line: dict[str, Any]) -> None:
    """Add a run, and the moment of its end."""
    with open(path, "a") as file:
        file.write(json.dumps({**line, "when": datetime.datetime.now().isoformat(timespec="seconds")}) + "\n")


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown: a block for each kind and number of seconds, its methods by accuracy within each set."""
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for line in lines:
        if line["method"] in METHODS:
            kind = METHODS[line["method"]].kind
            groups.setdefault((kind, line["seconds"], line["set"], line["method"]), []).append(line)
    blocks: dict[tuple, list[tuple]] = {}
    for (kind, seconds, name, method), runs in groups.items():
        good = [run for run in runs if "error" not in run]
        recipes = {(run["settings"].get("plan") or {}).get("name") for run in good if METHODS[method].script is None}
        shown = NAMES.get(method, method)
        if method == "tellapart" and recipes - {None}:
            shown += f" ({', '.join(sorted(recipes - {None}))})"
        if not good:
            row = f"| {name} | {shown} | failed: {runs[-1]['error'].replace('|', '/')} | | | | | |"
            blocks.setdefault((kind, seconds), []).append((name, 2.0, row))
            continue
        accuracies = [run["accuracy"] for run in good]
        mean, n = statistics.mean(accuracies), good[0]["n_test"]
        low, high = wilson_interval(round(mean * n), n)
        totals = [run["total_s"] for run in good]
        late = f" (most {max(totals):.0f} s)" if max(totals) > 1.1 * seconds else ""
        epochs = [run["epochs"] for run in good if run["epochs"] is not None]
        cells = [
            name,
            shown,
            f"{100 * mean:.1f} %",
            f"{100 * low:.1f}–{100 * high:.1f} %",
            f"{100 * min(accuracies):.1f}–{100 * max(accuracies):.1f} %" if len(good) > 1 else "one",
            f"{statistics.median(totals):.0f} s{late}",
            f"{max(run['peak_mb'] for run in good):,.0f} MB",
            f"{statistics.median(epochs):.1f}" if epochs else "",
        ]
        row = f"| {' | '.join(cells)} |"
        blocks.setdefault((kind, seconds), []).append((name, -mean, row))
    parts = []
    for (kind, seconds), rows in sorted(blocks.items()):
        parts += [f"{KINDS[kind]}, {seconds:g} s from start to exit:", ""]
        parts.append("| set | method | test accuracy | 95 % sure | seeds | seconds | peak memory | epochs |")
        parts += ["|---|---|---|---|---|---|---|---|", *(row for *_, row in sorted(rows)), ""]
    return "\n".join(parts)


def main() -> None:
    """Run what is missing, one after the other, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="for the sets, the logs, the results")
    parser.add_argument("--environments", type=Path, metavar="DIR", help="[default: environments in --work]")
    parser.add_argument("--photos", type=Path, metavar="PHOTOS", help="a folder of class folders")
    parser.add_argument("--sets", help=f"[default: {','.join((*DEFAULT_SETS, *DEFAULT_PHOTO_SETS))}]")
    parser.add_argument("--methods", help=f"[default: {','.join(METHODS)}]")
    parser.add_argument("--seconds", default="60", help="one budget or several: 60,300")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--size", type=int, metavar="PX", help="for the peers, instead of the sets' own")
    parser.add_argument("--each", metavar="N", help="training and test pictures a class, at most: for a trial")
    parser.add_argument("--results", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--again", action="store_true", help="repeat what failed")
    parser.add_argument("--table", action="store_true", help="print the table of what is there, run nothing")
    options = parser.parse_args()
    work = options.work.resolve()
    environments = (options.environments or work / "environments").resolve()
    results = options.results or work / "results.jsonl"
    if not options.table:
        work.mkdir(parents=True, exist_ok=True)
        photos = options.photos.resolve() if options.photos else None
        more = ["--each", options.each, "--each-test", options.each] if options.each else []
        chosen = options.sets.split(",") if options.sets else [*DEFAULT_SETS, *(DEFAULT_PHOTO_SETS if photos else ())]
        methods = options.methods.split(",") if options.methods else list(METHODS)
        if unknown := [each for each in methods if each not in METHODS]:
            parser.error(f"There is no method {', '.join(unknown)}. There are: {', '.join(METHODS)}.")
        if shutil.disk_usage(work).free < 5e9:
            parser.error(f"--work needs 5 GB free; {work} has less. Name another folder.")
        jobs = [
            (name, method, int(seed), float(seconds))
            for name in chosen
            for seconds in options.seconds.split(",")
            for seed in options.seeds.split(",")
            for method in methods
        ]
        for number, (name, method_name, seed, seconds) in enumerate(jobs, 1):
            method = METHODS[method_name]
            size_px = method.size_px or options.size or SIZES_PX.get(name, 64)
            job = {"set": name, "method": method_name, "seed": seed, "seconds": seconds, "size_px": size_px}
            before = read(results).get(key(job))
            if before and not (options.again and "error" in before):
                continue
            data = prepare(name, work / "sets", photos, environments, more)
            n_test = sum(1 for path in (data / "test").rglob("*") if path.is_file())
            log = work / "logs" / f"{name}-{method_name.replace(' ', '-')}-{seed}-{seconds:g}.log"
            log.parent.mkdir(exist_ok=True)
            log.unlink(missing_ok=True)
            try:
                if method.script is None:
                    found = ours(method, data, seed, seconds, n_test, log)
                else:
                    found = theirs(method, data, job, environments, log)
                if found["n_test"] != n_test:
                    raise product.RunError(f"answered {found['n_test']} of {n_test} test pictures")
            except product.RunError as error:
                found = {"error": str(error)}
            add(results, job | found)
            said = found.get("error") or f"{100 * found['accuracy']:.2f} %, {found['total_s']:.1f} s"
            print(f"[{number}/{len(jobs)}] {name}, {method_name}, seed {seed}: {said}", file=sys.stderr, flush=True)
    print(table(read(results).values()))


if __name__ == "__main__":
    main()
