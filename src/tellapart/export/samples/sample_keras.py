"""Answer what is on pictures, by the classifier in this folder and Keras: python sample.py PICTURE…

Install what it needs with: pip install -r requirements.txt
Keras computes by TensorFlow unless $KERAS_BACKEND names another of its backends that is installed.
"""

import json
import os
from pathlib import Path

import numpy as np
from shared import answered, main, square


class Classifier:
    """The classifier of a folder. A picture, uint8 (height, width, 3), RGB, of any size, to an answer."""

    def __init__(self, folder):
        self.facts = json.loads(Path(folder, "tellapart.json").read_text(encoding="utf-8"))
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow has much to say when it begins
        import keras

        self.known = None
        if Path(folder, "strangers.npz").exists():
            with np.load(Path(folder, "strangers.npz"), allow_pickle=False) as arrays:
                self.known = {name: arrays[name].astype(np.float32) for name in arrays.files}
        network = keras.saving.load_model(Path(folder, "model.keras"), compile=False)
        # The network up to its last dense layer, whose input tells how strange a picture is as well.
        dense = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)][-1]
        self.embedding = keras.Model(network.inputs, dense.input)
        self.weights = [keras.ops.convert_to_numpy(weight) for weight in dense.weights]

    def __call__(self, picture):
        how = self.facts["preprocess"]
        batch = square(picture, how["size_px"], how["fit"])[None]
        embedding = self.embedding.predict_on_batch(batch)[0]
        kernel, *bias = self.weights
        logits = sum(bias, embedding @ kernel)  # divided by the temperature already: by the weights
        if len(logits) == 1:  # one sigmoid for two classes
            logits = np.array([0, logits[0]])
        exponents = np.exp(logits.astype(float) - logits.max())
        score = None if self.known is None else strangeness(self.known, embedding, logits * self.facts["temperature"])
        return answered(self.facts, exponents / exponents.sum(), score)


def strangeness(known, embedding, logits):
    """How strange a picture is: how far from all that was learned, towards no class, and doubtful."""
    apart = embedding / max(np.linalg.norm(embedding), 1e-12) - known["centre"]
    along = known["axes"] @ apart
    far = np.log(max((apart**2).sum() - (along**2).sum(), 1e-6))
    towards = known["means"] @ (along / known["scale"]) - 0.5 * (known["means"] ** 2).sum(axis=1)
    others = np.delete(logits, logits.argmax()).astype(float) - logits.max()
    parts = np.array([far, -towards.max(), np.log(np.exp(others).sum() + 1e-15)])
    return np.maximum((parts - known["middle"]) * known["weight"], -1).sum()


if __name__ == "__main__":
    main(Classifier(Path(__file__).parent))
