"""The one file: what is written is read back, and nothing in it is believed unseen."""

import errno
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tellapart import bundle as bundles
from tellapart.classifier import Classifier
from tellapart.errors import BundleError, OutputError


def rewritten(source: Path, target: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """A copy of a bundle whose members were changed."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def with_manifest(**changes) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | changes).encode()

    return change


def test_round_trip(trained: Classifier, bundle_path: Path) -> None:
    read = bundles.read(bundle_path)
    assert read.members == trained.bundle.members
    assert json.dumps(read.manifest) == json.dumps(trained.bundle.manifest)
    assert read.classes == ("circles", "squares")


def test_the_manifest_says_what_its_format_promises(bundle_path: Path) -> None:
    with zipfile.ZipFile(bundle_path) as archive:
        assert archive.namelist() == ["manifest.json", *bundles.MEMBERS, *bundles.OPTIONAL]
        manifest = json.loads(archive.read("manifest.json"))
    assert next(iter(manifest)) == "format_version"
    assert manifest["preprocess"] == {"version": 1, "size_px": 32, "fit": "squash"}
    assert 0.3 < manifest["temperature"] < 3
    assert manifest["abstention"].keys() == {"sure", "answer", "keep", "confidence", "strangeness", "held_out"}
    assert set(manifest["metrics"]) == {"train", "validation", "test"}
    provenance = manifest["provenance"]
    assert (provenance["seed"], provenance["recipe"]["name"]) == (1, "tutorial")
    assert {"python", "keras", "numpy", "onnxruntime"} <= set(provenance["versions"])
    assert manifest["training"]["pictures"] == {"train": 64, "validation": 8, "test": 8}


def test_splits_and_embeddings_belong_together(trained: Classifier) -> None:
    splits, embeddings = trained.bundle.splits(), trained.bundle.embeddings()
    assert embeddings.shape == (len(splits["train"]), 128)
    assert embeddings.dtype == np.float16
    hashes = [content for side in splits.values() for content in side]
    assert len(set(hashes)) == len(hashes) == 80


def test_no_path_of_a_picture_and_no_pickle_is_in_it(bundle_path: Path, photos: Path) -> None:
    with zipfile.ZipFile(bundle_path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert str(photos).encode() not in content
            assert b"circle_00" not in content
            assert not name.endswith((".pkl", ".pickle", ".pt"))


@pytest.mark.slow
def test_the_keras_file_answers_alike_where_this_package_is_not(trained: Classifier, tmp_path: Path) -> None:
    model, pixels = tmp_path / "model.keras", tmp_path / "pixels.npy"
    model.write_bytes(trained.bundle.members["model.keras"])
    batch = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    np.save(pixels, batch)
    code = f"""
import sys
import tracemalloc
sys.modules["tellapart"] = None
import keras, numpy as np
model = keras.saving.load_model({str(model)!r})
assert getattr(model, "optimizer", None) is None, "optimizer state must not be shipped"
print(model.predict(np.load({str(pixels)!r}), verbose=0)[:, 0].tolist())
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    theirs = np.array(json.loads(said.stdout.splitlines()[-1]))
    for rows in (slice(0, 1), slice(0, 7)):
        ours = trained.predictor.probabilities(batch[rows])[:, 1]
        np.testing.assert_allclose(ours, theirs[rows], atol=1e-4)


def test_the_same_content_gives_the_same_bytes(trained: Classifier, tmp_path: Path) -> None:
    trained.save(tmp_path / "a")
    trained.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_existing_file_is_refused(trained: Classifier, bundle_path: Path) -> None:
    before = bundle_path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        trained.save(bundle_path)
    assert bundle_path.read_bytes() == before


@pytest.mark.parametrize("member", bundles.MEMBERS)
def test_a_changed_member_is_noticed(small_path: Path, tmp_path: Path, member: str) -> None:
    def flip(members: dict[str, bytes]) -> None:
        content = bytearray(members[member])
        content[len(content) // 2] ^= 1
        members[member] = bytes(content)

    path = rewritten(small_path, tmp_path / "bad.tellapart", flip)
    with pytest.raises(BundleError, match=f"damaged: its {member} is not the one that was written"):
        bundles.read(path)


BAD = {
    "another version": (with_manifest(format_version=99), "must have bundle format 1; it has 99"),
    "no version": (with_manifest(format_version=None), "must have bundle format 1"),
    "not ours": (with_manifest(format="other"), "not a bundle"),
    "one class": (with_manifest(classes=["a"]), "`classes` must be a list of 2"),
    "a class twice": (with_manifest(classes=["a", "a"]), "each once"),
    "classes that are numbers": (with_manifest(classes=[1, 2]), "`classes` must be names"),
    "temperature of zero": (with_manifest(temperature=0), "`temperature` must be a number"),
    "no preprocessing": (with_manifest(preprocess=None), "`preprocess` must be there"),
    "a member too many": (lambda members: members.update(extra=b""), "too many or missing: extra"),
    "a member missing": (lambda members: members.pop("model.onnx"), "too many or missing: model.onnx"),
    "a member outside": (lambda members: members.update({"../evil": b""}), r"too many or missing: \.\./evil"),
    "no manifest": (lambda members: members.pop("manifest.json"), "it has no manifest.json"),
    "not JSON": (lambda members: members.update({"manifest.json": b"{"}), "not JSON"),
    "nested beyond sense": (lambda members: members.update({"manifest.json": b"[" * 100_000}), "not JSON"),
    "a list": (lambda members: members.update({"manifest.json": b"[]"}), "not a bundle"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bundle_that_is_none_is_refused_in_one_line(small_path: Path, tmp_path: Path, what: str) -> None:
    change, says = BAD[what]
    with pytest.raises(BundleError, match=says) as error:
        bundles.read(rewritten(small_path, tmp_path / "bad.tellapart", change))
    assert "\n" not in str(error.value)
    assert "bad.tellapart" in str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_bundle_is_refused(small_path: Path, tmp_path: Path, share: float) -> None:
    content = small_path.read_bytes()
    (tmp_path / "cut.tellapart").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BundleError, match=r"cut\.tellapart is not a bundle, or is damaged"):
        bundles.read(tmp_path / "cut.tellapart")


def test_a_member_that_stands_twice_is_refused(small_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.tellapart"
    path.write_bytes(small_path.read_bytes())
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model.onnx", b"other")
    with pytest.raises(BundleError, match=r"its member model\.onnx stands twice"):
        bundles.read(path)


def test_places_that_hold_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="No such bundle"):
        bundles.read(tmp_path / "none.tellapart")
    with pytest.raises(BundleError, match="must be a regular file"):
        bundles.read(tmp_path)


def test_a_graph_that_does_not_fit_its_manifest_is_refused(trained: Classifier, tmp_path: Path) -> None:
    manifest = dict(trained.bundle.manifest) | {"classes": ["a", "b", "c"]}
    with pytest.raises(BundleError, match="graph must fit its manifest"):
        Classifier(bundles.Bundle(manifest, trained.bundle.members))
    members = dict(trained.bundle.members) | {"model.onnx": b"not a graph"}
    with pytest.raises(BundleError, match=r"ONNX Runtime .* can open"):
        Classifier(bundles.Bundle(trained.bundle.manifest, members))


# A small bundle, of which every byte can be tried


def small(**changes) -> bundles.Bundle:
    """A bundle of plain bytes with a manifest as the format says."""
    numbers = {"accuracy": 0.75, "accuracy_interval": [0.5, 0.9]}
    manifest = {
        "classes": ["a", "b"],
        "preprocess": {"version": 1, "size_px": 32, "fit": "squash"},
        "temperature": 1.0,
        "abstention": {},
        "metrics": {"test": numbers, "train": dict(numbers)},
        "training": {"epochs": 2, "pictures": {"train": 3, "test": 1}},
        "provenance": {
            "recipe": {"name": "tutorial"}, "seed": 0, "created": "2001-09-09", "machine": "x",
            "versions": {"numpy": "2"}, "catalog_fingerprint": "f" * 64,
        },
    }  # fmt: skip
    return bundles.make(
        manifest | changes,
        graph=bytes(range(256)),
        keras_file=b"keras" * 40,
        splits={"train": ["1" * 64, "2" * 64, "3" * 64], "validation": [], "test": ["4" * 64]},
        history_csv="epoch,loss\n1,0.7\n2,0.5\n",
        embeddings=np.arange(12).reshape(3, 4),
    )


@pytest.fixture(scope="module")
def small_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.tellapart"
    bundles.write(small(), path)
    return path


def test_what_is_made_is_what_is_read(small_path: Path) -> None:
    read = bundles.read(small_path)
    assert read == small()
    assert read.splits()["train"] == ["1" * 64, "2" * 64, "3" * 64]
    np.testing.assert_array_equal(read.embeddings(), np.arange(12).reshape(3, 4))


def test_no_flipped_byte_passes_unseen(small_path: Path, tmp_path: Path) -> None:
    """Wherever a byte is wrong: it is noticed, or it changes nothing that is used (dates, names of systems)."""
    content, expected = small_path.read_bytes(), bundles.read(small_path)
    path, n_noticed = tmp_path / "flipped.tellapart", 0
    for i in range(len(content)):
        changed = bytearray(content)
        changed[i] ^= 0xFF if i % 2 else 1
        path.write_bytes(changed)
        try:
            read = bundles.read(path)
        except BundleError:
            n_noticed += 1
        else:
            assert read == expected, f"byte {i}"
    assert n_noticed > 0.7 * len(content)


def test_no_truncation_passes_unseen(small_path: Path, tmp_path: Path) -> None:
    content, path = small_path.read_bytes(), tmp_path / "cut.tellapart"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(BundleError):
            bundles.read(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('"temperature": NaN', "not JSON .it holds NaN"),
        ('"temperature": Infinity', "not JSON .it holds Infinity"),
        ('"temperature": 1e400', "not JSON .it holds a number that is too large: 1e400"),
        ('"temperature": true', "`temperature` must be a number"),
        ('"temperature": "1"', "`temperature` must be a number"),
        ('"temperature": ' + "9" * 400, "not JSON .it holds a whole number of over 18 digits"),
        ('"temperature": ' + "9" * 5000, "not JSON"),
        ('"format_version": true', "must have bundle format 1; it has True"),
        ('"format_version": ' + "9" * 400, "not JSON .it holds a whole number of over 18 digits"),
        ('"format_version": "1\\n2"', "must have bundle format 1; it has 1 2"),
        ('"classes": "ab"', "`classes` must be a list"),
        ('"classes": [[], {}]', "`classes` must be names"),
        ('"metrics": {"test": {"accuracy": 2, "accuracy_interval": [0, 1]}}', "`metrics` must be shares"),
        ('"metrics": {"test": {"accuracy": 0.5, "accuracy_interval": [0, 7]}}', "`metrics` must be shares"),
        ('"metrics": {"te\\nst": {"accuracy": 0.5}}', "`metrics` must have `accuracy_interval` for te st"),
        ('"metrics": {"test": 0.5}', "`metrics` must have"),
        ('"training": {"epochs": "2", "pictures": {}}', "`training` must have `epochs`"),
        ('"training": {"epochs": 2, "pictures": {"train": "3"}}', "`training` must have counts"),
        ('"training": {"epochs": -1, "pictures": {}}', "`training` must have counts"),
        ('"provenance": {}', "`provenance` must have `recipe`"),
        ('"abstention": []', "`abstention` must be there"),
        ('"members": null', "`members` must be there"),
    ],
)
def test_a_manifest_with_odd_values_is_refused_in_one_line(small_path, tmp_path: Path, text: str, says: str) -> None:
    def change(members: dict[str, bytes]) -> None:
        field, _, value = text.partition(": ")
        whole = json.loads(members["manifest.json"]) | {json.loads(field): "HERE"}
        members["manifest.json"] = json.dumps(whole).replace('"HERE"', value).encode()

    with pytest.raises(BundleError, match=says) as error:
        bundles.read(rewritten(small_path, tmp_path / "odd.tellapart", change))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500 + len(str(tmp_path))


def with_size(content: bytes, member: str, size: int) -> bytes:
    """The zip `content` whose directory says that `member` unpacks to `size` bytes."""
    changed = bytearray(content)
    entry = content.index(b"PK\x01\x02")
    while content[entry + 46 : entry + 46 + len(member)] != member.encode():
        entry = content.index(b"PK\x01\x02", entry + 1)
    changed[entry + 24 : entry + 28] = size.to_bytes(4, "little")
    return bytes(changed)


@pytest.mark.parametrize("size", [0, 3, 200, 2**31 + 1, 2**32 - 2])
def test_a_size_that_is_a_lie(small_path: Path, tmp_path: Path, size: int) -> None:
    path = tmp_path / "lie.tellapart"
    for member in ("manifest.json", "splits.json", "model.onnx"):
        path.write_bytes(with_size(small_path.read_bytes(), member, size))
        with pytest.raises(BundleError, match=r"lie\.tellapart"):
            bundles.read(path)


def test_a_zip_bomb_is_not_unpacked(small_path: Path, tmp_path: Path) -> None:
    """200 MB of zeros that say that they are 10 bytes."""
    path = tmp_path / "bomb.tellapart"
    with zipfile.ZipFile(small_path) as source, zipfile.ZipFile(path, "w") as archive:
        for name in source.namelist():
            content = bytes(200 * 2**20) if name == "splits.json" else source.read(name)
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    path.write_bytes(with_size(path.read_bytes(), "splits.json", 10))
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match=r"bomb\.tellapart"):
            bundles.read(path)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_what_is_stored_or_deflated_is_opened(small_path: Path, tmp_path: Path, method: int) -> None:
    path = tmp_path / "packed.tellapart"
    with zipfile.ZipFile(small_path) as source, zipfile.ZipFile(path, "w") as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name), method)
    with pytest.raises(BundleError, match="must be stored or deflated"):
        bundles.read(path)


def test_an_encrypted_member_is_refused(small_path: Path, tmp_path: Path) -> None:
    changed = bytearray(small_path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        changed[changed.index(signature) + offset] |= 1
    (tmp_path / "locked.tellapart").write_bytes(changed)
    with pytest.raises(BundleError, match=r"locked\.tellapart is not a bundle, or is damaged"):
        bundles.read(tmp_path / "locked.tellapart")


def test_places_and_names_that_are_odd(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tellapart")
    with pytest.raises(BundleError, match="must be a regular file"):  # and reading does not wait for a writer
        bundles.read(tmp_path / "pipe.tellapart")
    with pytest.raises(BundleError, match=r"No such bundle: .*a\\nb") as error:
        bundles.read(tmp_path / "a\nb.tellapart")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"PK", b"{}", bytes(1000)])
def test_files_that_are_no_bundle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tellapart").write_bytes(content)
    with pytest.raises(BundleError, match=r"x\.tellapart is (not a bundle|a zip file but not a bundle)"):
        bundles.read(tmp_path / "x.tellapart")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"train": 5}', b'{"train": [1]}', b"[" * 100_000], ids=lambda content: content[:20]
)
def test_splits_that_are_none(content: bytes) -> None:
    bundle = small()
    with pytest.raises(BundleError, match="splits must be lists of hashes"):
        bundles.Bundle(bundle.manifest, dict(bundle.members) | {"splits.json": content}).splits()


def test_embeddings_are_never_unpickled() -> None:
    array = io.BytesIO()
    np.save(array, np.array([{"a": 1}, print], dtype=object), allow_pickle=True)
    huge = b"\x93NUMPY\x01\x00\x76\x00" + (
        b"{'descr': '<f2', 'fortran_order': False, 'shape': (1000000000, 1000000000), }".ljust(117) + b"\n"
    )
    bundle = small()
    for content in (array.getvalue(), huge, b"", b"\x93NUMPY"):
        with pytest.raises(BundleError, match="embeddings must be a plain array"):
            bundles.Bundle(bundle.manifest, dict(bundle.members) | {"embeddings.npy": content}).embeddings()


def test_a_failure_in_the_middle_of_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, n_written = zipfile.ZipFile.writestr, 0

    def fail(self, *arguments, **options):
        nonlocal n_written
        n_written += 1
        if n_written % 3 == 0:
            raise OSError(28, "No space left on device")
        return real(self, *arguments, **options)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    with pytest.raises(OutputError, match="could not be written: no space left on device"):
        bundles.write(small(), tmp_path / "new.tellapart")
    assert os.listdir(tmp_path) == []
    (tmp_path / "old.tellapart").write_bytes(b"old")
    with pytest.raises(OutputError):
        bundles.write(small(), tmp_path / "old.tellapart", force=True)
    assert os.listdir(tmp_path) == ["old.tellapart"]
    assert (tmp_path / "old.tellapart").read_bytes() == b"old"


def test_numbers_that_are_none_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        bundles.write(small(temperature=float("nan")), tmp_path / "x.tellapart")
    assert os.listdir(tmp_path) == []


def test_no_bytes_of_a_picture_are_in_it(bundle_path: Path, photos: Path) -> None:
    with zipfile.ZipFile(bundle_path) as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
    for path in photos.rglob("*.*"):
        picture = path.read_bytes()
        assert picture[len(picture) // 2 :][:24] not in everything
    assert b"\x89PNG" not in everything
    assert b"JFIF" not in everything


def without(member: str) -> Callable[[dict[str, bytes]], object]:
    return lambda members: members.pop(member)


# What is changed, and the whole sentence that is said; FILE stands for the bundle's path.
SENTENCES: list[tuple[Callable[[dict[str, bytes]], object], str]] = [
    (without("manifest.json"), "FILE is a zip file but not a bundle: it has no manifest.json. Give a .tellapart file."),
    (with_manifest(format="x"), "FILE is a zip file but not a bundle. Give a .tellapart file."),
    (
        with_manifest(format_version=2),
        "FILE must have bundle format 1; it has 2. Use the version of tellapart that wrote it, or train anew.",
    ),
    (
        with_manifest(temperature=0),
        "The manifest of FILE is not as its format says: `temperature` must be a number from 0.001 to 1000. "
        "Get the file again, or train anew.",
    ),
    (
        without("model.onnx"),
        "FILE must hold just the members of its format; too many or missing: model.onnx. "
        "Get the file again, or train anew.",
    ),
    (
        lambda members: members.update({f"{i}\n": b"" for i in range(9, 0, -1)}),
        "FILE must hold just the members of its format; too many or missing: 1\\x0a, 2\\x0a, 3\\x0a, 4\\x0a, 5\\x0a. "
        "Get the file again, or train anew.",
    ),
    (
        lambda members: members.update({"x" * 150: b""}),
        f"FILE must hold just the members of its format; too many or missing: {'x' * 100}. "
        "Get the file again, or train anew.",
    ),
    (
        lambda members: (
            members.pop("history.csv"),
            with_manifest(members={name: {} for name in members if name != "manifest.json"})(members),
        ),
        "FILE must hold just the members of its format; too many or missing: history.csv. "
        "Get the file again, or train anew.",
    ),
    (
        lambda members: members.update({"golden.npz": b""}),
        "FILE must hold just the members of its format; too many or missing: golden.npz. "
        "Get the file again, or train anew.",
    ),
    (
        lambda members: members.update({"history.csv": b"longer than it was, by a few letters"}),
        "FILE is damaged: its history.csv has not the size that the manifest says. Get the file again, or train anew.",
    ),
    (
        lambda members: members.update({"history.csv": members["history.csv"].replace(b"7", b"8")}),
        "FILE is damaged: its history.csv is not the one that was written. Get the file again, or train anew.",
    ),
]


@pytest.mark.parametrize(("change", "says"), SENTENCES)
def test_a_refusal_is_said_in_full(small_path: Path, tmp_path: Path, change, says: str) -> None:
    path = tmp_path / "bad.tellapart"
    with pytest.raises(BundleError) as error:
        bundles.read(rewritten(small_path, path, change))
    assert str(error.value) == says.replace("FILE", str(path))


def remade(**parts) -> bundles.Bundle:
    """A bundle with proper hashes of other parts than those of `small`."""
    content = small().members
    plain = {
        "graph": content["model.onnx"],
        "keras_file": content["model.keras"],
        "splits": small().splits(),
        "history_csv": content["history.csv"].decode(),
        "embeddings": np.arange(12).reshape(3, 4),
    }
    manifest = {
        key: value for key, value in small().manifest.items() if key not in ("format", "format_version", "members")
    }
    return bundles.make(manifest | parts.pop("manifest", {}), **{**plain, **parts})


REMEDY = " Get the file again, or train anew."
ODD_PARTS = {
    "a text in the curves": (
        {"history_csv": "epoch,loss\n1,low\n"}, "its history.csv must be a table of numbers." + REMEDY,
    ),
    "infinity in the curves": (
        {"history_csv": "epoch,loss\n1,inf\n"}, "its history.csv must be a table of numbers." + REMEDY,
    ),
    "rows of other lengths": (
        {"history_csv": "epoch,loss\n1\n"}, "its history.csv must be a table of numbers." + REMEDY,
    ),
    "letters beyond ASCII": (
        {"history_csv": "épochs\n1\n"}, "its history.csv must be a table of numbers." + REMEDY,
    ),
    "an open quote": (
        {"history_csv": 'epoch\n"1'}, "its history.csv must be a table of numbers." + REMEDY,
    ),
    "embeddings of others": (
        {"embeddings": np.zeros((2, 4))}, "there are embeddings of 2 pictures, and 3 training pictures." + REMEDY,
    ),
    "embeddings of one dimension": (
        {"embeddings": np.zeros(3)}, "A bundle's embeddings must be a plain array (it has 1 dimensions)." + REMEDY,
    ),
    "no training pictures named": (
        {"splits": {"test": []}}, "A bundle's splits must be lists of hashes, of train, validation, test." + REMEDY,
    ),
    "another side": (
        {"splits": {"train": [], "more": []}},
        "A bundle's splits must be lists of hashes, of train, validation, test." + REMEDY,
    ),
    "a list of sides": (
        {"splits": ["train"]}, "A bundle's splits must be lists of hashes, of train, validation, test." + REMEDY,
    ),
    "one hash and no list": (
        {"splits": {"train": "1" * 64}}, "A bundle's splits must be lists of hashes." + REMEDY,
    ),
    "numbers for hashes": (
        {"splits": {"train": [1, 2, 3]}}, "A bundle's splits must be lists of hashes." + REMEDY,
    ),
    "short hashes": (
        {"splits": {"train": ["1" * 64, "2" * 63, "3" * 64]}},
        "A bundle's splits must be lists of hashes; train has others." + REMEDY,
    ),
    "other letters": (
        {"splits": {"train": ["1" * 64, "2" * 63 + "g", "3" * 64]}},
        "A bundle's splits must be lists of hashes; train has others." + REMEDY,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD_PARTS)
def test_parts_that_do_not_fit_are_named_though_their_hashes_do(tmp_path: Path, what: str) -> None:
    parts, says = ODD_PARTS[what]
    path = tmp_path / "odd.tellapart"
    bundles.write(remade(**parts), path)
    with pytest.raises(BundleError) as error:
        bundles.read(path)
    assert str(error.value) == f"{path} is not as its format says: {says}"


def test_parts_that_are_empty_fit(tmp_path: Path) -> None:
    for i, parts in enumerate(
        (
            {"embeddings": np.zeros((0, 4))},
            {"history_csv": ""},
            {"history_csv": "epoch\n"},
            {"splits": {"train": ["a" * 64] * 3}},
        )
    ):
        made = remade(**parts)
        bundles.write(made, tmp_path / str(i))
        assert bundles.read(tmp_path / str(i)) == made


def test_embeddings_that_are_no_numbers_are_refused_when_they_are_read(tmp_path: Path) -> None:
    embeddings = np.zeros((3, 4))
    for odd in (np.nan, np.inf):
        embeddings[1, 2] = odd
        with pytest.raises(BundleError) as error:
            remade(embeddings=embeddings).embeddings()
        assert str(error.value) == "A bundle's embeddings must be numbers; some are infinite or none." + REMEDY


def test_no_such_file_and_no_file_are_said_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
    for path, says in (
        ("none\n", "No such bundle: none\\n. Give the path of a .tellapart file that `tellapart train` wrote."),
        ("", "No such bundle: ''. Give the path of a .tellapart file that `tellapart train` wrote."),
        (".", "A bundle must be a regular file; . is not. Give the path of a .tellapart file."),
        ("pipe", "A bundle must be a regular file; pipe is not. Give the path of a .tellapart file."),
        ("socket", "A bundle must be a regular file; it is not: socket. Give the path of a .tellapart file."),
    ):
        with pytest.raises(BundleError) as error:
            bundles.read(path)
        assert str(error.value) == says


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EACCES, "The bundle a must be readable; Permission denied. Change its permissions."),
        (errno.EIO, "A bundle cannot be read (Input/output error): a. Give the path of a .tellapart file."),
    ],
)
def test_what_the_system_refuses_is_said_in_full(
    small_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_bytes(small_path.read_bytes())

    def refusing(path, *args, **kinds):
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(bundles.os, "open", refusing)
    with pytest.raises(BundleError) as error:
        bundles.read("a")
    assert str(error.value) == says


def test_how_a_member_is_packed(small_path: Path) -> None:
    with zipfile.ZipFile(small_path) as archive:
        for info in archive.infolist():
            packed = info.filename.endswith((".json", ".csv"))
            assert info.compress_type == (zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
            assert (info.external_attr >> 16, info.date_time) == (0o644, (1980, 1, 1, 0, 0, 0))
        text = archive.read("manifest.json").decode()
    assert text.startswith('{\n "format_version": 1,\n "format": "tellapart-bundle",\n "classes": [\n  "a",')


def test_what_a_manifest_says_of_a_member(small_path: Path) -> None:
    graph = bytes(range(256))
    expected = {"sha256": hashlib.sha256(graph).hexdigest(), "bytes": 256}
    assert bundles.read(small_path).manifest["members"]["model.onnx"] == expected


def test_names_of_classes_stand_as_they_are(tmp_path: Path) -> None:
    made = remade(manifest={"classes": ["Žluťoučký", "猫"]})
    bundles.write(made, tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert "Žluťoučký" in archive.read("manifest.json").decode()
    with pytest.raises(ValueError, match="Out of range float"):
        bundles.write(remade(manifest={"temperature": float("nan")}), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_an_existing_bundle_is_written_over_by_force_alone(small_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"of someone")
    with pytest.raises(OutputError):
        bundles.write(small(), path)
    assert path.read_bytes() == b"of someone"
    bundles.write(small(), path, force=True)
    assert path.read_bytes() == small_path.read_bytes()


def test_one_more_member_by_hand(tmp_path: Path) -> None:
    more = bundles.extended(small(), "held_out.npz", b"abc")
    assert dict(more.members) == {**small().members, "held_out.npz": b"abc"}
    told = {"sha256": hashlib.sha256(b"abc").hexdigest(), "bytes": 3}
    assert more.manifest == {**small().manifest, "members": {**small().manifest["members"], "held_out.npz": told}}
    bundles.write(bundles.extended(bundles.extended(small(), "golden.npz", b"g"), "held_out.npz", b"h"), tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert archive.namelist() == ["manifest.json", *bundles.MEMBERS, "held_out.npz", "golden.npz"]
