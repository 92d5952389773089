"""A page in a real browser, without a window: Chromium or one of its kin, with a fresh profile and nowhere to call.

Only the standard library drives it: the page comes from a server on this computer, does its work and posts what it
found. Nothing but the processes started here is ever ended.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tellapart import tempfolders
from tellapart.errors import ExportError, MissingPackageError
from tellapart.files import because, shown

VARIABLE = "CHROME_PATH"  # by which a browser in an unusual place is named
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge")
PLACES = {
    "darwin": (
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    ),
    "win32": (
        r"%ProgramFiles%\Google\Chrome\Application\chrome.exe",
        r"%ProgramFiles(x86)%\Google\Chrome\Application\chrome.exe",
        r"%LocalAppData%\Google\Chrome\Application\chrome.exe",
        r"%ProgramFiles(x86)%\Microsoft\Edge\Application\msedge.exe",
        r"%ProgramFiles%\Microsoft\Edge\Application\msedge.exe",
    ),
}
# Without these it asks hosts of its maker at every start; the rules let it find none but this computer.
OPTIONS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
LONGEST_S = 600.0
ANSWER = "/answer"  # where the page posts
MOST_POSTED_BYTES = 256 * 2**20
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}

Site = Mapping[str, bytes | Path]  # by path, "/index.html": its content, or the file that holds it


def find() -> str:
    """The path of a browser. Raises MissingPackageError where there is none."""
    named = os.environ.get(VARIABLE)
    found = [named] if named else [*map(shutil.which, NAMES), *map(os.path.expandvars, PLACES.get(sys.platform, ()))]
    for path in found:
        if path and os.path.isfile(path):
            return path
    raise MissingPackageError(
        "A web export is checked in a real browser; there must be Chromium, Google Chrome or Microsoft Edge, and "
        + (f"{VARIABLE} names {shown(named)}, which is no file." if named else "none was found.")
        + f" Install one (Debian: apt-get install chromium), or name its program in {VARIABLE}."
    )


def posted(browser: str, site: Site, start: str, *, longest_s: float = LONGEST_S) -> bytes:
    """Open a page of a site in a browser, and wait for what it posts.

    Args:
        browser: the program.
        site: every file that can be asked for; no other name is looked up anywhere.
        start: the path of the page. All paths lie below one that nobody can guess, for the pictures of a check may be
            private; so the page asks by relative addresses. It posts to the path that stands in its query under `to`.
        longest_s: time limit.

    Returns:
        The body of the post.

    Raises:
        ExportError: the browser does not run, or nothing came in time.
    """
    with _server(site) as answer, tempfolders.private("browser") as folder:
        profile = os.fspath(folder)
        address = f"http://{answer.host}{answer.below}{start}?to={answer.below}{ANSWER}"
        with _running(browser, profile, address) as (process, said):
            ends = time.monotonic() + longest_s
            while not answer.came.wait(0.05):
                if process.poll() is not None and not answer.came.wait(1):
                    last = [line for line in said().splitlines() if line.strip()][-1:]
                    raise ExportError(
                        f"{browser} must open a page to check the export; it ended with status {process.returncode}: "
                        f"{shown(' '.join(last))[:300]}. Nothing was written. Name another browser in {VARIABLE}."
                    )
                if time.monotonic() > ends:
                    raise ExportError(
                        f"The exported page must answer in {longest_s:.0f} s in {browser}; it did not. "
                        f"Nothing was written. Try on a machine with less to do."
                    )
        return answer.body


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that ends drops its connections, which is no error of ours; others are told."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # pyright: ignore[reportArgumentType]


class _Answer:
    """What is waited for."""

    def __init__(self) -> None:
        self.host = ""  # as the browser asks for it
        self.below = f"/{secrets.token_urlsafe(16)}"  # where everything lies
        self.came = threading.Event()
        self.body = b""


@contextlib.contextmanager
def _server(site: Site) -> Iterator[_Answer]:
    answer = _Answer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            content = site.get(path.removeprefix(answer.below)) if path.startswith(answer.below + "/") else None
            # A name that somebody has lead here is none of ours (DNS rebinding).
            if content is None or self.headers.get("Host") != answer.host:
                self.send_error(404)
                return
            body = content if isinstance(content, bytes) else content.read_bytes()
            self._send(200, body, KINDS.get(Path(path).suffix, "application/octet-stream"))

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            if self.path != answer.below + ANSWER or length > MOST_POSTED_BYTES:
                self.send_error(403)
                return
            answer.body = self.rfile.read(length)
            self._send(204, b"", "text/plain")
            answer.came.set()

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: the terminal is the user's."""

    with _Server(("127.0.0.1", 0), Handler) as server:
        answer.host = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield answer
        finally:
            server.shutdown()


@contextlib.contextmanager
def _running(browser: str, profile: str, address: str) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    options = [*OPTIONS, f"--user-data-dir={profile}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--no-sandbox")  # it refuses to start as root with one
    with open(Path(profile, "said.txt"), "w+b") as errors:
        try:
            process = subprocess.Popen(
                [browser, *options, address],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            raise ExportError(
                f"A browser must run to check the export; {shown(browser)} does not: {because(error)}. Nothing was "
                f"written. Name another one in {VARIABLE}."
            ) from error

        def said() -> str:
            errors.seek(0)
            return errors.read().decode("utf-8", "replace")

        try:
            yield process, said
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a browser and the processes that it started: they are of one session of their own."""
    for how in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, how)
            else:
                process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
            return
