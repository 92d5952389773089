"""What a command takes: seconds, processor seconds and peak memory of all its processes, seen from outside.

The standard library alone, because every environment imports it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 1.0  # between two looks at the memory, at the most; at first they come closer


@dataclass(frozen=True)
class Used:
    """What one command took, from its start to its exit."""

    seconds: float  # wall
    cpu_s: float  # user and system, of all processes that were waited for
    peak_mb: float  # see `Watch`
    status: int  # exit status; negative: ended by that signal; -9 after the time limit


class Watch(threading.Thread):
    """Looks at the memory of a process and of all that descend from it until `stop`; `peak_mb` is the most seen.

    Linux' proportional set size: a page that n processes share counts 1/n for each, so that workers which a loader
    forks are counted once; and at least the kernel's own peak of the process itself, which no look can miss.
    Elsewhere nothing is seen, and `peak_mb` stays 0.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak_mb, self._ended = pid, 0.0, threading.Event()

    def run(self) -> None:
        looks = 0
        while not self._ended.wait(min(LOOK_S, 0.05 * (looks + 1))):
            looks += 1
            self.peak_mb = max(self.peak_mb, memory_mb(self.pid), _megabytes(self.pid, "status", "VmHWM:"))

    def stop(self) -> float:
        self._ended.set()
        self.join()
        return self.peak_mb


def run(
    command: Iterable[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
    limit_s: float | None = None,
) -> Used:
    """Run a command to its end, its output appended to `log` or dropped; past `limit_s` its whole group is ended.

    So it is where this process is interrupted or told to end.
    """
    with _told_to_end() as heed, open(log or os.devnull, "ab") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        watch = Watch(process.pid)
        timer = threading.Timer(limit_s or threading.TIMEOUT_MAX, _end, [process.pid])
        timer.daemon = True
        try:
            heed()  # only now, when there is something to end
            watch.start()
            timer.start()
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            _end(process.pid)
            process.wait()
            raise
        finally:
            timer.cancel()
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)  # it has been waited for
    _end(process.pid)  # workers that outlived it
    unit = 1024 if sys.platform != "darwin" else 1024**2
    return Used(
        seconds=seconds,
        cpu_s=usage.ru_utime + usage.ru_stime,
        # A child's ru_maxrss begins with what its parent had, so it is the second choice.
        peak_mb=watch.stop() or usage.ru_maxrss / unit,
        status=process.returncode,
    )


@contextlib.contextmanager
def _told_to_end() -> Iterator[Callable[[], None]]:
    """Let SIGTERM raise SystemExit, and Ctrl-C KeyboardInterrupt, where a thread may ask for that.

    Not before the function that is given is called; a signal that came earlier is heeded then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    came: list[int] = []
    heeding = False

    def heed() -> None:
        nonlocal heeding
        heeding = True
        if came:
            raise KeyboardInterrupt if came[0] == signal.SIGINT else SystemExit(143)

    def take(number: int, frame: object) -> None:
        came.append(number)
        if heeding:
            heed()

    heard = [each for each in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(each) != signal.SIG_IGN]
    before = {each: signal.signal(each, take) for each in heard}
    try:
        yield heed
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def memory_mb(pid: int) -> float:
    """What a process and all that descend from it hold now, each shared page once; see `Watch`."""
    return sum(_megabytes(each, "smaps_rollup", "Pss:") for each in _family(pid))


def resident_mb(pid: int) -> float:
    """What a process and all that descend from it hold now, whatever other programs do, each page once.

    Their own pages, as in `Watch`, and the files that the one with the most of them has mapped. A file's share in the
    proportional set size changes when another program maps the same library, which is nobody's leak.
    """
    family = _family(pid)
    own = sum(_megabytes(each, "smaps_rollup", "Pss_Anon:") for each in family)
    files = (
        _megabytes(each, "smaps_rollup", "Rss:") - _megabytes(each, "smaps_rollup", "Anonymous:") for each in family
    )
    return own + max(files, default=0.0)


def tail(log: Path, lines: int = 3) -> str:
    """The last lines of a log that say something, in one line."""
    said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " · ".join(said[-lines:])[-400:]


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc") if os.path.isdir("/proc") else []:
        if entry.name.isdigit():
            try:
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:  # grows while it is walked
        found += children.get(each, [])
    return found


def _megabytes(pid: int, file: str, field: str) -> float:
    """A field of kilobytes in a file of /proc/<pid>; 0 where the process is gone."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    return 0.0
