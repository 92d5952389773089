"""Every answer that is none: one exception and one JSON shape."""

from __future__ import annotations

import json
from collections.abc import Mapping

STATUS_CODES = {  # what an error is called where nothing better is known
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "body_too_large",
    421: "wrong_host",
    422: "unusable",
    431: "headers_too_large",
    500: "internal_error",
    503: "busy",
}


class Refusal(Exception):
    """A request is not served: `status`, a `code` for programs and a `message` for people."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None, close: bool = False
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})
        if close:  # what comes further on this connection is not worth reading
            self.headers["connection"] = "close"


def busy(code: str, message: str, retry_s: float) -> Refusal:
    """503 with the seconds after which to come again."""
    return Refusal(503, code, message, headers={"retry-after": str(max(1, min(round(retry_s + 0.5), 3600)))})


def unforeseen() -> Refusal:
    """500: what should not happen."""
    return Refusal(500, "internal_error", "Something went wrong that should not. Tell who runs this service.")


def body(code: str, message: str, status: int, request_id: str) -> bytes:
    """The JSON of an error."""
    return json.dumps(
        {"error": {"code": code, "message": message, "status": status, "request_id": request_id}}
    ).encode()
