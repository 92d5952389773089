"""Functions that several samples need: `sampletext` puts their text into each program."""

import functools
import json
import sys

import numpy as np
from PIL import Image, ImageOps


def read(path):
    """The pixels of a picture file, uint8 (height, width, 3): upright, over white, RGB."""
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):  # 16 bits a pixel: keep the upper 8
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB"))


def answered(facts, probabilities, score):
    """The answer to one picture, from its probabilities and its score of strangeness (None where there is none)."""
    guards, best = facts["guards"], int(np.argmax(probabilities))
    label, probability = facts["classes"][best], float(probabilities[best])
    score = None if score is None else float(score)
    reason = None
    if score is not None and guards["strangeness"] is not None and not score <= guards["strangeness"]:
        reason = guards["words"]["strange"]
    elif probability < guards["confidence"]:
        reason = guards["words"]["unsure"].format(label=label, probability=probability)
    return {
        "label": None if reason else label,
        "probability": probability,
        "probabilities": dict(zip(facts["classes"], map(float, probabilities), strict=True)),
        "unknown": reason is not None,
        "score": score,
        "reason": reason,
    }


def main(classifier):
    """Answer each picture that the command line names: one line of JSON a picture."""
    for path in sys.argv[1:]:
        try:
            answer = classifier(read(path))
        except OSError as error:  # no such file, or no picture
            answer = {"error": str(error)}
        print(json.dumps({"path": path, **answer}), flush=True)


def square(picture, size, fit):
    """A picture, uint8 (H, W, 3), brought to uint8 (S, S, 3): means where a side shrinks, linear where it grows."""
    height, width = picture.shape[:2]
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        picture = picture[top : top + side, left : left + side]
        height = width = side
    return grown(shrunk(picture, min(height, size), min(width, size)), size)


def shrunk(picture, to_height, to_width):
    """The mean of the area that each new pixel covers (`INTER_AREA` of OpenCV)."""
    height, width = picture.shape[:2]
    down, across = 1 / (to_height / height), 1 / (to_width / width)
    if down == int(down) and across == int(across):  # whole blocks of pixels
        shape = (to_height, int(down), to_width, int(across), 3)
        total = picture.reshape(shape).sum(axis=(1, 3), dtype=np.float32)
        mean = total / 4 + 0.5 if down == across == 2 else np.rint(total * np.float32(1 / (down * across)))
        return mean.astype(np.uint8)
    for axis, length, to_length in ((1, width, to_width), (0, height, to_height)):
        index, share = areas(length, to_length)
        share = share[..., None] if axis else share[..., None, None]
        taps = (picture.take(index[:, k], axis) * share[:, k] for k in range(index.shape[1]))
        picture = functools.reduce(np.add, taps)
    return np.rint(picture).clip(0, 255).astype(np.uint8)


def areas(length, to_length):
    """Which of `length` pixels each of `to_length` new ones covers, int (new, K), and the share of each, float32."""
    scale = 1 / (to_length / length)
    begin = np.arange(to_length)[:, None] * scale
    end, covered = begin + scale, np.minimum(scale, length - begin)
    first = np.minimum(np.ceil(begin), np.minimum(np.floor(end), length - 1))  # pixels from here to `last`: whole
    last = np.minimum(np.floor(end), length - 1)
    before = np.where(first - begin > 1e-3, first - begin, 0)
    after = np.where(end - last > 1e-3, np.minimum(np.minimum(end - last, 1), covered), 0)
    index = first - (before > 0) + np.arange(int(np.ceil(scale)) + 1)
    share = np.where(index < first, before, np.where(index < last, 1, np.where(index == last, after, 0)))
    return np.minimum(index, length - 1).astype(int), (share / covered).astype(np.float32)


def grown(picture, size):
    """Linear interpolation with weights in steps of 1/2048 (OpenCV's INTER_LINEAR)."""
    height, width = picture.shape[:2]
    left, right, near, far = neighbours(width, size)
    inside = (left >= 0) & (right < width)  # at the edges a row takes one pixel whole
    near, far = np.where(inside, near, 2048)[:, None], np.where(inside, far, 0)[:, None]
    left, right = left.clip(0, width - 1), right.clip(0, width - 1)
    rows = (picture[:, left] * near + picture[:, right] * far) >> 4
    top, bottom, near, far = neighbours(height, size)
    top, bottom = rows[top.clip(0, height - 1)], rows[bottom.clip(0, height - 1)]
    both = (top * near[:, None, None] >> 16) + (bottom * far[:, None, None] >> 16)
    return ((both + 2) >> 2).astype(np.uint8)


def neighbours(length, to_length):
    """The pixels before and after each new one, int (new,), -1 to `length`, and their weights, 0 to 2048."""
    at = ((np.arange(to_length) + 0.5) * (1 / (to_length / length)) - 0.5).astype(np.float32)
    before = np.floor(at).astype(int)
    share = at - before.astype(np.float32)
    return before, before + 1, np.rint((1 - share) * 2048).astype(int), np.rint(share * 2048).astype(int)
