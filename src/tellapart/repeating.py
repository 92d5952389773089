"""A training like another one: what is taken from the other's bundle, and what differs in the end, in words.

A result depends on the pictures, the settings, the seed, the versions, the machine with its threads, and on what was
chosen by measuring; a bundle says all of it. Where these are the same, so is the new bundle, byte for byte but for the
time at which it was made. Where they are not, the first question is which of them it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tellapart import bundle as bundles
from tellapart import choices
from tellapart.bundle import Bundle
from tellapart.errors import SettingsError
from tellapart.files import shown

READING = ("labels", "path_column", "label_column", "split_column", "group", "keep_conflicts")
FINE_TUNING = "fine-tuning of "  # how the choice of its plan begins, see `finetune.about`
TOLD = ("accuracy", "log_loss", "n")  # of each side's metrics
DEPENDS = ("machine", "cpu", "threads", "backend")  # entries of the provenance that are about the machine
MOST_TEXT = 80  # of a value, in words


@dataclass(frozen=True, slots=True)
class Wish:
    """What is taken from the bundle of the training that is to be repeated."""

    model: str  # its path, as given
    bundle: Bundle
    recipe: Mapping[str, Any]
    seed: int
    asked: Mapping[str, Any]  # what else its user asked for: how the pictures are read, folds, targets
    choices: Mapping[str, str]  # what it chose by measuring

    def given(self, *, timed: bool) -> dict[str, str]:
        """The choices to be kept to; without those that hang on time, where there is another budget (`timed`)."""
        hang = (choices.IN_TIME, FINE_TUNING)
        return {about: found for about, found in self.choices.items() if not timed or not about.startswith(hang)}

    @property
    def was_timed(self) -> bool:
        """Whether a budget decided how much was done."""
        return any(about.startswith(choices.IN_TIME) for about in self.choices)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was."""

    what: str  # "pictures", "classes", "settings", "choices", "versions", "machine", "metrics" or "contents"
    name: str
    before: Any  # plain values for JSON; None: it was not there
    after: Any

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"what": self.what, "name": self.name, "before": self.before, "after": self.after}

    def __str__(self) -> str:
        """In a line."""
        return f"{self.name}: {_short(self.before)} before, {_short(self.after)} now"


@dataclass(frozen=True, slots=True)
class Repeated:
    """How a new training compares with the one that it was to be like."""

    model: str
    equal: bool  # all but the time at which it was made
    differences: tuple[Difference, ...]
    doubts: tuple[str, ...]  # why no exact repeat was to be expected, each a part of a sentence

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: `like` of `train --json`."""
        return {
            "model": self.model,
            "equal": self.equal,
            "differences": [each.as_dict() for each in self.differences],
            "not_exact_because": list(self.doubts),
        }


def from_dict(told: Mapping[str, Any]) -> Repeated:
    """The inverse of `Repeated.as_dict`."""
    differences = tuple(Difference(**each) for each in told["differences"])
    return Repeated(told["model"], told["equal"], differences, tuple(told["not_exact_because"]))


def read(path: str | os.PathLike[str]) -> Wish:
    """What a bundle says of how to make it again; what an older one does not say is left out.

    Raises:
        BundleError: `path` is no bundle, or damaged.
    """
    found = bundles.read(path)
    source = found.manifest["provenance"]
    asked, made = source.get("asked"), source.get("choices")
    return Wish(
        model=str(path),
        bundle=found,
        recipe=source["recipe"],
        seed=_seed(source["seed"], path),
        asked=asked if isinstance(asked, dict) else {},
        choices={k: v for k, v in made.items() if isinstance(v, str)} if isinstance(made, dict) else {},
    )


def follows(wish: Wish, recipe: str, *, own: bool) -> bool:
    """Whether its recipe is taken: where the user named no other one, and gave no network in its place (`own`)."""
    name = wish.recipe.get("name")
    return recipe in ("auto", name) and (not own or name == "own")


def reading(wish: Wish, given: Mapping[str, Any]) -> dict[str, Any]:
    """How the pictures are read: as before, but for what is `given`, the options of `Reading`.

    Raises:
        SettingsError: there was a table of labels, and none is given.
    """
    if wish.asked.get("labels") and given.get("labels") is None:
        raise SettingsError(
            f"--like {shown(wish.model)} needs the table of labels that it was trained with, of which a bundle keeps "
            f"no path; got none. Add --labels and its path."
        )
    before = {name: wish.asked[name] for name in READING if name != "labels" and _is_reading(wish.asked.get(name))}
    return {**before, **{name: value for name, value in given.items() if value not in (None, False)}}


def asked(reading: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    """What a bundle keeps of what its user asked for, besides recipe and seed: no paths, nothing that is as usual."""
    plain = {name: value for name in READING if (value := reading.get(name)) not in (None, False)}
    if "labels" in plain:
        plain["labels"] = True
    return plain | {name: value for name, value in others.items() if value is not None}


def number(wish: Wish, name: str, kind: type) -> Any:
    """A number that was asked for, or None: `k_fold`, `sure` or `answer`."""
    value = wish.asked.get(name)
    fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
    return value if fits and not isinstance(value, bool) else None


def compared(wish: Wish, new: Bundle) -> Repeated:
    """What differs between the bundle that was to be repeated and the new one."""
    old, now = wish.bundle.manifest, new.manifest
    before, after = old["provenance"], now["provenance"]
    found = [
        *_pictures(wish.bundle, new),
        *_differing("settings", _settings(before), _settings(after)),
        *_differing("choices", _dict(before.get("choices")), _dict(after.get("choices"))),
        *_differing("versions", before["versions"], after["versions"]),
        *_differing("machine", _machine(before), _machine(after)),
        *_differing("metrics", _metrics(old), _metrics(now)),
        *_differing("contents", _digests(old), _digests(now)),
    ]
    rest = [_without_time(manifest) for manifest in (old, now)]
    equal = rest[0] == rest[1]
    if not equal and not any(each.what == "contents" for each in found):
        found.append(Difference("contents", bundles.MANIFEST, None, None))
    return Repeated(wish.model, equal, tuple(found), tuple(_doubts(wish, found)))


def lines(told: Repeated) -> list[str]:
    """What a person is told."""
    name = shown(told.model)
    if told.equal:
        return [f"Like {name}: the same in every byte but the time at which it was made."]
    said = [f"Like {name}: not the same."]
    by_kind: dict[str, list[str]] = {}
    for each in told.differences:
        if each.what != "contents":
            by_kind.setdefault(each.what, []).append(str(each))
    said += [f"  {what}: {'; '.join(these[:8])}{_more(len(these) - 8)}" for what, these in by_kind.items()]
    parts = [each.name for each in told.differences if each.what == "contents"]
    said.append(f"  Parts of the file that differ: {', '.join(parts)}.")
    if told.doubts:
        said.append(f"No exact repeat was to be expected: {'; '.join(told.doubts)}.")
    else:
        said.append("Nothing that it depends on is known to differ, so this should not be; please report it.")
    return said


def doubts_before(wish: Wish) -> list[str]:
    """Why its bundle cannot be repeated exactly anywhere, each a part of a sentence."""
    training, found = wish.bundle.manifest["training"], []
    if not isinstance(wish.bundle.manifest["provenance"].get("choices"), dict):
        found.append("it is of a version that did not record what it chose by measuring")
    if training.get("interrupted"):
        found.append("its training was stopped by its user")
    tuned = training.get("fine_tuned")
    each, epochs, seen = (training.get(name) for name in ("pictures_per_epoch", "epochs", "pictures_seen"))
    counts = isinstance(each, int) and isinstance(epochs, int) and isinstance(seen, int)
    short = counts and not training.get("interrupted") and seen < each * epochs
    if short or (isinstance(tuned, dict) and tuned.get("stopped_by_clock")):
        found.append("its training was ended by the clock, in the middle of an epoch")
    return found


def _doubts(wish: Wish, found: Sequence[Difference]) -> list[str]:
    said, kinds = doubts_before(wish), {each.what for each in found}
    names = {what: [each.name for each in found if each.what == what] for what in kinds}
    words = {
        "pictures": "the pictures or their labels are not the same",
        "settings": "other settings were asked for",
        "choices": "measuring chose differently here",
        "versions": f"other versions of {', '.join(names.get('versions', ()))}",
        "machine": "another machine, or other threads",
    }
    return [*said, *(text for what, text in words.items() if what in kinds)]


def _pictures(old: Bundle, new: Bundle) -> list[Difference]:
    before, after = old.manifest["provenance"], new.manifest["provenance"]
    found = _differing("classes", {"classes": list(old.classes)}, {"classes": list(new.classes)})
    kinds = ("catalog_fingerprint",)
    found += _differing("pictures", {k: before.get(k) for k in kinds}, {k: after.get(k) for k in kinds})
    found += _differing("pictures", old.manifest["training"]["pictures"], new.manifest["training"]["pictures"])
    places = [{content: side for side, some in each.splits().items() for content in some} for each in (old, new)]
    counts: dict[str, tuple[int, int]] = {
        "not there before": (0, len(places[1].keys() - places[0].keys())),
        "not there any more": (len(places[0].keys() - places[1].keys()), 0),
        "on another side": (0, sum(side != places[1].get(one, side) for one, side in places[0].items())),
    }
    return found + [Difference("pictures", name, *pair) for name, pair in counts.items() if any(pair)]


def _settings(source: Mapping[str, Any]) -> dict[str, Any]:
    named = {"backbone file": _dict(source.get("backbone")).get("sha256")}
    return {"seed": source["seed"], **source["recipe"], **_dict(source.get("asked")), **named}


def _machine(source: Mapping[str, Any]) -> dict[str, Any]:
    return {name: source.get(name) for name in DEPENDS} | _dict(source.get("environment"))


def _metrics(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{side} {name.replace('_', ' ')}": numbers.get(name)
        for side, numbers in manifest["metrics"].items()
        for name in TOLD
    }


def _digests(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _dict(told).get("sha256") for name, told in manifest["members"].items()}


def _without_time(manifest: Mapping[str, Any]) -> dict[str, Any]:
    source = {name: value for name, value in manifest["provenance"].items() if name != "created"}
    return {**manifest, "provenance": source}


def _differing(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    names = dict.fromkeys((*before, *after))
    return [
        Difference(what, name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    ]


def _is_reading(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value != "")


def _seed(value: int, path: str | os.PathLike[str]) -> int:
    if not 0 <= value < 2**63:
        raise SettingsError(f"--like {shown(path)} must have a seed from 0 up; it has {value!s:.40}. Add --seed.")
    return value


def _dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _short(value: Any) -> str:
    if value is None:
        return "none"
    text = f"{value:.6g}" if isinstance(value, float) else shown(str(value))
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"


def _more(n: int) -> str:
    return f"; and {n:,} more" if n > 0 else ""
