"""Cells that no spreadsheet takes for formulas."""

from hypothesis import given
from hypothesis import strategies as st

from tellapart.cells import guarded, plain, reversible


def test_only_what_begins_like_a_formula_is_guarded():
    assert [guarded(each) for each in ("=1+1", "+1", "-1", "@x", "\tx", "\rx")] == [
        "'=1+1",
        "'+1",
        "'-1",
        "'@x",
        "'\tx",
        "'\rx",
    ]
    assert [guarded(each) for each in ("", "a=1", "'=1", " =1")] == ["", "a=1", "'=1", " =1"]


@given(st.text())
def test_every_text_comes_back(text: str):
    cell = reversible(text)
    assert plain(cell) == text
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
