"""A command run once for each of its calls that write to disk, with that call failing or the process killed at it.

    python tests/faultplan.py BUNDLE FOLDER [--scene NAME[:N]]… [--at N] [--kind KIND]…

prints a line of JSON for each run in which something was wrong, and one for each scene. A process loads the program
once and forks for each run. Every call that writes below FOLDER is counted: opening a file for writing, each write (of
which half goes through), sync, rename, link, making and removing folders and files.
"""

from __future__ import annotations

import argparse
import builtins
import errno
import hashlib
import io
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KINDS = ("ENOSPC", "EIO", "EACCES", "EDQUOT", "before", "after")  # the last two: killed before or after the call
LEFT = re.compile(r"\..*-\d{1,10}-[0-9a-f]{8}(\.(tmp|old))?")  # what is being written is named so
RESCUED = re.compile(r"(.+)-[0-9a-f]{8}-\d{1,10}-[0-9a-f]{8}(\.tellapart)")  # saved beside a name that refused
BUG = re.compile(r"Traceback|Something went wrong that should not")


@dataclass
class Plan:
    """Which call is to fail, from 1, and how."""

    below: str
    at: int = 0  # 0: none
    kind: str = ""
    calls: list[str] = field(default_factory=list)

    def meet(self, name: str, path: object) -> bool:
        """Count a call; whether the process is to be killed after it. Fails or kills where its time has come."""
        if not self._concerns(path):
            return False
        self.calls.append(f"{name} {os.path.basename(str(path))}")
        if len(self.calls) != self.at:
            return False
        if self.kind == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "after":
            return True
        code = getattr(errno, self.kind)
        raise OSError(code, os.strerror(code), str(path))

    def _concerns(self, path: object) -> bool:
        if isinstance(path, int):
            try:
                path = os.readlink(f"/proc/self/fd/{path}")
            except OSError:
                return False
        return os.path.abspath(os.fsdecode(path)).startswith(self.below)  # pyright: ignore[reportArgumentType]


def install(plan: Plan) -> None:
    """Let every call of this process that writes to disk meet the plan, from now on."""
    for name in ("mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link", "symlink", "utime", "truncate"):
        setattr(os, name, _met(plan, name, getattr(os, name)))
    for name in ("fsync", "ftruncate"):
        setattr(os, name, _met(plan, name, getattr(os, name)))
    real_open, real_write = os.open, os.write

    def open_(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return real_open(path, flags, *args, **options)
        dies = plan.meet("open", path)
        number = real_open(path, flags, *args, **options)
        return _dead() if dies else number

    def write(number: int, data: Any) -> int:
        return _half(plan, number, data, lambda part: real_write(number, part))

    class Raw(io.FileIO):
        def __init__(self, file: Any, mode: str = "r", *args: Any, **options: Any) -> None:
            dies = mode != "r" and plan.meet("open", file)
            super().__init__(file, mode, *args, **options)
            if dies:
                _dead()

        def write(self, data: Any) -> int:
            return _half(plan, self.name, data, super().write)

    def open_file(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **options: Any) -> Any:
        if not set(mode) & set("wxa+") or isinstance(file, int):
            return real_file(file, mode, buffering, *args, **options)
        raw = Raw(file, mode.replace("b", "").replace("t", ""), opener=options.pop("opener", None))
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *args, **options)

    real_file = builtins.open
    os.open, os.write = open_, write
    builtins.open = io.open = open_file  # pyright: ignore[reportAttributeAccessIssue]
    from tellapart import drafts

    drafts.FileIO = Raw  # pyright: ignore[reportPrivateImportUsage]


def _met(plan: Plan, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, *args: Any, **options: Any) -> Any:
        folder = options.get("dir_fd") or options.get("src_dir_fd")
        whole = path if folder is None else os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fsdecode(path))
        dies = plan.meet(name, whole)
        try:
            return real(path, *args, **options)
        finally:
            if dies:
                _dead()

    return call


def _half(plan: Plan, where: Any, data: Any, real: Callable[[Any], int]) -> int:
    """Half of the data gets through where the plan stops a write."""
    view = memoryview(data).cast("B")
    try:
        dies = plan.meet("write", where)
    except OSError:
        real(view[: len(view) // 2])
        raise
    if dies:
        real(view[: len(view) // 2])
        _dead()
    return real(view)


def _dead() -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


# --- what is run


@dataclass(frozen=True)
class Scene:
    """A command, and what it writes."""

    name: str
    arguments: list[str]  # IN, OUT, CACHE and MODEL stand for places
    prepare: Callable[[Path], None] = lambda work: None
    whole: tuple[str, ...] = ()  # folders in OUT that are there whole or not at all
    alike: Callable[[str, bytes, bytes], bool] = lambda name, one, other: one == other
    again: Callable[[Path], None] = lambda work: None  # what the user does before the second run
    measures: bool = False  # what it does hangs on choices by measuring, which are given to every run


def pages(name: str, one: bytes, other: bytes) -> bool:
    """Whether two files say the same, but for times that were measured."""
    if name.endswith(".json") and b"old" not in (one, other):
        one, other = (json.dumps({**json.loads(each), "seconds": None}).encode() for each in (one, other))
    if name.endswith((".html", ".md")):
        return _timeless(one) == _timeless(other)
    return one == other


def _timeless(data: bytes) -> bytes:
    return re.sub(rb"[\d.,]+", b"#", data)


def _old(work: Path) -> None:
    """Outputs of an earlier run, to be replaced."""
    for name in ("a.csv", "a.json", "a.html", "a.md"):
        (work / "out" / name).write_text("old")


def _list(work: Path) -> None:
    from tellapart import moves

    one, other = sorted(path.name for path in (work / "in").iterdir())
    pictures = sorted(path.name for path in (work / "in" / one).iterdir())
    rows = [moves.Move(f"{one}/{pictures[0]}", "drop"), moves.Move(f"{one}/{pictures[1]}", "move", other)]
    (work / "in.csv").write_text("".join(moves.lines(rows, str(work / "in"))))


def _earlier_copy(work: Path) -> None:
    from tellapart import cleaning

    _list(work)
    cleaning.apply(None, work / "in.csv", work / "out" / "clean", copy=True)
    (work / "out" / "clean" / "extra.txt").write_text("of the earlier copy")


def _stores(work: Path) -> None:
    from tellapart import store
    from tellapart.preprocess import Preprocess

    files = [(str(each), hashlib.sha256(each.read_bytes()).hexdigest()) for each in sorted((work / "in").rglob("*.*"))]
    store.build(files[:4], Preprocess(32), work / "cache")
    store.build(files, Preprocess(16), work / "cache")


def _emptied(work: Path) -> None:
    shutil.rmtree(work / "out" / "sorted", ignore_errors=True)


SCENES = {
    scene.name: scene
    for scene in (
        Scene("predict", ["predict", "MODEL", "IN", "--csv", "OUT/a.csv", "--json", "OUT/a.json", "--force"], _old),
        Scene("predict-new", ["predict", "MODEL", "IN", "--csv", "OUT/b.csv", "--force"]),
        Scene("sort", ["predict", "MODEL", "IN", "--copy-to", "OUT/sorted"], again=_emptied),
        Scene("apply", ["apply", "LIST", "--to", "OUT/clean", "--copy", "--force"], _list, ("clean",)),
        Scene("apply-links", ["apply", "LIST", "--to", "OUT/clean", "--force"], _list, ("clean",)),
        Scene("apply-again", ["apply", "LIST", "--to", "OUT/clean", "--copy", "--force"], _earlier_copy, ("clean",)),
        Scene(
            "check",
            [
                *("check", "IN", "--quick", "--html", "OUT/a.html", "--csv", "OUT/a.csv", "--json", "OUT/a.json"),
                *("--fix-list", "OUT/b.csv", "--force", "--cache", "CACHE"),
            ],
            _old,
            alike=pages,
        ),
        Scene(
            "report",
            ["report", "MODEL", "IN", "-o", "OUT/a.html", "--card", "OUT/a.md", "--split", "all", "--force"],
            _old,
            alike=pages,
        ),
        Scene("explain", ["explain", "MODEL", "IN", "-o", "OUT/maps", "--force"]),
        Scene("export", ["export", "MODEL", "--to", "onnx", "-o", "OUT/onnx", "--force"], whole=("onnx",)),
        Scene("clear", ["cache", "clear", "--cache", "CACHE"], _stores),
        Scene(
            "train",
            [
                *("train", "IN", "-o", "OUT/m.tellapart", "--cache", "CACHE", "--force", "--recipe", "tutorial"),
                *("--size", "32", "--epochs", "1", "--conv", "4,8", "--dense", "8", "--precision", "float32"),
            ],
        ),
        Scene(
            "transfer",
            [
                *("train", "IN", "-o", "OUT/m.tellapart", "--cache", "CACHE", "--force", "--recipe", "transfer"),
                *("--backbone", "efficientnet-lite0", "--size", "64", "--no-fine-tune"),
            ],
            measures=True,
        ),
    )
}


@dataclass
class Runner:
    """Runs scenes in one place, again and again."""

    bundle: Path
    photos: Path
    work: Path
    chosen: bytes = b""  # by measuring, in a first run

    def places(self, argument: str) -> str:
        """An argument with its places filled in."""
        for name, path in (("MODEL", self.bundle), ("LIST", self.work / "in.csv"), ("IN", self.work / "in"),
                           ("OUT", self.work / "out"), ("CACHE", self.work / "cache")):  # fmt: skip
            if argument == name or argument.startswith(f"{name}/"):
                return str(path) + argument[len(name) :]
        return argument

    def fresh(self, scene: Scene) -> None:
        """The place as it is before a run."""
        shutil.rmtree(self.work, ignore_errors=True)
        for name in ("out", "cache", "tmp"):
            (self.work / name).mkdir(parents=True)
        shutil.copytree(self.photos, self.work / "in")
        scene.prepare(self.work)
        if scene.measures and self.chosen:
            (self.work / "cache" / "choices.json").write_bytes(self.chosen)

    def run(self, scene: Scene, at: int = 0, kind: str = "") -> tuple[int, str, list[str]]:
        """Run the command in a process of its own: its status (negative: killed), what it said, its calls."""
        told, counted = self.work.parent / "said", self.work.parent / "calls"
        counted.unlink(missing_ok=True)
        child = os.fork()
        if not child:
            self._child(scene, Plan(str(self.work), at, kind), told, counted)
        _, ended = os.waitpid(child, 0)
        calls = counted.read_text().splitlines() if counted.exists() else []
        return os.waitstatus_to_exitcode(ended), told.read_text(errors="replace"), calls

    def _child(self, scene: Scene, plan: Plan, told: Path, counted: Path) -> None:
        status = 99
        try:
            number = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(number, 1)
            os.dup2(number, 2)
            sys.stdout, sys.stderr = (
                io.TextIOWrapper(io.FileIO(i, "w", closefd=False), write_through=True) for i in (1, 2)
            )
            from tellapart import outputs
            from tellapart.cli import main

            outputs._swept.clear()  # a new process has not looked yet
            arguments = list(map(self.places, scene.arguments))
            sys.argv = ["tellapart", *arguments]
            real_write = Path.write_text
            install(plan)
            try:
                main(arguments)
            except SystemExit as ended:
                status = int(ended.code or 0)
            plan.at = 0
            real_write(counted, "\n".join(plan.calls))
        finally:
            os._exit(status)

    def trees(self, scene: Scene) -> dict[str, bytes]:
        """What lies in OUT under a final name, by its way; a folder that is whole or not at all counts as one."""
        from tellapart import cleaning

        found = {}
        for path in sorted((self.work / "out").rglob("*")):
            way = path.relative_to(self.work / "out")
            if path.is_file() and not any(LEFT.fullmatch(part) for part in way.parts):
                found[way.as_posix()] = path.read_bytes()
        for folder in scene.whole:
            inside = {way: found.pop(way) for way in list(found) if way.startswith(f"{folder}/")}
            if f"{folder}/{cleaning.MARK}" in inside:  # it counts links and copies: where a link fails there is a copy
                inside[f"{folder}/{cleaning.MARK}"] = b"{}"
            if inside:
                found[folder] = repr(
                    sorted((way, hashlib.sha256(data).hexdigest()) for way, data in inside.items())
                ).encode()
        return found

    def inputs(self) -> str:
        """A digest of the user's own pictures: names, bytes, times."""
        seen = hashlib.sha256()
        for path in sorted((self.work / "in").rglob("*")):
            told = path.stat()
            seen.update(f"{path} {told.st_mode} {told.st_mtime_ns if path.is_file() else 0}\n".encode())
            seen.update(path.read_bytes() if path.is_file() else b"")
        return seen.hexdigest()

    def leftovers(self) -> list[str]:
        """What has the name of something that is being written."""
        return [str(each.relative_to(self.work)) for each in self.work.rglob("*") if LEFT.fullmatch(each.name)]

    def whole(self, scene: Scene) -> tuple[dict[str, bytes], dict[str, bytes], list[str]]:
        """What lies in OUT before a run without faults, what after it, and the run's calls."""
        self.chosen = b""
        self.fresh(scene)
        if scene.measures:
            self.run(scene)
            self.chosen = (self.work / "cache" / "choices.json").read_bytes()
            self.fresh(scene)
        before = self.trees(scene)
        status, said, calls = self.run(scene)
        if status:
            raise SystemExit(f"{scene.name} fails without any fault: {status}\n{said}")
        return before, self.trees(scene), calls

    def trial(self, scene: Scene, at: int, kind: str, before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
        """Run a scene with a fault, then without; what was wrong."""
        self.fresh(scene)
        inputs = self.inputs()
        status, said, _ = self.run(scene, at, kind)
        wrong = []
        if kind in ("before", "after"):
            if status != -signal.SIGKILL:
                wrong.append(f"not killed: {status} {said[-300:]}")
        elif status not in (0, 1):
            wrong.append(f"status {status}: {said[-300:]}")
        if BUG.search(said):
            wrong.append(f"said: {said[-400:]}")
        if status == 1 and not re.search(r"^Error: .*\. \S.*\.$", said, re.MULTILINE):
            wrong.append(f"no message that says what to do: {said[-300:]}")
        found = self.trees(scene)
        for way in [way for way in found if RESCUED.fullmatch(way)]:
            if found[way] != after.get(RESCUED.sub(r"\1\2", way)):
                wrong.append(f"{way} was saved elsewhere, and is not the whole new one")
            del found[way]
            (self.work / "out" / way).unlink()  # the user takes it
        for way, data in found.items():
            if not any(way in state and scene.alike(way, state[way], data) for state in (before, after)):
                wrong.append(f"{way} is neither the old one nor the new one ({len(data)} bytes)")
        for way in before:
            if way not in found:
                wrong.append(f"{way} is gone")
        if status == 0 and not self._same(scene, found, after):
            wrong.append(f"status 0, but not all is there: {sorted(found)}")
        if self.inputs() != inputs:
            wrong.append("the user's own pictures are not as they were")
        scene.again(self.work)
        status, said, _ = self.run(scene)
        if status or not self._same(scene, self.trees(scene), after):
            wrong.append(f"the second run: {status} {said[-300:]} {sorted(self.trees(scene))}")
        if left := self.leftovers():
            wrong.append(f"still there after the second run: {left[:3]}")
        if self.inputs() != inputs:
            wrong.append("after the second run the user's own pictures are not as they were")
        return wrong

    @staticmethod
    def _same(scene: Scene, found: dict[str, bytes], after: dict[str, bytes]) -> bool:
        return found.keys() == after.keys() and all(scene.alike(way, after[way], found[way]) for way in after)


def draw(folder: Path, names: Sequence[str], n: int) -> Path:
    """Some pictures of two classes, under these names."""
    from conftest import SHAPES, fill

    shutil.rmtree(folder, ignore_errors=True)
    fill(folder, n=n)
    for shape, name in zip(SHAPES[:2], names, strict=True):
        (folder / shape).rename(folder / name)
    return folder


def say(what: dict[str, Any]) -> None:
    """A line of JSON."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(given: Iterable[str] | None = None) -> int:
    """Run scenes; returns 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path, help="is emptied")
    parser.add_argument("--scene", action="append", help="[default: all but train and transfer]; with :N as by --at")
    parser.add_argument("--kind", action="append", choices=KINDS, help="[default: all, by turns]")
    parser.add_argument("--at", type=int, metavar="N", help="at most N of the calls of a scene, evenly; [default: all]")
    parser.add_argument("--each", action="store_true", help="every kind at every call, not one by turns")
    parser.add_argument("--pictures", type=int, default=3, help="of each class")
    chosen = parser.parse_args(None if given is None else list(given))
    work = chosen.folder.resolve() / "work"
    os.environ["TELLAPART_RUNS"], os.environ["TELLAPART_CACHE"] = "off", str(work / "cache")
    os.environ["TMPDIR"], os.environ["SOURCE_DATE_EPOCH"] = str(work / "tmp"), "1000000000"
    from tellapart.bundle import read

    photos = draw(chosen.folder.resolve() / "photos", read(chosen.bundle).classes, chosen.pictures)
    import cv2
    import onnx  # noqa: F401 - loaded once for all runs
    import onnxruntime  # noqa: F401

    from tellapart import api, checkpage, cleaning, cli, explaining, reporting, sorting  # noqa: F401
    from tellapart.export import exporting, onnxfolder  # noqa: F401

    cv2.setNumThreads(1)
    runner, kinds, bad = Runner(chosen.bundle.resolve(), photos, work), chosen.kind or list(KINDS), 0
    for name in chosen.scene or [each for each in SCENES if each not in ("train", "transfer")]:
        name, _, some = name.partition(":")
        scene, at_most = SCENES[name], int(some) if some else chosen.at
        before, after, calls = runner.whole(scene)
        n = len(calls) if at_most is None else min(at_most, len(calls))
        numbers = sorted({1 + i * (len(calls) - 1) // max(n - 1, 1) for i in range(n)})
        runs = [
            (at, kind) for i, at in enumerate(numbers) for kind in (kinds if chosen.each else [kinds[i % len(kinds)]])
        ]
        failed = 0
        for at, kind in runs:
            if wrong := runner.trial(scene, at, kind, before, after):
                failed += 1
                say({"scene": name, "at": at, "kind": kind, "call": calls[at - 1], "wrong": wrong})
        say({"scene": name, "calls": len(calls), "runs": len(runs), "failed": failed})
        bad += failed
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
