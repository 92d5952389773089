"""By what pictures are divided."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart import catalog as catalogs
from tellapart import divisions
from tellapart.errors import InputError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """40 grey pictures, no two alike: in p/, as the table beside it says."""
    folder = tmp_path / "p"
    folder.mkdir()
    rows = ["file,label,site,iso,note"]
    for i in range(40):
        pixels = np.full((20 + i, 60, 3), 2 * i + 5, np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append(f"{i}.png,{'ab'[i % 2]},{('north', 'south', '')[i % 3]},{100 * i},file {i}")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    return folder


def read(photos: Path) -> tuple[catalogs.Catalog, Path, list[str]]:
    table = photos.parent / "t.csv"
    catalog = catalogs.scan(photos, labels=table)
    return catalog, table, [str(photos / f"{i}.png") for i in range(40)]


def test_columns_of_few_values_divide(photos: Path) -> None:
    catalog, table, paths = read(photos)
    assert divisions.by_columns(table, catalog, paths) == {
        "site": [("north", "south", "")[i % 3] for i in range(40)],
    }


def test_a_column_that_is_asked_for_is_taken_whatever_it_holds(photos: Path) -> None:
    catalog, table, paths = read(photos)
    found = divisions.by_columns(table, catalog, paths, ["ISO", "note"])
    assert set(found) == {"iso", "note"}
    assert found["note"][7] == "file 7"
    assert found["iso"][0].startswith("under ")  # many numbers: ranges
    assert len(set(found["iso"])) < 7
    with pytest.raises(InputError, match=r"--slice: .* has no column 'sight'.* Did you mean 'site'\?"):
        divisions.by_columns(table, catalog, paths, ["sight"])


def test_a_part_of_the_pictures_has_its_own_values(photos: Path) -> None:
    catalog, table, paths = read(photos)
    assert divisions.by_columns(table, catalog, paths[3:5])["site"] == ["north", "south"]


def test_what_is_seen_of_a_picture(photos: Path) -> None:
    looks = divisions.Looks()
    square = np.zeros((8, 8, 3), np.uint8)
    square[..., 1] = 255
    looks.look(str(photos / "3.png"), square, 23)
    assert looks.shorter_px == {str(photos / "3.png"): 23}
    assert looks.brightness[str(photos / "3.png")] == pytest.approx(58.7)


def test_all_that_divides(photos: Path) -> None:
    catalog, table, paths = read(photos)
    looks = divisions.Looks()
    for i, path in enumerate(paths):
        looks.look(path, np.full((4, 4, 3), 2 * i + 5, np.uint8), 20 + i)
    labels = [i % 2 for i in range(40)]
    found = divisions.of(paths, labels, catalog, looks, table)
    assert list(found) == ["site", "size", "brightness"]  # no folders below
    assert found["size"][0].startswith("under ")
    assert found["brightness"][-1].endswith(" % and more")
    assert list(divisions.of(paths, labels, catalog)) == []
