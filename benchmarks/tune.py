"""What tuning brings: `tellapart train` by default against `train --recipe` of what `tune` found, on test pictures.

    python benchmarks/tune.py --work DIR [--sets textures,shapes,digits] [--each 60] [--each-test 150] [--budget 5m]
                              [--photos PHOTOS] [--seed N] [--options "--recipe both"]

For each set (see `sets.py`) four commands run from an empty home folder, on the same training pictures: `train`; `tune`
with the budget; `train --recipe` of what it wrote; and `train --budget` with as much time as tuning and training took
together, for who would rather give it to one training. Then, once, the two others are compared with the default's model
on the test pictures, picture by picture (`tellapart compare`). tune never sees a test picture.

How to read: accuracies are of the test pictures. A lead is over the default, in points, with its 95 % interval
(Tango). "Told" is what `tune` said before anybody looked at the test: the difference on its validation pictures, and
what it expects after the luck of choosing is taken off. Every set adds a line to DIR/tune.jsonl; what stands there is
not run again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import product
import sets


def measured(name: str, work: Path, wish: sets.Wish, budget: str, options: list[str]) -> dict[str, Any]:
    """One set, all four commands and both comparisons."""
    with tempfile.TemporaryDirectory(prefix="tellapart-tune-") as folder:
        place, log = Path(folder), work / f"{name}.log"
        data, environment = place / name, product.clean(place / "home")
        counts = sets.write(name, data, wish)
        seed = ["--seed", str(wish.seed)]
        default, tuned, longer = (place / f"{each}.tellapart" for each in ("default", "tuned", "longer"))
        recipe, told = place / "recipe.toml", place / "told.json"
        first, _ = product.train(data, default, *seed, log=log, environment=environment)
        arguments = ["--budget", budget, "-o", str(recipe), "--json", str(told), *seed, *options]
        looked = product.run("tune", data, *arguments, log=log, environment=environment)
        again, made = product.train(data, tuned, "--recipe", str(recipe), log=log, environment=environment)
        seconds = looked.seconds + again.seconds
        product.train(data, longer, "--budget", f"{seconds:.0f}", *seed, log=log, environment=environment)
        found = json.loads(told.read_text())
        compared = {}
        for other in (tuned, longer):
            out = place / "compared.json"
            asked = [default, other, data, "--json", out, "--force"]
            product.run("compare", *asked, log=log, environment=environment)
            compared[other.stem] = json.loads(out.read_text())
        (work / f"{name}.toml").write_text(recipe.read_text())
    return {
        "set": name,
        "n_train": counts["train"].total(),
        "n_test": compared["tuned"]["n"],
        "default": compared["tuned"]["a"]["accuracy"],
        "tuned": compared["tuned"]["b"]["accuracy"],
        "longer": compared["longer"]["b"]["accuracy"],
        "lead": _lead(compared["tuned"]),
        "longer_lead": _lead(compared["longer"]),
        "gain": found["gain"],
        "trials": found["counts"],
        "recipe": made["plan"],
        "seconds": {"train": first.seconds, "tune": looked.seconds, "again": again.seconds},
        "budget": budget,
        "options": options,
    }


def _lead(compared: dict[str, Any]) -> list[float]:
    """Difference and interval of the second model over the first, shares."""
    return [compared["difference"], *compared["difference_interval"]]


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown, a row for each set."""
    rows = [
        "| set | learned from | test | default | tuned | lead, points | one training as long | lead, points "
        "| told, points | trials | the recipe |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        gain, trials, recipe = line["gain"], line["trials"], line["recipe"]
        said = "" if gain is None else f"{100 * gain['difference']:+.1f}, expected {100 * gain['expected']:+.1f}"
        what = f"{recipe.get('backbone') or recipe['name']}, {recipe['size_px']} px"
        done = f"{trials['complete']}, {trials['pruned']} given up"
        cells = [line["set"], f"{line['n_train']:,}", f"{line['n_test']:,}", f"{line['default']:.1%}"]
        cells += [f"{line['tuned']:.1%}", _points(line["lead"]), f"{line['longer']:.1%}", _points(line["longer_lead"])]
        rows.append(f"| {' | '.join([*cells, said, done, what])} |")
    return "\n".join(rows)


def _points(lead: list[float]) -> str:
    middle, low, high = (100 * each for each in lead)
    return f"{middle:+.1f} ({low:+.1f} to {high:+.1f})"


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="for results and logs")
    parser.add_argument("--sets", default="textures,shapes,digits", metavar="A,B")
    parser.add_argument("--photos", type=Path, metavar="PHOTOS", help="a folder of class folders, for sets of photos")
    parser.add_argument("--each", type=int, default=60, metavar="N", help="training pictures a class, at most")
    parser.add_argument("--each-test", type=int, default=150, metavar="N", help="test pictures a class, at most")
    parser.add_argument("--budget", default="5m", metavar="TIME", help="of tune")
    parser.add_argument("--options", default="", help="more options for tune, in one string")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    wish = sets.Wish(options.photos, None, options.seed, options.each, options.each_test, 0.4)
    results = options.work / "tune.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    for name in options.sets.split(","):
        if all(line["set"] != name for line in lines):
            try:
                lines.append(measured(name, options.work, wish, options.budget, shlex.split(options.options)))
            except product.RunError as error:
                sys.exit(f"{name}: {error}")
            with open(results, "a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
    print(table(lines))


if __name__ == "__main__":
    main()
