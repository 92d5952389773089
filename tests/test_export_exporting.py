"""From a bundle to a folder that answers by itself, or to nothing at all."""

import dataclasses
import io
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from onnx import numpy_helper
from PIL import Image

import hostilebundles
from conftest import draw
from tellapart import bundle as bundles
from tellapart import golden, strangers
from tellapart.classifier import Classifier
from tellapart.cli import main
from tellapart.errors import BundleError, ExportError, MissingPackageError, OutputError, SettingsError
from tellapart.export import formats, onnxgraph, openvinofolder, sampletext

CONTENTS = {"onnx": {"model.onnx"}, "openvino": {"model.xml", "model.bin"}}
BESIDE = {"README.md", "requirements.txt", "sample.py", "tellapart.json"}


def run_sample(folder, *pictures):
    """What the sample prints, run as a person would."""
    said = subprocess.run([sys.executable, folder / "sample.py", *pictures], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in said.stdout.splitlines()]


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_the_folder_answers_as_the_classifier_does(trained, tmp_path, to):
    done = trained.export(to, tmp_path / "out")
    assert set(done.files) == CONTENTS[to] | BESIDE == set(os.listdir(tmp_path / "out"))
    assert done.agreement.probability < 1e-3
    draw("squares", 7, (200, 120)).save(tmp_path / "square.png")
    noise = np.random.default_rng(0).integers(0, 256, (5, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    (tmp_path / "text.png").write_text("no picture")
    *rows, broken = run_sample(tmp_path / "out", *(tmp_path / f"{name}.png" for name in ("square", "noise", "text")))
    assert "cannot identify" in broken["error"]
    for row, path in zip(rows, (tmp_path / "square.png", tmp_path / "noise.png"), strict=True):
        expected = trained.predict(path)
        assert (row["path"], row["label"], row["unknown"]) == (str(path), expected.label, expected.unknown)
        assert row["reason"] == expected.reason
        assert row["probability"] == pytest.approx(expected.probability, abs=1e-3)
        assert row["probabilities"] == pytest.approx(expected.probabilities, abs=1e-3)


@pytest.mark.parametrize("to", ["onnx", "openvino", "web"])
def test_a_graph_that_is_not_safe_goes_to_no_runtime(to, tmp_path, monkeypatch):
    """A bundle that nobody has answered with before: `load` would have refused it."""
    (hostile,) = [case for case in hostilebundles.graphs() if case.name == "weights in another file"]
    with zipfile.ZipFile(io.BytesIO(hostile.content)) as archive:
        bundle = hostilebundles.good(model_onnx=archive.read("model.onnx"))
    monkeypatch.setattr(onnxgraph.onnx, "load_from_string", lambda _: pytest.fail("it was opened"))
    monkeypatch.setattr(openvinofolder, "save", lambda *_: pytest.fail("OpenVINO was given it"))
    with pytest.raises(BundleError, match=hostile.says):
        formats.module(formats.find(to)).write(bundle, tmp_path, calibration=None)
    assert os.listdir(tmp_path) == []


def test_a_picture_lying_on_its_side_and_one_seen_through_are_read_alike(trained, tmp_path):
    """EXIF turned, transparent, grey, 16 bits: the sample reads what `predict` reads."""
    trained.export("onnx", tmp_path / "out")
    picture = draw("squares", 3, (90, 60))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    through = picture.convert("RGBA")
    through.putalpha(picture.convert("L").point(lambda level: 255 if level > 90 else 40))
    through.save(tmp_path / "through.png")
    picture.convert("L").save(tmp_path / "grey.png")
    Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save(tmp_path / "deep.png")
    picture.quantize(16).save(tmp_path / "palette.png", transparency=3)
    paths = sorted(tmp_path.glob("*.png"))
    for row, expected in zip(run_sample(tmp_path / "out", *paths), trained.predict(paths), strict=True):
        assert row["probabilities"] == pytest.approx(expected.probabilities, abs=2e-3), row["path"]


def renamed(bundle, names):
    return bundles.Bundle({**bundle.manifest, "classes": list(names)}, bundle.members)


def test_names_of_any_letters_and_a_bundle_that_knows_no_strangers(trained, tmp_path):
    names = ('it\'s "quoted"\n{0} %s', "\u202eネコ🐈\udcff")
    members = {name: each for name, each in trained.bundle.members.items() if name != strangers.MEMBER}
    bare = golden.kept(bundles.Bundle({**trained.bundle.manifest, "abstention": {}}, members))
    named = Classifier(renamed(bare, names))
    named.predictor.guards = dataclasses.replace(named.predictor.guards, confidence=1.01)
    done = named.export("onnx", tmp_path / "out")
    assert done.agreement.score is None
    draw("circles", 1).save(tmp_path / "a.png")
    (row,) = run_sample(tmp_path / "out", tmp_path / "a.png")
    assert list(row["probabilities"]) == list(names)
    assert (row["label"], row["unknown"], row["score"]) == (None, True, None)
    label, probability = max(row["probabilities"].items(), key=lambda item: item[1])
    assert row["reason"] == f"not sure enough: {label} {probability:.0%}, and answers need 101%"


# What the gate must not let through


def tampered(monkeypatch, change):
    """Let `change(model)` happen to the graph between its making and its writing."""
    make = onnxgraph.build

    def build(*args, **settings):
        model = make(*args, **settings)
        change(model)
        return model

    monkeypatch.setattr(onnxgraph, "build", build)


def other_weights(model):
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1].copy(), tensor.name))


def other_temperature(model):
    node = next(node for node in model.graph.node if node.name.startswith("behind/div"))
    tensor = next(t for t in model.graph.initializer if t.name == node.input[1])
    tensor.CopyFrom(numpy_helper.from_array(3 * numpy_helper.to_array(tensor), tensor.name))


def other_centre(model):
    node = next(node for node in model.graph.node if node.name.startswith("behind/sub"))
    tensor = next(t for t in model.graph.initializer if t.name == node.input[1])
    tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (other_weights, "in its network"),
        (other_temperature, r"in its temperature, which is 3\.00 times"),
        (other_centre, "in its score of strangeness"),
    ],
)
def test_a_graph_that_is_another_one_is_not_written(trained, tmp_path, monkeypatch, change, place):
    tampered(monkeypatch, change)
    with pytest.raises(ExportError, match=place):
        trained.export("onnx", tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_a_picture_that_is_resized_otherwise_is_not_written(trained, tmp_path, monkeypatch):
    make = onnxgraph.build

    def cropping(bundle, **settings):
        how = {**bundle.manifest["preprocess"], "fit": "crop"}
        return make(bundles.Bundle({**bundle.manifest, "preprocess": how}, bundle.members), **settings)

    monkeypatch.setattr(onnxgraph, "build", cropping)
    with pytest.raises(ExportError, match="in its preprocessing: of squares alone the answers agree"):
        trained.export("onnx", tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_a_sample_that_is_another_one_is_not_written(trained, tmp_path, monkeypatch):
    strict = Classifier(trained.bundle)
    middle = float(np.median(golden.of(trained.bundle).scores))
    strict.predictor.guards = dataclasses.replace(trained.predictor.guards, strangeness=middle)
    whole = sampletext.text("sample_onnx.py")
    for change, said in (
        (lambda text: text.replace("picture[None]", "255 - picture[None]"), "in its network"),
        (lambda text: text.replace("import onnxruntime", "import onnxruntime, tellapart", 1), "ended with status 1"),
        (lambda text: text.replace('guards["strangeness"] is not None', "False"), "in its thresholds"),
    ):
        monkeypatch.setattr(sampletext, "text", lambda name, change=change: change(whole))
        with pytest.raises(ExportError, match=said):
            strict.export("onnx", tmp_path / "out")
        assert os.listdir(tmp_path) == []


# The folder on disk


@pytest.fixture
def quick(monkeypatch):
    """Without the gate, which other tests have."""
    from tellapart.export import gate

    monkeypatch.setattr(gate, "check", lambda *_, **__: gate.Agreement(8, 0.0, None))


def test_nothing_is_replaced_but_an_earlier_export(trained, tmp_path, quick, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()  # an empty folder is as good as none
    trained.export("onnx", out)
    with pytest.raises(OutputError, match="must be new or empty"):
        trained.export("onnx", out)
    (out / "__pycache__").mkdir()
    (out / "__pycache__" / "sample.pyc").write_bytes(b"")
    trained.export("openvino", out, force=True)
    assert set(os.listdir(out)) == CONTENTS["openvino"] | BESIDE
    (out / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"also holds mine\.txt"):
        trained.export("onnx", out, force=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "diary.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"Only an export can be replaced; .*other holds something else"):
        trained.export("onnx", other, force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="must be a folder"):
        trained.export("onnx", tmp_path / "file", force=True)
    with pytest.raises(OutputError, match="folder of an output must exist"):
        trained.export("onnx", tmp_path / "none" / "out")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="takes no new files"):
        trained.export("onnx", tmp_path / "new")
    assert sorted(os.listdir(tmp_path)) == ["file", "other", "out"]


def test_a_failure_leaves_the_earlier_export_as_it_was(trained, tmp_path, quick, monkeypatch):
    trained.export("onnx", tmp_path / "out")
    before = (tmp_path / "out" / "tellapart.json").read_bytes()

    def full(graph, folder):
        (folder / "model.xml").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(openvinofolder, "save", full)
    with pytest.raises(OutputError, match="no space left on device"):
        trained.export("openvino", tmp_path / "out", force=True)

    def refused(*_, **__):
        raise RuntimeError("unsupported\noperator")

    monkeypatch.setattr(openvinofolder, "save", refused)
    with pytest.raises(
        ExportError, match=r"OpenVINO must be able to take the network.*RuntimeError unsupported operator"
    ):
        trained.export("openvino", tmp_path / "out", force=True)
    assert (tmp_path / "out" / "tellapart.json").read_bytes() == before
    assert os.listdir(tmp_path) == ["out"]


def test_what_goes_along(trained, tmp_path, quick):
    trained.export("onnx", tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "tellapart.json").read_text())
    assert (facts["format"], facts["format_version"], facts["to"]) == ("tellapart-export", 1, "onnx")
    assert facts["classes"] == ["circles", "squares"]
    assert facts["preprocess"] == {"version": 1, "size_px": 32, "fit": "squash"}
    assert facts["temperature"] == trained.bundle.manifest["temperature"]
    assert facts["guards"]["words"]["strange"] == "unlike the pictures it knows: stranger than 98% of them"
    assert facts["golden"] == golden.of(trained.bundle).digest()
    assert facts["files"] == sorted(CONTENTS["onnx"] | BESIDE)
    assert facts["provenance"]["recipe"] == "tutorial"
    assert set(facts["provenance"]["accuracy"]) == {"train", "validation", "test"}
    lines = (tmp_path / "out" / "requirements.txt").read_text().splitlines()[1:]
    assert [line.split("==")[0] for line in lines] == ["onnxruntime", "numpy", "Pillow"]


# Settings


def test_settings_that_cannot_be_are_told(trained, tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match=r"one of onnx, openvino, .*; got 'tensorrt'"):
        trained.export("tensorrt", tmp_path / "out")
    with pytest.raises(SettingsError, match="int8 can be had for onnx, openvino, litert, web; not for keras"):
        trained.export("keras", tmp_path / "out", quantize="int8", calibrate="x")
    with pytest.raises(SettingsError, match="go together"):
        trained.export("onnx", tmp_path / "out", quantize="int8")
    with pytest.raises(SettingsError, match="must be int8"):
        trained.export("onnx", tmp_path / "out", quantize="int4", calibrate="x")
    with pytest.raises(SettingsError, match="from 0 to 1; got 3"):
        trained.export("onnx", tmp_path / "out", quantize="int8", calibrate="x", max_loss=3)
    known = dataclasses.replace(formats.FORMATS["onnx"], imports=("onnx", "no_such_runtime"))
    monkeypatch.setitem(formats.FORMATS, "onnx", known)
    with pytest.raises(
        MissingPackageError, match=r"no_such_runtime must be installed.*pip install 'tellapart\[train\]'"
    ):
        trained.export("onnx", tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_the_command(bundle_path, tmp_path, capsys, quick):
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as done:
        main(["export", str(bundle_path), "--to", "onnx", "-o", str(out), "--json", str(tmp_path / "out.json")])
    assert not done.value.code
    said = capsys.readouterr().out
    assert f"Written: {out} (onnx, 5 files, " in said
    result = json.loads((tmp_path / "out.json").read_text())
    assert (result["to"], result["quantized"], set(result["files"])) == ("onnx", None, CONTENTS["onnx"] | BESIDE)
    for arguments, status, message in (
        (["--to", "onnx", "-o", str(out)], 1, "must be new or empty"),
        (["--to", "coreml", "-o", str(out)], 2, "'coreml' is not one of"),
    ):
        with pytest.raises(SystemExit) as done:
            main(["export", str(bundle_path), *arguments])
        assert done.value.code == status
        assert message in capsys.readouterr().err
