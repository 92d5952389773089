"""The tutorial as people run it today against `tellapart train --recipe tutorial`, in turn, on the same split.

    python benchmarks/tutorial.py --data PHOTOS [--seeds 0,1,2] [--epochs 10] [--markdown FILE]

Both sides train the same network (Conv 32, pool, Conv 64, pool, Dense 128, dropout, one sigmoid; Adadelta at 1.0, batch
32) on the same training pictures, look at the same validation pictures after every epoch, and are tested once on the
same test pictures, with the weights of the last epoch and, apart, with those of the best validation epoch. Each side is
a process of its own, from an empty cache, timed from start to exit by the operating system.

The tutorial's side is its own code: `ImageDataGenerator` (from `keras.src.legacy`), `flow_from_directory`, `fit`.
Ratios are of the same seed's pair of runs; machines differ, ratios hardly.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EPOCHS, BATCH, SIZE_PX = 10, 32, 64


def link_split(data: Path, to: Path) -> dict[str, int]:
    """Link the pictures of class folders into to/{training,validation,test}/<class>: 80, 10 and 10 %."""
    from tellapart import catalog, splits

    entries = catalog.scan(data).entries
    sides = splits.assign(entries, seed=0)
    counts = {}
    for folder, side in (("training", "train"), ("validation", "validation"), ("test", "test")):
        chosen = getattr(sides, side)
        counts[folder] = len(chosen)
        for i in chosen:
            link = to / folder / entries[i].label / Path(entries[i].path).name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(entries[i].path).resolve())
    return counts


def flow(folder: Path, *, varied: bool, size_px: int = SIZE_PX, flip: bool = True, mode: str = "binary") -> Any:
    """The tutorial's reading of a folder of class folders: `varied` and shuffled for training, or as it is."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    variation = {"shear_range": 0.2, "zoom_range": 0.2, "horizontal_flip": flip} if varied else {}
    return ImageDataGenerator(rescale=1 / 255, **variation).flow_from_directory(
        str(folder), target_size=(size_px, size_px), batch_size=BATCH, class_mode=mode, shuffle=varied
    )


def network(size_px: int = SIZE_PX, n_classes: int = 2) -> Any:
    """The tutorial's network, compiled; for more than two classes it ends in a softmax."""
    import keras
    from keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D

    last = Dense(1, activation="sigmoid") if n_classes == 2 else Dense(n_classes, activation="softmax")
    model = keras.Sequential(
        [
            keras.Input((size_px, size_px, 3)),
            Conv2D(32, (3, 3), activation="relu"),
            MaxPooling2D((2, 2)),
            Conv2D(64, (3, 3), activation="relu"),
            MaxPooling2D((2, 2)),
            Flatten(),
            Dense(128, activation="relu"),
            Dropout(0.2),
            last,
        ]
    )
    # The rate of the tutorial's day. With today's default of 0.001 the network hardly learns.
    loss = "binary_crossentropy" if n_classes == 2 else "categorical_crossentropy"
    model.compile(keras.optimizers.Adadelta(1.0), loss, metrics=["accuracy"])
    return model


def tutorial(split: Path, seed: int, epochs: int) -> dict[str, float]:
    """The tutorial's own code; what it reaches on the test pictures."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    keras.utils.set_random_seed(seed)
    training = flow(split / "training", varied=True)
    validation, test = (flow(split / side, varied=False) for side in ("validation", "test"))
    model = network()
    best = split.parent / f"best-{seed}.weights.h5"
    keep = keras.callbacks.ModelCheckpoint(best, "val_accuracy", save_best_only=True, save_weights_only=True)
    start = time.perf_counter()
    model.fit(training, validation_data=validation, epochs=epochs, callbacks=[keep], verbose=0)
    seconds = time.perf_counter() - start
    last = model.evaluate(test, verbose=0)[1]
    model.load_weights(best)
    return {"fit_s": seconds, "last": last, "best": model.evaluate(test, verbose=0)[1]}


def run(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Run a command to its end: wall seconds, processor seconds of all its threads, peak memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        sys.exit(f"{' '.join(command)} ended with status {os.waitstatus_to_exitcode(status)}")
    peak = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    return {"total_s": seconds, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": peak}


def theirs(split: Path, seed: int, epochs: int, scratch: Path) -> dict[str, float]:
    """The tutorial in a process of its own."""
    out = scratch / f"theirs-{seed}.json"
    side = [sys.executable, __file__, "--side", "tutorial", "--data", str(split), "--seeds", str(seed)]
    used = run([*side, "--epochs", str(epochs), "--out", str(out)], dict(os.environ))
    return json.loads(out.read_text()) | used


def ours(split: Path, seed: int, epochs: int, scratch: Path) -> dict[str, float]:
    """`tellapart train --recipe tutorial` in a process of its own, from an empty cache."""
    out, bundle = scratch / f"ours-{seed}-{epochs}.json", scratch / f"ours-{seed}-{epochs}.tellapart"
    with tempfile.TemporaryDirectory(dir=scratch) as cache:
        command = [sys.executable, "-m", "tellapart", "train", str(split), "--recipe", "tutorial"]
        command += ["--epochs", str(epochs), "--seed", str(seed), "--cache", cache, "-o", str(bundle)]
        used = run([*command, "--json", str(out)], dict(os.environ))
    result = json.loads(out.read_text())
    record = result["training"]
    assert record["epochs"] == epochs, "a run that stopped early would not be the tutorial's"
    assert record["pictures_seen"] == epochs * record["pictures_per_epoch"]
    return {"fit_s": record["seconds"], "best": result["accuracy"], **used, "precision": record["precision"],
            "times": result["times"]}  # fmt: skip


def table(counts: dict[str, int], pairs: list[tuple[dict, dict]], epochs: int, short: dict | None) -> str:
    """The measured pairs in Markdown."""

    def middle(side: int, key: str) -> float:
        return statistics.median(pair[side][key] for pair in pairs)

    def row(name: str, key: str, form: str, scale: float = 1.0) -> str:
        each = [form.format(middle(side, key) * scale) for side in (0, 1)]
        ratio = statistics.median(pair[0][key] / pair[1][key] for pair in pairs)
        return f"| {name} | {each[0]} | {each[1]} | {ratio:.2f} × |"

    accuracies = [
        f"| test accuracy, seed {i} | {100 * a['best']:.1f} % (last epoch {100 * a['last']:.1f} %) "
        f"| {100 * b['best']:.1f} % | |"
        for i, (a, b) in enumerate(pairs)
    ]
    means = [statistics.mean(pair[side]["best"] for pair in pairs) for side in (0, 1)]
    lines = [
        f"{counts['training']:,} training, {counts['validation']:,} validation, {counts['test']:,} test pictures; "
        f"{epochs} epochs; median of {len(pairs)} pairs of runs; {pairs[0][1]['precision']} for tellapart.",
        "",
        "| | the tutorial's own code | `tellapart train --recipe tutorial` | ratio |",
        "|---|---|---|---|",
        row("one epoch, validation included", "fit_s", "{:.1f} s", 1 / epochs),
        row(f"{epochs} epochs", "fit_s", "{:.0f} s"),
        row("from start to exit, decoding, test and saving included", "total_s", "{:.0f} s"),
        row("processor time, of which other programs take nothing", "cpu_s", "{:.0f} s"),
        row("peak memory", "peak_mb", "{:.0f} MB"),
        *accuracies,
        f"| test accuracy, mean | {100 * means[0]:.1f} % | {100 * means[1]:.1f} % | |",
    ]
    if short:
        grown = pairs[0][1]["peak_mb"] / short["peak_mb"]
        lines += ["", f"Peak memory of {epochs} epochs is {grown:.2f} times that of 2 ({short['peak_mb']:.0f} MB)."]
    return "\n".join(lines)


def main() -> None:
    """Run both sides in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of class folders, two classes")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--markdown", type=Path, help="write the table there as well")
    parser.add_argument("--side", choices=["tutorial"], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    if options.side == "tutorial":
        options.out.write_text(json.dumps(tutorial(options.data, seeds[0], options.epochs)))
        return
    with tempfile.TemporaryDirectory(prefix="tellapart-bench-") as folder:
        scratch, split = Path(folder), Path(folder, "split")
        counts = link_split(options.data, split)
        pairs = []
        for seed in seeds:
            pairs.append((theirs(split, seed, options.epochs, scratch), ours(split, seed, options.epochs, scratch)))
            print(f"seed {seed}: {json.dumps(pairs[-1])}", flush=True)
        short = ours(split, seeds[0], 2, scratch) if options.epochs > 2 else None
        text = table(counts, pairs, options.epochs, short)
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n")


if __name__ == "__main__":
    main()
