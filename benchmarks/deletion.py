"""Whether heat maps show where the network looked: delete the hot part, and as much elsewhere, and ask again.

    python benchmarks/deletion.py MODEL PHOTOS [--n 500] [--draws 2] [--shares 0.1 0.2] [--seed N]

PHOTOS are pictures that the model was not trained on; what stands in its bundle is passed over. On each, the class that
the model answers is explained, and the hottest tenth (fifth) of the map is deleted: put out of focus, or painted with
the picture's mean colour. For comparison as much is deleted elsewhere, at random: a part of the same shape moved to
another place (`--draws` times), and blocks strewn over the rest (once). Printed, as a Markdown table: what the class's
lead loses (its log-odds, which move where a probability is as good as 1), the share of pictures on which it loses more
with the hot part than with the others, on the mean of the draws, and the time of a heat map.

The network runs by the fastest way that the machine has for many pictures; heat maps are the product's own.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from tellapart import bundle, deletions, explain, files, preprocess, streams
from tellapart.engine import LOGITS

GROUP = 16  # pictures whose versions are asked about at once


def sample(photos: Path, known: set[str], how: preprocess.Preprocess, n: int, seed: int) -> list[np.ndarray]:
    """Squares, uint8 (S, S, 3), of `n` pictures drawn at random from those whose content is not known."""
    paths = sorted(found.path for found in files.walk(photos) if found.reason is None)
    squares = []
    for i in np.random.default_rng(seed).permutation(len(paths)):
        data = Path(paths[i]).read_bytes()
        if hashlib.sha256(data).hexdigest() not in known:
            squares.append(preprocess.load(data, how))
        if len(squares) == n:
            break
    return squares


def versions(
    square: np.ndarray, heat: np.ndarray, shares: list[float], draws: int, rng: np.random.Generator
) -> tuple[list[tuple[float, str, str]], list[np.ndarray]]:
    """The picture without this part and without that: (share, fill, which part) of each, and its pixels."""
    names, changed = [], []
    for share in shares:
        hot = deletions.hottest(heat, share)
        parts = [("hot", hot)]
        parts += [("moved", deletions.elsewhere(hot, rng)) for _ in range(draws)]
        parts.append(("strewn", deletions.scattered(hot, rng)))
        for fill in deletions.FILLS:
            for which, mask in parts:
                names.append((share, fill, which))
                changed.append(deletions.without(square, mask, fill))
    return names, changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.2])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()

    loaded = bundle.read(asked.model)
    how = preprocess.Preprocess.from_dict(loaded.manifest["preprocess"])
    known = {content for side in loaded.splits().values() for content in side}
    squares = sample(asked.photos, known, how, asked.n, asked.seed)
    explainer = explain.Explainer(loaded)
    way = streams.ways()[-1]
    stream = streams.Stream(loaded.members["model.onnx"], [LOGITS], way)

    def logits(pictures: list[np.ndarray]) -> np.ndarray:
        batches = (np.stack(pictures[i : i + streams.BATCH]) for i in range(0, len(pictures), streams.BATCH))
        return np.concatenate([found for (found,) in stream.run(batches)])

    before = logits(squares)
    answers = before.argmax(1)
    leads = deletions.lead(before, answers)
    rng = np.random.default_rng(asked.seed)
    explainer.heat(squares[0][None], answers[:1])  # what is done once is not a picture's own time
    seconds, processor, after = [], [], defaultdict(list)
    for start in range(0, len(squares), GROUP):
        names, changed, whose = [], [], []
        for i in range(start, min(start + GROUP, len(squares))):
            began, worked = time.perf_counter(), time.process_time()
            heat = explainer.heat(squares[i][None], answers[i : i + 1])[0]
            seconds.append(time.perf_counter() - began)
            processor.append(time.process_time() - worked)
            enlarged = explain.enlarged(heat, how.size_px)
            some, pixels = versions(squares[i], enlarged, asked.shares, asked.draws, rng)
            names += some
            changed += pixels
            whose += [i] * len(some)
        lost = defaultdict(list)
        found = deletions.lead(logits(changed), answers[whose])
        for i, name, lead in zip(whose, names, found, strict=True):
            lost[i, name].append(leads[i] - lead)
        for (_, name), values in lost.items():
            after[name].append(np.mean(values))
        print(f"{start + GROUP} of {len(squares)}", file=sys.stderr, flush=True)

    print(
        f"{len(squares)} pictures, {heat.shape[0]}×{heat.shape[1]} places, {asked.draws} draws of the same shape, ",
        end="",
    )
    print(f"seed {asked.seed}; asked again by {way}. Mean lead before: {leads.mean():.1f} (log-odds).\n")
    print(
        "| deleted | by | lead lost: hot | same shape elsewhere | strewn | hot loses more than same shape | … strewn |"
    )
    print("|---|---|---|---|---|---|---|")
    for share in asked.shares:
        for fill in deletions.FILLS:
            hot, moved, strewn = (np.array(after[share, fill, which]) for which in ("hot", "moved", "strewn"))
            means = " | ".join(f"{each.mean():.2f}" for each in (hot, moved, strewn))
            wins = " | ".join(f"{np.mean(hot > each):.1%}" for each in (moved, strewn))
            print(f"| {share:.0%} | {fill} | {means} | {wins} |")
    print(
        f"\nA heat map: {1000 * np.median(seconds):.0f} ms (median), {1000 * np.median(processor):.0f} ms of the",
        end="",
    )
    print(" processor on all cores.")


if __name__ == "__main__":
    main()
