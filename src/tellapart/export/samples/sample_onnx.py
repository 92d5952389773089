"""Answer what is on pictures, by the classifier in this folder and ONNX Runtime: python sample.py PICTURE…

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
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime would report its use to its maker
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        self.session = onnxruntime.InferenceSession(Path(folder, "model.onnx"), providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self.session.get_outputs()]

    def __call__(self, picture):
        # The graph takes a batch of pictures of one size. It does the resizing, and gives calibrated probabilities.
        values = dict(zip(self.outputs, self.session.run(None, {"pictures": picture[None]}), strict=True))
        score = values["score"][0] if "score" in values else None
        return answered(self.facts, values["probabilities"][0], score)


if __name__ == "__main__":
    main(Classifier(Path(__file__).parent))
