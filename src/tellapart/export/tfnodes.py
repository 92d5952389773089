"""What stands before and behind a network, as TensorFlow operations: the square, and how strange a picture is.

`square` is that of `samples/shared.py` once more, for a batch whose height and width are known only when it is asked:
the same arithmetic in the same order, so the same pixels. `strangeness` is `strangers.Strangers.scores`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tellapart import strangers


def square(pictures: Any, size_px: int, fit: str) -> Any:
    """Pictures, uint8 (B, H, W, 3), all of one size, to int32 (B, S, S, 3), 0-255: what `preprocess.fit` gives."""
    height, width = tf.shape(pictures)[1], tf.shape(pictures)[2]
    if fit == "crop":
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pictures = pictures[:, top : top + side, left : left + side]
        height = width = side
    shrunk = _shrunk(pictures, (height, tf.minimum(height, size_px)), (width, tf.minimum(width, size_px)))
    return tf.ensure_shape(_grown(shrunk, size_px), (None, size_px, size_px, 3))


def _shrunk(pictures: Any, heights: tuple[Any, Any], widths: tuple[Any, Any]) -> Any:
    """Means over areas, int32; `heights` and `widths` are those before and after."""
    rows, row_shares, down = _areas(*heights)
    columns, column_shares, across = _areas(*widths)
    whole = (down == tf.round(down)) & (across == tf.round(across))  # whole blocks of pixels: summed, then divided
    sums = _summed(pictures, 2, columns, tf.where(whole, tf.cast(column_shares > 0, tf.float32), column_shares))
    sums = _summed(sums, 1, rows, tf.where(whole, tf.cast(row_shares > 0, tf.float32), row_shares))
    means = sums * tf.where(whole, tf.cast(1 / (down * across), tf.float32), 1.0)
    two_by_two = (down == 2) & (across == 2)
    means = tf.where(two_by_two, tf.floor(means + 0.5), tf.round(means))
    return tf.cast(tf.clip_by_value(means, 0.0, 255.0), tf.int32)


def _areas(length: Any, to_length: Any) -> tuple[Any, Any, Any]:
    """Which of `length` pixels each new one covers, int32 (new, K), the share of each, float32, and the scale."""
    length, n_new = tf.cast(length, tf.float64), tf.cast(to_length, tf.float64)
    scale = 1 / (n_new / length)
    begin = (tf.range(n_new, dtype=tf.float64) * scale)[:, None]
    end, covered = begin + scale, tf.minimum(scale, length - begin)
    last = tf.minimum(tf.floor(end), length - 1)
    first = tf.minimum(tf.math.ceil(begin), last)  # pixels from here to `last` are covered wholly
    none = tf.zeros_like(begin)
    before = tf.where(first - begin > 1e-3, first - begin, none)
    after = tf.where(end - last > 1e-3, tf.minimum(tf.minimum(end - last, 1), covered), none)
    index = first - tf.cast(before > 0, tf.float64) + tf.range(tf.math.ceil(scale) + 1, dtype=tf.float64)
    inner = tf.where(index < last, tf.ones_like(index), tf.where(tf.equal(index, last), after, none))
    share = tf.where(index < first, before, inner) / covered
    return tf.cast(tf.minimum(index, length - 1), tf.int32), tf.cast(share, tf.float32), scale


def _summed(pictures: Any, axis: int, index: Any, share: Any) -> Any:
    """The weighted sum along an axis, float32, added up from the first pixel to the last as OpenCV does."""

    def tap(k: Any) -> Any:
        weight = tf.reshape(share[:, k], [-1 if i == axis else 1 for i in range(4)])
        return tf.cast(tf.gather(pictures, index[:, k], axis=axis), tf.float32) * weight

    shapes = [tf.TensorShape([]), tf.TensorShape([None, None, None, 3])]
    state = [tf.constant(1), tap(0)]
    return tf.while_loop(
        lambda k, _: k < tf.shape(index)[1], lambda k, total: (k + 1, total + tap(k)), state, shape_invariants=shapes
    )[1]


def _grown(pictures: Any, size_px: int) -> Any:
    """Linear interpolation with weights in steps of 1/2048, int32; where nothing grows, nothing changes."""

    def taps(values: Any, axis: int, length: Any, before: Any, near: Any, far: Any) -> tuple[Any, Any]:
        shape = [-1 if i == axis else 1 for i in range(1, 4)]
        one = tf.gather(values, tf.clip_by_value(before, 0, length - 1), axis=axis)
        other = tf.gather(values, tf.clip_by_value(before + 1, 0, length - 1), axis=axis)
        return one * tf.reshape(near, shape), other * tf.reshape(far, shape)

    right = tf.bitwise.right_shift
    height, width = tf.shape(pictures)[1], tf.shape(pictures)[2]
    before, near, far = _neighbours(width, size_px)
    inside = (before >= 0) & (before < width - 1)  # at the edges a row takes one pixel whole
    near, far = tf.where(inside, near, 2048), tf.where(inside, far, 0)
    one, other = taps(pictures, 2, width, before, near, far)
    one, other = taps(right(one + other, 4), 1, height, *_neighbours(height, size_px))
    return right(right(one, 16) + right(other, 16) + 2, 2)


def _neighbours(length: Any, size_px: int) -> tuple[Any, Any, Any]:
    """The pixel before each new one, int32 (S,), -1 and up, and the weights of it and the next, 0 to 2048."""
    scale = 1 / (size_px / tf.cast(length, tf.float64))
    at = tf.cast((tf.range(size_px, dtype=tf.float64) + 0.5) * scale - 0.5, tf.float32)
    before = tf.floor(at)
    share = at - before
    near, far = tf.round((1 - share) * 2048), tf.round(share * 2048)
    return tf.cast(before, tf.int32), tf.cast(near, tf.int32), tf.cast(far, tf.int32)


def strangeness(known: strangers.Strangers, embedding: Any, logits: Any) -> Any:
    """How strange pictures are, float32 (B,), from embeddings, float32 (B, D), and logits, float32 (B, C)."""
    length = tf.sqrt(tf.reduce_sum(tf.square(embedding), axis=1, keepdims=True))
    apart = embedding / tf.maximum(length, 1e-12) - known.centre
    along = tf.matmul(apart, known.axes.astype(np.float32).T)
    rest = tf.reduce_sum(tf.square(apart), axis=1) - tf.reduce_sum(tf.square(along), axis=1)
    means = known.means.astype(np.float32)
    towards = tf.matmul(along / known.scale, means.T) - 0.5 * (means**2).sum(axis=1)
    best = tf.reduce_max(logits, axis=1, keepdims=True)
    first = tf.one_hot(tf.argmax(logits, axis=1), logits.shape[1])
    others = tf.reduce_sum(tf.exp(logits - best) * (1 - first), axis=1)
    parts = (
        tf.math.log(tf.maximum(rest, strangers.LEAST)),
        -tf.reduce_max(towards, axis=1),
        tf.math.log(others + 1e-15),
    )
    score = tf.zeros_like(rest)
    for part, middle, weight in zip(parts, known.middle, known.weight, strict=True):
        score += tf.maximum((part - np.float32(middle)) * np.float32(weight), strangers.LOWEST)
    return tf.where(tf.math.is_nan(score), tf.fill(tf.shape(score), np.inf), score)
