"""Which recipe for which pictures, and what a user's own settings make of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart import config, plans
from tellapart.catalog import Catalog, Entry, scan
from tellapart.errors import SettingsError
from tellapart.policies import Augmentation


def drawn(folder: Path, *, side: int, grey: bool, n: int = 6) -> Catalog:
    """Two classes of noise."""
    rng = np.random.default_rng(side)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for i in range(n):
            shape = (side - 3, side) if grey else (side - 3, side, 3)
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name / f"{i}.png")
    return scan(folder)


def listed(n: int, split: str | None = None, *, tested: int = 0) -> Catalog:
    """A catalog of n pictures whose files are gone, `tested` of them in the test split."""
    splits = ["test" if i < tested else split for i in range(n)]
    entries = tuple(Entry(f"/gone/{i:06}.jpg", "ab"[i % 2], split, f"{i:064}") for i, split in enumerate(splits))
    return Catalog("/gone", "classes", ("a", "b"), entries, (), ())


@pytest.mark.parametrize(("side", "grey", "name"), [(28, True, "auto"), (28, False, "scratch"), (40, True, "auto")])
def test_tiny_pictures_get_a_network_of_their_size(tmp_path: Path, side: int, grey: bool, name: str) -> None:
    choice = plans.choose(drawn(tmp_path / "p", side=side, grey=grey), name, {})
    recipe = choice.recipe
    assert (recipe.network, recipe.size_px, recipe.flip) == ("residual", 32, True)
    assert choice.mirroring_open
    assert choice.reason.startswith("A residual network from scratch: 60 epochs at 32 px")
    assert "32 px suit pictures of" in choice.reason
    # Tiny pictures do not begin smaller yet, and crops keep most of them.
    assert recipe.grow_from == 1
    assert recipe.policy.crop_scale == (0.85, 1.0)
    assert "\n" not in choice.reason
    assert (choice.rival is not None) == (name == "auto")
    still = choice.without_mirroring()
    assert (still.recipe.flip, still.recipe.policy.flip, still.mirroring_open) == (False, False, False)
    assert still.reason.endswith("; no mirroring, which makes other things of these pictures.")


@pytest.mark.parametrize(("side", "grey"), [(41, True), (90, False)])
def test_auto_takes_a_pretrained_network_for_larger_ones(tmp_path: Path, side: int, grey: bool) -> None:
    catalog = drawn(tmp_path / "p", side=side, grey=grey)
    assert plans.choose(catalog, "auto", {}).recipe == config.TRANSFER
    asked: plans.Settings = {"size": 224, "backbone": "efficientnet-lite0"}
    recipe = plans.choose(catalog, "auto", asked).recipe
    assert (recipe.name, recipe.backbone, recipe.size_px) == ("transfer", "efficientnet-lite0", 224)


def test_who_names_a_backbone_gets_it_whatever_the_size(tmp_path: Path) -> None:
    catalog = drawn(tmp_path / "p", side=20, grey=True)
    assert plans.choose(catalog, "auto", {"backbone": "efficientnet-lite0"}).recipe.name == "transfer"
    assert plans.choose(catalog, "auto", {"fine_tune": True}).recipe.name == "transfer"


def test_who_sets_how_to_train_gets_a_training() -> None:
    assert plans.choose(listed(20), "auto", {"epochs": 3}).recipe.name == "scratch"


def test_scratch_is_taken_as_it_is_written(tmp_path: Path) -> None:
    recipe = plans.choose(drawn(tmp_path / "p", side=60, grey=True), "scratch", {}).recipe
    assert (recipe.size_px, recipe.flip, recipe.grow_from) == (64, True, 0.5)


def test_tutorial_is_taken_as_it_is_written() -> None:
    choice = plans.choose(listed(20), "tutorial", {})
    assert choice.recipe == config.TUTORIAL
    assert "as asked for" in choice.reason


@pytest.mark.parametrize(
    ("catalog", "epochs"),
    [
        (listed(10_000), 17),  # 8,000 for training: 136,000 / 8,000 = 17
        (listed(9_000, "train", tested=1_000), 17),  # 8,000 of them are marked for training
        (listed(100), 60),  # never more
        (listed(50_000), 8),  # never fewer
    ],
)
def test_epochs_let_a_network_see_enough(catalog: Catalog, epochs: int) -> None:
    assert plans.choose(catalog, "scratch", {}).recipe.epochs == epochs


def test_tiny_pictures_are_seen_less_often(tmp_path: Path) -> None:
    tiny = drawn(tmp_path / "p", side=20, grey=True)
    more = Catalog(tiny.root, "classes", tiny.classes, (*tiny.entries, *listed(1_238).entries), (), ())
    assert plans.choose(more, "auto", {}).recipe.epochs == 30  # 1,000 for training: 30,000 / 1,000


def test_what_the_user_sets_replaces_what_was_chosen(tmp_path: Path) -> None:
    catalog = drawn(tmp_path / "p", side=28, grey=True)
    asked: plans.Settings = {
        "size": 96, "epochs": 3, "batch_size": 5, "optimizer": "adam", "learning_rate": 0.01, "dropout": 0.5,
        "flip": True, "augment": "none", "patience": 4, "precision": "float32",
    }  # fmt: skip
    choice = plans.choose(catalog, "auto", asked)
    recipe = choice.recipe
    assert (recipe.size_px, recipe.store_px, recipe.epochs, recipe.batch_size) == (96, 120, 3, 5)
    assert (recipe.optimizer, recipe.learning_rate, recipe.dropout, recipe.flip) == ("adam", 0.01, 0.5, True)
    assert (recipe.augment, recipe.patience, recipe.precision) == ("none", 4, "float32")
    assert choice.reason == "A residual network from scratch: 3 epochs at 96 px."  # of the rest nothing is left
    nothing: plans.Settings = {"size": None, "flip": None, "epochs": None, "conv": None}
    assert plans.choose(catalog, "auto", nothing) == plans.choose(catalog, "auto", {})


def test_the_tutorial_deeper() -> None:
    recipe = plans.choose(listed(20), "tutorial", {"conv": [32, 64, 128], "dense": [256], "size": 96}).recipe
    assert (recipe.channels, recipe.dense, recipe.size_px, recipe.store_px) == ((32, 64, 128), (256,), 96, 96)


@pytest.mark.parametrize(
    ("name", "asked", "says"),
    [
        ("auto", {"size": 100}, "multiple of 32 from 32 to 512; got 100. Try --size 96."),
        ("auto", {"size": 16}, "got 16. Try --size 32."),
        ("tutorial", {"size": 544}, "got 544. Try --size 512."),
        ("scratch", {"conv": [32]}, "--conv goes with --recipe tutorial; got it with scratch."),
        ("auto", {"dense": [32]}, "--dense goes with --recipe tutorial; got it with auto."),
        ("magic", {}, "--recipe must be one of auto, transfer, tutorial, scratch, or FILE.toml; got 'magic'."),
        ("transfer", {"flip": True}, "transfer trains no network, so it has no flip to set."),
        ("transfer", {"backbone": "x"}, "--backbone must be one of efficientnet-lite0"),
        ("scratch", {"backbone": "efficientnet-lite0"}, "--backbone goes with --recipe transfer; this is scratch."),
        (
            "tutorial",
            {"backbone": "efficientnet-lite0"},
            "--backbone goes with --recipe transfer; got it with tutorial",
        ),
        ("auto", {"epochs": 0}, "epochs must be a whole number from 1"),
        ("auto", {"epoch": 1}, "Did you mean epochs?"),
    ],
)
def test_what_does_not_go_is_named_in_one_line(name: str, asked, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        plans.choose(listed(20), name, asked)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_network_of_the_users_own_keeps_its_size() -> None:
    choice = plans.choose(listed(20), "auto", {"epochs": 2, "size": None}, own_size_px=48)
    recipe = choice.recipe
    assert (recipe.name, recipe.network, recipe.size_px, recipe.store_px, recipe.epochs) == ("own", "own", 48, 48, 2)
    assert choice.reason == "Your own network, at 48 px."
    assert plans.choose(listed(20), "auto", {"size": 64}, own_size_px=64).recipe.size_px == 64


@pytest.mark.parametrize(
    "asked", [{"size": 32}, {"conv": [8]}, {"dense": [8]}, {"dropout": 0.1}, {"precision": "mixed_bfloat16"}]
)
def test_what_a_network_of_the_users_own_decides_cannot_be_set_beside_it(asked) -> None:
    with pytest.raises(SettingsError, match=f"brings its own {next(iter(asked))}"):
        plans.choose(listed(20), "auto", asked, own_size_px=64)


@pytest.mark.parametrize(
    ("asked", "flip", "left_open"),
    [
        ({"augment": Augmentation(flip=True)}, True, False),
        ({"augment": Augmentation(flip=False)}, False, False),
        ({"augment": Augmentation()}, True, True),
        ({"augment": "strong"}, True, True),
        ({"flip": True}, True, False),
        ({"flip": False}, False, False),
    ],
)
def test_whether_to_mirror_is_open_where_nobody_said(tmp_path: Path, asked, flip: bool, left_open: bool) -> None:
    choice = plans.choose(drawn(tmp_path / "p", side=28, grey=True), "auto", asked)
    assert (choice.recipe.flip, choice.mirroring_open) == (flip, left_open)
