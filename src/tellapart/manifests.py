"""What a bundle's manifest must hold, checked before anybody relies on it.

Every number is in a range that what reads it can compute with, every text is short enough to be shown, and the lists
are as long as each other. Class names may be any text that a folder can be called by, so that nothing is refused that
was trained: who shows them escapes them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from tellapart import guards, preprocess
from tellapart.errors import BundleError, SettingsError

MAX_CLASSES = 100_000
MOST_OF_NAME = 1020  # characters of a class name: 255 bytes of a folder's, each escaped where they are no text
MOST_OF_TEXT = 2000  # characters of any other text
MOST_PARTS = 1000  # entries of an object of which each is shown
COUNT, NUMBER = (0, 2**53), (-1e300, 1e300)


def wrong(manifest: Mapping[str, Any]) -> str | None:
    """The first thing that is not as the format says, in words; None where all is."""
    return next((said for look in LOOKS if (said := look(manifest)) is not None), None)


def mismatched(manifest: Mapping[str, Any], n_train: int, n_embeddings: int) -> str | None:
    """What does not fit the bundle's lists, in words; None where all fits.

    Args:
        manifest: one that `wrong` found nothing in.
        n_train: how many training pictures the splits name.
        n_embeddings: of how many there are embeddings.
    """
    if n_embeddings not in (0, n_train):
        return f"there are embeddings of {n_embeddings:,} pictures, and {n_train:,} training pictures"
    labels = manifest["training"].get("labels")
    if labels is not None and len(labels) not in (0, n_train):
        return f"there are {len(labels):,} labels, and {n_train:,} training pictures"
    return None


def number(value: Any, low: float, high: float) -> bool:
    """Whether a value is a number (true and false are none) from `low` to `high`."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def one_line(value: object) -> str:
    """Anything in one printable line, cut short."""
    text = " ".join(str(value).split())[:200]
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _classes(manifest: Mapping[str, Any]) -> str | None:
    classes = manifest.get("classes")
    if not isinstance(classes, list) or not 2 <= len(classes) <= MAX_CLASSES:
        return f"`classes` must be a list of 2 names or more, up to {MAX_CLASSES:,}"
    if not all(isinstance(name, str) for name in classes):
        return "`classes` must be names, each a text"
    if not all(name and len(name) <= MOST_OF_NAME and "\0" not in name for name in classes):  # blanks are a name, too
        return f"`classes` must be names of 1 to {MOST_OF_NAME:,} characters"
    if len({unicodedata.normalize("NFC", name) for name in classes}) != len(classes):
        return "`classes` must be names, each once, in whatever form Unicode writes them"
    return None


def _parts(manifest: Mapping[str, Any]) -> str | None:
    for field in ("preprocess", "metrics", "training", "provenance", "members", "abstention"):
        if not isinstance(manifest.get(field), dict):
            return f"`{field}` must be there"
    return None


def _preprocess(manifest: Mapping[str, Any]) -> str | None:
    try:
        preprocess.Preprocess.from_dict(manifest["preprocess"])
    except (SettingsError, TypeError) as error:
        return f"`preprocess`: {one_line(error)}"
    return None


def _temperature(manifest: Mapping[str, Any]) -> str | None:
    if not number(manifest.get("temperature"), 1e-3, 1e3):
        return "`temperature` must be a number from 0.001 to 1000"
    return None


def _abstention(manifest: Mapping[str, Any]) -> str | None:
    values = manifest["abstention"]
    if not all(value is None or number(value, *NUMBER) for value in values.values()):
        return "`abstention` must have numbers"
    try:
        guards.from_dict(values)
    except BundleError as error:
        return f"`abstention`: {one_line(error)}"
    return None


def _training(manifest: Mapping[str, Any]) -> str | None:
    training = manifest["training"]
    for name, kind in (("epochs", int), ("pictures", dict)):
        if not isinstance(training.get(name), kind):
            return f"`training` must have `{name}`"
    pictures = training["pictures"]
    if len(pictures) > MOST_PARTS or not all(number(n, *COUNT) for n in (training["epochs"], *pictures.values())):
        return "`training` must have counts"
    best = training.get("best_epoch")
    if best is not None and not (isinstance(best, int) and number(best, *COUNT)):
        return "`training` must have a whole number as `best_epoch`"
    labels = training.get("labels")
    if labels is not None:
        if not isinstance(labels, list) or not set(map(type, labels)) <= {int}:
            return "`training` must have whole numbers as `labels`"
        if labels and not 0 <= min(labels) <= max(labels) < len(manifest["classes"]):
            return "`training` must have `labels` that are numbers of its classes"
    return None


def _metrics(manifest: Mapping[str, Any]) -> str | None:
    if len(manifest["metrics"]) > MOST_PARTS:
        return "`metrics` must have a few parts"
    for side, numbers in manifest["metrics"].items():
        if not isinstance(numbers, dict) or not isinstance(numbers.get("accuracy_interval"), list):
            return f"`metrics` must have `accuracy_interval` for {one_line(side)!s:.40}"
        shares = [numbers.get("accuracy"), *numbers["accuracy_interval"]]
        if len(shares) != 3 or not all(number(share, 0, 1) for share in shares):
            return f"`metrics` must be shares from 0 to 1 for {one_line(side)!s:.40}"
        if numbers.get("n") is not None and not number(numbers["n"], *COUNT):
            return f"`metrics` must have a count as `n` for {one_line(side)!s:.40}"
    return None


def _provenance(manifest: Mapping[str, Any]) -> str | None:
    made = manifest["provenance"]
    for name, kind in (
        ("recipe", dict), ("seed", int), ("created", str), ("machine", str), ("versions", dict),
        ("catalog_fingerprint", str),
    ):  # fmt: skip
        if not isinstance(made.get(name), kind) or isinstance(made[name], bool):
            return f"`provenance` must have `{name}`"
    if not isinstance(made["recipe"].get("name"), str):
        return "`provenance` must have the recipe's `name`"
    texts = [made["created"], made["machine"], made["catalog_fingerprint"], made["recipe"]["name"]]
    versions = made["versions"]
    if len(versions) > MOST_PARTS or not all(isinstance(version, str) for version in versions.values()):
        return "`provenance` must have texts as `versions`"
    if max(map(len, (*texts, *versions, *versions.values()))) > MOST_OF_TEXT:
        return f"`provenance` must have texts of at most {MOST_OF_TEXT:,} characters"
    return None


LOOKS: tuple[Callable[[Mapping[str, Any]], str | None], ...] = (
    _classes, _parts, _training, _metrics, _provenance, _temperature, _preprocess, _abstention,
)  # fmt: skip
