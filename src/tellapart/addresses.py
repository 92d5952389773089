"""What kind of place a path names: a file on this disk, one on a server, or one in an archive. Nothing is opened here.

A path is a plain string that opens as it stands::

    photos/cats/1.jpg                       on this disk
    s3://bucket/photos/cats/1.jpg           on a server: s3, gs, az, hf, https
    zip://photos.zip/cats/1.jpg             in an archive: zip, tar
    parquet://data/000.parquet/00000012.jpg   a row of a Parquet file
    tar+s3://bucket/shards/000.tar/0001.jpg   in an archive on a server

What lies below a place has its path, a slash and more, so that paths are joined and taken apart as everywhere.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

# What fsspec calls it, and the package that has it. A plain install has none of them.
REMOTE = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "hf": "huggingface_hub",
    "http": "aiohttp",
    "https": "aiohttp",
}
ARCHIVES = ("zip", "tar", "parquet")
SHARDS = ("tar", "parquet")  # many of them in a folder are one set of pictures
PACKED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
SECRETS = re.compile(r"\?[^/]*$")  # of an address that was signed

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9]+(?:\+[A-Za-z][A-Za-z0-9]+)?)://")  # "C://" is a drive
_ONE_SLASH = re.compile(rf"{_SCHEME.pattern.removesuffix('/')}(?!/)")  # what pathlib makes of a place
_ARCHIVE_END = re.compile(r"\.(?P<kind>zip|tar|parquet)(?:\?[^/]*)?(?=/|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Inside:
    """A place in an archive, or a folder of archives."""

    kind: str  # "zip", "tar" or "parquet"
    archive: str | None  # the archive's own path; None where `member` is a folder of archives
    member: str  # the way down in the archive, "" for all of it; or the path of the folder


def is_place(path: str | os.PathLike[str]) -> bool:
    """Whether a path names something that this system's own calls cannot open."""
    text = os.fspath(path)
    return isinstance(text, str) and "://" in text and _SCHEME.match(text) is not None


def scheme(path: str) -> str:
    """The scheme of a place in small letters, "tar+s3" for an archive on a server; "" for a path on this disk."""
    found = _SCHEME.match(path)
    return found["scheme"].lower() if found else ""


def is_known(path: str) -> bool:
    """Whether places of this scheme can be read at all."""
    first, plus, second = scheme(path).partition("+")
    return (first in ARCHIVES and (second in REMOTE or not plus)) or (first in REMOTE and not plus)


def given(path: str) -> str:
    """The place that a person means: archives by their own scheme, fsspec's chains ("zip://x::s3://…") turned round.

    From `Path("s3://bucket")` comes "s3:/bucket": the other slash is given back.
    """
    lost = _ONE_SLASH.match(path)
    if lost is not None and is_known(f"{lost[0]}/") and not os.path.lexists(path):
        path = f"{lost[0]}/{path[lost.end() :]}"
    member, chained, outer = path.partition("::")
    if chained and scheme(member) in ("zip", "tar"):
        return joined(_inside(scheme(member), outer), member.partition("://")[2])
    own = scheme(path)
    stripped = path.rstrip("/") if is_place(path) else path
    if own in REMOTE and (kind := _kind(stripped)):
        return _inside(kind, stripped)
    if not own and (kind := _kind(path.rstrip("/"))) and os.path.isfile(path):
        return _inside(kind, path)
    return stripped


def of_shards(kind: str, folder: str) -> str:
    """The place of a folder of shards."""
    return _inside(kind, folder)


def inside(path: str) -> Inside | None:
    """A place in an archive, taken apart; None for any other."""
    kind, plus, outer = scheme(path).partition("+")
    if kind not in ARCHIVES:
        return None
    rest = path[_SCHEME.match(path).end() :]  # pyright: ignore[reportOptionalMemberAccess]
    whole = f"{outer}://{rest}" if plus else rest
    for found in _ARCHIVE_END.finditer(whole):
        if found["kind"].lower() == kind:
            return Inside(kind, whole[: found.end()], whole[found.end() + 1 :])
    return Inside(kind, None, whole)


def joined(folder: str, name: str) -> str:
    """The path of what has this name, or lies this way down, in a place."""
    return f"{folder.rstrip('/')}/{name}" if name else folder


def parent(path: str) -> str:
    """The folder that a place is in; the place itself where it is a bucket or a server."""
    end = _SCHEME.match(path)
    begin = end.end() if end else 0
    above, slash, _ = path[begin:].rpartition("/")
    return path[:begin] + above if slash else path


def absolute(path: str | os.PathLike[str]) -> str:
    """A path that means the same from any folder."""
    text = os.fspath(path)
    if not is_place(text):
        return os.path.abspath(text)
    within = inside(text)
    if within is None or is_place(within.archive or within.member):
        return text
    begin = _SCHEME.match(text).end()  # pyright: ignore[reportOptionalMemberAccess]
    return text[:begin] + os.path.abspath(text[begin:])


def ending(name: str) -> str:
    """The ending of a file's name in small letters, with the dot; without what signs an address."""
    return os.path.splitext(SECRETS.sub("", name) if "?" in name else name)[1].lower()


def ends_as(path: str, kind: str) -> bool:
    """Whether a file is an archive of a kind by its name."""
    return _kind(path) == kind


def ends_as_picture(path: str) -> bool:
    """Whether the last part of a path ends as the names of files do, and not of folders."""
    return bool(re.search(r"\.[A-Za-z0-9]{2,5}(?:\?[^/]*)?$", path.rpartition("/")[2]))


def stem(path: str) -> str:
    """The name of a folder or an archive, without what says that it is one."""
    name = os.path.basename(SECRETS.sub("", absolute(path.rstrip("/") or path)))
    kind = _kind(name)
    return name[: -len(kind) - 1] if kind else name


def _inside(kind: str, archive: str) -> str:
    if is_place(archive):
        return f"{kind}+{archive}"
    return f"{kind}://{archive}"


def _kind(path: str) -> str | None:
    found = _ARCHIVE_END.search(os.path.basename(path))
    return found["kind"].lower() if found and found.end() == len(os.path.basename(path)) else None
