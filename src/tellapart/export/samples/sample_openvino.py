"""Answer what is on pictures, by the classifier in this folder and OpenVINO: python sample.py PICTURE…

Install what it needs with: pip install -r requirements.txt
"""

import json
import sys
from pathlib import Path

from shared import answered, main


class Classifier:
    """The classifier of a folder. A picture, uint8 (height, width, 3), RGB, of any size, to an answer."""

    def __init__(self, folder):
        self.facts = json.loads(Path(folder, "tellapart.json").read_text(encoding="utf-8"))
        sys.modules["openvino_telemetry"] = None  # OpenVINO would report its use to its maker
        import openvino

        settings = {"INFERENCE_PRECISION_HINT": "f32"}  # where the processor can, "bf16" is faster, and rounds
        self.model = openvino.Core().compile_model(Path(folder, "model.xml"), "CPU", settings)
        self.known = {name for output in self.model.outputs for name in output.names}

    def __call__(self, picture):
        # The graph takes a batch of pictures of one size. It does the resizing, and gives calibrated probabilities.
        values = self.model({"pictures": picture[None]})
        score = values["score"][0] if "score" in self.known else None
        return answered(self.facts, values["probabilities"][0], score)


if __name__ == "__main__":
    main(Classifier(Path(__file__).parent))
