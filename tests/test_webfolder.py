"""The folder for the web: its files, and that a browser gives the pixels, answers and heat maps that Python does."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tellapart import bundle, explain, graphfile, preprocess
from tellapart.bundle import Bundle
from tellapart.engine import LOGITS, Engine
from tellapart.errors import ExportError, MissingPackageError
from tellapart.export import chromium, exporting, webfolder
from tellapart.golden import png

SIZES = [
    (32, 32), (64, 64), (96, 96), (128, 64), (64, 32), (32, 96), (33, 32), (31, 33), (16, 16), (1, 1), (1, 40), (90, 1),
    (3, 300), (200, 5), (20, 90), (100, 12), (57, 211), (480, 641), (31, 31), (300, 200),
]  # fmt: skip


def browser() -> str | None:
    try:
        return chromium.find()
    except MissingPackageError:
        return None


needs_browser = pytest.mark.skipif(browser() is None, reason="there is no browser; make browser installs one")


@pytest.fixture(scope="module")
def model(bundle_path: Path) -> Bundle:
    return bundle.read(bundle_path)


@pytest.fixture(scope="module")
def exported(model: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Through the gate, in the browser."""
    folder = tmp_path_factory.mktemp("web") / "shapes"
    found = exporting.export(model, "web", folder)
    assert found.agreement.pictures == 8
    assert found.agreement.probability < 1e-5
    return folder


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng([height, width])
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def test_what_is_vendored_is_what_was_fetched():
    told = json.loads((Path(webfolder.__file__).parent / "vendor" / "vendored.json").read_text())
    assert (told["package"], told["licence"]) == ("onnxruntime-web", "MIT")
    files = webfolder.runtime()
    assert set(files) == set(webfolder.RUNTIME_FILES)
    assert {name: [hashlib.sha256(files[name]).hexdigest(), len(files[name])] for name in files} == {
        name: [each["sha256"], each["bytes"]] for name, each in told["files"].items()
    }
    assert files["LICENSE"].startswith(b"MIT License")
    assert f"ONNX Runtime Web v{told['version']}".encode() in files["ort.wasm.bundle.min.mjs"][:200]
    assert files["ort-wasm-simd-threaded.wasm"][:4] == b"\0asm"


@needs_browser
def test_the_folder_holds_the_page_and_nothing_of_the_check(exported: Path):
    told = json.loads((exported / "tellapart.json").read_text())
    assert told["files"] == sorted(p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file())
    assert not any("check" in name for name in told["files"])
    assert told["classes"] == ["circles", "squares"]
    for name, each in told["model"]["files"].items():
        content = (exported / name).read_bytes()
        assert [hashlib.sha256(content).hexdigest(), len(content)] == [each["sha256"], each["bytes"]]
    # What the page keeps for offline use is all that there is but what store.js keeps and texts for people.
    listed = (exported / "offline.js").read_text().split("const PAGE = [")[1].split("]")[0]
    kept = {line.strip(' ",') for line in listed.split("\n") if line.strip()} - {"./"}
    texts = {"README.md", "index.html", "offline.js", "onnxruntime/LICENSE.txt", "onnxruntime/ThirdPartyNotices.txt"}
    assert kept | texts | set(told["model"]["files"]) == set(told["files"])
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["name"] == "circles or squares?"


@pytest.fixture(scope="module")
def pictures(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Noise of many sizes, photos, and files of many kinds."""
    smooth = np.linspace(0, 255, 60 * 48 * 3).reshape(60, 48, 3).astype(np.uint8)
    lying = Image.Exif()
    lying[0x0112] = 6
    see_through = np.dstack([smooth, np.linspace(0, 255, 60 * 48).reshape(60, 48).astype(np.uint8)])
    # Red and green exchanged, so that who follows it cannot overlook it.
    standard = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = standard.replace(b"rXYZ", b"?XYZ").replace(b"gXYZ", b"rXYZ").replace(b"?XYZ", b"gXYZ")
    files = {
        **{f"{height}x{width}.png": png(noise(height, width)) for height, width in SIZES},
        "plain.jpg": jpeg(smooth),
        "lying.jpg": jpeg(smooth, exif=lying),
        "grey.jpg": jpeg(smooth[..., 0]),
        "profile.jpg": jpeg(smooth, icc_profile=profile),
        "see-through.png": png(see_through),
        "palette.png": palette(smooth),
        "deep.png": png(smooth[..., 0].astype(np.uint16) * 256 + 128),
        **{f"circle {i}": path.read_bytes() for i, path in enumerate(sorted((photos / "circles").iterdir())[:3])},
    }
    folder = tmp_path_factory.mktemp("pictures")
    return {name: written(folder / name, content) for name, content in files.items()}


@pytest.fixture(scope="module")
def said(exported: Path, pictures: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What the browser makes of all of them: as exported, and with "crop" and without a tail."""
    told = json.loads((exported / "tellapart.json").read_text())
    other = told_otherwise(
        exported,
        tmp_path_factory.mktemp("other") / "copy",
        preprocess=preprocess.Preprocess(32, "crop").as_dict(),
        model={**told["model"], "tail": None},
    )
    tasks = [("square", path, {}) for path in pictures.values()]
    tasks += [("explain", path, {"wanted": 1, "longest": 64}) for name, path in pictures.items() if "circle" in name]
    found = {}
    for key, folder in (("squash", exported), ("crop", other)):
        rows = webfolder.asked(folder, tasks)
        found |= {f"{key} {path.name} {task}": row for (task, path, _), row in zip(tasks, rows, strict=True)}
    return found


@needs_browser
@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_the_browser_brings_pictures_to_the_square_as_python_does(said: dict[str, dict], fit: str):
    how = preprocess.Preprocess(32, fit)
    apart = [
        np.abs(squared(said[f"{fit} {height}x{width}.png square"]) - preprocess.fit(noise(height, width), how))
        for height, width in SIZES
    ]
    assert max(each.max() for each in apart) <= 1
    assert np.mean([each.mean() for each in apart]) < 1e-3


@needs_browser
def test_the_browser_reads_files_as_python_does(said: dict[str, dict], pictures: dict[str, Path]):
    how = preprocess.Preprocess(32)
    apart = {
        name: int(np.abs(squared(said[f"squash {name} square"]) - preprocess.load(path, how)).max())
        for name, path in pictures.items()
    }
    assert {name: level for name, level in apart.items() if level > 1} == {}


@needs_browser
def test_heat_maps_are_those_of_python(said: dict[str, dict], model: Bundle, pictures: dict[str, Path]):
    paths = {name: path for name, path in pictures.items() if "circle" in name}
    engine, explainer = Engine(model.members["model.onnx"]), explain.Explainer(model)
    tail = explain._Tail.of(graphfile.read(model.members["model.onnx"]), engine.map_shape, 1)
    assert tail is not None
    for name, path in paths.items():
        whole = preprocess.load(path, preprocess.Preprocess(32))
        expected = explain._scaled(tail.lost(engine.feature_map(whole[None])[0], 1))
        assert np.abs(mapped(said[f"squash {name} explain"]) - expected).max() < 1e-3
        middle = preprocess.load(path, preprocess.Preprocess(32, "crop"))
        expected = explain._scaled(explainer._covered(middle, 1))
        assert np.abs(mapped(said[f"crop {name} explain"]) - expected).max() < 1e-3
        assert expected.max() == 1


def test_the_tail_of_the_graph_answers_to_its_map(model: Bundle):
    tail = webfolder.cut(model)
    assert tail is not None
    engine = Engine(model.members["model.onnx"])
    maps = engine.feature_map(np.zeros((1, 32, 32, 3), np.uint8))
    import onnxruntime

    session = onnxruntime.InferenceSession(tail.graph)
    (logits,) = session.run(None, {session.get_inputs()[0].name: maps.transpose(tail.order)})
    assert np.abs(np.asarray(logits) - engine.run(np.zeros((1, 32, 32, 3), np.uint8)).logits).max() < 1e-5
    assert [output.name for output in session.get_outputs()] == [LOGITS]


def test_without_a_browser_nothing_is_written(model: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(chromium.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(MissingPackageError, match="checked in a real browser"):
        exporting.export(model, "web", tmp_path / "web")
    assert list(tmp_path.iterdir()) == []


@needs_browser
def test_a_page_that_answers_otherwise_is_told(exported: Path, tmp_path: Path):
    folder = told_otherwise(exported, tmp_path / "copy")
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-1])
    picture = written(tmp_path / "one.png", png(noise(8, 8)))
    with pytest.raises(ExportError, match=r"model.onnx is not the file that was exported"):
        webfolder.answers(folder, [picture])


def squared(row: dict) -> np.ndarray:
    return np.array(row["square"], int).reshape(32, 32, 3)


def mapped(row: dict) -> np.ndarray:
    return np.array(row["values"]).reshape(row["height"], row["width"])


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def palette(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).quantize(200).save(file, "PNG")
    return file.getvalue()


def told_otherwise(exported: Path, folder: Path, **values: object) -> Path:
    """A copy of an export whose tellapart.json says something else."""
    shutil.copytree(exported, folder)
    told = json.loads((folder / "tellapart.json").read_text())
    (folder / "tellapart.json").write_text(json.dumps({**told, **values}))
    return folder
