import contextlib
import io
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import hostilebundles
from tellapart import backbones, choices, engine, streams
from tellapart.backbones import BACKBONES
from tellapart.errors import BundleError

SIZE = 64


@pytest.fixture(scope="module")
def graph() -> bytes:
    return backbones.graph(BACKBONES["efficientnet-lite0"], SIZE)


def pixels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("way", streams.ways())
def test_batches_come_back_in_order_whatever_their_size(graph, way):
    batches = [pixels(n, i) for i, n in enumerate((8, 3, 8, 1, 5, 8, 8))]
    stream = streams.Stream(graph, ["embedding"], way)
    got = [values for (values,) in stream.run(batches)]
    one_by_one = [np.concatenate([next(stream.run([picture[None]]))[0] for picture in batch]) for batch in batches]
    assert [len(values) for values in got] == [8, 3, 8, 1, 5, 8, 8]
    for a, b in zip(got, one_by_one, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6 if way in streams.EXACT else 1e-3)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not show its threads as files")
@pytest.mark.parametrize("way", streams.ways())
def test_no_thread_is_held_to_a_core(graph, way):
    """Each of several processes would hold its first thread to the first core, and all would share that one."""
    whole = os.sched_getaffinity(0)
    before = cores_of_threads()
    stream = streams.Stream(graph, ["embedding"], way, threads=1)
    for _ in stream.run([pixels(8)] * 50):  # while they are at work: a runtime lets go at the end
        for thread, cores in cores_of_threads().items():
            assert cores == before.get(thread, whole)


def cores_of_threads() -> dict[int, set[int]]:
    """The cores that each thread of this process may have."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended
            found[int(task.name)] = os.sched_getaffinity(int(task.name))
    return found


@pytest.mark.parametrize("way", streams.ways())
def test_no_runtime_sees_a_graph_that_is_not_safe(way, tmp_path, monkeypatch):
    """OpenVINO would read the file that this one names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / hostilebundles.CANARY).write_bytes(bytes(24))
    (hostile,) = [case for case in hostilebundles.graphs() if case.name == "weights in another file"]
    with zipfile.ZipFile(io.BytesIO(hostile.content)) as archive:
        file = archive.read("model.onnx")
    monkeypatch.setattr(streams, "quiet_openvino", lambda: pytest.fail("OpenVINO was begun with"))
    monkeypatch.setattr(engine, "quiet_onnxruntime", lambda: pytest.fail("ONNX Runtime was begun with"))
    with pytest.raises(BundleError, match=hostile.says):
        streams.Stream(file, ["embedding"], way)


def test_all_exact_ways_agree(graph):
    expected, *others = [
        next(streams.Stream(graph, ["embedding"], way).run([pixels(8)]))[0]
        for way in streams.ways()
        if way in streams.EXACT
    ]
    for other in others:
        np.testing.assert_allclose(other, expected, atol=1e-4)


def test_batches_are_taken_as_they_are_needed(graph):
    taken = []

    def batches():
        for i in range(20):
            taken.append(i)
            yield pixels(8)

    stream = streams.Stream(graph, ["embedding"], streams.ONNXRUNTIME)
    next(stream.run(batches()))
    assert len(taken) <= 4


def test_no_batches(graph):
    assert list(streams.Stream(graph, ["embedding"], streams.ONNXRUNTIME).run([])) == []


def test_a_choice_is_measured_once_and_kept(graph, tmp_path, monkeypatch):
    way = streams.choose(graph, "embedding", pixels(8), "lite0", tmp_path)
    assert way in streams.ways()
    monkeypatch.setattr(streams, "_speed", lambda *a: pytest.fail("was measured again"))
    assert streams.choose(graph, "embedding", pixels(8), "lite0", tmp_path) == way


def test_the_fastest_way_is_taken(graph, tmp_path, monkeypatch):
    speeds = dict(zip(streams.ways(), (3.0, 2.0, 1.0), strict=False))
    monkeypatch.setattr(streams, "_speed", lambda stream, batches: speeds[stream.way])
    assert streams.choose(graph, "embedding", pixels(8), "lite0", tmp_path) == streams.ONNXRUNTIME


def test_a_way_that_changes_the_outputs_is_left_out(graph, tmp_path, monkeypatch):
    other = next(way for way in streams.ways() if way != streams.ONNXRUNTIME)
    run = streams.Stream.run

    def wrong(self, batches):
        for (values,) in run(self, batches):
            yield (values if self.way == streams.ONNXRUNTIME else 2 * values,)

    monkeypatch.setattr(streams.Stream, "run", wrong)
    monkeypatch.setattr(streams, "_speed", lambda stream, batches: 9.0 if stream.way == other else 1.0)
    assert streams.choose(graph, "embedding", pixels(8), "lite0", tmp_path) == streams.ONNXRUNTIME


def test_openvinos_telemetry_is_never_imported():
    streams._core()
    assert sys.modules["openvino_telemetry"] is None


def test_a_choice_that_cannot_be_kept_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    choices.record(tmp_path / "file" / "below", "key", "value")
    assert choices.recall(tmp_path / "file" / "below", "key") is None


def test_choices_are_kept_beside_each_other(tmp_path):
    choices.record(tmp_path, choices.key("a", 1), "x")
    choices.record(tmp_path, choices.key("b", 2), "y")
    assert [choices.recall(tmp_path, choices.key(*parts)) for parts in (("a", 1), ("b", 2), ("c", 3))] == [
        "x",
        "y",
        None,
    ]
    (tmp_path / choices.NAME).write_text("{damaged")
    assert choices.recall(tmp_path, choices.key("a", 1)) is None
