"""One connection: HTTP by httptools, with deadlines for what uvicorn waits for without end.

A request's headers must come within a time and a size, an answer must be taken within a time, and a connection that is
closed while a body still comes is closed so that the other side can read the answer (as nginx' lingering close).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tellapart.serve import refusals
from tellapart.serve.settings import Limits

LINGER_S = 2.0  # that a body is still read, for nothing, after its answer
MOST_AT_ONCE = 64 * 1024  # bytes of an answer that may wait to be taken before the deadline runs


def made(limits: Limits) -> type[HttpToolsProtocol]:
    """The protocol with these limits."""

    class Protocol(_Protocol):
        pass

    Protocol.limits = limits
    return Protocol


class _Protocol(HttpToolsProtocol):
    limits: Limits

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._header_bytes = 0  # received since the last request's headers ended
        self._in_headers = True
        self._in_message = False  # a request has begun and not ended
        self._lingering = False
        self._ending = False  # the service ends: no request after the one that comes in

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(_Patient(transport, self))  # pyright: ignore[reportArgumentType]
        if len(self.connections) > self.limits.max_connections:
            self._reject(503, "busy", "There must be fewer connections; there are too many. Come again later.")
            return
        self._within("headers", self.limits.headers_s, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        for name in list(self._timers):
            self._stop(name)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        if self._in_headers:
            if not self._header_bytes:
                self._within("headers", self.limits.headers_s, self._too_slow)
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > self.limits.max_header_bytes:
            most = self.limits.max_header_bytes
            self._reject(431, "headers_too_large", f"Headers must be at most {most:,} bytes; got more. Send fewer.")

    def on_message_begin(self) -> None:
        self._in_message = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_headers, self._header_bytes = False, 0
        self._stop("headers")
        super().on_headers_complete()
        if self._ending and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._in_headers, self._in_message = True, False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._reject(400, "bad_request", "The request must be HTTP/1.1; it is not. Check the client.")

    def shutdown(self) -> None:
        """Finish what has begun, headers half received included, then close."""
        self._ending = True
        if self._in_message or (self._in_headers and self._header_bytes):
            if self.cycle is not None:
                self.cycle.keep_alive = False
            return
        super().shutdown()

    def pause_writing(self) -> None:
        self._within("write", self.limits.write_s, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stop("write")
        super().resume_writing()

    def linger(self, close: Callable[[], None]) -> None:
        """Close now, or, where a body still comes, when it has ended or some time has passed."""
        if not self._in_message or self._lingering:
            close()
            return
        self._lingering = True
        self.flow.resume_reading()
        self._within("linger", LINGER_S, close)

    def eof_received(self) -> None:
        if self._lingering:
            self._stop("linger")
        super().eof_received()

    def _too_slow(self) -> None:
        if self._header_bytes:
            self._reject(408, "too_slow", f"Headers must come within {self.limits.headers_s:g} s; these did not.")
        else:
            self.transport.close()

    def _reject(self, status: int, code: str, message: str) -> None:
        """Answer without a request."""
        if self.transport.is_closing() or self._lingering:
            return
        if self.cycle is not None and not self.cycle.response_complete:  # it would come into another answer
            self.transport.abort()
            return
        content = refusals.body(code, message, status, "")
        head = b"content-type: application/json\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
        length = f"content-length: {len(content)}\r\n\r\n".encode()
        self.transport.write(STATUS_LINE[status] + head + length + content)
        self._in_message = self._in_message or bool(self._header_bytes)
        self.transport.close()

    def _within(self, name: str, seconds: float, then: Callable[[], None]) -> None:
        self._stop(name)
        self._timers[name] = self.loop.call_later(seconds, then)

    def _stop(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


class _Patient:
    """A transport whose `close` lingers where a body still comes: else the answer could be lost with the rest of it."""

    def __init__(self, transport: asyncio.Transport, protocol: _Protocol) -> None:
        self._transport, self._protocol = transport, protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        if self._protocol._lingering:
            return
        if self._transport.is_closing():
            self._transport.close()
            return
        if self._protocol._in_message and self._transport.can_write_eof():
            self._transport.write_eof()
        self._protocol.linger(self._transport.close)

    def is_closing(self) -> bool:
        return self._protocol._lingering or self._transport.is_closing()
