"""Charts: round scales, lines where the numbers say, and what a notebook is shown."""

import io
import math

import numpy as np
import pytest
from PIL import Image, ImageColor

from tellapart import curves
from tellapart.curves import History, Panel

ROWS = [
    {"epoch": i + 1.0, "accuracy": a, "val_accuracy": v, "loss": 1 - a, "val_loss": 1 - v}
    for i, (a, v) in enumerate([(0.5, 0.6), (0.7, 0.8), (0.9, 0.7)])
]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 0.69, [0, 0.2, 0.4, 0.6, 0.8]),
        (0.5, 1.0, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        (0.93, 1.0, [0.92, 0.94, 0.96, 0.98, 1.0]),
        (0.0, 3000.0, [0, 1000, 2000, 3000]),
        (0.0, 0.0, [0, 1]),
    ],
)
def test_scales_are_round_and_hold_every_value(low: float, high: float, expected: list[float]) -> None:
    assert curves.ticks(low, high) == pytest.approx(expected)


def columns(image: Image.Image, colour: str) -> dict[int, float]:
    """Where a colour stands: x to the middle of its y."""
    there = (np.asarray(image) == ImageColor.getrgb(colour)).all(axis=2)
    return {int(x): float(np.flatnonzero(there[:, x]).mean()) for x in np.flatnonzero(there.any(axis=0))}


def test_a_line_stands_where_its_values_say() -> None:
    """From 50 % at the foot of the scale to 100 % at its top, straight: half way up in the middle."""
    image = curves.draw([Panel("A", {"rises": [0.5, 0.75, 1.0]}, percent=True)])
    width, height = curves.PANEL_PX
    assert image.size == (width, height)
    places = columns(image.crop((0, curves.TOP_PX - 4, width, height)), curves.COLOURS[0])
    middle = (curves.LEFT_PX + width - curves.RIGHT_PX) // 2
    assert places[curves.LEFT_PX + 1] + curves.TOP_PX - 4 == pytest.approx(height - curves.BOTTOM_PX, abs=2)
    assert places[middle] + curves.TOP_PX - 4 == pytest.approx((curves.TOP_PX + height - curves.BOTTOM_PX) / 2, abs=2)
    assert places[width - curves.RIGHT_PX - 1] + curves.TOP_PX - 4 == pytest.approx(curves.TOP_PX, abs=2)


def test_an_epoch_without_a_number_breaks_the_line() -> None:
    """Four epochs, the third one not a number: no ink of the line between the second and the fourth."""
    broken = curves.draw([Panel("A", {"breaks": [1.0, 1.0, math.nan, 1.0]})])
    width = curves.PANEL_PX[0]
    step = (width - curves.LEFT_PX - curves.RIGHT_PX) / 3
    places = columns(broken.crop((0, curves.TOP_PX - 4, width, curves.PANEL_PX[1])), curves.COLOURS[0])
    assert round(curves.LEFT_PX + 0.5 * step) in places
    between = range(round(curves.LEFT_PX + step) + 4, round(curves.LEFT_PX + 3 * step) - 4)
    assert not set(between) & set(places)


def test_panels_stand_side_by_side() -> None:
    one, other = Panel("A", {"a": [1.0]}), Panel("B", {"b": [0.2, 0.1]})
    width, height = curves.PANEL_PX
    both = curves.draw([one, other])
    assert both.size == (2 * width, height)
    assert both.crop((width, 0, 2 * width, height)).tobytes() == curves.draw([other]).tobytes()


def test_all_right_from_the_first_epoch_on_has_a_scale_that_ends_at_all() -> None:
    top = columns(curves.draw([Panel("A", {"a": [1.0, 1.0]}, percent=True)]), curves.COLOURS[0])
    assert top[curves.PANEL_PX[0] // 2] == pytest.approx(curves.TOP_PX, abs=1)


def test_a_history_is_a_list_that_shows_as_a_picture() -> None:
    history = History(ROWS, best_epoch=2)
    assert history == ROWS
    png = history._repr_png_()
    assert png is not None
    image = Image.open(io.BytesIO(png)).convert("RGB")
    width, height = curves.PANEL_PX
    assert image.size == (2 * width, height)
    for left in (0, width):
        panel = image.crop((left, curves.TOP_PX, left + width, height - curves.BOTTOM_PX))
        assert len(columns(panel, curves.COLOURS[0])) > 100
        assert len(columns(panel, curves.COLOURS[1])) > 100


def test_the_kept_epoch_is_marked() -> None:
    """The second of three epochs: in the middle of both panels there is an upright line, and nothing else changes."""
    marked, unmarked = (
        np.asarray(Image.open(io.BytesIO(History(ROWS, best)._repr_png_() or b"")).convert("RGB")).astype(int)
        for best in (2, None)
    )
    width = curves.PANEL_PX[0]
    middle = (curves.LEFT_PX + width - curves.RIGHT_PX) / 2
    differing = np.flatnonzero((marked != unmarked).any(axis=(0, 2)))
    assert all(min(abs(x - middle), abs(x - width - middle)) <= 1 for x in differing)
    assert differing.min() < width < differing.max()


def test_without_validation_there_is_one_line() -> None:
    rows = [{name: value for name, value in row.items() if not name.startswith("val_")} for row in ROWS]
    png = History(rows)._repr_png_()
    assert png is not None
    image = Image.open(io.BytesIO(png)).convert("RGB")
    assert columns(image, curves.COLOURS[0])
    assert not columns(image, curves.COLOURS[1])


def test_nothing_learned_shows_nothing() -> None:
    assert History([])._repr_png_() is None


def test_a_trained_classifier_has_one(trained) -> None:
    history = trained.history
    assert history.best_epoch == trained.report["training"]["best_epoch"]
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history._repr_png_().startswith(b"\x89PNG")
