"""Choices by measuring: kept in the cache, noted for the bundle, and kept to where another training is repeated."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tellapart import choices

KEY = choices.key("a question")


def choose(cache: Path, answer: str, about: str = "engine", key: str | None = KEY, *, keep: bool = True) -> str:
    """The choice where measuring would find `answer`, and "red" and "blue" can be chosen."""
    return choices.chosen(about, key, cache, ("red", "blue").__contains__, lambda: answer, keep=keep)


def test_what_was_measured_is_kept_and_not_measured_again(tmp_path: Path) -> None:
    assert choose(tmp_path, "red") == "red"
    assert choose(tmp_path, "blue") == "red"
    assert choices.recall(tmp_path, KEY) == "red"


@pytest.mark.parametrize(("key", "keep"), [(None, True), (KEY, False)])
def test_what_is_good_for_one_training_alone_is_not_kept(tmp_path: Path, key: str | None, keep: bool) -> None:
    assert choose(tmp_path, "red", key=key, keep=keep) == "red"
    assert choose(tmp_path, "blue", key=key, keep=keep) == "blue"
    assert not (tmp_path / choices.NAME).exists()


def test_choices_are_noted_whether_measured_or_recalled(tmp_path: Path) -> None:
    for answer in ("red", "blue"):
        with choices.noted() as notes:
            choose(tmp_path, answer)
            choose(tmp_path, "blue", about="precision", key=None)
        assert notes.made == {"engine": "red", "precision": "blue"}
    assert choices.given("engine") is None  # outside, nothing is to be kept to


def test_a_choice_that_is_given_goes_before_the_cache_and_changes_nothing_in_it(tmp_path: Path) -> None:
    choose(tmp_path, "red")
    with choices.noted({"engine": "blue"}) as notes:
        assert choose(tmp_path, "red") == "blue"
        assert choices.given("engine") == "blue"
    assert notes.made == {"engine": "blue"}
    assert choices.recall(tmp_path, KEY) == "red"


def test_a_given_choice_that_cannot_be_made_here_is_measured(tmp_path: Path) -> None:
    with choices.noted({"engine": "green"}) as notes:
        assert choose(tmp_path, "red") == "red"
    assert notes.made == {"engine": "red"}


def test_one_training_chooses_once(tmp_path: Path) -> None:
    with choices.noted() as notes:
        assert choose(tmp_path, "red", key=None) == "red"
        assert choose(tmp_path, "blue", key=None) == "red"
        choices.afresh()
        assert choose(tmp_path, "blue", key=None) == "blue"
    assert notes.made == {"engine": "blue"}


def test_notes_within_notes_stay_apart(tmp_path: Path) -> None:
    with choices.noted() as outer:
        with choices.noted():
            choose(tmp_path, "red", key=None)
        assert outer.made == {}
        choose(tmp_path, "blue", key=None)
    assert outer.made == {"engine": "blue"}


def test_a_table_with_other_things_in_it_is_no_choice(tmp_path: Path) -> None:
    (tmp_path / choices.NAME).write_text(f'{{"{KEY}": ["red"]}}')
    assert choices.recall(tmp_path, KEY) is None
    assert choose(tmp_path, "blue") == "blue"


def test_a_choice_is_kept_and_another_added(tmp_path: Path) -> None:
    assert choices.recall(tmp_path / "new", "a") is None
    choices.record(tmp_path / "new", "a", "one")
    choices.record(tmp_path / "new", "b", "two")
    assert [choices.recall(tmp_path / "new", key) for key in "ab"] == ["one", "two"]


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"a": 1, "b": "two"}', "[" * 100_000, "\ud800"])
def test_a_damaged_table_is_no_choice_and_takes_new_ones(tmp_path: Path, damage: str) -> None:
    (tmp_path / choices.NAME).write_text(damage, errors="surrogatepass")
    assert choices.recall(tmp_path, "a") is None
    choices.record(tmp_path, "c", "three")
    assert choices.recall(tmp_path, "c") == "three"


def test_several_processes_that_record_at_once_lose_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tellapart import choices\n"
        "for i in range(12): choices.record(Path(sys.argv[1]), f'{sys.argv[2]}{i}', sys.argv[2])"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in "abc"]
    assert [each.wait() for each in running] == [0, 0, 0]
    found = json.loads((tmp_path / choices.NAME).read_text())
    assert found == {f"{name}{i}": name for name in "abc" for i in range(12)}


def test_a_folder_that_takes_no_choice_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    choices.record(tmp_path / "file" / "cache", "a", "one")
    assert choices.recall(tmp_path / "file" / "cache", "a") is None
