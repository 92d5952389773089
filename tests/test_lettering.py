"""Text in one line: cut, escaped or broken so that it fits, and drawn as long as it was measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tellapart import lettering


@pytest.fixture(params=["OpenCV's font", "Pillow's font"])
def font(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "Pillow's font":
        monkeypatch.setattr(lettering, "_cv2_font", lambda: None)
    elif lettering._cv2_font() is None:
        pytest.skip("OpenCV has its own font from version 5 on")
    lettering._drawable.cache_clear()
    yield request.param
    lettering._drawable.cache_clear()


@pytest.mark.usefixtures("font")
@pytest.mark.parametrize("bold", [False, True])
def test_a_name_too_long_is_cut(bold: bool) -> None:
    name = "Canis lupus familiaris, seen by night"
    assert lettering.fit_text(name, 17, 1000, bold=bold) == name
    for width in (40, 80, 160):
        cut = lettering.fit_text(name, 17, width, bold=bold)
        assert cut.endswith("…")
        assert name.startswith(cut[:-1])
        assert lettering.length(cut, 17, bold) <= width
        assert lettering.length(name[: len(cut) + 1] + "…", 17, bold) > width  # no shorter than it must be


@pytest.mark.usefixtures("font")
def test_a_line_drawn_is_as_long_as_it_was_measured() -> None:
    for line in ("cats", "WWW", "iiiiii", "a…", "98 %"):
        mask, above = lettering._rendered(line, 20)
        columns = np.flatnonzero((mask > 40).any(axis=0))
        assert columns[0] <= 3
        assert lettering.length(line, 20) - 4 <= columns[-1] <= lettering.length(line, 20)
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
    assert lettering.fit_text(name, 17, 1000) == line


@pytest.mark.parametrize(
    ("name", "escaped"),
    [("Größe", r"Gr\xf6\xdfe"), ("кошки", r"\u043a\u043e\u0448\u043a\u0438"), ("猫", r"\u732b")],
)
def test_other_scripts_are_drawn_where_opencv_has_its_font(font: str, name: str, escaped: str) -> None:
    assert lettering.fit_text(name, 17, 1000) == (name if font == "OpenCV's font" else escaped)


@pytest.mark.skipif(lettering._cv2_font() is None, reason="OpenCV has its own font from version 5 on")
def test_an_accent_apart_is_joined() -> None:
    assert lettering.fit_text("cafe\u0301", 17, 1000) == "caf\u00e9"


@pytest.mark.usefixtures("font")
def test_a_reason_is_broken_at_spaces() -> None:
    reason = "an HTML page and not a picture at all"
    lines = lettering.wrapped(reason, 14, 144, 9)
    assert " ".join(lines) == reason
    assert len(lines) > 1
    assert all(lettering.length(line, 14) <= 144 for line in lines)
    two = lettering.wrapped(reason * 9, 14, 144, 2)
    assert len(two) == 2
    assert two[0] == lines[0]
    assert two[1].endswith("…")
