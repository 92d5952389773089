"""Temperatures, compared with scipy's own minimum and with what is known of made-up answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from tellapart import calibration, metrics


def answers(n: int, true_temperature: float, n_classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are drawn from them at a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, n_classes))
    chances = metrics.softmax(logits, true_temperature)
    return logits, np.array([rng.choice(n_classes, p=row) for row in chances])


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_answers_were_drawn_at_is_found(true_temperature: float):
    logits, labels = answers(8000, true_temperature)
    assert calibration.temperature(logits, labels) == pytest.approx(true_temperature, rel=0.05)


def test_it_is_where_scipy_finds_the_lowest_loss():
    logits, labels = answers(300, 1.7, seed=3)

    def loss(u: float) -> float:
        rows = logits / math.exp(u)
        nats = np.log(np.exp(rows).sum(axis=1)) - rows[np.arange(len(labels)), labels]
        return nats.sum() + u**2 / (2 * calibration.PRIOR**2)

    found = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-6}).x
    assert math.log(calibration.temperature(logits, labels)) == pytest.approx(found, abs=3e-4)


def test_answers_that_were_all_right_do_not_become_certain():
    logits = np.array([[2.0, 0.0]] * 20)
    assert 0.6 < calibration.temperature(logits, np.zeros(20, int)) < 1.0
    assert calibration.temperature(np.zeros((0, 2)), np.zeros(0, int)) == 1.0


def test_no_answer_changes_and_the_error_of_calibration_falls():
    logits, labels = answers(6000, 3.0, seed=5)
    fit, test = slice(0, 2000), slice(2000, None)
    found = calibration.temperature(logits[fit], labels[fit])
    before, after = metrics.softmax(logits[test]), metrics.softmax(logits[test], found)
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    assert metrics.expected_calibration_error(before, labels[test]) > 0.15
    assert metrics.expected_calibration_error(after, labels[test]) < 0.02


def test_no_fold_has_a_part_in_its_own_temperature():
    logits, labels = answers(300, 2.0, seed=7)
    folds = np.arange(300) % 3
    found = calibration.by_turns(logits, labels, folds)
    first, others = folds == 0, folds != 0
    expected = metrics.softmax(logits[first], calibration.temperature(logits[others], labels[others]))
    np.testing.assert_allclose(found[first], expected)
    np.testing.assert_allclose(found.sum(axis=1), 1)
