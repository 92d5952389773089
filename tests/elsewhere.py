"""Servers on this machine that pictures are read from in tests: S3 by moto, and a web server that fails as told."""

from __future__ import annotations

import contextlib
import http.server
import logging
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass
class Web:
    """A web server of a folder, and how it behaves."""

    address: str
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)  # method and path
    # path -> what is done with its requests, first to last: a status, "stall", "cut", "trickle"; then they are answered
    plan: dict[str, list[Any]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)  # of answers that are failures
    stall_s: float = 60.0
    listing: bool = True
    release: threading.Event = field(default_factory=threading.Event)

    def fetched(self) -> Counter[str]:
        """How often each file was asked for, by GET."""
        return Counter({path: n for (method, path), n in self.seen.items() if method == "GET" and path[-1:] != "/"})


@contextlib.contextmanager
def web(folder: Path) -> Iterator[Web]:
    """Serve a folder on 127.0.0.1."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.asked("HEAD") and super().do_HEAD()

        def do_GET(self) -> None:
            self.asked("GET") and super().do_GET()

        def asked(self, method: str) -> bool:
            path = urllib.parse.unquote(self.path)
            server.seen[method, path] += 1
            what = server.plan.get(path, [])
            doing = what.pop(0) if what and method == "GET" else None
            if doing is None:
                return True
            self.close_connection = True
            if isinstance(doing, int):
                self.send_response(doing)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif doing == "stall":
                server.release.wait(server.stall_s)
            else:
                data = (folder / path.lstrip("/")).read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2])
                if doing == "trickle":
                    for byte in data[len(data) // 2 :]:
                        if server.release.wait(0.1):
                            break
                        with contextlib.suppress(OSError):
                            self.wfile.write(bytes([byte]))
            return False

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    server = Web(f"http://127.0.0.1:{httpd.server_address[1]}")
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        httpd.shutdown()
        httpd.server_close()
        thread.join()


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """moto's S3 server; its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        # All servers of one process have the same buckets.
        urllib.request.urlopen(urllib.request.Request(f"{address}/moto-api/reset", method="POST"), timeout=10).close()
        yield address
    finally:
        server.stop()


def put(address: str, bucket: str, files: dict[str, bytes]) -> None:
    """Make a bucket and put files into it by their keys."""
    import s3fs

    system = s3fs.S3FileSystem(key="test", secret="test", endpoint_url=address, skip_instance_cache=True)
    if not system.exists(bucket):
        system.mkdir(bucket)
    system.pipe({f"{bucket}/{key}": data for key, data in files.items()})


def soon(condition: Any, within_s: float = 5.0) -> bool:
    """Whether something comes true within some time."""
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
