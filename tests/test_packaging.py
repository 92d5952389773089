"""What users install: wheel and source archive hold what they must, nothing else, and come out the same twice."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import archives
import licences
import locks

PACKAGE = ROOT / "src" / "tellapart"
DIST_INFO = {"METADATA", "WHEEL", "entry_points.txt", "licenses/LICENSE", "RECORD"}


@dataclass(frozen=True)
class Built:
    wheel: Path
    sdist: Path
    unpacked: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    sdist = archives.build(ROOT, folder / "sdist", "sdist")
    return Built(archives.build(ROOT, folder / "wheel", "wheel"), sdist, archives.unpack(sdist, folder / "unpacked"))


def test_the_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    there = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    expected = {path.relative_to(PACKAGE.parent).as_posix() for path in there}
    with zipfile.ZipFile(built.wheel) as archive:
        names = archive.namelist()
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert len(names) == len(set(names))
    assert set(names) == expected | {f"{info}/{name}" for name in DIST_INFO}
    endings = {path.suffix for path in there}
    assert endings == {".py", ".typed", ".html", ".css", ".js", ".svg", ".json", ".xz"}, "a new kind of file is meant?"
    for needed in ("serve/page/index.html", "pages/report.html", "export/page/worker.js", "export/samples", "py.typed"):
        assert any(name.startswith(f"tellapart/{needed}") for name in names), needed


def test_the_source_archive_holds_what_git_has(built: Built) -> None:
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("this is no checkout")
    with tarfile.open(built.sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() and (member.uid, member.gid) == (0, 0) for member in members)
    names = {member.name.split("/", 1)[1] for member in members}
    expected = {name for name in listing.stdout.split("\n") if name and (ROOT / name).exists()}
    assert names - {"PKG-INFO"} == expected


def test_both_come_out_the_same_from_the_source_archive(built: Built, tmp_path: Path) -> None:
    again = archives.build(built.unpacked, tmp_path / "sdist", "sdist")
    wheel = archives.build(built.unpacked, tmp_path / "wheel", "wheel")
    assert wheel.read_bytes() == built.wheel.read_bytes()
    assert again.read_bytes() == built.sdist.read_bytes()


# The locks


def test_the_locks_fit_the_project() -> None:
    assert list(locks.problems()) == []


def test_a_lock_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in locks.NAMES:
        text = (locks.FOLDER / f"{name}.txt").read_text()
        (tmp_path / f"{name}.txt").write_text(text)
    monkeypatch.setattr(locks, "FOLDER", tmp_path)
    slim = tmp_path / "slim.txt"
    whole = slim.read_text()
    (numpy,) = {each.version for each in locks.read("slim") if each.name == "click"}
    slim.write_text(whole.replace(f"click=={numpy}", "click==8.0"))
    assert [each for each in locks.problems() if "must have click" in each]
    slim.write_text(whole.replace("click==", "clack=="))
    assert [each for each in locks.problems() if "it has nothing" in each]
    slim.write_text(whole.replace("--hash=sha256:", "--hash=md5:"))
    assert [each for each in locks.problems() if "no hash for click" in each]
    slim.write_text(whole.replace(locks.digest(locks.wanted("slim")), "0" * 64))
    assert [each for each in locks.problems() if "made from other requirements" in each]
    slim.unlink()
    assert [each for each in locks.problems() if "slim.txt is not there" in each]


def test_the_page_of_licences_fits_the_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert list(licences.problems()) == []
    text = licences.PAGE.read_text()
    monkeypatch.setattr(licences, "PAGE", tmp_path / "licences.md")
    (click,) = (each.version for each in locks.read("slim") if each.name == "click")
    row = f"| `click` | {click} | BSD-3-Clause | base, extras, tests |\n"
    assert row in text
    for instead, said in (
        ("", f"docs/licences.md must have click {click}; it has nothing"),
        (row.replace(click, "8.0"), f"must have click {click}; it has 8.0"),
        (row.replace("BSD-3-Clause", "GPL-3.0-only"), "click is under GPL-3.0-only: somebody must judge that"),
        (row.replace("BSD-3-Clause", "MIT AND SSPL-1.0"), "click is under MIT AND SSPL-1.0"),
        (row + row.replace("click", "clack"), "docs/licences.md has clack, which no lock has"),
        (row.replace("base", "nobody"), "is not what tools/licences.py writes"),
    ):
        licences.PAGE.write_text(text.replace(row, instead))
        assert [each for each in licences.problems() if said in each], said


def test_licences_are_read_from_metadata() -> None:
    old = {"classifier": ["License :: OSI Approved :: Apache Software License", "Topic :: Internet"], "license": "x"}
    assert licences.spelled(old) == "Apache-2.0"
    assert licences.spelled(old | {"license_expression": "MIT"}) == "MIT"
    assert licences.spelled({"license": "BSD-2-Clause\nfull text"}) == "BSD-2-Clause"
    assert licences.spelled({"license": "UNKNOWN"}) == ""


def test_extras_of_our_own_are_written_out() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["dependencies"]) == set(locks.wanted("slim"))
    assert {*locks.wanted("slim"), *project["optional-dependencies"]["train"]} < set(locks.wanted("dev"))
    assert set(project["optional-dependencies"]) - {"dev"} == set(locks.USERS)
