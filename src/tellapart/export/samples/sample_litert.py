"""Answer what is on pictures, by the classifier in this folder and LiteRT: python sample.py PICTURE…

Install what it needs with: pip install -r requirements.txt
"""

import json
import os
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter
from shared import answered, main, square


class Classifier:
    """The classifier of a folder. A picture, uint8 (height, width, 3), RGB, of any size, to an answer."""

    def __init__(self, folder):
        self.facts = json.loads(Path(folder, "tellapart.json").read_text(encoding="utf-8"))
        self.model = Interpreter(str(Path(folder, "model.tflite")), num_threads=os.cpu_count())
        self.answers = self.model.get_signature_runner("serving_default")

    def __call__(self, picture):
        how = self.facts["preprocess"]
        values = self.answers(pictures=square(picture, how["size_px"], how["fit"])[None])
        score = values["score"][0] if "score" in values else None
        return answered(self.facts, values["probabilities"][0], score)


if __name__ == "__main__":
    main(Classifier(Path(__file__).parent))
