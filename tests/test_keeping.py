"""A training that is stopped at any step and gone on with ends as one that was never stopped, bit for bit."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tellapart import config, keeping, models, modelstate, training
from tellapart.augment import CROP
from tellapart.batches import Batches
from tellapart.checkpoints import Checkpoint, Interval, Keeper

N, BATCH = 84, 4  # 21 steps an epoch: Keras runs 8, 8 and 5 of them between two looks
SCRATCH = config.SCRATCH.override(
    size_px=16, store_px=20, channels=(4, 4), batch_size=BATCH, epochs=3, dropout=0.3, grow_from=0.5
)  # one-cycle SGD, crops, growing sizes, label smoothing, batch normalisation
OWN = config.OWN.override(size_px=16, store_px=16, batch_size=BATCH, epochs=8, optimizer="adamw", patience=2)


class StoppedError(Exception):
    """Stands for a kill."""


class Stop(keras.callbacks.Callback):
    """Ends a process' part in a training after some looks: as a kill does, or by Ctrl-C."""

    def __init__(self, looks: int, *, kill: bool = True) -> None:
        super().__init__()
        self.looks, self.kill = looks, kill

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.looks -= 1
        if self.looks == -1:
            if self.kill:
                raise StoppedError
            signal.raise_signal(signal.SIGINT)


def batches(recipe: config.Recipe, n: int, *, varied: bool) -> Batches:
    """Noise with a little of the class in it."""
    side = recipe.store_px if varied else recipe.size_px
    labels = np.arange(n) % 2
    class_in_it = 0 if recipe is OWN and not varied else 30  # what cannot be learned stops a training early
    pixels = np.random.default_rng(n).integers(0, 200, (n, side, side, 3)) + class_in_it * labels.reshape(-1, 1, 1, 1)
    return Batches(
        pixels.astype(np.uint8), np.arange(n), labels, class_names=("a", "b"), paths=[str(i) for i in range(n)],
        batch_size=BATCH, seed=3, size_px=recipe.size_px, shuffle=varied, augmentation=CROP if varied else None,
        label_mode="one_hot",
    )  # fmt: skip


def own_network() -> keras.Model:
    """One with layers that draw: noise and dropout."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Rescaling(1 / 255),
            layers.GaussianNoise(0.2),
            layers.Conv2D(4, 3, strides=2),
            layers.BatchNormalization(momentum=0.5),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.3),
            layers.Dense(2),
        ]
    )


def run(
    kind: str, folder: Path | None = None, stop: Stop | None = None, *, every: int = 1, notes: list[str] | None = None
) -> training.Outcome:
    """A training, or its next part where the folder holds checkpoints."""
    recipe = SCRATCH if kind == "scratch" else OWN
    keeper = None
    if folder is not None:
        said = [] if notes is None else notes
        keeper = Keeper(folder, "network", note=said.append, interval=Interval(steps=every))
    keras.utils.set_random_seed(0)
    model = models.build(recipe, 2) if kind == "scratch" else own_network()
    return training.train(
        model, recipe, batches(recipe, N, varied=True), batches(recipe, 24, varied=False),
        precision="float32", callbacks=[stop] if stop else [], keeper=keeper,
    )  # fmt: skip


def told(outcome: training.Outcome) -> dict[str, Any]:
    """All of an outcome but the clock's part."""
    digest = hashlib.sha256(b"".join(weights.tobytes() for weights in outcome.model.get_weights()))
    return {
        "weights": digest.hexdigest(),
        "history": outcome.history,
        "best_epoch": outcome.best_epoch,
        "seen": (outcome.n_seen, outcome.n_pictures, len(outcome.epoch_seconds)),
        "interrupted": outcome.interrupted,
    }


@pytest.fixture(scope="module")
def unbroken() -> dict[str, dict[str, Any]]:
    """What comes of a training that nothing stops."""
    return {kind: told(run(kind)) for kind in ("scratch", "own")}


@pytest.mark.parametrize(
    ("kind", "first", "then", "steps"),
    [
        ("scratch", Stop(looks=4), Stop(looks=2), (29, 42)),  # 8 steps into the second epoch; then at its end
        ("own", Stop(looks=2), Stop(looks=1, kill=False), (16, 29)),  # Ctrl-C keeps what there is at once
    ],
)
def test_a_training_that_was_stopped_twice_ends_as_one_that_was_not(
    unbroken: dict[str, dict[str, Any]], tmp_path: Path, kind: str, first: Stop, then: Stop, steps: tuple[int, int]
) -> None:
    notes: list[str] = []
    with pytest.raises(StoppedError):
        run(kind, tmp_path, first, notes=notes)
    if then.kill:
        with pytest.raises(StoppedError):
            run(kind, tmp_path, then, notes=notes)
    else:
        assert run(kind, tmp_path, then, every=10**6, notes=notes).interrupted
    outcome = run(kind, tmp_path, notes=notes)
    assert told(outcome) == unbroken[kind]
    n_steps = 21 * (3 if kind == "scratch" else 8)
    assert [note.split(" (")[0] for note in notes] == [f"Going on from step {step} of {n_steps}" for step in steps]
    assert outcome.resumed_from == steps[1]
    assert outcome.steps_run == 21 * len(outcome.history) - steps[1]
    through = run(kind, tmp_path, notes=notes)  # what was through is not trained again
    assert told(through) == unbroken[kind]
    assert through.steps_run == 0
    assert notes[-1].endswith("(the training was through).")


def test_where_the_training_may_stop_early_it_does_so_for_the_same_reason(unbroken: dict[str, dict[str, Any]]) -> None:
    assert len(unbroken["own"]["history"]) < OWN.epochs  # else the test above says nothing of patience
    assert unbroken["own"]["best_epoch"] < len(unbroken["own"]["history"])


def test_all_that_changes_is_taken_and_given_back() -> None:
    keras.utils.set_random_seed(0)
    model = own_network()
    recipe = config.OWN.override(optimizer="adamw", size_px=16, store_px=16)
    training.objectives.compile_model(model, recipe, steps_per_epoch=10)
    pixels = np.random.default_rng(0).integers(0, 255, (8, 16, 16, 3)).astype(np.float32)
    wanted = np.eye(2, dtype=np.float32)[np.arange(8) % 2]

    def step() -> list[float]:
        return [float(value) for value in model.train_on_batch(pixels, wanted)]

    step()
    state = {name: array.copy() for name, array in modelstate.take(model).items()}
    # 8 weights with two statistics, 2 generators; steps, rate, and two moments of 6 weights; two sums and two numbers.
    counts = [sum(name.startswith(kind) for name in state) for kind in ("model", "optimizer", "metrics")]
    assert counts == [10, 14, 4]
    after = [step(), step()]
    later = modelstate.take(model)
    same = [name for name, array in state.items() if np.array_equal(array, later[name])]
    assert same == ["optimizer/0001", "metrics/0001", "metrics/0003"]  # the rate, and how many pictures there were
    modelstate.put(model, state, [modelstate.MODEL, modelstate.OPTIMIZER, modelstate.METRICS])
    for name, array in modelstate.take(model).items():
        assert array.tobytes() == state[name].tobytes(), name
    assert [step(), step()] == after
    checkpoint = Checkpoint(1, state, {})
    assert modelstate.misfit(model, checkpoint) == ""
    for name, array in state.items():
        wrong = Checkpoint(1, {**state, name: np.zeros((*array.shape, 2), array.dtype)}, {})
        assert modelstate.misfit(model, wrong) == f"its {name} is not of this network"
    # The same layers anew are the same network, whatever they are called; others are not.
    assert modelstate.architecture(own_network()) == modelstate.architecture(own_network())
    other = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    assert modelstate.architecture(other) != modelstate.architecture(own_network())


def test_batches_of_a_cut_epoch_are_those_that_are_left() -> None:
    whole, cut = (batches(SCRATCH, N, varied=True) for _ in range(2))
    whole.set_epoch(2)
    cut.set_epoch(2, 16)
    assert (len(whole), len(cut), cut.n_batches) == (21, 5, 21)
    for i in range(5):
        for a, b in zip(cut[i], whole[16 + i], strict=True):
            np.testing.assert_array_equal(a, b)
    cut.set_epoch(3)
    assert len(cut) == 21
    with pytest.raises(config.SettingsError, match="first must be in the range"):
        cut.set_epoch(3, 21)


def test_numbers_that_were_read_are_told_from_what_is_none() -> None:
    assert keeping.whole(3, 0, 3)
    assert not any(keeping.whole(value, 0, 3) for value in (4, -1, True, 2.0, "1", None))
    assert keeping.number(float("nan"))
    assert not any(keeping.number(value) for value in (True, "1", None, [1]))
    assert not any(keeping.time_s(value) for value in (-1, float("inf"), "1"))
