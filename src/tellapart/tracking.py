"""What people watch their trainings with: TensorBoard, MLflow, Weights & Biases. Each only where it is asked for.

Nothing calls home: MLflow's usage statistics are switched off before it is imported, whatever the user's settings, and
goes nowhere but to the folder or the server that was named; Weights & Biases runs in its offline mode alone, writing a
folder that its owner may upload later.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart.classifier import Classifier, PathLike, require
from tellapart.errors import OutputError, SettingsError
from tellapart.files import because, shown

if TYPE_CHECKING:
    import keras

PROJECT = "tellapart"  # the experiment or project that runs are put under
SIDES = {"train": "train", "validation": "validation", "cross-validation": "cross_validation", "test": "test"}
NUMBERS = ("accuracy", "log_loss", "expected_calibration_error", "baseline_accuracy", "n")
MAX_TEXT = 500  # characters of a parameter; MLflow takes no more on every server
# Both say the same to different programs; the third would switch the statistics on for MLflow's own tests.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
LOUD = ("_MLFLOW_TESTING_TELEMETRY",)
OFFLINE = {
    "WANDB_MODE": "offline",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_DISABLE_CODE": "true",
}


def keras_callbacks(tensorboard: PathLike | None) -> list[keras.callbacks.Callback]:
    """What Keras is to call in a training, so that TensorBoard can show it."""
    if tensorboard is None:
        return []
    require("tensorboard", "TensorBoard", "tensorboard")
    import keras

    return [keras.callbacks.TensorBoard(str(tensorboard), write_graph=False)]


def rounds(classifier: Classifier, tensorboard: PathLike | None) -> str | None:
    """Write the rounds of a training without Keras for TensorBoard, a step each; a sentence where that failed.

    A training in Keras' `fit` has written its epochs itself.
    """
    if tensorboard is None or classifier.bundle.manifest["training"]["epochs"]:
        return None
    event, summary, files = (
        require(f"tensorboard.{module}", "TensorBoard", "tensorboard")
        for module in ("compat.proto.event_pb2", "compat.proto.summary_pb2", "summary.writer.event_file_writer")
    )
    try:
        with _written(tensorboard, also=(Exception,)):  # with TensorFlow installed, its errors
            os.makedirs(tensorboard, exist_ok=True)
            writer = files.EventFileWriter(os.fspath(tensorboard))
            for step, values in _curves(classifier):
                scalars = [summary.Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
                told = summary.Summary(value=scalars)
                writer.add_event(event.Event(wall_time=time.time(), step=step, summary=told))
            writer.close()
    except OutputError as error:
        return str(error)
    return None


def check(*, mlflow: str | None = None, wandb: PathLike | None = None, tensorboard: PathLike | None = None) -> None:
    """Whether what was asked for is installed, and can be written to as far as one can see, before a training.

    Raises:
        MissingPackageError: a package is missing; the message names the extra that brings it.
        SettingsError: an address is none that MLflow has a store for.
        OutputError: a path is there and is no folder.
    """
    if mlflow is not None:
        _mlflow_uri(mlflow)
        _mlflow()
        if "://" not in mlflow:
            _check_folder(mlflow)
    if wandb is not None:
        _wandb()
        _check_folder(wandb)
    if tensorboard is not None:
        require("tensorboard", "TensorBoard", "tensorboard")
        _check_folder(tensorboard)


def log(
    classifier: Classifier, *, mlflow: str | None, wandb: PathLike | None, artifacts: Sequence[PathLike]
) -> Iterator[str]:
    """Log a training where that was asked for; yields a sentence about each."""
    if mlflow is not None:
        run = to_mlflow(classifier, mlflow, artifacts=artifacts)
        ui = f"mlflow ui --backend-store-uri {_mlflow_uri(mlflow)}"
        see = f" To see it, with the package mlflow: {ui}" if "://" not in mlflow else ""
        yield f"Logged to MLflow at {_shown(mlflow)}, run {run}.{see}"
    if wandb is not None:
        to_wandb(classifier, wandb)
        yield f"Written for Weights & Biases. To upload it: wandb sync {shown(wandb)}/wandb/offline-run-*"


def to_mlflow(classifier: Classifier, target: str, *, artifacts: Sequence[PathLike] = ()) -> str:
    """Log a training that has just ended; returns the run's id.

    Args:
        classifier: what `train` gave.
        target: a folder, in which there will be `mlflow.db` and `artifacts`, or the address of an MLflow server,
            ``http://…``, or of a database.
        artifacts: files to keep with the run, such as the bundle and the report.

    Raises:
        MissingPackageError: MLflow is not installed.
        OutputError: the folder or the server took nothing; the training's own results stand.
    """
    uri = _mlflow_uri(target)
    with _written(target, also=(_mlflow().exceptions.MlflowException, OSError)):
        client = _client(uri)
        place = _experiment(client, None if "://" in target else Path(os.path.abspath(target)))
        run = client.create_run(place, run_name=_name(classifier), tags=_tags(classifier)).info.run_id
        end = "FAILED"
        try:
            for name, value in _parameters(classifier).items():
                client.log_param(run, name, value)
            for step, values in _curves(classifier):
                for name, value in values.items():
                    client.log_metric(run, name, value, step=step)
            for name, value in _numbers(classifier).items():
                client.log_metric(run, name, value)
            for path in artifacts:
                client.log_artifact(run, os.fspath(path))
            end = "FINISHED"
        finally:
            client.set_terminated(run, end)
    return run


def to_wandb(classifier: Classifier, folder: PathLike) -> None:
    """Write a training that has just ended as an offline run of Weights & Biases: ``wandb sync`` may upload it later.

    Raises:
        MissingPackageError: wandb is not installed.
        OutputError: the folder cannot be written.
    """
    wandb = _wandb()
    with _written(folder):
        os.makedirs(folder, exist_ok=True)
        settings = wandb.Settings(x_disable_stats=True, x_disable_meta=True, silent=True, mode="offline")
        run = wandb.init(
            project=PROJECT,
            dir=os.fspath(folder),
            mode="offline",
            name=_name(classifier),
            config={**_parameters(classifier), **_tags(classifier)},
            settings=settings,
        )
        for step, values in _curves(classifier):
            run.log(values, step=step)
        run.summary.update(_numbers(classifier))
        run.finish()


def _mlflow_uri(target: str) -> str:
    scheme, found, _ = target.partition("://")
    if not found:
        return f"sqlite:///{Path(os.path.abspath(target)).as_posix()}/mlflow.db"
    if scheme not in ("http", "https", "sqlite", "postgresql", "mysql", "mssql") and "+" not in scheme:
        raise SettingsError(
            f"--mlflow must be a folder or the address of an MLflow server, like http://localhost:5000; got "
            f"{shown(target)}. Name one of these."
        )
    return target


def _mlflow() -> Any:
    for name in LOUD:
        os.environ.pop(name, None)
    os.environ.update(QUIET)
    for module in ("sqlalchemy", "alembic"):
        require(module, "MLflow with its store", "mlflow")
    return require("mlflow", "MLflow", "mlflow")


def _client(uri: str) -> Any:
    tracking = require("mlflow.tracking", "MLflow", "mlflow")
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # how it sets up its tables is no news
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return tracking.MlflowClient(tracking_uri=uri, registry_uri=uri)


def _experiment(client: Any, folder: Path | None) -> str:
    found = client.get_experiment_by_name(PROJECT)
    if found is not None:
        return found.experiment_id
    return client.create_experiment(PROJECT, artifact_location=folder and (folder / "artifacts").as_uri())


def _wandb() -> Any:
    os.environ.update(OFFLINE)
    return require("wandb", "Weights & Biases", "wandb")


def _name(classifier: Classifier) -> str:
    source = classifier.bundle.manifest["provenance"]
    return f"{source['recipe']['name']} {classifier.size_px} px, seed {source['seed']}"


def _parameters(classifier: Classifier) -> dict[str, Any]:
    """What the training was given, flat: `recipe.dropout` and so on."""
    manifest = classifier.bundle.manifest
    source, training = manifest["provenance"], manifest["training"]
    flat = {"recipe": source["recipe"]["name"], "seed": source["seed"], "size_px": classifier.size_px}
    flat |= {"classes": len(classifier.classes), "backbone": training.get("backbone")}
    flat |= {f"pictures.{side}": n for side, n in training["pictures"].items()}
    flat |= {f"recipe.{name}": value for name, value in source["recipe"].items() if name not in ("name", "size_px")}
    return {name: str(value)[:MAX_TEXT] for name, value in flat.items() if value is not None}


def _tags(classifier: Classifier) -> dict[str, str]:
    source = classifier.bundle.manifest["provenance"]
    tags = {"fingerprint": source["catalog_fingerprint"], "created": source["created"], "machine": source["machine"]}
    return tags | {f"version.{name}": version for name, version in source["versions"].items()}


def _numbers(classifier: Classifier) -> dict[str, float]:
    """The final figures: `test.accuracy`, `test.accuracy_low` and so on."""
    found: dict[str, float] = {}
    for side, numbers in classifier.metrics.items():
        prefix = SIDES.get(side, re.sub(r"\W", "_", side))
        found |= {f"{prefix}.{name}": float(numbers[name]) for name in NUMBERS if numbers.get(name) is not None}
        low, high = numbers["accuracy_interval"]
        found |= {f"{prefix}.accuracy_low": low, f"{prefix}.accuracy_high": high}
    return found | {f"seconds.{name}": value for name, value in classifier.report.get("times", {}).items()}


def _curves(classifier: Classifier) -> Iterator[tuple[int, dict[str, float]]]:
    """The learning record: an epoch or round, from 1, and its numbers."""
    rows = csv.DictReader(io.StringIO(classifier.bundle.members["history.csv"].decode()))
    times = classifier.report.get("training", {}).get("epoch_seconds", ())
    for i, row in enumerate(rows, 1):
        numbers = {name: float(value) for name, value in row.items() if name != "epoch" and value not in ("", None)}
        yield i, numbers | ({"seconds": times[i - 1]} if i <= len(times) else {})


def _check_folder(path: PathLike) -> None:
    if os.path.lexists(path) and not os.path.isdir(path):
        raise OutputError(f"{shown(path)} must be a folder, or not be there yet; it is a file. Name another one.")


@contextlib.contextmanager
def _written(target: PathLike, also: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    try:
        yield
    except also as error:
        why = because(error) if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())[:300]
        raise OutputError(
            f"The training's record could not be written to {_shown(target)}: {why}. The training itself is done."
        ) from error


def _shown(target: PathLike) -> str:
    return re.sub(r"(?<=://)[^/@\s]+@", "…@", shown(target))
