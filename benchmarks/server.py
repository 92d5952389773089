"""A service of any kind in a process of its own: started, waited for, weighed, told to end."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peers import measure

LOOK_S = 0.01  # between two looks whether it is ready


class ServerError(Exception):
    """A service did not begin, or did not answer; the text is the end of what it said."""


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@dataclass(frozen=True)
class Ended:
    """How a service ended."""

    status: int  # exit status; negative: by that signal
    seconds: float  # from the signal on


class Server:
    """A command that serves on 127.0.0.1:`port`; as a context, its whole group is gone at the end.

    `question` is what has to be answered with 200 before it counts as ready: method, path, body, headers.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        port: int,
        log: Path,
        *,
        question: tuple[str, str, bytes | None, Mapping[str, str]] = ("GET", "/readyz", None, {}),
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        limit_s: float = 120.0,
    ) -> None:
        self.port, self.log, self.url = port, log, f"http://127.0.0.1:{port}"
        start = time.perf_counter()
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                env=None if environment is None else dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            while not self.answers(*question):
                if self.process.poll() is not None:
                    raise ServerError(f"it ended with status {self.process.returncode}: {measure.tail(log)}")
                if time.perf_counter() - start > limit_s:
                    raise ServerError(f"it was not ready after {limit_s:.0f} s: {measure.tail(log)}")
                time.sleep(LOOK_S)
        except BaseException:
            self.end()
            raise
        self.cold_s = time.perf_counter() - start  # from the start of the process to the answer

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One request on a connection of its own: status and body. Raises OSError or HTTPException."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def answers(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None):
        """Whether it answers with 200."""
        try:
            return self.ask(method, path, body, headers)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def memory_mb(self) -> float:
        """What the process and its children hold now, each page once."""
        return measure.resident_mb(self.process.pid)

    def stop(self, sent: int = signal.SIGTERM, limit_s: float = 60.0) -> Ended:
        """Send a signal to the first process alone, as an orchestrator does, and wait."""
        start = time.perf_counter()
        self.process.send_signal(sent)
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.end()
            raise ServerError(f"it ran on {limit_s:.0f} s after signal {int(sent)}: {measure.tail(self.log)}") from None
        return Ended(status, time.perf_counter() - start)

    def end(self) -> None:
        """Kill what is left of its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def samples(text: str, name: str) -> dict[str, float]:
    """The values of one metric in Prometheus' text format, by their labels as they are written."""
    pattern = re.compile(rf"^{re.escape(name)}(?:\{{(.*)\}})? (\S+)", re.M)
    return {labels or "": float(value) for labels, value in pattern.findall(text)}
