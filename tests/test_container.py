"""The Dockerfile against what it relies on: options of `serve`, files that its context has, no root, SIGTERM's road."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tellapart.cli import cli

ROOT = Path(__file__).parent.parent
STEPS = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ").splitlines()


def told(instruction: str) -> list[str]:
    """What stands behind each instruction of that name."""
    return [step.removeprefix(f"{instruction} ").strip() for step in STEPS if step.startswith(f"{instruction} ")]


def test_the_program_is_process_1_and_knows_its_options() -> None:
    """The exec form: a shell in between would keep SIGTERM to itself."""
    (entry,) = told("ENTRYPOINT")
    program, command, *rest = json.loads(entry)
    known = {option for parameter in cli.commands[command].params for option in parameter.opts}
    assert program == "tellapart"
    assert set(rest[::2]) == {"--host", "--port"} <= known
    assert rest[rest.index("--host") + 1] == "0.0.0.0"
    port = rest[rest.index("--port") + 1]
    assert told("EXPOSE") == [port]
    assert f"http://127.0.0.1:{port}/livez" in told("HEALTHCHECK")[0]
    assert told("STOPSIGNAL") == ["SIGTERM"]


def test_it_is_not_root_and_brings_no_tools() -> None:
    assert told("USER") == ["10001:10001"]
    *_, last = "\n".join(STEPS).split("\nFROM ")
    assert "RUN" not in last, "the last stage only copies"
    assert len(set(re.findall(r"^FROM (\S+)", "\n".join(STEPS), flags=re.M))) == 1, "built in what it runs in"


def test_what_is_copied_is_in_the_context() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    copied = {name.removeprefix("./") for step in told("COPY") if "--from" not in step for name in step.split()[:-1]}
    assert "*" in ignore
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
