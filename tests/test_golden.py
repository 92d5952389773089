"""Golden pictures: drawn alike every time, kept with the bundle's own answers."""

import numpy as np
import pytest

from tellapart import arrays, bundle, golden, preprocess, strangers
from tellapart.engine import Engine
from tellapart.errors import BundleError


def test_a_training_keeps_them_with_the_answers_of_its_graph(trained):
    assert golden.MEMBER in trained.bundle.members
    kept = golden.of(trained.bundle)
    assert [pixels.shape[:2] for pixels in kept.pictures] == golden.sizes(32)
    for pixels, probabilities, score in zip(kept.pictures, kept.probabilities, kept.scores, strict=True):
        answer = trained.predict(pixels)
        np.testing.assert_allclose(list(answer.probabilities.values()), probabilities, atol=1e-6)
        square = preprocess.fit(pixels, trained.predictor.preprocess)
        outputs = Engine(trained.bundle.members["model.onnx"]).run(square[None])
        known = strangers.Strangers.from_bytes(trained.bundle.members[strangers.MEMBER])
        np.testing.assert_allclose(known.scores(outputs.embedding, outputs.logits), [score], rtol=1e-5)


def test_they_shrink_grow_and_stay_in_every_combination():
    for size in (8, 32, 224, 288, 1024):
        ways = {(np.sign(height - size), np.sign(width - size)) for height, width in golden.sizes(size)}
        assert ways >= {(0, 0), (1, 1), (-1, -1), (-1, 1), (1, -1)}
        assert min(min(shape) for shape in golden.sizes(size)) == 1


def test_an_older_bundle_has_its_pictures_drawn_when_they_are_asked_for(trained):
    members = {name: content for name, content in trained.bundle.members.items() if name != golden.MEMBER}
    old = bundle.Bundle(trained.bundle.manifest, members)
    assert golden.of(old).digest() == golden.of(trained.bundle).digest()


def test_a_bundle_that_knows_no_strangers_has_no_scores(trained):
    without = {
        name: content
        for name, content in trained.bundle.members.items()
        if name not in (strangers.MEMBER, golden.MEMBER)
    }
    bare = golden.kept(bundle.Bundle(trained.bundle.manifest, without))
    assert golden.of(bare).scores is None
    assert golden.of(bare).digest() != golden.of(trained.bundle).digest()


def test_damaged_ones_are_told(trained):
    found = arrays.from_bytes(trained.bundle.members[golden.MEMBER], golden.KINDS, "")
    for change in (
        {"lengths": found["lengths"][:-1]},
        {"scores": found["scores"][:-1]},
        {"png": 255 - found["png"]},
        {"probabilities": found["probabilities"][:, :1]},
    ):
        damaged = bundle.extended(trained.bundle, golden.MEMBER, arrays.to_bytes({**found, **change}))
        with pytest.raises(BundleError, match="golden pictures must"):
            golden.of(damaged)
