"""Splits of any entries: of several classes, with copies and groups across classes, with some or all splits given.

The rules of `splits.assign` are written out again here in a plain way, and held against it.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from conftest import examples
from tellapart.catalog import Entry
from tellapart.splits import Splits, assign, groups

SIDES = ("train", "validation", "test")
RANK = {"test": 2, "validation": 1, "train": 0}  # the split that keeps a content that was given to several
FRACTIONS = st.sampled_from([0.0, 0.05, 0.1, 0.2, 1 / 3, 0.45])
GIVEN = [{"train"}, {"test"}, {"train", "test"}, {"train", "validation"}, {"validation", "test"}, set(SIDES)]


@st.composite
def tangled(draw: st.DrawFn, splits: Sequence[str | None] = (None,)) -> list[Entry]:
    """Entries that share contents and groups within classes and across them."""
    n = draw(st.integers(0, 40))
    n_contents, n_groups = draw(st.integers(1, 40)), draw(st.integers(1, 12))
    rng = random.Random(draw(st.integers(0, 2**32)))
    return [
        Entry(
            f"p/{i}",
            rng.choice("abc"),
            rng.choice(splits),
            f"{rng.randrange(n_contents):064x}",
            rng.choice([None, None, f"patient {rng.randrange(n_groups)}"]),
        )
        for i in range(n)
    ]


@st.composite
def tidy(draw: st.DrawFn) -> list[Entry]:
    """Entries of one to three classes; every content stands in one class, in one to three copies, without a group."""
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
    rng = random.Random(draw(st.integers(0, 2**32)))
    contents = iter(rng.sample(range(2**40), sum(sizes)))
    return [
        Entry(f"{label}/{i}/{copy}", f"class {label}", None, f"{content:064x}")
        for label, size in enumerate(sizes)
        for i, content in zip(range(size), contents, strict=False)
        for copy in range(rng.choice([1, 1, 1, 2, 3]))
    ]


def sides(entries: Sequence[Entry], splits: Splits) -> dict[int, str]:
    """Index to side; each entry stands in one place."""
    placed = [(i, side) for side in SIDES for i in getattr(splits, side)]
    placed += [(i, "dropped") for i, _ in splits.dropped]
    assert sorted(i for i, _ in placed) == list(range(len(entries)))
    assert all(list(getattr(splits, side)) == sorted(getattr(splits, side)) for side in SIDES)
    return dict(placed)


def joined(entries: Sequence[Entry]) -> list[set[int]]:
    """Which entries belong together: those of one content or one group, and those that such ones lead to."""
    parts: list[set[int]] = []
    for i, entry in enumerate(entries):
        mine = {i}
        for part in list(parts):
            others = [entries[j] for j in part]
            if any(e.content == entry.content or (e.group is not None and e.group == entry.group) for e in others):
                mine |= part
                parts.remove(part)
        parts.append(mine)
    return parts


@examples(60)
@given(tangled())
def test_a_group_is_all_that_copies_and_names_join(entries: list[Entry]) -> None:
    keys = groups(entries)
    for part in joined(entries):
        assert {keys[i] for i in part} == {min(entries[i].content for i in part)}
    assert len(set(keys)) == len(joined(entries))


@examples(80)
@given(tangled(), st.integers(), FRACTIONS, FRACTIONS)
def test_no_group_stands_on_two_sides(entries: list[Entry], seed: int, validation: float, test: float) -> None:
    splits = assign(entries, seed=seed, validation_fraction=validation, test_fraction=test)
    where = sides(entries, splits)
    assert not splits.dropped
    for part in joined(entries):
        assert len({where[i] for i in part}) == 1
    if not test:
        assert not splits.test
    if not validation:
        assert not splits.validation
    assert splits.train or not entries


@examples(60)
@given(tidy(), st.integers(), FRACTIONS, FRACTIONS)
def test_each_class_is_split_in_the_numbers_asked_for(
    entries: list[Entry], seed: int, validation: float, test: float
) -> None:
    where = sides(entries, assign(entries, seed=seed, validation_fraction=validation, test_fraction=test))
    for label in {entry.label for entry in entries}:
        side_of = {e.content: where[i] for i, e in enumerate(entries) if e.label == label}
        n, found = len(side_of), Counter(side_of.values())
        wanted_test = max(1, math.floor(n * test + 0.5)) if test and n >= 2 else 0
        wanted_validation = max(1, math.floor(n * validation + 0.5)) if validation and n >= 3 else 0
        assert found["train"] >= 1
        if wanted_test + wanted_validation < n:
            assert (found["test"], found["validation"]) == (wanted_test, wanted_validation)
        else:  # one was left to train on
            assert found["train"] == 1


@examples(60)
@given(tidy(), st.integers(0, 99), FRACTIONS, FRACTIONS, st.sampled_from([1, 1, 2, 5, 30]), st.integers(0, 2**32))
def test_when_pictures_are_added_others_stay_but_for_those_that_make_room(
    old: list[Entry], seed: int, validation: float, test: float, n_added: int, start: int
) -> None:
    """A picture leaves the test, or validation, only for an added one that takes its place; never for the other one."""
    rng = random.Random(start)
    labels = sorted({entry.label for entry in old})
    added = [Entry(f"new/{i}", rng.choice(labels), None, f"{rng.getrandbits(200):064x}") for i in range(n_added)]
    fractions = {"validation_fraction": validation, "test_fraction": test}
    before = sides(old, assign(old, seed=seed, **fractions))
    both = [*old, *added]
    after = sides(both, assign(both, seed=seed, **fractions))
    for label in labels:
        mine = {entry.content: i for i, entry in enumerate(old) if entry.label == label}.values()
        came = Counter(after[len(old) + i] for i, entry in enumerate(added) if entry.label == label)
        moves = Counter((before[i], after[i]) for i in mine if before[i] != after[i])
        if len(mine) < 3:  # of one or two pictures not every side has any
            continue
        for side in ("test", "validation"):
            left = sum(n for (old_side, _), n in moves.items() if old_side == side)
            joined_it = sum(n for (_, new_side), n in moves.items() if new_side == side)
            assert left <= came[side]
            assert left + joined_it <= came.total()
        if came.total() <= 1:  # of very many, one may come all the way through the training pictures
            assert moves["test", "validation"] == moves["validation", "test"] == 0


@examples(60)
@given(st.sampled_from(GIVEN).flatmap(lambda splits: tangled(sorted(splits))), st.integers(0, 99), FRACTIONS, FRACTIONS)
def test_splits_that_are_given_are_kept(entries: list[Entry], seed: int, validation: float, test: float) -> None:
    splits = assign(entries, seed=seed, validation_fraction=validation, test_fraction=test)
    where = sides(entries, splits)
    best: dict[str, str] = {}
    for entry in entries:
        assert entry.split is not None
        best[entry.content] = max(best.get(entry.content, "train"), entry.split, key=RANK.__getitem__)
    assert [i for i, _ in splits.dropped] == [i for i, e in enumerate(entries) if e.split != best[e.content]]
    for i, reason in splits.dropped:
        side = best[entries[i].content]
        first = min(e.path for e in entries if (e.content, e.split) == (entries[i].content, side))
        assert reason == f"the same picture is in the {side} split: {first}"
    there = {entry.split for entry in entries}
    carved = {
        frozenset({"train"}): {"validation", "test"},
        frozenset({"train", "test"}): {"validation"},
        frozenset({"train", "validation"}): {"test"},
    }.get(frozenset(there), set())
    kept = [i for i, entry in enumerate(entries) if entry.split == best[entry.content]]
    for i in kept:
        split = entries[i].split
        assert where[i] == split or (split == "train" and where[i] in carved)
    # What is carved from train is what carving train alone gives.
    train = [entries[i] for i in kept if entries[i].split == "train"]
    alone = sides(
        train,
        assign(
            train,
            seed=seed,
            validation_fraction=validation if "validation" in carved else 0.0,
            test_fraction=test if "test" in carved else 0.0,
        ),
    )
    assert [where[i] for i in kept if entries[i].split == "train"] == [alone[j] for j in range(len(train))]


@examples(40)
@given(tangled(), st.integers(0, 9), st.integers(0, 2**32))
def test_neither_order_nor_paths_nor_names_of_groups_play_a_part(entries: list[Entry], seed: int, start: int) -> None:
    rng = random.Random(start)
    shuffled = rng.sample(range(len(entries)), len(entries))
    others = [
        Entry(f"q/{rng.random()}", e.label, None, e.content, None if e.group is None else e.group[::-1])
        for e in (entries[i] for i in shuffled)
    ]
    where, there = sides(entries, assign(entries, seed=seed)), sides(others, assign(others, seed=seed))
    assert [where[i] for i in shuffled] == [there[j] for j in range(len(others))]


@examples(40)
@given(st.lists(st.integers(1, 12), min_size=3, max_size=30), st.integers(0, 99), st.sampled_from([0.1, 0.2, 0.3]))
def test_groups_of_several_pictures_come_as_near_as_they_can(sizes: list[int], seed: int, fraction: float) -> None:
    """The last group taken overshoots by less than it brought; what was passed over would have overshot by more."""
    entries = [
        Entry(f"{g}/{i}", "cats", None, f"{1000 * g + i:064x}", str(g))
        for g, size in enumerate(sizes)
        for i in range(size)
    ]
    splits = assign(entries, seed=seed, validation_fraction=0.0, test_fraction=fraction)
    took: dict[str | None, int] = defaultdict(int)
    for i in splits.test:
        took[entries[i].group] += 1
    wanted = max(1, math.floor(fraction * len(entries) + 0.5))
    passed_over = [size for g, size in enumerate(sizes) if str(g) not in took]
    assert took
    assert passed_over
    if list(took.values()) != [min(sizes)]:
        over = len(splits.test) - wanted
        assert over < max(took.values())
        if over < 0 and len(took) < len(sizes) - 1:
            assert all(size >= 2 * -over for size in passed_over)
