"""Contact sheets: answers (each picture, what the model says of it, how sure it is), and training pictures varied."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Unpack

from tellapart import api, decoders, outputs, thumbnails
from tellapart.api import Options
from tellapart.decoders import Maker
from tellapart.errors import PictureError, SettingsError
from tellapart.lettering import fit_text, length, wrapped, write
from tellapart.predict import Prediction
from tellapart.previews import Preview
from tellapart.progress import Progress

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

MARGIN_PX, GAP_PX = 24, 20
BAR_PX = 6
ACROSS = 5  # pictures in a row, unless asked otherwise
VARIANT_PX = 256  # side of a training picture on its sheet, at most
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
        write(canvas, fitted, MARGIN_PX, MARGIN_PX + text_px, round(1.15 * text_px), INK, bold=True)
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
        write(canvas, fit_text(text, small_px, cell_px), x, y + round(1.45 * small_px), small_px, colour)
    return canvas


def variants(preview: Preview) -> Image.Image:
    """Draw training pictures, a row each: as the network sees it in use, then as training will see it, epoch by epoch.

    The class stands below the first picture of a row. A small picture is enlarged by a whole factor, pixel by pixel.

    Returns:
        An RGB picture (Pillow).
    """
    from PIL import Image

    recipe, policy = preview.recipe, preview.recipe.policy
    assert policy is not None  # a recipe always has one
    cell_px = min(recipe.size_px * max(round(128 / recipe.size_px), 1), VARIANT_PX)
    text_px, small_px = 15, 12
    across = 1 + len(preview.pictures[0].varied)
    lefts = [MARGIN_PX + i * (cell_px + GAP_PX // 2) + (GAP_PX if i else 0) for i in range(across)]
    width = lefts[-1] + cell_px + MARGIN_PX
    settings = wrapped(policy.described(), small_px, width - 2 * MARGIN_PX, 3)
    top = MARGIN_PX + round(2.2 * text_px) + round(1.5 * small_px) * (len(settings) + 1)
    step_px = cell_px + round(1.7 * text_px + 1.5 * small_px) + GAP_PX
    canvas = Image.new("RGB", (width, top + len(preview.pictures) * step_px + MARGIN_PX - GAP_PX), GROUND)
    title = f"Augmentation {recipe.augment}, {recipe.size_px} px, seed {preview.seed}"
    fitted = fit_text(title, text_px, width - 2 * MARGIN_PX, bold=True)
    write(canvas, fitted, MARGIN_PX, MARGIN_PX + text_px, text_px, INK, bold=True)
    for i, line in enumerate(settings):
        write(canvas, line, MARGIN_PX, MARGIN_PX + round(2.2 * text_px + 1.5 * small_px * (i + 0.5)), small_px, FAINT)
    for left, head in zip(lefts, ["in use", *(f"epoch {i}" for i in range(1, across))], strict=True):
        write(canvas, fit_text(head, small_px, cell_px), left, top - round(0.5 * small_px), small_px, FAINT)
    for row, each in enumerate(preview.pictures):
        y = top + row * step_px
        for left, pixels in zip(lefts, [each.used, *each.varied], strict=True):
            canvas.paste(Image.fromarray(thumbnails.fitted(pixels, cell_px)), (left, y))
        y += cell_px + round(1.3 * text_px)
        room = width - 2 * MARGIN_PX
        write(canvas, fit_text(each.label, text_px, room, bold=True), MARGIN_PX, y, text_px, INK, bold=True)
        name = fit_text(os.path.basename(each.path), small_px, room)
        write(canvas, name, MARGIN_PX, y + round(1.4 * small_px), small_px, FAINT)
    return canvas


def show_augment(
    photos: str | os.PathLike[str],
    *,
    recipe: str = "auto",
    seed: int = 0,
    progress: Progress | bool = True,
    **options: Unpack[Options],
) -> Image.Image:
    """Draw some training pictures as `tellapart.train` with these arguments would vary them; nothing is trained.

    Args:
        photos, recipe, seed, progress, options: as in `train`.

    Returns:
        An RGB picture (Pillow), which a notebook shows as it is.
    """
    return variants(api.preview(photos, recipe=recipe, seed=seed, progress=progress, **options))


def save(image: Image.Image, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write a sheet as PNG. Raises OutputError as `outputs.atomic` does."""
    with outputs.atomic(path, force=force) as file:
        image.save(file, "PNG", optimize=True)


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
    for line in wrapped(found, small_px, cell_px - 16, room):
        write(canvas, line, x + (cell_px - length(line, small_px)) // 2, baseline, small_px, FAINT)
        baseline += round(1.3 * small_px)


def _thumbnail(path: str, cell_px: int) -> Image.Image | str:
    """The picture, as large as it fits; why there is none, where it cannot be read (any more)."""
    from PIL import Image

    if not path:
        return "pixels without a file"
    try:
        (pixels,) = decoders.one(Maker("tellapart.thumbnails:small", {"cell_px": cell_px}), path, 3 * cell_px**2)
    except PictureError as error:
        return error.reason
    return Image.fromarray(pixels)


def _colour(one: Prediction, truth: str | None) -> str:
    if one.label is None:
        return UNSURE
    return NEUTRAL if truth is None else RIGHT if one.label == truth else WRONG


def _sureness(canvas: Image.Image, one: Prediction, colour: str, x: int, y: int, width_px: int, size_px: int) -> None:
    """A bar as long as the probability, and the probability, on the line whose baseline is `y`."""
    share = one.probability or 0.0
    if one.label is not None:  # beside "unknown" a number would be read as how sure that is
        write(canvas, _percent(share), x + width_px - length(_percent(share), size_px), y, size_px, INK)
    full_px = width_px - length("> 99 %", size_px) - 8
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
        write(canvas, "unknown" if one.error is None else "not read", x, y, size_px, FAINT)
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
    write(canvas, name, x + left, y, size_px, INK, bold=True)


def _second_line(one: Prediction, truth: str | None) -> tuple[str, str]:
    """What stands below the answer, and its colour: the right label, the file that was not read, the nearest class."""
    if one.error is not None:
        return os.path.basename(one.path), FAINT
    if one.label is None:
        nearest = f"most like {one.ranked[0][0]}, {_percent(one.ranked[0][1])}" if one.ranked else ""
        return (nearest if truth is None else f"it is {truth}"), FAINT
    return (f"it is {truth}", WRONG) if truth not in (None, one.label) else ("", FAINT)


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
