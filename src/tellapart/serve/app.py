"""The routes: what is asked by which address, and the JSON of the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from tellapart.serve import answering, bodies, contract, counters, openinference, page, refusals
from tellapart.serve.refusals import Refusal
from tellapart.serve.service import Service
from tellapart.serve.settings import EXPLAIN_FILES

LEFT = 499  # as nginx logs a client that left
ModelName = Annotated[str | None, Query(description=contract.MODEL_QUERY, examples=["pets"])]
Label = Annotated[str | None, Query(description=contract.LABEL_QUERY, examples=["cats"])]


def make(service: Service) -> FastAPI:
    """The application of a service, without the gate."""
    app = FastAPI(
        title="tellapart",
        summary=contract.SUMMARY,
        description=contract.DESCRIPTION,
        version=service.version,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        openapi_tags=contract.TAGS,
    )
    for kind, handler in (
        (Refusal, _refused),
        (HTTPException, _no_route),
        (RequestValidationError, _invalid),
        (ClientDisconnect, _left),
        (Exception, _unforeseen),
    ):
        app.add_exception_handler(kind, handler)  # pyright: ignore[reportArgumentType]

    @app.post("/v1/predict", **contract.PREDICT)
    async def predict(request: Request, model: ModelName = None) -> Response:
        with service.models.held(model) as chosen:
            service.admission.check()  # before anything is received for nothing
            files = await bodies.read(_content_type(request), _chunks(request), service.limits)
            rows = await answering.predictions(service, chosen, files, _facts(request))
        return _json({"model": chosen.name, "predictions": [row.as_dict() for row in rows]})

    @app.post("/v1/explain", **contract.EXPLAIN)
    async def explain(request: Request, model: ModelName = None, label: Label = None) -> Response:
        with service.models.held(model) as chosen:
            service.admission.check()
            service.explanations.admission.check()
            files = await bodies.read(
                _content_type(request),
                _chunks(request),
                service.limits,
                most=min(EXPLAIN_FILES, service.limits.max_files),
            )
            rows = await answering.explanations(service, chosen, files, label, _facts(request))
        return _json({"model": chosen.name, "explanations": rows})

    @app.get("/v1/model", **contract.MODEL)
    async def model(model: ModelName = None) -> Response:
        return _json(_facts_of(service, service.models.pick(model)))

    @app.get("/v1/models", **contract.MODELS)
    async def models() -> Response:
        return _json({"models": [_facts_of(service, one) for one in service.models.all()]})

    @app.get("/livez", **contract.LIVE)
    async def livez() -> Response:
        return _json({"status": "alive"})

    @app.get("/readyz", **contract.READY)
    async def readyz() -> Response:
        _check_ready(service)
        return _json({"status": "ready"})

    @app.get("/metrics", **contract.METRICS)
    async def metrics() -> Response:
        service.counters.queue.set(service.admission.n)
        service.counters.receiving.set(service.receiving)
        service.counters.ready.set(service.unready() is None)
        return Response(service.counters.text(), headers={"content-type": counters.CONTENT_TYPE})

    _add_open_inference(app, service)
    page.add(app)
    schema = app.openapi
    app.openapi = lambda: app.openapi_schema or contract.completed(schema())
    return app


def _add_open_inference(app: FastAPI, service: Service) -> None:
    """The routes of the Open Inference Protocol; those with a version are the same again."""

    @app.get("/v2", **contract.V2_SERVER)
    async def v2() -> Response:
        return _json(openinference.server(service.version))

    @app.get("/v2/health/live", **contract.V2_LIVE)
    async def v2_live() -> Response:
        return _json({"live": True})

    @app.get("/v2/health/ready", **contract.V2_READY)
    async def v2_ready() -> Response:
        _check_ready(service)
        return _json({"ready": True})

    async def described(name: str) -> Response:
        return _json(openinference.described(service.models.pick(name)))

    async def ready(name: str) -> Response:
        _check_ready(service)
        return _json({"name": service.models.pick(name).name, "ready": True})

    async def infer(request: Request, name: str) -> Response:
        with service.models.held(name) as model:
            service.admission.check()
            content = await bodies.whole(_chunks(request))
            given, outputs, request_id = await asyncio.to_thread(
                openinference.asked, content, request.headers.get(openinference.HEADER), service.limits
            )
            rows = await answering.predictions(service, model, given, _facts(request), all_or_none=True)
        content, headers = openinference.answer(model, rows, outputs, request_id)
        return Response(content, headers=headers)

    for ending, function, method, route in (
        ("", described, "GET", contract.V2_MODEL),
        ("/ready", ready, "GET", contract.V2_MODEL_READY),
        ("/infer", infer, "POST", contract.V2_INFER),
    ):
        for middle, in_schema in (("", True), ("/versions/{version}", False)):
            app.add_api_route(
                f"/v2/models/{{name}}{middle}{ending}",
                _of_version(function) if middle else function,
                methods=[method],
                include_in_schema=in_schema,
                **route,
            )


def _of_version(function: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    """The same route below a version."""
    if "request" in function.__annotations__:

        async def with_request(request: Request, name: str, version: str) -> Response:
            openinference.check_version(version)
            return await function(request, name)

        return with_request

    async def without(name: str, version: str) -> Response:
        openinference.check_version(version)
        return await function(name)

    return without


def _check_ready(service: Service) -> None:
    reason = service.unready()
    if reason is not None:
        raise refusals.busy("not_ready", f"The service must be ready; {reason}. Ask again in a second.", 0)


def _facts_of(service: Service, model: Any) -> dict[str, Any]:
    limits = service.limits
    return model.facts() | {
        "limits": {
            "max_body_bytes": limits.max_body_bytes,
            "max_files": limits.max_files,
            "max_explain_files": min(EXPLAIN_FILES, limits.max_files),
            "max_pixels": limits.max_pixels,
        },
        "has_photos": service.explanations.has_photos,
    }


def _json(values: Any, status: int = 200) -> Response:
    return Response(json.dumps(values, allow_nan=False).encode(), status, media_type="application/json")


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "")


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        if chunk:
            yield chunk


def _facts(request: Request) -> dict[str, Any]:
    return request.state.facts


async def _refused(request: Request, error: Refusal) -> Response:
    _facts(request)["error"] = error.code
    content = refusals.body(error.code, error.message, error.status, request.state.request_id)
    return Response(content, error.status, headers=error.headers, media_type="application/json")


async def _no_route(request: Request, error: HTTPException) -> Response:
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        message = f"The method must be {allowed or 'one that this address takes'}; got another. Use it."
    elif error.status_code == 404:
        message = "There is nothing at this address. What there is stands in /openapi.json."
    else:
        message = str(error.detail)
    code = refusals.STATUS_CODES.get(error.status_code, "error")
    return await _refused(request, Refusal(error.status_code, code, message, headers=error.headers))


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return await _refused(request, Refusal(422, "wrong_value", f"`{where}` must be right; {first['msg']}. Correct it."))


async def _left(request: Request, error: ClientDisconnect) -> Response:
    """The client went away while it sent: nobody hears this, and the log has it as a request like others."""
    return await _refused(request, Refusal(LEFT, "client_left", "The request must come whole; the client left."))


async def _unforeseen(request: Request, error: Exception) -> Response:
    """The answer; the gate logs the error itself, which goes on to it."""
    return await _refused(request, refusals.unforeseen())
