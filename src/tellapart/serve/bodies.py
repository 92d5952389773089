"""A request's body to the files in it, in memory alone, within the limits.

Three kinds: multipart with parts named `files`; JSON with base64; and any other content type, which is the bytes of one
picture.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from tellapart.serve.refusals import Refusal
from tellapart.serve.settings import Limits

MOST_NAME = 255  # characters of a file's name
MOST_FIELD_BYTES = 1024  # of a part that is no file
MOST_JSON_MARKS = 20_000  # brackets and commas in JSON: what is parsed at once must not hold up all others


@dataclass(frozen=True, slots=True)
class File:
    """One file as it was sent."""

    name: str  # the sender's, shown only; "" where there is none
    data: bytes


async def read(
    content_type: str, chunks: AsyncIterator[bytes], limits: Limits, *, most: int | None = None
) -> list[File]:
    """The files of a body, one or more and at most `most`, or the limit of all requests. Raises Refusal."""
    most = most or limits.max_files
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        files = await _of_multipart(content_type, chunks, limits, most)
    elif kind == "application/json":
        files = _of_json(await whole(chunks), most)
    else:
        files = [File("", await whole(chunks))]
        if not files[0].data:
            raise Refusal(422, "no_pictures", "The body must be a picture's bytes; it is empty. Send one.")
    if not files:
        raise Refusal(422, "no_pictures", "There must be one picture or more; got none. Send parts named `files`.")
    return files


async def whole(chunks: AsyncIterator[bytes]) -> bytes:
    """All of a body."""
    return b"".join([chunk async for chunk in chunks])


def parsed(content: bytes, *, most_marks: int = MOST_JSON_MARKS) -> Any:
    """JSON to plain values. Raises Refusal where it is none, or so rich in parts that it would hold up others."""
    if content.count(b",") + content.count(b"[") + content.count(b"{") > most_marks:
        raise Refusal(
            413, "too_many_values", f"JSON must have at most {most_marks:,} values; got more. Send less at a time."
        )
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # ValueError: also bytes that are no UTF-8
        what = " ".join(str(error).split())[:200]
        raise Refusal(422, "not_json", f"The body must be JSON; it is not ({what}). Check how it was made.") from error


def _of_json(content: bytes, most: int) -> list[File]:
    values = parsed(content)
    if not isinstance(values, dict) or set(values) != {"files"} or not isinstance(values["files"], list):
        raise Refusal(
            422,
            "wrong_json",
            'The JSON must be {"files": ["<base64>" or {"name": …, "data": "<base64>"}, …]}; got another.',
        )
    _check_count(len(values["files"]), most)
    return [_json_file(i, one) for i, one in enumerate(values["files"])]


def _json_file(i: int, one: Any) -> File:
    if isinstance(one, str):
        one = {"data": one}
    if (
        not isinstance(one, dict)
        or not {"data"} <= set(one) <= {"data", "name"}
        or not isinstance(one["data"], str)
        or not isinstance(one.get("name", ""), str)
    ):
        raise Refusal(
            422, "wrong_json", f'`files[{i}]` must be base64, or {{"name": text, "data": base64}}; got another value.'
        )
    try:
        return File(one.get("name", "")[:MOST_NAME], base64.b64decode(one["data"], validate=True))
    except (binascii.Error, ValueError) as error:
        raise Refusal(
            422, "not_base64", f"`files[{i}]` must be base64; it is not ({error}). Encode its bytes."
        ) from error


async def _of_multipart(content_type: str, chunks: AsyncIterator[bytes], limits: Limits, most: int) -> list[File]:
    from starlette.datastructures import Headers, UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    class InMemory(MultiPartParser):
        spool_max_size = limits.max_body_bytes + 1  # never reached, so that nothing touches the disk

    parser = InMemory(
        Headers({"content-type": content_type}),
        chunks,  # pyright: ignore[reportArgumentType]
        max_files=most,
        max_fields=most,
        max_part_size=MOST_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many" in error.message or "exceeded" in error.message:
            raise Refusal(
                413,
                "too_many_parts",
                f"There must be at most {most} parts, each a file; got more ({error.message}) "
                f"Send fewer at a time, each with a file name.",
                close=True,
            ) from error
        raise Refusal(
            422,
            "not_multipart",
            f"The body must be multipart; it is not ({error.message[:200]}). Check how it was made.",
        ) from error
    try:
        files = []
        for name, part in form.multi_items():
            if name != "files" or not isinstance(part, UploadFile):
                raise Refusal(
                    422, "wrong_part", f"Each part must be a file named `files`; got {name[:100]!r}. Name it `files`."
                )
            files.append(File((part.filename or "")[:MOST_NAME], part.file.read()))
        return files
    finally:
        await form.close()


def _check_count(n: int, most: int) -> None:
    if n > most:
        raise Refusal(413, "too_many_files", f"There must be at most {most} files; got {n}. Send fewer at a time.")
