"""What is said of a model, held to its rules by matrices of counts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from reportscenes import evaluation
from tellapart import verdicts
from tellapart.evaluation import Evaluation, Slice


def of(*rows: list[int], **more: object) -> Evaluation:
    return evaluation([*rows], classes=("cats", "dogs", "owls")[: len(rows)], **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (of([97, 3], [3, 97]), "It is right on 97 of 100 new pictures; 95 % sure: between 94 and 99."),
        # Wilson: 1983 of 2000 is 0.9915, from 0.9864 to 0.9947.
        (of([991, 9], [8, 992]), "It is right on 992 of 1,000 new pictures; 95 % sure: between 986 and 995."),
        # Of 36 right ones the lower end is 36 / (36 + 1.96²) = 0.9036.
        (of([18, 0], [0, 18]), "It is right on all 36 of the new pictures; 95 % sure: on at least 90 of 100 more."),
    ],
)  # fmt: skip
def test_the_headline_is_the_accuracy_with_its_interval(one: Evaluation, words: str):
    assert verdicts.headline(one) == words


@pytest.mark.parametrize(
    ("one", "level", "title"),
    [
        (of([990, 10], [10, 990]), "trust", "Trust it for “cats” and “dogs”"),
        (of([85, 15], [15, 85]), "partly", "Use it, and look over its answers"),
        (of([60, 40], [45, 55]), "distrust", "Do not trust it yet"),  # surely below 70 %
        (of([750, 0], [250, 0]), "distrust", "Do not trust it yet"),  # always the commonest class
        (of([10, 2], [1, 9]), "unclear", "Too few test pictures to tell"),
        (of([990, 10, 0], [5, 985, 10], [0, 12, 8]), "trust", "Trust it, but not for “owls”"),
        (of([200, 0, 0], [0, 200, 0], [0, 0, 5]), "trust", "Trust it for “cats” and “dogs”"),
    ],
)  # fmt: skip
def test_the_verdict_follows_its_rules(one: Evaluation, level: str, title: str):
    found = verdicts.verdict(one)
    assert (found.level, found.title) == (level, title)


def test_a_verdict_says_how_often_it_is_wrong_and_of_what_nothing_is_known():
    assert "wrong on about 1 picture in 100." in verdicts.verdict(of([990, 10], [10, 990])).says
    assert "never wrong here" in verdicts.verdict(of([100, 0], [0, 100])).says
    few = verdicts.verdict(of([200, 0, 0], [0, 200, 0], [0, 0, 5])).says
    assert "Of “owls” there were too few test pictures to tell." in few


def test_pictures_that_were_trained_on_do_not_count():
    one = of([80, 0], [40, 80])
    seen = np.zeros(200, bool)
    seen[80:120] = True  # the mistakes are of the training pictures
    mixed = dataclasses.replace(one, trained_on=seen)
    assert verdicts.judged(mixed).n == 160
    assert verdicts.verdict(verdicts.judged(mixed)).level == "trust"
    every = dataclasses.replace(one, trained_on=np.ones(200, bool))
    assert verdicts.verdict(verdicts.judged(every)).title == "Do not trust these numbers"
    assert "pictures that it was trained on" in verdicts.headline(every)


def test_the_baseline_stands_beside():
    assert "would be right on 50 %; this model is right on 97 % (200 pictures)." in verdicts.beside_baseline(
        of([97, 3], [3, 97])
    )
    assert "never fail" in verdicts.beside_baseline(of([9, 1], [0, 0]))


def test_pairs_are_counted_the_most_often_first():
    found = verdicts.pairs(of([5, 1, 0], [3, 5, 0], [0, 2, 5]))
    assert [(each.right, each.answer, each.n, each.of) for each in found] == [(1, 0, 3, 8), (2, 1, 2, 7), (0, 1, 1, 6)]
    assert verdicts.pairs(of([5, 0], [0, 5])) == []


def test_percentages_are_compared_with_what_is_right():
    # 80 % sure of everything and right on 80 of 100.
    said = verdicts.certainty(of([40, 10], [10, 40], sure=0.8))
    assert said[0].endswith("and it is right 80 % of the time: it means what it says.")
    said = verdicts.certainty(of([40, 10], [10, 40], sure=0.9395))
    assert said[0].endswith("it is too sure of itself.")
    assert said[1] == "When it says about 90 % it is right 80 % of the time (100 pictures)."
    assert verdicts.certainty(of([49, 1], [1, 49], sure=0.8))[0].endswith("it is too modest.")


def test_what_to_fix_comes_worst_first_and_names_where_to_look():
    one = of([60, 40, 0], [2, 98, 0], [0, 0, 5], sure=0.97)
    one = dataclasses.replace(
        one,
        slices=(Slice("brightness", "dark", 50, 10, True), Slice("brightness", "bright", 155, 153)),
        skipped=(("x.jpg", "empty"),),
        trained_on=np.arange(205) == 204,
    )
    report = {
        "train_accuracy": 1.0,
        "findings": [
            {"kind": "odd", "severity": "warning", "message": "Dark.", "remedy": "Look."},
            {"kind": "leak", "severity": "error", "message": "In both.", "remedy": "Leave out."},
            {"kind": "leak", "severity": "error", "message": "Another.", "remedy": "Leave out."},
            {"kind": "wrong_label", "severity": "warning", "message": "Looks like dogs.", "remedy": "Move it."},
        ],
    }
    found = verdicts.fixes(one, verdicts.judged(one), report)
    assert [each.severity for each in found] == sorted(
        (each.severity for each in found), key=("error", "warning", "info").index
    )
    by_title = {each.title: each for each in found}
    assert found[0].title.startswith("1 of these pictures was trained on")
    assert by_title["The same picture on two sides of a split"].says.startswith("In both. Leave out. And 1 more")
    assert by_title["Labels that are probably wrong"].severity == "info"
    assert "Unusual pictures" not in by_title
    assert by_title["“cats” taken for “dogs”"].says.startswith("40 of 100 pictures, 95 % of all mistakes.")
    assert by_title["“cats” taken for “dogs”"].where == "confusion"
    assert by_title["Weak at “cats”"].says.startswith("Of its 100 pictures 60 % are found; 97 % of the answers")
    assert by_title["Worse where brightness is “dark”"].where == "slices"
    assert by_title["It has partly learned its pictures by heart"].where == "learning"
    assert by_title["42 mistakes that it was sure of"].where == "mistakes"
    assert by_title["1 picture could not be used"].where == "data"


def test_nothing_to_fix_is_nothing():
    one = of([300, 0], [0, 300], sure=0.9999)
    assert verdicts.fixes(one, one, {}) == []


def test_many_classes_are_named_in_part():
    one = evaluation([[5 if i == j else 0 for j in range(7)] for i in range(7)])
    assert verdicts.named(one, range(7)) == "“class 0”, “class 1”, “class 2”, “class 3” and 3 more"


def test_a_weak_class_is_told_in_one_sentence():
    one = of([82, 18], [40, 60])
    says = {fix.title: fix.says for fix in verdicts.fixes(one, one, {})}
    assert says["Weak at “dogs”"] == (
        "Of its 100 pictures 60 % are found; 77 % of the answers “dogs” are right. Give it more of these."
    )
