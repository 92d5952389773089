"""Charts as SVG: their geometry, and what they tell in words."""

import re
import xml.etree.ElementTree as ET

import pytest

from tellapart import charts
from tellapart.charts import Point

HOSTILE = '"><script>alert(1)</script>&'


def test_a_bar_is_as_long_as_its_share():
    for share, width in ((0.0, "0"), (0.25, "25"), (1.0, "100"), (1.5, "100"), (-1, "0"), (float("nan"), "0")):
        root = ET.fromstring(charts.bar(share, kind="high"))
        assert [each.get("width") for each in root] == ["100", width]
        assert root.get("class") == "bar high"
        assert root.get("aria-hidden") == "true"


def test_a_histogram_has_a_bar_for_each_bin_that_holds_something():
    root = ET.fromstring(charts.histogram([0, 5, 10, 1000], told=f"brightness of {HOSTILE}"))
    assert root.get("aria-label") == f"brightness of {HOSTILE}"
    bars = root[1]
    assert [(each.get("x"), each.get("height")) for each in bars] == [("25", "0.8"), ("50", "0.8"), ("75", "30")]
    assert len(ET.fromstring(charts.histogram([], told="none"))[1]) == 0
    half = ET.fromstring(charts.histogram([10], most=20, told="half"))[1][0]
    assert (half.get("y"), half.get("height")) == ("15", "15")


def test_each_doubling_of_a_curve_is_as_wide_as_the_next():
    points = [Point(x, 0.9, 0.85, 0.95) for x in (100, 200, 400)]
    svg = charts.curve(points, beyond=[Point(800, 0.95, 0.9, 1.0)], x_name=HOSTILE, told=HOSTILE)
    root = ET.fromstring(svg)
    assert root.get("aria-label") == HOSTILE
    dots = [float(each.get("cx", "")) for each in root if "dot" in each.get("class", "")]
    assert dots == pytest.approx([52, 52 + 452 / 3, 52 + 2 * 452 / 3, 504], abs=0.01)
    heights = {each.get("cy") for each in root if each.get("class") == "dot"}
    assert len(heights) == 1
    told = [each.text for each in root if each.get("class") == "tick"]
    assert {"100", "200", "400", "800", "85 %", "90 %", "95 %", "100 %"} <= set(told)
    band = next(each.get("d", "") for each in root if each.get("class") == "band")
    assert len(re.findall(r"[ML]", band)) == 8


def test_one_point_is_a_chart_too():
    root = ET.fromstring(charts.curve([Point(50, 0.5, 0.5, 0.5)], x_name="pictures", told="one"))
    assert "nan" not in ET.tostring(root, "unicode").lower()


def test_shares_are_never_rounded_to_all_or_nothing():
    shares = [0, 0.0001, 0.004, 0.05, 0.876, 0.9849, 0.985, 0.998, 0.99999, 1]
    assert [charts.percent(each) for each in shares] == [
        "0 %",
        "< 0.1 %",
        "0.4 %",
        "5 %",
        "88 %",
        "98 %",
        "98.5 %",
        "99.8 %",
        "> 99.9 %",
        "100 %",
    ]


def test_a_notebook_shows_a_chart():
    assert charts.bar(0.5)._repr_html_() == charts.bar(0.5).__html__() == str(charts.bar(0.5))
