"""The explanation of one picture's answer, as values and as a picture of its own."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart import decoders, explain, pictures, preprocess
from tellapart.decoders import Maker
from tellapart.deletions import Deletion
from tellapart.errors import PictureError
from tellapart.explain import Explainer
from tellapart.files import shown
from tellapart.lettering import fit_text, length, write
from tellapart.nearest import Neighbour
from tellapart.predict import Prediction
from tellapart.preprocess import Preprocess

if TYPE_CHECKING:
    from PIL import Image

SIDE_PX = 320  # the longer side of the picture that is shown
MARGIN_PX, GAP_PX = 20, 14
NEAR_PX = 88  # side of the square of a training picture
TEXT_PX, SMALL_PX = 17, 13
BAR_PX, LINE_PX = 6, 26
ANSWERS = 3  # classes that are named, the most probable first
GROUND, CELL, LINE, INK, FAINT, BAR = "#ffffff", "#f3f5f7", "#d5dbe1", "#1f2328", "#636c76", "#0969da"


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Why a model answers what it does to one picture."""

    path: str  # "" of pixels without a file
    label: str  # the class that is explained
    probability: float  # of that class, 0–1
    answer: Prediction  # what the model answers, be it this class or not
    heat: np.ndarray  # float32 (S, S), 0–1: how much each part speaks for the class (see `Explainer.heat`)
    picture: np.ndarray  # uint8 (H, W, 3), the longer side SIDE_PX: what the network saw, undistorted
    nearest: tuple[Neighbour, ...]  # training pictures, the nearest first
    deletion: Deletion | None = None  # the test of the heat map; None where it was not asked for

    @property
    def overlay(self) -> np.ndarray:
        """The heat map over the picture, uint8 (H, W, 3)."""
        return explain.overlay(self.picture, self.heat)

    def image(self, near: dict[str, np.ndarray] | None = None) -> Image.Image:
        """The picture beside its heat map, and the most probable answers below; RGB (Pillow).

        Args:
            near: of nearest training pictures the pixels, uint8 (H, W, 3), by content hash; these are shown too.
        """
        return _drawn(self, near or {})

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the heat map itself."""
        return {
            "path": self.path,
            "label": self.label,
            "probability": self.probability,
            "answer": self.answer.label,
            "nearest": [
                {"content": each.content, "path": None, "similarity": each.similarity, "label": each.label}
                for each in self.nearest
            ],
            "deletion": None if self.deletion is None else self.deletion.as_dict(),
            "error": None,
        }

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        file = io.BytesIO()
        self.image().save(file, "PNG")
        return file.getvalue()

    def __repr__(self) -> str:
        return f"Explanation({shown(self.path)!r}: {shown(self.label)}, {self.probability:.1%})"


def explained(
    explainer: Explainer,
    answer: Prediction,
    source: str | np.ndarray,
    how: Preprocess,
    *,
    label: str | None = None,
    deletion: bool = False,
    content: str = "",
) -> Explanation:
    """Explain the answer to one picture.

    Args:
        explainer: the bundle's.
        answer: what the bundle answered.
        source: the picture's path, or its pixels, uint8 (H, W, 3).
        how: the bundle's preprocessing.
        label: the class to explain; by default the most probable one.
        deletion: test the heat map, which takes six times as long.
        content: SHA-256 in hex of the file that was answered; "" for whatever it holds now.

    Raises:
        PictureError: the picture cannot be read, or is another one now.
    """
    named = answer.ranked[0][0] if label is None else label
    wanted = explainer.classes.index(named)
    if isinstance(source, str):
        square, picture = opened(source, how, content)
    else:
        square, picture = preprocess.fit(source, how), seen(source, how.fit)
    small, embedding = explainer.look(square, wanted)
    heat = explain.enlarged(small, how.size_px)
    return Explanation(
        path=answer.path,
        label=named,
        probability=answer.probabilities[named],
        answer=answer,
        heat=heat,
        picture=picture,
        nearest=tuple(explainer.nearest(embedding[None])[0]),
        deletion=explainer.deletion(square, heat, wanted) if deletion else None,
    )


def thumbnail(path: str) -> np.ndarray | None:
    """A training picture, small, uint8 (H, W, 3); None where it cannot be read (any more)."""
    try:
        return decoders.one(Maker("tellapart.explanations:near"), path, 3 * NEAR_PX**2)[0]
    except PictureError:
        return None


def near(data: bytes) -> np.ndarray:
    """The bytes of a file as `thumbnail` has them. Raises PictureError."""
    return _resized(pictures.decode(data, at_least_px=NEAR_PX).pixels, NEAR_PX)


def opened(path: str, how: Preprocess, content: str = "") -> tuple[np.ndarray, np.ndarray]:
    """A picture's square, uint8 (S, S, 3), and what the network saw of it, see `seen`. Raises PictureError."""
    maker = Maker("tellapart.explanations:square_and_seen", {"how": how.as_dict()})
    square, picture = decoders.one(maker, path, opened_bytes(how), content=content)
    return square, picture


def opened_bytes(how: Preprocess) -> int:
    """How much `square_and_seen` gives at most."""
    return 3 * (how.size_px**2 + SIDE_PX**2) + 32


def square_and_seen(data: bytes, how: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of a file as `opened` has them. Raises PictureError."""
    settings = Preprocess.from_dict(how)
    whole = pictures.decode(data, at_least_px=SIDE_PX).pixels
    return preprocess.load(data, settings), seen(whole, settings.fit)


def seen(pixels: np.ndarray, fit: str) -> np.ndarray:
    """What the network saw of a picture, the longer side SIDE_PX."""
    if fit == "crop":
        side = min(pixels.shape[:2])
        top, left = ((extent - side) // 2 for extent in pixels.shape[:2])
        pixels = pixels[top : top + side, left : left + side]
    return _resized(pixels, SIDE_PX)


def _resized(pixels: np.ndarray, side_px: int) -> np.ndarray:
    """A picture at the longer side asked for; one that is tiny keeps its px, each enlarged."""
    import cv2

    scale = side_px / max(pixels.shape[:2])
    height, width = (max(round(side * scale), 1) for side in pixels.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST if scale > 4 else cv2.INTER_CUBIC
    return cv2.resize(pixels, (width, height), interpolation=how)


def _drawn(one: Explanation, near: dict[str, np.ndarray]) -> Image.Image:
    from PIL import Image, ImageDraw

    height, width = one.picture.shape[:2]
    height, width = max(height, 40), max(width, 160)
    total = 2 * MARGIN_PX + 2 * width + GAP_PX
    answers = one.answer.ranked[:ANSWERS]
    if one.label not in dict(answers):
        answers[-1] = (one.label, one.probability)
    found = [each for each in one.nearest if each.content in near]
    top = MARGIN_PX + height + round(2.0 * SMALL_PX)
    bottom = top + LINE_PX * len(answers) + (NEAR_PX + 4 * SMALL_PX if found else round(1.5 * SMALL_PX))
    canvas = Image.new("RGB", (total, bottom + MARGIN_PX), GROUND)
    pen = ImageDraw.Draw(canvas)
    for left, pixels in ((MARGIN_PX, one.picture), (MARGIN_PX + width + GAP_PX, one.overlay)):
        canvas.paste(Image.fromarray(pixels), (left, MARGIN_PX))
    caption = fit_text(f"bright: speaks for {shown(one.label)}", SMALL_PX, width)
    write(canvas, caption, MARGIN_PX + width + GAP_PX, MARGIN_PX + height + round(1.3 * SMALL_PX), SMALL_PX, FAINT)
    if one.path:
        name = fit_text(one.path.replace("\\", "/").rsplit("/", 1)[-1], SMALL_PX, width)
        write(canvas, name, MARGIN_PX, MARGIN_PX + height + round(1.3 * SMALL_PX), SMALL_PX, FAINT)
    room = total - 2 * MARGIN_PX
    column = max(room // 3, length("> 99.9 %", TEXT_PX))
    for i, (name, share) in enumerate(answers):
        y = top + LINE_PX * (i + 1)
        bold = name == one.label
        write(canvas, fit_text(name, TEXT_PX, column, bold=bold), MARGIN_PX, y, TEXT_PX, INK, bold=bold)
        left, right = MARGIN_PX + column + GAP_PX, total - MARGIN_PX - length("> 99.9 %", TEXT_PX) - GAP_PX
        pen.rectangle((left, y - TEXT_PX // 2, right, y - TEXT_PX // 2 + BAR_PX), LINE)
        pen.rectangle((left, y - TEXT_PX // 2, left + round((right - left) * share), y - TEXT_PX // 2 + BAR_PX), BAR)
        text = percent(share)
        write(canvas, text, total - MARGIN_PX - length(text, TEXT_PX), y, TEXT_PX, INK, bold=bold)
    if found:
        _near(canvas, pen, found, near, top + LINE_PX * len(answers) + round(2.6 * SMALL_PX), room)
    elif one.nearest:
        line = fit_text(in_words(one.nearest), SMALL_PX, room)
        write(canvas, line, MARGIN_PX, bottom, SMALL_PX, FAINT)
    return canvas


def _near(
    canvas: Image.Image, pen: Any, found: list[Neighbour], near: dict[str, np.ndarray], top: int, room: int
) -> None:
    """Training pictures in a row, their classes below."""
    from PIL import Image

    write(canvas, fit_text(in_words(found), SMALL_PX, room), MARGIN_PX, top - SMALL_PX // 2, SMALL_PX, FAINT)
    for i, each in enumerate(found[: (room + GAP_PX) // (NEAR_PX + GAP_PX)]):
        x, image = MARGIN_PX + i * (NEAR_PX + GAP_PX), Image.fromarray(near[each.content])
        pen.rectangle((x, top, x + NEAR_PX - 1, top + NEAR_PX - 1), CELL)
        canvas.paste(image, (x + (NEAR_PX - image.width) // 2, top + (NEAR_PX - image.height) // 2))
        if each.label is not None:
            label = fit_text(each.label, SMALL_PX, NEAR_PX)
            write(canvas, label, x, top + NEAR_PX + round(1.3 * SMALL_PX), SMALL_PX, INK)


def in_words(nearest: tuple[Neighbour, ...] | list[Neighbour]) -> str:
    """The classes of the nearest training pictures: "its 5 nearest training pictures: 4 × dogs, 1 × cats"."""
    n = len(nearest)
    which = "its nearest training picture" if n == 1 else f"its {n} nearest training pictures"
    labels = [each.label for each in nearest if each.label is not None]
    if not labels:
        return which
    counts = sorted(((labels.count(name), name) for name in dict.fromkeys(labels)), key=lambda each: -each[0])
    return f"{which}: {', '.join(f'{n} × {shown(name)}' for n, name in counts)}"


def percent(share: float) -> str:
    """A probability in words; never 100 %, for no model is that sure."""
    if 0.001 <= share < 0.9995:
        return f"{100 * share:.1f} %"
    return "> 99.9 %" if share > 0.5 else "< 0.1 %"
