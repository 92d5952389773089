"""Any text as one line of pixels: what no font at hand can draw is escaped, what is too long is cut."""

from __future__ import annotations

import functools
import math
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.files import shown

if TYPE_CHECKING:
    from PIL import Image

FINE = 4  # letters are drawn this many times as large, then averaged


def fit_text(text: str, size_px: int, width_px: int, *, bold: bool = False) -> str:
    """`text` in one line of at most `width_px` that the font at hand can draw: escaped where needed, cut by "…"."""
    line = "".join(_drawable(each) for each in unicodedata.normalize("NFC", shown(text)))
    if length(line, size_px, bold) <= width_px:
        return line
    ellipsis = _drawable("…")
    while line and length(line.rstrip() + ellipsis, size_px, bold) > width_px:
        line = line[:-1]
    return line.rstrip() + ellipsis


def wrapped(text: str, size_px: int, width_px: int, most: int) -> list[str]:
    """`text` in at most `most` lines of `width_px`, broken at spaces; the last one is cut where more would follow."""
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


def write(canvas: Image.Image, line: str, x: int, baseline: int, size_px: int, colour: str, *, bold=False) -> None:
    """Draw a line that `fit_text` has made."""
    from PIL import Image

    mask, above = _rendered(line, size_px, bold)
    canvas.paste(colour, (x, baseline - above), Image.fromarray(mask))


def _rendered(line: str, size_px: int, bold: bool = False) -> tuple[np.ndarray, int]:
    """A line's coverage, uint8 (H, W), 0–255, and how many px of it are above the baseline."""
    above, height = round(1.4 * size_px), 2 * size_px
    shape = (height, length(line, size_px, bold) + 2)
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


def length(line: str, size_px: int, bold: bool = False) -> int:
    """How long a line that `fit_text` has made is when it is drawn, px."""
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
