"""A cache that cannot be written does not cost the user a result."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tellapart import api, cache, choices, leftovers, refuge, store
from tellapart.errors import OutputError
from tellapart.preprocess import Preprocess


@pytest.fixture
def usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The usual cache, and a folder for temporary files of the test's own."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    for name in ("tmp", "cache", "mine"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "cache"


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path, code: int = errno.EROFS) -> None:
    """Let nothing be made below a folder, as on a disk that can only be read."""
    real = os.mkdir

    def mkdir(path: str, *args: object, **options: object) -> None:
        if str(path).startswith(str(folder)):
            raise OSError(code, os.strerror(code))
        real(path, *args, **options)

    monkeypatch.setattr(os, "mkdir", mkdir)


def test_a_cache_that_can_be_written_is_taken(usual: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with refuge.writable(None, said.append) as folder:
        assert folder == usual
    with refuge.writable(tmp_path / "mine", said.append) as folder:
        assert folder == tmp_path / "mine"
    assert said == []
    with refuge.writable(tmp_path / "new" / "cache", said.append) as folder:
        assert folder == tmp_path / "new" / "cache"
    assert said == []
    # Nothing stays of the trial, nor is anything made before it is needed.
    assert [list(each.iterdir()) for each in (usual, tmp_path / "mine")] == [[], []]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_one_that_cannot_is_stood_in_for_and_that_is_said(usual: Path, tmp_path: Path, monkeypatch, code: int) -> None:
    refuse(monkeypatch, usual, code)
    said: list[str] = []
    with refuge.writable(None, said.append) as folder:
        assert folder.parent == tmp_path / "tmp"
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "tmp").iterdir()) == []
    why = {errno.EROFS: "read-only file system", errno.EACCES: "permission denied"}.get(code, "no space left on device")
    assert said == [
        f"The cache folder {usual} cannot be written: {why}. What this run keeps is in {folder} and goes with it, so "
        "that nothing can be resumed. Name another folder with --cache DIR."
    ]


def test_one_that_the_user_names_must_do(usual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, tmp_path / "mine", errno.EACCES)
    with (
        pytest.raises(OutputError, match=r"mine: permission denied\. Choose another"),
        refuge.writable(tmp_path / "mine", print),
    ):
        pass


def test_what_a_cache_shows_is_used_where_it_cannot_be_written(usual: Path, photos: Path, monkeypatch) -> None:
    files = [(str(each), cache.hashlib.sha256(each.read_bytes()).hexdigest()) for each in photos.rglob("*.png")]
    built = store.build(files, Preprocess(32), usual)
    choices.record(usual, "a", "one")
    before = sorted(usual.rglob("*"))
    refuse(monkeypatch, usual)
    with refuge.writable(None, print) as folder:
        again = store.build(files, Preprocess(32), folder)
        assert (built.n_decoded, again.n_decoded) == (len(files), 0)
        assert (again.values == built.values).all()
        assert choices.recall(folder, "a") == "one"
        assert cache.clear(folder) > 0  # its own links only
    assert sorted(usual.rglob("*")) == before


def test_what_a_killed_run_left_goes(usual: Path, tmp_path: Path, monkeypatch) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    begin = f"tellapart-cache-{leftovers.owner()}"
    for name in (f"{begin}-{process.pid}-0123abcd", f"{begin}-{os.getpid()}-0123abcd", "tellapart-cache-mine"):
        (tmp_path / "tmp" / name / "in").mkdir(parents=True)
    refuse(monkeypatch, usual)
    with refuge.writable(None, print):
        pass
    assert sorted(os.listdir(tmp_path / "tmp")) == sorted([f"{begin}-{os.getpid()}-0123abcd", "tellapart-cache-mine"])


def test_a_check_goes_on_without_its_cache(usual: Path, make_photos, tmp_path, monkeypatch, capsys) -> None:
    photos = make_photos(tmp_path / "photos", n=5)
    expected = api.check(photos, quick=True, progress=False).as_dict()
    cache.clear(usual)
    refuse(monkeypatch, usual)
    found = api.check(photos, quick=True).as_dict()
    assert {**found, "seconds": None} == {**expected, "seconds": None}
    assert f"The cache folder {usual} cannot be written: read-only file system." in capsys.readouterr().err
