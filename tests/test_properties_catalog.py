"""Any tree of names and files to a catalog: nothing crashes, and every file is used, skipped with its reason, or other.

Which files count as pictures, and which folders are splits, is found out again here in a plain way.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import examples
from tellapart.catalog import Catalog, scan
from tellapart.errors import InputError
from tellapart.files import LOOP, SEEN, is_hidden, shown, split_name
from test_catalog import png

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and names of any bytes need POSIX")

Tree = dict[bytes, "bytes | Tree"]  # a name to a file's bytes or to what a folder holds

PLAIN_NAMES = [
    "cats", "Cats", "CATS", "cats ", "dogs", "train", "Test", "val", "validation_set", "a.jpg", "b.PNG", "c.jpeg.txt",
    "é", "e\u0301", "\u202eevil", "x\ny.png", "tab\t.jpg", "-rf", "'\"; rm", "notes.txt", ".hidden", ".h.jpg",
    "Thumbs.db", "__MACOSX", "con.gif", "日本語.webp", "𝒳", "<b>.png", "*?.bmp", "~", "$HOME",
    "a" * 240 + ".jpg", "nested.jpg", "Icon\r",
]  # fmt: skip
NAMES = st.one_of(
    st.sampled_from([name.encode() for name in PLAIN_NAMES]),
    st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"0")),
    st.text(min_size=1, max_size=8).map(
        lambda text: text.replace("/", "_").replace("\0", "0").encode("utf-8", "surrogatepass")
    ),
).filter(lambda name: name not in (b".", b"..") and len(name) < 256)
CONTENTS = st.one_of(
    st.integers(0, 30).map(png),  # few, so that copies and conflicts come about
    st.sampled_from(
        [b"", b"text", b"\xff\xd8\xff\xe0 cut", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 ", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7"]
    ),
)
TREES = st.recursive(
    st.dictionaries(NAMES, CONTENTS, max_size=4),
    lambda inner: st.dictionaries(NAMES, st.one_of(CONTENTS, inner), max_size=4),
    max_leaves=8,
)
ENDINGS = {
    ".jpg",
    ".jpeg",
    ".png",
    ".gif",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".heic",
    ".heif",
    ".avif",
    ".jfif",
    ".jpe",
}
STARTS = re.compile(rb"\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|\x89PNG\r\n\x1a\n", re.DOTALL)


def build(folder: bytes, tree: Tree) -> None:
    os.makedirs(folder, exist_ok=True)
    for name, what in tree.items():
        path = os.path.join(folder, name)
        if isinstance(what, dict):
            build(path, what)
        else:
            with open(path, "wb") as file:
                file.write(what)


def files_in(tree: Tree, way: str = "") -> dict[str, bytes]:
    """The way to every file that is not hidden, nor in a hidden folder."""
    found: dict[str, bytes] = {}
    for raw, what in tree.items():
        name = os.fsdecode(raw)
        if is_hidden(name):
            continue
        if isinstance(what, dict):
            found |= files_in(what, os.path.join(way, name))
        else:
            found[os.path.join(way, name)] = what
    return found


def a_picture(way: str, content: bytes) -> bool:
    return os.path.splitext(way)[1].lower() in ENDINGS or STARTS.match(content) is not None


def said_of_others(catalog: Catalog) -> int:
    """How many files the notes say were passed over."""
    found = [re.match(r"([\d,]+) other files? passed over", note) for note in catalog.notes]
    return sum(int(each[1].replace(",", "")) for each in found if each)


def folders_in(tree: Tree) -> dict[str, Tree]:
    named = {os.fsdecode(name): what for name, what in tree.items()}
    return {name: what for name, what in named.items() if isinstance(what, dict) and not is_hidden(name)}


def scanned(root: str) -> Catalog | None:
    """None where the tree is refused, in one line."""
    said = "nothing"
    try:
        return scan(root)
    except InputError as error:
        said = str(error)
    assert said.isprintable()
    return None


def check_told_in_one_line(catalog: Catalog) -> None:
    assert all(note.isprintable() for note in catalog.notes)
    assert all(each.reason and each.reason.isprintable() for each in catalog.skipped)


@examples(50)
@given(TREES)
def test_every_file_is_counted_once(tree: Tree) -> None:
    # Two classes that are sure, so that there is something to find in most trees.
    tree = {**tree, b"one": {b"1.png": png(101), b"2.png": png(102)}, b"two": {b"3.png": png(103)}}
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.join(folder, "photos")
        build(os.fsencode(root), tree)
        catalog = scanned(root)
        if catalog is None:
            return
        assert catalog == scan(root + "/")  # the same again, and with a slash behind
    check_told_in_one_line(catalog)
    everything = {os.path.join(root, way): content for way, content in files_in(tree).items()}
    if catalog.layout == "splits":
        # Folders beside splits that hold no class folders are named and left alone.
        top = folders_in(tree)
        splits = [
            name
            for name, inside in top.items()
            if split_name(name)
            and any(a_picture(*each) for inner in folders_in(inside).values() for each in files_in(inner).items())
        ]
        assert splits
        alone = [name for name in top if name not in splits]
        note = next((note for note in catalog.notes if note.startswith("left alone beside the split folders")), "")
        assert bool(alone) == bool(note)
        for name in alone[:8]:
            assert f"'{shown(name)}'" in note
            everything = {p: c for p, c in everything.items() if not p.startswith(os.path.join(root, name) + os.sep)}
    pictures = {path for path, content in everything.items() if a_picture(path, content)}
    used, skipped = [e.path for e in catalog.entries], [s.path for s in catalog.skipped]
    assert sorted(used + skipped) == sorted(pictures)
    assert said_of_others(catalog) == len(everything) - len(pictures)
    for entry in catalog.entries:
        assert entry.content == hashlib.sha256(everything[entry.path]).hexdigest()
        assert STARTS.match(everything[entry.path])
        way = os.path.relpath(entry.path, root).split(os.sep)
        name = way[1] if catalog.layout == "splits" else way[0]
        assert entry.label == unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))
        assert entry.split == (split_name(way[0]) if catalog.layout == "splits" else None)
    # The same bytes are never used under two labels.
    labels: dict[str, set[str]] = {}
    for entry in catalog.entries:
        labels.setdefault(entry.content, set()).add(entry.label)
    assert all(len(each) == 1 for each in labels.values())
    assert catalog.classes == tuple(sorted({entry.label for entry in catalog.entries}))
    assert list(used) == sorted(used)


@examples(25)
@given(TREES, st.lists(st.tuples(NAMES, NAMES), max_size=4), st.data())
def test_links_and_pipes_anywhere_end_somewhere(
    tree: Tree, links: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    """With links to anything, also in circles, a scan ends; each way is there once at most, each loop is named."""
    tree = {**tree, b"one": {b"1.png": png(101)}, b"two": {b"3.png": png(103)}}
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.join(os.fsencode(folder), b"photos")
        build(root, tree)
        places = [place for place, _, _ in os.walk(root)]
        for name, target in links:
            place = data.draw(st.sampled_from(places))
            aim = data.draw(
                st.sampled_from([os.path.join(root, target), *places, os.path.join(root, b"one", b"1.png")])
            )
            if not os.path.lexists(os.path.join(place, name)):
                os.symlink(aim, os.path.join(place, name))
        pipe = os.path.join(data.draw(st.sampled_from(places)), b"pipe.png")
        if not os.path.lexists(pipe):
            os.mkfifo(pipe)
        catalog = scanned(os.fsdecode(root))
        if catalog is None:
            return
        check_told_in_one_line(catalog)
        used, skipped = [e.path for e in catalog.entries], [s.path for s in catalog.skipped]
        assert len(set(used + skipped)) == len(used) + len(skipped)
        assert all(os.path.isfile(path) for path in used)
        for each in catalog.skipped:
            if each.reason in (LOOP, SEEN):
                assert os.path.islink(each.path)
                assert os.path.isdir(each.path)
            if each.path.endswith("pipe.png") and not os.path.isdir(each.path):
                assert "FIFO" in each.reason or os.path.isfile(each.path)


@examples(60)
@given(st.text() | st.binary().map(os.fsdecode))
def test_any_name_is_shown_in_one_line_and_no_two_alike(name: str) -> None:
    text = shown(name)
    assert text.isprintable()
    if name.isprintable():
        assert text == name
    elif "\\" not in name:  # what was escaped can be told back
        assert text.encode("ascii", "backslashreplace").decode("unicode_escape") == name


def test_a_tree_by_hand(tmp_path: Path) -> None:
    """One of each, counted by hand: the plain version above must not be wrong in the same way."""
    tree: Tree = {
        b"cats": {b"1.jpg": png(1), b"2": png(2), b"3.txt": b"text", b".4.jpg": png(4), b"5.png": b"no picture"},
        b"dogs": {b"in": {b"6.png": png(6), b"7.png": png(1)}},
        b"8.png": png(8),
        b"9.md": b"read me",
    }
    build(os.fsencode(tmp_path / "p"), tree)
    catalog = scan(tmp_path / "p")
    assert [os.path.relpath(e.path, tmp_path / "p") for e in catalog.entries] == ["cats/2", "dogs/in/6.png"]
    # Loose, no picture, and the same bytes in two classes.
    assert [os.path.relpath(s.path, tmp_path / "p") for s in catalog.skipped] == [
        "8.png", "cats/1.jpg", "cats/5.png", "dogs/in/7.png",
    ]  # fmt: skip
    assert said_of_others(catalog) == 2
