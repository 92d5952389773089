"""The figures of mutation testing: what is counted as what, and no excuse that is out of date."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "benchmarks")]

import mutation


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0, "survived"),
        (1, "killed"),  # a test failed
        (3, "killed"),  # pytest itself broke down
        (33, "no tests"),
        (None, "not tried"),
        (-24, "timed out"),
        (-11, "crashed"),
        (2, "crashed"),
    ],
)
def test_what_became_of_a_mutant(code: int | None, kind: str) -> None:
    assert mutation.kind(code) == kind


def test_every_excuse_is_about_a_line_that_is_there() -> None:
    excused = tomllib.loads(mutation.EQUIVALENT.read_text())
    assert sorted(excused) == sorted(set(excused) & {"bundle", "metrics", "preprocess", "splits"})
    for module, excuses in excused.items():
        source = " ".join((ROOT / f"src/tellapart/{module}.py").read_text().split())
        for excuse in excuses:
            assert set(excuse) == {"change", "reason"}
            assert len(excuse["reason"]) > 20
            was = " ".join(line[1:] for line in excuse["change"] if line.startswith("-"))
            assert was
            assert was in source, was
            assert any(line.startswith("+") for line in excuse["change"])


def test_a_module_is_tried_with_its_own_tests() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    settings = tomllib.loads(mutation.targeted(text, "splits", ["bundle", "metrics", "preprocess", "splits"]))
    settings = settings["tool"]["mutmut"]
    assert settings["only_mutate"] == ["src/tellapart/splits.py"]
    assert settings["pytest_add_cli_args_test_selection"] == ["tests/test_properties_splits.py", "tests/test_splits.py"]
    every = tomllib.loads(text)["tool"]["mutmut"]
    assert all((ROOT / each).is_file() for each in every["pytest_add_cli_args_test_selection"] + every["only_mutate"])
