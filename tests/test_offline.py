"""No command reaches for the network, whatever the user's settings ask other people's packages to report."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import offline
import tellapart
from tellapart.cli import cli

HERE = Path(__file__).parent
# A user's settings by which everybody may report. CI must not be set: most stay silent where it is.
LOUD = {
    "ORT_DISABLE_TELEMETRY": "0",
    "OPENVINO_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "false",
    "_MLFLOW_TESTING_TELEMETRY": "true",
    "DO_NOT_TRACK": "0",
    "RAY_USAGE_STATS_ENABLED": "1",
    "WANDB_MODE": "online",
    "WANDB_ERROR_REPORTING": "true",
}
QUIET = ("CI", "PYTEST_CURRENT_TEST", "PYTEST_VERSION", "PYTEST_XDIST_WORKER", "HTTP_PROXY", "HTTPS_PROXY")


@pytest.fixture(scope="module")
def ran(bundle_path: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every command, once, with nothing but a loopback: what each ended with, and what was tried."""
    folder = tmp_path_factory.mktemp("offline")
    home, notes = folder / "home", folder / "notes.txt"
    (home / "intel").mkdir(parents=True)
    (home / "intel" / "openvino_telemetry").write_text("1")  # its user has agreed to reports
    notes.touch()
    kept = {name: value for name, value in os.environ.items() if name not in QUIET}
    environment = kept | LOUD | {"HOME": str(home), "XDG_CACHE_HOME": ""} | offline.everywhere(notes, folder / "site")
    environment["PYTHONPATH"] += os.pathsep + str(Path(tellapart.__file__).parents[1])
    command = [sys.executable, HERE / "everycommand.py", bundle_path, photos, folder, notes]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((folder / "result.json").read_text())
    return result | {"notes": notes.read_text(), "stderr": done.stderr, "home": sorted(home.rglob("*"))}


def test_every_command_does_its_work_without_a_network(ran: dict[str, Any]) -> None:
    assert [name for name, status, *_ in ran["commands"] if status] == [], ran["stderr"][-3000:]
    assert {name.split()[0] for name, *_ in ran["commands"]} == {*cli.commands, "--help"}


def test_no_python_process_tries_to_reach_anybody(ran: dict[str, Any]) -> None:
    assert ran["notes"] == ""


def test_the_kernel_is_asked_for_no_road_by_anything(ran: dict[str, Any]) -> None:
    """Whatever is not Python too: ONNX Runtime, OpenVINO, TensorFlow, a browser, a program in Go."""
    if not ran["counted"]:
        pytest.skip("this system forbids a network namespace")
    assert [(name, tried) for name, _, tried, _ in ran["commands"] if tried] == []


def test_what_is_tried_is_noted_by_python_and_by_the_kernel(tmp_path: Path) -> None:
    """The three tests above could not fail if this were not so; and what is caught stays noted."""
    notes = tmp_path / "notes.txt"
    code = f"""
import sys; sys.path.insert(0, {str(HERE)!r})
import offline
counted = offline.alone()
import socket, contextlib, subprocess, threading
for family, address in ((socket.AF_INET, ("192.0.2.1", 80)), (socket.AF_INET6, ("2001:db8::1", 80))):
    with contextlib.suppress(OSError), socket.socket(family) as one:
        one.connect(address)
with contextlib.suppress(OSError):
    socket.getaddrinfo("example.org", 80)
with contextlib.suppress(OSError):
    socket.gethostbyaddr("192.0.2.2")
def asks():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", ("192.0.2.3", 53))
thread = threading.Thread(target=asks)
thread.start()
thread.join()
child = "import socket; socket.getnameinfo(('192.0.2.4', 80), 0)"
subprocess.run([sys.executable, "-c", child], stderr=subprocess.DEVNULL)
before = offline.tries()
child = "import _socket; _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM).connect_ex(('192.0.2.1', 80))"
subprocess.run([sys.executable, "-S", "-c", child])
for family, loopback in (("AF_INET", "127.0.0.53"), ("AF_INET6", "::1")):
    child = f"import _socket as s; s.socket(s.{{family}}, s.SOCK_DGRAM).sendto(b'x', ('{{loopback}}', 53))"
    subprocess.run([sys.executable, "-S", "-c", child])
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
    pass
print(counted, offline.tries() - before)
"""
    environment = os.environ | offline.everywhere(notes, tmp_path / "site")
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    noted = [line.split(" by ")[0] for line in notes.read_text().splitlines()]
    assert noted == [
        *("socket.connect 192.0.2.1", "socket.connect 2001:db8::1", "socket.getaddrinfo example.org"),
        *("socket.gethostbyaddr 192.0.2.2", "socket.sendto 192.0.2.3", "socket.getnameinfo 192.0.2.4"),
    ]
    assert said in (["True", "3"], ["False", "0"])


@pytest.mark.parametrize(
    ("event", "arguments", "expected"),
    [
        ("socket.connect", (None, ("127.0.0.1", 80)), None),
        ("socket.connect", (None, ("::1", 80, 0, 0)), None),
        ("socket.connect", (None, "/run/a.socket"), None),
        ("socket.connect", (None, ("192.0.2.1", 80)), "socket.connect 192.0.2.1"),
        ("socket.sendto", (None, ("2001:db8::1", 53, 0, 0)), "socket.sendto 2001:db8::1"),
        ("socket.getaddrinfo", ("localhost", 80, 0, 0, 0), None),
        ("socket.getaddrinfo", (socket.gethostname(), 80, 0, 0, 0), None),
        ("socket.getaddrinfo", (b"example.org", 80, 0, 0, 0), "socket.getaddrinfo example.org"),
        ("socket.gethostbyname", ("example.org",), "socket.gethostbyname example.org"),
        ("socket.gethostbyaddr", ("127.0.0.1",), None),
        ("socket.gethostbyaddr", ("192.0.2.1",), "socket.gethostbyaddr 192.0.2.1"),
        ("socket.getnameinfo", (("::1", 80, 0, 0),), None),
        ("socket.getnameinfo", (("192.0.2.1", 80),), "socket.getnameinfo 192.0.2.1"),
        ("socket.bind", (None, ("192.0.2.1", 80)), None),
    ],
)
def test_what_lies_outside(event: str, arguments: tuple[Any, ...], expected: str | None) -> None:
    assert offline.outside(event, arguments) == expected
