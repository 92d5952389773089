"""Splits: disjoint, complete, grouped, stratified, stable, whatever the entries."""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.catalog import Entry
from tellapart.errors import InputError, SettingsError
from tellapart.splits import Splits, _counts, _taken, assign, groups

SIDES = ("train", "validation", "test")


def entry(content: int | str, label: str = "cats", split: str | None = None, path: str | None = None) -> Entry:
    name = path or f"{split or 'photos'}/{label}/{content}.png"
    return Entry(name, label, split, f"{content:064x}" if isinstance(content, int) else content)


def many(n: int, label: str = "cats", split: str | None = None, start: int = 0) -> list[Entry]:
    return [entry(start + i, label, split) for i in range(n)]


def sides(entries: Sequence[Entry], splits: Splits) -> dict[str, str]:
    """Path to side, each entry exactly once or dropped."""
    placed = [(entries[i].path, side) for side in SIDES for i in getattr(splits, side)]
    placed += [(entries[i].path, "dropped") for i, _ in splits.dropped]
    assert len(placed) == len(entries) == len(dict(placed))
    return dict(placed)


def sizes(splits: Splits) -> tuple[int, int, int]:
    return len(splits.train), len(splits.validation), len(splits.test)


@st.composite
def catalogs(draw: st.DrawFn) -> list[Entry]:
    """Entries of up to four classes, some with copies, in any order, none with a split."""
    entries = []
    for c in range(draw(st.integers(1, 4))):
        for g in range(draw(st.integers(1, 40))):
            for copy in range(draw(st.sampled_from([1, 1, 1, 2, 5]))):
                entries.append(entry(c * 1000 + g, f"class {c}", path=f"{c}/{g}/{copy}"))
    return draw(st.permutations(entries)) if len(entries) < 40 else entries


fractions = st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.33, 0.45])


@settings(max_examples=60)
@given(catalogs(), st.integers(), fractions, fractions)
def test_every_split_is_disjoint_complete_grouped_and_stratified(
    entries: list[Entry], seed: int, validation: float, test: float
) -> None:
    splits = assign(entries, seed=seed, validation_fraction=validation, test_fraction=test)
    sides(entries, splits)
    assert splits.dropped == ()
    assert all(list(getattr(splits, side)) == sorted(getattr(splits, side)) for side in SIDES)
    where: dict[str, set[str]] = defaultdict(set)
    for side in SIDES:
        for i in getattr(splits, side):
            where[entries[i].content].add(side)
    assert all(len(each) == 1 for each in where.values())
    for label in {e.label for e in entries}:
        count = Counter(side for content in {e.content for e in entries if e.label == label} for side in where[content])
        n = count.total()
        if n == 1:
            assert count == {"train": 1}
        elif n == 2:
            assert count == {"train": 1, "test": 1}
        else:
            assert min(count[side] for side in SIDES) >= 1
            assert abs(count["test"] - test * n) <= 1
            assert abs(count["validation"] - validation * n) <= 1


@settings(max_examples=40)
@given(catalogs(), st.integers(0, 9), st.randoms(use_true_random=False))
def test_the_order_of_entries_plays_no_part(entries: list[Entry], seed: int, rng: random.Random) -> None:
    other = list(entries)
    rng.shuffle(other)
    assert sides(entries, assign(entries, seed=seed)) == sides(other, assign(other, seed=seed))


@settings(max_examples=40)
@given(catalogs(), st.integers(0, 9))
def test_paths_and_class_names_play_no_part(entries: list[Entry], seed: int) -> None:
    renamed = [Entry(f"x{e.path[::-1]}", f"other {e.label}", None, e.content) for e in entries]
    assert assign(entries, seed=seed) == assign(renamed, seed=seed)


@settings(max_examples=80)
@given(st.integers(3, 120), st.integers(1, 40), st.integers(0, 99))
def test_added_pictures_move_few_others(n: int, k: int, seed: int) -> None:
    old, added = many(n), many(k, start=10_000)
    before = sides(old, assign(old, seed=seed))
    after = sides([*old, *added], assign([*old, *added], seed=seed))
    moves = Counter((before[path], after[path]) for path in before if before[path] != after[path])
    # One picture more shifts each boundary by one place at most.
    assert moves["test", "train"] + moves["train", "test"] <= k
    assert moves["validation", "train"] + moves["train", "validation"] <= k
    # Of very many, some may lead one all the way through the training pictures.
    if Counter(before.values())["test"] + Counter(after.values())["validation"] <= n:
        assert moves["test", "validation"] == 0
    if Counter(before.values())["validation"] + Counter(after.values())["test"] <= n:
        assert moves["validation", "test"] == 0


def test_added_pictures_move_about_the_fraction_of_their_number() -> None:
    n, k, fraction, moved = 300, 50, 0.1, []
    for seed in range(60):
        old, added = many(n), many(k, start=10_000)
        before = sides(old, assign(old, seed=seed))
        after = sides([*old, *added], assign([*old, *added], seed=seed))
        moved.append(sum(before[path] != after[path] for path in before) / 2)  # two boundaries
    assert sum(moved) / len(moved) <= k * fraction + 1


def test_other_classes_do_not_matter() -> None:
    cats = many(50)
    together = cats + many(70, "dogs", start=5000)
    alone = sides(cats, assign(cats, seed=3))
    assert {path: sides(together, assign(together, seed=3))[path] for path in alone} == alone


def test_the_seed_decides() -> None:
    entries = many(200)
    assert assign(entries, seed=1) == assign(entries, seed=1)
    assert len({assign(entries, seed=seed).test for seed in (0, 1, 2, -1, 2**200)}) == 5
    # Pinned: the same on every machine, version and run.
    assert assign(many(12), seed=0, validation_fraction=0.25, test_fraction=0.25) == Splits(
        (1, 4, 5, 8, 10, 11), (2, 7, 9), (0, 3, 6), ()
    )
    # The same by the letter: the front of the order for the test, its back for validation.
    key = hashlib.blake2b(b"0").digest()
    order = sorted(range(12), key=lambda i: hashlib.blake2b(f"{i:064x}".encode(), key=key, digest_size=16).digest())
    assert (set(order[:3]), set(order[-3:])) == ({0, 3, 6}, {2, 7, 9})


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (0, (0, 0, 0)),
        (1, (1, 0, 0)),
        (2, (1, 0, 1)),
        (3, (1, 1, 1)),
        (14, (12, 1, 1)),
        (15, (11, 2, 2)),
        (100, (80, 10, 10)),
    ],
)
def test_sizes_by_hand(n: int, expected: tuple[int, int, int]) -> None:
    assert sizes(assign(many(n), seed=0)) == expected


@pytest.mark.parametrize(
    ("n", "validation", "test", "expected"),
    [
        (10, 0.0, 0.0, (10, 0, 0)),
        (10, 0.0, 0.2, (8, 0, 2)),
        (2, 0.2, 0.0, (2, 0, 0)),
        (2, 0.0, 0.99, (1, 0, 1)),
        (3, 0.49, 0.49, (1, 1, 1)),
        (4, 0.45, 0.45, (1, 2, 1)),
        (3, 0.01, 0.98, (1, 1, 1)),
    ],
)
def test_unusual_fractions(n: int, validation: float, test: float, expected: tuple[int, int, int]) -> None:
    assert sizes(assign(many(n), seed=0, validation_fraction=validation, test_fraction=test)) == expected


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0.1), (0.1, 1.0), (float("nan"), 0.1), (0.5, 0.5)])
def test_fractions_out_of_range(validation: float, test: float) -> None:
    with pytest.raises(SettingsError, match=r"Try 0\.1"):
        assign(many(5), seed=0, validation_fraction=validation, test_fraction=test)


def test_what_is_wrong_with_fractions_is_said_in_full() -> None:
    for wrong, says in (
        ({"validation_fraction": 1.5}, "validation_fraction must be from 0 to below 1; got 1.5. Try 0.1."),
        ({"test_fraction": -1}, "test_fraction must be from 0 to below 1; got -1. Try 0.1."),
        ({"test_fraction": 1}, "test_fraction must be from 0 to below 1; got 1. Try 0.1."),
        (
            {"validation_fraction": 0.75, "test_fraction": 0.25},
            "validation_fraction and test_fraction must add up to less than 1, so that something is left to train on; "
            "got 0.75 and 0.25. Try 0.1 each.",
        ),
    ):
        with pytest.raises(SettingsError) as error:
            assign(many(5), seed=0, **wrong)
        assert str(error.value) == says


def test_the_usual_fractions_are_a_tenth_each() -> None:
    assert assign(many(50), seed=0) == assign(many(50), seed=0, validation_fraction=0.1, test_fraction=0.1)


@pytest.mark.parametrize(
    ("sizes", "wanted", "most", "needed", "expected"),
    [
        ((1, 1, 1, 1), 2, 4, True, [0, 1]),  # from the front, and no more than wanted
        ((1, 1, 1), 5, 1, True, [0]),  # no more than may be taken
        ((2, 1), 1, 2, True, [1]),  # twice what is left would miss by as much as taking none
        ((3, 1), 2, 2, True, [0]),  # one over is nearer than two under
        ((5, 2), 2, 2, True, [1]),
        ((3, 1, 1), 3, 3, True, [0]),
        ((1, 4, 1, 1), 3, 4, True, [0, 2, 3]),  # 4 is twice the 2 that are left
        ((3, 2, 2), 1, 3, True, [1]),  # none fits: the smallest, the first of those
        ((3, 2), 1, 2, False, []),
        ((3, 2), 0, 2, True, []),
        ((1, 1), 1, 0, True, []),
        ((9, 8), 2, 1, True, [1]),
    ],
)
def test_the_first_groups_that_fit(
    sizes: tuple[int, ...], wanted: int, most: int, needed: bool, expected: list[int]
) -> None:
    order = [f"group {i}" for i in range(len(sizes))]
    found = _taken(order, dict(zip(order, sizes, strict=True)), wanted, most=most, needed=needed)
    assert found == [f"group {i}" for i in expected]


@pytest.mark.parametrize(
    ("n_groups", "n_pictures", "validation", "test", "expected"),
    [
        (0, 0, 0.1, 0.1, (0, 0)),
        (1, 9, 0.3, 0.3, (0, 0)),
        (2, 20, 0.3, 0.25, (5, 0)),
        (3, 20, 0.3, 0.25, (5, 6)),
        (3, 10, 0.25, 0.24, (2, 3)),  # halves go up
        (3, 3, 0.01, 0.01, (1, 1)),
        (3, 4, 0.45, 0.45, (1, 2)),  # of equals the test gives one back
        (3, 3, 0.9, 0.05, (1, 1)),
        (3, 10, 0.94, 0.05, (1, 8)),
        (3, 2, 0.1, 0.1, (0, 1)),
        (3, 30, 0.0, 0.1, (3, 0)),
        (3, 30, 0.1, 0.0, (0, 3)),
        (3, 10, 0.05, 0.94, (8, 1)),
    ],
)
def test_how_many_are_wanted(
    n_groups: int, n_pictures: int, validation: float, test: float, expected: tuple[int, int]
) -> None:
    assert _counts(n_groups, n_pictures, validation, test) == expected


def test_where_no_group_fits_the_smallest_is_taken() -> None:
    entries = [Entry(f"{g}/{i}", "cats", None, f"{10 * g + i:064x}", str(g)) for g in range(3) for i in range(4)]
    assert sizes(assign(entries, seed=0)) == (4, 4, 4)  # one picture is wanted for each; a group has four


@pytest.mark.parametrize("seed", range(6))
def test_what_one_class_took_counts_for_the_others(seed: int) -> None:
    # Each picture of "few" is also one of "many": the class of the fewest groups chooses first.
    entries = [entry(i, "few", path=f"few/{i}") for i in range(3)] + [
        entry(i, "many", path=f"many/{i}") for i in range(30)
    ]
    placed = sides(entries, assign(entries, seed=seed))
    assert Counter(placed[f"few/{i}"] for i in range(3)) == {"train": 1, "validation": 1, "test": 1}
    assert Counter(placed[f"many/{i}"] for i in range(30)) == {"train": 24, "validation": 3, "test": 3}


def test_a_class_that_has_training_pictures_from_another_gives_all_the_others() -> None:
    # "one" has a single picture, which trains; the other picture of "two" can then be the test.
    entries = [entry(1, "one", path="one/1"), entry(1, "two", path="two/1"), entry(2, "two", path="two/2")]
    for seed in range(6):
        assert sides(entries, assign(entries, seed=seed)) == {"one/1": "train", "two/1": "train", "two/2": "test"}


def test_groups_join_through_others_and_are_named_by_their_first_content() -> None:
    def grouped(content: str, group: str | None) -> Entry:
        return Entry(f"p/{content}{group}", "cats", None, content * 64, group)

    entries = [grouped("c", "x"), grouped("b", "x"), grouped("b", "y"), grouped("a", "y"), grouped("d", None)]
    for order in ([0, 1, 2, 3, 4], [3, 1, 4, 0, 2], [4, 3, 2, 1, 0]):
        expected = [each[0] for each in ("a" * 64, "a" * 64, "a" * 64, "a" * 64, "d" * 64)]
        assert [key[0] for key in groups([entries[i] for i in order])] == [expected[i] for i in order]
    assert groups([grouped("c", "a")]) == ["c" * 64]  # a content, not the group's own name


def drawn(number: int) -> tuple[list[Entry], dict[str, float]]:
    """One of many lists of up to 60 entries with copies, groups and given splits, and fractions; by hashes alone."""
    state = 0

    def below(n: int) -> int:
        nonlocal state
        state += 1
        return int.from_bytes(hashlib.sha256(f"{number} {state}".encode()).digest()[:8]) % n

    n, n_contents, n_groups = below(60), 1 + below(60), 1 + below(15)
    given = ([None], [None], ["train"], ["train", "test"], ["train", "validation"], ["test", "train", "validation"])[
        below(6)
    ]
    grouped = below(3)  # none, some or all with a group
    entries = []
    for i in range(n):
        group = f"g{below(n_groups)}" if below(2) < grouped else None
        entries.append(Entry(f"p/{i}", "abc"[below(3)], given[below(len(given))], f"{below(n_contents):064x}", group))
    fractions = (0.0, 0.05, 0.1, 0.2, 0.33, 0.45)
    return entries, {"validation_fraction": fractions[below(6)], "test_fraction": fractions[below(6)]}


def test_the_same_splits_for_good() -> None:
    """Another split of the same pictures would compare models on pictures that one of them has learned."""
    digest = hashlib.sha256()
    for number in range(150):
        entries, fractions = drawn(number)
        splits = assign(entries, seed=number % 3 - 1, **fractions)
        digest.update(repr((splits, groups(entries))).encode())
    assert digest.hexdigest() == "f53bc92e9393296cf1d6d498e09edc99016cc4e99a930df6b5585a13a75f3c58"


def test_one_content_under_two_labels_stays_on_one_side() -> None:
    entries = [entry(i, label, path=f"{label}/{i}") for i in range(40) for label in ("cats", "dogs")]
    placed = sides(entries, assign(entries, seed=4))
    assert all(placed[f"cats/{i}"] == placed[f"dogs/{i}"] for i in range(40))
    assert sizes(assign(entries, seed=4)) == (64, 8, 8)


# Splits that are given


def test_all_three_given_are_kept() -> None:
    entries = [
        *many(5, split="train"),
        *many(2, split="validation", start=100),
        *many(1, split="test", start=200),
    ]
    assert assign(entries, seed=0) == Splits((0, 1, 2, 3, 4), (5, 6), (7,), ())


def test_train_and_test_given_carve_validation_from_train() -> None:
    entries = [
        *many(30, split="train"),
        *many(10, "dogs", "train", 300),
        *many(2, "few", "train", 500),
        *many(9, split="test", start=900),
    ]
    splits = assign(entries, seed=0)
    assert splits.test == tuple(range(42, 51))
    labels = Counter(entries[i].label for i in splits.validation)
    assert labels == {"cats": 3, "dogs": 1}  # two groups stay together for training
    assert sizes(splits) == (38, 4, 9)


def test_train_and_validation_given_carve_the_test_from_train() -> None:
    entries = [
        *many(30, split="train"),
        *many(2, "few", "train", 500),
        *many(5, split="validation", start=900),
    ]
    splits = assign(entries, seed=0, test_fraction=0.2)
    assert splits.validation == tuple(range(32, 37))
    assert Counter(entries[i].label for i in splits.test) == {"cats": 6, "few": 1}


def test_train_alone_is_as_none_given() -> None:
    assert assign(many(40, split="train"), seed=7) == assign(many(40), seed=7)


@pytest.mark.parametrize("present", [("test",), ("validation",), ("test", "validation")])
def test_without_train_all_stays_as_given(present: tuple[str, ...]) -> None:
    entries = [e for i, split in enumerate(present) for e in many(5, split=split, start=100 * i)]
    splits = assign(entries, seed=0)
    assert {side: len(getattr(splits, side)) for side in SIDES if getattr(splits, side)} == dict.fromkeys(present, 5)


def test_content_in_two_given_splits_is_dropped_from_the_lesser() -> None:
    entries = [
        entry(1, split="train", path="train/a"),
        entry(2, split="train", path="train/b"),
        entry(3, split="train", path="train/c\n"),
        entry(4, split="train", path="train/d"),
        entry(1, split="validation", path="val/a"),
        entry(2, split="validation", path="val/b"),
        entry(5, split="validation", path="val/e"),
        entry(2, split="test", path="test/z"),
        entry(2, split="test", path="test/b"),
        entry(3, split="test", path="test/c\n"),
    ]
    assert assign(entries, seed=0) == Splits(
        (3,),
        (4, 6),
        (7, 8, 9),
        (
            (0, "the same picture is in the validation split: val/a"),
            (1, "the same picture is in the test split: test/b"),
            (2, "the same picture is in the test split: test/c\\n"),
            (5, "the same picture is in the test split: test/b"),
        ),
    )


def test_copies_within_a_given_split_stay() -> None:
    entries = [entry(1, split=split, path=f"{split}/{i}") for split in ("train",) for i in range(3)]
    entries += many(3, split="test", start=50)
    assert sizes(assign(entries, seed=0)) == (3, 0, 3)


def test_splits_for_some_only_are_refused() -> None:
    with pytest.raises(InputError, match=r"photos/cats/0\.png has none"):
        assign([*many(2), *many(2, split="train", start=9)], seed=0)


@pytest.mark.slow
def test_two_hundred_thousand_entries_take_seconds() -> None:
    entries = [entry(i // 2, f"class {i % 6 // 2}", path=str(i)) for i in range(200_000)]
    start = time.process_time()
    splits = assign(entries, seed=0)
    assert time.process_time() - start < 10
    assert sum(sizes(splits)) == 200_000


def grouped(n: int, groups: int, label: str = "cats", start: int = 0, split: str | None = None) -> list[Entry]:
    """Pictures of `groups` groups in turn."""
    return [
        Entry(f"{label}/{start + i}.png", label, split, f"{start + i:064x}", f"group {i % groups}") for i in range(n)
    ]


@settings(max_examples=60)
@given(st.integers(2, 60), st.integers(2, 20), st.integers(0, 9))
def test_a_group_never_stands_on_two_sides(n: int, n_groups: int, seed: int) -> None:
    entries = grouped(n, min(n, n_groups)) + grouped(n // 2, n_groups, "dogs", 1000)
    split = assign(entries, seed=seed)
    side_of = {i: side for side in SIDES for i in getattr(split, side)}
    assert len(side_of) == len(entries)
    for name in {entry.group for entry in entries}:
        assert len({side_of[i] for i, entry in enumerate(entries) if entry.group == name}) == 1
    assert any(side_of[i] == "train" for i, entry in enumerate(entries) if entry.label == "cats")


def test_groups_come_near_the_share_that_is_wanted() -> None:
    """100 pictures in 20 groups of 5: two groups, ten pictures, on each side."""
    for seed in range(5):
        assert sizes(assign(grouped(100, 20), seed=seed)) == (80, 10, 10)


def test_a_group_that_is_too_large_is_passed_over() -> None:
    """60 of 100 pictures are of one group; the other 40 are alone."""
    entries = [Entry(f"{i}", "cats", None, f"{i:064x}", "large" if i < 60 else None) for i in range(100)]
    for seed in range(5):
        split = assign(entries, seed=seed)
        assert sizes(split) == (80, 10, 10)
        assert set(range(60)) <= set(split.train)


def test_groups_of_one_picture_change_nothing() -> None:
    entries = many(50)
    alone = [Entry(e.path, e.label, e.split, e.content, f"own {i}") for i, e in enumerate(entries)]
    assert assign(entries, seed=3) == assign(alone, seed=3)


def test_a_group_is_named_by_its_first_content() -> None:
    entries = [
        Entry("1", "x", None, "c", "anna"),
        Entry("2", "x", None, "b", "anna"),
        Entry("3", "x", None, "b", "bert"),
        Entry("4", "x", None, "a", "bert"),
        Entry("5", "x", None, "d"),
        Entry("6", "x", None, "e", "e"),
    ]
    assert groups(entries) == ["a", "a", "a", "a", "d", "e"]


def test_given_splits_that_part_a_group_are_kept() -> None:
    entries = [*grouped(4, 2, split="train"), *grouped(2, 1, start=10, split="test")]
    split = assign(entries, seed=0)
    assert split.test == (4, 5)
    assert not split.dropped
    assert {entries[i].group for i in split.train} & {entries[i].group for i in split.test} == {"group 0"}
