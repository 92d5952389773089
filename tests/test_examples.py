"""The notebook runs, and its cells show what its text claims."""

import base64
import json
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "examples" / "cats_and_dogs.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """The notebook, run on its own drawings: cell id to cell."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    kernels = folder / "kernels" / "python3"
    kernels.mkdir(parents=True)
    # A kernel of this very interpreter, wherever others are registered.
    (kernels / "kernel.json").write_text(
        json.dumps(
            {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "here"}
        )
    )
    before = dict(os.environ)
    os.environ |= {"JUPYTER_PATH": str(folder), "JUPYTER_PLATFORM_DIRS": "1"}
    os.environ.pop("TELLAPART_PHOTOS", None)
    try:
        NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(folder)}}).execute()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return {cell["id"]: cell for cell in notebook.cells}


def text(cell: dict) -> str:
    """All that a cell printed or showed as text."""
    parts = [output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in cell["outputs"]]
    return "\n".join(parts)


def test_the_folders_are_read_as_splits(executed: dict[str, dict]) -> None:
    said = text(executed["data"])
    assert re.search(r"train +720 pictures in +23 batches", said)  # a tenth of 800 is for validation
    assert re.search(r"validation +80 pictures", said)
    assert re.search(r"test +200 pictures", said)
    assert "('cats', 'dogs') {'cats': 0, 'dogs': 1}" in text(executed["indices"])


def test_the_network_is_the_articles(executed: dict[str, dict]) -> None:
    assert "1,625,281 weights" in text(executed["network_code"])


def test_todays_rate_hardly_learns(executed: dict[str, dict]) -> None:
    less = dict(re.findall(r"rate (\S+) .*: (-?\d+)% less", text(executed["rate_code"])))
    assert int(less["1"]) > 10
    assert int(less["0.001"]) < 5


def test_forgetting_the_scaling_makes_every_answer_extreme(executed: dict[str, dict]) -> None:
    said = text(executed["single_code"])
    scaled, unscaled = re.findall(r"(\d+)% of the answers are all but 0 or 1; loss ([\d.]+)", said)
    assert int(unscaled[0]) > 90 > int(scaled[0])
    assert float(unscaled[1]) > float(scaled[1])


def test_results_show_as_tables_and_pictures(executed: dict[str, dict]) -> None:
    shown = executed["evaluate_code"]["outputs"][0]["data"]["text/html"]
    assert "Accuracy" in shown
    assert "<table>" in shown
    for name in ("varied_code", "single_ours_code", "many_code", "rate_code", "train_code"):
        images = [o["data"]["image/png"] for o in executed[name]["outputs"] if "image/png" in o.get("data", {})]
        assert images, name
        assert base64.b64decode(images[0]).startswith(b"\x89PNG"), name


def test_the_command_line_says_the_same(executed: dict[str, dict]) -> None:
    accuracy = re.search(r"Accuracy (\S+%)", executed["evaluate_code"]["outputs"][0]["data"]["text/html"]).group(1)
    assert f"Accuracy {accuracy} on 200 pictures of the test split" in text(executed["shell_code"])


def test_the_committed_notebook_holds_no_error_and_no_path_of_a_machine() -> None:
    content = NOTEBOOK.read_text()
    assert '"output_type": "error"' not in content
    assert not re.search(r"/home/|/root/|/Users/|/work/", content)
    assert len(content) < 600_000
