"""One process of a training on several, for test_devices: python devicechild.py PLAN.json K

A plan has `n` processes, `port`, `photos`, `cache`, `devices` of each process, and `trainings`: what each trains, and
its `out`, where host 0 writes weights and learning curves as an .npz.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # what is trained here takes less time than to compile it well
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import jax
import keras
import numpy as np

from tellapart import attempts, backbones, catalog, devices, finetune, helping, hosts, pipeline
from tellapart.config import SCRATCH, TUTORIAL, Recipe
from tellapart.progress import Progress

# 68 training pictures, so the last of five batches has 4; 55 steps.
COMMON: dict[str, Any] = {"size_px": 32, "batch_size": 16, "epochs": 11, "precision": "float32"}
RECIPES = {
    "tutorial": TUTORIAL.override(channels=(4, 8), dense=(8,), **COMMON),
    # At the recipe's own rate so small a network is chaotic: changed by 1e-7 in the beginning, it ends elsewhere.
    "scratch": SCRATCH.override(learning_rate=0.02, channels=(4, 8), dropout=0.1, store_px=40, grow_from=1.0, **COMMON),
}


class Killed(keras.callbacks.Callback):
    """Ends the process as a power loss does."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at, self._n = at, 0

    def on_epoch_end(self, epoch, logs=None) -> None:
        if epoch + 1 == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def network(plan: dict[str, Any], training: dict[str, Any]) -> None:
    """A network of one of the recipes, by all processes; host 0 writes what came of it."""
    recipe: Recipe = RECIPES[training["recipe"]]
    recipe = recipe.override(**training.get("settings", {}))
    cache, said = Path(plan["cache"]), Progress()
    found = catalog.scan(plan["photos"])
    about = {"photos": plan["photos"], "asked": {"recipe": training["recipe"]}, "versions": {}}
    with attempts.begun(cache, about, resume=training.get("resume", False), note=lambda text: None) as attempt:
        prepared = pipeline.prepare(found, recipe, seed=3, cache=cache, progress=said)
        keep = {"own": None, "keep_optimizer": False, "seed": 3, "cache": cache, "progress": said}
        ends = [Killed(training["kill_at"])] if "kill_at" in training else []
        outcome = pipeline.learn(prepared, recipe, callbacks=ends, keeper=attempt.keeper("network"), **keep)
    rows = [[row[name] for name in sorted(row)] for row in outcome.history]
    from_step = -1 if outcome.resumed_from is None else outcome.resumed_from
    np.savez(training["out"], *outcome.model.get_weights(), history=np.array(rows), resumed_from=np.array(from_step))


def top(plan: dict[str, Any], training: dict[str, Any]) -> None:
    """The top of a backbone, on activations that are drawn; every process calls it, as those of `finetune` do."""
    backbone = backbones.known("efficientnet-lite0")
    rng = np.random.default_rng(0)
    shape = finetune.cut_shape(backbone, 32)
    values = rng.random((60, 2, *shape)).astype(np.float16)
    labels = rng.integers(0, 2, 60)
    head = backbones.Head(rng.normal(0, 0.01, (1280, 2)).astype(np.float32), np.zeros(2, np.float32))
    steps = finetune.shared(backbone, 32, head, 5, "float32", 3e-4)
    inside, outside = (np.arange(48), labels[:48]), (np.arange(48, 60), labels[48:])
    best = steps.train(
        values, inside, outside, epochs=training["epochs"], until=float("inf"), progress=lambda *told: None
    )
    np.savez(training["out"], *best.weights, history=np.array(best.score), resumed_from=np.array(best.epoch))


def main(plan_path: str, k: str) -> None:
    plan = json.loads(Path(plan_path).read_text())
    n = plan["n"]
    launch = hosts.Launch(f"127.0.0.1:{plan['port']}", n, int(k)) if n > 1 else None
    if launch is not None:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(launch.coordinator, n, int(k), cluster_detection_method="deactivate")
    for training in plan["trainings"]:
        wish = training.get("devices", plan["devices"])
        if training["what"] == "top":  # without a leader's call: all do it by themselves
            with hosts.joined(launch, plan["photos"]), devices.shared(wish):
                mine = training if k == "0" else {**training, "out": f"{training['out']}.{k}.npz"}
                top(plan, mine)
            continue
        try:
            with helping.together(wish, launch, plan["photos"], plan["cache"], Progress()):
                network(plan, training)
        except SystemExit as end:
            if end.code:
                raise
    if launch is not None:
        jax.distributed.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
