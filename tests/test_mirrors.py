"""Mirroring: arrows that point left or right lose their meaning in a mirror, colours do not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tellapart import mirrors
from tellapart.catalog import scan


def drawn(folder: Path, *, arrows: bool, n: int = 30) -> Path:
    """Two classes: arrows to the left or to the right, or ones of two colours that point anywhere."""
    rng = np.random.default_rng(0)
    for place, name in enumerate(("a", "b")):
        (folder / name).mkdir(parents=True)
        for i in range(n):
            image = Image.new("RGB", (96, 96), tuple(rng.integers(150, 256, 3).tolist()))
            left = place == 0 if arrows else rng.random() < 0.5
            colour = (20, 20, 20) if arrows else ((200, 0, 0), (0, 0, 200))[place]
            x, y = rng.integers(0, 20, 2).tolist()
            points = [(x, y + 35), (x + 45, y), (x + 45, y + 25), (x + 75, y + 25), (x + 75, y + 45), (x + 45, y + 45)]
            points += [(x + 45, y + 70)]
            ImageDraw.Draw(image).polygon(points if left else [(95 - px, py) for px, py in points], fill=colour)
            image.save(folder / name / f"{i}.png")
    return folder


@pytest.mark.parametrize("arrows", [True, False])
def test_mirroring_hurts_arrows_and_not_colours(tmp_path: Path, arrows: bool) -> None:
    photos = drawn(tmp_path / "p", arrows=arrows)
    assert mirrors.hurt(scan(photos), seed=0, cache=tmp_path / "cache") == arrows


def test_a_file_that_cannot_be_read_does_not_decide(tmp_path: Path) -> None:
    photos = drawn(tmp_path / "p", arrows=False)
    (photos / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(200))
    assert not mirrors.hurt(scan(photos), seed=0, cache=tmp_path / "cache")


def test_where_nothing_can_be_told_it_is_not_risked(tmp_path: Path) -> None:
    photos = drawn(tmp_path / "p", arrows=False, n=3)
    for path in (photos / "b").iterdir():
        path.write_bytes(b"\xff\xd8\xff\xe0" + path.name.encode() * 40)
    assert mirrors.hurt(scan(photos), seed=0, cache=tmp_path / "cache")
