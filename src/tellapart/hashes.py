"""A fingerprint of one decoded picture, by which copies of it are found: rescaled, recompressed, mirrored, cropped.

A fingerprint is `BYTES` bytes: 8 of a digest of the decoded pixels, then a grey thumbnail of 32 × 32 and two of colour
(Cr and Cb of ITU-R BT.601) of 8 × 8, the whole picture squashed to a square. Thumbnails are kept instead of the bits of
a hash because mirrored, turned and cropped views of them are cheap linear maps, so that one row serves them all, and
because they can be looked at again.

Pictures are compared by `descriptors`: the lowest frequencies of the cosine transform of the thumbnail, without the
mean and of length one, so that brightness and contrast play no part and the cosine of two of them says how alike the
pictures are in the large.
"""

from __future__ import annotations

import functools
import hashlib

import cv2
import numpy as np

VERSION = 2  # other bytes for the same pixels: another version
SIZE_PX = 64  # pictures may be decoded at any size whose shorter side is this or more; smaller ones as they are
SIDE = 32  # px, of the thumbnail
COLOUR_SIDE = 8  # px, of the colour thumbnails
_GREY_END = 8 + SIDE * SIDE
BYTES = _GREY_END + 2 * COLOUR_SIDE * COLOUR_SIDE
_PART = 4096  # thumbnails described at once
FREQUENCIES = 8  # of each direction, in a descriptor
DIMENSIONS = FREQUENCIES * FREQUENCIES - 1

# Ways in which a copy can be turned: (what it is called, transposed, mirrored left to right, upside down); the
# picture is transposed first, then mirrored.
TURNS = (
    ("", False, False, False),
    ("mirrored", False, True, False),
    ("upside down", False, False, True),
    ("turned by 180°", False, True, True),
    ("turned by 90°", True, True, False),  # clockwise
    ("turned by 270°", True, False, True),
)


def of(pixels: np.ndarray) -> np.ndarray:
    """The fingerprint of a picture.

    Args:
        pixels: uint8 (H, W, 3), RGB, 0–255, of any size; decode with `at_least_px=SIZE_PX`, which is faster.

    Returns uint8 (BYTES,). The digest is that of the pixels as given: two files of the same pixels agree in it where
    both were decoded at the same scale, as two PNG or two JPEG files are.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"pixels must be uint8 (H, W, 3) with at least one pixel; got {pixels.dtype} {pixels.shape}")
    pixels = np.ascontiguousarray(pixels)
    digest = hashlib.blake2b(np.array(pixels.shape, "<u4").tobytes(), digest_size=8)
    digest.update(pixels.data)
    row = np.empty(BYTES, np.uint8)
    row[:8] = np.frombuffer(digest.digest(), np.uint8)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    row[8:_GREY_END] = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).reshape(-1)
    small = cv2.resize(pixels, (COLOUR_SIDE, COLOUR_SIDE), interpolation=cv2.INTER_AREA)
    row[_GREY_END:] = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)[..., 1:].reshape(-1)
    return row


def digests(fingerprints: np.ndarray) -> np.ndarray:
    """The digests of the pixels: uint64 (N,) of fingerprints uint8 (N, BYTES)."""
    return np.ascontiguousarray(fingerprints[:, :8]).view("<u8").reshape(-1)


def thumbnails(fingerprints: np.ndarray) -> np.ndarray:
    """The thumbnails: uint8 (N, SIDE, SIDE), grey, 0–255, of fingerprints uint8 (N, BYTES)."""
    return fingerprints[:, 8:_GREY_END].reshape(-1, SIDE, SIDE)


def colours(fingerprints: np.ndarray) -> np.ndarray:
    """The colours: int16 (N, COLOUR_SIDE, COLOUR_SIDE, 2), Cr and Cb, 0 where grey, of uint8 (N, BYTES)."""
    return fingerprints[:, _GREY_END:].reshape(-1, COLOUR_SIDE, COLOUR_SIDE, 2).astype(np.int16) - 128


def descriptors(thumbnails: np.ndarray, shown: float = 1.0) -> np.ndarray:
    """What thumbnails look like in the large, so that the product of two descriptors is their cosine.

    Args:
        thumbnails: uint8 or float (N, SIDE, SIDE).
        shown: the share of each side that is looked at, about the centre; 1 is the whole picture, 0.9 what is left
            of it after 5 % were cut off all round.

    Returns float32 (N, DIMENSIONS), each of length one; zeros where a thumbnail is all one colour.
    """
    rows = _transform(shown)
    both = np.kron(rows, rows).T[:, 1:]  # (SIDE², DIMENSIONS), without the mean
    # In parts, because the thumbnails may be many and lie in a file.
    parts = [thumbnails[i : i + _PART].reshape(-1, SIDE * SIDE) for i in range(0, len(thumbnails), _PART)]
    flat = np.concatenate([np.zeros((0, DIMENSIONS), np.float32), *(part.astype(np.float32) @ both for part in parts)])
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    # Half a grey level over the whole picture is rounding, not content.
    return np.where(length > 0.5 * SIDE, flat / np.maximum(length, 1e-9), 0).astype(np.float32)


def turned_picture(picture: np.ndarray, turn: tuple[str, bool, bool, bool]) -> np.ndarray:
    """A square picture, (S, S) or (S, S, C), turned as one of `TURNS` says."""
    _, transposed, mirrored, flipped = turn
    picture = picture.swapaxes(0, 1) if transposed else picture
    picture = picture[:, ::-1] if mirrored else picture
    return np.ascontiguousarray(picture[::-1] if flipped else picture)


def turned(descriptors: np.ndarray, turn: tuple[str, bool, bool, bool]) -> np.ndarray:
    """The descriptors (N, DIMENSIONS) of the same pictures, turned as one of `TURNS` says: signs and places change."""
    _, transposed, mirrored, flipped = turn
    full = np.concatenate([np.zeros((len(descriptors), 1), np.float32), descriptors], axis=1)
    full = full.reshape(-1, FREQUENCIES, FREQUENCIES)
    if transposed:
        full = full.transpose(0, 2, 1)
    # A cosine of odd frequency changes its sign when the picture is mirrored, one of even frequency stays.
    odd = np.where(np.arange(FREQUENCIES) % 2, -1, 1).astype(np.float32)
    if mirrored:
        full = full * odd
    if flipped:
        full = full * odd[:, None]
    return np.ascontiguousarray(full.reshape(len(descriptors), -1)[:, 1:])


@functools.lru_cache(maxsize=32)
def _transform(shown: float) -> np.ndarray:
    """float32 (FREQUENCIES, SIDE): from a line of a thumbnail to the lowest terms of the DCT-II of its middle part."""
    places = np.arange(SIDE)[:, None]
    cosines = np.cos(np.pi * (places + 0.5) * np.arange(FREQUENCIES) / SIDE) * np.sqrt(2 / SIDE)
    cosines[:, 0] /= np.sqrt(2)
    # Sample i of the middle part lies between two samples of the line.
    at = SIDE / 2 + (np.arange(SIDE) + 0.5 - SIDE / 2) * shown - 0.5
    left = np.clip(np.floor(at).astype(int), 0, SIDE - 2)
    part = np.clip(at - left, 0, 1)
    middle = np.zeros((SIDE, SIDE))
    middle[np.arange(SIDE), left] = 1 - part
    middle[np.arange(SIDE), left + 1] += part
    return (cosines.T @ middle).astype(np.float32)
