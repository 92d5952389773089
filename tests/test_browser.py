"""The page of findings in a real browser: what a reader sees and does, and that nothing is fetched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pagefindings import dirty
from tellapart import checkpage, moves
from tellapart.cleaning import apply
from tellapart.findings import Findings

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Without the closed ones Chromium asks hosts of its own at every start.
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

if CHROMIUM is None and os.environ.get("TELLAPART_BROWSER") == "required":
    pytest.fail("TELLAPART_BROWSER=required, and there is no Chromium. Install it: make browser", pytrace=False)
if CHROMIUM is None:
    pytest.skip("there is no Chromium to open the pages with; make browser installs it", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed; make setup brings it")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return dirty(tmp_path_factory.mktemp("dirty"))


@pytest.fixture(scope="module")
def report(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    checkpage.save(findings, path)
    return path


@pytest.fixture
def open_page(browser: Any, report: Path) -> Iterator[Any]:
    """Opens the report, or another page, and fails where the page complains or asks for anything."""
    contexts, troubles = [], []

    def opened(size: dict[str, int] = DESKTOP, scheme: str = "light", path: Path = report) -> Any:
        context = browser.new_context(viewport=size, color_scheme=scheme, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append("a dialog"))
        page.on(
            "request",
            lambda request: None if request.url.startswith((path.as_uri(), "data:")) else troubles.append(request.url),
        )
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def fits(page: Any, size: dict[str, int], scheme: str) -> None:
    """Nothing hangs over the edge, every picture is there, and the page is dark where that is wished."""
    assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    over = """() => [...document.querySelectorAll("main *, header *, footer *")].filter((each) => {
        const box = each.getBoundingClientRect();
        const outside = box.right > innerWidth + 1 || box.left < -1;
        return box.width && outside && !each.closest(".scroll, pre, .unseen, svg");
    }).map((each) => each.outerHTML.slice(0, 80))"""
    assert page.evaluate(over) == []
    page.wait_for_function("[...document.images].every((each) => each.complete)")
    assert page.evaluate("[...document.images].every((each) => each.naturalWidth > 1)")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 100) is (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_nothing_hangs_over_the_edge_and_all_pictures_are_there(open_page: Any, size: dict[str, int], scheme: str):
    page = open_page(size, scheme)
    page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    fits(page, size, scheme)


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")], ids=["phone", "desktop"])
def test_axe_finds_nothing_to_complain_of(open_page: Any, size: dict[str, int], scheme: str):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
    page = open_page(size, scheme)
    page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.locator("input[data-row]").first.check()
    result = axe.Axe().run(page)
    assert [(each["id"], each["nodes"][0]["html"][:120]) for each in result.response["violations"]] == []


def test_a_page_without_findings_is_a_page(open_page: Any, tmp_path: Path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
    path = tmp_path / "none.html"
    classes = {"cats": {"all": 5}, "dogs": {"all": 3}}
    checkpage.save(Findings("photos", (), True, 8, 8, (), classes), path)
    page = open_page(PHONE, path=path)
    assert page.locator("h1").inner_text() == "8 pictures found, all used."
    assert page.locator("form, aside").count() == 0
    assert axe.Axe().run(page).response["violations"] == []


def test_filters_narrow_what_is_seen(open_page: Any):
    page = open_page()
    total = page.locator("li.case").count()
    page.locator("#by-kind").select_option("wrong_label")
    assert page.locator("section.kind:visible").count() == 1
    assert page.locator("li.case:visible").count() == 20  # those in the folded part too
    assert page.locator("#matching").inner_text() == f"20 of {total} shown"
    page.locator("#by-name").fill("ODD_07")
    assert page.locator("li.case:visible").count() == 1
    assert page.locator("li.case:visible .base").inner_text() == "odd_07.jpg"
    page.locator("#by-name").fill("")
    page.locator("#by-kind").select_option("")
    page.locator("#by-class").select_option(label="squares")
    assert page.locator("section.kind:visible").evaluate_all("all => all.map((each) => each.dataset.kind)") == [
        "label_conflict", "shortcut", "split", "wrong_label", "exact_duplicate", "outlier", "near_duplicate",
        "imbalance", "odd",
    ]  # fmt: skip
    page.locator(".todo a[href='#leak']").click()  # leads into what the filter hides
    assert page.locator("#leak").is_visible()
    assert page.locator("#by-class").input_value() == ""


def test_ticked_rows_are_downloaded_as_a_fix_list_that_can_be_applied(
    open_page: Any, findings: Findings, tmp_path: Path
):
    page = open_page()
    assert not page.locator("#basket").is_visible()
    page.locator("button[data-all='wrong_label']").click()
    assert page.locator("#ticked").inner_text() == "20 pictures ticked"
    page.get_by_role("checkbox", name="odd_05.jpg").uncheck()
    page.get_by_role("checkbox", name="02 copy.png").check()
    page.get_by_role("checkbox", name="broken.jpg").check()
    assert page.locator("#ticked").inner_text() == "21 pictures ticked"
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "moves.csv"
    path = tmp_path / "moves.csv"
    download.value.save_as(path)
    listed = moves.read(path)
    assert listed.folder == findings.root
    assert len(listed.moves) == 21
    moved = {os.path.basename(each.path) for each in listed.moves if each.action == "move"}
    expected = {os.path.basename(each.paths[0]) for each in findings.of_kind("wrong_label")} - {"odd_05.jpg"}
    assert moved == expected
    done = apply(None, path, tmp_path / "clean")
    assert (done.moved, done.dropped, done.left_out) == (19, 1, 1)
    page.locator("#untick").click()
    assert not page.locator("#basket").is_visible()
    assert page.evaluate("document.activeElement.id") == "main"


def test_of_copies_that_nothing_is_proposed_for_one_is_left_out_by_hand(open_page: Any):
    page = open_page()
    conflict = page.locator("section[data-kind='label_conflict']")
    assert conflict.locator("input[data-row]").count() == 2
    assert conflict.locator("button[data-all]").count() == 0
    conflict.get_by_role("checkbox", name="torn.png").check()
    assert page.locator("#ticked").inner_text() == "1 picture ticked"


def test_a_picture_that_is_ticked_twice_has_one_row_that_of_the_worse_finding(open_page: Any, tmp_path: Path):
    page = open_page()
    for box in page.locator("input[data-row]").all():
        box.evaluate("each => { each.checked = true; each.dispatchEvent(new Event('change', { bubbles: true })); }")
    with page.expect_download() as download:
        page.locator("#download").click()
    download.value.save_as(tmp_path / "moves.csv")
    paths = [each.path for each in moves.read(tmp_path / "moves.csv").moves]
    assert len(paths) == len(set(paths)) == 28


def test_everything_can_be_reached_and_done_by_keyboard(open_page: Any):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    seen: dict[str, int] = {}
    for _ in range(400):
        page.keyboard.press("Tab")
        where = page.evaluate(
            """() => { const each = document.activeElement, style = getComputedStyle(each);
            return [each.tagName, each.id || each.className, style.outlineStyle, parseFloat(style.outlineWidth)]; }"""
        )
        if where[0] == "BODY":
            break
        assert where[2] != "none", where
        assert where[3] >= 1, where
        seen[where[0]] = seen.get(where[0], 0) + 1
    assert seen["SELECT"] == 2
    assert seen["A"] == 11
    visible = page.locator("input[data-row]:visible").count()
    assert seen["INPUT"] == visible + 1
    assert seen["SUMMARY"] >= 3
    first = page.locator("section[data-kind='wrong_label'] input[data-row]").first
    first.focus()
    page.keyboard.press("Space")
    assert page.locator("#ticked").inner_text() == "1 picture ticked"
    page.locator("details.more summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details.more").first.get_attribute("open") is not None


def test_without_scripts_the_page_still_says_it_all(browser: Any, report: Path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert "56 pictures found" in page.locator("h1").inner_text()
    assert not page.locator("#filter").is_visible()
    assert not page.locator("button").first.is_visible()
    context.close()
