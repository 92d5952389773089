"""Distributions by class, counted by hand."""

from pathlib import Path

from PIL import Image

from tellapart import catalog, distributions, traits


def test_every_picture_is_in_one_bin_of_its_class(tmp_path: Path):
    for label, sizes in {"a": [(10, 20), (21, 20)], "b": [(40, 10), (40, 20), (40, 40)]}.items():
        (tmp_path / "p" / label).mkdir(parents=True)
        for i, size in enumerate(sizes):
            Image.new("RGB", size, (i, 0, 0)).save(tmp_path / "p" / label / f"{i}.png")
    measured = traits.measure(catalog.scan(tmp_path / "p").entries, tmp_path / "cache")
    found = {each.name: each for each in distributions.of(measured)}
    assert list(found) == ["width", "height", "aspect ratio", "file size", "brightness", "sharpness"]
    width = found["width"]
    assert len(width.edges) == distributions.BINS + 1
    assert (round(width.edges[0], 6), round(width.edges[-1], 6)) == (10, 40)
    assert {label: sum(counts) for label, counts in width.counts.items()} == {"a": 2, "b": 3}
    assert width.counts["b"][-1] == 3
    assert width.counts["a"][0] == 1
    assert width.counts["a"][16] == 1  # 30 · log(2.1) / log(4) = 16.06
    assert found["brightness"].counts["a"][0] == 2


def test_nothing_has_no_distribution(tmp_path: Path):
    assert distributions.of(traits.measure((), tmp_path)) == ()
