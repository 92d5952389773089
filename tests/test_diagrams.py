"""Diagrams as SVG: where things lie, and what they tell in words."""

import math
import re
import xml.etree.ElementTree as ET

import pytest

from tellapart import diagrams
from tellapart.diagrams import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Dot, Share

HOSTILE = '"><script>alert(1)</script>&'
WIDE, HIGH = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM


def all_of(root: ET.Element, kind: str) -> list[ET.Element]:
    return [each for each in root if each.get("class") == kind]


def ticks(root: ET.Element) -> set[str | None]:
    return {each.text for each in all_of(root, "tick")}


def test_said_against_true_lies_where_it_should_and_larger_bins_have_larger_dots():
    bins = [Share(0.65, 0.25, 0.1, 0.5, 25), Share(0.9, 1.0, 0.9, 1.0, 100)]
    root = ET.fromstring(diagrams.reliability(bins, told=HOSTILE))
    assert root.get("aria-label") == HOSTILE
    assert root.get("role") == "img"
    dots = all_of(root, "dot")
    # The scale of x begins at the tenth below the first bin: 60 %.
    assert [float(each.get("cx", "")) for each in dots] == pytest.approx(
        [LEFT + WIDE / 8, LEFT + 3 * WIDE / 4], abs=0.01
    )
    assert [float(each.get("cy", "")) for each in dots] == pytest.approx([TOP + 0.75 * HIGH, TOP], abs=0.01)
    assert [float(each.get("r", "")) for each in dots] == [6.75, 10]
    even = all_of(root, "even")[0].get("d", "")
    assert even == f"M{LEFT} {TOP + 0.4 * HIGH:g}L{WIDTH - RIGHT} {TOP}"
    assert {"60 %", "70 %", "100 %", "0 %", "how sure it says it is"} <= ticks(root)


def test_coverage_has_a_scale_that_shows_the_curve_and_a_mark_where_the_model_is():
    points = [Share(0.01, 0.5, 0.1, 0.9, 2), Share(0.5, 1.0, 0.99, 1.0, 500), Share(1.0, 0.985, 0.982, 0.99, 1000)]
    at = Share(0.9, 0.99, 0.98, 1.0, 900)
    root = ET.fromstring(diagrams.coverage(points, at=at, floor=0.5, told="c"))
    assert {"98 %", "100 %", "99 %"} <= ticks(root)  # two pictures do not stretch it down to 10 %
    assert not all_of(root, "even")
    mark = all_of(root, "mark")[0]
    assert float(mark.get("cx", "")) == pytest.approx(LEFT + 0.9 * WIDE)
    assert float(mark.get("cy", "")) == pytest.approx(TOP + HIGH / 2)
    low = ET.fromstring(diagrams.coverage([Share(1.0, 0.4, 0.3, 0.5, 100)], floor=0.5, told="c"))
    assert len(all_of(low, "even")) == 1
    assert not all_of(low, "mark")


def test_lines_have_a_letter_each_and_leave_out_what_is_not_finite():
    root = ET.fromstring(
        diagrams.lines({"training": [2.0, math.nan, 1.0], "held-out": [4.0, 3.0, 2.0]}, shares=False, x_name="epoch",
                       mark=2, told="loss")
    )  # fmt: skip
    assert all_of(root, "line a")[0].get("d") == f"M{LEFT} {TOP + HIGH / 2:g}L{WIDTH - RIGHT} {TOP + 0.75 * HIGH:g}"
    assert all_of(root, "line b")[0].get("d", "").startswith(f"M{LEFT} {TOP}L")
    assert [len(all_of(root, f"end {letter}")) for letter in "ab"] == [2, 3]
    assert all_of(root, "even")[0].get("d", "").startswith(f"M{LEFT + WIDE / 2:g} ")
    assert {"1", "2", "3", "epoch", "0", "4"} <= ticks(root)


def test_one_value_and_none_make_a_diagram_too():
    for values in ({"training": [0.5]}, {"training": [math.nan]}, {}):
        text = diagrams.lines(values, shares=True, x_name="pictures", x=[100], told="x")
        assert "nan" not in text
        assert "100" in ticks(ET.fromstring(text))
    assert "nan" not in diagrams.reliability([], told="x")


def test_an_interval_lies_over_its_bar():
    root = ET.fromstring(diagrams.interval(0.5, 0.25, 0.75, kind=HOSTILE))
    assert [(each.get("x"), each.get("width")) for each in root] == [(None, "100"), (None, "50"), ("25", "50")]
    assert ET.fromstring(diagrams.interval(1.0, 1.0, 1.0))[2].get("width") == "0.8"  # seen all the same


def test_a_key_is_drawn_as_its_line():
    assert ET.fromstring(diagrams.key("b"))[0].get("class") == "line b"


def test_dots_lie_where_their_numbers_are() -> None:
    some = [Dot(1, 0.6), Dot(3, 1.0, "taken", "trial <3>")]
    chart = diagrams.dots(some, x_name="trial", best=[(1, 0.6), (3, 1.0)], level=0.8, told="Two & more")
    circles = re.findall(r'<circle class="dot ([a-z]*)" cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)">', chart)
    assert [circle[0] for circle in circles] == ["", "taken"]
    (x1, y1), (x3, y3) = ((float(x), float(y)) for _, x, y, _ in circles)
    wide = diagrams.WIDTH - diagrams.LEFT - diagrams.RIGHT
    assert x3 - x1 == pytest.approx(wide * 2 / (2 * 1.08), abs=0.02)  # a twenty-fifth of room on either side
    assert (y1, y3) == (diagrams.HEIGHT - diagrams.BOTTOM, diagrams.TOP)
    assert "<title>trial &lt;3&gt;</title>" in chart
    assert 'aria-label="Two &amp; more"' in chart
    middle = diagrams.short((diagrams.HEIGHT - diagrams.BOTTOM + diagrams.TOP) / 2)
    assert re.search(rf'<path class="even" d="M{diagrams.LEFT} {middle}L', chart)


def test_dots_on_a_scale_of_doublings_and_by_name() -> None:
    chart = diagrams.dots([Dot(1, 0.9), Dot(2, 0.9), Dot(4, 0.9)], x_name="cost", logarithmic=True, told="t")
    xs = [float(x) for x in re.findall(r'<circle class="dot " cx="([\d.]+)"', chart)]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.02)
    chart = diagrams.dots([Dot(0, 0.9), Dot(1, 0.9)], x_name="kind", names=["a<", "b"], told="t")
    xs = [float(x) for x in re.findall(r'<circle class="dot " cx="([\d.]+)"', chart)]
    quarter = (diagrams.WIDTH - diagrams.LEFT - diagrams.RIGHT) / 4
    assert xs == pytest.approx([diagrams.LEFT + quarter, diagrams.LEFT + 3 * quarter])
    assert ">a&lt;</text>" in chart


def test_strands_end_in_a_dot_of_their_kind() -> None:
    chart = diagrams.strands([("pruned", [(0.5, 0.5)]), ("taken", [(0.5, 0.5), (1.0, 1.0)])], x_name="share", told="t")
    assert re.findall(r'class="strand (\w+)"', chart) == ["pruned", "taken"]
    ends = re.findall(r'<circle class="dot (\w+)" cx="([\d.]+)" cy="([\d.]+)"', chart)
    assert ends[1] == ("taken", str(diagrams.WIDTH - diagrams.RIGHT), str(diagrams.TOP))
