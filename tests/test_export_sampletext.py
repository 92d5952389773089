"""Samples are put together to plain programs."""

import ast
import subprocess
import sys

import pytest

from tellapart.export import formats, sampletext

SAMPLES = [known.sample for known in formats.FORMATS.values() if known.sample]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_one_plain_program(name, tmp_path):
    text = sampletext.text(name)
    assert "shared" not in text
    assert "tellapart" not in text.replace("tellapart.json", "")
    tree = ast.parse(text)
    made = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    assert made[0] == "Classifier"
    assert {"read", "answered", "main"} <= set(made)
    assert len(made) == len(set(made))
    (tmp_path / "sample.py").write_text(text)
    for check in (
        ["check", "--select", "E,F,W,I,B", "--isolated", "--line-length", "120"],
        ["format", "--check", "--line-length", "120"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, tmp_path / "sample.py"], capture_output=True, text=True
        )
        assert not done.returncode, done.stdout
