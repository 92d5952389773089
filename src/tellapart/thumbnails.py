"""Pictures small enough for a page: upright, as WebP in ``data:`` URIs, each content once, within a limit."""

from __future__ import annotations

import base64
import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from tellapart import decoders, fetching, pictures
from tellapart.decoders import Maker
from tellapart.errors import PictureError

SIDE_PX = 160  # the longer side, at most
QUALITY = 72  # of WebP: at this size no damage is seen; JPEG needs half as much again
THREADS = 2  # decoding does not hold the interpreter

Read = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One small picture."""

    uri: str  # "data:image/webp;base64,…"
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class Album:
    """The thumbnails of a page."""

    thumbnails: dict[str, Thumbnail] = field(default_factory=dict)  # SHA-256 of the file's bytes -> thumbnail
    contents: dict[str, str] = field(default_factory=dict)  # path -> SHA-256
    reasons: dict[str, str] = field(default_factory=dict)  # path -> why it cannot be read
    left_out: int = 0  # paths that were wanted and for which there was no room


def make(data: bytes, *, side_px: int = SIDE_PX) -> Thumbnail:
    """The bytes of a picture file as a thumbnail; a picture that is small already keeps its size.

    Raises:
        PictureError: they cannot be decoded.
    """
    maker = Maker("tellapart.thumbnails:webp", {"side_px": side_px})
    return _thumbnail(*decoders.one(maker, data, 4 * side_px**2 + 4096))


def webp(data: bytes, side_px: int) -> tuple[np.ndarray, np.ndarray]:
    """A thumbnail's file, uint8 (N,), and its width and height, int64 (2,). Raises PictureError."""
    return _webp(pictures.decode(data, at_least_px=side_px).pixels, side_px)


def of_pixels(pixels: np.ndarray, *, side_px: int = SIDE_PX) -> Thumbnail:
    """Pixels, uint8 (H, W, 3), RGB, as a thumbnail."""
    return _thumbnail(*_webp(pixels, side_px))


def _webp(pixels: np.ndarray, side_px: int) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    image = Image.fromarray(pixels)
    scale = min(side_px / max(image.size), 1.0)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=4)
    return np.frombuffer(file.getvalue(), np.uint8), np.array(size, np.int64)


def _thumbnail(file: np.ndarray, size: np.ndarray) -> Thumbnail:
    uri = "data:image/webp;base64," + base64.b64encode(file.tobytes()).decode("ascii")
    return Thumbnail(uri, int(size[0]), int(size[1]))


def small(data: bytes, cell_px: int) -> np.ndarray:
    """The bytes of a picture file as large as it fits into a square, see `fitted`. Raises PictureError."""
    return fitted(pictures.decode(data, at_least_px=cell_px).pixels, cell_px)


def fitted(pixels: np.ndarray, cell_px: int) -> np.ndarray:
    """Pixels, uint8 (H, W, 3), as large as they fit into a square, undistorted."""
    from PIL import Image

    image = Image.fromarray(pixels)
    scale = cell_px / max(image.size)
    if scale >= 2:
        size, how = (image.width * int(scale), image.height * int(scale)), Image.Resampling.NEAREST
    else:
        size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
        how = Image.Resampling.LANCZOS
    return np.asarray(image.resize(size, how))


def album(
    paths: Iterable[str], *, read: Read = pictures.read_bytes, side_px: int = SIDE_PX, limit_bytes: int = 5_000_000
) -> Album:
    """Thumbnails of pictures, in their order, as long as all URIs together stay within a limit.

    Args:
        paths: of the pictures, those first that matter most. A path may come again.
        read: a path to the bytes of its file; raises PictureError.
        side_px: the longer side of a thumbnail, at most.
        limit_bytes: of all URIs together. The first picture that would exceed it is left out, with all after it.
    """
    thumbnails: dict[str, Thumbnail] = {}
    contents: dict[str, str] = {}
    reasons: dict[str, str] = {}
    size = 0

    def work(path: str) -> tuple[str, str | Thumbnail]:
        try:
            data = read(path)
            content = hashlib.sha256(data).hexdigest()
            return content, thumbnails.get(content) or make(data, side_px=side_px)
        except PictureError as error:
            return "", error.reason

    wanted = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(THREADS, thread_name_prefix="tellapart-thumbnails") as pool, fetching.by(pool):
        for path, (content, found) in _ahead(pool, work, wanted):
            if isinstance(found, str):
                reasons[path] = found
            elif content in thumbnails:
                contents[path] = content
            elif size + len(found.uri) > limit_bytes:
                break
            else:
                thumbnails[content] = found
                contents[path] = content
                size += len(found.uri)
    return Album(thumbnails, contents, reasons, len(wanted) - len(contents) - len(reasons))


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[str], tuple[str, str | Thumbnail]], paths: list[str]
) -> Iterator[tuple[str, tuple[str, str | Thumbnail]]]:
    """Each path with its result, in order, a few under way at a time."""
    waiting: deque[tuple[str, Future[tuple[str, str | Thumbnail]]]] = deque()
    for path in paths:
        waiting.append((path, pool.submit(work, path)))
        if len(waiting) > 4 * THREADS:
            first, future = waiting.popleft()
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()
