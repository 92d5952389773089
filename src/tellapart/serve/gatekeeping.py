"""What every request passes first: who asks, from where, how much and how fast; and what every answer carries.

Plain ASGI, around the whole application, so that nothing is parsed for whom nothing is to be done.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tellapart.serve import refusals
from tellapart.serve.refusals import Refusal, busy
from tellapart.serve.service import Service

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

LOCKED = ("/v1", "/v2", "/metrics")  # what an API key opens
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::(?P<port>\d{1,5}))?")
API_CSP = b"default-src 'none'; frame-ancestors 'none'"
_ALWAYS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"authorization, content-type, x-api-key, x-request-id"),
    (b"access-control-max-age", b"600"),
]


class Gate:
    """The application with the gate before it."""

    def __init__(self, app: App, service: Service) -> None:
        self._app, self._service = app, service
        self._names = service.access.names()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await _Passage(self._app, self._service, self._names, scope, receive, send).go()


class _Passage:
    """One request on its way."""

    def __init__(
        self,
        app: App,
        service: Service,
        names: frozenset[str],
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
    ) -> None:
        self._app, self._service, self._names = app, service, names
        self._receive, self._send = receive, send
        self._start = time.monotonic()  # the clock of the event loop too
        self._headers: dict[bytes, bytes] = {}
        self._twice = False
        for name, value in scope["headers"]:
            self._twice = self._twice or (name == b"host" and name in self._headers)
            self._headers[name] = value
        given = self._headers.get(b"x-request-id", b"")
        self.request_id = given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        # HEAD is GET whose body is not sent, which the server below sees to.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        self._scope = dict(scope, method=method, state={"request_id": self.request_id, "facts": {}})
        self._facts: dict[str, Any] = self._scope["state"]["facts"]  # for the log, added to by the application
        self._method = scope["method"]
        self._allowed_origin: bytes | None = None
        self._got = 0  # bytes of the body
        self._whole = False  # all of it has come
        self._status: int | None = None

    async def go(self) -> None:
        service = self._service
        try:
            self._check()
            if self._is_preflight():
                await self._answer(204, [], b"")
            else:
                await self._app(self._scope, self._limited, self._dressed)
        except Refusal as refusal:
            await self.refuse(refusal)
        except Exception as error:
            service.log.write(
                "error", request_id=self.request_id, message=repr(error)[:300], traceback=_traceback(error)
            )
            await self.refuse(refusals.unforeseen())
        finally:
            service.receiving -= self._got
            self._record()

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error, if no answer has begun."""
        if self._status is not None:
            return
        self._facts["error"] = refusal.code
        content = refusals.body(refusal.code, refusal.message, refusal.status, self.request_id)
        headers = [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
        await self._answer(refusal.status, [(b"content-type", b"application/json"), *headers], content)

    async def _answer(self, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
        length = [] if status == 204 else [(b"content-length", str(len(content)).encode())]
        await self._dressed({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
        await self._dressed({"type": "http.response.body", "body": content})

    def _check(self) -> None:
        """Raise Refusal where the request must not be served, by its head alone."""
        headers, limits = self._headers, self._service.limits
        host = self._host()
        self._check_origin(host)
        if self._is_preflight():
            return
        self._check_key()
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refusal(
                422, "compressed", "The body must not be compressed; it is said to be. Send it as it is.", close=True
            )
        length = headers.get(b"content-length", b"")
        if length and int(length) > limits.max_body_bytes:
            raise self._too_large(f"{int(length):,} bytes")
        if self._scope["path"].startswith(("/v1", "/v2")) and self._scope["method"] == "POST":
            if self._service.draining:
                return  # it was on its way when the end was asked for
            if (reason := self._service.unready()) and not self._service.warm:
                raise busy("not_ready", f"The service must be ready first; {reason}. Ask again in a second.", 0)

    def _host(self) -> str:
        """The host's name or address with its port, lower case."""
        given = self._headers.get(b"host")
        if given is None and self._scope["http_version"] == "1.0":
            return ""
        text = (given or b"").decode("latin-1").lower()
        found = _AUTHORITY.fullmatch(text)
        if found is None or self._twice:
            raise Refusal(400, "wrong_host", "There must be one Host header, a name or an address; got another.")
        name = found["host"].strip("[]").rstrip(".")
        if not _is_address(name) and name not in self._names:
            raise Refusal(
                421,
                "wrong_host",
                f"The Host must be an address of this service or a name that it knows; got {name[:100]!r}. "
                f"Start it with --allow-host and that name, if it is yours.",
            )
        return text

    def _check_origin(self, host: str) -> None:
        origin = self._headers.get(b"origin")
        if origin is not None:
            text = origin.decode("latin-1").lower()
            if text in self._service.access.origins:
                self._allowed_origin = origin
                return
            scheme, _, authority = text.partition("://")
            port = {"http": ":80", "https": ":443"}.get(scheme)
            if port is None or authority.removesuffix(port) != host.removesuffix(port):
                raise Refusal(
                    403,
                    "wrong_origin",
                    f"A page must be this service's own to use it; got one of {text[:100]!r}. "
                    f"Start the service with --allow-origin and that origin, if it is yours.",
                )
        if self._scope["method"] == "POST" and self._headers.get(b"sec-fetch-site") == b"cross-site":
            raise Refusal(
                403, "wrong_origin", "A page of another site must not use this service; got a request of one."
            )

    def _is_preflight(self) -> bool:
        return (
            self._allowed_origin is not None
            and self._scope["method"] == "OPTIONS"
            and b"access-control-request-method" in self._headers
        )

    def _check_key(self) -> None:
        key = self._service.access.api_key
        path = self._scope["path"]
        if key is None or not any(path == prefix or path.startswith(f"{prefix}/") for prefix in LOCKED):
            return
        scheme, _, bearer = self._headers.get(b"authorization", b"").partition(b" ")
        given = (bearer.strip() if scheme.lower() == b"bearer" else b"", self._headers.get(b"x-api-key", b""))
        if not sum(hmac.compare_digest(each, key.encode()) for each in given):
            raise Refusal(
                401,
                "wrong_key",
                "The API key must be in `Authorization: Bearer KEY` or `X-API-Key: KEY`; it is missing or another.",
                headers={"www-authenticate": "Bearer"},
                close=True,
            )

    async def _limited(self) -> Message:
        """The next message of the request, as long as it is neither too much nor too late."""
        if self._whole:
            return await self._receive()
        service, limits = self._service, self._service.limits
        try:
            async with asyncio.timeout_at(self._start + limits.receive_s):
                message = await self._receive()
        except TimeoutError as error:
            raise Refusal(
                408,
                "too_slow",
                f"A request must arrive within {limits.receive_s:g} s; this one did not. Send less at a time.",
                close=True,
            ) from error
        if message["type"] != "http.request":
            self._whole = True
            return message
        n = len(message.get("body", b""))
        self._got += n
        service.receiving += n
        self._whole = not message.get("more_body", False)
        if self._got > limits.max_body_bytes:
            raise self._too_large("more")
        if service.receiving > limits.receiving_bytes:
            raise busy(
                "memory_full",
                f"All requests must be under {limits.receiving_bytes:,} bytes together; they are more. Ask again.",
                1,
            )
        return message

    def _too_large(self, got: str) -> Refusal:
        return Refusal(
            413,
            "body_too_large",
            f"The body must be at most {self._service.limits.max_body_bytes:,} bytes; got {got}. "
            f"Send fewer or smaller pictures at a time.",
            close=True,
        )

    async def _dressed(self, message: Message) -> None:
        """Send a message of the answer with what every answer carries."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            given = list(message.get("headers", []))
            names = {name for name, _ in given}
            added = [(b"x-request-id", self.request_id.encode()), *_ALWAYS]
            if b"content-security-policy" not in names:
                added.append((b"content-security-policy", API_CSP))
            if b"cache-control" not in names:
                added.append((b"cache-control", b"no-store"))
            if self._allowed_origin is not None:
                added += [(b"access-control-allow-origin", self._allowed_origin), (b"vary", b"Origin")]
                added += _PREFLIGHT if self._is_preflight() else []
            # Where the rest of a body is not awaited, the connection cannot be used again.
            announced = self._headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self._headers
            unread = not self._whole and announced
            if (self._service.draining or unread) and b"connection" not in names:
                added.append((b"connection", b"close"))
            message = {**message, "headers": given + added}
        await self._send(message)

    def _record(self) -> None:
        """Count the request and log it."""
        service, facts = self._service, self._facts
        seconds = time.monotonic() - self._start
        route = getattr(self._scope.get("route"), "path", None) or "other"
        status = 0 if self._status is None else self._status  # 0: the client left before there was an answer
        method = self._method if self._method in {"GET", "HEAD", "POST", "OPTIONS"} else "other"
        service.counters.requests.labels(route, method, str(status)).inc()
        service.counters.seconds.labels(route).observe(seconds)
        if "error" in facts:
            service.counters.rejected.labels(facts["error"]).inc()
        service.log.write(
            "request",
            request_id=self.request_id,
            method=method,
            route=route,
            status=status,
            ms=round(1000 * seconds, 1),
            bytes=self._got or None,
            **facts,
        )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _traceback(error: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(error))[-4000:]
