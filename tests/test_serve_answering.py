"""Files to answers: what is late is told, and what was given up leaves no trace."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tellapart.errors import PictureError
from tellapart.predict import Prediction
from tellapart.preprocess import Preprocess
from tellapart.serve import answering
from tellapart.serve.admission import Admission
from tellapart.serve.batching import Answered
from tellapart.serve.bodies import File
from tellapart.serve.counters import Counters
from tellapart.serve.decoders import Decoded
from tellapart.serve.refusals import Refusal
from tellapart.serve.settings import Limits


def service(decode: Any) -> Any:
    return SimpleNamespace(
        limits=Limits(deadline_s=0.1),
        admission=Admission(10, 0.1),
        decoders=SimpleNamespace(decode=decode),
        counters=Counters(),
    )


async def answer(path: str, square: np.ndarray) -> Answered:
    return Answered(Prediction(path, "cats", 1.0, {"cats": 1.0}), 0.0)


MODEL: Any = SimpleNamespace(
    name="pets", classes=("cats",), preprocess=Preprocess(8), batcher=SimpleNamespace(answer=answer)
)


def test_who_cannot_be_answered_in_time_is_told() -> None:
    ended: list[bool] = []

    async def decode(data: bytes, how: Preprocess, small: bool = False) -> Decoded:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(True)
            raise
        raise AssertionError

    parts = service(decode)
    with pytest.raises(Refusal, match=r"within 0\.1 s") as refused:
        asyncio.run(answering.predictions(parts, MODEL, [File("a", b"1"), File("b", b"2")], {}))
    assert (refused.value.status, refused.value.code) == (503, "deadline_passed")
    assert "retry-after" in refused.value.headers
    assert ended == [True, True]
    assert parts.admission.n == 0


def test_one_of_two_that_does_not_open() -> None:
    async def decode(data: bytes, how: Preprocess, small: bool = False) -> Decoded:
        if data == b"bad":
            raise PictureError("not a picture")
        return Decoded(np.zeros((8, 8, 3), np.uint8), None)

    parts, facts = service(decode), {}
    files = [File("a", b"good"), File("b", b"bad")]
    rows = asyncio.run(answering.predictions(parts, MODEL, files, facts))
    assert [(row.path, row.label, row.error) for row in rows] == [("a", "cats", None), ("b", None, "not a picture")]
    assert facts["pictures"] == 2
    assert parts.counters.registry.get_sample_value(
        "tellapart_pictures_total", {"model": "pets", "answer": "unreadable"}
    ) == 1  # fmt: skip
    with pytest.raises(Refusal, match="number 1 does not"):
        asyncio.run(answering.predictions(parts, MODEL, files, {}, all_or_none=True))
