"""Any picture to the model's fixed uint8 (S, S, 3): the one resize and crop policy of every road.

Training, evaluation, prediction, serving, explaining and exporting all go through `load` or `fit`; the
settings travel in the bundle. Where a picture shrinks, each new pixel is the mean of the area that it covers
(`cv2.INTER_AREA`), which keeps fine patterns from turning into false ones.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart import pictures
from tellapart.errors import SettingsError

VERSION = 1  # of what is done to the pixels; another number means other pixels
MIN_SIZE_PX, MAX_SIZE_PX = 8, 1024
SIZE_BYTES = 32  # what `square_and_size` gives beside the square, rounded up
FITS = ("squash", "crop")


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a picture becomes a square. Raises SettingsError for a value out of its range."""

    size_px: int  # side of the square, 8 to 1024
    fit: str = "squash"  # "squash": all of the picture, its shape lost; "crop": the largest centred square

    def __post_init__(self) -> None:
        size = self.size_px
        if not isinstance(size, int) or isinstance(size, bool) or not MIN_SIZE_PX <= size <= MAX_SIZE_PX:
            raise SettingsError(
                f"size_px must be a whole number from {MIN_SIZE_PX} to {MAX_SIZE_PX}; got {size!r}. Try 224."
            )
        if self.fit not in FITS:
            raise SettingsError(f"fit must be 'squash' or 'crop'; got {self.fit!r}. Try 'squash'.")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a bundle's manifest: `version`, `size_px`, `fit`."""
        return {"version": VERSION, "size_px": self.size_px, "fit": self.fit}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocess:
        """Read what `as_dict` wrote. Raises SettingsError for another version, other keys, or a bad value."""
        version = values.get("version")
        if version != VERSION or isinstance(version, bool):
            raise SettingsError(
                f"preprocessing must be of version {VERSION}; got {version!r}. A newer tellapart may read it."
            )
        expected = {"version", "size_px", "fit"}
        if set(values) != expected:
            raise SettingsError(
                f"preprocessing must have exactly the keys {sorted(expected)}; got {sorted(map(str, values))}."
            )
        return cls(size_px=values["size_px"], fit=values["fit"])


def fit(pixels: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Bring a picture to the square that the model takes.

    `pixels` is uint8 (H, W, 3), H and W from 1 up. The result is a new uint8 (S, S, 3), C-contiguous. "crop"
    first takes the largest centred square; of an odd remainder the larger half is cut at the bottom or right.

    Each axis is then resized by its own rule: averaged over areas where it shrinks, interpolated linearly
    where it grows. Where one shrinks and the other grows, the shrinking comes first.
    """
    import cv2

    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"pixels must be uint8 (H, W, 3); got {pixels.dtype} {pixels.shape}")
    size = preprocess.size_px
    if preprocess.fit == "crop":
        height, width = pixels.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    # INTER_AREA averages only while neither axis grows (otherwise OpenCV silently turns to interpolation), so
    # the growing axis waits for a second pass.
    height, width = pixels.shape[:2]
    shrunk = cv2.resize(pixels, (min(width, size), min(height, size)), interpolation=cv2.INTER_AREA)
    if shrunk.shape[:2] == (size, size):
        return shrunk
    return cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_LINEAR)


def load(source: str | os.PathLike[str] | bytes, preprocess: Preprocess) -> np.ndarray:
    """Read a picture, a path or the bytes of a file, into uint8 (S, S, 3). Raises PictureError.

    The JPEG decoder may scale by 1/2, 1/4 or 1/8, as long as both sides stay S or longer.
    """
    opener = pictures.decode if isinstance(source, bytes) else pictures.read
    return fit(opener(source, at_least_px=preprocess.size_px).pixels, preprocess)  # pyright: ignore[reportArgumentType]


def square(data: bytes, how: dict[str, Any]) -> np.ndarray:
    """`load` of the bytes of a file, by plain values as `Preprocess.as_dict` gives them."""
    return load(data, Preprocess.from_dict(how))


def square_and_size(data: bytes, how: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Likewise, with the width and height of the upright file, px, int64 (2,)."""
    settings = Preprocess.from_dict(how)
    picture = pictures.decode(data, at_least_px=settings.size_px)
    return fit(picture.pixels, settings), np.array([picture.width_px, picture.height_px], np.int64)
