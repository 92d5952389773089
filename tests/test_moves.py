"""The fix list: proposals to a CSV and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellapart import moves
from tellapart.errors import InputError
from tellapart.findings import Finding, Findings, Proposal
from tellapart.moves import Move


def findings(*every: Finding, root: str = "photos") -> Findings:
    return Findings(root, every, True, 1, 1, (), {"cats": {"all": 1}})


def case(kind: str, *proposals: Proposal, severity: str = "warning") -> Finding:
    paths = tuple(each.path for each in proposals)
    return Finding(kind, severity, "One sentence.", "Look.", paths, proposals=proposals)


def write(path: Path, listed: list[Move], folder: str = "photos", labels: str | None = None) -> Path:
    path.write_bytes("".join(moves.lines(listed, folder, labels=labels)).encode("utf-8", "surrogateescape"))
    return path


def text(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_the_gravest_proposal_of_a_picture_wins_and_of_equals_the_first():
    first = case("leak", Proposal("photos/a/1.jpg", "keep", reason="the best copy"))
    second = case(
        "wrong_label",
        Proposal("photos/a/1.jpg", "move", "b", "looks like b"),
        Proposal("photos/a/2.jpg", "move", "b", "looks like b"),
        Proposal("photos/a/3.jpg", "keep", "b", "maybe b"),
    )
    third = case(
        "near_duplicate",
        Proposal("photos/a/2.jpg", "drop", reason="a smaller copy"),
        Proposal("photos/a/1.jpg", "move", "c", "looks like c"),
    )
    assert moves.proposed(findings(first, second, third)) == [
        Move("a/1.jpg", "move", "b", "wrong_label", "looks like b"),
        Move("a/2.jpg", "drop", "", "near_duplicate", "a smaller copy"),
        Move("a/3.jpg", "keep", "", "wrong_label", "maybe b"),
    ]


def test_a_list_says_what_it_is_about_and_comes_back_as_it_was_written(tmp_path: Path):
    strange = [
        "a/lone\rreturn.jpg",
        'a/=1".jpg',
        "a/x\ny\r.jpg",
        "-b/+.jpg",
        "'c/d.jpg",
        "a/é,;.jpg",
        "a/\udcff.jpg",
        " a/ b.jpg ",
    ]
    listed = [Move(path, "drop", "", "odd", "=HYPERLINK(1)") for path in strange]
    listed.append(Move("a/m.jpg", "move", "@dogs", "wrong_label", "looks like '@dogs'"))
    path = write(tmp_path / "moves.csv", listed, str(tmp_path / "photos"), str(tmp_path / "labels.csv"))
    first = path.read_bytes().split(b"\n")[:3]
    assert first[0] == b"path,action,to,kind,reason"
    assert first[1] == f"{tmp_path}/photos,folder,,,the folder that this list is about".encode()
    assert first[2] == f"{tmp_path}/labels.csv,labels,,,its table of labels".encode()
    assert b"'=HYPERLINK" in path.read_bytes()
    assert b"a/\xff.jpg" in path.read_bytes()
    read = moves.read(path)
    assert (read.folder, read.labels) == (str(tmp_path / "photos"), str(tmp_path / "labels.csv"))
    assert [(each.path, each.action, each.to, each.kind, each.reason) for each in read.moves] == [
        (each.path, each.action, each.to, each.kind, each.reason) for each in listed
    ]
    assert read.moves[1].line == 6


@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1).filter(str.strip))
)
def test_every_path_comes_back(tmp_path_factory: pytest.TempPathFactory, paths: list[str]):
    path = write(tmp_path_factory.getbasetemp() / "any.csv", [Move(each, "keep") for each in paths])
    assert [each.path for each in moves.read(path).moves] == paths


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_list_that_a_spreadsheet_saved_is_read(tmp_path: Path, encoding: str, delimiter: str):
    rows = [["Path", "ACTION ", "to"], ["a/é.jpg", "Drop", ""], ["", "", ""], ["a/2.jpg", " MOVE", " dogs "]]
    content = "\r\n".join(delimiter.join(row) for row in rows)
    read = moves.read(text(tmp_path / "moves.csv", content.encode(encoding)))
    assert [(each.path, each.action, each.to) for each in read.moves] == [
        ("a/é.jpg", "drop", ""),
        ("a/2.jpg", "move", "dogs"),
    ]
    assert read.folder is None


def test_each_row_that_makes_no_sense_is_named_with_its_line(tmp_path: Path):
    content = (
        "path,action,to\na.jpg,delete,\nb.jpg,move,\nc.jpg,keep,dogs\n ,drop,\nd.jpg,drop,,x\nphotos,folder,\n"
        "others,folder,\n"
    )
    with pytest.raises(InputError) as caught:
        moves.read(text(tmp_path / "moves.csv", content))
    message = str(caught.value)
    for said in (
        "line 2: the action must be keep, drop or move; got 'delete'",
        "line 3: 'to' must name the class to move the picture to; it is empty",
        "line 4: 'to' must be empty unless the action is move; got 'dogs' with keep",
        "line 5: the path is empty",
        "line 6: more cells than columns ('x')",
        "line 8: the action 'folder' must stand once",
        "Nothing was done.",
    ):
        assert said in message
    assert "\n" not in message


def test_of_many_bad_rows_the_first_are_told_and_the_rest_counted(tmp_path: Path):
    content = "path,action,to\n" + "a.jpg,burn,\n" * 1000
    with pytest.raises(InputError, match=r"line 9: .*; and 992 more\. Nothing"):
        moves.read(text(tmp_path / "moves.csv", content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty; a fix list begins with the columns"),
        ("path,label\na,b\n", "has no action and no to"),
        ("path,action,to,path\n", "two columns named 'path'"),
        ('path,action,to\n"a,drop,\n', "breaks the rules of CSV"),
        (b"PK\x03\x04\0\0", "must be plain text"),
        ("path,action,to\n" + "x" * 200_000 + ",drop,\n", "breaks the rules of CSV at line 2: field larger"),
    ],
)
def test_what_is_no_fix_list_is_refused(tmp_path: Path, content: str | bytes, said: str):
    with pytest.raises(InputError, match=said):
        moves.read(text(tmp_path / "moves.csv", content))
    with pytest.raises(InputError, match="there is no such file"):
        moves.read(tmp_path / "none.csv")
    with pytest.raises(InputError, match="no regular file"):
        moves.read(tmp_path)


def test_paths_are_told_from_the_folder_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    assert moves.relative("photos/a/1.jpg", "photos") == "a/1.jpg"
    assert moves.relative("./photos/a/1.jpg", str(tmp_path / "photos")) == "a/1.jpg"
    assert moves.relative("/elsewhere/1.jpg", "photos") == "/elsewhere/1.jpg"
    assert moves.relative("photos2/1.jpg", "photos") == "photos2/1.jpg"
