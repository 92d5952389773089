"""Files on servers, through fsspec: listed, looked at and fetched, with patience for what may pass.

Only what has a scheme comes here, and only then is fsspec imported. Every wait has an end: for a connection, for the
next bytes, for a file as a whole, for all tries together. What fails is an OSError whose `strerror` is a short clause.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import importlib
import os
import random
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote, urljoin

from tellapart import addresses
from tellapart.errors import InputError, MissingPackageError

CONNECTIONS = 32  # requests under way at once
IDLE_S = 30.0  # for a connection, and for the next bytes
SLOWEST = 50_000  # bytes a second, of a whole file, beside IDLE_S
TRIES = 5
PATIENCE_S = 120.0  # for all tries of one request, waits between them included
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0  # between two tries; each is up to twice the one before
GIVEN_UP = 20  # requests given up one after the other, none answered between, by which a server counts as gone
CHUNK_BYTES = 2**20
PART_BYTES = 8 * CHUNK_BYTES  # asked for at once, where there are no streams
MOST_PAGE_BYTES = 64 * 2**20  # of a page that lists a folder

_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504, 509}
_PASSING_ERRNO = {errno.ECONNRESET, errno.ETIMEDOUT, errno.EPIPE, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EBUSY}
# Of aiohttp, botocore, urllib3, httpx and fsspec, none of which is imported for it.
_PASSING = re.compile(
    r"(ClientConnection|ClientPayload|ServerDisconnected|EndpointConnection|ReadTimeout|ConnectTimeout|FSTimeout|"
    r"IncompleteRead|ResponseStreaming|HTTPClient|ConnectionClosed|RemoteProtocol|Connect|Read)Error"
)
_VERSIONS = (
    "ETag",
    "etag",
    "Content-MD5",
    "md5Hash",
    "blob_id",
    "LastModified",
    "last_modified",
    "Last-Modified",
    "mtime",
)
_LINK = re.compile(rb"""<a\s[^>]*?href\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Item:
    """One name in a folder on a server, or one file there."""

    name: str
    folder: bool
    size: int | None = None  # bytes; None where the server does not say
    version: str = ""  # another one means another content; "" where the server has none
    part: str = ""  # the last part of its path, where that is written otherwise than its name


class _GivenUp(OSError):
    """No try had an answer."""


_lock = threading.Lock()
_systems: dict[str, Any] = {}
_given_up: dict[str, int] = {}  # by server: requests one after the other that had no answer
_under_way: set[concurrent.futures.Future[Any]] = set()
_ending = threading.Event()  # set, and replaced, where all that is under way is to end


def stop() -> None:
    """End all requests that are under way, with an OSError; later ones are made as ever."""
    global _ending
    with _lock:
        ended, _ending = _ending, threading.Event()
        going = list(_under_way)
    ended.set()
    for future in going:
        future.cancel()


def listing(folder: str) -> list[Item]:
    """What a folder holds, in any order. Raises OSError."""
    system = _system(folder)
    if addresses.scheme(folder) in ("http", "https"):
        return _patiently(folder, lambda: _waited(system, _page(system, folder)))
    found = _patiently(folder, lambda: _called(system, "ls", folder, detail=True, refresh=True))
    own, items = _bare(system, folder), []
    for each in found:
        name = each["name"].rstrip("/").rpartition("/")[2]
        if _bare(system, each["name"]) != own and name:  # a key that ends in "/" stands for the folder itself
            items.append(_item(each, name))
    return items


def pages(folder: str) -> Iterator[list[Item]]:
    """What a folder holds, some at a time where the server gives it so: the next come while these are used.

    Of S3, each page is sorted and all pages are, folders by their names with the slash. Raises OSError.
    """
    if addresses.scheme(folder) != "s3":
        yield listing(folder)
        return
    system = _system(folder)
    bucket, _, key = system._strip_protocol(folder).partition("/")
    asked = {"Bucket": bucket, "Prefix": f"{key.rstrip('/')}/" if key else "", "Delimiter": "/", **system.req_kw}

    def page(token: str | None) -> dict[str, Any]:
        more = {"ContinuationToken": token} if token else {}
        return _patiently(folder, lambda: _called(system, "call_s3", "list_objects_v2", **asked, **more))

    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="tellapart-list") as ahead:
        coming = ahead.submit(page, None)
        while coming is not None:
            found = coming.result()
            token = found.get("NextContinuationToken") if found.get("IsTruncated") else None
            coming = ahead.submit(page, token) if token else None
            yield sorted(_s3_items(found, len(asked["Prefix"])), key=lambda item: item.name + "/" * item.folder)


def _s3_items(found: dict[str, Any], n_prefix: int) -> Iterator[Item]:
    for each in found.get("CommonPrefixes", []):
        if name := each["Prefix"][n_prefix:].rstrip("/"):
            yield Item(name, True)
    for each in found.get("Contents", []):
        if name := each["Key"][n_prefix:]:  # else it stands for the folder itself
            yield Item(name, False, each.get("Size"), str(each.get("ETag", "")))


def looked_at(path: str) -> Item:
    """What stands under a path. Raises FileNotFoundError and other OSErrors."""
    system = _system(path)
    return _item(_patiently(path, lambda: _called(system, "info", path)), path.rpartition("/")[2])


def fetch(path: str, file: BinaryIO, size: int | None, most_bytes: int) -> None:
    """Write a file's bytes to an open one, from its place on; after a failed try it is cut there and begun again.

    Args:
        path: of the file on the server.
        file: open for writing.
        size: its bytes, where they are known: fewer or more are a failure.
        most_bytes: more are refused while they come.

    Raises:
        OSError: it cannot be had, or is not as long as it must be.
    """
    system, start = _system(path), file.tell()
    whole_s = IDLE_S + (size or most_bytes) / SLOWEST

    def attempt() -> None:
        file.seek(start)
        file.truncate()
        if getattr(system, "async_impl", False):
            read = _streamed if _has_streams(system) else _in_parts
            _waited(system, asyncio.wait_for(read(system, path, file, size, most_bytes), whole_s))
        else:
            _read(system, path, file, most_bytes, whole_s)
        if size is not None and file.tell() - start != size:
            raise ConnectionResetError(errno.ECONNRESET, "it is shorter than the server says")

    _patiently(path, attempt)


def head(path: str, n_bytes: int) -> bytes:
    """The first bytes of a file. Raises OSError."""
    system = _system(path)
    if addresses.scheme(path) in ("http", "https"):  # a server may send all, whatever part it is asked for
        return _patiently(path, lambda: _waited(system, asyncio.wait_for(_first(system, path, n_bytes), IDLE_S)))
    return _patiently(path, lambda: _called(system, "cat_file", path, start=0, end=n_bytes))[:n_bytes]


# One request


def _system(path: str) -> Any:
    """fsspec's file system for a path. Raises MissingPackageError, InputError."""
    scheme = addresses.scheme(path)
    with _lock:
        if scheme not in _systems:
            _systems[scheme] = _opened(scheme)
        return _systems[scheme]


def _opened(scheme: str) -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Else gcsfs asks what kind a bucket is by another protocol, and waits a minute where only HTTPS passes.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    try:
        fsspec = importlib.import_module("fsspec")
        importlib.import_module(addresses.REMOTE[scheme])
    except ImportError as error:
        raise MissingPackageError(
            f"Places like {scheme}:// need packages that are not installed ({error.name}): "
            f"pip install 'tellapart[remote]'"
        ) from error
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme in ("http", "https"):
        aiohttp = importlib.import_module("aiohttp")
        waits = aiohttp.ClientTimeout(total=None, connect=IDLE_S, sock_connect=IDLE_S, sock_read=IDLE_S)
        options["client_kwargs"] = {"timeout": waits, "trust_env": True}
    elif scheme == "s3":
        # One try each: the tries are counted here.
        waits = {"connect_timeout": IDLE_S, "read_timeout": IDLE_S, "retries": {"total_max_attempts": 1}}
        known = importlib.import_module("fsspec.config").conf.get("s3", {}).get("config_kwargs", {})
        options["config_kwargs"] = {**known, **waits, "max_pool_connections": CONNECTIONS}
    try:
        system = fsspec.filesystem(scheme, skip_instance_cache=True, **options)
    except ImportError as error:
        raise MissingPackageError(f"{scheme}:// needs the extra: pip install 'tellapart[remote]' ({error})") from error
    except Exception as error:  # credentials that are looked for at once, settings of fsspec that it does not know
        raise InputError(f"{scheme}:// cannot be used: {clause(error)}. Check the credentials and settings.") from error
    if scheme == "s3":
        system.retries = 1
    return system


def _called(system: Any, name: str, *args: Any, **options: Any) -> Any:
    """What a file system's method gives, waited for as long as one request may take."""
    coroutine = getattr(system, f"_{name}", None)
    if getattr(system, "async_impl", False) and coroutine is not None:
        return _waited(system, asyncio.wait_for(coroutine(*args, **options), 2 * IDLE_S))
    return getattr(system, name)(*args, **options)


def _waited(system: Any, coroutine: Awaitable[T]) -> T:
    async def run() -> T:
        return await coroutine

    future = asyncio.run_coroutine_threadsafe(run(), system.loop)
    with _lock:
        _under_way.add(future)
    try:
        return future.result()
    finally:
        future.cancel()  # where this thread was interrupted
        with _lock:
            _under_way.discard(future)


async def _streamed(system: Any, path: str, file: BinaryIO, size: int | None, most_bytes: int) -> None:
    known = {"size": size or 0} if addresses.scheme(path) in ("http", "https") else {}  # else it would ask again
    stream = await system.open_async(system._strip_protocol(path), "rb", **known)
    try:
        n_bytes = 0
        while chunk := await asyncio.wait_for(stream.read(CHUNK_BYTES), IDLE_S):
            n_bytes += len(chunk)
            if n_bytes > most_bytes:
                raise OSError(errno.EFBIG, f"over the limit of {most_bytes // 2**20} MB")
            file.write(chunk)
    finally:
        _closed(stream)


def _has_streams(system: Any) -> bool:
    base = importlib.import_module("fsspec.asyn").AsyncFileSystem
    return getattr(type(system), "open_async", base.open_async) is not base.open_async


async def _in_parts(system: Any, path: str, file: BinaryIO, size: int | None, most_bytes: int) -> None:
    """Of a file system that has no streams, as Google's: one part after the other."""
    if size is None:
        size = int((await system._info(path))["size"])
    if size > most_bytes:
        raise OSError(errno.EFBIG, f"over the limit of {most_bytes // 2**20} MB")
    for start in range(0, size, PART_BYTES):
        end = min(start + PART_BYTES, size)
        part = system._cat_file(path, start=start, end=end)
        file.write(await asyncio.wait_for(part, IDLE_S + (end - start) / SLOWEST))


async def _first(system: Any, path: str, n_bytes: int) -> bytes:
    stream = await system.open_async(path, "rb", size=0, headers={"Range": f"bytes=0-{n_bytes - 1}"})
    try:
        got = b""
        while len(got) < n_bytes and (chunk := await stream.read(n_bytes - len(got))):
            got += chunk
        return got
    finally:
        _closed(stream)


def _closed(stream: Any) -> None:
    response, stream.closed = getattr(stream, "r", None), True  # else it would close itself, in a way that warns
    if response is not None:
        with contextlib.suppress(Exception):  # it may be broken, which is known by then
            response.close()


def _read(system: Any, path: str, file: BinaryIO, most_bytes: int, whole_s: float) -> None:
    """Of a file system that knows no `asyncio`, as Hugging Face's."""
    end = time.monotonic() + whole_s
    with system.open(path, "rb", block_size=PART_BYTES, cache_type="readahead") as source:
        n_bytes = 0
        while chunk := source.read(CHUNK_BYTES):
            n_bytes += len(chunk)
            if n_bytes > most_bytes:
                raise OSError(errno.EFBIG, f"over the limit of {most_bytes // 2**20} MB")
            if time.monotonic() > end:
                raise TimeoutError
            file.write(chunk)


async def _page(system: Any, folder: str) -> list[Item]:
    """The links of a page by which a web server shows a folder, to what is in that folder."""
    session = await system.set_session()
    address = folder.rstrip("/") + "/"
    page = b""
    async with session.get(system.encode_url(address)) as response:
        system._raise_not_found_for_status(response, folder)
        if response.headers.get("Content-Type", "text/html").partition(";")[0] != "text/html":
            raise NotADirectoryError(errno.ENOTDIR, "the server shows no list of a folder there")
        while chunk := await asyncio.wait_for(response.content.read(CHUNK_BYTES), IDLE_S):
            page += chunk
            if len(page) > MOST_PAGE_BYTES:
                raise OSError(errno.EFBIG, f"its page is over the limit of {MOST_PAGE_BYTES // 2**20} MB")
        base = str(response.url).partition("?")[0].rstrip("/") + "/"
    items: dict[str, Item] = {}
    for link in _LINK.findall(page):
        target = urljoin(base, link.decode("utf-8", "replace").replace("&amp;", "&"))
        part, slash, rest = target.removeprefix(base).partition("/")
        if target.startswith(base) and part and not rest and not part.startswith(("?", "#", ".")) and "?" not in part:
            items[part] = Item(unquote(part), bool(slash), part=part)
    return list(items.values())


def _item(found: dict[str, Any], name: str) -> Item:
    version = next((str(found[key]) for key in _VERSIONS if found.get(key)), "")
    size = found.get("size")
    return Item(name, found.get("type") == "directory", size if isinstance(size, int) else None, version)


def _bare(system: Any, path: str) -> str:
    return str(system._strip_protocol(path)).strip("/")


# Many tries


def _patiently(path: str, attempt: Callable[[], T]) -> T:
    """What one of several tries gives. Raises OSError; InputError where the server answers nothing any more."""
    begin, server, ending = time.monotonic(), _server(path), _ending
    for n in range(1, TRIES + 1):
        try:
            result = attempt()
        except (MissingPackageError, InputError):
            raise
        except (Exception, concurrent.futures.CancelledError) as error:  # whatever the libraries have, each its own
            if ending.is_set():
                raise OSError(errno.ECANCELED, "the run was stopped") from None
            if not passing(error):
                _given_up[server] = 0  # it did answer
                raise _plain(error) from error
            wait = max(_asked_wait(error), min(FIRST_WAIT_S * 2 ** (n - 1), LONGEST_WAIT_S) * random.uniform(0.5, 1))
            if n < TRIES and time.monotonic() + wait - begin < PATIENCE_S:
                ending.wait(wait)
                continue
            _count_out(server)
            tries = f"{n} tries" if n > 1 else "1 try"
            raise _GivenUp(errno.ETIMEDOUT, f"{clause(error)} ({tries} in {time.monotonic() - begin:.0f} s)") from error
        _given_up[server] = 0
        return result
    raise AssertionError("the last try returns or raises")


def _count_out(server: str) -> None:
    with _lock:
        _given_up[server] = _given_up.get(server, 0) + 1
        gone = _given_up[server] >= GIVEN_UP
    if gone:
        raise InputError(
            f"{server} has not answered {GIVEN_UP} requests in a row, each tried up to {TRIES} times. "
            f"Try again when it does: what was fetched is kept."
        )


def _server(path: str) -> str:
    return "/".join(path.split("/")[:3])


def passing(error: BaseException) -> bool:
    """Whether an error is one that may be gone at the next try."""
    for each in _chain(error):
        status = _status(each)
        if status is not None:
            return status in _PASSING_STATUS
        if isinstance(each, FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError):
            continue  # fsspec says so of any answer that it does not understand; what lies below it counts
        if isinstance(each, TimeoutError | ConnectionError) or (
            isinstance(each, OSError) and each.errno in _PASSING_ERRNO
        ):
            return True
        if any(_PASSING.fullmatch(kind.__name__) for kind in type(each).__mro__):
            return True
    return False


def clause(error: BaseException) -> str:
    """What went wrong as a short clause of one line, without the path."""
    for each in _chain(error):
        if (status := _status(each)) is not None:
            return f"the server answered with status {status}"
    if any(isinstance(each, TimeoutError) or "Timeout" in type(each).__name__ for each in _chain(error)):
        return f"the server did not answer within {IDLE_S:g} s"
    if any(isinstance(each, ConnectionError) or _PASSING.fullmatch(type(each).__name__) for each in _chain(error)):
        refused = any("onnect call failed" in str(each) or "Could not connect" in str(each) for each in _chain(error))
        return "the server cannot be reached" if refused else "the connection broke"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    line = addresses.SECRETS.sub("", " ".join("".join(c if c.isprintable() else " " for c in text).split()))
    return line if len(line) <= 200 else line[:199] + "…"


def _plain(error: Exception) -> OSError:
    """An error that will not pass as an OSError with a short clause."""
    statuses = [status for each in _chain(error) if (status := _status(each)) is not None]
    if 404 in statuses or 410 in statuses or (isinstance(error, FileNotFoundError) and not statuses):
        return FileNotFoundError(errno.ENOENT, "no such file")
    if {401, 403} & set(statuses) or isinstance(error, PermissionError) or "Credential" in type(error).__name__:
        return PermissionError(errno.EACCES, "no permission: check the credentials")
    if isinstance(error, NotADirectoryError):
        return error
    number = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
    return OSError(number, clause(error))


def _status(error: BaseException) -> int | None:
    """The status of HTTP in an error of aiohttp, botocore, httpx or requests."""
    status: Any = getattr(error, "status", None)
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    elif response is not None:
        status = getattr(response, "status_code", None)
    return status if isinstance(status, int) and 400 <= status < 600 else None


def _asked_wait(error: BaseException) -> float:
    """Seconds that the server asks to wait, at most LONGEST_WAIT_S."""
    for each in _chain(error):
        headers: Any = getattr(each, "headers", None) or {}
        with contextlib.suppress(TypeError, ValueError, AttributeError):  # it may be a date
            return min(max(float(headers["Retry-After"]), 0.0), LONGEST_WAIT_S) if "Retry-After" in headers else 0.0
    return 0.0


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__
