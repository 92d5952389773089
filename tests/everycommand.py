"""Run every command in a process that has no network but its own loopback: started by tests/test_offline.py.

    python tests/everycommand.py BUNDLE PHOTOS FOLDER NOTES

Writes FOLDER/result.json: whether the kernel counts here; of each command its status, the tries by its end, seconds.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import offline
from conftest import fill


def main(bundle: Path, photos: Path, folder: Path, notes: Path) -> None:
    counted = offline.alone()
    offline.into(str(notes))
    from tellapart import cli

    few = fill(folder / "few", n=6)
    picture, other = next(photos.glob("circles/*.jpg")), folder / "other.tellapart"
    report, fixes = folder / "report.html", folder / "fixes.csv"
    small = ["--backbone", "efficientnet-lite0", "--size", "64"]
    commands: list[list[object]] = [
        ["info", bundle],
        ["predict", bundle, few],
        *by_workers(bundle, few),
        ["explain", bundle, picture, "-o", folder / "maps"],
        ["evaluate", bundle, photos],
        ["report", bundle, photos, "-o", report],
        ["check", few, "--quick", "--html", folder / "check.html", "--fix-list", fixes],
        ["apply", fixes, "--to", folder / "cleaned"],
        ["train", few, "-o", other, *small, "--card", folder / "card.md", *tracked(folder)],
        ["compare", bundle, other, few],
        ["tune", photos, "-o", folder / "recipe.toml", "--trials", "2", "--report", folder / "tune.html", *small],
        *(["export", bundle, "--to", to, "-o", folder / to] for to in ("onnx", "openvino")),
        ["demo", "--data", few, "-o", folder / "demo", "--recipe", "tutorial", "--epochs", "1"],  # in Keras
        ["history"],
        ["pack", few, "--to", folder / "shards"],
        ["cache", "list"],
        ["--help"],
    ]
    result = []
    for command in commands:
        begin = sum(os.times()[:4])
        status = run(cli, [str(part) for part in command])
        cpu_s = sum(os.times()[:4]) - begin
        result.append((" ".join(map(str, command[:4])), status, offline.tries() if counted else 0, round(cpu_s, 1)))
    result.append(("serve", serve(folder, bundle, picture), offline.tries() if counted else 0, 0.0))
    (folder / "result.json").write_text(json.dumps({"counted": counted, "commands": result}))


def by_workers(bundle: Path, pictures: Path) -> list[list[object]]:
    """The same by a worker of Ray, where that is installed."""
    import importlib.util

    ray = importlib.util.find_spec("ray") is not None
    return [["predict", bundle, pictures, "--engine", "ray", "--workers", "1"]] if ray else []


def tracked(folder: Path) -> list[object]:
    """TensorBoard's log, and those of what else is installed."""
    import importlib.util

    asked: list[object] = ["--tensorboard", folder / "tensorboard"]
    if all(map(importlib.util.find_spec, ("mlflow", "sqlalchemy", "alembic"))):
        asked += ["--mlflow", folder / "mlflow"]
    if importlib.util.find_spec("wandb"):
        asked += ["--wandb", folder / "wandb"]
    return asked


def run(cli, arguments: list[str]) -> int:
    """A command in this process; its exit status."""
    try:
        cli.main(arguments)
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


def serve(folder: Path, bundle: Path, picture: Path) -> int:
    """The service, one answer, and its end; 0 where all was well."""
    from servicecalls import Served

    (folder / "serve").mkdir()
    served = Served(folder / "serve", str(bundle))
    try:
        answered = served.predict(picture.read_bytes()).status_code == 200
    finally:
        served.process.terminate()
        status = served.process.wait(60)
    return status if answered else 1


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
