"""What /openapi.json says: bodies, answers, errors and examples of every route."""

from __future__ import annotations

from typing import Any

SUMMARY = "Pictures in; classes with calibrated probabilities out, and `unknown` where the model cannot tell."
DESCRIPTION = "Every error is JSON of one shape, `Error`. Nothing that is sent here is kept."
TAGS = [
    {"name": "pictures", "description": "Ask about pictures."},
    {"name": "models", "description": "What is served."},
    {"name": "operation", "description": "For those who run the service."},
    {"name": "open inference protocol", "description": "The same by the protocol of KServe, Triton and others."},
]
MODEL_QUERY = "The name of a model that is served; the first one where none is given."
LABEL_QUERY = "The class to explain; each picture's most probable one where none is given."

# A picture of 2 × 2 px, so that the examples can be sent as they stand.
TINY_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAE0lEQVR4nGP4z8DAAMIM/zk5OQEaKgMZ7jV9AAAAAABJRU5ErkJggg=="

_share = {"type": "number", "minimum": 0, "maximum": 1}
_text = {"type": "string"}
_nullable_text = {"type": ["string", "null"]}
_count = {"type": "integer", "minimum": 0}


def _object(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An object that has just these properties, all of them."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **more,
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_data_url = {"type": "string", "pattern": "^data:image/(png|jpeg);base64,"}
_tensor = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": _text,
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 4},
        "datatype": {"enum": ["UINT8", "BYTES", "FP32", "BOOL"]},
        "data": {"type": "array"},
        "parameters": {"type": "object"},
    },
}

SCHEMAS: dict[str, Any] = {
    "Error": _object(
        {
            "error": _object(
                {
                    "code": {"type": "string", "description": "For programs.", "examples": ["body_too_large"]},
                    "message": {"type": "string", "description": "For people: what must hold, what came, what to do."},
                    "status": {"type": "integer", "minimum": 400, "maximum": 599},
                    "request_id": _text,
                }
            )
        }
    ),
    "Files": _object(
        {
            "files": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "anyOf": [
                        {"type": "string", "contentEncoding": "base64"},
                        {
                            "type": "object",
                            "required": ["data"],
                            "additionalProperties": False,
                            "properties": {"data": {"type": "string", "contentEncoding": "base64"}, "name": _text},
                        },
                    ]
                },
            }
        }
    ),
    "Prediction": _object(
        {
            "path": {"type": "string", "description": "The sender's name of the file, or nothing."},
            "label": {"type": ["string", "null"], "description": "The answer; null where unknown or unreadable."},
            "probability": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "probabilities": {"type": "object", "additionalProperties": _share, "description": "By class; sum 1."},
            "unknown": {"type": "boolean", "description": "Whether the model declines to answer."},
            "error": {"type": ["string", "null"], "description": "Why the picture could not be read."},
            "reason": {"type": ["string", "null"], "description": "Why the model declines."},
            "label_set": {"type": ["array", "null"], "items": _text},
            "strangeness": {
                "type": ["number", "null"],
                "minimum": 0,
                "maximum": 1,
                "description": "Share of the model's own held-out pictures that are less strange.",
            },
        }
    ),
    "Predictions": _object({"model": _text, "predictions": {"type": "array", "items": _ref("Prediction")}}),
    "Explanation": _object(
        {
            "path": _text,
            "label": {"type": ["string", "null"], "description": "The class that is explained."},
            "probability": {"type": ["number", "null"], "minimum": 0, "maximum": 1, "description": "Of that class."},
            "prediction": _ref("Prediction"),
            "heat_map": {
                "anyOf": [
                    {"type": "null"},
                    _object(
                        {
                            "width": {"type": "integer", "minimum": 1},
                            "height": {"type": "integer", "minimum": 1},
                            "values": {"type": "array", "items": {"type": "array", "items": _share}},
                        }
                    ),
                ]
            },
            "overlay": {"anyOf": [{"type": "null"}, _data_url], "description": "The heat map over the picture."},
            "picture": {"anyOf": [{"type": "null"}, _data_url], "description": "Upright, the longer side 320 px."},
            "nearest": {
                "type": "array",
                "items": _object(
                    {
                        "content": {"type": "string", "description": "SHA-256 of a training picture's file."},
                        "label": _nullable_text,
                        "similarity": {"type": "number", "minimum": -1, "maximum": 1},
                        "thumbnail": {"anyOf": [{"type": "null"}, _data_url]},
                    }
                ),
            },
            "error": _nullable_text,
        }
    ),
    "Explanations": _object({"model": _text, "explanations": {"type": "array", "items": _ref("Explanation")}}),
    "Model": _object(
        {
            "name": _text,
            "classes": {"type": "array", "items": _text, "minItems": 2},
            "size_px": {"type": "integer", "minimum": 8, "maximum": 1024},
            "fit": {"enum": ["squash", "crop"]},
            "metrics": _object(
                {
                    "split": _nullable_text,
                    "n": {"type": ["integer", "null"]},
                    "accuracy": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                    "accuracy_interval": {"type": ["array", "null"], "items": _share},
                }
            ),
            "abstention": {"type": "object"},
            "pictures": {"type": "object", "additionalProperties": _count},
            "created": _text,
            "hash": {"type": "string", "description": "SHA-256 of the bundle's file."},
            "limits": _object(
                {"max_body_bytes": _count, "max_files": _count, "max_explain_files": _count, "max_pixels": _count}
            ),
            "has_photos": {"type": "boolean"},
        }
    ),
    "Models": _object({"models": {"type": "array", "items": _ref("Model")}}),
    "Status": _object({"status": _text}),
    "InferenceServer": _object({"name": _text, "version": _text, "extensions": {"type": "array", "items": _text}}),
    "InferenceLive": _object({"live": {"type": "boolean"}}),
    "InferenceReady": _object({"ready": {"type": "boolean"}}),
    "InferenceModelReady": _object({"name": _text, "ready": {"type": "boolean"}}),
    "InferenceModel": _object(
        {
            "name": _text,
            "versions": {"type": "array", "items": _text},
            "platform": _text,
            "inputs": {"type": "array", "items": {"type": "object"}},
            "outputs": {"type": "array", "items": {"type": "object"}},
        }
    ),
    "InferenceRequest": {
        "type": "object",
        "required": ["inputs"],
        "additionalProperties": False,
        "properties": {
            "id": _text,
            "parameters": {"type": "object"},
            "inputs": {
                "type": "array",
                "minItems": 1,
                "maxItems": 1,
                "items": {
                    "type": "object",
                    "required": ["name", "shape", "datatype", "data"],
                    "properties": {
                        "name": {"enum": ["pictures"]},
                        "datatype": {"enum": ["UINT8", "BYTES"]},
                        "shape": {
                            "type": "array",
                            "items": {"type": "integer", "minimum": 1},
                            "minItems": 1,
                            "maxItems": 4,
                        },
                        "data": {"type": "array"},
                        "parameters": {"type": "object"},
                    },
                },
            },
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"enum": ["probabilities", "label", "probability", "unknown"]},
                        "parameters": {"type": "object"},
                    },
                },
            },
        },
    },
    "InferenceAnswer": {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "id": _text,
            "model_name": _text,
            "model_version": _text,
            "outputs": {"type": "array", "items": _tensor},
        },
    },
}

EXAMPLE_PREDICTION: dict[str, Any] = {
    "path": "cat.jpg",
    "label": "cats",
    "probability": 0.97,
    "probabilities": {"cats": 0.97, "dogs": 0.03},
    "unknown": False,
    "error": None,
    "reason": None,
    "label_set": None,
    "strangeness": 0.41,
}
_ERRORS = {
    400: "The Host header is missing or none, or the request is no HTTP.",
    401: "The API key is missing or another.",
    403: "A page of another origin asks.",
    404: "There is no such model or label.",
    408: "The request did not arrive in time.",
    413: "The body is too large, or has too many parts or files.",
    421: "The Host is not one of this service.",
    422: "The body is not what it must be, or no picture in it can be opened within the limits.",
    500: "Something went wrong that should not.",
    503: "The queue is full, the deadline has passed, no picture can be opened now, or not ready. See Retry-After.",
}
_RETRY = {"Retry-After": {"description": "Seconds after which to ask again.", "schema": {"type": "integer"}}}


def _responses(schema: str, example: Any, *errors: int) -> dict[int | str, Any]:
    content = {"schema": _ref(schema)} | ({} if example is None else {"example": example})
    found: dict[int | str, Any] = {
        200: {"description": "The answer.", "content": {"application/json": content}},
    }
    for status in sorted({400, 401, 403, 421, 500, *errors}):
        found[status] = {
            "description": _ERRORS[status],
            "content": {"application/json": {"schema": _ref("Error")}},
            **({"headers": _RETRY} if status == 503 else {}),
        }
    return found


def _route(tag: str, summary: str, responses: dict[int | str, Any], body: Any = None) -> dict[str, Any]:
    route: dict[str, Any] = {"tags": [tag], "summary": summary, "responses": responses}
    if body is not None:
        route["openapi_extra"] = {"requestBody": {"required": True, "content": body}}
    return route


_FILES_EXAMPLES = {
    "names": {"value": {"files": [{"name": "cat.png", "data": TINY_PNG}]}},
    "bare": {"value": {"files": [TINY_PNG]}},
}
PICTURES_BODY: dict[str, Any] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["files"],
            "properties": {
                "files": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "string", "format": "binary"},
                    "description": "One part for each picture, all named `files`, each with a file name.",
                }
            },
            "additionalProperties": False,
        },
    },
    "application/json": {"schema": _ref("Files"), "examples": _FILES_EXAMPLES},
    "application/octet-stream": {
        "schema": {"type": "string", "format": "binary", "description": "One picture; any other content type too."}
    },
}
_WORK = (404, 408, 413, 422, 503)

PREDICT = _route(
    "pictures",
    "Answer what is on pictures.",
    _responses("Predictions", {"model": "pets", "predictions": [EXAMPLE_PREDICTION]}, *_WORK),
    PICTURES_BODY,
)
EXPLAIN = _route(
    "pictures",
    "Show where the model looked.",
    _responses(
        "Explanations",
        {
            "model": "pets",
            "explanations": [
                {
                    "path": "cat.jpg",
                    "label": "cats",
                    "probability": 0.97,
                    "prediction": EXAMPLE_PREDICTION,
                    "heat_map": {"width": 2, "height": 2, "values": [[0.0, 0.4], [1.0, 0.2]]},
                    "overlay": f"data:image/png;base64,{TINY_PNG}",
                    "picture": f"data:image/png;base64,{TINY_PNG}",
                    "nearest": [{"content": "9f86d081…", "label": "cats", "similarity": 0.8, "thumbnail": None}],
                    "error": None,
                }
            ],
        },
        *_WORK,
    ),
    PICTURES_BODY,
)
MODEL = _route("models", "Say what a model is and how good.", _responses("Model", None, 404, 422, 503))
MODELS = _route("models", "List the models that are served.", _responses("Models", None))
LIVE = _route("operation", "Whether the process lives, also under load.", _responses("Status", {"status": "alive"}))
READY = _route("operation", "Whether to send requests here now.", _responses("Status", {"status": "ready"}, 503))
METRICS = _route("operation", "Counters for Prometheus.", _responses("Status", None))
METRICS["responses"][200]["content"] = {"text/plain": {"schema": {"type": "string"}}}

_V2 = "open inference protocol"
V2_SERVER = _route(_V2, "Say what this server is.", _responses("InferenceServer", None))
V2_LIVE = _route(_V2, "Whether the process lives.", _responses("InferenceLive", {"live": True}))
V2_READY = _route(_V2, "Whether to send requests here now.", _responses("InferenceReady", {"ready": True}, 503))
V2_MODEL = _route(_V2, "Say what a model takes and gives.", _responses("InferenceModel", None, 404, 422, 503))
V2_MODEL_READY = _route(
    _V2, "Whether a model answers.", _responses("InferenceModelReady", {"name": "pets", "ready": True}, 404, 422, 503)
)
V2_INFER = _route(
    _V2,
    "Answer what is on pictures.",
    _responses(
        "InferenceAnswer",
        {
            "model_name": "pets",
            "model_version": "1",
            "outputs": [{"name": "probabilities", "shape": [1, 2], "datatype": "FP32", "data": [0.97, 0.03]}],
        },
        *_WORK,
    ),
    {
        "application/json": {
            "schema": _ref("InferenceRequest"),
            "examples": {
                "a file": {
                    "value": {"inputs": [{"name": "pictures", "shape": [1], "datatype": "BYTES", "data": [TINY_PNG]}]}
                },
                "pixels": {
                    "value": {
                        "inputs": [
                            {
                                "name": "pictures",
                                "shape": [1, 2, 2, 3],
                                "datatype": "UINT8",
                                "data": [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9],
                            }
                        ]
                    }
                },
            },
        }
    },
)


def completed(schema: dict[str, Any]) -> dict[str, Any]:
    """The document that FastAPI made, with the schemas named here and how to give a key."""
    components = schema.setdefault("components", {})
    components["schemas"] = dict(SCHEMAS)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, operations in schema["paths"].items():
        if path.startswith(("/v1", "/v2", "/metrics")):
            for operation in operations.values():
                operation["security"] = [{}, {"bearer": []}, {"key": []}]  # the first: where no key is asked for
    return schema
