"""Cues and marks that give a class away, planted in pictures that have none."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tellapart import catalog, shortcuts, traits

CLASSES = ("a", "b", "c")


def noise(seed, size=(160, 140)):
    """Soft clouds of any colour: nothing in it belongs to a class."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.int16)
    pixels = pixels + rng.integers(-9, 10, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def found(tmp_path, change, classes=CLASSES, n=40, share=0.9):
    """Findings where `change(image, path)` saves `share` of the pictures of the last class."""
    root = tmp_path / "photos"
    for k, label in enumerate(classes):
        (root / label).mkdir(parents=True)
        for i in range(n):
            image, path = noise([k, i]), root / label / f"{i}.jpg"
            if label == classes[-1] and i < share * n:
                change(image, path)
            else:
                image.save(path, quality=85)
    return shortcuts.find(traits.measure(catalog.scan(root).entries, tmp_path / "cache"))


def test_without_a_shortcut_nothing_is_told(tmp_path: Path):
    assert found(tmp_path, lambda image, path: image.save(path, quality=85)) == []


def test_one_class_saved_as_png_is_named(tmp_path: Path):
    (only,) = found(tmp_path, lambda image, path: image.save(path.with_suffix(".png")))
    assert (only.kind, only.severity, only.detail["cue"]) == ("shortcut", "error", "the file format")
    assert only.detail["class"] == "c"
    # 36 of 40 are caught and none of the others: (0.9 + 1) / 2.
    assert only.detail["one_class_accuracy"] == 0.95
    assert "'c': 90 % PNG; the others: 100 % JPEG" in only.message
    assert len(only.paths) == 36


def test_of_two_classes_the_share_is_that_of_all_pictures(tmp_path: Path):
    square = lambda image, path: image.resize((140, 140)).save(path, quality=85)  # noqa: E731
    (only,) = found(tmp_path, square, ("a", "b"), 60)
    assert only.detail["cue"] == "the aspect ratio"
    assert only.message.startswith("95 % of the pictures can be put into their class from the aspect ratio alone")
    assert only.detail["chance"] == 0.5


@pytest.mark.parametrize("cue", ["JPEG quality", "the camera and programs named in EXIF", "the colour mode"])
def test_cues_of_the_file(tmp_path: Path, cue):
    exif = Image.Exif()
    exif[0x010F] = "Canon"

    def change(image, path):
        if cue == "JPEG quality":
            image.save(path, quality=40)
        elif cue == "the colour mode":
            image.convert("L").convert("RGB").save(path, quality=85)
        else:
            image.save(path, quality=85, exif=exif)

    (only,) = found(tmp_path, change)
    assert (only.detail["cue"], only.detail["class"]) == (cue, "c")


def _border(pen, width, height):
    pen.rectangle((0, 0, width - 1, height - 1), outline=(220, 20, 20), width=6)


def _logo(pen, width, height):
    pen.rectangle((width - 18, 6, width - 6, 18), fill=(240, 200, 0))
    pen.ellipse((width - 15, 9, width - 9, 15), fill=(0, 0, 160))


def _block(pen, width, height):
    pen.rectangle((width * 0.4, height * 0.1, width * 0.6, height * 0.3), fill=(255, 0, 255))


@pytest.mark.parametrize(
    ("draw", "where"),
    [
        (_border, "all round the edge or in all four corners"),
        (_logo, "in the top right corner"),
        (_block, "at the top centre"),
    ],
)
def test_a_mark_of_one_class_is_found_where_it_is(tmp_path: Path, draw, where):
    def change(image, path):
        draw(ImageDraw.Draw(image), *image.size)
        image.save(path, quality=85)

    marks = [each for each in found(tmp_path, change, n=60) if each.detail["cue"] == "mark"]
    (only,) = marks
    assert (only.detail["class"], only.detail["where"]) == ("c", where)
    assert only.detail["share_of_class"] == pytest.approx(0.9, abs=0.07)
    assert only.detail["share_of_others"] < 0.06
    assert 50 <= len(only.paths) <= 55


def test_few_pictures_are_no_evidence(tmp_path: Path):
    assert found(tmp_path, lambda image, path: image.save(path.with_suffix(".png")), n=9) == []
