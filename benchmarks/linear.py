"""Whether `tellapart check` stays linear in time and flat in memory: 10,000, 30,000 and 100,000 pictures.

    python benchmarks/linear.py --photos PHOTOS --work DIR [--sizes 10000,30000,100000] [--modes quick,full]

The pictures are PHOTOS, each several times: as it is; with a comment in its JPEG, so that the bytes are others and the
pixels the same; and as a crop of half its width and height, somewhere, which is another picture. A smaller size has
fewer photos and the same mixture. Each run is a process of its own from an empty home folder; DIR/linear.jsonl has a
line a run, and what stands there is not run again.

How to read: "grows as" is the power of the number of pictures by which a figure rises from the size before: 1 is
linear, 0 is flat. "A thousand more" is what each further thousand pictures cost since the size before.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import headline
import planting
import product

CROP = 0.5  # of width and height
MODES = {"quick": ("--quick",), "full": ()}
Job = tuple[str, str, int, int]  # the photo, where it goes, the version of it, the seed


def jobs(photos: Sequence[Path], root: Path, to: Path, n: int, most: int, seed: int) -> list[Job]:
    """The first `n` of `most` pictures: all versions of one photo, then the next, in an order drawn by the seed."""
    versions = math.ceil(most / len(photos))
    order = np.random.default_rng([seed, 0]).permutation(len(photos)).tolist()
    some = []
    for number, (i, version) in enumerate(itertools.islice(itertools.product(order, range(versions)), n)):
        label = photos[i].relative_to(root).parts[0]
        some.append(
            (str(photos[i]), str(to / label / f"{number:07d}{photos[i].suffix.lower()}"), version, seed + number)
        )
    return some


def write(job: Job) -> None:
    """Version 0 is linked, odd ones have a comment, even ones are crops."""
    source, place, version, seed = job
    if version == 0:
        os.link(os.path.realpath(source), place)
    elif version % 2:
        Path(place).write_bytes(commented(Path(source).read_bytes(), f"{version}"))
    else:
        Path(place).write_bytes(cropped(Path(source).read_bytes(), np.random.default_rng(seed)))


def commented(data: bytes, text: str) -> bytes:
    """The same picture with a comment: a JPEG's COM segment (ITU-T T.81, B.2.4.5); elsewhere bytes after the end."""
    note = text.encode()
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd8\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + data[2:]
    return data + note


def cropped(data: bytes, rng: np.random.Generator) -> bytes:
    """A window of half the width and height, somewhere, in the photo's format."""
    image = Image.open(io.BytesIO(data))
    form, image = image.format, image.convert("RGB")
    width, height = (max(1, round(CROP * side)) for side in image.size)
    left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
    file = io.BytesIO()
    image.crop((left, top, left + width, top + height)).save(file, form, **({"quality": 88} if form == "JPEG" else {}))
    return file.getvalue()


def fill(photos: Path, to: Path, n: int, most: int, seed: int) -> None:
    """Write a set into a new folder; it appears when it is complete."""
    temporary = to.with_name(f".{to.name}.tmp")
    found = planting.files(photos)
    some = jobs(found, photos, temporary, n, most, seed)
    for folder in {Path(place).parent for _, place, _, _ in some}:
        folder.mkdir(parents=True, exist_ok=True)
    for _, place, _, _ in some:
        Path(place).unlink(missing_ok=True)  # of an interrupted run
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(write, some, chunksize=64):
            pass
    temporary.replace(to)


def measured(pictures: Path, mode: str, work: Path) -> dict[str, Any]:
    """One run: seconds, peak memory in MB, what it left in its cache in MB, and the numbers of its findings."""
    headline.read_all(pictures)
    with tempfile.TemporaryDirectory(prefix="tellapart-linear-", dir=work) as name:
        home, said, log = Path(name, "home"), Path(name, "said.json"), work / "linear.log"
        arguments = ["check", pictures, "--json", said, *MODES[mode]]
        used = product.run(*arguments, log=log, environment=product.clean(home))
        left = sum(path.lstat().st_size for path in home.rglob("*") if path.is_file()) / 1e6
        result = json.loads(said.read_text())
    return {
        "seconds": used.seconds,
        "cpu_s": used.cpu_s,
        "peak_mb": used.peak_mb,
        "cache_mb": left,
        "stages": result.get("seconds", {}),
        "counts": result.get("counts", {}),
    }


def power(before: tuple[float, float], after: tuple[float, float]) -> float:
    """p of y = c·xᵖ through two points (x, y)."""
    return math.log(after[1] / before[1]) / math.log(after[0] / before[0])


def table(lines: Iterable[dict[str, Any]]) -> str:
    """Markdown, a row a run."""
    rows = [
        "| check | pictures | time | processor | a thousand more | grows as | peak memory | grows as | cache |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    before: dict[str, dict[str, Any]] = {}
    for line in sorted(lines, key=lambda line: (line["mode"], line["n"])):
        first, n = before.get(line["mode"]), line["n"]
        more, time, memory = "", "", ""
        if first:
            more = f"{1000 * (line['seconds'] - first['seconds']) / (n - first['n']):.2f} s"
            time, memory = (f"n^{power((first['n'], first[k]), (n, line[k])):.2f}" for k in ("seconds", "peak_mb"))
        cells = [line["mode"], f"{n:,}", f"{line['seconds']:.0f} s", f"{line['cpu_s']:.0f} s", more, time]
        cells += [f"{line['peak_mb']:,.0f} MB", memory, f"{line['cache_mb']:,.0f} MB"]
        rows.append(f"| {' | '.join(cells)} |")
        before[line["mode"]] = line
    return "\n".join(rows)


def main() -> None:
    """Make the sets, run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, metavar="PHOTOS", help="a folder of class folders")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="for the sets (3 GB) and results")
    parser.add_argument("--sizes", default="10000,30000,100000", metavar="N,N")
    parser.add_argument("--modes", default="quick,full", help=f"of {', '.join(MODES)}")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sizes = sorted(int(part) for part in options.sizes.split(","))
    work, results = options.work.resolve(), options.work.resolve() / "linear.jsonl"
    work.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    for n in sizes:
        pictures = work / f"{n}"
        if not pictures.exists():
            fill(options.photos.resolve(), pictures, n, sizes[-1], options.seed)
        for mode in options.modes.split(","):
            if any((line["n"], line["mode"]) == (n, mode) for line in lines):
                continue
            try:
                lines.append({"n": n, "mode": mode} | measured(pictures, mode, work))
            except product.RunError as error:
                print(f"{mode}, {n:,}: {error}", file=sys.stderr, flush=True)
                continue
            with open(results, "a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            print(f"{mode}, {n:,}: {lines[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
    print(table(lines))


if __name__ == "__main__":
    main()
