"""Which trial is taken, and how much better it is said to be, on answers that were made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tellapart import paired, picking
from tellapart.picking import Trial


def trial(number: int, right: str, *, loss: float = 0.5, cost: float = 1.0) -> Trial:
    """Of answers like "1101": right, wrong, u for unread."""
    return Trial(number, np.array(["01u".index(each) for each in right], np.uint8), loss, (cost,))


def test_log_loss_counts_less_than_one_picture() -> None:
    worst, best = picking.score(0.5, 1e9, 10), picking.score(0.5, 0.0, 10)
    assert worst < best < picking.score(0.6, math.inf, 10)
    assert picking.score(0.5, math.nan, 10) == worst
    assert trial(0, "11u0").accuracy == 2 / 3
    assert trial(0, "11u0").n == 3


def test_the_best_is_of_most_right_answers_then_of_the_lower_log_loss_then_the_cheaper() -> None:
    few, many = "1" * 10 + "0" * 30, "1" * 30 + "0" * 10
    assert picking.best([trial(0, few, loss=0.1, cost=0.1), trial(1, many)]).number == 1
    assert picking.best([trial(0, many), trial(1, many, loss=0.4, cost=2.0)]).number == 1
    assert picking.best([trial(0, many), trial(1, many, cost=0.5)]).number == 1
    assert picking.best([trial(0, many), trial(1, many)]).number == 0
    assert picking.best([trial(0, few)]).number == 0


def test_files_that_one_could_not_read_do_not_speak_against_it() -> None:
    whole, some = trial(0, "1110" * 10), trial(1, "1u10" * 10)
    assert some.accuracy == 2 / 3
    gain = picking.gain([whole, some], whole, some)
    assert (gain.gained, gain.lost, gain.n) == (0, 0, 30)


def test_the_gain_is_that_of_the_paired_answers() -> None:
    default, taken = trial(0, "1" * 50 + "0" * 50), trial(1, "0" * 5 + "1" * 85 + "0" * 10)
    gain = picking.gain([default, taken], default, taken)
    assert (gain.gained, gain.lost, gain.n) == (40, 5, 100)
    assert gain.difference == pytest.approx(0.35)
    assert (gain.low, gain.high) == paired.difference_interval(40, 5, 100)
    assert gain.expected == pytest.approx(0.35, abs=0.02)  # one choice alone, and a sure one
    assert gain.is_worth_a_change


def test_the_luck_of_the_best_of_many_is_taken_off() -> None:
    """Forty trials that all are right half of the time: the best looks better than the default, and is not."""
    rng = np.random.default_rng(3)
    trials = [Trial(i, rng.integers(0, 2, 60).astype(np.uint8), 0.7, (1.0,)) for i in range(40)]
    gain = picking.gain(trials, trials[0], picking.best(trials))
    assert gain.difference > 0.12
    assert abs(gain.expected) < gain.difference / 2
    assert gain.expected_low < 0 < gain.expected_high


def test_where_the_default_is_taken_nothing_is_gained() -> None:
    default, other = trial(0, "10" * 20), trial(1, "01" * 19 + "00")
    gain = picking.gain([default, other], default, default)
    assert (gain.difference, gain.expected, gain.expected_low, gain.expected_high) == (0, 0, 0, 0)
    assert gain.low <= 0 <= gain.high
    assert not gain.is_worth_a_change


def test_a_lead_by_luck_is_not_worth_a_change() -> None:
    """Two pictures more of forty, where as many are lost as won by turns: chosen again, the other is taken as often."""
    default, other = trial(0, "10" * 19 + "00"), trial(1, "01" * 19 + "11")
    gain = picking.gain([default, other], default, picking.best([default, other]))
    assert gain.difference == 0.05
    assert gain.expected < 0
    assert not gain.is_worth_a_change
