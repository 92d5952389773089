"""What all parts of `service.py` need: the service, loads and the engine as processes, and what events say."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import load
import server
from peers import measure

HERE = Path(__file__).parent
SENT, ENDED, STATUS, BODY = range(4)  # columns of a load's events


@dataclass(frozen=True)
class Setting:
    """What is served, and what it is asked about."""

    model: Path
    pictures: tuple[Path, ...]  # files
    work: Path  # logs and events
    options: tuple[str, ...] = ()  # of `tellapart serve`

    def start(self, name: str, *more: str, model: Path | None = None) -> server.Server:
        """`tellapart serve` on a free port, ready; its log is WORK/NAME.log."""
        port = server.free_port()
        command = [sys.executable, "-m", "tellapart", "serve", model or self.model, "--port", str(port)]
        return server.Server([*command, *self.options, *more], port, self.work / f"{name}.log")


@dataclass(frozen=True)
class Loaded:
    """What became of a load."""

    said: dict[str, Any]  # what it printed
    events: np.ndarray  # float64 (N, 4): SENT, ENDED, STATUS, BODY

    def between(self, start: float, end: float) -> np.ndarray:
        """Events of requests that were sent in a stretch of `time.monotonic()`."""
        return self.events[(self.events[:, SENT] >= start) & (self.events[:, SENT] < end)]


class Load:
    """benchmarks/load.py, running."""

    def __init__(self, setting: Setting, url: str, *options: object, pictures: Iterable[Path] | None = None) -> None:
        self._events = setting.work / f"events-{time.monotonic_ns()}.f64"
        command = [sys.executable, load.__file__, url, *(pictures or setting.pictures), "--events", self._events]
        self.process = subprocess.Popen(
            [str(part) for part in (*command, *options)], stdout=subprocess.PIPE, start_new_session=True
        )

    def finish(self, *, stop: bool = False) -> Loaded:
        """Wait for its end; with `stop` it sends nothing more and waits for what is under way."""
        if stop:
            self.process.send_signal(signal.SIGTERM)
        said = self.process.communicate()[0]
        if self.process.returncode:
            raise server.ServerError(f"the load ended with status {self.process.returncode}")
        events = np.fromfile(self._events).reshape(-1, 4)
        self._events.unlink()
        return Loaded(json.loads(said), events)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


class Engine:
    """benchmarks/inprocess.py, waiting to be asked; as a context, gone at the end."""

    def __init__(self, setting: Setting, pictures: Sequence[Path]) -> None:
        command = [sys.executable, HERE / "inprocess.py", setting.model, *pictures]
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Like the service and the loads: where the kernel shares the cores between sessions, each has its own.
            start_new_session=True,
        )
        self._line()

    def ask(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self._line()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise server.ServerError(f"the engine's process ended with status {self._process.wait()}")
        return json.loads(line)


class Memory(threading.Thread):
    """Looks at a service's memory every `every_s` seconds until `stop`."""

    def __init__(self, pid: int, every_s: float) -> None:
        super().__init__(daemon=True)
        self._pid, self._every_s, self._ended = pid, every_s, threading.Event()
        self.samples: list[tuple[float, float, int]] = []  # monotonic seconds, MB, open files of the first process

    def run(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                mb = measure.resident_mb(self._pid)
                if mb:  # 0: it is gone
                    self.samples.append((time.monotonic(), mb, len(os.listdir(f"/proc/{self._pid}/fd"))))
            if self._ended.wait(self._every_s):
                return

    def stop(self) -> list[tuple[float, float, int]]:
        self._ended.set()
        self.join()
        return self.samples


def drift(samples: Sequence[tuple[float, float]], warm_s: float) -> dict[str, float] | None:
    """How memory moved after the first `warm_s` seconds: samples are (seconds, MB), in order of time.

    `before` and `after` are medians of the first and the last fifth, `share` what the one is over the other, `slope` MB
    an hour by the median of the slopes between all pairs (Theil and Sen), which single samples do not move. None where
    there are less than five samples.
    """
    kept = [(t, mb) for t, mb in samples if t - samples[0][0] >= warm_s]
    if len(kept) < 5:
        return None
    n = max(1, len(kept) // 5)
    before = statistics.median(mb for _, mb in kept[:n])
    after = statistics.median(mb for _, mb in kept[-n:])
    t, mb = np.array(kept[:: max(1, len(kept) // 300)]).T
    i, j = np.triu_indices(len(t), 1)
    slope = float(np.median((mb[j] - mb[i]) / (t[j] - t[i]))) * 3600
    return {
        "before_mb": round(before, 1),
        "after_mb": round(after, 1),
        "share": round(after / before - 1, 4),
        "most_mb": round(float(max(mb for _, mb in kept)), 1),
        "slope_mb_per_hour": round(slope, 1),
    }


def counts(events: np.ndarray) -> dict[str, int]:
    """How many events of each status, those below 0 in words."""
    found = Counter(events[:, STATUS].astype(int).tolist())
    return {load.MEANING.get(status, str(status)): n for status, n in sorted(found.items())}


def latency(events: np.ndarray, status: int = 200) -> dict[str, float] | None:
    """Milliseconds of those with a status: p50, p90, p99, max."""
    some = events[events[:, STATUS] == status]
    return load.quantiles((some[:, ENDED] - some[:, SENT]).tolist())


def unclean(events: np.ndarray) -> int:
    """Requests without a whole answer, or with a 5xx that is not 503."""
    status = events[:, STATUS]
    return int(((status < 0) | ((status >= 500) & (status != 503))).sum())


def lost(events: np.ndarray, signalled: float, *, race_s: float = 0.02) -> dict[str, int]:
    """What became of the requests that were under way when a service was told to end.

    `lost` got no whole answer though sent before the signal; of those sent in the last `race_s` before it the service
    may have read nothing yet, so they stand apart as `in_the_race`. `torn` were begun to be answered after it.
    """
    sent, ended, status = events[:, SENT], events[:, ENDED], events[:, STATUS]
    under_way = (sent < signalled) & (ended > signalled)
    bad = (status < 0) | ((status >= 500) & (status != 503))
    late = sent >= signalled - race_s
    return {
        "under_way": int(under_way.sum()),
        "answered": int((under_way & (status == 200)).sum()),
        "refused": int((under_way & (status == 503)).sum()),
        "lost": int((under_way & bad & ~late).sum()),
        "in_the_race": int((under_way & bad & late).sum()),
        "torn": int(((sent >= signalled) & (status == load.CUT)).sum()),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """The middle, the least and the most."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def shown(values: dict[str, float], digits: int = 1, unit: str = "") -> str:
    """A spread as "12.3 (11.9–12.8)"."""
    low, high = f"{values['least']:,.{digits}f}", f"{values['most']:,.{digits}f}"
    return f"{values['median']:,.{digits}f}{unit} ({low}–{high})"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)
