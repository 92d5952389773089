"""Trainings that are killed at random moments, and gone on with: is the end the same, bit for bit, and is no work lost?

    python benchmarks/kills.py --kills 100 --json kills.json        about 15 minutes on two quiet cores
    python benchmarks/kills.py --cost                               what checkpoints cost; a minute and a half

Every process is a fresh one and ends by SIGKILL at a random moment: at any time from its start in a fifth of the
cases, else while it trains. After some kills the file that was written last is cut short or has bytes changed, as by a
power loss. The weights are compared with those of a training that was never stopped, and the steps that all processes
ran with the steps of one: a kill may cost an interval between two checkpoints, a damaged file one more. Pictures are
drawn.

Kinds: `tutorial` (dropout, shear, adadelta), `scratch` (crops, growing sizes, one-cycle SGD, dropout), `bfloat16` (the
same in mixed_bfloat16), `adamw` (label smoothing, early stopping, the user's own network with noise), `fine-tuning`
(the top of EfficientNet-Lite0, moving average).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

KINDS = ("tutorial", "scratch", "bfloat16", "adamw", "fine-tuning")
EVERY = 16  # steps between two checkpoints, at least
IN_FLIGHT = 8  # steps that Keras runs between two looks at the clock
DAMAGED = 0.2  # share of the kills after which the newest file is damaged
ANY_TIME = 0.2  # share of the kills that come at any time from the start of the process
LONGEST_S = 600.0  # of one process
LOG, RESULT, NOTES = "steps.log", "result.json", "notes.log"


# --- the process that trains


def train(kind: str, folder: Path) -> None:
    """Train, going on from what lies in the folder; log each step, and write the hash of the weights at the end."""
    from tellapart import attempts

    log = os.open(folder / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(text: str) -> None:
        with open(folder / NOTES, "a") as file:
            file.write(text + "\n")

    about = {"photos": "drawn", "asked": {"kind": kind}, "versions": {}}
    with attempts.begun(folder, about, resume=True, note=note) as attempt:
        run = fine_tuned if kind == "fine-tuning" else fitted
        weights, n_steps = run(
            kind, attempt.keeper("network"), lambda n: os.write(log, f"{os.getpid()} {n}\n".encode())
        )
        digest = hashlib.sha256()
        for one in weights:
            digest.update(one.tobytes())
        result = {"weights": digest.hexdigest(), "n_steps": n_steps, "resumed_from": attempt.resumed_from}
        (folder / RESULT).write_text(json.dumps(result))


def fitted(kind: str, keeper: Any, stepped: Any) -> tuple[list[Any], int]:
    """A network trained by `training.train`."""
    import keras
    import numpy as np

    from tellapart import config, models, policies, training
    from tellapart.batches import Batches

    small: dict[str, Any] = {"size_px": 32, "batch_size": 8, "epochs": 8, "dropout": 0.3}
    if kind == "tutorial":
        recipe = config.TUTORIAL.override(**small, channels=(8, 16), dense=(16,))
    elif kind == "adamw":
        recipe = config.OWN.override(size_px=32, store_px=32, batch_size=8, epochs=8, optimizer="adamw", patience=3)
    else:
        recipe = config.SCRATCH.override(**small, store_px=40, channels=(8, 16), grow_from=0.5)
    precision = "mixed_bfloat16" if kind == "bfloat16" else "float32"
    rng = np.random.default_rng(7)

    def batches(n: int, *, varied: bool) -> Batches:
        side = recipe.store_px if varied else recipe.size_px
        labels = np.arange(n) % 2
        pixels = rng.integers(0, 200, (n, side, side, 3)) + 8 * labels.reshape(-1, 1, 1, 1)
        return Batches(
            pixels.astype(np.uint8), np.arange(n), labels, class_names=("a", "b"), paths=[str(i) for i in range(n)],
            batch_size=8, seed=3, size_px=recipe.size_px, shuffle=varied,
            augmentation=(recipe.policy or policies.CROP) if varied else None,
            label_mode="binary" if kind == "tutorial" else "one_hot",
        )  # fmt: skip

    class Count(keras.callbacks.Callback):
        """Logs the steps of this process."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.before = -1

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            stepped(batch - self.before)
            self.before = batch

    keras.utils.set_random_seed(0)
    model = own_network() if kind == "adamw" else models.build(recipe, 2, dtype=precision)
    training_side = batches(300, varied=True)
    outcome = training.train(
        model, recipe, training_side, batches(40, varied=False), precision=precision, callbacks=[Count()], keeper=keeper
    )  # fmt: skip
    return outcome.model.get_weights(), recipe.epochs * training_side.n_batches


def own_network() -> Any:
    """A network as a user may bring one: noise, dropout, random flips and normalisation of its own."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 255),
            layers.RandomFlip("horizontal"),
            layers.GaussianNoise(0.1),
            layers.Conv2D(8, 3, strides=2),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.2),
            layers.Dense(2),
        ]
    )


def fine_tuned(kind: str, keeper: Any, stepped: Any) -> tuple[list[Any], int]:
    """The top of a backbone trained on activations that are drawn."""
    import numpy as np

    from tellapart import backbones, finetune

    backbone, size_px, n, epochs = backbones.BACKBONES["efficientnet-lite0"], 64, 320, 8
    rng = np.random.default_rng(7)
    head = backbones.Head(rng.normal(size=(1280, 2)).astype(np.float32) / 100, np.zeros(2, np.float32))
    values = rng.random((n + 64, 3, *finetune.cut_shape(backbone, size_px))).astype(np.float16)
    labels = np.arange(n + 64) % 2
    values[labels == 1] += 0.2
    steps = finetune.Steps(finetune.top(backbone, size_px, head), finetune._factors(finetune.BLOCKS), 0)
    rows = np.arange(n + 64)
    best = steps.train(
        values, (rows[:n], labels[:n]), (rows[n:], labels[n:]), epochs=epochs, until=float("inf"),
        progress=lambda done, total, detail: stepped(1), keeper=keeper,
    )  # fmt: skip
    return best.weights, epochs * (n // finetune.BATCH)


# --- the one that kills


def start(kind: str, folder: Path) -> subprocess.Popen[bytes]:
    """A fresh process."""
    every = "8steps" if kind == "fine-tuning" else f"{EVERY}steps"
    environment = {**os.environ, "TELLAPART_CHECKPOINT_EVERY": every, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, "--train", kind, "--folder", str(folder)]
    with open(folder / "errors.log", "ab") as errors:
        return subprocess.Popen(command, env=environment, stdout=errors, stderr=errors)


def unbroken(kind: str, folder: Path) -> dict[str, Any]:
    """What comes of a training that nothing stops, and when it begins to train and ends, s."""
    folder.mkdir()
    begun = time.perf_counter()
    process, first = start(kind, folder), 0.0
    while process.poll() is None:
        if not first and (folder / LOG).exists() and (folder / LOG).stat().st_size:
            first = time.perf_counter() - begun
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{kind} failed: {(folder / 'errors.log').read_text()[-2000:]}")
    result = json.loads((folder / RESULT).read_text())
    return result | {"first_s": first, "all_s": time.perf_counter() - begun, "steps": steps_run(folder)}


def steps_run(folder: Path) -> int:
    """The steps that all processes logged."""
    if not (folder / LOG).exists():
        return 0
    lines = (folder / LOG).read_bytes().split(b"\n")
    return sum(int(line.split()[1]) for line in lines if len(line.split()) == 2)


def killed(process: subprocess.Popen[bytes], folder: Path, reference: dict[str, Any], rng: random.Random) -> bool:
    """Kill it at a random moment; False where it was through before."""
    begun = time.perf_counter()
    steps = steps_run(folder)
    if rng.random() < ANY_TIME:
        wait = rng.uniform(0, reference["first_s"])
    else:
        while process.poll() is None and steps_run(folder) == steps and time.perf_counter() - begun < LONGEST_S:
            time.sleep(0.01)
        begun, wait = time.perf_counter(), rng.uniform(0, 0.7 * (reference["all_s"] - reference["first_s"]))
    while process.poll() is None and time.perf_counter() - begun < wait:
        time.sleep(0.005)
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True


def damage(folder: Path, rng: random.Random) -> bool:
    """Cut the newest checkpoint short, or change bytes of it, as a power loss can; False where there is none."""
    found = sorted((folder / "checkpoints").glob("*/*.npz"), key=lambda path: path.name)
    if not found:
        return False
    content = bytearray(found[-1].read_bytes())
    if rng.random() < 0.7:
        del content[rng.randrange(len(content)) :]
    else:
        at = rng.randrange(len(content))
        content[at : at + 4096] = bytes(min(4096, len(content) - at))
    found[-1].write_bytes(bytes(content))
    return True


def one(kind: str, folder: Path, reference: dict[str, Any], most: int, rng: random.Random) -> dict[str, Any]:
    """One training, killed until it is through, `most` times at most."""
    folder.mkdir()
    kills = damaged = 0
    while True:
        process = start(kind, folder)
        if kills < most and killed(process, folder, reference, rng):
            kills += 1
            damaged += rng.random() < DAMAGED and damage(folder, rng)
            continue
        process.wait(LONGEST_S)
        break
    done = (folder / RESULT).exists() and process.returncode == 0
    result = json.loads((folder / RESULT).read_text()) if done else {}
    interval = 8 if kind == "fine-tuning" else EVERY + IN_FLIGHT
    steps = steps_run(folder)
    notes = (folder / NOTES).read_text().splitlines() if (folder / NOTES).exists() else []
    return {
        "kind": kind,
        "kills": kills,
        "damaged": damaged,
        "exact": result.get("weights") == reference["weights"],
        "steps": steps,
        "promised_steps": reference["steps"] + (kills + damaged) * interval,
        "went_on": sum(line.startswith("Going on from step") for line in notes),
        "damage_named": sum("is damaged" in line for line in notes),
        "error": "" if done else (folder / "errors.log").read_text()[-1000:],
    }


def cost() -> dict[str, Any]:
    """What checkpoints cost a training of the tutorial's own network at the ordinary interval, as a share of time."""
    import keras
    import numpy as np

    from tellapart import checkpoints, config, models, training
    from tellapart.batches import Batches

    recipe, n = config.TUTORIAL.override(epochs=1000), 3200
    pixels = np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)
    source = Batches(
        pixels, np.arange(n), np.arange(n) % 2, class_names=("a", "b"), paths=[str(i) for i in range(n)],
        batch_size=recipe.batch_size, size_px=64, augmentation=recipe.policy, label_mode="binary",
    )  # fmt: skip
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory(prefix="tellapart-cost-") as folder:
        keeper = checkpoints.Keeper(Path(folder), "network", interval=checkpoints.Interval())
        outcome = training.train(
            models.build(recipe, 2), recipe, source, None, precision="float32", keeper=keeper,
            deadline=time.monotonic() + 75,
        )  # fmt: skip
        sizes = [path.stat().st_size for path in Path(folder).iterdir()]
    return {
        "seconds": round(outcome.seconds, 1),
        "seconds_of_checkpoints": round(keeper.spent_s, 2),
        "share": round(keeper.spent_s / outcome.seconds, 4),
        "largest_bytes": max(sizes),
        "weights": int(outcome.model.count_params()),
    }


def measure(n_kills: int, kinds: list[str], seed: int, where: Path) -> dict[str, Any]:
    """Kill until there were so many."""
    rng, begun = random.Random(seed), time.perf_counter()
    references = {kind: unbroken(kind, where / f"unbroken-{kind}") for kind in kinds}
    again = unbroken(kinds[0], where / "again")
    trainings: list[dict[str, Any]] = []
    while (left := n_kills - sum(each["kills"] for each in trainings)) > 0:
        kind = kinds[len(trainings) % len(kinds)]
        folder = where / f"training-{len(trainings)}"
        trainings.append(one(kind, folder, references[kind], left, rng))
        shutil.rmtree(folder)
        print(json.dumps(trainings[-1]), file=sys.stderr, flush=True)
    return {
        "kills": sum(each["kills"] for each in trainings),
        "damaged_files": sum(each["damaged"] for each in trainings),
        "trainings": len(trainings),
        "exact": sum(each["exact"] for each in trainings),
        "lost": sum(not each["exact"] for each in trainings),
        "within_promised_steps": sum(each["steps"] <= each["promised_steps"] for each in trainings),
        "steps": sum(each["steps"] for each in trainings),
        "steps_unbroken": sum(references[each["kind"]]["steps"] for each in trainings),
        "unbroken_runs_equal": again["weights"] == references[kinds[0]]["weights"],
        "seconds": round(time.perf_counter() - begun, 1),
        "seed": seed,
        "each": trainings,
    }


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="where to write the figures; standard output without")
    parser.add_argument("--cost", action="store_true", help="what checkpoints cost, as a share of the time")
    parser.add_argument("--train", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        train(given.train, given.folder)
        return
    if given.cost:
        print(json.dumps(cost(), indent=1))
        return
    with tempfile.TemporaryDirectory(prefix="tellapart-kills-") as folder:
        found = measure(given.kills, given.kinds, given.seed, Path(folder))
    text = json.dumps(found, indent=1)
    if given.json:
        Path(given.json).write_text(text + "\n")
    else:
        print(text)
    if found["lost"] or found["within_promised_steps"] < found["trainings"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
