"""What a service is asked to keep to: its limits, with their ranges, and who may use it."""

from __future__ import annotations

import dataclasses
import os
import socket
from dataclasses import dataclass

from tellapart.errors import InputError, SettingsError
from tellapart.files import because, shown

MIB = 2**20
EXPLAIN_FILES = 16  # pictures of one request to explain, at most


@dataclass(frozen=True, slots=True)
class _Range:
    option: str
    least: float
    most: float
    example: str
    unit: str = ""


_RANGES = {
    "max_body_bytes": _Range("--max-body", 1024, 1024 * MIB, "32MiB", " bytes"),
    "max_files": _Range("--max-files", 1, 1000, "64"),
    "max_pixels": _Range("--max-pixels", 10_000, 1_000_000_000, "120", " pixels"),
    "deadline_s": _Range("--deadline", 0.1, 600, "10s", " seconds"),
    "queue": _Range("--queue", 1, 100_000, "256"),
    "receive_s": _Range("--receive-timeout", 0.1, 3600, "30s", " seconds"),
    "decode_s": _Range("--decode-timeout", 0.1, 600, "5s", " seconds"),
    "max_batch": _Range("--max-batch", 1, 256, "8"),
    "decoders": _Range("--decoders", 1, 256, "3"),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the work, the memory and the patience of a service. Raises SettingsError out of a range."""

    max_body_bytes: int = 32 * MIB  # of one request, as it came over the line
    max_files: int = 64  # pictures of one request
    max_pixels: int = 120_000_000  # width × height of one picture
    deadline_s: float = 10.0  # from the last byte of a request to its answer
    queue: int = 256  # pictures that are accepted and not answered yet
    receive_s: float = 30.0  # from a request's first byte to its last
    decode_s: float = 5.0  # for one picture to open
    max_batch: int = 8  # pictures that the network sees at once; more would not fit the cores' caches
    decoders: int = dataclasses.field(default_factory=lambda: min(max(os.cpu_count() or 1, 2), 16))  # processes
    headers_s: float = 10.0  # from a connection, or a request's first byte, to the end of its headers
    idle_s: float = 20.0  # that a connection may be kept without a request
    write_s: float = 30.0  # that a client may not take an answer
    max_header_bytes: int = 64 * 1024
    max_connections: int = 1000

    def __post_init__(self) -> None:
        for name, allowed in _RANGES.items():
            value = getattr(self, name)
            if not allowed.least <= value <= allowed.most:
                raise SettingsError(
                    f"{allowed.option} must be from {allowed.least:,g} to {allowed.most:,g}{allowed.unit}; "
                    f"got {value:,g}. Try {allowed.option} {allowed.example}."
                )

    @property
    def receiving_bytes(self) -> int:
        """Bytes of all requests together that may be held while they are received and decoded."""
        return max(256 * MIB, 4 * self.max_body_bytes)

    @property
    def decoder_bytes(self) -> int:
        """Memory of one decoder beyond what it starts with: a picture in several forms at once."""
        return 256 * MIB + 16 * self.max_pixels


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use a service, and by which names."""

    hosts: tuple[str, ...] = ()  # names besides addresses, localhost and the machine's own, lower case
    origins: tuple[str, ...] = ()  # pages of other origins that may ask, like https://example.org
    api_key: str | None = None

    def __post_init__(self) -> None:
        for origin in self.origins:
            scheme, _, rest = origin.partition("://")
            if scheme not in {"http", "https"} or not rest or "/" in rest or "*" in rest:
                raise SettingsError(
                    f"--allow-origin must be a scheme and a host, as a browser sends it; got {origin!r}. "
                    f"Try --allow-origin https://example.org."
                )
        for host in self.hosts:
            if not host or any(c in host for c in "/:*@ "):
                raise SettingsError(
                    f"--allow-host must be the name of a host, without scheme and port; got {host!r}. "
                    f"Try --allow-host pictures.example.org."
                )
        if self.api_key is not None and (len(self.api_key) < 8 or not self.api_key.isascii() or " " in self.api_key):
            raise SettingsError(
                "The API key must be 8 ASCII characters or more, without spaces; got another one. "
                "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )

    def names(self) -> frozenset[str]:
        """Every host name that is answered to, lower case; addresses are always."""
        own = socket.gethostname().lower()
        return frozenset({"localhost", own, own.partition(".")[0], *(host.lower() for host in self.hosts)} - {""})


def read_key(path: str | None, from_environment: str | None) -> str | None:
    """The API key: the first line of a file, or what the environment has; None where there is neither.

    Raises:
        InputError: the file cannot be read, or is empty.
    """
    if path is None:
        return from_environment or None
    try:
        with open(path, encoding="utf-8") as file:
            key = file.readline(10_000).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = because(error) if isinstance(error, OSError) else "it is no text"
        raise InputError(f"--api-key-file must be a file that can be read; {shown(path)}: {reason}.") from error
    if not key:
        raise InputError(f"--api-key-file must have the key on its first line; {shown(path)} has none.")
    return key
