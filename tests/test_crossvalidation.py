"""Every picture judged by a model that has not learned from it."""

from pathlib import Path

import numpy as np
import pytest

from tellapart import api, crossvalidation, pipeline, transfer
from tellapart import catalog as catalogs
from tellapart.config import RECIPES
from tellapart.errors import InputError, SettingsError
from tellapart.progress import Progress

LITTLE = {"recipe": "tutorial", "size": 32, "epochs": 1, "conv": (4,), "dense": (8,), "precision": "float32"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, make_photos) -> Path:
    """Two classes, 12 pictures each; two copies of one of them."""
    folder = make_photos(tmp_path_factory.mktemp("small"), n=12)
    first = folder / "circles" / "circle_000.png"
    for i in range(2):
        (folder / "circles" / f"copy_{i}.png").write_bytes(first.read_bytes())
    return folder


@pytest.mark.slow
def test_no_network_answers_what_it_learned_from(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the sides of each fold as they are learned from; copies stand on one side together."""
    learn, folds = pipeline.learn, []

    def noted(prepared, recipe, **more):
        folds.append({side: set(prepared.contents(side)) for side in prepared.sides})
        return learn(prepared, recipe, **more)

    monkeypatch.setattr(pipeline, "learn", noted)
    got = api.train(small, k_fold=2, progress=False, **LITTLE)
    usual, *each = folds
    assert len(each) == 2
    contents = {entry.content for entry in catalogs.scan(small).entries}
    for fold in each:
        assert not fold["test"] & (fold["train"] | fold["validation"])
        assert fold["test"] | fold["train"] | fold["validation"] == contents
        assert fold["validation"]
    assert sum(len(fold["test"]) for fold in each) == len(contents)
    found = got.evaluation
    assert found is not None
    assert (found.n, found.split, len(found.fold_accuracies)) == (26, "cross-validation", 2)
    assert sorted(found.paths) == [entry.path for entry in catalogs.scan(small).entries]
    assert found.accuracy == pytest.approx(np.average(found.fold_accuracies, weights=np.bincount(found.folds)))
    # What ships is trained as without folds, and the bundle has both judgements.
    assert usual["test"] == set(got.bundle.splits()["test"])
    assert set(got.metrics) == {"train", "validation", "test", "cross-validation"}
    assert got.metrics["cross-validation"]["n"] == 26


def test_heads_are_cross_validated_on_features_seen_once(photos: Path) -> None:
    got = api.train(photos, k_fold=4, recipe="transfer", backbone="efficientnet-lite0", size=64, progress=False)
    found = got.evaluation
    assert found is not None
    assert (found.n, found.split) == (80, transfer.CROSS_VALIDATION)
    assert np.bincount(found.folds).tolist() == [20, 20, 20, 20]
    assert found.accuracy > 0.9
    assert len(got.bundle.splits()["train"]) == 80  # all of them teach what ships
    values = found.as_dict()["folds"]
    assert values["mean"] == pytest.approx(found.accuracy)
    assert got.metrics["cross-validation"]["accuracy"] == found.accuracy


def test_it_stops_where_the_user_stops(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPES["tutorial"].override(size_px=32, store_px=32, epochs=1, channels=(4,), dense=(8,))

    class Stopped:
        interrupted = True

    monkeypatch.setattr(pipeline, "learn", lambda *a, **k: Stopped())
    catalog = catalogs.scan(small)
    assert crossvalidation.run(catalog, recipe, 3, seed=0, cache=tmp_path, progress=Progress()) is None


@pytest.mark.parametrize("k", [1, 21, True, 2.5])
def test_a_number_of_folds(k, photos: Path) -> None:
    with pytest.raises(SettingsError, match=r"--k-fold must be a whole number from 2 to 20; got .* Try --k-fold 5"):
        api.train(photos, k_fold=k, progress=False)


@pytest.mark.parametrize("more", [{"budget": "60s"}, {"fine_tune": True}])
def test_what_goes_with_no_folds(more, photos: Path) -> None:
    with pytest.raises(SettingsError, match="--k-fold trains anew for each fold and cannot go with --"):
        api.train(photos, k_fold=5, progress=False, **more)


def test_a_folder_with_splits_is_refused(tmp_path: Path, make_photos) -> None:
    for i, split in enumerate(("train", "test")):
        make_photos(tmp_path / split, n=3, first=3 * i)
    with pytest.raises(InputError, match=r"--k-fold needs a folder without splits.* has train, test\. Leave --k-fold"):
        api.train(tmp_path, k_fold=5, progress=False)
