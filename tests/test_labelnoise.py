"""The share of wrong labels, where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart import labelnoise


def test_the_share_of_wrong_labels_is_learned_and_bayes_rule_applied() -> None:
    # Scores that are the logits of a calibrated classifier; then a tenth of the labels is turned over.
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 6, 4000)
    truth = (rng.random(4000) < 1 / (1 + np.exp(-logit))).astype(int)
    labels = np.where(rng.random(4000) < 0.1, 1 - truth, truth)
    noise = labelnoise.learn(np.stack([np.zeros(4000), logit], axis=1), labels)
    assert noise.channel[0, 1] == pytest.approx(0.1, abs=0.02)
    assert noise.channel[1, 0] == pytest.approx(0.1, abs=0.02)
    joint = noise.answers * noise.channel[:, labels].T
    np.testing.assert_allclose(noise.truths, joint / joint.sum(axis=1, keepdims=True))
    wrong = 1 - noise.truths[np.arange(4000), labels]
    assert wrong.sum() == pytest.approx((labels != truth).sum(), rel=0.1)  # and each as likely as it says:
    for low, high in ((0.0, 0.1), (0.3, 0.7), (0.9, 1.0)):
        some = (wrong >= low) & (wrong <= high)
        assert (labels != truth)[some].mean() == pytest.approx(wrong[some].mean(), abs=0.1)
