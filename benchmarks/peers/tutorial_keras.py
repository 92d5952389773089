"""Peer: the best-known Keras tutorial's code as it stands, with the rate of its day, for as long as there is time.

    python benchmarks/peers/tutorial_keras.py TRAIN_DIR TEST_DIR --seconds S --size 64 --json OUT [--epochs N]

Conv 32, pool, Conv 64, pool, Dense 128, dropout, one sigmoid (a softmax for more than two classes); Adadelta at 1.0,
batch 32; `ImageDataGenerator` with shear, zoom and flips. It runs epoch after epoch, `--epochs` of them at most, and
stops before one that would not end in time, or within the first where not even that fits. The last weights count, as
there. The code is that of benchmarks/tutorial.py. Needs keras, tensorflow-cpu, scipy and Pillow.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import contract

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import tutorial


def main() -> None:
    """Train epoch after epoch, and test."""
    parser = contract.parser(__doc__)
    parser.add_argument("--epochs", type=int, default=contract.MOST_EPOCHS, metavar="N", help="at most")
    job = contract.job(parser)

    import keras

    keras.utils.set_random_seed(job.seed)
    classes = contract.classes_of(job.train)
    mode = "binary" if len(classes) == 2 else "categorical"
    training = tutorial.flow(job.train, varied=True, size_px=job.size_px, flip=job.flip, mode=mode)
    test = tutorial.flow(job.test, varied=False, size_px=job.size_px, mode=mode)
    if list(test.class_indices) != list(training.class_indices):
        sys.exit("TRAIN_DIR and TEST_DIR must have the same classes.")
    model = tutorial.network(job.size_px, len(classes))
    probe = min(len(test), 4)
    model.evaluate(test[0][0], test[0][1], verbose=0)  # warms up
    start = time.perf_counter()
    for i in range(probe):
        model.evaluate(*test[i], verbose=0)
    test_s = (time.perf_counter() - start) / probe * len(test)

    class Clock(keras.callbacks.Callback):
        """Ends the fit where the next epoch, or in the first one the next step, would end too late."""

        def __init__(self) -> None:
            super().__init__()
            self.steps, self.slowest, self.began = 0, 0.0, 0.0

        def on_epoch_begin(self, epoch, logs=None) -> None:
            self.began = time.perf_counter()

        def on_train_batch_end(self, batch, logs=None) -> None:
            self.steps += 1
            if contract.left_s(job, test_s=test_s) < 0:
                self.model.stop_training = True  # Keras looks at it after every step

        def on_epoch_end(self, epoch, logs=None) -> None:
            self.slowest = max(self.slowest, time.perf_counter() - self.began)
            if contract.left_s(job, test_s=test_s) < self.slowest:
                self.model.stop_training = True

    clock = Clock()
    start = time.perf_counter()
    model.fit(training, epochs=job.options.epochs, callbacks=[clock], verbose=0)
    train_s = time.perf_counter() - start
    n_test = len(test.classes)
    start = time.perf_counter()
    n_right = round(model.evaluate(test, verbose=0)[1] * n_test)
    tested_s = time.perf_counter() - start
    contract.report(
        job,
        peer="tutorial",
        version=f"keras {keras.__version__}, {keras.backend.backend()}",
        n_right=n_right,
        n_test=n_test,
        train_seconds=train_s,
        epochs=clock.steps / len(training),
        settings={"batch": tutorial.BATCH, "rate": 1.0, "test_seconds": round(tested_s, 2)},
    )


if __name__ == "__main__":
    main()
