"""Pictures that belong to nobody's classes: noise, drawings and screens full of text.

A picture is a pure function of (kind, number, seed); RGB, 200 to 400 px a side. Nothing was chosen by them.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WORDS = """
the model was trained on pictures error warning file open close edit view help settings total price order date name
address message reply forward inbox 2026 09:41 def return import for while if else print self None True SELECT FROM
WHERE commit push merge branch user admin password login OK Cancel Apply Next Back Finish
""".split()  # noqa: SIM905 - forty quotes are no easier to read


def noise(number: int, seed: int = 0) -> Image.Image:
    """By turns uniform, normal about a colour, clouds of several octaves, salt and pepper."""
    rng = np.random.default_rng([seed, 1, number])
    width, height = (int(side) for side in rng.integers(200, 401, 2))
    kind = number % 4
    if kind == 0:
        pixels = rng.integers(0, 256, (height, width, 3)).astype(float)
    elif kind == 1:
        pixels = rng.integers(40, 216, 3) + rng.uniform(10, 70) * rng.standard_normal((height, width, 3))
    elif kind == 2:
        pixels = 128 + sum(_octave(rng, width, height, 2**k) * 90 / 1.5**k for k in range(1, 7))
    else:
        pixels = np.full((height, width, 3), rng.integers(0, 256, 3), float)
        spots = rng.random((height, width))
        pixels[spots < 0.1], pixels[spots > 0.9] = 0, 255
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def drawing(number: int, seed: int = 0) -> Image.Image:
    """By turns a face, a house with a tree, a flower, a scribble; lines of a pen, some of it filled."""
    rng = np.random.default_rng([seed, 2, number])
    width, height = (int(side) for side in rng.integers(200, 401, 2))
    paper = tuple(rng.integers(225, 256, 3).tolist()) if rng.random() < 0.7 else tuple(rng.integers(0, 256, 3).tolist())
    image = Image.new("RGB", (2 * width, 2 * height), paper)
    pen = ImageDraw.Draw(image)
    (_face, _house, _flower, _scribble)[number % 4](pen, rng, 2 * width, 2 * height)
    return image.resize((width, height), Image.Resampling.BOX)


def screen(number: int, seed: int = 0) -> Image.Image:
    """By turns a terminal, a page of text, a window with buttons."""
    rng = np.random.default_rng([seed, 3, number])
    width, height = (int(side) for side in rng.integers(240, 401, 2))
    dark = number % 3 == 0 or rng.random() < 0.3
    ground, ink = ((20, 24, 30), (200, 220, 200)) if dark else ((250, 250, 250), (30, 30, 40))
    image = Image.new("RGB", (width, height), ground)
    pen, size = ImageDraw.Draw(image), int(rng.integers(9, 20))
    font, y = ImageFont.load_default(size), int(rng.integers(2, 12))
    if number % 3 == 2:
        bar = tuple(rng.integers(40, 200, 3).tolist())
        pen.rectangle((0, 0, width, 2 * size), bar)
        pen.text((6, size // 2), " ".join(rng.choice(WORDS, 3)), (255, 255, 255), font)
        y = 2 * size + 8
        for i in range(3):
            left = 8 + i * width // 3
            pen.rectangle((left, height - 2 * size - 6, left + width // 4, height - 6), bar)
            pen.text((left + 5, height - 2 * size), str(rng.choice(WORDS)), (255, 255, 255), font)
        height -= 3 * size
    while y < height - size:
        indent = int(rng.integers(0, 4)) * size if number % 3 == 0 else 6
        line = " ".join(rng.choice(WORDS, int(rng.integers(2, 12))))
        colour = tuple(rng.integers(90, 256, 3).tolist()) if dark and rng.random() < 0.3 else ink
        pen.text((indent + 4, y), line, colour, font)
        y += int(size * 1.4)
    return image


KINDS = {"noise": noise, "drawings": drawing, "screens": screen}


def _octave(rng: np.random.Generator, width: int, height: int, knots: int) -> np.ndarray:
    coarse = rng.uniform(-1, 1, (knots + 1, knots + 1, 3)).astype(np.float32)
    layers = [
        np.asarray(Image.fromarray(coarse[..., c]).resize((width, height), Image.Resampling.BICUBIC)) for c in range(3)
    ]
    return np.stack(layers, axis=-1)


def _style(rng: np.random.Generator) -> tuple[tuple[int, ...], int]:
    return tuple(rng.integers(0, 110, 3).tolist()), int(rng.integers(4, 12))


def _colour(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(rng.integers(60, 256, 3).tolist())


def _face(pen: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    ink, thick = _style(rng)
    r = min(width, height) * rng.uniform(0.25, 0.42)
    x, y = width / 2 + rng.uniform(-30, 30), height / 2 + rng.uniform(-30, 30)
    pen.ellipse((x - r, y - r, x + r, y + r), _colour(rng), ink, thick)
    for side in (-1, 1):
        eye, size = x + side * r * 0.4, r * rng.uniform(0.08, 0.16)
        pen.ellipse((eye - size, y - r * 0.3 - size, eye + size, y - r * 0.3 + size), (255, 255, 255), ink, thick // 2)
        pen.ellipse((eye - size / 3, y - r * 0.3 - size / 3, eye + size / 3, y - r * 0.3 + size / 3), ink)
    pen.line((x, y - r * 0.1, x - r * 0.1, y + r * 0.15, x + r * 0.05, y + r * 0.15), ink, thick)
    start = 20 if rng.random() < 0.7 else 200
    pen.arc((x - r * 0.5, y, x + r * 0.5, y + r * 0.6), start, start + 140, ink, thick)
    for _ in range(int(rng.integers(0, 25))):
        angle = rng.uniform(math.pi, 2 * math.pi)
        u, v = math.cos(angle), math.sin(angle)
        pen.line((x + r * u, y + r * v, x + r * 1.2 * u, y + r * 1.2 * v), ink, thick)


def _house(pen: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    ink, thick = _style(rng)
    ground = height * rng.uniform(0.7, 0.9)
    pen.line((0, ground, width, ground), ink, thick)
    left, w, h = width * rng.uniform(0.05, 0.3), width * rng.uniform(0.3, 0.45), height * rng.uniform(0.25, 0.4)
    pen.rectangle((left, ground - h, left + w, ground), _colour(rng), ink, thick)
    roof = [(left - w * 0.1, ground - h), (left + w / 2, ground - h * 1.6), (left + w * 1.1, ground - h)]
    pen.polygon(roof, _colour(rng), ink, thick)
    pen.rectangle((left + w * 0.4, ground - h * 0.5, left + w * 0.6, ground), _colour(rng), ink, thick)
    for side in (0.1, 0.7):
        window = (left + w * side, ground - h * 0.85, left + w * (side + 0.2), ground - h * 0.6)
        pen.rectangle(window, _colour(rng), ink, thick)
    x = width * rng.uniform(0.75, 0.9)
    pen.line((x, ground, x, ground - h * 0.6), ink, 2 * thick)
    pen.ellipse((x - w * 0.25, ground - h * 1.3, x + w * 0.25, ground - h * 0.5), _colour(rng), ink, thick)
    sun = width * rng.uniform(0.05, 0.12)
    pen.ellipse((width - 3 * sun, sun, width - sun, 3 * sun), (250, 210, 60), ink, thick)


def _flower(pen: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    ink, thick = _style(rng)
    for _ in range(int(rng.integers(1, 4))):
        x, y, r = width * rng.uniform(0.2, 0.8), height * rng.uniform(0.2, 0.5), min(width, height) * 0.1
        pen.line((x, y, x + rng.uniform(-30, 30), height), (50, 130, 50), 2 * thick)
        petals, colour = int(rng.integers(5, 10)), _colour(rng)
        for k in range(petals):
            u, v = (r * f(2 * math.pi * k / petals) for f in (math.cos, math.sin))
            pen.ellipse((x + u - r * 0.6, y + v - r * 0.6, x + u + r * 0.6, y + v + r * 0.6), colour, ink, thick)
        pen.ellipse((x - r / 2, y - r / 2, x + r / 2, y + r / 2), (250, 210, 60), ink, thick)


def _scribble(pen: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    for _ in range(int(rng.integers(1, 5))):
        ink, thick = _style(rng)
        steps = rng.standard_normal((int(rng.integers(30, 150)), 2)).cumsum(axis=0)
        steps = np.cumsum(steps * 3, axis=0) if rng.random() < 0.3 else steps * 25
        low, high = steps.min(axis=0), steps.max(axis=0)
        points = (steps - low) / np.maximum(high - low, 1) * (0.9 * width, 0.9 * height) + (0.05 * width, 0.05 * height)
        pen.line([tuple(point) for point in points.tolist()], ink, thick, joint="curve")
