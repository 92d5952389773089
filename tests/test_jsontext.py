"""JSON that is not trusted: what Python reads and a stricter reader refuses, and the same values else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart import jsontext

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=50, derandomize=True)
@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_what_is_sound_is_read_as_python_reads_it(value: object, escaped: bool, indent: int | None) -> None:
    try:
        text = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()
    except UnicodeEncodeError:
        return
    assert jsontext.read(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[NaN]", "it holds NaN"),
        (b"[-Infinity]", "it holds -Infinity"),
        (b"[1e309]", "a number that is too large: 1e309"),
        (b"[1" + b"0" * 18 + b"]", "a whole number of over 18 digits"),
        (b"[-1" + b"0" * 18 + b"]", "a whole number of over 18 digits"),
        (b'{"a": 1, "a": 1}', "a key stands twice: 'a'"),
        (b'{"a": {"b": 1, "b": 2}}', "a key stands twice: 'b'"),
        (b'["\xff"]', "it is not UTF-8 at byte 2"),
        ('["a"]'.encode("utf-16"), "it is not UTF-8"),
        (b"\xef\xbb\xbf[]", "BOM"),
        (b'["\\ud83d"]', "half of a surrogate pair"),
        (b"[" * 33 + b"]" * 33, "at most 32 deep; it is 33"),
        (b"[" * 100_000, "at most 32 deep"),
        (b"", "Expecting value"),
        (b"[1] 2", "Extra data"),
        (b"[" + b"1," * 20 + b"1]", "over 20 values"),
        (b"[" + b'"a",' * 11 + b'"a"]', "over 10 texts"),
    ],
)
def test_what_has_no_one_meaning_or_is_too_much_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        jsontext.read(text, most_values=20, most_strings=10)


@pytest.mark.parametrize(
    "text", [b'["[[[[[", "\\"[[[", "\\\\", "]{,,,"]', b'["' + b"1" * 30 + b'"]', b"[0." + b"1" * 30 + b"]", b"[1e300]"]
)
def test_what_stands_in_texts_and_behind_a_point_does_not_count(text: bytes) -> None:
    assert jsontext.read(text, most_deep=1, most_values=5) == json.loads(text)


def test_both_halves_of_a_pair_are_one_character() -> None:
    assert jsontext.read(b'["\\ud83d\\ude00"]') == ["\U0001f600"]


def test_depth_is_counted_over_the_blocks_in_which_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsontext, "BLOCK", 3)
    assert jsontext.read(b'[["[[[[[[", [1, 2]]]', most_deep=3) == [["[[[[[[", [1, 2]]]
    with pytest.raises(ValueError, match="at most 2 deep; it is 3"):
        jsontext.read(b'[["[[[[[[", [1, 2]]]', most_deep=2)
