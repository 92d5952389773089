"""A folder for any static web server: a page that classifies pictures in the browser, by ONNX Runtime Web.

The page is plain JavaScript (`page/`), the runtime lies in the repository (`vendor/`, made by
tools/vendor_onnxruntime_web.py), and nothing is fetched from elsewhere. What is exported is checked in a real browser.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from tellapart import graphfile, tails
from tellapart.bundle import Bundle
from tellapart.engine import FEATURE_MAP, LOGITS, Engine, session
from tellapart.errors import BundleError, ExportError
from tellapart.export import calibrating, chromium, formats, sidecar
from tellapart.files import shown

GRAPH, TAIL = "model.onnx", "tail.onnx"
RUNTIME = "onnxruntime"  # folder of the runtime
# The module under a name that every server knows for JavaScript.
RUNTIME_FILES = {
    "ort.wasm.bundle.min.mjs": "ort.wasm.bundle.min.js",
    "ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
    "LICENSE": "LICENSE.txt",
    "ThirdPartyNotices.txt": "ThirdPartyNotices.txt",
}
LOADED = (f"{RUNTIME}/ort-wasm-simd-threaded.wasm", GRAPH, TAIL)  # by the page itself, checked, kept for offline use
LONGEST_EACH_S = 3.0  # a picture, in a browser on a slow machine
NOTES = (
    "- Put the folder on any web server and open it: `python -m http.server` in it, then http://127.0.0.1:8000/ . "
    "Opened as a file the page cannot work.",
    "- Pictures are decoded and answered in the browser; none is sent anywhere. After the first visit the page works "
    "without a network. That and the camera need https, or a server on the same computer.",
    "- The folder may be renamed and moved, and the server may compress its files (gzip, brotli).",
    "- A server that sends a Content-Security-Policy of its own must allow `script-src 'self' 'wasm-unsafe-eval'` and "
    "`img-src 'self' blob:`. With `Cross-Origin-Opener-Policy: same-origin` and "
    "`Cross-Origin-Embedder-Policy: require-corp` the network uses several cores.",
    "- A heat map is found by taking away one place after another of the network's last map; `tellapart explain` can "
    "have finer ones.",
)


def write(bundle: Bundle, folder: Path, *, calibration: calibrating.Calibration | None) -> formats.Written:
    """Write page, runtime and graphs."""
    from tellapart.export import onnxgraph, quantizing

    chromium.find()  # before the work: without a browser it could not be checked
    model = bundle if calibration is None else quantizing.quantized(bundle, calibration)
    graph = onnxgraph.build(model, resize=False, feature_map=True).SerializeToString()
    (folder / GRAPH).write_bytes(graph)
    tail = cut(bundle)
    if tail is not None and len(tail.graph) > len(graph):
        tail = cut(model)  # in int8 as well: its heat maps are rougher, but what made the model small stays
    if tail is not None:
        (folder / TAIL).write_bytes(tail.graph)
    for source in page().iterdir():
        (folder / source.name).write_bytes(source.read_bytes())
    (folder / "manifest.json").write_text(json.dumps(manifest(bundle), ensure_ascii=False, indent=1), encoding="utf-8")
    (folder / RUNTIME).mkdir()
    for name, content in runtime().items():
        (folder / RUNTIME / RUNTIME_FILES[name]).write_bytes(content)
    facts: dict[str, Any] = {
        "graph": GRAPH,
        "tail": None if tail is None else {"graph": TAIL, "order": list(tail.order)},
        "files": {name: fingerprint(folder / name) for name in LOADED if (folder / name).exists()},
    }
    return formats.Written((GRAPH,) if tail is None else (GRAPH, TAIL), facts, NOTES)


def answers(folder: Path, pictures: Sequence[Path]) -> list[dict[str, Any]]:
    """What the exported page's own worker says of each picture file in a browser, see the head of this package.

    Raises:
        MissingPackageError: there is no browser.
        ExportError: the page does not run, or says nothing.
    """
    return asked(folder, [("classify", path, {}) for path in pictures])


def asked(folder: Path, tasks: Sequence[tuple[str, Path, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """What the worker does of each task ("classify", "explain", "square") with a picture file and options."""
    site: dict[str, bytes | Path] = {f"/{name}": folder / name for name in sidecar.files(folder)}
    for source in (resources.files("tellapart.export") / "check").iterdir():
        site[f"/{source.name}"] = source.read_bytes()
    wanted = [{"task": task, "picture": f"pictures/{i}", **given} for i, (task, _, given) in enumerate(tasks)]
    site["/asked.json"] = json.dumps(wanted).encode()
    site |= {f"/pictures/{i}": path for i, (_, path, _) in enumerate(tasks)}
    longest_s = max(chromium.LONGEST_S, LONGEST_EACH_S * len(tasks))
    said = json.loads(chromium.posted(chromium.find(), site, "/check.html", longest_s=longest_s))
    if "error" in said or len(said["rows"]) != len(tasks):
        raise ExportError(
            f"The exported page must answer in a browser; it says: {shown(said.get('error', 'too little'))[:300]}. "
            f"Nothing was written. Try another format."
        )
    return said["rows"]


def cut(bundle: Bundle) -> tails.Tail | None:
    """The end of the graph, which answers to changed feature maps: for heat maps. None where it has none."""
    graph = bundle.members["model.onnx"]
    engine = Engine(graph, threads=1)
    shape = engine.map_shape
    whole = len(shape) == 3 and all(isinstance(side, int) for side in shape)
    # A map of one place has no other; one as fine as the picture is the picture (see `explain`).
    if not whole or shape[0] * shape[1] < 2 or shape[0] == engine.size_px:
        return None
    try:
        tail = tails.cut(graphfile.read(graph), FEATURE_MAP, LOGITS, shape)
        if tail is not None:
            session(tail.graph, threads=1)
        return tail
    except (ValueError, BundleError):  # it cannot be read, or what was cut off does not stand by itself
        return None


def runtime() -> dict[str, bytes]:
    """The files of ONNX Runtime Web, checked, by their names there."""
    vendor = resources.files("tellapart.export") / "vendor"
    told = json.loads((vendor / "vendored.json").read_text(encoding="utf-8"))
    found = {}
    for name, expected in told["files"].items():
        content = lzma.decompress((vendor / f"{name}.xz").read_bytes())
        if hashlib.sha256(content).hexdigest() != expected["sha256"]:
            raise RuntimeError(f"{name} must be the one that was vendored; it is not. Install tellapart again.")
        found[name] = content
    return found


def page() -> Traversable:
    """The folder of the page's own files."""
    return resources.files("tellapart.export") / "page"


def manifest(bundle: Bundle) -> dict[str, Any]:
    """What a browser needs to install the page as an application (W3C, Web Application Manifest)."""
    names = bundle.classes
    name = f"{names[0]} or {names[1]}?" if len(names) == 2 else f"{names[0]}, {names[1]} and {len(names) - 2:,} more"
    return {
        "name": name,
        "short_name": name if len(name) <= 12 else "What is it?",
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": "#f5f6f8",
        "theme_color": "#0b57d0",
        "icons": [{"src": "icon.svg", "sizes": "any", "type": "image/svg+xml", "purpose": "any"}],
    }


def fingerprint(path: Path) -> dict[str, Any]:
    """SHA-256 and length of a file."""
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
