"""Paired statistics against published values, scipy and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from tellapart import paired


@pytest.mark.parametrize(
    ("gained", "lost"),
    [(0, 0), (1, 0), (0, 1), (3, 9), (12, 9), (24, 5), (6, 16), (100, 140), (4000, 3800), (0, 900), (5000, 5000)],
)
def test_mcnemar_is_the_two_sided_binomial_test(gained: int, lost: int) -> None:
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert paired.mcnemar(gained, lost) == pytest.approx(expected, rel=1e-8)
    assert paired.mcnemar(lost, gained) == paired.mcnemar(gained, lost)


def test_mcnemar_by_hand() -> None:
    """All of five on one side: 2 · (1/2)⁵."""
    assert paired.mcnemar(5, 0) == pytest.approx(1 / 16)
    assert paired.mcnemar(1, 5) == pytest.approx(2 * (1 + 6) / 2**6)


@pytest.mark.parametrize(
    ("gained", "lost", "n", "low", "high"),
    [
        # Fagerland, Lydersen, Laake, "Statistical Analysis of Contingency Tables" (2017), ch. 8: Bentur et al. 2009.
        (1, 7, 21, -0.517, -0.026),
        # The same: Cavo et al. 2012.
        (6, 16, 161, -0.1240, -0.0054),
    ],
)
def test_the_score_interval_is_the_published_one(gained: int, lost: int, n: int, low: float, high: float) -> None:
    found = [paired._where_score_is(z, gained, lost, n) for z in (paired.Z_95, -paired.Z_95)]
    digits = len(str(high).split(".")[1])
    assert [round(each, digits) for each in found] == [low, high]


def test_where_the_exact_test_cannot_tell_the_interval_reaches_zero() -> None:
    """Cavo et al.: Tango's interval leaves 0 out, but the exact test gives 0.0525."""
    assert paired.mcnemar(6, 16) == pytest.approx(0.0525, abs=1e-4)
    assert not paired.tells_apart(6, 16)
    low, high = paired.difference_interval(6, 16, 161)
    assert (low, high) == (pytest.approx(-0.1240, abs=1e-4), 0.0)


def test_test_and_interval_never_say_two_things() -> None:
    for telling in range(60):
        for gained in range(telling + 1):
            low, high = paired.difference_interval(gained, telling - gained, 200)
            assert -1 <= low <= (2 * gained - telling) / 200 <= high <= 1
            assert (low > 0 or high < 0) == paired.tells_apart(gained, telling - gained)


def test_the_interval_at_its_ends() -> None:
    assert paired.difference_interval(0, 0, 0) == (-1.0, 1.0)
    # Without a picture that tells, the score is n·δ / √(n δ (1 − δ)): the limit is z² / (n + z²).
    limit = paired.Z_95**2 / (100 + paired.Z_95**2)
    assert paired.difference_interval(0, 0, 100) == pytest.approx((-limit, limit))
    assert paired.difference_interval(40, 0, 40)[1] == pytest.approx(1.0)
    low, high = paired.difference_interval(12, 9, 2000)
    assert paired.difference_interval(9, 12, 2000) == pytest.approx((-high, -low))


def test_how_many_pictures_it_takes_finds_the_difference_four_times_in_five() -> None:
    n = paired.needed(30, 10, 1000)
    assert n is not None
    assert n == math.ceil(((1.959964 * math.sqrt(0.04) + 0.841621 * math.sqrt(0.04 - 0.02**2)) / 0.02) ** 2)
    rng = np.random.default_rng(0)
    telling = rng.binomial(n, 0.04, 400)
    gained = rng.binomial(telling, 0.75)
    found = [paired.tells_apart(g, t - g) for g, t in zip(gained.tolist(), telling.tolist(), strict=True)]
    assert 0.7 < np.mean(found) < 0.87
    assert paired.needed(7, 7, 100) is None


@pytest.mark.parametrize(
    ("only_b", "only_a", "n"), [(0.03, 0.03, 200), (0.1, 0.1, 600), (0.07, 0.02, 100), (0.2, 0.1, 50), (0.01, 0.0, 60)]
)
def test_the_interval_holds_the_truth_and_chance_is_seldom_taken_for_a_difference(
    only_b: float, only_a: float, n: int
) -> None:
    """benchmarks/paired.py does it for more settings."""
    drawn = np.random.default_rng(0).multinomial(n, [only_b, only_a, 1 - only_b - only_a], 2000)[:, :2]
    judged = {(b, a): (paired.difference_interval(b, a, n), paired.tells_apart(b, a)) for b, a in drawn.tolist()}
    every = [judged[b, a] for b, a in drawn.tolist()]
    assert np.mean([low <= only_b - only_a <= high for (low, high), _ in every]) >= 0.94
    if only_a == only_b:
        assert np.mean([apart for _, apart in every]) <= 0.05


def test_the_bootstrap_is_close_to_the_normal_interval_of_a_mean() -> None:
    rng = np.random.default_rng(2)
    differences = rng.normal([0.5, -1.0], [1.0, 2.0], (400, 2))
    for (low, high), column in zip(paired.mean_intervals(differences), differences.T, strict=True):
        half = 1.96 * column.std() / math.sqrt(400)
        assert low == pytest.approx(column.mean() - half, abs=0.25 * half)
        assert high == pytest.approx(column.mean() + half, abs=0.25 * half)
    assert paired.mean_intervals(differences) == paired.mean_intervals(differences)


def test_the_interval_of_a_median_by_hand() -> None:
    """Of 14 values the third lowest and the third highest: 2 · (1 + 14 + 91) / 2¹⁴ = 0.013, and with a fourth 0.057."""
    values = [float(each) for each in np.random.default_rng(0).permutation(14)]
    assert paired.median_interval(values) == (2.0, 11.0)
    assert paired.median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert paired.median_interval(range(8)) == (0, 7)
    assert paired.median_interval(range(9)) == (1, 7)
