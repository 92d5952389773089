"""What is logged is read back by the programs' own readers; nothing is sent anywhere."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tellapart
from tellapart import tracking
from tellapart.classifier import Classifier
from tellapart.errors import MissingPackageError, OutputError, SettingsError

needs_mlflow = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("mlflow", "sqlalchemy", "alembic"))), reason="MLflow is not installed"
)
needs_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")

# A process in which every connection but those within the machine ends it, and which says what was tried.
BLOCKED = """
import os, socket, sys
def refuse(self, address, *_):
    if self.family != getattr(socket, "AF_UNIX", None):
        os.write(2, f"CALLED HOME {address}\\n".encode()); os._exit(99)
    return connect(self, address)
connect = socket.socket.connect
socket.socket.connect = socket.socket.connect_ex = refuse
def lookup(host, *_, **__):
    os.write(2, f"CALLED HOME {host}\\n".encode()); os._exit(99)
socket.getaddrinfo = lookup
from pathlib import Path
import tellapart
from tellapart import tracking
model = tellapart.load(sys.argv[1])
"""


def python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_CURRENT_TEST")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=known | environment,
        check=False,
    )


@needs_mlflow
def test_mlflow_reads_back_what_was_logged_and_nothing_is_sent(bundle_path: Path, tmp_path: Path) -> None:
    """The user's own settings ask for the statistics, and the process would end at the first connection."""
    folder = tmp_path / "runs folder"
    code = (
        BLOCKED
        + """
run = tracking.to_mlflow(model, sys.argv[2], artifacts=[sys.argv[1]])
import time; time.sleep(1)
from mlflow.telemetry import get_telemetry_client
from mlflow.tracking import MlflowClient
import json
found = MlflowClient(tracking_uri=f"sqlite:///{sys.argv[2]}/mlflow.db")
one = found.get_run(run)
curve = [(each.step, each.value) for each in found.get_metric_history(run, "accuracy")]
path = found.download_artifacts(run, Path(sys.argv[1]).name, sys.argv[3])
print(json.dumps([get_telemetry_client() is None, one.data.params, one.data.metrics, one.data.tags, curve, path,
                  one.info.status]))
"""
    )
    (tmp_path / "down").mkdir()
    loud = {"MLFLOW_DISABLE_TELEMETRY": "false", "DO_NOT_TRACK": "false", "_MLFLOW_TESTING_TELEMETRY": "true"}
    done = python(code, bundle_path, folder, tmp_path / "down", **loud)
    assert done.returncode == 0, done.stderr[-2000:]
    silent, params, metrics, tags, curve, path, status = json.loads(done.stdout.splitlines()[-1])
    model = tellapart.load(bundle_path)
    manifest = model.bundle.manifest
    assert silent
    assert status == "FINISHED"
    assert params["recipe"] == "tutorial"
    assert params["size_px"] == "32"
    assert params["seed"] == "1"
    assert params["recipe.batch_size"] == str(manifest["provenance"]["recipe"]["batch_size"])
    assert metrics["test.accuracy"] == manifest["metrics"]["test"]["accuracy"]
    assert metrics["test.accuracy_low"] == manifest["metrics"]["test"]["accuracy_interval"][0]
    assert tags["fingerprint"] == manifest["provenance"]["catalog_fingerprint"]
    assert tags["version.numpy"] == manifest["provenance"]["versions"]["numpy"]
    assert curve == [[i, row["accuracy"]] for i, row in enumerate(model.history, 1)]
    assert Path(path).read_bytes() == bundle_path.read_bytes()
    assert sorted(each.name for each in folder.iterdir()) == ["artifacts", "mlflow.db"]


@needs_wandb
def test_wandb_writes_an_offline_run_and_nothing_is_sent(bundle_path: Path, tmp_path: Path) -> None:
    done = python(BLOCKED + "tracking.to_wandb(model, sys.argv[2])", bundle_path, tmp_path, WANDB_MODE="online")
    assert done.returncode == 0, done.stderr[-2000:]
    (run,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert b"test.accuracy" in run.read_bytes()


def test_the_rounds_of_transfer_reach_tensorboard(trained: Classifier, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert tracking.rounds(trained, tmp_path / "keras") is None  # Keras wrote these itself
    assert not (tmp_path / "keras").exists()
    assert tracking.rounds(transferred(trained), None) is None
    assert tracking.rounds(transferred(trained), tmp_path / "log") is None
    events = EventAccumulator(str(tmp_path / "log"))
    events.Reload()
    found = [(each.step, each.value) for each in events.Scalars("val_accuracy")]
    assert found == [(1, 0.875), (2, 0.9375)]
    assert sorted(events.Tags()["scalars"]) == ["pictures", "val_accuracy"]


def test_a_log_that_cannot_be_written_ends_no_training(trained: Classifier, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = tracking.rounds(transferred(trained), tmp_path / "file" / "log")
    assert said is not None
    assert "could not be written to" in said
    assert said.endswith("The training itself is done.")


def transferred(trained: Classifier) -> Classifier:
    """A classifier whose record is of two rounds and of no epoch."""
    from tellapart.bundle import Bundle

    manifest = {**trained.bundle.manifest, "training": {**trained.bundle.manifest["training"], "epochs": 0}}
    rows = b"epoch,pictures,val_accuracy\n1,16,0.875\n2,32,0.9375\n"
    return Classifier(Bundle(manifest, {**trained.bundle.members, "history.csv": rows}))


def test_what_cannot_be_logged_to_is_said_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="must be a folder, or not be there yet"):
        tracking.check(tensorboard=tmp_path / "file")
    with pytest.raises(SettingsError, match="--mlflow must be a folder or the address of an MLflow server"):
        tracking.check(mlflow="s3://bucket")
    tracking.check()


@pytest.mark.parametrize(("name", "extra"), [("mlflow", "mlflow"), ("wandb", "wandb")])
def test_a_missing_package_is_named_with_its_extra(name: str, extra: str, monkeypatch, tmp_path: Path) -> None:
    for each in (*tracking.QUIET, *tracking.OFFLINE):
        monkeypatch.setenv(each, "")  # so that it is as before when the test is through
    for module in (name, "sqlalchemy"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=rf"pip install 'tellapart\[{extra}\]'"):
        tracking.check(**{name: str(tmp_path)})


def test_no_password_of_an_address_is_shown() -> None:
    assert tracking._shown("https://me:secret@host/x") == "https://…@host/x"


def test_curves_have_the_seconds_that_no_bundle_holds(trained: Classifier) -> None:
    seconds = trained.report["training"]["epoch_seconds"]
    assert len(seconds) == 3
    assert [numbers["seconds"] for _, numbers in tracking._curves(trained)] == seconds
    loaded = Classifier(trained.bundle)  # from a file there are none
    assert all("seconds" not in numbers for _, numbers in tracking._curves(loaded))
