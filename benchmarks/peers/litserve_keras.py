"""Peer: LitServe with batches of up to 16, one worker.

    python benchmarks/peers/litserve_keras.py MODEL.keras --classes a,b --size 288 --port 8000

One picture a request, a part named `file`. Needs litserve, keras, tensorflow-cpu and Pillow.
"""

import json

import keras_as_written


def main() -> None:
    """Serve until it is told to end."""
    options = keras_as_written.parser(__doc__).parse_args()
    settings = json.loads(keras_as_written.given(options))

    import litserve

    class Pictures(litserve.LitAPI):
        """A model and its endpoint."""

        def setup(self, device) -> None:
            self.classifier = keras_as_written.Classifier(**settings)

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

    api = Pictures(max_batch_size=16, batch_timeout=0.005)
    litserve.LitServer(api, accelerator="cpu").run(host="127.0.0.1", port=options.port, generate_client_file=False)


if __name__ == "__main__":
    main()
