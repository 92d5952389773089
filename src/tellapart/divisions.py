"""By what the pictures of an evaluation are divided: folders, columns of their table, size, brightness."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tellapart import slices, tables
from tellapart.catalog import Catalog
from tellapart.finder import Finder

MOST_VALUES = 20  # of a column that is taken without being asked for: a camera, a site, a season, not a file's number
LUMA = (0.299, 0.587, 0.114)  # how much red, green and blue count for brightness (ITU-R BT.601)


class Looks:
    """What is measured of pictures while they are answered, by path."""

    def __init__(self) -> None:
        self.shorter_px: dict[str, float] = {}  # of the file
        self.brightness: dict[str, float] = {}  # mean, percent of white

    def look(self, path: str, square: np.ndarray, shorter_px: int) -> None:
        """Measure a picture, whose square is uint8 (S, S, 3), and whose shorter side is so long in its file."""
        import cv2

        self.shorter_px[path] = shorter_px
        self.brightness[path] = sum(share * each for share, each in zip(LUMA, cv2.mean(square), strict=False)) / 2.55

    def taken(self, paths: Sequence[str]) -> np.ndarray:
        """What was measured of N pictures, float64 (N, 2), NaN where nothing was; it is not held any longer."""
        found = [[each.get(path, math.nan) for each in (self.shorter_px, self.brightness)] for path in paths]
        self.shorter_px.clear()
        self.brightness.clear()
        return np.array(found, np.float64).reshape(len(paths), 2)

    def add(self, paths: Sequence[str], values: np.ndarray) -> None:
        """What another one has `taken`."""
        for path, (shorter_px, brightness) in zip(paths, values.tolist(), strict=True):
            if not math.isnan(shorter_px):
                self.shorter_px[path], self.brightness[path] = shorter_px, brightness


def of(
    paths: Sequence[str],
    labels: Sequence[Any],
    catalog: Catalog,
    looks: Looks | None = None,
    table: str | os.PathLike[str] | None = None,
    wanted: Sequence[str] = (),
    **names: Any,
) -> Mapping[str, Sequence[str]]:
    """By what N pictures are divided, to the part of each, "" for none: what `slices.of` takes.

    Args:
        paths: the pictures.
        labels: their classes, by which they are divided anyway.
        catalog: what they are from.
        looks: what was measured of them; None where nothing was.
        table, wanted, names: as `by_columns` has them; without a table there are no columns.
    """
    kinds: dict[str, Sequence[str]] = {}
    by_folder = slices.folders(paths, catalog.root, catalog.layout, labels)
    if by_folder is not None:
        kinds[slices.FOLDER] = by_folder
    if table is not None:
        kinds |= by_columns(table, catalog, paths, wanted, **names)
    if looks is not None:
        kinds[slices.SIZE] = slices.by_number([looks.shorter_px.get(path, math.nan) for path in paths], " px")
        kinds[slices.BRIGHTNESS] = slices.by_number([looks.brightness.get(path, math.nan) for path in paths], " %")
    return kinds


def by_columns(
    labels: str | os.PathLike[str],
    catalog: Catalog,
    paths: Sequence[str],
    wanted: Sequence[str] = (),
    **columns: Any,
) -> dict[str, list[str]]:
    """Parts by each column of a table that divides pictures: its name, to the part of each picture, "" for none.

    Args:
        labels: the table that `catalog` was read from, `columns` as they were given for that.
        catalog: of all pictures.
        paths: the N pictures that are to be divided.
        wanted: columns that are taken whatever they hold; one of many different numbers is cut into ranges. Left empty,
            every column that has two to MOST_VALUES values and is not path, label or split.

    Raises InputError where the table has no column of a wanted name.
    """
    table = tables.open_table(labels, **columns)
    asked = [tables.named(table, each) for each in wanted]
    used = {table.path_index, table.label_index, table.split_index}
    open_ = asked or [i for i in range(len(table.columns)) if i not in used]
    entries = catalog.entries
    finder = Finder(catalog.root, [entry.path for entry in entries])
    found: dict[int, dict[str, str]] = {i: {} for i in open_}  # column -> path -> value
    values: dict[int, set[str]] = {i: set() for i in open_}
    known = set(paths)
    for row in tables.rows(table):
        at, _ = (None, None) if row.reason else finder.find(row.value)
        if at is None or entries[at].path not in known or entries[at].label != row.label:
            continue
        for i in list(found):
            value = row.cells[i].strip() if len(row.cells) > i else ""
            found[i].setdefault(entries[at].path, value)
            values[i].add(value)
            if not asked and len(values[i]) > MOST_VALUES:
                del found[i]
    return {table.columns[i]: _ranges([told.get(path, "") for path in paths]) for i, told in found.items()}


def _ranges(values: list[str]) -> list[str]:
    """The values as they are, or ranges where they are many different numbers."""
    if len(set(values)) <= MOST_VALUES:
        return values
    try:
        return slices.by_number([float(value) if value else float("nan") for value in values])
    except ValueError:
        return values
