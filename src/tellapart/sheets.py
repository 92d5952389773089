"""Answers as a contact sheet: each picture, what the model says of it, and how sure it is."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tellapart import outputs, pictures
from tellapart.errors import PictureError
from tellapart.files import shown
from tellapart.predict import Prediction

if TYPE_CHECKING:
    from PIL import Image

MARGIN_PX = 20
GAP_PX = 16
TEXT_PX = 14
CAPTION_PX = 46  # below a picture: a bar, the answer, and the right label where it is another one
BAR_PX = 5
INK, FAINT, GROUND, FRAME = "#1f2328", "#6e7781", "#ffffff", "#f0f2f4"
RIGHT, WRONG, NEUTRAL = "#1a7f37", "#cf222e", "#0969da"


def sheet(
    predictions: Sequence[Prediction],
    *,
    truths: Sequence[str | None] | None = None,
    columns: int | None = None,
    cell_px: int = 150,
    title: str | None = None,
) -> Image.Image:
    """Draw the pictures of `predictions` with their answers.

    Args:
        predictions: what a model answered; a picture that could not be read stands there with its reason.
        truths: the right label of each, where it is known; a wrong answer is marked, in words and colour.
        columns: pictures in a row, by default up to five.
        cell_px: side of the square in which a picture stands, in full and undistorted.
        title: a line above.

    Returns:
        An RGB picture (Pillow), which a notebook shows as it is.
    """
    from PIL import Image, ImageDraw, ImageFont

    known = list(truths) if truths is not None else [None] * len(predictions)
    across = columns or min(max(len(predictions), 1), 5)
    down = max(math.ceil(len(predictions) / across), 1)
    head = 0 if title is None else TEXT_PX + GAP_PX
    width = 2 * MARGIN_PX + across * cell_px + (across - 1) * GAP_PX
    height = 2 * MARGIN_PX + head + down * (cell_px + CAPTION_PX) + (down - 1) * GAP_PX
    canvas = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(canvas)
    font, small = ImageFont.load_default(size=TEXT_PX), ImageFont.load_default(size=TEXT_PX - 2)
    if title is not None:
        draw.text((MARGIN_PX, MARGIN_PX - 2), _fitted(title, font, width - 2 * MARGIN_PX), INK, font)
    for i, (one, truth) in enumerate(zip(predictions, known, strict=True)):
        x = MARGIN_PX + (i % across) * (cell_px + GAP_PX)
        y = MARGIN_PX + head + (i // across) * (cell_px + CAPTION_PX + GAP_PX)
        draw.rectangle((x, y, x + cell_px - 1, y + cell_px - 1), FRAME)
        picture = _thumbnail(one.path, cell_px)
        if picture is not None:
            canvas.paste(picture, (x + (cell_px - picture.width) // 2, y + (cell_px - picture.height) // 2))
        _caption(draw, one, truth, x, y + cell_px, cell_px, font, small)
    return canvas


def save(image: Image.Image, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write a sheet as PNG. Raises OutputError as `outputs.atomic` does."""
    with outputs.atomic(path, force=force) as file:
        image.save(file, "PNG", optimize=True)


def _thumbnail(path: str, cell_px: int) -> Image.Image | None:
    """The picture, as large as it fits; None where it cannot be read, which its caption says."""
    from PIL import Image

    try:
        pixels = pictures.read(path, at_least_px=cell_px).pixels
    except PictureError:
        return None
    image = Image.fromarray(pixels)
    scale = cell_px / max(image.size)
    if scale >= 2:  # a tiny picture: whole pixels, enlarged, rather than a blur
        whole = int(scale)
        return image.resize((image.width * whole, image.height * whole), Image.Resampling.NEAREST)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    return image.resize(size, Image.Resampling.LANCZOS)


def _caption(draw, one: Prediction, truth: str | None, x: int, y: int, width: int, font, small) -> None:
    if one.error is not None:
        draw.text((x, y + 10), _fitted("not read", font, width), WRONG, font)
        draw.text((x, y + 28), _fitted(one.error, small, width), FAINT, small)
        return
    right = None if truth is None else one.label == truth
    colour = {None: NEUTRAL, True: RIGHT, False: WRONG}[right]
    probability = one.probability or 0.0
    draw.rectangle((x, y + 3, x + width - 1, y + 3 + BAR_PX - 1), FRAME)
    draw.rectangle((x, y + 3, x + max(round(width * probability), 1) - 1, y + 3 + BAR_PX - 1), colour)
    share = f"{probability:.0%}" if probability < 0.995 or probability == 1 else "> 99%"
    room = width - draw.textlength(share, font) - 8 - (0 if right is None else 16)
    name = "unknown" if one.label is None else one.label
    _mark(draw, right, x, y + 13, colour)
    draw.text((x + (0 if right is None else 16), y + 10), _fitted(name, font, room), INK, font)
    draw.text((x + width - draw.textlength(share, font), y + 10), share, FAINT, font)
    if right is False:
        draw.text((x, y + 29), _fitted(f"wrong: it is {shown(truth or '')}", small, width), WRONG, small)


def _mark(draw, right: bool | None, x: int, y: int, colour: str) -> None:
    """A tick or a cross, drawn: fonts that have these signs are not everywhere."""
    if right is True:
        draw.line([(x + 1, y + 6), (x + 4, y + 10), (x + 11, y + 1)], colour, 2)
    elif right is False:
        draw.line([(x + 2, y + 1), (x + 10, y + 9)], colour, 2)
        draw.line([(x + 10, y + 1), (x + 2, y + 9)], colour, 2)


def _fitted(text: str, font, width: float) -> str:
    """One line of at most `width` px; characters that the font lacks as their code, a cut marked by …"""
    line = "".join(each if _drawn(each) else f"\\u{ord(each):04x}" for each in shown(text))
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"


def _drawn(character: str) -> bool:
    """Whether Pillow's own font has the character: Latin, with its marks and punctuation."""
    return ord(character) < 0x180 or character in "–—‘’“”…€"
