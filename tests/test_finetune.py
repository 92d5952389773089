import io
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from tellapart import api, backbones, choices, features, finetune, mirrors, networks, toptraining
from tellapart import catalog as catalogs
from tellapart.backbones import BACKBONES, Head
from tellapart.engine import EMBEDDING, FEATURE_MAP, Engine
from tellapart.errors import SettingsError
from tellapart.preprocess import Preprocess, load
from tellapart.streams import ONNXRUNTIME, Stream

LITE0, HOW = BACKBONES["efficientnet-lite0"], Preprocess(64)
SETTINGS = {"recipe": "transfer", "backbone": "efficientnet-lite0", "size": 64, "progress": False}


@pytest.fixture(scope="module")
def tuned(three_classes, tmp_path_factory):
    """A classifier whose top was trained, whatever came of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune, "EPOCHS", 3)
        patch.setattr(finetune, "better", lambda after, before, right: True)
        return api.train(three_classes, fine_tune=True, cache=tmp_path_factory.mktemp("tuned"), **SETTINGS)


def small_head(n_classes: int = 3) -> Head:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(1280, n_classes)).astype(np.float32) / 30
    return Head(kernel, np.arange(n_classes, dtype=np.float32))


def pixels(n: int = 2) -> np.ndarray:
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return small.repeat(8, axis=1).repeat(8, axis=2)


def test_what_stands_at_the_cut_and_the_top_make_the_whole_network():
    until = len(list(backbones.blocks(LITE0))) - finetune.BLOCKS
    lower = Stream(backbones.graph(LITE0, 64, until=until), [FEATURE_MAP], ONNXRUNTIME)
    ((at_cut,),) = lower.run([pixels()])
    assert at_cut.shape[1:] == finetune.cut_shape(LITE0, 64) == (2, 2, 192)
    by_parts = np.asarray(finetune.top(LITE0, 64, small_head())(at_cut))
    whole = Engine(backbones.graph(LITE0, 64, small_head())).run(pixels()).logits
    np.testing.assert_allclose(by_parts, whole, atol=1e-3)


def test_unfolded_weights_fold_to_what_they_were():
    one = list(backbones.blocks(LITE0))[-1].convolutions[0]
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(1280, 320, 1, 1)).astype(np.float32), rng.normal(size=1280).astype(np.float32)
    again = backbones.folded(backbones.unfolded(one, kernel, bias), one)
    np.testing.assert_allclose(again[0], kernel, rtol=1e-6)
    np.testing.assert_array_equal(again[1], bias)


def test_the_tuned_model_agrees_with_its_graph_and_has_standard_layers_only(tuned):
    record = tuned.report["training"]["fine_tuned"]
    assert record["kept"]
    assert (record["blocks"], record["epochs"]) == (finetune.BLOCKS, 3)
    assert record["frozen_accuracy"] == pytest.approx(round(12 * record["frozen_accuracy"]) / 12)  # 12 held out
    entries = [Path(path) for path in tuned.evaluation.paths[:6]]
    seen = np.stack([load(path, HOW) for path in entries])
    graph = tuned.bundle.members["model.onnx"]
    by_graph = Engine(graph).run(seen).logits
    hot = tuned.bundle.manifest["temperature"]
    np.testing.assert_allclose(tuned.keras_model.predict(seen, verbose=0), by_graph / hot, atol=2e-3)
    assert all(type(layer).__module__.startswith("keras.src.") for layer in tuned.keras_model.layers)
    with zipfile.ZipFile(io.BytesIO(tuned.bundle.members["model.keras"])) as archive:
        assert "tellapart" not in archive.read("config.json").decode()


def test_the_tuned_weights_are_others_above_the_cut_and_the_same_below(tuned):
    plain = keras.Model.get_weights(backbones.network(LITE0, 64))
    after = tuned.keras_model.get_weights()
    np.testing.assert_array_equal(after[0], plain[0])
    top = tuned.keras_model.get_layer("conv_head").get_weights()[0]
    one = list(backbones.blocks(LITE0))[-1].convolutions[0]
    before = backbones.folded(backbones.pretrained(LITE0), one)[0].transpose(2, 3, 1, 0)
    assert 0 < np.abs(top - before).max() < 0.1


def test_every_side_is_answered_by_the_tuned_graph(tuned):
    evaluation = tuned.evaluation
    assert evaluation.split == "validation"
    assert evaluation.n == 12
    assert evaluation.accuracy == pytest.approx(tuned.report["training"]["fine_tuned"]["tuned_accuracy"])
    seen = np.stack([load(path, HOW) for path in evaluation.paths])
    by_graph = Engine(tuned.bundle.members["model.onnx"]).run(seen).logits
    assert (by_graph.argmax(axis=1) == evaluation.probabilities.argmax(axis=1)).mean() >= 11 / 12
    assert tuned.bundle.embeddings().shape == (60, 1280)
    assert tuned.report["training"]["agreement"] < 0.1


def test_the_frozen_network_stays_where_it_is_better(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(toptraining, "RATE", 10.0)  # which ruins it
    monkeypatch.setattr(finetune, "EPOCHS", 1)
    got = api.train(photos, fine_tune=True, cache=tmp_path, **SETTINGS)
    record = got.report["training"]["fine_tuned"]
    assert not record["kept"]
    assert "did not surely help" in got.report["plan"]["reason"]
    assert "kept frozen" in got.report["plan"]["reason"]
    without = api.train(photos, fine_tune=False, cache=tmp_path, **SETTINGS)
    np.testing.assert_array_equal(got.evaluation.probabilities, without.evaluation.probabilities)
    assert got.bundle.members["model.onnx"] == without.bundle.members["model.onnx"]
    assert without.report["training"]["fine_tuned"] is None


@pytest.mark.parametrize(
    ("fixed", "broken", "expected"),
    [(0, 0, False), (1, 0, False), (2, 0, True), (3, 1, False), (9, 3, True), (0, 4, False)],
)
def test_a_change_must_be_more_than_luck(fixed, broken, expected):
    """Of 9 fixed and 3 broken the lead of 6 is above the root of 12."""
    right = np.zeros(20, np.int64)
    before, after = np.tile([0.6, 0.4], (20, 1)), np.tile([0.6, 0.4], (20, 1))
    before[:fixed] = after[fixed : fixed + broken] = [0.4, 0.6]
    assert finetune.better(after, before, right) is expected
    assert not finetune.better(after * np.nan, before, right)


def test_views_are_the_picture_its_mirror_image_and_crops():
    one = pixels(1)[0]
    both = finetune.Cut(LITE0, HOW, ONNXRUNTIME, flips=True, crops=1).views("ab" * 32, one)
    np.testing.assert_array_equal(both[0], one)
    np.testing.assert_array_equal(both[1], one[:, ::-1])
    assert both.shape == (3, 64, 64, 3)
    again = finetune.Cut(LITE0, HOW, ONNXRUNTIME, flips=True, crops=1).views("ab" * 32, one)
    np.testing.assert_array_equal(both, again)
    assert finetune.Cut(LITE0, HOW, ONNXRUNTIME, flips=False, crops=1).views("ab" * 32, one).shape[0] == 2


def test_pictures_with_several_views_come_in_order_with_the_unreadable_between(photos, tmp_path):
    catalog = catalogs.scan(photos)
    todo = [(entry.content, [entry.path]) for entry in catalog.entries[:11]]
    todo.insert(4, ("0" * 64, [str(tmp_path / "missing.png")]))
    stream = Stream(backbones.graph(LITE0, 64), [EMBEDDING], ONNXRUNTIME)
    got = list(features.answers(stream, todo, HOW, 2, lambda _, seen: np.stack([seen, seen[:, ::-1], seen])))
    assert [one.content for one, rows in got if rows] == [content for content, _ in todo if content != "0" * 64]
    assert [one.content for one, rows in got if not rows] == ["0" * 64]
    for _, rows in got:
        if rows:
            assert rows[0].shape == (3, 1280)
            np.testing.assert_allclose(rows[0][0], rows[0][2], atol=1e-5)


def job(frozen_right: int, n: int = 50) -> finetune.Job:
    """A fine-tuning whose frozen network answers so many of `n` held-out pictures rightly."""
    answers = np.tile([[0.1, 0.9]], (n, 1))
    answers[:frozen_right] = [0.9, 0.1]
    labels = np.zeros(2 * n, np.int64)
    return finetune.Job([("x", "x")] * 2 * n, labels, np.arange(n), np.arange(n, 2 * n), small_head(2), answers, 0)


@pytest.mark.parametrize(
    ("wish", "right", "n", "left_s", "said"),
    [
        ("never", 25, 50, None, ""),
        ("auto", 49, 50, None, ""),  # 98 % is good enough unasked
        ("auto", 50, 50, 300, ""),
        ("auto", 10, 20, 300, "there are too few pictures: 20 held-out pictures"),
        ("auto", 25, 50, 5, "There was no time to fine-tune"),
        ("always", 25, 50, 5, "There was no time to fine-tune"),
    ],
)
def test_where_nothing_is_done(wish, right, n, left_s, said, tmp_path):
    deadline = None if left_s is None else time.monotonic() + left_s
    extractor = features.Extractor(networks.find(LITE0.name, HOW.size_px), tmp_path)
    outcome = finetune.run(job(right, n), LITE0, HOW, extractor, wish=wish, seed=0, cache=tmp_path, deadline=deadline)
    assert outcome.tensors is None
    assert outcome.reason.endswith(said)
    assert extractor.way is None  # it did not even begin


def test_a_plan_is_kept_to(monkeypatch, tmp_path):
    """Measured anew each time, the same training would be tuned once and once not, on a busy machine."""
    about = finetune.about(LITE0, HOW.size_px)
    extractor = features.Extractor(networks.find(LITE0.name, HOW.size_px), tmp_path)

    def run(limit_s: float) -> str:
        monkeypatch.setattr(finetune, "MOST_S", limit_s)
        return finetune.run(job(25), LITE0, HOW, extractor, wish="auto", seed=0, cache=tmp_path).reason

    with choices.noted() as notes:
        assert run(1.0) == "There was no time to fine-tune"
    assert notes.made == {about: finetune.NOTHING}
    monkeypatch.setattr(finetune, "_cut", lambda *_: pytest.fail("was measured again"))
    assert "would take long" in run(1000.0)
    with choices.noted({about: finetune.NOTHING}):  # also where the cache knows nothing
        extractor = features.Extractor(networks.find(LITE0.name, HOW.size_px), tmp_path / "other")
        assert "would take long" in run(1000.0)


def test_a_budget_neither_keeps_to_a_plan_nor_makes_one_for_others(monkeypatch, tmp_path):
    """What there was no time for once is no choice for a run that has more of it."""
    extractor = features.Extractor(networks.find(LITE0.name, HOW.size_px), tmp_path)

    def run(left_s: float | None) -> str:
        deadline = None if left_s is None else time.monotonic() + left_s
        how = {"wish": "auto", "seed": 0, "cache": tmp_path, "deadline": deadline}
        return finetune.run(job(25), LITE0, HOW, extractor, **how).reason

    assert run(5) == "There was no time to fine-tune"
    assert not (tmp_path / choices.NAME).exists()
    monkeypatch.setattr(finetune, "MOST_S", 1.0)
    assert run(None) == "There was no time to fine-tune"
    assert (tmp_path / choices.NAME).exists()

    class MeasuredError(Exception):
        pass

    def measured(*_: object) -> None:
        raise MeasuredError

    monkeypatch.setattr(finetune, "_cut", measured)
    with pytest.raises(MeasuredError):
        run(1000)


@pytest.mark.parametrize("plan", ["", "0 epochs over 5 pictures", "3 epochs", "3 epochs over 5 pictures\n"])
def test_a_plan_that_is_none_is_not_kept_to(plan):
    assert not finetune._is_plan(plan)
    assert finetune._is_plan("3 epochs over 50 pictures")


def test_an_interrupt_keeps_the_frozen_network(photos, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(mirrors, "hurts", interrupted)
    got = api.train(photos, fine_tune=True, cache=tmp_path, **SETTINGS)
    assert got.report["training"]["interrupted"]
    assert "kept frozen" in got.report["plan"]["reason"]


@pytest.mark.slow
def test_time_that_runs_out_ends_the_training():
    steps = finetune.Steps(finetune.top(LITE0, 64, small_head(2)), finetune._factors(finetune.BLOCKS), 0)
    values = np.random.default_rng(0).random((40, 2, *finetune.cut_shape(LITE0, 64))).astype(np.float16)
    rows, labels = np.arange(40), np.arange(40) % 2
    sides = (rows[:32], labels[:32]), (rows[32:], labels[32:])
    best = steps.train(values, *sides, epochs=50, until=time.monotonic(), progress=lambda *_: None)
    assert best.epochs == 1


def test_lower_blocks_learn_more_slowly():
    factors = finetune._factors(4)
    assert factors == pytest.approx([0.343, 0.49, 0.7, 1.0, 1.0])


def test_it_goes_with_transfer_only(photos):
    with pytest.raises(SettingsError, match="--fine-tune goes with --recipe transfer"):
        api.train(photos, recipe="tutorial", fine_tune=True, progress=False)


def test_the_graph_takes_other_weights():
    one = list(backbones.blocks(LITE0))[-1].convolutions[0]
    tensors = backbones.unfolded(one, np.zeros((1280, 320, 1, 1)), np.full(1280, 2.0))
    outputs = Engine(backbones.graph(LITE0, 64, small_head(), tensors=tensors)).run(pixels())
    np.testing.assert_allclose(outputs.embedding, 2.0)
    by_keras = backbones.with_head(backbones.network(LITE0, 64, tensors), small_head()).predict(pixels(), verbose=0)
    np.testing.assert_allclose(by_keras, outputs.logits, atol=1e-3)


def test_steps_that_devices_share_have_the_rate_that_was_asked_for() -> None:
    head = Head(np.zeros((1280, 2), np.float32), np.zeros(2, np.float32))
    steps = finetune.shared(backbones.known("efficientnet-lite0"), 32, head, 0, "float32", 0.0123)
    steps._compile(10)
    highest = max(float(steps.model.optimizer._learning_rate(step)) for step in range(10))
    assert highest == pytest.approx(0.0123, rel=0.05)
