"""The report in a real browser: what a reader sees and does, and that nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reportscenes import FACTS, bundle, drawn, evaluation, png, warmed
from tellapart import reportpage
from test_browser import DESKTOP, PHONE, browser, fits, open_page  # noqa: F401 (fixtures)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    one = drawn(tmp_path_factory.mktemp("pictures"))
    reportpage.save(one, bundle(one.classes), path, facts=FACTS, heat=warmed)
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 40 classes with long names."""
    path = tmp_path_factory.mktemp("many") / "many.html"
    counts = [[8 if i == j else 1 if 0 < (j - i) % 40 < 3 else 0 for j in range(40)] for i in range(40)]
    one = evaluation(counts, classes=tuple(f"Lepidoptera{'x' * (i % 3 * 30)} {i}" for i in range(40)))
    reportpage.save(one, bundle(one.classes), path, facts=FACTS, read=lambda _: png(24, 0))
    return path


@pytest.mark.parametrize("which", ["report", "many"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_nothing_hangs_over_the_edge(
    open_page: Any,  # noqa: F811
    size: dict[str, int],
    scheme: str,
    which: str,
    request: pytest.FixtureRequest,
):
    page = open_page(size, scheme, request.getfixturevalue(which))
    page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    fits(page, size, scheme)


@pytest.mark.parametrize("which", ["report", "many"])
@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")], ids=["phone", "desktop"])
def test_axe_finds_nothing_to_complain_of(
    open_page: Any,  # noqa: F811
    size: dict[str, int],
    scheme: str,
    which: str,
    request: pytest.FixtureRequest,
):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
    page = open_page(size, scheme, request.getfixturevalue(which))
    page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    result = axe.Axe().run(page)
    assert [(each["id"], each["nodes"][0]["html"][:120]) for each in result.response["violations"]] == []


def cells(page: Any) -> list[str]:
    """The cells whose pictures are seen."""
    seen = page.locator("details.cell:visible").evaluate_all("all => all.filter((e) => e.open).map((e) => e.id)")
    return list(seen)


def test_a_click_on_a_number_shows_its_pictures(open_page: Any, report: Path):  # noqa: F811
    page = open_page(path=report)
    assert cells(page) == ["cell-1-0"]  # the most frequent mistake stands open at first
    assert page.locator("details.cell:visible").count() == 1
    page.locator(".matrix a[data-cell='cell-2-0']").click()
    assert cells(page) == ["cell-2-0"]
    assert page.locator("#cell-2-0 img:visible").count() == 2
    assert page.locator(".matrix a[aria-current]").evaluate_all("all => all.map((e) => e.dataset.cell)") == ["cell-2-0"]
    assert "2 × triangles taken for circles" in " ".join(page.locator("#picked").inner_text().split())
    assert page.evaluate("location.hash") == ""


def test_the_matrix_is_walked_by_keyboard(open_page: Any, report: Path):  # noqa: F811
    page = open_page(PHONE, path=report)
    page.locator(".matrix a[aria-current]").focus()
    page.keyboard.press("ArrowUp")  # from (1, 0) to (0, 0)
    assert page.evaluate("document.activeElement.dataset.cell") == "cell-0-0"
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.cell") == "cell-0-1"
    page.keyboard.press("ArrowRight")  # the next cell is empty: it stays
    assert page.evaluate("document.activeElement.dataset.cell") == "cell-0-1"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")  # nothing there either
    assert page.evaluate("document.activeElement.dataset.cell") == "cell-1-1"
    page.keyboard.press("Enter")
    assert cells(page) == ["cell-1-1"]
    assert page.locator("#cell-1-1").bounding_box()["y"] < PHONE["height"]
    assert page.locator(".matrix a[tabindex='0']").count() == 1  # one stop for who walks by Tab


def test_of_many_classes_a_number_of_the_folded_matrix_leads_to_its_pair(open_page: Any, many: Path):  # noqa: F811
    page = open_page(path=many)
    assert page.locator("details.cell:visible").count() == 12
    page.get_by_text("The whole matrix").click()
    link = page.locator(".matrix a[data-cell]").last
    wanted = link.get_attribute("data-cell")
    link.click()
    assert page.locator(f"#{wanted} img").first.is_visible()  # though it stood in the folded part of the list


def test_everything_can_be_reached_by_keyboard(open_page: Any, report: Path):  # noqa: F811
    page = open_page(path=report)
    seen: dict[str, int] = {}
    for _ in range(200):
        page.keyboard.press("Tab")
        where = page.evaluate(
            """() => { const each = document.activeElement, style = getComputedStyle(each);
            return [each.tagName, style.outlineStyle, parseFloat(style.outlineWidth)]; }"""
        )
        if where[0] == "BODY":
            break
        assert where[1] != "none", where
        assert where[2] >= 1, where
        seen[where[0]] = seen.get(where[0], 0) + 1
    assert seen["SUMMARY"] >= 8
    assert seen["A"] >= 15


def test_what_to_fix_leads_to_its_part(open_page: Any, report: Path):  # noqa: F811
    page = open_page(path=report)
    page.locator("details.more:has(.fixes) > summary").click()
    page.locator(".fixes a[href='#slices']").click()
    assert page.locator("#slices").bounding_box()["y"] < DESKTOP["height"] / 2


@pytest.fixture
def silent(browser: Any) -> Iterator[Any]:  # noqa: F811
    context = browser.new_context(java_script_enabled=False, viewport=DESKTOP)
    yield context.new_page()
    context.close()


def test_without_scripts_every_cell_is_there_and_links_lead_to_it(silent: Any, report: Path):
    silent.goto(report.as_uri())
    assert "80 of 100 new pictures" in silent.locator("h1").inner_text()
    assert silent.locator("details.cell:visible").count() == 6
    silent.locator(".matrix a[data-cell='cell-0-1']").click()
    assert silent.locator("#cell-0-1 img").first.is_visible()
