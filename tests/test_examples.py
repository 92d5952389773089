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
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """The notebook, run on its own drawings with few epochs: cell id to cell. A cell that fails raises here."""
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
    os.environ |= {
        "JUPYTER_PATH": str(folder),
        "JUPYTER_PLATFORM_DIRS": "1",  # else jupyter_core warns that it will do so one day
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path),  # the package under test
        "TELLAPART_CACHE": str(folder / "cache"),
        "TELLAPART_FAST": "1",
    }
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


def share(percent: str) -> float:
    return float(percent) / 100


@pytest.mark.slow
def test_nothing_is_complained_about(executed: dict[str, dict]) -> None:
    """Every output is a result or plain print: no warning, no traceback, no hint of a library."""
    for name, cell in executed.items():
        for output in cell.get("outputs", []):
            assert output["output_type"] in ("stream", "execute_result"), name
            assert output.get("name", "stdout") == "stdout", (name, output["text"])


@pytest.mark.slow
def test_the_catalog_says_how_it_reads_the_folders(executed: dict[str, dict]) -> None:
    said = text(executed["catalog_code"])
    assert "600 files, read as splits: cats, dogs; 0 not used" in said
    assert "single_prediction" in said
    split = text(executed["data"])
    assert re.search(r"train +432 pictures in +14 batches of \(32, 64, 64, 3\)", split)  # of 480, a tenth is taken
    assert re.search(r"validation +48 pictures", split)
    assert re.search(r"test +120 pictures", split)
    assert "('cats', 'dogs') {'cats': 0, 'dogs': 1}\n{'dogs': 0, 'kittens': 1}" in text(executed["indices"])


@pytest.mark.slow
def test_exchanged_folders_train_on_the_smaller_one(executed: dict[str, dict]) -> None:
    said = text(executed["swapped_code"])
    assert re.search(r"as named +trains on +432 pictures, tests on +120\n", said)
    assert re.search(r"exchanged +trains on +108 pictures, tests on +480\n", said)  # of 120, a tenth is validation
    named, exchanged = re.findall(r"pictures: ([\d.]+)% of (\d+)", text(executed["exchanged_code"]))
    assert (named[1], exchanged[1]) == ("120", "480")
    assert share(named[0]) > share(exchanged[0]) + 0.1


@pytest.mark.slow
def test_network_and_recipe_are_the_articles(executed: dict[str, dict]) -> None:
    # 3·3·3·32 + 32, 3·3·32·64 + 64, 14·14·64·128 + 128, 128 + 1
    assert f"{896 + 18_496 + 1_605_760 + 129:,} weights" in text(executed["network_code"])
    recipe = dict(re.findall(r"^(\w+) +(.+)$", text(executed["recipe_code"]), re.MULTILINE))
    expected = {
        "size_px": "64", "channels": "[32, 64]", "dense": "[128]", "dropout": "0.2", "optimizer": "adadelta",
        "learning_rate": "1.0", "batch_size": "32", "epochs": "10",
    }  # fmt: skip
    assert {name: recipe[name] for name in expected} == expected


@pytest.mark.slow
def test_todays_rate_hardly_learns(executed: dict[str, dict]) -> None:
    said = text(executed["rate_code"])
    assert "has a rate of 0.001" in said
    less = dict(re.findall(r"rate (\S+) .*: (-?\d+)% less", said))
    assert int(less["1"]) > 10
    assert abs(int(less["0.001"])) < 3


@pytest.mark.slow
def test_what_the_article_calls_is_gone(executed: dict[str, dict]) -> None:
    assert re.findall(r": (\w+)$", text(executed["gone_code"]), re.MULTILINE) == ["False", "False"]


@pytest.mark.slow
def test_an_epoch_has_as_many_steps_as_batches(executed: dict[str, dict]) -> None:
    said = text(executed["steps_code"])
    assert "432 pictures / 32 = 13.5: 14 steps, the last one with 16 pictures" in said
    assert "8,000 / 32 = 250 steps; 8,000 steps show each 32 times" in said
    assert "asked for 8,000 steps, Keras did 14 and said:\n  Your input ran out of data\n" in said


@pytest.mark.slow
def test_the_gap_is_named_with_its_numbers(executed: dict[str, dict]) -> None:
    said = text(executed["gap_code"])
    assert "a gap of 22 points; 77 % of 2,000 is 75.1% to 78.8%" in said
    assert re.search(r"Here: Training pictures [\d.]+% right, test pictures [\d.]+%", said)
    numbers = re.search(r"training ([\d.]+)%, test ([\d.]+)%, a gap of ([\d.]+) points", said)
    train, test, gap = map(float, numbers.groups())
    assert gap == pytest.approx(train - test, abs=0.11)
    assert gap > 2


@pytest.mark.slow
def test_one_picture_unscaled_hides_the_comparison_with_one(executed: dict[str, dict]) -> None:
    """Unscaled the answer is 1 itself and `== 1` holds; scaled it is below 1, and the same code says cat."""
    unscaled, scaled = re.findall(r"is ([\d.]+), by `== 1` a (\w+)", text(executed["single_code"]))
    assert float(unscaled[0]) > float(scaled[0]) > 0.5
    assert scaled[1] == "cat"


@pytest.mark.slow
def test_forgetting_the_scaling_makes_every_answer_extreme(executed: dict[str, dict]) -> None:
    found = re.findall(
        r"(\d+)% of the answers .*, loss ([\d.]+); right by `== 1` ([\d.]+)%, by `> 0.5` ([\d.]+)%",
        text(executed["both_code"]),
    )
    unscaled, scaled = (tuple(map(float, row)) for row in found)
    assert unscaled[0] > 90 > 50 > scaled[0]  # percent of extreme answers
    assert unscaled[1] > 2 * scaled[1]  # loss
    assert scaled[2] < unscaled[2]  # `== 1` only seems to work where the scaling is forgotten
    assert scaled[3] > scaled[2] + 20


@pytest.mark.slow
def test_results_show_as_tables_and_pictures(executed: dict[str, dict]) -> None:
    shown = executed["evaluate_code"]["outputs"][0]["data"]["text/html"]
    assert "Accuracy" in shown
    assert "<table>" in shown
    assert "95 % sure" in shown
    assert "commonest class" in shown
    pictures = (
        "rate_code", "varied_code", "train_code", "single_ours_code", "folder_code", "many_code", "deeper_code",
    )  # fmt: skip
    for name in pictures:
        images = [o["data"]["image/png"] for o in executed[name]["outputs"] if "image/png" in o.get("data", {})]
        assert len(images) == 1, name
        assert base64.b64decode(images[0]).startswith(PNG), name
    assert text(executed["train_code"]).endswith(" kept)")  # one line beside the picture, not every number


@pytest.mark.slow
def test_every_file_of_a_folder_has_its_answer(executed: dict[str, dict]) -> None:
    lines = text(executed["folder_code"]).splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert all(re.fullmatch(r"\S+ (cats|dogs) [\d.]+%", line) for line in lines[:4])
    assert "HTML" in lines[4]


@pytest.mark.slow
def test_the_command_line_says_the_same(executed: dict[str, dict]) -> None:
    accuracy = re.search(r"Accuracy (\S+%)", executed["evaluate_code"]["outputs"][0]["data"]["text/html"]).group(1)
    said = text(executed["shell_code"])
    assert f"Accuracy {accuracy} on 120 pictures of the test split" in said
    answer = re.match(r"(\w+) ([\d.]+%)", text(executed["single_ours_code"]))
    assert f"dataset/single_prediction/cat_or_dog_1.jpg: {answer[1]} {answer[2]}" in said.replace("\\", "/")


@pytest.mark.slow
def test_deeper_networks_are_told_with_their_intervals(executed: dict[str, dict]) -> None:
    rows = re.findall(r"([\d,]+) weights, test accuracy [\d.]+% \(95 % sure: ", text(executed["deeper_code"]))
    # A third convolution leaves 6·6·128 features for 256 units.
    deeper = 896 + 18_496 + (3 * 3 * 64 * 128 + 128) + (6 * 6 * 128 * 256 + 256) + 257
    assert rows == ["1,625,281", f"{deeper:,}"]


def test_the_committed_notebook_has_outputs_and_nothing_of_a_machine() -> None:
    content = NOTEBOOK.read_text(encoding="utf-8")
    notebook = nbformat.reads(content, as_version=4)
    nbformat.validate(notebook)
    assert len(content) < 600_000
    assert not re.search(r"/home/|/root/|/Users/|/work/|/tmp/|[A-Z]:\\\\", content)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert not cell.metadata, cell.id
        kinds = [output.output_type for output in cell.get("outputs", [])]
        assert "error" not in kinds, cell.id
        assert kinds or cell.cell_type == "markdown" or cell.id == "setup", cell.id
