"""Pictures drawn for the benchmarks, of another kind than photos; `python benchmarks/sets.py` writes them.

A picture is a pure function of (class, number, seed). Each function gives an RGB picture of 200 to 400 px a side.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]

SHAPES = ("circle", "cross", "pentagon", "square", "star", "triangle")
TEXTURES = ("bricks", "cells", "checks", "dots", "grain", "stripes", "waves", "weave")
DOCUMENTS = ("bars", "code", "curves", "form", "letter", "table")


def shape(name: str, number: int, seed: int) -> Image.Image:
    """One shape, filled or as a line, turned, somewhere on a cluttered ground."""
    rng = _rng(SHAPES, name, number, seed)
    width, height = (int(side) for side in rng.integers(200, 401, 2))
    fine = 2  # drawn at twice the size: smooth edges
    ground, ink = _pair(rng)
    image = _blotches(rng, width * fine, height * fine, ground, spread=45)
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(8, 20))):
        _clutter(pen, rng, width * fine, height * fine)
    radius = fine * min(width, height) * rng.uniform(0.14, 0.34)
    x, y = rng.uniform(radius, width * fine - radius), rng.uniform(radius, height * fine - radius)
    corners = [(x + radius * u, y + radius * v) for u, v in _corners(name, rng.uniform(0, 2 * math.pi))]
    if rng.random() < 0.6:
        pen.polygon(corners, fill=ink)
    else:
        pen.line([*corners, *corners[:2]], fill=ink, width=int(radius * rng.uniform(0.1, 0.2)), joint="curve")
    return _as_photographed(image.resize((width, height), Image.Resampling.BOX), rng)


def texture(name: str, number: int, seed: int) -> Image.Image:
    """A surface without an object: two colours, turned, bent, unevenly lit."""
    rng = _rng(TEXTURES, name, number, seed)
    width, height = (int(side) for side in rng.integers(200, 401, 2))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    bend = rng.uniform(0, 12)
    x, y = x + bend * _smooth(rng, width, height, 4), y + bend * _smooth(rng, width, height, 4)
    angle, period = rng.uniform(0, 2 * math.pi), rng.uniform(12, 44)
    u = (x * math.cos(angle) + y * math.sin(angle)) / period
    v = (y * math.cos(angle) - x * math.sin(angle)) / period
    level = _SURFACES[name](u, v, rng)[..., None]  # (H, W, 1), 0–1
    ground, ink = (np.array(colour, np.float32) for colour in _pair(rng, apart=90))
    light = 1 + 0.25 * _smooth(rng, width, height, 3)[..., None]
    pixels = (ground * (1 - level) + ink * level) * light
    return _as_photographed(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), rng)


def document(name: str, number: int, seed: int) -> Image.Image:
    """A page as scanned: grey or yellowish, a little crooked."""
    rng = _rng(DOCUMENTS, name, number, seed)
    width, height = int(rng.integers(240, 321)), int(rng.integers(300, 401))
    paper = tuple(int(level) for level in rng.integers(215, 256) - rng.integers(0, 25, 3))
    image = Image.new("RGB", (width, height), paper)
    ink = tuple(int(level) for level in rng.integers(0, 90, 3))
    _PAGES[name](ImageDraw.Draw(image), rng, width, height, ink)
    image = image.rotate(rng.uniform(-4, 4), Image.Resampling.BICUBIC, fillcolor=paper)
    return _as_photographed(image, rng)


def _rng(names: tuple[str, ...], name: str, number: int, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, len(names), names.index(name), number])


def _pair(rng: np.random.Generator, apart: float = 110) -> tuple[Colour, Colour]:
    """Two colours that differ by at least `apart` in brightness."""
    while True:
        first, second = rng.integers(0, 256, (2, 3))
        if abs(first.mean() - second.mean()) > apart:
            return tuple(first.tolist()), tuple(second.tolist())


def _smooth(rng: np.random.Generator, width: int, height: int, knots: int) -> np.ndarray:
    """Noise without edges, float32 (H, W), about -1 to 1."""
    coarse = Image.fromarray(rng.uniform(-1, 1, (knots, knots)).astype(np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def _blotches(rng: np.random.Generator, width: int, height: int, colour: Colour, spread: float) -> Image.Image:
    """A colour that wanders by `spread` levels, each channel by itself."""
    layers = [np.clip(level + spread * _smooth(rng, width, height, 5), 0, 255) for level in colour]
    return Image.fromarray(np.stack(layers, -1).astype(np.uint8))


def _clutter(pen: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    """A line, an arc or a small blob that belongs to no class."""
    colour = tuple(int(level) for level in rng.integers(0, 256, 3))
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    size = rng.uniform(0.05, 0.4) * min(width, height)
    angle = rng.uniform(0, 2 * math.pi)
    thick = int(rng.integers(1, 9))
    kind = rng.integers(3)
    if kind == 0:
        pen.line((x, y, x + 2 * size * math.cos(angle), y + 2 * size * math.sin(angle)), fill=colour, width=thick)
    elif kind == 1:
        first = math.degrees(angle)
        pen.arc((x, y, x + size, y + size), first, first + rng.uniform(30, 120), fill=colour, width=thick)
    else:
        size *= 0.15
        pen.ellipse((x, y, x + size * rng.uniform(1, 3), y + size), fill=colour)


def _corners(name: str, angle: float) -> list[tuple[float, float]]:
    """The outline in a circle of radius 1, turned by `angle`."""
    if name == "cross":
        arm = 0.33
        steps = [(arm, 1), (arm, arm), (1, arm), (1, -arm), (arm, -arm), (arm, -1)]
        points = [*steps, *((-x, -y) for x, y in steps)]
    else:
        n = {"circle": 48, "pentagon": 5, "square": 4, "star": 10, "triangle": 3}[name]
        radii = [0.42 if name == "star" and i % 2 else 1.0 for i in range(n)]
        points = [(r * math.cos(2 * math.pi * i / n), r * math.sin(2 * math.pi * i / n)) for i, r in enumerate(radii)]
    sine, cosine = math.sin(angle), math.cos(angle)
    return [(x * cosine - y * sine, x * sine + y * cosine) for x, y in points]


def _as_photographed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A camera's share: contrast, tint, blur at times, noise."""
    pixels = np.asarray(image, np.float32)
    pixels = (pixels - 128) * np.float32(rng.uniform(0.6, 1.1))
    pixels += (128 + rng.uniform(-25, 25) + rng.uniform(-12, 12, 3)).astype(np.float32)
    pixels += rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(3, 14))
    image = Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.6))) if rng.random() < 0.4 else image


def _edge(distance: np.ndarray, sharp: float = 8) -> np.ndarray:
    """0 below zero, 1 above it, smooth between."""
    return 1 / (1 + np.exp(np.clip(-sharp * distance, -60, 60)))


def _bricks(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shifted = u / 2 + 0.5 * (np.floor(v) % 2)
    joint = rng.uniform(0.08, 0.16)
    return _edge(np.minimum((shifted % 1) - joint / 2, (v % 1) - joint), 30)


def _cells(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Voronoi: bright inside a cell, dark at its border."""
    low, high = (u.min(), v.min()), (u.max(), v.max())
    n = int(np.clip((high[0] - low[0]) * (high[1] - low[1]) / 2, 20, 160))
    nearest = np.full(u.shape, np.inf, np.float32)
    second = nearest.copy()
    for x, y in rng.uniform(low, high, (n, 2)):
        distance = np.hypot(u - x, v - y).astype(np.float32)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    return _edge(second - nearest - 0.15, 20)


def _grain(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of several scales; `v` is only here to be like the others."""
    height, width = u.shape
    level = sum(_smooth(rng, width, height, 4 * 2**k) / 1.5**k for k in range(5))
    return _edge(np.asarray(level), 3)


_SURFACES: dict[str, Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    "bricks": _bricks,
    "cells": _cells,
    "checks": lambda u, v, rng: _edge(np.sin(math.pi * u) * np.sin(math.pi * v)),
    "dots": lambda u, v, rng: _edge(rng.uniform(0.25, 0.4) - np.hypot(u % 1 - 0.5, v % 1 - 0.5), 25),
    "grain": _grain,
    "stripes": lambda u, v, rng: _edge(np.sin(2 * math.pi * u) + rng.uniform(-0.5, 0.5)),
    "waves": lambda u, v, rng: _edge(np.sin(2 * math.pi * (u + rng.uniform(0.3, 0.6) * np.sin(math.pi * v)))),
    "weave": lambda u, v, rng: np.where(
        (np.floor(u) + np.floor(v)) % 2 == 0, np.abs(np.sin(math.pi * u)), np.abs(np.sin(math.pi * v))
    ),
}


def _words(rng: np.random.Generator, n: int) -> str:
    letters = np.array(list("aaeeeiioounrtlsdcmpgbvfh"))
    return " ".join("".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(n))


def _font(rng: np.random.Generator, low: int = 8, high: int = 14) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(int(rng.integers(low, high)))  # Pillow's own


def _letter(pen, rng, width, height, ink) -> None:
    font, step, margin = _font(rng), int(rng.integers(11, 17)), int(rng.integers(15, 40))
    y = margin
    pen.text((width - margin - 80, y), _words(rng, 2), ink, _font(rng))
    y += 3 * step
    while y < height - margin:
        for _ in range(int(rng.integers(3, 8))):
            pen.text((margin, y), _words(rng, 12)[: int((width - 2 * margin) / 5.2)], ink, font)
            y += step
            if y >= height - margin:
                break
        y += step


def _code(pen, rng, width, height, ink) -> None:
    font, step, y, depth = _font(rng, 8, 12), int(rng.integers(11, 15)), int(rng.integers(8, 24)), 0
    while y < height - 12:
        line = f"{_words(rng, 1)}({_words(rng, 1)}) {rng.choice(['{', '=', '->', ';', '}'])} {_words(rng, 1)}"
        pen.text((10, y), f"{y // step:3d}", ink, font)
        pen.text((36 + 14 * depth, y), line if rng.random() < 0.9 else "", ink, font)
        depth = int(np.clip(depth + rng.integers(-1, 2), 0, 5))
        y += step


def _table(pen, rng, width, height, ink) -> None:
    left, top = int(rng.integers(10, 30)), int(rng.integers(15, 60))
    columns, rows = int(rng.integers(3, 7)), int(rng.integers(7, 16))
    right, bottom = width - left, min(height - 15, top + rows * int(rng.integers(16, 24)))
    font = _font(rng, 8, 11)
    for i in range(rows + 1):
        y = top + (bottom - top) * i / rows
        pen.line((left, y, right, y), ink)
        for j in range(columns if i < rows else 0):
            text = _words(rng, 1)[:6] if i == 0 or j == 0 else f"{rng.uniform(0, 999):.1f}"
            pen.text((left + (right - left) * j / columns + 3, y + 2), text, ink, font)
    for j in range(columns + 1):
        x = left + (right - left) * j / columns
        pen.line((x, top, x, bottom), ink)


def _form(pen, rng, width, height, ink) -> None:
    margin, y = int(rng.integers(12, 30)), int(rng.integers(12, 40))
    pen.text((margin, y), _words(rng, 3), ink, _font(rng, 13, 18))
    y += 30
    while y < height - 40:
        pen.text((margin, y), _words(rng, 1)[:9] + ":", ink, _font(rng, 8, 11))
        if rng.random() < 0.7:
            pen.rectangle((margin + 70, y - 2, width - margin, y + 14), outline=ink)
        else:
            for x in range(margin + 70, width - margin - 50, 60):
                pen.rectangle((x, y, x + 10, y + 10), outline=ink)
                pen.text((x + 14, y), _words(rng, 1)[:5], ink, _font(rng, 8, 11))
        y += int(rng.integers(22, 34))


def _axes(pen, rng, width, height, ink) -> tuple[float, float, float, float]:
    left, top = rng.uniform(25, 50), rng.uniform(20, height * 0.4)
    right, bottom = width - rng.uniform(10, 40), height - rng.uniform(30, height * 0.3)
    pen.line((left, top, left, bottom, right, bottom), ink, width=2)
    for i in range(5):
        pen.text((left - 22, bottom - (bottom - top) * i / 5 - 5), f"{i * 20}", ink, _font(rng, 8, 10))
    pen.text((left, top - 16), _words(rng, 3), ink, _font(rng, 10, 14))
    return left, top, right, bottom


def _bars(pen, rng, width, height, ink) -> None:
    left, top, right, bottom = _axes(pen, rng, width, height, ink)
    n = int(rng.integers(3, 12))
    for i in range(n):
        x = left + (right - left) * (i + 0.2) / n
        colour = tuple(int(level) for level in rng.integers(30, 220, 3))
        pen.rectangle((x, bottom - rng.uniform(0.05, 1) * (bottom - top), x + 0.6 * (right - left) / n, bottom), colour)


def _curves(pen, rng, width, height, ink) -> None:
    left, top, right, bottom = _axes(pen, rng, width, height, ink)
    steps = np.linspace(0, 1, 60)
    for _ in range(int(rng.integers(1, 5))):
        level = 0.5 + 0.4 * np.sin(rng.uniform(1, 14) * steps + rng.uniform(0, 6)) * rng.uniform(0.3, 1)
        level = np.clip(level + rng.uniform(-0.3, 0.3) * (steps - 0.5) + rng.normal(0, 0.02, 60), 0, 1)
        colour = tuple(int(each) for each in rng.integers(0, 200, 3))
        points = zip(left + (right - left) * steps, bottom - (bottom - top) * level, strict=True)
        pen.line([(float(x), float(y)) for x, y in points], colour, width=int(rng.integers(1, 4)))


_PAGES: dict[str, Callable[..., None]] = {
    "bars": _bars,
    "code": _code,
    "curves": _curves,
    "form": _form,
    "letter": _letter,
    "table": _table,
}
