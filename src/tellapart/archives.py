"""Zip and tar files that are not trusted, read without unpacking them: their members as a tree, their bytes by place.

Only names and places are held. A member that is a link, leads out of the archive or unpacks to more than it may has a
reason instead of bytes. Sources: PKWARE's APPNOTE for zip, POSIX pax for tar.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

MOST_MEMBERS = 5_000_000
MOST_DIRECTORY_BYTES = 2**30  # of a zip's directory
MOST_HEADER_BYTES = 2**20  # of what a tar says about one member
MOST_NAME = 4096  # characters
BLOCK = 2**20
LEADS_OUT = "its name leads out of the archive"
NOT_A_FILE = "a link or device in an archive, which is not followed"

_END, _END_64, _LOCATOR_64, _ENTRY, _HEADER = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02", b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Piece:
    """Where the bytes of a picture stand."""

    file: str  # on this disk
    start: int
    size: int  # bytes there
    unpacked: int | None = None  # bytes when inflated; None where they stand as they are
    crc: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """The members of an archive by name, in order."""

    keys: list[str]  # names with NUL for "/", sorted: what is below a folder stands together
    places: np.ndarray  # int64 (N, 4): start, bytes there, unpacked bytes or -1, CRC or -1
    reasons: dict[str, str] = field(default_factory=dict)  # by name: why it cannot be read
    problem: str | None = None  # why there may be more than these

    def children(self, folder: str) -> Iterator[tuple[str, bool]]:
        """Each name in a folder, "" for the top, and whether it is a folder; sorted."""
        begin = f"{folder.strip('/')}/".replace("/", "\0") if folder.strip("/") else ""
        at = bisect_left(self.keys, begin)
        while at < len(self.keys) and self.keys[at].startswith(begin):
            name, below, _ = self.keys[at][len(begin) :].partition("\0")
            if below:
                yield name, True
                at = bisect_left(self.keys, f"{begin}{name}\1", lo=at)
            else:
                yield name, False
                at += 1

    def has_folder(self, folder: str) -> bool:
        """Whether there is a folder of this name."""
        return next(self.children(folder), None) is not None or not folder.strip("/")

    def at(self, name: str) -> int | None:
        """The row of `places` of a member; None where there is none."""
        key = name.replace("/", "\0")
        at = bisect_left(self.keys, key)
        return at if at < len(self.keys) and self.keys[at] == key else None


def tree_of(rows: list[tuple[str, int, int, int, int]], reasons: dict[str, str], problem: str | None = None) -> Tree:
    """The tree of members, each a name, its start, bytes there, unpacked bytes and CRC. Of one name the last counts."""
    by_key = {name.replace("/", "\0"): (i, place) for i, (name, *place) in enumerate(rows)}
    keys = sorted(by_key)
    places = np.array([by_key[key][1] for key in keys], np.int64).reshape(-1, 4)
    return Tree(keys, places, reasons, problem)


def named(raw: str) -> tuple[str | None, str | None]:
    """A member's name as a way down, None for what is no file, and why it cannot be read."""
    name = raw.replace("\0", "\\0")
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    if not name or name.endswith("/") or name == ".":
        return None, None
    parts = name.split("/")
    if len(name) > MOST_NAME or name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        safe = "/".join(part for part in parts if part not in ("", ".", ".."))
        return safe[-MOST_NAME:] or None, LEADS_OUT
    return name, None


# Tar


class _Careful:
    """A file of which no more is read at once than a tar may say about one member."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, n_bytes: int = -1) -> bytes:
        if not 0 <= n_bytes <= MOST_HEADER_BYTES:
            raise ValueError("it says more about a member than it may")
        return self._file.read(n_bytes)


def of_tar(file: BinaryIO) -> Tree:
    """The members of a tar file, read from header to header. Raises OSError where it is none."""
    import tarfile

    rows: list[tuple[str, int, int, int, int]] = []
    reasons: dict[str, str] = {}
    problem = None
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        archive = tarfile.open(fileobj=_Careful(file), mode="r:")  # noqa: SIM115 # pyright: ignore
        while (member := archive.next()) is not None:
            archive.members = []  # it would hold them all
            name, reason = named(member.name)
            if member.isdir() or name is None:
                continue
            if not member.isreg() or member.issparse():
                reason = reason or NOT_A_FILE
            elif member.offset_data + member.size > end:
                reason = reason or "the archive ends before it does"
            if reason is not None:
                reasons[name] = reason
            rows.append((name, member.offset_data, member.size, -1, -1))
            if len(rows) >= MOST_MEMBERS:
                problem = f"an archive may have {MOST_MEMBERS:,} members; this one has more"
                break
    except (tarfile.TarError, ValueError, UnicodeError, OverflowError) as error:
        if not rows:
            raise OSError(errno.EINVAL, f"not a tar file: {_line(error)}") from error
        problem = f"the archive is cut short or damaged after {len(rows):,} members: {_line(error)}"
    if not rows and end and problem is None and not _zeros(file):
        raise OSError(errno.EINVAL, "not a tar file")
    return tree_of(rows, reasons, problem)


def _zeros(file: BinaryIO) -> bool:
    file.seek(0)
    return not file.read(1024).strip(b"\0")


# Zip


def of_zip(file: BinaryIO) -> Tree:
    """The members of a zip file, by its directory. Raises OSError where it is none."""
    count, length, start, shift = _end_record(file)
    if count > MOST_MEMBERS or length > MOST_DIRECTORY_BYTES:
        raise OSError(errno.EFBIG, f"an archive may have {MOST_MEMBERS:,} members; it has {count:,}")
    file.seek(start)
    directory, at = file.read(length), 0
    rows: list[tuple[str, int, int, int, int]] = []
    reasons: dict[str, str] = {}
    for _ in range(count):
        if directory[at : at + 4] != _ENTRY or at + 46 > len(directory):
            raise OSError(errno.EINVAL, "a zip file whose directory is damaged")
        system, flags, method = directory[at + 5], *struct.unpack_from("<2H", directory, at + 8)
        crc, packed, size, n_name, n_extra, n_comment = struct.unpack_from("<3I3H", directory, at + 16)
        attributes, first = struct.unpack_from("<2I", directory, at + 38)
        raw = directory[at + 46 : at + 46 + n_name]
        extra = directory[at + 46 + n_name : at + 46 + n_name + n_extra]
        size, packed, first = _long(extra, size, packed, first)
        at += 46 + n_name + n_extra + n_comment
        name, reason = named(raw.decode("utf-8" if flags & 0x800 else "cp437", "backslashreplace"))
        kind = stat.S_IFMT(attributes >> 16) if system == 3 else 0
        if name is None or kind == stat.S_IFDIR:
            continue
        if kind not in (0, stat.S_IFREG):
            reason = reason or NOT_A_FILE
        elif flags & 1:
            reason = reason or "encrypted in its zip file"
        elif method not in (0, 8):
            reason = reason or f"packed in a way that is not read here (method {method} of zip)"
        if reason is not None:
            reasons[name] = reason
        rows.append((name, first + shift, packed, -1 if method == 0 else size, crc))
    return tree_of(rows, reasons)


def _end_record(file: BinaryIO) -> tuple[int, int, int, int]:
    """How many members, the directory's bytes, where it begins, and by how much all stands later than it says."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(end - 65_557, 0))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or at + 22 > len(tail):
        raise OSError(errno.EINVAL, "not a zip file, or cut short: it has no directory")
    count, length, start = struct.unpack_from("<H2I", tail, at + 10)
    place = end - len(tail) + at
    if at >= 20 and tail[at - 20 : at - 16] == _LOCATOR_64:
        file.seek(max(place - 76, 0))
        record = file.read(56)
        if record[:4] != _END_64:
            raise OSError(errno.EINVAL, "a zip file whose end is damaged")
        count, length, start = struct.unpack_from("<3Q", record, 32)
        place -= 76
    if length > place:
        raise OSError(errno.EINVAL, "a zip file whose end is damaged")
    return count, length, place - length, place - length - start


def _long(extra: bytes, size: int, packed: int, first: int) -> tuple[int, int, int]:
    """Sizes and place of a member, those of 64 bits where it has them."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            values = [int.from_bytes(extra[i : i + 8], "little") for i in range(at + 4, at + 4 + length - 7, 8)]
            with contextlib.suppress(IndexError):
                size = values.pop(0) if size == 0xFFFFFFFF else size
                packed = values.pop(0) if packed == 0xFFFFFFFF else packed
                first = values.pop(0) if first == 0xFFFFFFFF else first
            break
        at += 4 + length
    return size, packed, first


# Bytes


def piece(kind: str, file: str, tree: Tree, name: str, most_bytes: int) -> Piece:
    """Where a member's bytes stand. Raises OSError where it has none, or more than `most_bytes`."""
    at = tree.at(name)
    if at is None:
        raise FileNotFoundError(errno.ENOENT, "no such file in the archive")
    if (reason := tree.reasons.get(name)) is not None:
        raise OSError(errno.EINVAL, reason)
    start, size, unpacked, crc = map(int, tree.places[at])
    for n_bytes in (size, unpacked):
        if n_bytes > most_bytes:
            raise OSError(errno.EFBIG, f"{n_bytes / 2**20:.0f} MB, over the limit of {most_bytes // 2**20} MB")
    if kind == "zip":
        with open(file, "rb", buffering=0) as opened:
            opened.seek(start)
            header = opened.read(30)
        if header[:4] != _HEADER or len(header) < 30:
            raise OSError(errno.EINVAL, "its place in the zip file is damaged")
        n_name, n_extra = struct.unpack_from("<2H", header, 26)
        start += 30 + n_name + n_extra
    return Piece(file, start, size, None if unpacked < 0 else unpacked, None if crc < 0 else crc)


def read(piece: Piece) -> bytes:
    """A piece's bytes. Raises OSError where they are not all there, or others."""
    with open(piece.file, "rb", buffering=0) as file:
        file.seek(piece.start)
        data = b""
        while len(data) < piece.size and (more := file.read(piece.size - len(data))):
            data += more
    if len(data) < piece.size:
        raise OSError(errno.EIO, "the archive ends before it does")
    if piece.unpacked is not None:
        unpacking = zlib.decompressobj(-15)
        try:
            data = unpacking.decompress(data, piece.unpacked + 1)  # no more, whatever it says elsewhere
        except zlib.error as error:
            raise OSError(errno.EIO, "it cannot be unpacked from its zip file") from error
        if len(data) != piece.unpacked:
            raise OSError(errno.EIO, "it is not as long as its zip file says")
    if piece.crc is not None and zlib.crc32(data) != piece.crc:
        raise OSError(errno.EIO, "it is not what was put into its zip file")
    return data


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
