"""Recipes that are tried: on which pictures, and that no test picture plays a part."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from conftest import fill, listed
from tellapart import beginning, candidates, config, looking, picking, splits
from tellapart.candidates import Field
from tellapart.catalog import Catalog, Entry
from tellapart.errors import InputError
from tellapart.progress import Progress

TINY = config.SCRATCH.override(size_px=32, store_px=32, channels=(8, 16), epochs=2, precision="float32", grow_from=1.0)


def many(n: int, *classes: str, split: str | None = None) -> Catalog:
    """Entries that differ in content."""
    entries = [Entry(f"p/{label}/{i:04d}.png", label, split, f"{label}{i:060d}") for label in classes for i in range(n)]
    return Catalog("p", "classes", tuple(classes), tuple(entries), (), ())


def contents(field: Field) -> set[str]:
    return {entry.content for entry in field.catalog.entries}


def test_what_any_recipe_would_test_on_is_taken_out() -> None:
    catalog = many(400, "a", "b")
    field = candidates.divided(catalog, [(catalog, True), (catalog, False)], seed=3)
    scratch = {catalog.entries[i].content for i in splits.assign(catalog.entries, seed=3).test}
    transfer = {catalog.entries[i].content for i in looking.sides_of(catalog, 3).test}
    assert len(scratch) == 80
    assert not contents(field) & (scratch | transfer)
    assert field.n_left_alone == len(scratch | transfer)
    assert {entry.split for entry in field.catalog.entries} == {"train", "validation"}
    assert len(field.validation) == round(0.3 * 720)  # three tenths where there are few
    assert not {*field.train} & {*field.validation}


def test_of_many_pictures_a_tenth_judges() -> None:
    catalog = many(4000, "a", "b")
    field = candidates.divided(catalog, [(catalog, False)], seed=0)
    assert len(field.validation) == 720
    assert len(field.train) == 6480


def test_copies_of_test_pictures_are_taken_out_too() -> None:
    catalog = many(100, "a", "b")
    tested = {catalog.entries[i].content for i in splits.assign(catalog.entries, seed=0).test}
    other = next(i for i, entry in enumerate(catalog.entries) if entry.content not in tested)
    one = next(i for i, entry in enumerate(catalog.entries) if entry.content in tested)
    entries = list(catalog.entries)
    for i in (other, one):
        entries[i] = dataclasses.replace(entries[i], group="twins")
    grouped = dataclasses.replace(catalog, entries=tuple(entries))
    field = candidates.divided(grouped, [(catalog, False)], seed=0)
    assert catalog.entries[other].content not in contents(field)


def test_splits_of_the_users_own_are_kept() -> None:
    groups = [(split, label, label, first, n) for label in "ab" for split, first, n in
              (("train", 0, 40), ("validation", 40, 15), ("test", 60, 20))]  # fmt: skip
    catalog = listed(*groups)
    entries = tuple(dataclasses.replace(entry, content=f"{i:064d}") for i, entry in enumerate(catalog.entries))
    catalog = dataclasses.replace(catalog, entries=entries)
    field = candidates.divided(catalog, [(catalog, True)], seed=0)
    assert {entry.path for entry in field.catalog.entries} == {e.path for e in entries if e.split != "test"}
    assert all(field.catalog.entries[i].path.startswith("p/validation") for i in field.validation)
    assert field.n_left_alone == 40


def test_too_few_pictures_are_named() -> None:
    catalog = many(20, "a", "b")
    with pytest.raises(InputError, match=r"20 validation pictures at least.*there are 12 of 40 pictures"):
        candidates.divided(catalog, [(catalog, True)], seed=0)


@pytest.fixture(scope="module")
def field(photos: Path) -> Field:
    catalog = beginning.scan(photos, {}, Progress())
    return candidates.divided(catalog, [(catalog, False)], seed=0)


def test_from_scratch_each_epoch_is_watched_and_every_validation_picture_judged(field: Field, cache: Path) -> None:
    seen: list[tuple[float, float, float]] = []
    judged = candidates.tried(
        field, TINY, seed=0, cache=cache, progress=Progress(), watch=lambda *told: seen.append(told)
    )
    assert [share for share, _, _ in seen] == [0.5, 1.0]
    assert len(judged.answers) == len(field.validation) == 22
    assert seen[-1][1] == pytest.approx(np.mean(judged.answers == picking.RIGHT))  # Keras counts the same
    again = candidates.tried(field, TINY, seed=0, cache=cache, progress=Progress(), watch=lambda *told: None)
    assert again.answers.tolist() == judged.answers.tolist()
    assert again.log_loss == judged.log_loss


def test_what_watching_raises_ends_a_training(field: Field, cache: Path) -> None:
    class Enough(Exception):
        pass

    def watch(share: float, accuracy: float, loss: float) -> None:
        raise Enough

    with pytest.raises(Enough):
        candidates.tried(field, TINY, seed=0, cache=cache, progress=Progress(), watch=watch)


def test_a_pretrained_network_is_judged_by_pictures_that_its_head_has_not_seen(field: Field, cache: Path) -> None:
    recipe = config.Transfer(backbone="efficientnet-lite0", size_px=64, fine_tune="never", strength=1.0)
    judged = candidates.tried(field, recipe, seed=0, cache=cache, progress=Progress(), watch=lambda *told: None)
    assert judged.detail == {"strength": 1.0, "pictures": len(field.train)}
    assert len(judged.answers) == 22
    assert np.mean(judged.answers == picking.RIGHT) > 0.8
    shuffled = [dataclasses.replace(entry, label="circles" if i % 2 else "squares")
                if entry.split == "validation" else entry for i, entry in enumerate(field.catalog.entries)]  # fmt: skip
    other = Field(dataclasses.replace(field.catalog, entries=tuple(shuffled)), 0)
    same = candidates.tried(other, recipe, seed=0, cache=cache, progress=Progress(), watch=lambda *told: None)
    right = [before.label == now.label for before, now in
             zip(field.catalog.entries, shuffled, strict=True) if now.split == "validation"]  # fmt: skip
    answered = [bool(x) == y for x, y in zip(judged.answers, right, strict=True)]
    assert [bool(x) for x in same.answers] == answered  # other labels change the judgement, not the answers


def test_a_validation_picture_that_cannot_be_read_is_neither_right_nor_wrong(tmp_path: Path, cache: Path) -> None:
    for side, first, n in (("train", 500, 40), ("val", 550, 12)):
        fill(tmp_path / side, n=n, first=first)
    broken = tmp_path / "val" / "circles" / "circle_553.jpg"
    broken.write_bytes(broken.read_bytes()[:700])
    catalog = beginning.scan(tmp_path, {}, Progress())
    mine = candidates.divided(catalog, [(catalog, False)], seed=0)
    assert mine.catalog.entries[mine.validation[3]].path == str(broken)
    for recipe in (TINY, config.Transfer(backbone="efficientnet-lite0", size_px=64, fine_tune="never")):
        judged = candidates.tried(mine, recipe, seed=0, cache=cache, progress=Progress(), watch=lambda *told: None)
        assert [i for i, each in enumerate(judged.answers) if each == picking.UNREAD] == [3]
