"""A connection to a Ray cluster, or a Ray of this machine that is started for one run and ends with it.

A Ray of our own listens on the loopback only. Nothing is reported to Ray's makers, whatever the user's settings, and
its words stay in its logs: standard output may be a table.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tellapart import tempfolders
from tellapart.errors import ClusterError, MissingPackageError

STORE_BYTES = 256 * 2**20  # of shared memory, of a Ray of our own: blocks under way need a few
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to Ray's makers
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9",  # nor that nothing is, which a cluster's head would do
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # of the part in C++, which writes to standard error
}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # the name is narrow: it keeps every socket on the loopback
MOST_CHARACTERS = 7  # of the folder for temporary files: the path of a socket in it has 107 at most, or 104


def check_installed() -> None:
    if missing := [name for name in ("ray", "pyarrow", "pandas") if importlib.util.find_spec(name) is None]:
        raise MissingPackageError(
            f"Ray must be installed for --engine ray; {' and '.join(missing)} not found. "
            f'Run: pip install "tellapart[ray]"'
        )


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Be connected to a cluster, or to a Ray of this machine that ends afterwards; one that the caller has is used.

    Raises ClusterError where it cannot be reached or started.
    """
    os.environ.update(QUIET if address is not None and not _is_here(address) else {**QUIET, **LOOPBACK})
    import ray

    if ray.is_initialized():
        _hush()
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with contextlib.ExitStack() as stack:
        ours = None if address is not None else stack.enter_context(tempfolders.private(place=_place()))
        stack.callback(ray.shutdown)
        try:
            with _without_standard_error(), unreported():
                ray.init(**_asked(address, ours), log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:  # Ray has no base for what goes wrong here
            raise ClusterError(_unreached(address, error)) from error
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # Ray puts its own in their place
                if handler is not None:  # it was not set by Python
                    signal.signal(number, handler)
        _hush()
        yield


def _is_here(address: str) -> bool:
    """Whether an address is of the loopback, where Ray would look under this machine's other address."""
    return address.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")


def _asked(address: str | None, folder: Path | None) -> dict[str, Any]:
    """What `ray.init` is asked for."""
    if address is not None:
        return {"address": address}
    return {
        "address": "local",  # whatever $RAY_ADDRESS says
        "num_cpus": _cores(),
        "include_dashboard": False,
        "object_store_memory": STORE_BYTES,
        "_temp_dir": str(folder),
    }


@contextlib.contextmanager
def unreported() -> Iterator[None]:
    """Start no process that reports, where a head is started within.

    Told not to report it looks all the same for the cloud that this machine may be of, and asks name servers for it;
    no setting stops that. Without a dashboard it has nothing else to do.
    """
    from ray._private.node import Node

    before = Node.start_api_server
    Node.start_api_server = lambda self, **_: None
    try:
        yield
    finally:
        Node.start_api_server = before


@contextlib.contextmanager
def _without_standard_error() -> Iterator[None]:
    """Let go what the part in C++ writes there, which no setting stops: a line about its settings."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _hush() -> None:
    """Keep Ray's words off the terminal; they are in its logs."""
    from ray import data
    from ray._private import worker

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    worker._worker_logs_enabled = False  # else it tells on standard output, between rows, who has ended
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _place() -> str | None:
    """Where Ray's folder of logs and sockets is made, see `tempfolders.private`."""
    return "/tmp" if os.name != "nt" and len(tempfile.gettempdir()) > MOST_CHARACTERS else None


def _unreached(address: str | None, error: Exception) -> str:
    said = " ".join(str(error).split())[:300]
    if address is None:
        return f"Ray must start on this machine; it says: {said}. Make room in memory and in {tempfile.gettempdir()}."
    return (
        f"The Ray cluster must be reachable at {address!r:.100}; it says: {said}. Run this on one of its nodes with "
        f"--address auto, or leave --address out."
    )
