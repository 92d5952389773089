"""`tellapart serve` as a process of its own, for tests."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

TIMEOUT_S = 60.0  # a busy machine is no fault of what is tested


class Served:
    """A running service on a free port of 127.0.0.1."""

    def __init__(self, folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tellapart", "serve", "--port", "0", *arguments],
                stdout=out,
                stderr=err,
                env=os.environ | {"PYTHONUNBUFFERED": "1"} | (environment or {}),
            )
        try:
            self.url = self._wait()
        except BaseException:
            self._end()
            raise
        self.port = int(self.url.rsplit(":", 1)[1])
        self.client = httpx.Client(base_url=self.url, timeout=TIMEOUT_S, trust_env=False)

    def _wait(self) -> str:
        until = time.monotonic() + TIMEOUT_S
        while time.monotonic() < until and self.process.poll() is None:
            found = re.search(r"Serving .* at (http://\S+)", self._out.read_text())
            if found:
                return found[1]
            time.sleep(0.02)
        raise AssertionError(f"no service: {self.process.poll()} {self._out.read_text()} {self._err.read_text()}")

    def predict(self, *pictures: bytes, **options: Any) -> httpx.Response:
        """Post pictures as parts."""
        files = [("files", (f"{i}.jpg", each)) for i, each in enumerate(pictures)]
        return self.client.post("/v1/predict", files=files, **options)

    def log(self) -> list[dict[str, Any]]:
        """The lines of the log, as far as they are written: the last may be under way."""
        return [json.loads(line) for line in self._err.read_text().split("\n")[:-1]]

    def logged(self, **wanted: Any) -> list[dict[str, Any]]:
        """The lines that have some values, when there is one."""
        until = time.monotonic() + TIMEOUT_S
        while time.monotonic() < until:
            found = [line for line in self.log() if wanted.items() <= line.items()]
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"no line with {wanted} in {self._err.read_text()}")

    def metric(self, line: str) -> float:
        """The value of a line of /metrics; 0 where there is none."""
        for each in self.client.get("/metrics").text.splitlines():
            if each.startswith(line + " "):
                return float(each.rsplit(" ", 1)[1])
        return 0.0

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)

    def send(self, *parts: bytes) -> bytes:
        """Send bytes as they are and read what comes until the other side closes."""
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part)
            return received(connection)

    def stop(self, sig: int = signal.SIGTERM) -> int:
        """End it and return its exit status."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            return self.process.wait(TIMEOUT_S)
        finally:
            self._end()

    def _end(self) -> None:
        self.process.kill()
        self.process.wait()


def received(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)
