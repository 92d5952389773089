"""The page of a web export in a real browser, on a plain static server: what a person does with it, and that it keeps
to itself."""

from __future__ import annotations

import csv
import dataclasses
import functools
import http.server
import io
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import draw
from tellapart import bundle, catalog, golden, guards, predict
from tellapart.bundle import Bundle
from tellapart.export import formats, sidecar, webfolder
from test_browser import CHROMIUM, DESKTOP, OPTIONS, PHONE, fits, sync_api

CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
NASTY = "<img src=x onerror=alert(1)>"
SECONDS = 1000
expect = sync_api.expect


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    expect.set_options(timeout=30 * SECONDS)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*OPTIONS, *CAMERA])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("given")
    for i in range(3):
        draw("circles", 100 + i).save(folder / f"circle {i}.png")
    lying = Image.Exif()
    lying[0x0112] = 6
    photo = Image.new("RGB", (400, 300), "red")
    photo.paste("blue", (0, 0, 400, 150))  # upright, blue is on the right
    photo.save(folder / "lying.jpg", exif=lying)
    (folder / "cut.jpg").write_bytes((folder / "lying.jpg").read_bytes()[:2000])
    (folder / "letter.jpg").write_text("<!doctype html><title>no</title>")
    (folder / "empty.png").write_bytes(b"")
    rng = np.random.default_rng(5)
    Image.fromarray(rng.integers(0, 256, (50, 50, 3), dtype=np.uint8)).save(folder / "noise.png")
    shutil.copy(folder / "circle 0.png", folder / f"{NASTY.replace('/', '')}.png")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def model(bundle_path: Path) -> Bundle:
    return bundle.read(bundle_path)


@pytest.fixture(scope="module")
def folder(model: Bundle, files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export, whose threshold lies between the circles and the noise. The gate has tests of its own."""
    folder = tmp_path_factory.mktemp("web")
    written = webfolder.write(model, folder, calibration=None)
    asked = predict.Predictor(model)
    scores = {}
    for name in ("circle 0.png", "circle 1.png", "circle 2.png", "noise.png"):
        square = asked._load([predict.Question(str(files[name]))])[0]
        assert not isinstance(square, str)
        scores[name] = asked._rows(asked._engine.run(square[None]))[0][1]
    strange = scores.pop("noise.png")
    known = max(scores.values())
    assert known < strange
    aimed = dataclasses.replace(guards.from_dict(model.manifest["abstention"]), strangeness=(known + strange) / 2)
    sidecar.write(folder, model, formats.find("web"), written, guards=aimed, golden=golden.of(model), quantized=None)
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served() -> Iterator[Callable[[Path], tuple[str, Callable[[], None]]]]:
    """Serves a folder as any static server does: its address, and how to end it."""
    servers = []

    def serve(folder: Path) -> tuple[str, Callable[[], None]]:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)

        def end() -> None:
            server.shutdown()
            server.server_close()

        return f"http://127.0.0.1:{server.server_port}/", end

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def open_page(browser: Any, served: Any, folder: Path) -> Iterator[Any]:
    """Opens the page, and fails where it complains, or asks anything of another place."""
    contexts, troubles = [], []

    def opened(
        size: dict[str, int] = DESKTOP, scheme: str = "light", where: Path = folder, address: str | None = None
    ) -> Any:
        address = address or served(where)[0]
        context = browser.new_context(viewport=size, color_scheme=scheme, accept_downloads=True)
        contexts.append(context)
        own = (address, "blob:" + address, "data:")
        context.on("request", lambda request: request.url.startswith(own) or troubles.append(request.url))
        context.add_init_script(
            "addEventListener('securitypolicyviolation', (event) => console.error('CSP', event.blockedURI))"
        )
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append("a dialog"))
        page.goto(address)
        page.locator("html[data-ready]").wait_for(state="attached")
        return page

    opened.troubles = troubles  # pyright: ignore[reportFunctionMemberAccess]
    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def give(page: Any, *paths: Path) -> None:
    """Choose files, and wait for the answers."""
    page.locator("#choose").set_input_files([str(path) for path in paths])
    settled(page)


def settled(page: Any) -> None:
    page.locator(".card").first.wait_for()
    expect(page.locator(".frame.waiting")).to_have_count(0, timeout=20 * SECONDS)


def card(page: Any, name: str) -> Any:
    return page.locator("li.card").filter(has=page.get_by_role("heading", name=name, exact=True))


def test_many_pictures_get_answers_and_files_that_are_none_are_named(
    open_page: Any, files: dict[str, Path], model: Bundle, tmp_path: Path
):
    page = open_page()
    give(page, *files.values())
    expect(page.locator("#found")).to_have_text(f"{len(files)} pictures")
    expected = {
        each.path: each for each in predict.Predictor(model).answers(predict.questions(map(str, files.values())))
    }
    for name in ("circle 0.png", "circle 1.png", "circle 2.png"):
        ranked = sorted(expected[str(files[name])].ranked, key=lambda each: -each[1])
        expect(card(page, name).locator(".answer")).to_have_text(ranked[0][0], use_inner_text=True)
    expect(card(page, "noise.png").locator(".answer")).to_have_text("Unknown", use_inner_text=True)
    assert card(page, "noise.png").locator(".reason").inner_text() == (
        "Unlike the pictures it knows: stranger than 98% of them."
    )
    reasons = {name: card(page, name).locator(".reason").inner_text() for name in ("letter.jpg", "empty.png")}
    assert reasons == {"letter.jpg": "Not a picture: it begins like HTML.", "empty.png": "Empty file (0 bytes)."}
    expect(card(page, "cut.jpg").locator(".answer")).to_have_text("Not readable", use_inner_text=True)
    # A name is text, whatever it says.
    expect(card(page, f"{NASTY}.png").locator(".answer")).to_have_count(1)
    expect(page.locator("img[src='x']")).to_have_count(0)

    unknown = page.get_by_role("group", name="Show only").get_by_role("button", name="unknown")
    unknown.click()
    seen = page.locator("li.card:visible")
    expect(seen.locator("h3").filter(has_text="noise.png")).to_have_count(1)
    assert set(seen.locator(".answer").all_inner_texts()) == {"Unknown"}
    assert unknown.text_content() == f"{seen.count()} unknown"
    unknown.click()
    expect(page.locator("li.card:visible")).to_have_count(len(files))

    with page.expect_download() as download:
        page.locator("#table").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [row["path"] for row in rows] == list(files)
    for row in rows:
        told = expected[str(files[row["path"]])]
        assert (row["error"] == "") is (told.error is None)
        for label, probability in told.probabilities.items():
            assert float(row[label]) == pytest.approx(probability, abs=2e-3)  # a JPEG is decoded by another decoder


def test_a_photo_lying_on_its_side_comes_upright(open_page: Any, files: dict[str, Path]):
    page = open_page(PHONE)
    give(page, files["lying.jpg"])
    image = card(page, "lying.jpg").locator("img:not(.behind)")
    corners = image.evaluate(
        """(image) => { const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        const context = canvas.getContext("2d", { willReadFrequently: true }); context.drawImage(image, 0, 0);
        const level = (x, y) => [...context.getImageData(x, y, 1, 1).data].slice(0, 3);
        return [canvas.width, canvas.height, level(20, 200), level(280, 200)]; }"""
    )
    assert corners[:2] == [300, 400]
    red, blue = corners[2:]
    assert red[0] > 200 > 50 > red[2]
    assert blue[2] > 200 > 50 > blue[0]


def test_heat_maps_come_and_go(open_page: Any, files: dict[str, Path]):
    page = open_page()
    give(page, files["circle 0.png"], files["circle 1.png"])
    first = card(page, "circle 0.png")
    plain = first.locator("img:not(.behind)").get_attribute("src")
    first.get_by_role("button", name="Heat map").click()
    settled(page)
    expect(first.locator("img:not(.behind)")).not_to_have_attribute("src", plain)
    speaks = re.compile(r"^circle 0\.png, with what speaks for ")
    expect(first.locator("img:not(.behind)")).to_have_attribute("alt", speaks)
    expect(first.get_by_role("button", name="Heat map")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("checkbox", name="Heat maps").check()
    settled(page)
    expect(card(page, "circle 1.png").get_by_role("button", name="Heat map")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("checkbox", name="Heat maps").uncheck()
    expect(page.locator("[aria-pressed='true']")).to_have_count(0)


def test_wrong_answers_are_downloaded_as_labels_that_train_reads(
    open_page: Any, files: dict[str, Path], tmp_path: Path
):
    page = open_page()
    give(page, files["circle 0.png"], files["circle 1.png"], files["noise.png"])
    answered = {name: card(page, name).locator(".answer").inner_text() for name in ("circle 0.png", "circle 1.png")}
    other = {"circles": "squares", "squares": "circles"}
    expect(page.locator("#basket")).to_be_hidden()
    card(page, "circle 0.png").locator("select").select_option(label=other[answered["circle 0.png"]])
    card(page, "noise.png").locator("select").select_option(label="squares")
    card(page, "circle 1.png").locator("select").select_option(label=answered["circle 1.png"])  # is right already
    expect(page.locator("#marked")).to_have_text("2 answers marked wrong", use_inner_text=True)
    card(page, "circle 1.png").locator("select").select_option(label="none of these")
    expect(page.locator("#marked")).to_have_text("2 answers marked wrong", use_inner_text=True)
    page.keyboard.type(" stars ")  # where it is written what the picture is
    expect(page.locator("#marked")).to_have_text("3 answers marked wrong", use_inner_text=True)
    with page.expect_download() as download:
        page.locator("#labels").click()
    assert download.value.suggested_filename == "labels.csv"
    labels = tmp_path / "labels.csv"
    download.value.save_as(labels)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("circle 0.png", "circle 1.png", "noise.png"):
        shutil.copy(files[name], photos)
    found = catalog.scan(photos, labels=labels)
    assert {Path(entry.path).name: entry.label for entry in found.entries} == {
        "circle 0.png": other[answered["circle 0.png"]],
        "circle 1.png": "stars",
        "noise.png": "squares",
    }
    page.locator("#unmark").click()
    expect(page.locator("#basket")).to_be_hidden()


def test_pictures_can_be_dropped_pasted_and_taken_away(open_page: Any, files: dict[str, Path]):
    page = open_page()
    send = """([kind, name, bytes]) => { const given = new DataTransfer();
        given.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
        const event = kind === "paste" ? new ClipboardEvent(kind, { clipboardData: given, bubbles: true })
            : new DragEvent(kind, { dataTransfer: given, bubbles: true, cancelable: true });
        document.body.dispatchEvent(event); }"""
    content = list(files["circle 0.png"].read_bytes())
    page.evaluate(send, ["dragenter", "dropped.png", content])
    expect(page.locator("#over")).to_be_visible()
    page.evaluate(send, ["drop", "dropped.png", content])
    expect(page.locator("#over")).to_be_hidden()
    card(page, "dropped.png").locator(".answer").wait_for()
    page.evaluate(send, ["paste", "pasted.png", content])
    card(page, "pasted.png").locator(".answer").wait_for()
    expect(page.locator("#news")).to_contain_text("pasted.png: ")  # who hears the page is told
    page.get_by_role("button", name="Remove dropped.png").click()
    expect(page.locator("li.card")).to_have_count(1)
    expect(page.get_by_role("button", name="Remove pasted.png")).to_be_focused()
    page.get_by_role("button", name="Remove all").click()
    expect(page.locator("#answers")).to_be_hidden()


def test_the_camera_is_answered_live_and_a_picture_can_be_kept(open_page: Any):
    page = open_page(PHONE, "dark")
    page.get_by_role("button", name="Use the camera").click()
    page.locator("#seen .answer").wait_for()
    fits(page, PHONE, "dark")
    page.get_by_role("button", name="Keep this picture").click()
    page.locator(".card .answer").wait_for()
    expect(page.locator(".card h3")).to_have_text(re.compile("^camera-20"))
    with page.expect_download() as download:
        page.get_by_role("button", name="Save picture").click()
    with Image.open(download.value.path()) as kept:
        assert kept.format == "JPEG"
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#live")).to_be_hidden()
    assert page.evaluate("document.getElementById('video').srcObject") is None


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "light"), (DESKTOP, "dark")], ids=["phone", "desktop"])
def test_the_page_fits_and_axe_finds_nothing(open_page: Any, files: dict[str, Path], size: dict[str, int], scheme: str):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
    page = open_page(size, scheme)
    fits(page, size, scheme)
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert reached == ["A", "choose", "camera", "SUMMARY"]
    give(page, files["circle 0.png"], files["noise.png"], files["letter.jpg"])
    page.locator("select").first.select_option(index=1)
    page.locator("select").first.select_option(index=2)
    page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    fits(page, size, scheme)
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:120]) for each in found] == []


def test_after_the_first_visit_no_network_is_needed(open_page: Any, served: Any, folder: Path, files: dict[str, Path]):
    address, end = served(folder)
    page = open_page(address=address)
    expect(page.locator("#offline")).to_have_text("Ready to be used offline.")
    end()
    page.reload()
    page.locator("html[data-ready]").wait_for(state="attached")
    give(page, files["circle 0.png"])
    expect(card(page, "circle 0.png").locator(".answer")).to_have_count(1)
    # The browser itself says of each file that its server is gone.
    assert all("ERR_CONNECTION_REFUSED" in each for each in open_page.troubles)
    open_page.troubles.clear()


def test_names_of_classes_are_text_and_a_damaged_model_is_told(
    open_page: Any, folder: Path, files: dict[str, Path], tmp_path: Path
):
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    told = json.loads((changed / "tellapart.json").read_text())
    told["classes"] = [NASTY, "=cmd|'/c calc'"]
    (changed / "tellapart.json").write_text(json.dumps(told))
    page = open_page(where=changed)
    expect(page.locator("h1")).to_contain_text(NASTY, use_inner_text=True)
    give(page, files["circle 0.png"])
    expect(page.locator("img[src='x']")).to_have_count(0)
    card(page, "circle 0.png").locator("select").select_option(index=1)
    card(page, "circle 0.png").locator("select").select_option(index=2)
    with page.expect_download() as download:
        page.locator("#table").click()
    header = next(csv.reader(io.StringIO(Path(download.value.path()).read_text())))
    assert header[-1] == "'=cmd|'/c calc'"

    (changed / "model.onnx").write_bytes(b"no model")
    told["model"]["files"]["model.onnx"]["sha256"] = "0" * 64
    (changed / "tellapart.json").write_text(json.dumps(told))
    page.reload()
    expect(page.locator("#trouble")).to_contain_text("model.onnx is not the file that was exported")
