"""Files that cannot be read: one finding each, with a remedy that fits."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tellapart import catalog, traits, unreadable


def jpeg(seed):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def bomb():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_every_file_has_its_finding_reason_and_remedy(tmp_path: Path):
    root = tmp_path / "photos"
    files = {
        "cats/0.jpg": jpeg(0),
        "cats/empty.jpg": b"",
        "cats/half.jpg": jpeg(1)[:900],
        "cats/page.jpg": b"<!DOCTYPE html><html>404</html>" + b" " * 99,
        "cats/pointer.jpg": b"version https://git-lfs.github.com/spec/v1\n" + b"0" * 99,
        "dogs/0.png": jpeg(2),  # named .png and is JPEG: it can be read
        "dogs/bomb.png": bomb(),
        "dogs/drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg'>" + b" " * 99,
        "dogs/link.jpg": None,
        "dogs/same.jpg": jpeg(0),  # also among the cats: left out, and another finding
        "dogs/two.jpg": jpeg(3),
    }
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            path.symlink_to(tmp_path / "nothing")
        else:
            path.write_bytes(data)
    found = catalog.scan(root)
    findings = unreadable.find(found, traits.measure(found.entries, tmp_path / "cache").failures)
    by_name = {Path(each.paths[0]).name: each for each in findings}
    assert {name: each.detail["case"] for name, each in by_name.items()} == {
        "empty.jpg": "empty",
        "half.jpg": "truncated",
        "page.jpg": "a web page",
        "pointer.jpg": "a pointer",
        "bomb.png": "too large",
        "drawing.png": "unsupported",
        "link.jpg": "a dead link",
    }
    assert all(each.kind == "unreadable" and each.severity == "warning" for each in findings)
    assert by_name["bomb.png"].message == (
        f"{root}/dogs/bomb.png cannot be read: 30000×30000 = 900 megapixels, over the limit of 120."
    )
    assert "git lfs pull" in by_name["pointer.jpg"].remedy
    actions = {name: each.proposals[0].action for name, each in by_name.items()}
    assert actions["empty.jpg"] == actions["half.jpg"] == actions["page.jpg"] == "drop"
    assert actions["pointer.jpg"] == "keep"


def test_an_unknown_reason_is_told_and_kept():
    found = catalog.Catalog("r", "classes", ("a",), (catalog.Entry("r/a/x.jpg", "a", None, "00"),), (), ())
    (finding,) = unreadable.find(found, {"00": "something else"})
    assert finding.message == "r/a/x.jpg cannot be read: something else."
    assert finding.proposals[0].action == "keep"
