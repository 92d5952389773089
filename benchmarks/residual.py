"""How fast our residual network trains in Keras, against the same network in raw torch.

    python benchmarks/residual.py --torch-python PYTHON [--size 64] [--batch 64] [--rounds 7] [--threads N]

Both sides run the whole training step on noise: scaling, forward, label-smoothed cross-entropy, backward, SGD with
Nesterov's momentum, batch normalisation by the batch. Keras trains with the package's kernels and, apart, with Keras'
own layers and optimizer; torch in channels-last order, once under bfloat16 autocast and once in float32. The sides take
turns, each a process of its own that waits while the other works: what else the machine does slows all alike. PYTHON
is an interpreter that has torch. Printed: medians, and the median of the ratios of each turn, by the clock and by CPU
time. With other programs on the machine take one thread and CPU time: torch's threads wait for each other by spinning.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import time

STEPS = 6  # training steps in one turn
ROUNDS = 7
SIDES = (
    ("torch, bfloat16 autocast, channels last", "torch", "bfloat16"),
    ("torch, float32, channels last", "torch", "float32"),
    ("Keras, mixed_bfloat16, this package's kernels", "ours", "mixed_bfloat16"),
    ("Keras, mixed_bfloat16, Keras' own", "keras", "mixed_bfloat16"),
    ("Keras, float32, this package's kernels", "ours", "float32"),
)


def torch_step(channels: tuple[int, ...], size_px: int, batch: int, kind: str):
    """A training step of the network of `models.residual`, in raw torch."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    def convolution(before: int, after: int) -> nn.Module:
        return nn.Conv2d(before, after, 3, padding=1, bias=False)

    def norm(channels: int) -> nn.Module:
        return nn.BatchNorm2d(channels, eps=1e-5)

    class Stage(nn.Module):
        def __init__(self, before: int, after: int) -> None:
            super().__init__()
            self.down = nn.Sequential(convolution(before, after), nn.MaxPool2d(2), norm(after), nn.ReLU(inplace=True))
            self.change = nn.Sequential(convolution(after, after), norm(after))

        def forward(self, x):
            x = self.down(x)
            return torch.relu(x + self.change(x))

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            befores = (3, *channels[:-1])
            self.stages = nn.Sequential(*(Stage(b, c) for b, c in zip(befores, channels, strict=True)))
            self.answer = nn.Linear(channels[-1], 2)

        def forward(self, pixels):
            return self.answer(self.stages(pixels / 64 - 127.5 / 64).mean((2, 3)))

    model = Residual().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    pixels = torch.randint(0, 256, (batch, size_px, size_px, 3), dtype=torch.uint8)
    labels = torch.arange(batch) % 2

    def step() -> None:
        picture = pixels.permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == "bfloat16"):
            loss = nn.functional.cross_entropy(model(picture), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def keras_step(size_px: int, batch: int, kind: str, *, ours: bool):
    """A training step of `models.residual`, with this package's kernels or with Keras' own."""
    import keras
    import numpy as np

    from tellapart import config, kernels, models, objectives

    recipe = dataclasses.replace(config.SCRATCH, size_px=size_px, store_px=size_px, batch_size=batch)
    if not ours:
        kernels.BatchNormalization, kernels.FusedSGD = keras.layers.BatchNormalization, keras.optimizers.SGD
    model = models.build(recipe, 2, dtype=kind)
    objectives.compile_model(model, recipe, steps_per_epoch=1000)
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size_px, size_px, 3), dtype=np.uint8)
    labels = np.eye(2, dtype=np.float32)[np.arange(batch) % 2]
    return lambda: model.train_on_batch(pixels, labels)


def work(framework: str, kind: str, channels: tuple[int, ...], size_px: int, batch: int, threads: int) -> None:
    """One side: for each line that comes in, train `STEPS` steps and print pictures a second, by wall and by CPU."""
    if framework == "torch":
        import torch  # pyright: ignore[reportMissingImports]

        torch.set_num_threads(threads)
        step = torch_step(channels, size_px, batch, kind)
    else:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        step = keras_step(size_px, batch, kind, ours=framework == "ours")
    for _ in range(3):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(STEPS):
            step()
        n = STEPS * batch
        print(n / (time.perf_counter() - wall), n / (time.process_time() - cpu), flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    from tellapart import config

    channels = config.SCRATCH.channels
    shape = (",".join(map(str, channels)), str(arguments.size), str(arguments.batch), str(arguments.threads))
    workers = []
    for _, framework, kind in SIDES:
        python = arguments.torch_python if framework == "torch" else sys.executable
        command = [python, __file__, "--work", framework, kind, *shape]
        workers.append(
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        )
        assert workers[-1].stdout.readline() == "ready\n", f"{' '.join(command)} ended early"
    speeds: list[list[tuple[float, float]]] = [[] for _ in SIDES]
    for _ in range(arguments.rounds):
        for one, worker in zip(speeds, workers, strict=True):
            worker.stdin.write("go\n")
            worker.stdin.flush()
            wall, cpu = map(float, worker.stdout.readline().split())
            one.append((wall, cpu))
    for worker in workers:
        worker.stdin.close()
        worker.wait()
    print(f"Channels {channels}, {arguments.size} px, batch {arguments.batch}, {arguments.threads} threads.\n")
    print(
        "| | pictures/s | against torch bfloat16 | pictures per CPU s | against torch bfloat16 | lowest and highest |"
    )
    print("|---|---|---|---|---|---|")
    for (name, *_), one in zip(SIDES, speeds, strict=True):
        walls, cpus = ([mine[k] / first[k] for mine, first in zip(one, speeds[0], strict=True)] for k in (0, 1))
        wall, cpu = (statistics.median(each) for each in zip(*one, strict=True))
        spread = f"{min(cpus):.2f}–{max(cpus):.2f}"
        by_wall, by_cpu = statistics.median(walls), statistics.median(cpus)
        print(f"| {name} | {wall:.0f} | {by_wall:.2f} | {cpu:.0f} | {by_cpu:.2f} | {spread} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        framework, kind, channels, size, batch, threads = sys.argv[2:]
        work(framework, kind, tuple(map(int, channels.split(","))), int(size), int(batch), int(threads))
    else:
        main()
