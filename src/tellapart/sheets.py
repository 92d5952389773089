"""Answers as a contact sheet: each picture, what the model says of it, and how sure it is."""

from __future__ import annotations

import functools
import math
import os
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart import outputs, pictures
from tellapart.errors import PictureError, SettingsError
from tellapart.files import shown
from tellapart.predict import Prediction

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

MARGIN_PX, GAP_PX = 24, 20
BAR_PX = 6
ACROSS = 5  # pictures in a row, unless asked otherwise
MOST_PICTURES = 400  # a sheet of more would be tens of thousands of px high
CELLS_PX = (64, 1024)
GROUND, CELL, LINE = "#ffffff", "#f3f5f7", "#d5dbe1"
INK, FAINT = "#1f2328", "#636c76"
RIGHT, WRONG, NEUTRAL, UNSURE = "#1a7f37", "#cf222e", "#0969da", "#8c959f"
FINE = 4  # curves are drawn this many times as large, then averaged


def sheet(
    predictions: Sequence[Prediction],
    *,
    truths: Sequence[str | None] | None = None,
    columns: int | None = None,
    cell_px: int = 160,
    title: str | None = None,
) -> Image.Image:
    """Draw the pictures of `predictions` with their answers, in their order, row by row.

    A picture stands whole and undistorted in its square; a tiny one is enlarged by a whole factor, pixel by pixel.
    Below it stand a bar as long as the probability, the answer and the probability; where the right label is known, a
    green tick or a red cross; where the answer is wrong, the right label. A picture that could not be read stands
    there with its reason.

    Any class name is one line: what is too long is cut and ends in "…"; line ends, and characters that the font at
    hand cannot draw, are written as in a Python string. OpenCV 5 brings a font for Latin, Greek, Cyrillic, Chinese,
    Japanese and Korean; without it Pillow's own is taken, which has little beyond ASCII. Scripts that join or stack
    their letters, or run from right to left, are escaped with either.

    Args:
        predictions: what a model answered, 1 to 400.
        truths: the right label of each, None where it is not known.
        columns: pictures in a row; by default up to five, the rows about equally full.
        cell_px: side of a picture's square, 64 to 1024; the text grows with it.
        title: a line above.

    Returns:
        An RGB picture (Pillow), which a notebook shows as it is.

    Raises:
        SettingsError: an argument is out of range, or `truths` has another length than `predictions`.
    """
    from PIL import Image

    n = len(predictions)
    known = [None] * n if truths is None else list(truths)
    _check(n, len(known), columns, cell_px)
    across = columns or math.ceil(n / math.ceil(n / ACROSS))
    down = math.ceil(n / across)
    text_px = min(max(round(cell_px / 9.4), 12), 30)
    small_px = max(round(0.82 * text_px), 11)
    second = [_second_line(one, truth) for one, truth in zip(predictions, known, strict=True)]
    caption_px = round(1.7 * small_px + 1.7 * text_px) + (round(1.2 * small_px) if any(t for t, _ in second) else 0)
    head_px = 0 if title is None else round(2.3 * text_px)
    width = 2 * MARGIN_PX + across * cell_px + (across - 1) * GAP_PX
    step_px = cell_px + caption_px + GAP_PX
    canvas = Image.new("RGB", (width, 2 * MARGIN_PX + head_px + down * step_px - GAP_PX), GROUND)
    if title is not None:
        fitted = fit_text(title, round(1.15 * text_px), width - 2 * MARGIN_PX, bold=True)
        _write(canvas, fitted, MARGIN_PX, MARGIN_PX + text_px, round(1.15 * text_px), INK, bold=True)
    for i, (one, truth) in enumerate(zip(predictions, known, strict=True)):
        x = MARGIN_PX + (i % across) * (cell_px + GAP_PX)
        y = MARGIN_PX + head_px + (i // across) * step_px
        _place(canvas, one, x, y, cell_px, small_px)
        y += cell_px + round(1.4 * small_px)
        if one.error is None:
            _sureness(canvas, one, _colour(one, truth), x, y, cell_px, small_px)
        y += round(1.5 * text_px)
        _answer(canvas, one, truth, x, y, cell_px, text_px)
        text, colour = second[i]
        _write(canvas, fit_text(text, small_px, cell_px), x, y + round(1.45 * small_px), small_px, colour)
    return canvas


def save(image: Image.Image, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write a sheet as PNG. Raises OutputError as `outputs.atomic` does."""
    with outputs.atomic(path, force=force) as file:
        image.save(file, "PNG", optimize=True)


def fit_text(text: str, size_px: int, width_px: int, *, bold: bool = False) -> str:
    """`text` in one line of at most `width_px` that the font at hand can draw: escaped where needed, cut by "…"."""
    line = "".join(_drawable(each) for each in unicodedata.normalize("NFC", shown(text)))
    if _length(line, size_px, bold) <= width_px:
        return line
    ellipsis = _drawable("…")
    while line and _length(line.rstrip() + ellipsis, size_px, bold) > width_px:
        line = line[:-1]
    return line.rstrip() + ellipsis


def _check(n: int, n_truths: int, columns: int | None, cell_px: int) -> None:
    if not 1 <= n <= MOST_PICTURES:
        raise SettingsError(f"A sheet must have 1 to {MOST_PICTURES} predictions; got {n:,}. Draw a part of them.")
    if n_truths != n:
        raise SettingsError(f"truths must be as many as the {n} predictions; got {n_truths}. Give None where unknown.")
    if columns is not None and not 1 <= columns <= MOST_PICTURES:
        raise SettingsError(f"columns must be from 1 to {MOST_PICTURES}; got {columns}. Try {ACROSS}.")
    if not CELLS_PX[0] <= cell_px <= CELLS_PX[1]:
        raise SettingsError(f"cell_px must be from {CELLS_PX[0]} to {CELLS_PX[1]}; got {cell_px}. Try 160.")


def _place(canvas: Image.Image, one: Prediction, x: int, y: int, cell_px: int, small_px: int) -> None:
    """The picture in the middle of its square, or why there is none."""
    from PIL import ImageDraw

    ImageDraw.Draw(canvas).rectangle((x - 1, y - 1, x + cell_px, y + cell_px), CELL, LINE)
    found = _thumbnail(one.path, cell_px) if one.error is None else one.error
    if not isinstance(found, str):
        canvas.paste(found, (x + (cell_px - found.width) // 2, y + (cell_px - found.height) // 2))
        return
    icon_px = cell_px // 4
    _draw(canvas, (x + (cell_px - icon_px) // 2, y + cell_px // 6, icon_px, icon_px), UNSURE, _torn)
    baseline = y + cell_px // 6 + icon_px + round(1.6 * small_px)
    room = max((y + cell_px - 6 - baseline) // round(1.3 * small_px) + 1, 1)
    for line in _wrapped(found, small_px, cell_px - 16, room):
        _write(canvas, line, x + (cell_px - _length(line, small_px)) // 2, baseline, small_px, FAINT)
        baseline += round(1.3 * small_px)


def _thumbnail(path: str, cell_px: int) -> Image.Image | str:
    """The picture, as large as it fits; why there is none, where it cannot be read (any more)."""
    from PIL import Image

    if not path:
        return "pixels without a file"
    try:
        image = Image.fromarray(pictures.read(path, at_least_px=cell_px).pixels)
    except PictureError as error:
        return error.reason
    scale = cell_px / max(image.size)
    if scale >= 2:
        return image.resize((image.width * int(scale), image.height * int(scale)), Image.Resampling.NEAREST)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    return image.resize(size, Image.Resampling.LANCZOS)


def _colour(one: Prediction, truth: str | None) -> str:
    if one.label is None:
        return UNSURE
    return NEUTRAL if truth is None else RIGHT if one.label == truth else WRONG


def _sureness(canvas: Image.Image, one: Prediction, colour: str, x: int, y: int, width_px: int, size_px: int) -> None:
    """A bar as long as the probability, and the probability, on the line whose baseline is `y`."""
    share = one.probability or 0.0
    if one.label is not None:  # beside "unknown" a number would be read as how sure that is
        _write(canvas, _percent(share), x + width_px - _length(_percent(share), size_px), y, size_px, INK)
    full_px = width_px - _length("> 99 %", size_px) - 8
    y -= round(0.36 * size_px) + BAR_PX // 2  # the middle of the digits
    _draw(canvas, (x, y, full_px, BAR_PX), LINE, _pill)
    _draw(canvas, (x, y, max(round(full_px * share), BAR_PX), BAR_PX), colour, _pill)


def _percent(share: float) -> str:
    if 0.005 <= share < 0.995:
        return f"{100 * share:.0f} %"
    return "> 99 %" if share > 0.5 else "< 1 %"  # never 100: no model is that sure


def _answer(
    canvas: Image.Image, one: Prediction, truth: str | None, x: int, y: int, width_px: int, size_px: int
) -> None:
    """Sign and answer on the line whose baseline is `y`."""
    if one.label is None:
        _write(canvas, "unknown" if one.error is None else "not read", x, y, size_px, FAINT)
        return
    left = 0
    if truth is not None:
        disc_px = size_px + 1
        _draw(
            canvas,
            (x, y - round(0.36 * size_px) - disc_px // 2, disc_px, disc_px),
            _colour(one, truth),
            _tick if one.label == truth else _cross,
        )
        left = disc_px + 6
    name = fit_text(one.label, size_px, width_px - left, bold=True)
    _write(canvas, name, x + left, y, size_px, INK, bold=True)


def _second_line(one: Prediction, truth: str | None) -> tuple[str, str]:
    """What stands below the answer, and its colour: the right label, the file that was not read, the nearest class."""
    if one.error is not None:
        return os.path.basename(one.path), FAINT
    if one.label is None:
        nearest = f"most like {one.ranked[0][0]}, {_percent(one.ranked[0][1])}" if one.ranked else ""
        return (nearest if truth is None else f"it is {truth}"), FAINT
    return (f"it is {truth}", WRONG) if truth not in (None, one.label) else ("", FAINT)


def _wrapped(text: str, size_px: int, width_px: int, most: int) -> list[str]:
    """At most `most` lines, broken at spaces; the last one is cut where more would follow."""
    lines, words = [""], text.split(" ")
    for i, word in enumerate(words):
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or fit_text(longer, size_px, width_px) == fit_text(longer, size_px, 10**6):
            lines[-1] = longer
        elif len(lines) == most:
            lines[-1] = " ".join([lines[-1], *words[i:]])
            break
        else:
            lines.append(word)
    return [fit_text(line, size_px, width_px) for line in lines]


def _draw(canvas: Image.Image, box: tuple[int, int, int, int], colour: str, paint: Callable[..., None]) -> None:
    """Let `paint` draw into a mask of the box (x, y, width, height), and the mask take the colour, edges smoothed."""
    from PIL import Image, ImageDraw

    x, y, width, height = box
    mask = Image.new("L", (width * FINE, height * FINE))
    paint(ImageDraw.Draw(mask), width * FINE, height * FINE)
    canvas.paste(colour, (x, y), mask.reduce(FINE))


def _pill(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    draw.rounded_rectangle((0, 0, width - 1, height - 1), height / 2, 255)


def _tick(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    draw.ellipse((0, 0, width - 1, height - 1), 255)
    points = [(0.27 * width, 0.52 * height), (0.44 * width, 0.69 * height), (0.75 * width, 0.34 * height)]
    draw.line(points, 0, round(0.12 * width), joint="curve")


def _cross(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    draw.ellipse((0, 0, width - 1, height - 1), 255)
    low, high = 0.31, 0.69
    draw.line([(low * width, low * height), (high * width, high * height)], 0, round(0.12 * width))
    draw.line([(high * width, low * height), (low * width, high * height)], 0, round(0.12 * width))


def _torn(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    """A frame, struck through."""
    pen = round(0.07 * width)
    draw.rounded_rectangle((0, 0.1 * height, width - 1, 0.9 * height), 0.12 * width, None, 255, pen)
    draw.line([(0.1 * width, 0.98 * height), (0.9 * width, 0.02 * height)], 0, 3 * pen)
    draw.line([(0.1 * width, 0.98 * height), (0.9 * width, 0.02 * height)], 255, pen)


def _write(canvas: Image.Image, line: str, x: int, baseline: int, size_px: int, colour: str, *, bold=False) -> None:
    """Draw a line that `fit_text` has made."""
    from PIL import Image

    mask, above = _rendered(line, size_px, bold)
    canvas.paste(colour, (x, baseline - above), Image.fromarray(mask))


def _rendered(line: str, size_px: int, bold: bool = False) -> tuple[np.ndarray, int]:
    """A line's coverage, uint8 (H, W), 0–255, and how many px of it are above the baseline."""
    above, height = round(1.4 * size_px), 2 * size_px
    shape = (height, _length(line, size_px, bold) + 2)
    font = _cv2_font()
    if font is not None:
        import cv2

        # Drawn large and averaged: at their own size letters would stand on whole px, unevenly apart.
        mask = np.zeros((FINE * shape[0], FINE * shape[1]), np.uint8)
        cv2.putText(mask, line, (0, FINE * above), (255,), font, FINE * size_px, _weight(bold))
        return cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_AREA), above
    from PIL import Image, ImageDraw

    image = Image.new("L", (shape[1], shape[0]))
    ImageDraw.Draw(image).text((0, above), line, 255, _pillow_font(size_px), anchor="ls")
    return np.asarray(image), above


def _length(line: str, size_px: int, bold: bool = False) -> int:
    font = _cv2_font()
    if font is None:
        return math.ceil(_pillow_font(size_px).getlength(line))
    import cv2

    size_px *= FINE
    return math.ceil(cv2.getTextSize((1 << 20, size_px), line, (0, size_px), font, size_px, _weight(bold))[2] / FINE)


def _weight(bold: bool) -> int:
    return 500 if bold else 400  # of a variable font, 100–1000


@functools.cache
def _cv2_font() -> Any:
    """The font in OpenCV, from version 5 on; None where there is none."""
    import cv2

    return cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None


@functools.cache
def _pillow_font(size_px: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=size_px)


@functools.cache
def _drawable(character: str) -> str:
    """The character, or its escape where the font would put another sign, or would put it in a wrong place."""
    if character.isascii():
        return character
    turned = unicodedata.bidirectional(character) in ("R", "AL", "AN")
    joined = unicodedata.category(character).startswith("M")
    substitute = "?" if _cv2_font() is not None else "\U0010fffd"  # what the fonts draw for what they lack
    if turned or joined or np.array_equal(_rendered(character, 24)[0], _rendered(substitute, 24)[0]):
        return character.encode("unicode_escape").decode("ascii")
    return character
