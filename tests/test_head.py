import tracemalloc

import numpy as np
import pytest

from tellapart import head as heads
from tellapart import metrics


def clouds(n: int, n_classes: int = 3, width: int = 20, apart: float = 3.0, seed: int = 0):
    """Features float32 (n * C, D) around a centre for each class, and labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(n_classes, width)) * apart
    labels = np.repeat(np.arange(n_classes), n)
    return (centres[labels] + rng.normal(size=(len(labels), width))).astype(np.float32), labels


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_what_can_be_told_apart_is(n_classes):
    fitted = heads.fit(*clouds(30, n_classes), n_classes, seed=0)
    features, labels = clouds(50, n_classes, seed=1)
    assert metrics.accuracy(heads.probabilities(fitted.head, features), labels) > 0.99
    assert fitted.head.kernel.shape == (20, n_classes)
    assert fitted.head.kernel.dtype == fitted.head.bias.dtype == np.float32


def test_held_out_pictures_are_answered_by_a_head_that_did_not_see_them():
    features, labels = clouds(40, 2, width=400)
    labels = np.random.default_rng(5).permutation(labels)  # nothing to learn, much to learn by heart
    fitted = heads.fit(features, labels, 2, seed=0)
    assert sorted(fitted.held_out) == list(range(80))
    assert fitted.train_accuracy > 0.9
    assert metrics.accuracy(fitted.answers, labels[fitted.held_out]) < 0.7


def test_pictures_of_one_group_are_held_out_together():
    labels = clouds(20, 2)[1]
    groups = np.arange(40) // 2
    for inside, outside in heads.folds(labels, groups, 0, single=False):
        assert not set(groups[inside]) & set(groups[outside])
        assert len(inside) + len(outside) == 40


def test_folds_hold_each_picture_out_once_and_share_the_classes():
    labels = np.array([0] * 50 + [1] * 10)
    folds = list(heads.folds(labels, None, 0, single=False))
    assert sorted(np.concatenate([outside for _, outside in folds])) == list(range(60))
    assert [sorted(np.bincount(labels[outside])) for _, outside in folds] == [[2, 10]] * 5
    assert len(list(heads.folds(labels, None, 0, single=True))) == 1


def test_the_only_picture_of_a_class_is_always_learned_from():
    labels = np.array([0] * 10 + [1])
    assert all(10 in inside for inside, _ in heads.folds(labels, None, 0, single=False))


def test_two_pictures_of_each_class_are_enough():
    fitted = heads.fit(*clouds(2, 2), 2, seed=0)
    features, labels = clouds(50, 2, seed=1)
    assert metrics.accuracy(heads.probabilities(fitted.head, features), labels) == 1


def test_a_class_that_no_picture_shows_is_never_answered():
    features, labels = clouds(20, 2)
    fitted = heads.fit(features, labels, 3, seed=0)
    assert heads.probabilities(fitted.head, features)[:, 2].max() < 1e-6


def test_the_scaling_is_common_for_few_and_own_for_many():
    rng = np.random.default_rng(0)
    spreads = np.array([0.1, 1.0, 10.0])
    few, many = (rng.normal(size=(n, 3)) * spreads for n in (5, 100_000))
    _, few_scale = heads.scaling(few, np.arange(5))
    assert few_scale.max() / few_scale.min() < 2
    _, many_scale = heads.scaling(many, np.arange(100_000))
    assert many_scale[2] / many_scale[1] == pytest.approx(10, rel=0.15)


def test_a_rare_class_is_not_given_up():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(0, 1, (500, 5)), rng.normal(1.2, 1, (10, 5))]).astype(np.float32)
    labels = np.array([0] * 500 + [1] * 10)
    answers = heads.probabilities(heads.fit(features, labels, 2, seed=0).head, features).argmax(1)
    assert (answers[500:] == 1).mean() >= 0.5


def test_it_equals_the_regression_on_scaled_features():
    from sklearn.linear_model import LogisticRegression

    features, labels = clouds(30, 3, apart=0.5)
    rows = np.arange(len(labels))
    (head,) = heads._path(features, rows, labels, 3, (0.1,), keeps=False)
    centre, scale = heads.scaling(features, rows)
    expected = LogisticRegression(C=0.1, tol=1e-6, max_iter=1000, class_weight=None).fit(
        (features - centre) / scale, labels
    )
    np.testing.assert_allclose(
        heads.probabilities(head, features), expected.predict_proba((features - centre) / scale), atol=5e-3
    )


def test_one_scaled_copy_is_in_memory_and_the_head_is_the_same(monkeypatch):
    n, d = 20_000, 64
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n, d)).astype(np.float16)
    labels = (features[:, 0] + rng.normal(0, 1, n) > 0).astype(int)
    plain = heads.fit(features, labels, 2, seed=0)
    monkeypatch.setattr(heads, "BLOCK", 512)
    monkeypatch.setattr(heads, "HELD_BYTES", 0)
    tracemalloc.start()
    lean = heads.fit(features, labels, 2, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.5 * 4 * n * d  # five folds would have 4, the whole in float64 another 2
    np.testing.assert_allclose(lean.head.kernel, plain.head.kernel, atol=1e-5)
    np.testing.assert_allclose(lean.answers, plain.answers, atol=1e-5)


def test_the_same_seed_gives_the_same_head():
    a, b = (heads.fit(*clouds(30), 3, seed=4) for _ in range(2))
    np.testing.assert_array_equal(a.head.kernel, b.head.kernel)
    np.testing.assert_array_equal(a.held_out, b.held_out)


def test_cross_validation_holds_each_picture_out_once_and_groups_together() -> None:
    features, labels = clouds(30, 2)
    groups = np.arange(60) // 2
    crossed = heads.cross_validated(features, labels, 2, 3, seed=0, groups=groups)
    assert sorted(crossed.held_out.tolist()) == list(range(60))
    of = dict(zip(crossed.held_out.tolist(), crossed.folds.tolist(), strict=True))
    assert set(of.values()) == {0, 1, 2}
    assert all(of[i] == of[i + 1] for i in range(0, 60, 2))
    assert (crossed.answers.argmax(axis=1) == labels[crossed.held_out]).mean() > 0.9


def test_a_label_that_says_nothing_is_guessed_no_better_than_by_chance() -> None:
    features, labels = clouds(60, 2, apart=0.0)
    crossed = heads.cross_validated(features, labels, 2, 5, seed=1)
    assert 0.35 < (crossed.answers.argmax(axis=1) == labels[crossed.held_out]).mean() < 0.65
