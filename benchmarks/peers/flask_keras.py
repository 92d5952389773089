"""Peer: the service that most people write: Flask, Pillow and `model.predict`.

    python benchmarks/peers/flask_keras.py MODEL.keras --classes a,b --size 288 --port 8000 [--gunicorn]

Flask's own server, threaded as it comes, or gunicorn with a process a core, as both their documents show. One picture a
request, a part named `file`. Needs flask, gunicorn, keras, tensorflow-cpu and Pillow.
"""

from __future__ import annotations

import os
import sys

import keras_as_written


def make():
    """The application, its model loaded."""
    from flask import Flask, jsonify, request

    app, classifier = Flask(__name__), keras_as_written.Classifier.given()

    @app.post("/predict")
    def predict():
        content = request.files["file"].read()
        return jsonify(classifier.answers([classifier.pixels(content)])[0])

    return app


def main() -> None:
    """Serve until it is told to end."""
    parser = keras_as_written.parser(__doc__)
    parser.add_argument("--gunicorn", action="store_true", help="its processes instead of Flask's own server")
    options = parser.parse_args()
    os.environ["PICTURES_MODEL"] = keras_as_written.given(options)
    if options.gunicorn:
        os.chdir(os.path.dirname(os.path.abspath(__file__)))
        address = f"127.0.0.1:{options.port}"
        workers = str(os.cpu_count() or 1)
        program = [sys.executable, "-m", "gunicorn", "--workers", workers, "--bind", address, "flask_keras:make()"]
        os.execv(sys.executable, program)
    make().run("127.0.0.1", options.port)


if __name__ == "__main__":
    main()
