"""An evaluation in words: the numbers are right, the sentences true, and no name breaks a line."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console, RenderableType

from tellapart import scoresheet
from tellapart.classifier import Classifier
from tellapart.evaluation import Evaluation, Slice


def text(what: RenderableType, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def evaluation(right: int, n: int, *, seen: int = 0, **more: Any) -> Evaluation:
    """n pictures of cats, `right` of them found, the first `seen` trained on."""
    cats = np.where(np.arange(n) < right, 0.9, 0.2)
    return Evaluation(
        classes=("cats", "dogs"),
        probabilities=np.stack([cats, 1 - cats], axis=1),
        labels=np.zeros(n, int),
        paths=tuple(f"{i}.jpg" for i in range(n)),
        trained_on=np.arange(n) < seen,
        **more,
    )


def test_accuracy_stands_with_its_interval_and_its_baseline() -> None:
    said = text(scoresheet.evaluated(evaluation(8, 10, split="test")))
    # Wilson's interval of 8 of 10, as the textbooks have it: 49.0 % to 94.3 %.
    assert "Accuracy 80.0% on 10 pictures of the test split (95 % sure: between 49.0% and 94.3%)." in said
    assert "Always answering the commonest class would reach 100.0%." in said
    lines = [line.split() for line in said.splitlines()]
    assert ["cats", "10", "80.0%", "100.0%", "88.9%"] in lines
    assert ["dogs", "0", "–", "0.0%", "0.0%"] in lines
    assert ["cats", "8", "2"] in lines
    assert ["dogs", "0", "0"] in lines
    assert "trained on" not in said
    assert "not used" not in said


@pytest.mark.parametrize("split", [None, "all"])
def test_no_split_no_word_of_one(split: str | None) -> None:
    assert "on 10 pictures (95 %" in text(scoresheet.evaluated(evaluation(8, 10, split=split)))


def test_pictures_that_were_trained_on_are_counted() -> None:
    said = " ".join(text(scoresheet.evaluated(evaluation(8, 10, seen=6))).split())
    assert "6 of these pictures were trained on, so the accuracy looks better than it is." in said
    assert "Without them: 50.0% on 4." in said  # the last two of ten are wrong
    every = " ".join(text(scoresheet.evaluated(evaluation(8, 10, seen=10))).split())
    assert "10 of these pictures were trained on" in every
    assert "None is left without them." in every


def test_the_overlap_of_a_real_model(trained: Classifier, photos: Path) -> None:
    said = text(scoresheet.evaluated(trained.evaluate(photos)))
    assert "64 of these pictures were trained on" in said


def test_the_commonest_reasons_come_first_with_an_example() -> None:
    each = [("a.jpg", "empty"), ("b\n.jpg", "cut short"), ("c.jpg", "cut short"), ("d.jpg", "cut short")]
    assert text(scoresheet.skipped(each)).splitlines() == [
        "4 pictures were not used:", "  3 × cut short (b\\n.jpg)", "  1 × empty (a.jpg)",
    ]  # fmt: skip
    assert text(scoresheet.skipped(each[:1])).splitlines()[0] == "1 picture was not used:"
    many = [(f"{i}.jpg", f"reason {i}") for i in range(8)]
    assert "… and 3 other reasons; --json FILE lists every picture." in text(scoresheet.skipped(many))


def test_many_classes_show_the_worst() -> None:
    n = 25
    names = tuple(f"class {i:02}" for i in range(n))
    labels = np.repeat(np.arange(n), 2)
    answers = labels.copy()
    answers[2 * 7] = 8  # one of class 07 is taken for class 08: both lose, 07 more
    several = Evaluation(names, np.eye(n)[answers], labels, tuple(map(str, range(2 * n))))
    said = text(scoresheet.evaluated(several))
    assert "the 20 worst of 25 classes" in said
    rows = [line.strip() for line in said.splitlines() if line.strip().startswith("class ")]
    assert [row[:8] for row in rows[:2]] == ["class 07", "class 08"]
    assert len(rows) == 20
    assert "right class ↓" not in said  # a matrix of 25 columns tells nobody anything


def mixed(n: int = 1000, **more: Any) -> Evaluation:
    """Cats and dogs by turns; nine of ten right, all at 90 %."""
    labels = np.arange(n) % 2
    of_right = np.where(np.arange(n) % 10 < 9, 0.9, 0.1)
    columns = np.stack([np.where(labels == c, of_right, 1 - of_right) for c in (0, 1)], axis=1)
    return Evaluation(("cats", "dogs"), columns, labels, tuple(map(str, range(n))), **more)


def lines(some: Evaluation) -> list[str]:
    return [line.strip() for line in text(scoresheet.evaluated(some), width=400).splitlines()]


def test_a_sound_evaluation_is_short() -> None:
    assert lines(mixed())[:4] == [
        "Accuracy 90.0% on 1,000 pictures (95 % sure: between 88.0% and 91.7%).",
        "Always answering the commonest class would reach 50.0%.",
        "It is 90.0% sure on average, and right 90.0% of the time; "
        "where it says about 90%, it is right 90% of the time.",
        "Class  Pictures  Found (recall)  Right when answered (precision)  F1",
    ]  # fmt: skip


def test_uneven_classes_and_many() -> None:
    labels = np.repeat(np.arange(7), [60, 10, 10, 10, 10, 10, 10])
    probabilities = np.full((120, 7), 0.05)
    probabilities[:, 0] = 0.7  # always the commonest, then the others in their order
    probabilities[np.arange(120), 1] = 0.06
    some = Evaluation(tuple("abcdefg"), probabilities / probabilities.sum(axis=1)[:, None], labels, ("x",) * 120)
    said = lines(some)
    assert "With every class counting the same: 14.3% (balanced accuracy)." in said
    assert "The right class is among the 5 most probable for 83.3% of the pictures." in said
    assert "The accuracy is not surely above that of always answering the commonest class (50.0%)." in said
    assert not any("balanced" in line for line in lines(mixed()))


def test_what_it_declines() -> None:
    some = mixed(declined=tuple("unsure" if i % 10 == 9 else "" for i in range(1000)))
    # Wilson's interval of 900 of 900.
    assert (
        "It declines 100 pictures (10.0%); of the 900 that it answers 100.0% are right "
        "(95 % sure: between 99.6% and 100.0%)."
    ) in lines(some)
    assert "It declines 10 pictures (100.0%), which is all of them." in lines(mixed(10, declined=("no",) * 10))


def test_the_worst_part() -> None:
    night = Slice("camera", "nig\nht", 100, 50, worse=True)
    fog, day = Slice("folder", "fog", 20, 8, worse=True), Slice("folder", "day", 500, 460)
    assert (
        r"Worst part: camera nig\nht: 50.0% of 100 pictures right, against 94.4% of the others. "
        "Surely worse too: folder fog."
    ) in lines(mixed(slices=(night, day, fog)))
    none = "No part of the pictures is surely worse than the rest (1 part looked at, by folder)."
    assert none in lines(mixed(slices=(day,)))


def test_cross_validation_is_called_so() -> None:
    some = mixed(100, split="cross-validation", folds=np.arange(100) // 50)
    said = lines(some)
    assert said[0].startswith("Accuracy 90.0% on 100 pictures by cross-validation (95 % sure")
    assert said[1] == (
        "Each picture was answered by a model that had not learned from it: 2 folds, from 90.0% to 90.0% right."
    )
