"""Contact sheets: where pictures stand, what stands below them, and that any name is one line that fits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart import sheets
from tellapart.errors import OutputError, SettingsError
from tellapart.predict import Prediction

CELL = 160
LEFT, STEP = 24, 160 + 20  # of the first picture; from one to the next
GREEN, RED, BLUE, GREY = (0x1A, 0x7F, 0x37), (0xCF, 0x22, 0x2E), (0x09, 0x69, 0xDA), (0x8C, 0x95, 0x9F)
GROUND = (0xF3, 0xF5, 0xF7)  # of a square, where the picture does not reach
WHITE = (255, 255, 255)


@pytest.fixture(params=["OpenCV's font", "Pillow's font"])
def font(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "Pillow's font":
        monkeypatch.setattr(sheets, "_cv2_font", lambda: None)
    elif sheets._cv2_font() is None:
        pytest.skip("OpenCV has its own font from version 5 on")
    sheets._drawable.cache_clear()
    yield request.param
    sheets._drawable.cache_clear()


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


@pytest.mark.usefixtures("font")
@pytest.mark.parametrize("bold", [False, True])
def test_a_name_too_long_is_cut(bold: bool) -> None:
    name = "Canis lupus familiaris, seen by night"
    assert sheets.fit_text(name, 17, 1000, bold=bold) == name
    for width in (40, 80, 160):
        cut = sheets.fit_text(name, 17, width, bold=bold)
        assert cut.endswith("…")
        assert name.startswith(cut[:-1])
        assert sheets._length(cut, 17, bold) <= width
        assert sheets._length(name[: len(cut) + 1] + "…", 17, bold) > width  # no shorter than it must be


@pytest.mark.usefixtures("font")
def test_a_line_drawn_is_as_long_as_it_was_measured() -> None:
    for line in ("cats", "WWW", "iiiiii", "a…", "98 %"):
        mask, above = sheets._rendered(line, 20)
        columns = np.flatnonzero((mask > 40).any(axis=0))
        assert columns[0] <= 3
        assert sheets._length(line, 20) - 4 <= columns[-1] <= sheets._length(line, 20)
        assert mask[:above].any()
        assert not mask[above + 5 :].any()


@pytest.mark.usefixtures("font")
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("two\nlines\t", r"two\nlines\t"),
        ("\udcff", r"\udcff"),  # a byte that is no text
        ("quote\"'\\", "quote\"'\\"),
        ("\u05d7\u05ea\u05d5\u05dc", r"\u05d7\u05ea\u05d5\u05dc"),  # Hebrew: from right to left
        ("\u0939\u093f", r"\u0939\u093f"),  # Devanagari: stacked
        ("\U0001f408", r"\U0001f408"),  # a cat
        ("?", "?"),
    ],
)
def test_what_no_font_here_can_draw_is_escaped(name: str, line: str) -> None:
    assert sheets.fit_text(name, 17, 1000) == line


@pytest.mark.parametrize(
    ("name", "escaped"),
    [("Größe", r"Gr\xf6\xdfe"), ("кошки", r"\u043a\u043e\u0448\u043a\u0438"), ("猫", r"\u732b")],
)
def test_other_scripts_are_drawn_where_opencv_has_its_font(font: str, name: str, escaped: str) -> None:
    assert sheets.fit_text(name, 17, 1000) == (name if font == "OpenCV's font" else escaped)


@pytest.mark.skipif(sheets._cv2_font() is None, reason="OpenCV has its own font from version 5 on")
def test_an_accent_apart_is_joined() -> None:
    assert sheets.fit_text("cafe\u0301", 17, 1000) == "caf\u00e9"


@pytest.mark.usefixtures("font")
def test_a_reason_is_broken_at_spaces() -> None:
    reason = "an HTML page and not a picture at all"
    lines = sheets._wrapped(reason, 14, 144, 9)
    assert " ".join(lines) == reason
    assert len(lines) > 1
    assert all(sheets._length(line, 14) <= 144 for line in lines)
    two = sheets._wrapped(reason * 9, 14, 144, 2)
    assert len(two) == 2
    assert two[0] == lines[0]
    assert two[1].endswith("…")


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
