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

Nothing in it is a pickle, and it holds no pictures of its user. Reading trusts nothing: names, counts, sizes and the
version are checked before a member is opened, and the hashes before one is used.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.errors import BundleError
from tellapart.files import shown
from tellapart.outputs import atomic

FORMAT = "tellapart-bundle"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MEMBERS = ("model.onnx", "model.keras", "splits.json", "history.csv", "embeddings.npy")
OPTIONAL = ("held_out.npz", "strangers.npz", "golden.npz")  # without the first two it answers every picture
MAX_MANIFEST_BYTES = 32 * 2**20
MAX_MEMBER_BYTES = 2 * 2**30
MAX_TOTAL_BYTES = 4 * 2**30
MAX_CLASSES = 100_000

# What those who read a manifest rely on, beyond `classes`, `temperature` and `metrics`.
FIELDS: dict[str, dict[str, Any]] = {
    "training": {"epochs": int, "pictures": dict},
    "provenance": {
        "recipe": dict, "seed": int, "created": str, "machine": str, "versions": dict, "catalog_fingerprint": str,
    },
}  # fmt: skip

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
            splits = json.loads(self.members["splits.json"])
            if all(isinstance(content, str) for side in splits.values() for content in side):
                return splits
        except (ValueError, RecursionError, AttributeError, TypeError) as error:
            raise BundleError(f"A bundle's splits must be lists of hashes ({_one_line(error)}). {REMEDY}") from error
        raise BundleError(f"A bundle's splits must be lists of hashes. {REMEDY}")

    def embeddings(self) -> np.ndarray:
        """The training pictures' embeddings, float16 (N, D), in the order of `splits()["train"]`."""
        try:
            return np.load(io.BytesIO(self.members["embeddings.npy"]), allow_pickle=False)
        except (ValueError, EOFError, MemoryError) as error:
            raise BundleError(f"A bundle's embeddings must be a plain array ({_one_line(error)}). {REMEDY}") from error


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
    with atomic(path, force=force) as file, zipfile.ZipFile(file, "w") as archive:
        for name, content in ((MANIFEST, manifest), *bundle.members.items()):
            # A fixed time: the same content gives the same bytes.
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            # Weights hardly shrink, and a Keras file is a zip already.
            packed = name.endswith((".json", ".csv"))
            info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            archive.writestr(info, content)


def read(path: str | os.PathLike[str]) -> Bundle:
    """Read and verify a bundle.

    Raises:
        BundleError: `path` is no file, not a bundle, damaged, or of another format version.
    """
    name = shown(path) or "''"
    if not os.path.exists(path):
        raise BundleError(f"No such bundle: {name}. Give the path of a .tellapart file that `tellapart train` wrote.")
    if not os.path.isfile(path):
        raise BundleError(f"A bundle must be a regular file; {name} is not. Give the path of a .tellapart file.")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, name)
    except PermissionError as error:
        raise BundleError(f"The bundle {name} must be readable; {error.strerror}. Change its permissions.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        # What zipfile raises for a file that is no zip, is cut short, encrypted or oddly packed.
        raise BundleError(f"{name} is not a bundle, or is damaged ({_one_line(error)}). {REMEDY}") from error


def _read(archive: zipfile.ZipFile, name: str) -> Bundle:
    if not _ends_properly(archive):  # cut short, it can end in the end of a zip that it holds
        raise zipfile.BadZipFile("it does not end as a zip file does")
    infos = archive.infolist()
    found = [info.filename for info in infos]
    if MANIFEST not in found:
        raise BundleError(f"{name} is a zip file but not a bundle: it has no {MANIFEST}. Give a .tellapart file.")
    if len(set(found)) != len(found):
        raise BundleError(f"{name} must hold each member once; some stand twice. {REMEDY}")
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in infos):
        raise BundleError(f"{name} must be stored or deflated; a member is packed in another way. {REMEDY}")
    sizes = {info.filename: info.file_size for info in infos}
    if sizes[MANIFEST] > MAX_MANIFEST_BYTES:
        raise BundleError(f"The manifest of {name} must be under {MAX_MANIFEST_BYTES:,} bytes. {REMEDY}")
    manifest = _manifest(_content(archive, MANIFEST, sizes[MANIFEST]), name)
    odd = {MANIFEST, *MEMBERS} ^ {member for member in found if member not in OPTIONAL}
    if odd or set(found) - {MANIFEST} != set(manifest["members"]):
        odd = ", ".join(shown(n) for n in sorted(odd or {MANIFEST, *manifest["members"]} ^ set(found))[:5])
        raise BundleError(f"{name} must hold just the members of its format; too many or missing: {odd}. {REMEDY}")
    if max(sizes.values()) > MAX_MEMBER_BYTES or sum(sizes.values()) > MAX_TOTAL_BYTES:
        raise BundleError(f"{name} must hold under {MAX_TOTAL_BYTES:,} bytes in all. {REMEDY}")
    members = {}
    for member in (name for name in (*MEMBERS, *OPTIONAL) if name in sizes):
        content = _content(archive, member, sizes[member])
        if manifest["members"].get(member) != _fingerprint(content):
            raise BundleError(f"{name} is damaged: its {member} is not the one that was written. {REMEDY}")
        members[member] = content
    return Bundle(manifest, members)


def _ends_properly(archive: zipfile.ZipFile) -> bool:
    """Whether the end of a zip, without a comment, is the end of the file."""
    assert archive.fp is not None
    archive.fp.seek(-22, os.SEEK_END)
    return archive.fp.read(4) == b"PK\x05\x06"


def _content(archive: zipfile.ZipFile, member: str, size: int) -> bytes:
    with archive.open(member) as file:
        content = file.read(size + 1)  # the header's word for the size is not trusted
    if len(content) != size:
        raise zipfile.BadZipFile(f"{member} is not as long as the file says")
    return content


def _manifest(content: bytes, name: str) -> dict[str, Any]:
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"The manifest of {name} is not JSON ({_one_line(error)}). {REMEDY}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"{name} is a zip file but not a bundle. Give a .tellapart file.")
    version = manifest.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise BundleError(
            f"{name} must have bundle format {FORMAT_VERSION}; it has {_one_line(version)!s:.40}. "
            f"Use the version of tellapart that wrote it, or train anew."
        )
    wrong = _first_wrong_field(manifest)
    if wrong:
        raise BundleError(f"The manifest of {name} is not as its format says: {wrong}. {REMEDY}")
    return manifest


def _first_wrong_field(manifest: dict[str, Any]) -> str | None:
    classes = manifest.get("classes")
    if not isinstance(classes, list) or not 2 <= len(classes) <= MAX_CLASSES:
        return "`classes` must be a list of 2 names or more"
    if not all(isinstance(c, str) for c in classes) or len(set(classes)) != len(classes):
        return "`classes` must be names, each once"
    for field in ("preprocess", "metrics", "training", "provenance", "members", "abstention"):
        if not isinstance(manifest.get(field), dict):
            return f"`{field}` must be there"
        for name, kind in FIELDS.get(field, {}).items():
            if not isinstance(manifest[field].get(name), kind) or isinstance(manifest[field][name], bool):
                return f"`{field}` must have `{name}`"
    if not all(
        _number(n, 0, 2**53) for n in (manifest["training"]["epochs"], *manifest["training"]["pictures"].values())
    ):
        return "`training` must have counts"
    for side, numbers in manifest["metrics"].items():
        if not isinstance(numbers, dict) or not isinstance(numbers.get("accuracy_interval"), list):
            return f"`metrics` must have `accuracy_interval` for {_one_line(side)!s:.40}"
        shares = [numbers.get("accuracy"), *numbers["accuracy_interval"]]
        if len(shares) != 3 or not all(_number(share, 0, 1) for share in shares):
            return f"`metrics` must be shares from 0 to 1 for {_one_line(side)!s:.40}"
    temperature = manifest.get("temperature")
    if not _number(temperature, 1e-3, 1e3):
        return "`temperature` must be a number from 0.001 to 1000"
    return None


def _number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _fingerprint(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _one_line(value: object) -> str:
    return " ".join(str(value).split())[:200]
