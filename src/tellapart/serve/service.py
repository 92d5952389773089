"""What one running service consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tellapart.serve.admission import Admission
from tellapart.serve.counters import Counters
from tellapart.serve.decoders import Decoders
from tellapart.serve.explanations import Explanations
from tellapart.serve.logs import Log
from tellapart.serve.models import Models
from tellapart.serve.settings import Access, Limits

FULL_S = 2.0  # of refusals without a pause, after which a balancer should send requests elsewhere


@dataclass(slots=True, eq=False)
class Service:
    """The parts of a service, made in `running`, used by `app`."""

    limits: Limits
    access: Access
    models: Models
    decoders: Decoders
    admission: Admission
    explanations: Explanations
    counters: Counters
    log: Log
    version: str  # of this package
    describe: Callable[[], Any] = dict  # makes the document of /openapi.json, which takes a moment, and keeps it
    warm: bool = False  # models are loaded and decoders run
    draining: bool = False  # no new work; what was accepted is finished
    receiving: int = 0  # bytes of bodies that are held

    def unready(self) -> str | None:
        """Why no requests should be sent here now; None where they should."""
        if self.draining:
            return "it is ending"
        if not self.warm:
            return "it is starting"
        if self.admission.full_s() >= FULL_S:
            return "its queue is full"
        return None
