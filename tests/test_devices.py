"""Training on many devices equals training on one: devices of one process, and several processes, on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tellapart import bundle, hosts
from tellapart.errors import SettingsError

CHILD = Path(__file__).with_name("devicechild.py")
CLOSE = 1e-5  # of all weights, after 55 steps
needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed: pip install 'tellapart[jax]'"
)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(folder: Path, n: int, trainings: list[dict[str, Any]], photos: Path, **more: Any) -> list[subprocess.Popen]:
    """`n` processes that train together; `devices` of each (1)."""
    devices = more.get("devices", 1)
    plan = {"n": n, "port": free_port(), "photos": str(photos), "cache": str(folder / "cache"), "devices": devices}
    path = folder / f"plan-{n}-{devices}-{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps({**plan, "trainings": trainings}))
    environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    environment["TELLAPART_CHECKPOINT_EVERY"] = more.get("every", "never")
    return [
        subprocess.Popen(
            [sys.executable, str(CHILD), str(path), str(k)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for k in range(n)
    ]


def ended(processes: list[subprocess.Popen]) -> list[tuple[int, str]]:
    """Status and words of each."""
    told = [process.communicate(timeout=600)[0] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, told, strict=True)]


def well(processes: list[subprocess.Popen]) -> None:
    for status, text in ended(processes):
        assert status == 0, text[-3000:]


def apart(one: Path, other: Path) -> float:
    """How far the weights of two trainings are apart: the norm of their difference, against the norm of all."""
    with np.load(one) as a, np.load(other) as b:
        names = [name for name in a.files if name.startswith("arr_")]
        assert names == [name for name in b.files if name.startswith("arr_")]
        assert len(names) > 4
        differences = [(a[name] - b[name]).ravel() for name in names]
        return float(
            np.linalg.norm(np.concatenate(differences)) / np.linalg.norm(np.concatenate([a[n].ravel() for n in names]))
        )


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory, make_photos: Callable[..., Path]) -> Path:
    """84 pictures, of which 68 are trained on."""
    return make_photos(tmp_path_factory.mktemp("few"), n=42)


@needs_jax
@pytest.mark.parametrize("every", [("tutorial",), pytest.param(("scratch", "top"), marks=pytest.mark.slow)])
def test_two_devices_and_two_processes_train_as_one_device(every: tuple[str, ...], few: Path, tmp_path: Path) -> None:

    def of(tag: str, recipes: tuple[str, ...], **more: Any) -> list[dict[str, Any]]:
        return [
            {"what": "top" if recipe == "top" else "network", "recipe": recipe, "epochs": 4, **more}
            | {"out": str(tmp_path / f"{recipe}-{tag}.npz")}
            for recipe in recipes
        ]

    alone = [*of("one", every, devices=None), *of("devices", every[:1])]
    well(start(tmp_path, 1, alone, few, devices=2))
    well(start(tmp_path, 2, of("processes", every), few))
    for recipe, tag in [(every[0], "devices"), *((recipe, "processes") for recipe in every)]:
        one, other = tmp_path / f"{recipe}-one.npz", tmp_path / f"{recipe}-{tag}.npz"
        assert apart(one, other) < CLOSE, (recipe, tag)
        with np.load(one) as a, np.load(other) as b:
            assert len(a["history"]) == (2 if recipe == "top" else 11)  # the best score; 11 epochs of 5 steps
            np.testing.assert_allclose(b["history"], a["history"], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@needs_jax
def test_a_training_goes_on_with_another_number_of_processes(few: Path, tmp_path: Path) -> None:
    unbroken = {"what": "network", "recipe": "scratch", "out": str(tmp_path / "unbroken.npz"), "devices": None}
    well(start(tmp_path, 1, [unbroken], few))
    broken = {"what": "network", "recipe": "scratch", "kill_at": 4, "out": str(tmp_path / "none.npz")}
    (killed, _), (other, said) = ended(start(tmp_path, 2, [broken], few, every="3steps"))
    assert killed == -signal.SIGKILL
    assert other != 0
    assert "All hosts must stay until the end" in said or "another task died" in said
    resumed = {
        "what": "network",
        "recipe": "scratch",
        "resume": True,
        "out": str(tmp_path / "one.npz"),
        "devices": None,
    }
    well(start(tmp_path, 1, [resumed], few))
    with np.load(tmp_path / "one.npz") as found:
        assert 15 <= found["resumed_from"] <= 20  # of 55 steps
    assert apart(tmp_path / "unbroken.npz", tmp_path / "one.npz") < CLOSE


@pytest.mark.slow
@needs_jax
def test_a_transfer_is_fine_tuned_by_two_hosts_through_the_command(few: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(
        'recipe = "transfer"\nbackbone = "efficientnet-lite0"\nsize_px = 64\nfine_tune = "always"\n'
    )
    options = ["--recipe", tmp_path / "recipe.toml", "--cache", tmp_path / "cache"]
    port, together = free_port(), []
    for k in range(2):
        where = ["--hosts", 2, "--host-index", k, "--coordinator", f"127.0.0.1:{port}", "--devices", 1]
        together.append(commanded(few, tmp_path / "two.tellapart", *options, *where))
    well(together)
    well([commanded(few, tmp_path / "one.tellapart", *options)])
    two, one = (bundle.read(tmp_path / f"{name}.tellapart").manifest["training"] for name in ("two", "one"))
    assert two["fine_tuned"]["pictures"] > 60
    assert two["fine_tuned"] == one["fine_tuned"] | {"precision": two["fine_tuned"]["precision"]}


def commanded(photos: Path, output: Path, *options: object) -> subprocess.Popen[str]:
    """`tellapart train` on JAX, in a process of its own."""
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "tellapart", "train", photos, "-o", output, *options]
    return subprocess.Popen(
        [str(part) for part in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"devices": "many"}, "--devices must be auto or a whole number from 1"),
        ({"devices": 0}, "--devices must be auto or a whole number from 1"),
        ({"devices": True}, "--devices must be auto or a whole number from 1"),
        ({"n": 2}, "--coordinator and --host-index did not come"),
        ({"n": 2, "index": 2, "coordinator": "h:1"}, "--host-index must be from 0 to 1 for --hosts 2; got 2"),
        ({"n": 2, "index": 0, "coordinator": "h"}, "--coordinator must be HOST:PORT"),
        ({"n": 2, "index": 0, "coordinator": "h:99999"}, "--coordinator must be HOST:PORT"),
        ({"n": 0, "index": 0, "coordinator": "h:1"}, "--hosts (or $JAX_NUM_PROCESSES) must be a whole number from 1"),
    ],
)
def test_what_is_asked_for_must_fit_together(given: dict[str, Any], said: str) -> None:
    asked = {"devices": None, "coordinator": None, "n": None, "index": None} | given
    with pytest.raises(SettingsError, match=said.replace("(", r"\(").replace(")", r"\)").replace("$", r"\$")):
        hosts.wanted(**asked)
