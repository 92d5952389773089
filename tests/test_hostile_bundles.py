"""Crafted model files: each is refused for what it is, and opening it does nothing but read it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hostilebundles import CANARY, SIDE, Case, cut, every, fingerprint, good, packed
from tellapart import bundle as bundles
from tellapart import cli
from tellapart.errors import BundleError

MOST_MEBIBYTES, MOST_SECONDS = 256, 2.0
CHILD = Path(__file__).with_name("hostilechild.py")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE + 3, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, picture: Path) -> list[tuple[Case, dict]]:
    """Each case, and what came of it in a process that watches itself, in a folder that is watched."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / CANARY).write_bytes(bytes(24))
    cases, paths = [*every(), *cut()], []
    for i, case in enumerate(cases):
        paths.append(folder / f"{i:03d}.tellapart")
        paths[-1].write_bytes(case.content)
    before = fingerprint(folder)
    # What stands there would be run, or read, by a file that is believed.
    command = [sys.executable, "-B", str(CHILD), str(picture), *map(str, paths)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr[-2000:]
    assert fingerprint(folder) == before
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["path"] for each in told] == [str(path) for path in paths]
    return list(zip(cases, told, strict=True))


def test_each_is_refused_for_what_it_is(opened) -> None:
    assert len({case.name for case, _ in opened}) == len(opened) > 200
    wrong = {
        case.name: told["says"] or "it answered"
        for case, told in opened
        if (re.search(case.says, told["says"]) is None if case.says else told["says"] != "")
    }
    assert wrong == {}


def test_each_refusal_is_one_line_that_says_what_to_do(opened) -> None:
    for case, told in opened:
        if case.says:
            assert told["says"].isprintable(), case.name
            assert re.search(
                r"(Get the file again|Get the bundle again|Get it again|Give a|Train anew|train anew)", told["says"]
            )
            assert len(told["says"]) < 1000, case.name


def test_none_opens_another_file_or_starts_anything(opened) -> None:
    assert {case.name: told["seen"] for case, told in opened if told["seen"]} == {}


def test_none_takes_much_memory_or_time(opened) -> None:
    # Time of the processor: the cores may be shared. `benchmarks/hostile_bundles.py` takes that of a clock.
    assert {c.name: t["mebibytes"] for c, t in opened if t["mebibytes"] > MOST_MEBIBYTES} == {}
    assert {c.name: t["cpu"] for c, t in opened if t["cpu"] > MOST_SECONDS} == {}


def test_the_watching_sees_what_it_watches_for(tmp_path: Path, picture: Path) -> None:
    """The same process, with a bundle whose reading opens another file: it is told."""
    (tmp_path / "a").write_bytes(packed(good()))
    code = (
        "import hostilechild, sys\n"
        "real = hostilechild.answered\n"
        "def opening(path, picture):\n"
        "    if hostilechild.watching:\n"
        "        open(sys.argv[3], 'w').close(); bytearray(300 * 2**20)\n"
        "    return real(path, picture)\n"
        "hostilechild.answered = opening\n"
        "hostilechild.main(*sys.argv[1:3])\n"
    )
    command = [sys.executable, "-c", code, str(picture), str(tmp_path / "a"), str(tmp_path / "written")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHILD.parent), *sys.path])}
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
    assert "written" in told["seen"][0]
    assert told["mebibytes"] > MOST_MEBIBYTES


def test_places_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "ring").symlink_to("ring")
    (tmp_path / "to zero").symlink_to("/dev/zero")
    for path, says in (
        (tmp_path, "must be a regular file"),
        (tmp_path / "pipe", "must be a regular file"),
        (tmp_path / "ring", "No such bundle"),
        ("/dev/zero", "must be a regular file"),
        (tmp_path / "to zero", "must be a regular file"),
        ("/dev/null", "must be a regular file"),
        (tmp_path / "a\0b", "No such bundle"),
    ):
        with pytest.raises(BundleError, match=says):
            bundles.read(path)


# Class names that are more than names

NAMES = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "../../up",
    "/tmp/absolute",
    "..",
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "two\nlines\x1b[31m",
    "right\u202eleft\x9b",
    "[bold red]x[/]",
    "CON",
    "n" * 300,
]


@pytest.fixture
def run(capfd) -> Callable[..., tuple[str, str]]:
    def run(*arguments: object) -> tuple[str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert not exit_.value.code, err
        return out, err

    return run


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles that answer with one of NAMES each, as first and as second class."""
    folder = tmp_path_factory.mktemp("named")
    for i in range(0, len(NAMES), 2):
        (folder / f"{i}.tellapart").write_bytes(packed(good(classes=NAMES[i : i + 2])))
    return folder


def test_names_are_shown_as_one_printable_line_and_are_no_formulas(run, named: Path, picture: Path) -> None:
    for path in sorted(named.iterdir()):
        for command in (["info", path], ["predict", path, picture]):
            out, err = run(*command)
            assert all(c == "\n" or c.isprintable() for c in out + err)
        out, _ = run("predict", path, picture, "--csv", "-")
        rows = list(csv.reader(io.StringIO(out, newline="")))
        assert len(rows) == 2
        assert not [cell for row in rows for cell in row if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
        out, _ = run("predict", path, picture, "--json", "-")
        assert not set(out) & {"\x1b", "\x9b", "\u202e"}
        assert set(json.loads(out)[0]["probabilities"]) <= set(NAMES)


def test_copies_go_to_folders_inside_whatever_the_classes_are_called(run, named: Path, picture: Path, tmp_path) -> None:
    outside = tmp_path / "outside"
    (outside / "in").mkdir(parents=True)
    for path in sorted(named.iterdir()):
        run("predict", path, picture, "--copy-to", outside / "in" / "to")
        copies = [each for each in (outside / "in" / "to").rglob("*") if each.is_file()]
        assert len(copies) == 1
        assert copies[0].parent.parent == outside / "in" / "to"
        shutil.rmtree(outside / "in" / "to")
        assert [each.name for each in outside.rglob("*")] == ["in"]


def test_a_page_of_results_holds_no_markup_of_a_class(run, named: Path, tmp_path: Path) -> None:
    photos, table = tmp_path / "photos", tmp_path / "labels.csv"
    photos.mkdir()
    rng = np.random.default_rng(1)
    for i in range(8):
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(photos / f"{i}.png")
    for path in sorted(named.iterdir()):
        classes = bundles.read(path).classes
        with table.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["path", "label"], *([f"{i}.png", classes[i % 2]] for i in range(8))])
        page = tmp_path / f"{path.stem}.html"
        run("report", path, photos, "--labels", table, "-o", page)
        tags = Tags()
        tags.feed(page.read_text(encoding="utf-8"))
        assert tags.scripts <= 2
        assert not tags.odd


class Tags(HTMLParser):
    """What a browser would make of a page: how many scripts, and which tags or attributes a class name brought."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.odd = 0, []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.odd += [(tag, name) for name, value in attrs if name.startswith("on") or value == "x"]
