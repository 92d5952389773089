"""A process of its own that opens crafted model files and says what came of each, one JSON line a file.

    python tests/hostilechild.py PICTURE BUNDLE … < nothing

First it opens the first bundle, which is good, so that all is imported. From then on every opening of another file,
every process, socket and import is written down (`sys.addaudithook`), and of each bundle the memory that it took at
most beyond what there was before, and seconds.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time

from rich.console import Console

from tellapart import bundle as bundles
from tellapart import golden, summaries
from tellapart.classifier import Classifier
from tellapart.errors import TellapartError

NOTICED = ("open", "os.", "shutil.", "socket.", "subprocess.", "exec", "import", "pickle.", "ctypes.", "tempfile.")
PASSED_OVER = {"os.putenv", "os.unsetenv", "os.scandir", "os.listdir"}

seen: list[str] = []
watching = False
allowed: tuple[str, ...] = ()


def hook(event: str, arguments: tuple[object, ...]) -> None:
    if not watching or not event.startswith(NOTICED) or event in PASSED_OVER:
        return
    if event == "open" and isinstance(arguments[0], int):
        return  # what is open already
    if event == "open" and str(arguments[0]) in allowed and not int(arguments[2]) & (os.O_WRONLY | os.O_RDWR):  # pyright: ignore
        return
    seen.append(f"{event} {arguments!r:.200}")


def peak(name: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name)) // 1024


def answered(path: str, picture: str) -> str:
    """What is said of a bundle: "" where it answers."""
    try:
        bundle = bundles.read(path)
        model = Classifier(bundle)
        model.predict(picture)
        console = Console(file=io.StringIO(), width=100)
        console.print(summaries.described(bundle, path, os.path.getsize(path)))
        bundle.embeddings()
        golden.of(bundle)
    except TellapartError as error:
        return str(error) or "nothing said"
    return ""


def main(picture: str, *paths: str) -> None:
    global watching, allowed
    answered(paths[0], picture)
    sys.addaudithook(hook)
    for path in paths:
        allowed = (path, picture)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the highest mark is set to what there is now
        before, wall, cpu = peak("VmRSS"), time.perf_counter(), time.process_time()
        seen.clear()
        watching = True
        try:
            says = answered(path, picture)
        except BaseException as error:
            says = f"CRASH {type(error).__name__}: {error}"
        watching = False
        told = {
            "path": path, "says": says, "seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu,
            "mebibytes": peak("VmHWM") - before, "seen": list(seen),
        }  # fmt: skip
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
