"""Random changes of a picture, each one fused affine warp and each a pure function of (seed, epoch, index).

No generator is carried along: the draws of a picture are hashes of (seed, epoch, index, channel), so they
do not depend on the batch a picture stands in, on the order of work, or on what ran before. A resumed run
therefore sees the very pictures that an uninterrupted one would have seen.

Shear, zoom and flip follow Keras' ``ImageDataGenerator`` (``keras.src.legacy.preprocessing.image``): the
same distributions, order of composition, centre and "nearest" filling. The random resized crop is the one
of Szegedy et al., "Going deeper with convolutions" (arXiv:1409.4842), with sub-pixel corners.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from tellapart.errors import SettingsError

# How often a crop that does not fit into the picture is drawn again before the whole picture is taken
# (torchvision's RandomResizedCrop has the same ten).
_CROP_TRIES = 10

# Channels of the draws of one picture. Their numbers are part of what a seed means: never renumber them.
_SHEAR, _ZOOM_X, _ZOOM_Y, _FLIP, _CROP_X, _CROP_Y, _CROP_SHAPES = range(7)
_CHANNELS = 32  # at least _CROP_SHAPES + 2 * _CROP_TRIES
_ORDER_STREAM, _AUGMENT_STREAM = 1, 2

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may happen to a picture in training; the default changes nothing.

    Raises `SettingsError` for a value outside its range.
    """

    shear_deg: float = 0.0  # degrees, [0, 90): the angle is uniform in [-shear_deg, shear_deg]
    zoom: float = 0.0  # [0, 1): zx and zy, each on its own, uniform in [1 - zoom, 1 + zoom]; > 1 shows more
    flip: bool = False  # left and right exchanged with probability 0.5
    crop_scale: tuple[float, float] | None = None  # area of the crop, fraction of the picture's, in (0, 1]
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width / height of the crop, > 0, log-uniform

    def __post_init__(self) -> None:
        if not 0 <= self.shear_deg < 90:
            raise SettingsError(f"shear_deg must be in the range [0, 90) degrees; got {self.shear_deg}.")
        if not 0 <= self.zoom < 1:
            raise SettingsError(f"zoom must be in the range [0, 1); got {self.zoom}.")
        if self.crop_scale is not None and not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise SettingsError(f"crop_scale must be (low, high) with 0 < low <= high <= 1; got {self.crop_scale}.")
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1] < math.inf:
            raise SettingsError(f"crop_ratio must be (low, high) with 0 < low <= high; got {self.crop_ratio}.")


# The tutorial's ImageDataGenerator(shear_range=0.2, zoom_range=0.2, horizontal_flip=True). Its shear is in
# degrees, so 0.2 hardly shears at all: that is what the tutorial does, whatever it meant to do.
TUTORIAL = Augmentation(shear_deg=0.2, zoom=0.2, flip=True)

# For networks trained from scratch.
CROP = Augmentation(crop_scale=(0.35, 1.0), flip=True)


def matrices(
    augmentation: Augmentation, *, seed: int, epoch: int, indices: np.ndarray, in_px: int, out_px: int
) -> np.ndarray:
    """The random affine maps of some pictures in one epoch.

    Args:
        augmentation: what may happen.
        seed, epoch: any integers; only their lowest 64 bits count.
        indices: int64 (B,), which picture each row is about: its fixed place in the list of pictures, not
            its place in the batch. The row of an index is the same whatever else is asked for.
        in_px, out_px: side of the input and of the output picture, >= 1.

    Returns:
        float64 (B, 2, 3): each maps an output pixel (column, row, 1) to input (column, row), pixel centres
        at whole numbers: what `cv2.warpAffine` takes with ``WARP_INVERSE_MAP``. Going from the output to
        the input, the flip comes first, then zoom and shear about the centre, then the crop.
    """
    indices = np.asarray(indices)
    draw = _uniforms(_stream(seed, epoch, _AUGMENT_STREAM), indices)

    # Both below are in units of half a picture, the centre at (0, 0): u' = linear @ u, columns before rows.
    shear = np.radians(augmentation.shear_deg) * (2 * draw(_SHEAR) - 1)
    zoom_x = 1 + augmentation.zoom * (2 * draw(_ZOOM_X) - 1)
    zoom_y = 1 + augmentation.zoom * (2 * draw(_ZOOM_Y) - 1)
    sign = np.where((draw(_FLIP) < 0.5) & augmentation.flip, -1.0, 1.0)
    linear = np.zeros((len(indices), 2, 2))
    linear[:, 0, 0] = zoom_x * sign
    linear[:, 0, 1] = -np.sin(shear) * zoom_y
    linear[:, 1, 1] = np.cos(shear) * zoom_y
    centre = np.zeros((len(indices), 2))
    if augmentation.crop_scale is not None:
        x0, y0, width, height = _crops(augmentation, draw)
        centre = np.stack([2 * x0 + width - 1, 2 * y0 + height - 1], axis=1)
        linear *= np.stack([width, height], axis=1)[:, :, None]

    # Pixel centres: the middle of n pixels is (n - 1) / 2, half a picture is n / 2 pixels.
    maps = np.empty((len(indices), 2, 3))
    maps[:, :, :2] = linear * (in_px / out_px)
    maps[:, :, 2] = (in_px - 1) / 2 + centre * (in_px / 2) - maps[:, :, :2].sum(axis=2) * ((out_px - 1) / 2)
    return maps


def apply(
    pixels: np.ndarray,
    matrices: np.ndarray,
    out_px: int,
    out: np.ndarray | None = None,
    *,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Warp pictures by the maps of `matrices`, bilinearly; outside a picture its nearest pixel is repeated.

    There is no filter against aliasing: a picture shrunk by a third or less (80 px to 64 px) does not need
    one, and more should be shrunk by `preprocess.fit` when it is stored.

    Args:
        pixels: uint8 (B, S, S, 3); with `rows`, uint8 (N, S, S, 3), of which only those rows are read.
        matrices: float64 (B, 2, 3).
        out_px: side of the result.
        out: uint8 (B, out_px, out_px, 3), C-contiguous, is filled and returned where it is given.
        rows: int64 (B,), which pictures of `pixels` to take.

    Returns:
        uint8 (B, out_px, out_px, 3), range 0-255.
    """
    if out is None:
        out = np.empty((len(matrices), out_px, out_px, 3), np.uint8)
    # A plain view: taking a row of np.memmap itself costs more than the warp.
    pixels = np.asarray(pixels)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for i, row in enumerate(range(len(matrices)) if rows is None else rows.tolist()):
        cv2.warpAffine(pixels[row], matrices[i], (out_px, out_px), out[i], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return out


def permutation(n: int, *, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch: int64 (n,), a permutation of 0 … n - 1, a pure function of (seed, epoch)."""
    hashes = _hash(_stream(seed, epoch, _ORDER_STREAM), np.arange(n, dtype=np.uint64))
    return np.argsort(hashes, kind="stable").astype(np.int64, copy=False)


def _crops(augmentation: Augmentation, draw) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Corner and size of the random crops, each (B,), as fractions of the picture's side."""
    low, high = augmentation.crop_scale or (1.0, 1.0)
    ratio_low, ratio_high = np.log(augmentation.crop_ratio)
    channels = _CROP_SHAPES + np.arange(2 * _CROP_TRIES)
    draws = draw(channels)  # (B, 2 * tries)
    area = low + (high - low) * draws[:, ::2]
    ratio = np.exp(ratio_low + (ratio_high - ratio_low) * draws[:, 1::2])
    width, height = np.sqrt(area * ratio), np.sqrt(area / ratio)
    fits = (width <= 1) & (height <= 1)
    first, rows = fits.argmax(axis=1), np.arange(len(draws))
    width = np.where(fits[rows, first], width[rows, first], 1.0)
    height = np.where(fits[rows, first], height[rows, first], 1.0)
    return draw(_CROP_X) * (1 - width), draw(_CROP_Y) * (1 - height), width, height


def _stream(seed: int, epoch: int, stream: int) -> int:
    """One 64-bit start for the draws of one seed, epoch and purpose."""
    state = 0
    for part in (seed, epoch, stream):
        state = _mix((state + _GOLDEN) ^ (part & _MASK))
    return state


def _uniforms(start: int, indices: np.ndarray):
    """A function from a channel (or channels, (K,)) to uniforms in [0, 1): float64 (B,) or (B, K)."""
    base = indices.astype(np.uint64) * np.uint64(_CHANNELS)

    def draw(channel: int | np.ndarray) -> np.ndarray:
        counters = (
            (base + np.uint64(channel)) if isinstance(channel, int) else (base[:, None] + channel.astype(np.uint64))
        )
        return (_hash(start, counters) >> np.uint64(11)) * 2.0**-53

    return draw


def _hash(start: int, counters: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195) at the given places of its stream.

    Written out, not taken from NumPy: NumPy may change its streams between versions, and the same seed
    should give the same pictures for good.
    """
    z = (counters + np.uint64(1)) * np.uint64(_GOLDEN) + np.uint64(start)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _mix(z: int) -> int:
    """SplitMix64's finaliser on a Python integer."""
    z &= _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
