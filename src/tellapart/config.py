"""Every setting of a training, with its range, and the recipes that set them together.

A recipe is a frozen `Recipe`; what a user says on the command line or in Python replaces single fields
(`override`). The resolved recipe is written into the bundle, and `from_dict` reads it back.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from dataclasses import dataclass, field
from typing import Any

from tellapart import policies
from tellapart.errors import SettingsError

NETWORKS = ("tutorial", "residual", "own")
AUGMENTATIONS = (*policies.NAMED, policies.OWN)
OPTIMIZERS = ("adadelta", "adam", "adamw", "rmsprop", "sgd")
SCHEDULES = ("constant", "one_cycle")
SHORTEST_BUDGET_S, LONGEST_BUDGET_S = 5.0, 30 * 24 * 3600.0
FINE_TUNE = ("auto", "always", "never")
PRECISIONS = ("auto", "float32", "mixed_bfloat16")
LATER = ("fine_tune_rate", "strength")  # fields of `Transfer` that older bundles do not have


def _setting(help_text: str, *, default: Any = dataclasses.MISSING, **limits: Any) -> Any:
    """A field that knows its range: `low` and `high` (inclusive), `multiple_of`, or `among`."""
    return field(default=default, metadata={"help": help_text, **limits})


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides how a network is made and trained."""

    name: str = _setting("what the user asked for, or `own` for a network of theirs")
    network: str = _setting("which network", among=NETWORKS)
    size_px: int = _setting("side of the square that the network sees", low=8, high=512)
    store_px: int = _setting("side at which training pictures are kept, for crops", low=8, high=1024)
    channels: tuple[int, ...] = _setting("filters of each convolution or stage", low=1, high=2048)
    dense: tuple[int, ...] = _setting("units of each hidden dense layer", low=1, high=8192)
    dropout: float = _setting("share of features dropped in training", low=0.0, high=0.95)
    augment: str = _setting("how training pictures are varied", among=AUGMENTATIONS)
    flip: bool = _setting("whether training pictures are mirrored at random")
    optimizer: str = _setting("the optimizer, with Keras' defaults but for the rate", among=OPTIMIZERS)
    learning_rate: float = _setting("the rate, or the highest rate of a schedule", low=1e-8, high=100.0)
    schedule: str = _setting("how the rate changes", among=SCHEDULES)
    weight_decay: float = _setting("decoupled, of weights but not of biases", low=0.0, high=1.0)
    label_smoothing: float = _setting("share of the target spread over all classes", low=0.0, high=0.5)
    batch_size: int = _setting("pictures a step", low=1, high=4096)
    epochs: int = _setting("passes over the training pictures", low=1, high=10_000)
    patience: int | None = _setting(
        "epochs without a better validation result before training stops; None: never", low=1, high=10_000
    )
    precision: str = _setting("number format of training; a bundle is always float32", among=PRECISIONS)
    policy: policies.Augmentation | None = _setting(  # noqa: RUF009 - a field like the others
        "what `augment` stands for, with the recipe's own flips; never None in a finished recipe", default=None
    )
    grow_from: float = _setting(
        "side of training pictures in the first epochs, as a share of size_px, to which it grows",
        default=1.0, low=0.25, high=1.0,
    )  # fmt: skip

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            value = getattr(self, setting.name)
            for one in value if isinstance(value, tuple) else (value,):
                if one is not None:
                    _check(setting.name, one, setting.metadata)
        if self.store_px < self.size_px:
            raise SettingsError(
                f"store_px must be at least size_px ({self.size_px}); got {self.store_px}. Leave it out, or raise it."
            )
        policy = policies.NAMED.get(self.augment) if self.policy is None else self.policy
        if policy is None:
            raise SettingsError("policy must be given where augment is 'own'; got none. Give an Augmentation.")
        object.__setattr__(self, "policy", dataclasses.replace(policy, flip=self.flip))

    def sides_px(self) -> tuple[int, ...]:
        """Side of the training pictures in each epoch: where they grow, small ones first, which cost less.

        Three steps of some third of the epochs each, in whole fours of pixels. The last is an eighth smaller than what
        the network is asked about later: crops show things larger than they are (Touvron et al. 2019, "Fixing the
        train-test resolution discrepancy", arXiv:1906.06423).
        """
        if self.grow_from == 1:
            return (self.size_px,) * self.epochs
        last = max(round(0.3 * self.epochs), 1)
        middle = (self.epochs - last) // 2
        shares = (self.grow_from, (1 + self.grow_from) / 2, 7 / 8)
        counts = (self.epochs - last - middle, middle, last)
        return tuple(
            max(round(self.size_px * share / 4) * 4, 8)
            for share, count in zip(shares, counts, strict=True)
            for _ in range(count)
        )

    def full_epochs(self) -> float:
        """As many epochs at full size take as long as all those of this recipe."""
        return sum(side**2 for side in self.sides_px()) / self.size_px**2

    def override(self, **settings: Any) -> Recipe:
        """This recipe with the given fields replaced; None means "as it was".

        A new `size_px` without a `store_px` keeps the ratio of both. `augment` is a name, a TOML file or an
        `Augmentation`; what the last two say of flips holds unless `flip` is given too.

        Raises:
            SettingsError: a field is unknown or its value is out of range.
            InputError: the file cannot be read.
        """
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in settings.items()
            if value is not None
        }
        known = [f.name for f in dataclasses.fields(self)]
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
                raise SettingsError(f"A setting must be one that exists; got {name!r}. {hint}")
        if "size_px" in given and "store_px" not in given:
            given["store_px"] = max(given["size_px"], round(self.store_px * given["size_px"] / self.size_px))
        if "augment" in given:
            given["augment"], given["policy"] = policies.resolve(given["augment"])
            if given["policy"].flip is not None:
                given.setdefault("flip", given["policy"].flip)
        return dataclasses.replace(self, **given)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        assert self.policy is not None
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}
        return {**values, "policy": self.policy.as_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """The inverse of `as_dict`; raises SettingsError where a field is missing, unknown or out of range."""
        try:
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            if isinstance(fields.get("policy"), dict):
                fields["policy"] = policies.Augmentation.from_dict(fields["policy"])
            return cls(**fields)
        except TypeError as error:
            raise SettingsError(f"A recipe must have just the fields of this version: {error}.") from error


@dataclass(frozen=True, slots=True)
class Transfer:
    """All that decides how a classifier is put on a frozen backbone."""

    name: str = _setting("what the user asked for", default="transfer", among=("transfer",))
    backbone: str = _setting("which pretrained network, see `backbones`", default="efficientnet-lite2")
    size_px: int = _setting("side of the square that the network sees", default=288, low=32, high=512)
    enough: float = _setting(
        "accuracy that more pictures must promise to be looked at; 0: all of them are", default=0.003, low=0.0, high=1.0
    )
    most: int = _setting(
        "training pictures looked at, at most; 0: all that promise enough", default=0, low=0, high=10**9
    )
    fine_tune: str = _setting(
        "whether the top of the backbone is trained as well; auto: where it can pay", default="auto", among=FINE_TUNE
    )
    fine_tune_rate: float = _setting("the highest rate of that training", default=3e-4, low=1e-7, high=0.1)
    strength: float | None = _setting(
        "weight of the pictures against the head's penalty; None: by cross-validation", default=None, low=1e-6, high=1e6
    )

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            if (value := getattr(self, setting.name)) is not None or setting.default is not None:
                _check(setting.name, value, setting.metadata)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Transfer:
        """The inverse of `as_dict`; raises SettingsError where a field is missing, unknown or out of range.

        Fields that came later may be missing.
        """
        names = [each.name for each in dataclasses.fields(cls)]
        missing = {*names} - {*values} - {*LATER}
        if missing or {*values} - {*names} or not isinstance(values["backbone"], str):
            raise SettingsError(f"A recipe must have just the fields of this version: {', '.join(names)}.")
        return cls(**values)


def seconds(text: str) -> float | None:
    """A time like "60s", "5m", "1h30m", "500ms" or a number of seconds, in seconds; None where it is none."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?|(\d+)ms", text.strip().lower())
    if found is None or not any(found.groups()):
        return None
    hours, minutes, whole, thousandths = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + whole + thousandths / 1000


def budget_s(budget: str | float | None) -> float | None:
    """A time like "60s", "5m", "1h30m" or a number of seconds, in seconds; None stays None.

    Raises:
        SettingsError: it is no time, or shorter than any training.
    """
    if budget is None:
        return None
    total = seconds(str(budget))
    if total is None:
        raise SettingsError(f"--budget must be a time like 60s, 5m or 1h30m; got {budget!r}. Try --budget 5m.")
    if not SHORTEST_BUDGET_S <= total <= LONGEST_BUDGET_S:
        raise SettingsError(
            f"--budget must be from {SHORTEST_BUDGET_S:g} seconds to 30 days; got {budget}. Try --budget 60s."
        )
    return total


def check_size(size_px: int | None) -> None:
    """Raise SettingsError unless a size that a user asked for is one that the networks here take."""
    if size_px is None:
        return
    whole = isinstance(size_px, int) and not isinstance(size_px, bool)
    if not whole or not 32 <= size_px <= 512 or size_px % 32:
        nearest = min(max(round(size_px / 32), 1), 16) * 32 if isinstance(size_px, int | float) else 64
        raise SettingsError(f"--size must be a multiple of 32 from 32 to 512; got {size_px}. Try --size {nearest}.")


def checked_seed(seed: int) -> int:
    """A seed that a bundle can keep and every generator takes. Raises SettingsError for another one."""
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 10**18:
        raise SettingsError(f"--seed must be a whole number from 0 to 10^18 - 1; got {seed!r:.60}. Try --seed 1.")
    return seed


def _check(name: str, value: Any, limits: Any) -> None:
    if "among" in limits and value not in limits["among"]:
        near = difflib.get_close_matches(str(value), limits["among"], n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise SettingsError(f"{name} must be one of {', '.join(limits['among'])}; got {value!r}.{hint}")
    if "low" in limits:
        low, high = limits["low"], limits["high"]
        whole = isinstance(low, int)
        good_type = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not good_type or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise SettingsError(f"{name} must be {kind} from {low} to {high}; got {value!r}.")


# The tutorial as its author wrote it: a small CNN at 64 px, ten epochs, no early stopping. Adadelta's rate is
# the 1.0 of its paper and of the Keras of its day; at today's default of 0.001 the network hardly learns.
# Of 6,400 photos of cats and dogs: 77.2 % of 800 others, mean of three seeds, in 61 s (benchmarks/tutorial.py).
#   tellapart train PHOTOS --recipe tutorial
TUTORIAL = Recipe(
    name="tutorial",
    network="tutorial",
    size_px=64,
    store_px=64,  # as ImageDataGenerator: pictures are varied after they were brought to size
    channels=(32, 64),
    dense=(128,),
    dropout=0.2,
    augment="tutorial",
    flip=True,
    optimizer="adadelta",
    learning_rate=1.0,
    schedule="constant",
    weight_decay=0.0,
    label_smoothing=0.0,
    batch_size=32,
    epochs=10,
    patience=None,
    precision="auto",
)

# A residual network from scratch. Cats and dogs, 5,399 photos for training and 2,000 for the test, 23 epochs: 89.9 %
# (95 % sure: 88.5 to 91.1 %), 317 CPU seconds from start to exit on two cores (docs/benchmarks.md says more).
#   tellapart train PHOTOS --recipe scratch
SCRATCH = Recipe(
    name="scratch",
    network="residual",
    size_px=64,
    store_px=80,  # room for random crops that keep their detail
    channels=(32, 64, 128, 256),
    dense=(),
    dropout=0.0,
    augment="crop",
    flip=True,
    optimizer="sgd",
    learning_rate=0.3,
    schedule="one_cycle",
    weight_decay=2e-3,
    label_smoothing=0.1,
    batch_size=64,
    epochs=20,
    patience=None,  # one cycle ends by itself: its best epochs are its last
    precision="auto",
    grow_from=0.5,
)

# What a user's own network gets; its size is that of its input.
OWN = SCRATCH.override(
    name="own",
    network="own",
    store_px=64,
    augment="none",
    flip=False,
    optimizer="adam",
    learning_rate=1e-3,
    schedule="constant",
    batch_size=32,
    epochs=30,
)
OWN = dataclasses.replace(
    OWN, grow_from=1.0, weight_decay=0.0, label_smoothing=0.0, channels=(), patience=5, precision="float32"
)

# Logistic regression on a pretrained network's features. Of 6,000 photos of cats and dogs, 2,000 others for the test:
# 99.15 % (95 % sure: 98.6 to 99.5 %), 20 s from start to exit on two cores, nothing cached (benchmarks/headline.py).
#   tellapart train PHOTOS --recipe transfer
TRANSFER = Transfer()

# What training from scratch is compared with where pictures are tiny: a look at a thousand of them, in seconds.
RIVAL = Transfer(backbone="efficientnet-lite0", size_px=160, most=1024, fine_tune="never")

RECIPES = {recipe.name: recipe for recipe in (TUTORIAL, SCRATCH)}
RECIPE_NAMES = ("auto", TRANSFER.name, *RECIPES)
