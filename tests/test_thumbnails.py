"""Thumbnails: upright, small, each content once, within a limit."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import draw
from tellapart import thumbnails
from tellapart.errors import PictureError


def opened(thumbnail: thumbnails.Thumbnail) -> Image.Image:
    head, _, data = thumbnail.uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("size", "small"), [((640, 320), (160, 80)), ((30, 20), (30, 20)), ((4000, 3), (160, 1)), ((160, 161), (159, 160))]
)
def test_the_longer_side_is_at_most_160(size: tuple[int, int], small: tuple[int, int]):
    made = thumbnails.make(jpeg(Image.new("RGB", size, "teal")))
    assert (made.width_px, made.height_px) == small
    assert opened(made).size == small


def test_a_thumbnail_is_upright_and_shows_the_picture():
    image = Image.new("RGB", (400, 200), (200, 30, 30))
    image.paste((30, 30, 200), (0, 0, 200, 200))
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is the right side
    made = opened(thumbnails.make(jpeg(image, exif=exif))).convert("RGB")
    assert made.size == (80, 160)
    assert np.abs(np.subtract(made.getpixel((40, 30)), (30, 30, 200))).max() < 20
    assert np.abs(np.subtract(made.getpixel((40, 130)), (200, 30, 30))).max() < 20


def test_a_broken_picture_is_refused():
    with pytest.raises(PictureError):
        thumbnails.make(b"no picture")


def test_each_content_is_there_once_and_what_cannot_be_read_has_its_reason(tmp_path: Path):
    for name, seed in (("a", 1), ("copy", 1), ("b", 2)):
        draw("circles", seed).save(tmp_path / f"{name}.png")
    (tmp_path / "empty.jpg").write_bytes(b"")
    paths = [str(tmp_path / name) for name in ("a.png", "copy.png", "empty.jpg", "b.png", "none.png", "a.png")]
    album = thumbnails.album(paths)
    assert len(album.thumbnails) == 2
    assert album.contents[paths[0]] == album.contents[paths[1]] != album.contents[paths[3]]
    assert album.reasons == {paths[2]: "empty file (0 bytes)", paths[4]: "no such file"}
    assert album.left_out == 0


def test_a_limit_is_kept_and_what_is_left_out_is_counted():
    rng = np.random.default_rng(0)
    files = {str(i): jpeg(Image.fromarray(rng.integers(0, 255, (60, 60, 3), dtype=np.uint8))) for i in range(40)}
    sizes = [len(thumbnails.make(data).uri) for data in files.values()]
    album = thumbnails.album(files, read=files.__getitem__, limit_bytes=sum(sizes[:10]))
    assert list(album.contents) == [str(i) for i in range(10)]
    assert album.left_out == 30
    assert sum(len(each.uri) for each in album.thumbnails.values()) == sum(sizes[:10])
