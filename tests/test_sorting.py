"""Copies sorted by answer: every picture once, nothing overwritten, names that any system can have."""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from tellapart import copies, outputs, sorting
from tellapart.classifier import Classifier
from tellapart.errors import OutputError
from tellapart.predict import NO_SUCH_FILE, Prediction
from tellapart.sorting import Sorter, folder_names

CLASSES = ("cats", "dogs")


def answer(path: Path, label: str | None = "cats", error: str | None = None) -> Prediction:
    return Prediction(str(path), label, 0.9, unknown=label is None, error=error)


def made(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content or str(path))
    os.utime(path, ns=(1_000_000_000, 1_234_567_891_234_567_000))
    return path


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder and what is in it."""
    files = (path for path in sorted(folder.rglob("*")) if not path.is_dir())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def test_each_answer_has_its_folder(tmp_path: Path) -> None:
    photos, to = tmp_path / "photos", tmp_path / "sorted"
    originals = {
        name: made(photos / name) for name in ("a.jpg", "b.png", "c.jpg", "deep/d.jpg", "broken.jpg", "lost.jpg")
    }
    before = tree(photos)
    originals["lost.jpg"].unlink()
    with Sorter(to, CLASSES, asked=[photos]) as sorter:
        assert sorter.add(answer(originals["a.jpg"])) == str(to / "cats" / "a.jpg")
        sorter.add(answer(originals["b.png"], "dogs"))
        sorter.add(answer(originals["c.jpg"], None))
        sorter.add(answer(originals["deep/d.jpg"]))
        sorter.add(answer(originals["broken.jpg"], None, "empty file (0 bytes)"))
        assert sorter.add(answer(originals["lost.jpg"], None, NO_SUCH_FILE)) is None
        assert sorter.add(answer(originals["lost.jpg"])) is None  # it vanished after its answer
        assert sorter.add(answer(photos, None, "the folder cannot be read: permission denied")) is None
    assert {name: Path(content).name for name, content in tree(to).items()} == {
        "cats/a.jpg": "a.jpg", "cats/d.jpg": "d.jpg", "dogs/b.png": "b.png", "unknown/c.jpg": "c.jpg",
        "unreadable/broken.jpg": "broken.jpg",
    }  # fmt: skip
    for copy in to.rglob("*.*"):
        assert copy.stat().st_mtime_ns == 1_234_567_891_234_567_000
        assert copy.stat().st_nlink == 1
    assert {**tree(photos), "lost.jpg": before["lost.jpg"]} == before
    assert sorter.result == sorting.Sorted(
        str(to), {}, {"cats": 2, "dogs": 1, "unknown": 1, "unreadable": 1}, 3,
        (str(originals["lost.jpg"]), NO_SUCH_FILE),
    )  # fmt: skip


def test_a_copy_is_a_file_of_its_own(tmp_path: Path) -> None:
    original = made(tmp_path / "a.jpg", "x" * 3_000_000)
    original.chmod(0o444)
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    with Sorter(tmp_path / "to", CLASSES) as sorter:
        copy, by_link = (sorter.add(answer(tmp_path / name)) for name in ("a.jpg", "link.jpg"))
    for each in (copy, by_link):
        assert each is not None
        assert Path(each).read_text() == "x" * 3_000_000
        assert not Path(each).is_symlink()
        assert os.stat(each).st_mode & 0o200  # it may be edited
        Path(each).write_text("edited")
    assert original.read_text() == "x" * 3_000_000


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    names = ["a/x.jpg", "b/x.jpg", "c/x-2.jpg", "d/x.jpg", "e/x", "f/x", "g/.jpg", "h/.jpg", "i/x.tar.gz", "j/x.tar.gz"]
    with Sorter(tmp_path / "to", CLASSES) as sorter:
        for name in names:
            sorter.add(answer(made(tmp_path / name, name)))
    assert tree(tmp_path / "to" / "cats") == {
        "x.jpg": "a/x.jpg", "x-2.jpg": "b/x.jpg", "x-2-2.jpg": "c/x-2.jpg", "x-3.jpg": "d/x.jpg", "x": "e/x",
        "x-2": "f/x", ".jpg": "g/.jpg", ".jpg-2": "h/.jpg", "x.tar.gz": "i/x.tar.gz", "x.tar-2.gz": "j/x.tar.gz",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["x" * 251 + ".jpg", "\U0001f431" * 62 + ".jpeg", "x." + "y" * 250, "x" * 255])
def test_a_number_fits_into_the_longest_name(tmp_path: Path, name: str) -> None:
    with Sorter(tmp_path / "to", CLASSES) as sorter:
        for folder in "abc":
            sorter.add(answer(made(tmp_path / folder / name, folder)))
    copies = tree(tmp_path / "to" / "cats")
    assert sorted(copies.values()) == ["a", "b", "c"]
    assert copies[name] == "a"
    assert all(len(os.fsencode(each)) <= 255 for each in copies)


def test_names_that_are_taken_often_are_not_looked_up_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, tried = made(tmp_path / "x.jpg", "x"), 0
    real = outputs.claim

    def claim(temporary: str, final: str) -> bool:
        nonlocal tried
        tried += 1
        return real(temporary, final)

    monkeypatch.setattr(outputs, "claim", claim)
    with Sorter(tmp_path / "to", CLASSES) as sorter:
        made_copies = [sorter.add(answer(original)) for _ in range(200)]
    assert [Path(each or "").name for each in made_copies[::50]] == ["x.jpg", "x-51.jpg", "x-101.jpg", "x-151.jpg"]
    assert tried < 500  # of 20,000, were each looked up from the first on
    assert list(sorter._numbers.values()) == [201]


def test_memory_does_not_grow_with_the_pictures(tmp_path: Path) -> None:
    original = made(tmp_path / "seed.jpg", "x")
    (tmp_path / "photos").mkdir()
    with Sorter(tmp_path / "to", CLASSES) as sorter:

        def sort(first: int, n: int) -> None:
            for i in range(first, first + n):
                path = tmp_path / "photos" / f"{i}.jpg"
                os.link(original, path)
                sorter.add(answer(path))

        sort(0, 50)
        tracemalloc.start()
        sort(50, 1000)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert grown < 20_000  # 20 bytes a picture; a name held would be over 60
    assert len(list((tmp_path / "to" / "cats").iterdir())) == 1050


# Where the copies go


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    to, original = tmp_path / "to", made(tmp_path / "x.jpg", "new")
    made(to / "cats" / "x.jpg", "mine")
    with pytest.raises(OutputError, match=r"must be new or empty; it is not\. Name another, or add --force\."):
        Sorter(to, CLASSES)
    with Sorter(to, CLASSES, force=True) as sorter:
        sorter.add(answer(original))
    assert tree(to) == {"cats/x.jpg": "mine", "cats/x-2.jpg": "new"}


def test_an_empty_folder_is_taken_and_an_unused_one_goes(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        with Sorter(tmp_path / name, CLASSES):
            assert (tmp_path / name).is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_folders_that_cannot_take_copies(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name, says in (
        ("file", "must be a folder; it is none"), ("dangling", "must be a folder"), ("no/such", "there is no .*/no"),
    ):  # fmt: skip
        with pytest.raises(OutputError, match=says):
            Sorter(tmp_path / name, CLASSES)


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_class_folder_that_is_none_of_its_own(tmp_path: Path, kind: str) -> None:
    """A link may lead to where the originals are."""
    to, original = tmp_path / "to", made(tmp_path / "photos" / "x.jpg")
    to.mkdir()
    if kind == "link":
        (to / "cats").symlink_to(tmp_path / "photos")
    else:
        (to / "cats").write_text("")
    with Sorter(to, CLASSES, force=True) as sorter, pytest.raises(OutputError, match="must be a folder of its own"):
        sorter.add(answer(original))
    assert os.listdir(tmp_path / "photos") == ["x.jpg"]


def test_a_folder_of_originals_in_the_folder_of_copies_is_refused(tmp_path: Path) -> None:
    to = tmp_path / "to"
    original = made(to / "cats" / "x.jpg")
    (tmp_path / "by link").symlink_to(to / "cats")
    for asked in (to, to / "cats", tmp_path / "by link", f"{to}/../to"):
        with pytest.raises(OutputError, match="must not go where their originals are"):
            Sorter(to, CLASSES, asked=[asked], force=True)
    Sorter(to, CLASSES, asked=[original, tmp_path], force=True)  # a file, and a folder around it, are no trouble


def test_a_full_disk_stops_it_and_leaves_no_half_copy(tmp_path: Path) -> None:
    made(tmp_path / "small.jpg", "x")
    made(tmp_path / "large.jpg", "x" * 100_000)
    code = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from tellapart.errors import OutputError
from tellapart.predict import Prediction
from tellapart.sorting import Sorter
try:
    with Sorter("to", ["cats"]) as sorter:
        sorter.add(Prediction("small.jpg", "cats", 0.9))
        sorter.add(Prediction("large.jpg", "cats", 0.9))
except OutputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.startswith("to/cats/large.jpg could not be written: file too large. Make room,")
    assert tree(tmp_path / "to") == {"cats/small.jpg": "x"}


def test_ctrl_c_leaves_no_half_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(source: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(copies, "_read", press)
    with pytest.raises(KeyboardInterrupt), Sorter(tmp_path / "to", CLASSES) as sorter:
        sorter.add(answer(made(tmp_path / "x.jpg")))
    assert tree(tmp_path / "to") == {}


def test_an_original_that_fails_in_the_middle_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def read(self, n: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(copies, "opened", lambda path: Broken())
    with Sorter(tmp_path / "to", CLASSES) as sorter:
        assert sorter.add(answer(tmp_path / "x.jpg")) is None
    assert sorter.result.example == (str(tmp_path / "x.jpg"), "input/output error")
    assert tree(tmp_path / "to") == {}


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with Sorter(tmp_path / "to", CLASSES) as sorter:
        sorter.add(answer(tmp_path / "pipe.jpg", None, "not a regular file (a FIFO)"))
        sorter.add(answer(tmp_path / "pipe.jpg"))
    assert sorter.result.not_copied == 2
    assert sorter.result.example == (str(tmp_path / "pipe.jpg"), "not a regular file (a FIFO)")


@pytest.mark.parametrize("name", ["a\nb\udcff.jpg", "-x.jpg", "x", "größe.JPG", " x .jpg"])
def test_any_name_that_a_file_may_have(tmp_path: Path, name: str) -> None:
    with Sorter(tmp_path / "to", CLASSES) as sorter:
        sorter.add(answer(made(tmp_path / name, "x")))
    assert tree(tmp_path / "to") == {f"cats/{name}": "x"}


def test_without_links_a_name_that_is_taken_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)  # as on FAT
    with Sorter(tmp_path / "to", CLASSES) as sorter:
        for name in ("a/x.jpg", "b/x.jpg"):
            sorter.add(answer(made(tmp_path / name, name)))
    assert tree(tmp_path / "to" / "cats") == {"x.jpg": "a/x.jpg", "x-2.jpg": "b/x.jpg"}


# Class names as folders


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("cats", "cats"), ("Größe 1", "Größe 1"), ("猫", "猫"), ("-5 °C", "-5 °C"), ("a.b", "a.b"), ("a b", "a b"),
        ("a/b", "a_b"), ("a\\b", "a_b"), ("..", "__"), (".", "_"), ("", "_"), (".git", "_git"),
        ("../../etc", "_._.._etc"), ("cats.", "cats_"),
        ("cats . ", "cats___"), (" cats", "_cats"), ("a:b*c?", "a_b_c_"), ('"<>|', "____"),
        ("con", "_con"), ("COM1", "_COM1"), ("Lpt9.jpg", "_Lpt9.jpg"), ("nul .x", "_nul .x"), ("COM¹", "_COM¹"),
        ("console", "console"), ("com10", "com10"), ("a\nb\x00", "a_b_"), ("x\udcff", "x_"), ("a\u202eb", "a_b"),
        ("Thumbs.db", "_Thumbs.db"), ("__MACOSX", "___MACOSX"), ("x" * 300, "x" * 200), ("猫" * 100, "猫" * 66),
        ("unknown", "unknown-2"), ("Unreadable", "Unreadable-2"), ("x" * 199 + ". ", "x" * 199 + "_"),
    ],
)  # fmt: skip
def test_a_class_name_that_is_no_folder_everywhere(name: str, folder: str) -> None:
    assert folder_names([name]) == {name: folder}


def test_two_classes_never_share_a_folder() -> None:
    names = ["a/b", "a_b", "a:b", "a_b-2", "A_B", "caf\u00e9", "cafe\u0301", "Café", "straße", "STRASSE", "unknown"]
    found = folder_names(names)
    assert list(found) == names
    assert found["a_b"] == "a_b"  # it can keep its name, so it does
    assert found["a_b-2"] == "a_b-2"
    assert found["a/b"] == "a_b-4"  # a_b-3 is that of A_B
    assert found["A_B"] == "A_B-3"
    assert found["caf\u00e9"] == "caf\u00e9"
    assert len({copies.folded(each) for each in found.values()} | {"unknown", "unreadable"}) == len(names) + 2


def test_classes_with_strange_names_are_sorted_apart(tmp_path: Path) -> None:
    classes = ("..", "a/b", "unknown", "a_b")
    with Sorter(tmp_path / "to", classes) as sorter:
        for i, label in enumerate((*classes, None)):
            sorter.add(answer(made(tmp_path / f"{i}.jpg", str(i)), label))
    assert tree(tmp_path / "to") == {
        "__/0.jpg": "0", "a_b-2/1.jpg": "1", "unknown-2/2.jpg": "2", "a_b/3.jpg": "3", "unknown/4.jpg": "4",
    }  # fmt: skip
    assert sorter.result.folders == {"..": "__", "a/b": "a_b-2", "unknown": "unknown-2"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(f"{i}.jpg" for i in range(5)), "to"]


# With a model


def test_a_classifier_sorts_a_folder_into_itself(trained: Classifier, tmp_path: Path, make_photos) -> None:
    photos = make_photos(tmp_path / "photos", n=6)
    (photos / "bad.jpg").write_bytes(b"")
    to = photos / "sorted"
    labels = {each.path: each.label for each in trained.predict(str(photos))}
    result = trained.sort(photos, to)
    assert sum(result.copied.values()) == 13  # its own copies are not found
    assert result.copied["unreadable"] == 1
    for path, label in labels.items():
        assert (to / (label or "unreadable") / Path(path).name).read_bytes() == Path(path).read_bytes()
    again = trained.sort([photos], to, force=True)  # nor those of the last time
    assert again.copied == result.copied
    assert len([path for path in to.rglob("*.*") if path.is_file()]) == 26


def test_declined_pictures_are_apart(trained: Classifier, photos: Path, tmp_path: Path, monkeypatch) -> None:
    strict = dataclasses.replace(trained.predictor.guards, confidence=2.0)  # nobody is so sure
    monkeypatch.setattr(trained.predictor, "guards", strict)
    result = trained.sort(sorted(photos.glob("circles/circle_00*")), tmp_path / "to")
    assert result.copied == {"unknown": 10}


def test_a_link_into_the_copies_is_not_followed(trained: Classifier, tmp_path: Path, make_photos) -> None:
    photos, to = make_photos(tmp_path / "photos", n=2), tmp_path / "to"
    trained.sort(photos, to)
    (photos / "a").symlink_to(to)
    (photos / "b").symlink_to(next(path for path in to.iterdir()))
    assert sum(trained.sort(photos, to, force=True).copied.values()) == 4
