"""Peer: LitServe with batches of up to 16, one worker.

    python benchmarks/peers/litserve_keras.py MODEL.keras --classes a,b --size 288 --port 8000

One picture a request, a part named `file`. Needs litserve, python-multipart, keras, tensorflow-cpu and
Pillow.
"""

import os
import sys

import keras_as_written

if "PICTURES_MODEL" in os.environ:  # its worker process imports this file again and looks for the class
    import litserve

    class Pictures(litserve.LitAPI):
        """A model and its endpoint."""

        def setup(self, device) -> None:
            self.classifier = keras_as_written.Classifier.given()

        def decode_request(self, request):
            return self.classifier.pixels(request["file"].file.read())

        def batch(self, inputs):
            return inputs

        def predict(self, x):
            return self.classifier.answers(x)

        def unbatch(self, output):
            return output

        def encode_response(self, output):
            return output


def main() -> None:
    """Serve until it is told to end."""
    options = keras_as_written.parser(__doc__).parse_args()
    if "PICTURES_MODEL" not in os.environ:
        os.environ["PICTURES_MODEL"] = keras_as_written.given(options)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    api = Pictures(max_batch_size=16, batch_timeout=0.005, api_path="/predict")
    service = litserve.LitServer(api, accelerator="cpu")
    service.run(host="127.0.0.1", port=options.port, generate_client_file=False)


if __name__ == "__main__":
    main()
