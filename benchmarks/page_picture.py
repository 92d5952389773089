"""The pictures of the page of `tellapart serve` in the README and the docs, from drawn shapes:

    python benchmarks/page_picture.py            # writes docs/images/serve.png and docs/images/serve-many.png

Needs the packages for development and a Chromium (`make browser`).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from drawn import document, shape, texture

ROOT = Path(__file__).parent.parent
CLASSES = ("circle", "square", "star", "triangle")
EACH = 120  # training pictures of a class
SEED = 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos, asked = written(folder)
        model = folder / "shapes.tellapart"
        run = [sys.executable, "-m", "tellapart", "train", str(photos), "-o", str(model), "--recipe", "transfer"]
        subprocess.run([*run, "--cache", str(folder / "cache")], check=True)
        with served(model, photos, folder) as address:
            photograph(address, asked, given.output, given.scheme)


def written(folder: Path) -> tuple[Path, list[Path]]:
    """Training pictures in a folder a class, and others to ask about: shapes, some of another kind, a broken one."""
    photos, others = folder / "photos", folder / "asked"
    others.mkdir()
    for name in CLASSES:
        (photos / name).mkdir(parents=True)
        for i in range(EACH):
            shape(name, i, SEED).save(photos / name / f"{name}-{i:03d}.jpg", quality=92)
    asked = [others / f"{name}.jpg" for name in ("circle-1", "square-1", "star-2", "triangle-2", "star-1")]
    for path in asked:
        name, number = path.stem.split("-")
        shape(name, int(number) + 1000, SEED).save(path, quality=92)
    turned = Image.Exif()
    turned[0x0112] = 6  # a photo that lies on its side, as phones save them
    shape("star", 1009, SEED).rotate(90, expand=True).save(others / "phone.jpg", quality=92, exif=turned)
    document("letter", 1, SEED).save(others / "letter.jpg")
    texture("weave", 3, SEED).save(others / "fabric.jpg")
    (others / "broken.jpg").write_bytes(asked[0].read_bytes()[:900])
    return photos, [others / "phone.jpg", *asked, *(others / f"{name}.jpg" for name in ("letter", "fabric", "broken"))]


@contextlib.contextmanager
def served(model: Path, photos: Path, folder: Path) -> Iterator[str]:
    """The address of a service that answers by a model."""
    command = [sys.executable, "-m", "tellapart", "serve", str(model), "--port", "0", "--photos", str(photos)]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        while not (found := re.search(r"Serving .* at (http\S+)", (folder / "log").read_text())):
            if process.poll() is not None:
                sys.exit((folder / "log").read_text())
            time.sleep(0.05)
        yield found[1]
    finally:
        process.terminate()
        process.wait(30)


def photograph(address: str, asked: list[Path], output: Path, scheme: str) -> None:
    """One picture in full, and all of them as cards."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        page = browser.new_page(viewport={"width": 1120, "height": 800}, color_scheme=scheme)
        page.goto(address)
        page.wait_for_selector("#about:not([hidden])")
        page.set_input_files("#files", str(asked[0]))
        page.wait_for_selector("canvas.heat")
        page.wait_for_selector(".tiles img")
        page.wait_for_timeout(500)  # until it has faded in
        page.screenshot(path=output / "serve.png", full_page=True)
        page.set_input_files("#files", [str(path) for path in asked[1:]])
        while page.locator(".card:not(.waiting)").count() < len(asked):
            page.wait_for_timeout(50)
        page.wait_for_timeout(500)
        page.evaluate("scrollTo(0, 0)")
        many = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
        many.quantize(256).save(output / "serve-many.png", optimize=True)  # a quarter of the size
        browser.close()


if __name__ == "__main__":
    main()
