"""Unusual pictures among usual ones."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from tellapart import catalog, oddities, traits


def usual(seed, size=(96, 80)):
    """Patches of many brightnesses with sharp edges."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.NEAREST)


def found(tmp_path, special, n=40, size=(96, 80)):
    root = tmp_path / "photos"
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for i in range(n // 2):
            usual([ord(label), i], size).save(root / label / f"{i}.png")
    for name, (image, options) in special.items():
        image.save(root / "a" / name, **options)
    measured = traits.measure(catalog.scan(root).entries, tmp_path / "cache")
    return {each.detail["oddity"]: each for each in oddities.find(measured)}


def names(finding):
    return [Path(path).name for path in finding.paths]


def test_each_oddity_is_told_once_with_its_pictures_the_worst_first(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 3
    pale = Image.fromarray((110 + np.asarray(usual(1)) // 20).astype(np.uint8))
    special = {
        "one.png": (Image.new("RGB", (96, 80), (10, 200, 30)), {}),
        "black.png": (Image.new("RGB", (96, 80)), {}),
        "dark.png": (Image.fromarray(np.asarray(usual(2)) // 8), {}),
        "darker.png": (Image.fromarray(np.asarray(usual(3)) // 16), {}),
        "bright.png": (Image.fromarray(255 - np.asarray(usual(4)) // 8), {}),
        "pale.png": (pale, {}),
        "blurred.png": (usual(5).filter(ImageFilter.GaussianBlur(9)), {}),
        "tiny.png": (usual(6, (16, 16)), {}),
        "long.png": (usual(7, (400, 80)), {}),
        "turned.jpg": (usual(8), {"exif": exif}),
        "moving.gif": (usual(9), {"save_all": True, "append_images": [usual(10)]}),
        "deep.png": (Image.fromarray(np.asarray(usual(11))[..., 0].astype(np.uint16) * 257), {}),
        "print.jpg": (usual(12).convert("CMYK"), {}),
        "named.jpg": (usual(13), {"format": "PNG"}),
    }
    cases = found(tmp_path, special)
    assert {name: names(finding) for name, finding in cases.items()} == {
        "all one colour": ["black.png", "one.png"],
        "very dark": ["darker.png", "dark.png"],
        "very bright": ["bright.png"],
        "pale": ["pale.png"],
        "blurred": ["blurred.png"],
        "tiny": ["tiny.png"],
        "extreme aspect": ["long.png"],
        "rotated by EXIF": ["turned.jpg"],
        "animated": ["moving.gif"],
        "more than 8 bits": ["deep.png"],
        "CMYK": ["print.jpg"],
        "wrong extension": ["named.jpg"],
    }
    assert "named .jpg, is PNG" in cases["wrong extension"].message
    assert "400×80 px, 5.0 to 1" in cases["extreme aspect"].message
    assert cases["all one colour"].proposals[0].action == "drop"
    assert cases["very dark"].proposals[0].action == "keep"
    assert {each.severity for each in cases.values()} == {"warning", "info"}
    assert cases["very dark"].message.startswith("2 pictures are very dark")


def test_what_all_have_in_common_is_not_odd(tmp_path: Path):
    assert found(tmp_path, {}, size=(16, 16)) == {}  # tiny, all of them


def test_wrong_names_need_a_known_extension():
    assert oddities._wrongly_named("a/b.JPG", "PNG")
    assert not oddities._wrongly_named("a/b.JPEG", "JPEG")
    assert not oddities._wrongly_named("a/b", "PNG")
    assert not oddities._wrongly_named("a/b.jpg_large", "JPEG")
