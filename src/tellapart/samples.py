"""A decoded picture in any of Pillow's modes to 8 bits of red, green and blue: see `pictures`."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

BAND_PIXELS = 2**22  # converted at a time


def to_rgb(image: Image.Image, data: bytes) -> np.ndarray:
    """The loaded `image` of any of Pillow's modes to uint8 (H, W, 3), writable.

    Some rows at a time: every step makes a copy, and of a large picture there is room for one only.
    """
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _deep_to_rgb(image)
    convert = _conversion(image, data)
    width, height = image.size
    rows = max(BAND_PIXELS // width, 1)
    if rows >= height:
        return convert(image)
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        pixels[top : top + rows] = convert(image.crop((0, top, width, min(top + rows, height))))
    return pixels


def _conversion(image: Image.Image, data: bytes) -> Callable[[Image.Image], np.ndarray]:
    """How a picture like `image`, of up to 8 bits a sample, becomes uint8 (H, W, 3)."""
    mode, key = image.mode, image.info.get("transparency")
    if mode == "CMYK":
        return lambda part: np.array(_cmyk_to_rgb(part))
    if mode == "LAB":
        from PIL import ImageCms

        return lambda part: np.array(_by_profile(part, ImageCms.createProfile("LAB")))
    if mode in {"1", "L", "RGB"} and key is not None:
        values = _key_in_8_bits(image, key, data)
        return lambda part: _keyed_to_rgb(part, values)
    if mode in {"LA", "La", "PA", "RGBA", "RGBa"} or (mode == "P" and key is not None):
        return _over_white
    return lambda part: np.array(part.convert("RGB"))


def _over_white(image: Image.Image) -> np.ndarray:
    from PIL import Image

    straight = image.convert("LA") if image.mode == "La" else image  # La has no direct way to RGBA
    white = Image.new("RGBA", image.size, "white")
    return np.array(Image.alpha_composite(white, straight.convert("RGBA")).convert("RGB"))


def _key_in_8_bits(image: Image.Image, key: int | tuple[int, ...], data: bytes) -> np.ndarray:
    """The value that is transparent. Pillow brings pixels to 8 bits, but not a PNG's tRNS chunk."""
    if image.format == "PNG" and image.mode != "1" and data[12:16] == b"IHDR":
        depth = data[24]  # 1, 2, 4, 8 or 16 bits a sample
        values = key if isinstance(key, tuple) else (key,)
        key = tuple(v >> 8 if depth == 16 else v * 255 // (2**depth - 1) for v in values)
    return np.array(key)


def _keyed_to_rgb(image: Image.Image, key: np.ndarray) -> np.ndarray:
    """A picture one of whose values is transparent: white there."""
    rgb = np.array(image.convert("RGB"))
    rgb[(rgb == key).all(axis=2)] = 255
    return rgb


def _deep_to_rgb(image: Image.Image) -> np.ndarray:
    """Grey of 12, 16 or 32 bits or floats to 8 bits, by the rules at the head of `pictures`."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})  # TIFF only
    bits = 12 if tags.get(258) == (12,) else 16  # BitsPerSample
    rows = max(BAND_PIXELS // image.width, 1)
    bands = [slice(top, top + rows) for top in range(0, image.height, rows)]
    low = high = 0.0
    if not image.mode.startswith("I;16"):
        ends = [end for band in bands for end in _ends(values[band])]
        low, high = (min(ends), max(ends)) if ends else (0.0, 0.0)
        bits = 16
    pixels = np.empty((*values.shape, 3), np.uint8)
    key = image.info.get("transparency")  # of a 16-bit PNG
    for band in bands:
        part = values[band]
        if image.mode.startswith("I;16") or (image.mode == "I" and low >= 0 and high <= 65535):
            grey = (part >> (bits - 8)).astype(np.uint8)
        else:
            least, most = (0.0, 1.0) if image.mode == "F" and low >= 0 and high <= 1 else (low, high)
            known = np.nan_to_num(part.astype(np.float64), nan=least, posinf=most, neginf=least)
            grey = np.rint((known - least) / ((most - least) or 1.0) * 255).astype(np.uint8)
        if tags.get(262) == 0:  # PhotometricInterpretation WhiteIsZero, which Pillow minds only up to 8 bits
            grey = 255 - grey
        if isinstance(key, int):
            grey[part == key] = 255
        pixels[band] = grey[:, :, None]
    return pixels


def _ends(values: np.ndarray) -> list[float]:
    """The smallest and the largest of the finite values; none where there are none."""
    finite = values[np.isfinite(values)]
    return [float(finite.min()), float(finite.max())] if finite.size else []


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    """By the embedded profile where it is one for CMYK, else plainly. Pillow has undone Adobe's inversion."""
    from PIL import ImageCms

    embedded = image.info.get("icc_profile")
    if embedded:
        try:
            source: Any = ImageCms.ImageCmsProfile(BytesIO(embedded))
            if source.profile.xcolor_space.strip() == "CMYK":
                return _by_profile(image, source)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a damaged profile counts as none: the picture itself is sound
    return image.convert("RGB")


def _by_profile(image: Image.Image, source: Any) -> Image.Image:
    from PIL import ImageCms

    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # as it is only where the image itself is changed
    return converted
