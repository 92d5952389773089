"""The service's page in a real browser, against a real service: what people do there and what they get."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import re
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import draw
from tellapart import bundle as bundles
from tellapart import cells, explanations, preprocess, strangers, tables
from tellapart.bundle import Bundle
from tellapart.engine import Engine
from tellapart.evaluation import CROSS_VALIDATION
from tellapart.predict import Predictor, Question, csv_header, csv_row
from tellapart.serve import models
from test_browser import CHROMIUM, DESKTOP, OPTIONS, PHONE, sync_api

MARKUP = "<img src=x onerror=alert(1)>"
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
MIB = 2**20
expect = sync_api.expect


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    expect.set_options(timeout=30_000)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS + CAMERA)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def one(bundle_path: Path, strange: Path) -> Bundle:
    """A model of circles and squares to which a certain picture is a stranger."""
    found = bundles.read(bundle_path)
    threshold = scored(found, strange) - 1e-3
    abstention = {**found.manifest["abstention"], "strangeness": threshold}
    return dataclasses.replace(found, manifest={**found.manifest, "abstention": abstention})


@pytest.fixture(scope="module")
def strange(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The strangest of some pictures."""
    folder, found = tmp_path_factory.mktemp("strange"), bundles.read(bundle_path)
    rng = np.random.default_rng(0)
    candidates = [Image.new("RGB", (40, 40), colour) for colour in ("#fff", "#0f0", "#f0f", "#ff0", "#00f")]
    candidates.append(Image.fromarray(rng.integers(0, 2, (48, 48, 3), np.uint8) * 255))
    for i, each in enumerate(candidates):
        each.save(folder / f"{i}.png")
    return max(folder.iterdir(), key=lambda path: scored(found, path))


def scored(found: Bundle, path: Path) -> float:
    """How strange a picture is to a model."""
    how = preprocess.Preprocess.from_dict(found.manifest["preprocess"])
    outputs = Engine(found.members["model.onnx"]).run(preprocess.load(str(path), how)[None])
    known = strangers.Strangers.from_bytes(found.members[strangers.MEMBER])
    return float(known.scores(outputs.embedding, outputs.logits)[0])


@pytest.fixture(scope="module")
def address(one: Bundle, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a service answers by two models: "shapes", and one of whose classes has markup for a name."""
    folder = tmp_path_factory.mktemp("serve")
    classes = [MARKUP, *one.classes[1:]]
    bundles.write(one, folder / "shapes.tellapart")
    bundles.write(dataclasses.replace(one, manifest={**one.manifest, "classes": classes}), folder / "named.tellapart")
    served = [str(folder / f"{name}.tellapart") for name in ("shapes", "named")]
    command = [sys.executable, "-m", "tellapart", "serve", *served]
    options = ["--port", "0", "--photos", str(photos), "--max-body", "2MiB", "--decoders", "1"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 90
        while not (found := re.search(r"Serving .* at (http\S+)", (folder / "log").read_text())):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield found[1] + "/"
    finally:
        process.terminate()
        try:
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def predictor(one: Bundle) -> Predictor:
    return Predictor(one)


@pytest.fixture(scope="module")
def files(predictor: Predictor, strange: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """shape_0.png … shape_5.png, which the model knows; strange.png, which it does not; broken.jpg; a photo on its
    side; one with markup for a name."""
    folder = tmp_path_factory.mktemp("files")
    for i in range(6):
        draw(("circles", "squares")[i % 2], 1000 + i).save(folder / f"shape_{i}.png")
    (folder / "strange.png").write_bytes(strange.read_bytes())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    for seed in range(20):
        draw("squares", seed).rotate(90, expand=True).save(folder / "side.jpg", quality=95, exif=exif)
        if answer_of(predictor, folder / "side.jpg").label == "squares":  # nobody is always right
            break
    draw("circles", 8).save(folder / f"{MARKUP}.png")
    return folder


def answer_of(predictor: Predictor, path: Path) -> Any:
    return next(predictor.answers([Question(str(path))]))


def until(page: Any, expression: str, arg: Any = None) -> None:
    """Wait for a page that lets nobody `eval`, as Playwright's own waiting does."""
    end = time.monotonic() + 30
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)


Open = Callable[..., Any]


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Open]:
    """Opens the page; fails where it complains, breaks its policy or asks anyone else for anything."""
    contexts, troubles = [], []

    def opened(
        size: dict[str, int] = DESKTOP, scheme: str = "light", *, expected: str = "$^", route: Any = None
    ) -> Any:
        context = browser.new_context(
            viewport=size,
            color_scheme=scheme,
            accept_downloads=True,
            permissions=["camera", "clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)

        def told(message: Any) -> None:
            if not re.search(expected, message.text):
                troubles.append(message.text)

        def asked(request: Any) -> None:
            if not request.url.startswith((address, "data:", f"blob:{address}")):
                troubles.append(request.url)

        page.on("console", told)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append("a dialog"))
        page.on("request", asked)
        if route:
            page.route(re.compile("/v1/"), route)
        page.goto(address)
        if not route:
            page.wait_for_selector("#about:not([hidden])")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def answered(page: Any, n: int) -> None:
    """Wait until `n` pictures have what they get."""
    done = ".card:not(.waiting), #single .look:not(.waiting)"
    until(page, "([n, done]) => document.querySelectorAll(done).length === n", [n, done])


def send(page: Any, files: Path, *names: str) -> None:
    page.set_input_files("#files", [str(files / name) for name in names])
    answered(page, len(names))


def mixed(page: Any, files: Path) -> None:
    send(page, files, "shape_0.png", "shape_1.png", "strange.png", "broken.jpg", "side.jpg")


def text(page: Any, selector: str) -> str:
    return " ".join(page.locator(selector).first.inner_text().split())


def says(page: Any, selector: str, wanted: str | re.Pattern[str]) -> None:
    """Wait until the text of the first such element is this one."""
    expect(page.locator(selector).first).to_have_text(wanted, use_inner_text=True)


def tells(page: Any, selector: str, wanted: str) -> None:
    """Wait until the text of the first such element has this in it."""
    expect(page.locator(selector).first).to_contain_text(wanted, use_inner_text=True)


def downloaded(page: Any, selector: str) -> bytes:
    with page.expect_download() as download:
        page.locator(selector).click()
    return Path(download.value.path()).read_bytes()


def heated(page: Any) -> Any:
    page.wait_for_selector("canvas.heat")
    return page.locator("canvas.heat")


def fits(page: Any, width: int, scheme: str) -> None:
    """Nothing hangs over the edge, every picture is there, and the page is dark where that is wished."""
    page.wait_for_timeout(60)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    over = """() => [...document.querySelectorAll("main *, header *, dialog[open] *, #basket *")].filter((each) => {
        const box = each.getBoundingClientRect();
        return box.width && (box.right > innerWidth + 1 || box.left < -1) && !each.closest(".unseen, .frame");
    }).map((each) => each.outerHTML.slice(0, 80))"""
    assert page.evaluate(over) == []
    cut = """() => [...document.querySelectorAll("button, h1, h2, .share, dt, summary")]
        .filter((each) => each.scrollWidth > each.clientWidth + 1 && each.clientWidth && !each.closest(".unseen"))
        .map((each) => each.outerHTML.slice(0, 80))"""
    assert page.evaluate(cut) == []
    until(page, "[...document.images].every((each) => each.complete && each.naturalWidth > 0)")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 100) is (scheme == "dark")


def complaints(page: Any) -> list[tuple[str, str]]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
    page.evaluate("() => Promise.all(document.getAnimations().map((each) => each.cancel()))")
    result = axe.Axe().run(page)
    return [(each["id"], each["nodes"][0]["html"][:120]) for each in result.response["violations"]]


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")], ids=["phone", "desktop"])
def test_in_every_state_nothing_hangs_over_and_axe_finds_nothing(
    visit: Open, files: Path, size: dict[str, int], scheme: str
):
    page = visit(size, scheme)

    def well() -> None:
        fits(page, size["width"], scheme)
        assert complaints(page) == []

    page.locator("#about summary").first.click()
    well()
    page.locator("#photograph").click()
    until(page, "document.querySelector('video').videoWidth > 0")
    well()
    page.locator("#stop-camera").click()
    send(page, files, "side.jpg")
    heated(page)
    well()
    page.set_input_files("#files", [str(files / name) for name in ("shape_0.png", "strange.png", "broken.jpg")])
    answered(page, 4)
    page.locator(".card select.wrong").first.select_option("none")
    page.locator("#how").click()
    well()
    page.locator(".card.unknown .open").click()
    heated(page)
    well()


def test_at_twice_the_size_and_on_the_narrowest_phone_it_fits_too(visit: Open, files: Path):
    page, scheme = visit({"width": 640, "height": 450}, "dark"), "dark"  # 1280 × 900 at 200 %
    mixed(page, files)
    fits(page, 640, scheme)
    page.set_viewport_size({"width": 320, "height": 600})
    fits(page, 320, scheme)
    page.locator(".card .open").first.click()
    heated(page)
    fits(page, 320, scheme)


def test_a_photo_on_its_side_is_shown_upright_with_the_right_answer_and_its_heat_map(
    visit: Open, files: Path, predictor: Predictor, address: str
):
    wanted = answer_of(predictor, files / "side.jpg")
    assert wanted.label == "squares"
    page = visit()
    send(page, files, "side.jpg")
    says(page, "#single h3", "squares")
    tells(page, "#single .sure", f"{explanations.percent(wanted.probability)},")
    rows = page.locator("#single table.bars tbody tr").all_inner_texts()
    shares = [f"{name} {explanations.percent(share)}" for name, share in wanted.ranked]
    assert [" ".join(row.split()) for row in rows] == shares
    size = page.locator("#single .frame img").first.evaluate("(each) => [each.naturalWidth, each.naturalHeight]")
    assert size == [72, 56]

    canvas = heated(page)
    drawn = base64.b64decode(canvas.evaluate("(each) => each.toDataURL()").partition(",")[2])
    body = (files / "side.jpg").read_bytes()
    request = urllib.request.Request(f"{address}v1/explain?model=shapes", body, {"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request) as response:
        (one,) = json.load(response)["explanations"]
    overlay, picture = (
        Image.open(io.BytesIO(base64.b64decode(one[name].partition(",")[2]))) for name in ("overlay", "picture")
    )
    over = Image.open(io.BytesIO(drawn)).resize(overlay.size)
    ours = picture.convert("L").convert("RGBA")
    ours.alpha_composite(over.convert("RGBA"))
    apart = np.abs(np.asarray(ours.convert("RGB"), float) - np.asarray(overlay.convert("RGB"), float))
    assert np.asarray(over)[..., 3].max() > 100  # some of it glows
    assert apart.mean() < 4  # of 255: other ways to enlarge, other JPEG decoders

    page.get_by_role("switch", name="Where it looked").uncheck()
    expect(canvas).to_have_css("opacity", "0")
    page.get_by_role("switch").check()
    page.get_by_role("slider").fill("40")
    expect(canvas).to_have_css("opacity", "0.4")
    tiles = page.locator(".tiles li")
    expect(tiles).to_have_count(5)
    assert {each.split()[0] for each in tiles.all_inner_texts()} <= {"circles", "squares"}
    expect(page.locator(".tiles img")).to_have_count(5)

    with page.expect_request(re.compile("explain")) as asked:
        page.get_by_label("Class whose traces are shown").focus()
        page.get_by_label("Class whose traces are shown").select_option("circles")
    assert "label=circles" in asked.value.url
    until(page, "document.getElementById('live').textContent === 'Shown: what speaks for circles'")
    until(page, "wanted => document.activeElement.value === wanted", "circles")  # who chose stays where they were
    page.get_by_role("button", name="Copy as JSON").click()
    page.get_by_text("Copied", exact=True).first.wait_for()
    told = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert (told["path"], told["label"]) == ("side.jpg", "squares")
    assert told["probability"] == pytest.approx(wanted.probability, abs=1e-5)


def test_many_pictures_come_in_their_order_each_as_what_it_is(visit: Open, files: Path, predictor: Predictor):
    page = visit()
    names = [f"shape_{i}.png" for i in range(6)]
    names = [*names[:3], "strange.png", "broken.jpg", *names[3:], f"{MARKUP}.png"]
    send(page, files, *names)
    expect(page.locator(".card .name")).to_have_text(names, use_inner_text=True)
    wanted = [answer_of(predictor, files / name) for name in names]
    kinds = ["Not readable" if each.error else "Unknown" if each.unknown else each.label for each in wanted]
    expect(page.locator(".card h3")).to_have_text(kinds, use_inner_text=True)
    assert wanted[3].unknown
    unknown = text(page, ".card.unknown")
    assert "Unlike the pictures it knows: stranger than 98% of them." in unknown
    assert f"Of its classes, {wanted[3].ranked[0][0]} is nearest" in unknown
    expect(page.locator(".card.unreadable")).to_contain_text(wanted[4].error, ignore_case=True, use_inner_text=True)
    says(page, "#summary", "9 pictures")
    circles, squares = (sum(each.label == name for each in wanted) for name in ("circles", "squares"))
    counts = sorted([(circles, "circles"), (squares, "squares")], key=lambda each: -each[0])
    wanted_text = ", ".join(f"{n} × {name}" for n, name in counts if n) + ", 1 unknown and 1 not readable"
    says(page, "#breakdown", wanted_text)
    until(page, "text => document.getElementById('live').textContent === text", f"9 pictures: {wanted_text}")
    until(page, "document.querySelectorAll('.card img.whole').length === 8")  # thumbnails come a moment later

    page.get_by_role("button", name="Unknown 1").click()
    expect(page.locator(".card .name")).to_have_text(["strange.png"], use_inner_text=True)
    page.get_by_role("button", name="All 9").click()
    if circles and squares:
        page.get_by_label("Class", exact=True).select_option("circles")
        expect(page.locator(".card")).to_have_count(circles)
        page.get_by_label("Class", exact=True).select_option("")
    page.get_by_label("Order").select_option("unsure")
    shares = [each.probability for each in sorted(wanted, key=lambda each: each.probability or 2)]
    least = next(each.path for each in wanted if each.probability == shares[0])
    expect(page.locator(".card .name").first).to_have_text(Path(least).name)
    expect(page.locator(".card .name").last).to_have_text("broken.jpg")

    saved = list(csv.reader(io.StringIO(downloaded(page, "#save-all").decode())))
    assert saved[0] == csv_header(predictor.classes)
    rows = [csv_row(predictor.classes, dataclasses.replace(each, path=Path(each.path).name)) for each in wanted]
    for found, row in zip(saved[1:], rows, strict=True):
        assert [found[i] for i in (0, 1, 3, 4)] == [row[i] for i in (0, 1, 3, 4)]
        assert [float(x or 0) for x in (found[2], *found[5:])] == pytest.approx(
            [float(x or 0) for x in (row[2], *row[5:])], abs=2e-6
        )


def test_wrong_answers_become_a_csv_that_training_reads(visit: Open, files: Path, predictor: Predictor, tmp_path: Path):
    page = visit()
    names = ["shape_0.png", "shape_1.png", "strange.png"]
    send(page, files, *names, "shape_2.png")
    wanted = [answer_of(predictor, files / name) for name in names]
    selects = page.locator(".card select.wrong")
    other = {"circles": "squares", "squares": "circles"}[wanted[0].label]
    assert selects.nth(0).locator("option").all_inner_texts() == ["Wrong?", other, "None of these"]
    selects.nth(0).select_option(label=other)
    selects.nth(1).select_option(label="None of these")
    page.locator(".card .named input:visible").fill("=stars")
    selects.nth(2).select_option(label="None of these")
    selects.nth(3).select_option(label="None of these")
    selects.nth(3).select_option(label="Take it back")
    says(page, "#marked", "3 marked wrong")
    page.get_by_role("button", name="Marked wrong 3").click()
    expect(page.locator(".card")).to_have_count(3)
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("button", name="Clear, marks too?")).to_be_visible()  # nothing is lost by one press
    content = downloaded(page, "#save-wrong")
    assert list(csv.reader(io.StringIO(content.decode()))) == [
        ["path", "label", "answer", "probability"],
        ["shape_0.png", other, wanted[0].label, f"{wanted[0].probability:.6f}"],
        ["shape_1.png", "'=stars", wanted[1].label, f"{wanted[1].probability:.6f}"],
        ["strange.png", "", "", f"{wanted[2].probability:.6f}"],
    ]
    archive = zipfile.ZipFile(io.BytesIO(downloaded(page, "#save-pictures")))
    assert archive.testzip() is None
    assert archive.namelist() == [f"{other}/shape_0.png", "=stars/shape_1.png"]
    assert archive.read("=stars/shape_1.png") == (files / "shape_1.png").read_bytes()
    says(page, "#saved", "2 pictures saved. 1 picture of no class is not among them.")
    page.locator("#clear").click()
    expect(page.locator("#answers")).to_be_hidden()
    expect(page.locator("#basket")).to_be_hidden()
    (tmp_path / "wrong.csv").write_bytes(content)
    read = list(tables.rows(tables.open_table(tmp_path / "wrong.csv")))
    assert [(row.value, row.label, row.reason) for row in read] == [
        ("shape_0.png", other, None),
        ("shape_1.png", "'=stars", None),
        ("strange.png", "", "the row's label is empty"),
    ]


def test_names_with_markup_are_inert_and_models_can_be_changed(visit: Open, files: Path):
    page = visit()
    send(page, files, f"{MARKUP}.png", "shape_0.png", "shape_2.png")
    page.get_by_label("Model", exact=True).select_option("named")
    page.get_by_text(MARKUP, exact=True).first.wait_for()
    answered(page, 3)
    tells(page, "#tells", f"It tells {MARKUP} from squares.")
    expect(page.locator(".card h3").get_by_text(MARKUP, exact=True).first).to_be_visible()  # the other one was asked
    page.locator(".card .open").first.click()
    heated(page)
    page.wait_for_timeout(100)
    expect(page.locator("img[src='x']")).to_have_count(0)
    assert page.title() == "named · tellapart"


def test_pictures_are_dropped_and_pasted(visit: Open, files: Path, tmp_path: Path):
    page = visit()
    folder = tmp_path / "walk"
    (folder / "deep").mkdir(parents=True)
    for name in ("b.png", "deep/a.png", ".hidden.png"):
        (folder / name).write_bytes((files / "shape_0.png").read_bytes())
    (folder / "notes.txt").write_text("no picture")
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(files / "shape_1.png"), str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})
        expect(page.locator("#veil")).to_be_visible(visible=kind != "drop")
    answered(page, 3)
    expect(page.locator(".card .name")).to_have_text(
        ["shape_1.png", "walk/b.png", "walk/deep/a.png"], use_inner_text=True
    )
    says(page, "#notices", "2 files of the folder are no pictures and not sent: walk/.hidden.png and walk/notes.txt.")

    copy = """async (data) => {
        const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
        await navigator.clipboard.write([new ClipboardItem({"image/png": new Blob([bytes], {type: "image/png"})})]);
    }"""
    page.evaluate(copy, base64.b64encode((files / "shape_2.png").read_bytes()).decode())
    page.keyboard.press("Control+V")
    answered(page, 4)
    expect(page.locator(".card .name").last).to_have_text(re.compile(r"^pasted-\d{8}-\d{6}\.png$"))


def test_the_camera_takes_pictures(visit: Open):
    page = visit(PHONE)
    page.locator("#photograph").click()
    until(page, "document.querySelector('video').videoWidth > 0")
    until(page, "wanted => document.activeElement.id === wanted", "snap")
    page.keyboard.press("Enter")
    answered(page, 1)
    says(page, "#single .name", re.compile(r"^photo-\d{8}-\d{6}\.jpg$"))
    page.locator("#snap").click()
    answered(page, 2)
    assert len(set(page.locator(".card .name").all_inner_texts())) == 2
    page.locator("#snap").focus()
    page.keyboard.press("Escape")
    expect(page.locator("#camera")).to_be_hidden()
    until(page, "document.querySelector('video').srcObject === null")
    until(page, "wanted => document.activeElement.id === wanted", "photograph")


def test_the_keyboard_walks_through_the_answers(visit: Open, files: Path):
    page = visit()
    mixed(page, files)
    page.locator(".card .open").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    until(page, "wanted => document.activeElement.ariaLabel === wanted", "Unknown: strange.png")
    outline = "getComputedStyle(document.activeElement, '::after').outlineStyle"
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("Enter")
    says(page, "#detail-name", "strange.png")
    says(page, "#place", "3 of 5")
    until(page, "wanted => document.activeElement.textContent === wanted", "Unknown")  # which is read out
    page.keyboard.press("ArrowRight")
    says(page, "#detail-name", "broken.jpg")
    tells(page, "#detail", "No picture to show.")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#following")).to_be_disabled()
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    until(page, "document.activeElement.ariaLabel?.endsWith(': side.jpg')")  # told of the closing a little later
    page.keyboard.press("Home")
    until(page, "wanted => document.activeElement.ariaLabel?.endsWith(wanted)", ": shape_0.png")

    page.locator(".skip").focus()
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        where = page.evaluate(
            """() => { const each = document.activeElement;
            const style = getComputedStyle(each, each.matches(".open") ? "::after" : undefined);
            return [each.tagName, each.id || each.className, style.outlineStyle]; }"""
        )
        if where[0] == "BODY":
            break
        assert where[2] != "none", where
        seen.append(where[1])
    assert seen[:6] == ["model", "choose", "photograph", "folder", "save-all", "clear"]
    assert "order" in seen
    assert (seen.count("open"), seen.count("wrong"), seen.count("chip")) == (5, 4, 3)


def test_too_large_is_said_before_it_is_sent(visit: Open, files: Path, tmp_path: Path):
    page = visit()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(3 * MIB)
    page.set_input_files("#files", [str(tmp_path / "huge.jpg")])
    answered(page, 1)
    says(page, "#notices", "huge.jpg was not sent. It has 3.0 MB, and this server takes up to 2.0 MB.")
    says(page, "#single h3", "Too large")
    assert "POST" not in sent


def test_a_busy_server_is_asked_again(visit: Open, files: Path):
    turns: list[int] = []

    def busy(route: Any) -> None:
        turns.append(len(turns))
        if len(turns) <= 2:
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": {"message": "full", "status": 503}})
        else:
            route.continue_()

    page = visit(expected="503")
    page.route(re.compile("/v1/predict"), busy)
    page.set_input_files("#files", [str(files / f"shape_{i}.png") for i in range(6)])
    page.get_by_text("The server is busy; trying again in 1 second.").first.wait_for()
    answered(page, 6)
    assert len(turns) == 4  # two groups, each refused once
    says(page, "#summary", "6 pictures")
    expect(page.locator("#progress")).to_be_hidden()


def test_a_server_that_is_gone_is_asked_again_when_told_to(visit: Open, files: Path):
    page = visit(expected="ERR_")
    page.route(re.compile("/v1/predict"), lambda route: route.abort())
    for name in ("here.png", "gone.png"):
        draw("circles", 3).save(files / name)
    send(page, files, "here.png", "gone.png")
    (files / "gone.png").unlink()
    expect(page.locator(".card h3")).to_have_text(["No answer", "No answer"], use_inner_text=True)
    tells(page, ".card", "The server cannot be reached.")
    page.unroute(re.compile("/v1/predict"))
    page.get_by_role("button", name="Ask again", exact=True).first.click()
    page.wait_for_selector(".card.answered")
    answered(page, 2)
    tells(page, ".card.unreadable", "The file is gone, or was changed after it was chosen.")
    expect(page.locator("#retry")).to_be_hidden()


def test_one_broken_picture_alone_says_why(visit: Open, files: Path):
    page = visit(expected="422")  # which is what the service says then
    send(page, files, "broken.jpg")
    says(page, "#single h3", "Not readable")
    assert len(text(page, "#single .reason")) > 20


def test_what_is_said_of_a_model_is_of_pictures_that_it_had_not_learned_from(visit: Open):
    numbers = {"n": 40, "accuracy": 0.9, "accuracy_interval": [0.77, 0.96]}
    told = models._judged({"train": numbers | {"accuracy": 1.0}, CROSS_VALIDATION: numbers})
    assert told == {"split": CROSS_VALIDATION, **numbers}
    assert models._judged({"train": numbers, "validation": numbers, "test": numbers})["split"] == "test"

    def changed(route: Any) -> None:
        facts = route.fetch().json()
        route.fulfill(json=facts | {"metrics": {"split": "train", **numbers}, "classes": ["a", "b", "c"]})

    page = visit()
    tells(page, "#tells", " pictures that it had not learned from.")
    page.route(re.compile("/v1/model\\?"), changed)
    page.reload()
    page.wait_for_selector("#about:not([hidden])")
    says(page, "#tells", "It tells a, b and c apart.")
    untested = "It was not tested on pictures that it had not learned from."
    expect(page.locator("#about")).to_contain_text(untested)


def test_what_the_browser_cannot_show_is_shown_as_the_server_sees_it(visit: Open, files: Path):
    Image.open(files / "shape_0.png").save(files / "scan.tif")
    page = visit()
    send(page, files, "scan.tif", "shape_1.png")
    says(page, ".card .frame", "TIF")
    page.locator(".card .open").first.click()
    heated(page)
    expect(page.locator("#detail .stage img")).to_have_attribute("src", re.compile("^data:image/jpeg"))
    ratio = page.locator("#detail .stage .frame").evaluate("(each) => each.clientWidth / each.clientHeight")
    assert ratio == pytest.approx(72 / 56, rel=0.02)


def test_a_key_is_asked_for_and_kept_for_the_tab_alone(visit: Open):
    def guarded(route: Any) -> None:
        if route.request.headers.get("authorization") == "Bearer open-sesame":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": {"message": "There must be a key.", "status": 401}})

    page = visit(expected="401", route=guarded)
    key = page.get_by_label("Key", exact=True)
    key.wait_for()
    assert complaints(page) == []
    key.fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("That key was not accepted.").wait_for()
    key.fill("open-sesame")
    page.get_by_role("button", name="Go on").click()
    page.wait_for_selector("#about:not([hidden])")
    assert page.evaluate("[localStorage.length, Object.values(sessionStorage)]") == [0, ["open-sesame"]]
    page.reload()
    page.wait_for_selector("#about:not([hidden])")
    expect(key).to_be_hidden()


def test_words_are_those_of_the_command_line(visit: Open):
    page = visit()
    shares = [0, 1e-4, 0.001, 0.0123, 0.3333, 0.5, 0.98761, 0.9994, 0.9996, 1]
    found = page.evaluate(
        "async (all) => { const w = await import('/static/words.js'); return all.map(w.percent); }", shares
    )
    assert found == [explanations.percent(each) for each in shares]
    texts = ["a", "=1+1", "+1", "-1", "@x", "\tx", "\rx", "'x", "", " =x"]
    found = page.evaluate(
        "async (all) => { const m = await import('/static/csv.js'); return all.map(m.guarded); }", texts
    )
    assert found == [cells.guarded(each) for each in texts]
    names = [["a/b.png", "x"], ["c/b.png", "x"], ["B.png", "x"], ["../..", "../up"], ["CON.png", "a:b"], ["é", "ü"]]
    code = """async (all) => { const m = await import('/static/zip.js');
        return m.inFolders(all.map(([name, folder]) => ({name, folder}))).map((each) => each.name); }"""
    assert page.evaluate(code, names) == ["x/b.png", "x/b-2.png", "x/B-3.png", "_up/_", "a_b/_CON.png", "ü/é"]
