"""Answer what is on pictures, by the classifier in this folder and TensorFlow: python sample.py PICTURE…

Install what it needs with: pip install -r requirements.txt
"""

import json
import os
from pathlib import Path

from shared import answered, main


class Classifier:
    """The classifier of a folder. A picture, uint8 (height, width, 3), RGB, of any size, to an answer."""

    def __init__(self, folder):
        self.facts = json.loads(Path(folder, "tellapart.json").read_text(encoding="utf-8"))
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow has much to say when it begins
        import tensorflow as tf

        self.tensor = tf.constant  # of an array
        self.model = tf.saved_model.load(str(Path(folder, self.facts["model"]["path"])))
        self.answers = self.model.signatures["serving_default"]

    def __call__(self, picture):
        # The model takes a batch of pictures of one size. It does the resizing, and gives calibrated probabilities.
        values = self.answers(pictures=self.tensor(picture[None]))
        score = values["score"][0].numpy() if "score" in values else None
        return answered(self.facts, values["probabilities"][0].numpy(), score)


if __name__ == "__main__":
    main(Classifier(Path(__file__).parent))
