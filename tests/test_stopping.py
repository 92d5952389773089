"""Signals that end a command are heeded as Ctrl-C is."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tellapart import stopping
from tellapart.cli import main

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    """As in a fresh process: a shell's background ignores signals, and libraries of other tests take them."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_leaves_no_half_table_and_has_its_status(
    bundle_path: Path, photos: Path, tmp_path: Path, monkeypatch, capsys, name: str, status: int
) -> None:
    def press(*_: object, **__: object) -> None:
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(1)  # here Python notices

    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    monkeypatch.setattr("tellapart.predict.csv_row", press)
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(bundle_path), str(photos), "--csv", str(tmp_path / "a.csv")])
    assert ended.value.code == status
    assert capsys.readouterr().err.endswith("Stopped.\n")
    assert list(tmp_path.iterdir()) == []
    assert {each: signal.getsignal(each) for each in before} == before


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_an_evaluation_that_is_stopped_says_so_in_a_line_and_leaves_nothing(
    bundle_path: Path, photos: Path, tmp_path: Path, monkeypatch, capsys, name: str, status: int
) -> None:
    def press(*_: object) -> Iterator[object]:
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(1)  # here Python notices
        yield from ()

    monkeypatch.setattr("tellapart.predict.Predictor._predictions", press)
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(bundle_path), str(photos), "--json", str(tmp_path / "a.json")])
    assert ended.value.code == status
    said = capsys.readouterr()
    assert (said.out, said.err.strip()) == ("", "Stopped.")  # after the ^C of a terminal, on a line of its own
    assert list(tmp_path.iterdir()) == []


def test_a_signal_goes_to_whoever_heeds_ctrl_c() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        with stopping.by_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
        assert came == [signal.SIGINT]
        assert stopping.status() == 143
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell has it for what runs in the background
        with pytest.raises(KeyboardInterrupt):
            terminated()
    finally:
        signal.signal(signal.SIGINT, before)


def terminated() -> None:
    with stopping.by_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


def test_a_signal_that_is_ignored_stays_so() -> None:
    code = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
from tellapart import stopping
with stopping.by_signals():
    os.kill(os.getpid(), signal.SIGHUP)
print("went on")
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "went on\n"
