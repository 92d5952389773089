"""What is said of a tuning, and the recipe's file that comes of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tellapart import config, picking, recipefile, studies, tunings
from tunedscenes import ID, N, record, tuned


def test_what_is_kept_of_a_trial_comes_back() -> None:
    answers = np.array([1, 0, 2, 1], np.uint8)
    kept = tunings.kept(answers, 0.25, (3.0, 1.0), {"pictures": 7})
    assert kept["accuracy"] == 2 / 3
    assert kept["answers"] == "10u1"
    one = dataclasses.replace(record(4, 1, config.TRANSFER), kept=kept)
    back = tunings.judged(one)
    assert (back.number, back.answers.tolist(), back.log_loss, back.cost) == (4, [1, 0, 2, 1], 0.25, (3.0, 1.0))


def test_the_best_is_told_with_the_default_and_with_the_luck_that_is_in_it() -> None:
    found = tuned()
    assert found.taken.number == 8
    lines = tunings.told(found)
    assert lines[0] == "12 trials through, 1 given up early, 1 failed or stopped; the time was up."
    assert lines[1].startswith("92 % of 100 validation pictures right, the default 80 %: 12.0 points more (95 %")
    assert "Only the test says how good it is." in lines[2]
    assert lines[3] == "An answer takes 69% of the default's computing."


def test_where_nothing_is_better_the_default_is_the_recipe() -> None:
    found = of(record(0, 90, config.TRANSFER), record(1, 80, config.SCRATCH))
    assert found.is_default
    assert found.recipe == config.TRANSFER
    assert tunings.told(found)[1:] == [
        "Nothing was found that is worth a change: the default gets 90 % of 100 validation pictures right. "
        "The recipe is the default's."
    ]


def test_where_the_best_is_lucky_the_default_is_the_recipe_and_that_is_said() -> None:
    found = of(record(0, 90, config.TRANSFER), record(1, 91, config.SCRATCH))
    lucky = dataclasses.replace(found, gain=dataclasses.replace(found.gain, expected=-0.013))  # pyright: ignore
    assert (lucky.best.number, lucky.taken.number, lucky.is_default) == (1, 0, True)
    assert lucky.recipe == config.TRANSFER
    assert tunings.told(lucky)[2] == (
        "The best other one, scratch, 64 px, gets 91 % of them right, 1.0 points more. Choosing again and again by "
        "some of them and judging by the others gives 1.3 points less, so it may well be luck."
    )
    told = lucky.as_dict()
    assert (told["best"]["trial"], told["taken"]["trial"], told["is_default"]) == (2, 1, True)
    assert told["settings"]["name"] == "transfer"


def of(*records: studies.Record) -> tunings.Tuned:
    """A tuning of these trials."""
    top, default, gain = tunings.best(records, seed=0)  # pyright: ignore[reportGeneralTypeIssues]
    return dataclasses.replace(tuned(), records=records, best=top, default=default, gain=gain)


def test_without_the_default_nothing_is_compared() -> None:
    found = dataclasses.replace(tuned(), default=None, gain=None)
    lines = tunings.told(found)
    assert lines[1].startswith("Best so far: 92 % of 100 validation pictures right, by efficientnet-")
    assert "The default was not through" in lines[2]
    assert tunings.best([record(0, None, config.TRANSFER, state="failed")], seed=0) is None


def test_the_file_is_the_recipe_and_says_where_it_comes_from(tmp_path: Path) -> None:
    found = tuned()
    text = tunings.text(found, "pets.toml")
    path = tmp_path / "pets.toml"
    path.write_text(text)
    back = recipefile.read(path)
    assert back.on(config.TRANSFER) == found.recipe
    assert back.seed == 3
    assert back.tuned["study"] == ID
    assert back.tuned["validation_accuracy"] == 0.92
    assert back.tuned["default_accuracy"] == 0.8
    assert "#     tellapart train my photos/<b>pets</b> --recipe pets.toml" in text.splitlines()
    assert max(map(len, text.splitlines())) < 140


def test_no_line_end_of_a_name_gets_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(tunings.text(tuned(photos='a\n[tuned]\nb = "c"'), "pets.toml"))
    assert recipefile.read(path).tuned["study"] == ID


def test_the_format_of_numbers_is_left_to_each_machine() -> None:
    taken = record(5, 95, config.SCRATCH.override(precision="mixed_bfloat16"))
    found = dataclasses.replace(tuned(), best=taken)
    assert 'precision = "auto"' in tunings.text(found, "x.toml")


def test_what_differs_from_the_default_is_named() -> None:
    base = config.SCRATCH.as_dict()
    other = record(1, 50, config.SCRATCH.override(dropout=0.25, augment="strong", size_px=96))
    told = dict(tunings.changed(other, base))
    assert told["dropout"] == "0.25"
    assert told["size"] == "96"
    assert told["crop scale"] == "0.25, 1"
    assert "learning rate" not in told
    assert tunings.changed(record(1, 50, config.SCRATCH), base) == []
    kind = dict(tunings.changed(record(1, 50, config.TRANSFER), base))
    assert kind == {"recipe": "transfer", "backbone": "efficientnet-lite2", "size": "288"}


def test_json_has_no_answers_to_single_pictures() -> None:
    told = tuned().as_dict()
    assert len(told["trials"]) == 15
    assert told["counts"] == {"complete": 12, "pruned": 1, "failed": 1}
    assert told["best"]["trial"] == told["taken"]["trial"] == 9
    assert told["gain"]["difference"] == pytest.approx(0.12)
    assert told["gain"]["n"] == N
    assert "answers" not in str(told)
    assert picking.UNREAD == 2
