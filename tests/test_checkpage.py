"""The page of findings: what it says, that nothing in it can do harm, and that it stays small."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest

from pagefindings import MARKUP, NO_TEXT, dirty
from pagetags import Tags, check_inert
from tellapart import checkpage, thumbnails
from tellapart.errors import OutputError
from tellapart.files import shown
from tellapart.findings import KINDS, Finding, Findings, Proposal, ordered


def empty(*found: Finding, **options: object) -> Findings:
    values = {"root": "photos", "every": ordered(found), "quick": False, "n_found": 8, "n_used": 8, "skipped": ()}
    return Findings(**{**values, "classes": {"cats": {"all": 5}, "dogs": {"all": 3}}, **options})  # type: ignore[arg-type]


def nothing(path: str) -> bytes:
    raise AssertionError(f"{path} was read")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Tags:
    return Tags("".join(checkpage.page(dirty(tmp_path_factory.mktemp("page")))))


def test_it_says_at_first_sight_what_is_wrong_and_what_to_do(page: Tags):
    assert "56 pictures found, 55 used, 1 not." in page.words
    assert "3 things make results wrong, 5 make them worse, 3 are good to know." in page.words
    links = [each["href"] for each in page.all("a") if (each["href"] or "").startswith("#")]
    assert links[1:] == [
        "#leak", "#label_conflict", "#shortcut",
        "#unreadable", "#split", "#wrong_label", "#exact_duplicate", "#outlier",
        "#near_duplicate", "#imbalance", "#odd",
    ]  # fmt: skip
    ids = [each["id"] for _, each in page.found if "id" in each]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link} <= set(ids)


def test_nothing_in_it_can_be_run_or_fetched(page: Tags):
    check_inert(page)
    assert MARKUP in page.words
    assert "caf\\udce9.jpg" in page.words
    assert "\u202e" not in page.words
    assert "my photos & <b>co</b>" in page.words


def test_a_picture_that_comes_again_is_in_the_page_once(page: Tags):
    images = page.all("img")
    sources = [each["src"] or "" for each in images if "data-same" not in each]
    assert all(each.startswith("data:image/webp") for each in sources)
    assert len(sources) == len(set(sources))
    again = [each["data-same"] for each in images if "data-same" in each]
    assert len(again) == 6  # the copy, the torn one, and four of the twelve dark ones that other cases show
    assert set(again) <= {each.get("id") for each in images}
    assert all(each["alt"] for each in images)


def test_ticks_are_rows_of_a_fix_list_with_the_names_own_bytes(page: Tags):
    boxes = [each for each in page.all("input") if "data-row" in each]
    rows = [unquote_to_bytes(row.partition("!")[2]) for box in boxes for row in (box["data-row"] or "").split(" ")]
    assert b"train/circles/caf\xe9.jpg,move,squares,wrong_label,looks like squares\n" in rows
    assert b"train/circles/00.png,drop,,leak,also in test\n" in rows
    assert b"train/squares/02 copy.png,drop,,exact_duplicate,a copy\n" in rows
    assert b"train/circles/broken.jpg,drop,,unreadable,\n" in rows
    assert sum(b",move,squares," in row for row in rows) == 20
    assert b"train/circles/01.png,drop,,label_conflict,\n" in rows  # one box each, where nothing is proposed
    assert b"train/squares/torn.png,drop,,label_conflict,\n" in rows
    assert sum("data-alone" in box for box in boxes) == 4
    assert len(rows) == 20 + 1 + 1 + 1 + 1 + 4
    head = unquote_to_bytes(page.all("aside")[0]["data-head"] or "").decode()
    assert head.startswith("path,action,to,kind,reason\n/")
    assert head.endswith("/my photos & <b>co</b>,folder,,,the folder that this list is about\n")


def test_twins_stand_side_by_side_with_class_and_split(page: Tags):
    assert re.search(
        r"mirrored, is in train and in test\. leave out circles train train/circles/ 00\.png "
        r"keep circles test test/circles/ mirrored\.png Leave out 00\.png",
        page.words,
    )


def test_suspects_have_given_and_likely_class_and_how_sure(page: Tags):
    assert re.search(r"labelled circles looks like squares 99\.0 % Move to squares", page.words)


def test_shortcut_and_learning_curve_have_their_numbers_in_words(page: Tags):
    assert "told by format alone 87 % by guessing 50 %" in page.words
    told = [each["aria-label"] for each in page.all("svg") if each.get("role") == "img"]
    assert "Accuracy by the number of pictures: 90 % with 20, about 94 % expected with 40" in told
    assert "brightness of circles: half of 8 pictures are below 160" in told
    assert "40 (expected) 94 % 90 % 97 %" in page.words


def test_every_file_that_is_not_used_is_told_with_its_reason(page: Tags):
    assert "1 file, each with its reason train/circles/broken.jpg empty file (0 bytes)" in page.words


def test_nothing_found_is_said():
    page = Tags("".join(checkpage.page(empty(quick=True), read=nothing)))
    assert "8 pictures found, all used. Nothing was found." in page.words
    assert "Nothing was found that would make results wrong or worse." in page.words
    assert "Only the quick part was done" in page.words
    assert "All are used." in page.words
    assert not page.all("aside")


@pytest.mark.parametrize("kind", KINDS)
def test_one_finding_of_any_kind_without_detail_or_pictures_makes_a_page(kind: str):
    page = Tags("".join(checkpage.page(empty(Finding(kind, "warning", "Something <is>.", "Do it.", ())), read=nothing)))
    assert "1 thing makes results worse." in page.words
    assert kind == "wrong_label" or "Something <is>." in page.words
    gone = Finding(kind, "info", "Something.", "Do it.", ("photos/cats/none.jpg",))
    assert "no such file" in Tags("".join(checkpage.page(empty(gone)))).words


def test_a_verdict_counts_kinds_by_their_gravest():
    def of(*pairs: tuple[str, str]) -> str:
        return checkpage.verdict(empty(*(Finding(kind, severity, "x.", "y.", ()) for kind, severity in pairs)))

    assert of(("leak", "error"), ("odd", "info")) == "1 thing makes results wrong, 1 is good to know."
    assert of(("odd", "info"), ("odd", "warning"), ("odd", "info")) == "1 thing makes results worse."
    assert of(("odd", "info"), ("outlier", "info")) == "2 things are good to know."


def test_thousands_of_findings_stay_small_and_what_is_not_shown_is_counted(tmp_path: Path):
    rng = np.random.default_rng(0)
    from PIL import Image

    files: dict[str, bytes] = {}
    found = []
    path = tmp_path / "x.png"
    Image.fromarray(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)).save(path)  # noise: the largest thumbnails
    noise = path.read_bytes()
    for i in range(3000):
        kind = KINDS[i % len(KINDS)]
        paths = tuple(f"photos/cats/{i}_{j}_{'x' * 180}.png" for j in range(1 if kind == "wrong_label" else 4))
        files |= {each: noise + each.encode() for each in paths}
        moved = tuple(Proposal(each, "drop", reason="r" * 80) for each in paths)
        found.append(Finding(kind, "warning", f"Something is {'very ' * 80} wrong.", "Do it.", paths, 0, {}, moved))
    every = empty(
        *found, skipped=tuple((f"photos/cats/{i}.jpg", "empty file (0 bytes)") for i in range(5000)), n_found=5008
    )
    page = "".join(checkpage.page(every, read=files.__getitem__))
    assert len(page.encode()) < 8_000_000
    tags = Tags(page)
    assert re.search(r"[1-9]\d\d more are not on this page", tags.words)
    assert "… and 4,000 more;" in tags.words
    assert re.search(r"[\d,]+ pictures are named without being shown", tags.words)
    shown = dict.fromkeys(KINDS, 0)
    section = ""
    for tag, attributes in tags.found:
        section = attributes.get("data-kind") or section
        if tag == "img":
            shown[section] += 1
    assert all(shown.values())  # no kind takes the room of another


def test_class_and_split_are_read_off_a_path_only_where_they_are_such():
    told = {"photos/x/2.jpg": ("dogs", "train"), "photos/cats/3.jpg": ("dogs", None)}
    maker = checkpage.Exhibits(empty(), thumbnails.Album(), ["cats", "dogs"], told)

    def about(path: str) -> tuple[str, str]:
        return maker.about(Finding("odd", "info", "x.", "y.", (path,), detail={"labels": ["birds"]}), 0)

    assert about("photos/cats/1.jpg") == ("cats", "")
    assert about("photos/Test_Set/dogs/a/1.jpg") == ("dogs", "test")
    assert about("photos/x/1.jpg") == ("", "")
    assert about("photos/cats") == ("", "")
    assert about("photos/x/2.jpg") == ("dogs", "train")
    assert about("photos/cats/3.jpg") == ("dogs", "")
    assert about("photos/cats/test/1.jpg") == ("cats", "")


def test_a_sentence_tells_paths_from_the_folder_down():
    maker = checkpage.Exhibits(empty(root="a/photos"), thumbnails.Album(), [])
    assert maker.said("First a/photos/cats/1.jpg, then a/photos2/x.jpg.") == "First cats/1.jpg, then a/photos2/x.jpg."


def test_it_is_written_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "report.html"
    checkpage.save(empty(), path)
    first = path.read_bytes()
    assert first.startswith(b"<!doctype html>")
    assert first.endswith(b"</html>")
    with pytest.raises(OutputError, match="exists already"):
        checkpage.save(empty(), path)
    checkpage.save(empty(quick=True), path, force=True)
    assert path.read_bytes() != first


def test_no_text_of_the_page_needs_more_than_utf_8(tmp_path: Path):
    found = Finding("odd", "info", f"{NO_TEXT} is odd.", "Look.", (f"photos/cats/{NO_TEXT}",))
    every = empty(
        found, root=f"photos{NO_TEXT}", classes={NO_TEXT: {"all": 1}}, notes=(NO_TEXT,), skipped=((NO_TEXT, NO_TEXT),)
    )
    page = "".join(checkpage.page(every)).encode("utf-8")  # raises where a name kept bytes that are no text
    assert page.decode("utf-8").count(shown(NO_TEXT)) >= 5  # root, class, note, and a skipped file with its reason
