"""Bad input: one line on standard error that names the path and the remedy, and nothing left behind."""

import csv
import errno
import io
import json
import os
import shutil
import socket
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import TINY
from tellapart import cli, pipeline


@pytest.fixture
def run(capfd):
    """Run a command in this process: exit status, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def refused(run, tmp_path: Path) -> Callable[..., str]:
    """Run a command that must fail with one line and leave no file in `tmp_path`: what it says after "Error: "."""

    def refused(*arguments: object, status: int = 1) -> str:
        before = sorted(tmp_path.rglob("*"))
        got, _, err = run(*arguments)
        assert got == status, err
        assert sorted(tmp_path.rglob("*")) == before
        last = err.splitlines()[-1]
        assert last.startswith("Error: ")
        assert last.isprintable()
        assert err.count("Error: ") == 1
        assert "Traceback" not in err
        return last.removeprefix("Error: ")

    return refused


def page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html><body>404</body></html>")


def huge(path: Path, side: int = 30_000) -> None:
    """A PNG of side x side black pixels, one bit each: some hundred kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row, pack = bytes(1 + (side + 7) // 8), zlib.compressobj(1)
    pixels = b"".join(pack.compress(row * 100) for _ in range(side // 100)) + pack.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


# Folders that cannot be trained on


def test_folders_that_are_none(refused, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("not a picture")
    (tmp_path / "circle").symlink_to("circle")
    picture = next(photos.rglob("*.png"))
    for asked, says, remedy in (
        (tmp_path / "none", "No such folder: {}.", "Check its spelling"),
        (tmp_path / "two\nlines\x1b[31m", "No such folder: {}.", "Check its spelling"),
        (tmp_path / "empty", "The folder {} is empty.", "Give the folder that holds the class folders"),
        (tmp_path / "text", "No pictures below {}", "Give the folder that holds the class folders"),
        (tmp_path / "circle", "The folder {} cannot be read: too many levels of symbolic links.", "Check its"),
        (picture, "A folder is needed; {} is a file.", "Give the folder that holds the class folders"),
        (photos / "circles", "{} holds 40 pictures and no class folder", "Put the pictures of each class into"),
    ):
        for command in (["train", asked], ["train", asked, "--dry-run"]):
            message = refused(*command)
            name = str(asked).replace("\n", "\\n").replace("\x1b", "\\x1b")
            assert says.format(name) in message
            assert remedy in message


def test_too_few_classes_or_pictures(refused, make_photos, tmp_path: Path) -> None:
    one = make_photos(tmp_path / "one", ("circles",), n=3)
    message = refused("train", one)
    assert message.startswith(f"At least two classes are needed; {one} has 'circles' (3 pictures). Add a folder")
    lonely = make_photos(tmp_path / "lonely", n=3)
    make_photos(lonely, ("triangles",), n=1)
    message = refused("train", lonely, *TINY)
    assert message.startswith(f"class 'triangles' has one usable picture ({lonely}/triangles/triangle_000.png);")
    assert message.endswith("Add pictures or take the folder away.")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file (0 bytes)"),
        (b"<!DOCTYPE html><html>", "not a picture: it begins like HTML"),
        (b"\xff\xd8\xff\xe0" + bytes(100), "damaged JPEG"),
    ],
)
def test_a_class_without_one_readable_picture(refused, make_photos, tmp_path: Path, content, reason: str) -> None:
    folder = make_photos(tmp_path / "photos", n=3)
    (folder / "broken").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / "broken" / name).write_bytes(content)
    message = refused("train", folder, *TINY)
    assert f"class 'broken': none of its 2 pictures could be read, e.g. {folder}/broken/a.jpg: {reason}" in message
    assert message.endswith("Put good pictures there, or take the folder away.")


def test_no_readable_picture_at_all(refused, bundle_path: Path, tmp_path: Path) -> None:
    for label in ("circles", "squares"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        page(tmp_path / "photos" / label / "a.jpg")
    for command in (["train"], ["evaluate", bundle_path]):
        message = refused(*command, tmp_path / "photos")
        assert message.startswith(
            f"None of the 2 pictures below {tmp_path}/photos can be used, e.g. {tmp_path}/photos/"
        )
        assert message.endswith("Give a folder with pictures that can be read.")


def test_splits_whose_classes_differ(refused, make_photos, tmp_path: Path) -> None:
    make_photos(tmp_path / "photos" / "train", ("circles", "squares"), n=3)
    make_photos(tmp_path / "photos" / "test", ("circles", "triangles"), n=3, first=50)
    message = refused("train", tmp_path / "photos")
    assert message.startswith(f"Every split of {tmp_path}/photos must have the same classes: ")
    assert "'triangles' has 3 pictures in test and none in train" in message


def test_classes_that_a_model_does_not_know(refused, bundle_path: Path, three_classes: Path) -> None:
    message = refused("evaluate", bundle_path, three_classes)
    assert message == (
        f"Every class of {three_classes} must be one of the model's (circles, squares); it also has triangles. "
        f"Rename or take away these."
    )


def test_some_of_a_models_classes_are_enough(run, bundle_path: Path, make_photos, tmp_path: Path) -> None:
    status, out, _ = run("evaluate", bundle_path, make_photos(tmp_path / "p", ("squares",), 3, 500), "--json", "-")
    result = json.loads(out)
    assert status == 0
    assert (result["classes"], result["per_class"]["circles"]["support"]) == (["circles", "squares"], 0)
    assert (result["n"], result["n_trained_on"], result["baseline_accuracy"]) == (3, 0, 1.0)


# Bad files among good ones


@pytest.fixture
def dirty(make_photos, tmp_path: Path, monkeypatch) -> Path:
    """Six good pictures of each class, and one of every kind of bad file."""
    folder = make_photos(tmp_path / "photos", n=6)
    bad = folder / "circles"
    (bad / "zero.jpg").write_bytes(b"")
    page(bad / "page.jpg")
    huge(bad / "huge.png")
    (bad / "cut.jpg").write_bytes((bad / "circle_001.jpg").read_bytes()[:600])
    os.mkfifo(bad / "pipe.jpg")
    monkeypatch.chdir(bad)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
    (bad / "nowhere.jpg").symlink_to("none.jpg")
    (bad / "circle.jpg").symlink_to("circle.jpg")
    (bad / "loop").symlink_to("..")
    (folder / "nothing").mkdir()
    (folder / "Thumbs.db").write_bytes(b"\0")
    (folder / "notes.txt").write_text("none")
    shutil.copy(bad / "circle_000.png", folder / "loose.png")
    return folder


REASONS = {
    "zero.jpg": "empty file (0 bytes)",
    "page.jpg": "not a picture: it begins like HTML",
    "huge.png": "30000×30000 = 900 megapixels, over the limit of 120",
    "cut.jpg": "truncated: the file ends before the picture does",
    "pipe.jpg": "not a regular file (a FIFO)",
    "socket.png": "not a regular file (a socket)",
    "nowhere.jpg": "a symbolic link to nothing",
    "circle.jpg": "symbolic links that go in a circle",
    "loop": "a symbolic link to a folder above itself (a loop)",
}


def test_bad_files_are_skipped_counted_and_named(run, dirty: Path, tmp_path: Path) -> None:
    target = tmp_path / "dirty.tellapart"
    status, out, err = run("train", dirty, "-o", target, *TINY, "--json", tmp_path / "result.json")
    assert status == 0
    result = json.loads((tmp_path / "result.json").read_bytes())
    skipped = {Path(each["path"]).name: each["reason"] for each in result["skipped"]}
    assert skipped == {**REASONS, "loose.png": "not in a class folder"}
    assert sum(result["plan"]["pictures"].values()) == 12
    assert "10 pictures were not used:" in out
    assert "5 other reasons; --json FILE lists every picture." in out
    assert f"class folder {dirty}/nothing holds no pictures and is left out\n" in err
    assert f"1 picture in no class folder not used, e.g. {dirty}/loose.png: move each into" in err
    assert "1 other file passed over" in err  # notes.txt; what the system made is not worth a word
    # Every file has its row when the same folder is asked about, and counts when it is evaluated.
    status, out, _ = run("predict", target, dirty, "--json", "-")
    answers = {Path(answer["path"]).name: answer["error"] for answer in json.loads(out)}
    assert status == 0
    assert {name: error for name, error in answers.items() if error} == REASONS
    assert len(answers) == 12 + len(REASONS) + 1
    status, out, _ = run("evaluate", target, dirty, "--json", "-")
    evaluated = json.loads(out)
    assert (status, evaluated["n"], len(evaluated["skipped"])) == (0, 12, 10)


def test_the_skipped_of_another_split_are_not_the_tests(run, bundle_path: Path, make_photos, tmp_path: Path) -> None:
    for split, first in (("train", 0), ("test", 300)):
        make_photos(tmp_path / split, n=2, first=first)
        (tmp_path / split / "circles" / "zero.jpg").write_bytes(b"")
    for more, n, paths in (
        ([], 4, [tmp_path / "test/circles/zero.jpg"]),
        (["--split", "all"], 8, [tmp_path / "test/circles/zero.jpg", tmp_path / "train/circles/zero.jpg"]),
    ):
        result = json.loads(run("evaluate", bundle_path, tmp_path, "--json", "-", *more)[1])
        assert result["n"] == n
        assert [each["path"] for each in result["skipped"]] == list(map(str, paths))


def test_the_same_picture_in_two_classes(run, make_photos, tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", n=5)
    one, two = folder / "circles" / "circle_001.jpg", folder / "squares" / "copy.jpg"
    shutil.copy(one, two)
    status, out, err = run("train", folder, "-o", tmp_path / "a.tellapart", *TINY, "--json", "-")
    result = json.loads(out)
    assert status == 0
    assert result["skipped"] == [
        {"path": str(one), "reason": f"the same picture is also in class 'squares': {two}"},
        {"path": str(two), "reason": f"the same picture is also in class 'circles': {one}"},
    ]
    assert sum(result["plan"]["pictures"].values()) == 9
    assert "2 pictures under two labels (same bytes), none of them used, e.g. " in err
    status, out, err = run("train", folder, "-o", tmp_path / "b.tellapart", *TINY, "--json", "-", "--keep-conflicts")
    result = json.loads(out)
    assert (status, result["skipped"], sum(result["plan"]["pictures"].values())) == (0, [], 11)
    assert "used as they stand" in err


def test_files_that_disappear_during_the_run(run, make_photos, tmp_path: Path, monkeypatch) -> None:
    folder = make_photos(tmp_path / "photos", n=6)
    gone = folder / "circles" / "circle_001.jpg"
    prepare = pipeline.prepare

    def meanwhile(*arguments, **options):
        gone.unlink()
        return prepare(*arguments, **options)

    monkeypatch.setattr(pipeline, "prepare", meanwhile)
    target = tmp_path / "a.tellapart"
    status, out, _ = run("train", folder, "-o", target, *TINY, "--json", "-", "--cache", tmp_path / "cache")
    result = json.loads(out)
    assert (status, sum(result["plan"]["pictures"].values())) == (0, 11)
    ((path, reason),) = (each.values() for each in result["skipped"])
    assert path == str(gone)
    assert reason


# Names


NAMES = ["sp ace", "quo\"te's", "new\nline", "größe", "图", "=1+1", "[red]a[", "a,b"]


def test_class_names_of_every_kind(run, make_photos, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for i, name in enumerate(NAMES):
        make_photos(tmp_path / "drawn" / str(i), ("circles",), n=3, first=10 * i)
        shutil.copytree(tmp_path / "drawn" / str(i) / "circles", folder / name)
    make_photos(folder, ("circles",), n=1, first=900)
    (folder / "circles").rename(folder / ".hidden")
    target = tmp_path / "a.tellapart"
    status, out, err = run("train", folder, "-o", target, *TINY, "--json", tmp_path / "a.json")
    assert status == 0
    assert json.loads((tmp_path / "a.json").read_bytes())["classes"] == sorted(NAMES)
    shown = [line.split("  ")[0].strip() for line in out.splitlines()]
    for name in NAMES:
        assert name.replace("\n", "\\n") in shown  # as it is, on one line
    assert f"hidden folder {folder}/.hidden holds pictures and is passed over" in err
    _, out, _ = run("predict", target, folder / "a,b", "--csv", "-")
    header = next(csv.reader(io.StringIO(out)))
    # A spreadsheet would run what begins with "=".
    assert header[5:] == [f"'{name}" if name[0] == "=" else name for name in sorted(NAMES)]
    assert run("evaluate", target, folder)[0] == 0
    assert "a,b, " in run("info", target)[1]


def test_one_name_in_two_unicode_forms_is_one_class(run, make_photos, tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "photos", ("circles", "squares", "triangles"), n=3)
    for shape, form in (("circles", "NFC"), ("squares", "NFD")):
        (folder / shape).rename(folder / unicodedata.normalize(form, "é"))
    status, out, err = run("train", folder, "-o", tmp_path / "a.tellapart", *TINY, "--json", "-")
    result = json.loads(out)
    assert (status, result["classes"]) == (0, ["triangles", "é"])
    assert sum(result["plan"]["pictures"].values()) == 9
    assert "2 folders are read as the one class 'é'" in err


# Outputs and the cache


def test_outputs_that_cannot_be_written(refused, bundle_path: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for target, says in (
        (tmp_path / "folder", "An output must be a file; {} is a folder. Name a file in it."),
        (tmp_path / "none" / "a", "The folder of an output must exist; there is no {}. Make it first."),
        ("/dev/null", "An output must be a regular file; {} is none. Name another file."),
        ("", "An output must be a file; . is a folder. Name a file in it."),
    ):
        named = tmp_path / "none" if "none" in str(target) else target
        for command in (
            ["train", photos, *TINY, "-o", target],
            ["evaluate", bundle_path, photos, "--json", target],
            ["predict", bundle_path, photos, "--csv", target],
            ["info", bundle_path, "--json", target],
        ):
            assert refused(*command) == says.format(named)


def test_a_full_disk(refused, run, bundle_path: Path, make_photos, tmp_path: Path, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = make_photos(tmp_path / "photos", n=3)
    monkeypatch.setattr("tellapart.outputs.os.fsync", full)
    for command, name in (
        (["train", folder, *TINY, "-o", tmp_path / "a.tellapart"], "a.tellapart"),
        (["evaluate", bundle_path, folder, "--json", tmp_path / "a.json"], "a.json"),
        (["predict", bundle_path, folder, "--csv", tmp_path / "a.csv"], "a.csv"),
    ):
        said = refused(*command)
        assert said.startswith(
            f"{tmp_path}/{name} could not be written: no space left on device. Make room, or name a path on "
            f"another disk."
        )
        assert ("No other place took the model either" in said) == (command[0] == "train")
    # What was found out is said before it is written, so that it is not lost.
    status, out, _ = run("evaluate", bundle_path, folder, "--json", tmp_path / "a.json")
    assert status == 1
    assert out.startswith("Accuracy ")


def test_a_cache_that_is_none(refused, run, bundle_path: Path, photos: Path, tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "file"
    file.touch()
    message = refused("train", photos, *TINY, "-o", tmp_path / "a.tellapart", "--cache", file)
    assert message.startswith(f"The cache folder must be readable and writable; {file}: not a directory.")
    assert message.endswith("Choose another folder with --cache DIR.")
    monkeypatch.setenv("TELLAPART_CACHE", str(file))
    status, _, err = run("train", photos, *TINY, "-o", tmp_path / "a.tellapart")
    assert (status, "cannot be written: not a directory. What this run keeps is in" in err) == (0, True)
    assert run("predict", bundle_path, photos / "circles")[0] == 0  # which needs none


# Bundles


def test_bundles_that_are_none(refused, bundle_path: Path, photos: Path, tmp_path: Path) -> None:
    whole = bundle_path.read_bytes()
    with zipfile.ZipFile(bundle_path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def rewritten(name: str, **changes: object) -> Path:
        manifest = json.dumps({**json.loads(members["manifest.json"]), **changes}).encode()
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member, content in {**members, "manifest.json": manifest}.items():
                archive.writestr(member, content)
        return tmp_path / name

    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty").touch()
    (tmp_path / "two\nlines").write_bytes(b"text")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    os.mkfifo(tmp_path / "pipe")
    picture = next(photos.rglob("*.png"))
    for path, says, remedy in (
        (tmp_path / "none", "No such bundle: {}.", "Give the path of a .tellapart file"),
        (photos, "A bundle must be a regular file; {} is not.", "Give the path of a .tellapart file."),
        (tmp_path / "pipe", "A bundle must be a regular file; {} is not.", "Give the path of a .tellapart file."),
        (tmp_path / "cut", "{} is not a bundle, or is damaged", "Get the file again, or train anew."),
        (tmp_path / "empty", "{} is not a bundle, or is damaged", "Get the file again, or train anew."),
        (tmp_path / "two\nlines", "{} is not a bundle, or is damaged", "Get the file again, or train anew."),
        (picture, "{} is not a bundle, or is damaged", "Get the file again, or train anew."),
        (tmp_path / "other.zip", "{} is a zip file but not a bundle", "Give a .tellapart file."),
        (rewritten("odd", format="x"), "{} is a zip file but not a bundle.", "Give a .tellapart file."),
        (rewritten("new", format_version=2), "{} must have bundle format 1; it has 2.", "Use the version of tellapart"),
        ("", "No such bundle: ''.", "Give the path"),
    ):
        for command in (["predict", path, picture], ["evaluate", path, photos], ["info", path]):
            message = refused(*command)
            assert says.format(str(path).replace("\n", "\\n")) in message
            assert remedy in message
