"""A cleaned copy: what it holds, what it refuses, and that the originals stay as they are."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from tellapart import cleaning, copies, leftovers, moves
from tellapart.cleaning import MARK, apply
from tellapart.errors import InputError, OutputError
from tellapart.moves import Move


def picture(path: Path, content: str = "") -> Path:
    """A file that begins like a PNG, old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + (content or str(path)).encode("utf-8", "surrogateescape"))
    os.utime(path, ns=(1_500_000_000_000_000_000, 1_400_000_000_123_456_789))
    return path


def state(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Every file below a folder: hash, time of change (ns), mode."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def names(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]


def listed(path: Path, photos: Path, *rows: tuple[str, ...], labels: Path | None = None) -> Path:
    every = [Move(*each) for each in rows]
    text = "".join(moves.lines(every, str(photos), labels=None if labels is None else str(labels)))
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Cats and dogs, three each, one of them broken, one file beside them."""
    folder = tmp_path / "photos"
    for name in ("cats/1.png", "cats/2.png", "cats/deep/3.png", "dogs/1.png", "dogs/2.png", "dogs/3.png"):
        picture(folder / name)
    (folder / "cats/empty.jpg").write_bytes(b"")
    (folder / "README.txt").write_text("not a picture")
    return folder


def test_dropped_ones_are_gone_moved_ones_have_their_new_class_and_no_original_is_touched(photos: Path, tmp_path: Path):
    before = state(photos)
    rows = [
        ("cats/1.png", "drop"),
        ("cats/deep/3.png", "move", "dogs"),
        ("dogs/2.png", "keep"),
        ("cats/empty.jpg", "drop"),
    ]
    done = apply(None, listed(tmp_path / "moves.csv", photos, *rows), tmp_path / "clean")
    assert names(tmp_path / "clean") == [
        MARK,
        "cats/2.png",
        "dogs/1.png",
        "dogs/2.png",
        "dogs/3.png",
        "dogs/deep/3.png",
    ]
    assert (done.kept, done.dropped, done.moved, done.left_out) == (4, 1, 1, 1)
    assert done.counts == {"cats": 1, "dogs": 4}
    assert done.lines()[0] == (
        f"4 kept, 1 dropped, 1 moved, 1 left out because they cannot be used: {tmp_path / 'clean'}"
    )
    assert state(photos) == before
    assert state(tmp_path / "clean")["dogs/deep/3.png"] == before["cats/deep/3.png"]
    assert json.loads((tmp_path / "clean" / MARK).read_text())["kept"] == 4
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clean", "moves.csv", "photos"]


@pytest.mark.parametrize("copy", [False, True])
def test_links_take_no_space_and_copies_are_files_of_their_own(photos: Path, tmp_path: Path, copy: bool):
    before = state(photos)
    done = apply(photos, listed(tmp_path / "m.csv", photos), tmp_path / "clean", copy=copy)
    original, made = photos / "cats/1.png", tmp_path / "clean/cats/1.png"
    assert os.path.samefile(original, made) is not copy
    assert (done.linked, done.copied) == ((0, 6) if copy else (6, 0))
    assert ("edits a picture in place edits both" in " ".join(done.lines())) is not copy
    if copy:
        made.write_bytes(b"changed")
    made.unlink()
    assert state(photos) == before
    assert original.stat().st_mtime_ns == 1_400_000_000_123_456_789


def test_where_a_disk_has_no_links_pictures_are_copied_with_their_times(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    done = apply(photos, listed(tmp_path / "m.csv", photos), tmp_path / "clean")
    assert (done.linked, done.copied) == (0, 6)
    assert (tmp_path / "clean/cats/1.png").stat().st_mtime_ns == 1_400_000_000_123_456_789


def test_a_name_that_is_taken_gets_a_number_and_who_was_there_keeps_the_name(photos: Path, tmp_path: Path):
    for folder in ("birds", "fish"):
        picture(photos / folder / "1.png")
    rows = [(f"{folder}/1.png", "move", "dogs") for folder in ("birds", "cats", "fish")]
    done = apply(photos, listed(tmp_path / "m.csv", photos, *rows), tmp_path / "clean")
    found = {path.name: path.read_bytes() for path in (tmp_path / "clean/dogs").iterdir()}
    assert sorted(found) == ["1-2.png", "1-3.png", "1-4.png", "1.png", "2.png", "3.png"]
    assert found["1.png"] == (photos / "dogs/1.png").read_bytes()
    assert found["1-2.png"] == (photos / "birds/1.png").read_bytes()
    assert done.renamed == 3
    assert "No picture is left in 'birds', 'fish'." in done.notes


def test_a_moved_picture_stays_on_its_side_of_the_split(tmp_path: Path):
    photos = tmp_path / "photos"
    for side in ("training_set", "Test"):
        for name in ("cats/1.png", "dogs/2.png"):
            picture(photos / side / name)
    rows = [("Test/cats/1.png", "move", "dogs"), ("training_set/dogs/2.png", "move", "owls")]
    done = apply(photos, listed(tmp_path / "m.csv", photos, *rows), tmp_path / "clean")
    assert names(tmp_path / "clean") == [
        MARK,
        "Test/dogs/1.png",
        "Test/dogs/2.png",
        "training_set/cats/1.png",
        "training_set/owls/2.png",
    ]
    assert "New class 'owls' with 1 picture." in done.notes


def test_a_class_that_is_nearly_one_is_asked_about(photos: Path, tmp_path: Path):
    done = apply(photos, listed(tmp_path / "m.csv", photos, ("cats/1.png", "move", "dog")), tmp_path / "clean")
    assert done.notes == ("New class 'dog' with 1 picture (is 'dogs' meant?).",)


def test_with_a_table_of_labels_the_copy_has_a_folder_for_each_class(tmp_path: Path):
    photos, labels = tmp_path / "photos", tmp_path / "labels.csv"
    for name in ("1.png", "2.png", "x/1.png", "3.png"):
        picture(photos / name)
    labels.write_text("path,label\n1.png,a/b\n2.png,a/b\nx/1.png,c\n3.png,c\n")
    path = listed(tmp_path / "m.csv", photos, ("2.png", "move", "c"), ("3.png", "drop"), labels=labels)
    done = apply(None, path, tmp_path / "clean")
    assert names(tmp_path / "clean") == [MARK, "a_b/1.png", "c/1.png", "c/2.png"]
    assert done.notes == ("The copy has a folder for each class; it needs no table of labels.",)
    labels.write_text("path,label,split\n1.png,a,train\n2.png,b,train\nx/1.png,a,test\n3.png,b,test\n")
    apply(photos, listed(path, photos), tmp_path / "clean", labels=labels, force=True)
    assert names(tmp_path / "clean") == [MARK, "test/a/1.png", "test/b/3.png", "train/a/1.png", "train/b/2.png"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("../outside.png", "drop"), r"line 3: '../outside.png' lies outside"),
        (("/etc/passwd", "drop"), r"line 3: '/etc/passwd' lies outside"),
        (("cats/9.png", "drop"), r"line 3: 'cats/9.png' is no picture in"),
        (("README.txt", "drop"), r"line 3: 'README.txt' is no picture in"),
        (("cats", "drop"), r"line 3: 'cats' is no picture in"),
        (("cats/empty.jpg", "move", "dogs"), r"line 3: 'cats/empty.jpg' cannot be moved: empty file"),
        (("cats/1.png", "move", "../dogs"), r"line 3: '../dogs' cannot be a class"),
        (("cats/1.png", "move", "/tmp/x"), r"line 3: '/tmp/x' cannot be a class"),
        (("cats/1.png", "move", ".."), r"line 3: '..' cannot be a class"),
        (("cats/1.png", "move", ".hidden"), r"line 3: '.hidden' cannot be a class"),
        (("cats/1.png", "move", "a\nb"), r"line 4: 'a\\nb' cannot be a class"),
        (("cats/1.png", "move", "con"), r"line 3: 'con' cannot be a class"),
        (("cats/1.png", "move", "x" * 300), r"cannot be a class"),
        (("cats/1.png", "move", "test"), r"line 3: 'test' cannot be a new class: it is the name of a split"),
        (("cats/1.png", "move", "Dogs"), r"line 3: 'Dogs' differs from the class 'dogs' in its spelling only"),
    ],
)
def test_rows_that_make_no_sense_for_the_folder_are_refused_and_nothing_is_done(
    photos: Path, tmp_path: Path, row: tuple[str, ...], said: str
):
    before = state(tmp_path)
    path = listed(tmp_path / "m.csv", photos, row)
    with pytest.raises(InputError, match=said):
        apply(photos, path, tmp_path / "clean")
    path.unlink()
    assert state(tmp_path) == before


def test_a_picture_that_is_named_twice_must_have_one_fate(photos: Path, tmp_path: Path):
    rows = [("cats/1.png", "drop"), ("./cats/1.png", "move", "dogs")]
    with pytest.raises(InputError, match=r"line 4: './cats/1.png' stands in line 3 with another action"):
        apply(photos, listed(tmp_path / "m.csv", photos, *rows), tmp_path / "clean")
    assert apply(photos, listed(tmp_path / "m.csv", photos, *rows[:1] * 2), tmp_path / "clean").dropped == 1


def test_the_copy_never_lies_where_the_originals_are(photos: Path, tmp_path: Path):
    path = listed(tmp_path / "m.csv", photos)
    before = state(photos)
    elsewhere = tmp_path / "elsewhere" / "owls"
    picture(elsewhere / "1.png")
    (photos / "owls").symlink_to(elsewhere, target_is_directory=True)
    (tmp_path / "link").symlink_to(photos)
    for to in (photos, photos / "clean", photos / "cats", tmp_path / "link" / "clean", tmp_path, elsewhere / "clean"):
        with pytest.raises(OutputError, match=r"where the originals are|is a link"):
            apply(photos, path, to, force=True)
    (photos / "owls").unlink()
    assert state(photos) == before


def test_what_exists_is_replaced_only_where_it_is_an_earlier_copy_and_only_if_asked(photos: Path, tmp_path: Path):
    path, to = listed(tmp_path / "m.csv", photos), tmp_path / "clean"
    to.mkdir()
    (to / "mine.txt").write_text("mine")
    for force, said in ((False, "must be new or empty"), (True, "only a copy that `tellapart apply` made")):
        with pytest.raises(OutputError, match=said):
            apply(photos, path, to, force=force)
    assert names(to) == ["mine.txt"]
    (to / "mine.txt").unlink()
    apply(photos, path, to)  # empty is as good as new
    with pytest.raises(OutputError, match="must be new or empty"):
        apply(photos, path, to)
    done = apply(photos, listed(path, photos, ("cats/1.png", "drop")), to, force=True)
    assert done.dropped == 1
    assert "cats/1.png" not in names(to)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clean", "m.csv", "photos"]
    with pytest.raises(OutputError, match="The fix list lies in"):
        apply(photos, listed(to / "m.csv", photos), to, force=True)
    with pytest.raises(OutputError, match="there is no"):
        apply(photos, path, tmp_path / "none" / "clean")


def test_a_list_that_drops_all_or_names_no_folder_is_refused(photos: Path, tmp_path: Path):
    path = listed(tmp_path / "m.csv", photos, *[(name, "drop") for name in names(photos) if name.endswith("png")])
    with pytest.raises(InputError, match="drops every picture"):
        apply(photos, path, tmp_path / "clean")
    path.write_text("path,action,to\n")
    with pytest.raises(InputError, match="does not say which folder"):
        apply(None, path, tmp_path / "clean")
    assert apply(photos, path, tmp_path / "clean").kept == 6


def test_names_that_are_no_text_or_composed_otherwise_are_found(tmp_path: Path):
    photos = tmp_path / "photos"
    odd = [
        "cats/\udcff.png",
        "cats/x\ny.png",
        "cats/=1.png",
        "cats/-\u202e.png",
        f"cats/{unicodedata.normalize('NFD', 'é')}.png",
    ]
    for name in [*odd, "cats/0.png", "dogs/1.png", "dogs/2.png"]:
        picture(photos / name)
    rows = [(unicodedata.normalize("NFC", name), "drop") for name in odd]
    apply(photos, listed(tmp_path / "m.csv", photos, *rows), tmp_path / "clean")
    assert names(tmp_path / "clean") == [MARK, "cats/0.png", "dogs/1.png", "dogs/2.png"]


def test_a_list_saved_in_an_old_encoding_is_understood(tmp_path: Path):
    photos = tmp_path / "photos"
    for name in ("cats/é.png", "cats/0.png", "dogs/1.png", "dogs/2.png"):
        picture(photos / name)
    path = tmp_path / "m.csv"
    path.write_bytes("path;action;to\r\ncats/é.png;drop;\r\n".encode("cp1252"))
    assert apply(photos, path, tmp_path / "clean").dropped == 1


def test_the_same_bytes_under_two_labels_are_settled_by_the_list(photos: Path, tmp_path: Path):
    picture(photos / "cats/same.png", "same")
    picture(photos / "dogs/same.png", "same")
    done = apply(photos, listed(tmp_path / "m.csv", photos, ("cats/same.png", "drop")), tmp_path / "clean")
    assert (done.kept, done.dropped) == (7, 1)
    assert "dogs/same.png" in names(tmp_path / "clean")


def test_a_picture_that_is_gone_stops_it_and_nothing_is_left(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill = cleaning._fill

    def late(*arguments: object) -> object:
        (photos / "dogs/3.png").unlink()
        return fill(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cleaning, "_fill", late)
    with pytest.raises(InputError, match=r"dogs/3\.png can no longer be read"):
        apply(photos, listed(tmp_path / "m.csv", photos), tmp_path / "clean")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m.csv", "photos"]


@pytest.mark.parametrize("stop", ["link", "write"])
def test_a_full_disk_or_ctrl_c_leaves_nothing(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device") if stop == "write" else KeyboardInterrupt

    monkeypatch.setattr(copies, "write", full)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        apply(photos, listed(tmp_path / "m.csv", photos), tmp_path / "clean", copy=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m.csv", "photos"]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_killed_run_leaves_no_half_copy_and_the_next_takes_its_leftovers_away(photos: Path, tmp_path: Path):
    path, before = listed(tmp_path / "m.csv", photos), state(photos)
    script = (
        "import sys, time; from tellapart import cleaning\n"
        "cleaning.apply(sys.argv[1], sys.argv[2], sys.argv[3], progress=lambda done, _: done > 2 and time.sleep(60))"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(photos), str(path), str(tmp_path / "clean")])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and len(list(tmp_path.glob(".clean.*.tmp/**/*.png"))) < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(tmp_path.glob(".clean.*.tmp"))) == 1
    assert not (tmp_path / "clean").exists()
    stranger = tmp_path / leftovers.temporary("clean")  # of a process that lives
    stranger.mkdir()
    assert apply(photos, path, tmp_path / "clean").kept == 6
    assert list(tmp_path.glob(".clean.*.tmp")) == [stranger]
    assert state(photos) == before


def test_progress_ends_with_all_pictures(photos: Path, tmp_path: Path):
    told: list[tuple[int, int]] = []
    note: Callable[[int, int], None] = lambda done, total: told.append((done, total))  # noqa: E731
    apply(photos, listed(tmp_path / "m.csv", photos), tmp_path / "clean", progress=note)
    assert told == [(i, 6) for i in range(1, 7)]
