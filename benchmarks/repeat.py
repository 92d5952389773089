"""Whether a training repeats itself: each recipe twice in fresh processes, the two bundles compared byte by byte.

    python benchmarks/repeat.py [--photos PHOTOS] [--only transfer,scratch] [--like] [--json repeat.json]

Every process has another PYTHONHASHSEED and an empty cache, but for `choices.json`: what was chosen by measuring is
part of what a result depends on. $SOURCE_DATE_EPOCH is set, so that every byte must be equal. With --like the second
training is `tellapart train --like` of the first one's bundle, without `choices.json`. Without --photos pictures are
drawn. Printed: a row for each recipe, and what differs where something does. It ends with status 1 where that is so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

EPOCH = "1700000000"
DRAWN = ("bricks", "stripes", "waves")  # classes of drawn pictures
EACH = 40  # of a class
OWN, BACKBONE = "own", "keras file"

# What each recipe is asked for, on the command line.
RECIPES: dict[str, list[str]] = {
    "transfer": ["--recipe", "transfer"],
    "transfer lite0": ["--recipe", "transfer", "--backbone", "efficientnet-lite0", "--size", "96", "--no-fine-tune"],
    "fine-tune": ["--recipe", "transfer", "--backbone", "efficientnet-lite0", "--size", "96", "--fine-tune"],
    "scratch": ["--recipe", "scratch", "--epochs", "2"],
    "bfloat16": ["--recipe", "scratch", "--epochs", "2", "--precision", "mixed_bfloat16"],
    "tutorial": ["--recipe", "tutorial", "--epochs", "2"],
    "k-fold": ["--recipe", "transfer", "--backbone", "efficientnet-lite0", "--size", "96", "--k-fold", "3"],
    "k-fold scratch": ["--recipe", "scratch", "--epochs", "1", "--size", "32", "--k-fold", "2"],
    OWN: [],
    BACKBONE: ["--recipe", "transfer"],
}


def main() -> None:
    """Train, compare, print; see the head of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", help="a folder of class folders; left out, pictures are drawn")
    parser.add_argument("--only", help=f"recipes, by commas, of: {', '.join(RECIPES)}")
    parser.add_argument("--like", action="store_true", help="the second training is `--like` the first")
    parser.add_argument("--keep", help="a folder for the bundles")
    parser.add_argument("--json", dest="json_path", help="write the rows there")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        _child(*asked.child)
        return
    names = asked.only.split(",") if asked.only else list(RECIPES)
    unknown = [name for name in names if name not in RECIPES]
    if unknown:
        parser.error(f"--only must name recipes of {', '.join(RECIPES)}; got {unknown[0]!r}")
    with tempfile.TemporaryDirectory(prefix="tellapart-repeat-") as folder:
        home = Path(asked.keep or folder)
        home.mkdir(parents=True, exist_ok=True)
        photos = Path(asked.photos) if asked.photos else drawn(home / "photos")
        rows = []
        print("| recipe | seconds | seconds again | bundles |\n|---|---|---|---|")
        for name in names:
            row = repeat(name, photos, home, like=asked.like)
            rows.append(row)
            told = "equal" if not row["differs"] else f"differ: {', '.join(row['differs'][:12])}"
            print(f"| {name} | {row['seconds'][0]} | {row['seconds'][1]} | {told} |", flush=True)
    if asked.json_path:
        Path(asked.json_path).write_text(json.dumps(rows, indent=1))
    sys.exit(any(row["differs"] for row in rows))


def drawn(folder: Path) -> Path:
    """Drawn pictures of a few classes, EACH of them."""
    import drawn as pictures

    for name in DRAWN:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(EACH):
            if not (path := folder / name / f"{i:03d}.jpg").exists():
                pictures.texture(name, i, 0).save(path, quality=92)
    return folder


def repeat(name: str, photos: Path, home: Path, *, like: bool) -> dict[str, Any]:
    """Train twice and compare: seconds of both, and what differs."""
    slug, seconds, files = name.replace(" ", "-"), [], []
    extra = list(RECIPES[name])
    if name == BACKBONE:
        network = home / "backbone.keras"
        if not network.exists():
            _run([sys.executable, __file__, "--child", "backbone", "-", str(network)], home / f"{slug}-0", "0")
        extra += ["--backbone", str(network)]
    for turn in (1, 2):
        cache, file = home / f"{slug}-{turn}-cache", home / f"{slug}-{turn}.tellapart"
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        before = home / f"{slug}-1-cache" / "choices.json"
        if turn == 2 and not like and before.exists():
            shutil.copy(before, cache)
        if name == OWN:
            command = [sys.executable, __file__, "--child", OWN, str(photos), str(file)]
        else:
            again = ["--like", str(files[0])] if turn == 2 and like else extra
            command = [sys.executable, "-m", "tellapart", "train", str(photos), *again, "-o", str(file), "--force"]
        start = time.monotonic()
        _run(command, cache, str(turn))
        seconds.append(round(time.monotonic() - start, 1))
        files.append(file)
    return {"recipe": name, "like": like, "seconds": seconds, "differs": differences(*files)}


def differences(one: Path, other: Path) -> list[str]:
    """The members in which two bundles differ, and where they do within the manifest; [] where all bytes are equal."""
    if one.read_bytes() == other.read_bytes():
        return []
    found: list[str] = []
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        names = first.namelist()
        if names != second.namelist():
            return ["the list of members"]
        for name in names:
            a, b = first.read(name), second.read(name)
            if a == b:
                continue
            if name == "manifest.json":
                found += [f"{name}: {path}" for path in _paths(json.loads(a), json.loads(b))]
            else:
                found.append(f"{name} ({hashlib.sha256(a).hexdigest()[:8]}, {hashlib.sha256(b).hexdigest()[:8]})")
    return found or ["the zip file"]


def _paths(a: Any, b: Any, at: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        found = [path for key in sorted({*a, *b}) for path in _paths(a.get(key), b.get(key), f"{at}.{key}".strip("."))]
        return found or ([] if list(a) == list(b) else [f"{at}: order"])
    return [] if a == b else [f"{at} ({str(a)[:40]}, {str(b)[:40]})"]


def _run(command: list[str], cache: Path, hash_seed: str) -> None:
    environment = dict(os.environ) | {
        "PYTHONHASHSEED": hash_seed,
        "SOURCE_DATE_EPOCH": EPOCH,
        "TELLAPART_CACHE": str(cache),
        "TELLAPART_RUNS": "off",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-3000:]}")


def _child(what: str, photos: str, output: str) -> None:
    """In a process of its own: a network of one's own trained, or a backbone's file written."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(7)
    body = [
        keras.Input((48, 48, 3)),
        layers.Rescaling(1 / 127.5, -1.0),
        layers.RandomFlip("horizontal", seed=3),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(4),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(),
    ]
    if what == "backbone":
        keras.Sequential([each for each in body if not isinstance(each, layers.RandomFlip)]).save(output)
        return
    from tellapart import train

    n_classes = sum(each.is_dir() for each in Path(photos).iterdir())
    network = keras.Sequential([*body, layers.Dropout(0.2), layers.Dense(n_classes)])
    train(photos, model=network, epochs=2, output=output, force=True, progress=False)


if __name__ == "__main__":
    main()
