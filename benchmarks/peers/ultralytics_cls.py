"""Peer: Ultralytics' `yolo classify train`, the network `yolo11n-cls`, from scratch.

    python benchmarks/peers/ultralytics_cls.py TRAIN_DIR TEST_DIR --seconds S --size PX --json OUT [--model NAME.yaml]

Its own `time` setting keeps the budget: it plans the epochs anew after each one. A tenth of the training pictures is
held back for the validation by which it keeps its best epoch. All else is its default, save the batch of 64, which is
faster than 16 here. It works on links in a temporary folder, offline, without its usage statistics. Ultralytics is
AGPL-3.0: this script is never imported, and runs in an environment of its own.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import contract

BATCH = 64
LEAST_PX = 10  # of a picture that Ultralytics takes
N_PROBE = 64  # test pictures answered by a network without training, for the time that the test will take


def link(paths: list[Path], labels: list[int], classes: list[str], to: Path) -> None:
    """Links to pictures in class folders; a number before each name keeps apart those of one name.

    Ultralytics passes over pictures of less than 10 px a side; of those there is a copy, enlarged fourfold.
    """
    from PIL import Image

    for name in classes:
        (to / name).mkdir(parents=True, exist_ok=True)
    for i, (path, label) in enumerate(zip(paths, labels, strict=True)):
        place = to / classes[label] / f"{i:06d}-{path.name}"
        with Image.open(path) as image:
            if min(image.size) < LEAST_PX:
                image.resize((4 * image.width, 4 * image.height), Image.Resampling.BILINEAR).save(place)
                continue
        place.symlink_to(path)


def main() -> None:
    """Measure the test, train for what is left, and test."""
    parser = contract.parser(__doc__)
    parser.add_argument("--model", default="yolo11n-cls.yaml", help="[default: yolo11n-cls.yaml]")
    job = contract.job(parser)
    classes = contract.classes_of(job.train)
    paths, labels = contract.labelled(job.train, classes)
    test_paths, test_labels = contract.labelled(job.test, classes)
    with tempfile.TemporaryDirectory(prefix="peer-") as name:
        folder = Path(name)
        os.environ["YOLO_CONFIG_DIR"] = str(folder / "settings")  # nobody's own settings are read or changed
        os.chdir(folder)

        import torch
        import ultralytics
        from ultralytics import YOLO, settings
        from ultralytics.nn.tasks import ClassificationModel

        settings.update({"sync": False})
        training, held = contract.held_back(labels, job.seed)
        data = folder / "data"
        for side, some in (("val", held), ("train", training)):
            link([paths[i] for i in some], [labels[i] for i in some], classes, data / side)
        link(test_paths, test_labels, classes, data / "test")
        random.Random(job.seed).shuffle(chosen := list(range(len(test_paths))))
        chosen = chosen[:N_PROBE]
        for side in ("train", "test"):
            link([test_paths[i] for i in chosen], [test_labels[i] for i in chosen], classes, folder / "probe" / side)
        common = {"imgsz": job.size_px, "device": "cpu", "workers": contract.cores(), "verbose": False, "plots": False}
        common |= {"project": str(folder / "runs"), "batch": BATCH}

        def right(model, data: Path) -> int:
            found = model.val(data=str(data), split="test", **common)
            seen = int(found.confusion_matrix.matrix.sum()) if found.confusion_matrix is not None else None
            expected = len(chosen) if data.name == "probe" else len(test_paths)
            if seen is not None and seen != expected:
                sys.exit(f"Ultralytics answered {seen} of {expected} pictures.")
            return round(found.top1 * expected)

        with contextlib.redirect_stdout(sys.stderr):
            model = YOLO(job.options.model, task="classify")
            ClassificationModel.reshape_outputs(model.model, len(classes))  # from ImageNet's thousand
            model.model.names = dict(enumerate(classes))
            right(model, folder / "probe")  # warms up
            start = time.perf_counter()
            right(model, folder / "probe")
            answer_s = (time.perf_counter() - start) / len(chosen)
            test_s = 1.0 + answer_s * len(test_paths)
            # After the last epoch: its own validation of the best one, and the files without the optimizer.
            closing_s = 1.0 + 2 * answer_s * len(held)
            left_s = max(1.0, contract.left_s(job, test_s=test_s + closing_s))
            epochs: list[int] = []
            model = YOLO(job.options.model, task="classify")
            model.add_callback("on_train_epoch_end", lambda trainer: epochs.append(trainer.epoch))
            start = time.perf_counter()
            model.train(
                data=str(data),
                time=left_s / 3600,
                seed=job.seed,
                pretrained=False,
                fliplr=0.5 if job.flip else 0.0,
                **common,
            )
            train_s = time.perf_counter() - start
            n_right = right(model, data)
        contract.report(
            job,
            peer="ultralytics",
            version=f"{ultralytics.__version__}, torch {torch.__version__}",
            n_right=n_right,
            n_test=len(test_paths),
            train_seconds=train_s,
            epochs=len(epochs),
            settings={"model": job.options.model, "batch": BATCH, "held_back": contract.HELD_BACK, "test_s": test_s},
        )


if __name__ == "__main__":
    main()
