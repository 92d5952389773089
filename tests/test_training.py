"""Training in Keras' own `fit`: what is kept, counted and stopped."""

import os
import signal

import keras
import numpy as np
import pytest

from tellapart import config, models, training
from tellapart.batches import Batches

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


def test_history_has_a_row_an_epoch() -> None:
    outcome = run()
    assert [row["epoch"] for row in outcome.history] == [1, 2, 3]
    assert set(outcome.history[0]) == {
        "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
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


def test_patience_ends_a_training_that_does_not_get_better() -> None:
    outcome = run(RECIPE.override(learning_rate=1e-8, epochs=30, patience=2))
    assert len(outcome.history) < 30
    assert not outcome.interrupted


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = run(), run()
    for one, other in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
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


def test_a_second_ctrl_c_ends_the_program() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(RECIPE.override(epochs=50), callbacks=[Interrupt(2)])


def test_the_model_that_comes_back_is_float32_and_carries_no_optimizer() -> None:
    keras.utils.set_random_seed(0)
    model = models.build(RECIPE, 2, dtype="mixed_bfloat16")
    outcome = training.train(model, RECIPE, batches(), None, precision="mixed_bfloat16")
    assert {layer.compute_dtype for layer in outcome.model.layers} == {"float32"}
    assert not outcome.model.compiled
