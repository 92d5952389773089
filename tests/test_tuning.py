"""Tuning from end to end: on drawn pictures, with networks that train in a moment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tellapart
from conftest import fill
from tellapart import candidates, config, interrupts, picking, recipefile, space, studies, studyfile, trialrun, tuning
from tellapart.candidates import Field, Judged
from tellapart.errors import InputError, OutputError, SettingsError

pytest.importorskip("optuna", reason="Optuna is not installed; tellapart[tune] brings it")

# A command whose trials need no training: how good a recipe is follows from its settings.
COMMAND = """
import sys, time
import numpy as np
from tellapart import candidates, cli
def tried(field, recipe, *, seed, cache, progress, watch):
    n = len(field.validation)
    for step in range(20):
        progress.update("Training", step, 20)
        time.sleep(float(sys.argv[1]) / 20)
    right = round(n * (0.5 + (recipe.size_px / 1000)))
    answers = (np.arange(n) < right).astype(np.uint8)
    return candidates.Judged(answers, 0.5 + (recipe.strength or 1.0) / 100, (float(recipe.size_px), 0.0), {})
candidates.tried = tried
cli.main(sys.argv[2:])
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[config.Recipe | config.Transfer]:
    """Trials in no time; the list of those that were carried out."""
    import numpy as np

    carried: list[config.Recipe | config.Transfer] = []

    def tried(field: Field, recipe: Any, *, progress: Any, watch: Any, **_: Any) -> Judged:
        carried.append(recipe)
        n = len(field.validation)
        progress.update("Training", 1, 1)
        right = round(n * (0.5 + recipe.size_px / 1000))
        return Judged((np.arange(n) < right).astype(np.uint8), 0.5, (float(recipe.size_px), 0.0), {})

    monkeypatch.setattr(candidates, "tried", tried)
    return carried


def started(folder: Path, wait_s: float, *arguments: object) -> subprocess.Popen[str]:
    source = str(Path(tellapart.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([source, *sys.path])}
    command = [sys.executable, "-W", "ignore", "-c", COMMAND, str(wait_s), "tune", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(found: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


def states(path: Path) -> list[str]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    storage = optuna.storages.RDBStorage(studyfile.url(path))
    try:
        found = optuna.load_study(study_name=studyfile.NAME, storage=storage).get_trials(deepcopy=False)
        return [one.state.name for one in found]
    finally:
        storage.remove_session()
        storage.engine.dispose()


def test_the_default_comes_first_and_the_best_is_written(
    photos: Path, tmp_path: Path, quick: list[config.Recipe | config.Transfer]
) -> None:
    output = tmp_path / "best.toml"
    tuned = tuning.tune(photos, output=output, recipe="transfer", trials=7, seed=4, progress=False)
    assert quick[0] == config.TRANSFER
    assert len(quick) == len({json.dumps(each.as_dict()) for each in quick}) == 7
    assert tuned.default is not None
    assert tuned.default.number == 0
    assert tuned.taken.kept["accuracy"] >= tuned.default.kept["accuracy"]
    found = recipefile.read(output)
    assert found.on(config.TRANSFER) == tuned.recipe
    assert found.seed == 4
    assert tuned.written == str(output)
    assert tuned.counts == {"train": 56, "validation": 24, "left_alone": 0}  # of few pictures none is left for a test
    again = tuning.tune(photos, recipe="transfer", trials=7, seed=4, study=tmp_path / "other", progress=False)
    assert [each.kept["recipe"] for each in again.records] == [each.kept["recipe"] for each in tuned.records]
    assert again.recipe == tuned.recipe


def test_it_goes_on_where_it_was_and_does_nothing_twice(
    photos: Path, tmp_path: Path, quick: list[config.Recipe | config.Transfer]
) -> None:
    output = tmp_path / "best.toml"
    tuning.tune(photos, output=output, recipe="transfer", trials=3, progress=False)
    with pytest.raises(OutputError, match=r"best.study exists already.*Add --resume to go on with them, or --force"):
        tuning.tune(photos, output=output, recipe="transfer", trials=3, progress=False)
    assert len(quick) == 3
    tuned = tuning.tune(photos, output=output, recipe="transfer", trials=5, resume=True, progress=False)
    assert len(quick) == 5
    assert len(tuned.records) == 5
    same = tuning.tune(photos, output=output, recipe="transfer", trials=5, resume=True, progress=False)
    assert len(quick) == 5
    assert same.recipe == tuned.recipe
    tuning.tune(photos, output=output, recipe="transfer", trials=1, force=True, progress=False)
    assert len(quick) == 6  # begun anew


def test_a_recipe_of_somebody_else_is_not_replaced(
    photos: Path, tmp_path: Path, quick: list[config.Recipe | config.Transfer]
) -> None:
    output = tmp_path / "best.toml"
    output.write_text("recipe = 'scratch'\n")
    with pytest.raises(OutputError, match="exists already"):
        tuning.tune(photos, output=output, recipe="transfer", trials=1, progress=False)
    assert output.read_text() == "recipe = 'scratch'\n"


def test_a_file_of_the_same_study_is_replaced_though_it_appears_meanwhile(tmp_path: Path) -> None:
    path, told = tmp_path / "x.toml", []

    def write(*, force: bool) -> None:
        told.append(force)
        if not force:
            path.write_text("study = 'abc'")  # another process was quicker
            raise OutputError("x.toml was written by another program meanwhile.")

    tuning.written(path, "abc", write, force=False)
    assert told == [False, True]
    with pytest.raises(OutputError, match="meanwhile"):
        tuning.written(path, "xyz", write, force=False)


def test_what_is_fixed_stays_so_in_every_trial(
    photos: Path, tmp_path: Path, quick: list[config.Recipe | config.Transfer]
) -> None:
    tuning.tune(photos, study=tmp_path / "s", recipe="scratch", epochs=3, size=64, flip=False, trials=6, progress=False)
    assert {(each.size_px, each.epochs, each.flip) for each in quick if isinstance(each, config.Recipe)} == {
        (64, 3, False)
    }
    with pytest.raises(SettingsError, match=r"--learning-rate is what tune looks for; got it as well"):
        tuning.tune(photos, study=tmp_path / "s", learning_rate=0.1, progress=False)
    with pytest.raises(
        SettingsError, match=r"--backbone must be one of efficientnet-lite0, .* for tune; got 'ResNet50'"
    ):
        tuning.tune(photos, study=tmp_path / "s", backbone="ResNet50", progress=False)
    with pytest.raises(SettingsError, match=r"--recipe must be one of auto, transfer, scratch, both; got 'tutorial'"):
        tuning.tune(photos, study=tmp_path / "s", recipe="tutorial", progress=False)
    with pytest.raises(SettingsError, match="--trials must be 1 or more; got 0"):
        tuning.tune(photos, study=tmp_path / "s", trials=0, progress=False)


def test_both_recipes_begin_with_what_they_do_by_default(
    photos: Path, tmp_path: Path, quick: list[config.Recipe | config.Transfer]
) -> None:
    tuned = tuning.tune(photos, study=tmp_path / "s", recipe="both", trials=6, progress=False)
    assert quick[0] == config.TRANSFER
    assert quick[1].name == "scratch"
    assert quick[1].size_px == 64
    assert [each.default for each in tuned.records] == [True, *[False] * 5]


def test_a_study_of_other_pictures_is_refused(
    photos: Path, tmp_path: Path, quick: list[config.Recipe | config.Transfer]
) -> None:
    other = fill(tmp_path / "other", n=41)
    tuning.tune(photos, study=tmp_path / "s", recipe="transfer", trials=1, progress=False)
    with pytest.raises(SettingsError, match=r"--study must be a study of the same pictures and settings; .*pictures"):
        tuning.tune(other, study=tmp_path / "s", recipe="transfer", trials=1, progress=False)
    with pytest.raises(SettingsError, match=r"seed 0 then, 1 now"):
        tuning.tune(photos, study=tmp_path / "s", recipe="transfer", trials=1, seed=1, progress=False)


def test_a_default_that_fails_is_said_and_nothing_is_written(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tried(*_: Any, **__: Any) -> Judged:
        raise SettingsError("The learning rate must be small enough.")

    monkeypatch.setattr(candidates, "tried", tried)
    with pytest.raises(InputError, match=r"A trial must be through; none is\..*The learning rate must be small enough"):
        tuning.tune(photos, output=tmp_path / "x.toml", recipe="transfer", trials=2, progress=False)
    assert not (tmp_path / "x.toml").exists()


def test_networks_are_trained_and_test_pictures_play_no_part(tmp_path: Path) -> None:
    """With other test pictures every trial is the same."""
    found = []
    for name, first in (("one", 80), ("other", 300)):
        folder = tmp_path / name
        for side, begin, n in (("train", 0, 30), ("val", 50, 12), ("test", first, 10)):
            fill(folder / side, n=n, first=begin)
        study = tmp_path / f"{name}.study"
        tuned = tuning.tune(folder, study=study, recipe="scratch", size=32, epochs=1, trials=1, progress=False)
        assert tuned.counts == {"train": 60, "validation": 24, "left_alone": 20}
        found.append([(each.state, each.kept["recipe"], each.kept["answers"]) for each in tuned.records])
    assert found[0] == found[1]


def test_two_commands_work_on_one_study(photos: Path, tmp_path: Path) -> None:
    arguments = (photos, "--recipe", "transfer", "--study", "both.study", "--trials", "10", "-o", "best.toml")
    two = [started(tmp_path, 0.3, *arguments) for _ in range(2)]
    ended = [(process.communicate(timeout=180), process.returncode) for process in two]
    assert [status for _, status in ended] == [0, 0], ended
    notes = [err for (_, err), _ in ended]
    done = [
        {line.split(":")[0].split(",")[0] for line in err.splitlines() if line.startswith("Trial ")} for err in notes
    ]
    assert all(done)  # each did some
    assert not done[0] & done[1]
    assert 10 <= len(done[0] | done[1]) <= 11
    assert recipefile.read(tmp_path / "best.toml").recipe == "transfer"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["best.toml", "both.study"]


def test_a_killed_command_is_gone_on_with(photos: Path, tmp_path: Path) -> None:
    arguments = (photos, "--recipe", "transfer", "--trials", "5", "-o", "best.toml")
    first = started(tmp_path, 1.0, *arguments)
    path = tmp_path / "best.study"
    until(lambda: path.exists() and states(path).count("COMPLETE") >= 2 and "RUNNING" in states(path))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = states(path)
    again = started(tmp_path, 0.0, *arguments, "--resume", "--json", "told.json")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["counts"]["complete"] == 5
    assert told["counts"]["failed"] == before.count("RUNNING") == 1
    assert "RUNNING" not in states(path)
    settings = [json.dumps(each["settings"]) for each in told["trials"] if each["state"] == "complete"]
    assert len({*settings}) == 5
    assert f"has {before.count('COMPLETE')} trials already; this goes on with it." in err


def test_ctrl_c_writes_the_best_so_far(photos: Path, tmp_path: Path) -> None:
    process = started(tmp_path, 1.0, photos, "--recipe", "transfer", "--budget", "5m", "-o", "best.toml")
    path = tmp_path / "best.study"
    until(lambda: path.exists() and states(path).count("COMPLETE") >= 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "it was stopped." in out
    assert recipefile.read(tmp_path / "best.toml").tuned["validation_pictures"] == 24
    assert "RUNNING" not in states(path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time by which a tuning goes: one number, which trials move on."""
    now = [0.0]
    for module in (tuning, trialrun):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def timed(seconds: Callable[[int], float], clock: list[float], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Trials that take so long, told of each second; the list of those that came to their end."""
    import numpy as np

    ended: list[int] = []
    begun = [0]

    def tried(field: Field, recipe: Any, *, progress: Any, **_: Any) -> Judged:
        number, begun[0] = begun[0], begun[0] + 1
        for second in range(round(seconds(number))):
            clock[0] += 1
            progress.update("Training", second, 100)
        ended.append(number)
        n = len(field.validation)
        return Judged(np.ones(n, np.uint8), 0.5 + number, (float(recipe.size_px), 0.0), {})

    monkeypatch.setattr(candidates, "tried", tried)
    return ended


def test_the_time_is_used_up_and_no_trial_begins_that_cannot_end(
    photos: Path, tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = timed(lambda number: 10, clock, monkeypatch)
    tuned = tuning.tune(photos, study=tmp_path / "s", recipe="transfer", budget=100, progress=False)
    assert len(ended) == 7  # from the eighth on, a trial may take a third of less than 30 s
    assert tuned.why_ended == "the time was up"
    assert 98 - 10 < clock[0] <= 100
    assert {each.why for each in tuned.records[7:]} <= {"too slow for the time that was left", studies.NO_TIME}


def test_a_trial_under_way_is_ended_with_the_time(
    photos: Path, tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = timed(lambda number: 500, clock, monkeypatch)
    with pytest.raises(InputError, match=r"There must be time for one trial at least.*Take a longer --budget"):
        tuning.tune(photos, study=tmp_path / "s", recipe="transfer", budget=100, progress=False)
    assert ended == []
    assert 97 < clock[0] <= 99  # the default may take all there is


def test_a_slow_trial_does_not_cost_all_others(
    photos: Path, tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = timed(lambda number: 60 if number == 1 else 5, clock, monkeypatch)
    tuned = tuning.tune(photos, study=tmp_path / "s", recipe="transfer", budget=100, progress=False)
    assert 1 not in ended
    assert tuned.records[1].state == studies.PRUNED
    assert tuned.records[1].why == "too slow for the time that was left"
    assert len(ended) > 5


@pytest.mark.alone
def test_the_budget_is_kept_and_used(photos: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    process = started(
        tmp_path, 3.0, photos, "--recipe", "transfer", "--budget", "20s", "-o", "b.toml", "--json", "told.json",
        "--report", "b.html",
    )  # fmt: skip
    _, err = process.communicate(timeout=60)
    took = time.monotonic() - begun
    assert process.returncode == 0, err
    assert took < 22
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["ended"] == "the time was up"
    assert told["budget_s"] is not None
    assert (tmp_path / "b.html").stat().st_size > 10_000
    process = started(tmp_path, 3.0, photos, "--recipe", "transfer", "--budget", "20s", "-o", "b.toml", "--resume")
    begun = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert time.monotonic() - begun < 12  # the time was used before


def test_the_space_holds_what_was_found(photos: Path, tmp_path: Path, quick: list[Any]) -> None:
    tuned = tuning.tune(photos, study=tmp_path / "s", recipe="transfer", trials=8, progress=False)
    assert {each.kept["recipe"]["size_px"] for each in tuned.records} <= {*space.SIZES_PX}
    assert picking.WRONG == 0


def test_ctrl_c_waits_while_a_library_is_at_work_and_is_not_lost() -> None:
    before, done = signal.getsignal(signal.SIGINT), []

    def pressed(stop: interrupts.Held, *inside: bool) -> None:
        with contextlib.ExitStack() as stack:
            for heeds in inside:
                stack.enter_context(stop.opened(heeds))
            os.kill(os.getpid(), signal.SIGINT)
            done.append(inside)

    with interrupts.held() as stop:
        pressed(stop)
        assert stop.is_set()  # and nothing was raised
        with pytest.raises(KeyboardInterrupt):
            pressed(stop, True)  # it was heard before
    with interrupts.held() as stop:
        with pytest.raises(KeyboardInterrupt):
            pressed(stop, True)  # it is heeded at once
        pressed(stop, False)
    with interrupts.held() as stop, pytest.raises(KeyboardInterrupt):
        pressed(stop, True, False)  # what is under way is done first
    assert done == [(), (False,), (True, False)]
    assert signal.getsignal(signal.SIGINT) is before
