"""Pictures drawn for the tests, and one small classifier that is trained once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
from hypothesis import Phase, settings
from PIL import Image, ImageDraw

from tellapart import networks
from tellapart.catalog import Catalog, Entry
from tellapart.classifier import Classifier

# A busy machine is no fault of what is tested, and the same examples each time let a test fail for what was changed
# alone. HYPOTHESIS_PROFILE=long tries LONGER times as many where a test takes `examples`, other ones each time.
settings.register_profile("patient", deadline=None, derandomize=True)
settings.register_profile("long", deadline=None)
# For mutants, whose smallest counterexample nobody reads.
settings.register_profile("mutants", deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "patient")
settings.load_profile(PROFILE)
LONGER = 50

# Options of a training that takes a second.
TINY = [
    "--recipe",
    "tutorial",
    "--size",
    "32",
    "--epochs",
    "1",
    "--conv",
    "4,8",
    "--dense",
    "8",
    "--precision",
    "float32",
]
SHAPES = ("circles", "squares", "triangles")
# Files of tests that take longest, the longest first.
LONG = [
    *("test_devices", "test_tuning", "test_rayworkers", "test_candidates", "test_studies", "test_places"),
    *("test_transfer", "test_networks", "test_cli", "test_finetune", "test_offline", "test_training", "test_kills"),
    *("test_demo", "test_keeping", "test_layouts", "test_bad_input", "test_serve", "test_repeating", "test_serve_page"),
    *("test_faults", "test_pipeline", "test_hostile_bundles", "test_report_browser", "test_graphs", "test_backbones"),
    *("test_crossvalidation", "test_export_tfprocess", "test_examples"),
]


def draw(shape: str, seed: int, size: tuple[int, int] = (72, 56)) -> Image.Image:
    """A bright shape somewhere on dark noise; another seed, another picture."""
    rng = np.random.default_rng([seed, SHAPES.index(shape)])
    image = Image.fromarray(rng.integers(0, 90, (size[1], size[0], 3), dtype=np.uint8))
    side = int(rng.integers(24, 40))
    x, y = int(rng.integers(0, size[0] - side)), int(rng.integers(0, size[1] - side))
    colour = tuple(int(level) for level in rng.integers(150, 256, 3))
    pen = ImageDraw.Draw(image)
    if shape == "circles":
        pen.ellipse((x, y, x + side, y + side), colour)
    elif shape == "squares":
        pen.rectangle((x, y, x + side, y + side), colour)
    else:
        pen.polygon([(x, y + side), (x + side, y + side), (x + side // 2, y)], colour)
    return image


def examples(n: int) -> settings:
    """How many examples a property is tried on."""
    return settings(max_examples=n * (LONGER if PROFILE == "long" else 1))


def fill(folder: Path, shapes: tuple[str, ...] = SHAPES[:2], n: int = 40, first: int = 0) -> Path:
    """Write `n` pictures of each shape into folder/<shape>, JPEG and PNG by turns."""
    for shape in shapes:
        (folder / shape).mkdir(parents=True, exist_ok=True)
        for i in range(first, first + n):
            ending, options = ("jpg", {"quality": 95}) if i % 2 else ("png", {})
            draw(shape, i).save(folder / shape / f"{shape[:-1]}_{i:03d}.{ending}", **options)
    return folder


def clouds(n: int, apart: float, n_classes: int = 2, d: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Normal clouds, n a class, their centres `apart` standard deviations from the middle along an axis each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes), n)
    features = rng.normal(size=(len(labels), d))
    features[np.arange(len(labels)), labels] += apart
    return features.astype(np.float16), labels


def listed(*groups: tuple[str | None, str, str, int, int]) -> Catalog:
    """Of (split, class, beginning of the names, first number, how many)."""
    entries = [
        Entry(f"p/{split}/{label}/{begin}{first + i:04d}.jpg", label, split, "0")
        for split, label, begin, first, n in groups
        for i in range(n)
    ]
    classes = tuple(sorted({entry.label for entry in entries}))
    return Catalog("p", "splits", classes, tuple(entries), (), ())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that no process is left alone with one at the end; and a mark for what trains the shared
    classifier first: `-m "not trained"` runs the rest in seconds."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))
    for item in items:
        if "trained" in getattr(item, "fixturenames", ()):
            item.add_marker("trained")


class Written:
    """A network's `.keras` file, written in this process: what `kerasfile` does in one of its own, tried in
    test_backbones, takes as long as many a test for loading Keras alone."""

    def __init__(self, backbone: str, size_px: int) -> None:
        self._asked = backbone, size_px

    def __enter__(self) -> Written:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, head: Any, tensors: dict[str, np.ndarray] | None = None) -> bytes:
        from tellapart import backbones, graphs

        body = backbones.network(backbones.known(self._asked[0]), self._asked[1], *([tensors] if tensors else []))
        return graphs.keras_file(backbones.with_head(body, head))


@pytest.fixture(autouse=True, scope="session")
def keras_here() -> Iterator[None]:
    """See `Written`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "kerasfile", SimpleNamespace(Writer=Written))
        yield


@pytest.fixture(scope="session")
def make_photos() -> Callable[..., Path]:
    """`fill`, for tests that need a folder of their own."""
    return fill


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """A suite that a shell started in the background ignores interrupts; the tests of Ctrl-C need them."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """A command that a test runs in this process sets what its own process would keep: the next test has not got it."""
    before = dict(os.environ)
    yield
    for name in before.keys() | os.environ.keys():
        if name == "PYTEST_CURRENT_TEST" or os.environ.get(name) == before.get(name):
            continue
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of the tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["TELLAPART_CACHE"] = str(folder)
    return folder


@pytest.fixture(autouse=True, scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of the tests' own."""
    path = tmp_path_factory.mktemp("history") / "runs.jsonl"
    os.environ["TELLAPART_RUNS"] = str(path)
    return path


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, circles and squares, 40 pictures each."""
    return fill(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def three_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, 20 pictures each."""
    return fill(tmp_path_factory.mktemp("three"), SHAPES, 20)


@pytest.fixture(scope="session")
def trained(photos: Path) -> Classifier:
    """A classifier of `photos`: the tutorial's network at 32 px, a few epochs."""
    from tellapart import api

    return api.train(photos, recipe="tutorial", size=32, epochs=3, seed=1, progress=False)


@pytest.fixture(scope="session")
def bundle_path(trained: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `trained`."""
    path = tmp_path_factory.mktemp("bundle") / "shapes.tellapart"
    trained.save(path)
    return path
