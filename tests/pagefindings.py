"""A small dirty folder and what would be found in it, for the tests of pages; the findings are made by hand."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image, ImageOps

from conftest import draw
from tellapart.findings import Distribution, Finding, Findings, Proposal, ordered

MARKUP = "<img src=x onerror=alert(1)>.jpg"
MIXED = 'line\n"q" \u202egpj\u0301 \u05d0\u05d1.jpg'
NO_TEXT = os.fsdecode(b"caf\xe9.jpg")


def saved(image: Image.Image, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return str(path)


def dirty(folder: Path) -> Findings:
    """Pictures of circles and squares with one case or more of every kind."""
    root = folder / "my photos & <b>co</b>"
    paths = {
        (side, shape): [
            saved(draw(shape, i + 50 * (side == "test")), root / side / shape / f"{i:02}.png") for i in range(8)
        ]
        for side in ("train", "test")
        for shape in ("circles", "squares")
    }
    circles, squares = paths["train", "circles"], paths["train", "squares"]
    found = []
    leaked = saved(ImageOps.mirror(Image.open(circles[0])), root / "test/circles/mirrored.png")
    found.append(
        Finding(
            "leak",
            "error",
            "The same picture, mirrored, is in train and in test.",
            "Leave it out of train.",
            (circles[0], leaked),
            proposals=(Proposal(circles[0], "drop", reason="also in test"), Proposal(leaked, "keep")),
        )
    )
    torn = saved(Image.open(circles[1]), root / "train/squares/torn.png")
    found.append(Finding("label_conflict", "error", "One picture is in two classes.", "Decide.", (circles[1], torn)))
    copy = saved(Image.open(squares[2]), root / "train/squares" / "02 copy.png")
    kept = (Proposal(squares[2], "keep"), Proposal(copy, "drop", reason="a copy"))
    found.append(
        Finding("exact_duplicate", "warning", "2 files are the same.", "Keep one.", (squares[2], copy), proposals=kept)
    )
    found.append(
        Finding("near_duplicate", "info", "2 pictures are nearly the same.", "Keep one.", (squares[3], squares[4]))
    )
    for i in range(20):
        name = (MARKUP, MIXED, NO_TEXT)[i] if i < 3 else f"odd_{i:02}.jpg"
        path = saved(draw("squares", 100 + i), root / "train/circles" / name)
        share = 0.99 - 0.02 * i
        moved = Proposal(path, "move" if i < 5 else "keep", "squares" if i < 5 else "", "looks like squares")
        detail = {"given": "circles", "likely": "squares", "probability": share}
        message = f"Labelled 'circles', {share:.0%} 'squares'."
        found.append(Finding("wrong_label", "warning", message, "Look.", (path,), share, detail, (moved,)))
    broken = str(root / "train/circles" / "broken.jpg")
    Path(broken).write_bytes(b"")
    reason = "empty file (0 bytes)"
    found.append(Finding("unreadable", "warning", f"It cannot be read: {reason}.", "Save it anew.", (broken,)))
    found.append(
        Finding(
            "outlier", "warning", "It looks like nothing else.", "Look.", (squares[5],), detail={"given": "squares"}
        )
    )
    values = [f"{i} of 255" for i in range(16)]
    dark = tuple(circles + squares)
    found.append(
        Finding("odd", "info", "16 pictures are dark.", "Look.", dark, detail={"oddity": "dark", "values": values})
    )
    cue = {"cue": "format", "class": "circles", "balanced_accuracy": 0.87, "chance": 0.5}
    found.append(Finding("shortcut", "error", "87 % can be told by their format.", "Save all alike.", (), 0.7, cue))
    found.append(Finding("split", "warning", "The test is larger than the training.", "Swap them.", ()))
    growth = {
        "topic": "growth",
        "points": [
            {"pictures": n, "accuracy": a, "low": a - 0.03, "high": a + 0.02} for n, a in ((10, 0.8), (20, 0.9))
        ],
        "forecast": {"pictures": 40, "accuracy": 0.94, "low": 0.9, "high": 0.97},
    }
    found.append(Finding("imbalance", "info", "Twice as many would bring 4 points.", "Collect.", (), 0, growth))
    spread = Distribution("brightness", "0–255", (0, 100, 200, 255), {"circles": (1, 5, 2), "squares": (0, 3, 5)})
    classes = {"circles": {"train": 28, "test": 9}, "squares": {"train": 10, "test": 8}}
    return Findings(
        str(root),
        ordered(found),
        False,
        56,
        55,
        ((broken, reason),),
        classes,
        (spread,),
        ("two split folders",),
        {"all": 2.0},
    )
