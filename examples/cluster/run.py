"""The same commands on a cluster of several nodes, all of them on this machine, with a worker that is killed midway.

    pip install "tellapart[train,ray]"
    python examples/cluster/run.py [--nodes 2] [--pictures 3000] [--work FOLDER]

It draws pictures, trains on them, and starts a Ray cluster: a head that only leads, and nodes of one core each. Then
it has the pictures checked and answered, once by one machine and once by the cluster, kills a worker by SIGKILL when a
third of the rows has come, and compares the two tables row for row. It needs no network; every node listens on the
loopback. Exit status 0 where all is the same.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tellapart import raysession

# Before Ray is loaded: it is to report nothing, and to listen on the loopback.
os.environ |= raysession.QUIET | raysession.LOOPBACK
SIDE_PX = 96


def draw(folder: Path, n_each: int, seed: int) -> Path:
    """Bright circles and squares on dark noise, `n_each` a class."""
    rng = np.random.default_rng(seed)
    for shape in ("circles", "squares"):
        (folder / shape).mkdir(parents=True)
        for i in range(n_each):
            image = Image.fromarray(rng.integers(0, 90, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8))
            side, x, y = (int(value) for value in rng.integers((30, 0, 0), (60, 36, 36)))
            colour = tuple(int(level) for level in rng.integers(150, 256, 3))
            pen = ImageDraw.Draw(image)
            pen_shape = pen.ellipse if shape == "circles" else pen.rectangle
            pen_shape((x, y, x + side, y + side), colour)
            image.save(folder / shape / f"{shape[:-1]}-{i:05d}.jpg", quality=92)
    return folder


@contextlib.contextmanager
def cluster(n_nodes: int) -> Iterator[str]:
    """A Ray cluster of a head without cores and nodes with one each; its address."""
    from ray.cluster_utils import Cluster

    with raysession.unreported():
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(n_nodes):
            nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        yield nodes.address
    finally:
        nodes.shutdown()


def tellapart(*arguments: str | Path) -> float:
    """Run a command; seconds that it took."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "tellapart", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def predict_with_a_kill(model: Path, photos: Path, address: str, kill_after: int) -> list[list[str]]:
    """The rows that `tellapart predict` writes while one of its workers is killed."""
    command = [sys.executable, "-m", "tellapart", "predict", model, photos, "--csv", "-"]
    rows = []
    with subprocess.Popen(
        [*command, "--engine", "ray", "--address", address], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        for row in csv.reader(run.stdout):
            rows.append(row)
            if len(rows) == kill_after:
                worker = row[-1]  # address of the machine, beginning of the node's name, process
                os.kill(int(worker.rpartition("/")[2]), signal.SIGKILL)
                print(f"Killed the worker {worker} after {kill_after:,} rows.")
    if run.returncode:
        sys.exit(f"tellapart predict ended with status {run.returncode}.")
    return rows


def findings(path: Path) -> dict:
    """What a check found, without the times that it took."""
    return {name: value for name, value in json.loads(path.read_text()).items() if name != "seconds"}


def main() -> None:
    """Do it all in a folder that goes, or that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=2, metavar="N", help="nodes of one core each")
    parser.add_argument("--pictures", type=int, default=3000, metavar="N", help="pictures to be answered")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="a new folder, which stays")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tellapart-cluster-")))
        labelled, photos = draw(folder / "labelled", 100, 0), draw(folder / "photos", options.pictures // 2, 1)
        (photos / "circles" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
        model = folder / "shapes.tellapart"
        tellapart("train", labelled, "-o", model, "--backbone", "efficientnet-lite0", "--size", "64")

        print(f"One machine: {tellapart('predict', model, photos, '--csv', folder / 'here.csv'):.1f} s.")
        with open(folder / "here.csv", newline="") as file:
            here = list(csv.reader(file))
        tellapart("check", photos, "--json", folder / "here.json", "--cache", folder / "cache-here")

        address = stack.enter_context(cluster(options.nodes))
        print(f"A cluster of {options.nodes} nodes at {address}.")
        start = time.perf_counter()
        there = predict_with_a_kill(model, photos, address, len(here) // 3)
        print(f"The cluster: {time.perf_counter() - start:.1f} s, the start of its workers included.")
        asked = ["--engine", "ray", "--address", address, "--cache", folder / "cache-there"]
        tellapart("check", photos, "--json", folder / "there.json", *asked)

        same_findings = findings(folder / "here.json") == findings(folder / "there.json")
    for worker, n in sorted(Counter(row[-1] for row in there[1:]).items()):
        print(f"  {worker}: {n:,} rows")
    same_rows = [row[:-1] for row in there] == here
    print(f"{len(there) - 1:,} rows, {'all the same' if same_rows else 'NOT the same'} as those of one machine.")
    print(f"The check found {'the same' if same_findings else 'SOMETHING ELSE'}.")
    sys.exit(0 if same_rows and same_findings else 1)


if __name__ == "__main__":
    main()
