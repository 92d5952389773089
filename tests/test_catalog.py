"""Folders and tables as people have them, each built for real, to the catalog that must come out."""

from __future__ import annotations

import hashlib
import io
import os
import random
import socket
import sys
import threading
import tracemalloc
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from tellapart import contents, files
from tellapart.catalog import Catalog, Entry, Skipped, check_classes, check_usable, scan, shown, walk, without
from tellapart.errors import InputError, SettingsError
from tellapart.files import children, is_hidden, split_name

POSIX = os.name == "posix"
posix_only = pytest.mark.skipif(not POSIX, reason="links, FIFOs and free names need POSIX")
as_user = pytest.mark.skipif(POSIX and os.geteuid() == 0, reason="root may read everything")


def png(number: int) -> bytes:
    """A small picture of its own for every number below 2**24."""
    data = io.BytesIO()
    Image.new("RGB", (2, 2), (number >> 16, number >> 8 & 255, number & 255)).save(data, "PNG")
    return data.getvalue()


class Tree:
    """A folder under construction; every picture added has its own bytes unless a number is given."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._next = 1

    def picture(self, way: str, number: int | None = None) -> Path:
        if number is None:
            number, self._next = self._next, self._next + 1
        return self.file(way, png(number))

    def pictures(self, folder: str, n: int) -> None:
        for i in range(n):
            self.picture(f"{folder}/{i}.png")

    def file(self, way: str, data: bytes | str = b"") -> Path:
        path = self.root / way
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def folder(self, way: str) -> Path:
        path = self.root / way
        path.mkdir(parents=True)
        return path


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "photos"
    root.mkdir()
    return Tree(root)


@pytest.fixture
def pets(tree: Tree) -> Tree:
    tree.pictures("cats", 3)
    tree.pictures("dogs", 2)
    return tree


def ways(found: Catalog) -> list[tuple[str, str, str | None]]:
    return [(Path(e.path).relative_to(found.root).as_posix(), e.label, e.split) for e in found.entries]


def reasons(found: Catalog) -> dict[str, str]:
    return {os.path.relpath(each.path, found.root): each.reason for each in found.skipped}


def note(found: Catalog, *words: str) -> str:
    """The one note that has all these words."""
    (match,) = [each for each in found.notes if all(word in each for word in words)]
    return match


def message(action: Callable[[], object]) -> str:
    """The text of the InputError that an action must end in; always one line."""
    with pytest.raises(InputError) as error:
        action()
    assert str(error.value).isprintable()
    return str(error.value)


# shown, names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cats/a b'\".jpg", "cats/a b'\".jpg"),
        ("Kätzchen 猫.jpg", "Kätzchen 猫.jpg"),
        ("two\nlines\r\t\x1b[2J", "two\\nlines\\r\\t\\x1b[2J"),
        ("gpj.\u202etxt", "gpj.\\u202etxt"),
        ("\udcff.jpg", "\\udcff.jpg"),
        ("\u2028", "\\u2028"),
    ],
)
def test_shown_is_one_printable_line(name: str, expected: str) -> None:
    assert shown(name) == expected
    assert shown(Path(name)) == expected


@pytest.mark.parametrize("name", [".git", "._x.jpg", "Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir", ".DS_Store"])
def test_system_names_are_hidden(name: str) -> None:
    assert is_hidden(name)


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train Training TRAINING_SET train-set trainset train_set"),
        ("validation", "val valid Validation dev validation_set val_set VAL-SET"),
        ("test", "test Testing test_set testset test-set"),
        (None, "cats trains tests develop validated"),
    ],
)
def test_usual_names_of_splits(split: str | None, names: str) -> None:
    assert {split_name(name) for name in names.split()} == {split}


# Class folders


def test_class_folders_at_any_depth(tree: Tree) -> None:
    a = tree.picture("cats/a.png")
    tree.picture("cats/2021/May/b.PNG")
    tree.picture("dogs/c.png")
    found = scan(tree.root)
    assert found.layout == "classes"
    assert found.root == str(tree.root)
    assert found.classes == ("cats", "dogs")
    assert ways(found) == [
        ("cats/2021/May/b.PNG", "cats", None),
        ("cats/a.png", "cats", None),
        ("dogs/c.png", "dogs", None),
    ]
    assert found.entries[1] == Entry(str(a), "cats", None, hashlib.sha256(a.read_bytes()).hexdigest())
    assert found.counts == {"cats": {None: 2}, "dogs": {None: 1}}
    assert (found.n_found, found.skipped, found.notes) == (3, (), ())
    check_classes(found)


def test_paths_open_as_they_stand_from_a_relative_folder(pets: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pets.root.parent)
    assert [e.path for e in scan("photos/").entries] == [
        os.path.join("photos", *way)
        for way in [
            ("cats", "0.png"),
            ("cats", "1.png"),
            ("cats", "2.png"),
            ("dogs", "0.png"),
            ("dogs", "1.png"),
        ]
    ]
    monkeypatch.chdir(pets.root)
    assert scan(".").entries[0].path == os.path.join(".", "cats", "0.png")


def test_the_order_of_listing_plays_no_part(pets: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    pets.file("cats/bad.jpg", "<html>")
    pets.folder("empty")
    pets.picture("loose.png")
    first = scan(pets.root)
    whole = os.scandir

    class Shuffled:
        def __init__(self, path: str) -> None:
            with whole(path) as entries:
                self.entries = list(entries)
            random.Random(5).shuffle(self.entries)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Shuffled)
    assert scan(pets.root) == first


def test_fingerprint_is_of_content_label_and_split_only(tmp_path: Path) -> None:
    one, two, three = (Tree(tmp_path / name) for name in ("one", "two", "three"))
    for tree, name, label in ((one, "a", "dogs"), (two, "b", "dogs"), (three, "a", "wolves")):
        tree.picture(f"cats/{name}.png", 1)
        tree.picture(f"{label}/{name}.png", 2)
    prints = [scan(tree.root).fingerprint for tree in (one, two, three)]
    assert prints[0] == prints[1] != prints[2]
    cats, dogs = (hashlib.sha256(png(n)).hexdigest() for n in (1, 2))
    rows = sorted(((cats, "cats", ""), (dogs, "dogs", "")))
    text = "".join(f'["{a}", "{b}", "{c}"]\n' for a, b, c in rows)
    assert prints[0] == hashlib.sha256(text.encode()).hexdigest()


def test_hidden_and_system_files_are_passed_over(pets: Tree) -> None:
    for way in ("cats/.DS_Store", "cats/._0.png", "cats/Thumbs.db", "desktop.ini", ".DS_Store"):
        pets.file(way, b"x")
    for way in (
        "__MACOSX/cats/._0.png",
        "cats/@eaDir/0.png/thumb.png",
        "cats/.cache/a.png",
        "__MACOSX/a.png",
    ):
        pets.picture(way)
    found = scan(pets.root)
    assert found.classes == ("cats", "dogs")
    assert (found.n_found, found.skipped, found.notes) == (5, (), ())


def test_a_hidden_folder_of_pictures_is_named(pets: Tree) -> None:
    pets.pictures(".wolves", 2)
    pets.file(".git/HEAD", "ref")
    found = scan(pets.root)
    assert found.classes == ("cats", "dogs")
    assert len(found.notes) == 1
    assert note(found, "hidden folder", ".wolves", "leading dot")


def test_loose_pictures_are_listed_and_not_used(pets: Tree) -> None:
    loose = pets.picture("loose.png")
    found = scan(pets.root)
    assert found.skipped == (Skipped(str(loose), "not in a class folder"),)
    assert found.n_found == 6
    assert note(found, "1 picture in no class folder", "loose.png")


def test_an_empty_class_folder_is_named_and_left_out(pets: Tree) -> None:
    pets.folder("wolves/inner")
    pets.file("foxes/notes.txt", "no pictures yet")
    found = scan(pets.root)
    assert found.classes == ("cats", "dogs")
    assert note(found, "wolves", "left out")
    assert note(found, "foxes", "left out")
    check_classes(found)


def test_the_bytes_decide_what_a_file_is(pets: Tree) -> None:
    pets.picture("cats/without_extension")
    pets.picture("cats/named.txt")
    pets.file("cats/notes.txt", "a note")
    pets.file("labels.csv", "path,label\n")
    pets.file("cats/page.jpg", "<!DOCTYPE html><p>404")
    pets.file("cats/empty.JPG", b"")
    pets.file("cats/zeros.tif", bytes(100))
    found = scan(pets.root)
    assert [way for way, label, _ in ways(found) if label == "cats"][3:] == [
        "cats/named.txt",
        "cats/without_extension",
    ]
    assert set(reasons(found)) == {os.path.join("cats", each) for each in ("page.jpg", "empty.JPG", "zeros.tif")}
    assert "empty file" in reasons(found)[os.path.join("cats", "empty.JPG")]
    assert "HTML" in reasons(found)[os.path.join("cats", "page.jpg")]
    assert note(found, "2 other files passed over")
    assert found.n_found == 5 + 2 + 3
    assert {each.label for each in found.skipped} == {"cats"}


@posix_only
def test_odd_names_are_data(tree: Tree) -> None:
    names = ["a b", 'it\'s "quoted"', "two\nlines", "猫", "<b>", "-x", "=1+1", "a,b;c"]
    for name in names:
        tree.pictures(name, 2)
    found = scan(tree.root)
    assert found.classes == tuple(sorted(names))
    check_usable(found, {})
    text = message(
        lambda: check_usable(found, {e.content: "truncated" for e in found.entries if e.label == "two\nlines"})
    )
    assert "class 'two\\nlines': none of its 2 pictures could be read, e.g. " in text
    assert "two\\nlines/0.png: truncated" in text


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep names as Unicode")
def test_unicode_twins_are_one_class_and_bytes_become_text(tree: Tree) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Bär") for form in ("NFC", "NFD"))
    tree.pictures(composed, 1)
    tree.pictures(decomposed, 2)
    raw = os.path.join(os.fsencode(tree.root), b"caf\xe9")
    os.mkdir(raw)
    Path(os.fsdecode(os.path.join(raw, b"\xff.png"))).write_bytes(png(900))
    found = scan(tree.root)
    assert found.classes == (composed, "caf\\xe9")
    assert found.counts[composed] == {None: 3}
    assert note(found, f"2 folders are read as the one class '{composed}'")
    assert Path(next(e.path for e in found.entries if e.label == "caf\\xe9")).read_bytes() == png(900)
    "".join(found.classes).encode()  # class names are text that can be written anywhere


def test_names_that_differ_in_case_only_are_noted(tree: Tree) -> None:
    path = tree.file("../l.csv", "path,label\na,Cats\nb,cats\n")
    for name in "ab":
        tree.picture(f"{name}.png")
    found = scan(tree.root, labels=path)
    assert found.classes == ("Cats", "cats")
    assert note(found, "'Cats', 'cats' differ in case")


# What the file system can do


@posix_only
def test_links_are_followed_and_loops_named(pets: Tree, tmp_path: Path) -> None:
    elsewhere = Tree(tmp_path / "elsewhere")
    elsewhere.picture("wolf.png", 800)
    elsewhere.picture("deep/wolf.png", 801)
    (pets.root / "wolves").symlink_to(elsewhere.root)
    (elsewhere.root / "deep" / "back").symlink_to(pets.root)
    (pets.root / "cats" / "up").symlink_to("..")
    (pets.root / "cats" / "self").symlink_to(".")
    (pets.root / "self").symlink_to(".")
    (pets.root / "cats" / "far.png").symlink_to(elsewhere.root / "wolf.png")
    (elsewhere.root / "wolf.png").unlink()
    (pets.root / "cats" / "ring.png").symlink_to("ring.png")
    found = scan(pets.root)
    assert [way for way in ways(found) if way[1] == "wolves"] == [("wolves/deep/wolf.png", "wolves", None)]
    assert found.counts == {"cats": {None: 3}, "dogs": {None: 2}, "wolves": {None: 1}}
    loop = "a symbolic link to a folder above itself (a loop)"
    assert reasons(found) == {
        "cats/up": loop,
        "cats/self": loop,
        "self": loop,
        "wolves/deep/back": loop,
        "cats/far.png": "a symbolic link to nothing",
        "cats/ring.png": "symbolic links that go in a circle",
    }
    assert {each.path for each in found.skipped if each.label} == {
        str(pets.root / "cats" / name) for name in ("far.png", "ring.png")
    }
    assert note(found, "self", "holds no pictures")


@posix_only
def test_a_maze_of_links_is_walked_once_each(tmp_path: Path) -> None:
    n = 30  # followed blindly, 2**30 ways lead to the last room
    rooms = [tmp_path / f"maze{i}" for i in range(n)]
    for room in rooms:
        room.mkdir()
    for room, following in pairwise(rooms):
        (room / "a").symlink_to(following)
        (room / "b").symlink_to(following)
    (rooms[-1] / "end.png").write_bytes(png(1))
    found = list(walk(rooms[0]))
    assert [os.path.basename(each.path) for each in found if each.reason is None] == ["end.png"]
    assert sum(each.reason is not None for each in found) == n - 1


@posix_only
def test_what_is_no_regular_file_is_skipped_without_waiting(pets: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(pets.root / "cats" / "pipe.jpg")
    os.mkfifo(pets.root / "cats" / "pipe")
    monkeypatch.chdir(pets.root / "dogs")  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        found = scan(pets.root)
    assert reasons(found) == {
        "cats/pipe.jpg": "not a regular file (a FIFO)",
        "dogs/socket.png": "not a regular file (a socket)",
    }
    assert note(found, "1 other file passed over")


def test_a_pipe_that_takes_a_file_s_place_is_neither_waited_for_nor_read(tmp_path: Path) -> None:
    """After the folder was listed: nothing told of it any more."""
    for name in ("empty", "full"):
        os.mkfifo(tmp_path / name)
    held = os.open(tmp_path / "full", os.O_RDWR)
    os.write(held, b"GIF89a")
    waited = threading.Event()

    def end_waiting() -> None:
        waited.set()
        os.close(os.open(tmp_path / "empty", os.O_WRONLY))

    rescue = threading.Timer(5, end_waiting)
    rescue.start()
    for name in ("empty", "full"):
        assert files.candidate(files.Child(name, str(tmp_path / name), False, False, None)) is None
    rescue.cancel()
    assert not waited.is_set()
    assert os.read(held, 100) == b"GIF89a"
    os.close(held)


def test_a_folder_with_a_picture_extension_is_a_folder(pets: Tree) -> None:
    pets.picture("cats/set.jpg/a.png")
    assert ("cats/set.jpg/a.png", "cats", None) in ways(scan(pets.root))


def test_a_file_that_vanishes_after_the_listing_is_skipped(pets: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    real = contents.read_bytes

    def reading(path: str) -> bytes:
        if path.endswith("1.png"):
            os.unlink(path)
        return real(path)

    monkeypatch.setattr(contents, "read_bytes", reading)
    found = scan(pets.root)
    assert set(reasons(found)) == {os.path.join("cats", "1.png"), os.path.join("dogs", "1.png")}
    assert set(reasons(found).values()) == {"no such file"}
    assert found.n_found == 5


def test_a_folder_that_cannot_be_read_is_skipped(pets: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    pets.picture("cats/locked/a.png")
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = scan(pets.root)
    assert reasons(found) == {os.path.join("cats", "locked"): "the folder cannot be read: permission denied"}
    assert found.n_found == 6
    pets.folder("wolves").rename(pets.root / "wolves locked")  # a class as a whole: stops before training
    found = scan(pets.root)
    assert not any("wolves" in each for each in found.notes)
    text = message(lambda: check_usable(found, {}))
    assert "class 'wolves locked': its only picture could not be read, e.g. " in text
    assert "the folder cannot be read: permission denied" in text
    pets.picture("train/cats/a.png")
    pets.folder("test locked").rename(pets.root / "test_set")
    monkeypatch.setattr(os, "scandir", lambda path: scandir(path + " locked" if path.endswith("test_set") else path))
    assert f"The folder {pets.root / 'test_set'} cannot be read: permission denied." in message(lambda: scan(pets.root))


@as_user
@posix_only
def test_files_without_permission_are_skipped(pets: Tree) -> None:
    (pets.root / "cats" / "0.png").chmod(0)
    assert reasons(scan(pets.root)) == {"cats/0.png": "no permission to read it"}


@posix_only
def test_a_tree_deeper_than_the_stack(pets: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    depth = sys.getrecursionlimit() + 100
    monkeypatch.chdir(pets.root / "cats")  # in steps: a path may be too long for one call
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    Path("deep.png").write_bytes(png(700))
    try:
        found = scan(pets.root)
    finally:  # what clears up after the tests goes down by recursion
        os.unlink("deep.png")
        for _ in range(depth):
            os.chdir("..")
            os.rmdir("d")
    assert ("cats/" + "d/" * depth + "deep.png", "cats", None) in ways(found)


def test_walk_yields_sorted_candidates_and_tells_the_rest(pets: Tree) -> None:
    pets.file("cats/notes.txt", "x")
    pets.picture("cats/a/z.png")
    other: list[str] = []
    found = [os.path.relpath(each.path, pets.root) for each in walk(pets.root, passed_over=other.append)]
    assert found == [
        os.path.join(*w)
        for w in [
            ("cats", "0.png"),
            ("cats", "1.png"),
            ("cats", "2.png"),
            ("cats", "a", "z.png"),
            ("dogs", "0.png"),
            ("dogs", "1.png"),
        ]
    ]
    assert other == [str(pets.root / "cats" / "notes.txt")]
    (missing,) = walk(pets.root / "nowhere")
    assert missing.folder
    assert missing.reason == "the folder cannot be read: no such file or directory"


def test_progress_counts_every_file_once(tree: Tree) -> None:
    tree.pictures("cats", 60)
    tree.pictures("dogs", 41)
    told: list[tuple[int, int]] = []
    scan(tree.root, progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 101) for i in range(1, 102)]


def test_few_files_are_in_flight(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    tree.pictures("cats", 300)
    tree.pictures("dogs", 2)
    read: list[str] = []
    real = contents.read_bytes
    monkeypatch.setattr(contents, "read_bytes", lambda path: (read.append(path), real(path))[1])
    ahead = []
    scan(tree.root, progress=lambda done, _: ahead.append(len(read) - done))
    assert max(ahead) <= 4 * 2 * contents._BATCH
    assert len(read) == 302


# Folders that cannot be used


def test_no_such_folder(tmp_path: Path) -> None:
    assert message(lambda: scan(tmp_path / "nowhere")).startswith(f"No such folder: {tmp_path / 'nowhere'}. ")
    assert message(lambda: scan("")).startswith("No such folder: ''. ")
    assert message(lambda: scan("a\0b")).startswith("No such folder: a\\x00b. ")
    assert "two\\nlines" in message(lambda: scan("two\nlines"))


def test_a_file_for_a_folder(tree: Tree) -> None:
    path = tree.picture("cat.png")
    assert f"A folder is needed; {path} is a file." in message(lambda: scan(path))


def test_a_folder_that_the_system_refuses(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: str) -> object:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert f"The folder {tree.root} cannot be read: permission denied." in message(lambda: scan(tree.root))


@posix_only
def test_a_link_to_itself_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "ring").symlink_to("ring")
    assert "ring cannot be read: too many levels" in message(lambda: scan(tmp_path / "ring"))


def test_an_empty_folder(tree: Tree) -> None:
    assert f"The folder {tree.root} is empty." in message(lambda: scan(tree.root))


def test_no_pictures_at_all(tree: Tree) -> None:
    tree.file("cats/notes.txt", "x")
    tree.file(".hidden", "x")
    assert f"No pictures below {tree.root} (1 other file passed over)." in message(lambda: scan(tree.root))


def test_pictures_and_no_class_folders(tree: Tree) -> None:
    tree.picture("a.png")
    tree.picture("b.png")
    text = message(lambda: scan(tree.root))
    assert f"{tree.root} holds 2 pictures and no class folder" in text
    assert "--labels" in text


def test_nothing_readable(tree: Tree) -> None:
    tree.file("cats/a.jpg", b"")
    tree.file("dogs/b.jpg", "<html>")
    text = message(lambda: scan(tree.root))
    assert text.startswith(f"None of the 2 pictures below {tree.root} can be used, e.g. ")
    assert "a.jpg: empty file" in text


def test_columns_need_a_table(pets: Tree) -> None:
    with pytest.raises(SettingsError, match="--labels"):
        scan(pets.root, path_column="file")


# Split folders


def split_tree(tree: Tree, *splits: str, classes: tuple[str, ...] = ("cats", "dogs"), n: int = 2) -> Tree:
    for split in splits:
        for label in classes:
            tree.pictures(f"{split}/{label}", n)
    return tree


def test_split_folders_with_their_usual_names(tree: Tree) -> None:
    split_tree(tree, "Training_Set", "VAL", "test-set")
    tree.picture("Training_Set/cats/deep/er/x.png")
    found = scan(tree.root)
    assert found.layout == "splits"
    assert found.counts == {
        "cats": {"train": 3, "validation": 2, "test": 2},
        "dogs": {"train": 2, "validation": 2, "test": 2},
    }
    assert ("test-set/dogs/1.png", "dogs", "test") in ways(found)
    assert note(found, "Training_Set as train", "VAL as validation", "test-set as test")
    check_classes(found)


def test_one_split_folder_alone_is_a_split(tree: Tree) -> None:
    assert scan(split_tree(tree, "training_set").root).counts == {"cats": {"train": 2}, "dogs": {"train": 2}}


def test_other_folders_beside_splits_are_named_and_left_alone(tree: Tree) -> None:
    split_tree(tree, "training_set", "test_set")
    tree.picture("single_prediction/cat_or_dog_1.png")
    tree.file("docs/readme.txt", "x")
    tree.picture("test/1.png")  # a split's name with loose pictures, as in a competition
    tree.folder("valid")
    found = scan(tree.root)
    assert found.layout == "splits"
    assert found.n_found == 8
    assert note(found, "left alone", "'single_prediction'", "'docs'", "'test'", "'valid'")


def test_loose_pictures_and_hidden_folders_in_a_split(tree: Tree) -> None:
    split_tree(tree, "train", "test")
    tree.picture("train/loose.png")
    tree.picture("above.png")
    tree.picture("train/.wolves/a.png")
    tree.folder("train/foxes")
    found = scan(tree.root)
    assert reasons(found) == {
        os.path.join("train", "loose.png"): "not in a class folder",
        "above.png": "not in a class folder",
    }
    assert note(found, "2 pictures in no class folder")
    assert note(found, "hidden folder", ".wolves")
    assert note(found, "foxes", "left out")
    check_classes(found)


def test_two_folders_for_one_split_are_merged(tree: Tree) -> None:
    split_tree(tree, "train", "training", "test")
    found = scan(tree.root)
    assert found.counts["cats"] == {"train": 4, "test": 2}
    assert note(found, "'train', 'training' are both read as the train split")


@pytest.mark.parametrize(
    ("extra", "layout"),
    [
        ([], "splits"),
        (["cars/1.png"], "splits"),  # one more folder with pictures, as single_prediction
        (["cars/1.png", "planes/1.png"], "classes"),  # ordinary class names
        (["cars/red/1.png"], "classes"),  # holds folders of pictures as well
        (["cars/readme.txt", "planes/readme.txt"], "splits"),
    ],
)
def test_train_beside_other_folders(tree: Tree, extra: list[str], layout: str) -> None:
    split_tree(tree, "train", classes=("steam", "diesel"))
    for way in extra:
        tree.picture(way) if way.endswith("png") else tree.file(way, "x")
    found = scan(tree.root)
    assert found.layout == layout
    if layout == "classes":
        assert "train" in found.classes
        assert note(found, "'train' read as class, not as split", "'cars'", "move")
    else:
        assert found.classes == ("diesel", "steam")
        assert note(found, "split folders read: train as train")


def test_train_with_pictures_directly_beside_classes_is_a_class(tree: Tree) -> None:
    for label in ("train", "car", "plane"):
        tree.pictures(label, 2)
    found = scan(tree.root)
    assert (found.layout, found.classes) == ("classes", ("car", "plane", "train"))
    assert note(found, "'train': a split's name, but no class folders inside: read as a class")


def test_two_splits_beside_two_loose_folders_are_splits(tree: Tree) -> None:
    split_tree(tree, "train", "test")
    tree.picture("a/1.png")
    tree.picture("b/1.png")
    assert scan(tree.root).layout == "splits"


def test_split_folders_without_class_folders_are_no_classes(tree: Tree) -> None:
    tree.pictures("train", 3)
    tree.pictures("test1", 1)
    (tree.root / "test1").rename(tree.root / "test")
    text = message(lambda: scan(tree.root))
    assert f"split folders of {tree.root} ('test', 'train') hold no class folders" in text
    assert "--labels" in text


def test_splits_wrapped_in_one_folder(tree: Tree) -> None:
    split_tree(tree, "dataset/training_set", "dataset/test_set")
    tree.picture("__MACOSX/dataset/training_set/cats/._0.png")
    text = message(lambda: scan(tree.root))
    assert text.endswith(f"Give the inner folder: {tree.root / 'dataset'}")
    assert scan(tree.root / "dataset").layout == "splits"


def test_splits_inside_classes_are_noted(tree: Tree) -> None:
    for label in ("cats", "dogs"):
        tree.pictures(f"{label}/train", 2)
        tree.pictures(f"{label}/test", 1)
    found = scan(tree.root)
    assert (found.layout, found.counts) == ("classes", {"cats": {None: 3}, "dogs": {None: 3}})
    assert note(found, os.path.join("cats", "test"), "split's name inside a class", "'cats'")


# Checks


def test_one_class_only(tree: Tree) -> None:
    tree.pictures("cats", 3)
    text = message(lambda: check_classes(scan(tree.root)))
    assert text.startswith(f"At least two classes are needed; {tree.root} has 'cats' (3 pictures). Add a folder")


def test_one_class_that_is_a_wrapper(tree: Tree) -> None:
    tree.pictures("animals/cats", 2)
    tree.pictures("animals/dogs", 2)
    text = message(lambda: check_classes(scan(tree.root)))
    assert text.endswith(f"If the folders inside it are the classes, give {tree.root / 'animals'}")


def test_classes_must_be_the_same_in_every_split(tree: Tree) -> None:
    split_tree(tree, "train", classes=("cats", "dogs", "Lions"))
    split_tree(tree, "test", classes=("cats", "dogs", "lions"))
    found = scan(tree.root)
    text = message(lambda: check_classes(found))
    assert "'lions' has 2 pictures in test and none in train (is it 'Lions' there?)" in text
    assert str(tree.root) in text


def test_a_class_unreadable_in_one_split(tree: Tree) -> None:
    split_tree(tree, "train")
    tree.pictures("test/cats", 2)
    tree.file("test/dogs/a.jpg", b"")
    text = message(lambda: check_classes(scan(tree.root)))
    assert "'dogs' has 2 pictures in train and none in test (1 cannot be used, e.g. " in text


def test_a_split_that_is_unreadable_as_a_whole(tree: Tree) -> None:
    split_tree(tree, "train")
    tree.file("test/cats/a.jpg", b"")
    tree.file("test/dogs/a.jpg", b"")
    assert "'cats' has 2 pictures in train and none in test" in message(lambda: check_classes(scan(tree.root)))


def test_a_class_with_none_readable_stops_with_its_name(pets: Tree) -> None:
    for i in range(12):
        pets.file(f"wolves/{i:02}.jpg", "<html>")
    found = scan(pets.root)
    for check in (lambda: check_classes(found), lambda: check_usable(found, {})):
        text = message(check)
        assert text.startswith("class 'wolves': none of its 12 pictures could be read, e.g. ")
        assert f"{pets.root / 'wolves' / '00.jpg'}: not a picture: it begins like HTML. " in text
    (pets.root / "wolves" / "00.jpg").rename(pets.root / "one.jpg")
    for i in range(1, 12):
        (pets.root / "wolves" / f"{i:02}.jpg").unlink()
    (pets.root / "one.jpg").rename(pets.root / "wolves" / "00.jpg")
    assert message(lambda: check_usable(scan(pets.root), {})).startswith(
        "class 'wolves': its only picture could not be read"
    )


def test_undecodable_pictures_move_to_skipped(pets: Tree) -> None:
    found = scan(pets.root)
    bad = found.entries[1]
    left = check_usable(found, {bad.content: "truncated", "0" * 64: "no such content"})
    assert left.entries == tuple(e for e in found.entries if e != bad)
    assert left.skipped == (Skipped(bad.path, "truncated", "cats", None),)
    assert left.n_found == found.n_found == 5
    assert without(found, {}) == found


def test_a_class_with_one_usable_picture(pets: Tree) -> None:
    found = scan(pets.root)
    dogs = [e for e in found.entries if e.label == "dogs"]
    text = message(lambda: check_usable(found, {dogs[0].content: "truncated"}))
    assert text.startswith(
        f"class 'dogs' has one usable picture ({dogs[1].path}; 1 more cannot be used, e.g. {dogs[0].path}: truncated)"
    )
    assert text.endswith("at least 2 are needed, better 20 or more. Add pictures or take the folder away.")
    # `without` is for an evaluation, where this is no obstacle
    assert without(found, {dogs[0].content: "truncated"}).counts == {"cats": {None: 3}, "dogs": {None: 1}}


def test_copies_of_one_picture_count_as_one(pets: Tree) -> None:
    for i in range(3):
        pets.picture(f"wolves/{i}.png", 500)
    found = scan(pets.root)
    assert note(found, "2 pictures are copies, byte for byte")
    assert found.counts["wolves"] == {None: 3}
    assert "class 'wolves' has one usable picture" in message(lambda: check_usable(found, {}))


def test_undecodable_until_one_class_is_left(tree: Tree) -> None:
    split_tree(tree, "train", "test")
    found = scan(tree.root)
    lost = {e.content: "broken" for e in found.entries if e.split == "test" and e.label == "dogs"}
    assert "'dogs' has 2 pictures in train and none in test (2 cannot be used" in message(
        lambda: check_usable(found, lost)
    )


# The same bytes twice


def test_the_same_bytes_in_two_classes_are_used_in_neither(pets: Tree) -> None:
    a, b = pets.picture("cats/x.png", 600), pets.picture("dogs/y.png", 600)
    c = pets.picture("dogs/z.png", 600)
    found = scan(pets.root)
    assert found.skipped == (
        Skipped(str(a), f"the same picture is also in class 'dogs': {b}", "cats"),
        Skipped(str(b), f"the same picture is also in class 'cats': {a}", "dogs"),
        Skipped(str(c), f"the same picture is also in class 'cats': {a}", "dogs"),
    )
    assert (len(found.entries), found.n_found) == (5, 8)
    assert note(found, "3 pictures under two labels", "none of them used", "x.png")
    kept = scan(pets.root, keep_conflicts=True)
    assert (len(kept.entries), kept.skipped) == (8, ())
    assert note(kept, "3 pictures under two labels", "used as they stand")


def test_two_folders_with_the_same_pictures_stop_the_run(pets: Tree) -> None:
    for i in range(2):
        pets.picture(f"wolves/{i}.png", 600 + i)
        pets.picture(f"foxes/{i}.png", 600 + i)
    text = message(lambda: check_usable(scan(pets.root), {}))
    assert text.startswith("class 'foxes': none of its 2 pictures could be used, e.g. ")
    assert "the same picture is also in class 'wolves'" in text


# Tables of labels


def table(tree: Tree, text: str | bytes, name: str = "labels.csv") -> Path:
    path = tree.root.parent / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.fixture
def shelf(tree: Tree) -> Tree:
    """Pictures in folders that mean nothing."""
    for way in ("a/one.png", "a/two.jpg", "b/deep/three.png", "b/four.png", "five.png"):
        tree.picture(way)
    return tree


def labelled(found: Catalog) -> dict[str, str]:
    return {way: label for way, label, _ in ways(found)}


def test_a_table_by_path_name_and_id(shelf: Tree) -> None:
    text = "path,label\na/one.png,cat\ntwo.jpg,dog\nthree,cat\ndeep/three,cat\n./b\\four.png,dog\nphotos/five.png,cat\n"
    found = scan(shelf.root, labels=table(shelf, text))
    assert found.layout == "table"
    assert labelled(found) == {
        "a/one.png": "cat",
        "a/two.jpg": "dog",
        "b/deep/three.png": "cat",
        "b/four.png": "dog",
        "five.png": "cat",
    }
    assert found.classes == ("cat", "dog")
    assert found.skipped == ()
    assert note(found, "path from column 'path', label from 'label'", "folders mean nothing")
    assert note(found, "1 row of", "repeating another")


@pytest.mark.parametrize(
    "header",
    [
        "Path,Label",
        "image_id,breed",
        "FileName,Class Name",
        "id,species",
        "img-path,y",
        '"photo","diagnosis"',
        "name,category",
        " image , target ",
    ],
)
def test_usual_names_of_columns(shelf: Tree, header: str) -> None:
    found = scan(shelf.root, labels=table(shelf, f"{header}\none.png,cat\nfour.png,dog\n"))
    assert labelled(found) == {"a/one.png": "cat", "b/four.png": "dog"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-mark", "cp1252"])
def test_delimiters_and_encodings(shelf: Tree, delimiter: str, encoding: str) -> None:
    lines = ["id,label", "", 'one,"Bär, ""der"""', ",", "four,Hund", ""]
    text = "\r\n".join(lines).replace(",", delimiter)
    data = b"\xff\xfe" + text.encode("utf-16-le") if encoding.endswith("mark") else text.encode(encoding)
    found = scan(shelf.root, labels=table(shelf, data))
    assert labelled(found) == {"a/one.png": f'Bär{delimiter} "der"', "b/four.png": "Hund"}
    assert any("not in UTF-8 and was read as cp1252" in each for each in found.notes) == (encoding == "cp1252")


def test_latin_1_where_cp1252_has_gaps(shelf: Tree) -> None:
    found = scan(shelf.root, labels=table(shelf, "id,label\none,B\xe4r\x81\nfour,Hund\n".encode("latin-1")))
    assert labelled(found)["a/one.png"] == "Bär\x81"
    assert note(found, "read as latin-1")


def test_columns_by_name_win(shelf: Tree) -> None:
    path = table(shelf, "path,label,where,What,part\nx,y,one,cat,train\nx,y,four,dog,test\n")
    found = scan(shelf.root, labels=path, path_column="where", label_column="what", split_column="part")
    assert ways(found) == [("a/one.png", "cat", "train"), ("b/four.png", "dog", "test")]


def test_an_unknown_column_lists_those_there_are(shelf: Tree) -> None:
    path = table(shelf, "path,species name\none,cat\n")
    text = message(lambda: scan(shelf.root, labels=path, label_column="specis_name"))
    assert text == (
        f"--label-column: {path} has no column 'specis_name'; its columns are 'path', 'species name'. "
        "Did you mean 'species name'?"
    )
    text = message(lambda: scan(shelf.root, labels=path))
    assert f"{path} has no column with a usual name for the label" in text
    assert "'path', 'species name'" in text
    assert "--label-column" in text


def test_tables_that_cannot_be_read(shelf: Tree) -> None:
    root = shelf.root

    def said(data: str | bytes, **columns: str) -> str:
        return message(lambda: scan(root, labels=table(shelf, data), **columns))

    assert "No such table of labels" in message(lambda: scan(root, labels=root / "none.csv"))
    assert "must be a regular file" in message(lambda: scan(root, labels=root))
    assert "is empty" in said(b"")
    assert "is empty" in said("\n \n")
    assert "no column" in said(",,\n")
    assert "no rows below its column names" in said("path,label\n\n")
    text = said("one.png,cat\nfour.png,dog\n")
    assert "no line of column names: its first line is 'one.png,cat'" in text
    assert "path,label" in text
    assert "spreadsheet" in said(b"PK\x03\x04rest")
    assert "spreadsheet" in said("path,label\none,cat\n".encode("utf-16-le"))
    assert "breaks the rules of CSV at line" in said('path,label\none,cat\nfour,"dog\n')
    assert "breaks the rules of CSV at line" in said('path,label\none,"' + "x" * 200_000 + '"\n')
    assert "is not the text its first bytes promise" in said(
        b"\xff\xfe" + "path,label\none,cat".encode("utf-16-le") + b"\n"
    )
    assert "two columns" in said("path,label\none,cat\n", label_column="path")
    assert "2 columns named 'label'" in said("path,label,label\none,cat,dog\n")


def test_rows_that_cannot_be_used_are_listed(shelf: Tree) -> None:
    shelf.picture("b/one.png")
    shelf.file("a/page.jpg", "<html>")
    shelf.file("a/notes.txt", "x")
    shelf.picture(".hidden/six.png")
    path = table(
        shelf,
        "path,label\none.png,cat\none,cat\nmissing.png,cat\n../x.png,dog\n/etc/passwd,dog\nC:\\x.png,dog\n"
        "two.jpg,\n,dog\nthree\nfour.png,dog,more\npage,cat\na/notes.txt,dog\n"
        ".hidden/six.png,dog\nfive,cat,\n"
        "a/one.png,cat\n..\\y.png,dog\nb,cat\n",
    )
    found = scan(shelf.root, labels=path)
    assert labelled(found) == {".hidden/six.png": "dog", "a/one.png": "cat", "five.png": "cat"}
    assert {each.path: each.reason for each in found.skipped} == {
        "one.png": "matches 2 files below PHOTOS",
        "one": "matches 2 files below PHOTOS",
        "missing.png": "no such file below PHOTOS",
        "../x.png": "outside PHOTOS",
        "..\\y.png": "outside PHOTOS",
        "/etc/passwd": "outside PHOTOS",
        "C:\\x.png": "outside PHOTOS",
        "two.jpg": "the row's label is empty",
        f"{path} line 9": "the row's path is empty",
        "three": "too few columns (line 10: 1 of 2)",
        "four.png": "too many columns (line 11: 3 of 2)",
        str(shelf.root / "a" / "page.jpg"): "not a picture: it begins like HTML",
        str(shelf.root / "a" / "notes.txt"): next(s.reason for s in found.skipped if "notes" in s.path),
        str(shelf.root / "b"): "not a regular file (a folder)",
    }
    assert found.n_found == 17
    assert note(found, "2 rows not used: matches more than one file, e.g. one.png")
    assert note(found, "4 rows not used: outside PHOTOS")
    assert note(found, "1 row not used: no such file below PHOTOS, e.g. missing.png")
    assert note(found, "1 row not used: too few columns, e.g. three")
    assert note(found, "4 pictures below", "in no row")  # two, three, four, b/one: the index holds no hidden file


def test_absolute_paths_below_the_folder_are_taken(shelf: Tree) -> None:
    one = shelf.root / "a" / "one.png"
    text = f"path,label\n{one},cat\n{shelf.root}/b/../five.png,dog\n{shelf.root}x/five.png,dog\n"
    found = scan(shelf.root, labels=table(shelf, text))
    assert labelled(found) == {"a/one.png": "cat", "five.png": "dog"}
    assert [each.reason for each in found.skipped] == ["outside PHOTOS"]


def test_the_exact_path_wins_over_the_same_name_deeper(shelf: Tree) -> None:
    shelf.picture("b/five.png")
    found = scan(shelf.root, labels=table(shelf, "path,label\nfive.png,cat\nb/five.png,dog\none,dog\n"))
    assert labelled(found) == {"five.png": "cat", "b/five.png": "dog", "a/one.png": "dog"}


def test_a_path_whose_last_part_only_fits_is_not_taken(shelf: Tree) -> None:
    found = scan(shelf.root, labels=table(shelf, "path,label\nb/one.png,cat\nfour,dog\n"))
    assert labelled(found) == {"b/four.png": "dog"}
    assert found.skipped[0].reason == "no such file below PHOTOS"


def test_all_rows_missing(shelf: Tree) -> None:
    path = table(shelf, "path,label\nx.png,cat\ny.png,dog\n")
    text = message(lambda: scan(shelf.root, labels=path))
    assert text.startswith(f"None of the 2 rows of {path} can be used, e.g. 'x.png': no such file below PHOTOS. ")
    assert str(shelf.root) in text


def test_a_class_whose_files_are_not_there_is_left_out_with_a_note(shelf: Tree) -> None:
    found = scan(shelf.root, labels=table(shelf, "id,label\none,cat\ntwo,cat\nfour,dog\nfive,dog\nx,wolf\n"))
    assert note(found, "without any picture, left out: 'wolf'")
    check_usable(found, {})


def test_a_file_with_two_labels_is_a_conflict(shelf: Tree) -> None:
    path = table(shelf, "id,label\none,cat\none,dog\ntwo,cat\nfour,dog\n")
    found = scan(shelf.root, labels=path)
    assert labelled(found) == {"a/two.jpg": "cat", "b/four.png": "dog"}
    one = str(shelf.root / "a" / "one.png")
    assert found.skipped == (
        Skipped(one, f"the same picture is also in class 'cat': {one}", "dog"),
        Skipped(one, f"the same picture is also in class 'dog': {one}", "cat"),
    )
    kept = scan(shelf.root, labels=path, keep_conflicts=True)
    assert [label for way, label, _ in ways(kept) if way == "a/one.png"] == ["cat", "dog"]


def test_splits_from_a_table(shelf: Tree) -> None:
    path = table(shelf, "id,label,Split\none,cat,Training\ntwo,cat, val \nfour,dog,TEST\n")
    found = scan(shelf.root, labels=path)
    assert ways(found) == [
        ("a/one.png", "cat", "train"),
        ("a/two.jpg", "cat", "validation"),
        ("b/four.png", "dog", "test"),
    ]
    assert note(found, "split from 'Split'")
    text = message(lambda: check_classes(found))
    assert "'dog' has 1 picture in test and none in train" in text


@pytest.mark.parametrize(("value", "came"), [("", "an empty value"), ("holdout", "'holdout'"), ("2", "'2'")])
def test_a_split_that_is_none(shelf: Tree, value: str, came: str) -> None:
    path = table(shelf, f"id,label,split\none,cat,train\ntwo,cat,{value}\n")
    text = message(lambda: scan(shelf.root, labels=path))
    assert f"Every row's 'split' in {path} must be train, validation or test" in text
    assert f"line 3 has {came}." in text


def test_a_split_whose_files_are_not_there_is_as_if_not_given(shelf: Tree) -> None:
    text = "id,label,split\none,cat,train\ntwo,cat,train\nfour,dog,train\nfive,dog,train\nx,cat,test\ny,dog,test\n"
    found = scan(shelf.root, labels=table(shelf, text))
    check_classes(found)
    assert found.counts == {"cat": {"train": 2}, "dog": {"train": 2}}
    assert note(found, "2 rows not used: no such file below PHOTOS")


def test_a_fold_column_is_a_split_only_where_its_values_are(shelf: Tree) -> None:
    numbers = scan(shelf.root, labels=table(shelf, "id,label,fold\none,cat,1\ntwo,dog,2\n"))
    assert {split for _, _, split in ways(numbers)} == {None}
    assert note(numbers, "'fold'", "not read as one")
    names = scan(shelf.root, labels=table(shelf, "id,label,fold\none,cat,train\ntwo,dog,test\n"))
    assert {split for _, _, split in ways(names)} == {"train", "test"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep names as Unicode")
def test_unicode_forms_meet(tree: Tree) -> None:
    nfc, nfd = (unicodedata.normalize(form, "Bär") for form in ("NFC", "NFD"))
    tree.picture(f"{nfd}.png")
    tree.picture("x.png")
    found = scan(tree.root, labels=table(tree, f"file,label\n{nfc}.png,{nfd}\nx,{nfc}\n"))
    assert found.classes == (nfc,)
    assert len(found.entries) == 2


@posix_only
def test_a_backslash_in_a_name_is_found_as_it_is(tree: Tree) -> None:
    tree.picture("a\\b.png")
    tree.picture("c/d.png")
    found = scan(tree.root, labels=table(tree, "file,label\na\\b.png,x\nc\\d.png,y\n"))
    assert labelled(found) == {"a\\b.png": "x", "c/d.png": "y"}


def test_a_long_table_is_read_in_bounded_time(tree: Tree) -> None:
    """Many files of one name in many folders, and rows that fit none of them: nothing quadratic."""
    for i in range(1000):
        tree.file(f"{i}/img.png", b"x")  # not read: no row names it
    tree.picture("one.png")
    lines = "".join(f"other/{i}/img.png,cat\n" for i in range(20_000))
    found = scan(tree.root, labels=table(tree, f"path,label\n{lines}one,dog\n"))
    assert len(found.skipped) == 20_000
    assert note(found, "20,000 rows not used: no such file below PHOTOS, e.g. other/0/img.png")


def test_children_hold_hidden_names_too(tree: Tree) -> None:
    tree.file(".x")
    tree.file("b")
    tree.folder("a")
    assert [(c.name, c.folder, c.hidden) for c in children(str(tree.root))] == [
        (".x", False, True),
        ("a", True, False),
        ("b", False, False),
    ]
    assert files.HEAD_BYTES >= 32


def test_a_folder_of_many_files_is_walked_in_little_memory(tmp_path: Path) -> None:
    names = [f"img_{i:05d}.jpg" for i in range(20_000)]
    for name in names:
        (tmp_path / name).touch()
    tracemalloc.start()
    walked = [found.path for i, found in enumerate(walk(tmp_path, by_bytes=False)) if i % 1000 == 0]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert walked == [str(tmp_path / name) for name in names[::1000]]
    assert peak < 150 * len(names)  # a name takes 63 bytes and a place in a list


def test_a_folder_that_is_left_out_is_passed_over_by_every_way(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "out/2.jpg", "out/deep/3.jpg", "outer/4.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b").symlink_to("out")
    (tmp_path / "c").symlink_to("out/deep")
    (tmp_path / "d").symlink_to("outer")
    found = [os.path.relpath(each.path, tmp_path) for each in walk(tmp_path, leave_out=tmp_path / "out")]
    assert found == ["a/1.jpg", "d/4.jpg", "outer/4.jpg"]
    assert list(walk(tmp_path / "out", leave_out=tmp_path / "out")) == []


def test_groups_of_a_table(shelf: Tree) -> None:
    path = table(shelf, "path,label,Patient ID\none,cat, p1 \nfour,dog,p1\n")
    found = scan(shelf.root, labels=path, group="patient_id")
    assert [entry.group for entry in found.entries] == ["p1", "p1"]
    assert note(found, "group from 'Patient ID'")
    assert note(found, "1 group of pictures: none will stand on two sides of a split")
    assert [entry.group for entry in scan(shelf.root, labels=path).entries] == [None, None]
    assert scan(shelf.root, labels=path).fingerprint == found.fingerprint


def test_a_row_without_a_group_and_one_with_two(shelf: Tree) -> None:
    path = table(shelf, "path,label,who\none,cat,\nfour,dog,a\nfour,dog,b\n")
    found = scan(shelf.root, labels=path, group="who")
    assert [(entry.label, entry.group) for entry in found.entries] == [("cat", None), ("dog", "a")]
    assert note(found, "1 group of pictures; 1 picture without a group")
    assert note(found, "1 row giving a picture another group than a row before: the first counts")


def test_a_group_in_two_unicode_forms_is_one(shelf: Tree) -> None:
    path = table(shelf, "path,label,who\none,cat,Zo\u00eb\nfour,dog,Zoe\u0308\n")
    assert [entry.group for entry in scan(shelf.root, labels=path, group="who").entries] == ["Zo\u00eb"] * 2


def test_group_needs_a_column_of_a_table(shelf: Tree) -> None:
    path = table(shelf, "path,label,patient\none,cat,1\nfour,dog,2\n")
    text = message(lambda: scan(shelf.root, labels=path, group="pateint"))
    assert text == (
        f"--group: {path} has no column 'pateint'; its columns are 'path', 'label', 'patient'. Did you mean 'patient'?"
    )
    with pytest.raises(SettingsError, match="Give the table with --labels"):
        scan(shelf.root, group="patient")


def test_conflicts_are_kept_aside(pets: Tree) -> None:
    pets.picture("cats/both.png", 77)
    pets.picture("dogs/both.png", 77)
    found = scan(pets.root)
    assert [(Path(e.path).parent.name, e.label) for e in found.conflicts] == [("cats", "cats"), ("dogs", "dogs")]
    assert {e.path for e in found.conflicts} <= {each.path for each in found.skipped}
    assert scan(pets.root, keep_conflicts=True).conflicts == ()
