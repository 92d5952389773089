"""`store` and its cache: each picture decoded once, nothing half-written used, nothing foreign touched."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tellapart import cache as caches
from tellapart import decoders, drafts, leftovers, pictures, preprocess, store
from tellapart.errors import OutputError, PictureError, SettingsError
from tellapart.preprocess import Preprocess

SOURCE = Path(store.__file__).parents[1]
SMALL = Preprocess(8)


def png(seed: int, px: int = 12) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (px, px, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def saved(folder: Path, name: str, data: bytes) -> tuple[str, str]:
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(data)
    return str(path), hashlib.sha256(data).hexdigest()


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def files(tmp_path) -> list[tuple[str, str]]:
    return [saved(tmp_path / "photos", f"{i}.png", png(i)) for i in range(7)]


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The contents that were decoded, in any order."""
    contents: list[str] = []
    make = decoders.make

    def made(maker, asked, row_bytes):
        contents.extend(content for content, _ in asked)
        return make(maker, asked, row_bytes)

    monkeypatch.setattr(decoders, "make", made)
    return contents


def refusing(reason: str):
    """A `decoders.make` that opens nothing, for a reason that lies not in the pictures."""
    return lambda maker, asked, row_bytes: [decoders.Made((), reason) for _ in asked]


def check(built: store.Store, files: list[tuple[str, str]], settings: Preprocess = SMALL) -> None:
    """Every file has its row, and the row its pixels."""
    assert built.failures == {}
    assert built.rows.keys() == {content for _, content in files}
    for path, content in files:
        assert np.array_equal(built.values[built.rows[content]], preprocess.load(path, settings))


def folders(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "pictures").iterdir())


# --- what it gives


@pytest.mark.parametrize("threads", [1, 3, None])
def test_every_picture_has_its_pixels(files, cache, threads):
    built = store.build(files, SMALL, cache, threads=threads)
    check(built, files)
    assert built.values.shape == (7, 8, 8, 3)
    assert built.values.dtype == np.uint8
    assert isinstance(built.values, np.memmap)
    assert not built.values.flags.writeable
    assert built.n_decoded == 7
    assert list(built.rows.values()) == list(range(7))  # whatever the threads did
    assert built.path.parent == cache / "pictures"
    assert folders(cache) == [built.path.name]
    assert sorted(path.name for path in built.path.iterdir()) == ["index.json", "values.bin"]
    assert (built.path / "values.bin").stat().st_size == 7 * 8 * 8 * 3


def test_no_files(cache):
    for _ in range(2):
        built = store.build([], SMALL, cache)
        assert built.values.shape == (0, 8, 8, 3)
        assert (built.rows, built.failures, built.n_decoded) == ({}, {}, 0)


def test_equal_contents_are_stored_once(tmp_path, cache, decoded):
    files = [saved(tmp_path, name, png(1)) for name in ("a.png", "b.png", "c.jpg")]
    built = store.build(files, SMALL, cache)
    check(built, files)
    assert built.values.shape[0] == built.n_decoded == len(decoded) == 1


def test_progress_tells_of_every_picture_and_ends_at_the_end(files, cache):
    told: list[tuple[int, int]] = []
    store.build(files[:3], SMALL, cache, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (3, 3)]
    told.clear()
    store.build(files, SMALL, cache, progress=lambda done, total: told.append((done, total)))
    assert told == [(3, 7), (7, 7)]
    told.clear()
    store.build(files, SMALL, cache, progress=lambda done, total: told.append((done, total)))
    assert told == [(7, 7)]


def test_what_is_under_way_is_bounded(monkeypatch):
    started = []
    monkeypatch.setattr(store, "_make_block", lambda todo, *_: [started.append(content) for content, _ in todo])
    todo = [(str(i), ["x"]) for i in range(500)]
    results = store.decode_all(todo, SMALL, threads=2, block=5)
    for taken, _ in enumerate(results, start=1):
        assert len(started) <= taken + 5 * 4 * 2
    assert sorted(started) == sorted(content for content, _ in todo)


# --- what the cache saves


def test_a_second_run_decodes_nothing(files, cache, decoded):
    first = store.build(files, SMALL, cache)
    decoded.clear()
    for asked in (files, files[::-1], files[2:4], []):
        again = store.build(asked, SMALL, cache)
        check(again, asked)
        assert (again.path, again.n_decoded, decoded) == (first.path, 0, [])


def test_only_added_and_changed_pictures_are_decoded(files, cache, decoded, tmp_path):
    first = store.build(files, SMALL, cache)
    decoded.clear()
    changed = saved(tmp_path / "photos", "0.png", png(100))
    added = saved(tmp_path / "photos", "new.png", png(101))
    asked = [changed, *files[1:], added]
    built = store.build(asked, SMALL, cache)
    check(built, asked)
    assert built.n_decoded == 2
    assert sorted(decoded) == sorted([changed[1], added[1]])
    # The first store knows a picture that the new one lacks, so it stays.
    assert folders(cache) == sorted([first.path.name, built.path.name])


def test_a_store_that_a_new_one_covers_goes(files, cache):
    first = store.build(files[:5], SMALL, cache)
    built = store.build(files, SMALL, cache)
    assert built.n_decoded == 2
    assert folders(cache) == [built.path.name]
    # On POSIX it can still be read where it is mapped.
    assert os.name == "nt" or np.array_equal(first.values, built.values[[built.rows[c] for c in first.rows]])


def test_known_pictures_are_gathered_from_several_stores(files, cache, decoded, tmp_path):
    bad = saved(tmp_path, "bad.png", b"no picture at all")
    store.build([*files[:3], bad], SMALL, cache)
    store.build(files[2:6], SMALL, cache)
    decoded.clear()
    built = store.build([files[6], *files[:6], bad], SMALL, cache)
    assert built.n_decoded == 1
    assert decoded == [files[6][1]]
    assert built.failures.keys() == {bad[1]}
    check(store.build(files, SMALL, cache), files)


def test_other_preprocessing_versions_and_decoders_have_stores_of_their_own(files, cache, monkeypatch):
    def n_decoded(settings: Preprocess) -> int:
        built = store.build(files, settings, cache)
        check(built, files, settings)
        return built.n_decoded

    assert n_decoded(SMALL) == 7
    assert n_decoded(Preprocess(9)) == 7
    assert n_decoded(Preprocess(8, "crop")) == 7
    with monkeypatch.context() as patch:
        patch.setattr(store, "decoder_versions", lambda: {"pillow": "99.0"})
        assert n_decoded(SMALL) == 7
    with monkeypatch.context() as patch:
        patch.setattr(caches, "STORE_VERSION", 99)
        assert n_decoded(SMALL) == 7
    assert n_decoded(SMALL) == 0
    assert len(folders(cache)) == 5


# --- files that cannot be used


def test_undecodable_contents_are_remembered_with_their_reason(files, cache, decoded, tmp_path):
    bad = [
        saved(tmp_path, "empty.jpg", b""),
        saved(tmp_path, "page.jpg", b"<html></html>"),
        saved(tmp_path, "cut.png", png(1)[:60]),
    ]
    first = store.build([*files, *bad], SMALL, cache)
    assert first.failures.keys() == {content for _, content in bad}
    for path, content in bad:
        with pytest.raises(PictureError) as caught:
            pictures.read(path)
        assert first.failures[content] == caught.value.reason
    assert first.n_decoded == 7
    decoded.clear()
    again = store.build([*bad, *files], SMALL, cache)
    assert (again.failures, decoded) == (first.failures, [])


def test_only_failures(tmp_path, cache):
    bad = saved(tmp_path, "empty.jpg", b"")
    for _ in range(2):
        built = store.build([bad], SMALL, cache)
        assert built.values.shape == (0, 8, 8, 3)
        assert built.rows == {}
        assert built.failures == {bad[1]: "empty file (0 bytes)"}


def test_a_changed_or_vanished_file_is_a_failure_of_this_run_only(files, cache, tmp_path):
    (changed, changed_content), (vanished, vanished_content) = files[1], files[4]
    Path(changed).write_bytes(png(1000))
    Path(vanished).unlink()
    built = store.build(files, SMALL, cache)
    assert built.failures == {
        changed_content: "the file changed during the run",
        vanished_content: "the file vanished during the run",
    }
    assert built.n_decoded == 5
    again = store.build(files, SMALL, cache)
    assert (again.failures, again.n_decoded, again.path) == (built.failures, 0, built.path)
    Path(changed).write_bytes(png(1))
    Path(vanished).write_bytes(png(4))
    mended = store.build(files, SMALL, cache)
    check(mended, files)
    assert mended.n_decoded == 2


def test_a_file_without_permission_is_a_failure_of_this_run_only(files, cache, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(decoders, "make", refusing("no permission to read it"))
        assert set(store.build(files, SMALL, cache).failures.values()) == {"no permission to read it"}
    check(store.build(files, SMALL, cache), files)


def test_too_little_memory_is_not_held_against_the_picture(files, cache, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(decoders, "make", refusing("PNG that needs more memory than there is"))
        assert len(store.build(files, SMALL, cache).failures) == 7
    check(store.build(files, SMALL, cache), files)


def test_another_file_with_the_same_content_stands_in(files, cache, tmp_path):
    twin = saved(tmp_path, "twin.png", png(0))
    Path(files[0][0]).unlink()
    check_files = [twin, *files[1:]]
    built = store.build([files[0], *check_files], SMALL, cache)
    check(built, check_files)


# --- damage, crashes, other processes


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path / "values.bin", 100),
        lambda path: os.truncate(path / "index.json", 100),
        lambda path: (path / "index.json").write_text("[]"),
        lambda path: (path / "index.json").write_text('{"version": 1, "shape": [7, 8, 8]}'),
        lambda path: (path / "index.json").write_bytes(b"\xff\xfe\x00"),
        lambda path: (path / "index.json").unlink(),
        lambda path: (path / "values.bin").unlink(),
        lambda path: [entry.unlink() for entry in path.iterdir()],
        lambda path: (path / "values.bin").write_bytes(b"\0" * 9999),
    ],
)
def test_a_damaged_store_is_noticed_and_built_again(files, cache, damage):
    path = store.build(files, SMALL, cache).path
    damage(path)
    assert [info.usable for info in store.listing(cache)] == [False]
    built = store.build(files, SMALL, cache)
    check(built, files)
    assert (built.n_decoded, built.path) == (7, path)
    assert folders(cache) == [path.name]
    assert store.build(files, SMALL, cache).n_decoded == 0


def test_a_killed_run_leaves_nothing_in_use(files, cache):
    script = f"""
import os, signal, sys
from pathlib import Path
from tellapart import decoders, store
from tellapart.preprocess import Preprocess
n, make = 0, decoders.make
def make_then_die(*arguments):
    global n
    n += 1
    if n > 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return make(*arguments)
decoders.make, store._BLOCK_PICTURES = make_then_die, 1
store.build({files!r}, Preprocess(8), Path({str(cache)!r}), threads=1)
"""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert ended.returncode == -9
    (left,) = folders(cache)
    assert left.startswith(".building-")
    assert [info.usable for info in store.listing(cache)] == [False]
    built = store.build(files, SMALL, cache)
    check(built, files)
    assert built.n_decoded == 7
    assert folders(cache) == [built.path.name]


def test_leftovers_go_once_their_process_is_gone_or_they_are_a_day_old(files, cache):
    folder = cache / "pictures"
    owner, pid = leftovers.owner(), os.getpid()
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)

    def leftover(name: str, age_s: float = 0.0) -> str:
        path = folder / name
        path.mkdir(parents=True)
        (path / "values.bin").write_bytes(b"\0" * 50)
        for part in (path / "values.bin", path):
            os.utime(part, (time.time() - age_s, time.time() - age_s))
        return name

    day = 24 * 3600
    kept = {
        leftover(f".building-{owner}-{pid}-00000001", age_s=day - 100),  # this process is alive
        leftover(".building-00000000-1-00000002", age_s=day - 100),  # who knows, elsewhere
        leftover(".building-of-somebody-else", age_s=9 * day),  # no name of ours
    }
    leftover(f".building-{owner}-{int(gone.stdout)}-00000003")
    leftover(f".removed-{owner}-{int(gone.stdout)}-00000004")
    leftover(f".building-{owner}-{pid}-00000005", age_s=day + 100)
    leftover(".building-00000000-1-00000006", age_s=day + 100)
    leftover(f".building-{owner}-9999999999-00000007")  # no such number
    built = store.build(files, SMALL, cache)
    assert set(folders(cache)) == kept | {built.path.name}


def test_an_interrupted_run_removes_what_it_wrote(files, cache):
    def interrupt(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.build(files, SMALL, cache, progress=interrupt)
    assert folders(cache) == []


def test_several_builders_of_the_same_store_agree(files, cache, monkeypatch):
    together = threading.Barrier(3)
    finish = drafts.Draft.finish

    def finish_together(*arguments):
        together.wait(timeout=10)
        finish(*arguments)

    monkeypatch.setattr(drafts.Draft, "finish", finish_together)
    with ThreadPoolExecutor(3) as pool:
        results = [pool.submit(store.build, files, SMALL, cache, threads=1) for _ in range(3)]
        built = [result.result() for result in results]
    for one in built:
        check(one, files)
    assert {one.path for one in built} == {built[0].path}
    assert folders(cache) == [built[0].path.name]


def test_a_damaged_store_in_the_way_of_a_finished_one_is_replaced(files, cache, monkeypatch):
    finish = drafts.Draft.finish

    def spoil(draft, final):
        final.mkdir()
        (final / "index.json").write_text("{}")
        finish(draft, final)

    monkeypatch.setattr(drafts.Draft, "finish", spoil)
    built = store.build(files, SMALL, cache)
    check(built, files)
    assert built.n_decoded == 7


def test_a_store_that_another_process_removes_at_once_is_built_again(files, cache, monkeypatch):
    finish, n = drafts.Draft.finish, 0

    def finish_then_remove(draft, final):
        nonlocal n
        n += 1
        finish(draft, final)
        if n <= removals:
            caches.remove_if_possible(final)

    monkeypatch.setattr(drafts.Draft, "finish", finish_then_remove)
    removals = 1
    check(store.build(files, SMALL, cache), files)
    store.clear(cache)
    n, removals = 0, 99
    with pytest.raises(OutputError, match="other processes keep removing them"):
        store.build(files, SMALL, cache)


# --- the disk refuses


def test_a_full_disk_is_named_with_its_remedy_and_nothing_stays(files, cache, monkeypatch):
    class Full(io.FileIO):
        def write(self, data):
            if self.tell() > 500:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data[:100])  # in parts, as a system may

    with monkeypatch.context() as patch:
        patch.setattr(drafts, "FileIO", Full)
        with pytest.raises(OutputError, match=r"that of .*pictures is full\..*--cache DIR") as caught:
            store.build(files, SMALL, cache)
    assert "\n" not in str(caught.value)
    assert folders(cache) == []


def test_writing_in_parts_loses_nothing(files, cache, monkeypatch):
    class Slow(io.FileIO):
        def write(self, data):
            return super().write(data[:7])

    monkeypatch.setattr(drafts, "FileIO", Slow)
    check(store.build(files, SMALL, cache), files)


def test_too_little_room_is_told_before_decoding(files, cache, monkeypatch, decoded):
    monkeypatch.setattr(drafts.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=r"must have 1 MB free .* --cache DIR"):
        store.build(files, SMALL, cache)
    assert decoded == []
    assert folders(cache) == []


@pytest.mark.parametrize("below", [".", "deeper"])
def test_a_cache_folder_that_is_a_file(files, tmp_path, below):
    (tmp_path / "a\nfile").write_text("mine")
    with pytest.raises(OutputError, match=r"must be readable and writable; .*a\\nfile.*--cache DIR"):
        store.build(files, SMALL, tmp_path / "a\nfile" / below)
    assert (tmp_path / "a\nfile").read_text() == "mine"


def test_a_cache_without_permission(files, cache, monkeypatch):
    def refuse(*arguments, **settings):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match=r"pictures: permission denied\. Choose another folder with --cache DIR"):
        store.build(files, SMALL, cache)


# --- housekeeping


def aged(path: Path, hours: float) -> None:
    used = time.time() - hours * 3600
    os.utime(path / "index.json", (used, used))


def test_the_stores_not_used_for_longest_go_first(files, cache):
    built = [store.build([file], SMALL, cache) for file in files[:4]]
    for hours, one in zip([1, 4, 3, 2], built, strict=True):
        aged(one.path, hours)
    size = sum(file.stat().st_size for file in built[0].path.iterdir())
    store.build([files[1]], SMALL, cache)  # the oldest is used, and now the newest
    last = store.build([files[4]], SMALL, cache, limit_bytes=int(3.5 * size))
    kept = set((cache / "pictures").iterdir())
    assert kept == {last.path, built[1].path, built[0].path}


def test_the_store_in_use_stays_whatever_the_limit(files, cache, monkeypatch):
    monkeypatch.setenv("TELLAPART_CACHE_LIMIT_GB", "0")
    store.build(files[:3], SMALL, cache)
    built = store.build(files[2:], SMALL, cache)
    assert folders(cache) == [built.path.name]
    check(store.build(files[2:], SMALL, cache), files[2:])


@pytest.mark.parametrize(("text", "limit"), [("", 20 * 10**9), ("1.5", 1_500_000_000), (" 0 ", 0)])
def test_the_limit_from_the_environment(monkeypatch, text, limit):
    monkeypatch.setenv("TELLAPART_CACHE_LIMIT_GB", text)
    assert caches.limit_from_environment() == limit


@pytest.mark.parametrize("text", ["lots", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch, cache, text):
    monkeypatch.setenv("TELLAPART_CACHE_LIMIT_GB", text)
    with pytest.raises(SettingsError, match=f"TELLAPART_CACHE_LIMIT_GB must be .*; got '{text}'"):
        store.build([], SMALL, cache)


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "named"))
    assert store.cache_folder() == tmp_path / "named"
    assert store.cache_folder(tmp_path / "given") == tmp_path / "given"
    assert store.cache_folder("~/here") == Path.home() / "here"
    monkeypatch.setenv("TELLAPART_CACHE", "")
    assert store.cache_folder().name == "tellapart"
    assert not (tmp_path / "named").exists()


def test_listing_and_clearing(files, cache):
    assert store.listing(cache) == []
    assert store.clear(cache) == 0
    small, large = store.build(files, SMALL, cache), store.build(files[:2], Preprocess(16, "crop"), cache)
    aged(small.path, 2)
    infos = store.listing(cache)
    assert [(info.name, info.n_pictures, info.size_px, info.usable) for info in infos] == [
        (large.path.name, 2, 16, True),
        (small.path.name, 7, 8, True),
    ]
    assert small.path.name.startswith("8px-squash-")
    assert large.path.name.startswith("16px-crop-")
    sizes = [sum(f.stat().st_size for f in path.iterdir()) for path in (large.path, small.path)]
    assert [info.size_bytes for info in infos] == sizes
    assert time.time() - infos[1].last_used == pytest.approx(7200, abs=60)
    assert store.clear(cache) == sum(sizes)
    assert list(cache.iterdir()) == []  # the folder that the user named stays


def test_foreign_files_and_links_stay(files, cache, tmp_path):
    built = store.build(files, SMALL, cache)
    (cache / "mine.txt").write_text("mine")
    (cache / "pictures" / "holiday").mkdir()
    (cache / "pictures" / "holiday" / "values.bin").write_text("mine")
    (built.path / "notes.txt").write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "values.bin").write_text("mine")
    link = cache / "pictures" / ("8px-squash-" + "0" * 12 + "-" + "0" * 16)
    link.symlink_to(elsewhere, target_is_directory=True)
    assert len(store.listing(cache)) == 1
    assert store.clear(cache) > 0
    left = {str(Path(folder, name).relative_to(cache)) for folder, _, names in os.walk(cache) for name in names}
    assert left == {"mine.txt", "pictures/holiday/values.bin", f"pictures/{built.path.name}/notes.txt"}
    assert (elsewhere / "values.bin").read_text() == "mine"
    assert link.is_symlink()


def test_clearing_leaves_what_a_living_process_builds(files, cache):
    store.build(files, SMALL, cache)
    living = cache / "pictures" / caches.private_name("building")
    living.mkdir()
    store.clear(cache)
    assert folders(cache) == [living.name]


def test_the_index_says_what_is_in_the_store(files, cache):
    built = store.build(files, SMALL, cache)
    index = json.loads((built.path / "index.json").read_text())
    assert index["version"] == caches.STORE_VERSION
    assert index["shape"] == [7, 8, 8, 3]
    assert index["contents"] == [content for _, content in files]
    assert index["dtype"] == "uint8"
    assert index["recipe"] == [SMALL.as_dict(), store.decoder_versions()]
