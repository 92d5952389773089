"""A training on several devices and hosts: who takes part, and the part of those that do not lead it.

Host 0 does all that a training on one host does; only the steps are shared. The others do nothing but wait for its
calls and take part in what it calls for, so nothing is decided, chosen by measuring or written twice. They end as it
does.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np

from tellapart import (
    calls,
    choices,
    decoders,
    devices,
    finetune,
    hosts,
    interrupts,
    pipeline,
    provenance,
    refuge,
    store,
)
from tellapart.catalog import Catalog, Entry
from tellapart.classifier import PathLike, require_keras
from tellapart.config import Recipe
from tellapart.preprocess import Preprocess
from tellapart.progress import Progress

SAME = ("tellapart", "keras", "jax", "numpy")  # packages whose versions must be the same on all hosts
DONE, PROBLEM = 0, 1


@contextlib.contextmanager
def together(
    wish: int | str | None,
    launch: hosts.Launch | None,
    photos: PathLike,
    cache: PathLike | None,
    said: Progress,
) -> Iterator[None]:
    """Let the block's trainings be shared by the devices asked for, of all hosts.

    On all hosts but the first the block is not run: they help, and end by SystemExit with the first one's status.

    Raises:
        SettingsError: Keras does not run on JAX, or there are fewer devices.
        HostsError: hosts do not find each other, differ, or end too early.
    """
    if wish is None and launch is None:
        yield
        return
    require_keras()
    devices.check_backend()
    root = os.path.normpath(os.fsdecode(os.fspath(photos)))
    with hosts.joined(launch, root) as team:
        if team is not None:
            team.same({name: version for name, version in provenance.versions().items() if name in SAME})
        with devices.shared(hosts.AUTO if wish is None else wish) as spread:
            if team is None:
                if spread is not None:
                    said.note(f"{spread.n} devices share each step.")
                yield
                return
            assert spread is not None  # several processes have several devices
            if not team.leads:
                said.note(f"Host {team.index} of {team.n} takes part; host 0 says and writes what comes of it.")
                _help(team, cache, said)
            said.note(f"{spread.n} devices of {team.n} hosts share each step.")
            with _leading(team):
                yield


@contextlib.contextmanager
def _leading(team: hosts.Team) -> Iterator[None]:
    """Tell the others how it ended."""
    try:
        yield
    except BaseException as error:
        if not team.astray:
            calls.make(team, calls.END, {"status": PROBLEM, "said": f"{type(error).__name__}: {error}"[:500]})
        raise
    if not team.astray:
        calls.make(team, calls.END, {"status": DONE, "said": ""})


def _help(team: hosts.Team, cache: PathLike | None, said: Progress) -> NoReturn:
    """Take part in whatever the first process calls for, until the end."""
    decoders.begin()
    # Ctrl-C goes to all hosts: the first one ends and says so, after a step if there is one under way.
    with refuge.writable(cache, said.note) as usable, choices.noted(), interrupts.heeded():
        while True:
            call = calls.heard(team)
            if call.what == calls.END:
                break
            choices.afresh()
            {calls.NETWORK: _network, calls.TOP: finetune.along}[call.what](call, team, usable)
    if call.values["status"] != DONE:
        said.note(f"Host 0 has ended: {call.values['said']}")
    sys.exit(call.values["status"])


def _network(call: calls.Call, team: hosts.Team, cache: Path) -> None:
    """Take part in the training of a network.

    Every picture is decoded here too, unless the cache has it: over the epochs each process sees nearly all of them,
    since their order is another one in each.
    """
    values = call.values
    with calls.readying(team):
        recipe, classes = Recipe.from_dict(values["recipe"]), tuple(values["classes"])
        files = {side: call.files(team, side) for side in ("train", "validation")}
        labels = {side: np.array(values["labels"][side], np.int64) for side in files}
        every = [file for some in files.values() for file in some]
        seen = store.build(every, Preprocess(recipe.size_px), cache)
        varied = seen if recipe.store_px == recipe.size_px else store.build(every, Preprocess(recipe.store_px), cache)
        calls.check_same(every, seen.failures, varied.failures)
        place = np.concatenate(list(labels.values()))
        entries = tuple(
            Entry(path, classes[label], None, content)
            for (path, content), label in zip(every, place.tolist(), strict=True)
        )
        n = len(files["train"])
        prepared = pipeline.Prepared(
            Catalog(team.photos, "classes", classes, entries, (), ()),
            place,
            {"train": np.arange(n), "validation": np.arange(n, len(every)), "test": np.arange(0)},
            (),
            varied,
            seen,
        )
    pipeline.learn(
        prepared,
        recipe,
        own=None,
        keep_optimizer=False,
        seed=values["seed"],
        cache=cache,
        callbacks=(),
        progress=Progress(),
    )
