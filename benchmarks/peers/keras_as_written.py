"""What every peer that serves a Keras model does to a picture: as people write it.

The standard library alone at the top: every environment imports it, and `--help` must not wait for TensorFlow.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from pathlib import Path
from typing import Any


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The command line that all peers share."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL.keras", help="takes uint8 pictures, gives logits")
    parser.add_argument("--classes", required=True, metavar="A,B,…", help="in the model's order")
    parser.add_argument("--size", type=int, required=True, metavar="PX", help="side of what the network sees")
    parser.add_argument("--port", type=int, required=True, metavar="N")
    return parser


def given(options: argparse.Namespace) -> str:
    """The options as text, for a server that starts processes of its own: in their environment as PICTURES_MODEL."""
    return json.dumps({"model": str(options.model.resolve()), "classes": options.classes, "size": options.size})


class Classifier:
    """The model loaded; bytes of pictures to answers."""

    def __init__(self, model: str, classes: str, size: int) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        import keras

        self.model = keras.models.load_model(model, compile=False)
        self.classes, self.size = classes.split(","), size
        self.answers([self.pixels(_black())])  # the first one is slow

    @classmethod
    def given(cls) -> Classifier:
        """As `given` said it."""
        return cls(**json.loads(os.environ["PICTURES_MODEL"]))

    def pixels(self, content: bytes) -> Any:
        """Bytes of a file to uint8 (S, S, 3)."""
        import numpy as np
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB").resize((self.size, self.size)))

    def answers(self, pictures: list[Any]) -> list[dict[str, Any]]:
        """Pixels to answers."""
        import numpy as np

        logits = self.model.predict(np.stack(pictures), verbose=0)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        best = shares.argmax(axis=1)
        return [{"label": self.classes[i], "probability": float(row[i])} for i, row in zip(best, shares, strict=True)]


def _black() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "PNG")
    return file.getvalue()
