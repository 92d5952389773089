"""`tellapart serve` against services that others would put around the same network, on the same pictures.

    python benchmarks/peers/environments.py ENVIRONMENTS slim fast flask fastapi bentoml litserve ray
    python benchmarks/serving_peers.py MODEL PICTURES --environments ENVIRONMENTS [--peers slim,flask] [--json OUT]

The peers serve the Keras model that lies in MODEL, a .tellapart file, each in an environment of its own, as its
documents show it; its script in benchmarks/peers/ says what that is. In each round every peer has the machine to
itself: started until its first answer, then one client, then eight. At the end it is also sent a broken file, a PNG of
200 megapixels, eight clients that send a byte a second, and SIGTERM while eight clients ask. A picture a request.

The peers are as they come: they do not bound what is decoded, and are not asked to. `tellapart serve` is this checkout,
installed without extras (slim), and with OpenVINO (fast).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hostile
import load
import server
import serving
import slim
from serving import Load, Memory, Setting, counts, latency, lost, shown, spread, table, unclean

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Peer:
    """One way to serve."""

    name: str
    environment: str  # its folder
    script: str | None = None  # None: `tellapart serve`
    options: tuple[str, ...] = ()
    path: str = "/predict"
    field: str | None = "file"  # of a multipart body; None: the bytes alone


ALL = {
    "fast": Peer("**`tellapart serve`**, with OpenVINO", "fast", path="/v1/predict", field=None),
    "slim": Peer("**`tellapart serve`**, slim", "slim", path="/v1/predict", field=None),
    "flask": Peer("Flask's own server", "flask", "flask_keras.py"),
    "gunicorn": Peer("Flask, gunicorn, a process a core", "flask", "flask_keras.py", ("--gunicorn",)),
    "fastapi": Peer("FastAPI, uvicorn", "fastapi", "fastapi_keras.py"),
    "bentoml": Peer("BentoML, adaptive batches", "bentoml", "bento_keras.py", field="images"),
    "litserve": Peer("LitServe, batches", "litserve", "litserve_keras.py"),
    "ray": Peer("Ray Serve, batches", "ray", "ray_keras.py", field=None),
}


@dataclass(frozen=True)
class Bench:
    """What all peers are given."""

    setting: Setting
    keras_file: Path
    classes: tuple[str, ...]
    size_px: int
    environments: Path
    work: Path

    def start(self, peer: Peer) -> server.Server:
        """A peer, ready as soon as it has answered one picture."""
        port, log = server.free_port(), self.work / f"{peer.script or 'tellapart'}.log"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        python = self.environments / peer.environment / "bin" / "python"
        if not python.exists():
            raise server.ServerError(f"{python} is missing; run benchmarks/peers/environments.py")
        if peer.script is None:
            command: list[str | Path] = [python, "-m", "tellapart", "serve", self.setting.model]
        else:
            command = [python, PEERS / peer.script, self.keras_file, "--classes", ",".join(self.classes)]
            command += ["--size", str(self.size_px), *peer.options]
        picture = self.setting.pictures[0]
        question = ("POST", peer.path, *self.body(peer, picture.read_bytes()))
        command = [*command, "--port", str(port)]
        return server.Server(command, port, log, question=question, environment=environment, limit_s=180)

    def body(self, peer: Peer, content: bytes) -> tuple[bytes, dict[str, str]]:
        """The body of one picture and its headers."""
        kind = "raw" if peer.field is None else "multipart"
        body, content_type = load.body(kind, [("a.jpg", content)], peer.field or "")
        return body, {"Content-Type": content_type}

    def load(self, peer: Peer, service: server.Server, *options: object) -> Load:
        kind = ("--body", "raw") if peer.field is None else ("--body", "multipart", "--field", peer.field)
        return Load(self.setting, service.url + peer.path, *kind, *options)


def measured(bench: Bench, peer: Peer, n: int) -> dict[str, Any]:
    """One round: start to first answer, one client, eight clients, memory."""
    with bench.start(peer) as service:
        bench.load(peer, service, "--concurrency", 8, "--seconds", 5).finish()  # warm
        one = bench.load(peer, service, "--requests", max(10, n // 4)).finish()
        eight = bench.load(peer, service, "--concurrency", 8, "--requests", n).finish()
        return {
            "cold_s": service.cold_s,
            "one_ms": one.said["latency_ms"]["p50"] if one.said["latency_ms"] else None,
            "per_s": eight.said["pictures_per_s"],
            "eight_ms": eight.said["latency_ms"],
            "unclean": unclean(one.events) + unclean(eight.events),
            "memory_mb": service.memory_mb(),
        }


def behaved(bench: Bench, peer: Peer, seconds: float) -> dict[str, Any]:
    """What it does with what nobody wants to be sent."""
    said: dict[str, Any] = {}
    with bench.start(peer) as service:
        bad = {"broken": hostile.broken()["half.jpg"], "bomb": hostile.png(20_000, 10_000)}
        for name, content in {**bad, "large": hostile.png(17_000, 10_000)}.items():
            memory = Memory(service.process.pid, 0.05)
            memory.start()
            start = time.perf_counter()
            try:
                status, body = service.ask("POST", peer.path, *bench.body(peer, content))
                answer = {"status": status, "said": body[:200].decode(errors="replace")}
            except OSError as error:
                answer = {"status": None, "said": f"{type(error).__name__}: {error}"}
            looks = memory.stop()
            said[name] = answer | {
                "seconds": round(time.perf_counter() - start, 2),
                "more_mb": round(max(mb for _, mb, _ in looks) - looks[0][1]) if looks else None,
            }
        asking = bench.load(peer, service, "--seconds", 3600, "--timeout", seconds + 10)
        begun = time.monotonic()
        time.sleep(8)
        attacked = time.monotonic()
        slow = bench.load(peer, service, "--trickle", 8, "--seconds", seconds).finish()
        ended = time.monotonic()
        done = asking.finish(stop=True)
        others = done.between(attacked, np.inf)
        good = done.events[done.events[:, serving.STATUS] == 200][:, serving.ENDED]
        said["slow"] = {
            "before_per_s": round(float((good < attacked).sum() / (attacked - begun)), 2),
            "during_per_s": round(float(((good > attacked) & (good < ended)).sum() / (ended - attacked)), 2),
            "during_ms": latency(others),
            "others": counts(others),
            "ends": counts(slow.events),
        }
    with bench.start(peer) as service:
        asking = bench.load(peer, service, "--concurrency", 8, "--seconds", 3600, "--timeout", 40)
        time.sleep(4)
        signalled = time.monotonic()
        try:
            ended = service.stop()
            how: dict[str, Any] = {"status": ended.status, "seconds": round(ended.seconds, 2)}
        except server.ServerError:
            how = {"status": "ran on", "seconds": None}
        time.sleep(0.5)
        service.end()
        done = asking.finish(stop=True)
        said["end"] = how | lost(done.events, signalled)
    return said


def peers_table(found: dict[str, dict[str, Any]]) -> str:
    """Two tables in Markdown: figures, fastest first; behaviour."""
    rows, more = [], []
    good = {key: one for key, one in found.items() if "error" not in one}
    for key in sorted(good, key=lambda key: -good[key]["per_s"]["median"]):
        one = good[key]
        failed = f" ({one['unclean']} failed!)" if one["unclean"] else ""
        rows.append([
            ALL[key].name + failed, shown(one["per_s"]), shown(one["one_ms"], 1), shown(one["cold_s"], 1, " s"),
            shown(one["memory_mb"], 0), f"{one['environment_mb']:,.0f}",
        ])  # fmt: skip
        if "broken" in one:
            end, slow = one["end"], one["slow"]
            stalled = f"{slow['before_per_s']:.1f} → {slow['during_per_s']:.1f}"
            cut = sum(n for status, n in slow["ends"].items() if status != load.MEANING[load.TIMED_OUT])
            more.append([
                ALL[key].name, *(_refusal(one[name]) for name in ("broken", "bomb", "large")),
                f"{stalled}; {f'{cut} times cut off' if cut else 'none cut off'}",
                f"{end['lost'] + end['in_the_race']} of {end['under_way']}",
                f"{end['status']} after {end['seconds']} s",
            ])  # fmt: skip
    rows += [[ALL[key].name, f"failed: {one['error']}", "", "", "", ""] for key, one in found.items() if "error" in one]
    head = ["", "pictures a second, 8 clients", "median ms, 1 client", "start to first answer", "memory MB",
            "environment MB"]  # fmt: skip
    behaviour = ["", "half a JPEG", "a PNG of 200 megapixels", "… of 170", "a second beside 8 slow senders",
                 "lost at SIGTERM", "exit status"]  # fmt: skip
    return f"{table(head, rows)}\n\n{table(behaviour, more)}"


def _refusal(found: dict[str, Any]) -> str:
    """A status, with seconds and memory where they are many."""
    said = str(found["status"] or "no answer")
    if found["seconds"] > 0.5:
        said += f", {found['seconds']:.1f} s"
    return said + (f", +{found['more_mb']} MB" if (found["more_mb"] or 0) > 50 else "")


def main() -> None:
    """Rounds over all peers; the table, and all that was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .tellapart file")
    parser.add_argument("folder", type=Path, metavar="PICTURES", help="a folder of pictures to ask about")
    parser.add_argument("--environments", type=Path, required=True, metavar="DIR")
    parser.add_argument("--peers", default=",".join(ALL), help=f"of {', '.join(ALL)} [default: all]")
    parser.add_argument("--requests", type=int, default=200, metavar="N", help="of eight clients [default: 200]")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="[default: 2]")
    parser.add_argument("--seconds", type=float, default=40.0, metavar="S", help="of slow senders [default: 15]")
    parser.add_argument("--no-behaviour", action="store_true", help="figures alone")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep logs there [default: nowhere]")
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args()
    names = options.peers.split(",")
    if unknown := set(names) - set(ALL):
        parser.error(f"There is no peer {', '.join(sorted(unknown))}. There are: {', '.join(ALL)}.")
    pictures = tuple(path.resolve() for path in load.files([options.folder]))
    if not pictures:
        parser.error(f"{options.folder} must have pictures in it; there are none.")
    with tempfile.TemporaryDirectory(prefix="tellapart-peers-") as temporary:
        work = (options.work or Path(temporary, "work")).resolve()
        work.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(options.model) as archive:
            manifest = json.loads(archive.read("manifest.json"))
            keras_file = work / "model.keras"
            keras_file.write_bytes(archive.read("model.keras"))
        setting = Setting(options.model.resolve(), pictures, work)
        classes, size_px = tuple(manifest["classes"]), manifest["preprocess"]["size_px"]
        bench = Bench(setting, keras_file, classes, size_px, options.environments.resolve(), work)
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        found: dict[str, dict[str, Any]] = {}
        for turn in range(options.rounds):
            for name in [each for each in names if each not in found]:
                try:
                    rounds[name].append(measured(bench, ALL[name], options.requests))
                except server.ServerError as error:
                    found[name] = {"error": str(error)}
                print(f"  {turn + 1} {name}: {found.get(name) or rounds[name][-1]}", file=sys.stderr, flush=True)
        for name in [each for each in names if each not in found]:
            one: dict[str, Any] = {"unclean": sum(each["unclean"] for each in rounds[name])}
            for key in ("cold_s", "one_ms", "per_s", "memory_mb"):
                one[key] = spread([each[key] or 0.0 for each in rounds[name]])
            one["environment_mb"] = slim.taken_mb(options.environments / ALL[name].environment)
            found[name] = one | {"rounds": rounds[name]}
            if not options.no_behaviour:
                found[name] |= behaved(bench, ALL[name], options.seconds)
                print(f"  {name}: {found[name]['end']}", file=sys.stderr, flush=True)
    print(peers_table(found))
    if options.json:
        said = {"when": datetime.datetime.now().isoformat(timespec="minutes"), "command": sys.argv[1:], "peers": found}
        temporary_name = options.json.with_name(f".{options.json.name}.tmp")
        temporary_name.write_text(json.dumps(said, indent=1) + "\n")
        temporary_name.replace(options.json)


if __name__ == "__main__":
    main()
