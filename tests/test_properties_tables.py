"""Tables of labels of any text, as people's programs write them: what was written is what is read."""

from __future__ import annotations

import csv
import io
import tempfile
import unicodedata
from pathlib import Path

from hypothesis import assume, given
from hypothesis import strategies as st

from conftest import examples
from tellapart.errors import InputError
from tellapart.files import split_name
from tellapart.tables import DELIMITERS, open_table, rows

# No surrogates, which no encoding holds, and no NUL, which no text file has.
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
SPLITS = st.sampled_from(["train", "Training set", " val ", "TEST", "dev"])


def written(folder: str, lines: list[list[str]], delimiter: str, quoting: int, ending: str, encoding: str) -> Path:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=ending).writerows(lines)
    path = Path(folder) / "labels.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    return path


@examples(60)
@given(
    st.lists(st.tuples(ANY, ANY, SPLITS, ANY, ANY), min_size=1, max_size=8),
    st.sampled_from(DELIMITERS),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(ENCODINGS),
)
def test_what_was_written_is_what_is_read(
    cells: list[tuple[str, ...]], delimiter: str, quoting: int, ending: str, encoding: str
) -> None:
    header = ["Note", "path", "label", "split", "patient"]
    lines = [[note, path, label, split, patient] for path, label, split, patient, note in cells]
    if any(end in cell for line in lines for cell in line for end in "\r\n"):
        quoting = csv.QUOTE_ALL  # Python before 3.13 leaves a line end bare where it is not its own
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, [header, *lines], delimiter, quoting, ending, encoding)
        table = open_table(path, group_column="patient")
        assert (table.delimiter, table.columns) == (delimiter, tuple(header))
        assert (table.path_index, table.label_index, table.split_index, table.group_index) == (1, 2, 3, 4)
        found = list(rows(table))
    assert len(found) == len(lines)
    for row, line in zip(found, lines, strict=True):
        _, value, label, split, patient = line
        plain = unicodedata.normalize("NFC", label.strip())
        assert (row.value, row.label, row.split) == (value, plain, split_name(split))
        assert row.group == (unicodedata.normalize("NFC", patient.strip()) or None)
        if row.reason is None:
            assert value.strip()
            assert plain
            assert list(row.cells) == line
        else:
            assert row.reason == ("the row's path is empty" if not value.strip() else "the row's label is empty")
            assert row.cells == ()


@examples(40)
@given(st.lists(st.lists(ANY, min_size=1, max_size=5), min_size=1, max_size=6), st.sampled_from(DELIMITERS))
def test_a_ragged_table_is_counted_row_by_row(lines: list[list[str]], delimiter: str) -> None:
    """Every row that is not blank is there once: used, or with its reason."""
    with tempfile.TemporaryDirectory() as folder:
        table = open_table(written(folder, [["path", "label", "x"], *lines], delimiter, csv.QUOTE_ALL, "\n", "utf-8"))
        found = list(rows(table))
    full = [line for line in lines if any(cell.strip() for cell in line)]
    assert len(found) == len(full)
    for row, line in zip(found, full, strict=True):
        if len(line) < 2:
            assert row.reason is not None
            assert row.reason.startswith("too few columns (line ")
        elif any(line[3:]):
            assert row.reason is not None
            assert row.reason.startswith("too many columns (line ")
        else:
            assert (row.reason is None) == bool(line[0].strip() and line[1].strip())


@examples(80)
@given(
    st.binary(max_size=120),
    st.sampled_from([b"", b"path,label\n", b"\xef\xbb\xbfpath;label\n", b"\xff\xfe", b'"path","label"\n']),
)
def test_any_bytes_are_a_table_or_a_reason_of_one_line(content: bytes, begin: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.csv"
        path.write_bytes(begin + content)
        try:
            for row in rows(open_table(path)):
                assert row.reason is not None or (row.value.strip() and row.label)
        except InputError as error:
            said = str(error)
        else:
            said = "none"
    assert said.isprintable()


@examples(40)
@given(st.lists(ANY.filter(lambda name: name.strip()), min_size=2, max_size=6), st.data())
def test_columns_are_found_by_their_own_names(names: list[str], data: st.DataObject) -> None:
    plain = [name.strip() for name in names]
    assume(len({name.casefold().replace(" ", "_").replace("-", "_") for name in plain}) == len(plain))
    assume(not any(Path(name).suffix.lower() in {".jpg", ".png", ".gif"} for name in plain))
    path_at, label_at = data.draw(st.permutations(range(len(names))))[:2]
    with tempfile.TemporaryDirectory() as folder:
        line = [f"cell {i}" for i in range(len(names))]
        path = written(folder, [names, line], ",", csv.QUOTE_ALL, "\n", "utf-8")
        table = open_table(path, path_column=names[path_at], label_column=names[label_at])
        assert (table.path_index, table.label_index) == (path_at, label_at)
        (row,) = rows(table)
    assert (row.value, row.label) == (f"cell {path_at}", f"cell {label_at}")
