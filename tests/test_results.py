"""Results as rows of texts."""

from __future__ import annotations

from reportscenes import FACTS, bundle, evaluation
from tellapart import results


def test_numbers_have_their_intervals():
    rows = {name: (value, span) for name, value, span in results.numbers(evaluation([[40, 10], [10, 40]], sure=0.8))}
    assert rows["Accuracy"] == ("80 %", "71 % to 87 %")  # Wilson of 80 of 100
    assert rows["Baseline"] == ("50 %", "always the commonest class")
    assert rows["Balanced accuracy"][0] == "80 %"
    assert " to " in rows["Log-loss"][1]
    assert "Answered (coverage)" not in rows
    one = evaluation([[8, 2], [0, 10]], declined=("",) * 15 + ("no",) * 5)
    rows = {name: value for name, value, _ in results.numbers(one)}
    assert (rows["Answered (coverage)"], rows["Right when answered"]) == ("75 %", "87 %")


def test_costs_name_what_is_known():
    assert results.costs(bundle(("a", "b")), FACTS) == [
        ("One picture, from file to answer", "31 ms"),
        ("Measured on", "Linux x86_64, 2 cores"),
        ("The model's file", "12.3 MB"),
        ("Of that the graph that answers", "2.0 MB"),
        ("It sees", "squares of 64 × 64 px"),
        ("Trained in", "12 s"),
    ]
    assert len(results.costs(bundle(("a", "b")), {})) == 2


def test_a_model_can_be_made_again_by_a_command_where_that_is_all_it_takes():
    made = bundle(("a", "b"), recipe="scratch")
    assert results.command(made, "my model.tellapart") == (
        "tellapart train PHOTOS --recipe scratch --seed 5 -o 'my model.tellapart'"
    )
    assert results.command(bundle(("a", "b"), recipe="own"), "m.tellapart") == ""
    rows = dict(results.recipe(made))
    assert rows["Seed"] == "5"
    assert rows["Its settings"] == "size_px 64"
    assert rows["Fingerprint of the pictures"] == "ab" * 32


def test_guards_are_told_where_there_are_some():
    held = {"sure": 0.99, "answer": None, "keep": 0.98, "confidence": 0.87, "strangeness": 3.1, "held_out": 1024}
    assert results.guards(bundle(("a", "b"), abstention=held)) == [
        ("Asked for: right when it answers", "99.0 %"),
        ("It answers from", "87 % sure"),
        ("Of its own kind of pictures never strange", "98 %"),
        ("Set on held-out pictures", "1,024"),
    ]
    assert results.guards(bundle(("a", "b"))) == []
