"""Which pictures are for training, for validation and for the test: seeded, stratified, grouped.

A group is all pictures with the same bytes, and all entries that name the same group (`Entry.group`: copies that were
found, or the user's own, such as the pictures of one patient); it never stands on two sides. Within a class the groups
are put in an order that comes from a keyed hash (BLAKE2b, RFC 7693) of their content, or of the first of their
contents, and from nothing else. The test takes from the front of it, validation from the back, training the rest; so a
picture that is added moves at most one other over each of the two boundaries, none from test to validation or back, and
one leaves the test only for an added one that takes its place; names, folders and the order of discovery play no part.
Where groups hold several pictures, whole groups move, and more of them, so that the numbers are met.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tellapart.catalog import Entry
from tellapart.errors import InputError, SettingsError
from tellapart.files import SPLITS, shown


@dataclass(frozen=True, slots=True)
class Splits:
    """Indices into the entries, each in one place only; each tuple ascending."""

    train: tuple[int, ...]
    validation: tuple[int, ...]  # empty where no class has three groups, or its fraction is 0
    test: tuple[int, ...]
    dropped: tuple[tuple[int, str], ...]  # index and reason: given to two splits


def assign(
    entries: Sequence[Entry], *, seed: int, validation_fraction: float = 0.1, test_fraction: float = 0.1
) -> Splits:
    """Give every entry its split.

    Of the n different pictures of a class the test and validation get ``round(fraction * n)`` each, and from
    three groups on at least one each, as training does; of two groups one is for training and one
    for the test; a single one is for training. A fraction of 0 gives that split nothing. Where groups hold several
    pictures, those are taken that come nearest to these numbers; where a group holds several classes, the class of the
    fewest groups chooses first, and what it took counts for the others (Sechidis et al., ECML 2011).

    Entries that all have a split keep it, with these rules:

    - A content given to two splits stays in test, or else in validation; the others are dropped. Other groups that
      were given to two splits stay where they are: `check` names them.
    - train and test: validation is taken from train (`validation_fraction` of train).
    - train and validation: the test is taken from train (`test_fraction` of train).
    - train alone: as if none had a split. Without train: all as given.

    Args:
        entries: in any order; it does not matter to what goes where.
        seed: any int; another one gives another order within each class.
        validation_fraction: 0 to below 1.
        test_fraction: 0 to below 1, the sum of both below 1.

    Raises SettingsError for fractions out of range, InputError where only some entries have a split.
    """
    for name, fraction in (("validation_fraction", validation_fraction), ("test_fraction", test_fraction)):
        if not 0 <= fraction < 1:  # false for NaN as well
            raise SettingsError(f"{name} must be from 0 to below 1; got {fraction}. Try 0.1.")
    if validation_fraction + test_fraction >= 1:
        raise SettingsError(
            "validation_fraction and test_fraction must add up to less than 1, so that something is left to "
            f"train on; got {validation_fraction} and {test_fraction}. Try 0.1 each."
        )
    given = {entry.split for entry in entries}
    if None in given and len(given) > 1:
        bare = min(shown(entry.path) for entry in entries if entry.split is None)
        raise InputError(f"Either every picture has a split or none has; {bare} has none. Give it one.")
    kept, dropped = _one_split_each(entries)
    sides: dict[str, list[int]] = {split: [] for split in SPLITS}
    for index in kept:
        sides[entries[index].split or "train"].append(index)
    if given <= {None, "train"} or given == {"train", "test"} or given == {"train", "validation"}:
        carved = _carve(
            [(index, entries[index]) for index in sides["train"]],
            seed,
            validation_fraction if "validation" not in given else 0.0,
            test_fraction if "test" not in given else 0.0,
        )
        sides["train"] = []
        for split, indices in carved.items():
            sides[split].extend(indices)
    train, validation, test = (tuple(sorted(sides[split])) for split in SPLITS)
    return Splits(train, validation, test, tuple(sorted(dropped)))


def _one_split_each(entries: Sequence[Entry]) -> tuple[list[int], list[tuple[int, str]]]:
    """Return the indices that stay, and those whose content is also in a split that goes before theirs."""
    rank = {"test": 2, "validation": 1, "train": 0, None: 0}
    best: dict[str, Entry] = {}  # content -> the entry, first by path, of the split that keeps it
    for entry in entries:
        known = best.setdefault(entry.content, entry)
        if (-rank[entry.split], entry.path) < (-rank[known.split], known.path):
            best[entry.content] = entry
    kept, dropped = [], []
    for index, entry in enumerate(entries):
        first = best[entry.content]
        if entry.split == first.split:
            kept.append(index)
        else:
            reason = f"the same picture is in the {first.split} split: {shown(first.path)}"
            dropped.append((index, reason))
    return kept, dropped


def _carve(
    entries: Sequence[tuple[int, Entry]], seed: int, validation_fraction: float, test_fraction: float
) -> dict[str, list[int]]:
    keys = groups([entry for _, entry in entries])
    members: dict[str, list[int]] = defaultdict(list)
    weights: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))  # class -> group -> contents
    for (index, entry), key in zip(entries, keys, strict=True):
        members[key].append(index)
        weights[entry.label][key].add(entry.content)
    places = {key: hashlib.blake2b(key.encode(), key=_key(seed), digest_size=16).digest() for key in members}
    side_of: dict[str, str] = {}
    for label in sorted(weights, key=lambda label: (len(weights[label]), label)):
        mine = {key: len(contents) for key, contents in weights[label].items()}
        order = sorted(mine, key=lambda key: (places[key], key))
        n_groups, n_pictures = len(order), sum(mine.values())
        n_test, n_validation = _counts(n_groups, n_pictures, validation_fraction, test_fraction)
        for side, wanted, free in (("test", n_test, order), ("validation", n_validation, order[::-1])):
            there = sum(mine[key] for key in order if side_of.get(key) == side)
            free = [key for key in free if key not in side_of]
            n_kept = 0 if any(side_of.get(key) == "train" for key in order) else 1
            for key in _taken(free, mine, wanted - there, most=len(free) - n_kept, needed=not there):
                side_of[key] = side
        for key in order:
            side_of.setdefault(key, "train")
    sides: dict[str, list[int]] = {split: [] for split in SPLITS}
    for key, indices in members.items():
        sides[side_of[key]].extend(indices)
    return sides


def _taken(order: Sequence[str], sizes: dict[str, int], wanted: int, *, most: int, needed: bool) -> list[str]:
    """The first groups of an order, `most` at the most, whose sizes add up to about `wanted`.

    A group that would overshoot by more than it brings nearer is passed over; where none fits, `needed` takes the
    smallest.
    """
    taken, left = [], wanted
    for key in order:
        if left <= 0 or len(taken) >= most:
            break
        if sizes[key] < 2 * left:
            taken.append(key)
            left -= sizes[key]
    if not taken and needed and wanted > 0 and most > 0:
        taken = [min(order, key=lambda key: sizes[key])]
    return taken


def groups(entries: Sequence[Entry]) -> list[str]:
    """The group of each entry, named by the first of its contents: joined by the same bytes and by `Entry.group`."""
    roots: dict[str, str] = {}

    def root(thing: str) -> str:
        while roots.setdefault(thing, thing) != thing:
            roots[thing] = roots[roots[thing]]  # the way is halved each time
            thing = roots[thing]
        return thing

    for entry in entries:
        if entry.group is not None:
            a, b = root("c" + entry.content), root("g" + entry.group)
            # A content goes before a group's name, and the first content before the others.
            roots[max(a, b)] = min(a, b)
    return [root("c" + entry.content)[1:] for entry in entries]


def _key(seed: int) -> bytes:
    return hashlib.blake2b(str(int(seed)).encode()).digest()  # 64 bytes, the longest key


def _counts(n_groups: int, n_pictures: int, validation_fraction: float, test_fraction: float) -> tuple[int, int]:
    """Return how many of n pictures are for the test and for validation; at least one is left to train on."""
    n_test = _share(n_pictures, test_fraction) if n_groups >= 2 else 0
    n_validation = _share(n_pictures, validation_fraction) if n_groups >= 3 else 0
    while n_test + n_validation >= n_pictures > 0:  # once or twice at most: the fractions add up to less than 1
        if n_test >= n_validation:
            n_test -= 1
        else:
            n_validation -= 1
    return n_test, n_validation


def _share(n: int, fraction: float) -> int:
    return max(1, math.floor(n * fraction + 0.5)) if fraction > 0 else 0
