"""The stages between a folder and a bundle."""

import dataclasses
import datetime
import json
import os
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tellapart import config, graphs, models, pipeline, plans, provenance, speeds, training
from tellapart.augment import CROP, TUTORIAL
from tellapart.catalog import scan
from tellapart.classifier import Classifier
from tellapart.errors import InputError
from tellapart.preprocess import Preprocess, load
from tellapart.progress import Progress

RECIPE = config.SCRATCH.override(size_px=32, channels=(4, 8), batch_size=8, epochs=1, precision="float32")


class Said(Progress):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.updates: list[tuple[str, int, int]] = []

    def update(self, stage: str, done: int, total: int, detail: str = "") -> None:
        self.updates.append((stage, done, total))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 10 large JPEG pictures, which are decoded at a part of their size, and two bad ones."""
    folder, rng = tmp_path_factory.mktemp("large"), np.random.default_rng(7)
    for name in ("fine", "coarse"):
        (folder / name).mkdir()
        for i in range(10):
            grain = 4 if name == "fine" else 60
            small = Image.fromarray(rng.integers(0, 256, (8 + i, 12, 3), dtype=np.uint8))
            small.resize((90 + grain * 5, 140 + 30 * i), Image.Resampling.BICUBIC).save(folder / name / f"{i}.jpg")
    (folder / "fine" / "empty.jpg").write_bytes(b"")
    whole = (folder / "fine" / "0.jpg").read_bytes()
    (folder / "fine" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="module")
def prepared(large: Path, cache: Path) -> pipeline.Prepared:
    return pipeline.prepare(scan(large), RECIPE, seed=3, cache=cache, progress=Progress())


@pytest.fixture(scope="module")
def outcome() -> training.Outcome:
    """A network whose weights are those it was born with, batch normalisation stirred."""
    keras.utils.set_random_seed(11)
    model = models.build(RECIPE, 2)
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    row = {"epoch": 1, "loss": 0.5, "accuracy": 0.5}
    return training.Outcome(model, (row,), 1, "float32", n_pictures=16, n_seen=16, seconds=1.0, interrupted=False)


@pytest.fixture(scope="module")
def packed(outcome: training.Outcome, prepared: pipeline.Prepared):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1000000000")
        return pipeline.pack(outcome, prepared, RECIPE, seed=3, progress=Progress())


def test_every_picture_has_a_side_or_a_reason(prepared: pipeline.Prepared) -> None:
    assert prepared.counts() == {"train": 16, "validation": 2, "test": 2}
    everywhere = np.concatenate(list(prepared.sides.values()))
    assert sorted(everywhere) == list(range(20))
    assert [(Path(path).name, bool(reason)) for path, reason in prepared.skipped] == [
        ("cut.jpg", True), ("empty.jpg", True),
    ]  # fmt: skip
    for entry, label in zip(prepared.catalog.entries, prepared.labels, strict=True):
        assert ("coarse", "fine")[label] == Path(entry.path).parent.name


def test_rows_paths_and_contents_go_together(prepared: pipeline.Prepared) -> None:
    assert prepared.varied.values.shape[1:] == (40, 40, 3)
    assert prepared.seen.values.shape[1:] == (32, 32, 3)
    for side in ("train", "validation", "test"):
        assert len(prepared.rows(prepared.seen, side)) == len(prepared.paths(side)) == len(prepared.contents(side))
        for row, path in zip(prepared.rows(prepared.seen, side), prepared.paths(side), strict=True):
            np.testing.assert_array_equal(prepared.seen.values[row], load(path, Preprocess(32)))


def test_the_same_seed_gives_the_same_sides_and_another_gives_others(large: Path, cache: Path) -> None:
    catalog, tests = scan(large), []
    for seed in (3, 3, 4, 5):
        again = pipeline.prepare(catalog, RECIPE, seed=seed, cache=cache, progress=Progress())
        assert again.seen.n_decoded == again.varied.n_decoded == 0  # all of them are in the cache
        tests.append(again.paths("test"))
    assert tests[0] == tests[1]
    assert len(set(tests)) > 1


def test_a_recipe_without_room_for_crops_decodes_once(large: Path, cache: Path) -> None:
    said = Said()
    recipe = config.TUTORIAL.override(size_px=32)
    once = pipeline.prepare(scan(large), recipe, seed=0, cache=cache, progress=said)
    assert once.varied is once.seen
    assert {stage for stage, _, _ in said.updates} <= {"Decoding"}


def test_a_class_whose_training_pictures_all_stand_in_the_test(tmp_path: Path, cache: Path, make_photos) -> None:
    make_photos(tmp_path / "train", n=4)
    make_photos(tmp_path / "test", ("circles",), n=4)  # the same pictures
    make_photos(tmp_path / "test", ("squares",), n=4, first=10)
    with pytest.raises(InputError, match=r"'circles' has none in train\. Add pictures that are not copies") as error:
        pipeline.prepare(scan(tmp_path), RECIPE, seed=0, cache=cache, progress=Progress())
    assert "\n" not in str(error.value)


def test_training_pictures_are_varied_and_others_are_not(prepared: pipeline.Prepared) -> None:
    train = pipeline.batches(prepared, "train", RECIPE, seed=1, label_mode="one_hot")
    test = pipeline.batches(prepared, "test", RECIPE, seed=1, label_mode="one_hot")
    pixels, labels = test[0]
    np.testing.assert_array_equal(pixels, prepared.seen.values[prepared.rows(prepared.seen, "test")])
    np.testing.assert_array_equal(labels.argmax(axis=1), prepared.labels[prepared.sides["test"]])
    first, _ = train[0]
    train.set_epoch(1)
    again, _ = train[0]
    assert first.shape == again.shape == (8, 32, 32, 3)
    assert not np.array_equal(first, again)
    assert train.class_names == ("coarse", "fine")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"augment": "tutorial", "flip": True}, dataclasses.replace(TUTORIAL, flip=True)),
        ({"augment": "crop", "flip": False}, dataclasses.replace(CROP, flip=False)),
        ({"augment": "none", "flip": False}, None),
    ],
)
def test_augmentation_of_a_recipe(settings: dict, expected) -> None:
    assert pipeline._augmentation(RECIPE.override(**settings)) == expected


def test_the_tutorials_augmentation() -> None:
    chosen = pipeline._augmentation(config.TUTORIAL)
    assert chosen is not None
    assert (chosen.shear_deg, chosen.zoom, chosen.flip) == (TUTORIAL.shear_deg, TUTORIAL.zoom, True)


def test_one_picture_gives_one_answer_on_every_road_with_scaled_decoding(
    packed, prepared: pipeline.Prepared, outcome: training.Outcome, large: Path
) -> None:
    """The store of the training, the classifier's evaluation, its prediction, and Keras itself."""
    bundle, evaluations = packed
    classifier = Classifier(bundle)
    whole = classifier.evaluate(large)
    by_path = dict(zip(whole.paths, whole.probabilities, strict=True))
    assert len(by_path) == 20
    spread = []
    for evaluation in evaluations.values():
        for path, expected in zip(evaluation.paths, evaluation.probabilities, strict=True):
            np.testing.assert_allclose(by_path[path], expected, atol=1e-5)
            single = classifier.predict(path)
            np.testing.assert_allclose(list(single.probabilities.values()), expected, atol=1e-5)
            square = load(path, Preprocess(32))[None]
            logits = np.asarray(classifier.keras_model.predict(square, verbose=0), dtype=np.float64)
            in_keras = np.exp(logits) / np.exp(logits).sum()
            np.testing.assert_allclose(in_keras[0], expected, atol=1e-4)
            spread.append(expected[0])
    assert np.ptp(spread) > 0.01  # else they would be equal whatever happened to the pictures


def test_the_bundle_says_what_was_done(packed, prepared: pipeline.Prepared) -> None:
    bundle, evaluations = packed
    manifest = bundle.manifest
    assert manifest["classes"] == ["coarse", "fine"]
    assert manifest["training"]["pictures"] == {"train": 16, "validation": 2, "test": 2}
    assert manifest["training"]["skipped"] == 2
    assert manifest["provenance"]["created"] == "2001-09-09T01:46:40+00:00"  # 10^9 s after the epoch
    assert manifest["provenance"]["recipe"] == RECIPE.as_dict()
    assert manifest["provenance"]["catalog_fingerprint"] == prepared.catalog.fingerprint
    assert bundle.splits() == {side: prepared.contents(side) for side in ("train", "validation", "test")}
    for side, evaluation in evaluations.items():
        assert manifest["metrics"][side]["accuracy"] == evaluation.accuracy
        assert manifest["metrics"][side]["n"] == evaluation.n == prepared.counts()[side]
    assert evaluations["test"].skipped == prepared.skipped
    assert "jpg" not in json.dumps(manifest)  # names of pictures may be private


def test_embeddings_are_those_of_the_training_pictures(packed, prepared: pipeline.Prepared, outcome) -> None:
    inside = keras.Model(outcome.model.inputs[0], graphs.last_dense(outcome.model).input)
    pixels = prepared.seen.values[prepared.rows(prepared.seen, "train")]
    expected = np.asarray(inside.predict(pixels, verbose=0))
    np.testing.assert_allclose(packed[0].embeddings(), expected, rtol=2e-3, atol=1e-3)  # float16 keeps three digits


def test_the_same_training_gives_the_same_bytes(packed, prepared, outcome, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    time.sleep(1.1)  # Keras writes the second into its file
    again, _ = pipeline.pack(outcome, prepared, RECIPE, seed=3, progress=Progress())
    Classifier(packed[0]).save(tmp_path / "a")
    Classifier(again).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_wide_network_keeps_no_embeddings(prepared, outcome, monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "MAX_EMBEDDING", 7)
    engine = pipeline.Engine(graphs.to_onnx(outcome.model))
    said = Said()
    logits, embeddings = pipeline._ask(engine, prepared, "train", said)
    assert (logits.shape, embeddings.shape, embeddings.dtype) == ((16, 2), (16, 0), np.float16)
    assert said.updates == [("Evaluating", 16, 16)]


def test_the_time_is_told_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    told = datetime.datetime.fromisoformat(provenance.now())
    assert told.utcoffset() == datetime.timedelta(0)
    assert abs(told.timestamp() - time.time()) < 5


def test_a_network_of_the_users_own_is_trained_in_place_with_its_optimizer(prepared, cache: Path) -> None:
    own = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(2, kernel_initializer="zeros")]
    )
    own.compile(keras.optimizers.SGD(1e-3))
    mine = own.optimizer
    recipe = config.OWN.override(size_px=32, store_px=32, epochs=1, batch_size=8)

    def learn(keep: bool) -> training.Outcome:
        return pipeline.learn(
            prepared, recipe, own=own, keep_optimizer=keep, seed=0, cache=cache, callbacks=(), progress=Progress()
        )  # fmt: skip

    outcome = learn(True)
    assert own.optimizer is mine
    assert np.abs(own.get_weights()[0]).max() > 0
    np.testing.assert_array_equal(outcome.model.get_weights()[0], own.get_weights()[0])
    assert outcome.precision == "float32"
    learn(False)
    assert type(own.optimizer).__name__ == "Adam"  # the recipe's


def test_the_forecast_counts_pictures_time_and_disk(large: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(speeds, "pictures_per_second", lambda recipe, n_classes, precision: 4.0)
    catalog = scan(large)  # the empty file is seen here; the one that is cut short only when it is decoded
    recipe = RECIPE.override(epochs=10, grow_from=1.0)
    plan = pipeline.forecast(catalog, recipe, "Because.", cache=tmp_path)
    assert plan["classes"] == ["coarse", "fine"]
    assert plan["pictures"] == {"train": 17, "validation": 2, "test": 2}
    assert plan["seconds"]["train"] == 42.5  # 17 pictures, 10 epochs, 4 pictures/s
    assert plan["seconds"]["total"] == pytest.approx(42.5 + plan["seconds"]["decode"] + pipeline.START_S, abs=0.11)
    assert plan["disk_bytes"]["cache"] == 21 * 3 * (32**2 + 40**2)
    weights = models.build(recipe, 2).count_params()
    assert plan["disk_bytes"]["bundle"] == 8 * weights + 1024 * 17
    assert (plan["precision"], plan["reason"], plan["recipe"]) == ("float32", "Because.", recipe.as_dict())
    assert [os.path.basename(each["path"]) for each in plan["skipped"]] == ["empty.jpg"]
    assert not list(tmp_path.iterdir())
    json.dumps(plan, allow_nan=False)


def test_a_budget_buys_epochs_up_to_those_that_were_asked_for(prepared, cache: Path) -> None:
    def epochs(seconds: float, most: int | None = None) -> int:
        deadline = time.monotonic() + seconds
        return pipeline.paced(prepared, RECIPE, seed=0, cache=cache, deadline=deadline, most_epochs=most).recipe.epochs

    assert epochs(0) == 1
    assert epochs(1e6) == plans.MOST_EPOCHS
    assert epochs(1e6, most=3) == 3


EVEN = dataclasses.replace(RECIPE, grow_from=1.0)  # every epoch costs the same


def test_without_time_for_an_epoch_fewer_pictures_are_learned_from(prepared, cache: Path, monkeypatch) -> None:
    """At 1 picture a second, an epoch of 16 + 2 / 2 pictures and 20 / 2 asked afterwards do not fit into 20 s."""
    monkeypatch.setattr(pipeline, "_speed", lambda *_: 1.0)
    monkeypatch.setattr(pipeline, "FEWEST_OF_CLASS", 1)
    counts = prepared.counts()
    deadline = time.monotonic() + pipeline.END_S + 20 / pipeline.PACE + 1e-3
    pace = pipeline.paced(prepared, EVEN, seed=0, cache=cache, deadline=deadline)
    over = counts["train"] + counts["validation"] / 2 + sum(counts.values()) / 2 - 20
    n = pace.prepared.counts()["train"]
    assert over > 0
    assert counts["train"] - n in (int(over / 1.5), int(over / 1.5) - 1)  # each class keeps a whole number
    assert pace.prepared.n_unused == counts["train"] - n
    assert str(pace) == f"1 epoch over {n} of {counts['train']} training pictures"
    assert set(pace.prepared.sides["train"]) < set(prepared.sides["train"])
    assert len(np.unique(pace.prepared.labels[pace.prepared.sides["train"]])) == 2
    assert pace.end == pytest.approx(deadline - pipeline.END_S - sum(pace.prepared.counts().values()) / 2)


def test_how_many_epochs_there_is_time_for(prepared, cache: Path, monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "_speed", lambda *_: 2.0)
    counts = prepared.counts()
    judging, epoch = sum(counts.values()) / 2, counts["train"] + counts["validation"] / 2
    left = (judging + 2.5 * epoch) / 2 / pipeline.PACE  # seconds at 2 pictures a second
    deadline = time.monotonic() + pipeline.END_S + left
    got = pipeline.epochs_until(prepared.catalog, EVEN, seed=3, cache=cache, deadline=deadline)
    assert got == pytest.approx(2.5, abs=0.05)
