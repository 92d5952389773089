"""What the package offers, and what it does not load for that."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tellapart

HEAVY = {"keras", "tensorflow", "sklearn", "scipy", "onnx", "tf2onnx", "jax", "torch", "matplotlib", "pandas"}


def test_the_public_names() -> None:
    assert tellapart.__all__ == [
        "Augmentation", "Classifier", "Comparison", "Datasets", "Evaluation", "Finding", "Findings", "Prediction",
        "TellapartError", "__version__", "apply", "check", "datasets", "load", "plan", "report", "sheet",
        "show_augment", "train", "tune",
    ]  # fmt: skip
    assert dir(tellapart) == tellapart.__all__


@pytest.mark.parametrize("name", tellapart.__all__)
def test_every_public_name_is_there_and_knows_it_by_that_name(name: str) -> None:
    value = getattr(tellapart, name)
    assert value == "0.1.0" if name == "__version__" else value.__name__ == name
    assert name == "__version__" or value.__doc__


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'tellapart' has no attribute 'trian'"):
        _ = tellapart.trian


def test_what_answers_loads_nothing_heavy(bundle_path: Path, photos: Path) -> None:
    """One process after another thing: what was loaded by then is all that each of them needs."""
    code = f"""
import json, sys
import tellapart
loaded = {{"import": sorted(sys.modules)}}
from tellapart.cli import main
for arguments in (["--help"], ["info", {str(bundle_path)!r}], ["predict", {str(bundle_path)!r}, {str(photos)!r}],
                  ["evaluate", {str(bundle_path)!r}, {str(photos)!r}], ["history"],
                  ["compare", {str(bundle_path)!r}, {str(bundle_path)!r}, {str(photos)!r}]):
    try:
        main(arguments)
    except SystemExit as exit_:
        assert not exit_.code, (arguments, exit_.code)
    loaded[arguments[0]] = sorted(sys.modules)
tellapart.load({str(bundle_path)!r}).predict({str(photos)!r})
loaded["python"] = sorted(sys.modules)
print(json.dumps(loaded))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = json.loads(said.splitlines()[-1])
    assert list(loaded) == ["import", "--help", "info", "predict", "evaluate", "history", "compare", "python"]
    assert {name: sorted(HEAVY & set(modules)) for name, modules in loaded.items()} == {name: [] for name in loaded}
    ours = [name for name in loaded["import"] if name.startswith("tellapart")]
    assert ours == ["tellapart"]  # every other module of the package waits for its first use
    assert not {"numpy", "PIL", "cv2", "onnxruntime", "rich"} & set(loaded["import"])
    assert not {"cv2", "onnxruntime"} & set(loaded["--help"])
