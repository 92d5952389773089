"""The figures of `tellapart serve`, each part with loads from processes of their own on the same machine.

    python benchmarks/service.py MODEL PICTURES [--parts throughput,latency,cold,drain] [--json OUT]
    python benchmarks/service.py MODEL PICTURES --parts soak --minutes 30
    python benchmarks/service.py MODEL PICTURES --parts slow,hostile,reload,fuzz

    throughput  pictures a second through HTTP over the engine's own (`Predictor.answers` over the same files), in turn
    latency     added by HTTP: the median at one client less that of decoding and answering in a process, in turn
    cold        seconds from the start of the process to 200 at /readyz
    drain       SIGTERM while requests are under way, again and again: what was lost, how it ended
    soak        minutes at a multiple of its capacity, open loop; memory; then SIGTERM under that load
    slow        slowhttptest (slow headers, slow body, slow read) beside other clients
    hostile     bombs and broken files beside good pictures, and in one request with them
    reload      the model file replaced again and again under load, now and then by half a file
    fuzz        schemathesis against the OpenAPI of the running service

PICTURES is a folder. Every part starts its own service. What is after `--` goes to `tellapart serve`. Nothing else
should run on the machine meanwhile: service and load share its cores.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import endurance
import load
import serving
from serving import Engine, Load, Setting, shown, spread, table
from tellapart import __version__

PREDICT = "/v1/predict"


def throughput(setting: Setting, options: argparse.Namespace) -> dict[str, Any]:
    """Rounds of: the engine, then each kind of load, over as many pictures."""
    pictures = setting.pictures[: options.pictures]
    ways = [tuple(int(n) for n in way.split("x")) for way in options.ways.split(",")]
    rounds: list[dict[str, Any]] = []
    with setting.start("throughput") as service, Engine(setting, pictures) as engine:
        different = _different(setting, service.url, engine.ask("labels")["labels"], pictures)
        url = service.url + PREDICT

        def through(concurrency: int, each: int, n: int) -> serving.Loaded:
            more = ("--concurrency", concurrency, "--per-request", each, "--requests", max(n // each, 1))
            return Load(setting, url, *more, pictures=pictures).finish()

        for way in ways:
            through(*way, n=len(pictures) // 2)  # warm
        for _ in range(options.rounds):
            own = engine.ask("answers")
            found: dict[str, Any] = {"engine": own["per_s"], "engine_running": own["per_s_running"]}
            for concurrency, each in ways:
                done = through(concurrency, each, len(pictures))
                found[f"{concurrency}x{each}"] = done.said | {"unclean": serving.unclean(done.events)}
            rounds.append(found)
            rates = ", ".join(f"{c}×{k} {found[f'{c}x{k}']['pictures_per_s']:.1f}/s" for c, k in ways)
            print(f"  engine {own['per_s']:.1f}/s, {rates}", file=sys.stderr)
    # What the engine does once it runs is the harder measure; it is missing where the pictures are few.
    own_rates = [each["engine_running"] or each["engine"] for each in rounds]
    said: dict[str, Any] = {
        "pictures": len(pictures),
        "different_answers": different,
        "engine_per_s": spread([each["engine"] for each in rounds]),
        "engine_running_per_s": spread(own_rates),
        "ways": {},
        "rounds": rounds,
    }
    for concurrency, each in ways:
        key = f"{concurrency}x{each}"
        rates = [found[key]["pictures_per_s"] for found in rounds]
        said["ways"][key] = {
            "per_s": spread(rates),
            "ratio": spread([rate / own for rate, own in zip(rates, own_rates, strict=True)]),
            "p50_ms": spread([found[key]["latency_ms"]["p50"] for found in rounds]),
            "p99_ms": spread([found[key]["latency_ms"]["p99"] for found in rounds]),
            "load_cpu_s": spread([found[key]["cpu_s"] for found in rounds]),
            "unclean": sum(found[key]["unclean"] for found in rounds),
        }
    return said


def _different(setting: Setting, url: str, labels: dict[str, list], pictures: Sequence[Path]) -> list[str]:
    """Pictures that are not answered through HTTP as in a process: another label, or a probability 1e-3 away."""
    import http.client
    from urllib.parse import urlsplit

    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    found = []
    for path in pictures:
        connection.request("POST", PREDICT, path.read_bytes(), {"Content-Type": "application/octet-stream"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        label, probability, unknown = labels[path.name]
        if response.status != 200:
            found.append(f"{path.name}: {response.status}")
            continue
        one = answer["predictions"][0]
        if (one["label"], one["unknown"]) != (label, unknown) or abs(one["probability"] - probability) > 1e-3:
            found.append(f"{path.name}: {one['label']} {one['probability']:.4f}, not {label} {probability:.4f}")
    return found


def throughput_table(said: dict[str, Any]) -> str:
    own = f"{shown(said['engine_running_per_s'])}; with its start {shown(said['engine_per_s'])}"
    rows: list[list[object]] = [["the engine's own", own, "1", "", ""]]
    for key, way in said["ways"].items():
        clients, each = key.split("x")
        name = f"HTTP, {clients} clients, {each} picture{'s' * (each != '1')} a request"
        cells = [shown(way["per_s"]), shown(way["ratio"], 2), shown(way["p50_ms"], 0), shown(way["p99_ms"], 0)]
        rows.append([name + (f" ({way['unclean']} failed!)" if way["unclean"] else ""), *cells])
    head = ["", "pictures a second", "of the engine's", "median ms", "p99 ms"]
    return (
        f"{table(head, rows)}\n\nAnswers unlike the engine's: {len(said['different_answers'])} of {said['pictures']}."
    )


def latency(setting: Setting, options: argparse.Namespace) -> dict[str, Any]:
    """Rounds of: each picture in the engine's process, then each by one client, raw and multipart."""
    pictures = setting.pictures[: min(options.pictures, 200)]
    rounds: list[dict[str, float]] = []
    with setting.start("latency") as service, Engine(setting, pictures) as engine:

        def through(kind: str) -> float:
            more = ("--requests", len(pictures), "--body", kind)
            return Load(setting, service.url + PREDICT, *more, pictures=pictures).finish().said["latency_ms"]["p50"]

        through("raw")
        for _ in range(options.rounds):
            own = load.quantiles(engine.ask("single")["seconds"])
            assert own is not None
            rounds.append({"engine": own["p50"], "raw": through("raw"), "multipart": through("multipart")})
            print("  " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in rounds[-1].items()), file=sys.stderr)
    said: dict[str, Any] = {"pictures": len(pictures), "rounds": rounds}
    said["median_ms"] = {name: spread([each[name] for each in rounds]) for name in rounds[0]}
    said["added_ms"] = {name: spread([each[name] - each["engine"] for each in rounds]) for name in ("raw", "multipart")}
    return said


def latency_table(said: dict[str, Any]) -> str:
    rows = [["decoded and answered in a process", shown(said["median_ms"]["engine"]), ""]]
    for name, words in (("raw", "HTTP, the bytes alone"), ("multipart", "HTTP, multipart")):
        rows.append([words, shown(said["median_ms"][name]), shown(said["added_ms"][name])])
    return table(["one picture, one client", "median ms", "added ms"], rows)


def cold(setting: Setting, options: argparse.Namespace) -> dict[str, Any]:
    """Fresh processes, one after the other; the first is left out, since it reads files from the disk."""
    seconds, memory = [], []
    for _ in range(options.starts + 1):
        with setting.start("cold") as service:
            seconds.append(service.cold_s)
            memory.append(service.memory_mb())
            ended = service.stop()
        if ended.status:
            raise serving.server.ServerError(f"after SIGTERM at rest it ended with status {ended.status}")
    print("  " + ", ".join(f"{s:.2f} s" for s in seconds), file=sys.stderr)
    return {"seconds": spread(seconds[1:]), "first_s": seconds[0], "memory_mb": spread(memory[1:])}


def cold_table(said: dict[str, Any]) -> str:
    row = [shown(said["seconds"], 2, " s"), f"{said['first_s']:.2f} s", shown(said["memory_mb"], 0, " MB")]
    return table(["start to ready", "the very first", "memory then"], [row])


PARTS: dict[str, tuple[Callable[[Setting, argparse.Namespace], dict[str, Any]], Callable[[dict[str, Any]], str]]] = {
    "throughput": (throughput, throughput_table),
    "latency": (latency, latency_table),
    "cold": (cold, cold_table),
    "drain": (endurance.drain, endurance.drain_table),
    "soak": (endurance.soak, endurance.soak_table),
    "slow": (endurance.slow, endurance.slow_table),
    "hostile": (endurance.hostile, endurance.hostile_table),
    "reload": (endurance.reload, endurance.reload_table),
    "fuzz": (endurance.fuzz, endurance.fuzz_table),
}


def main() -> None:
    """Run the parts that are asked for; print a table for each, and write all that was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL", help="a .tellapart file")
    parser.add_argument("folder", type=Path, metavar="PICTURES", help="a folder of pictures to ask about")
    parser.add_argument("--parts", default="throughput,latency,cold,drain", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--pictures", type=int, default=400, metavar="N", help="of a round [default: 400]")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of throughput and latency [default: 5]")
    parser.add_argument("--ways", default="8x1,32x1,4x8", help="clients × pictures a request [default: 8x1,32x1,4x8]")
    parser.add_argument("--starts", type=int, default=7, metavar="N", help="cold starts [default: 7]")
    parser.add_argument("--drains", type=int, default=10, metavar="N", help="SIGTERMs under load [default: 10]")
    parser.add_argument("--minutes", type=float, default=30.0, metavar="N", help="of the soak [default: 30]")
    parser.add_argument("--factor", type=float, default=2.0, metavar="F", help="of its capacity [default: 2]")
    parser.add_argument("--deadline", type=float, default=10.0, metavar="S", help="of a request [default: 10]")
    parser.add_argument(
        "--seconds", type=float, default=40.0, metavar="S", help="of slow, hostile, reload [default: 40]"
    )
    parser.add_argument("--slow-clients", type=int, default=200, metavar="N", help="[default: 200]")
    parser.add_argument("--cases", type=int, default=100, metavar="N", help="of an operation, for fuzz [default: 100]")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep logs there [default: nowhere]")
    parser.add_argument("--json", type=Path, metavar="OUT")
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[1:end])
    asked = options.parts.split(",")
    if unknown := set(asked) - set(PARTS):
        parser.error(f"There is no part {', '.join(sorted(unknown))}. There are: {', '.join(PARTS)}.")
    pictures = load.files([options.folder])
    if not pictures:
        parser.error(f"{options.folder} must have pictures in it; there are none.")
    said: dict[str, Any] = {
        "when": datetime.datetime.now().isoformat(timespec="minutes"),
        "command": sys.argv[1:],
        "tellapart": __version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before",
    }
    with tempfile.TemporaryDirectory(prefix="tellapart-service-") as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        serve_options = ("--deadline", f"{options.deadline:g}s", *sys.argv[end + 1 :])
        setting = Setting(options.model.resolve(), tuple(each.resolve() for each in pictures), work, serve_options)
        for part in asked:
            run, shows = PARTS[part]
            print(f"{part} …", file=sys.stderr)
            said[part] = run(setting, options)
            print(f"\n### {part}\n\n{shows(said[part])}", flush=True)
            if options.json:  # after each part: a later one may fail
                temporary_name = options.json.with_name(f".{options.json.name}.tmp")
                temporary_name.write_text(json.dumps(said, indent=1) + "\n")
                temporary_name.replace(options.json)


if __name__ == "__main__":
    main()
