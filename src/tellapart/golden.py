"""Golden pictures: drawn ones, with a bundle's own answers to them, by which every export of it is checked.

A bundle holds no pictures of its user, who may want them kept private. So these are drawn, always alike: of several
sizes and shapes, with smooth and with fine structure.
"""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass

import numpy as np

from tellapart import arrays, bundle, metrics, pictures, preprocess, strangers
from tellapart.bundle import Bundle
from tellapart.engine import Engine
from tellapart.errors import BundleError, PictureError

MEMBER = "golden.npz"  # of a bundle
KINDS = {"png": ("uint8", 1), "lengths": ("int64", 1), "probabilities": ("float64", 2), "scores": ("float64", 1)}
MOST_PX = 1000  # a side, for networks that see less than that
LARGEST = 1e30  # of a score: an infinite one would not be read back


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """G pictures and what a bundle's own graph answers, brought to its square by `preprocess`."""

    pictures: tuple[np.ndarray, ...]  # uint8 (H, W, 3), RGB, of several sizes
    probabilities: np.ndarray  # float64 (G, C), by the bundle's temperature
    scores: np.ndarray | None  # float64 (G,), of strangeness; None where the bundle has no way to tell

    def __len__(self) -> int:
        return len(self.pictures)

    def to_bytes(self) -> bytes:
        """As a member of a bundle."""
        files = [png(pixels) for pixels in self.pictures]
        return arrays.to_bytes(
            {
                "png": np.frombuffer(b"".join(files), np.uint8),
                "lengths": np.array([len(file) for file in files], np.int64),
                "probabilities": self.probabilities,
                "scores": np.zeros(0) if self.scores is None else self.scores,
            }
        )

    def digest(self) -> str:
        """SHA-256 of pictures and answers, hex."""
        found = hashlib.sha256()
        for pixels in self.pictures:
            found.update(repr(pixels.shape).encode() + pixels.tobytes())
        found.update(self.probabilities.tobytes() + (b"" if self.scores is None else self.scores.tobytes()))
        return found.hexdigest()


def of(model: Bundle) -> Golden:
    """The golden pictures of a bundle; drawn and answered now where it is of a time before them.

    Raises:
        BundleError: they are damaged.
    """
    content = model.members.get(MEMBER)
    return _answered(model) if content is None else _from_bytes(content, model)


def kept(model: Bundle) -> Bundle:
    """The bundle with golden pictures in it."""
    return bundle.extended(model, MEMBER, _answered(model).to_bytes())


def png(pixels: np.ndarray) -> bytes:
    """A picture, uint8 (H, W, 3), as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def sizes(size_px: int) -> list[tuple[int, int]]:
    """Height and width of each golden picture for a square of `size_px`: every way of shrinking and growing."""
    s = size_px
    most = max(MOST_PX, s + 57)
    wanted = [
        (s, s),  # as it is
        (2 * s, 2 * s),  # halves: a ratio of whole numbers
        (round(1.37 * s) + 1, round(1.61 * s)),  # both sides shrink, in ratios of no whole numbers
        (round(0.61 * s), round(0.43 * s) + 1),  # both grow
        (round(0.4 * s), round(1.9 * s)),  # one grows, one shrinks
        (round(2.3 * s), max(2, s // 3)),
        (3, round(1.2 * s)),
        (round(0.7 * s), 1),
    ]
    return [(min(height, most), min(width, most)) for height, width in wanted]


def _from_bytes(content: bytes, model: Bundle) -> Golden:
    what = "A bundle's golden pictures"
    found = arrays.from_bytes(content, KINDS, what)
    n, ends = len(found["lengths"]), np.cumsum(found["lengths"])
    scores = found["scores"]
    fits = n and (found["lengths"] >= 0).all() and ends[-1] == len(found["png"])
    if not fits or found["probabilities"].shape != (n, len(model.classes)) or len(scores) not in (0, n):
        raise BundleError(f"{what} must each have an answer. Get the file again, or train anew.")
    file = found["png"].tobytes()
    try:
        drawn = [pictures.decode(file[end - length : end]) for length, end in zip(found["lengths"], ends, strict=True)]
    except PictureError as error:
        raise BundleError(f"{what} must open; {error.reason}. Get the file again, or train anew.") from error
    return Golden(tuple(each.pixels for each in drawn), found["probabilities"], scores if len(scores) else None)


def _answered(model: Bundle) -> Golden:
    """Draw them, and ask the bundle's graph."""
    how = preprocess.Preprocess.from_dict(model.manifest["preprocess"])
    drawn = [_draw(shape, how.size_px) for shape in sizes(how.size_px)]
    engine = Engine(model.members["model.onnx"])
    told = [engine.run(preprocess.fit(pixels, how)[None]) for pixels in drawn]
    logits = np.concatenate([each.logits for each in told])
    probabilities = metrics.softmax(logits, float(model.manifest["temperature"]))
    known, scores = model.members.get(strangers.MEMBER), None
    if known is not None:
        scores = strangers.Strangers.from_bytes(known).scores(np.concatenate([each.embedding for each in told]), logits)
        scores = np.clip(np.nan_to_num(scores, nan=LARGEST), -LARGEST, LARGEST)
    return Golden(tuple(drawn), probabilities.astype(np.float64), scores)


def _draw(shape: tuple[int, int], size_px: int) -> np.ndarray:
    """Waves of colour, a few bright and dark shapes, stripes one px wide and a patch of noise: uint8 (H, W, 3)."""
    height, width = shape
    rng = np.random.default_rng([0, height, width, size_px])
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = (y + 0.5) / height, (x + 0.5) / width
    level = np.empty((height, width, 3))
    for channel in range(3):
        turns, phase = rng.uniform(-3, 3, 2), rng.uniform(0, 2 * math.pi)
        level[..., channel] = rng.uniform(60, 200) + 50 * np.sin(2 * math.pi * (turns[0] * y + turns[1] * x) + phase)
    for _ in range(6):
        top, left, tall, wide = rng.uniform(0, 0.9), rng.uniform(0, 0.9), *rng.uniform(0.1, 0.5, 2)
        colour = rng.uniform(0, 255, 3)
        inside = ((y - top) / tall) ** 2 + ((x - left) / wide) ** 2 < 1
        if rng.random() < 0.5:
            inside = (abs(y - top) < tall / 2) & (abs(x - left) < wide / 2)
        level[inside] = 0.3 * level[inside] + 0.7 * colour
    striped = (y > rng.uniform(0, 0.7)) & (x > rng.uniform(0, 0.7))
    lines = np.indices(shape).sum(axis=0) % 2 == 0
    level[striped & lines] = 255 - level[striped & lines]
    top, left = int(rng.integers(0, max(1, height // 2))), int(rng.integers(0, max(1, width // 2)))
    patch = level[top : top + max(1, height // 3), left : left + max(1, width // 3)]
    patch += rng.uniform(-60, 60, patch.shape)
    return np.clip(np.rint(level), 0, 255).astype(np.uint8)
