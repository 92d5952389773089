"""One connection: deadlines for what a client could draw out, and answers that arrive."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from tellapart.serve import protocol
from tellapart.serve.settings import Limits

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """GET: 20 MB. POST: refused before its body is read."""
    content = bytes(20_000_000) if scope["method"] == "GET" else b"no"
    headers = [(b"content-length", str(len(content)).encode())]
    if scope["method"] == "POST":
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for start in range(0, len(content), 100_000):
        await send({"type": "http.response.body", "body": content[start : start + 100_000], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def listening(**limits: Any) -> AsyncIterator[tuple[int, ServerState]]:
    """A port that speaks the protocol, and who is connected to it."""
    config = uvicorn.Config(app, http=protocol.made(Limits(**limits)), ws="none", lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    made: Any = config.http_protocol_class
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: made(config=config, server_state=state, app_state={}), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], state


async def exchanged(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send parts and read until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(pause_s)
    found = await asyncio.wait_for(reader.read(-1), 30)
    writer.close()
    return found


def code(answer: bytes) -> str:
    return json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]


def test_who_says_nothing_is_closed() -> None:
    async def ask() -> bytes:
        async with listening(headers_s=0.2) as (port, _):
            return await exchanged(port)

    assert asyncio.run(ask()) == b""


def test_headers_that_trickle_are_cut_off() -> None:
    async def ask() -> bytes:
        async with listening(headers_s=0.3) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
            for _ in range(20):
                writer.write(b"X-A: b\r\n")
                await asyncio.sleep(0.05)
                if writer.transport.is_closing() or reader.at_eof():
                    break
            found = await asyncio.wait_for(reader.read(-1), 30)
            writer.close()
            return found

    answer = asyncio.run(ask())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert code(answer) == "too_slow"


def test_who_does_not_take_the_answer_is_cut_off() -> None:
    async def ask() -> None:
        async with listening(write_s=0.3) as (port, state):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            async with asyncio.timeout(25):  # without its limit it would have 30
                while not state.connections:
                    await asyncio.sleep(0.01)
                # Its task ends a moment after the connection.
                while state.connections or state.tasks:
                    await asyncio.sleep(0)
            writer.close()
            assert reader

    asyncio.run(ask())


def test_connections_are_bounded() -> None:
    async def ask() -> bytes:
        async with listening(max_connections=1) as (port, _):
            _, first = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.05)
            found = await exchanged(port)
            first.close()
            return found

    answer = asyncio.run(ask())
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert code(answer) == "busy"


def test_an_answer_before_the_end_of_the_body_arrives() -> None:
    """The client sends all before it reads, as most do: its answer must not be lost with what nobody reads."""

    async def ask() -> tuple[bytes, float]:
        async with listening() as (port, _):
            start = asyncio.get_running_loop().time()
            answer = await exchanged(port, HEAD + b"5000000\r\n\r\n", *[bytes(1_000_000)] * 5, pause_s=0.02)
            return answer, asyncio.get_running_loop().time() - start

    answer, seconds = asyncio.run(ask())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"no")
    assert seconds < 20


def test_a_body_that_never_ends_is_left_after_its_answer() -> None:
    async def ask() -> float:
        async with listening() as (port, state):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            start = asyncio.get_running_loop().time()
            writer.write(HEAD + b"5000000\r\n\r\n")
            assert (await reader.read(-1)).endswith(b"no")
            while state.connections and asyncio.get_running_loop().time() - start < 20:
                with contextlib.suppress(ConnectionError):
                    writer.write(b"x")
                    await asyncio.sleep(0.05)
            writer.close()
            return asyncio.get_running_loop().time() - start

    assert asyncio.run(ask()) < 10
