"""What is measured of a picture, against values worked out by hand."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart import catalog, hashes, traits
from tellapart.traits import ROW, measure, row_of, statistics


def png(pixels, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", **options)
    return stream.getvalue()


def row(data):
    return row_of(data).view(ROW)[0]


def halves(left=0, right=255, height=40, width=60):
    pixels = np.full((height, width, 3), left, np.uint8)
    pixels[:, width // 2 :] = right
    return pixels


def test_statistics_of_two_halves():
    found = statistics(halves())
    assert found["brightness"] == 127.5
    np.testing.assert_allclose(found["mean"], 127.5)
    np.testing.assert_allclose(found["std"], 127.5)
    np.testing.assert_array_equal(found["levels"], [0, 0, 0, 255, 255])
    assert found["flat"] == 0.5
    assert found["chroma"] == 0
    # 40 of the 40·59 + 39·60 steps are edges, 0.9 %: the steepest half percent are of the whole range.
    assert found["sharpness"] == 1
    np.testing.assert_allclose(found["side_mean"][2], 0)
    np.testing.assert_allclose(found["side_mean"][3], 255)
    np.testing.assert_allclose(found["side_std"], [127.5, 127.5, 0, 0])
    np.testing.assert_allclose(found["band"], [0, 0, 0.5, 0.5])


def test_a_ramp_is_as_sharp_as_its_steps_are_steep():
    ramp = np.repeat(np.tile(np.arange(0, 250, 5, dtype=np.uint8), (30, 1))[..., None], 3, axis=2)
    found = statistics(ramp)  # 50 levels, 0 to 245; 1 % and 99 % of the pixels end at the first and the last
    assert found["sharpness"] == pytest.approx(5 / 245)


def test_one_colour_has_no_edges_and_its_colour():
    found = statistics(np.full((30, 30, 3), (200, 100, 0), np.uint8))
    assert (found["sharpness"], found["flat"], found["chroma"]) == (0, 1, 200)
    np.testing.assert_allclose(found["mean"], (200, 100, 0))
    np.testing.assert_allclose(found["band"], 1)


def test_a_row_tells_size_format_and_bytes_of_the_upright_file():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png(halves(), exif=exif)
    found = row(data)
    assert (found["width"], found["height"], found["bytes"]) == (40, 60, len(data))
    assert (traits.FORMATS[found["format"]], found["orientation"], found["bits"]) == ("PNG", 6, 8)
    np.testing.assert_array_equal(found["fingerprint"], hashes.of(np.rot90(halves(), -1).copy()))


def test_corners_are_of_the_files_own_px_at_any_scale():
    pixels = np.zeros((640, 800, 3), np.uint8)
    pixels[:32, :32] = 250
    pixels[-32:, -32:] = (250, 0, 0)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, subsampling=0)
    for data in (png(pixels), stream.getvalue()):  # a JPEG of this size is decoded at a quarter
        found = row(data)["corners"].astype(int)
        assert found.shape == (4, traits.CORNER, traits.CORNER, 3)
        np.testing.assert_allclose(found[0], 250, atol=8)
        np.testing.assert_allclose(found[1:3], 0, atol=8)
        np.testing.assert_allclose(found[3].mean(axis=(0, 1)), (250, 0, 0), atol=8)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 2), (16, 16), (2000, 3)])
def test_any_size_has_a_finite_row(size):
    found = row(png(np.full((*size, 3), 7, np.uint8)))
    assert all(np.isfinite(found[name].astype(float)).all() for name in ROW.names)
    assert (found["thumb"] == 7).all()
    assert (found["corners"] == 7).all()


def test_every_content_is_looked_at_once_and_stays_known(tmp_path: Path):
    root = tmp_path / "photos"
    for i, (label, level) in enumerate([("a", 10), ("a", 20), ("b", 30), ("b", 30)]):
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / f"{i}.png").write_bytes(png(halves(level)))
    (root / "b" / "broken.png").write_bytes(png(halves(77))[:90])
    entries = catalog.scan(root).entries
    found = measure(entries, tmp_path / "cache")
    assert found.n_decoded == 3
    assert [Path(entry.path).name for entry in found.entries] == ["0.png", "1.png", "2.png", "3.png"]
    np.testing.assert_array_equal(found.column("side_mean")[:, 2, 0], [10, 20, 30, 30])
    np.testing.assert_array_equal(found.column("width", np.array([3, 0])), [60, 60])
    assert len(set(found.contents.tolist())) == 3
    assert found.labels.tolist() == ["a", "a", "b", "b"]
    broken = hashlib.sha256(png(halves(77))[:90]).hexdigest()
    assert found.failures == {broken: "truncated: the file ends before the picture does"}
    again = measure(entries, tmp_path / "cache")
    assert again.n_decoded == 0
    np.testing.assert_array_equal(again.column("thumb"), found.column("thumb"))
    assert found.entries == catalog.without(catalog.scan(root), found.failures).entries


def test_nothing_gives_columns_of_nothing(tmp_path: Path):
    found = measure((), tmp_path)
    assert found.column("thumb").shape == (0, traits.THUMB, traits.THUMB, 3)
