"""What a person who waits sees, and that a pipe sees no bars."""

import io
from contextlib import redirect_stderr

import pytest

from tellapart import progress
from tellapart.progress import Progress, TerminalProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage is shown at once, on a terminal 120 columns wide."""
    monkeypatch.setattr(progress, "SHOW_AFTER_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


def test_the_base_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as said:
        said.update("Reading", 1, 2, "more")
        said.note("a note")
    assert capsys.readouterr() == ("", "")


def test_a_pipe_gets_notes_and_no_bars(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalProgress() as said:
        for done in range(3):
            said.update("Decoding", done, 2)
        said.note("left alone: [bold]x[/bold]")
    assert capsys.readouterr() == ("", "left alone: [bold]x[/bold]\n")


def test_a_terminal_gets_a_bar_for_a_stage() -> None:
    with redirect_stderr(Terminal()) as terminal, TerminalProgress() as said:
        said.update("Decoding", 1, 4)
        said.update("Decoding", 4, 4, "epoch 1 of 2: 50.0% [right]")
    shown = terminal.getvalue()
    assert "Decoding" in shown
    assert "100%" in shown
    assert "epoch 1 of 2: 50.0% [right]" in shown  # brackets are no markup


def test_a_stage_of_unknown_length_tells_how_far_it_is() -> None:
    with redirect_stderr(Terminal()) as terminal, TerminalProgress() as said:
        said.update("Answering", 1, None)
        said.update("Answering", 1234, None, "1,234 pictures")
    assert "1,234 pictures" in terminal.getvalue()
    assert "100%" not in terminal.getvalue()


def test_a_note_stands_whole_above_the_bars() -> None:
    note = "one long sentence " * 20 + "[with brackets]"
    with redirect_stderr(Terminal()) as terminal, TerminalProgress() as said:
        said.update("Reading", 1, 4)
        said.note(note)
    assert note in terminal.getvalue()


def test_a_stage_that_is_through_at_once_needs_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SHOW_AFTER_S", 1.0)
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with redirect_stderr(Terminal()) as terminal, TerminalProgress() as said:
        said.update("Reading", 1, 4)
        now = 0.9
        said.update("Reading", 4, 4)
        assert terminal.getvalue() == ""
        now = 5.0
        said.update("Decoding", 1, 4)
        now = 5.9
        said.update("Decoding", 2, 4)
        assert terminal.getvalue() == ""
        now = 6.1
        said.update("Decoding", 3, 4)
    assert "Decoding" in terminal.getvalue()
    assert "Reading" not in terminal.getvalue()


def test_it_can_be_used_for_one_run_after_another() -> None:
    with redirect_stderr(Terminal()):
        said = TerminalProgress()
    for _ in range(2):
        with redirect_stderr(Terminal()) as terminal, said:
            said.update("Decoding", 1, 4)
            said.update("Decoding", 4, 4)
        assert "100%" in terminal.getvalue()
    said.close()  # twice is no error
