"""Peer: BentoML with its adaptive batching, one worker.

    python benchmarks/peers/bento_keras.py MODEL.keras --classes a,b --size 288 --port 8000

One picture a request, a part named `images`. Needs bentoml, keras, tensorflow-cpu and Pillow.
"""

import os
import sys

import keras_as_written

if "PICTURES_MODEL" in os.environ:  # BentoML imports this file by its name and looks for the service
    from pathlib import Path

    import bentoml

    @bentoml.service(workers=1, traffic={"timeout": 60})
    class Pictures:
        """A model and its endpoint."""

        def __init__(self) -> None:
            self.classifier = keras_as_written.Classifier.given()

        @bentoml.api(batchable=True, max_batch_size=16, max_latency_ms=10_000, route="/predict")
        def predict(self, images: list[Path]) -> list[dict]:
            return self.classifier.answers([self.classifier.pixels(path.read_bytes()) for path in images])


def main() -> None:
    """Serve until it is told to end."""
    options = keras_as_written.parser(__doc__).parse_args()
    os.environ |= {"PICTURES_MODEL": keras_as_written.given(options), "BENTOML_DO_NOT_TRACK": "True"}
    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    program = [sys.executable, "-m", "bentoml", "serve", "bento_keras:Pictures"]
    os.execv(sys.executable, [*program, "--host", "127.0.0.1", "--port", str(options.port)])


if __name__ == "__main__":
    main()
