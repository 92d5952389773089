"""Any bundle that can be made is read back as it was, byte for byte."""

from __future__ import annotations

import json
import math
import os
import tempfile
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import examples
from tellapart import arrays, bundle, catalog, guards, manifests
from tellapart.errors import BundleError

# Class names are people's own: any text that a folder or a table can give.
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20).map(
    lambda name: unicodedata.normalize("NFC", name)
)
SHARES = st.floats(0, 1)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


GUARDS = st.builds(
    lambda sure, answer, confidence, strangeness, n: guards.Guards(
        guards.Targets(sure, answer, 0.95), confidence, strangeness, n
    ).as_dict(),
    st.none() | st.floats(0.01, 0.99),
    st.none(),
    st.floats(0, 2),
    st.just(math.inf) | st.floats(0, 50),
    st.integers(0, 1000),
) | st.just({})


@st.composite
def bundles(draw: st.DrawFn) -> tuple[bundle.Bundle, np.ndarray, dict[str, list[str]]]:
    """A bundle of any classes, numbers, records and arrays, with its embeddings and splits."""
    sides = ("train", "validation", "test")
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    splits = {side: [rng.bytes(32).hex() for _ in range(draw(st.integers(0, 4)))] for side in sides}
    n, dimensions = len(splits["train"]), draw(st.integers(1, 5))
    embeddings = rng.normal(size=(n, dimensions)).astype(np.float16)
    manifest: dict[str, Any] = {
        "classes": draw(st.lists(NAMES, min_size=2, max_size=6, unique=True)),
        "preprocess": {"version": 1, "size_px": draw(st.integers(8, 1024)), "fit": "crop"},
        "temperature": draw(st.floats(0.05, 20)),
        "abstention": draw(GUARDS),
        "metrics": {
            side: {"accuracy": draw(SHARES), "accuracy_interval": [draw(SHARES), draw(SHARES)]}
            for side in draw(st.sets(st.sampled_from(sides)))
        },
        "training": {
            "epochs": draw(st.integers(0, 2**40)),
            "pictures": {side: len(contents) for side, contents in splits.items()},
        },
        "provenance": {
            "recipe": {**draw(st.dictionaries(NAMES, PLAIN, max_size=3)), "name": draw(NAMES)},
            "seed": draw(st.integers(-(10**18) + 1, 10**18 - 1)),
            "created": "2001-09-09",
            "machine": draw(NAMES),
            "versions": {"numpy": "2"},
            "catalog_fingerprint": "f" * 64,
        },
    }  # fmt: skip
    made = bundle.make(
        manifest,
        graph=draw(st.binary(max_size=300)),
        keras_file=draw(st.binary(max_size=300)),
        splits=splits,
        history_csv="epoch,loss\n" + "".join(f"{i},{draw(st.floats(-9, 9))}\n" for i in range(draw(st.integers(0, 3)))),
        embeddings=embeddings,
        guarding={name: draw(st.binary(max_size=50)) for name in draw(st.sets(st.sampled_from(bundle.OPTIONAL)))},
    )
    return made, embeddings, splits


@examples(40)
@given(bundles())
def test_what_is_written_is_what_is_read(given_bundle) -> None:
    made, embeddings, splits = given_bundle
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tellapart"
        bundle.write(made, path)
        read = bundle.read(path)
        first = path.read_bytes()
        bundle.write(read, path, force=True)
        assert path.read_bytes() == first
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            assert archive.testzip() is None
            assert all(info.date_time == (1980, 1, 1, 0, 0, 0) for info in archive.infolist())
    assert read == made
    assert read.classes == tuple(made.manifest["classes"])
    assert read.splits() == splits
    assert read.embeddings().dtype == np.float16
    np.testing.assert_array_equal(read.embeddings(), embeddings)
    assert names == ["manifest.json", *(n for n in (*bundle.MEMBERS, *bundle.OPTIONAL) if n in made.members)]
    assert set(read.manifest["members"]) == set(read.members) == set(names) - {"manifest.json"}
    json.dumps(read.manifest, allow_nan=False)


@examples(30)
@given(bundles(), st.sampled_from(bundle.OPTIONAL), st.binary(max_size=50))
def test_one_more_member_changes_no_other(given_bundle, name: str, content: bytes) -> None:
    made, _, _ = given_bundle
    more = bundle.extended(made, name, content)
    assert more.members == {**made.members, name: content}
    assert {key: value for key, value in more.manifest.items() if key != "members"} == {
        key: value for key, value in made.manifest.items() if key != "members"
    }
    with tempfile.TemporaryDirectory() as folder:
        bundle.write(more, Path(folder) / "b")
        assert bundle.read(Path(folder) / "b") == more


@examples(60)
@given(bundles(), st.data())
def test_a_byte_that_was_changed_is_noticed_or_is_of_no_use(given_bundle, data: st.DataObject) -> None:
    made, _, _ = given_bundle
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.tellapart"
        bundle.write(made, path)
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        try:
            read = bundle.read(path)
        except BundleError:
            return
        assert read == made


@examples(60)
@given(st.binary(min_size=1, max_size=255).filter(lambda raw: not {b"/", b"\0"} & {bytes([c]) for c in raw}))
def test_every_name_of_a_folder_is_a_class_name(raw: bytes) -> None:
    """What can be trained can be read: the longest and the oddest names too."""
    label = catalog._label(os.fsdecode(raw))
    other = "b" if label != "b" else "c"
    assert manifests._classes({"classes": [label, other]}) is None


@pytest.mark.parametrize("raw", [b"\xff" * 255, b" ", b"\t\n", "\u3000".encode(), b"\\", "\U0001f600".encode() * 63])
def test_odd_names_of_folders_are_class_names(raw: bytes) -> None:
    assert manifests._classes({"classes": ["a", catalog._label(os.fsdecode(raw))]}) is None


DTYPES = ("float16", "float32", "float64", "int32", "int64", "uint8", "bool")


@st.composite
def named_arrays(draw: st.DrawFn) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    found = {}
    for name in draw(st.sets(st.sampled_from(["logits", "labels", "folds", "score"]), max_size=3)):
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        found[name] = (rng.normal(size=shape) * 50).astype(draw(st.sampled_from(DTYPES)))
    return found


@examples(25)
@given(named_arrays())
def test_arrays_come_back_as_they_were(given_arrays: dict[str, np.ndarray]) -> None:
    content = arrays.to_bytes(given_arrays)
    assert content == arrays.to_bytes(given_arrays)
    expected = {name: (str(array.dtype), array.ndim) for name, array in given_arrays.items()}
    read = arrays.from_bytes(content, expected, "These arrays")
    assert read.keys() == given_arrays.keys()
    for name, array in given_arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    for name in given_arrays:
        others = {each: kind for each, kind in expected.items() if each != name}
        with pytest.raises(BundleError, match=r"^These arrays must be as they were written; it must hold"):
            arrays.from_bytes(content, others, "These arrays")
        dtype, dimensions = expected[name]
        with pytest.raises(BundleError, match=rf"its {name} must be {dtype} numbers in {dimensions + 1} dimensions"):
            arrays.from_bytes(content, {**expected, name: (dtype, dimensions + 1)}, "These arrays")
