"""Every call to the disk of every command fails once, and a command is killed at each: is all whole, is nothing lost?

    python benchmarks/faults.py --json faults.json                    # all calls, fault by turns: about 30 minutes
    python benchmarks/faults.py --each --json faults.json             # every fault at every call: about 3 hours
    python benchmarks/faults.py --only disk --json faults.json        # a disk that is really full, of growing size
    python benchmarks/faults.py --only together --json faults.json    # two trainings on one cache at once

Three parts. `calls`: see tests/faultplan.py; the commands are those of its SCENES, with two trainings. `disk`: a
training, a prediction and an export whose outputs, cache and temporary files lie on a small file system in memory
(needs root, else it is skipped, with the reason), which grows until they fit: below that they end with status 1 and a
message, and leave no half result. `together`: two trainings at once on one cache, of the same and of other pictures,
in every other round with a process that clears the cache meanwhile: their bundles are those of trainings alone, byte
for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))

import faultplan

TINY = ["--recipe", "tutorial", "--size", "32", "--epochs", "2", "--conv", "4,8", "--dense", "8",
        "--precision", "float32"]  # fmt: skip
SIZES_KB = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192, 16384, 32768)


def tellapart(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    settings = {**os.environ, "TELLAPART_RUNS": "off", "SOURCE_DATE_EPOCH": "1000000000", **environment}
    command = [sys.executable, "-m", "tellapart", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=settings)


def calls(bundle: Path, work: Path, each: bool, scenes: list[str] | None) -> dict[str, Any]:
    """Faults at every call of the scenes."""
    command = [sys.executable, str(TESTS / "faultplan.py"), str(bundle), str(work)]
    command += [f"--scene={name}" for name in scenes or faultplan.SCENES] + (["--each"] if each else [])
    paths = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {
        "scenes": {line["scene"]: line for line in told if "runs" in line},
        "runs": sum(line.get("runs", 0) for line in told),
        "failed": sum(line.get("failed", 0) for line in told),
        "wrong": [line for line in told if "wrong" in line],
        "ended": done.stderr[-1000:] if done.returncode and not told else "",
    }


def disk(bundle: Path, photos: Path, work: Path) -> dict[str, Any]:
    """A full file system, of growing size."""
    if os.geteuid() != 0:
        return {"skipped": "mounting a file system needs root"}
    place, rows = work / "disk", []
    place.mkdir(parents=True, exist_ok=True)
    for name in ("train", "predict", "export"):
        for size in SIZES_KB:
            mounted = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(place)], capture_output=True, text=True
            )
            if mounted.returncode:
                return {"skipped": f"mounting is not allowed here: {mounted.stderr.strip()}"}
            try:
                for folder in ("out", "tmp", "cache"):
                    (place / folder).mkdir()
                arguments = {
                    "train": ["train", photos, "-o", place / "out" / "m.tellapart", "--cache", place / "cache", *TINY],
                    "predict": [
                        "predict",
                        bundle,
                        photos,
                        "--csv",
                        place / "out" / "a.csv",
                        "--copy-to",
                        place / "out" / "to",
                    ],
                    "export": ["export", bundle, "--to", "onnx", "-o", place / "out" / "onnx"],
                }[name]
                process = tellapart(*arguments, TMPDIR=str(place / "tmp"))
                _, said = process.communicate(timeout=600)
                left = [path for path in (place / "out").rglob("*") if path.is_file()]
                half = [str(path) for path in left if faultplan.LEFT.fullmatch(path.name)]
                if process.returncode and name == "train":
                    half += [str(path) for path in left if not whole_bundle(path)]
                last = said.strip().splitlines()[-1:] or [""]
                good = process.returncode == 0 or (
                    process.returncode == 1 and last[0].startswith("Error: ") and not faultplan.BUG.search(said)
                )
                told = {"status": process.returncode, "said": last[0][:400], "half": half, "good": good and not half}
                rows.append({"command": name, "kilobytes": size, **told})
            finally:
                subprocess.run(["umount", str(place)], check=True)
            if process.returncode == 0:
                break
    return {"runs": rows, "failed": sum(not row["good"] for row in rows)}


def whole_bundle(path: Path) -> bool:
    """Whether a file is a bundle that can be read."""
    from tellapart.bundle import read
    from tellapart.errors import BundleError

    try:
        read(path)
    except BundleError:
        return False
    return True


def together(work: Path, rounds: int) -> dict[str, Any]:
    """Trainings on one cache at once, and the cache cleared meanwhile."""
    photos = [faultplan.draw(work / f"photos {i}", ("circles", "squares"), 20 + 8 * i) for i in (0, 1)]
    alone = []
    for i in (0, 1):
        process = tellapart(
            "train", photos[i], "-o", work / f"alone{i}.tellapart", "--cache", work / f"cache {i}", "--force", *TINY
        )
        _, said = process.communicate()
        if process.returncode:
            raise SystemExit(said)
        alone.append(digest(work / f"alone{i}.tellapart"))
    rows = []
    for turn in range(rounds):
        for which in ((0, 0), (0, 1)):
            cache = work / f"shared {turn} {which}"
            running = [
                tellapart("train", photos[i], "-o", work / f"both{j}.tellapart", "--cache", cache, "--force", *TINY)
                for j, i in enumerate(which)
            ]
            cleared = 0
            while turn % 2 and any(process.poll() is None for process in running):
                tellapart("cache", "clear", "--cache", cache).communicate()
                cleared += 1
                time.sleep(0.2)
            said = [process.communicate()[1] for process in running]
            same = [
                process.returncode == 0 and digest(work / f"both{j}.tellapart") == alone[i]
                for (j, i), process in zip(enumerate(which), running, strict=True)
            ]
            told = [text.strip().splitlines()[-1:] for text, good in zip(said, same, strict=True) if not good]
            rows.append({"pictures": which, "cleared": cleared, "same": same, "said": told})
    return {"rounds": rows, "failed": sum(not all(row["same"]) for row in rows)}


def digest(path: Path) -> str:
    """Of a bundle's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    """Run the parts that were asked for; returns 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["calls", "disk", "together"])
    parser.add_argument("--scene", action="append", choices=[*faultplan.SCENES], help="of `calls`; may be repeated")
    parser.add_argument("--each", action="store_true", help="every fault at every call, not one by turns")
    parser.add_argument("--rounds", type=int, default=4, help="of `together`")
    parser.add_argument("--json", metavar="FILE")
    chosen = parser.parse_args()
    start, found = time.monotonic(), {}
    with tempfile.TemporaryDirectory(prefix="tellapart-faults-") as folder:
        work = Path(folder)
        photos = faultplan.draw(work / "train", ("circles", "squares"), 20)
        bundle = work / "model.tellapart"
        process = tellapart("train", photos, "-o", bundle, "--cache", work / "own cache", *TINY)
        _, said = process.communicate()
        if process.returncode:
            raise SystemExit(said)
        if chosen.only in (None, "calls"):
            found["calls"] = calls(bundle, work / "calls", chosen.each, chosen.scene)
        if chosen.only in (None, "disk"):
            found["disk"] = disk(bundle, photos, work)
        if chosen.only in (None, "together"):
            found["together"] = together(work / "together", chosen.rounds)
    found["seconds"] = round(time.monotonic() - start)
    text = json.dumps(found, indent=1)
    if chosen.json:
        Path(chosen.json).write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")
    return int(any(part.get("failed") or part.get("ended") for part in found.values() if isinstance(part, dict)))


if __name__ == "__main__":
    sys.exit(main())
