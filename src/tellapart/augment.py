"""Random changes of pictures: one fused affine warp and one colour matrix each, pure functions of (seed, epoch, index).

No generator is carried along: the draws of a picture are hashes of (seed, epoch, index, channel), so they
do not depend on the batch a picture stands in, on the order of work, or on what ran before. A resumed run
therefore sees the very pictures that an uninterrupted one would have seen.

Rotation, shift, shear, zoom and flips follow Keras' ``ImageDataGenerator`` (``keras.src.legacy.preprocessing.image``):
the same distributions, order of composition, centre and "nearest" filling. The random resized crop is the one of
Szegedy et al., "Going deeper with convolutions" (arXiv:1409.4842), with sub-pixel corners. Brightness, contrast and
saturation are those of Pillow's ``ImageEnhance``, in this order, rounded once. The erased rectangle is that of Zhong
et al., "Random erasing data augmentation" (arXiv:1708.04896), filled with the picture's mean colour.
"""

from __future__ import annotations

import cv2
import numpy as np

from tellapart.policies import CROP, LIGHT, STRONG, TUTORIAL, Augmentation
from tellapart.preprocess import Preprocess, fit

__all__ = ["CROP", "LIGHT", "STRONG", "TUTORIAL", "Augmentation", "apply", "matrices", "permutation", "vary"]

# How often a crop that does not fit into the picture is drawn again before the whole picture is taken
# (torchvision's RandomResizedCrop has the same ten).
_CROP_TRIES = 10

# Channels of the draws of one picture, by stream. Their numbers are part of what a seed means: never renumber
# them, never change how many a stream has. A change that is new takes a free number or a stream of its own.
_ORDER_STREAM, _AUGMENT_STREAM, _CHANGE_STREAM, _ERASE_STREAM = 1, 2, 3, 4
_CHANNELS = 32
_SHEAR, _ZOOM_X, _ZOOM_Y, _FLIP, _CROP_X, _CROP_Y, _CROP_SHAPES = range(7)  # 2 * _CROP_TRIES from the last on
_ROTATION, _SHIFT_X, _SHIFT_Y, _VERTICAL_FLIP, _BRIGHTNESS, _CONTRAST, _SATURATION, _GREYSCALE = range(8)
_ERASE, _ERASE_X, _ERASE_Y, _ERASE_SHAPES = range(4)  # 2 * _CROP_TRIES from the last on

_LUMA = np.array([0.299, 0.587, 0.114])  # grey of red, green, blue: ITU-R BT.601, as in Pillow

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


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
        the input, the flips come first, then zoom, shear, shift and rotation about the centre, then the crop.
    """
    indices = np.asarray(indices)
    draw = _uniforms(_stream(seed, epoch, _AUGMENT_STREAM), indices)

    # Both below are in units of half a picture, the centre at (0, 0): u' = linear @ u, columns before rows.
    shear = np.radians(augmentation.shear_deg) * (2 * draw(_SHEAR) - 1)
    zoom_x = 1 + augmentation.zoom * (2 * draw(_ZOOM_X) - 1)
    zoom_y = 1 + augmentation.zoom * (2 * draw(_ZOOM_Y) - 1)
    sign = np.where((draw(_FLIP) < 0.5) & bool(augmentation.flip), -1.0, 1.0)
    linear = np.zeros((len(indices), 2, 2))
    linear[:, 0, 0] = zoom_x * sign
    linear[:, 0, 1] = -np.sin(shear) * zoom_y
    linear[:, 1, 1] = np.cos(shear) * zoom_y
    centre = np.zeros((len(indices), 2))
    if augmentation.vertical_flip or augmentation.shift or augmentation.rotation_deg:
        linear, centre = _moved(augmentation, _uniforms(_stream(seed, epoch, _CHANGE_STREAM), indices), linear)
    if augmentation.crop_scale is not None:
        x0, y0, width, height = _rectangles(augmentation.crop_scale, augmentation.crop_ratio, draw, _CROP_X)
        size = np.stack([width, height], axis=1)
        centre = centre * size + np.stack([2 * x0 + width - 1, 2 * y0 + height - 1], axis=1)
        linear *= size[:, :, None]

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


def vary(
    pixels: np.ndarray,
    augmentation: Augmentation | None,
    *,
    seed: int,
    epoch: int,
    indices: np.ndarray,
    out_px: int,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Pictures as training sees them in one epoch.

    Args:
        pixels: uint8 (B, S, S, 3); with `rows`, uint8 (N, S, S, 3), of which only those rows are read.
        augmentation: what may happen; where nothing may, pictures are shrunk as `preprocess.fit` does.
        seed, epoch, indices: as in `matrices`.
        out_px: side of the result.
        rows: int64 (B,), which pictures of `pixels` to take.

    Returns:
        uint8 (B, out_px, out_px, 3), range 0-255: a new array.
    """
    pixels, indices = np.asarray(pixels), np.asarray(indices)
    in_px = pixels.shape[1]
    if augmentation is not None and augmentation.moves:
        maps = matrices(augmentation, seed=seed, epoch=epoch, indices=indices, in_px=in_px, out_px=out_px)
        out = apply(pixels, maps, out_px, rows=rows)
    elif in_px == out_px:
        out = pixels.copy() if rows is None else pixels[rows]
    else:
        square = Preprocess(out_px)
        taken = pixels if rows is None else (pixels[row] for row in rows)
        out = np.array([fit(picture, square) for picture in taken], np.uint8).reshape(len(indices), out_px, out_px, 3)
    if augmentation is None or not (augmentation.recolours or augmentation.erase):
        return out
    means = np.array([cv2.mean(picture)[:3] for picture in out]).reshape(-1, 3)
    if augmentation.erase:
        _erase(out, means, augmentation, seed, epoch, indices)  # first, so that the patch takes part in the colours
    if augmentation.recolours:
        _recolour(out, means, augmentation, seed, epoch, indices)
    return out


def permutation(n: int, *, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch: int64 (n,), a permutation of 0 … n - 1, a pure function of (seed, epoch)."""
    hashes = _hash(_stream(seed, epoch, _ORDER_STREAM), np.arange(n, dtype=np.uint64))
    return np.argsort(hashes, kind="stable").astype(np.int64, copy=False)


def _moved(augmentation: Augmentation, draw, linear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`linear` (B, 2, 2) after the vertical flip and before shift and rotation, and where its centre goes, (B, 2)."""
    n = len(linear)
    sign = np.where((draw(_VERTICAL_FLIP) < 0.5) & augmentation.vertical_flip, -1.0, 1.0)
    angle = np.radians(augmentation.rotation_deg) * (2 * draw(_ROTATION) - 1)
    rotation = np.empty((n, 2, 2))
    rotation[:, 0, 0] = rotation[:, 1, 1] = np.cos(angle)
    rotation[:, 1, 0] = np.sin(angle)
    rotation[:, 0, 1] = -rotation[:, 1, 0]
    shift = 2 * augmentation.shift * (2 * draw(np.array([_SHIFT_X, _SHIFT_Y])) - 1)
    upright = linear * np.stack([np.ones(n), sign], axis=1)[:, None, :]
    return rotation @ upright, (rotation @ shift[:, :, None])[:, :, 0]


def _recolour(out: np.ndarray, means: np.ndarray, augmentation: Augmentation, seed: int, epoch: int, indices) -> None:
    """Change the colours of pictures, uint8 (B, S, S, 3), in place; `means` float64 (B, 3) are their mean colours."""
    draw = _uniforms(_stream(seed, epoch, _CHANGE_STREAM), indices)
    brightness = 1 + augmentation.brightness * (2 * draw(_BRIGHTNESS) - 1)
    contrast = 1 + augmentation.contrast * (2 * draw(_CONTRAST) - 1)
    saturation = 1 + augmentation.saturation * (2 * draw(_SATURATION) - 1)
    saturation = np.where(draw(_GREYSCALE) < augmentation.greyscale, 0.0, saturation)
    # Each is a blend: with black, with the mean grey, with the pixel's own grey. Of an offset that is the same for
    # all three channels the last one changes nothing, so the product is this.
    colour = np.empty((len(out), 3, 4))
    colour[:, :, :3] = saturation[:, None, None] * np.eye(3) + (1 - saturation)[:, None, None] * _LUMA
    colour[:, :, :3] *= (brightness * contrast)[:, None, None]
    colour[:, :, 3] = ((1 - contrast) * brightness * (means @ _LUMA))[:, None]
    for picture, matrix in zip(out, colour, strict=True):
        cv2.transform(picture, matrix, picture)


def _erase(out: np.ndarray, means: np.ndarray, augmentation: Augmentation, seed: int, epoch: int, indices) -> None:
    """Paint over a rectangle of some of the pictures, uint8 (B, S, S, 3), in place."""
    draw = _uniforms(_stream(seed, epoch, _ERASE_STREAM), indices)
    side = out.shape[1]
    x0, y0, width, height = _rectangles(augmentation.erase_scale, augmentation.erase_ratio, draw, _ERASE_X)
    starts = np.rint(np.stack([x0, y0], axis=1) * side).astype(int)
    ends = np.rint(np.stack([x0 + width, y0 + height], axis=1) * side).astype(int)
    some_left = (width < 1) | (height < 1)  # where no shape fits, nothing is erased
    for i in np.flatnonzero((draw(_ERASE) < augmentation.erase) & some_left).tolist():
        (left, top), (right, bottom) = starts[i].tolist(), ends[i].tolist()
        out[i, top:bottom, left:right] = np.rint(means[i])


def _rectangles(
    scale: tuple[float, float], ratio: tuple[float, float], draw, first: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Corner and size of random rectangles in the picture, each (B,), as fractions of its side.

    `first` is the channel of x, followed by that of y and those of the shapes. Where no shape fits, it is the whole.
    """
    low, high = scale
    ratio_low, ratio_high = np.log(ratio)
    draws = draw(first + 2 + np.arange(2 * _CROP_TRIES))  # (B, 2 * tries)
    area = low + (high - low) * draws[:, ::2]
    ratios = np.exp(ratio_low + (ratio_high - ratio_low) * draws[:, 1::2])
    width, height = np.sqrt(area * ratios), np.sqrt(area / ratios)
    fits = (width <= 1) & (height <= 1)
    best, rows = fits.argmax(axis=1), np.arange(len(draws))
    width = np.where(fits[rows, best], width[rows, best], 1.0)
    height = np.where(fits[rows, best], height[rows, best], 1.0)
    return draw(first) * (1 - width), draw(first + 1) * (1 - height), width, height


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
