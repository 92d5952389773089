"""Copies planted among drawn pictures are found, others are not, and groups keep them together."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from tellapart import catalog, hashes, pictures, twins
from tellapart.catalog import Entry


def scene(seed: int) -> Image.Image:
    """160 × 120, colours and blobs of every size, as in a photo."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(0, 40 / k**0.5, (3 * k, 4 * k, 3)), (160, 120), interpolation=cv2.INTER_CUBIC)
        for k in (1, 2, 4, 8)
    ]
    return Image.fromarray(np.clip(128 + sum(layers), 0, 255).astype(np.uint8))


COPIES = {
    "half.jpg": lambda image: image.resize((80, 60), Image.Resampling.LANCZOS),
    "jpeg.jpg": lambda image: image,
    "mirror.jpg": ImageOps.mirror,
    "crop.jpg": lambda image: image.crop((6, 2, 156, 115)),
    "turned.png": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "grey.png": lambda image: image.convert("L"),
    "light.png": lambda image: image.point(lambda level: min(255, int(level * 1.15))),
    "same.bmp": lambda image: image,
}
HOWS = {
    "half.jpg": "copy",
    "jpeg.jpg": "copy",
    "mirror.jpg": "mirrored",
    "crop.jpg": "copy, cropped",
    "turned.png": "turned by",
    "grey.png": "copy",
    "light.png": "copy",
    "same.bmp": "same pixels",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty scenes, of the first eight of which there is a copy each."""
    root = tmp_path_factory.mktemp("twins")
    for label in ("left", "right"):
        (root / label).mkdir()
    for i in range(40):
        scene(i).save(root / ("left" if i % 2 else "right") / f"scene_{i:02}.png")
    for i, (name, change) in enumerate(COPIES.items()):
        change(scene(i)).save(root / ("left" if i % 2 else "right") / f"copy_{i:02}_{name}", quality=60)
    return root


def search(found: catalog.Catalog) -> twins.Twins:
    files = twins.files(found)
    rows = np.stack([hashes.of(pictures.read(path, at_least_px=hashes.SIZE_PX).pixels) for path, _ in files])
    return twins.find(files, rows)


@pytest.fixture(scope="module")
def found(folder: Path) -> tuple[catalog.Catalog, twins.Twins]:
    scanned = catalog.scan(folder)
    return scanned, search(scanned)


def test_every_planted_copy_is_found_and_nothing_else(found):
    scanned, result = found
    path = {entry.content: Path(entry.path).name for entry in scanned.entries}
    seen = {}
    for link in result.links:
        copy, original = sorted((path[link.first], path[link.second]))
        assert copy.startswith("copy_")
        assert original == f"scene_{copy[5:7]}.png"
        seen[copy[8:]] = link.how
        assert link.score > twins.LEAST
    assert seen.keys() == HOWS.keys()
    for name, how in HOWS.items():
        assert seen[name].startswith(how)
    assert len(result.groups()) == 8


def test_progress_ends_at_all(folder):
    scanned = catalog.scan(folder)
    files = twins.files(scanned)
    rows = np.stack([hashes.of(pictures.read(path).pixels) for path, _ in files])
    told = []
    twins.find(files, rows, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]


def test_shapes_that_are_all_alike_are_no_copies(tmp_path):
    """Digits differ by a pixel here and there; only what is nearer than all others are to each other is a copy."""
    rng = np.random.default_rng(0)
    files = []
    base = np.zeros((12, 12), np.uint8)
    base[2:10, 5:7] = 200
    for i in range(60):
        drawn = np.clip(base + rng.integers(0, 56, base.shape), 0, 255).astype(np.uint8)
        path = tmp_path / f"{i:02}.png"
        Image.fromarray(drawn).resize((24, 24), Image.Resampling.BICUBIC).save(path)
        files.append((str(path), f"{i:064x}"))
    Image.open(files[7][0]).save(tmp_path / "copy.bmp")
    files.append((str(tmp_path / "copy.bmp"), f"{99:064x}"))
    rows = np.stack([hashes.of(pictures.read(path).pixels) for path, _ in files])
    links = twins.find(files, rows).links
    assert [(link.first[-2:], link.second[-2:], link.how) for link in links] == [("07", "63", "same pixels")]


def test_groups_unite_copies_and_the_users_own():
    a, b, c, d, e = (hashlib.sha256(bytes([i])).hexdigest() for i in range(5))
    entries = (
        Entry("1", "x", None, a),
        Entry("2", "x", None, b, "anna"),
        Entry("3", "x", None, c, "anna"),
        Entry("4", "x", None, d),
        Entry("5", "x", None, e, "bert"),
    )
    before = catalog.Catalog("", "classes", ("x",), entries, (), ())
    after = twins.grouped(before, twins.Twins((twins.Link(a, b, "copy", 0.99),), 1))
    one, two, three, four, five = (entry.group for entry in after.entries)
    assert one == two == three
    assert one is not None
    assert four is None
    assert five not in (None, one)


def test_a_row_for_every_file():
    with pytest.raises(ValueError, match="as many fingerprints as files"):
        twins.find([("a", "b")], np.zeros((0, hashes.BYTES), np.uint8))


def test_nothing_at_all():
    assert twins.find([], np.zeros((0, hashes.BYTES), np.uint8)) == twins.Twins((), 0)
