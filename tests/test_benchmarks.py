"""The benchmarks' sets, clocks and tables, on little; and that every script says how it is used."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = sorted(
    path for path in BENCHMARKS.rglob("*.py") if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
)
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "peers")]

import compare
import contract
import few
import measure
import sets


def wish(**changes) -> sets.Wish:
    """What is asked for: little, and no photos unless said."""
    plain = {"photos": None, "half": None, "seed": 0, "each": 1, "each_test": 1, "test_share": 0.2}
    return sets.Wish(**{**plain, **changes})


def contents(folder: Path) -> dict[str, str]:
    """The digest of every picture by its place in the set."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def opened(folder: Path) -> list[Image.Image]:
    """Every picture of a folder, read to its end."""
    images = [Image.open(path) for path in sorted(folder.rglob("*.*")) if path.suffix in (".png", ".jpg")]
    for image in images:
        image.load()
    return images


def test_every_script_says_how_it_is_used() -> None:
    """In this environment, where no peer is installed: a peer's library is imported when it is run, not before."""
    assert {"sets.py", "compare.py", "few.py", "folder.py", "headline.py", "timm_loop.py"} <= {p.name for p in SCRIPTS}
    running = [(path, subprocess.Popen([sys.executable, path, "--help"], stdout=subprocess.PIPE)) for path in SCRIPTS]
    for path, process in running:
        said = process.communicate()[0].decode()
        assert process.returncode == 0, f"{path.name}: {said}"
        assert said.startswith("usage:"), path.name


@pytest.mark.parametrize(
    ("name", "n_classes", "size"),
    [("digits", 10, (8, 8)), ("shapes", 6, None), ("textures", 8, None), ("documents", 6, None)],
)
def test_a_set_is_complete_and_the_same_for_the_same_seed(
    tmp_path: Path, name: str, n_classes: int, size: tuple[int, int] | None
) -> None:
    counts = sets.write(name, tmp_path / "a", wish())
    assert [counts[side].total() for side in ("train", "test")] == [n_classes, n_classes]
    assert len(contents(tmp_path / "a")) == 2 * n_classes
    assert [each.name for each in tmp_path.iterdir()] == ["a"], "nothing half-written is left"
    for image in opened(tmp_path / "a"):
        assert image.size == size if size else 200 <= min(image.size) <= max(image.size) <= 400
    sets.write(name, tmp_path / "b", wish())
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    sets.write(name, tmp_path / "c", wish(seed=1))
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_fashion_is_read_as_its_format_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IDX: two zeros, 8 for bytes, the number of axes, their lengths as big-endian 32-bit numbers, the bytes."""
    pixels = np.arange(2 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28)
    for stem in ("train", "t10k"):
        header = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28])
        (tmp_path / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + pixels.tobytes()))
        labels = bytes([0, 0, 8, 1, 0, 0, 0, 2, 9, 1])
        (tmp_path / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    monkeypatch.setattr(sets, "FASHION", tmp_path)
    sets.write("fashion", tmp_path / "set", wish())
    assert sorted(contents(tmp_path / "set")) == [
        f"{side}/{name}" for side in ("test", "train") for name in ("ankle-boot/00000.png", "trouser/00001.png")
    ]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "set/train/trouser/00001.png")), pixels[1])


def test_fashion_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "FASHION", tmp_path / "missing")
    with pytest.raises(SystemExit, match="apt-get install -y dataset-fashion-mnist"):
        sets.write("fashion", tmp_path / "set", wish())
    assert list(tmp_path.iterdir()) == []


def test_patches_of_the_two_sides_never_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pixel of the source names its block of 64 px; a side's crops must stay in the side's blocks."""
    rows, columns = np.mgrid[0:256, 0:256] // sets.BLOCK_PX
    pixels = np.stack([60 + 40 * rows, 60 + 40 * columns, 0 * rows], -1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    monkeypatch.setattr(sets, "_sample_images", lambda: {"a": tmp_path / "a.png"})
    monkeypatch.setattr(np.random, "default_rng", lambda *_: _NoJitter())
    found: dict[str, set] = {"train": set(), "test": set()}
    for item in sets.patches(wish(each=40, each_test=40)):
        assert item.content.size == (sets.PATCH_PX, sets.PATCH_PX)
        found[item.side] |= {tuple(colour) for _, colour in item.content.getcolors()}
    assert len(found["test"]) == 3, "a fifth of 16 blocks"
    assert len(found["train"]) == 13
    assert not found["train"] & found["test"]


class _NoJitter:
    """Places at random; contrast and brightness as they are."""

    _rng = np.random.RandomState(0)

    def shuffle(self, some: list) -> None:
        self._rng.shuffle(some)

    def integers(self, low: int, high: int | None = None, size: int | None = None):
        return self._rng.randint(low, high, size)

    def uniform(self, low: float, high: float) -> float:
        return 1.0 if low > 0 else 0.0


def test_few_leaves_all_others_for_the_test(photos: Path, tmp_path: Path) -> None:
    counts = sets.write("few-5", tmp_path / "set", wish(photos=photos, each_test=None))
    assert counts == {"train": {"circles": 5, "squares": 5}, "test": {"circles": 35, "squares": 35}}
    found = contents(tmp_path / "set")
    assert len(set(found.values())) == 80, "no picture on both sides"


def test_halves_share_no_photo(photos: Path, tmp_path: Path) -> None:
    sides = {}
    for half in ("choose", "figure", None):
        sets.write("photos", tmp_path / str(half), wish(photos=photos, half=half, each=None, each_test=None))
        sides[half] = set(contents(tmp_path / str(half)).values())
    assert sides["choose"] | sides["figure"] == sides[None]
    assert not sides["choose"] & sides["figure"]
    assert len(sides[None]) == 80
    assert all(int(digest[-1], 16) % 2 == 0 for digest in sides["choose"])


def test_sets_of_photos_are_what_they_are_called(photos: Path, tmp_path: Path) -> None:
    sets.write("grey", tmp_path / "grey", wish(photos=photos))
    assert {image.mode for image in opened(tmp_path / "grey")} == {"L"}
    sets.write("small", tmp_path / "small", wish(photos=photos))
    assert {max(image.size) for image in opened(tmp_path / "small")} == {48}
    sets.write("large", tmp_path / "large", wish(photos=photos, each=1))
    assert {image.size for image in opened(tmp_path / "large")} == {(4000, 3000)}


def test_imbalanced_is_one_to_fifty_and_its_test_balanced(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", n=125)
    counts = sets.write("imbalanced", tmp_path / "set", wish(photos=photos, each=None, each_test=None))
    assert sorted(counts["train"].values()) == [2, 100]
    assert counts["test"] == {"circles": 25, "squares": 25}


@pytest.mark.parametrize(
    ("name", "says"), [("shape", "There is no set 'shape'"), ("few-0", "no set"), ("grey", "--photos FOLDER")]
)
def test_what_cannot_be_written_is_said(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(SystemExit, match=says):
        sets.write(name, tmp_path / "set", wish())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="exists"):
        sets.write("digits", tmp_path, wish())


def test_a_tenth_of_each_class_is_held_back() -> None:
    labels = [0] * 20 + [1] * 2 + [2]
    training, held = contract.held_back(labels, seed=0)
    assert sorted(training + held) == list(range(23))
    assert sorted(labels[i] for i in held) == [0, 0, 1], "one at least, and none of a class of one"


@pytest.mark.parametrize(("left_s", "epoch_s", "epochs"), [(100, 10, 9), (10, 11, 0), (1e6, 1, 100), (-5, 1, 0)])
def test_epochs_that_fit(left_s: float, epoch_s: float, epochs: int) -> None:
    assert contract.epochs_that_fit(left_s, epoch_s) == epochs


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory of a family of processes is Linux's")
def test_memory_is_that_of_all_processes_together() -> None:
    """Two children that hold 80 MB each for a second."""
    child = "import time; held = bytearray(b'x') * 80_000_000; time.sleep(1.5)"
    begun = f"[subprocess.Popen([sys.executable, '-c', {child!r}]) for _ in range(2)]"
    used = measure.run([sys.executable, "-c", f"import subprocess, sys; [each.wait() for each in {begun}]"])
    assert used.status == 0
    assert used.seconds > 1.5
    assert 152 < used.peak_mb < 260  # 2 × 80e6 bytes are 152.6 MiB


def test_a_command_past_its_limit_is_ended(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    start, handler = time.perf_counter(), signal.getsignal(signal.SIGTERM)
    command = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"]
    assert measure.run(command, log=log, limit_s=1.5).status == -9
    assert signal.getsignal(signal.SIGTERM) == handler
    assert time.perf_counter() - start < 20
    assert measure.tail(log) == "begun"


@pytest.mark.parametrize("told_s", [0.0, 0.3], ids=["as it begins", "later"])
def test_a_command_ends_with_who_runs_it(tmp_path: Path, told_s: float) -> None:
    """A script that is told to end takes its command along: nothing runs on under the next measurement."""
    mark = tmp_path / "child"
    script = f"""
import measure, os, pathlib, signal, subprocess, sys, threading
class Told(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        pathlib.Path({str(mark)!r}).write_text(str(self.pid))
        end = lambda: os.kill(os.getpid(), signal.SIGTERM)
        threading.Timer({told_s}, end).start() if {told_s} else end()
subprocess.Popen = Told
measure.run([sys.executable, "-c", "import time; time.sleep(60)"])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=BENCHMARKS / "peers", timeout=50)
    assert done.returncode == 143
    assert not running(int(mark.read_text()))


def running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def line(method: str, seed: int, **more) -> dict:
    """One run of `compare`."""
    job = {"set": "digits", "method": method, "seed": seed, "seconds": 60.0, "size_px": 32}
    return job | {"n_test": 200, "total_s": 58.0, "peak_mb": 1234.4, "epochs": 3, "settings": {}} | more


def test_the_table_shows_losses_and_failures() -> None:
    runs = [line("tellapart scratch", 0, accuracy=0.90), line("tellapart scratch", 1, accuracy=0.92)]
    runs += [line("timm", 0, accuracy=0.95, total_s=70.0)]
    runs += [{k: v for k, v in line("fastai", 0, error="a | b").items() if k != "accuracy"}]
    rows = [row for row in compare.table(runs).splitlines() if row.startswith("| digits")]
    assert rows[0] == "| digits | timm | 95.0 % | 91.0–97.3 % | one | 70 s (most 70 s) | 1,234 MB | 3.0 |"
    ours = "**`tellapart train --recipe scratch`** | 91.0 % | 86.2–94.2 % | 90.0–92.0 %"  # Wilson's of 182 of 200
    assert rows[1] == f"| digits | {ours} | 58 s | 1,234 MB | 3.0 |"
    assert rows[2] == "| digits | fastai | failed: a / b | | | | | |"


def test_runs_are_kept_and_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    compare.add(file, line("timm", 0, accuracy=0.5))
    compare.add(file, line("timm", 0, accuracy=0.6))
    file.write_text(file.read_text() + '{"set": "dig')
    (found,) = compare.read(file).values()
    assert found["accuracy"] == 0.6


def test_the_lead_is_paired() -> None:
    """Differences of 1, 2 and 3 points: mean 2, standard deviation 1, and Student's 4.303 of 2 degrees over √3."""
    runs = []
    for seed, (a, b) in enumerate([(0.91, 0.90), (0.96, 0.94), (0.83, 0.80)]):
        job = {"set": "few-5", "seed": seed, "seconds": 0, "size_px": 5, "n_test": 1000}
        runs += [job | {"method": "tellapart", "accuracy": a, "train_s": 4.0}, job | {"method": "plain", "accuracy": b}]
        runs += [job | {"method": "standardised", "accuracy": b - 0.01}]
    assert few.table(runs).splitlines()[-1] == (
        "| 5 | 90.00 % | 88.00 % | +2.00 ± 2.48 | 87.00 % | +3.00 ± 2.48 | 3 | 4.0 s |"
    )
