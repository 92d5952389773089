"""Fine-tuning that is stopped at any step and gone on with ends as one that was never stopped, bit for bit."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from tellapart import stopping, toptraining
from tellapart.checkpoints import Interval, Keeper

N, EPOCHS = 5 * toptraining.BATCH, 3  # 5 steps an epoch


class StoppedError(Exception):
    """Stands for a kill."""


def killed() -> None:
    raise StoppedError


def steps() -> toptraining.Steps:
    """Of a small network, the same each time."""
    keras.utils.set_random_seed(0)
    entry = keras.Input((2, 2, 3), dtype="float16")
    x = keras.layers.Rescaling(1.0, dtype="float32")(entry)
    x = keras.layers.Conv2D(4, 1, activation="relu")(x)
    model = keras.Model(entry, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))
    return toptraining.Steps(model, [0.5, 1.0], seed=0)


def train(
    folder: Path,
    stop: int | None = None,
    notes: list[str] | None = None,
    *,
    until: float = float("inf"),
    every: int = 2,
    by: Callable[[], object] | None = None,
) -> tuple[toptraining.Best, Keeper]:
    """All of it, or the part until a process is stopped at a step, by a kill or in another way."""
    rng = np.random.default_rng(0)
    labels = np.arange(N + 40) % 2
    values = (rng.random((N + 40, 3, 2, 2, 3)) + 0.3 * labels.reshape(-1, 1, 1, 1, 1)).astype(np.float16)
    rows = np.arange(N + 40)

    def progress(done: int, total: int, detail: str) -> None:
        if done == (stop or 0) * toptraining.BATCH:
            killed() if by is None else by()

    keeper = Keeper(folder, "fine-tuning", note=(notes or []).append if notes is None else notes.append,
                    interval=Interval(steps=every))  # fmt: skip
    best = steps().train(
        values, (rows[:N], labels[:N]), (rows[N:], labels[N:]), epochs=EPOCHS, until=until, progress=progress,
        keeper=keeper,
    )  # fmt: skip
    return best, keeper


def test_it_goes_on_from_any_step_to_the_same_end(tmp_path: Path) -> None:
    whole, keeper = train(tmp_path / "whole")
    assert (keeper.steps_run, keeper.resumed_from) == (15, None)
    notes: list[str] = []
    for stop in (4, 12):
        with pytest.raises(StoppedError):
            train(tmp_path / "stopped", stop, notes)
    best, keeper = train(tmp_path / "stopped", notes=notes)
    # Kept after 2 steps; then at 4, at 6 for the epoch that ended, at 8 and so on.
    assert notes == [
        "Going on from step 2 of 15 (fine-tuning, epoch 1).",
        f"Going on from step {keeper.resumed_from} of 15 (fine-tuning, epoch 3).",
    ]
    assert keeper.resumed_from in (10, 11)
    assert keeper.resumed_from + keeper.steps_run == 15
    again, keeper = train(tmp_path / "stopped", notes=notes)
    assert notes[-1] == "Going on from step 15 of 15 (the fine-tuning was through)."
    assert keeper.steps_run == 0
    for one in (best, again):
        assert (one.score, one.epoch, one.epochs) == (whole.score, whole.epoch, whole.epochs)
        assert [weights.tobytes() for weights in one.weights] == [weights.tobytes() for weights in whole.weights]


def test_the_best_epoch_before_a_stop_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracies = iter([0.9, 0.8, 0.7] * 2)
    monkeypatch.setattr(toptraining.metrics, "accuracy", lambda told, labels: next(accuracies))
    whole, _ = train(tmp_path / "whole")
    assert (whole.epoch, whole.epochs) == (0, EPOCHS)
    with pytest.raises(StoppedError):
        train(tmp_path / "stopped", 12)
    best, keeper = train(tmp_path / "stopped")
    assert keeper.resumed_from in (10, 11)
    assert (best.score, best.epoch, best.epochs) == (whole.score, whole.epoch, whole.epochs)
    assert [weights.tobytes() for weights in best.weights] == [weights.tobytes() for weights in whole.weights]


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize(("number", "stop"), [("SIGINT", 7), ("SIGTERM", 7), ("SIGINT", 10)])
def test_where_the_user_stops_it_its_state_is_kept_at_once(tmp_path: Path, number: str, stop: int) -> None:
    whole, _ = train(tmp_path / "whole")
    notes: list[str] = []
    with stopping.by_signals():
        best, keeper = train(
            tmp_path / "stopped", stop, notes, every=1000, by=lambda: signal.raise_signal(getattr(signal, number))
        )
        assert (best.interrupted, keeper.steps_run, best.epochs) == (True, stop, stop // 5)
        best, keeper = train(tmp_path / "stopped", notes=notes, every=1000)
    assert notes == [f"Going on from step {stop} of 15 (fine-tuning, epoch {stop // 5 + 1})."]
    assert (best.interrupted, keeper.steps_run) == (False, 15 - stop)
    assert (best.score, best.epoch, best.epochs) == (whole.score, whole.epoch, whole.epochs)
    assert [weights.tobytes() for weights in best.weights] == [weights.tobytes() for weights in whole.weights]


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_where_the_user_stops_it_as_it_ends_it_is_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the last step, and by patience at the end of an epoch."""
    notes: list[str] = []
    best, _ = train(tmp_path / "last", 15, notes, every=1000, by=lambda: signal.raise_signal(signal.SIGINT))
    assert (best.interrupted, best.epochs) == (True, 3)
    monkeypatch.setattr(toptraining, "PATIENCE", 1)
    accuracies = iter([0.9, 0.8])
    monkeypatch.setattr(toptraining.metrics, "accuracy", lambda told, labels: next(accuracies))
    best, _ = train(tmp_path / "patience", 10, notes, every=1000, by=lambda: signal.raise_signal(signal.SIGINT))
    assert (best.interrupted, best.epoch, best.epochs) == (True, 0, 2)
    for folder, done in (("last", 15), ("patience", 10)):
        again, keeper = train(tmp_path / folder, notes=notes)
        assert notes[-1] == f"Going on from step {done} of 15 (the fine-tuning was through)."
        assert (again.interrupted, keeper.steps_run) == (False, 0)


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_a_second_wish_to_stop_waits_for_no_step(tmp_path: Path) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError

    best, keeper = train(tmp_path, 7, every=1000, by=twice)
    assert (best.interrupted, keeper.steps_run, list(tmp_path.iterdir())) == (True, 7, [])


def test_one_that_the_clock_has_ended_stays_ended_and_says_so(tmp_path: Path) -> None:
    best, keeper = train(tmp_path, until=-1.0)
    assert (best.stopped_by_clock, keeper.steps_run) == (True, 1)
    again, keeper = train(tmp_path)
    assert (again.stopped_by_clock, keeper.steps_run) == (True, 0)


NOT_THIS = "its values are not those of this training"
FEW = np.zeros(3, np.float32)


def test_what_is_of_another_one_is_named_and_passed_over(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(tmp_path, 4)
    notes: list[str] = []
    keeper = Keeper(tmp_path, "fine-tuning", note=notes.append)
    found = keeper.newest(10**6)
    assert found is not None
    fresh = steps()
    fresh._compile(5 * EPOCHS)
    changes: list[tuple[dict[str, object], dict[str, np.ndarray], str]] = [
        ({"n_steps": 6}, {}, NOT_THIS),
        ({"score": [0.5]}, {}, NOT_THIS),
        ({"score": [0.5, None]}, {}, NOT_THIS),
        ({"best_epoch": True}, {}, NOT_THIS),
        ({"stopped_by_clock": None}, {}, NOT_THIS),
        ({"finished": 1}, {}, NOT_THIS),
        ({}, {"best/0000": FEW}, "its best weights are not of this network"),
        ({}, {"average/0000": FEW}, "its average weights are not of this network"),
        ({}, {"model/0000": FEW}, "its model/0000 is not of this network"),
        ({}, {"optimizer/0002": FEW}, "its optimizer/0002 is not of this network"),
    ]
    for values, arrays, wrong in changes:
        keeper.write(found.step + 1, {**found.arrays, **arrays}, {**found.values, **values})
        notes.clear()
        done, _, finished = fresh._gone_on(keeper, toptraining.Best([]), EPOCHS, 5)
        assert (done, finished) == (found.step, False)
        damaged = f"The checkpoint of step {found.step + 1} is damaged ({wrong})"
        assert notes[0] == f"{damaged}; the one of step {found.step} before it is taken."
