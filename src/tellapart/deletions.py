"""Whether a heat map is true: the hot part of a picture is deleted, and the answer must suffer more than elsewhere.

Samek et al. 2017 (arXiv:1509.06321) and Petsiuk et al. 2018 (arXiv:1806.07421) test heat maps so. What is deleted is
replaced by the same place out of focus, or by the picture's mean colour, and the class's lead is asked for again; then as
much is deleted somewhere else, for comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from tellapart import metrics

SHARE = 0.1  # of the picture that is deleted
DRAWS = 4  # other places for comparison
FILLS = ("blur", "mean")
BLUR = 1 / 16  # standard deviation of the blur, in sides of the picture
OVERLAP = 0.1  # of the hot part that a part of its shape elsewhere may share with it
TRIES = 200
BLOCKS = 12  # a side of the grid of which scattered parts are taken

Ask = Callable[[np.ndarray], np.ndarray]  # pictures, uint8 (B, S, S, 3), to logits, float (B, C)


@dataclass(frozen=True, slots=True)
class Deletion:
    """What deleting a part of one picture did to the answer."""

    share: float  # of the picture that was deleted, 0–1
    before: float  # the class's probability
    hot: float  # … without the hot part
    elsewhere: float  # … without a part of the same shape elsewhere, mean of some draws
    lead_before: float  # the class's log-odds, which move where a probability is as good as 1
    lead_hot: float
    lead_elsewhere: float

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


def measured(
    ask: Ask, square: np.ndarray, heat: np.ndarray, wanted: int, *, temperature: float = 1.0, seed: int = 0
) -> Deletion:
    """Delete the hot part of a picture, out of focus, and as much elsewhere; the same seed draws the same places.

    Args:
        ask: the network.
        square: a preprocessed picture, uint8 (S, S, 3).
        heat: float (S, S).
        wanted: the class that the heat map is of.
        temperature: that the logits are divided by for probabilities.
    """
    rng = np.random.default_rng(seed)
    mask = hottest(heat, SHARE)
    changed = [without(square, each, "blur") for each in (mask, *(elsewhere(mask, rng) for _ in range(DRAWS)))]
    logits = ask(np.stack([square, *changed]))
    leads = lead(logits, wanted)
    probabilities = metrics.softmax(logits, temperature)[:, wanted]
    numbers = (each for rows in (probabilities, leads) for each in (rows[0], rows[1], rows[2:].mean()))
    return Deletion(SHARE, *(float(number) for number in numbers))


def lead(logits: np.ndarray, wanted: int | Sequence[int] | np.ndarray) -> np.ndarray:
    """The log-odds of a class: its logit less the log-sum-exp of the others'. float (B, C) to float64 (B,).

    Unlike a probability it still moves where the network is as good as certain.
    """
    others = logits.astype(np.float64)
    rows = np.arange(len(others))
    own = others[rows, wanted]
    others[rows, wanted] = -np.inf
    highest = others.max(1)
    return own - highest - np.log(np.exp(others - highest[:, None]).sum(1))


def hottest(heat: np.ndarray, share: float) -> np.ndarray:
    """The hottest part of a map, float (H, W): a mask, bool (H, W), of just that share of the px."""
    mask = np.zeros(heat.size, bool)
    mask[np.argsort(-heat, axis=None, kind="stable")[: round(share * heat.size)]] = True
    return mask.reshape(heat.shape)


def elsewhere(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A part of the same shape somewhere else, over the edges and in again: bool (H, W), as many px.

    Where every place overlaps with the mask more than OVERLAP says, it is the one of those tried that does least.
    """
    best, least = mask, 2.0
    for _ in range(TRIES):
        moved = np.roll(mask, tuple(int(rng.integers(side)) for side in mask.shape), (0, 1))
        shared = (moved & mask).sum() / max(mask.sum(), 1)
        if shared < least:
            best, least = moved, shared
        if least <= OVERLAP:
            break
    return best


def scattered(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many px as a mask has, outside of it, in blocks strewn at random: bool (H, W)."""
    grid = rng.random((BLOCKS, BLOCKS))
    rows, columns = (np.arange(side) * BLOCKS // side for side in mask.shape)
    order = np.where(mask, -1.0, grid[rows][:, columns])
    return hottest(order, mask.sum() / mask.size)


def without(square: np.ndarray, mask: np.ndarray, fill: str) -> np.ndarray:
    """A picture, uint8 (S, S, 3), whose masked px are out of focus ("blur") or of its mean colour ("mean")."""
    if fill == "mean":
        return np.where(mask[..., None], square.mean((0, 1)).round().astype(np.uint8), square)
    import cv2

    return np.where(mask[..., None], cv2.GaussianBlur(square, (0, 0), BLUR * len(square)), square)
