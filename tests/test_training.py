"""Training in Keras' own `fit`: what is kept, counted and stopped."""

import os
import signal
import threading
from typing import NamedTuple

import keras
import numpy as np
import pytest

from tellapart import config, graphs, metrics, models, training
from tellapart.augment import CROP
from tellapart.batches import Batches
from tellapart.engine import Engine
from tellapart.errors import SettingsError

RECIPE = config.TUTORIAL.override(size_px=32, channels=(4,), dense=(4,), epochs=3, batch_size=8)
N = 21  # not a multiple of the batch size


def batches(n: int = N, *, shuffle: bool = True) -> Batches:
    """Dark pictures of class a, bright ones of class b."""
    labels = np.arange(n) % 2
    pixels = np.random.default_rng(1).integers(0, 60, (n, 32, 32, 3)).astype(np.uint8) + (labels * 180).astype(
        np.uint8
    ).reshape(-1, 1, 1, 1)
    return Batches(
        pixels, np.arange(n), labels, class_names=("a", "b"), paths=[str(i) for i in range(n)], size_px=32,
        batch_size=8, label_mode="binary", shuffle=shuffle,
    )  # fmt: skip


def one_hot(n: int, *, shuffle: bool = True) -> Batches:
    """The same pictures as `batches`, varied, with labels for a network of two logits."""
    source = batches(n)
    return Batches(
        source._pixels, np.arange(n), source.labels, class_names=("a", "b"), paths=source.paths, size_px=32,
        batch_size=8, label_mode="one_hot", shuffle=shuffle, augmentation=CROP if shuffle else None,
    )  # fmt: skip


def fresh(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return models.build(RECIPE, 2)


def run(recipe: config.Recipe = RECIPE, **more) -> training.Outcome:
    return training.train(fresh(), recipe, batches(), batches(10, shuffle=False), precision="float32", **more)


def test_every_picture_is_seen_in_every_epoch() -> None:
    seen = []

    class Count(Batches):
        def __getitem__(self, index):
            pixels, labels = super().__getitem__(index)
            seen.append(len(pixels))
            return pixels, labels

    source = batches()
    counting = Count(
        source._pixels, source._rows, source.labels, class_names=("a", "b"), paths=source.paths, size_px=32,
        batch_size=8, label_mode="binary",
    )  # fmt: skip
    outcome = training.train(fresh(), RECIPE, counting, None, precision="float32")
    record = outcome.as_dict()
    assert (record["epochs"], record["pictures_per_epoch"], record["pictures_seen"]) == (3, N, 3 * N)
    assert sum(seen) >= 3 * N  # Keras also looks at some batches to learn their shapes
    assert set(seen) == {8, N % 8}


class Listen(keras.callbacks.Callback):
    """A callback of a user's."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    def on_train_begin(self, logs=None):
        self.called.append("begin")

    def on_epoch_end(self, epoch, logs=None):
        self.called.append(f"epoch {epoch}")
        assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(logs or {})

    def on_train_end(self, logs=None):
        self.called.append("end")


class Watched(NamedTuple):
    outcome: training.Outcome
    called: list[str]  # of the user's callback
    told: list[tuple[int, int, str]]  # of progress


@pytest.fixture(scope="module")
def watched() -> Watched:
    """One training of three epochs, with all that can be seen of it."""
    listener, told = Listen(), []
    outcome = run(callbacks=[listener], progress=lambda *each: told.append(each))
    return Watched(outcome, listener.called, told)


def test_history_has_a_row_an_epoch(watched: Watched) -> None:
    outcome = watched.outcome
    assert [row["epoch"] for row in outcome.history] == [1, 2, 3]
    assert set(outcome.history[0]) == {
        "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate",
    }  # fmt: skip
    lines = outcome.history_csv().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("epoch,")


class Weights:
    """Stands for a model: its weights are the number of the epoch."""

    def __init__(self) -> None:
        self.weights, self.stop_training = [0], False

    def get_weights(self) -> list[int]:
        return list(self.weights)

    def set_weights(self, weights: list[int]) -> None:
        self.weights = weights


@pytest.mark.parametrize(
    ("accuracies", "losses", "best"),
    [
        ([0.6, 0.9, 0.7], [0.5, 0.4, 0.1], 2),
        ([0.9, 0.9, 0.9], [0.5, 0.3, 0.4], 2),  # the surest of equals
        ([0.5, 0.6, 0.7], [0.1, 0.2, 0.3], 3),
    ],
)
def test_the_weights_of_the_best_epoch_are_kept(accuracies, losses, best) -> None:
    callback, model = training._Best(None), Weights()
    callback.set_model(model)
    for epoch, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True)):
        model.weights = [epoch + 1]
        callback.on_epoch_end(epoch, {"val_accuracy": accuracy, "val_loss": loss})
    callback.on_train_end()
    assert (callback.epoch, model.weights) == (best, [best])


@pytest.mark.parametrize(
    ("losses", "best"),
    [([0.5, 0.4, 0.6], 3), ([0.5, 0.4, float("nan")], 2), ([0.5, 0.4], 2)],  # the third was interrupted
)
def test_the_last_epoch_of_one_cycle_is_kept(losses, best) -> None:
    callback, model = training._Best(None, last=3), Weights()
    callback.set_model(model)
    for epoch, loss in enumerate(losses):
        model.weights = [epoch + 1]
        callback.on_epoch_end(epoch, {"val_accuracy": 0.9 - loss if loss == loss else 0.0, "val_loss": loss})
    callback.on_train_end()
    assert (callback.epoch, model.weights) == (best, [best])


def test_patience_ends_a_training_that_does_not_get_better() -> None:
    outcome = run(RECIPE.override(learning_rate=1e-8, epochs=30, patience=2))
    assert len(outcome.history) < 30
    assert not outcome.interrupted


def test_the_same_seed_gives_the_same_weights(watched: Watched) -> None:
    second = run()
    for one, other in zip(watched.outcome.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


class Interrupt(keras.callbacks.Callback):
    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def on_train_batch_end(self, batch, logs=None):
        while self.times:
            self.times -= 1
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_keeps_what_was_learned() -> None:
    before = signal.getsignal(signal.SIGINT)
    outcome = run(RECIPE.override(epochs=50), callbacks=[Interrupt(1)])
    assert outcome.interrupted
    assert 1 <= len(outcome.history) < 50
    assert signal.getsignal(signal.SIGINT) is before


def test_the_model_that_comes_back_is_float32_and_carries_no_optimizer() -> None:
    keras.utils.set_random_seed(0)
    model = models.build(RECIPE, 2, dtype="mixed_bfloat16")
    outcome = training.train(model, RECIPE, batches(), None, precision="mixed_bfloat16")
    assert {layer.compute_dtype for layer in outcome.model.layers} == {"float32"}
    assert not outcome.model.compiled


class Spoil(keras.callbacks.Callback):
    """Sets all weights to one number when an epoch begins."""

    def __init__(self, epoch: int, value: float) -> None:
        super().__init__()
        self.epoch, self.value = epoch, value

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.model.set_weights([np.full_like(weights, self.value) for weights in self.model.get_weights()])


ADAM = RECIPE.override(optimizer="adam", learning_rate=0.01, epochs=5, augment="none", flip=False)


def test_weights_that_get_worse_are_not_kept() -> None:
    """From the fourth epoch on the network is dead: zeros learn nothing but a bias."""
    validation = batches(10, shuffle=False)
    outcome = training.train(
        fresh(), ADAM, batches(64), validation, precision="float32", callbacks=[Spoil(3, 0.0)]
    )  # fmt: skip
    rows = outcome.history
    assert [row["val_accuracy"] for row in rows[3:]] == [0.5, 0.5]
    assert outcome.best_epoch <= 3
    assert rows[outcome.best_epoch - 1]["val_accuracy"] == max(row["val_accuracy"] for row in rows) > 0.5
    answers = np.concatenate([outcome.model.predict(pixels, verbose=0)[:, 0] for pixels, _ in validation])
    kept = np.mean((answers > 0.5) == (validation.labels == 1))
    assert kept == pytest.approx(rows[outcome.best_epoch - 1]["val_accuracy"])


def test_patience_counts_from_the_best_epoch() -> None:
    recipe = ADAM.override(epochs=30, patience=2)
    outcome = run(recipe, callbacks=[Spoil(epoch, 0.0) for epoch in range(1, 30)])
    assert len(outcome.history) == outcome.best_epoch + 2


def test_without_validation_the_last_weights_are_kept() -> None:
    model = fresh()
    outcome = training.train(model, RECIPE, batches(), None, precision="float32")
    assert outcome.best_epoch == 3
    assert "val_accuracy" not in outcome.history[0]
    for ours, theirs in zip(outcome.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_users_callbacks_are_called(watched: Watched) -> None:
    assert watched.called == ["begin", "epoch 0", "epoch 1", "epoch 2", "end"]


def test_a_callback_may_stop_the_training() -> None:
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    outcome = run(RECIPE.override(epochs=20), callbacks=[Stop()])
    assert len(outcome.history) == 2
    assert not outcome.interrupted


def test_an_epoch_cut_short_counts_with_what_it_saw() -> None:
    """Keras takes eight steps of eight pictures before it listens."""
    outcome = training.train(fresh(), RECIPE, batches(200), None, precision="float32", callbacks=[Interrupt(1)])
    record = outcome.as_dict()
    assert (record["epochs"], record["pictures_per_epoch"], record["pictures_seen"]) == (1, 200, 64)
    assert record["interrupted"] is True


def test_progress_tells_of_every_picture(watched: Watched) -> None:
    done = [each[0] for each in watched.told]
    assert done == sorted(done)
    assert (done[-1], {total for _, total, _ in watched.told}) == (3 * N, {3 * N})
    assert {N, 2 * N, 3 * N} <= set(done)
    last = watched.told[-1][2]
    assert last.startswith("epoch 3 of 3: ")
    assert "on validation" in last


def test_weights_beyond_all_numbers_are_an_error_not_a_model() -> None:
    with pytest.raises(SettingsError, match=r"at 1 they did not\. Take a lower --learning-rate") as error:
        run(RECIPE.override(epochs=30), callbacks=[Spoil(0, float("nan"))])
    assert "\n" not in str(error.value)


def test_of_a_training_that_ends_in_no_numbers_the_good_epoch_is_kept() -> None:
    outcome = run(RECIPE.override(epochs=30), callbacks=[Spoil(1, float("nan"))])
    assert (outcome.best_epoch, len(outcome.history)) == (1, 2)  # and it did not go on for 28 epochs
    assert all(np.isfinite(weights).all() for weights in outcome.model.get_weights())


def test_the_rate_of_one_cycle_is_in_the_learning_curves() -> None:
    recipe = RECIPE.override(optimizer="sgd", schedule="one_cycle", learning_rate=0.4, epochs=4)
    rates = [row["learning_rate"] for row in run(recipe).history]  # 3 steps an epoch, 12 in all, its highest at 3
    assert rates[0] == pytest.approx(0.4, rel=1e-3)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.4 * 0.001, rel=1e-2)


def test_a_second_ctrl_c_ends_the_program_and_the_handler_is_put_back_whatever_happens() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(RECIPE.override(epochs=50), callbacks=[Interrupt(2)])
    assert signal.getsignal(signal.SIGINT) is before

    class Fail(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise RuntimeError("a callback of the user's")

    with pytest.raises(RuntimeError, match="of the user's"):
        run(callbacks=[Fail()])
    assert signal.getsignal(signal.SIGINT) is before


def test_training_works_beside_the_main_thread() -> None:
    """Only the main thread may set a handler; others train without."""
    done: list[training.Outcome] = []
    thread = threading.Thread(target=lambda: done.append(run(RECIPE.override(epochs=1))))
    thread.start()
    thread.join()
    assert len(done[0].history) == 1


def test_a_network_trained_in_bfloat16_answers_in_float32_as_it_did() -> None:
    """The bundle's float32 graph and the network as it was trained: same label, and 0.1 at most."""
    keras.utils.set_random_seed(3)
    recipe = ADAM.override(epochs=3)
    model = models.build(recipe, 2, dtype="mixed_bfloat16")
    outcome = training.train(model, recipe, batches(64), batches(10, shuffle=False), precision="mixed_bfloat16")
    assert outcome.as_dict()["precision"] == "mixed_bfloat16"
    pixels = np.concatenate([pixels for pixels, _ in batches(40, shuffle=False)])
    before = np.asarray(model.predict(pixels, verbose=0), dtype=np.float64)[:, 0]
    after = metrics.softmax(Engine(graphs.to_onnx(outcome.model)).run(pixels).logits)[:, 1]
    assert np.abs(before - after).max() <= 0.1
    assert np.array_equal(before > 0.5, after > 0.5)
    assert np.ptp(after) > 0.5  # it did learn something


class Sides(keras.callbacks.Callback):
    """The sides of the pictures that were trained on, one after the other."""

    def __init__(self, source: Batches) -> None:
        super().__init__()
        self.source, self.sides = source, []

    def on_train_batch_end(self, batch, logs=None) -> None:
        side = self.source[0][0].shape[1]
        self.sides += [side] if side not in self.sides else []


@pytest.mark.parametrize("n", [21, 8])
def test_pictures_that_grow(n: int) -> None:
    """Small pictures first; what comes back takes those of full size only, and a single batch stays as it is."""
    recipe = config.SCRATCH.override(size_px=32, grow_from=0.5, channels=(4, 8), epochs=3, batch_size=8)
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        source = one_hot(n)
        listener = Sides(source)
        model = models.build(recipe, 2)
        outcome = training.train(
            model, recipe, source, one_hot(10, shuffle=False), precision="float32", callbacks=[listener]
        )  # fmt: skip
        assert listener.sides == ([16, 24, 28] if n > 8 else [32])
        assert outcome.model.inputs[0].shape == (None, 32, 32, 3)
        assert all(type(layer).__module__.startswith("keras.src.") for layer in outcome.model.layers)
        assert [row["epoch"] for row in outcome.history] == [1, 2, 3]
        weights.append(outcome.model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
