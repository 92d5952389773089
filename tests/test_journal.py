"""Answers that are kept: none twice, none missing, whenever a run is killed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tellapart import journal
from tellapart.errors import OutputError
from tellapart.journal import Journal
from tellapart.predict import Prediction, Question

MODEL = b"{}"


class Asked:
    """Answers, and remembers what it was asked; ends like a kill before the answer to `last`."""

    def __init__(self, last: str | None = None) -> None:
        self.paths: list[str] = []
        self.last = last

    def __call__(self, questions: Iterable[Question]) -> Iterator[Prediction]:
        for question in questions:
            if question.path == self.last:
                raise KeyboardInterrupt
            self.paths.append(question.path)
            yield answer(question.path)


def answer(path: str) -> Prediction:
    if path.startswith("bad"):
        return Prediction(path, None, None, error="empty file (0 bytes)")
    sets = ("cats", "dogs") if path.startswith("set") else None
    return Prediction(path, "cats", 1 / 3, {"cats": 1 / 3, "dogs": 2 / 3}, label_set=sets, strangeness=0.1)


def questions(paths: list[str]) -> Iterator[Question]:
    return (Question(path) for path in paths)


def run(cache: Path, paths: list[str], ask: Asked, settings: dict | None = None) -> list[Prediction]:
    with Journal(cache, MODEL, ["photos"], settings or {}) as kept:
        return list(kept.answers(questions(paths), ask))


PATHS = ["a", "bad\n1", "set", "é\udcff", *map(str, range(20))]


@pytest.mark.parametrize("n", range(0, len(PATHS), 3))
def test_a_run_goes_on_where_it_was_stopped(n: int, tmp_path: Path) -> None:
    first, second = Asked(PATHS[n]), Asked()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, PATHS, first)
    assert run(tmp_path, PATHS, second) == [answer(path) for path in PATHS], "to the last bit of every number"
    assert first.paths + second.paths == PATHS
    assert list(tmp_path.rglob("*.jsonl")) == [], "it goes with the run that ends"


def test_a_line_that_a_kill_cut_short_is_asked_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, PATHS, Asked(PATHS[10]))
    (path,) = tmp_path.rglob("*.jsonl")
    whole = path.read_bytes()
    for cut in (1, 5, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        ask = Asked()
        with Journal(tmp_path, MODEL, ["photos"], {}) as kept:
            assert list(kept.answers(questions(PATHS), ask)) == [answer(each) for each in PATHS]
            assert ask.paths == PATHS[9:]
        path.write_bytes(whole)


def test_pictures_that_changed_are_asked_from_there_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, PATHS, Asked(PATHS[10]))
    other = [*PATHS[:4], "new", *PATHS[4:]]
    ask = Asked(PATHS[12])
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, other, ask)
    assert ask.paths == other[4:13]
    ask = Asked()
    assert [each.path for each in run(tmp_path, other[:6], ask)] == other[:6], "fewer than are known"
    assert ask.paths == []


def test_another_command_has_another_journal(tmp_path: Path) -> None:
    kept = {
        Journal(tmp_path, model, asked, settings).path
        for model, asked, settings in [
            (b"{}", ["a"], {}),
            (b"{1}", ["a"], {}),
            (b"{}", ["b"], {}),
            (b"{}", ["a"], {"sure": 0.9}),
        ]
    }
    assert len(kept) == 4
    assert Journal(tmp_path, b"{}", [str(Path("a").absolute())], {}).path in kept, "of one folder, however it is named"


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        Journal(tmp_path, MODEL, ["a"], {}),
        pytest.raises(OutputError, match="must not run twice at once"),
        Journal(tmp_path, MODEL, ["a"], {}),
    ):
        pass


def test_what_stands_in_it_that_is_no_answer_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, ["a", "b"], Asked("b"))
    (path,) = tmp_path.rglob("*.jsonl")
    other = json.dumps({"path": "a", "label_set": None, "x": 1}).encode()
    for line in (b"{}\n", b"[]\n", b"\xff\n", b"1\n", other + b"\n"):
        path.write_bytes(line)
        with Journal(tmp_path, MODEL, ["photos"], {}) as kept:
            assert list(kept.answers(questions(["a"]), Asked())) == [answer("a")]
            assert kept.n_known == 0
        path.touch()


def test_a_cache_that_takes_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept = Journal(tmp_path / "file", MODEL, [], {})
    with pytest.raises(OutputError, match="With --resume the answers must be kept in"), kept:
        pass


def test_clearing_takes_what_nobody_writes(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, ["a", "b"], Asked("b"))
    with Journal(tmp_path, MODEL, ["other"], {}) as kept:
        assert journal.clear(tmp_path) > 100
        assert list(tmp_path.rglob("*.jsonl")) == [kept.path]
    assert journal.clear(tmp_path) == 0
