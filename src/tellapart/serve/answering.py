"""Files to answers: each is opened by a decoder, then asked about in a batch with those of other requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tellapart import preprocess
from tellapart.errors import PictureError
from tellapart.files import shown
from tellapart.predict import Prediction
from tellapart.serve.bodies import File
from tellapart.serve.decoders import Decoded
from tellapart.serve.explanations import unexplained
from tellapart.serve.models import Model
from tellapart.serve.refusals import Refusal, busy
from tellapart.serve.service import Service

Facts = dict[str, Any]  # of a request, for its line in the log


async def predictions(
    service: Service,
    model: Model,
    given: list[File] | list[np.ndarray],
    facts: Facts,
    *,
    all_or_none: bool = False,
) -> list[Prediction]:
    """The answer to each picture, one that cannot be opened with its error.

    Args:
        service: whose limits hold.
        model: held.
        given: files, or pixels, uint8 (H, W, 3).
        facts: are added to.
        all_or_none: refuse all where one cannot be opened.

    Raises:
        Refusal: no place, no time, or no picture could be opened.
    """
    with _accepted(service, len(given), facts):
        async with _deadline(service):
            found = await asyncio.gather(*(_answer(service, model, one, facts) for one in given))
        rows = [answer for answer, _ in found]
        _check_one_was_read(rows)
    _count(service, model, rows)
    if all_or_none:
        for i, row in enumerate(rows):
            if row.error is not None:
                raise Refusal(422, "unreadable", f"All pictures must open; number {i} does not: {row.error}.")
    return rows


async def explanations(
    service: Service, model: Model, files: list[File], label: str | None, facts: Facts
) -> list[dict[str, Any]]:
    """The explanation of each answer, as /v1/explain has it. Raises Refusal, also where none can be opened."""
    if label is not None and label not in model.classes:
        known = ", ".join(shown(name) for name in model.classes[:20])
        raise Refusal(
            404,
            "unknown_label",
            f"`label` must be a class of the model ({known}); got '{shown(label[:100])}'. Name one.",
        )
    with service.explanations.admission.admitted(len(files)):
        async with _deadline(service):
            with _accepted(service, len(files), facts):
                found = await asyncio.gather(*(_answer(service, model, file, facts, small=True) for file in files))
                rows = [answer for answer, _ in found]
                _check_one_was_read(rows)
            explained = await asyncio.gather(
                *(
                    service.explanations.explain(model, seen, answer, label)
                    for answer, seen in found
                    if seen is not None
                )
            )
    _count(service, model, rows)
    left = iter(explained)
    return [unexplained(answer) if seen is None else next(left) for answer, seen in found]


async def _answer(
    service: Service, model: Model, one: File | np.ndarray, facts: Facts, *, small: bool = False
) -> tuple[Prediction, Decoded | None]:
    name = one.name if isinstance(one, File) else ""
    try:
        if isinstance(one, File):
            seen = await service.decoders.decode(one.data, model.preprocess, small=small)
        else:
            seen = Decoded(await asyncio.to_thread(preprocess.fit, one, model.preprocess), None)
    except PictureError as error:
        return Prediction(name, None, None, error=error.reason), None
    answered = await model.batcher.answer(name, seen.square)
    facts["queue_ms"] = max(facts.get("queue_ms", 0.0), round(1000 * answered.waited_s, 1))
    return answered.prediction, seen


@contextlib.contextmanager
def _accepted(service: Service, n: int, facts: Facts) -> Iterator[None]:
    facts["pictures"] = n
    with service.admission.admitted(n):
        yield


@contextlib.asynccontextmanager
async def _deadline(service: Service):
    try:
        async with asyncio.timeout(service.limits.deadline_s):
            yield
    except TimeoutError as error:
        raise busy(
            "deadline_passed",
            f"An answer must come within {service.limits.deadline_s:g} s; this one did not. Ask again later.",
            service.admission.wait_s(),
        ) from error


def _check_one_was_read(rows: list[Prediction]) -> None:
    if all(row.error is not None for row in rows):
        what = "The picture" if len(rows) == 1 else f"At least one of {len(rows)} pictures"
        raise Refusal(422, "unreadable", f"{what} must open; {rows[0].error}. Send JPEG, PNG or another common format.")


def _count(service: Service, model: Model, rows: list[Prediction]) -> None:
    for row in rows:
        kind = "unreadable" if row.error is not None else "unknown" if row.unknown else "answered"
        service.counters.pictures.labels(model.name, kind).inc()
