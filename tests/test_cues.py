"""A tree on a few numbers, judged on held-out pictures."""

import numpy as np

from tellapart import cues

RNG = np.random.default_rng(0)


def judge(values, labels, groups=None):
    labels = np.asarray(labels)
    groups = np.arange(len(labels)) if groups is None else groups
    return cues.judge(np.asarray(values, float), labels, int(labels.max()) + 1, groups=groups, seed=0)


def test_what_tells_everything_is_right_always_and_noise_as_often_as_guessing():
    labels = np.arange(900) % 3
    assert judge(labels[:, None], labels).balanced == 1
    noise = judge(RNG.normal(size=(900, 4)), labels)
    assert abs(noise.balanced - 1 / 3) < 3 * noise.error
    # Of a share p of n the standard error is √(p(1 - p)/n); the mean of three shares of 300 about 1/3 has a 900th.
    np.testing.assert_allclose(noise.error, np.sqrt((1 / 3) * (2 / 3) / 900), rtol=0.1)


def test_a_commoner_class_is_no_better_guess():
    labels = (np.arange(1000) % 10 == 0).astype(int)
    found = judge(RNG.normal(size=(1000, 2)), labels)
    assert abs(found.balanced - 0.5) < 3 * found.error


def test_one_class_of_many_is_told_by_a_value_of_its_own():
    labels = np.arange(1000) % 10
    values = np.where((labels == 7) & (np.arange(1000) % 100 != 7), 5.0, 2.0)[:, None]  # 90 of the 100 of class 7
    found = judge(values, labels)
    assert found.one[7] == 0.95
    assert found.caught[:, 7].sum() == 90
    assert found.recall[7] == 0.9
    assert max(np.delete(found.one, 7)) < 0.6


def test_a_narrow_range_between_others_is_found():
    values = RNG.uniform(0, 100, 2000)
    labels = ((values > 40) & (values < 50)).astype(int)
    assert judge(values[:, None], labels).balanced > 0.97


def test_copies_are_held_out_together():
    groups = np.repeat(np.arange(200), 4)
    labels = RNG.integers(0, 2, 200)[groups]
    # A number of each group's own tells the class of its copies, and nothing of others.
    found = judge(RNG.permutation(200)[groups][:, None], labels, groups)
    assert abs(found.balanced - 0.5) < 0.1
