"""A load for a picture service, in a process of its own, and what became of every request.

    python benchmarks/load.py URL PICTURE… --seconds 10 --concurrency 8      each of 8 clients asks again when answered
    python benchmarks/load.py URL PICTURE… --seconds 60 --rate 200           200 requests a second, answered or not
    python benchmarks/load.py URL PICTURE… --seconds 60 --trickle 50         50 clients that send one byte a second

A folder stands for the pictures in it. Requests are put together before the clock runs, and the clients are asyncio
protocols on raw sockets: one takes less than 0.1 ms of processor time, because the service needs the same cores. With
`--rate` the gaps between requests are drawn (exponential, from a seed), as of people who do not know of each other, and
nobody waits for an answer before asking.

Prints one JSON object. `--events OUT` writes a row for each request, float64: when it was sent, when its answer was
complete (both of `time.monotonic()`, which all processes of a Linux share), status, and the number of the request's
body. A status below 0 says that there was no whole answer:
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import random
import resource
import signal
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

REFUSED, CLOSED, CUT, TIMED_OUT, MALFORMED = -1, -2, -3, -4, -5
MEANING = {
    REFUSED: "no connection: refused",
    CLOSED: "connection closed before an answer began",
    CUT: "connection closed within an answer",
    TIMED_OUT: "no answer in time",
    MALFORMED: "not HTTP",
}
__doc__ += "".join(f"\n    {status}  {meaning}" for status, meaning in MEANING.items())

IDLE_S = 2.0  # a kept connection that rested longer is not used again: the service may be closing it just then
PART = "a-picture-comes-here"  # between the parts of a multipart body
ENDINGS = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(slots=True)
class Answer:
    """What came back."""

    status: int  # of HTTP, or one of MEANING
    body: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)  # names in lower case


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: asyncio.Future[Answer] | None = None
        self.rested = time.monotonic()
        self.gone = False
        self._got = bytearray()
        self._head: Answer | None = None  # its status and headers, once they are here
        self._length: int | None = None  # of the body; None: chunked, or until the connection is closed

    @property
    def usable(self) -> bool:
        return not self.gone and self.waiting is None and time.monotonic() - self.rested < IDLE_S

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Send a whole request."""
        assert self.transport is not None
        self.waiting = asyncio.get_running_loop().create_future()
        self._got, self._head, self._length = bytearray(), None, None
        if self.gone:
            self._done(Answer(CLOSED))
        else:
            self.transport.write(request)
        return self.waiting or _known(Answer(CLOSED))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # pyright: ignore[reportAttributeAccessIssue]

    def data_received(self, data: bytes) -> None:
        self._got += data
        if self._head is None and not self._read_head():
            return
        assert self._head is not None
        if self._length is not None:
            if len(self._got) >= self._length:
                self._done(Answer(self._head.status, bytes(self._got[: self._length]), self._head.headers))
        elif b"chunked" in self._head.headers.get(b"transfer-encoding", b"") and self._got.endswith(b"0\r\n\r\n"):
            self._done(Answer(self._head.status, unchunked(bytes(self._got)), self._head.headers))

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        if self.waiting is None:
            return
        if self._head is None:
            self._done(Answer(CUT if self._got else CLOSED))
        elif self._length is None and b"transfer-encoding" not in self._head.headers:
            self._done(Answer(self._head.status, bytes(self._got), self._head.headers))  # its end is the close
        else:
            self._done(Answer(CUT))

    def close(self) -> None:
        self.gone = True
        if self.transport is not None:
            self.transport.abort()

    def _read_head(self) -> bool:
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = bytes(self._got[:end]).split(b"\r\n")
        parts = first.split(b" ", 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
            self.close()
            self._done(Answer(MALFORMED))
            return False
        del self._got[: end + 4]
        if parts[1] == b"100":  # "go on": the answer itself follows
            return self._read_head()
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        self._head = Answer(int(parts[1]), headers=headers)
        if b"content-length" in headers:
            self._length = int(headers[b"content-length"])
        if headers.get(b"connection", b"").lower() == b"close":
            self.rested = float("-inf")
        return True

    def _done(self, answer: Answer) -> None:
        waiting, self.waiting = self.waiting, None
        if self.rested > 0:
            self.rested = time.monotonic()
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)


def _known(answer: Answer) -> asyncio.Future[Answer]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(answer)
    return future


def unchunked(data: bytes) -> bytes:
    """A body in chunks (RFC 9112, 7.1) as one."""
    whole = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        n = int(size.split(b";")[0], 16)
        if n == 0:
            break
        whole, data = whole + data[:n], data[n + 2 :]
    return whole


class Load:
    """Clients of one address, and the record of all their requests."""

    def __init__(self, host: str, port: int, requests: Sequence[bytes], timeout_s: float) -> None:
        self.host, self.port, self.requests, self.timeout_s = host, port, requests, timeout_s
        self.events = array("d")  # four numbers for each request
        self.without_retry_after = 0  # answers 503 that do not say when to come again
        self.stopped = asyncio.Event()
        self.last: dict[int, bytes] = {}  # the last body of each status
        self._resting: list[Connection] = []
        self._next = 0

    async def once(self) -> int:
        """One request on a connection that rests, or on a new one; its status."""
        number = self._next % len(self.requests)
        self._next += 1
        sent = time.monotonic()
        answer = await self._answer(self.requests[number])
        self.events.extend((sent, time.monotonic(), answer.status, number))
        self.without_retry_after += answer.status == 503 and b"retry-after" not in answer.headers
        self.last[answer.status] = answer.body
        return answer.status

    async def _answer(self, request: bytes) -> Answer:
        connection = None
        while self._resting and connection is None:
            connection = self._resting.pop()
            if not connection.usable:
                connection.close()
                connection = None
        try:
            async with asyncio.timeout(self.timeout_s):
                if connection is None:
                    loop = asyncio.get_running_loop()
                    _, connection = await loop.create_connection(Connection, self.host, self.port)
                answer = await connection.ask(request)
        except TimeoutError:
            if connection is not None:
                connection.waiting = None
                connection.close()
            return Answer(TIMED_OUT)
        except OSError:
            return Answer(REFUSED)
        if connection.usable:
            self._resting.append(connection)
        else:
            connection.close()
        return answer

    async def closed(self, concurrency: int, until: float, n_requests: int | None) -> None:
        """`concurrency` clients, each asking again when it has its answer, to a time or a number of requests."""

        async def client() -> None:
            while not self.stopped.is_set() and time.monotonic() < until:
                if n_requests is not None and self._next >= n_requests:
                    return
                if await self.once() == REFUSED:
                    await asyncio.sleep(0.02)

        await asyncio.gather(*(client() for _ in range(concurrency)))

    async def open(self, rate: float, until: float, seed: int) -> None:
        """`rate` requests a second, whatever becomes of them."""
        draw, tasks = random.Random(seed), set()
        due = time.monotonic()
        while not self.stopped.is_set() and due < until:
            if (wait := due - time.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stopped.wait(), wait)
                if self.stopped.is_set():
                    break
            task = asyncio.ensure_future(self.once())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due += draw.expovariate(rate)
            await asyncio.sleep(0)
        if tasks:
            await asyncio.gather(*tasks)

    async def trickle(self, clients: int, until: float) -> None:
        """Clients that send the head, then a byte of the body each second, until they are cut off; then again."""

        async def client(number: int) -> None:
            request = self.requests[number % len(self.requests)]
            while not self.stopped.is_set() and time.monotonic() < until:
                began = time.monotonic()
                status = await self._trickled(request, until)
                self.events.extend((began, time.monotonic(), status, number))
                if status == REFUSED:
                    await asyncio.sleep(0.2)

        await asyncio.gather(*(client(number) for number in range(clients)))

    async def _trickled(self, request: bytes, until: float) -> int:
        """How it ended: a status of HTTP, CLOSED, REFUSED, or TIMED_OUT where it was never cut off."""
        try:
            _, connection = await asyncio.get_running_loop().create_connection(Connection, self.host, self.port)
        except OSError:
            return REFUSED
        body = request.index(b"\r\n\r\n") + 4
        answer = connection.ask(request[:body])
        while time.monotonic() < until and not self.stopped.is_set():
            with contextlib.suppress(TimeoutError):
                status = (await asyncio.wait_for(asyncio.shield(answer), 1.0)).status
                connection.close()
                return status
            assert connection.transport is not None
            connection.transport.write(request[body : body + 1])
            body += 1
        connection.waiting = None
        connection.close()
        return TIMED_OUT


def request(url: str, content: bytes, content_type: str, headers: Iterable[str] = ()) -> bytes:
    """A whole POST, HTTP/1.1."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Type: {content_type}"]
    lines += [f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


def body(kind: str, pictures: Sequence[tuple[str, bytes]], field_name: str = "files") -> tuple[bytes, str]:
    """Pictures, by name and content, as a body and its type: `raw` (one picture), `multipart` or `json`."""
    if kind == "raw":
        ((_, content),) = pictures
        return content, "application/octet-stream"
    if kind == "json":
        files = [{"name": name, "data": base64.b64encode(content).decode()} for name, content in pictures]
        return json.dumps({"files": files}).encode(), "application/json"
    whole = b""
    for name, content in pictures:
        whole += f'--{PART}\r\nContent-Disposition: form-data; name="{field_name}"; filename="{name}"\r\n'.encode()
        whole += b"Content-Type: image/jpeg\r\n\r\n" + content + b"\r\n"
    return whole + f"--{PART}--\r\n".encode(), f"multipart/form-data; boundary={PART}"


def files(paths: Iterable[Path]) -> list[Path]:
    """Pictures as they are named, and those in folders, in order."""
    found: list[Path] = []
    for path in paths:
        inside = (each for each in path.rglob("*") if each.suffix.lower() in ENDINGS) if path.is_dir() else ()
        found += sorted(inside) if path.is_dir() else [path]
    return found


def quantiles(values: Sequence[float]) -> dict[str, float] | None:
    """Milliseconds of seconds: `p50`, `p90`, `p99` and `max`, each a value that occurred; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    ranks = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "max": 1.0}
    at = {name: min(len(ordered) - 1, int(share * len(ordered))) for name, share in ranks.items()}
    return {name: round(1000 * ordered[i], 2) for name, i in at.items()}


def summary(events: Sequence[float], per_request: int = 1) -> dict[str, Any]:
    """Rows of four numbers, one after the other, as the object that is printed."""
    rows = [tuple(events[i : i + 4]) for i in range(0, len(events), 4)]
    good = [end - sent for sent, end, status, _ in rows if status == 200]
    other = [end - sent for sent, end, status, _ in rows if status == 503]
    seconds = max((end for _, end, _, _ in rows), default=0) - min((sent for sent, *_ in rows), default=0)
    counts = Counter(int(status) for _, _, status, _ in rows)
    return {
        "requests": len(rows),
        "seconds": round(seconds, 3),
        "pictures_per_s": round(len(good) * per_request / seconds, 2) if seconds else None,
        "statuses": {str(status): n for status, n in sorted(counts.items())},
        "latency_ms": quantiles(good),
        "refused_ms": quantiles(other),
    }


async def run(options: argparse.Namespace, requests: Sequence[bytes]) -> Load:
    """The load that is asked for, to its end or to a signal."""
    parts = urlsplit(options.url)
    load = Load(parts.hostname or "127.0.0.1", parts.port or 80, requests, options.timeout)
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, load.stopped.set)
    until = time.monotonic() + (options.seconds or float("inf"))
    if options.trickle:
        await load.trickle(options.trickle, until)
    elif options.rate:
        await load.open(options.rate, until, options.seed)
    else:
        await load.closed(options.concurrency, until, options.requests)
    return load


def main() -> None:
    """Run a load and print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", metavar="URL", help="http://HOST:PORT/PATH that takes a POST")
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="files or folders, sent in turn")
    parser.add_argument("--concurrency", type=int, default=1, metavar="N", help="clients [default: 1]")
    parser.add_argument("--rate", type=float, metavar="R", help="requests a second instead, whatever is answered")
    parser.add_argument("--trickle", type=int, metavar="N", help="clients instead that send a byte a second")
    parser.add_argument("--seconds", type=float, metavar="S")
    parser.add_argument("--requests", type=int, metavar="N", help="end after so many, with --concurrency")
    parser.add_argument("--per-request", type=int, default=1, metavar="K", help="pictures in each [default: 1]")
    parser.add_argument("--body", choices=("raw", "multipart", "json"), help="[default: raw for one picture]")
    parser.add_argument("--field", default="files", metavar="NAME", help="of the multipart parts [default: files]")
    parser.add_argument("--header", action="append", default=[], metavar="LINE")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="[default: 60]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the gaps with --rate")
    parser.add_argument("--events", type=Path, metavar="OUT", help="a row for each request")
    parser.add_argument("--answers", action="store_true", help="also print the last body of each status")
    options = parser.parse_args()
    if not options.seconds and not options.requests:
        parser.error("say --seconds or --requests")
    pictures = [(path.name, path.read_bytes()) for path in files(options.pictures)]
    if not pictures:
        sys.exit("There is no picture to send. Give files, or a folder that has some.")
    kind = options.body or ("raw" if options.per_request == 1 else "multipart")
    k = options.per_request
    groups = [[pictures[(start + i) % len(pictures)] for i in range(k)] for start in range(0, len(pictures), k)]
    requests = [request(options.url, *body(kind, group, options.field), options.header) for group in groups]
    load = asyncio.run(run(options, requests))
    if options.events:
        temporary = options.events.with_name(f".{options.events.name}.{os.getpid()}")
        temporary.write_bytes(load.events.tobytes())
        temporary.replace(options.events)
    used = resource.getrusage(resource.RUSAGE_SELF)
    said = summary(load.events, k) | {"cpu_s": round(used.ru_utime + used.ru_stime, 3)}
    said["503_without_retry_after"] = load.without_retry_after
    if options.answers:
        said["last"] = {str(status): text.decode(errors="replace")[:2000] for status, text in load.last.items()}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
