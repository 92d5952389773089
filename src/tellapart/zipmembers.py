"""The members of a zip file that is not trusted: read by the letter, or refused.

A zip says everything twice, before each member and in its directory at the end, and readers differ in which they
believe. Here both must agree to the bit, and every byte of the file must belong to one member, to the directory or to
the end record: no comment, nothing before, between or behind, no second copy, no link, no encryption, no split over
disks, no 64-bit sizes. The format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

END, ENTRY, HEADER = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"
END_BYTES, ENTRY_BYTES, HEADER_BYTES = 22, 46, 30
STORED, DEFLATED = 0, 8
LONG = b"\x01\x00\x10\x00"  # begins the 20 bytes of 64-bit sizes that Python writes before a member of unknown length
MOST_MEMBERS = 64
FREE_BYTES = 2**20  # what a member may unpack to, however small it is packed
BLOCK = 2**20


class ZipError(ValueError):
    """What is wrong with a zip file, as the end of a sentence that begins with its name."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a member may be."""

    bytes: int  # unpacked
    ratio: int = 1  # unpacked to packed bytes, above FREE_BYTES unpacked; 1: it must be stored


@dataclass(frozen=True, slots=True)
class Member:
    """One member, as both places say."""

    name: str
    packed: int  # bytes
    size: int  # bytes, unpacked
    deflated: bool
    crc: int
    start: int  # of its packed bytes in the file


def listed(file: BinaryIO, n_bytes: int) -> dict[str, Member]:
    """The members of a zip file of `n_bytes`, in the order of the file. Nothing is unpacked.

    Raises:
        ZipError: it is none, or not by the letter.
    """
    if n_bytes < END_BYTES:
        raise ZipError("it is too short to be a zip file")
    record, end = _at(file, n_bytes - END_BYTES, END_BYTES), n_bytes - END_BYTES
    if record[:4] != END:  # cut short, it can end in the end of a zip that it holds
        raise ZipError("it does not end as a zip file does")
    disk, first, here, count, length, start, comment = struct.unpack("<4H2IH", record[4:])
    if (disk, first, comment) != (0, 0, 0) or here != count:
        raise ZipError("its end record is not that of one whole zip file")
    if count > MOST_MEMBERS:
        raise ZipError(f"it has {count:,} members; there may be {MOST_MEMBERS}")
    if start + length != end:
        raise ZipError("its directory does not stand where its end record says")
    directory, place, found = _at(file, start, length), 0, []
    for _ in range(count):
        entry = directory[place : place + ENTRY_BYTES]
        if len(entry) < ENTRY_BYTES or entry[:4] != ENTRY:
            raise ZipError("its directory is cut short")
        sizes = struct.unpack("<3H", entry[28:34])  # of name, extra and comment
        name = directory[place + ENTRY_BYTES : place + ENTRY_BYTES + sizes[0]]
        if sizes[1] or sizes[2]:
            raise ZipError(f"its member {_text(name)} has an extra field or a comment")
        found.append(_member(file, entry, name))
        place += ENTRY_BYTES + len(name)
    if place != length:
        raise ZipError("its directory is longer than its members need")
    found.sort(key=lambda pair: pair[1])
    after = 0
    for member, first in found:
        if first != after:
            raise ZipError(f"bytes stand before its member {member.name} that belong to none, or to two")
        after = member.start + member.packed
    if after != start:
        raise ZipError("bytes stand behind its members that belong to none, or to two")
    names = [member.name for member, _ in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ZipError(f"its member {twice} stands twice")
    return {member.name: member for member, _ in found}


def checked(members: Mapping[str, Member], limits: Mapping[str, Limit], most_bytes: int) -> None:
    """Raise ZipError where a member is larger, or shrunk further, than it may be, or all of them are too large."""
    for name, member in members.items():
        limit = limits[name]
        if member.size > limit.bytes:
            raise ZipError(f"its member {name} must be at most {limit.bytes:,} bytes; it has {member.size:,}")
        if member.deflated and limit.ratio == 1:
            raise ZipError(f"its member {name} must be stored as it is, not packed")
        if member.size > max(FREE_BYTES, limit.ratio * member.packed):
            raise ZipError(f"its member {name} unpacks to over {limit.ratio} times its size")
    total = sum(member.size for member in members.values())
    if total > most_bytes:
        raise ZipError(f"it must hold at most {most_bytes:,} bytes in all; it has {total:,}")


def content(file: BinaryIO, member: Member) -> bytes:
    """A member's bytes, unpacked: just as many as it says. Raises ZipError where they are others."""
    if not member.deflated:
        data = _at(file, member.start, member.size)
    else:
        unpacking, pieces, left, place = zlib.decompressobj(-15), [], member.size + 1, member.start
        end = member.start + member.packed
        try:
            while place < end and left and not unpacking.eof:
                block = _at(file, place, min(BLOCK, end - place))
                place += len(block)
                while block and left:  # no more is unpacked than the member says, and one byte
                    piece = unpacking.decompress(block, left)
                    pieces.append(piece)
                    left -= len(piece)
                    block = unpacking.unconsumed_tail
        except zlib.error as error:
            raise ZipError(f"its member {member.name} cannot be unpacked") from error
        data = b"".join(pieces)
        if not unpacking.eof or unpacking.unused_data or place != end:
            raise ZipError(f"its member {member.name} is not as long as the file says")
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise ZipError(f"its member {member.name} is not the one that was written")
    return data


def _member(file: BinaryIO, entry: bytes, raw: bytes) -> tuple[Member, int]:
    """A member by its entry in the directory, checked against its own header, and where that header begins."""
    system, flags, method = entry[5], *struct.unpack("<2H", entry[8:12])
    crc, packed, size = struct.unpack("<3I", entry[16:28])
    disk, _, attributes, first = struct.unpack("<2H2I", entry[34:46])
    name = _text(raw)
    if method not in (STORED, DEFLATED):
        raise ZipError(f"its member {name} must be stored or deflated; it is packed in another way")
    if flags or disk:
        raise ZipError(f"its member {name} is encrypted or split, or has marks that it must not have (flags {flags})")
    if method == STORED and packed != size:
        raise ZipError(f"its member {name} has two sizes")
    kind = stat.S_IFMT(attributes >> 16) if system == 3 else 0  # 3: the attributes are those of Unix
    if kind not in (0, stat.S_IFREG) or attributes & 0x10:
        raise ZipError(f"its member {name} must be a regular file; it is a link, a folder or something else")
    if 0xFFFFFFFF in (packed, size, first):
        raise ZipError(f"its member {name} has 64-bit sizes")
    header = _at(file, first, HEADER_BYTES)
    start = first + HEADER_BYTES + len(raw)
    if header[:4] != HEADER or _at(file, first + HEADER_BYTES, len(raw)) != raw:
        raise ZipError(f"its member {name} is another one by its own header")
    if header[4:30] != entry[6:32]:
        extra = struct.pack("<4s2Q", LONG, size, packed)
        alike = header[4:14] == entry[6:16] and header[26:30] == struct.pack("<2H", len(raw), len(extra))
        # Python before 3.11.4 writes the sizes themselves beside the 64-bit ones, newer ones only ones.
        sizes = (struct.pack("<I8s", crc, b"\xff" * 8), struct.pack("<3I", crc, packed, size))
        if not alike or header[14:26] not in sizes or _at(file, start, 20) != extra:
            raise ZipError(f"its member {name} says otherwise in its own header than in the directory")
        start += len(extra)
    return Member(name, packed, size, method == DEFLATED, crc, start), first


def _at(file: BinaryIO, place: int, n_bytes: int) -> bytes:
    file.seek(place)
    data = file.read(n_bytes)
    if len(data) != n_bytes:
        raise ZipError("it is cut short")
    return data


def _text(name: bytes) -> str:
    """A name as one printable line. Members that are asked for have names of ASCII, so no other one becomes theirs."""
    return "".join(chr(c) if 32 < c < 127 and c != 92 else f"\\x{c:02x}" for c in name)[:200]
