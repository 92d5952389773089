"""Crafted model files, each with a name and with what must be said of it.

They begin from one good bundle, made here without a training: 16 px, two classes, a graph of five nodes.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tellapart import arrays, bundle

SIDE = 16
N = 3  # training pictures
CANARY = "canary"  # the file, beside the bundles, that what runs code would write, and what reads outside would read


@dataclass(frozen=True, slots=True)
class Case:
    """One file."""

    name: str
    content: bytes
    says: str  # a regular expression for the refusal; "" where it is answered


def graph(nodes: list[Any] | None = None, weights: list[Any] | None = None, **changes: Any) -> onnx.ModelProto:
    """Pixels to float32, pooled 4 × 4 to the map, its mean the embedding, and that times weights the logits.

    `nodes` come before the last three and begin from "floats", (B, 3, 16, 16); they may give it anew as "inner".
    """
    inner = "inner" if any("inner" in node.output for node in nodes or []) else "floats"
    every = [
        helper.make_node("Cast", ["pixels"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["floats"], perm=[0, 3, 1, 2]),
        *(nodes or []),
        helper.make_node("AveragePool", [inner], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Transpose", ["pooled"], ["feature_map"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["feature_map"], ["embedding"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["embedding", "weights"], ["logits"]),
    ]
    kernel = np.array([[0.01, -0.01], [0.0, 0.01], [-0.01, 0.0]], np.float32)
    outputs = {"logits": ["b", 2], "embedding": ["b", 3], "feature_map": ["b", 4, 4, 3]}
    made = helper.make_graph(
        every,
        "by hand",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["b", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(kernel, "weights"), *(weights or [])],
    )
    opsets = changes.pop("opsets", [helper.make_opsetid("", 17)])
    return helper.make_model(made, opset_imports=opsets, ir_version=9, **changes)


def ints(name: str, *values: int) -> onnx.TensorProto:
    """A constant of int64."""
    return numpy_helper.from_array(np.array(values, np.int64), name)


def good(**changes: Any) -> bundle.Bundle:
    """A bundle that answers; `changes` are of its manifest, or members by `member=content` with "." as "_"."""
    numbers = {"accuracy": 0.75, "accuracy_interval": [0.5, 0.9], "n": 4}
    manifest = {
        "classes": ["cats", "dogs"],
        "preprocess": {"version": 1, "size_px": SIDE, "fit": "squash"},
        "temperature": 1.0,
        "abstention": {},
        "metrics": {"test": numbers},
        "training": {"epochs": 2, "pictures": {"train": N, "test": 1}, "labels": [0, 1, 1]},
        "provenance": {
            "recipe": {"name": "tutorial"}, "seed": 0, "created": "2001-09-09T01:46:40+00:00", "machine": "x",
            "versions": {"numpy": "2"}, "catalog_fingerprint": "f" * 64,
        },
    }  # fmt: skip
    members = {name.replace("_", ".", 1) if "held" not in name else "held_out.npz": content
               for name, content in changes.items() if isinstance(content, bytes)}  # fmt: skip
    told = {name: value for name, value in changes.items() if not isinstance(value, bytes)}
    made = bundle.make(
        manifest | told,
        graph=members.get("model.onnx", graph().SerializeToString()),
        keras_file=b"keras" * 40,
        splits={"train": ["1" * 64, "2" * 64, "3" * 64], "validation": [], "test": ["4" * 64]},
        history_csv="epoch,loss\n1,0.7\n2,0.5\n",
        embeddings=np.arange(3 * N).reshape(N, 3),
    )
    for name, content in members.items():
        made = bundle.extended(made, name, content)
    return made


def zipped(parts: list[tuple[str, bytes]], **about: Any) -> bytes:
    """A zip file with members in this order; `about` are attributes of each entry."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts:
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED if name.endswith((".json", ".csv")) else zipfile.ZIP_STORED
            for attribute, value in about.get(name.replace(".", "_"), {}).items():
                setattr(info, attribute, value)
            archive.writestr(info, content)
    return file.getvalue()


def packed(made: bundle.Bundle, **about: Any) -> bytes:
    """A bundle as the bytes of its file."""
    return zipped([("manifest.json", json.dumps(made.manifest).encode()), *made.members.items()], **about)


def _entry(content: bytes, member: str) -> int:
    """Where the directory of a zip file speaks of a member."""
    place = content.index(b"PK\x01\x02")
    while content[place + 46 : place + 46 + len(member)] != member.encode():
        place = content.index(b"PK\x01\x02", place + 1)
    return place


def _patched(content: bytes, *changes: tuple[int, str, int]) -> bytes:
    changed = bytearray(content)
    for place, kind, value in changes:
        struct.pack_into(kind, changed, place, value)
    return bytes(changed)


def _moved(content: bytes, by: int, place: int = 0) -> bytes:
    """`by` bytes put in at `place`, and every offset behind it corrected."""
    changed = bytearray(content[:place] + b"\0" * by + content[place:])
    end = len(changed) - 22
    (start,) = struct.unpack_from("<I", changed, end + 16)
    struct.pack_into("<I", changed, end + 16, start + by)
    entry = start + by
    while changed[entry : entry + 4] == b"PK\x01\x02":
        (offset,) = struct.unpack_from("<I", changed, entry + 42)
        struct.pack_into("<I", changed, entry + 42, offset + by if offset >= place else offset)
        name, extra, comment = struct.unpack_from("<3H", changed, entry + 28)
        entry += 46 + name + extra + comment
    return bytes(changed)


def zips() -> Iterator[Case]:
    """What is wrong with the zip file itself."""
    base = good()
    whole = packed(base)
    manifest = json.dumps(base.manifest).encode()
    parts = [("manifest.json", manifest), *base.members.items()]
    end = len(whole) - 22
    onnx_entry, csv_entry = _entry(whole, "model.onnx"), _entry(whole, "history.csv")
    (first,) = struct.unpack_from("<I", whole, onnx_entry + 42)
    damaged = "is not a bundle, or is damaged"
    yield Case("good", whole, "")
    yield Case("empty file", b"", damaged)
    yield Case("comment at the end", whole[:-2] + b"\x04\0evil", damaged)
    yield Case("bytes before it", b"#!/bin/sh\n" + whole, "directory does not stand where")
    yield Case("bytes before it, offsets corrected", _moved(whole, 64), "bytes stand before its member manifest.json")
    yield Case("bytes between members", _moved(whole, 64, first), "bytes stand before its member model.onnx")
    (start,) = struct.unpack_from("<I", whole, end + 16)
    yield Case("bytes before the directory", _moved(whole, 64, start), "bytes stand behind its members")
    yield Case("bytes behind it", whole + b"evil", "does not end as a zip file does")
    yield Case(
        "names that differ in the two places", whole.replace(b"model.onnx", b"other.onnx", 1), "by its own header"
    )
    yield Case(
        "sizes that differ in the two places", _patched(whole, (first + 22, "<I", 7)), "says otherwise in its own"
    )
    yield Case("two members that share bytes", _patched(whole, (csv_entry + 42, "<I", first)), "by its own header")
    yield Case(
        "a member in a member",
        _patched(whole, (onnx_entry + 20, "<I", 50), (onnx_entry + 24, "<I", 50)),
        "says otherwise in its own header",
    )
    yield Case("64-bit sizes", _patched(whole, (onnx_entry + 20, "<I", 2**32 - 1)), "has two sizes")
    yield Case("64-bit offset", _patched(whole, (onnx_entry + 42, "<I", 2**32 - 1)), "has 64-bit sizes")
    yield Case("more members than it says", _patched(whole, (end + 8, "<H", 5), (end + 10, "<H", 5)), "longer than its")
    yield Case("fewer members than it says", _patched(whole, (end + 8, "<H", 60), (end + 10, "<H", 60)), "cut short")
    yield Case("60,000 members", _patched(whole, (end + 8, "<H", 60_000), (end + 10, "<H", 60_000)), "60,000 members")
    yield Case("on two disks", _patched(whole, (end + 4, "<H", 1)), "not that of one whole zip file")
    yield Case("encrypted", _patched(whole, (onnx_entry + 8, "<H", 1), (first + 6, "<H", 1)), "is encrypted or split")
    yield Case("a symbolic link", packed(base, model_onnx={"external_attr": 0o120777 << 16}), "must be a regular file")
    yield Case("a device", packed(base, model_onnx={"external_attr": 0o020666 << 16}), "must be a regular file")
    yield Case("a folder", packed(base, model_onnx={"external_attr": 0x10}), "must be a regular file")
    yield Case("an extra field", packed(base, model_onnx={"extra": b"\x75\x70\x04\0evil"}), "has an extra field")
    yield Case("a comment on a member", packed(base, model_onnx={"comment": b"evil"}), "an extra field or a comment")
    yield Case("graph packed", packed(base, model_onnx={"compress_type": 8}), "must be stored as it is")
    yield Case("packed by LZMA", packed(base, history_csv={"compress_type": 14}), "must be stored or deflated")
    yield Case("a member twice", _twice(parts), "stands twice")
    yield Case("a member twice but for case", zipped([*parts, ("MODEL.onnx", b"x")]), "too many or missing: MODEL.onnx")
    yield Case("a path that climbs", zipped([*parts, ("../../canary", b"x")]), r"too many or missing: \.\./\.\./canary")
    yield Case("an absolute path", zipped([*parts, ("/tmp/canary", b"x")]), "too many or missing: /tmp/canary")
    yield Case("a pickle in it", zipped([*parts, ("weights.pkl", b"cos\nsystem\n(S'touch'\ntR.")]), "weights.pkl")
    yield Case("50 members too many", zipped([*parts, *((f"x{i}", b"") for i in range(50))]), "too many or missing")
    yield Case("a manifest of 40 MB", zipped([("manifest.json", bytes(40 * 2**20)), *parts[1:]]), "at most 33,554,432")
    yield Case("splits that unpack to 100 MB", _bomb("splits.json", 100, parts), "over 4 times its size")
    yield Case("history that unpacks to 15 MB", _bomb("history.csv", 15, parts), "over 20 times its size")
    told = {**base.manifest["members"], "splits.json": {"sha256": "0" * 64, "bytes": 10}}
    small = json.dumps({**base.manifest, "members": told}).encode()
    lie = _bomb("splits.json", 100, [("manifest.json", small), *parts[1:]])
    yield Case("a bomb that says it is small", _lying(lie, "splits.json", 10), "not as long as the file says")
    yield Case("a size that is a lie", _patched(whole, (onnx_entry + 24, "<I", 2**31)), "has two sizes")
    flipped = bytearray(whole)
    flipped[first + 60] ^= 1
    yield Case("one bit of the graph", bytes(flipped), "not the one that was written")


def _twice(parts: list[tuple[str, bytes]]) -> bytes:
    """The graph once more under a name of as many letters, which is then set to the same."""
    return zipped([*parts, ("MODEL.ONNX", b"x")]).replace(b"MODEL.ONNX", b"model.onnx")


def _bomb(member: str, megabytes: int, parts: list[tuple[str, bytes]]) -> bytes:
    press, content = zlib.compressobj(9, zlib.DEFLATED, -15), b""
    block, crc = bytes(2**20), 0
    for _ in range(megabytes):
        content += press.compress(block)
        crc = zlib.crc32(block, crc)
    content += press.flush()
    made = zipped([(name, content if name == member else each) for name, each in parts], **{
        member.replace(".", "_"): {"compress_type": 0}})  # fmt: skip
    entry = _entry(made, member)
    (first,) = struct.unpack_from("<I", made, entry + 42)
    size = megabytes * 2**20
    return _patched(
        made, (entry + 10, "<H", 8), (first + 8, "<H", 8), (entry + 16, "<I", crc), (first + 14, "<I", crc),
        (entry + 24, "<I", size), (first + 22, "<I", size),
    )  # fmt: skip


def _lying(content: bytes, member: str, size: int) -> bytes:
    entry = _entry(content, member)
    (first,) = struct.unpack_from("<I", content, entry + 42)
    return _patched(content, (entry + 24, "<I", size), (first + 22, "<I", size))


def manifests() -> Iterator[Case]:
    """What is wrong with the manifest, with hashes that are right."""
    base = good()

    def of(text: bytes) -> bytes:
        return zipped([("manifest.json", text), *base.members.items()])

    def told(**changes: Any) -> bytes:
        return of(json.dumps({**base.manifest, **changes}).encode())

    def raw(field: str, value: str) -> bytes:
        return of(json.dumps({**base.manifest, field: "HERE"}).replace('"HERE"', value).encode())

    def part(field: str, **changes: Any) -> bytes:
        return told(**{field: {**base.manifest[field], **changes}})

    whole = json.dumps(base.manifest)
    yield Case("an older version", told(format_version=0), "must have bundle format 1; it has 0")
    yield Case("a newer version", told(format_version=2), "must have bundle format 1; it has 2")
    yield Case("a version that is true", told(format_version=True), "must have bundle format 1; it has True")
    yield Case("NaN", raw("temperature", "NaN"), "it holds NaN")
    yield Case("Infinity", raw("temperature", "-Infinity"), "it holds -Infinity")
    yield Case("1e999", raw("temperature", "1e999"), "a number that is too large: 1e999")
    yield Case("a number of 5,000 digits", raw("temperature", "9" * 5000), "a whole number of over 18 digits")
    yield Case("a number that is true", told(temperature=True), "`temperature` must be a number")
    yield Case("a temperature of zero", told(temperature=0), "`temperature` must be a number")
    yield Case("30,000 lists in one another", raw("extra", "[" * 30_000 + "]" * 30_000), "must be at most 32 deep")
    many = ",".join(f'"{i}":0' for i in range(10**6))
    yield Case("a million keys", raw("metrics", f"{{{many}}}"), "`metrics` must have a few parts|texts")
    yield Case("half a million lists", raw("extra", "[" + "[]," * 500_000 + "[]]"), "over 400,000 lists|values")
    yield Case("four million numbers", raw("extra", "[" + "0," * 4_100_000 + "0]"), "over 4,000,000 values")
    yield Case("a million texts", raw("extra", "[" + '"",' * 1_100_000 + '""]'), "over 1,000,000 texts")
    yield Case("a key twice", of(whole[:-1].encode() + b', "temperature": 2}'), "a key stands twice: 'temperature'")
    yield Case("not UTF-8", of(whole.replace("cats", "c\xe4ts").encode("latin-1")), "it is not UTF-8")
    yield Case("UTF-16", of(whole.encode("utf-16")), "is not JSON")
    yield Case("half of a surrogate pair", of(whole.replace("cats", "\\ud800").encode()), "half of a surrogate pair")
    yield Case("classes without a name", told(classes=["", " "]), "`classes` must be names of 1 to")
    yield Case("a class name of 10^5", told(classes=["x" * 10**5, "y"]), "`classes` must be names of 1 to 1,020")
    yield Case("classes with a NUL", told(classes=["a\0", "b"]), "`classes` must be names of 1 to")
    yield Case("one class in two forms", told(classes=["\u00e9", "e\u0301"]), "each once, in whatever form")
    yield Case("a class twice", told(classes=["a", "a"]), "`classes` must be names, each once")
    yield Case("200,000 classes", told(classes=list(map(str, range(200_000)))), "a list of 2 names or more, up to")
    yield Case("classes that are numbers", told(classes=[1, 2]), "`classes` must be names")
    yield Case("more classes than the graph", told(classes=["a", "b", "c"]), "graph must fit its manifest")
    yield Case("a side of 10^9 px", part("preprocess", size_px=10**9), "`preprocess`: size_px must be")
    yield Case("a fit that is code", part("preprocess", fit="__import__('os')"), "`preprocess`: fit must be")
    yield Case("a fit that is a list", part("preprocess", fit=[]), "`preprocess`: fit must be")
    yield Case(
        "preprocessing to come", part("preprocess", version=2), "`preprocess`: preprocessing must be of version 1"
    )
    yield Case("another side than the graph", part("preprocess", size_px=32), "graph must fit its manifest")
    yield Case("abstention of text", told(abstention={"keep": "0.9"}), "`abstention` must have numbers")
    yield Case("abstention out of range", told(abstention=dict.fromkeys(
        ("sure", "answer", "keep", "confidence", "strangeness", "held_out"), 1e200)), "`abstention`:")  # fmt: skip
    written = {"sure": None, "answer": 0.9, "keep": 0.99, "confidence": 0.5, "strangeness": None, "held_out": 4}
    yield Case("abstention as it is written", told(abstention=written), "")
    yield Case("epochs that are true", part("training", epochs=True), "`training` must have counts")
    many = {f"x{i}": 0 for i in range(1001)}
    yield Case("counts of 1,001 sides", part("training", pictures=many), "`training` must have counts")
    for best in (-1, 1.5, "1", True):
        yield Case(f"a best epoch of {best!r}", part("training", best_epoch=best), "a whole number as `best_epoch`")
    yield Case("a best epoch", part("training", best_epoch=0), "")
    yield Case("labels that are a number", part("training", labels=5), "whole numbers as `labels`")
    yield Case("labels below zero", part("training", labels=[0, 1, -1]), "`labels` that are numbers of its classes")
    yield Case("no labels", part("training", labels=[]), "")
    yield Case("labels that are too many", part("training", labels=[0] * 7), "there are 7 labels, and 3 training")
    yield Case("labels of no class", part("training", labels=[0, 1, 2]), "`labels` that are numbers of its classes")
    yield Case("labels that are true", part("training", labels=[True] * 3), "whole numbers as `labels`")
    yield Case("counts that are text", part("training", pictures={"train": "3"}), "`training` must have counts")
    yield Case("no recipe's name", part("provenance", recipe={}), "the recipe's `name`")
    yield Case("versions that are lists", part("provenance", versions={"numpy": []}), "texts as `versions`")
    yield Case("a machine of 10^5 letters", part("provenance", machine="m" * 10**5), "texts of at most 2,000")
    yield Case("a seed that is true", part("provenance", seed=True), "`provenance` must have `seed`")
    yield Case("1,001 versions", part("provenance", versions=dict.fromkeys(many, "1")), "texts as `versions`")
    sound = base.manifest["metrics"]["test"]
    yield Case("metrics of 1,001 sides", told(metrics=dict.fromkeys(many, sound)), "`metrics` must have a few parts")
    for name, change, says in (
        ("shares over 1", {"accuracy": 2}, "shares from 0 to 1"),
        ("an interval of one end", {"accuracy_interval": [0.5]}, "shares from 0 to 1"),
        ("an interval of three ends", {"accuracy_interval": [0.1, 0.2, 0.3]}, "shares from 0 to 1"),
        ("pictures below zero", {"n": -1}, "a count as `n` for test"),
        ("pictures that are text", {"n": "4"}, "a count as `n` for test"),
        ("pictures that are not told", {"n": None}, ""),
    ):
        yield Case(name, told(metrics={"test": {**sound, **change}}), says)
    other = good(temperature=2.0, model_onnx=graph(doc_string="another").SerializeToString())
    swapped = {**base.members, "model.onnx": other.members["model.onnx"]}
    yield Case(
        "a member of another bundle", packed(bundle.Bundle(base.manifest, swapped)), "has not the size|the one that"
    )
    changed = {**base.members, "splits.json": base.members["splits.json"].replace(b"2" * 64, b"9" * 64)}
    swapped = packed(bundle.Bundle(base.manifest, changed))
    yield Case("splits of another bundle", swapped, "splits.json is not the one that")
    yield Case(
        "hashes that are no hashes", told(members={**base.manifest["members"], "model.onnx": 5}), "has not the size"
    )
    for name, content, says in (
        ("splits without a train side", b'{"test": []}', "splits must be lists of hashes"),
        ("splits that are paths", b'{"train": ["../../etc/passwd", "a", "b"]}', "splits must be lists of hashes"),
        ("splits too short", json.dumps({"train": ["1" * 64]}).encode(), "embeddings of 3 pictures, and 1 training"),
        ("splits nested deep", b"[" * 10**5 + b"]" * 10**5, "splits must be lists of hashes .it must be at most 32"),
    ):
        yield Case(name, packed(bundle.extended(base, "splits.json", content)), says)
    yield Case(
        "history that is no table", packed(bundle.extended(base, "history.csv", b"a,b\n1\n")), "a table of numbers"
    )
    yield Case(
        "history that is not finite", packed(bundle.extended(base, "history.csv", b"a\nnan\n")), "table of numbers"
    )


def tables() -> Iterator[Case]:
    """What is wrong with arrays."""
    base = good()

    def npy(descr: str, shape: str, data: bytes = b"", order: str = "False") -> bytes:
        head = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data

    def embeddings(content: bytes) -> bytes:
        return packed(bundle.extended(base, "embeddings.npy", content))

    plain = "embeddings must be a plain array"
    pickled = io.BytesIO()
    np.save(pickled, np.array([_Trap()], dtype=object), allow_pickle=True)
    yield Case("embeddings that are a pickle", embeddings(pickled.getvalue()), plain)
    yield Case("embeddings of 2 TB", embeddings(npy("'<f2'", "(1000000000, 1000)")), plain)
    yield Case("embeddings by column", embeddings(npy("'<f2'", "(3, 3)", bytes(18), "True")), plain)
    yield Case("embeddings of records", embeddings(npy("[('a', '<f2')]", "(3, 3)", bytes(18))), plain)
    yield Case("a head that is code", embeddings(npy("'<f2'", "(3, __import__('os').system('touch canary'))")), plain)
    yield Case("a head of 60 kB", embeddings(npy("'<f2'", "(3, 3)" + " " * 60_000, bytes(18))), plain)
    yield Case("fewer embeddings", embeddings(npy("'<f2'", "(2, 3)", bytes(12))), "embeddings of 2 pictures, and 3")
    sound = {"confidence": np.ones(4, np.float32), "right": np.ones(4, bool), "of_right": np.ones(4, np.float32),
             "score": np.zeros(0, np.float32)}  # fmt: skip
    held = "held-out answers must be"
    yield Case("held-out answers", packed(good(held_out=arrays.to_bytes(sound))), "")
    for name, change in (
        ("held-out answers of NaN", {"confidence": np.full(4, np.nan, np.float32)}),
        ("held-out answers of other types", {"confidence": np.ones(4, np.float64)}),
        ("held-out answers of other lengths", {"confidence": np.ones(5, np.float32)}),
        ("held-out answers of 140 MB", {"score": np.zeros(35_000_000, np.float32)}),
    ):
        yield Case(name, packed(good(held_out=arrays.to_bytes({**sound, **change}))), held)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in sound:
            archive.writestr(f"{name}.npy", pickled.getvalue())
    yield Case("held-out answers that are pickles", packed(good(held_out=file.getvalue())), held)


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path(CANARY).touch, ())


def graphs() -> Iterator[Case]:
    """What is wrong with the graph, with hashes that are right."""

    def of(model: onnx.ModelProto | bytes) -> bytes:
        return packed(good(model_onnx=model if isinstance(model, bytes) else model.SerializeToString()))

    def node(operator: str, inputs: list[str], **attributes: Any) -> Any:
        return helper.make_node(operator, inputs, ["more"], **attributes)

    def nodes(name: str, says: str, *made: Any, weights: list[Any] | None = None) -> Case:
        return Case(name, of(graph(list(made), weights)), says)

    external = graph()
    tensor = external.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=CANARY)
    yield Case("weights in another file", of(external), r"must not have \(field 13|stands in another file")
    hidden = graph([helper.make_node("Constant", [], ["more"], value=tensor)])
    yield Case("a node's weights in another file", of(hidden), r"must not have \(field 13|stands in another file")
    body = helper.make_graph([], "body", [], [])
    yield nodes("If", "attribute then_branch that is not of the type|must not have", helper.make_node(
        "If", ["floats"], ["more"], then_branch=body, else_branch=body))  # fmt: skip
    yield nodes("Loop", "attribute body that is not of the type|must not have", helper.make_node(
        "Loop", ["", "floats"], ["more"], body=body))  # fmt: skip
    for _ in range(20):
        body = helper.make_graph([helper.make_node("If", ["c"], ["d"], then_branch=body)], "body", [], [])
    yield nodes("If 20 deep", "not of the type|must not have", helper.make_node("If", ["floats"], ["more"],
                                                                                then_branch=body))  # fmt: skip
    custom = helper.make_node("Run", ["floats"], ["more"], domain="evil")
    yield nodes("an operator of its own", r"an operator of its own, evil\.Run", custom)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)]
    yield Case("operators of its own", of(graph(opsets=opsets)), "operators of its own, by the name of evil")
    function = helper.make_function("evil", "F", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])],
                                    [helper.make_opsetid("", 17)])  # fmt: skip
    yield Case("a function", of(graph(functions=[function])), r"must not have \(field 25")
    yield nodes("an unknown operator", "of a kind that no network", helper.make_node("Python", ["floats"], ["more"]))
    yield nodes("a string", "must be of numbers; it is of type 8|must not have", helper.make_node(
        "Constant", [], ["more"], value=helper.make_tensor("s", TensorProto.STRING, [1], [b"x"])))  # fmt: skip
    # What explodes
    much = "numbers a picture; there may be|a side of its result|made|it makes|it needs"
    yield nodes("ConstantOfShape of 4 TB", much, node("ConstantOfShape", ["n"]), weights=[ints("n", 10**6, 10**6)])
    yield nodes("Expand to 1 TB", much, node("Expand", ["floats", "n"]), weights=[ints("n", 10**8, 1, 3, 16, 16)])
    yield nodes("Tile 10^9 times", much, node("Tile", ["floats", "n"]), weights=[ints("n", 1, 1, 10**4, 10**5)])
    yield nodes(
        "Resize to 10^5",
        "must not resize the batch",
        node("Resize", ["floats", "", "", "n"]),
        weights=[ints("n", 1, 3, 10**5, 10**5)],
    )
    scales = numpy_helper.from_array(np.array([1, 1, 1e4, 1e4], np.float32), "n")
    yield nodes("Resize by a scale", much, node("Resize", ["floats", "", "n"]), weights=[scales])
    yield nodes("Pad by 10^9", "its pads must be", node("Pad", ["floats", "n"]),
                weights=[ints("n", 0, 0, 10**9, 10**9, 0, 0, 0, 0)])  # fmt: skip
    kernel = numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "k")
    yield nodes("Conv with pads of 10^9", "pads and its window must be at most",
                node("Conv", ["floats", "k"], pads=[10**9] * 4), weights=[kernel])  # fmt: skip
    yield nodes("MaxPool of pads", "pads and its window must be at most",
                node("MaxPool", ["floats"], kernel_shape=[2, 2], pads=[10**9] * 4))  # fmt: skip
    yield nodes("Range", "of a kind that no network", node("Range", ["a", "b", "c"]),
                weights=[ints("a", 0), ints("b", 2**40), ints("c", 1)])  # fmt: skip
    gather = [
        helper.make_node("Gather", ["floats" if i == 0 else f"g{i - 1}", "n"], [f"g{i}"], axis=1) for i in range(4)
    ]
    yield nodes(
        "Gather of Gather", much, *gather, weights=[numpy_helper.from_array(np.zeros((300, 300), np.int64), "n")]
    )
    doubled = [helper.make_node("Concat", [f"d{i - 1}" if i else "floats"] * 2, [f"d{i}"], axis=3) for i in range(40)]
    yield nodes("Concat 40 times doubled", much, *doubled)
    wide = numpy_helper.from_array(np.ones((1, 30_000), np.float32), "r")
    tall = numpy_helper.from_array(np.ones((30_000, 1), np.float32), "c")
    yield nodes("MatMul of constants", much, node("MatMul", ["c", "r"]), weights=[wide, tall])
    grown = [helper.make_node("Add", ["floats", "k"], ["more"])]
    yield nodes("an Add that broadcasts", much, *grown,
                weights=[numpy_helper.from_array(np.ones((50_000, 1, 1, 1, 1), np.float32), "k")])  # fmt: skip
    squared = [
        helper.make_node("Shape", ["floats"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["batch"]),
        helper.make_node("Mul", ["batch", "batch"], ["n"]),
        helper.make_node("ConstantOfShape", ["n"], ["more"]),
    ]
    yield nodes("what grows with the batch squared", "grow", *squared, weights=[ints("zero", 0)])
    computed = [helper.make_node("Cast", ["floats"], ["i"], to=TensorProto.INT64),
                helper.make_node("ConstantOfShape", ["i"], ["more"])]  # fmt: skip
    yield nodes("a shape out of pixels", "whole numbers that are known before", *computed)
    work = [helper.make_node("Einsum", [f"m{i}", "w"], [f"m{i + 1}"], equation="ab,bc->ac") for i in range(30)]
    big = numpy_helper.from_array(np.zeros((2000, 2000), np.float32), "w")
    first = helper.make_node("Identity", ["w"], ["m0"])
    yield nodes("hours of work", "multiplications a picture|it makes", first, *work, weights=[big])
    widened = numpy_helper.from_array(np.full((64, 3, 1, 1), 1e-3, np.float32), "wide")
    turned = numpy_helper.from_array(np.full((64, 64, 3, 3), 1e-3, np.float32), "w")
    enlarged = numpy_helper.from_array(np.array([1, 1, 32, 32], np.float32), "scales")
    work = [helper.make_node("Conv", ["floats", "wide"], ["c"]),
            helper.make_node("Resize", ["c", "", "scales"], ["m0"]),
            *(helper.make_node("Conv", [f"m{i}", "w"], [f"m{i + 1}"], pads=[1] * 4) for i in range(200))]  # fmt: skip
    yield nodes("minutes of work in 200 kB", "multiplications a picture", *work, weights=[widened, turned, enlarged])
    shapely = graph()
    shapely.graph.initializer.append(TensorProto(name="x", data_type=1, dims=[10**5, 10**5]))
    yield Case("a constant by its shape only", of(shapely), "must hold 10,000,000,000 numbers by its shape; it holds 0")
    sparse = graph()
    sparse.graph.sparse_initializer.add().dims.extend([10**6, 10**6])
    yield Case("sparse constants", of(sparse), r"must not have \(field 15")
    yield nodes("10,001 nodes", "there may be 10,000", *(
        helper.make_node("Relu", ["floats" if not i else f"r{i - 1}"], [f"r{i}"]) for i in range(10_001)))  # fmt: skip
    # What is not a graph in order
    yield nodes("a circle", "which nothing before it gives", helper.make_node("Relu", ["b"], ["a"]),
                helper.make_node("Relu", ["a"], ["b"]))  # fmt: skip
    yield nodes("a value twice", "two values of it are called floats", helper.make_node("Relu", ["cast"], ["floats"]))
    yield Case("an output that nothing gives", of(_renamed(graph(), "gone")), "nothing gives its output|must be one")
    other = graph()
    other.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2000
    yield Case("an output of another shape", of(other), "is said to have another shape")
    two = graph()
    two.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    yield Case("two inputs", of(two), "must have one input")
    for value, name in ((np.nan, "NaN"), (np.inf, "infinity")):
        bad = graph()
        bad.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((3, 2), value, np.float32), "weights"))
        yield Case(f"weights of {name}", of(bad), "constant weights must hold numbers; some are infinite or none")
    over = graph([node("Exp", ["floats"]), helper.make_node("Exp", ["more"], ["inner"])])
    yield Case("answers that overflow", of(over), "must answer every picture with numbers")
    yield Case("not a graph", of(b"not a graph"), "must be one that ONNX Runtime")
    yield Case("a graph that is cut", of(graph().SerializeToString()[:-40]), "must be one that ONNX Runtime")
    yield Case("messages in one another", of(b"\x3a\xff\xff\xff\xff\x07" * 1000), "must be one that ONNX Runtime")
    deep = b""
    for _ in range(2000):
        deep = b"\x3a" + _varint(len(deep)) + deep
    yield Case("graphs 2,000 deep", of(deep), "must be one that ONNX Runtime")
    yield Case("an old opset", of(graph(opsets=[helper.make_opsetid("", 1)])), "must be of one opset from 7")
    yield Case("two opsets", of(graph(opsets=[helper.make_opsetid("", 17)] * 2)), "must be of one opset")
    named = graph()
    named.graph.initializer[0].name = "w" * 10**6
    yield Case("a name of a million letters", of(named), "a constant has a text of over 20,000 bytes")


def _renamed(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    model.graph.node[-1].output[0] = name
    return model


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


def cut() -> Iterator[Case]:
    """The good one, cut at every hundredth of its length."""
    whole = packed(good())
    for hundredth in range(1, 100):
        yield Case(f"cut at {hundredth} %", whole[: len(whole) * hundredth // 100], "is not a bundle, or is damaged")


def every() -> Iterator[Case]:
    """All of them, but for `cut`."""
    parts: list[Callable[[], Iterator[Case]]] = [zips, manifests, tables, graphs]
    for part in parts:
        yield from part()


def fingerprint(folder: Path) -> str:
    """What a folder holds: names, kinds and contents."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found.update(f"{path.relative_to(folder)} {status.st_mode} {status.st_size} {status.st_mtime_ns}\n".encode())
    return found.hexdigest()
