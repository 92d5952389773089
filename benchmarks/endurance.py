"""The parts of `service.py` that try to break a service: load over its capacity, ends, slow and hostile clients."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import hostile as files
import load
import serving
from server import Ended, Server, ServerError, samples
from serving import ENDED, SENT, STATUS, Load, Memory, Setting, counts, latency, lost, shown, spread, table, unclean
from tellapart import bundle

PREDICT = "/v1/predict"
LOOK_S = 5.0  # between two looks at the memory
SLOW = {  # of slowhttptest, and what of the service each is about
    "headers": ("-H", "-t", "POST"),
    "body": ("-B", "-t", "POST", "-s", "200000", "-f", "image/jpeg"),
    "read": ("-X", "-t", "GET", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "10"),
}
MOST_S = {"headers": 20.0, "body": 45.0, "read": 50.0}  # by when the default limits have cut such a client off


def capacity(setting: Setting, service: Server, seconds: float) -> float:
    """Pictures a second when 32 clients ask without a pause."""
    done = Load(setting, service.url + PREDICT, "--concurrency", 32, "--seconds", seconds).finish()
    if not done.said["pictures_per_s"]:
        raise ServerError(f"nothing was answered: {counts(done.events)}")
    return done.said["pictures_per_s"]


def drain(setting: Setting, options: argparse.Namespace) -> dict[str, Any]:
    """SIGTERM at drawn times while 16 clients ask; each time a fresh service."""
    draw, rounds = np.random.default_rng(0), []
    for _ in range(options.drains):
        with setting.start("drain") as service:
            asking = Load(setting, service.url + PREDICT, "--concurrency", 16, "--seconds", 120, "--timeout", 30)
            try:
                time.sleep(2 + 2 * draw.random())
                signalled = time.monotonic()
                ended = service.stop()
                time.sleep(0.3)
            finally:
                done = asking.finish(stop=True)
        rounds.append(_ended(done.events, signalled, ended))
        print(f"  {rounds[-1]}", file=sys.stderr)
    return {"rounds": rounds}


def _ended(events: np.ndarray, signalled: float, ended: Ended) -> dict[str, Any]:
    return {"status": ended.status, "seconds": round(ended.seconds, 2), **lost(events, signalled)}


def drain_table(said: dict[str, Any]) -> str:
    rounds = said["rounds"]
    total = {key: sum(each[key] for each in rounds) for key in rounds[0] if key not in ("status", "seconds")}
    statuses = ", ".join(str(status) for status in sorted({each["status"] for each in rounds}))
    seconds = spread([each["seconds"] for each in rounds])
    head = [
        "SIGTERM under load",
        "under way",
        "answered",
        "refused",
        "lost",
        "in the race",
        "torn",
        "exit status",
        "to exit",
    ]
    cells = [total[key] for key in ("under_way", "answered", "refused", "lost", "in_the_race", "torn")]
    return table(head, [[f"{len(rounds)} times", *cells, statuses, shown(seconds, 2, " s")]])


def soak(setting: Setting, options: argparse.Namespace) -> dict[str, Any]:
    """Minutes at a multiple of the capacity, requests coming as they like; then SIGTERM while they go on coming."""
    seconds = 60 * options.minutes
    with setting.start("soak") as service:
        capacity(setting, service, 5)  # warm
        per_s = capacity(setting, service, min(20.0, max(5.0, seconds / 20)))
        before = _metrics(service)
        memory = Memory(service.process.pid, LOOK_S)
        memory.start()
        rate = options.factor * per_s
        print(f"  {per_s:.1f}/s, so {rate:.1f}/s for {options.minutes:g} minutes", file=sys.stderr)
        limit = ("--timeout", options.deadline + 20)
        asking = Load(setting, service.url + PREDICT, "--rate", rate, "--seconds", seconds + 300, *limit)
        try:
            begun = time.monotonic()
            while time.monotonic() < begun + seconds and service.process.poll() is None:
                time.sleep(0.5)
            if service.process.poll() is not None:
                raise ServerError(f"it ended with status {service.process.returncode}; see {service.log}")
            counted = _metrics(service)
            looks = memory.stop()
            signalled = time.monotonic()
            ended = service.stop()
            time.sleep(1.0)
        finally:
            done = asking.finish(stop=True)
    events = done.events[done.events[:, SENT] < signalled]
    good = events[events[:, STATUS] == 200]
    late = int((good[:, ENDED] - good[:, SENT] > options.deadline).sum())
    warm_s = min(120.0, seconds / 5)
    return {
        "minutes": options.minutes,
        "capacity_per_s": per_s,
        "rate_per_s": round(rate, 2),
        "deadline_s": options.deadline,
        "requests": len(events),
        "answered_per_s": round(len(good) / seconds, 2),
        "statuses": counts(events[events[:, ENDED] < signalled]),
        "unclean": unclean(events[events[:, ENDED] < signalled]),
        "503_without_retry_after": done.said["503_without_retry_after"],
        "accepted_ms": latency(events),
        "refused_ms": latency(events, 503),
        "over_deadline": late,
        "warm_s": warm_s,
        "memory": serving.drift([(t, mb) for t, mb, _ in looks], warm_s),
        "open_files": {"first": looks[0][2], "last": looks[-1][2]},
        "memory_samples": [(round(t - begun, 1), round(mb, 1), n) for t, mb, n in looks],
        "metrics": {"before": before, "after": counted},
        "errors_in_log": _errors(service.log),
        "end": _ended(done.events, signalled, ended),
    }


def _metrics(service: Server) -> dict[str, dict[str, float]]:
    """Some of what the service counts itself."""
    text = service.ask("GET", "/metrics")[1].decode()
    names = ("tellapart_requests_total", "tellapart_pictures_total", "tellapart_decoders_replaced_total")
    return {name: samples(text, name) for name in names}


def _errors(log: Path) -> int:
    """Errors that nobody foresaw, in a log: lines that say so, and tracebacks beside them."""
    lines = log.read_text(errors="replace").splitlines()
    return sum('"event": "error"' in line or line.startswith("Traceback (most recent call last)") for line in lines)


def soak_table(said: dict[str, Any]) -> str:
    memory, end = said["memory"], said["end"]
    moved = (
        "too short to say"
        if memory is None
        else f"{memory['before_mb']:.0f} to {memory['after_mb']:.0f} MB ({100 * memory['share']:+.1f} %), most "
        f"{memory['most_mb']:.0f} MB, {memory['slope_mb_per_hour']:+.0f} MB an hour"
    )
    rows = [
        ["capacity, then offered", f"{said['capacity_per_s']:.0f}, {said['rate_per_s']:.0f} a second"],
        ["requests", f"{said['requests']:,}"],
        ["by status", ", ".join(f"{status}: {n:,}" for status, n in said["statuses"].items())],
        ["without a whole answer, or 5xx but 503", said["unclean"]],
        ["503 without Retry-After", said["503_without_retry_after"]],
        ["answered a second", f"{said['answered_per_s']:.1f}"],
        ["accepted: p50, p99, most", _ms(said["accepted_ms"])],
        ["accepted and over the deadline", f"{said['over_deadline']} (of {said['deadline_s']:g} s)"],
        ["refused: p50, p99, most", _ms(said["refused_ms"])],
        [f"memory after {said['warm_s']:.0f} s", moved],
        ["open files", f"{said['open_files']['first']} to {said['open_files']['last']}"],
        ["errors in the log", said["errors_in_log"]],
        ["SIGTERM under this load", f"status {end['status']} after {end['seconds']} s; of {end['under_way']} under way "
         f"{end['answered']} answered, {end['refused']} refused, {end['lost']} lost, {end['in_the_race']} in the race"],
    ]  # fmt: skip
    return table([f"{said['minutes']:g} minutes", ""], rows)


def _ms(found: dict[str, float] | None) -> str:
    return "none" if found is None else f"{found['p50']:,.0f}, {found['p99']:,.0f}, {found['max']:,.0f} ms"


def slow(setting: Setting, options: argparse.Namespace) -> dict[str, Any]:
    """Ten requests a second before and during each attack of slowhttptest, and during one of our own."""
    if shutil.which("slowhttptest") is None:
        sys.exit("slowhttptest must be installed for this part: apt-get install -y slowhttptest")
    said: dict[str, Any] = {}
    for kind in ("before", *SLOW, "trickle"):
        with setting.start(f"slow-{kind}") as service:
            asking = Load(setting, service.url + PREDICT, "--rate", 10, "--seconds", 600, "--timeout", 30)
            time.sleep(3)
            memory = Memory(service.process.pid, 0.5)
            memory.start()
            begun = time.monotonic()
            try:
                if kind == "before":
                    time.sleep(options.seconds / 2)
                    found: dict[str, Any] = {}
                elif kind == "trickle":
                    found = _trickled(setting, service, options)
                else:
                    found = _attacked(setting, service, kind, options.slow_clients)
            finally:
                looks = memory.stop()
                done = asking.finish(stop=True)
            events = done.between(begun, np.inf)
            said[kind] = {
                "others_ms": latency(events),
                "others": counts(events),
                "most_open_files": max(n for _, _, n in looks),
                "held_s": held_s([(t, n) for t, _, n in looks], looks[0][2] + options.slow_clients // 2),
                "most_mb": round(max(mb for _, mb, _ in looks), 1),
                **found,
            }
            print(f"  {kind}: {said[kind]}", file=sys.stderr)
    return said


def _attacked(setting: Setting, service: Server, kind: str, clients: int) -> dict[str, Any]:
    """One run of slowhttptest, which ends when all its connections are closed or its time is over."""
    path = "/openapi.json" if kind == "read" else PREDICT
    test_s = int(MOST_S[kind] + clients / 100 + 10)
    command = ["slowhttptest", "-c", str(clients), "-r", "100", "-i", "5", "-l", str(test_s), "-p", "5", "-v", "1"]
    prefix = setting.work / f"slowhttptest-{kind}"
    command += ["-g", "-o", str(prefix), *SLOW[kind], "-u", service.url + path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=test_s + 60)
    return attack(done.stdout, prefix.with_suffix(".csv").read_text())


def attack(said: str, csv: str) -> dict[str, Any]:
    """What slowhttptest says, and its table: Seconds, Closed, Pending, Connected, Service Available (0: not).

    It ends before its time where no connection is left; its table may lack that moment.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
    how, second = re.search(r"Exit status:\s*(.+)", plain), re.search(r"Test ended on (\d+)", plain)
    rows = [[int(cell) for cell in line.split(",")] for line in csv.splitlines()[1:] if line.strip()]
    if how is None or second is None or not rows:
        raise ServerError(f"slowhttptest did not run: {plain[-400:]}")
    all_closed = how[1].strip() == "No open connections left"
    return {
        "all_closed": all_closed,
        "seconds": int(second[1]),
        "most_connected": max(row[3] for row in rows),
        "still_connected": 0 if all_closed else rows[-1][2] + rows[-1][3],
        "seconds_unavailable": sum(not row[4] for row in rows),
    }


def held_s(samples: Sequence[tuple[float, int]], over: int) -> float:
    """For how many seconds in all more than `over` files were open; samples are (seconds, open files)."""
    pairs = itertools.pairwise(samples)
    return round(sum(after - before for (before, n), (after, _) in pairs if n > over), 1)


def _trickled(setting: Setting, service: Server, options: argparse.Namespace) -> dict[str, Any]:
    """Clients that send a byte a second, each again once it is cut off."""
    more = ("--trickle", options.slow_clients, "--seconds", options.seconds + MOST_S["body"])
    done = Load(setting, service.url + PREDICT, *more).finish()
    cut = done.events[done.events[:, STATUS] != load.TIMED_OUT]
    seconds = (cut[:, ENDED] - cut[:, SENT]).tolist()
    return {"ends": counts(done.events), "cut_after_s": spread(seconds) if seconds else None}


def slow_table(said: dict[str, Any]) -> str:
    rows = []
    for kind, found in said.items():
        if kind == "before":
            what = ""
        elif kind == "trickle":
            after = found["cut_after_s"]
            what = f"each cut off after {shown(after, 0, ' s')}, then again" if after else "none was cut off"
        else:
            ends = "all closed" if found["all_closed"] else f"{found['still_connected']} not closed for the client"
            what = f"{found['most_connected']} at once; {ends} after {found['seconds']} s"
            what += f", unavailable for {found['seconds_unavailable']} s" if found["seconds_unavailable"] else ""
        others = ", ".join(f"{status}: {n:,}" for status, n in found["others"].items())
        held = f"{found['held_s']:.0f} s, {found['most_mb']:.0f} MB" if kind != "before" else ""
        rows.append([kind, what, held, _ms(found["others_ms"]), others])
    head = ["slow clients", "what became of them", "held by the service for", "the others: p50, p99, most", "by status"]
    return table(head, rows)


def hostile(setting: Setting, options: argparse.Namespace) -> dict[str, Any]:
    """Two clients with good pictures, alone and then beside two that send bombs and broken files."""
    with tempfile.TemporaryDirectory(prefix="tellapart-hostile-") as folder:
        bombs, broken = files.write(Path(folder))
        with setting.start("hostile") as service:
            memory = Memory(service.process.pid, 0.2)
            asking = Load(setting, service.url + PREDICT, "--concurrency", 2, "--seconds", 900)
            try:
                time.sleep(3)
                begun = time.monotonic()
                time.sleep(options.seconds / 2)
                attacked = time.monotonic()
                memory.start()
                url, more = service.url + PREDICT, ("--seconds", options.seconds, "--timeout", 60)
                alone = Load(setting, url, "--concurrency", 2, *more, "--answers", pictures=[*bombs, *broken])
                beside = [path for bad in (*bombs, *broken) for path in (setting.pictures[0], bad)]
                mixed = Load(setting, url, "--per-request", 2, *more, "--answers", pictures=beside)
                singles, pairs = alone.finish(), mixed.finish()
                ended = time.monotonic()
                looks = memory.stop()
                single = {path.name: _single(service, path) for path in (*bombs, *broken)}
                replaced = _metrics(service)["tellapart_decoders_replaced_total"]
            finally:
                done = asking.finish(stop=True)
            lives = service.answers("GET", "/livez")
            last = service.stop()
    return {
        "before_ms": latency(done.between(begun, attacked)),
        "during_ms": latency(done.between(attacked, ended)),
        "good": counts(done.between(attacked, ended)),
        "hostile": counts(singles.events),
        "hostile_ms": load.quantiles((singles.events[:, ENDED] - singles.events[:, SENT]).tolist()),
        "mixed": counts(pairs.events),
        "unclean": unclean(done.events) + unclean(singles.events) + unclean(pairs.events),
        "most_mb": round(max(mb for _, mb, _ in looks), 1),
        "first_mb": round(looks[0][1], 1),
        "decoders_replaced": replaced,
        "by_file": single,
        "lives": lives,
        "status": last.status,
        "errors_in_log": _errors(setting.work / "hostile.log"),
    }


def _single(service: Server, path: Path) -> str:
    """What one bad file is answered with when it comes by itself."""
    start = time.perf_counter()
    status, body = service.ask("POST", PREDICT, path.read_bytes(), {"Content-Type": "application/octet-stream"})
    seconds = time.perf_counter() - start
    try:
        said = json.loads(body)
        words = said["error"]["message"] if "error" in said else said["predictions"][0]["label"] or "unknown"
    except (ValueError, KeyError, IndexError, TypeError):
        words = f"not as agreed: {body[:200]!r}"
    return f"{status} after {seconds:.2f} s: {words}"


def hostile_table(said: dict[str, Any]) -> str:
    def by(found: dict[str, int]) -> str:
        return ", ".join(f"{status}: {n:,}" for status, n in found.items())

    rows = [
        ["others before: p50, p99, most", _ms(said["before_ms"])],
        ["others during", f"{_ms(said['during_ms'])}; {by(said['good'])}"],
        ["hostile alone", f"{by(said['hostile'])}; {_ms(said['hostile_ms'])}"],
        ["with a good picture", by(said["mixed"])],
        ["without a whole answer, or 5xx but 503", said["unclean"]],
        ["memory: at first, most", f"{said['first_mb']:.0f}, {said['most_mb']:.0f} MB"],
        ["decoders replaced", ", ".join(f"{why} {n:.0f}" for why, n in said["decoders_replaced"].items()) or "none"],
        ["lives; exit status; errors in the log", f"{said['lives']}; {said['status']}; {said['errors_in_log']}"],
    ]
    files_table = table(["file", "by itself"], said["by_file"].items())
    return f"{table(['bombs and broken files', ''], rows)}\n\n{files_table}"


def reload(setting: Setting, options: argparse.Namespace) -> dict[str, Any]:
    """Two bundles alike but for their hash, renamed to the served name in turn; every fourth time half a file."""
    with tempfile.TemporaryDirectory(prefix="tellapart-reload-") as folder:
        served, twins = Path(folder, "served.tellapart"), [Path(folder, f"{i}.tellapart") for i in range(2)]
        one = bundle.read(setting.model)
        for i, path in enumerate(twins):
            provenance = {**one.manifest["provenance"], "twin": i}
            bundle.write(dataclasses.replace(one, manifest={**one.manifest, "provenance": provenance}), path)
        shutil.copy(twins[0], served)
        with setting.start("reload", model=served) as service:
            memory = Memory(service.process.pid, 1.0)
            asking = Load(setting, service.url + PREDICT, "--concurrency", 8, "--seconds", 900)
            took, torn, unready = [], 0, 0
            try:
                time.sleep(3)
                memory.start()
                begun, turn = time.monotonic(), 0
                while time.monotonic() < begun + options.seconds:
                    turn += 1
                    before = _hash(service)
                    if turn % 4 == 0:  # half a file, as by a copy that goes on
                        served.write_bytes(twins[0].read_bytes()[:100_000])
                        time.sleep(3)
                        torn += _hash(service) != before
                    else:
                        other = twins[(len(took) + 1) % 2]
                        shutil.copy(other, Path(folder, "new"))
                        os.replace(Path(folder, "new"), served)
                        took.append(_changed(service, before, 15.0))
                    unready += not service.answers("GET", "/readyz")
                    time.sleep(1)
                looks = memory.stop()
            finally:
                done = asking.finish(stop=True)
            ended = service.stop()
    events = done.between(begun, np.inf)
    changed = [seconds for seconds in took if seconds is not None]
    return {
        "replaced": len(took),
        "never_seen": len(took) - len(changed),
        "seen_after_s": spread(changed) if changed else None,
        "half_files_taken": torn,
        "unready": unready,
        "statuses": counts(events),
        "unclean": unclean(events),
        "during_ms": latency(events),
        "memory_mb": [round(mb, 1) for _, mb, _ in looks],
        "status": ended.status,
    }


def _hash(service: Server) -> str:
    """The hash of the file that is served, by the metrics."""
    found = samples(service.ask("GET", "/metrics")[1].decode(), "tellapart_model_info")
    match = re.search(r'sha256="([0-9a-f]+)"', next(iter(found)))
    if match is None:
        raise ServerError(f"the metrics must name the model's hash; they say {found}")
    return match[1]


def _changed(service: Server, before: str, limit_s: float) -> float | None:
    """Seconds until another file is served; None where that did not come."""
    start = time.monotonic()
    while time.monotonic() < start + limit_s:
        if _hash(service) != before:
            return time.monotonic() - start
        time.sleep(0.05)
    return None


def reload_table(said: dict[str, Any]) -> str:
    seen = said["seen_after_s"]
    memory = said["memory_mb"]
    rows = [
        ["replaced; served after", f"{said['replaced']} times; {shown(seen, 1, ' s') if seen else 'never'}"],
        ["never served", said["never_seen"]],
        ["half files taken for a model", said["half_files_taken"]],
        ["looks at which it was not ready", said["unready"]],
        ["requests by status", ", ".join(f"{status}: {n:,}" for status, n in said["statuses"].items())],
        ["without a whole answer, or 5xx but 503", said["unclean"]],
        ["p50, p99, most", _ms(said["during_ms"])],
        ["memory: at first, at last, most", f"{memory[0]:.0f}, {memory[-1]:.0f}, {max(memory):.0f} MB"],
    ]
    return table(["the model replaced under load", ""], rows)


def fuzz(setting: Setting, options: argparse.Namespace) -> dict[str, Any]:
    """The program `schemathesis` against the service's own description of itself."""
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        sys.exit("schemathesis must be installed for this part: pip install schemathesis")
    with setting.start("fuzz") as service:
        report = setting.work / "schemathesis.json"
        # What no description can say, that bytes are a picture, the tests' settings let pass.
        settings = Path(__file__).resolve().parent.parent / "tests" / "schemathesis.toml"
        options_of_it = ["--max-examples", str(options.cases), "--seed", "1", "--continue-on-failure"]
        report_as = ["--report", "json", "--report-json-path", report]
        command = [program, "--config-file", settings, "run", f"{service.url}/openapi.json", *options_of_it, *report_as]
        begun = time.monotonic()
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, cwd=setting.work, check=False
        )
        log = setting.work / "schemathesis.log"
        log.write_text(done.stdout + done.stderr)
        lives = service.answers("GET", "/livez")
    return {
        "status": done.returncode,
        "seconds": round(time.monotonic() - begun, 1),
        "lives": lives,
        "summary": done.stdout[done.stdout.rfind("SUMMARY") :][:4000],
        "report": json.loads(report.read_text()) if report.exists() else None,
        "errors_in_log": _errors(setting.work / "fuzz.log"),
    }


def fuzz_table(said: dict[str, Any]) -> str:
    rows = [["exit status", said["status"]], ["seconds", said["seconds"]], ["lives after it", said["lives"]]]
    rows.append(["errors in the log", said["errors_in_log"]])
    return f"{table(['schemathesis', ''], rows)}\n\n```\n{said['summary'].strip()}\n```"
