"""Functions that several samples need: `sampletext` puts their text into each program."""

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
