"""What the service counts, for Prometheus, in a registry of its own."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Counters:
    """All metrics of one service. Label values are from closed sets: routes, statuses, models, codes of errors."""

    def __init__(self) -> None:
        disable_created_metrics()  # a second line for each, which nobody asks for
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "tellapart_requests", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "tellapart_request_seconds", "Seconds from a request's head to its answer.", ["route"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.pictures = Counter("tellapart_pictures", "Pictures answered.", ["model", "answer"], registry=registry)
        self.batch = Histogram(
            "tellapart_batch_pictures", "Pictures that a network saw at once.", ["model"],
            buckets=BATCHES, registry=registry,
        )  # fmt: skip
        self.batch_seconds = Counter(
            "tellapart_network_seconds", "Seconds in which a network computed.", ["model"], registry=registry
        )
        self.rejected = Counter("tellapart_rejected", "Requests refused, by reason.", ["reason"], registry=registry)
        self.decoders = Counter(
            "tellapart_decoders_replaced",
            "Processes that opened pictures and were replaced.",
            ["why"],
            registry=registry,
        )
        self.reloads = Counter("tellapart_reloads", "New model files.", ["model", "result"], registry=registry)
        self.queue = Gauge("tellapart_queue_pictures", "Pictures accepted and not answered yet.", registry=registry)
        self.receiving = Gauge("tellapart_receiving_bytes", "Bytes of requests that are held.", registry=registry)
        self.ready = Gauge("tellapart_ready", "1 where requests are taken.", registry=registry)
        self._info = _Info()
        registry.register(self._info)

    def loaded(self, name: str, sha256: str, created: str) -> None:
        """A model is there, or is another one now."""
        self._info.models[name] = (sha256, created)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)


class _Info(Collector):
    """One line a model, with the hash of the file that is served now."""

    def __init__(self) -> None:
        self.models: dict[str, tuple[str, str]] = {}

    def collect(self):
        family = GaugeMetricFamily("tellapart_model_info", "The models served.", labels=["model", "sha256", "created"])
        for name, (sha256, created) in self.models.items():
            family.add_metric([name, sha256, created], 1)
        yield family
