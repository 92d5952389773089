"""What workers elsewhere make of pictures is what this process makes of them, bit for bit; here without any cluster."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tellapart import afar, api, contents, jobs, networks, slices, store, streams
from tellapart.bundle import Bundle
from tellapart.bundle import read as read_bundle
from tellapart.classifier import Classifier
from tellapart.errors import BundleError, ClusterError
from tellapart.features import Extractor
from tellapart.guards import Targets
from tellapart.jobs import Columns, Done, Job
from tellapart.predict import MANY, NO_SUCH_FILE, Predictor, Question, questions
from tellapart.preprocess import Preprocess


class Here:
    """Workers that are this process, and note what they were asked."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.sizes: list[int] = []

    def run(self, job: Job, blocks: Iterable[Columns]) -> Iterator[Done]:
        self.jobs.append(job)
        do = jobs.opened(job, 1)
        for i, block in enumerate(blocks):
            self.sizes.append(len(next(iter(block.values()))))
            yield Done(do(block), f"worker {i % 2}")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, make_photos) -> Path:
    """More pictures than one block has, a broken one among them, and one by a name that is no text."""
    folder = make_photos(tmp_path_factory.mktemp("many"), n=jobs.BLOCK // 2 + 10)
    (folder / "circles" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    (folder / "circles" / os.fsdecode(b"n\xff\n.png")).write_bytes((folder / "squares" / "square_000.png").read_bytes())
    return folder


def test_rows_are_those_of_one_machine(trained: Classifier, many: Path) -> None:
    asked = [*questions([many]), Question("gone.jpg", NO_SUCH_FILE)]
    expected = list(trained.predictor.answers(asked))
    workers = Here()
    got = list(afar.answers(trained.bundle, trained.predictor, workers, asked))
    assert workers.sizes == [jobs.BLOCK, len(asked) - jobs.BLOCK]
    assert [one.worker for one in got] == ["worker 0"] * jobs.BLOCK + ["worker 1"] * (len(asked) - jobs.BLOCK)
    assert {one.error for one in got} >= {None, NO_SUCH_FILE}
    for one, other in zip(got, expected, strict=True):
        told = one.as_dict()
        del told["worker"]
        assert told == {
            **other.as_dict(),
            "probability": pytest.approx(other.probability, abs=1e-6),
            "probabilities": pytest.approx(other.probabilities, abs=1e-6),
            "strangeness": pytest.approx(other.strangeness, abs=1e-3),
        }


def test_targets_and_sets_of_classes_go_along(trained: Classifier, many: Path) -> None:
    asked = list(questions([many / "squares"]))[:10]
    predictor = Predictor(trained.bundle, targets=Targets(answer=0.5), coverage=0.9)
    got = list(afar.answers(trained.bundle, predictor, Here(), asked))
    for one, other in zip(got, predictor.answers(asked), strict=True):
        assert (one.label, one.unknown, one.label_set) == (other.label, other.unknown, other.label_set)
        assert one.label_set


def test_the_way_to_run_the_graph_is_chosen_once_and_kept_to(trained: Classifier, many: Path, monkeypatch) -> None:
    asked = list(questions([many]))
    chosen = []
    monkeypatch.setattr(streams, "choose", lambda *_: chosen.append(1) or streams.ONNXRUNTIME)
    workers = Here()
    next(iter(afar.answers(trained.bundle, trained.predictor, workers, asked)))
    assert [job.settings["way"] for job in workers.jobs] == [streams.ONNXRUNTIME]
    next(iter(afar.answers(trained.bundle, trained.predictor, workers, asked[: MANY - 1])))  # few: exactly
    assert workers.jobs[-1].settings["way"] is None
    assert chosen == [1]


def test_a_worker_without_that_way_says_so() -> None:
    with pytest.raises(ClusterError, match="must run the graph by a way of tomorrow"):
        streams.required("a way of tomorrow")
    assert streams.required(streams.ONNXRUNTIME) == streams.ONNXRUNTIME


def test_a_bundle_that_was_damaged_on_its_way_answers_nothing(bundle_path: Path) -> None:
    bundle = read_bundle(bundle_path)
    members = {"model.onnx": bundle.members["model.onnx"][:-1] + b"!"}
    with pytest.raises(BundleError, match=r"damaged on its way: its model\.onnx"):
        afar.answering(bundle.manifest, members, None, None, False, None, threads=1)
    assert isinstance(bundle, Bundle)


def test_hashes_are_the_same(many: Path, monkeypatch) -> None:
    paths = [one.path for one in questions([many])] + ["gone.jpg"]
    expected = list(contents.hash_all(paths, None))
    monkeypatch.setattr(contents, "_BLOCK", 60)
    workers, told = Here(), []
    with jobs.given_to(workers):
        got = list(contents.hash_all(paths, lambda done, total: told.append((done, total))))
    assert got == expected
    assert workers.sizes == [60, 60, len(paths) - 120]
    assert told[-1] == (len(paths), len(paths))


def test_few_pictures_are_not_sent_anywhere(many: Path, tmp_path: Path) -> None:
    files = [("gone.png", f"{i:064x}") for i in range(jobs.BLOCK)]
    workers = Here()
    with jobs.given_to(workers):
        store.keep(files, store._pixels(Preprocess(8)), tmp_path)
    assert workers.jobs == []


def test_pixels_and_features_are_the_same_bit_for_bit(many: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(streams, "choose", lambda *_: streams.ONNXRUNTIME)
    files = [(one.path, content) for one, (content, _) in zip(*_hashed(many), strict=True) if content]
    extractor = Extractor(networks.find("efficientnet-lite0", 32), tmp_path)
    for keep in (
        lambda cache: store.build(files, Preprocess(16), cache),
        lambda cache: _extract(extractor, files, cache),
    ):
        expected, workers = keep(tmp_path / "one"), Here()
        with jobs.given_to(workers):
            got = keep(tmp_path / "other")
        assert [job.name for job in workers.jobs] == ["tellapart.store:making"]
        assert len(expected.rows) > jobs.BLOCK
        assert got.failures == expected.failures
        assert got.rows.keys() == expected.rows.keys()
        for content, row in got.rows.items():
            assert np.array_equal(got.values[row], expected.values[expected.rows[content]])


def _hashed(folder: Path) -> tuple[list[Question], list[tuple[str | None, str | None]]]:
    asked = list(questions([folder]))
    return asked, list(contents.hash_all([one.path for one in asked], None))


def _extract(extractor: Extractor, files: list[tuple[str, str]], cache: Path) -> store.Store:
    extractor._cache = cache
    return extractor.extract(files)


def test_a_check_finds_the_same(many: Path, tmp_path: Path) -> None:
    expected = api.check(many, quick=True, cache=tmp_path / "one", progress=False).as_dict()
    workers = Here()
    with jobs.given_to(workers):
        got = api.check(many, quick=True, cache=tmp_path / "other", progress=False).as_dict()
    assert [job.settings["settings"]["maker"] for job in workers.jobs] == ["tellapart.traits:row_of"]
    assert got | {"seconds": 0} == expected | {"seconds": 0}


def test_an_evaluation_finds_the_same(trained: Classifier, many: Path) -> None:
    asked = trained.with_targets(answer=0.6)
    expected, workers = asked.evaluate(many), Here()
    with jobs.given_to(workers):
        got = asked.evaluate(many)
    assert [job.name for job in workers.jobs] == ["tellapart.afar:answering"]
    assert slices.BRIGHTNESS in {each.by for each in expected.slices}
    assert got.slices == expected.slices
    assert got.declined == expected.declined
    assert _rounded(got.as_dict()) == _rounded(expected.as_dict())


def _rounded(told: Any) -> Any:
    """With numbers to as many digits as another way to run the graph keeps."""
    if isinstance(told, dict):
        return {name: _rounded(each) for name, each in told.items()}
    if isinstance(told, list):
        return [_rounded(each) for each in told]
    return pytest.approx(told, abs=1e-4) if isinstance(told, float) else told


def test_a_picture_that_changes_after_it_was_listed_has_its_reason_there_too(trained: Classifier, many: Path) -> None:
    path = next((many / "squares").glob("*.png"))
    (got,) = afar.answers(trained.bundle, trained.predictor, Here(), [Question(str(path), content="0" * 64)])
    assert got.error is not None
    assert "changed" in got.error


def test_plain_values_come_back_as_they_were() -> None:
    values = [["a\udcff", None, 0.1 + 0.2, True], ["ü\n", "", 1e-320, False]]
    assert jobs.unpacked(jobs.packed(values)) == values


def test_only_files_that_are_seen_here_must_be_seen_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    paths = [str(tmp_path / "gone"), str(tmp_path / "a")]
    assert jobs.some_seen(iter(paths)) == (paths[1],)


def test_workers_are_at_work_only_where_they_were_given() -> None:
    workers = Here()
    with jobs.given_to(workers):
        assert jobs.workers() is workers
    assert jobs.workers() is None
