"""The Open Inference Protocol, byte by byte as its clients send it."""

from __future__ import annotations

import base64
import json
import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tellapart.predict import Prediction
from tellapart.serve import openinference
from tellapart.serve.refusals import Refusal
from tellapart.serve.settings import Limits

LIMITS = Limits(max_files=3)
MODEL: Any = SimpleNamespace(name="pets", classes=("cats", "dogs"))
ROWS = [
    Prediction("", "cats", 0.75, {"cats": 0.75, "dogs": 0.25}),
    Prediction("", None, 0.5, {"cats": 0.5, "dogs": 0.5}, unknown=True),
]


def body(tensor: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": [{"name": "pictures", **tensor}], **more}).encode()


def test_files_in_base64() -> None:
    data = [base64.b64encode(each).decode() for each in (b"one", b"")]
    files, outputs, name = openinference.asked(
        body({"shape": [2], "datatype": "BYTES", "data": data}, id="7"), None, LIMITS
    )
    assert [each.data for each in files] == [b"one", b""]  # pyright: ignore[reportAttributeAccessIssue]
    assert outputs == [(each, False) for each in openinference.OUTPUTS]
    assert name == "7"


def test_files_in_binary() -> None:
    tail = struct.pack("<I", 3) + b"one" + struct.pack("<I", 0)
    head = body({"shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(tail)}})
    files, _, _ = openinference.asked(head + tail, str(len(head)), LIMITS)
    assert [each.data for each in files] == [b"one", b""]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("nested", [False, True])
def test_pixels(nested: bool) -> None:
    pixels = np.arange(2 * 4 * 3 * 3, dtype=np.uint8).reshape(2, 4, 3, 3)
    shape, kind = list(pixels.shape), "UINT8"
    data = pixels.tolist() if nested else pixels.ravel().tolist()
    found, _, _ = openinference.asked(body({"shape": shape, "datatype": kind, "data": data}), None, LIMITS)
    np.testing.assert_array_equal(np.stack(found), pixels)  # pyright: ignore[reportArgumentType, reportCallIssue]
    head = body({"shape": shape, "datatype": kind, "parameters": {"binary_data_size": pixels.size}})
    found, _, _ = openinference.asked(head + pixels.tobytes(), str(len(head)), LIMITS)
    np.testing.assert_array_equal(np.stack(found), pixels)  # pyright: ignore[reportArgumentType, reportCallIssue]


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ({"shape": [1], "datatype": "FP32", "data": [1.0]}, "BYTES of shape"),
        ({"shape": [1, 2, 2, 4], "datatype": "UINT8", "data": [0] * 16}, "BYTES of shape"),
        ({"shape": [1, 2, 2, 3], "datatype": "UINT8", "data": [0] * 11}, "12; got 11"),
        ({"shape": [1, 1, 1, 3], "datatype": "UINT8", "data": [0, 1, 256]}, "from 0 to 255"),
        ({"shape": [1, 1, 1, 3], "datatype": "UINT8", "data": [0, 1, 0.5]}, "from 0 to 255"),
        ({"shape": [1, 1, 1, 3], "datatype": "UINT8", "data": [[0], [1, 2]]}, "numbers, flat or nested"),
        ({"shape": [2], "datatype": "BYTES", "data": ["aaaa"]}, "2 texts"),
        ({"shape": [1], "datatype": "BYTES", "data": ["é"]}, "base64"),
        ({"shape": [1], "datatype": "BYTES", "data": [7]}, "base64"),
        ({"shape": [True], "datatype": "BYTES", "data": ["aaaa"]}, "BYTES of shape"),
        ({"shape": [1], "datatype": "BYTES"}, "as a list"),
        ({"shape": [1], "datatype": {}, "data": ["aaaa"]}, "BYTES of shape"),
        ({"shape": [1], "datatype": [], "data": ["aaaa"]}, "BYTES of shape"),
    ],
)
def test_wrong_tensors_are_told(tensor: dict[str, Any], message: str) -> None:
    with pytest.raises(Refusal, match=message) as refused:
        openinference.asked(body(tensor), None, LIMITS)
    assert refused.value.status == 422


@pytest.mark.parametrize("tail", [b"", b"\x05\0\0\0one", b"\x03\0\0\0one!", b"\xff\xff\xff\xff"])
def test_binary_that_does_not_fit_is_told(tail: bytes) -> None:
    head = body({"shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(tail)}})
    with pytest.raises(Refusal, match="each behind its length"):
        openinference.asked(head + tail, str(len(head)), LIMITS)


def test_too_many_are_refused() -> None:
    with pytest.raises(Refusal, match="at most 3") as refused:
        openinference.asked(body({"shape": [4], "datatype": "BYTES", "data": ["aaaa"] * 4}), None, LIMITS)
    assert refused.value.status == 413
    with pytest.raises(Refusal, match="one tensor"):
        openinference.asked(b'{"inputs": []}', None, LIMITS)
    with pytest.raises(Refusal, match="length of the JSON"):
        openinference.asked(b"{}", "99", LIMITS)


def test_answers_in_json() -> None:
    content, headers = openinference.answer(MODEL, ROWS, [("probabilities", False), ("label", False)], "7")
    assert headers == {"content-type": "application/json"}
    assert json.loads(content) == {
        "id": "7",
        "model_name": "pets",
        "model_version": "1",
        "outputs": [
            {"name": "probabilities", "shape": [2, 2], "datatype": "FP32", "data": [0.75, 0.25, 0.5, 0.5]},
            {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["cats", ""]},
        ],
    }


def test_answers_in_binary() -> None:
    asked = [("probability", True), ("unknown", False), ("label", True), ("unknown", True)]
    content, headers = openinference.answer(MODEL, ROWS, asked, None)
    n = int(headers["inference-header-content-length"])
    outputs = json.loads(content[:n])["outputs"]
    assert [each.get("parameters", {}).get("binary_data_size") for each in outputs] == [8, None, 12, 2]
    assert outputs[1]["data"] == [False, True]
    assert content[n:] == struct.pack("<2f", 0.75, 0.5) + b"\x04\0\0\0cats\0\0\0\0" + b"\0\x01"
