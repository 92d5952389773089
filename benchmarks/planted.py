"""Damage planted by a seed, and how much of it `tellapart check` and its peers find.

    python benchmarks/planted.py --photos PHOTOS --work DIR [--n 8000] [--seed 0] [--shortcut quality|stamp|none]
                                 [--splits 70,15,15] [--tools full,quick,cleanvision,…] [--peers ENVIRONMENTS]
                                 [--looked LOOKED.json]

Makes DIR/clean, the photos as they are, and DIR/damaged, the same with 40 exact copies, 40 near copies of five kinds,
80 wrong labels, 20 broken files, 10 foreign pictures and a shortcut in one class, each with its truth.json. PHOTOS is
not touched: what is unchanged is linked. Class folders are called a, b, …, files are numbered at random. Then every
tool checks both, in a process of its own and from an empty home folder; DIR/<clean or damaged>.<tool>.json is what it
said, and a second run takes what is there. At the end the table is printed, and DIR/scores.json is what is behind it.

How to read: a pair of files is right where both show the same photo. The set has twins of its own; what the tools
propose besides the planted is listed in scores.json (`to_look`, `to_look_labels`). Look at them, and write into
LOOKED.json what you saw: {"same": [[photo, photo], …], "mislabelled": [photo, …]}.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import damage
import headline
import planting
import product
import scoring
from peers import measure

PEERS = {  # name -> the environment that it runs in; the script is peers/NAME.py
    "cleanvision_issues": "cleanvision",
    "imagededup_phash": "imagededup",
    "imagededup_cnn": "imagededup",
    "fastdup_twins": "fastdup",
    "cleanlab_issues": "imagededup",  # it needs torch for the features
}
OURS = {"full": (), "quick": ("--quick",)}
NOTHING = planting.Counts(exact=0, near=0, conflicts=0, wrong=0, broken=0, foreign=0)


def check(tool: str, pictures: Path, out: Path, environments: Path | None) -> dict[str, Any]:
    """Run one tool on one folder; what it said, with `seconds`, `cpu_s` and `peak_mb`."""
    log = out.with_suffix(".log")
    with tempfile.TemporaryDirectory(prefix="tellapart-planted-") as name:
        environment, said = product.clean(Path(name, "home")), Path(name, "said.json")
        if tool in OURS:
            used = product.run(
                "check", pictures, "--json", said, "--force", *OURS[tool], log=log, environment=environment
            )
        else:
            if environments is None:
                raise product.RunError(f"{tool} needs --peers ENVIRONMENTS, see peers/environments.py.")
            python = environments.resolve() / PEERS[tool] / "bin" / "python"
            script = Path(__file__).parent / "peers" / f"{tool}.py"
            used = measure.run([python, script, pictures, "--json", said], log=log, environment=environment)
            if used.status != 0:
                raise product.RunError(f"{tool} ended with status {used.status}: {measure.tail(log)}")
        result = json.loads(said.read_text())
    result["used"] = {"seconds": used.seconds, "cpu_s": used.cpu_s, "peak_mb": used.peak_mb}
    out.write_text(json.dumps(result))
    return result


def looked(file: Path | None) -> scoring.Looked:
    """What a person saw."""
    if file is None:
        return scoring.Looked()
    said = json.loads(file.read_text())
    return scoring.Looked(tuple((a, b) for a, b in said.get("same", ())), frozenset(said.get("mislabelled", ())))


def main(
    kinds: planting.Kinds = damage.FIRST, doc: str | None = __doc__, counts: planting.Counts | None = None
) -> None:
    """Plant, check, score."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, metavar="PHOTOS", help="a folder of class folders")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="for the copies and the results")
    parser.add_argument("--n", type=int, metavar="N", help="photos to take [default: all]")
    parser.add_argument("--seed", type=int, default=0)
    cues = ["none", *kinds.shortcuts]
    parser.add_argument("--shortcut", choices=cues, default=cues[1], help="[default: %(default)s]")
    parser.add_argument("--splits", default="", metavar="A,B,C", help="shares of train, validation and test")
    parser.add_argument("--avoid", default="", metavar="TAG", help="foreign pictures to leave out: drawn, photo, …")
    parser.add_argument("--scale", type=float, metavar="S", help="so many times the damage [default: pictures / 8000]")
    parser.add_argument("--tools", default="full,quick", help=f"of {', '.join([*OURS, *PEERS])}; none: only plant")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="the peers' environments")
    parser.add_argument("--looked", type=Path, metavar="FILE")
    options = parser.parse_args()
    tools = [each for each in options.tools.split(",") if each and each != "none"]
    if unknown := set(tools) - set(OURS) - set(PEERS):
        parser.error(f"There is no tool {', '.join(sorted(unknown))}. There are: {', '.join([*OURS, *PEERS])}.")
    work, splits = options.work.resolve(), [float(part) for part in options.splits.split(",") if part]
    given = {"seed": options.seed, "n": options.n, "splits": splits, "renamed": True}
    n = options.n or sum(1 for _ in planting.files(options.photos))
    wanted = scaled(counts or planting.Counts(), options.scale or n / 8000)
    for name, some, shortcut in (("clean", NOTHING, "none"), ("damaged", wanted, options.shortcut)):
        if not (work / name).exists():
            cue, avoid = (None if shortcut == "none" else shortcut), options.avoid.split(",")
            planting.plant(options.photos, work / name, kinds, counts=some, shortcut=cue, avoid=avoid, **given)
    scores = run(work, tools, options.peers, looked(options.looked))
    for name in ("clean", "damaged"):
        if scores[name]:
            n = len(json.loads((work / name / "truth.json").read_text())["pictures"])
            print(f"\n{name}, {n:,} files\n\n{scoring.table(scores[name])}", flush=True)


def scaled(counts: planting.Counts, scale: float) -> planting.Counts:
    """The damage for more or fewer pictures than 8,000."""
    return planting.Counts(**{name: round(n * scale) for name, n in vars(counts).items()})


def run(
    work: Path, tools: Sequence[str], environments: Path | None, seen: scoring.Looked
) -> dict[str, dict[str, dict[str, Any]]]:
    """Check what is missing and score all: clean or damaged -> tool -> score. Writes DIR/scores.json."""
    scores: dict[str, dict[str, dict[str, Any]]] = {"clean": {}, "damaged": {}}
    for name in scores:
        truth, pictures = json.loads((work / name / "truth.json").read_text()), work / name / "pictures"
        for tool in tools:
            out = work / f"{name}.{tool}.json"
            if not out.exists():
                headline.read_all(pictures)  # so that the disk's cache favours nobody
            try:
                result = json.loads(out.read_text()) if out.exists() else check(tool, pictures, out, environments)
            except product.RunError as error:
                print(error, file=sys.stderr, flush=True)
                continue
            score = scoring.score(truth, result, pictures, seen)
            score |= {"cue": bool(truth["shortcut"]), "cannot": result.get("cannot", []), **result.get("used", {})}
            scores[name][tool] = score
            print(f"{name}, {tool}: {score.get('seconds', 0):.1f} s", file=sys.stderr, flush=True)
    (work / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    return scores


if __name__ == "__main__":
    main()
