"""The page of a tuning: what it says, and that nothing in it can do harm."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest

from pagetags import Tags, check_inert
from tellapart import config, tunepage, tunings
from tellapart.errors import OutputError
from tunedscenes import ID, record, tuned


@pytest.fixture(scope="module")
def page() -> Tags:
    return Tags("".join(tunepage.page(tuned())))


def test_it_says_at_first_sight_what_was_found_and_how_sure_that_is(page: Tags) -> None:
    assert "92 % right on validation pictures, the default 80 %." in page.words
    assert "Better by, points +12.0" in page.words
    assert "Of that expected on new pictures" in page.words
    assert "Only the test says how good it is." in page.words
    assert "12 trials through, 1 given up early, 1 failed or stopped; the time was up." in page.words
    assert ID in page.words  # by which the next process knows its own page


def test_nothing_in_it_can_be_run_or_fetched(page: Tags) -> None:
    check_inert(page)
    assert "my photos/<b>pets</b>" in page.words
    assert "The learning rate must be <small>." in page.words


def test_every_trial_is_in_the_table(page: Tags) -> None:
    rows = page.all("tr")
    assert len([row for row in rows if "data-order" in row]) == 15
    assert "9 taken" in page.words
    assert "1 default" in page.words
    assert "given up: behind most others" in page.words


def test_the_recipe_and_its_command_are_there(page: Tags) -> None:
    found = tuned()
    assert shlex.join(["tellapart", "train", found.photos, "--recipe", "pets.toml"]) in page.words
    assert 'backbone = "efficientnet-lite1"' in page.words


def test_every_chart_is_told_in_words_and_every_setting_that_varied_has_one(page: Tags) -> None:
    charts = [each for each in page.all("svg") if each.get("class") == "chart"]
    assert len(charts) >= 6
    assert all(each["role"] == "img" and each["aria-label"] for each in charts)
    told = " ".join(str(each["aria-label"]) for each in charts)
    assert "12 trials in their order; the best gets 92 % of the validation pictures right (trial 9)" in told
    assert "Right answers against backbone: efficientnet-lite0, efficientnet-lite1, efficientnet-lite2" in told
    assert "while they went on" in told


def test_of_one_trial_there_is_a_page_too() -> None:
    records = (record(0, 90, config.TRANSFER),)
    top, default, gain = tunings.best(records, seed=0)  # pyright: ignore[reportGeneralTypeIssues]
    one = dataclasses.replace(tuned(), records=records, best=top, default=default, gain=gain, workers=1)
    page = Tags("".join(tunepage.page(one)))
    assert "Nothing was found that is expected to beat the default's 90 %." in page.words
    assert "by one process" in page.words
    alone = dataclasses.replace(one, default=None, gain=None)
    assert "90 % right so far; the default was not through." in Tags("".join(tunepage.page(alone))).words


def test_it_is_saved_whole_and_replaces_nothing_unasked(tmp_path: Path) -> None:
    path = tmp_path / "tune.html"
    tunepage.save(tuned(), path)
    assert path.stat().st_size < 200_000
    with pytest.raises(OutputError, match="exists already"):
        tunepage.save(tuned(), path)
    tunepage.save(tuned(), path, force=True)
