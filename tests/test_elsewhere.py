"""The commands on pictures that are elsewhere: the same answers as on this disk."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import elsewhere
from conftest import TINY, fill
from tellapart import catalog, remote, spool
from tellapart.cli import cli


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments])


def done(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = fill(tmp_path_factory.mktemp("there") / "photos", n=12, first=50)
    (root / "circles" / "broken.jpg").write_bytes(b"<html>")
    return root


@pytest.fixture(scope="module")
def bucket(folder: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, elsewhere.s3() as address:
        patch.setattr(remote, "_systems", {})
        for name, value in {**elsewhere.KEYS, "AWS_ENDPOINT_URL": address}.items():
            patch.setenv(name, value)
        files = {f"photos/{p.relative_to(folder)}": p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        elsewhere.put(address, "bucket", files)
        yield "s3://bucket/photos"


def rows(path: Path, root: str) -> list[list[str]]:
    with path.open(newline="") as file:
        return [[cell.replace(f"{root}/", "") for cell in row] for row in csv.reader(file)]


def test_predict(bucket: str, folder: Path, bundle_path: Path, tmp_path: Path) -> None:
    done("predict", bundle_path, folder, "--csv", tmp_path / "here.csv")
    done("predict", bundle_path, bucket, "--csv", tmp_path / "there.csv", "--copy-to", tmp_path / "copies")
    assert rows(tmp_path / "there.csv", bucket) == rows(tmp_path / "here.csv", str(folder))
    copied = {path.name: path.read_bytes() for path in (tmp_path / "copies").rglob("*.*")}
    assert copied == {path.name: path.read_bytes() for path in folder.rglob("*.*")}
    one = json.loads(done("predict", bundle_path, f"{bucket}/circles/circle_050.png", "--json", "-").stdout)
    assert one[0]["path"] == f"{bucket}/circles/circle_050.png"
    assert one[0]["label"] is not None or one[0]["unknown"]
    missing = run("predict", bundle_path, f"{bucket}/none.png")
    assert (missing.exit_code, str(missing.exception)[:22]) == (1, "No such file or folder")


def test_the_commands_that_judge(bucket: str, folder: Path, bundle_path: Path, tmp_path: Path) -> None:
    def judged(photos: object) -> dict:
        result = json.loads(done("evaluate", bundle_path, photos, "--json", "-").stdout)
        return {name: result[name] for name in ("accuracy", "log_loss", "n", "confusion_matrix")}

    assert judged(bucket) == judged(folder)
    done("compare", bundle_path, bundle_path, bucket)
    done("report", bundle_path, bucket, "-o", tmp_path / "report.html")
    assert b"circle_05" in (tmp_path / "report.html").read_bytes()

    def found(photos: object, *more: object) -> list[tuple[str, int]]:
        result = json.loads(done("check", photos, "--quick", "--json", "-", *more).stdout)
        return [(each["kind"], len(each["paths"])) for each in result["findings"]]

    kept = []
    for name, photos in (("there", bucket), ("here", folder)):
        kept.append([found(photos, "--fix-list", tmp_path / f"{name}.csv")])
        done("apply", tmp_path / f"{name}.csv", "--to", tmp_path / name)
        clean = tmp_path / name
        kept[-1].append({str(p.relative_to(clean)): p.read_bytes() for p in clean.rglob("*.*g")})
    assert kept[0] == kept[1]
    assert len(kept[0][1]) > 20
    assert f"{bucket},folder" in (tmp_path / "there.csv").read_text()
    done("explain", bundle_path, f"{bucket}/circles/circle_051.jpg", "-o", tmp_path / "maps")
    assert len(list((tmp_path / "maps").iterdir())) == 1


def test_train_fetches_each_picture_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_systems", {})
    monkeypatch.setattr(spool, "_spool", None)
    with elsewhere.web(folder) as server:
        done("train", server.address, "-o", tmp_path / "x.tellapart", "--cache", tmp_path / "cache", *TINY)
        done("check", server.address, "--quick", "--cache", tmp_path / "cache")
        assert {n for path, n in server.fetched().items() if path.endswith("g")} == {1}
    assert (tmp_path / "cache" / spool.NAME).is_dir()
    about = json.loads(done("info", tmp_path / "x.tellapart", "--json", "-").stdout)
    assert about["provenance"]["catalog_fingerprint"] == catalog.scan(folder).fingerprint


def test_pack_and_what_comes_of_it(bucket: str, folder: Path, bundle_path: Path, tmp_path: Path) -> None:
    made = json.loads(done("pack", bucket, "--to", tmp_path / "shards", "--json", "-").stdout)
    assert made["shards"] == {"photos-000000.tar": 24}
    assert made["left_out"] == 1
    with tarfile.open(tmp_path / "shards" / "photos-000000.tar") as archive:
        assert len(archive.getnames()) == 72
    there = json.loads(done("evaluate", bundle_path, tmp_path / "shards", "--json", "-").stdout)
    here = json.loads(done("evaluate", bundle_path, folder, "--json", "-").stdout)
    assert there["confusion_matrix"] == here["confusion_matrix"]
    done("predict", bundle_path, tmp_path / "shards" / "photos-000000.tar", "--csv", tmp_path / "shards.csv")
    assert len(rows(tmp_path / "shards.csv", "")) == 25


def test_predict_to_parquet(folder: Path, bundle_path: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    done(
        "predict",
        bundle_path,
        folder,
        "--parquet",
        tmp_path / "x.parquet",
        "--json",
        tmp_path / "x.json",
        "--coverage",
        "0.9",
    )
    assert pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist() == [
        {**row, "probabilities": row["probabilities"] or None} for row in json.loads((tmp_path / "x.json").read_text())
    ]
    refused = run("predict", bundle_path, folder, "--parquet", tmp_path / "x.parquet")
    assert (refused.exit_code, "exists already" in str(refused.exception)) == (1, True)


def test_results_are_not_written_elsewhere(folder: Path, bundle_path: Path) -> None:
    for options in (["--csv", "s3://bucket/x.csv"], ["--copy-to", "gs://bucket/x"], ["--parquet", "az://x/y.parquet"]):
        refused = run("predict", bundle_path, folder, *options)
        assert refused.exit_code == 1
        assert f"Results are written to this disk; {options[1]} is elsewhere" in str(refused.exception)


def test_a_killed_prediction_goes_on(bundle_path: Path, tmp_path: Path) -> None:
    fill(tmp_path / "photos", n=300)
    command = [sys.executable, "-m", "tellapart", "predict", str(bundle_path), str(tmp_path / "photos")]
    command += ["--resume", "--csv", str(tmp_path / "out.csv")]
    environment = os.environ | {"TELLAPART_CACHE": str(tmp_path / "cache")}

    def kept() -> int:
        return sum(path.read_bytes().count(b"\n") for path in (tmp_path / "cache").rglob("*.jsonl"))

    known = 0
    for _ in range(2):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while kept() <= known and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.wait()
        known = kept()
    assert not (tmp_path / "out.csv").exists()
    assert 0 < known < 600
    last = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert f"{known} of 600 were answered before" in last.stderr
    done("predict", bundle_path, tmp_path / "photos", "--csv", tmp_path / "whole.csv")
    out, whole = (rows(tmp_path / name, str(tmp_path / "photos")) for name in ("out.csv", "whole.csv"))
    assert [row[:2] for row in out] == [row[:2] for row in whole], "every row once, with its answer"
    # Some were answered with other ones at once, so perhaps in another number format.
    assert [float(row[2]) for row in out[1:]] == pytest.approx([float(row[2]) for row in whole[1:]], abs=0.01)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
@pytest.mark.parametrize("command", ["check", "predict"])
def test_ctrl_c_does_not_wait_for_a_server_that_stalls(command: str, bundle_path: Path, tmp_path: Path) -> None:
    served = fill(tmp_path / "served", n=30)
    with elsewhere.web(served) as server:
        for path in served.rglob("*.*g"):
            server.plan[f"/{path.relative_to(served)}"] = ["stall"] * 99
        asked = ["check", server.address] if command == "check" else ["predict", str(bundle_path), server.address]
        environment = os.environ | {"TELLAPART_CACHE": str(tmp_path / "cache")}
        process = subprocess.Popen(
            [sys.executable, "-m", "tellapart", *asked], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert elsewhere.soon(lambda: len(server.fetched()) > 10, 60)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
        assert time.monotonic() - begin < 15
