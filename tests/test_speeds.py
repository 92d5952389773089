"""Which number format: as told, as known, or as measured."""

import json
from pathlib import Path

import pytest

from tellapart import config, speeds

RECIPE = config.SCRATCH.override(size_px=32, channels=(4,), batch_size=4, epochs=10, grow_from=1.0)
LONG = 100_000  # pictures: at the speeds below, a training of hours


class Measured:
    """Stands for steps of training: pictures a second by number format, and what was measured."""

    def __init__(self, speed: dict[str, float]) -> None:
        self.by_format, self.asked = speed, []

    def __call__(self, recipe: config.Recipe, n_classes: int, precision: str) -> "Measured.Steps":
        self.asked.append(precision)
        return self.Steps(self.by_format[precision])

    class Steps:
        def __init__(self, speed: float) -> None:
            self._speed = speed

        def speed(self) -> float:
            return self._speed


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch):
    def stand_in(float32: float, mixed_bfloat16: float) -> Measured:
        stand = Measured({"float32": float32, "mixed_bfloat16": mixed_bfloat16})
        monkeypatch.setattr(speeds, "_Steps", stand)
        return stand

    return stand_in


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_what_the_user_says_wins_and_nothing_is_measured(measured, tmp_path: Path, precision: str) -> None:
    stand = measured(100, 1)
    assert speeds.choose_precision(RECIPE.override(precision=precision), 2, LONG, tmp_path) == precision
    assert stand.asked == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("mixed", "chosen"), [(200, "mixed_bfloat16"), (105, "float32"), (50, "float32")])
def test_the_faster_one_is_taken_recorded_and_read_back(measured, tmp_path: Path, mixed: float, chosen: str) -> None:
    """bfloat16 must be worth its rounding: a twentieth faster is not enough."""
    cache = tmp_path / "made when needed"
    stand = measured(100, mixed)
    assert speeds.choose_precision(RECIPE, 2, LONG, cache) == chosen
    assert stand.asked == ["float32", "mixed_bfloat16"]
    assert list(json.loads((cache / "choices.json").read_text()).values()) == [chosen]
    other = measured(100, 500 if chosen == "float32" else 1)  # a machine that is busy now changes nothing
    assert speeds.choose_precision(RECIPE, 2, LONG, cache) == chosen
    assert other.asked == []


def test_another_network_is_measured_by_itself(measured, tmp_path: Path) -> None:
    measured(100, 200)
    speeds.choose_precision(RECIPE, 2, LONG, tmp_path)
    stand = measured(100, 50)
    assert speeds.choose_precision(RECIPE.override(channels=(8,)), 2, LONG, tmp_path) == "float32"
    assert stand.asked == ["float32", "mixed_bfloat16"]
    assert speeds.choose_precision(RECIPE, 2, LONG, tmp_path) == "mixed_bfloat16"
    assert len(json.loads((tmp_path / "choices.json").read_text())) == 2


def test_a_short_training_is_not_worth_measuring_twice(measured, tmp_path: Path) -> None:
    stand = measured(100, 500)
    # 10 epochs of 149 pictures at 100 pictures/s: 14.9 s; of 151: 15.1 s.
    assert speeds.choose_precision(RECIPE, 2, 149, tmp_path, keep=False) == "float32"
    assert stand.asked == ["float32"]
    assert not list(tmp_path.iterdir())
    assert speeds.choose_precision(RECIPE, 2, 149, tmp_path) == "float32"
    assert speeds.choose_precision(RECIPE, 2, 149, tmp_path) == "float32"
    assert stand.asked == ["float32", "float32"]  # the third time it was known
    assert speeds.choose_precision(RECIPE, 2, 151, tmp_path) == "mixed_bfloat16"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"a": 1}'])
def test_a_damaged_record_is_measured_anew(measured, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "choices.json").write_bytes(content)
    measured(100, 200)
    assert speeds.choose_precision(RECIPE, 2, LONG, tmp_path) == "mixed_bfloat16"
    assert "mixed_bfloat16" in json.loads((tmp_path / "choices.json").read_text()).values()


def test_the_speed_of_a_real_step_is_pictures_by_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step is made to take a quarter of a second by the clock: 4 pictures in 0.25 s are 16 pictures/s."""
    now = 0.0

    def clock() -> float:
        return now

    steps = speeds._Steps(RECIPE.override(optimizer="sgd", schedule="constant"), 2, "float32")

    def step(pixels, labels) -> None:
        nonlocal now
        assert pixels.shape == (4, 32, 32, 3)
        now += 0.25

    monkeypatch.setattr(steps._model, "train_on_batch", step)
    monkeypatch.setattr(speeds.time, "perf_counter", clock)
    assert steps.speed() == pytest.approx(16.0)
