"""The page's files, at `/` and `/static/NAME`: what lies in the folder `page` at the start, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import FastAPI, Request, Response

from tellapart.serve.refusals import Refusal

FOLDER = Path(__file__).with_name("page")
INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add(app: FastAPI) -> None:
    """Add the page's routes."""
    files = {path.name: path for path in FOLDER.glob("*") if path.suffix in TYPES}

    @app.get("/", include_in_schema=False)
    async def index(request: Request) -> Response:
        return _file(request, files.get(INDEX))

    @app.get("/static/{name}", include_in_schema=False)
    async def static(request: Request, name: str) -> Response:
        return _file(request, files.get(name))


def _file(request: Request, path: Path | None) -> Response:
    if path is None:
        raise Refusal(404, "not_found", "There is no such file of the page.")
    content = path.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"content-security-policy": CSP, "cache-control": "no-cache", "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    # The camera is this page's alone to ask for.
    headers["permissions-policy"] = "camera=(self), microphone=(), geolocation=()"
    return Response(content, headers=headers | {"content-type": TYPES[path.suffix]})
