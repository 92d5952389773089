"""A killed run's rows are taken over by the next of its kind, and by none other; what is damaged is not believed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tellapart import cache as caches
from tellapart import drafts, store
from tellapart.store import Contents, Decoded, Kind

FILES = [(f"{i}.jpg", hashlib.sha256(str(i).encode()).hexdigest()) for i in range(12)]


def row(content: str) -> np.ndarray:
    """What a kind makes of a content: float16 (4,)."""
    return np.frombuffer(bytes.fromhex(content)[:8], np.uint16).astype(np.float16)


def kind(made: list[str], *, stop: int | None = None, error: type[BaseException] = KeyboardInterrupt, name="a") -> Kind:
    """One that notes what it makes, and fails before the `stop`-th row."""

    def make(todo: Contents, threads: int, block: int) -> Iterator[Decoded]:
        for i, (content, _) in enumerate(todo):
            if i == stop:
                raise error
            made.append(content)
            if content == FILES[1][1]:
                yield Decoded(content, None, "it is no picture", lasting=True)
            else:
                yield Decoded(content, row(content))

    return Kind("8px-test", {"name": name}, (4,), np.dtype(np.float16), make)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are kept after each picture."""
    monkeypatch.setattr(drafts, "SHORTEST_S", 0.0)
    monkeypatch.setattr(drafts, "SPARSE", 0.0)
    monkeypatch.setattr(store, "_BLOCK_PICTURES", 1)


def names(cache: Path) -> list[str]:
    """What lies in the folder of stores."""
    return sorted(path.name for path in (cache / "pictures").iterdir())


def check(found: store.Store) -> None:
    """Every row is right."""
    assert found.failures == {FILES[1][1]: "it is no picture"}
    assert set(found.rows) == {content for _, content in FILES if content != FILES[1][1]}
    for content, at in found.rows.items():
        np.testing.assert_array_equal(found.values[at], row(content))


def test_rows_of_a_run_that_failed_are_taken_over(tmp_path: Path) -> None:
    first: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        store.keep(FILES, kind(first, stop=7), tmp_path)
    assert len(names(tmp_path)) == 1
    then: list[str] = []
    found = store.keep(FILES, kind(then), tmp_path)
    check(found)
    assert first + then == [content for _, content in FILES]  # nothing twice, nothing left out
    assert names(tmp_path) == [found.path.name]  # and nothing stays behind
    assert "checksum" not in (found.path / "index.json").read_text()  # a store like any other


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_drafts as t
from tellapart import drafts, store
drafts.SHORTEST_S = drafts.SPARSE = 0.0
store._BLOCK_PICTURES = 1
class Kill(BaseException):
    def __init__(self):
        os.kill(os.getpid(), signal.SIGKILL)
store.keep(t.FILES, t.kind([], stop=int(sys.argv[3]), error=Kill), Path(sys.argv[2]))
"""


def killed(cache: Path, stop: int) -> None:
    """A process that is killed before its `stop`-th row."""
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(cache), str(stop)]
    environment = {**os.environ, "PYTHONPATH": str(Path(store.__file__).parents[1])}
    ended = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def test_rows_of_killed_runs_are_taken_over_time_and_again(tmp_path: Path) -> None:
    killed(tmp_path, 3)
    killed(tmp_path, 4)
    made: list[str] = []
    other: list[str] = []
    store.keep(FILES[:2], kind(other, name="b"), tmp_path)  # another kind takes nothing over, and sweeps nothing away
    assert other == [FILES[0][1], FILES[1][1]]
    found = store.keep(FILES, kind(made), tmp_path)
    check(found)
    # The second process took 3 over and made 4 more; both drafts are found, though the first was claimed by the second.
    assert made == [content for _, content in FILES[7:]]
    assert sum(name.startswith(".") for name in names(tmp_path)) == 0


@pytest.mark.parametrize("damage", ["cut", "changed", "index", "twice"])
def test_a_damaged_draft_is_not_believed(tmp_path: Path, damage: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        store.keep(FILES, kind([], stop=7), tmp_path)
    (draft,) = (tmp_path / "pictures").iterdir()
    values = (draft / "values.bin").read_bytes()
    if damage == "cut":
        (draft / "values.bin").write_bytes(values[:-1])
    elif damage == "changed":
        (draft / "values.bin").write_bytes(values[:5] + bytes([values[5] ^ 1]) + values[6:])
    elif damage == "twice":  # one content in place of another
        index = json.loads((draft / "index.json").read_text())
        index["contents"][0] = index["contents"][2]
        (draft / "index.json").write_text(json.dumps(index))
    else:
        (draft / "index.json").write_bytes((draft / "index.json").read_bytes()[:-20])
    made: list[str] = []
    found = store.keep(FILES, kind(made), tmp_path)
    check(found)
    assert len(made) == len(FILES)
    assert names(tmp_path) == [found.path.name]


def test_a_draft_of_a_run_under_way_is_left_alone(tmp_path: Path) -> None:
    made: list[str] = []

    def slow(todo: Contents, threads: int, block: int) -> Iterator[Decoded]:
        for i, (content, _) in enumerate(todo):
            if i == 5:
                check(store.keep(FILES, kind(made), tmp_path))  # another one meanwhile
            yield Decoded(content, None, "it is no picture", True) if i == 1 else Decoded(content, row(content))

    first = kind([])
    check(store.keep(FILES, Kind(first.name, first.recipe, first.shape, first.dtype, slow), tmp_path))
    assert len(made) == len(FILES)


def test_a_short_run_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "SHORTEST_S", 10.0)
    with pytest.raises(KeyboardInterrupt):
        store.keep(FILES, kind([], stop=7), tmp_path)
    assert names(tmp_path) == []


def test_what_nobody_takes_over_goes_after_a_week_or_when_the_cache_is_cleared(tmp_path: Path) -> None:
    killed(tmp_path, 5)
    (draft,) = (tmp_path / "pictures").iterdir()
    caches.sweep(tmp_path / "pictures")
    assert draft.exists()
    for path in (*draft.iterdir(), draft):
        os.utime(path, (time.time() - 8 * 24 * 3600,) * 2)
    caches.sweep(tmp_path / "pictures")
    assert not draft.exists()
    killed(tmp_path, 5)
    assert store.clear(tmp_path) > 0
    assert not (tmp_path / "pictures").exists()
