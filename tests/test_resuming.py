"""What decides that two commands are one and the same training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tellapart import attempts, policies, resuming

TOLD: dict[str, Any] = {"seed": 0, "budget": None, "k_fold": None, "like": None}


def key(settings: dict[str, Any], reading: dict[str, Any] | None = None, **more: Any) -> str:
    """What a command is found again by."""
    every: Any = settings
    read: Any = reading or {}
    return attempts.key(resuming.wanted("scratch", every, read, **{**TOLD, **more}))


def test_what_is_asked_for_decides() -> None:
    plain = key({})
    others = [
        key({"flip": False}), key({"flip": True}), key({"fine_tune": False}), key({"epochs": 3}), key({}, seed=1),
        key({}, budget="60s"), key({}, k_fold=5), key({}, {"group": "animal"}), key({}, {"keep_conflicts": True}),
        key({"conv": [4, 8]}),
    ]  # fmt: skip
    assert len({plain, *others}) == 1 + len(others)


def test_what_says_nothing_does_not() -> None:
    assert key({"epochs": None, "download": False}, {"keep_conflicts": False, "labels": "a.csv"}) == key({})
    assert key({"conv": (4, 8)}) == key({"conv": [4, 8]})  # as Python and the command line have it


def test_changes_of_pictures_count_by_what_they_are_not_by_their_file(tmp_path: Path) -> None:
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    for path in (one, other):
        path.write_text("rotation_deg = 10\n")
    assert key({"augment": str(one)}) == key({"augment": str(other)})
    other.write_text("rotation_deg = 11\n")
    assert key({"augment": str(one)}) != key({"augment": str(other)})
    assert key({"augment": policies.resolve(str(one))[1]}) == key({"augment": str(one)})
