"""Peer: Ray Serve with batches of up to 16, one replica.

    python benchmarks/peers/ray_keras.py MODEL.keras --classes a,b --size 288 --port 8000

One picture a request, its bytes alone as the body. Needs ray[serve], keras, tensorflow-cpu and Pillow.
"""

import json
import os
import time

import keras_as_written


def main() -> None:
    """Serve until it is told to end."""
    options = keras_as_written.parser(__doc__).parse_args()
    settings = json.loads(keras_as_written.given(options))
    here = os.path.dirname(os.path.abspath(__file__))
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": here}

    import ray
    from ray import serve
    from starlette.requests import Request

    @serve.deployment(max_ongoing_requests=64)
    class Pictures:
        """A model and its endpoint."""

        def __init__(self) -> None:
            self.classifier = keras_as_written.Classifier(**settings)

        @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.005)
        async def answers(self, contents: list[bytes]) -> list[dict]:
            return self.classifier.answers([self.classifier.pixels(content) for content in contents])

        async def __call__(self, request: Request) -> dict:
            return await self.answers(await request.body())

    ray.init(include_dashboard=False, num_cpus=os.cpu_count(), object_store_memory=200 * 2**20)
    serve.start(http_options={"host": "127.0.0.1", "port": options.port})
    serve.run(Pictures.bind(), route_prefix="/predict")
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
