"""What a preview shows is what training would see."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart import config, pipeline, preprocess, previews
from tellapart.catalog import Catalog, scan
from tellapart.errors import InputError
from tellapart.policies import Augmentation
from tellapart.progress import Progress

STRONG = config.SCRATCH.override(size_px=32, store_px=40, augment="strong", batch_size=7)


@pytest.fixture(scope="module")
def catalog(three_classes: Path) -> Catalog:
    return scan(three_classes)


@pytest.mark.parametrize(
    "recipe",
    [
        STRONG,
        config.TUTORIAL.override(size_px=32, batch_size=7),
        STRONG.override(augment="none", flip=False),
        STRONG.override(augment=Augmentation(brightness=0.5, flip=False)),
    ],
)
@pytest.mark.parametrize("seed", [0, 5])
def test_it_shows_the_very_pictures_that_training_sees(catalog, recipe: config.Recipe, seed: int, cache: Path) -> None:
    shown = previews.preview(catalog, recipe, seed=seed, n_epochs=3)
    prepared = pipeline.prepare(catalog, recipe, seed=seed, cache=cache, progress=Progress())
    batches = pipeline.batches(prepared, "train", recipe, seed=seed, label_mode="int")
    paths = prepared.paths("train")
    for epoch in range(3):
        batches.set_epoch(epoch)
        seen = np.concatenate([pixels for pixels, _ in batches])
        order = batches._epoch_order(epoch).tolist()
        for each in shown.pictures:
            assert paths[each.index] == each.path
            np.testing.assert_array_equal(each.varied[epoch], seen[order.index(each.index)])
    for each in shown.pictures:
        assert each.label == Path(each.path).parent.name
        expected = preprocess.load(each.path, preprocess.Preprocess(recipe.size_px))
        np.testing.assert_array_equal(each.used, expected)


def test_pictures_are_spread_over_the_classes(catalog: Catalog) -> None:
    def labels(n: int) -> list[str]:
        return [each.label for each in previews.preview(catalog, STRONG, seed=0, n_pictures=n, n_epochs=1).pictures]

    assert Counter(labels(8)) == {"circles": 3, "squares": 3, "triangles": 2}
    assert labels(8) == sorted(labels(8))
    assert labels(2) == ["circles", "triangles"]
    assert len(labels(1)) == 1
    everything = previews.preview(catalog, STRONG, seed=0, n_pictures=1000, n_epochs=1).pictures
    assert len({each.path for each in everything}) == len(everything) == 3 * 16  # of 20 a class, 2 for each other side


def test_another_seed_shows_other_pictures_and_the_same_one_the_same(catalog: Catalog) -> None:
    one, same, other = (previews.preview(catalog, STRONG, seed=seed) for seed in (1, 1, 2))
    assert one.as_dict() == same.as_dict()
    assert [each.path for each in one.pictures] != [each.path for each in other.pictures]
    for first, second in zip(one.pictures, same.pictures, strict=True):
        np.testing.assert_array_equal(first.varied, second.varied)
    assert one.pictures[0].varied.shape == (7, 32, 32, 3)


def test_a_picture_that_cannot_be_read_is_passed_over(tmp_path: Path, make_photos) -> None:
    folder = make_photos(tmp_path / "p", n=6)
    bad = sorted((folder / "circles").iterdir())
    for i, path in enumerate(bad[:5]):
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes([i]))
    catalog = scan(folder)
    shown = previews.preview(catalog, STRONG, seed=0)
    assert {each.label: each for each in shown.pictures}.keys() <= {"circles", "squares"}
    assert not {each.path for each in shown.pictures} & {str(path) for path in bad[:5]}
    for path in folder.rglob("*.*"):
        path.unlink()
    with pytest.raises(InputError, match=r"None of the training pictures could be read, e\.g\. .*: no such file"):
        previews.preview(catalog, STRONG, seed=0)


def test_classes_that_stand_in_split_folders(tmp_path: Path, make_photos) -> None:
    make_photos(tmp_path / "p" / "train", n=3)
    make_photos(tmp_path / "p" / "test", n=3, first=10)
    shown = previews.preview(scan(tmp_path / "p"), STRONG, seed=0)
    assert shown.pictures
    assert all("train" in Path(each.path).parts for each in shown.pictures)


def test_as_dict_has_no_pixels(catalog: Catalog) -> None:
    values = previews.preview(catalog, STRONG, seed=3, n_pictures=2).as_dict()
    assert values["recipe"] == STRONG.as_dict()
    assert values["seed"] == 3
    assert [set(each) for each in values["pictures"]] == [{"path", "label", "index"}] * 2


def test_a_grey_or_odd_picture_is_shown_as_the_network_sees_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.fromarray(rng.integers(0, 256, (9, 30), dtype=np.uint8)).save(tmp_path / name / f"{i}.png")
    for each in previews.preview(scan(tmp_path), STRONG, seed=0).pictures:
        assert each.used.shape == (32, 32, 3)
        assert (each.used == each.used[..., :1]).all()
