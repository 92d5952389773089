"""The page of a tuning in a real browser: what a reader sees and does, and that nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tellapart import tunepage
from test_browser import DESKTOP, PHONE, browser, fits, open_page  # noqa: F401 (fixtures)
from tunedscenes import tuned


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tuned") / "tune.html"
    tunepage.save(tuned(), path)
    return path


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light"), (PHONE, "light"), (DESKTOP, "dark")])
def test_nothing_hangs_over_the_edge_and_axe_finds_nothing(
    open_page: Any,  # noqa: F811
    size: dict[str, int],
    scheme: str,
    report: Path,
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
    page = open_page(size, scheme, report)
    page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    fits(page, size, scheme)
    result = axe.Axe().run(page)
    assert [(each["id"], each["nodes"][0]["html"][:120]) for each in result.response["violations"]] == []


def test_a_column_puts_the_rows_in_its_order(open_page: Any, report: Path) -> None:  # noqa: F811
    page = open_page(path=report)

    def numbers() -> list[str]:
        found = page.locator("#rows tbody th").evaluate_all("all => all.map((each) => each.textContent.trim())")
        return [each.split()[0] for each in found]

    assert numbers()[0] == "9"  # the best first
    page.get_by_role("button", name="trial", exact=True).focus()
    page.keyboard.press("Enter")
    assert numbers() == [str(i + 1) for i in range(15)]
    assert page.locator("th[aria-sort]").count() == 1
    page.get_by_role("button", name="right", exact=True).click()
    assert numbers()[0] == "9"
