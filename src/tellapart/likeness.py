"""How alike two pictures are, pixel by pixel, once one is laid over the other.

What is compared is fine detail, not brightness: the difference of two blurs, so that light, contrast and gradients play
no part. One picture may be a part of the other: the part is looked for, then fitted by an affine map (ECC: Evangelidis
and Psarakis, PAMI 2008). The quarter of the picture that fits worst is left out, where a caption or a mark may stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

PARTS = (0.97, 0.94, 0.91, 0.88, 0.84, 0.8)  # shares of a side that a cropped copy may show
TILES = 4  # of a side
LEFT_OUT = 4  # of the tiles
LEAST_SHOWN = 0.6  # of the area: less of it in common is no basis
COLOURS = 0.8  # cosine of the colours of a picture and its copy, at least: a crop of a tenth may move them so far
SURE = 0.97  # a fit that needs no refining
_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 25, 1e-4)


@dataclass(frozen=True, slots=True)
class Likeness:
    """How two pictures go together."""

    score: float  # correlation of fine detail, -1 to 1
    shown: float  # how much of the first picture's side the second shows, about; 1 is all


def compare(first: np.ndarray, second: np.ndarray, *, refine: bool = True) -> Likeness:
    """How well the second of two pictures, uint8 (S, S), grey, S a multiple of 4, shows the first or a part of it.

    `refine` fits it as exactly as can be; without it is several times as fast, and a good guess.
    """
    whole, other = (np.ascontiguousarray(each, np.float32) for each in (first, second))
    detail, other_detail = _detail(whole), _detail(other)
    way = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    best = _score(detail, other_detail, way)
    if best < SURE:
        part = _part(detail, other_detail, PARTS if refine else PARTS[1::2])
        score = _score(detail, other_detail, part)
        if score > best:
            best, way = score, part
    if refine and best < SURE:
        everywhere = np.ones(whole.shape, np.uint8)
        try:
            _, fitted = cv2.findTransformECC(other, whole, way.copy(), cv2.MOTION_AFFINE, _STEPS, everywhere, 5)
        except cv2.error:  # it does not converge: they have nothing in common there
            fitted = way
        score = _score(detail, other_detail, fitted)
        if score > best:
            best, way = score, fitted
    return Likeness(best, float(np.sqrt(abs(np.linalg.det(way[:, :2])))))


def same_colours(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether colours (S, S, 2) can be of one picture, more or less vivid; grey can be of any."""
    a, b = first.astype(np.float64).ravel(), second.astype(np.float64).ravel()
    power_a, power_b = a @ a, b @ b
    if min(power_a, power_b) < 4.0 * a.size:  # within 2 levels of grey
        return True
    cosine = a @ b / np.sqrt(power_a * power_b)
    return bool(cosine > COLOURS)


def _part(detail: np.ndarray, other: np.ndarray, parts: Sequence[float]) -> np.ndarray:
    """Where in the first picture the second lies best, as an affine map from places in the second, float32 (2, 3)."""
    side = len(detail)
    best, found = -2.0, (side, 0, 0)
    for part in parts:
        size = round(part * side)
        small = cv2.resize(other, (size, size), interpolation=cv2.INTER_AREA)
        _, value, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(detail, small, cv2.TM_CCOEFF_NORMED))
        if value > best:
            best, found = value, (size, x, y)
    size, x, y = found
    scale = size / side
    # Pixel centres lie at half-integers: (u + 0.5) * scale + x - 0.5
    return np.array([[scale, 0, x + (scale - 1) / 2], [0, scale, y + (scale - 1) / 2]], np.float32)


def _detail(picture: np.ndarray) -> np.ndarray:
    unit = len(picture) / 64
    return cv2.GaussianBlur(picture, (0, 0), max(unit, 0.5)) - cv2.GaussianBlur(picture, (0, 0), 2.5 * unit)


def _score(detail: np.ndarray, other: np.ndarray, way: np.ndarray) -> float:
    """The correlation of the tiles that fit best, with `way` from places in the second to places in the first."""
    side = len(detail)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(detail, way, (side, side), flags=how)
    inside = cv2.warpAffine(
        np.ones((side, side), np.float32), way, (side, side), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    if inside.mean() < LEAST_SHOWN:
        return -1.0
    seen = other * inside
    aa, bb, ab = _tiles(moved * moved), _tiles(seen * seen), _tiles(moved * seen)
    if min(aa.sum(), bb.sum()) < 1e-3 * side * side:  # next to no detail
        return 0.0
    gain = np.sqrt(aa.sum() / bb.sum())
    misfit = aa + gain * gain * bb - 2 * gain * ab
    kept = np.argsort(misfit, kind="stable")[: TILES * TILES - LEFT_OUT]
    power = float(aa[kept].sum()) * float(bb[kept].sum())
    return float(ab[kept].sum() / np.sqrt(power)) if power > 1e-6 else 0.0


def _tiles(picture: np.ndarray) -> np.ndarray:
    size = len(picture) // TILES
    return picture.reshape(TILES, size, TILES, size).sum(axis=(1, 3), dtype=np.float64).ravel()
