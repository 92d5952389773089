"""The model card: its metadata as independent readers see them, its words, and names that would break it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reportscenes import FACTS, HOSTILE, bundle, drawn, evaluation
from tellapart import card
from tellapart.evaluation import Evaluation
from tellapart.files import shown

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed; make setup brings it")


def parted(text: str) -> tuple[dict, str]:
    """The metadata and the body."""
    start, head, body = text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(head), body


def made(one: Evaluation, name: str = "shapes.tellapart") -> str:
    return card.card(one, bundle(one.classes), facts={**FACTS, "name": name})


def test_the_metadata_is_what_the_hub_reads():
    head, _ = parted(made(evaluation([[40, 10], [10, 40]], classes=("cats", "dogs"), split="test")))
    assert head["library_name"] == "keras"
    assert head["pipeline_tag"] == "image-classification"
    assert head["metrics"] == ["accuracy"]
    assert "tellapart" in head["tags"]
    assert "license" not in head  # it is the publisher's to set
    result = head["model-index"][0]["results"][0]
    assert head["model-index"][0]["name"] == "shapes"
    assert result["task"]["type"] == "image-classification"
    assert result["dataset"] == {"type": "imagefolder", "name": "Pictures of cats, dogs", "split": "test"}
    assert result["metrics"][0]["type"] == "accuracy"
    assert result["metrics"][0]["value"] == 0.8


def test_huggingface_reads_it():
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    data = hub.ModelCard(made(evaluation([[40, 10], [10, 40]], split="test"))).data
    assert data.pipeline_tag == "image-classification"
    assert data.eval_results[0].metric_type == "accuracy"
    assert data.eval_results[0].metric_value == 0.8


@pytest.mark.parametrize(
    "name",
    [
        HOSTILE, '"\nlicense: mit\n#', "yes", "1.0", "{a: b}", "- x", "a: b", "\\", "’“", "\udce9", "🐈", "%", "&a *b",
        "---\n",
    ],
)  # fmt: skip
def test_no_name_gets_out_of_its_place(name: str):
    text = made(evaluation([[40, 10], [10, 40]], classes=(name, "dogs")), f"{name}.tellapart")
    text.encode("utf-8")
    head, body = parted(text)
    result = head["model-index"][0]
    assert result["name"] == shown(name)
    assert result["results"][0]["dataset"]["name"] == f"Pictures of {shown(name)}, dogs"
    assert set(head) == {"library_name", "pipeline_tag", "tags", "metrics", "model-index"}
    assert "<script" not in body
    assert not re.search(r"^license", text, re.M)
    rows = [line for line in body.splitlines() if line.startswith("| ") and "dogs" in line]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows)


def test_a_markdown_of_names_shows_them_as_they_are():
    _, body = parted(made(evaluation([[40, 10], [10, 40]], classes=("a|b*_`[x](y)", "dogs"))))
    assert r"a\|b\*\_\`\[x\](y)" in body


def test_the_body_says_how_good_it_is_and_what_it_cannot_do(tmp_path: Path):
    one = drawn(tmp_path)
    _, body = parted(made(one))
    assert "**It is right on 80 of 100 new pictures; 95 % sure: between 68 and 88.**" in body
    assert "It knows 3 classes and no others: circles, " in body
    assert "It declined 5 % of the test pictures." not in body  # this bundle has no guards
    assert "It answers every picture, a picture of none of its classes too." in body
    assert "It is worse where brightness is dark: 40 % of 20 pictures." in body
    assert "| Accuracy | 80 % | 68 % to 88 % |" in body
    assert "| triangles | 20 | 90 % (70 % to 97 %) | 100 % (82 % to 100 %) | 95 % |" in body
    assert "500 to learn from, 50 to choose settings by" in body
    assert "tellapart predict shapes.tellapart PICTURES" in body
    assert "tellapart train PHOTOS --recipe scratch --seed 5 -o shapes.tellapart" in body
    assert str(tmp_path) not in body  # no private path
    assert "my photos" not in body


def test_of_many_classes_the_worst_are_listed():
    counts = [[10 if i == j else 0 for j in range(120)] for i in range(120)]
    counts[50][50], counts[50][51] = 2, 8
    _, body = parted(made(evaluation(counts)))
    assert "The worst 100 of 120." in body
    rows = [line for line in body.splitlines() if line.startswith("| class ")]
    assert len(rows) == 101
    assert rows[1].startswith("| class 50 | 10 | 20 %")
    assert "class 19 and 100 more." in body


def test_it_is_written_as_utf_8(tmp_path: Path):
    one = evaluation([[40, 10], [10, 40]], classes=("Kätzchen", "dogs"))
    card.save(one, bundle(one.classes), tmp_path / "c.md", facts=FACTS)
    assert "Kätzchen" in (tmp_path / "c.md").read_bytes().decode("utf-8")
