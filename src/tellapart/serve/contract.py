"""What /openapi.json says beyond the routes: bodies, answers, errors and examples."""

from __future__ import annotations

from typing import Any

SUMMARY = "Pictures in; classes with calibrated probabilities out, and `unknown` where the model cannot tell."
DESCRIPTION = "Every error is JSON of one shape, `Error`. Nothing that is sent here is kept."
TAGS = [
    {"name": "pictures", "description": "Ask about pictures."},
    {"name": "models", "description": "What is served."},
    {"name": "operation", "description": "For those who run the service."},
]
MODEL_QUERY = "The name of a model that is served; the first one where none is given."
LABEL_QUERY = "The class to explain; each picture's most probable one where none is given."

PREDICT: dict[str, Any] = {"tags": ["pictures"], "summary": "Answer what is on pictures."}
EXPLAIN: dict[str, Any] = {"tags": ["pictures"], "summary": "Show where the model looked."}
MODEL: dict[str, Any] = {"tags": ["models"], "summary": "Say what a model is and how good."}
MODELS: dict[str, Any] = {"tags": ["models"], "summary": "List the models that are served."}
LIVE: dict[str, Any] = {"tags": ["operation"], "summary": "Whether the process lives; also under load."}
READY: dict[str, Any] = {"tags": ["operation"], "summary": "Whether requests should be sent here now."}
METRICS: dict[str, Any] = {"tags": ["operation"], "summary": "Counters for Prometheus."}
