"""A share of `benchmarks/fuzz.py`; and that it would find what it looks for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent.parent / "benchmarks")]

import agreement
import fuzz
from tellapart import pictures
from tellapart.errors import PictureError

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="its processes share memory as Linux has it")


@ON_LINUX
def test_mutated_files_give_a_picture_or_a_reason() -> None:
    result = fuzz.run(1500, seed=7, processes=1, minutes=2, findings=None)
    assert result["findings"] == []
    assert result["executions"] == 1500
    opened = {name.split()[0] for name in result["counts"] if not name.endswith("refused")}
    assert opened >= {"JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"}  # mutations leave some of each sound
    assert result["slowest_s"] < fuzz.HANG_S


def test_an_execution_is_the_same_file_always() -> None:
    corpus = fuzz.seeds()
    names = sorted(corpus)
    files = [fuzz.input_of(i, 3, corpus, names) for i in range(200)]
    assert files == [fuzz.input_of(i, 3, corpus, names) for i in range(200)]
    assert sum(data != corpus[name] for name, data in files) > 190


@pytest.mark.parametrize("wrong", ["error", "reason", "shape", "size"])
def test_what_must_not_be_is_found(monkeypatch, wrong) -> None:
    data = fuzz.seeds()["PNG-RGB"]
    real = pictures.decode

    def spoilt(data: bytes, *, at_least_px: int | None = None) -> pictures.Picture:
        if wrong == "error":
            raise IndexError("out of range")
        if wrong == "reason":
            raise PictureError("two\nlines")
        found = real(data, at_least_px=at_least_px)
        pixels = found.pixels[:, ::2] if wrong == "shape" else found.pixels
        return pictures.Picture(pixels, found.format, found.width_px + (wrong == "size"), found.height_px)

    assert fuzz.check(data, 8) == "PNG"
    monkeypatch.setattr(pictures, "decode", spoilt)
    with pytest.raises((fuzz.Finding, IndexError)):
        fuzz.check(data, 8)


@ON_LINUX
@pytest.mark.parametrize(("does", "found"), [("os.abort()", "ends the process (-6)"), ("while True: pass", "hangs")])
def test_a_process_that_ends_is_a_finding_and_the_run_goes_on(tmp_path, monkeypatch, does, found) -> None:
    """The 20th execution ends its process; the input is found in the memory that both share."""
    code = f"""
import os, runpy, sys
sys.path[:0] = [{str(fuzz.__file__.rsplit("/", 1)[0])!r}]
import fuzz
fuzz.HANG_S = 0.3
try_one, check, at = fuzz.try_one, fuzz.check, [0]
def tried(data, execution):
    at[0] = execution
    return try_one(data, execution)
def checked(data, at_least_px):
    if at[0] == 20:
        {does}
    return check(data, at_least_px)
fuzz.try_one, fuzz.check = tried, checked
fuzz.main()
"""
    script = tmp_path / "fuzz.py"
    script.write_text(code)
    monkeypatch.setattr(fuzz, "__file__", str(script))
    result = fuzz.run(30, seed=0, processes=1, minutes=1, findings=None)
    assert [(each["finding"], each["at"]) for each in result["findings"]] == [(found, 20)]
    assert result["executions"] == 30


def test_the_roads_agree() -> None:
    """A share of `benchmarks/agreement.py`."""
    for name, data in agreement.generated(60, seed=1):
        differs, _, both = agreement.compare(data)
        assert both, name
        assert differs <= agreement.TOLERANCE, name
    n = 0
    for name, data, expected in agreement.others(60, seed=1):
        n += 1
        assert (pictures.decode(data).pixels == expected).all(), name
    assert n > 50
