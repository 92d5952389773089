"""Peer: a hand-written torch loop on a timm network, from scratch, as a careful practitioner writes it for a CPU.

    python benchmarks/peers/timm_loop.py TRAIN_DIR TEST_DIR --seconds S --size PX --json OUT [--model resnet10t]

Pictures are decoded once, to a square a quarter larger than the network's. Channels-last, bfloat16 autocast where the
processor has it; random resized crops and flips of whole batches; SGD with Nesterov momentum, one cycle, label
smoothing. The cycle runs over the time that is left, so the loop ends when the time does. All training pictures are
learnt from; nothing is chosen by a validation. Needs torch and timm (Apache-2.0).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import contract

BATCH = 64
RATE, MOMENTUM, DECAY, SMOOTHING = 0.1, 0.9, 5e-4, 0.1
WARM = 0.15  # share of the cycle in which the rate rises
LEAST_AREA = 0.35  # of a random crop
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def decoded(paths: Sequence[Path], side_px: int):
    """Pictures as a uint8 array (N, side, side, 3), RGB, squashed to a square."""
    import numpy as np
    from PIL import Image

    pixels = np.empty((len(paths), side_px, side_px, 3), np.uint8)

    def one(i: int) -> None:
        with Image.open(paths[i]) as image:
            image.draft("RGB", (side_px, side_px))  # JPEG: a smaller picture straight from the decoder
            pixels[i] = image.convert("RGB").resize((side_px, side_px), Image.Resampling.BILINEAR, reducing_gap=3)

    with ThreadPoolExecutor(contract.cores()) as pool:
        list(pool.map(one, range(len(paths))))
    return pixels


def network(name: str, n_classes: int, size_px: int):
    """timm's network without weights; pictures under 64 px are not shrunk fourfold before its first block."""
    import timm
    from torch import nn

    model = timm.create_model(name, pretrained=False, num_classes=n_classes)
    if size_px < 64 and hasattr(model, "maxpool"):
        model.maxpool = nn.Identity()
    if size_px < 32 and hasattr(model, "conv1"):
        first = model.conv1[0] if isinstance(model.conv1, nn.Sequential) else model.conv1
        first.stride = (1, 1)
    return model


def varied(batch, size_px: int, flip: bool, generator):
    """A random crop of each picture of a float batch (B, 3, S, S), some mirrored, at the network's size."""
    import torch
    from torch.nn import functional

    n = len(batch)
    area = torch.empty(n).uniform_(LEAST_AREA, 1, generator=generator)
    aspect = torch.empty(n).uniform_(math.log(3 / 4), math.log(4 / 3), generator=generator).exp()
    wide, high = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    shift = torch.rand(2, n, generator=generator) * 2 - 1
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0) if flip else torch.ones(n)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = wide * mirror, high
    theta[:, 0, 2], theta[:, 1, 2] = shift[0] * (1 - wide), shift[1] * (1 - high)
    grid = functional.affine_grid(theta, [n, 3, size_px, size_px], align_corners=False)
    return functional.grid_sample(batch, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def has_bfloat16() -> bool:
    """Whether the processor computes bfloat16 itself; without, autocast would be slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def main() -> None:
    """Train until the time is over, and test."""
    parser = contract.parser(__doc__)
    parser.add_argument("--model", default="resnet10t", help="a timm network [default: resnet10t]")
    job = contract.job(parser)

    import timm
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(job.seed)
    torch.set_num_threads(contract.cores())
    generator = torch.Generator().manual_seed(job.seed)
    classes = contract.classes_of(job.train)
    paths, labels = contract.labelled(job.train, classes)
    test_paths, test_labels = contract.labelled(job.test, classes)
    pixels = torch.from_numpy(decoded(paths, round(1.25 * job.size_px)))
    test_pixels = torch.from_numpy(decoded(test_paths, job.size_px))
    targets, test_targets = torch.tensor(labels), torch.tensor(test_labels)
    mean, std = (torch.tensor(each).mul(255).view(1, 3, 1, 1) for each in (MEAN, STD))
    bfloat16 = has_bfloat16()

    def ready(some):  # uint8 (B, S, S, 3) to float32 (B, 3, S, S) in channels-last order
        return (some.permute(0, 3, 1, 2).float() - mean) / std

    def logits(model, batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return model(batch.contiguous(memory_format=torch.channels_last)).float()

    def right(model, some, expected) -> int:
        model.eval()
        with torch.inference_mode():
            batches = zip(some.split(2 * BATCH), expected.split(2 * BATCH), strict=True)
            return sum(int((logits(model, ready(x)).argmax(1) == y).sum()) for x, y in batches)

    # How long the test takes: some batches, after one that warms up, for a thirtieth of the time.
    probe = network(job.options.model, len(classes), job.size_px).to(memory_format=torch.channels_last)
    right(probe, test_pixels[: 2 * BATCH], test_targets[: 2 * BATCH])
    start, n_probe = time.perf_counter(), 0
    for some in test_pixels.split(2 * BATCH):
        right(probe, some, test_targets[n_probe : n_probe + len(some)])
        n_probe += len(some)
        if time.perf_counter() - start > job.seconds / 30:
            break
    test_s = 1.2 * (time.perf_counter() - start) * len(test_paths) / n_probe

    torch.manual_seed(job.seed)
    model = network(job.options.model, len(classes), job.size_px).to(memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM, nesterov=True)
    batch = min(BATCH, max(2, len(paths) // 4))
    per_epoch = max(1, len(paths) // batch)
    start, steps, order = time.perf_counter(), 0, None
    budget = contract.left_s(job, test_s=test_s)
    model.train()
    while steps < contract.MOST_EPOCHS * per_epoch:
        spent = (time.perf_counter() - start) / max(budget, 1e-9)
        share = max(spent, steps / (contract.MOST_EPOCHS * per_epoch))  # of the cycle, 0–1
        if share >= 1:
            break
        if steps % per_epoch == 0:
            order = torch.randperm(len(paths), generator=generator)
        some = order[steps % per_epoch * batch :][:batch]
        rise = share / WARM if share < WARM else 0.5 * (1 + math.cos(math.pi * (share - WARM) / (1 - WARM)))
        for group in optimizer.param_groups:
            group["lr"] = RATE * batch / BATCH * max(rise, 1e-3)
        output = logits(model, varied(ready(pixels[some]), job.size_px, job.flip, generator))
        loss = functional.cross_entropy(output, targets[some], label_smoothing=SMOOTHING)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        steps += 1
    train_s = time.perf_counter() - start
    n_right = right(model, test_pixels, test_targets)
    contract.report(
        job,
        peer="timm",
        version=f"{timm.__version__}, torch {torch.__version__}",
        n_right=n_right,
        n_test=len(test_paths),
        train_seconds=train_s,
        epochs=steps / per_epoch,
        settings={
            "model": job.options.model,
            "batch": batch,
            "rate": RATE * batch / BATCH,
            "precision": "bfloat16 autocast" if bfloat16 else "float32",
            "pictures_per_s": round(steps * batch / train_s, 1) if train_s else None,
        },
    )


if __name__ == "__main__":
    main()
