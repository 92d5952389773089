"""The one file: what is written is read back, and nothing in it is believed unseen."""

import json
import os
import subprocess
import sys
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
        assert archive.namelist() == ["manifest.json", *bundles.MEMBERS]
        manifest = json.loads(archive.read("manifest.json"))
    assert next(iter(manifest)) == "format_version"
    assert manifest["preprocess"] == {"version": 1, "size_px": 32, "fit": "squash"}
    assert manifest["temperature"] == 1.0
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


def test_the_keras_file_answers_alike_where_this_package_is_not(trained: Classifier, tmp_path: Path) -> None:
    model, pixels = tmp_path / "model.keras", tmp_path / "pixels.npy"
    model.write_bytes(trained.bundle.members["model.keras"])
    batch = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    np.save(pixels, batch)
    code = f"""
import sys
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
def test_a_changed_member_is_noticed(bundle_path: Path, tmp_path: Path, member: str) -> None:
    def flip(members: dict[str, bytes]) -> None:
        content = bytearray(members[member])
        content[len(content) // 2] ^= 1
        members[member] = bytes(content)

    path = rewritten(bundle_path, tmp_path / "bad.tellapart", flip)
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
def test_a_bundle_that_is_none_is_refused_in_one_line(bundle_path: Path, tmp_path: Path, what: str) -> None:
    change, says = BAD[what]
    with pytest.raises(BundleError, match=says) as error:
        bundles.read(rewritten(bundle_path, tmp_path / "bad.tellapart", change))
    assert "\n" not in str(error.value)
    assert "bad.tellapart" in str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_bundle_is_refused(bundle_path: Path, tmp_path: Path, share: float) -> None:
    content = bundle_path.read_bytes()
    (tmp_path / "cut.tellapart").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BundleError, match=r"cut\.tellapart is not a bundle, or is damaged"):
        bundles.read(tmp_path / "cut.tellapart")


def test_a_member_that_stands_twice_is_refused(bundle_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.tellapart"
    path.write_bytes(bundle_path.read_bytes())
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model.onnx", b"other")
    with pytest.raises(BundleError, match="each member once"):
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
