"""The Open Inference Protocol, version 2, with its binary tensor extension, for clients and gateways that speak it.

https://github.com/kserve/open-inference-protocol. A model has one input, `pictures`: files as BYTES (N,), or pixels as
UINT8 (N, H, W, 3), RGB, of any height and width, which are brought to the network's square as everywhere. Outputs are
`probabilities` FP32 (N, C), `label` BYTES (N,), empty where unknown, `probability` FP32 (N,) and `unknown` BOOL (N,).
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from typing import Any

import numpy as np

from tellapart.serve import bodies
from tellapart.serve.bodies import File
from tellapart.serve.models import Model
from tellapart.serve.refusals import Refusal
from tellapart.serve.settings import Limits

HEADER = "inference-header-content-length"
VERSION = "1"
INPUT = "pictures"
MOST_NUMBERS = 2_000_000  # of pixels in JSON; more go as binary tensors
OUTPUTS = ("probabilities", "label", "probability", "unknown")
DATATYPES = {"probabilities": "FP32", "label": "BYTES", "probability": "FP32", "unknown": "BOOL"}

Asked = tuple[list[File] | list[np.ndarray], list[tuple[str, bool]], str | None]


def server(version: str) -> dict[str, Any]:
    """/v2."""
    return {"name": "tellapart", "version": version, "extensions": ["binary_tensor_data"]}


def described(model: Model) -> dict[str, Any]:
    """/v2/models/NAME."""
    shapes = {"probabilities": [-1, len(model.classes)]}
    return {
        "name": model.name,
        "versions": [VERSION],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": each, "datatype": DATATYPES[each], "shape": shapes.get(each, [-1])} for each in OUTPUTS],
    }


def check_version(version: str) -> None:
    """Raise Refusal for a version that there is not."""
    if version != VERSION:
        raise Refusal(404, "unknown_version", f"The version must be {VERSION}; got {version[:50]!r}. Leave it out.")


def asked(content: bytes, header_bytes: str | None, limits: Limits) -> Asked:
    """A body to files or pixels, outputs with whether each is to be binary, and the request's id. Raises Refusal."""
    head, binary = _parted(content, header_bytes)
    values = bodies.parsed(head, most_marks=MOST_NUMBERS)
    if not isinstance(values, dict) or not isinstance(values.get("inputs"), list) or len(values["inputs"]) != 1:
        raise _wrong('the request must be {"inputs": [one tensor named `pictures`]}')
    if not set(values) <= {"id", "parameters", "inputs", "outputs"} or not isinstance(values.get("id", ""), str):
        raise _wrong("the request must have no more than `id`, `parameters`, `inputs` and `outputs`")
    outputs = _outputs(values)
    return _input(values["inputs"][0], binary, limits), outputs, values.get("id")


def answer(
    model: Model, rows: list[Any], outputs: list[tuple[str, bool]], request_id: str | None
) -> tuple[bytes, dict[str, str]]:
    """The body of an answer and its headers; `rows` are predictions, all of pictures that were read."""
    tensors, tail = [], b""
    for name, binary in outputs:
        shape, values = _values(name, model, rows)
        tensor: dict[str, Any] = {"name": name, "shape": shape, "datatype": DATATYPES[name]}
        if binary:
            packed = _packed(DATATYPES[name], values)
            tensor["parameters"] = {"binary_data_size": len(packed)}
            tail += packed
        else:
            tensor["data"] = values
        tensors.append(tensor)
    body = {"model_name": model.name, "model_version": VERSION, "outputs": tensors}
    head = json.dumps(body if request_id is None else {"id": request_id, **body}, allow_nan=False).encode()
    if not tail:
        return head, {"content-type": "application/json"}
    return head + tail, {"content-type": "application/octet-stream", HEADER: str(len(head))}


def _parted(content: bytes, header_bytes: str | None) -> tuple[bytes, bytes | None]:
    """The JSON and what stands behind it; None where nothing does."""
    if header_bytes is None:
        return content, None
    if not header_bytes.isascii() or not header_bytes.isdigit() or int(header_bytes) > len(content):
        raise _wrong("Inference-Header-Content-Length must be the length of the JSON before the binary part")
    return content[: int(header_bytes)], content[int(header_bytes) :]


def _outputs(values: dict[str, Any]) -> list[tuple[str, bool]]:
    parameters = values.get("parameters", {})
    if not isinstance(parameters, dict):
        raise _wrong("`parameters` must be an object")
    binary = parameters.get("binary_data_output") is True
    wanted = values.get("outputs", [])
    found = []
    for each in (wanted or [{"name": name} for name in OUTPUTS]) if isinstance(wanted, list) else [None]:
        more = each.get("parameters", {}) if isinstance(each, dict) else None
        if not isinstance(each, dict) or each.get("name") not in OUTPUTS or not isinstance(more, dict):
            raise _wrong(f"`outputs` must be objects whose `name` is one of {', '.join(OUTPUTS)}")
        found.append((each["name"], more.get("binary_data", binary) is True))
    return found


def _input(tensor: Any, binary: bytes | None, limits: Limits) -> list[File] | list[np.ndarray]:
    if not isinstance(tensor, dict) or tensor.get("name") != INPUT:
        raise _wrong(f"the one input must be named `{INPUT}`")
    shape, kind = tensor.get("shape"), tensor.get("datatype")
    if (
        not isinstance(kind, str)
        or not isinstance(shape, list)
        or not all(isinstance(side, int) and not isinstance(side, bool) and 0 < side < 2**31 for side in shape)
        or (kind, len(shape)) not in {("BYTES", 1), ("UINT8", 4)}
        or (kind == "UINT8" and shape[3] != 3)
    ):
        raise _wrong("the input must be BYTES of shape [N], or UINT8 of shape [N, H, W, 3]")
    if shape[0] > limits.max_files:
        raise Refusal(413, "too_many_files", f"There must be at most {limits.max_files} pictures; got {shape[0]}.")
    parameters = tensor.get("parameters", {})
    if not isinstance(parameters, dict):
        raise _wrong("`parameters` must be an object")
    if binary is not None and "binary_data_size" in parameters:
        if parameters["binary_data_size"] != len(binary):
            raise _wrong("`binary_data_size` must be the length of what stands behind the JSON")
        return _of_bytes(binary, shape[0]) if kind == "BYTES" else _pixels(np.frombuffer(binary, np.uint8), shape)
    data = tensor.get("data")
    if not isinstance(data, list):
        raise _wrong("the input must have its `data` as a list")
    if kind == "BYTES":
        return _of_base64(data, shape[0])
    try:
        values = np.asarray(data)
    except ValueError as error:
        raise _wrong("`data` must be numbers, flat or nested like the shape") from error
    if values.dtype.kind not in "iu" or values.size == 0 or values.min() < 0 or values.max() > 255:
        raise _wrong("`data` must be whole numbers from 0 to 255")
    return _pixels(values.astype(np.uint8), shape)


def _pixels(values: np.ndarray, shape: list[int]) -> list[np.ndarray]:
    if values.size != math.prod(shape):
        raise _wrong(f"`data` must be as many values as the shape has, {math.prod(shape):,}; got {values.size:,}")
    return list(values.reshape(shape))


def _of_base64(data: list[Any], n: int) -> list[File]:
    if len(data) != n:
        raise _wrong(f"`data` must be {n} texts, as the shape says; got {len(data)}")
    try:
        return [File("", base64.b64decode(each, validate=True)) for each in data]
    except (TypeError, ValueError, binascii.Error) as error:
        raise _wrong("in JSON each of BYTES must be a file in base64") from error


def _of_bytes(binary: bytes, n: int) -> list[File]:
    """Files, each behind its length in four bytes, the lowest first."""
    files, at = [], 0
    while at + 4 <= len(binary) and len(files) < n:
        (length,) = struct.unpack_from("<I", binary, at)
        files.append(File("", binary[at + 4 : at + 4 + length]))
        at += 4 + length
    if len(files) != n or at != len(binary):
        raise _wrong(f"the binary part must be {n} files, each behind its length in 4 bytes")
    return files


def _values(name: str, model: Model, rows: list[Any]) -> tuple[list[int], list[Any]]:
    if name == "probabilities":
        return [len(rows), len(model.classes)], [share for row in rows for share in row.probabilities.values()]
    values = {"label": lambda row: row.label or "", "probability": lambda row: row.probability}
    return [len(rows)], [values.get(name, lambda row: row.unknown)(row) for row in rows]


def _packed(datatype: str, values: list[Any]) -> bytes:
    if datatype == "BYTES":
        texts = [value.encode("utf-8", "surrogateescape") for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.asarray(values, "<f4" if datatype == "FP32" else np.bool_).tobytes()


def _wrong(what: str) -> Refusal:
    return Refusal(422, "wrong_inference_request", f"{what[0].upper()}{what[1:]}. See /v2/models/NAME.")
