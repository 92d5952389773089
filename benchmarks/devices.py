"""Training on two processes against one: how far weights part after 50 steps, and pictures a second.

    python benchmarks/devices.py [--steps 50] [--only scratch]

Needs JAX. Pictures are drawn textures of two classes; activations are noise. Each recipe is trained on one device, on
two devices of one process, and by two processes on this machine, all with the same seed; each process gets one core
where there are two, so that one device and two can be compared. Printed: the norm of the difference of all weights by
their norm, the same of the array where it is most, and the speed of the steps after the first ten. The last row of a
recipe is one device once more, its first weights changed by 1e-7 of themselves: no order of sums can be expected to do
better.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WARM = 10  # steps before the clock runs
N = 500  # pictures: the last batch of an epoch is a short one


def jolted(values: Any) -> Any:
    """An array, each value changed by about 1e-7 of itself."""
    import numpy as np

    rng = np.random.default_rng(1)
    return (values * (1 + 1e-7 * rng.choice([-1, 1], values.shape))).astype(values.dtype)


def trained(task: dict[str, Any], k: int) -> None:
    """One process: train, and write the weights and the speed."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        n = task["devices"] * task["processes"]
        mine = cores[: task["devices"]] if task["processes"] == 1 else [cores[k % len(cores)]]
        if n <= len(cores):
            os.sched_setaffinity(0, mine)
    os.environ |= {"KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={task['devices']}"
    import keras
    import numpy as np

    import drawn
    from tellapart import backbones, batches, devices, finetune, hosts, models, objectives, toptraining, training
    from tellapart.config import SCRATCH, TUTORIAL

    address = f"127.0.0.1:{task['port']}"
    launch = hosts.Launch(address, task["processes"], k) if task["processes"] > 1 else None
    wish = None if task["devices"] * task["processes"] == 1 else hosts.AUTO
    rng = np.random.default_rng(0)
    with hosts.joined(launch, ""), devices.shared(wish):
        marks: list[float] = []
        if task["recipe"] == "fine-tuning":
            backbone = backbones.known("efficientnet-lite0")
            values = rng.random((320, 2, *finetune.cut_shape(backbone, 224))).astype(np.float16)
            labels = rng.integers(0, 2, 320)
            kernel = rng.normal(0, 0.01, (1280, 2)).astype(np.float32)
            head = backbones.Head(jolted(kernel) if task["jolt"] else kernel, np.zeros(2, np.float32))
            steps = finetune.shared(backbone, 224, head, 0, "float32", toptraining.RATE)
            inside, outside = (np.arange(256), labels[:256]), (np.arange(256, 320), labels[256:])
            epochs, batch = -(-task["steps"] // 8), 32
            best = steps.train(
                values, inside, outside, epochs=epochs, until=float("inf"),
                progress=lambda done, total, detail: marks.append(time.perf_counter()),
            )  # fmt: skip
            weights, each = best.weights, 1
        else:
            recipe = {"scratch": SCRATCH, "tutorial": TUTORIAL}[task["recipe"]]
            n_steps = -(-N // recipe.batch_size)
            recipe = recipe.override(epochs=-(-task["steps"] // n_steps), precision="float32")
            side, labels = recipe.store_px, np.arange(N) % 2
            drawings = [drawn.texture(("dots", "waves")[k], i, 0) for i, k in enumerate(labels)]
            pixels = np.stack([np.asarray(each.resize((side, side))) for each in drawings])
            keras.utils.set_random_seed(0)
            with devices.scope():
                model = models.build(recipe, 2)
            if task["jolt"]:
                model.set_weights([jolted(values) for values in model.get_weights()])
            data = batches.Batches(
                pixels, np.arange(N), labels, class_names=("a", "b"), paths=[""] * N,
                batch_size=recipe.batch_size, size_px=recipe.size_px, augmentation=recipe.policy,
                label_mode=objectives.label_mode(model), spread=devices.spread(),
            )  # fmt: skip
            outcome = training.train(
                model, recipe, data, None, precision="float32",
                progress=lambda done, total, detail: marks.append(time.perf_counter()),
            )  # fmt: skip
            weights, batch, each = outcome.model.get_weights(), recipe.batch_size, training.STEPS_PER_EXECUTION
    first = WARM // each
    speed = (len(marks) - 1 - first) * each * batch / (marks[-1] - marks[first])
    if k == 0:
        np.savez(task["out"], *weights, speed=np.array(speed))


def run(recipe: str, n_processes: int, n_devices: int, jolt: bool, steps: int, folder: Path) -> dict[str, Any]:
    """Train in processes of their own; the arrays that the first wrote."""
    import numpy as np

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    out = folder / f"{recipe}-{n_processes}-{n_devices}-{jolt}.npz"
    task = {
        "recipe": recipe,
        "processes": n_processes,
        "devices": n_devices,
        "steps": steps,
        "port": port,
        "jolt": jolt,
    }
    command = [sys.executable, __file__, "--task", json.dumps({**task, "out": str(out)}), "--index"]
    started = [
        subprocess.Popen([*command, str(k)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for k in range(n_processes)
    ]
    for process in started:
        _, said = process.communicate()
        if process.returncode:
            sys.exit(said[-2000:])
    with np.load(out) as found:
        return {name: found[name] for name in found.files}


def main() -> None:
    """Print a row for each recipe and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50, help="at least; whole epochs are trained")
    parser.add_argument("--only", choices=["scratch", "tutorial", "fine-tuning"])
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--index", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        trained(json.loads(given.task), given.index)
        return
    import numpy as np

    print("| recipe | trained by | difference of all weights | of the array where it is most | pictures/s |")
    print("|---|---|---|---|---|")
    for recipe in [given.only] if given.only else ["scratch", "tutorial", "fine-tuning"]:
        with tempfile.TemporaryDirectory() as folder:
            ways = {"one device": (1, 1, False), "two devices": (1, 2, False), "two processes": (2, 1, False)}
            ways["one device, first weights changed by 1e-7"] = (1, 1, True)
            told = {way: run(recipe, *counts, given.steps, Path(folder)) for way, counts in ways.items()}
        one = told["one device"]
        names = [name for name in one if name != "speed"]
        for way, other in told.items():
            apart = [np.linalg.norm(one[name] - other[name]) for name in names]
            norms = [np.linalg.norm(one[name]) for name in names]
            whole, most = np.linalg.norm(apart) / np.linalg.norm(norms), max(np.divide(apart, np.maximum(norms, 1e-30)))
            differs = "–" if way == "one device" else f"{whole:.1e}"
            of_arrays = "–" if way == "one device" else f"{most:.1e}"
            print(f"| {recipe} | {way} | {differs} | {of_arrays} | {float(other['speed']):.0f} |", flush=True)


if __name__ == "__main__":
    main()
