"""Few pictures a class: `tellapart train` against a plain logistic regression on the same draws.

    python benchmarks/few.py --photos PHOTOS --work DIR --torch ENVIRONMENTS/torch [--each 5,10,20,50] [--seeds 0,1,2]

For each number and seed, that many photos a class are drawn for training (`sets.py few-N`); the rest, or `--most-test`
a class of them, are the test. All sides see the same files. The plain sides are scikit-learn's
`LogisticRegression(C=1.0, max_iter=1000)` on the pooled features of EfficientNet-Lite0 at 224 px, squashed, computed
once in plain torch (peers/torch_features.py): as they are, and after `StandardScaler`, whose scales are poor guesses
from ten pictures. `--half` keeps choosing and measuring apart; figures are of `figure`, the default.

How to read: accuracies are means over the seeds. A lead is tellapart's, paired, draw by draw, in points; its interval
is Student's, 95 %, over the draws. Every run adds a line to DIR/few.jsonl; what stands there is not run again,
so other photos or options need another DIR.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import compare
import product
import sets
from peers import measure

SIZE_PX = 224
PLAIN = ("plain", "standardised")
SCRIPT = Path(__file__).parent / "peers" / "torch_features.py"


def lite0_features(paths: Sequence[Path], python: Path, log: Path) -> np.ndarray:
    """Pooled features of EfficientNet-Lite0, float32 (N, 1280), of pictures squashed to 224 px.

    This is the one place that knows where they come from: torch, in the peers' environment, independent of tellapart.
    """
    with tempfile.TemporaryDirectory(prefix="tellapart-few-") as name:
        out, links = Path(name, "features.npz"), Path(name, "pictures")
        links.mkdir()
        for i, path in enumerate(paths):
            (links / f"{i:07d}{path.suffix.lower()}").symlink_to(path.resolve())
        used = measure.run([python, SCRIPT, "--dump", out, "--size", str(SIZE_PX), links], log=log)
        if used.status != 0:
            sys.exit(f"The features could not be computed: {measure.tail(log)}")
        with np.load(out, allow_pickle=False) as found:
            assert found["paths"].tolist() == sorted(found["paths"].tolist()), "in the order of the links"
            return found["features"]


class Features:
    """Features by the content of a picture, computed once for all draws and kept in a file."""

    def __init__(self, photos: dict[str, list[tuple[str, Path]]], store: Path, python: Path, log: Path) -> None:
        paths = [path for some in photos.values() for _, path in some]
        digests = [_digest(path) for path in paths]
        if store.is_file():
            with np.load(store, allow_pickle=False) as found:
                rows, values = {digest: i for i, digest in enumerate(found["digests"].tolist())}, found["features"]
        else:
            rows, values = {}, np.empty((0, 1280), np.float32)
        missing = [i for i, digest in enumerate(digests) if digest not in rows]
        if missing:
            values = np.concatenate([values, lite0_features([paths[i] for i in missing], python, log)])
            rows |= {digests[i]: len(rows) + n for n, i in enumerate(missing)}
            temporary = store.with_suffix(".tmp.npz")
            np.savez(temporary, digests=np.array(list(rows)), features=values)
            temporary.replace(store)
        self._rows, self._values = rows, values

    def of(self, folder: Path) -> tuple[np.ndarray, np.ndarray]:
        """Features and labels, (N, 1280) and (N,), of a folder of class folders."""
        labels = sorted(each.name for each in folder.iterdir() if each.is_dir())
        pairs = [(self._rows[_digest(path)], i) for i, name in enumerate(labels) for path in (folder / name).iterdir()]
        rows, numbers = zip(*pairs, strict=True)
        return self._values[list(rows)], np.array(numbers)


def plain(features: Features, data: Path, *, standardised: bool) -> tuple[float, int]:
    """A plain side: accuracy and number of test pictures."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    head = LogisticRegression(C=1.0, max_iter=1000)
    model = make_pipeline(StandardScaler(), head) if standardised else head
    model.fit(*features.of(data / "train"))
    given, labels = features.of(data / "test")
    return float((model.predict(given) == labels).mean()), len(labels)


def ours(data: Path, seed: int, options: Sequence[str], log: Path) -> dict[str, Any]:
    """tellapart's side, from an empty home folder."""
    with tempfile.TemporaryDirectory(prefix="tellapart-few-") as name:
        bundle, environment = Path(name, "model.tellapart"), product.clean(Path(name, "home"))
        arguments = [*options, "--seed", str(seed)]
        trained, _ = product.train(data / "train", bundle, *arguments, log=log, environment=environment)
        _, found = product.evaluate(bundle, data / "test", log=log, environment=environment)
    return {"accuracy": found["accuracy"], "n_test": found["n"], "train_s": trained.seconds, "peak_mb": trained.peak_mb}


def lead(ran: Sequence[dict[str, Any]], against: Sequence[dict[str, Any]]) -> list[str]:
    """Two cells: the other side's mean accuracy, and the mean paired difference in points with its interval."""
    from scipy.stats import t as student

    theirs = {line["seed"]: line["accuracy"] for line in against}
    if not theirs:
        return ["", ""]
    accuracy = f"{100 * statistics.mean(theirs.values()):.2f} %"
    differences = [100 * (line["accuracy"] - theirs[line["seed"]]) for line in ran if line["seed"] in theirs]
    if len(differences) < 2:
        return [accuracy, f"{differences[0]:+.2f}" if differences else ""]
    half = student.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / math.sqrt(len(differences))
    return [accuracy, f"{statistics.mean(differences):+.2f} ± {half:.2f}"]


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown, a row for each number of pictures."""
    by_each: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for line in sorted(lines, key=lambda line: line["seed"]):
        by_each.setdefault(line["size_px"], {}).setdefault(line["method"], []).append(line)
    rows = [
        "| a class | tellapart | on features | lead, points | on standardised ones | lead, points | draws | training |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each, methods in sorted(by_each.items()):
        runs = methods.get("tellapart", [])
        ran = [line for line in runs if "error" not in line]
        errors = [line["error"].replace("|", "/") for line in runs if "error" in line]
        failed = f"{len(errors)} failed: {errors[-1]}" if errors else ""
        mean = f"{100 * statistics.mean(line['accuracy'] for line in ran):.2f} %" if ran else ""
        cells = [str(each), "; ".join(part for part in (mean, failed) if part)]
        for method in PLAIN:
            cells += lead(ran, methods.get(method, []))
        cells.append(str(max(len(some) for some in methods.values())))
        cells.append(f"{statistics.median(line['train_s'] for line in ran):.1f} s" if ran else "")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, metavar="PHOTOS", help="a folder of class folders")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="for features, logs and results")
    parser.add_argument("--torch", type=Path, required=True, metavar="DIR", help="the peers' environment `torch`")
    parser.add_argument("--each", default="5,10,20,50", help="photos a class to learn from")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--half", choices=["choose", "figure", "all"], default="figure")
    parser.add_argument("--most-test", type=int, metavar="N", help="test photos a class, at most")
    parser.add_argument("--options", default="", help="more options for `tellapart train`, in one string")
    parser.add_argument("--plain", action="store_true", help="only the plain sides, without tellapart")
    parser.add_argument("--again", action="store_true", help="repeat what failed")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    half = None if options.half == "all" else options.half
    results = work / f"few{'' if options.half == 'figure' else f'-{options.half}'}.jsonl"
    log = work / "few.log"
    features = None
    for each in (int(part) for part in options.each.split(",")):
        for seed in (int(part) for part in options.seeds.split(",")):
            wish = sets.Wish(options.photos, half, seed, None, options.most_test, 0.2)
            # The key of a run has a size; here it is that of the draw.
            job = {"set": f"few-{each}", "seed": seed, "seconds": 0, "size_px": each}
            there = compare.read(results)
            missing = []
            for method in PLAIN if options.plain else (*PLAIN, "tellapart"):
                before = there.get(compare.key({**job, "method": method}))
                if not before or (options.again and "error" in before):
                    missing.append(method)
            if not missing:
                continue
            data = work / f"few-{each}-{seed}"
            shutil.rmtree(data, ignore_errors=True)  # of an interrupted run
            sets.write(f"few-{each}", data, wish)
            for method in missing:
                try:
                    if method in PLAIN:
                        photos = sets.photographs(wish)
                        features = features or Features(
                            photos, work / "features.npz", options.torch / "bin" / "python", log
                        )
                        accuracy, n_test = plain(features, data, standardised=method == "standardised")
                        found = {"accuracy": accuracy, "n_test": n_test}
                    else:
                        found = ours(data, seed, options.options.split(), log)
                except product.RunError as error:
                    found = {"error": str(error)}
                compare.add(results, {**job, "method": method} | found)
                said = found.get("error") or f"{100 * found['accuracy']:.2f} %"
                print(f"{each} a class, seed {seed}, {method}: {said}", file=sys.stderr, flush=True)
            shutil.rmtree(data)
    print(table(compare.read(results).values()))


if __name__ == "__main__":
    main()
