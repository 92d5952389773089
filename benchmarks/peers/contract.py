"""What every peer keeps: its command line, its clock, and the file that it leaves.

    python PEER.py TRAIN_DIR TEST_DIR --seconds S --size PX --seed N --json OUT [--no-flip]

TRAIN_DIR and TEST_DIR have a folder of pictures for each class. S counts from the start of the process to its exit:
imports, decoding, finding out how fast this machine is, training and answering all of TEST_DIR. OUT gets

    peer, version       whom, and which release
    accuracy            share of TEST_DIR's pictures answered right; n_right, n_test
    train_seconds       from the first real training step to the last
    total_seconds       from the start of the process to the writing of OUT
    epochs              passes over the training pictures, with a fraction where the time ended one
    peak_rss_mb         the most memory of the process and its workers together
    settings            everything that was chosen

The standard library alone, because every environment imports it, and `--help` must not wait for torch.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure

ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
MOST_EPOCHS = 100  # more are not planned, however much time there is
HELD_BACK = 0.1  # share of the training pictures for validation, where a peer's own way needs some


def _started() -> float:
    """When the kernel started this process, on `time.perf_counter`'s clock; elsewhere than on Linux, about now."""
    now = time.perf_counter()
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return now - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, AttributeError, ValueError):
        return now


STARTED = _started()


@dataclass(frozen=True)
class Job:
    """What a peer is asked for."""

    train: Path
    test: Path
    seconds: float  # from the start of the process to its exit
    size_px: int
    seed: int
    json: Path
    flip: bool  # whether a mirrored picture keeps its class: no for digits and text
    options: argparse.Namespace  # the peer's own options among them


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The command line that all peers share; a peer may add options of its own."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, metavar="TRAIN_DIR", help="a folder of pictures for each class")
    parser.add_argument("test", type=Path, metavar="TEST_DIR", help="the same classes, other pictures")
    parser.add_argument("--seconds", type=float, required=True, metavar="S", help="from start to exit, all included")
    parser.add_argument("--size", type=int, required=True, metavar="PX", help="side of what the network sees")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path, required=True, metavar="OUT", help="where the result goes")
    parser.add_argument("--no-flip", action="store_true", help="never mirror: digits, text or the like")
    return parser


def job(parser: argparse.ArgumentParser) -> Job:
    """Read the command line, start to watch the memory, and shut the ways out that libraries take unasked."""
    options = parser.parse_args()
    global _watch
    _watch = measure.Watch(os.getpid())
    _watch.start()
    os.environ |= {"HF_HUB_OFFLINE": "1", "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "NO_COLOR": "1"}
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return Job(
        train=options.train.resolve(),
        test=options.test.resolve(),
        seconds=options.seconds,
        size_px=options.size,
        seed=options.seed,
        json=options.json.resolve(),
        flip=not options.no_flip,
        options=options,
    )


_watch: measure.Watch | None = None


def elapsed_s() -> float:
    """Seconds since this process was started."""
    return time.perf_counter() - STARTED


def left_s(job: Job, *, test_s: float = 0.0) -> float:
    """Seconds that are left for training when the test takes `test_s` and the way out a second and a hundredth."""
    return job.seconds - elapsed_s() - test_s - 1.0 - 0.01 * job.seconds


def epochs_that_fit(left_s: float, epoch_s: float) -> int:
    """Whole epochs for the seconds that are left, a twentieth of them kept for what was measured too short."""
    return max(0, min(MOST_EPOCHS, int(0.95 * left_s / epoch_s)))


def classes_of(folder: Path) -> list[str]:
    """The class folders by name."""
    return sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def labelled(folder: Path, classes: Sequence[str]) -> tuple[list[Path], list[int]]:
    """Every picture below the class folders, and the number of its class."""
    if unknown := set(classes_of(folder)) - set(classes):
        sys.exit(f"{folder} must have the classes of TRAIN_DIR; it has {', '.join(sorted(unknown))} besides.")
    paths, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).rglob("*")):
            if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file():
                paths.append(path)
                labels.append(label)
    if not paths:
        sys.exit(f"There is no picture below {folder}. Give a folder that has one folder for each class.")
    return paths, labels


def held_back(labels: Sequence[int], seed: int) -> tuple[list[int], list[int]]:
    """Indices for training and, drawn from each class, a tenth for validation: one at least, where a class has two."""
    draw = random.Random(seed)
    training, validation = [], []
    for label in sorted(set(labels)):
        some = [i for i, each in enumerate(labels) if each == label]
        draw.shuffle(some)
        n = min(len(some) - 1, max(1, round(HELD_BACK * len(some))))
        validation += some[:n]
        training += some[n:]
    return training, validation


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def report(
    job: Job,
    *,
    peer: str,
    version: str,
    n_right: int,
    n_test: int,
    train_seconds: float,
    epochs: float,
    settings: dict[str, Any],
) -> None:
    """Write OUT, whole or not at all, and say the accuracy."""
    peak = _watch.stop() if _watch else 0.0
    result = {
        "peer": peer,
        "version": version,
        "accuracy": n_right / n_test,
        "n_right": n_right,
        "n_test": n_test,
        "train_seconds": round(train_seconds, 2),
        "total_seconds": round(elapsed_s(), 2),
        "epochs": round(epochs, 2),
        "peak_rss_mb": round(peak, 1),
        "settings": {"size_px": job.size_px, "seed": job.seed, "seconds": job.seconds, "flip": job.flip, **settings},
    }
    temporary = job.json.with_name(f".{job.json.name}.tmp")
    temporary.write_text(json.dumps(result, indent=2, default=str) + "\n")
    temporary.replace(job.json)
    print(f"{peer} {version}: {n_right} of {n_test} right, {100 * n_right / n_test:.2f} %, {elapsed_s():.1f} s")
