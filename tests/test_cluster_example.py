"""examples/cluster: the job for Kubernetes asks for what there is, and several local nodes answer as one machine."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tellapart.classifier import load
from tellapart.cli import cli

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "cluster"


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    """The job, as Kubernetes reads it."""
    return yaml.safe_load((EXAMPLE / "rayjob.yaml").read_text())


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    """What runs on the head and on each kind of node."""
    groups = [job["spec"]["rayClusterSpec"]["headGroupSpec"], *job["spec"]["rayClusterSpec"]["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def test_the_job_is_one_of_kuberay_and_ends_with_its_cluster(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    # A second try of the whole job would find the table there; a worker that ends is replaced within the job.
    assert job["spec"]["backoffLimit"] == 0


def test_the_job_gives_a_command_that_there_is(job: dict[str, Any]) -> None:
    program, name, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert program == "tellapart"
    asked = cli.commands[name].make_context(name, arguments).params
    assert (asked["engine"], asked["address"]) == ("ray", "auto")
    spec = job["spec"]["rayClusterSpec"]
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    cores = sum(
        group["replicas"] * int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
        for group in spec["workerGroupSpecs"]
    )
    assert asked["workers"] == cores
    assert len(pods(job)) == 2
    for pod in pods(job):
        (container,) = pod["containers"]
        places = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert places["/data"] in {volume["name"] for volume in pod["volumes"]}  # the same path on every node
        assert asked["model"].startswith("/data/")
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]


def test_versions_agree(job: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ray = re.search(r"^ray==([\d.]+)", (ROOT / "requirements" / "users.txt").read_text(), flags=re.M)
    assert ray is not None
    recipe = (EXAMPLE / "Dockerfile").read_text()
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == ray[1]
    assert f"FROM rayproject/ray:{ray[1]}-" in recipe
    assert f"tellapart[fast,ray]=={project['version']}" in recipe
    assert {pod["containers"][0]["image"].rpartition(":")[2] for pod in pods(job)} == {project["version"]}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason='needs pip install "tellapart[ray]"')
def test_several_nodes_answer_as_one_machine_while_a_worker_is_killed() -> None:
    command = [sys.executable, EXAMPLE / "run.py", "--pictures", "800"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Killed the worker" in done.stdout
    assert "801 rows, all the same as those of one machine." in done.stdout
    assert "The check found the same." in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("ray", "jax"))), reason='needs pip install "tellapart[ray,jax]"'
)
def test_hosts_that_ray_places_train_together(photos: Path, tmp_path: Path) -> None:
    model = tmp_path / "together.tellapart"
    small = ["--recipe", "tutorial", "--size", "32", "--epochs", "2", "--conv", "4,8", "--dense", "8"]
    command = [sys.executable, EXAMPLE / "train_on_ray.py", "--hosts", "2", "--", photos, "-o", model, *small]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 devices of 2 hosts share each step." in done.stdout
    assert load(model).classes == ("circles", "squares")
