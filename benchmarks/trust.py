"""Whether a trained model's own word about its answers can be believed.

    python benchmarks/trust.py SET… [--seeds 20] [--recipe transfer] [--no-fine-tune]

Each SET is a folder with train/<class> and test/<class> (`benchmarks/sets.py` makes some). For each seed a model is
trained by `tellapart.train`; temperature, thresholds and sets come from pictures that it held out of training, and are
judged on the test pictures, which nothing was chosen by. Prints a Markdown table: mean over seeds, and the worst seed.

- ECE: expected calibration error, 15 equal-width bins, before (temperature 1) and after. A perfectly calibrated model
  would not get 0 of so few pictures: the column "by chance" is its mean ECE when labels are drawn from its own
  probabilities.
- coverage: how often the set of classes for `--coverage 0.95` (0.9) holds the right class, and its mean size.
- sure: accuracy of the answers with `--sure`, and the share of pictures that is answered.
- own: share of the test pictures that is not refused as strangers; the target is 0.98.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

import numpy as np

import tellapart
from tellapart import guards, metrics
from tellapart.errors import SettingsError

COVERAGES, SURE = (0.9, 0.95), (0.95, 0.99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--recipe", default="transfer")
    parser.add_argument("--budget")
    parser.add_argument("--no-fine-tune", action="store_true")
    asked = parser.parse_args()
    options = {"fine_tune": False} if asked.no_fine_tune else {}
    print(
        "| set | test pictures | accuracy | temperature | ECE before | after (worst seed) | by chance "
        "| 90 % sets: coverage, size | 95 % sets: coverage, size | `--sure 0.95`: right, answered "
        "| `--sure 0.99`: right, answered | own |"
    )
    print("|" + "---|" * 12)
    for folder in asked.sets:
        rows = []
        for seed in range(asked.seeds):
            model = tellapart.train(
                folder, recipe=asked.recipe, seed=seed, budget=asked.budget, progress=False, **options
            )
            rows.append(judged(model, seed))
        print(line(folder.name, rows), flush=True)


def judged(model: tellapart.Classifier, seed: int) -> dict[str, float]:
    evaluation, manifest = model.evaluation, model.bundle.manifest
    assert evaluation is not None
    rows, labels = evaluation.probabilities, evaluation.labels
    hot = manifest["temperature"]
    raw = metrics.softmax(np.log(np.maximum(rows, 1e-300)) * hot)
    held = guards.from_bytes(model.bundle.members[guards.MEMBER])
    rng = np.random.default_rng(seed)
    found = {
        "n": len(labels),
        "accuracy": evaluation.accuracy,
        "temperature": hot,
        "before": metrics.expected_calibration_error(raw, labels),
        "after": metrics.expected_calibration_error(rows, labels),
        "chance": np.mean([metrics.expected_calibration_error(rows, drawn(rows, rng)) for _ in range(20)]),
        "own": evaluation.answered.mean(),
    }
    for coverage in COVERAGES:
        least = guards.least_probability(held, coverage)
        sets = [guards.label_set(row, least) for row in rows]
        found[f"covered {coverage}"] = np.mean([label in each for label, each in zip(labels, sets, strict=True)])
        found[f"size {coverage}"] = np.mean([len(each) for each in sets])
    for share in SURE:
        found[f"right {share}"] = found[f"answered {share}"] = np.nan
        with contextlib.suppress(SettingsError):  # there is no such threshold: the table says so
            guard = guards.aimed(held, guards.Targets(sure=share))
            answered = rows.max(axis=1) >= guard.confidence
            found[f"right {share}"] = np.mean(rows.argmax(axis=1)[answered] == labels[answered])
            found[f"answered {share}"] = answered.mean()
    return found


def drawn(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rows.cumsum(axis=1) < rng.random((len(rows), 1))).sum(axis=1).clip(0, rows.shape[1] - 1)


def line(name: str, rows: list[dict[str, float]]) -> str:
    def mean(key: str) -> float:
        values = np.array([row[key] for row in rows])
        return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan

    def worst(key: str) -> float:
        return max(row[key] for row in rows)

    def sure(share: float) -> str:
        reached = sum(np.isfinite(row[f"right {share}"]) for row in rows)
        if not reached:
            return "not to be had"
        where = "" if reached == len(rows) else f" ({reached} of {len(rows)} seeds)"
        return f"{mean(f'right {share}'):.1%}, {mean(f'answered {share}'):.1%}{where}"

    cells = [
        name,
        f"{mean('n'):,.0f}",
        f"{mean('accuracy'):.2%}",
        f"{mean('temperature'):.2f}",
        f"{mean('before'):.4f}",
        f"{mean('after'):.4f} ({worst('after'):.4f})",
        f"{mean('chance'):.4f}",
        *(f"{mean(f'covered {coverage}'):.1%}, {mean(f'size {coverage}'):.2f}" for coverage in COVERAGES),
        *(sure(share) for share in SURE),
        f"{mean('own'):.1%}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
