"""Parts of the pictures: how they are made, and that none is called worse for nothing."""

import numpy as np
import pytest
from scipy.stats import fisher_exact

from tellapart import slices


def test_the_chance_is_fisher_s() -> None:
    for n_right, n, all_right, n_all in ((3, 10, 80, 100), (0, 5, 90, 100), (10, 10, 80, 100), (40, 200, 1700, 2000)):
        table = [[n_right, n - n_right], [all_right - n_right, n_all - n - (all_right - n_right)]]
        theirs = fisher_exact(table, alternative="less").pvalue
        assert slices.chance(n_right, n, all_right, n_all) == pytest.approx(theirs, rel=1e-9)


def test_holm_by_hand() -> None:
    # Of four: 0.01 <= 0.05/4, 0.016 <= 0.05/3, 0.03 > 0.05/2, so 0.04 is not looked at any more.
    assert slices.holm([0.04, 0.01, 0.03, 0.016]) == [False, True, False, True]
    assert slices.holm([]) == []


def test_a_planted_bad_part_is_named() -> None:
    rng = np.random.default_rng(0)
    brightness = rng.uniform(0, 100, 600)
    right = rng.random(600) < np.where(brightness < 10, 0.5, 0.95)
    kinds = {
        "brightness": slices.by_number(brightness, " %"),
        "folder": rng.choice(["monday", "tuesday", "friday"], 600).tolist(),
    }
    found = slices.of(right, rng.integers(0, 2, 600), kinds)
    assert [(each.by, each.name) for each in found if each.worse] == [("brightness", "under 10 %")]
    dark = next(each for each in found if each.worse)
    assert dark.n == (brightness < 10).sum()
    assert dark.n_right == right[brightness < 10].sum()


def test_errors_by_chance_are_no_part_s_fault() -> None:
    """100 draws of a model that is equally good everywhere: at most 5 % name a part, more than 10 once in 80 runs."""
    named = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        right, labels = rng.random(400) < 0.8, rng.integers(0, 3, 400)
        kinds = {
            "folder": rng.integers(0, 12, 400).astype(str).tolist(),
            "size": slices.by_number(rng.lognormal(5, 1, 400), " px"),
            "brightness": slices.by_number(rng.uniform(0, 100, 400), " %"),
        }
        named += any(each.worse for each in slices.of(right, labels, kinds))
    assert named <= 10


def test_what_is_no_division_is_left_out() -> None:
    right, labels = np.ones(40, bool), np.repeat([0, 1], 20)
    kinds = {
        "classes again": ["x"] * 20 + ["y"] * 20,
        "all alike": ["x"] * 40,
        "each its own": [str(i) for i in range(40)],
        "camera": ["a", "b"] * 20,
        "camera again": ["B", "A"] * 20,
        "some": ["night"] * 12 + [""] * 25 + ["fog"] * 3,
    }
    found = slices.of(right, labels, kinds)
    assert [(each.by, each.name, each.n) for each in found] == [
        ("camera", "a", 20), ("camera", "b", 20), ("some", "night", 12),
    ]  # fmt: skip


def test_round_numbers_cut_measures() -> None:
    names = slices.by_number(np.arange(1000) / 10, " %")  # 0 to 99.9
    assert sorted(set(names)) == sorted(
        ["under 10 %", "10 to 25 %", "25 to 50 %", "50 to 75 %", "75 to 90 %", "90 % and more"]
    )
    assert names[99:101] == ["under 10 %", "10 to 25 %"]
    assert {names.count(name) for name in set(names)} == {100, 150, 250}


def test_few_numbers_make_few_parts() -> None:
    assert set(slices.by_number(np.arange(12.0))) == {"all"}
    names = slices.by_number([1, 2, 3] * 10 + [float("nan")])
    assert names[-1] == ""
    assert all(names.count(name) >= slices.FEWEST for name in set(names) - {""})
    assert slices.by_number([float("nan")] * 3) == ["", "", ""]
    # Nearly all of one size: the others are a part all the same.
    names = slices.by_number([500] * 300 + [32] * 20, " px")
    assert (names[0], names[-1]) == ("500 px and more", "under 500 px")


def test_folders_below_the_class_tell_pictures_apart() -> None:
    paths = [f"p/{label}/{place}/{i}.jpg" for label in "ab" for place in ("north", "south") for i in range(10)]
    labels = [path.split("/")[1] for path in paths]
    assert slices.folders(paths, "p", "classes", labels) == [path.split("/")[2] for path in paths]
    deeper = [f"p/test/{label}/all/{day}/{i}.jpg" for label in "ab" for day in ("1", "2") for i in range(10)]
    assert slices.folders(deeper, "p", "splits", labels) == [path.split("/")[4] for path in deeper]
    flat = [f"p/{label}/{i}.jpg" for label in "ab" for i in range(20)]
    assert slices.folders(flat, "p", "classes", labels) is None


def test_with_a_table_the_folders_of_classes_are_no_parts() -> None:
    paths = [f"p/{label}/{place}/{i}.jpg" for label in "ab" for place in ("north", "south") for i in range(10)]
    labels = [path.split("/")[1] for path in paths]
    assert slices.folders(paths, "p", "table", labels) == [path.split("/")[2] for path in paths]


def test_parts_come_in_the_order_of_their_numbers() -> None:
    light = np.repeat([5.0, 1200.0, 150.0, 80.0], 12)
    kinds = {"size": slices.by_number(light, " px"), "camera": (["cam 10", "cam 2", "cam 1", "b"] * 12)}
    found = slices.of(np.ones(48, bool), np.zeros(48, int), kinds)
    names = [each.name for each in found if each.by == "size"]
    assert names[0].startswith("under ")
    assert names[-1].endswith(" and more")
    assert len(names) >= 3
    assert [each.name for each in found if each.by == "camera"] == ["cam 1", "cam 2", "cam 10", "b"]
