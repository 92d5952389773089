"""What can be measured of each picture in one look: facts of its file, statistics of its pixels, its fingerprint.

A row has a fixed size and is kept in the cache by content. All statistics are of the upright picture, decoded at
`DECODED_PX` or more and shrunk until its longer side is `SEEN_PX` at most, so that the size of a photo plays no part in
how bright or how sharp it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tellapart import hashes, headers, pictures, store
from tellapart.catalog import Entry
from tellapart.decoders import Maker
from tellapart.store import Kind, Store

VERSION = 1  # of a row's meaning; another number means that all pictures are looked at again
DECODED_PX = 96  # both sides at least, where the picture has them: JPEG is decoded at 1/2, 1/4 or 1/8 down to it
SEEN_PX = 256  # longer side at most, for statistics
THUMB = 16  # cells of each side of the small picture
CORNER_PX, CORNER = 32, 16  # of the file's own px at each corner · cells of each side that they are averaged to
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "HEIC")
LEVELS = (1, 5, 50, 95, 99)  # percent, of `levels`
EDGE = 0.995  # the share of px whose step in brightness is smaller than the steepest steps that `sharpness` looks at
SIDES = ("top", "bottom", "left", "right")
SIDE_SHARE = 0.02  # of the picture's height or width: the strip at each side
BAND_STEP = 10  # levels within which a line of px counts as one colour

# One row. Sizes are in px of the upright file; colours are RGB, 0–255.
ROW = np.dtype(
    [
        ("format", "u1"),  # place in FORMATS
        ("width", "<u4"),
        ("height", "<u4"),
        ("bytes", "<u4"),  # of the file
        ("orientation", "u1"),  # EXIF, 1–8
        ("animated", "?"),
        ("bits", "u1"),  # of a sample
        ("colour", "u1"),  # place in headers.COLOURS
        ("alpha", "?"),
        ("quality", "u1"),  # JPEG, 1–100; 0 for other formats
        ("tables", "<u4"),  # see headers.Header
        ("exif", "?"),
        ("dpi", "<u2"),
        ("camera", "<u4"),  # headers.number of the text; 0 where there is none
        ("software", "<u4"),
        ("mean", "<f4", (3,)),
        ("std", "<f4", (3,)),
        ("levels", "<f4", (len(LEVELS),)),  # of brightness, at LEVELS percent
        ("brightness", "<f4"),  # mean, 0–255
        ("chroma", "<f4"),  # mean difference of the largest and the smallest channel, 0–255; about 0 for grey
        ("flat", "<f4"),  # share of px within 2 levels of the commonest brightness, 0–1
        ("sharpness", "<f4"),  # the steepest steps between neighbouring px, as a share of the range of brightness
        ("side_mean", "<f4", (4, 3)),  # of the strip at each of SIDES
        ("side_std", "<f4", (4,)),  # the largest of the channels
        ("band", "<f4", (4,)),  # how much of the height or width is one colour, from each of SIDES inwards, 0–1
        ("thumb", "u1", (THUMB, THUMB, 3)),  # the picture squashed to a square
        ("corners", "u1", (4, CORNER, CORNER, 3)),  # top left, top right, bottom left, bottom right
        ("fingerprint", "u1", (hashes.BYTES,)),
    ]
)
_FIELDS: dict[str, Any] = {str(name): field for name, field in (ROW.fields or {}).items()}


@dataclass(frozen=True, slots=True, eq=False)
class Traits:
    """Rows of the pictures that could be read, in the order in which they were given."""

    entries: tuple[Entry, ...]  # those that could be read, N
    failures: dict[str, str]  # content hash -> why the others could not
    n_decoded: int  # contents looked at in this run; 0 where all came from the cache
    _kept: Store  # rows, uint8 (M, ROW.itemsize)
    _of_entry: np.ndarray  # int64 (N,), places in it

    def __len__(self) -> int:
        return len(self.entries)

    def column(self, name: str, at: np.ndarray | slice = slice(None)) -> np.ndarray:
        """A field of ROW for all entries, or for those `at` some places: (N, …)."""
        kind, offset = _FIELDS[name][:2]
        held = np.ascontiguousarray(self._kept.values[self._of_entry[at], offset : offset + kind.itemsize])
        self._kept.rest()  # a look at one field has brought in the pages of all
        return held.view(kind.base).reshape(len(held), *kind.shape)

    @property
    def labels(self) -> np.ndarray:
        """The class of each entry, str (N,)."""
        return np.array([entry.label for entry in self.entries])

    @property
    def contents(self) -> np.ndarray:
        """A number for each entry, int64 (N,), the same for the same content."""
        return self._of_entry


def measure(
    entries: Iterable[Entry],
    cache: Path,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Traits:
    """Look at every distinct content once, on threads; what the cache knows is not looked at again.

    Args:
        entries: of a catalog.
        cache: the cache folder, see `store.cache_folder`.
        threads: decoding threads, by default one for each core.
        progress: called in this thread with (contents done, contents in all).

    Raises OutputError where the cache folder cannot be written.
    """
    every = tuple(entries)
    kept = store.keep([(e.path, e.content) for e in every], _kind(), cache, threads=threads, progress=progress)
    read = tuple(entry for entry in every if entry.content in kept.rows)
    places = np.array([kept.rows[entry.content] for entry in read], np.int64)
    return Traits(read, kept.failures, kept.n_decoded, kept, places)


def _kind() -> Kind:
    maker = Maker("tellapart.traits:row_of")
    recipe = [VERSION, hashes.VERSION, DECODED_PX, ROW.descr, store.decoder_versions()]
    return Kind(
        f"{DECODED_PX}px-traits",
        recipe,
        (ROW.itemsize,),
        np.dtype(np.uint8),
        lambda todo, threads, block: store.make_all(todo, maker, ROW.itemsize, threads, block),
        store.made_afar(maker, ROW.itemsize),
    )


def row_of(data: bytes) -> np.ndarray:
    """The row of a file's bytes, uint8 (ROW.itemsize,). Raises PictureError."""
    picture = pictures.decode(data, at_least_px=DECODED_PX)
    header = headers.of(data, picture.format)
    row = np.zeros((), ROW)
    row["format"] = FORMATS.index(picture.format)
    row["width"], row["height"], row["bytes"] = picture.width_px, picture.height_px, len(data)
    for name in ("orientation", "animated", "alpha", "quality", "tables", "exif", "dpi"):
        row[name] = getattr(header, name)
    row["bits"] = min(header.bits, 255)
    row["colour"] = headers.COLOURS.index(header.colour)
    row["camera"], row["software"] = headers.number(header.camera), headers.number(header.software)
    for name, value in statistics(picture.pixels).items():
        row[name] = value
    row["corners"] = corners(picture.pixels, picture.width_px, picture.height_px)
    row["fingerprint"] = hashes.of(picture.pixels)
    return np.frombuffer(row.tobytes(), np.uint8)


def statistics(pixels: np.ndarray) -> dict[str, np.ndarray | float]:
    """The fields of ROW that are statistics of pixels, uint8 (H, W, 3), by name."""
    height, width = pixels.shape[:2]
    scale = SEEN_PX / max(height, width)
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        height, width = pixels.shape[:2]
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    mean, std = cv2.meanStdDev(pixels)
    counts = np.bincount(grey.reshape(-1), minlength=256)
    below = np.cumsum(counts)
    levels = np.searchsorted(below, np.array(LEVELS) / 100 * grey.size)
    thumb = _resized(pixels, THUMB)
    strips = _strips(pixels)
    sides = [cv2.meanStdDev(strip) for strip in strips]
    return {
        "mean": mean[:, 0],
        "std": std[:, 0],
        "levels": levels,
        "brightness": float(counts @ np.arange(256)) / grey.size,
        "chroma": float((thumb.max(axis=2) - thumb.min(axis=2)).mean()),
        "flat": float(np.convolve(counts, np.ones(5, np.int64)).max()) / grey.size,
        "sharpness": _sharpness(grey, float(levels[-1] - levels[0])),
        "side_mean": np.array([each[0][:, 0] for each in sides]),
        "side_std": np.array([each[1].max() for each in sides]),
        "band": np.array([_band(lines) for lines in (grey, grey[::-1], grey.T, grey.T[::-1])]),
        "thumb": thumb,
    }


def corners(pixels: np.ndarray, width_px: int, height_px: int) -> np.ndarray:
    """The corners of a picture in cells of 2 px of the file, uint8 (4, CORNER, CORNER, 3).

    `pixels` may have been decoded at a smaller scale than the file's width and height say. Of a picture that is
    smaller than two corners, each is a half.
    """
    height, width = pixels.shape[:2]
    down = min(max(round(CORNER_PX * height / height_px), 1), -(-height // 2))
    right = min(max(round(CORNER_PX * width / width_px), 1), -(-width // 2))
    top, bottom = pixels[:down], pixels[-down:]
    parts = (top[:, :right], top[:, -right:], bottom[:, :right], bottom[:, -right:])
    return np.stack([_resized(part, CORNER) for part in parts])


def _resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """To uint8 (side, side, 3): averaged where the picture is larger in both directions, else interpolated."""
    larger = min(pixels.shape[:2]) >= side
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA if larger else cv2.INTER_LINEAR)


def _strips(pixels: np.ndarray) -> Sequence[np.ndarray]:
    down, right = (max(round(SIDE_SHARE * side), 1) for side in pixels.shape[:2])
    return [np.ascontiguousarray(s) for s in (pixels[:down], pixels[-down:], pixels[:, :right], pixels[:, -right:])]


def _sharpness(grey: np.ndarray, spread: float) -> float:
    """How steep the steepest edges are: 1 where brightness goes through its whole range from one px to the next."""
    counts = np.zeros(256, np.int64)
    for one, other in ((grey[1:], grey[:-1]), (grey[:, 1:], grey[:, :-1])):
        if one.size:
            counts += np.bincount(cv2.absdiff(one, other).reshape(-1), minlength=256)
    if not counts.any():
        return 0.0
    steep = int(np.searchsorted(np.cumsum(counts), EDGE * counts.sum()))
    return min(steep / max(spread, 8.0), 1.0)


def _band(lines: np.ndarray) -> float:
    """The share of lines of px, uint8 (L, K), that are one colour and the same, from the first one on."""
    low, high = lines.min(axis=1).astype(np.int16), lines.max(axis=1).astype(np.int16)
    low, high = np.minimum.accumulate(low), np.maximum.accumulate(high)
    return float(np.mean(high - low <= BAND_STEP))
