"""Nothing is overwritten unasked; nothing half-written keeps a final name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tellapart import outputs
from tellapart.errors import OutputError


def test_an_existing_file_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"exists already\. Name another file, or add --force"):
        outputs.write_text(path, "new")
    assert path.read_text() == "mine"
    outputs.write_text(path, "new", force=True)
    assert path.read_text() == "new"


@pytest.mark.parametrize(
    ("name", "says"), [("no/such/a.txt", "there is no .*no/such"), ("folder", "is a folder"), ("dangling", "exists")]
)
def test_places_that_take_no_file(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(OutputError, match=says):
        outputs.check(tmp_path / name)


def test_a_failure_in_the_middle_leaves_nothing_and_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def half() -> None:
        with outputs.atomic(path, force=True) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_link_is_followed_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    outputs.write_text(tmp_path / "link", "new", force=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from tellapart import outputs
from tellapart.errors import OutputError
try:
    outputs.write_text({str(tmp_path / "big.txt")!r}, "x" * 100_000)
except OutputError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "big.txt could not be written: file too large" in said
    assert os.listdir(tmp_path) == []
