"""How training pictures may be varied: each change with its range, the policies by name, and those in a TOML file."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import tomllib
from dataclasses import dataclass, field
from typing import Any

from tellapart.errors import InputError, SettingsError

MOST_BYTES = 1 << 20  # of a policy's file: a larger one is something else
OWN = "own"  # what a policy is called that has no name here


def _number(help_text: str, *, to: float, unit: str = "", closed: bool = True, default: float = 0.0) -> Any:
    """A field from 0 to `to`, which itself is allowed where `closed`."""
    return field(default=default, metadata={"help": help_text, "to": to, "unit": unit, "closed": closed})


def _pair(help_text: str, *, default: tuple[float, float] | None, to: float = math.inf) -> Any:
    """A field (low, high) with 0 < low <= high <= `to`."""
    return field(default=default, metadata={"help": help_text, "pair_to": to})


def _switch(help_text: str, *, default: bool | None) -> Any:
    return field(default=default, metadata={"help": help_text, "switch": True})


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may happen to a picture in training; the default changes nothing.

    An angle, a shift or a factor is drawn uniformly from both sides of "as it is". All the moves together are one
    affine warp; outside a picture its nearest pixel is repeated. All the colours together are one matrix.

    Raises `SettingsError` for a value outside its range.
    """

    shear_deg: float = _number("slanted by up to so many degrees", to=90, unit=" degrees", closed=False)
    zoom: float = _number(
        "width and height, each on its own, from 1 - zoom to 1 + zoom as much shown", to=1, closed=False
    )
    # None: as the recipe, or --flip and --no-flip, have it; without a recipe never.
    flip: bool | None = _switch("left and right exchanged, every second time", default=None)
    crop_scale: tuple[float, float] | None = _pair("area of a random crop, share of the picture's", default=None, to=1)
    crop_ratio: tuple[float, float] = _pair("width / height of a crop", default=(3 / 4, 4 / 3))  # log-uniform
    rotation_deg: float = _number("turned by up to so many degrees", to=180, unit=" degrees")
    shift: float = _number("moved across and down, each by up to this share of the side", to=1, closed=False)
    vertical_flip: bool = _switch("top and bottom exchanged, every second time", default=False)
    brightness: float = _number("every level times 1 - brightness to 1 + brightness", to=1)
    contrast: float = _number("distance from the mean grey times 1 - contrast to 1 + contrast", to=1)
    saturation: float = _number("distance from grey times 1 - saturation to 1 + saturation", to=1)
    greyscale: float = _number("probability that all colour goes", to=1)
    erase: float = _number("probability that a rectangle is painted over with the picture's mean colour", to=1)
    erase_scale: tuple[float, float] = _pair("area of the rectangle, share of the picture's", default=(0.02, 0.2), to=1)
    erase_ratio: tuple[float, float] = _pair("width / height of the rectangle", default=(1 / 3, 3))  # log-uniform

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            value = getattr(self, setting.name)
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, setting.name, value)
            if value is None and setting.default is None:
                continue
            must = _broken(value, setting.metadata)
            if must is not None:
                came = list(value) if isinstance(value, tuple) else value
                raise SettingsError(f"{setting.name} must be {must}; got {came!r}.")

    @property
    def changes(self) -> bool:
        """Whether anything may happen to a picture at all."""
        return self.moves or self.recolours or self.erase > 0

    @property
    def moves(self) -> bool:
        """Whether pixels may change their places."""
        flips = bool(self.flip) or self.vertical_flip
        return flips or self.crop_scale is not None or any((self.shear_deg, self.zoom, self.rotation_deg, self.shift))

    @property
    def recolours(self) -> bool:
        """Whether colours may change."""
        return any((self.brightness, self.contrast, self.saturation, self.greyscale))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Augmentation:
        """The inverse of `as_dict`; what is left out is the default.

        Raises SettingsError where a field is unknown or out of range.
        """
        known = [each.name for each in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
                raise SettingsError(f"every key must be a way to vary pictures; got {name!r}. {hint}")
        return cls(**values)

    def described(self) -> str:
        """What may happen, in one line for a person."""
        low, high = self.crop_scale or (1, 1)
        said = [
            f"crops of {low:.0%} to {high:.0%} of the area" if self.crop_scale else "",
            f"shifts up to {self.shift:.0%}" if self.shift else "",
            f"zoom by up to {self.zoom:.0%}" if self.zoom else "",
            f"rotation up to {self.rotation_deg:g}°" if self.rotation_deg else "",
            f"shear up to {self.shear_deg:g}°" if self.shear_deg else "",
            "mirrored left to right" if self.flip else "",
            "mirrored top to bottom" if self.vertical_flip else "",
            f"brightness ±{self.brightness:.0%}" if self.brightness else "",
            f"contrast ±{self.contrast:.0%}" if self.contrast else "",
            f"saturation ±{self.saturation:.0%}" if self.saturation else "",
            f"grey in {self.greyscale:.0%}" if self.greyscale else "",
            f"a part painted over in {self.erase:.0%}" if self.erase else "",
        ]
        return ", ".join(each for each in said if each) or "nothing is changed"


def _broken(value: Any, limits: Any) -> str | None:
    """What must hold of a value and does not; None where it is good."""
    if "switch" in limits:
        return None if isinstance(value, bool) else "true or false"
    if "pair_to" in limits:
        to = limits["pair_to"]
        below = "" if math.isinf(to) else f" <= {to}"
        pair = isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))
        good = pair and 0 < value[0] <= value[1] <= to and value[1] < math.inf
        return None if good else f"[low, high] with 0 < low <= high{below}"
    to, closed = limits["to"], limits["closed"]
    if _is_number(value) and value >= 0 and (value <= to if closed else value < to):
        return None
    return f"in the range [0, {to}{']' if closed else ')'}{limits['unit']}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# The tutorial's ImageDataGenerator(shear_range=0.2, zoom_range=0.2, horizontal_flip=True). Its shear is in
# degrees, so 0.2 hardly shears at all: that is what the tutorial does, whatever it meant to do.
TUTORIAL = Augmentation(shear_deg=0.2, zoom=0.2, flip=True)

# For networks trained from scratch.
CROP = Augmentation(crop_scale=(0.35, 1.0), flip=True)

# For pictures that were all taken alike, where place and size of a thing say something.
LIGHT = Augmentation(crop_scale=(0.75, 1.0), crop_ratio=(5 / 6, 6 / 5), shift=0.05)

# For few pictures, or light and places that will be others in use.
STRONG = Augmentation(
    crop_scale=(0.25, 1.0),
    rotation_deg=15,
    brightness=0.3,
    contrast=0.3,
    saturation=0.3,
    greyscale=0.05,
    erase=0.25,
)

# But for "none", which is to change nothing, these do not decide on flips: whether a mirrored picture is still of its
# class depends on the classes.
NAMED = {
    "none": Augmentation(flip=False),
    "light": LIGHT,
    "strong": STRONG,
    "tutorial": dataclasses.replace(TUTORIAL, flip=None),
    "crop": dataclasses.replace(CROP, flip=None),
}


def resolve(given: str | os.PathLike[str] | Augmentation) -> tuple[str, Augmentation]:
    """A policy's name and values: by its name here, from a TOML file, or as it is; the last two are called "own".

    Raises:
        SettingsError: no such name, or the file has an unknown key or a value out of range.
        InputError: the file cannot be read.
    """
    if isinstance(given, Augmentation):
        return OWN, given
    if isinstance(given, str) and given in NAMED:
        return given, NAMED[given]
    if not isinstance(given, str | os.PathLike):
        raise SettingsError(f"augment must be a name, a path or an Augmentation; got {given!r}.")
    path = os.fspath(given)
    if isinstance(given, os.PathLike) or path.lower().endswith(".toml") or os.path.isfile(path):
        return OWN, read(path)
    near = difflib.get_close_matches(path, NAMED, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise SettingsError(f"augment must be one of {', '.join(NAMED)}, or a .toml file; got {path!r}.{hint}")


def read(path: str | os.PathLike[str]) -> Augmentation:
    """The policy in a TOML file (toml.io, 1.0): `key = value`, the keys being fields of `Augmentation`.

    Raises:
        SettingsError: an unknown key, or a value out of range: named with the file.
        InputError: no such file, or it is no TOML.
    """
    values = table(path, "augmentation file", like="rotation_deg = 15")
    try:
        return Augmentation.from_dict(values)
    except SettingsError as error:
        raise SettingsError(f"In {os.fspath(path)!r}, {error}") from error


def table(path: str | os.PathLike[str], what: str, *, like: str) -> dict[str, Any]:
    """The values in a small TOML file that a person wrote.

    `what` names it, and `like` is one of its lines. Raises InputError: no such file, or it is no TOML.
    """
    name = repr(os.fspath(path))  # one line, whatever the name
    try:
        if not os.path.isfile(path):  # a pipe would be waited for
            reason = "it is no regular file" if os.path.exists(path) else "there is none"
            raise InputError(f"The {what} {name} must be a file; {reason}. Give one that exists.")
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError(f"The {what} {name} cannot be read: {reason}. Check its permissions.") from error
    try:
        if len(content) > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES:,} bytes")
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # the decoder's own errors are such; lists in one another recur
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"The {what} {name} must be TOML, lines like `{like}`; it is not: {reason}.") from error
