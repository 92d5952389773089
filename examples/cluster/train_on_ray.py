"""Train on several nodes of a Ray cluster, each with its GPUs: the hosts of one `tellapart train`.

    python examples/cluster/train_on_ray.py --hosts 2 [--gpus 4] [--cores 8] [--address auto] -- \\
        PHOTOS -o MODEL.tellapart --recipe scratch --batch-size 256

Ray spreads the hosts over its nodes and keeps cores and GPUs for each; JAX does the rest. What stands behind `--` is
given to `tellapart train` on all of them, so PHOTOS, the cache and MODEL are on a file system that all nodes share.
What host 0 says is printed here. Ctrl-C saves what was learned so far. Without `--address` a Ray of this machine is
started.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

from tellapart import raysession


class Host:
    """A process of the training, on the node where Ray has put it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def coordinator(self) -> str:
        """An address of this node at which all hosts can find each other."""
        import ray

        with socket.socket() as one:
            one.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{one.getsockname()[1]}"

    def train(self, arguments: list[str]) -> Iterator[str | int]:
        """Run `tellapart train`: what it says, line by line, and at last its status."""
        command = [sys.executable, "-m", "tellapart", "train", *arguments]
        environment = os.environ | {"KERAS_BACKEND": "jax"}
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:  # noqa: UP028 - Ray's generator sends, a file takes nothing
            yield line
        yield self._process.wait()

    def stop(self) -> None:
        """Have it save what was learned so far, and end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)


def trained(n: int, resources: dict[str, float], arguments: list[str]) -> int:
    """Train on `n` hosts; the greatest of their statuses."""
    import ray
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    places = placement_group([resources] * n, strategy="SPREAD")
    ray.get(places.ready())
    hosts = [
        ray.remote(Host)
        .options(
            num_cpus=resources["CPU"],
            num_gpus=resources.get("GPU", 0),
            max_concurrency=2,  # it can be stopped while it trains
            scheduling_strategy=PlacementGroupSchedulingStrategy(places, k),
        )
        .remote()
        for k in range(n)
    ]
    found = ["--hosts", str(n), "--coordinator", ray.get(hosts[0].coordinator.remote()), "--devices", "auto"]
    said = [
        host.train.options(num_returns="streaming").remote([*arguments, *found, "--host-index", str(k)])
        for k, host in enumerate(hosts)
    ]
    signal.signal(signal.SIGINT, lambda *_: ray.get([host.stop.remote() for host in hosts[:1]]))
    statuses = []
    for k, lines in enumerate(said):
        for line in map(ray.get, lines):
            if isinstance(line, int):
                statuses.append(line)
            elif k == 0:
                print(line, end="", flush=True)
    return max(statuses)


def main() -> int:
    """Start Ray, or join it, and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, required=True)
    parser.add_argument("--gpus", type=float, default=0, help="of each host")
    parser.add_argument("--cores", type=float, default=1, help="of each host")
    parser.add_argument("--address", help="of the cluster; auto on one of its nodes")
    parser.add_argument("arguments", nargs="+", metavar="…", help="of tellapart train, behind --")
    options = parser.parse_args()
    resources = {"CPU": options.cores, **({"GPU": options.gpus} if options.gpus else {})}
    with raysession.connected(options.address):
        return trained(options.hosts, resources, options.arguments)


if __name__ == "__main__":
    sys.exit(main())
