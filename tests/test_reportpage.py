"""The report: what it says, that nothing in it can do harm, and that it stays small."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pagetags import Tags, check_inert
from reportscenes import FACTS, HOSTILE, NO_TEXT, TRANSFER_CSV, bundle, drawn, evaluation, png, warmed
from tellapart import reportpage
from tellapart.errors import OutputError
from tellapart.evaluation import Evaluation
from tellapart.files import shown


def made(one: Evaluation, **more: object) -> str:
    return "".join(reportpage.page(one, bundle(one.classes), facts=FACTS, **more))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Tags:
    return Tags(made(drawn(tmp_path_factory.mktemp("report")), heat=warmed))


def test_it_says_at_first_sight_how_good_it_is_and_what_to_fix(page: Tags):
    # 48 of 60: 80 %, Wilson 68 to 88 %.
    assert "It is right on 80 of 100 new pictures; 95 % sure: between 68 and 88." in page.words
    assert "Always answering the commonest class would be right on 33 %; this model is right on 80 % (60" in page.words
    assert re.search(r"Too few test pictures to tell\. With 60 pictures anything from 68 % to 88 %", page.words)
    assert "What to fix first weak spot" in page.words
    links = {each["href"] or "" for each in page.all("a")}
    ids = [each["id"] for _, each in page.found if "id" in each]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links} <= set(ids)
    assert {"#confusion", "#slices", "#mistakes", "#classes", "#data"} <= links


def test_nothing_in_it_can_be_run_or_fetched(page: Tags):
    check_inert(page)
    assert shown(HOSTILE) in page.words
    assert "<img src=x onerror=alert(1)>.png" in page.words
    assert "caf\\udce9.png" in page.words
    assert "\u202e" not in page.words


def test_every_part_is_there_with_its_numbers(page: Tags):
    for words in (
        "6 × " + shown(HOSTILE),
        "in truth circles",
        "class pictures found (recall) right when answered (precision) F1",
        "By its own guards it answered 95 % of these pictures, and 79 % of these answers",
        "Answered “unknown”: 3",
        "brightness dark worse 20 40 %",
        "Learned from 500 pictures",
        "1 picture left out, each with its reason caf\\udce9.png empty file (0 bytes)",
        "Because. Two split folders. Read so.",
        "The weights of epoch 2 of 3 were kept",
        "One picture, from file to answer 31 ms",
        "tellapart train PHOTOS --recipe scratch --seed 5 -o shapes.tellapart",
        "tellapart report shapes.tellapart 'my photos'",
        "ab" * 32,
        "python 3.11.7, tellapart 0.1.0",
        "Confusion matrix How many pictures of each class",
    ):
        assert words in page.words, words


def test_charts_are_told_in_words_and_as_tables(page: Tags):
    told = [each["aria-label"] or "" for each in page.all("svg") if each.get("role") == "img"]
    assert len(told) == 4  # calibration, coverage, accuracy and loss by epoch
    assert any("On average it says that it is 80 % sure" in each for each in told)
    assert any("Of all pictures 80 % are right" in each for each in told)
    assert any("Loss by epoch. At the end 80 % of the training pictures" in each for each in told)
    assert "How sure and how right, in numbers" in page.words
    assert "The curve in numbers" in page.words


def test_pictures_are_in_it_once_with_words_for_each(page: Tags):
    images = page.all("img")
    assert all(each["alt"] for each in images)
    sources = [each["src"] or "" for each in images if "data-same" not in each and "id" in each]
    assert all(each.startswith("data:image/webp") for each in sources)
    again = {each["data-same"] for each in images if "data-same" in each}
    assert again <= {each.get("id") for each in images}
    warm = [each for each in images if (each["alt"] or "").startswith("The same picture; warm where")]
    assert len(warm) == 12
    assert "empty file (0 bytes)" in page.words  # of the one that has been emptied since


def test_a_page_of_a_transfer_and_of_no_mistakes():
    one = evaluation([[300, 0], [0, 300]], sure=0.999)
    page = Tags(
        "".join(reportpage.page(one, bundle(one.classes, history=TRANSFER_CSV, recipe="own"), facts={}, read=none))
    )
    assert "Trust it for “class 0” and “class 1”." in page.words
    assert "Nothing was taken for anything else." in page.words
    assert "It answers every picture, and a limit would change little here." in page.words
    assert "No picture was left out of the test." in page.words
    assert "The surest mistakes" not in page.words
    assert "tellapart train PHOTOS" not in page.words
    assert "#mistakes" not in {each["href"] for each in page.all("a")}


def none(path: str) -> bytes:
    return png(8, 0)


def test_of_a_hundred_classes_the_pairs_are_listed_and_the_matrix_is_folded():
    rng = np.random.default_rng(0)
    counts = [[8 if i == j else 2 if j == (i + 1) % 100 else 0 for j in range(100)] for i in range(100)]
    counts[4][5] = 6
    page = Tags(made(evaluation(counts), read=lambda path: png(8, int(rng.integers(9)))))
    assert "The whole matrix, 100 × 100" in page.words
    assert "6 × class 4 taken for class 5 43 % of its class" in page.words
    assert "100 pairs of classes were mixed up; the 60 most frequent show their pictures." in page.words
    assert "80 more classes" in page.words


def test_thousands_of_pictures_and_hostile_lengths_stay_small():
    rng = np.random.default_rng(0)
    counts = rng.integers(5, 20, (20, 20)).tolist()
    names = tuple(f"{i} {'x' * 200}" for i in range(20))
    noise = png(160, 0)
    one = evaluation(counts, classes=names, skipped=tuple((f"{i}{'y' * 200}.jpg", "z" * 1000) for i in range(3000)))
    page = made(one, read=lambda path: noise + path.encode())
    assert len(page.encode()) < 8_000_000
    assert "… and 2,500 more" in Tags(page).words
    assert "pictures are named without being shown" in Tags(page).words


def test_it_is_written_whole_or_not_at_all(tmp_path: Path):
    one, path = evaluation([[8, 2], [0, 10]], paths=tuple(f"{NO_TEXT}{i}" for i in range(20))), tmp_path / "r.html"
    reportpage.save(one, bundle(one.classes), path, facts={}, read=none)
    first = path.read_bytes()
    assert first.startswith(b"<!doctype html>")
    assert first.endswith(b"</html>")
    with pytest.raises(OutputError, match="exists already"):
        reportpage.save(one, bundle(one.classes), path, facts={}, read=none)
    reportpage.save(one, bundle(one.classes), path, facts=FACTS, read=none, force=True)
    assert path.read_bytes() != first
