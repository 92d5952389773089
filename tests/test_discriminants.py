"""Held-out scores against scikit-learn and against sums made without the pictures left out."""

from __future__ import annotations

import numpy as np
from sklearn.covariance import shrunk_covariance
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from conftest import clouds
from tellapart import discriminants


def test_the_discriminant_is_that_of_scikit_learn_fold_by_fold() -> None:
    features, labels = clouds(60, 1.0, 3)
    sides = discriminants.Sides(features, labels, 3, seed=1)
    ours = sides.scores((0.3,))[0]
    scaled = (features.astype(np.float64) - sides.scaling.centre) / sides.scaling.spread
    for outside in sides.folds:
        inside = np.setdiff1d(np.arange(len(labels)), outside)
        means = np.stack([scaled[inside][labels[inside] == k].mean(axis=0) for k in range(3)])
        rest = scaled[inside] - means[labels[inside]]
        covariance = shrunk_covariance(rest.T @ rest / (len(inside) - 3), 0.3)
        weights = np.linalg.solve(covariance, means.T)
        theirs = scaled[outside] @ weights - 0.5 * (means.T * weights).sum(axis=0)
        np.testing.assert_allclose(ours[outside], theirs, atol=2e-3)
        # Its answers are scikit-learn's too.
        judge = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3, priors=[1 / 3] * 3)
        judge.fit(scaled[inside], labels[inside])
        agree = judge.predict(scaled[outside]) == ours[outside].argmax(axis=1)
        assert agree.mean() > 0.97  # it shrinks the covariance of each class by itself


def test_pictures_left_out_teach_nothing() -> None:
    features, labels = clouds(40, 1.0)
    without = np.zeros(len(labels), bool)
    without[[3, 50, 61]] = True
    sides = discriminants.Sides(features, labels, 2, seed=0)
    changed = features.copy()
    changed[without] = 9  # what they look like must not matter to the others
    other = discriminants.Sides(changed, labels, 2, seed=0)
    other.scaling = sides.scaling
    other._sums = [other._of(rows) for rows in (*other.folds, np.flatnonzero(~other.held_out))]
    ours, theirs = sides.scores((0.3,), without)[0], other.scores((0.3,), without)[0]
    np.testing.assert_allclose(ours[~without], theirs[~without], atol=1e-2)


def test_twins_do_not_answer_each_other() -> None:
    features, labels = clouds(30, 1.0)
    groups = np.arange(len(labels)) // 2
    for outside in discriminants.Sides(features, labels, 2, seed=0, groups=groups).folds:
        assert set(groups[outside]).isdisjoint(groups[np.setdiff1d(np.arange(len(labels)), outside)])
