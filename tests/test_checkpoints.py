"""Checkpoints: whole or not at all, two kept, nothing in them trusted, and never the end of a training."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import json
import os
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart import checkpoints
from tellapart.checkpoints import Interval, Keeper
from tellapart.errors import OutputError, SettingsError

MOST = 10**6  # bytes
ARRAYS = {
    "model/0000": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    "model/0001": np.array(5, dtype=np.int64),  # without dimensions, as a count of steps is
    "model/0002": np.array([1, 2**31], dtype=np.uint32),  # as a generator's state
    "model/0003": np.zeros((0, 3), np.float32),
    "model/0004": np.array([True, False]),
    "model/0005": np.array([1.5, -2], dtype=ml_dtypes.bfloat16),
}
VALUES = {"epoch": 3, "loss": 0.1 + 0.2, "rows": [{"epoch": 1, "loss": float("inf")}], "text": "é"}


def content(arrays=ARRAYS, values=VALUES) -> bytes:
    """A checkpoint's bytes."""
    file = io.BytesIO()
    checkpoints.write(file, arrays, values)
    return file.getvalue()


def read(data: bytes, folder: Path, most: int = MOST) -> checkpoints.Checkpoint:
    """The same, read."""
    path = folder / "network.000000000008.npz"
    path.write_bytes(data)
    return checkpoints.read(path, 8, most)


def test_what_is_read_is_what_was_written_bit_for_bit(tmp_path: Path) -> None:
    found = read(content(), tmp_path)
    assert (found.step, found.values) == (8, VALUES)
    assert list(found.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        again = checkpoints.restored(found.arrays[name], array)
        assert again is not None
        assert (again.dtype, again.shape, again.tobytes()) == (array.dtype, array.shape, array.tobytes())
    with np.load(tmp_path / "network.000000000008.npz", allow_pickle=False) as plain:  # an ordinary .npz
        np.testing.assert_array_equal(plain["model/0000"], ARRAYS["model/0000"])


def test_another_shape_or_format_is_not_restored() -> None:
    array = ARRAYS["model/0000"]
    assert checkpoints.restored(array, array.T) is None
    assert checkpoints.restored(array, array.astype(np.float64)) is None
    assert checkpoints.restored(array, array.view(np.int32)) is None


def keeper(folder: Path, notes: list[str] | None = None, **more) -> Keeper:
    """One that keeps at every step."""
    said = [] if notes is None else notes
    return Keeper(folder, "network", note=said.append, interval=Interval(steps=1), **more)


def test_two_are_kept_and_the_newest_is_taken(tmp_path: Path) -> None:
    kept = keeper(tmp_path / "new")
    for step in (1, 2, 10):
        assert kept.write(step, ARRAYS, {"step": step})
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "network.000000000002.npz",
        "network.000000000010.npz",
    ]
    found = keeper(tmp_path / "new").newest(MOST)
    assert found is not None
    assert found.values == {"step": 10}
    other = Keeper(tmp_path / "new", "fold-1", interval=Interval(steps=1))
    assert other.newest(MOST) is None  # another part's are not its own


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_newest_one_that_is_cut_short_is_named_and_the_one_before_taken(tmp_path: Path, share: float) -> None:
    kept, notes = keeper(tmp_path), []
    kept.write(1, ARRAYS, {"step": 1})
    kept.write(1002, ARRAYS, {"step": 1002})
    newest = tmp_path / "network.000000001002.npz"
    data = newest.read_bytes()
    newest.write_bytes(data[: int(share * len(data))])
    resumed = keeper(tmp_path, notes)
    found = resumed.newest(MOST)
    assert found is not None
    assert found.step == 1
    assert notes == [
        "The checkpoint of step 1,002 is damaged (it is cut short); the one of step 1 before it is taken.",
    ]
    resumed.write(2, ARRAYS, {})
    resumed.write(3, ARRAYS, {})
    assert len(list(tmp_path.iterdir())) == 2
    last = tmp_path / "network.000000000003.npz"
    last.write_bytes(last.read_bytes()[:-1])
    found = keeper(tmp_path).newest(MOST)  # the first damaged one has not taken a whole one's place
    assert found is not None
    assert found.step == 2


def test_where_all_are_damaged_that_is_said(tmp_path: Path) -> None:
    kept, notes = keeper(tmp_path), []
    kept.write(1, ARRAYS, {})
    (tmp_path / "network.000000000001.npz").write_bytes(b"PK")
    assert keeper(tmp_path, notes).newest(MOST) is None
    assert notes == [
        "The checkpoint of step 1 is damaged (it is cut short); there is none before it, so this part starts afresh.",
    ]


@settings(max_examples=80, derandomize=True, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_a_changed_byte_is_found_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, place: float, change: int
) -> None:
    whole = bytearray(content())
    whole[int(place * len(whole))] ^= change
    folder = tmp_path_factory.mktemp("flip")
    try:
        found = read(bytes(whole), folder)
    except checkpoints.DamagedError:
        return
    assert found.values == VALUES
    for name, array in ARRAYS.items():
        assert found.arrays[name].tobytes() == array.tobytes()


def forged(change) -> bytes:
    """A checkpoint whose members were changed, and whose hashes were made to fit."""

    with zipfile.ZipFile(io.BytesIO(content())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(members.pop(checkpoints.MEMBERS))
    hashes = {name: [hashlib.sha256(data).hexdigest(), ""] for name, data in members.items()}
    compression = change(members, about) or zipfile.ZIP_STORED
    if change is not mixed_up:
        hashes = {name: [hashlib.sha256(data).hexdigest(), ""] for name, data in members.items()}
    about["members"] = hashes
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in {**members, checkpoints.MEMBERS: json.dumps(about).encode()}.items():
            archive.writestr(name, data)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def pickled(members, about):
    members["model/0000.npy"] = npy(np.array([print], dtype=object))


def too_long(members, about):  # a header that promises more than there is
    members["model/0000.npy"] = npy(np.zeros((3, 4), np.float32)).replace(b"(3, 4)", b"(3000, 40)")[:-20]


def compressed(members, about):
    members["model/0000.npy"] = npy(np.zeros(10**6))
    return zipfile.ZIP_DEFLATED


def not_values(members, about):
    members[checkpoints.VALUES] = b"[1]"


def deep(members, about):
    members[checkpoints.VALUES] = b"[" * 10**5 + b"]" * 10**5


def older(members, about):
    about["format"] = 99


def mixed_up(members, about):  # of another checkpoint, with the zip's own checksums right: its hash alone tells
    members["model/0000.npy"] = npy(np.ones((3, 4), np.float32))


def by_columns(members, about):
    members["model/0000.npy"] = npy(np.asfortranarray(ARRAYS["model/0000"]))


def texts(members, about):
    members["model/0000.npy"] = npy(np.array(["a"]))


@pytest.mark.parametrize(
    "change", [pickled, too_long, compressed, not_values, deep, older, mixed_up, by_columns, texts]
)
def test_what_has_the_right_hashes_and_is_no_checkpoint_is_refused(tmp_path: Path, change) -> None:
    with pytest.raises(checkpoints.DamagedError):
        read(forged(change), tmp_path)


def test_a_member_that_was_not_written_and_values_that_are_too_large_are_refused(tmp_path: Path, monkeypatch) -> None:
    file = io.BytesIO(content())
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("more.npy", npy(np.zeros(3)))
    with pytest.raises(checkpoints.DamagedError, match="its members are not those that were written"):
        read(file.getvalue(), tmp_path)
    monkeypatch.setattr(checkpoints, "MOST_VALUES_BYTES", 10)
    with pytest.raises(checkpoints.DamagedError, match="its values are larger than they can be"):
        read(content(), tmp_path)


def test_a_file_that_is_too_large_or_a_link_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "network.000000000008.npz"
    with open(path, "wb") as file:
        file.truncate(MOST + 2 * checkpoints.MOST_VALUES_BYTES + 1)
    with pytest.raises(checkpoints.DamagedError, match="larger"):
        checkpoints.read(path, 8, MOST)
    path.unlink()
    (tmp_path / "other").write_bytes(content())
    path.symlink_to(tmp_path / "other")
    with pytest.raises(checkpoints.DamagedError, match="no file"):
        checkpoints.read(path, 8, MOST)


def test_what_does_not_fit_the_training_is_a_damaged_one(tmp_path: Path) -> None:
    kept, notes = keeper(tmp_path), []
    kept.write(1, ARRAYS, {"good": True})
    kept.write(2, ARRAYS, {"good": False})
    found = keeper(tmp_path, notes).newest(MOST, lambda each: "" if each.values["good"] else "it is of another network")
    assert found is not None
    assert found.step == 1
    assert "step 2 is damaged (it is of another network)" in notes[0]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OutputError("It is full. Act.")])
def test_a_full_disk_is_said_once_and_ends_nothing(tmp_path: Path, monkeypatch, error: Exception) -> None:
    notes: list[str] = []
    kept = keeper(tmp_path, notes)
    assert kept.write(1, ARRAYS, {})

    def refuse(*args, **more):
        raise error

    monkeypatch.setattr(checkpoints, "write", refuse)
    assert not kept.write(2, ARRAYS, {})
    assert not kept.write(3, ARRAYS, {})
    assert len(notes) == 1
    assert notes[0].startswith("No checkpoint could be kept in ")
    assert "The training goes on" in notes[0]
    assert [path.name for path in tmp_path.iterdir()] == ["network.000000000001.npz"]  # and none is half-written
    monkeypatch.undo()
    assert kept.write(4, ARRAYS, {})


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    kept = keeper(tmp_path / "a")
    kept.write(1, ARRAYS, {})
    (tmp_path / "a" / "network.000000000001.npz").unlink()
    (tmp_path / "a").rmdir()
    assert kept.write(2, ARRAYS, {})


def test_all_of_them_together_take_a_small_share_of_the_time(tmp_path: Path, monkeypatch) -> None:
    now, costs = [100.0], itertools.cycle([0.5, 2.0, 0.1, 0.1])
    kept = Keeper(tmp_path, "network", interval=Interval(), clock=lambda: now[0])
    now[0] = 109.9
    assert not kept.due(5)
    now[0] = 110.0
    assert kept.due(5)
    write = checkpoints.write

    def slow(*args) -> None:
        now[0] += next(costs)
        write(*args)

    monkeypatch.setattr(checkpoints, "write", slow)
    kept.write(5, ARRAYS, {})
    assert (kept.cost_s, kept.spent_s) == (0.5, 0.5)
    now[0] = 166.6
    assert not kept.due(9)
    now[0] = 166.7  # twice half a second in the 66.7 s since the beginning: 1.5 %
    assert kept.due(9)
    written = 0
    while now[0] < 3700:
        now[0] += 0.5
        if kept.due(10):
            kept.write(10 + written, ARRAYS, {})
            written += 1
    assert kept.spent_s / (now[0] - 100) < 0.02
    assert written > 30


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("", Interval()),
        ("5s", Interval(5.0, float("inf"))),
        ("8steps", Interval(steps=8)),
        ("never", Interval(float("inf"))),
    ],
)
def test_the_interval_can_be_set_for_tests(monkeypatch, text: str, interval: Interval) -> None:
    monkeypatch.setenv(checkpoints.EVERY, text)
    assert Interval.from_environment() == interval


def test_an_interval_that_is_none_is_said(monkeypatch) -> None:
    monkeypatch.setenv(checkpoints.EVERY, "often")
    with pytest.raises(SettingsError, match="8steps or never; got 'often'"):
        Interval.from_environment()


def test_only_what_is_ours_is_removed(tmp_path: Path) -> None:
    keeper(tmp_path).write(1, ARRAYS, {})
    left = tmp_path / f".network.000000000002.npz.0123abcd-{os.getpid()}-0123abcd.tmp"
    left.write_bytes(b"half")
    (tmp_path / "mine.npz").write_bytes(b"not ours")
    assert checkpoints.remove(tmp_path, "fold-1") == 0
    assert checkpoints.remove(tmp_path) > 4
    assert [path.name for path in tmp_path.iterdir()] == ["mine.npz"]
