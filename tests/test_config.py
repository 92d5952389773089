"""Settings, their ranges, and what an error says of them."""

import json

import pytest

from tellapart import config
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
