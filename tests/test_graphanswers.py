"""What a finished graph says of pictures, some of which may be gone by then."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from conftest import draw
from tellapart import bundle as bundles
from tellapart import graphanswers
from tellapart.engine import Engine
from tellapart.errors import InputError
from tellapart.preprocess import Preprocess, load
from tellapart.streams import ONNXRUNTIME


@pytest.fixture
def graph(bundle_path: Path) -> tuple[bytes, Preprocess]:
    bundle = bundles.read(bundle_path)
    return bundle.members["model.onnx"], Preprocess.from_dict(bundle.manifest["preprocess"])


@pytest.fixture
def files(make_photos, tmp_path: Path) -> list[tuple[str, str]]:
    paths = sorted(make_photos(tmp_path / "photos", n=3).rglob("*.*g"))
    return [(str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]


def asked(how: str, graph: tuple[bytes, Preprocess], files: list[tuple[str, str]]) -> graphanswers.Answers:
    content, preprocess = graph
    if how == "exactly":
        return graphanswers.exactly(content, preprocess, files)
    return graphanswers.quickly(content, ONNXRUNTIME, preprocess, files)


@pytest.mark.parametrize("how", ["quickly", "exactly"])
def test_what_is_gone_or_another_one_has_its_reason_and_no_answer(graph, files, how: str) -> None:
    expected = Engine(graph[0]).run(np.stack([load(path, graph[1]) for path, _ in files])).logits
    Path(files[1][0]).unlink()
    draw("triangles", 9).save(files[4][0])
    found = asked(how, graph, files)
    assert found.rows.tolist() == [0, 2, 3, 5]
    np.testing.assert_allclose(found.logits, expected[found.rows], atol=1e-4)
    assert len(found.embeddings) == 4
    assert found.lost.keys() == {1, 4}
    assert "vanished" in found.lost[1]
    assert "changed during the run" in found.lost[4]


@pytest.mark.parametrize("how", ["quickly", "exactly"])
def test_where_all_are_gone_that_is_said_in_a_line(graph, files, how: str) -> None:
    for path, _ in files:
        Path(path).unlink()
    with pytest.raises(
        InputError, match=r"must stay as they are .* The first: .*photos.*vanished.* Put them back"
    ) as said:
        asked(how, graph, files)
    assert "\n" not in str(said.value)
