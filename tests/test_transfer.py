import json
import time

import numpy as np
import pytest

from conftest import draw
from tellapart import api, beginning, choices, features, learning, looking, plans, sampling, transfer
from tellapart import catalog as catalogs
from tellapart.backbones import BACKBONES
from tellapart.config import Transfer, budget_s
from tellapart.engine import Engine
from tellapart.errors import InputError, SettingsError
from tellapart.preprocess import Preprocess, load

SETTINGS = {"recipe": "transfer", "backbone": "efficientnet-lite0", "size": 64, "progress": False}


@pytest.fixture(scope="module")
def many(tmp_path_factory, make_photos):
    """600 pictures of two classes."""
    return make_photos(tmp_path_factory.mktemp("many"), n=300)


@pytest.fixture(scope="module")
def learned(many):
    return api.train(many, **SETTINGS)


def test_shapes_are_told_apart(learned):
    assert learned.evaluation.accuracy > 0.9
    assert learned.evaluation.split == "test"
    assert learned.evaluation.n == 60


def test_the_bundle_is_complete_and_agrees_with_itself(learned, many, tmp_path):
    learned.save(tmp_path / "m.tellapart")
    loaded = api.load(tmp_path / "m.tellapart")
    manifest = loaded.bundle.manifest
    assert manifest["provenance"]["recipe"]["backbone"] == "efficientnet-lite0"
    assert manifest["training"]["pictures"] == {"train": 540, "validation": 0, "test": 60}
    assert manifest["training"]["agreement"] < 0.05
    assert loaded.bundle.embeddings().shape == (540, 1280)
    assert set(manifest["metrics"]) == {"train", "validation", "test"}
    pixels = np.stack([load(path, Preprocess(64)) for path in learned.evaluation.paths[:8]])
    by_graph = Engine(loaded.bundle.members["model.onnx"]).run(pixels).logits
    by_keras = loaded.keras_model.predict(pixels, verbose=0)
    np.testing.assert_allclose(by_keras, by_graph / manifest["temperature"], atol=2e-3)
    again = loaded.evaluate(many)
    assert again.accuracy > 0.9
    assert again.n_trained_on == 540


def test_the_learning_curve_is_a_row_a_round(learned):
    assert [row["pictures"] for row in learned.history] == [540]
    assert 0.9 < learned.history[0]["val_accuracy"] <= 1


def test_a_second_training_looks_at_nothing_anew(many, learned, monkeypatch):
    monkeypatch.setattr(features.Extractor, "_made", lambda *a: pytest.fail("looked again"))
    again = api.train(many, **SETTINGS)
    np.testing.assert_array_equal(again.evaluation.probabilities, learned.evaluation.probabilities)


def test_few_pictures_are_judged_by_cross_validation(photos):
    few = api.train(photos, **SETTINGS)
    assert few.evaluation.split == transfer.CROSS_VALIDATION
    assert few.evaluation.n == 80
    assert few.bundle.manifest["training"]["pictures"] == {"train": 80, "validation": 0, "test": 0}
    assert len(few.bundle.splits()["train"]) == 80


def test_a_folder_s_own_splits_are_kept(tmp_path, make_photos):
    for i, split in enumerate(("train", "val", "test")):
        make_photos(tmp_path / split, n=8, first=8 * i)
    got = api.train(tmp_path, **SETTINGS)
    assert got.bundle.manifest["training"]["pictures"] == {"train": 16, "validation": 16, "test": 16}
    assert got.evaluation.split == "test"
    assert all("/test/" in path for path in got.evaluation.paths)


def test_enough_is_enough(many, monkeypatch):
    monkeypatch.setattr(sampling, "FIRST", 64)
    monkeypatch.setattr(sampling, "FIRST_OF_CLASS", 8)
    catalog = catalogs.scan(many)
    looked = []
    extract = features.Extractor.extract

    def counted(self, files, progress=None):
        looked.append(len(files))
        return extract(self, files)

    monkeypatch.setattr(features.Extractor, "extract", counted)

    def pictures(enough):
        looked.clear()
        recipe = Transfer(backbone="efficientnet-lite0", size_px=64, enough=enough)
        result = transfer.run(catalog, recipe, seed=0, cache=beginning.folder(None), progress=beginning.told(False))
        return result.counts["train"], result.reason

    few, why = pictures(0.5)
    assert few == 64
    assert "the other 476 promised less than 50 points more and were not looked at" in why
    assert looked == [64, 60]  # the test at the end
    every, why = pictures(0.0)
    assert every == 540
    assert "not looked at" not in why


def test_each_beginning_of_the_order_has_its_share_of_every_class(tmp_path, make_photos):
    make_photos(tmp_path, n=90)
    make_photos(tmp_path, ("triangles",), n=30)
    catalog = catalogs.scan(tmp_path)
    order = looking.by_turns(catalog, range(len(catalog.entries)), seed=0)
    assert sorted(order) == list(range(210))
    for n in (14, 70, 140):
        labels = [catalog.entries[i].label for i in order[:n]]
        shares = [labels.count(name) for name in ("circles", "squares", "triangles")]
        assert shares == [n * 3 // 7, n * 3 // 7, n // 7]
    assert order != looking.by_turns(catalog, range(len(catalog.entries)), seed=1)


def test_unreadable_pictures_are_named(photos, tmp_path, make_photos):
    make_photos(tmp_path, n=10)
    whole = (tmp_path / "circles" / "circle_001.jpg").read_bytes()
    (tmp_path / "circles" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    got = api.train(tmp_path, **SETTINGS)
    assert [path.rsplit("/", 1)[1] for path, _ in got.evaluation.skipped] == ["cut.jpg"]
    assert got.bundle.manifest["training"]["skipped"] == 1


def test_a_class_of_unreadable_pictures_stops_the_run(tmp_path, make_photos):
    make_photos(tmp_path, n=10)
    whole = (tmp_path / "circles" / "circle_001.jpg").read_bytes()
    (tmp_path / "broken").mkdir()
    for i in range(3):
        (tmp_path / "broken" / f"{i}.jpg").write_bytes(whole[: len(whole) // 2] + bytes([i]))
    with pytest.raises(InputError, match="class 'broken': none of its 3 pictures could be read"):
        api.train(tmp_path, **SETTINGS)


@pytest.mark.alone
def test_a_budget_is_kept(many, tmp_path):
    start = time.monotonic()
    api.train(many, budget="30s", cache=tmp_path, **SETTINGS)
    assert time.monotonic() - start < 33


def test_a_budget_that_is_too_short_for_all_looks_at_some(many, tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "CHUNK", 16)
    monkeypatch.setattr(sampling, "FIRST_CHUNK", 16)
    clock = iter(np.arange(0, 1000, 1.0))  # a second passes whenever somebody looks
    monkeypatch.setattr(transfer.time, "monotonic", lambda: float(next(clock)))
    catalog = catalogs.scan(many)
    recipe = Transfer(backbone="efficientnet-lite0", size_px=64)
    result = transfer.run(
        catalog, recipe, seed=0, cache=tmp_path, progress=beginning.told(False), deadline=sampling.END_S + 10.0
    )
    assert 32 <= result.counts["train"] < 540
    assert "there was no time for the other" in result.reason


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("5m", 300), ("1h30m", 5400), ("90", 90), (45, 45), ("1m30s", 90), (None, None)]
)
def test_budgets(text, seconds):
    assert budget_s(text) == seconds


@pytest.mark.parametrize("text", ["soon", "", "5 m", "-5m", "m5", "1s", "0", "nan", "9999h"])
def test_what_is_no_budget(text):
    with pytest.raises(SettingsError, match="--budget must be"):
        budget_s(text)


def test_settings_of_a_training_do_not_go_with_it(photos):
    with pytest.raises(SettingsError, match="--recipe transfer trains no network, so it has no learning rate to set"):
        api.train(photos, learning_rate=0.1, **SETTINGS)


def test_what_it_would_do(photos, tmp_path):
    plan = api.plan(photos, cache=tmp_path, **SETTINGS)
    assert plan["recipe"]["backbone"] == "efficientnet-lite0"
    assert plan["pictures"] == {"train": 80, "validation": 0, "test": 0}
    assert plan["seconds"]["total"] >= sampling.END_S
    json.dumps(plan)
    assert not (tmp_path / "pictures").exists()


def test_facts_travel_with_the_weights():
    for backbone in BACKBONES.values():
        assert backbone.licence == "Apache-2.0"
        assert len(backbone.source.sha256) == 64


@pytest.fixture
def tiny(tmp_path):
    """Two classes of pictures of 28 px."""
    for shape in ("circles", "squares"):
        (tmp_path / "tiny" / shape).mkdir(parents=True)
        for i in range(30):
            draw(shape, i).resize((28, 28)).save(tmp_path / "tiny" / shape / f"{i}.png")
    return tmp_path / "tiny"


@pytest.mark.slow
def test_of_tiny_pictures_the_better_of_two_ways_is_kept(tiny, monkeypatch):
    monkeypatch.setattr(plans, "MOST_EPOCHS", 1)  # too few to learn anything
    monkeypatch.setattr(learning, "TRANSFER", Transfer(backbone="efficientnet-lite0", size_px=64))
    got = api.train(tiny, progress=False)
    assert got.bundle.manifest["provenance"]["recipe"]["name"] == "transfer"
    assert "From scratch" in got.report["plan"]["reason"]
    monkeypatch.setattr(learning, "rival", lambda *a, **k: 0.0)
    got = api.train(tiny, progress=False)
    assert got.bundle.manifest["provenance"]["recipe"]["name"] == "scratch"
    assert "a classifier on a pretrained network 0.0% of its own" in got.report["plan"]["reason"]


def test_no_more_than_the_most_are_looked_at(many, tmp_path):
    recipe = Transfer(backbone="efficientnet-lite0", size_px=64, most=100)
    result = transfer.run(catalogs.scan(many), recipe, seed=0, cache=tmp_path, progress=beginning.told(False))
    assert result.counts["train"] == 100


def test_a_look_in_time_is_repeated_without_a_clock(tmp_path):
    class Look:
        def at(self, indices, what):
            return [i for i in indices if i != 3]  # which cannot be read

    sides = looking.Sides(train=list(range(100)), validation=[], test=list(range(100, 120)), dropped=())
    with choices.noted({sampling.LOOKED_AT: "7 training and 5 test pictures"}) as notes:
        train, test = sampling.in_time(None, sides, Look(), tmp_path)
    assert train == [0, 1, 2, 4, 5, 6]
    assert test == [100, 104, 108, 112, 116]
    assert notes.made == {sampling.LOOKED_AT: "7 training and 5 test pictures"}


def test_a_look_in_time_is_noted(tmp_path, monkeypatch):
    sides = looking.Sides(train=[9, 8, 7, 6, 5], validation=[], test=[1, 2], dropped=())
    monkeypatch.setattr(sampling, "_timed", lambda *_: ([9, 7], [1]))  # 8 cannot be read
    with choices.noted() as notes:
        assert sampling.in_time(1.0, sides, None, tmp_path) == ([9, 7], [1])
    assert notes.made == {sampling.LOOKED_AT: "3 training and 1 test pictures"}
