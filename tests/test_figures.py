"""What is drawn of an evaluation: rows of numbers that can be counted by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from reportscenes import NETWORK_CSV, TRANSFER_CSV, bundle, evaluation
from tellapart import figures, scenes
from tellapart.errors import PictureError
from tellapart.evaluation import Slice


def unread(path: str) -> bytes:
    raise PictureError("gone")


def test_cells_of_the_matrix_are_shaded_by_their_share_and_link_to_their_pictures():
    one = evaluation([[99, 1], [0, 4]])
    rows = figures.matrix(one, scenes.choose(one, read=unread))
    # A shade of 5 steps by the square root of the share: 1 % is 0.1 of the way, the first step.
    assert rows[0]["cells"] == [(99, "ok5", "cell-0-0"), (1, "no1", "cell-0-1")]
    assert rows[1]["cells"] == [(0, "", ""), (4, "ok5", "cell-1-1")]
    assert rows[0]["total"] == 100


def test_too_many_classes_make_no_matrix():
    n = figures.MOST_MATRIX + 1
    one = evaluation([[1 if i == j else 0 for j in range(n)] for i in range(n)])
    assert figures.matrix(one, scenes.choose(one, read=unread)) == []


def test_classes_have_their_numbers_with_intervals_and_the_worst_of_many_come_first():
    rows = figures.class_rows(evaluation([[6, 4], [0, 10]]))
    assert [(row["n"], row["recall"]["text"], row["precision"]["text"]) for row in rows] == [
        (10, "60 %", "100 %"),
        (10, "100 %", "71 %"),
    ]
    assert rows[0]["f1"] == "75 %"  # 2 × 6 / (10 + 6)
    assert rows[0]["recall"]["span"] == "31 % to 83 %"  # Wilson of 6 of 10
    counts = [[10 if i == j else 0 for j in range(25)] for i in range(25)]
    counts[7][7], counts[7][8] = 2, 8
    counts[3] = [0] * 25
    many = figures.class_rows(evaluation(counts))
    assert many[0]["name"] == "class 7"
    assert (many[-1]["name"], many[-1]["recall"], many[-1]["f1"]) == ("class 3", None, "–")


def test_calibration_has_a_row_for_each_range_that_holds_pictures():
    found = figures.calibration(evaluation([[40, 10], [10, 40]], sure=0.85))
    # 85 to 84 % lies in the 13th of 15 ranges, 80 to 87 %.
    assert found["rows"][1:] == [("80 % to 87 %", "100", "85 %", "80 %", "71 %", "87 %")]
    assert found["said"][0] in found["chart"]


def test_targets_say_how_sure_an_answer_has_to_be():
    # 90 answers of 90 % and more, all right; then 10 of 60 %, all wrong.
    confidence = np.concatenate([np.linspace(0.99, 0.9, 90), np.full(10, 0.6)])
    one = evaluation([[100, 0], [0, 0]])
    rows = np.stack([confidence, 1 - confidence], axis=1)
    rows[90:] = rows[90:, ::-1]
    one = dataclasses.replace(one, probabilities=rows)
    found = figures.coverage(one)
    assert found["targets"] == [("99.9 %", "90 %", "90 %")]  # all right: stricter targets are reached by the same
    assert not found["declines"]
    assert "answering only the surest 90 %, 99.9 % would be" in found["chart"]
    assert found["rows"][0] == ("answered", "right", "95 % sure from", "to")


def test_what_was_declined_is_a_mark_in_the_diagram():
    one = evaluation([[8, 2], [0, 10]], declined=("",) * 15 + ("too strange",) * 5)
    found = figures.coverage(one)
    assert (found["declines"], found["answered"], found["right"]) == (True, "75 %", "87 %")  # 13 of 15
    assert 'class="mark"' in found["chart"]
    none = figures.coverage(dataclasses.replace(one, declined=("no",) * 20))
    assert (none["answered"], none["right"]) == ("0 %", None)


def test_slices_stand_in_their_order_with_what_is_worse():
    one = evaluation([[8, 2], [0, 10]], slices=(Slice("folder", "night", 10, 4, True), Slice("folder", "day", 10, 10)))
    assert [(each["name"], each["n"], each["accuracy"], each["worse"]) for each in figures.slices(one)] == [
        ("night", 10, "40 %", True),
        ("day", 10, "100 %", False),
    ]


def test_learning_by_epoch_and_by_how_many_pictures_were_looked_at():
    found = figures.learning(bundle(("a", "b"), history=NETWORK_CSV))
    assert found is not None
    assert found["told"] == "At the end 80 % of the training pictures and 55 % of the held-out pictures are right."
    assert [title for title, _, _ in found["charts"]] == ["Right answers", "Loss"]
    assert (found["best"], found["n"]) == (2, 3)
    assert found["rows"][0] == ("epoch", "loss", "accuracy", "val loss", "val accuracy", "seconds")
    assert found["rows"][3][:3] == ("3", "nan", "0.8")
    found = figures.learning(bundle(("a", "b"), history=TRANSFER_CSV))
    assert found is not None
    assert found["charts"] == []  # of one point there is nothing to draw
    assert found["rows"][1][:2] == ("100", "1")


@pytest.mark.parametrize("history", ["", "epoch,loss\n1,0.5\n", "epoch,accuracy\n1,none\n", "epoch,accuracy\n"])
def test_without_an_accuracy_there_is_no_curve(history: str):
    assert figures.learning(bundle(("a", "b"), history=history)) is None
