"""What will be done with these pictures, decided before it is done."""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from tellapart import decoders, networks, policies, preprocess
from tellapart.applications import APPLICATIONS
from tellapart.backbones import BACKBONES
from tellapart.catalog import Catalog
from tellapart.config import OWN, RECIPE_NAMES, RECIPES, RIVAL, SCRATCH, TRANSFER, Recipe, Transfer, check_size
from tellapart.decoders import Maker
from tellapart.errors import PictureError, SettingsError
from tellapart.files import shown
from tellapart.policies import Augmentation
from tellapart.recipefile import RecipeFile

LOOKED_AT = 48  # pictures that `auto` opens, spread evenly over all
TINY_PX = 40  # pictures up to this side are digits, icons, patches: a smaller network input loses nothing
# Pictures that a scratch training sees, over all its epochs, unless told otherwise. Digits gained nothing beyond.
SEEN, SEEN_TINY = 136_000, 30_000
FEWEST_EPOCHS, MOST_EPOCHS = 8, 60
FEWEST_IN_TIME = 4  # epochs that a budget must have room for, or a pretrained network serves better


class Settings(TypedDict, total=False):
    """What a user may set in place of a recipe's own; see `config.Recipe` for meaning and range."""

    size: int | None  # `size_px`: side of the square that the network sees, a multiple of 32 from 32 to 512
    epochs: int | None
    batch_size: int | None
    optimizer: str | None
    learning_rate: float | None
    dropout: float | None
    conv: Sequence[int] | None  # `channels`: filters of each convolution, tutorial only
    dense: Sequence[int] | None  # units of each hidden dense layer, tutorial only
    augment: str | os.PathLike[str] | Augmentation | None  # a name, a TOML file, or the changes themselves
    flip: bool | None
    patience: int | None
    precision: str | None
    backbone: str | None  # which pretrained network, transfer only; see `networks.find`
    download: bool | None  # whether Keras may fetch the weights of that network
    fine_tune: bool | None  # whether its top is trained as well, transfer only; None: where it can pay


OF_TRANSFER = ("backbone", "download", "fine_tune")  # settings that no `Recipe` has
OF_TRAINING = tuple(name for name in Settings.__annotations__ if name not in ("size", *OF_TRANSFER))
FIELDS = {"size": "size_px", "conv": "channels"}  # where a setting's short name is not its field's


@dataclass(frozen=True, slots=True)
class Choice:
    """A resolved recipe and why it is this one."""

    recipe: Recipe | Transfer
    reason: str  # one sentence for the user
    rival: Transfer | None = None  # what it is to be compared with by validation, where that is open
    network: networks.Network | None = None  # the backbone of a `Transfer`, ready
    mirroring_open: bool = False  # a look at the pictures is to tell whether mirroring hurts: nobody has said

    def without_mirroring(self) -> Choice:
        """The same, for pictures that stop being of their class in a mirror."""
        assert isinstance(self.recipe, Recipe)
        reason = f"{self.reason.removesuffix('.')}; no mirroring, which makes other things of these pictures."
        return dataclasses.replace(self, recipe=self.recipe.override(flip=False), reason=reason, mirroring_open=False)


def choose(catalog: Catalog, recipe: str | RecipeFile, asked: Settings, own_size_px: int | None = None) -> Choice:
    """Resolve a recipe by its name ("auto" among them) or from a file, with the user's own settings on top.

    Args:
        catalog: the pictures.
        recipe: one of `config.RECIPE_NAMES`, or a file that was read; ignored for a network of the user's own.
        asked: what the user set.
        own_size_px: the input side of the user's own network, where there is one.

    Raises:
        SettingsError: an unknown recipe, or a setting that is out of range or not this recipe's.
    """
    file = recipe if isinstance(recipe, RecipeFile) else None
    name = recipe if isinstance(recipe, str) else recipe.recipe
    backbone = asked.get("backbone")
    if backbone is None:
        check_size(asked.get("size"))
        if asked.get("download"):
            raise SettingsError("--download goes with --backbone NAME; got it alone. Leave it out, or name a network.")
    settings = {FIELDS.get(setting, setting): value for setting, value in asked.items() if setting not in OF_TRANSFER}
    if own_size_px is not None:
        _check_of_own(asked, own_size_px)
        own = OWN.override(size_px=own_size_px, store_px=own_size_px)
        return Choice(own.override(**settings), f"Your own network, at {own_size_px} px.")
    if name not in RECIPE_NAMES:
        raise SettingsError(f"--recipe must be one of {', '.join(RECIPE_NAMES)}, or FILE.toml; got {name!r}.")
    if name == "tutorial":
        _check_of_transfer(asked, "got it with tutorial")
        reason = "The tutorial's network and settings, as asked for."
        return Choice(_on(RECIPES[name], file).override(**settings), f"{reason}{_said(file)}")
    for setting in ("conv", "dense"):
        if asked.get(setting) is not None:
            raise SettingsError(f"--{setting} goes with --recipe tutorial; got it with {name}. Leave one of them out.")
    side = _side_px(catalog)
    tiny = side <= TINY_PX
    trained = [setting for setting in OF_TRAINING if asked.get(setting) is not None]
    wanted = any(asked.get(setting) not in (None, False) for setting in OF_TRANSFER)  # who names a backbone wants one
    if name == "transfer" or (name == "auto" and not trained and (wanted or not tiny)):
        return _transfer(asked, trained, side, file)
    _check_of_transfer(asked, "this is scratch")
    suited: dict[str, Any] = {"epochs": _epochs(catalog, SEEN_TINY if tiny else SEEN)}
    if tiny:  # smaller yet, or a small part of them, teaches little
        suited |= {"size_px": 32, "grow_from": 1.0, "policy": Augmentation(crop_scale=(0.85, 1.0))}
    suits = SCRATCH.override(**suited)
    resolved = _on(suits, file).override(**settings)
    why = f"; 32 px suit pictures of {side} px" if tiny and resolved.size_px == suits.size_px else ""
    rival = RIVAL if name == "auto" and tiny and not trained else None
    augment = asked.get("augment")
    said = asked.get("flip") is not None or (augment is not None and policies.resolve(augment)[1].flip is not None)
    said = said or (file is not None and "flip" in file.settings)
    reason = f"A residual network from scratch: {resolved.epochs} epochs at {resolved.size_px} px{why}.{_said(file)}"
    return Choice(resolved, reason, rival, mirroring_open=resolved.flip and not said)


def _on(base: Recipe, file: RecipeFile | None) -> Recipe:
    """A recipe with the settings of a file, where there is one."""
    resolved = base if file is None else file.on(base)
    assert isinstance(resolved, Recipe)  # of its own kind
    return resolved


def _said(file: RecipeFile | None) -> str:
    return "" if file is None else " Its settings are those of the recipe's file."


def like(made: Mapping[str, Any], asked: Settings, own_size_px: int | None = None) -> Choice:
    """The recipe of another training, from its bundle, with the user's own settings on top.

    Args:
        made: the recipe as the bundle has it.
        asked: what the user set.
        own_size_px: the input side of the user's own network, where there is one.

    Raises:
        SettingsError: the recipe is none of this version's, a setting is not this recipe's, or it was a network that
            is not here.
    """
    name = made.get("name")
    settings = {FIELDS.get(setting, setting): value for setting, value in asked.items() if setting not in OF_TRANSFER}
    if name == TRANSFER.name:
        return _transfer_like(Transfer.from_dict(dict(made)), asked)
    recipe = Recipe.from_dict(dict(made))
    if recipe.name == OWN.name:
        if own_size_px is None:
            raise SettingsError(
                "--like must name a model whose network can be made anew; this one was trained from a network of its "
                "author's own, whose first weights no bundle holds. Build that network and call "
                "tellapart.train(photos, like=…, model=network)."
            )
        _check_of_own(asked, own_size_px)
        settings["size_px"] = settings["store_px"] = own_size_px
    else:
        check_size(asked.get("size"))
        for setting in ("conv", "dense"):
            if asked.get(setting) is not None and recipe.name != "tutorial":
                raise SettingsError(f"--{setting} goes with --recipe tutorial; the model to be like is of another one.")
        _check_of_transfer(asked, f"the model to be like is of recipe {recipe.name}")
    return Choice(recipe.override(**settings), f"As the model to be like: recipe {recipe.name}, {recipe.size_px} px.")


def _transfer_like(recipe: Transfer, asked: Settings) -> Choice:
    trained = [setting for setting in OF_TRAINING if asked.get(setting) is not None]
    _check_untrained(trained)
    backbone, size = asked.get("backbone"), asked.get("size")
    if backbone is None:
        backbone = recipe.backbone
        if backbone not in BACKBONES and backbone not in APPLICATIONS:
            raise SettingsError(
                f"--like must name a model whose backbone is here; this one stands on the file {shown(backbone)}, of "
                f"which a bundle keeps no path. Add --backbone and the path of that file."
            )
    network = networks.find(backbone, size or recipe.size_px, download=bool(asked.get("download")))
    wish = asked.get("fine_tune")
    _check_tunable(wish, network)
    changed = dataclasses.replace(recipe, backbone=network.name, size_px=network.size_px)
    if wish is not None:
        changed = dataclasses.replace(changed, fine_tune="always" if wish else "never")
    reason = f"As the model to be like: what a pretrained {network.name} sees at {network.size_px} px."
    return Choice(changed, reason, network=network)


def _check_untrained(trained: Sequence[str]) -> None:
    if trained:
        raise SettingsError(
            f"--recipe transfer trains no network, so it has no {trained[0].replace('_', ' ')} to set. "
            f"Leave it out, or take --recipe scratch."
        )


def _check_tunable(wish: bool | None, network: networks.Network) -> None:
    if wish and network.name not in BACKBONES:
        raise SettingsError(
            f"--fine-tune goes with {', '.join(BACKBONES)}; got it with {network.name}. Leave one of them out."
        )


def _check_of_own(asked: Settings, own_size_px: int) -> None:
    for setting in ("size", "conv", "dense", "dropout", "precision", *OF_TRANSFER):
        value = asked.get(setting)
        if value not in (None, own_size_px if setting == "size" else None):
            raise SettingsError(
                f"A network of your own brings its own {setting}; got {setting} {value} as well. "
                f"Leave it out, or change the network."
            )


def _check_of_transfer(asked: Settings, but: str) -> None:
    for setting in OF_TRANSFER:
        if asked.get(setting) not in (None, False):
            option = setting.replace("_", "-")
            raise SettingsError(f"--{option} goes with --recipe transfer; {but}. Leave one of them out.")


def _transfer(asked: Settings, trained: Sequence[str], side: int, file: RecipeFile | None) -> Choice:
    _check_untrained(trained)
    SCRATCH.override(**{name: value for name, value in asked.items() if name not in Settings.__annotations__})
    base = TRANSFER if file is None else file.on(TRANSFER)
    assert isinstance(base, Transfer)  # a file of this recipe
    backbone, size = asked.get("backbone"), asked.get("size")
    if backbone is None and file is not None and "size_px" in file.settings:  # else another network's own size suits
        size = size or base.size_px
    network = networks.find(backbone or base.backbone, size, download=bool(asked.get("download")))
    wish = asked.get("fine_tune")
    _check_tunable(wish or (wish is None and base.fine_tune == "always"), network)
    recipe = dataclasses.replace(
        base,
        backbone=network.name,
        size_px=network.size_px,
        fine_tune=base.fine_tune if wish is None else "always" if wish else "never",
    )
    reason = f"A classifier on what a pretrained {network.name} sees at {network.size_px} px.{_said(file)}"
    return Choice(recipe, reason, network=network)


def _epochs(catalog: Catalog, seen: int) -> int:
    """How many epochs let the network see `seen` pictures."""
    entries = catalog.entries
    given = sum(entry.split == "train" for entry in entries)
    n = given or round(0.8 * len(entries))  # what the splits will leave for training
    return min(max(round(seen / max(n, 1)), FEWEST_EPOCHS), MOST_EPOCHS)


def _side_px(catalog: Catalog) -> int:
    """The median longer side, px, of some pictures."""
    step = max(len(catalog.entries) // LOOKED_AT, 1)
    how, sides = preprocess.Preprocess(32), []
    maker = Maker("tellapart.preprocess:square_and_size", {"how": how.as_dict()})
    for entry in catalog.entries[::step][:LOOKED_AT]:
        try:
            _, size = decoders.one(maker, entry.path, 3 * how.size_px**2 + preprocess.SIZE_BYTES)
        except PictureError:
            continue  # named with its reason when all pictures are decoded
        sides.append(int(size.max()))
    return int(statistics.median(sides)) if sides else TINY_PX + 1
