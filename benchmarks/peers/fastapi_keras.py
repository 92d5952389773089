"""Peer: FastAPI on uvicorn, Pillow and `model.predict`, as its documents have it: a plain function, run on a thread.

    python benchmarks/peers/fastapi_keras.py MODEL.keras --classes a,b --size 288 --port 8000

One picture a request, a part named `file`. Needs fastapi, uvicorn, python-multipart, keras, tensorflow-cpu and Pillow.
"""

import os

import keras_as_written


def make():
    """The application, its model loaded."""
    from fastapi import FastAPI, UploadFile

    app, classifier = FastAPI(), keras_as_written.Classifier.given()

    @app.post("/predict")
    def predict(file: UploadFile):
        return classifier.answers([classifier.pixels(file.file.read())])[0]

    return app


def main() -> None:
    """Serve until it is told to end."""
    options = keras_as_written.parser(__doc__).parse_args()
    os.environ["PICTURES_MODEL"] = keras_as_written.given(options)
    import uvicorn

    uvicorn.run(make(), host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
