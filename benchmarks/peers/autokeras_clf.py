"""Peer: AutoKeras' `ImageClassifier`, from scratch.

    python benchmarks/peers/autokeras_clf.py TRAIN_DIR TEST_DIR --seconds S --size PX --json OUT [--trials 1]

Its search has no time limit, so a callback shares the time among the trials and ends each when its share is over. One
trial by default: the second of its list is a ResNet-50 at 224 px and the third an EfficientNet-B7 whose weights it
would download, and neither ends an epoch in minutes on two cores. A tenth of the training pictures is held back for the
validation by which it keeps its best epoch; a trial ends early after ten epochs that are no better, as in its own
search. Needs autokeras and tensorflow-cpu (Apache-2.0).
"""

from __future__ import annotations

import os
import tempfile
import time

import contract
import timm_loop

PATIENCE = 10  # epochs, AutoKeras' own


def main() -> None:
    """Search, take the best, and test."""
    parser = contract.parser(__doc__)
    parser.add_argument("--trials", type=int, default=1, metavar="N")
    job = contract.job(parser)
    trials = job.options.trials

    import autokeras
    import keras
    import numpy as np

    keras.utils.set_random_seed(job.seed)
    classes = contract.classes_of(job.train)
    paths, labels = contract.labelled(job.train, classes)
    test_paths, test_labels = contract.labelled(job.test, classes)
    pixels, targets = timm_loop.decoded(paths, job.size_px), np.array(labels)
    test_pixels = timm_loop.decoded(test_paths, job.size_px)
    training, held = contract.held_back(labels, job.seed)
    np.random.default_rng(job.seed).shuffle(training)
    # A first guess of what the test and AutoKeras' own saving and loading take.
    closing_s = 4.0 + len(test_paths) / 1000
    begun, counted = time.perf_counter(), {"trials": 0, "steps": 0}
    per_trial_s = contract.left_s(job, test_s=closing_s) / trials

    class Clock(keras.callbacks.Callback):
        """Ends the trial when its share of the time is over; it counts outside, because AutoKeras copies it."""

        def __deepcopy__(self, memo):
            return Clock()

        def on_train_begin(self, logs=None) -> None:
            counted["trials"] += 1
            self.ends = begun + per_trial_s * counted["trials"]

        def on_train_batch_end(self, batch, logs=None) -> None:
            counted["steps"] += 1
            if time.perf_counter() > self.ends:
                self.model.stop_training = True  # Keras looks at it after every step

    with tempfile.TemporaryDirectory(prefix="peer-") as folder:
        os.chdir(folder)
        classifier = autokeras.ImageClassifier(
            num_classes=len(classes), max_trials=trials, overwrite=True, directory=folder, seed=job.seed
        )
        classifier.fit(
            pixels[training],
            targets[training],
            validation_data=(pixels[held], targets[held]),
            callbacks=[Clock(), keras.callbacks.EarlyStopping(patience=PATIENCE, min_delta=1e-4)],
            verbose=0,
        )
        train_s = time.perf_counter() - begun
        given = np.asarray(classifier.predict(test_pixels, verbose=0)).reshape(-1).astype(float).astype(int)
        os.chdir("/")
    contract.report(
        job,
        peer="autokeras",
        version=f"{autokeras.__version__}, keras {keras.__version__}",
        n_right=int((given == np.array(test_labels)).sum()),
        n_test=len(test_paths),
        train_seconds=train_s,
        epochs=counted["steps"] * 32 / len(training),
        settings={"trials": trials, "batch": 32, "held_back": contract.HELD_BACK},
    )


if __name__ == "__main__":
    main()
