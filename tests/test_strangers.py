"""How strange a picture is to a classifier."""

import dataclasses

import numpy as np
import pytest

from tellapart import strangers
from tellapart.errors import BundleError


def own(n: int, d: int = 40, n_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings about a direction for each class with small noise, labels, and logits that tell the classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    embeddings = np.zeros((n, d))
    embeddings[:, -1] = 3
    embeddings[np.arange(n), labels] = 2
    embeddings[:, : d // 2] += 0.2 * rng.normal(size=(n, d // 2))
    embeddings += 0.01 * rng.normal(size=(n, d))
    logits = 6.0 * (labels[:, None] == np.arange(n_classes)) + rng.normal(size=(n, n_classes))
    return embeddings.astype(np.float16), labels, logits


def fitted(n: int = 300, **settings) -> tuple[strangers.Strangers, np.ndarray]:
    embeddings, labels, logits = own(n, **settings)
    return strangers.fit_and_score(embeddings, labels, 3, logits=logits)


def _less_strange(scores: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """The share of held-out pictures that are less strange."""
    return np.searchsorted(held_out, scores) / len(held_out)


def _reached_by(held_out: np.ndarray, share: float) -> float:
    """The score that a share of held-out pictures does not exceed."""
    return float(np.quantile(held_out, share, method="higher"))


def test_parts_are_what_they_are_said_to_be():
    """Of one axis, two classes at -2 and 2 along it (in spreads), and a picture half a unit off the axis."""
    known = strangers.Strangers(
        centre=np.array([0.0, 0.6, 0.0], np.float32),
        axes=np.array([[1, 0, 0]], np.float16),
        scale=np.array([0.5], np.float32),
        means=np.array([[-2], [2]], np.float16),
        middle=np.array([0.0, 0.0, 0.0]),
        weight=np.array([1.0, 0.5, 0.0]),
    )
    picture = np.array([[8.0, 6.0, 0.0]])  # of length one: 0.8, 0.6, 0
    off = np.array([[0.0, 3.0, 4.0]])  # 0, 0.6, 0.8
    logits = np.array([[0.0, np.log(3.0)]])
    # Along the axis 0.8, in spreads 1.6: towards the second class 1.6 · 2 - ½ · 4 = 1.2; towards none for the other.
    assert known.parts(picture, logits)[0] == pytest.approx([np.log(1e-6), -1.2, -np.log(3)], rel=1e-3)
    assert known.parts(off, logits)[0] == pytest.approx([np.log(0.64), 2.0, -np.log(3)], rel=1e-3)
    assert known.scores(picture, logits) == pytest.approx([-1 - 0.6 + 0], rel=1e-3)  # no part is below -1
    assert known.scores(off, logits) == pytest.approx([np.log(0.64) + 1 + 0], rel=1e-3)


def test_pictures_of_another_kind_and_between_classes_are_stranger_than_new_ones_of_the_classes():
    known, held_out = fitted()
    new, _, logits = own(200, seed=1)
    assert np.median(_less_strange(known.scores(new, logits), held_out)) == pytest.approx(0.5, abs=0.15)
    foreign = np.roll(new, 25, axis=1)  # it is sure, and wrong
    assert _less_strange(known.scores(foreign, 3 * logits), held_out).min() == 1
    between, wavering = (own(200, seed=2)[i] for i in (0, 2))
    between[:, :3] = 2 / 3
    assert np.mean(_less_strange(known.scores(between, 0 * wavering), held_out) > 0.97) > 0.95


def test_as_many_own_pictures_are_answered_as_asked_for():
    shares = []
    for seed in range(8):
        known, held_out = fitted(200, seed=seed)
        new, _, logits = own(500, seed=100 + seed)
        limit = _reached_by(held_out, 0.9)
        shares.append(np.mean(known.scores(new, logits) <= limit))
    assert np.mean(shares) == pytest.approx(0.9, abs=0.03)


def test_rounding_does_not_make_pictures_strange():
    known, held_out = fitted()
    new, _, logits = own(500, seed=1)
    noise = np.random.default_rng(2).normal(size=new.shape)
    noise *= 0.02 * np.linalg.norm(new.astype(float), axis=1, keepdims=True) / np.linalg.norm(noise, axis=1)[:, None]
    limit = _reached_by(held_out, 0.98)
    assert np.mean(known.scores(new + noise, logits) <= limit) > 0.9


def test_held_out_scores_come_from_fits_without_the_picture_and_its_group():
    """Each picture stands ten times: by groups, its copies do not vouch for it."""
    embeddings, labels, logits = (np.repeat(each, 10, axis=0) for each in own(60))
    groups = np.repeat(np.arange(60), 10)
    known, alone = strangers.fit_and_score(embeddings, labels, 3, logits=logits)
    known_together, together = strangers.fit_and_score(embeddings, labels, 3, logits=logits, groups=groups)
    far_alone, far_together = known.middle[0], known_together.middle[0]
    assert len(alone) == len(together) == 600
    assert far_together > far_alone + 0.3


@pytest.mark.parametrize(("n", "n_classes", "d"), [(10, 2, 1280), (3, 2, 8), (2, 2, 4), (40, 30, 16), (50, 3, 1)])
def test_small_sets_work(n, n_classes, d):
    rng = np.random.default_rng(0)
    embeddings, labels = rng.normal(size=(n, d)), np.arange(n) % n_classes
    known, held_out = strangers.fit_and_score(embeddings, labels, n_classes, logits=rng.normal(size=(n, n_classes)))
    assert np.isfinite(known.scores(embeddings, np.zeros((n, n_classes)))).all()
    assert np.isfinite(held_out).all()


def test_constant_features_equal_pictures_and_empty_embeddings_work():
    embeddings, labels, logits = own(60)
    embeddings[:, 30] = 1
    for values in (embeddings, np.ones((60, 8)), np.zeros((60, 8))):
        known, held_out = strangers.fit_and_score(values, labels, 3, logits=logits)
        assert np.isfinite(held_out).all()
        assert np.isfinite(known.scores(values, logits)).all()


def test_what_is_no_number_is_strange():
    known, held_out = fitted(60)
    assert _less_strange(known.scores(np.full((1, 40), np.nan), np.zeros((1, 3))), held_out).tolist() == [1]


def test_many_classes_stay_small():
    rng = np.random.default_rng(0)
    labels = np.arange(1000)
    known = strangers.fit(rng.normal(size=(1000, 128)).astype(np.float16), labels, 1000)
    assert len(known.to_bytes()) < 1_000_000


def test_of_many_pictures_some_are_taken_of_every_class():
    labels = np.repeat([0, 1, 2], [20_000, 50, 3])
    some = strangers._some(labels, 0)
    assert len(some) == strangers.MOST
    assert np.bincount(labels[some]).tolist() == pytest.approx([7980, 20, 1], abs=2)
    assert (np.diff(some) > 0).all()


def test_settled_or_not_the_parts_are_the_same():
    embeddings, labels, logits = own(90)
    known = strangers.fit(embeddings, labels, 3)
    settled = known.settled(embeddings, logits)
    np.testing.assert_array_equal(known.parts(embeddings, logits), settled.parts(embeddings, logits))
    assert np.isfinite(settled.weight).all()
    assert (settled.weight != known.weight).all()


def test_it_is_read_as_it_was_written():
    known, _ = fitted(60)
    content = known.to_bytes()
    again = strangers.Strangers.from_bytes(content)
    for field in dataclasses.fields(known):
        assert np.array_equal(getattr(again, field.name), getattr(known, field.name))
    assert again.to_bytes() == content


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"centre": np.zeros(3, np.float32)}, "`centre` does not fit"),
        ({"means": np.zeros((3, 2), np.float16)}, "`means` does not fit"),
        ({"axes": np.zeros(4, np.float16)}, "axes must be float16 numbers in 2 dimensions"),
        ({"middle": np.array([0, np.inf, 0])}, "middle must be float64"),
        ({"weight": np.zeros(2)}, "`weight` does not fit"),
    ],
)
def test_what_was_changed_is_refused(changes, complaint):
    known, _ = fitted(60)
    with pytest.raises(BundleError, match=complaint):
        strangers.Strangers.from_bytes(dataclasses.replace(known, **changes).to_bytes())


def test_scales_of_zero_are_refused():
    known, _ = fitted(60)
    with pytest.raises(BundleError, match="`scale` does not fit"):
        strangers.Strangers.from_bytes(dataclasses.replace(known, scale=0 * known.scale).to_bytes())


def test_parts_are_standardised_by_pictures_not_learned_from():
    """With three classes what stands between them weighs two thirds of 1.5 and of 0.5."""
    embeddings, labels, _ = own(90)
    new, _, told = own(60, seed=1)
    known = strangers.fit(embeddings, labels, 3).settled(new, told)
    parts = known.parts(new, told)
    z = (parts - parts.mean(axis=0)) / parts.std(axis=0) * [1, 1, 1 / 3]
    assert known.scores(new, told) == pytest.approx(np.maximum(z, -1).sum(axis=1))


def test_what_another_way_of_running_the_graph_adds_is_allowed_for():
    """Noise of a way moves `far` up; it is taken off. What moves down stays."""
    known, _ = fitted()
    new, _, logits = own(90, seed=1)
    noisy = new + 0.05 * np.random.default_rng(3).normal(size=new.shape)
    moved = np.median(known.parts(noisy, logits - [[1, 0, 0]]) - known.parts(new, logits), axis=0)
    allowing = known.allowing((new, logits), (noisy, logits - [[1, 0, 0]]))
    assert moved[0] > 0.1
    assert allowing.middle - known.middle == pytest.approx(np.maximum(moved, 0))
    back = known.allowing((noisy, logits), (new, logits))
    assert back.middle[0] == known.middle[0]
    assert known.allowing((new[:0], logits[:0]), (new[:0], logits[:0])) is known
