"""Pictures elsewhere against pictures here: how long reading a catalog takes, and what overlapping requests is worth.

    python benchmarks/places.py PHOTOS [--pictures 2000] [--latency-ms 20] [--before SRC]

A server on this machine answers as S3 does, each request after a wait. Measured are `catalog.scan` of the same pictures
from this disk, from the server with all requests at once and one at a time, from the spool (the second run), from one
tar and one zip file, and the square that every picture is made for the network. With --before the sources of another
version are measured on local pictures in turn with these: PHOTOS must be as quick as it was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).parent.parent
PIECE = """
import json, sys, time, os
from tellapart import catalog
begin, cpu = time.perf_counter(), time.process_time()
found = catalog.scan(sys.argv[1])
wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
made_s = None
if len(sys.argv) > 2:
    from pathlib import Path
    from tellapart import store
    from tellapart.preprocess import Preprocess
    begin = time.perf_counter()
    kept = store.build([(e.path, e.content) for e in found.entries], Preprocess(160), Path(sys.argv[2]))
    made_s = time.perf_counter() - begin
import resource
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"n": len(found.entries), "wall_s": wall, "cpu_s": cpu, "made_s": made_s, "peak_mb": peak_mb,
                  "fingerprint": found.fingerprint}))
"""


@contextmanager
def bucket(folder: Path, latency_s: float) -> Iterator[tuple[str, Counter[str]]]:
    """A server of a folder that lists, tells of and gives objects as S3 does, after a wait; and what it was asked."""
    from aiohttp import web

    files = sorted((str(p.relative_to(folder)), p) for p in folder.rglob("*") if p.is_file())
    asked: Counter[str] = Counter()

    def listing(prefix: str, after: str) -> str:
        names: dict[str, tuple[str, int]] = {}
        for key, path in files:
            if key.startswith(prefix):
                name, slash, _ = key[len(prefix) :].partition("/")
                names.setdefault(prefix + name + slash, (str(path), path.stat().st_size))
        page = [key for key in sorted(names) if key > after][:1001]
        more, page = len(page) > 1000, page[:1000]
        parts = [f"<IsTruncated>{str(more).lower()}</IsTruncated><KeyCount>{len(page)}</KeyCount>"]
        if more:
            parts.append(f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>")
        for key in page:
            if key.endswith("/"):
                parts.append(f"<CommonPrefixes><Prefix>{escape(key)}</Prefix></CommonPrefixes>")
            else:
                parts.append(
                    f"<Contents><Key>{escape(key)}</Key><Size>{names[key][1]}</Size><ETag>&quot;{hash(key)}&quot;</ETag>"
                    "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                )
        return f'<?xml version="1.0"?><ListBucketResult>{"".join(parts)}</ListBucketResult>'

    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(latency_s)
        key = request.path.removeprefix("/bucket").lstrip("/")
        if "list-type" in request.query:
            asked["list"] += 1
            text = listing(request.query.get("prefix", ""), request.query.get("continuation-token", ""))
            return web.Response(text=text, content_type="application/xml")
        asked[request.method] += 1
        path = folder / key
        if not key:
            return web.Response()  # the bucket is there
        if not path.is_file():
            return web.Response(status=404)
        return web.Response(body=path.read_bytes(), headers={"ETag": f'"{hash(key)}"'})

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", answer)
    loop, ready, port = asyncio.new_event_loop(), threading.Event(), [0]

    def serve() -> None:
        asyncio.set_event_loop(loop)
        runner = web.AppRunner(application)
        loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        loop.run_until_complete(site.start())
        port[0] = site._server.sockets[0].getsockname()[1]
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    ready.wait()
    yield f"http://127.0.0.1:{port[0]}", asked
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def measured(
    photos: str, cache: Path, *, source: Path | None = None, setting: str = "", make: bool = False, **more: str
) -> dict[str, Any]:
    """One scan in a process of its own."""
    environment = os.environ | {"TELLAPART_CACHE": str(cache), **more}
    environment["PYTHONPATH"] = os.pathsep.join([str(source or ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", setting + PIECE, photos, *([str(cache / "store")] if make else [])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--before", type=Path, help="a folder src of another version")
    parser.add_argument("--turns", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="places-") as name:
        folder = Path(name)
        if asked.before is not None:
            times: dict[str, list[float]] = {"before": [], "now": []}
            measured(str(asked.photos), folder / "warm")
            for _ in range(asked.turns):
                times["before"].append(measured(str(asked.photos), folder / "c", source=asked.before)["cpu_s"])
                times["now"].append(measured(str(asked.photos), folder / "c")["cpu_s"])
            before, now = (statistics.median(times[each]) for each in ("before", "now"))
            ratios = sorted(n / b for b, n in zip(times["before"], times["now"], strict=True))
            print(f"local, CPU s: before {before:.2f}, now {now:.2f}; ratio in turns {ratios}")
        photos = folder / "photos"
        every = sorted(p for p in asked.photos.rglob("*") if p.suffix.lower() in (".jpg", ".png"))
        for path in every[:: max(1, len(every) // asked.pictures)][: asked.pictures]:
            place = photos / path.relative_to(asked.photos)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, place) if path.stat().st_dev == folder.stat().st_dev else shutil.copy(path, place)
        with tarfile.open(folder / "photos.tar", "w") as tar, zipfile.ZipFile(folder / "photos.zip", "w", 8) as packed:
            for path in sorted(photos.rglob("*.*")):
                tar.add(path, path.relative_to(photos).as_posix())
                packed.write(path, path.relative_to(photos).as_posix())
        one = "from tellapart import remote; remote.CONNECTIONS = 1\n"
        with bucket(photos, asked.latency_ms / 1000) as (address, requests):
            keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": address}
            measured(str(photos), folder / "warm")
            for label, place, cache, setting, make in (
                ("this disk", str(photos), "a", "", True),
                ("s3, 32 at once", "s3://bucket", "b", "", True),
                ("s3, again, from the spool", "s3://bucket", "b", "", False),
                ("s3, one at a time", "s3://bucket", "d", one, False),
                ("tar", str(folder / "photos.tar"), "e", "", True),
                ("zip, deflated", str(folder / "photos.zip"), "f", "", True),
            ):
                requests.clear()
                got = measured(place, folder / cache, setting=setting, make=make, **keys)
                rate = got["n"] / got["wall_s"]
                made = f", made {got['n'] / got['made_s']:,.0f}/s" if got["made_s"] else ""
                print(
                    f"{label}: {got['n']} pictures in {got['wall_s']:.2f} s = {rate:,.0f}/s{made}, "
                    f"CPU {got['cpu_s']:.2f} s, peak {got['peak_mb']:.0f} MB, requests {dict(requests)}, "
                    f"{got['fingerprint'][:8]}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
