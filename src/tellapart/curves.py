"""Numbers by epoch as a line chart, and the learning curves that a notebook shows as one."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

PANEL_PX = (400, 230)  # width and height of a panel
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 52, 18, 48, 36  # around its lines
TEXT_PX = 12
FINE = 3  # lines are drawn this many times as large, then averaged
GROUND, GRID, INK, FAINT = "#ffffff", "#e4e8ec", "#1f2328", "#636c76"
COLOURS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df")  # told apart by colour-blind readers, too


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: lines over the epochs 1, 2, …"""

    title: str
    lines: Mapping[str, Sequence[float]]  # name -> a value for each epoch; NaN and infinity are left out
    percent: bool = False  # the values are shares, 0–1; the scale then ends at 100 %
    mark: int | None = None  # an epoch, from 1, to draw an upright line at


class History(list[dict[str, float]]):
    """The learning curves, one row an epoch; a notebook shows them as a picture."""

    def __init__(self, rows: Iterable[dict[str, float]], best_epoch: int | None = None) -> None:
        super().__init__(rows)
        self.best_epoch = best_epoch  # from 1: the epoch whose weights were kept

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What a notebook keeps beside the picture: one line, not every number. `print` shows the numbers."""
        printer.text(f"History({len(self)} epochs, epoch {self.best_epoch} kept)")

    def _repr_png_(self) -> bytes | None:
        """Accuracy and loss, of training and of validation pictures; the kept epoch is marked. None without a row."""
        if not self:
            return None
        panels = []
        for title, name in (("Accuracy", "accuracy"), ("Loss", "loss")):
            lines = {
                side: [row[column] for row in self]
                for side, column in (("training", name), ("validation", f"val_{name}"))
                if all(column in row for row in self)
            }
            panels.append(Panel(title, lines, percent=name == "accuracy", mark=self.best_epoch))
        file = io.BytesIO()
        draw(panels).save(file, format="PNG", optimize=True)
        return file.getvalue()


def draw(panels: Sequence[Panel]) -> Image.Image:
    """Draw panels side by side: RGB, each `PANEL_PX` large."""
    from PIL import Image

    width, height = PANEL_PX
    canvas = Image.new("RGB", (max(len(panels), 1) * width, height), GROUND)
    for i, panel in enumerate(panels):
        canvas.paste(_drawn(panel), (i * width, 0))
    return canvas


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers, at least two and about `most`, that begin at or below `low` and end at or above `high`."""
    span = high - low
    if not 0 < span < math.inf:
        return [low, low + 1]
    step = 10.0 ** math.floor(math.log10(span / most))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (factor * step) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _drawn(panel: Panel) -> Image.Image:
    from PIL import Image, ImageDraw

    width, height = PANEL_PX
    finite = [value for line in panel.lines.values() for value in line if math.isfinite(value)] or [0.0]
    marks = ticks(min(*finite, 0.9), 1.0) if panel.percent else ticks(0.0, max(finite))
    n_epochs = max((len(line) for line in panel.lines.values()), default=1)

    def x(epoch: float) -> float:
        share = (epoch - 1) / (n_epochs - 1) if n_epochs > 1 else 0.5
        return LEFT_PX + share * (width - LEFT_PX - RIGHT_PX)

    def y(value: float) -> float:
        return height - BOTTOM_PX - (value - marks[0]) / (marks[-1] - marks[0]) * (height - TOP_PX - BOTTOM_PX)

    large = Image.new("RGB", (width * FINE, height * FINE), GROUND)
    pen = ImageDraw.Draw(large)
    for mark in marks:
        _line(pen, [(LEFT_PX, y(mark)), (width - RIGHT_PX, y(mark))], GRID, 1)
    if panel.mark is not None:
        for top in range(TOP_PX, height - BOTTOM_PX, 6):
            _line(pen, [(x(panel.mark), top), (x(panel.mark), top + 3)], FAINT, 1)
    for colour, line in zip(_colours(panel), panel.lines.values(), strict=True):
        _curve(pen, [(x(i + 1), y(value)) if math.isfinite(value) else None for i, value in enumerate(line)], colour)
    image = large.reduce(FINE)
    _lettered(ImageDraw.Draw(image), panel, {mark: y(mark) for mark in marks}, {i: x(i) for i in _epochs(n_epochs)})
    return image


def _curve(pen: ImageDraw.ImageDraw, points: Sequence[tuple[float, float] | None], colour: str) -> None:
    """A dot for each point, and a line between neighbours that are both there."""
    for here, following in zip(points, [*points[1:], None], strict=True):
        if here is not None:
            x, y = here[0] * FINE, here[1] * FINE
            pen.ellipse((x - 2.5 * FINE, y - 2.5 * FINE, x + 2.5 * FINE, y + 2.5 * FINE), colour)
            if following is not None:
                _line(pen, [here, following], colour, 2)


def _line(pen: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: str, thick_px: int) -> None:
    pen.line([(x * FINE, y * FINE) for x, y in points], colour, thick_px * FINE)


def _lettered(
    pen: ImageDraw.ImageDraw, panel: Panel, marks: Mapping[float, float], epochs: Mapping[int, float]
) -> None:
    """Title, names of the lines, and the numbers of both scales."""
    from PIL import ImageFont

    font, (width, height) = ImageFont.load_default(TEXT_PX), PANEL_PX
    pen.text((LEFT_PX, 8), panel.title, INK, font)
    left = float(LEFT_PX)
    for colour, name in zip(_colours(panel), panel.lines, strict=True):
        pen.line((left, 35, left + 14, 35), colour, 2)
        pen.text((left + 18, 35), name, INK, font, anchor="lm")
        left += 18 + pen.textlength(name, font) + 14
    for mark, y in marks.items():
        pen.text((LEFT_PX - 8, y), f"{100 * mark:g} %" if panel.percent else f"{mark:g}", FAINT, font, anchor="rm")
    for epoch, x in epochs.items():
        pen.text((x, height - BOTTOM_PX + 6), str(epoch), FAINT, font, anchor="mt")
    pen.text((width - RIGHT_PX, height - 3), "epoch", FAINT, font, anchor="rb")


def _colours(panel: Panel) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(len(panel.lines))]


def _epochs(n: int) -> list[int]:
    """The epochs whose number stands below: all of few, else every second, fifth, tenth …"""
    step = max(int(ticks(0, n, 10)[1]), 1)
    return list(range(step, n + 1, step))
