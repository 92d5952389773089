"""From the command to a service that answers, and to its end without losing what it has accepted.

What takes long at the start goes side by side: decoders start in processes of their own, models are loaded on a thread,
and meanwhile the web framework is imported. The port is there first, so that who comes early waits instead of failing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from tellapart.errors import TellapartError
from tellapart.files import because
from tellapart.serve import models as served
from tellapart.serve.settings import Access, Limits

if TYPE_CHECKING:
    import uvicorn

    from tellapart.serve.service import Service

LAST_CALL_S = 0.3  # after the signal to end, in which requests that are on their way are still taken
LOOPBACK = ("127.", "::1", "localhost")


def run(
    given: Sequence[str],
    *,
    host: str,
    port: int,
    limits: Limits,
    access: Access,
    version: str,
    photos: str | None = None,
) -> None:
    """Serve models until a signal ends it. SIGTERM and SIGINT let accepted requests finish; a second one does not.

    Args:
        given: MODEL or NAME=MODEL.
        host: the address to listen on.
        port: the port; 0 for any that is free.
        limits: what it keeps to.
        access: who may use it.
        version: of this package.
        photos: the folder of the training pictures, to show the nearest in explanations.

    Raises:
        SettingsError: two models have one name.
        TellapartError: the port is taken, or a model cannot be loaded.
    """
    wanted = served.sources(given)
    with _listening(host, port) as listener, _uncollected():
        from tellapart.serve.counters import Counters
        from tellapart.serve.decoders import Decoders
        from tellapart.serve.logs import Log, logged

        counters, log = Counters(), Log()
        decoders = Decoders(
            limits.decoders,
            time_limit_s=limits.decode_s,
            max_pixels=limits.max_pixels,
            memory_bytes=limits.decoder_bytes,
            on_end=lambda why: _decoder_ended(counters, log, why),
            on_failure=lambda message: log.write("warning", message=message),
        )
        try:
            models = served.Models(wanted, max_batch=limits.max_batch, hooks=_hooks(counters, log))
            loading = _Loading(models, decoders)
            service = _service(limits, access, models, decoders, counters, log, version, photos)
            server = _server(service)
            address = listener.getsockname()
            shown_host = f"[{address[0]}]" if ":" in address[0] else address[0]
            log.write("start", address=f"http://{shown_host}:{address[1]}", pid=os.getpid(), models=models.names)
            if not address[0].startswith(LOOPBACK) and access.api_key is None:
                warning = (
                    f"Anyone who can reach {shown_host}:{address[1]} over the network can use this service. "
                    f"Give it a key with --api-key-file, or listen on 127.0.0.1."
                )
                click.echo(f"Warning: {warning}")
                log.write("warning", message=warning)
            with logged(log):
                asyncio.run(_serve(server, service, loading, listener, f"http://{shown_host}:{address[1]}"))
        finally:
            decoders.stop()
            log.close()
        loading.check()


class _Loading:
    """The models, being loaded on a thread."""

    def __init__(self, models: served.Models, decoders) -> None:
        self._models, self._decoders = models, decoders
        self.error: BaseException | None = None
        self.done = threading.Event()
        threading.Thread(target=self._load, name="load", daemon=True).start()

    def check(self) -> None:
        """Raise what kept the models from being loaded."""
        if self.error is not None:
            raise self.error

    def _load(self) -> None:
        try:
            self._models.load()
            self._decoders.wait()
        except BaseException as error:  # told by `check`, on the thread that can end the program
            self.error = error
        self.done.set()


async def _serve(
    server: uvicorn.Server, service: Service, loading: _Loading, listener: socket.socket, address: str
) -> None:
    tasks = [asyncio.create_task(_become_ready(server, service, loading, address))]
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in tasks:
            task.cancel()
        service.explanations.close()
        service.models.close()


async def _become_ready(server: uvicorn.Server, service: Service, loading: _Loading, address: str) -> None:
    """Wait for the models, say so, then look for new ones."""
    while not loading.done.is_set():
        await asyncio.sleep(0.01)
    if loading.error is not None:
        server.should_exit = True
        return
    service.warm = True
    service.log.write("ready")
    click.echo(f"Serving {', '.join(service.models.names)} at {address}")
    gc.collect()
    gc.freeze()  # what is there now stays: collections look at what requests leave behind
    gc.enable()
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, service.describe)
    for model in service.models.all():
        await loop.run_in_executor(None, model.quicken)
    while True:
        await asyncio.sleep(served.POLL_S)
        await loop.run_in_executor(None, service.models.look)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage, of which imports leave none, until `_become_ready` lets it begin."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        # With the protocol named: only then does asyncio send answers without waiting for more to send.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if sys.platform != "win32":  # there it would let two listen on one port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        reason = because(error) if isinstance(error, OSError) else str(error)
        raise TellapartError(
            f"The service must be able to listen on {host}:{port}; it cannot: {reason}. Try --port 0 for a free port."
        ) from error
    with listener:
        yield listener


def _hooks(counters, log) -> served.Hooks:
    def on_batch(name: str, n: int, seconds: float) -> None:
        counters.batch.labels(name).observe(n)
        counters.batch_seconds.labels(name).inc(seconds)

    def on_loaded(model: served.Model) -> None:
        counters.loaded(model.name, model.sha256, model.bundle.manifest["provenance"]["created"])

    def on_reload(name: str, error: str | None) -> None:
        counters.reloads.labels(name, "taken" if error is None else "refused").inc()
        log.write("reload", model=name, result="taken" if error is None else "refused", message=error)

    return served.Hooks(on_batch, on_loaded, on_reload)


def _decoder_ended(counters, log, why: str) -> None:
    counters.decoders.labels(why).inc()
    log.write("decoder_replaced", why=why)


def _service(limits, access, models, decoders, counters, log, version, photos) -> Service:
    from tellapart.serve.admission import Admission
    from tellapart.serve.explanations import Explanations
    from tellapart.serve.service import Service

    return Service(
        limits=limits,
        access=access,
        models=models,
        decoders=decoders,
        admission=Admission(limits.queue, limits.deadline_s),
        explanations=Explanations(limits.deadline_s, photos),
        counters=counters,
        log=log,
        version=version,
    )


def _server(service: Service) -> uvicorn.Server:
    import uvicorn

    from tellapart.serve import app, gatekeeping, protocol

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """As uvicorn's, but that a signal which was heeded is not raised again: status 0 is a clean end."""
            signals = [signal.SIGINT, signal.SIGTERM, *([signal.SIGBREAK] if sys.platform == "win32" else [])]
            before = {each: signal.signal(each, self.handle_exit) for each in signals}
            try:
                yield
            finally:
                for each, handler in before.items():
                    signal.signal(each, handler)

        def handle_exit(self, sig: int, frame: object) -> None:
            if self.should_exit:
                os._exit(128 + sig)  # asked twice: at once, decoders end with their input
            self.should_exit = True

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            service.draining = True
            service.log.write("draining", pictures=service.admission.n)
            await asyncio.sleep(LAST_CALL_S)
            await super().shutdown(sockets)
            service.log.write("end")

    limits, routes = service.limits, app.make(service)
    service.describe = routes.openapi
    return Server(
        uvicorn.Config(
            gatekeeping.Gate(routes, service),  # pyright: ignore[reportArgumentType]
            http=protocol.made(limits),
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=round(limits.idle_s),
            timeout_graceful_shutdown=round(limits.receive_s + 2 * limits.deadline_s + 5),
        )
    )
