"""Several at once on one cache or output, folders that change under a run: results as if alone, or named reasons."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import tellapart
from conftest import draw
from tellapart import cache as caches
from tellapart import catalog, cleaning, drafts, explaining, predict, sorting, store
from tellapart.bundle import read
from tellapart.errors import InputError, OutputError
from tellapart.preprocess import Preprocess

SIZE = Preprocess(32)


def listed(folder: Path) -> list[tuple[str, str]]:
    """The pictures below a folder, each with the hash of its bytes."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]


def rows(built: store.Store) -> dict[str, bytes]:
    """What a store has of each content."""
    return {content: built.values[row].tobytes() for content, row in built.rows.items()}


@contextlib.contextmanager
def meanwhile(do: Callable[[], object]) -> Iterator[None]:
    """Do something again and again in a thread."""
    ended = threading.Event()

    def again() -> None:
        while not ended.is_set():
            do()
            time.sleep(0.001)

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


BUILD = """
import hashlib, json, sys
from pathlib import Path
from tellapart import store
from tellapart.preprocess import Preprocess
photos, cache, rounds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
files = [(str(p), hashlib.sha256(p.read_bytes()).hexdigest()) for p in sorted(Path(photos).rglob("*.*"))]
for _ in range(rounds):
    built = store.build(files, Preprocess(32), cache, limit_bytes=int(sys.argv[4]))
    told = {c: hashlib.sha256(built.values[row].tobytes()).hexdigest() for c, row in built.rows.items()}
    assert not built.failures, built.failures
    print(json.dumps(told, sort_keys=True))
"""


@pytest.mark.parametrize("limit", [10**9, 0])
def test_processes_with_the_same_and_other_pictures_share_a_cache(make_photos, tmp_path: Path, limit: int) -> None:
    same, other = make_photos(tmp_path / "same", n=6), make_photos(tmp_path / "other", n=6, first=4)
    alone = {}
    for photos in (same, other):
        built = rows(store.build(listed(photos), SIZE, tmp_path / f"alone {photos.name}"))
        alone[photos] = {content: hashlib.sha256(row).hexdigest() for content, row in built.items()}
    asked = [same, other, same]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD, str(photos), str(tmp_path / "cache"), "6", str(limit)],
            stdout=subprocess.PIPE, text=True,
        )
        for photos in asked
    ]  # fmt: skip
    for photos, process in zip(asked, running, strict=True):
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert [json.loads(line) for line in said.splitlines()] == [alone[photos]] * 6


def test_a_cache_that_is_deleted_while_it_is_filled_is_filled_anew(photos: Path, tmp_path: Path, monkeypatch) -> None:
    files, cache = listed(photos), tmp_path / "cache"
    expected = rows(store.build(files, SIZE, tmp_path / "alone"))
    real, deleted = drafts.Draft.finish, []

    def finish(draft: drafts.Draft, final: Path) -> None:
        if len(deleted) < 2:
            deleted.append(shutil.rmtree(cache))
        real(draft, final)

    monkeypatch.setattr(drafts.Draft, "finish", finish)
    built = store.build(files, SIZE, cache)
    assert len(deleted) == 2
    assert rows(built) == expected
    assert built.n_decoded == len(files)


def test_a_cache_that_is_always_deleted_is_named(photos: Path, tmp_path: Path, monkeypatch) -> None:
    real = drafts.Draft.finish

    def finish(draft: drafts.Draft, final: Path) -> None:
        shutil.rmtree(tmp_path / "cache")
        real(draft, final)

    monkeypatch.setattr(drafts.Draft, "finish", finish)
    with pytest.raises(OutputError, match=r"keep removing them\. Let those end, or choose another folder"):
        store.build(listed(photos), SIZE, tmp_path / "cache")


@pytest.mark.skipif(os.name == "nt", reason="a mapped file cannot be deleted there")
def test_a_store_that_is_deleted_in_use_keeps_its_pictures(photos: Path, tmp_path: Path) -> None:
    built = store.build(listed(photos), SIZE, tmp_path / "cache")
    before = rows(built)
    shutil.rmtree(tmp_path / "cache")
    built.rest()
    assert rows(built) == before


def test_clearing_and_evicting_meanwhile_changes_no_result(photos: Path, tmp_path: Path) -> None:
    files, cache = listed(photos), tmp_path / "cache"
    expected = rows(store.build(files, SIZE, tmp_path / "alone"))
    with meanwhile(lambda: caches.clear(cache)):
        for i in range(6):
            built = None
            with contextlib.suppress(OutputError):  # removed three times in a row: that is said, see above
                built = store.build(files[: len(files) - i], SIZE, cache)
            if built is None:
                continue
            assert rows(built).items() <= expected.items()
            assert len(built.rows) == len(files) - i


# --- folders that change under a run

CHANGES = ["vanishes", "changes", "fifo", "folder", "text", "loop"]


def change(path: Path, how: str) -> None:
    """Let something happen to a picture."""
    path.unlink()
    if how == "changes":
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"other bytes" * 9)
    elif how == "fifo":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "text":
        path.write_text("no picture any more")
    elif how == "loop":
        path.symlink_to(path)
    elif how == "replaced":  # by a picture as good as it was
        draw("triangles", 99).save(path)


def after_listing(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    """Let something happen once a folder was listed, before its pictures are looked at."""
    real = catalog.scan

    def scan(*args, **options):
        found = real(*args, **options)
        do()
        return found

    monkeypatch.setattr(catalog, "scan", scan)


@pytest.fixture
def few(make_photos, tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos", n=3)


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("how", CHANGES)
def test_a_picture_that_changes_after_it_was_listed_has_its_reason(bundle_path, few: Path, tmp_path, how: str) -> None:
    victim, beside = few / "circles" / "circle_000.png", few / "circles" / "circle_001.jpg"
    predictor = predict.Predictor(read(bundle_path))
    expected = {each.path: each for each in predictor.answers(predict.questions([str(few)]))}
    asked = list(predict.questions([str(few)]))
    files = [(entry.path, entry.content) for entry in catalog.scan(few).entries]
    change(victim, how)
    with sorting.Sorter(tmp_path / "to", predictor.classes) as sorter:
        answers = list(predictor.answers(asked))
        copied = [sorter.add(each) for each in answers]
    for each, copy in zip(answers, copied, strict=True):
        if each.path != str(victim):
            assert each == expected[each.path]
            assert copy is not None
            assert Path(copy).read_bytes() == Path(each.path).read_bytes()
        else:
            assert each.error
            assert each.label is None
    built = store.build(files, SIZE, tmp_path / "cache")
    content = dict(files)[str(victim)]
    assert list(built.failures) == [content]
    assert any(
        word in built.failures[content] for word in ("vanished", "changed", "regular file", "circle", "loop", "links")
    )
    again = store.build([(str(beside), content)], SIZE, tmp_path / "cache")  # nothing lasting was learned of it
    assert "changed during the run" in again.failures[content]


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("how", [*CHANGES, "replaced"])
def test_a_picture_that_changes_under_evaluate_is_skipped_and_counted(bundle_path, few: Path, monkeypatch, how) -> None:
    victim = few / "circles" / "circle_000.png"
    whole = tellapart.load(bundle_path).evaluate(few)
    after_listing(monkeypatch, lambda: change(victim, how))
    found = tellapart.load(bundle_path).evaluate(few)
    assert [path for path, _ in found.skipped] == [str(victim)]
    assert found.n == whole.n - 1
    kept = [i for i, path in enumerate(whole.paths) if path != str(victim)]
    np.testing.assert_array_equal(found.probabilities, whole.probabilities[kept])


def test_pictures_that_change_under_compare_are_answered_by_neither_or_both(
    bundle_path, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, other = tellapart.load(bundle_path), tellapart.load(bundle_path)
    gone, replaced, late = (
        few / "circles" / f"circle_{i:03d}.{end}" for i, end in ((0, "png"), (1, "jpg"), (2, "png"))
    )

    def meddle() -> None:
        gone.unlink()
        change(replaced, "replaced")
        draw("circles", 50).save(few / "circles" / "added.png")

    after_listing(monkeypatch, meddle)
    real = other.predictor._load

    def load(some, look=None):  # the other model reads after the first
        if late.exists():
            change(late, "replaced")
        return real(some, look)

    monkeypatch.setattr(other.predictor, "_load", load)
    found = model.compare(other, few)
    told = dict(found.skipped)
    assert told.keys() >= {str(gone), str(replaced)}
    assert "changed during the run" in told[str(replaced)]
    assert str(late) not in found.a.paths or (found.a.probabilities == found.b.probabilities).all()
    assert str(few / "circles" / "added.png") not in found.a.paths
    assert found.n == 6 - len(told)
    assert found.n_fixed == found.n_broken == 0  # one model, twice


@pytest.mark.parametrize("how", ["vanishes", "replaced"])
def test_a_picture_that_changes_under_explain_gets_no_other_picture_s_map(
    bundle_path, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    victim = few / "circles" / "circle_000.png"
    folder = explaining.Folder(read(bundle_path), tmp_path / "maps")
    real = folder._predictor.answers

    def answers(asked):
        found = list(real(asked))
        if found[0].path == str(victim):
            change(victim, how)
        return found

    monkeypatch.setattr(folder._predictor, "answers", answers)
    written = {one.path: one for one in folder.explain(list(predict.questions([str(few)])))}
    assert written[str(victim)].explanation is None
    reason = "changed during the run" if how == "replaced" else "vanished"
    assert reason in str(written[str(victim)].error)
    assert [path for path, one in written.items() if one.error] == [str(victim)]
    assert len(os.listdir(tmp_path / "maps")) == 5


LITTLE = {
    "tutorial": {"size": 32, "epochs": 1, "conv": (4,), "dense": (8,), "precision": "float32"},
    "transfer": {"backbone": "efficientnet-lite0", "size": 64},
}


@pytest.mark.parametrize("recipe", LITTLE)
def test_pictures_that_change_under_train_are_named_and_not_learned_from(
    make_photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    photos = make_photos(tmp_path / "photos", n=20)
    gone, replaced = photos / "circles" / "circle_000.png", photos / "circles" / "circle_001.jpg"
    added = photos / "circles" / "added.png"

    def meddle() -> None:
        gone.unlink()
        change(replaced, "replaced")
        draw("circles", 50).save(added)

    after_listing(monkeypatch, meddle)

    class Meddle(tellapart.progress.Progress):
        def update(self, stage: str, done: int, total: int, detail: str = "") -> None:
            if stage == "Saving" and recipe == "transfer":  # nearly a whole class goes, when all were looked at
                for path in list((photos / "squares").iterdir())[:18]:
                    path.unlink(missing_ok=True)

    model = tellapart.train(photos, recipe=recipe, cache=tmp_path / "cache", progress=Meddle(), **LITTLE[recipe])
    told = dict(model.evaluation.skipped)
    assert told.keys() == {str(gone), str(replaced)}
    assert "changed during the run" in told[str(replaced)]
    assert sum(model.bundle.manifest["training"]["pictures"].values()) == 38
    used = {content for side in model.bundle.splits().values() for content in side}
    assert len(used) == 38
    assert not used & {hashlib.sha256(path.read_bytes()).hexdigest() for path in (replaced, added)}


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("how", CHANGES)
def test_a_picture_that_changes_while_it_is_copied_stops_a_cleaned_copy(few: Path, tmp_path, monkeypatch, how) -> None:
    from tellapart import moves, placement

    (tmp_path / "moves.csv").write_text("".join(moves.lines([], str(few))))
    real = placement.plan

    def plan(*args):
        planned = real(*args)
        change(few / "circles" / "circle_000.png", how)
        return planned

    monkeypatch.setattr(placement, "plan", plan)
    if how in ("changes", "text"):  # a file as good as another: it is copied as it is now
        cleaning.apply(None, tmp_path / "moves.csv", tmp_path / "clean", copy=True)
        return
    with pytest.raises((InputError, OutputError), match=r"circle_000\.png|clean could not be written"):
        cleaning.apply(None, tmp_path / "moves.csv", tmp_path / "clean", copy=True)
    assert sorted(os.listdir(tmp_path)) == ["moves.csv", "photos"]


def test_a_model_that_is_replaced_under_a_prediction_changes_no_answer(bundle_path, few: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.tellapart"
    shutil.copy(bundle_path, model)
    predictor = predict.Predictor(read(model))
    expected = list(predictor.answers(predict.questions([str(few)])))
    answers = predictor.answers(predict.questions([str(few)]))
    found = [next(iter(answers))]
    model.write_bytes(b"another model, half copied")
    found += answers
    assert found == expected


# --- two writers of one output


def test_two_writers_of_one_file_leave_one_of_them_whole(tmp_path: Path) -> None:
    script = (
        "import sys; from tellapart import outputs\n"
        "for i in range(15): outputs.write_text(sys.argv[1], sys.argv[2] * 200_000, force=True)"
    )
    path = tmp_path / "a.csv"
    running = [subprocess.Popen([sys.executable, "-c", script, str(path), name]) for name in "ab"]
    seen = set()
    while any(each.poll() is None for each in running):
        with contextlib.suppress(FileNotFoundError):
            seen.add(path.read_text())
    assert [each.returncode for each in running] == [0, 0]
    assert {*seen, path.read_text()} <= {"a" * 200_000, "b" * 200_000}
    assert os.listdir(tmp_path) == ["a.csv"]
