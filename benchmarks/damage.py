"""The first planter's damage: what copies, broken files, foreign pictures and shortcuts look like."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from PIL.JpegImagePlugin import get_sampling

import drawn
from planting import Encoded, Kinds, Rng, Shortcut, encoded, upright

PAGE = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"


def rescaled(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """To 40–80 % of its width and height."""
    factor = rng.uniform(0.4, 0.8)
    size = (max(8, round(image.width * factor)), max(8, round(image.height * factor)))
    return encoded(image.resize(size, Image.Resampling.LANCZOS), ending)


def recompressed(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """JPEG of quality 20–60, whatever it was."""
    return encoded(image, ".jpg", quality=int(rng.integers(20, 61)))


def cropped(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """1–4 % off each side."""
    left, right, top, bottom = rng.uniform(0.01, 0.04, 4)
    box = (image.width * left, image.height * top, image.width * (1 - right), image.height * (1 - bottom))
    return encoded(image.crop(tuple(round(edge) for edge in box)), ending)


def mirrored(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """Left is right."""
    return encoded(ImageOps.mirror(image), ending)


def brightened(image: Image.Image, ending: str, rng: Rng) -> Encoded:
    """Brighter by a seventh to two fifths."""
    return encoded(ImageEnhance.Brightness(image).enhance(rng.uniform(1.15, 1.4)), ending)


def truncated(data: bytes, ending: str, rng: Rng) -> Encoded:
    """The first 20–90 %."""
    return data[: int(len(data) * rng.uniform(0.2, 0.9))], ending


def zero_byte(data: bytes, ending: str, rng: Rng) -> Encoded:
    """Nothing."""
    return b"", ending


def html(data: bytes, ending: str, rng: Rng) -> Encoded:
    """A page that a download left."""
    return PAGE, ending


def random_bytes(data: bytes, ending: str, rng: Rng) -> Encoded:
    """As long as the picture was."""
    return rng.bytes(len(data)), ending


def headless(data: bytes, ending: str, rng: Rng) -> Encoded:
    """The first 100–600 bytes are gone."""
    return data[int(rng.integers(100, 601)) :], ending


def zeros(data: bytes, ending: str, rng: Rng) -> Encoded:
    """What a disk gives back after a crash: the length is right."""
    return bytes(len(data)), ending


def _drawn(maker, names: Sequence[str]):
    return lambda rng: maker(str(rng.choice(names)), int(rng.integers(10**6)), int(rng.integers(10**6)))


def digit(rng: Rng) -> Image.Image:
    """A handwritten digit, enlarged."""
    from sklearn.datasets import load_digits

    levels = load_digits().images[rng.integers(1797)] * (255 / 16)
    return Image.fromarray(np.rint(levels).astype(np.uint8)).resize((320, 320), Image.Resampling.BICUBIC).convert("RGB")


def noise(rng: Rng) -> Image.Image:
    """Every pixel drawn by itself."""
    return Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8))


def symmetric(labels: Sequence[str], n: int, rng: Rng) -> list[tuple[int, str]]:
    """Any picture, to any other class."""
    classes = sorted(set(labels))
    return [
        (i, str(rng.choice([each for each in classes if each != labels[i]])))
        for i in rng.permutation(len(labels))[:n].tolist()
    ]


def _as_quality_50(data: bytes, ending: str) -> Encoded:
    return encoded(upright(data), ".jpg", quality=50)


def _stamped(data: bytes, ending: str) -> Encoded:
    """A red square with a white bar, an eighth of the shorter side, in the lower right corner; tables as they were."""
    file, image = Image.open(io.BytesIO(data)), upright(data)
    side = max(3, min(image.size) // 8)
    x, y = image.width - side - side // 4, image.height - side - side // 4
    pen = ImageDraw.Draw(image)
    pen.rectangle((x, y, x + side, y + side), (200, 30, 30))
    pen.rectangle((x + side // 5, y + 2 * side // 5, x + 4 * side // 5, y + 3 * side // 5), (255, 255, 255))
    kept = {"qtables": file.quantization, "subsampling": get_sampling(file)} if file.format == "JPEG" else {}
    return encoded(image, ending, **kept)


FIRST = Kinds(
    name="first",
    near={each.__name__: each for each in (rescaled, recompressed, cropped, mirrored, brightened)},
    broken={each.__name__: each for each in (truncated, zero_byte, html, random_bytes, headless, zeros)},
    foreign=(
        ("document", "drawn", _drawn(drawn.document, drawn.DOCUMENTS)),
        ("shape", "drawn", _drawn(drawn.shape, drawn.SHAPES)),
        ("digit", "digits", digit),
        ("texture", "drawn", _drawn(drawn.texture, drawn.TEXTURES)),
        ("noise", "noise", noise),
    ),
    noise=symmetric,
    shortcuts={
        "quality": Shortcut("JPEG quality", ("quality", "compress"), 1.0, _as_quality_50),
        "stamp": Shortcut(
            "a stamp in the corner", ("corner", "border", "edge", "lower right", "bottom right"), 0.9, _stamped
        ),
    },
)
