"""The same training gives the same bytes; `train --like` repeats one and says what differs."""

import ast
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import repeatedly
from tellapart import api, beginning, bundle, choices, cli, pipeline, plans, provenance, repeating, summaries
from tellapart.bundle import Bundle
from tellapart.errors import SettingsError

EPOCH = "1700000000"


@pytest.fixture(scope="module")
def elsewhere(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What another process made, whose sets and dictionaries of text have another order than ours."""
    folder = tmp_path_factory.mktemp("elsewhere")
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    environment = os.environ | {"PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": EPOCH}
    script = [sys.executable, repeatedly.__file__, photos, folder]
    done = subprocess.run(script, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def made(elsewhere: Path) -> Bundle:
    """The tutorial's network, trained for an epoch by another process."""
    return bundle.read(elsewhere / "tutorial.tellapart")


def saved(model: Bundle, path: Path, **provenance_: object) -> Path:
    """The bundle with other entries in its provenance; None takes one out."""
    source = {**model.manifest["provenance"], **provenance_}
    source = {name: value for name, value in source.items() if value is not None}
    bundle.write(Bundle({**model.manifest, "provenance": source}, model.members), path)
    return path


# The same bytes


@pytest.mark.parametrize("name", list(repeatedly.TRAININGS))
def test_another_process_makes_the_same_bytes(name, elsewhere, photos, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    (tmp_path / f"{name}-cache").mkdir()
    if (chose := elsewhere / f"{name}-cache" / choices.NAME).exists():  # what it chose by measuring
        shutil.copy(chose, tmp_path / f"{name}-cache")
    ours = repeatedly.trained(name, photos, tmp_path)
    theirs = (elsewhere / f"{name}.tellapart").read_bytes()
    assert differing(tmp_path / f"{name}.tellapart", elsewhere / f"{name}.tellapart") == []
    assert ours == theirs


def differing(one: Path, other: Path) -> list[str]:
    """The members that are not the same: more to go by than unequal bytes."""
    with zipfile.ZipFile(one) as a, zipfile.ZipFile(other) as b:
        assert a.namelist() == b.namelist()
        return [name for name in a.namelist() if a.read(name) != b.read(name)]


def test_graphs_are_written_in_the_same_bytes_by_every_process(elsewhere: Path) -> None:
    assert repeatedly.graphs_of_networks() == ast.literal_eval((elsewhere / "graphs").read_text())


def test_an_export_is_written_in_the_same_bytes_by_every_process(elsewhere: Path, tmp_path: Path) -> None:
    found = repeatedly.exported(elsewhere / "tutorial.tellapart", tmp_path / "onnx")
    assert set(found) == {"README.md", "model.onnx", "requirements.txt", "sample.py", "tellapart.json"}
    assert found == ast.literal_eval((elsewhere / "files").read_text())


def test_no_measured_time_stands_in_a_bundle(elsewhere: Path) -> None:
    def names(value) -> set[str]:
        if isinstance(value, dict):
            return set(value) | set().union(*map(names, value.values()), set())
        return set().union(*map(names, value), set()) if isinstance(value, list) else set()

    for name in repeatedly.TRAININGS:
        found = bundle.read(elsewhere / f"{name}.tellapart")
        assert not [each for each in names(found.manifest) if "second" in each]
        assert "seconds" not in found.members["history.csv"].decode().splitlines()[0]


def test_records_lose_their_times_at_any_depth() -> None:
    record = {
        "seconds": 1.5,
        "epochs": 3,
        "epoch_seconds": [0.5],
        "fine_tuned": {"seconds": 9, "kept": True},
        "no": None,
    }
    assert provenance.timeless(record) == {"epochs": 3, "fine_tuned": {"kept": True}, "no": None}


def test_a_bundle_says_what_it_depends_on(made: Bundle) -> None:
    source = made.manifest["provenance"]
    assert source["threads"] == os.cpu_count()
    assert source["cpu"]
    assert {"python", "numpy", "keras", "onnxruntime", "scipy"} <= set(source["versions"])
    assert source["asked"] == {}
    assert source["created"] == "2023-11-14T22:13:20+00:00"


def test_the_environment_that_changes_sums_is_told(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_SECRET", "x")
    told = provenance.record("f", {}, 0)["environment"]
    assert told["OMP_NUM_THREADS"] == "1"
    assert "OMP_SECRET" not in told


def test_choices_of_a_transfer_stand_in_its_bundle(elsewhere: Path) -> None:
    found = bundle.read(elsewhere / "transfer.tellapart").manifest
    assert found["provenance"]["choices"] == {"engine of efficientnet-lite0 at 64 px": found["training"]["engine"]}


# Like another one


def test_like_makes_the_same_again(elsewhere: Path, photos: Path, tmp_path: Path) -> None:
    again = api.train(photos, like=elsewhere / "tutorial.tellapart", cache=tmp_path, progress=False)
    assert again.report["like"] == {
        "model": str(elsewhere / "tutorial.tellapart"), "equal": True, "differences": [], "not_exact_because": [],
    }  # fmt: skip
    created = again.bundle.manifest["provenance"]["created"]
    assert created != "2023-11-14T22:13:20+00:00"  # the one thing that is another


def test_like_names_what_was_asked_for_besides_and_what_came_of_it(
    run_train, elsewhere, three_classes, tmp_path
) -> None:
    model = elsewhere / "tutorial.tellapart"
    out = tmp_path / "o.json"
    said = run_train(three_classes, "--like", model, "--batch-size", "16", "-o", tmp_path / "m", "--json", out)
    told = json.loads(out.read_text())["like"]
    assert told["equal"] is False
    found = {(each["what"], each["name"]): (each["before"], each["after"]) for each in told["differences"]}
    assert found["settings", "batch_size"] == (32, 16)
    assert found["classes", "classes"] == (["circles", "squares"], ["circles", "squares", "triangles"])
    assert ("settings", "seed") not in found
    assert ("settings", "epochs") not in found
    new, gone = found["pictures", "not there before"], found["pictures", "not there any more"]
    assert (new, gone) == ((0, 20), (40, 0))  # twenty of each shape instead of forty, and triangles
    assert ("metrics", "test log loss") in found
    assert ("contents", "model.onnx") in found
    assert told["not_exact_because"] == [
        "the pictures or their labels are not the same", "other settings were asked for",
    ]  # fmt: skip
    assert said == ""


@pytest.fixture
def run_train(capsys):
    """`tellapart train` here: what it says on standard error besides notes."""

    def run(*arguments) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main(["train", *map(str, arguments)])
        err = capsys.readouterr().err
        assert ended.value.code == 0, err
        return "\n".join(line for line in err.splitlines() if line.startswith("Error"))

    return run


def test_differences_are_told_in_words() -> None:
    told = repeating.Repeated(
        "m.tellapart", False,
        (
            repeating.Difference("versions", "keras", "3.11.0", "3.12.0"),
            repeating.Difference("machine", "threads", 2, 8),
            repeating.Difference("contents", "model.onnx", "aa", "bb"),
        ),
        ("other versions of keras",),
    )  # fmt: skip
    assert repeating.lines(told) == [
        "Like m.tellapart: not the same.",
        "  versions: keras: 3.11.0 before, 3.12.0 now",
        "  machine: threads: 2 before, 8 now",
        "  Parts of the file that differ: model.onnx.",
        "No exact repeat was to be expected: other versions of keras.",
    ]
    assert summaries.repeated({"like": told.as_dict()}) == repeating.lines(told)
    same = dataclasses.replace(told, equal=True, differences=(), doubts=())
    assert repeating.lines(same) == ["Like m.tellapart: the same in every byte but the time at which it was made."]
    odd = dataclasses.replace(told, doubts=())
    assert repeating.lines(odd)[-1].startswith("Nothing that it depends on is known to differ")
    assert summaries.repeated({}) == []


def test_only_the_time_may_differ_between_equal_ones(made: Bundle, tmp_path: Path) -> None:
    wish = repeating.read(saved(made, tmp_path / "a", created="2001-01-01T00:00:00+00:00"))
    assert repeating.compared(wish, made).equal
    wish = repeating.read(saved(made, tmp_path / "b", threads=made.manifest["provenance"]["threads"] + 1, cpu="Z80"))
    told = repeating.compared(wish, made)
    assert not told.equal
    assert [(each.what, each.name) for each in told.differences] == [
        ("machine", "cpu"), ("machine", "threads"), ("contents", "manifest.json"),
    ]  # fmt: skip
    assert told.doubts == ("another machine, or other threads",)


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"interrupted": True}, "its training was stopped by its user"),
        ({"pictures_seen": 63}, "its training was ended by the clock, in the middle of an epoch"),
        (
            {"fine_tuned": {"stopped_by_clock": True}},
            "its training was ended by the clock, in the middle of an epoch",
        ),
    ],
)
def test_what_cannot_be_repeated_exactly_is_said(made: Bundle, training, said, tmp_path: Path) -> None:
    manifest = {**made.manifest, "training": {**made.manifest["training"], **training}}
    path = saved(Bundle(manifest, made.members), tmp_path / "a")
    assert repeating.doubts_before(repeating.read(path)) == [said]


def test_an_older_bundle_is_repeated_as_far_as_it_tells(made: Bundle, tmp_path: Path) -> None:
    wish = repeating.read(saved(made, tmp_path / "a", choices=None, asked=None, cpu=None))
    assert (wish.choices, wish.asked, wish.seed) == ({}, {}, 3)
    assert repeating.doubts_before(wish) == ["it is of a version that did not record what it chose by measuring"]


def test_its_choices_and_what_a_budget_allowed_are_kept_to(made: Bundle, tmp_path: Path) -> None:
    chose = {
        "engine of x at 64 px": "onnxruntime float32",
        pipeline.IN_TIME: "2 epochs over 30 pictures",
        "fine-tuning of x at 64 px": "none",
    }
    wish = repeating.read(saved(made, tmp_path / "a", choices={**chose, "odd": 3}))
    assert wish.given(timed=False) == chose
    assert wish.given(timed=True) == {"engine of x at 64 px": "onnxruntime float32"}  # another budget, another plan
    assert wish.was_timed


def test_a_training_in_time_is_repeated_without_a_clock(photos: Path, cache: Path) -> None:
    catalog = beginning.scan(photos, {}, api.Progress())
    recipe = plans.TRANSFER  # only a network is paced
    recipe = pipeline.Recipe.from_dict(plans.RECIPES["tutorial"].override(size_px=32).as_dict())
    prepared = pipeline.prepare(catalog, recipe, seed=0, cache=cache, progress=api.Progress())
    with choices.noted({pipeline.IN_TIME: "3 epochs over 20 pictures"}) as notes:
        pace = pipeline.paced(prepared, recipe, seed=0, cache=cache, deadline=None)
    assert (pace.recipe.epochs, pace.end) == (3, None)
    n = pace.prepared.counts()["train"]
    assert n == 20
    assert np.bincount(prepared.labels[pace.prepared.sides["train"]]).tolist() == [10, 10]
    assert notes.made == {pipeline.IN_TIME: "3 epochs over 20 pictures"}


# How its pictures were read, and what cannot be repeated


def test_the_reading_is_as_before_but_for_what_is_given(made: Bundle, tmp_path: Path) -> None:
    asked = {"labels": True, "label_column": "kind", "group": "owner", "keep_conflicts": True, "k_fold": 4, "sure": 0.9}
    wish = repeating.read(saved(made, tmp_path / "a", asked=asked))
    with pytest.raises(SettingsError, match=r"needs the table of labels that it was trained with.*Add --labels"):
        repeating.reading(wish, {"labels": None})
    found = repeating.reading(
        wish, {"labels": "t.csv", "group": "place", "label_column": None, "keep_conflicts": False}
    )
    assert found == {"labels": "t.csv", "label_column": "kind", "group": "place", "keep_conflicts": True}
    assert repeating.number(wish, "k_fold", int) == 4
    assert repeating.number(wish, "sure", float) == 0.9
    assert repeating.number(wish, "answer", float) is None
    assert repeating.asked(found, k_fold=4, sure=None) == {
        "labels": True, "label_column": "kind", "group": "place", "keep_conflicts": True, "k_fold": 4,
    }  # fmt: skip


def test_a_network_of_ones_own_and_a_file_have_to_be_given(made: Bundle, tmp_path: Path) -> None:
    recipe = {**made.manifest["provenance"]["recipe"], "name": "own", "network": "own"}
    with pytest.raises(SettingsError, match=r"network of its author's own.*model=network"):
        plans.like(recipe, {})
    assert plans.like({**recipe, "epochs": 7}, {}, own_size_px=48).recipe.size_px == 48
    transfer = plans.TRANSFER.as_dict()
    with pytest.raises(SettingsError, match=r"stands on the file mine\.keras.*Add --backbone"):
        plans.like({**transfer, "backbone": "mine.keras"}, {})
    with pytest.raises(SettingsError, match="just the fields of this version"):
        plans.like({**transfer, "colour": "red"}, {})
    with pytest.raises(SettingsError, match="trains no network, so it has no epochs"):
        plans.like(transfer, {"epochs": 3})
    with pytest.raises(SettingsError, match="--fine-tune goes with --recipe transfer"):
        plans.like(made.manifest["provenance"]["recipe"], {"fine_tune": True})


def test_settings_that_are_given_go_before_those_of_the_model(made: Bundle) -> None:
    recipe = made.manifest["provenance"]["recipe"]
    choice = plans.like(recipe, {"epochs": 4, "flip": False, "conv": (2,)})
    assert choice.recipe.as_dict() == {
        **recipe, "epochs": 4, "flip": False, "channels": [2], "policy": {**recipe["policy"], "flip": False},
    }  # fmt: skip
    chosen = plans.like(plans.TRANSFER.as_dict(), {"backbone": "efficientnet-lite0", "size": 96, "fine_tune": False})
    assert (chosen.recipe.backbone, chosen.recipe.size_px, chosen.recipe.fine_tune) == (
        "efficientnet-lite0", 96, "never",
    )  # fmt: skip


@pytest.mark.parametrize("other", ["--dry-run", "--show-augment=x.png"])
def test_like_goes_with_training_alone(elsewhere: Path, photos: Path, other: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", str(photos), "--like", str(elsewhere / "tutorial.tellapart"), other])
    assert ended.value.code == 2
    assert "--like trains, which" in capsys.readouterr().err


def test_info_tells_what_it_hangs_on_and_no_long_list(elsewhere: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        cli.main(["info", str(elsewhere / "transfer.tellapart"), "--json", "-"])
    told = json.loads(capsys.readouterr().out)
    assert "labels" not in told["training"]
    assert told["provenance"]["threads"] == os.cpu_count()
    with pytest.raises(SystemExit):
        cli.main(["info", str(elsewhere / "transfer.tellapart")])
    said = " ".join(capsys.readouterr().out.split())
    assert f"{os.cpu_count()} threads" in said
    assert "engine of efficientnet-lite0 at 64 px:" in said
