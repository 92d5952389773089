"""The one file: written, read, verified.

A bundle is a zip with a fixed list of members:

==================  ==========================================================================================
`manifest.json`     the format's version first, then classes in order, preprocessing, temperature and abstention,
                    metrics, training record, provenance, and SHA-256 and size of every other member
`model.onnx`        the graph that answers (see `graphs`)
`model.keras`       the same network for plain Keras, without optimizer state
`splits.json`       content hashes of the training, validation and test pictures
`history.csv`       the learning curves, one row an epoch
`embeddings.npy`    float16 (N, D), the training pictures in the order of `splits.json`
`held_out.npz`      what it said of pictures that it did not learn from (see `guards`); may be missing
`strangers.npz`     what tells pictures of none of its classes (see `strangers`); may be missing
`golden.npz`        drawn pictures and its answers to them, by which exports are checked; may be missing
==================  ==========================================================================================

Nothing in it is a pickle, and it holds no pictures of its user. Reading trusts nothing: the layout of the zip, names,
counts, sizes and the version are checked before a member is opened, and the hashes before one is used.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import math
import os
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from tellapart import arrays, jsontext, manifests, zipmembers
from tellapart.errors import BundleError
from tellapart.files import shown
from tellapart.manifests import one_line
from tellapart.outputs import atomic
from tellapart.zipmembers import Limit

FORMAT = "tellapart-bundle"
FORMAT_VERSION = 1
SIDES = ("train", "validation", "test")
MANIFEST = "manifest.json"
MEMBERS = ("model.onnx", "model.keras", "splits.json", "history.csv", "embeddings.npy")
OPTIONAL = ("held_out.npz", "strangers.npz", "golden.npz")  # without the first two it answers every picture
MAX_TOTAL_BYTES = 4 * 2**30
# What is random, as weights and hashes, hardly shrinks; what shrinks more was made to unpack to much.
LIMITS = {
    MANIFEST: Limit(32 * 2**20, ratio=1100),  # a table of zeros shrinks as far as can be
    "model.onnx": Limit(1800 * 2**20),
    "model.keras": Limit(1800 * 2**20),
    "splits.json": Limit(512 * 2**20, ratio=4),
    "history.csv": Limit(16 * 2**20, ratio=20),
    "embeddings.npy": Limit(1800 * 2**20),
    "held_out.npz": Limit(64 * 2**20),
    "strangers.npz": Limit(64 * 2**20),
    "golden.npz": Limit(256 * 2**20),
}

REMEDY = "Get the file again, or train anew."


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle holds, verified."""

    manifest: Mapping[str, Any]  # see the head of this module
    members: Mapping[str, bytes]  # name to content, the names of MEMBERS and some of OPTIONAL

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the graph's logits."""
        return tuple(self.manifest["classes"])

    def splits(self) -> dict[str, list[str]]:
        """Content hashes (SHA-256, hex) of the pictures of "train", "validation" and "test"."""
        try:
            splits = jsontext.read(self.members["splits.json"], most_strings=8_000_000, most_values=8_000_000)
        except ValueError as error:
            raise BundleError(f"A bundle's splits must be lists of hashes ({one_line(error)}). {REMEDY}") from error
        if not isinstance(splits, dict) or "train" not in splits or not splits.keys() <= set(SIDES):
            raise BundleError(f"A bundle's splits must be lists of hashes, of {', '.join(SIDES)}. {REMEDY}")
        for side, contents in splits.items():
            # Joined and split, all are looked at without a step in Python for each.
            if not isinstance(contents, list) or not set(map(type, contents)) <= {str}:
                raise BundleError(f"A bundle's splits must be lists of hashes. {REMEDY}")
            if set(map(len, contents)) - {64} or "".join(contents).strip("0123456789abcdef"):
                raise BundleError(f"A bundle's splits must be lists of hashes; {side} has others. {REMEDY}")
        return splits

    def embeddings_shape(self) -> tuple[int, int]:
        """N and D of `embeddings`, by what its head says, which its length bears out."""
        content = self.members["embeddings.npy"]
        try:
            shape = arrays.plain_shape(content, "float16")
            if len(shape) != 2:
                raise ValueError(f"it has {len(shape)} dimensions")
        except ValueError as error:
            raise BundleError(f"A bundle's embeddings must be a plain array ({one_line(error)}). {REMEDY}") from error
        return shape[0], shape[1]

    def embeddings(self) -> np.ndarray:
        """The training pictures' embeddings, float16 (N, D), in the order of `splits()["train"]`."""
        shape, content = self.embeddings_shape(), self.members["embeddings.npy"]
        found = np.frombuffer(content, "<f2", count=math.prod(shape), offset=len(content) - 2 * math.prod(shape))
        if not np.isfinite(found).all():
            raise BundleError(f"A bundle's embeddings must be numbers; some are infinite or none. {REMEDY}")
        return found.reshape(shape)


def make(
    manifest: Mapping[str, Any],
    *,
    graph: bytes,
    keras_file: bytes,
    splits: Mapping[str, list[str]],
    history_csv: str,
    embeddings: np.ndarray,
    guarding: Mapping[str, bytes] | None = None,
) -> Bundle:
    """A bundle of plain values; `manifest` is completed with format, version and the members' hashes.

    `guarding` holds those of the optional members that there are.
    """
    array = io.BytesIO()
    np.save(array, embeddings.astype(np.float16), allow_pickle=False)
    contents = (graph, keras_file, json.dumps(splits).encode(), history_csv.encode(), array.getvalue())
    members: dict[str, bytes] = {**dict(zip(MEMBERS, contents, strict=True)), **(guarding or {})}
    complete = {"format_version": FORMAT_VERSION, "format": FORMAT, **manifest}
    complete["members"] = {name: _fingerprint(content) for name, content in members.items()}
    return Bundle(complete, members)


def extended(bundle: Bundle, name: str, content: bytes) -> Bundle:
    """The same bundle with one more of the optional members, or another one in its place."""
    members = {**bundle.members, name: content}
    told = {**bundle.manifest["members"], name: _fingerprint(content)}
    return Bundle({**bundle.manifest, "members": told}, members)


def write(bundle: Bundle, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write the bundle under a temporary name, then rename it to `path`.

    Raises:
        OutputError: `path` exists and `force` is not set, or cannot be written. Nothing is left behind.
    """
    manifest = json.dumps(bundle.manifest, ensure_ascii=False, indent=1, allow_nan=False).encode()
    # As they are read, so that what was read and is written again has the same bytes.
    places = {name: place for place, name in enumerate((*MEMBERS, *OPTIONAL))}
    members = sorted(bundle.members.items(), key=lambda member: places[member[0]])
    with atomic(path, force=force) as file, zipfile.ZipFile(file, "w") as archive:
        for name, content in ((MANIFEST, manifest), *members):
            # A fixed time: the same content gives the same bytes.
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            # Weights hardly shrink, and a Keras file is a zip already.
            packed = name.endswith((".json", ".csv"))
            info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            archive.writestr(info, content)


def read(path: str | os.PathLike[str]) -> Bundle:
    """Read and verify a bundle: its layout, its names and sizes, its manifest, its hashes, and that its lists fit.

    The graph and the arrays are checked by those who open them (`graphcheck`, `arrays`).

    Raises:
        BundleError: `path` is no file, not a bundle, damaged, or of another format version.
    """
    name = shown(path) or "''"
    if not os.path.exists(path):
        raise BundleError(f"No such bundle: {name}. Give the path of a .tellapart file that `tellapart train` wrote.")
    try:
        # Without blocking: what stands there may be a pipe, or become one.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, "not a regular file")
            return _read(file, status.st_size, name)
    except IsADirectoryError as error:
        raise BundleError(
            f"A bundle must be a regular file; {name} is not. Give the path of a .tellapart file."
        ) from error
    except PermissionError as error:
        raise BundleError(f"The bundle {name} must be readable; {error.strerror}. Change its permissions.") from error
    except OSError as error:
        odd = not os.path.isfile(path)  # a socket cannot be opened at all
        said = "must be a regular file; it is not" if odd else f"cannot be read ({one_line(error.strerror)})"
        raise BundleError(f"A bundle {said}: {name}. Give the path of a .tellapart file.") from error
    except zipmembers.ZipError as error:
        raise BundleError(f"{name} is not a bundle, or is damaged ({one_line(error)}). {REMEDY}") from error


def _read(file: BinaryIO, n_bytes: int, name: str) -> Bundle:
    found = zipmembers.listed(file, n_bytes)
    if MANIFEST not in found:
        raise BundleError(f"{name} is a zip file but not a bundle: it has no {MANIFEST}. Give a .tellapart file.")
    zipmembers.checked({MANIFEST: found[MANIFEST]}, LIMITS, MAX_TOTAL_BYTES)
    manifest = _manifest(zipmembers.content(file, found[MANIFEST]), name)
    odd = {MANIFEST, *MEMBERS} ^ {member for member in found if member not in OPTIONAL}
    if odd or set(found) - {MANIFEST} != set(manifest["members"]):
        odd = ", ".join(shown(n)[:100] for n in sorted(odd or {MANIFEST, *manifest["members"]} ^ set(found))[:5])
        raise BundleError(f"{name} must hold just the members of its format; too many or missing: {odd}. {REMEDY}")
    zipmembers.checked(found, LIMITS, MAX_TOTAL_BYTES)
    members = {}
    for member in (each for each in (*MEMBERS, *OPTIONAL) if each in found):
        told = manifest["members"][member]
        if not isinstance(told, dict) or told.get("bytes") != found[member].size:
            raise BundleError(f"{name} is damaged: its {member} has not the size that the manifest says. {REMEDY}")
        content = zipmembers.content(file, found[member])
        if told != _fingerprint(content):
            raise BundleError(f"{name} is damaged: its {member} is not the one that was written. {REMEDY}")
        members[member] = content
    bundle = Bundle(manifest, members)
    try:
        wrong = manifests.mismatched(manifest, len(bundle.splits()["train"]), bundle.embeddings_shape()[0])
        wrong = wrong or _wrong_history(members["history.csv"])
    except BundleError as error:
        raise BundleError(f"{name} is not as its format says: {error}") from error
    if wrong:
        raise BundleError(f"{name} is not as its format says: {wrong}. {REMEDY}")
    return bundle


def checked(bundle: Bundle) -> Bundle:
    """The same, where each of its members has the hash that its manifest says. Raises BundleError."""
    for name, content in bundle.members.items():
        if bundle.manifest["members"].get(name) != _fingerprint(content):
            raise BundleError(
                f"The bundle was damaged on its way: its {name} is not the one that was written. {REMEDY}"
            )
    return bundle


def _wrong_history(content: bytes) -> str | None:
    """What is wrong with learning curves, in words; None where each cell is a number."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("ascii"), newline=""), strict=True))
        good = all(len(row) == len(rows[0]) and all(math.isfinite(float(cell)) for cell in row) for row in rows[1:])
    except (ValueError, csv.Error):
        good = False
    return None if good else "its history.csv must be a table of numbers"


def _manifest(content: bytes, name: str) -> dict[str, Any]:
    try:
        manifest = jsontext.read(content)
    except ValueError as error:
        raise BundleError(f"The manifest of {name} is not JSON ({one_line(error)}). {REMEDY}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"{name} is a zip file but not a bundle. Give a .tellapart file.")
    version = manifest.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise BundleError(
            f"{name} must have bundle format {FORMAT_VERSION}; it has {one_line(version)!s:.40}. "
            f"Use the version of tellapart that wrote it, or train anew."
        )
    wrong = manifests.wrong(manifest)
    if wrong:
        raise BundleError(f"The manifest of {name} is not as its format says: {wrong}. {REMEDY}")
    return manifest


def _fingerprint(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
