"""The load for services, against a server whose answers are known; and what is said of its events."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "peers")]

import endurance
import hostile
import load
import measure
import server
import serving
from tellapart import pictures
from tellapart.errors import PictureError

Handler = Callable[[bytes, asyncio.StreamWriter], None]


def asked(handler: Handler, *, requests: int | None = None, seconds: float | None = None, **more) -> load.Load:
    """A load against a server that reads each request whole and hands its body to `handler`."""

    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while True:
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
            except (asyncio.IncompleteReadError, ConnectionResetError):
                writer.close()
                return
            handler(body, writer)
            if writer.is_closing():
                return

    async def both() -> load.Load:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/v1/predict"
        bodies = [load.request(url, content, "image/jpeg") for content in (b"one", b"two", b"three")]
        plain = {"timeout": 5.0, "concurrency": 1, "rate": None, "trickle": None, "seed": 0}
        options = SimpleNamespace(url=url, requests=requests, seconds=seconds, **{**plain, **more})
        done = await load.run(options, bodies)  # pyright: ignore[reportArgumentType]
        listening.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0)
        return done

    return asyncio.run(both())


def rows(done: load.Load) -> np.ndarray:
    return np.array(done.events).reshape(-1, 4)


def ok(body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def test_each_request_is_answered_once_and_in_turn() -> None:
    seen: list[bytes] = []

    def keep(body: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(body)
        ok(body, writer)

    done = asked(keep, requests=7, concurrency=1)
    assert seen == [b"one", b"two", b"three"] * 2 + [b"one"]
    events = rows(done)
    assert events[:, serving.STATUS].tolist() == [200] * 7
    assert events[:, serving.BODY].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert (events[:, serving.ENDED] > events[:, serving.SENT]).all()
    assert load.summary(done.events, per_request=3)["statuses"] == {"200": 7}


def test_every_way_to_fail_has_its_name() -> None:
    """Refused with and without a time, closed before and within an answer, no HTTP, chunks, the end as the end."""
    answers = iter([
        b"HTTP/1.1 503 Busy\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nto the end",
    ])  # fmt: skip

    def next_one(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(next(answers))
        writer.close()

    done = asked(next_one, requests=7)
    found = rows(done)[:, serving.STATUS].astype(int).tolist()
    assert found == [503, 503, load.CLOSED, load.CUT, load.MALFORMED, 200, 200]
    assert done.without_retry_after == 1
    assert serving.unclean(rows(done)) == 3
    assert serving.counts(rows(done))["connection closed within an answer"] == 1
    assert load.unchunked(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n") == b"abcde"


def test_an_open_load_does_not_wait() -> None:
    """Nothing is answered, and yet requests go on coming at their rate: 100 a second for 0.4 s."""
    done = asked(lambda body, writer: None, seconds=0.4, rate=100.0, timeout=0.2)
    events = rows(done)
    assert 20 <= len(events) <= 60
    assert set(events[:, serving.STATUS].tolist()) == {load.TIMED_OUT}
    assert events[:, serving.SENT].max() - events[:, serving.SENT].min() > 0.3


def test_nobody_there_is_refused() -> None:
    url = f"http://127.0.0.1:{server.free_port()}/"
    options = SimpleNamespace(
        url=url, requests=1, seconds=None, timeout=1.0, concurrency=1, rate=None, trickle=None, seed=0
    )
    done = asyncio.run(load.run(options, [load.request(url, b"x", "image/png")]))  # pyright: ignore
    assert rows(done)[:, serving.STATUS].tolist() == [load.REFUSED]


def test_bodies_are_read_by_others() -> None:
    """Multipart by the standard library's own parser; JSON with base64."""
    from email.parser import BytesParser

    some = [("a.jpg", b"\xff\xd8\r\n--x"), ("b.png", b"\x89PNG")]
    content, kind = load.body("multipart", some)
    message = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + content)
    parts = [(part.get_filename(), part.get_payload(decode=True)) for part in message.get_payload()]  # pyright: ignore
    assert parts == some
    assert json.loads(load.body("json", some)[0])["files"][1] == {"name": "b.png", "data": "iVBORw=="}
    assert load.body("raw", some[:1]) == (some[0][1], "application/octet-stream")


def test_what_was_under_way_at_the_signal() -> None:
    """Signal at 10: sent, ended, status, body."""
    events = np.array([
        [8.0, 9.0, 200, 0],  # before
        [9.0, 10.5, 200, 0],
        [9.1, 10.1, 503, 0],
        [9.2, 10.2, load.CUT, 0],  # lost
        [9.99, 10.1, load.CLOSED, 0],  # hardly sent
        [10.1, 10.2, load.REFUSED, 0],
        [10.1, 10.2, load.CUT, 0],  # torn
    ])  # fmt: skip
    assert serving.lost(events, 10.0) == {
        "under_way": 4,
        "answered": 1,
        "refused": 1,
        "lost": 1,
        "in_the_race": 1,
        "torn": 1,
    }


def test_drift_is_of_what_comes_after_the_warm_up() -> None:
    """A MB a minute on 100 MB, 40 minutes: the fifths' medians are 32 minutes apart, the slope 60 MB an hour."""
    rising = [(60.0 * i, 500.0 if i < 2 else 100.0 + i) for i in range(43)]
    found = serving.drift(rising, warm_s=120.0)
    assert found is not None
    assert (found["before_mb"], found["after_mb"]) == (105.5, 138.5)
    assert found["share"] == round(138.5 / 105.5 - 1, 4)
    assert found["slope_mb_per_hour"] == 60.0
    assert serving.drift(rising[:4], 0.0) is None


def test_quantiles_are_values_that_occurred() -> None:
    assert load.quantiles([i / 1000 for i in range(1, 101)]) == {"p50": 51.0, "p90": 91.0, "p99": 100.0, "max": 100.0}
    assert load.quantiles([]) is None


def test_an_attack_is_read_from_what_the_tool_says() -> None:
    csv = "Seconds,Closed,Pending,Connected,Service Available\n0,0,3,7,10\n5,2,0,8,0\n10,9,0,1,10\n"
    said = "\x1b[0m\nTest ended on 11th second\nExit status:\x1b[1;36m No open connections left\n\x1b[0m"
    found = endurance.attack(said, csv)
    assert found == {"all_closed": True, "seconds": 11, "most_connected": 8, "still_connected": 0,
                     "seconds_unavailable": 1}  # fmt: skip
    found = endurance.attack(said.replace("No open connections left", "Hit test time limit"), csv)
    assert (found["all_closed"], found["still_connected"]) == (False, 1)
    assert endurance.held_s([(0.0, 5), (1.0, 50), (2.5, 50), (3.0, 5)], over=10) == 2.0


def test_metrics_are_read_as_prometheus_writes_them() -> None:
    text = '# HELP a_total Some.\na_total{code="x",b="1"} 3.0\na_total{code="y",b="1"} 4\na_total_created 5\nb 6e1\n'
    assert server.samples(text, "a_total") == {'code="x",b="1"': 3.0, 'code="y",b="1"': 4.0}
    assert server.samples(text, "b") == {"": 60.0}


def test_hostile_files_are_what_they_are_called() -> None:
    """The pixels that a header tells, by our own opener, which refuses what is too many."""
    with pytest.raises(PictureError, match="20000×10000 = 200 megapixels"):
        pictures.decode(hostile.png(20_000, 10_000, rows=1))
    for name, content in hostile.broken().items():
        if name != "rows-missing.png":
            with pytest.raises(PictureError):
                pictures.decode(content)
    assert pictures.decode(hostile.png(64, 48)).pixels.shape == (48, 64, 3)


def test_a_server_is_waited_for_weighed_and_ended(tmp_path: Path) -> None:
    port = server.free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    with server.Server(command, port, tmp_path / "log", question=("GET", "/", None, {})) as service:
        assert 0 < service.cold_s < 20
        assert service.ask("GET", "/nothing")[0] == 404
        ended = service.stop()
    assert ended.status == -15, "nothing there to drain"
    start = time.perf_counter()
    with pytest.raises(server.ServerError, match="ended with status 3: no model"):
        server.Server([sys.executable, "-c", "print('no model'); raise SystemExit(3)"], port, tmp_path / "other")
    assert time.perf_counter() - start < 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory of a family of processes is Linux's")
def test_memory_is_a_family_s_own() -> None:
    """80 MB held by a child, beside what this process has already."""
    before = measure.resident_mb(os.getpid())
    code = "held = bytearray(b'x') * 80_000_000; print('held', flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdin=pipe, stdout=pipe) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert 76 < measure.resident_mb(os.getpid()) - before < 100  # 80e6 bytes are 76.3 MiB
        child.kill()
