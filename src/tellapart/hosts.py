"""Several processes of one training, one a host or one a device: how they find each other, and what they tell.

The first of them leads: it decides, writes, and speaks to the person. The others help with the training steps. The
engine is `jax.distributed`, which finds its peers by itself under Slurm and Open MPI; elsewhere it is told them. What
is told goes the way of JAX's own collectives, so a process that ended is noticed at once by whoever waits for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.errors import HostsError, SettingsError

AUTO = "auto"  # as many devices as there are
MOST_DEVICES = 4096
FIND_S = 300  # for which the processes wait for each other at the start
COORDINATOR, N_HOSTS, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
# Who starts several processes says so by these: how many, and which one this is. JAX finds the rest.
LAUNCHERS = {"Slurm": ("SLURM_NTASKS", "SLURM_PROCID"), "Open MPI": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")}
_ADDRESS = re.compile(r"[^\s:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")
# What JAX says where a peer has gone; any other error is this process's own.
_GONE = re.compile(r"gloo|nccl|coordination|heartbeat|connection (closed|reset)|socket closed|UNAVAILABLE", re.I)


@dataclass(frozen=True, slots=True)
class Launch:
    """Who takes part, as it was given; None leaves it to what JAX finds by itself."""

    coordinator: str | None  # HOST:PORT at which the first process listens
    n: int | None
    index: int | None


@dataclass(slots=True)
class Team:
    """The processes of one training, as this one sees them."""

    n: int
    index: int  # of this process; 0 leads
    photos: str  # the folder of pictures, as this process has it
    astray: bool = False  # the others are in the middle of what this one has left: there is no talking to them

    @property
    def leads(self) -> bool:
        """Whether this process decides, writes and speaks."""
        return self.index == 0

    def tell(self, message: Mapping[str, Any] | None = None, content: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """What the first process says, in every process: plain values, and bytes beside them. Others give nothing."""
        text = json.dumps(message).encode() if self.leads else b""
        lengths = self._broadcast(np.array([len(text), len(content)], np.int64).view(np.uint8)).view(np.int64)
        n_text, n_content = (int(length) for length in lengths)
        whole = np.zeros(_rounded(n_text + n_content), np.uint8)
        if self.leads:
            whole[: n_text + n_content] = np.frombuffer(text + content, np.uint8)
        told = self._broadcast(whole).tobytes()
        return json.loads(told[:n_text]), told[n_text : n_text + n_content]

    def gather(self, values: np.ndarray) -> np.ndarray:
        """What every process gives, (n, …), in every process; all give arrays of one shape and number format."""
        from jax.experimental import multihost_utils

        with jointly():
            return np.asarray(multihost_utils.process_allgather(values)).reshape(self.n, *values.shape)

    def agree(self, *wishes: bool) -> list[bool]:
        """Of each wish whether any process has it."""
        return [bool(most) for most in self.gather(np.array(wishes, np.int32)).max(axis=0)]

    def first(self, *values: float) -> tuple[float, ...]:
        """The first process's numbers, in every process: what is decided by them is decided alike."""
        told = self._broadcast(np.array(values, np.float64).view(np.uint8))
        return tuple(told.view(np.float64).tolist())

    def same(self, values: Mapping[str, str]) -> None:
        """Raise a HostsError in all where one differs from the first in what must be the same, like versions."""
        first, _ = self.tell(values)
        other = sorted(name for name in {*first, *values} if first.get(name) != values.get(name))
        told = [f"{name} {values.get(name, 'missing')} here, {first.get(name, 'missing')} on host 0" for name in other]
        self.ready("; ".join(told))

    def ready(self, problem: str = "") -> None:
        """Wait for all; where one has a problem, all raise a HostsError that says so."""
        text = problem.encode()[:500]
        row = np.zeros(512, np.uint8)
        row[: len(text)] = np.frombuffer(text, np.uint8)
        for index, told in enumerate(self.gather(row)):
            said = told.tobytes().rstrip(b"\0").decode(errors="replace")
            if said:
                raise HostsError(f"Every host must be able to take part; host {index} says: {said}")

    def _broadcast(self, values: np.ndarray) -> np.ndarray:
        from jax.experimental import multihost_utils

        with jointly():
            return np.asarray(multihost_utils.broadcast_one_to_all(values))


_TEAM: ContextVar[Team | None] = ContextVar("team", default=None)
_ASTRAY: list[Team] = []


def team() -> Team | None:
    """The processes of this training; None where it is one alone."""
    return _TEAM.get()


def wanted(
    devices: int | str | None, coordinator: str | None, n: int | None, index: int | None
) -> tuple[int | str | None, Launch | None]:
    """How many devices of this process are to share a training, and how its processes find each other.

    Nothing is asked of a launcher unless devices or hosts are asked for.

    Raises:
        SettingsError: a wish is none that can be fulfilled.
    """
    text = str(devices)
    good = text == AUTO or (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_DEVICES)
    if devices is not None and not good:
        raise SettingsError(f"--devices must be auto or a whole number from 1; got {devices!r}. Try --devices auto.")
    if devices is None and coordinator is None and n is None and index is None:
        return None, None
    return devices if devices is None or text == AUTO else int(text), launched(coordinator, n, index)


def launched(coordinator: str | None, n: int | None, index: int | None) -> Launch | None:
    """How several processes are to find each other, by what is given and by the environment; None for one alone.

    Raises:
        SettingsError: only a part is given, or it is out of range.
    """
    coordinator = coordinator or os.environ.get(COORDINATOR)
    given = coordinator, _number(N_HOSTS, "--hosts", n, 1), _number(INDEX, "--host-index", index, 0)
    if all(value is None for value in given):
        for size, rank in LAUNCHERS.values():
            if os.environ.get(rank, "").isdigit() and int(os.environ.get(size, "1")) > 1:
                return Launch(None, None, None)
        return None
    coordinator, n, index = given
    if n == 1 and coordinator is None:
        return None
    if coordinator is None or n is None or index is None:
        missing = [
            name
            for name, value in (("--coordinator", coordinator), ("--hosts", n), ("--host-index", index))
            if value is None
        ]
        raise SettingsError(
            f"A training on several hosts must be told --hosts N --host-index K --coordinator HOST:PORT together; "
            f"{' and '.join(missing)} did not come, nor by ${COORDINATOR}, ${N_HOSTS}, ${INDEX}. Give all three."
        )
    if not _ADDRESS.fullmatch(coordinator) or not 0 < int(coordinator.rsplit(":", 1)[1]) < 2**16:
        raise SettingsError(
            f"--coordinator must be HOST:PORT, where host 0 can listen and all others reach it; got {coordinator!r}. "
            f"Try --coordinator $(hostname):29500 with the name of host 0."
        )
    if not index < n:
        raise SettingsError(
            f"--host-index must be from 0 to {n - 1} for --hosts {n}; got {index}. Number the hosts from 0."
        )
    return None if n == 1 else Launch(coordinator, n, index)


def _number(variable: str, option: str, given: int | None, low: int) -> int | None:
    """A number that was given, or the environment's."""
    text = os.environ.get(variable) if given is None else given
    if text is None:
        return None
    if isinstance(text, bool) or not re.fullmatch(r"\d{1,5}", str(text)) or int(text) < low:
        raise SettingsError(f"{option} (or ${variable}) must be a whole number from {low}; got {text!r}. Set it right.")
    return int(text)


@contextlib.contextmanager
def joined(launch: Launch | None, photos: str) -> Iterator[Team | None]:
    """Join the others, for the block; None where there are none. `photos` is this process's folder of pictures.

    It must be done before JAX computes anything in this process.

    Raises:
        HostsError: they do not find each other in time, or JAX has begun already.
    """
    if launch is None:
        yield None
        return
    import jax

    # Between CPUs; between accelerators the backend has its own.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if hasattr(jax.config, "jax_enable_preemption_service"):
        jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM from us
    ours = not jax.distributed.is_initialized()  # else the user's own program has done it
    if ours:
        _find(launch)
    found = Team(jax.process_count(), jax.process_index(), photos)
    before = _TEAM.set(found if found.n > 1 else None)
    try:
        with _quiet():
            found.agree(True)  # the first one connects them
        try:
            yield _TEAM.get()
        except SystemExit:  # a host that helped ends so: all are here, as they are without it
            if ours:
                jax.distributed.shutdown()
            raise
        if ours:
            jax.distributed.shutdown()  # now: later one would wait for the other
    finally:
        _TEAM.reset(before)


def _find(launch: Launch) -> None:
    import jax

    try:
        jax.distributed.initialize(
            launch.coordinator,
            launch.n,
            launch.index,
            initialization_timeout=FIND_S,
            cluster_detection_method=None if launch.coordinator is None else "deactivate",
        )
    except (RuntimeError, ValueError) as error:
        where = launch.coordinator or "the address that the launcher gives"
        raise HostsError(
            f"The hosts of a training must find each other within {FIND_S} seconds, at {where}; JAX says: "
            f"{' '.join(str(error).split())[:200]}. Start all of them, and let host 0's port be reached."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let what libraries write past Python to standard output, where a result may be read, go to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@contextlib.contextmanager
def jointly() -> Iterator[None]:
    """What every process does at the same time, step by step: who leaves it early is heard no more.

    Raises:
        HostsError: another process has gone.
    """
    present = _TEAM.get()
    if present is None:
        yield
        return
    try:
        yield
    except BaseException as error:
        present.astray = True
        _ASTRAY.append(present)
        if not isinstance(error, RuntimeError | ValueError) or not _GONE.search(str(error)):
            raise
        raise HostsError(
            f"All hosts must stay until the end; one has ended or cannot be reached any more: "
            f"{' '.join(str(error).split())[:200]}. See what it said itself. The same command with --resume goes on."
        ) from error


def leave(status: int) -> None:
    """End this process at once where it went astray: JAX would wait for the others, and they for it."""
    if _ASTRAY:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _rounded(n: int) -> int:
    """A few lengths instead of many, for each is compiled once."""
    return 1 << max(n - 1, 255).bit_length()
