"""Recipes as files: both ways, what is refused and how, and what a training makes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tellapart import api, config, plans, policies, recipefile
from tellapart.errors import InputError, SettingsError
from tellapart.policies import Augmentation


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "recipe",
    [
        config.SCRATCH,
        config.TUTORIAL,
        config.SCRATCH.override(augment="strong", flip=False, epochs=7, patience=3, channels=(8, 16)),
        config.SCRATCH.override(augment=Augmentation(crop_scale=(0.5, 0.9), rotation_deg=3.5, erase=0.25), size_px=48),
        config.TRANSFER,
        dataclasses.replace(config.TRANSFER, backbone="efficientnet-lite0", size_px=160, strength=0.25),
    ],
)
def test_a_recipe_comes_back_as_it_was(recipe: config.Recipe | config.Transfer, tmp_path: Path) -> None:
    text = recipefile.text(recipe, seed=7, about=["Found.", ""], tuned={"trial": 3, "photos": 'a "b" \\ é', "x": True})
    found = recipefile.read(written(tmp_path, text))
    base = config.TRANSFER if isinstance(recipe, config.Transfer) else config.RECIPES[recipe.name]
    assert found.on(base) == recipe
    assert found.seed == 7
    assert found.tuned == {"trial": 3, "photos": 'a "b" \\ é', "x": True}
    assert text.startswith("# Found.\n#\nrecipe = ")


def test_a_few_lines_by_hand_are_enough(tmp_path: Path) -> None:
    found = recipefile.read(written(tmp_path, 'recipe = "scratch"\nsize_px = 96\n[augment]\nerase = 0.5\n'))
    recipe = found.on(config.SCRATCH)
    assert isinstance(recipe, config.Recipe)
    assert (recipe.size_px, recipe.store_px, recipe.epochs) == (96, 120, config.SCRATCH.epochs)
    assert recipe.policy == Augmentation(erase=0.5, flip=True)
    assert found.record() == {
        "recipe": "scratch",
        "settings": {"size_px": 96, "augment": Augmentation(erase=0.5).as_dict()},
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "recipe must be one of transfer, tutorial, scratch; got none"),
        ('recipe = "auto"', "recipe must be one of transfer, tutorial, scratch; got 'auto'"),
        ('recipe = "scratch"\nlearning_rat = 1', "every key must be a setting of recipe scratch; got 'learning_rat'. "
         "Did you mean learning_rate?"),
        ('recipe = "scratch"\nsize = 64', "got 'size'. Did you mean size_px?"),
        ('recipe = "transfer"\nepochs = 3', "every key must be a setting of recipe transfer; got 'epochs'. That is one "
         "of scratch and tutorial."),
        ('recipe = "tutorial"\nbackbone = "x"', "got 'backbone'. That is one of transfer."),
        ('recipe = "transfer"\nqqqq = 3', "got 'qqqq'. There are: backbone, size_px"),
        ('recipe = "scratch"\nname = "x"', "got 'name'"),
        ('recipe = "scratch"\ndropout = 2.0', "dropout must be a number from 0.0 to 0.95; got 2.0"),
        ('recipe = "scratch"\nepochs = 1.5', "epochs must be a whole number from 1 to 10000; got 1.5"),
        ('recipe = "scratch"\nchannels = 8', r"channels must be a list of whole numbers; got 8. Write \[32, 64\]"),
        ('recipe = "scratch"\nflip = 1', "flip must be true or false; got 1"),
        ('recipe = "scratch"\naugment = "stong"', r"augment must be one of none, .*table \[augment\]; got 'stong'"),
        ('recipe = "scratch"\n[augment]\nzom = 1', "every key must be a way to vary pictures; got 'zom'"),
        ('recipe = "transfer"\nbackbone = 3', "backbone must be a name in quotes; got 3"),
        ('recipe = "transfer"\nstrength = 0.0', "strength must be a number from 1e-06"),
        ('recipe = "transfer"\nfine_tune = "alway"', "fine_tune must be one of auto, always, never; got 'alway'"),
        ('recipe = "transfer"\nseed = -1', "--seed must be a whole number"),
        ('recipe = "transfer"\ntuned = 3', "tuned must be a table; got 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_with_the_file(text: str, says: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError, match=says) as error:
        recipefile.read(path)
    assert str(error.value).startswith(f"In '{path}', ")
    assert "\n" not in str(error.value)


def test_no_file_and_no_toml(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"The recipe file .* must be a file; there is none"):
        recipefile.given(tmp_path / "none")
    with pytest.raises(InputError, match=r"must be TOML, lines like `learning_rate = 0\.1`; it is not"):
        recipefile.read(written(tmp_path, "recipe: scratch"))
    assert recipefile.given("scratch") is None
    assert recipefile.given("magic") is None  # which `plans` refuses


def test_a_name_goes_before_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scratch").write_text('recipe = "tutorial"')
    Path("other").write_text('recipe = "tutorial"')
    assert recipefile.given("scratch") is None
    found = recipefile.given("other")
    assert found is not None
    assert found.recipe == "tutorial"


def test_options_go_before_the_file(tmp_path: Path, photos: Path) -> None:
    from tellapart import beginning
    from tellapart.progress import Progress

    catalog = beginning.scan(photos, {}, Progress())
    file = recipefile.read(
        written(tmp_path, 'recipe = "scratch"\nsize_px = 48\nepochs = 5\nflip = false\ndropout = 0.5')
    )
    choice = plans.choose(catalog, file, {"epochs": 9, "size": 96})
    assert isinstance(choice.recipe, config.Recipe)
    assert (choice.recipe.epochs, choice.recipe.size_px, choice.recipe.dropout) == (9, 96, 0.5)
    assert not choice.recipe.flip
    assert not choice.mirroring_open  # the file has said it
    assert choice.reason.endswith("Its settings are those of the recipe's file.")
    file = recipefile.read(written(tmp_path, 'recipe = "transfer"\nsize_px = 160\nstrength = 0.5\nfine_tune = "never"'))
    mine = plans.choose(catalog, file, {}).recipe
    assert mine == dataclasses.replace(config.TRANSFER, size_px=160, strength=0.5, fine_tune="never")
    other = plans.choose(catalog, file, {"backbone": "efficientnet-lite0", "fine_tune": True}).recipe
    assert isinstance(other, config.Transfer)
    assert (other.backbone, other.size_px, other.fine_tune) == ("efficientnet-lite0", config.TRANSFER.size_px, "always")


def test_a_training_takes_recipe_and_seed_and_its_bundle_says_so(tmp_path: Path, photos: Path) -> None:
    text = (
        'recipe = "tutorial"\nseed = 5\nsize_px = 32\nstore_px = 32\nchannels = [4, 8]\ndense = [8]\nepochs = 1\n'
        'precision = "float32"\n[tuned]\ntrial = 4\n'
    )
    file = written(tmp_path, text)
    model = api.train(photos, recipe=str(file), batch_size=16, output=tmp_path / "a.tellapart", progress=False)
    source = model.bundle.manifest["provenance"]
    assert source["seed"] == 5
    made = source["recipe"]
    assert (made["name"], made["channels"], made["epochs"], made["batch_size"]) == ("tutorial", [4, 8], 1, 16)
    assert source["asked"]["recipe_file"]["tuned"] == {"trial": 4}
    assert source["asked"]["recipe_file"]["settings"]["channels"] == [4, 8]
    assert str(tmp_path) not in str(source["asked"])  # no path of its maker's
    again = api.train(photos, like=tmp_path / "a.tellapart", progress=False)  # without the file
    assert again.report["like"]["equal"], again.report["like"]
    other = api.train(photos, recipe=file, seed=6, epochs=2, progress=False)
    assert other.bundle.manifest["provenance"]["seed"] == 6
    assert other.bundle.manifest["provenance"]["recipe"]["epochs"] == 2


def test_every_policy_by_name_comes_back(tmp_path: Path) -> None:
    for name in policies.NAMED:
        recipe = config.SCRATCH.override(augment=name)
        found = recipefile.read(written(tmp_path, recipefile.text(recipe, seed=0)))
        assert found.on(config.SCRATCH) == recipe
