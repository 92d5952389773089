"""What may be tuned: the default lies within it, and every answer makes a recipe that can be carried out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from tellapart import backbones, config, space
from tellapart.policies import Augmentation
from tellapart.space import Space

TINY = config.SCRATCH.override(size_px=32, grow_from=1.0, policy=Augmentation(crop_scale=(0.85, 1.0)), epochs=30)
DEFAULTS = {"scratch": config.SCRATCH, "transfer": config.TRANSFER}


class Drawn:
    """Answers at random, and keeps what it was asked."""

    def __init__(self, seed: int) -> None:
        self._rng, self.asked = random.Random(seed), {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.asked[name] = self._rng.choice(list(choices))
        return self.asked[name]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.asked[name] = self._rng.uniform(low, high)
        return self.asked[name]


@pytest.mark.parametrize("recipe", [config.SCRATCH, TINY, TINY.override(flip=False), config.TRANSFER])
def test_the_default_lies_within(recipe: config.Recipe | config.Transfer) -> None:
    answers = Space({recipe.name: recipe}).default(recipe.name)
    assert answers
    assert "recipe" not in answers  # there is but one
    other = "transfer" if recipe.name == "scratch" else "scratch"
    both = Space({recipe.name: recipe, other: DEFAULTS[other]})
    assert both.default(recipe.name) == {"recipe": recipe.name, **answers}


@pytest.mark.parametrize("seed", range(30))
def test_every_answer_makes_a_recipe_of_its_kind(seed: int) -> None:
    drawn = Drawn(seed)
    recipe = Space(DEFAULTS).recipe(drawn)
    assert recipe.name == drawn.asked["recipe"]
    kind = type(recipe)
    assert kind.from_dict(recipe.as_dict()) == recipe
    if isinstance(recipe, config.Transfer):
        assert all(name.startswith(("transfer.", "recipe")) for name in drawn.asked)
        assert ("transfer.strength" in drawn.asked) is (drawn.asked["transfer.penalty"] == "given")
        assert ("transfer.fine_tune_rate" in drawn.asked) is (drawn.asked["transfer.fine_tune"] == "always")
        assert (recipe.strength is None) is (drawn.asked["transfer.penalty"] == "by folds")
        assert recipe.size_px % 32 == 0
    else:
        assert all(name.startswith(("scratch.", "recipe")) for name in drawn.asked)
        assert recipe.size_px % 16 == 0
        assert recipe.policy is not None
        assert recipe.policy.flip is recipe.flip is config.SCRATCH.flip
        assert recipe.policy.brightness == recipe.policy.contrast == float(f"{drawn.asked['scratch.colour']:.3g}")
        assert len(f"{recipe.learning_rate:g}") <= 6  # to be read by people


def test_what_is_fixed_is_not_asked_for() -> None:
    drawn = Drawn(1)
    fixed = {"backbone": "efficientnet-lite2", "size_px": 288, "fine_tune": "auto"}
    recipe = Space({"transfer": config.TRANSFER}, fixed, looks_open=False).recipe(drawn)
    assert {*drawn.asked} <= {"transfer.penalty", "transfer.strength"}
    assert isinstance(recipe, config.Transfer)
    assert (recipe.backbone, recipe.size_px, recipe.fine_tune, recipe.enough) == (*fixed.values(), 0.003)


def test_sizes_of_tiny_pictures_begin_where_the_network_can_still_see() -> None:
    class Sizes(Drawn):
        def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
            self.sizes = getattr(self, "sizes", list(choices) if name == "scratch.size_px" else None)
            return super().suggest_categorical(name, choices)

    sizes = Sizes(0)
    Space({"scratch": TINY}).recipe(sizes)
    assert sizes.sizes == [32, 48]
    sizes = Sizes(0)
    Space({"scratch": config.SCRATCH}).recipe(sizes)
    assert sizes.sizes == [48, 64, 96]


@pytest.mark.parametrize("name", [*backbones.BACKBONES])
def test_the_cost_of_a_backbone_is_the_published_one(name: str) -> None:
    known = backbones.known(name)
    counted = space.megamacs(config.Transfer(backbone=name, size_px=known.trained_px), 1000)
    assert counted == pytest.approx(known.megamacs, rel=0.07)


def test_the_cost_from_scratch_by_hand() -> None:
    recipe = config.SCRATCH.override(size_px=8, store_px=8, channels=(2, 4))
    first = 8 * 8 * 9 * 3 * 2 + 4 * 4 * 9 * 2 * 2
    second = 4 * 4 * 9 * 2 * 4 + 2 * 2 * 9 * 4 * 4
    assert space.megamacs(recipe, 3) == pytest.approx((first + second + 4 * 3) / 1e6)
