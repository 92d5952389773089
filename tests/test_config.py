"""Settings, their ranges, and what an error says of them."""

import dataclasses
import json
from pathlib import Path

import pytest

from tellapart import config, policies
from tellapart.errors import SettingsError


def test_recipes_round_trip_through_json() -> None:
    for recipe in (*config.RECIPES.values(), config.OWN):
        assert config.Recipe.from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_the_tutorial_is_the_tutorial() -> None:
    recipe = config.TUTORIAL
    assert (recipe.size_px, recipe.channels, recipe.dense, recipe.dropout) == (64, (32, 64), (128,), 0.2)
    assert (recipe.optimizer, recipe.learning_rate, recipe.batch_size, recipe.epochs) == ("adadelta", 1.0, 32, 10)
    assert recipe.patience is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epochs": 0}, "epochs must be a whole number from 1 to 10000; got 0."),
        ({"epochs": 2.5}, "epochs must be a whole number"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"dropout": 1.0}, "dropout must be a number from 0.0 to 0.95; got 1.0."),
        ({"optimizer": "adamm"}, "Did you mean 'adam'?"),
        ({"channels": (32, 0)}, "channels must be a whole number from 1"),
        ({"learning_rte": 1.0}, "Did you mean learning_rate?"),
        ({"store_px": 32}, "store_px must be at least size_px"),
    ],
)
def test_what_is_out_of_range_is_named(settings: dict, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        config.TUTORIAL.override(**settings)
    assert says in str(error.value)


def test_none_leaves_a_setting_as_it_was() -> None:
    assert config.TUTORIAL.override(epochs=None, dropout=None) == config.TUTORIAL


def test_a_new_size_keeps_the_room_for_crops() -> None:
    recipe = config.SCRATCH.override(size_px=128)
    assert (recipe.size_px, recipe.store_px) == (128, 160)


@pytest.mark.parametrize(("size", "instead"), [(100, 96), (0, 32), (1000, 512), (65, 64)])
def test_a_size_that_does_not_fit_gets_one_that_does(size: int, instead: int) -> None:
    with pytest.raises(SettingsError, match=f"multiple of 32 from 32 to 512; got {size}. Try --size {instead}."):
        config.check_size(size)


@pytest.mark.parametrize("values", [{}, {**config.TUTORIAL.as_dict(), "more": 1}])
def test_a_recipe_with_other_fields_is_refused(values: dict) -> None:
    with pytest.raises(SettingsError, match="just the fields"):
        config.Recipe.from_dict(values)


def test_every_setting_knows_its_range_and_says_it() -> None:
    """Each limit is itself allowed, and what lies beyond is not."""
    for setting in dataclasses.fields(config.Recipe):
        limits = setting.metadata
        assert limits["help"]
        if "low" not in limits:
            continue
        whole = isinstance(limits["low"], int)
        step = 1 if whole else 1e-9
        several = setting.name in ("channels", "dense")
        for value, good in (
            (limits["low"], True), (limits["high"], True), (limits["low"] - step, False),
            (limits["high"] + step, False), (float("nan"), False), ("3", False),
        ):  # fmt: skip
            settings = {setting.name: (value,) if several else value}
            if setting.name == "size_px":
                settings["store_px"] = 1024
            if setting.name == "store_px":
                settings["size_px"] = 8
            if good:
                assert getattr(config.TUTORIAL.override(**settings), setting.name) == settings[setting.name]
            else:
                with pytest.raises(SettingsError, match=f"{setting.name} must be a") as error:
                    config.TUTORIAL.override(**settings)
                assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [32, 64, 512, None])
def test_sizes_that_fit(size: int | None) -> None:
    config.check_size(size)


@pytest.mark.parametrize("size", [True, 64.0, "64"])
def test_a_size_that_is_no_whole_number(size) -> None:
    with pytest.raises(SettingsError, match="--size must be a multiple of 32"):
        config.check_size(size)


def test_recipes_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        config.TUTORIAL.epochs = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_lists_from_json_become_tuples() -> None:
    assert config.TUTORIAL.override(channels=[8, 16]).channels == (8, 16)


def test_what_a_recipe_of_another_version_lacks_is_named() -> None:
    values = config.SCRATCH.as_dict()
    del values["flip"]
    with pytest.raises(SettingsError, match="flip"):
        config.Recipe.from_dict(values)
    with pytest.raises(SettingsError, match="network must be one of tutorial, residual, own; got 'resnet'"):
        config.Recipe.from_dict(config.SCRATCH.as_dict() | {"network": "resnet"})


def test_the_policy_in_a_recipe_is_what_its_name_stands_for_with_the_recipes_flips() -> None:
    recipe = config.SCRATCH.override(augment="strong", flip=False)
    assert recipe.augment == "strong"
    assert recipe.policy == dataclasses.replace(policies.STRONG, flip=False)
    assert recipe.override(flip=True).policy == dataclasses.replace(policies.STRONG, flip=True)
    assert recipe.override(augment="light").policy == dataclasses.replace(policies.LIGHT, flip=False)
    assert config.TUTORIAL.policy == policies.TUTORIAL
    assert config.OWN.policy == policies.Augmentation(flip=False)
    assert len({recipe, config.SCRATCH, config.SCRATCH.override(augment="strong", flip=False)}) == 2  # hashable


def test_an_own_policy_decides_on_flips_unless_the_user_does(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    for said, given, flip in (("", None, True), ("flip = false", None, False), ("flip = false", True, True)):
        path.write_text(f"zoom = 0.5\n{said}")
        recipe = config.TUTORIAL.override(augment=path, flip=given)
        assert (recipe.augment, recipe.flip) == ("own", flip)
        assert recipe.policy == policies.Augmentation(zoom=0.5, flip=flip)
    recipe = config.OWN.override(augment=policies.Augmentation(erase=0.2, flip=True))
    assert recipe.flip


def test_an_own_policy_is_kept_in_full() -> None:
    policy = policies.Augmentation(crop_scale=(0.2, 0.7), rotation_deg=33, erase_ratio=(0.1, 10), vertical_flip=True)
    recipe = config.SCRATCH.override(augment=policy)
    values = json.loads(json.dumps(recipe.as_dict()))
    assert values["policy"]["crop_scale"] == [0.2, 0.7]
    assert values["policy"]["rotation_deg"] == 33
    assert config.Recipe.from_dict(values) == recipe
    values["policy"]["zoom"] = 3
    with pytest.raises(SettingsError, match=r"zoom must be in the range \[0, 1\); got 3."):
        config.Recipe.from_dict(values)
    with pytest.raises(SettingsError, match="policy must be given where augment is 'own'"):
        config.Recipe.from_dict(values | {"policy": None})


def test_a_recipe_from_before_policies_means_the_same() -> None:
    values = config.SCRATCH.as_dict()
    del values["policy"]
    assert config.Recipe.from_dict(values) == config.SCRATCH


def test_sides_grow_in_three_steps_by_hand() -> None:
    """Of 10 epochs 4 have half the size, 3 three quarters and the last 3 seven eighths of it."""
    recipe = config.SCRATCH.override(size_px=64, grow_from=0.5, epochs=10)
    assert recipe.sides_px() == (32,) * 4 + (48,) * 3 + (56,) * 3
    assert recipe.full_epochs() == pytest.approx(4 / 4 + 3 * 9 / 16 + 3 * 49 / 64)
    assert recipe.override(epochs=1).sides_px() == (56,)
    assert recipe.override(epochs=2).sides_px() == (32, 56)
    assert recipe.override(size_px=96, epochs=3).sides_px() == (48, 72, 84)
    assert recipe.override(grow_from=1.0).sides_px() == (64,) * 10
    assert recipe.override(grow_from=1.0).full_epochs() == 10


def test_the_tutorials_pictures_and_those_of_networks_of_ones_own_do_not_grow() -> None:
    assert config.TUTORIAL.grow_from == config.OWN.grow_from == 1


@pytest.mark.parametrize("seed", [-1, 10**18, 10**400, True, 1.5])
def test_a_seed_that_a_bundle_cannot_keep_is_refused(seed) -> None:
    with pytest.raises(SettingsError, match="--seed must be a whole number from 0 to"):
        config.checked_seed(seed)
    assert config.checked_seed(10**18 - 1) == 10**18 - 1
