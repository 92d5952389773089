"""Findings as values: order, counts, ranges."""

import json

import pytest

from tellapart.findings import KINDS, Finding, Findings, csv_rows, ordered


def finding(kind="odd", severity="info", score=0.0, paths=("a.jpg",)):
    return Finding(kind, severity, "One picture is dark.", "Look at it.", paths, score)


def test_worst_first_by_severity_then_kind_then_score_then_path():
    given = [
        finding("odd", "warning", paths=("b",)),
        finding("odd", "warning", paths=("a",)),
        finding("wrong_label", "warning", 0.2),
        finding("wrong_label", "warning", 0.9),
        finding("leak", "error"),
        finding("unreadable", "info"),
    ]
    assert [(each.kind, each.severity, each.score, each.paths) for each in ordered(given)] == [
        ("leak", "error", 0.0, ("a.jpg",)),
        ("wrong_label", "warning", 0.9, ("a.jpg",)),
        ("wrong_label", "warning", 0.2, ("a.jpg",)),
        ("odd", "warning", 0.0, ("a",)),
        ("odd", "warning", 0.0, ("b",)),
        ("unreadable", "info", 0.0, ("a.jpg",)),
    ]


def test_counts_are_of_files_and_of_findings_by_kind():
    every = (finding("leak", "error"), finding(), finding())
    table = Findings("photos", every, True, 10, 8, (("x", "empty"), ("y", "empty")), {"cats": {"all": 8}})
    assert table.counts == dict.fromkeys(KINDS, 0) | {"found": 10, "used": 8, "skipped": 2, "leak": 1, "odd": 2}
    assert len(table) == 3
    assert [each.kind for each in table] == ["leak", "odd", "odd"]
    assert [each.kind for each in table.of_kind("odd")] == ["odd", "odd"]
    assert table.rows()[0] == {
        "kind": "leak",
        "severity": "error",
        "paths": ["a.jpg"],
        "message": "One picture is dark.",
        "remedy": "Look at it.",
        "score": 0.0,
    }
    assert json.loads(json.dumps(table.as_dict()))["skipped"][0] == {"path": "x", "reason": "empty"}


@pytest.mark.parametrize(
    ("kind", "severity", "score", "word"),
    [("dark", "info", 0.0, "kind"), ("odd", "bad", 0.0, "severity"), ("odd", "info", float("nan"), "score")],
)
def test_what_no_finding_can_be_is_refused(kind, severity, score, word):
    with pytest.raises(ValueError, match=f"^{word} must be"):
        finding(kind, severity, score)


def test_csv_has_a_row_for_each_path_of_each_finding_and_no_formula():
    every = (finding("leak", "error", 0.25, ("a.jpg", "=b.jpg")), finding("split", "warning", 2, ()))
    told = ["One picture is dark.", "Look at it."]
    assert list(csv_rows(every)) == [
        ["leak", "error", "a.jpg", *told, "0.25"],
        ["leak", "error", "'=b.jpg", *told, "0.25"],
        ["split", "warning", "", *told, "2"],
    ]
