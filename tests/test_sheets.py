"""Contact sheets: where pictures stand, what stands below them, and that any name is one line that fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart import api, config, sheets
from tellapart.errors import OutputError, SettingsError
from tellapart.predict import Prediction
from tellapart.previews import Preview, Varied

CELL = 160
LEFT, STEP = 24, 160 + 20  # of the first picture; from one to the next
GREEN, RED, BLUE, GREY = (0x1A, 0x7F, 0x37), (0xCF, 0x22, 0x2E), (0x09, 0x69, 0xDA), (0x8C, 0x95, 0x9F)
GROUND = (0xF3, 0xF5, 0xF7)  # of a square, where the picture does not reach
WHITE = (255, 255, 255)


def picture(path: Path, pixels: np.ndarray) -> str:
    Image.fromarray(pixels).save(path)
    return str(path)


def answer(path: str, label: str | None, probability: float, **more) -> Prediction:
    return Prediction(path, label, probability, {label or "cats": probability, "others": 1 - probability}, **more)


def plain(path: Path, colour: tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (8, 8)) -> str:
    return picture(path, np.full((size[1], size[0], 3), colour, np.uint8))


def below(sheet: Image.Image, i: int = 0) -> np.ndarray:
    """What stands under the i-th picture of the first row, uint8 (H, 160, 3)."""
    x = LEFT + i * STEP
    return np.asarray(sheet)[LEFT + CELL + 1 :, x : x + CELL]


def count(pixels: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((pixels == colour).all(axis=-1).sum())


def bar_px(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    """The length of the bar below the first picture: the longest row of its colour."""
    return int((below(sheet) == colour).all(axis=-1).sum(axis=1).max())


def test_a_tiny_picture_is_enlarged_pixel_by_pixel(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    sheet = sheets.sheet([answer(picture(tmp_path / "a.png", levels), "a", 0.9)])
    assert sheet.mode == "RGB"
    assert sheet.width == 2 * LEFT + CELL
    square = np.asarray(sheet)[LEFT : LEFT + CELL, LEFT : LEFT + CELL]
    np.testing.assert_array_equal(square, np.kron(levels, np.ones((20, 20, 1), np.uint8)))
    assert sheet.getpixel((0, 0)) == sheet.getpixel((sheet.width - 1, sheet.height - 1)) == WHITE


@pytest.mark.parametrize(
    ("size", "inside"),  # inside the square: left, top, right, bottom
    [
        ((320, 80), (0, 60, 160, 100)),  # halved
        ((80, 320), (60, 0, 100, 160)),
        ((100, 50), (0, 40, 160, 120)),  # 1.6 times as large
        ((30, 60), (50, 20, 110, 140)),  # 2.67 times would fit: twice as large
        ((3000, 1), (0, 79, 160, 80)),
    ],
)
def test_a_picture_stands_whole_and_undistorted_in_the_middle(
    tmp_path: Path, size: tuple[int, int], inside: tuple[int, int, int, int]
) -> None:
    sheet = sheets.sheet([answer(plain(tmp_path / "a.png", size=size), "a", 0.9)])
    square = np.asarray(sheet)[LEFT : LEFT + CELL, LEFT : LEFT + CELL]
    left, top, right, bottom = inside
    wanted = np.full((CELL, CELL, 3), GROUND, np.uint8)
    wanted[top:bottom, left:right] = (10, 20, 30)
    np.testing.assert_array_equal(square, wanted)


@pytest.mark.parametrize(
    ("n", "columns", "grid"),
    [(1, None, (1, 1)), (3, None, (3, 1)), (5, None, (5, 1)), (6, None, (3, 2)), (10, None, (5, 2)), (7, None, (4, 2)),
     (24, None, (5, 5)), (3, 2, (2, 2)), (2, 4, (4, 1))],
)  # fmt: skip
def test_rows_and_columns(tmp_path: Path, n: int, columns: int | None, grid: tuple[int, int]) -> None:
    colours = [(10 * i, 255 - 10 * i, 7) for i in range(n)]
    asked = [answer(plain(tmp_path / f"{i}.png", colours[i]), "a", 0.9) for i in range(n)]
    sheet = sheets.sheet(asked, columns=columns)
    one = sheets.sheet(asked[:1])
    across, down = grid
    step_y = one.height - 2 * LEFT + 20
    assert sheet.size == (2 * LEFT + across * STEP - 20, 2 * LEFT + down * step_y - 20)
    for i in range(n):
        place = (LEFT + i % across * STEP + CELL // 2, LEFT + i // across * step_y + CELL // 2)
        assert sheet.getpixel(place) == colours[i]


def test_the_bar_is_as_long_as_the_probability(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.png")
    full = bar_px(sheets.sheet([answer(path, "a", 1.0)]), BLUE)
    assert 95 <= full <= 120
    for probability in (0.25, 0.5, 0.9):
        assert bar_px(sheets.sheet([answer(path, "a", probability)]), BLUE) == pytest.approx(probability * full, abs=2)


def test_right_and_wrong_differ_in_colour_in_shape_and_in_words(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.png")
    asked = [answer(path, "cats", 0.8)] * 3
    sheet = sheets.sheet(asked, truths=["cats", "dogs", None])
    right, wrong, open_ = (below(sheet, i) for i in range(3))
    assert count(right, GREEN) > 500
    assert count(right, RED) == count(right, BLUE) == 0
    assert count(wrong, RED) > 500
    assert count(wrong, GREEN) == count(wrong, BLUE) == 0
    assert count(open_, BLUE) > 400
    assert count(open_, GREEN) == count(open_, RED) == 0
    # The sign without its colour: a tick's white is not a cross's. It is left of the name, which stands 40 px lower.
    signs = [np.all(each[30:50, :18] == WHITE, axis=-1) for each in (right, wrong)]
    assert (signs[0] != signs[1]).sum() > 10
    # The right label is written where the answer is wrong, and only there.
    assert not np.array_equal(wrong[50:68], right[50:68])
    assert (right[52:68] == 255).all()
    all_right = sheets.sheet(asked, truths=["cats", "cats", None])
    assert all_right.height < sheet.height


def test_unknown_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.png")
    one = answer(path, None, 0.6, unknown=True)
    for truth in ("cats", "dogs"):
        found = below(sheets.sheet([one], truths=[truth]))
        assert count(found, RED) == count(found, GREEN) == count(found, BLUE) == 0
        assert count(found, GREY) > 100
    assert sheets._second_line(one, None)[0] == "most like cats, 60 %"
    assert sheets._second_line(one, "dogs")[0] == "it is dogs"


def test_what_could_not_be_read_stands_there_with_its_reason(tmp_path: Path) -> None:
    lost = Prediction(str(tmp_path / "lost.png"), None, None, error="no such file or folder")
    sheet = sheets.sheet([lost, answer(plain(tmp_path / "a.png"), "a", 0.9)], truths=["a", "a"])
    square = np.asarray(sheet)[LEFT : LEFT + CELL, LEFT : LEFT + CELL]
    assert count(square, GROUND) > 0.8 * CELL * CELL
    assert count(square, GREY) > 50  # the sign
    assert (square[75:110] != GROUND).any(axis=-1).sum() > 100  # the reason
    assert count(below(sheet), GREEN) == count(below(sheet), RED) == 0
    other = sheets.sheet([Prediction(lost.path, None, None, error="empty file (0 bytes)")])
    assert not np.array_equal(np.asarray(other)[LEFT : LEFT + CELL, LEFT : LEFT + CELL], square)


def test_a_picture_that_is_gone_since_its_answer_keeps_the_answer(tmp_path: Path) -> None:
    gone = plain(tmp_path / "a.png")
    there = sheets.sheet([answer(gone, "cats", 0.8)], truths=["cats"])
    Path(gone).unlink()
    after = sheets.sheet([answer(gone, "cats", 0.8)], truths=["cats"])
    np.testing.assert_array_equal(below(after), below(there))
    assert after.getpixel((LEFT + 5, LEFT + 5)) == GROUND
    of_pixels = sheets.sheet([answer("", "cats", 0.8)], truths=["cats"])
    np.testing.assert_array_equal(below(of_pixels), below(there))


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "< 1 %"), (0.004, "< 1 %"), (0.006, "1 %"), (0.976, "98 %"), (0.994, "99 %"), (0.9951, "> 99 %"),
     (1, "> 99 %")],
)  # fmt: skip
def test_no_probability_is_rounded_to_certainty(share: float, text: str) -> None:
    assert sheets._percent(share) == text


def test_the_title_stands_above(tmp_path: Path) -> None:
    asked = [answer(plain(tmp_path / "a.png"), "a", 0.9)]
    bare, titled = sheets.sheet(asked), sheets.sheet(asked, title="Cats, and what is taken for cats")
    head = titled.height - bare.height
    assert head == 39  # 2.3 times the 17 px of the text
    np.testing.assert_array_equal(np.asarray(titled)[LEFT + head :], np.asarray(bare)[LEFT:])
    assert (np.asarray(titled)[LEFT : LEFT + head] < 100).any()
    assert (np.asarray(titled)[:, LEFT + CELL + 2 :] == 255).all()  # cut at the margin


@pytest.mark.parametrize(
    ("n", "options", "said"),
    [
        (0, {}, "A sheet must have 1 to 400 predictions; got 0."),
        (401, {}, "A sheet must have 1 to 400 predictions; got 401."),
        (2, {"truths": ["a"]}, "truths must be as many as the 2 predictions; got 1."),
        (2, {"columns": 0}, "columns must be from 1 to 400; got 0."),
        (2, {"cell_px": 63}, "cell_px must be from 64 to 1024; got 63."),
    ],
)
def test_settings_out_of_range(n: int, options: dict, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        sheets.sheet([answer("a.png", "a", 0.9)] * n, **options)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cell_px", [64, 1024])
def test_the_smallest_and_the_largest_squares(tmp_path: Path, cell_px: int) -> None:
    sheet = sheets.sheet([answer(plain(tmp_path / "a.png"), "cats", 0.9)], truths=["dogs"], cell_px=cell_px)
    assert sheet.width == 2 * LEFT + cell_px
    inside = np.asarray(sheet)[LEFT : LEFT + cell_px, LEFT : LEFT + cell_px]
    assert (inside == (10, 20, 30)).all()


def test_save_writes_png_and_replaces_nothing_unasked(tmp_path: Path) -> None:
    sheet = sheets.sheet([answer(plain(tmp_path / "a.png"), "a", 0.9)])
    target = tmp_path / "sheet"
    sheets.save(sheet, target)
    with Image.open(target) as back:
        assert back.format == "PNG"
        np.testing.assert_array_equal(np.asarray(back), np.asarray(sheet))
    before = target.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        sheets.save(sheet, target)
    assert target.read_bytes() == before
    sheets.save(sheets.sheet([answer("", "b", 0.5)]), target, force=True)
    assert target.read_bytes() != before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.png", "sheet"]


# Training pictures


def preview(size_px: int, labels: list[str], *, n_epochs: int = 3) -> Preview:
    """Each picture in one colour of its own: used, then epoch by epoch."""
    recipe = config.SCRATCH.override(size_px=size_px, augment="strong")
    colours = [[(20 * i, 40 * j, 200) for j in range(n_epochs + 1)] for i in range(len(labels))]
    full = [[np.full((size_px, size_px, 3), colour, np.uint8) for colour in row] for row in colours]
    rows = [
        Varied(f"/p/{i}.jpg", label, i, row[0], np.stack(row[1:]))
        for i, (label, row) in enumerate(zip(labels, full, strict=True))
    ]
    return Preview(recipe, 3, tuple(rows))


@pytest.mark.parametrize(("size_px", "cell_px"), [(32, 128), (64, 128), (96, 96), (224, 224), (512, 256)])
def test_a_row_is_a_picture_in_use_and_in_each_epoch(size_px: int, cell_px: int) -> None:
    labels = ["cats", "dogs", "x" * 500, "two\nlines"]
    sheet = sheets.variants(preview(size_px, labels))
    pixels = np.asarray(sheet)
    lefts = [LEFT + i * (cell_px + 10) + (20 if i else 0) for i in range(4)]
    assert sheet.width == lefts[-1] + cell_px + LEFT
    tops = []
    for i in range(4):
        places = np.argwhere((pixels == (20 * i, 0, 200)).all(axis=-1))
        (top, left), (bottom, right) = places.min(axis=0), places.max(axis=0)
        assert (left, right - left + 1, bottom - top + 1) == (LEFT, cell_px, cell_px)
        tops.append(top)
        for j, left in enumerate(lefts):
            assert (pixels[top : top + cell_px, left : left + cell_px] == (20 * i, 40 * j, 200)).all()
        below = pixels[top + cell_px : top + cell_px + 50]
        assert (below < 100).all(axis=-1).sum() > 50  # the class
    assert len(set(np.diff(tops))) == 1
    assert (pixels[:, sheet.width - LEFT :] == 255).all()  # nothing runs over the margin
    assert (pixels[sheet.height - LEFT :] == 255).all()


def test_training_pictures_are_enlarged_pixel_by_pixel() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    one = Preview(config.SCRATCH.override(size_px=32), 0, (Varied("a.png", "a", 0, levels[0], levels[1:]),))
    pixels = np.asarray(sheets.variants(one))
    large = np.kron(levels[0], np.ones((4, 4, 1), np.uint8))
    top = next(y for y in range(len(pixels)) if np.array_equal(pixels[y, LEFT : LEFT + 128], large[0]))
    np.testing.assert_array_equal(pixels[top : top + 128, LEFT : LEFT + 128], large)
    second = np.kron(levels[1], np.ones((4, 4, 1), np.uint8))
    np.testing.assert_array_equal(pixels[top : top + 128, LEFT + 158 : LEFT + 286], second)


def test_show_augment_draws_what_the_preview_holds(photos: Path) -> None:
    options = {"augment": "strong", "size": 32, "seed": 4, "progress": False}
    expected = sheets.variants(api.preview(photos, **options))
    np.testing.assert_array_equal(np.asarray(sheets.show_augment(photos, **options)), np.asarray(expected))
    other = sheets.show_augment(photos, **(options | {"seed": 5}))
    assert not np.array_equal(np.asarray(other), np.asarray(expected))
