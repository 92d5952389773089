"""How the batches reach Keras: what one epoch takes with tf.data's threads and with Keras' own queue.

    python benchmarks/feed.py [--epochs 8]

The tutorial's network on noise. With one worker Keras hands a `PyDataset` to tf.data, whose tuning thread is waited
for when an iterator ends: some epochs begin seconds late with both cores idle. From two workers on Keras uses its own
queue. Printed: the seconds of each epoch, and the longest wait between an epoch's begin and its first batch.
"""

from __future__ import annotations

import argparse
import os
import time

N = 3200


def main() -> None:
    """Print a row for each number of workers, each measured twice, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    epochs = parser.parse_args().epochs

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import numpy as np

    from tellapart import models, objectives
    from tellapart.augment import TUTORIAL as VARIED
    from tellapart.batches import Batches
    from tellapart.config import TUTORIAL

    class Watch(keras.callbacks.Callback):
        """Seconds of every epoch, and from its begin to its first batch."""

        def __init__(self) -> None:
            super().__init__()
            self.epochs, self.waits, self.began, self.waiting = [], [], 0.0, True

        def on_epoch_begin(self, epoch, logs=None) -> None:
            self.began, self.waiting = time.perf_counter(), True

        def on_train_batch_begin(self, batch, logs=None) -> None:
            if self.waiting:
                self.waits.append(time.perf_counter() - self.began)
                self.waiting = False

        def on_epoch_end(self, epoch, logs=None) -> None:
            self.epochs.append(time.perf_counter() - self.began)

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (N, 64, 64, 3), dtype=np.uint8)
    print("| workers | median epoch | slowest epoch after the first | longest wait for a first batch |")
    print("|---|---|---|---|")
    for workers in (1, 2, 1, 2):
        batches = Batches(
            pixels, np.arange(N), np.arange(N) % 2, class_names=("a", "b"), paths=[""] * N, size_px=64,
            augmentation=VARIED, label_mode="binary", workers=workers,
        )  # fmt: skip
        model = models.build(TUTORIAL, 2, dtype="mixed_bfloat16")
        objectives.compile_model(model, TUTORIAL, steps_per_epoch=len(batches), steps_per_execution=8)
        watch = Watch()
        model.fit(batches, validation_data=batches, epochs=epochs, shuffle=False, callbacks=[watch], verbose=0)
        later = watch.epochs[1:]
        print(f"| {workers} | {np.median(later):.2f} s | {max(later):.2f} s | {max(watch.waits):.2f} s |", flush=True)


if __name__ == "__main__":
    main()
