"""The curve and what it promises."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import clouds
from tellapart import growth
from tellapart.findings import Finding


def test_a_curve_that_is_a_power_is_carried_on() -> None:
    # Errors 0.4, 0.2, 0.1: they halve when pictures are four times as many, a power of a half.
    rng = np.random.default_rng(0)
    rows = np.stack([np.arange(20_000) >= 20_000 * rate for rate in (0.4, 0.2, 0.1)])
    found = growth.forecast(np.array([50, 200, 800]), rows, 1000, np.arange(20_000), rng)
    assert found.power == pytest.approx(0.48, abs=0.04)  # drawn a little towards 0.3
    assert found.now == pytest.approx(1 - 0.1 * 1.25**-found.power, abs=1e-4)
    assert found.later == pytest.approx(1 - 0.1 * 2.5**-found.power, abs=1e-4)
    assert found.low < found.later < found.high


def test_the_curve_is_told_in_words() -> None:
    features, labels = clouds(100, 1.0, 2)
    found = growth.measure(features, labels, 2)
    assert found is not None
    assert found.sizes == (10, 20, 40, 80, 160)
    (one,) = growth.find(found, ["cats", "dogs"])
    assert isinstance(one, Finding)
    assert one.message.startswith("With twice the pictures (400 instead of 200), expect ")
    assert [point["n"] for point in one.detail["points"]] == [10, 20, 40, 80, 160]
    assert growth.find(growth.measure(features[:50], labels[:50], 2), ["cats", "dogs"]) == []
