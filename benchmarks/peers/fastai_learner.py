"""Peer: fastai's `vision_learner` with a ResNet-18, from scratch, as its documents show it.

    python benchmarks/peers/fastai_learner.py TRAIN_DIR TEST_DIR --seconds S --size PX --json OUT

`RandomResizedCrop(size, min_scale=0.35)` on each picture (fastai's Imagenette tutorial), `aug_transforms` and
normalisation on each batch, a tenth held back for validation, `fit_one_cycle(n, 3e-3)` (the rate at which the fastai
book trains Imagenette from scratch). n is what fits after a measured start; where not even one epoch fits, it is one on
fewer pictures. Needs fastai (Apache-2.0).
"""

from __future__ import annotations

import random
import time

import contract

BATCH, RATE = 64, 3e-3
PROBE_STEPS = 12  # of training, the first half of them to warm up


def main() -> None:
    """Measure, plan, train and test."""
    job = contract.job(contract.parser(__doc__))

    import fastai
    import torch
    from fastai.vision.all import (
        Callback,
        CancelFitException,
        CategoryBlock,
        DataBlock,
        ImageBlock,
        IndexSplitter,
        Normalize,
        ProgressCallback,
        RandomResizedCrop,
        accuracy,
        aug_transforms,
        imagenet_stats,
        noop,
        resnet18,
        set_seed,
        vision_learner,
    )

    classes = contract.classes_of(job.train)
    paths, labels = contract.labelled(job.train, classes)
    test_paths, test_labels = contract.labelled(job.test, classes)
    class_of = dict(zip(paths, labels, strict=True))

    def learner(some):
        """fastai's data and network for these pictures, always the same for one seed."""
        set_seed(job.seed, reproducible=True)
        _, held = contract.held_back([class_of[path] for path in some], job.seed)
        block = DataBlock(
            blocks=(ImageBlock, CategoryBlock(vocab=classes)),
            get_items=lambda _: some,
            get_y=lambda path: classes[class_of[path]],
            splitter=IndexSplitter(held),
            item_tfms=RandomResizedCrop(job.size_px, min_scale=0.35),
            batch_tfms=[*aug_transforms(do_flip=job.flip), Normalize.from_stats(*imagenet_stats)],
        )
        data = block.dataloaders(
            job.train, bs=min(BATCH, max(2, len(some) // 4)), num_workers=contract.cores(), device=torch.device("cpu")
        )
        learn = vision_learner(data, resnet18, pretrained=False, metrics=accuracy)
        learn.remove_cb(ProgressCallback)
        learn.logger = noop
        return learn

    class Clock(Callback):
        """Counts the steps and the seconds of each; ends the fit after `most` steps or at the deadline."""

        def __init__(self, most=None, deadline=None):
            self.most, self.deadline, self.times = most, deadline, []

        def before_fit(self):
            self.times = [time.perf_counter()]

        def after_batch(self):
            if self.training:
                self.times.append(time.perf_counter())
                late = self.deadline is not None and self.times[-1] > self.deadline
                if late or (self.most is not None and len(self.times) > self.most):
                    raise CancelFitException

    def answers(learn, some):
        """The most probable class of each picture, as numbers of `classes`."""
        probabilities, _ = learn.get_preds(dl=learn.dls.test_dl(some, bs=2 * BATCH, num_workers=contract.cores()))
        names = [learn.dls.vocab[i] for i in probabilities.argmax(1).tolist()]
        return [classes.index(name) for name in names]

    random.Random(job.seed).shuffle(paths)
    learn = learner(paths)
    # The fit ends with the last of these steps, before the validation, and with a sixth of the time at the latest.
    clock = Clock(most=min(PROBE_STEPS, len(learn.dls.train)), deadline=time.perf_counter() + job.seconds / 6)
    learn.fit(1, RATE, cbs=clock)
    steps = clock.times[min(len(clock.times) // 2, len(clock.times) - 2) :]  # the first ones warm up
    step_s = (steps[-1] - steps[0]) / (len(steps) - 1)
    start, n_probe = time.perf_counter(), min(len(test_paths), 2 * BATCH)
    answers(learn, random.Random(job.seed).sample(test_paths, n_probe))
    answer_s = (time.perf_counter() - start) / n_probe
    n_valid = int(contract.HELD_BACK * len(paths))
    workers_s = 1.0  # the loaders' workers start anew for each pass
    epoch_s = step_s * max(1, len(learn.dls.train)) + answer_s * n_valid + workers_s
    test_s = 1.2 * answer_s * len(test_paths)
    left_s = contract.left_s(job, test_s=test_s)
    epochs = contract.epochs_that_fit(left_s, epoch_s)
    some = paths if epochs else paths[: max(4 * len(classes), int(0.9 * len(paths) * left_s / epoch_s))]
    learn = learner(some)
    clock = Clock(deadline=time.perf_counter() + contract.left_s(job, test_s=test_s))
    start = time.perf_counter()
    learn.fit_one_cycle(max(1, epochs), RATE, cbs=clock)
    train_s = time.perf_counter() - start
    given = answers(learn, test_paths)
    contract.report(
        job,
        peer="fastai",
        version=f"{fastai.__version__}, torch {torch.__version__}",
        n_right=sum(a == b for a, b in zip(given, test_labels, strict=True)),
        n_test=len(test_paths),
        train_seconds=train_s,
        epochs=(len(clock.times) - 1) / max(1, len(learn.dls.train)) * len(some) / len(paths),
        settings={
            "model": "resnet18",
            "batch": learn.dls.bs,
            "rate": RATE,
            "planned_epochs": max(1, epochs),
            "pictures": len(some),
            "held_back": contract.HELD_BACK,
        },
    )


if __name__ == "__main__":
    main()
