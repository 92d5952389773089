"""`decoders`: what a hostile picture does to the process that opens it costs that picture alone, and nobody else."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import draw
from hostilefiles import png_of
from tellapart import decoders, pictures, preprocess, store, traits
from tellapart.catalog import Entry
from tellapart.decoders import Limits, Maker
from tellapart.errors import PictureError, TellapartError
from tellapart.preprocess import Preprocess

SOURCE = Path(decoders.__file__).parents[1]
HOW = Preprocess(24)
ROOM = 3 * HOW.size_px**2

# Stands before the real simplejpeg in the processes that open pictures, and does what a word in the file says.
HOSTILE = """
import importlib.machinery, importlib.util, os, signal, sys, time
here = os.path.dirname(os.path.abspath(__file__))
spec = importlib.machinery.PathFinder.find_spec("simplejpeg", [each for each in sys.path if each != here])
module = importlib.util.module_from_spec(spec)
sys.modules["simplejpeg"] = module
spec.loader.exec_module(module)
real, poisoned = module.decode_jpeg_header, []
def decode_jpeg_header(data, *more):
    if poisoned or b"-segfault-" in data:
        os.kill(os.getpid(), signal.SIGSEGV)
    if b"-poison-" in data:
        poisoned.append(data)
    while b"-hang-" in data:
        pass
    end = time.process_time() + 0.12
    while b"-busy-" in data and time.process_time() < end:
        pass
    if b"-print-" in data:
        os.write(1, b"\\0\\0\\0\\x02[]")  # an answer of its own
    if b"-wait-" in data:
        time.sleep(20)
    if b"-killed-" in data:
        os.kill(os.getpid(), signal.SIGKILL)
    if b"-exit-" in data:
        os._exit(3)
    if b"-memory-" in data:
        kept = [bytearray(2**33) for _ in range(100)]
    return real(data, *more)
module.decode_jpeg_header = decode_jpeg_header
"""


@pytest.fixture
def hostile(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder for pictures; some words in them end the process that opens them."""
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "simplejpeg.py").write_text(HOSTILE)
    decoders.end()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(shim), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(decoders, "COMPUTED_S", 0.3)
    monkeypatch.setattr(decoders, "CLOCK_S", 20.0)
    folder = tmp_path / "photos"
    folder.mkdir()
    yield folder
    decoders.end()


def jpeg(seed: int, word: str = "") -> bytes:
    file = io.BytesIO()
    draw("circles", seed, (60, 40)).save(file, "JPEG", comment=word.encode())
    return file.getvalue()


def saved(folder: Path, name: str, data: bytes) -> decoders.Asked:
    (folder / name).write_bytes(data)
    return hashlib.sha256(data).hexdigest(), [str(folder / name)]


def entry(asked: decoders.Asked) -> Entry:
    content, (path,) = asked
    return Entry(path, "a", None, content, None)


REASONS = {
    "-segfault-": "its decoder crashed on it (SIGSEGV): it is damaged, or made to do harm",
    "-exit-": "its decoder crashed on it (exit status 3): it is damaged, or made to do harm",
    "-killed-": "its decoder was killed by the system, as happens when memory runs out",
    "-hang-": "it takes longer than 0.3 s of computing to open",
    "-memory-": "JPEG that needs more memory than there is",
}


def test_what_is_made_is_what_would_be_made_here(tmp_path) -> None:
    asked = [saved(tmp_path, f"{i}.jpg", jpeg(i)) for i in range(5)]
    for how in (HOW, Preprocess(30, "crop")):
        made = decoders.make(decoders.squares(how), asked, 3 * how.size_px**2)
        for one, (_, (path,)) in zip(made, asked, strict=True):
            (square,) = one.arrays
            assert square.dtype == np.uint8
            np.testing.assert_array_equal(square, preprocess.load(path, how))
    data = jpeg(9)
    np.testing.assert_array_equal(decoders.square(data, HOW), preprocess.load(data, HOW))
    square, size = decoders.one(Maker("tellapart.preprocess:square_and_size", {"how": HOW.as_dict()}), data, ROOM + 64)
    np.testing.assert_array_equal(square, preprocess.load(data, HOW))
    assert size.tolist() == [60, 40]


def test_relative_paths_are_of_this_process(tmp_path, monkeypatch) -> None:
    (tmp_path / "sub").mkdir()
    saved(tmp_path, "a.jpg", jpeg(1))
    decoders.square(jpeg(0), HOW)  # the process is there before the working folder changes
    monkeypatch.chdir(tmp_path / "sub")
    np.testing.assert_array_equal(decoders.square("../a.jpg", HOW), preprocess.load(jpeg(1), HOW))


def test_files_are_held_to_their_content(tmp_path) -> None:
    """The first file that holds the content is taken; else the reason is that of the first."""
    (content, (path,)), other = saved(tmp_path, "a.jpg", jpeg(1)), saved(tmp_path, "b.jpg", jpeg(2))
    gone = str(tmp_path / "gone.jpg")
    cases = [
        ([gone, other[1][0], path], None),
        ([gone, other[1][0]], decoders.decoder.GONE),
        ([other[1][0]], decoders.decoder.CHANGED),
        ([str(tmp_path)], "not a regular file (a folder)"),
    ]
    made = decoders.make(decoders.squares(HOW), [(content, paths) for paths, _ in cases], ROOM)
    assert [one.reason or None for one in made] == [reason for _, reason in cases]
    assert not any(one.lasting for one in made)
    (broken,) = decoders.make(decoders.squares(HOW), [saved(tmp_path, "page.jpg", b"<html>")], ROOM)
    assert (broken.reason, broken.lasting) == ("not a picture: it begins like HTML", True)
    with pytest.raises(PictureError, match="no such file"):  # without a content it is no file that vanished
        decoders.square(gone, HOW)


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("word", REASONS)
def test_one_hostile_picture_costs_that_one(hostile, word) -> None:
    asked = [saved(hostile, f"{i}.jpg", jpeg(i, word if i == 2 else "")) for i in range(5)]
    made = decoders.make(decoders.squares(HOW), asked, ROOM)
    assert [one.reason for one in made] == ["", "", REASONS[word], "", ""]
    assert made[2].lasting == (word in {"-segfault-", "-exit-", "-hang-"})
    for i in (0, 1, 3, 4):
        np.testing.assert_array_equal(made[i].arrays[0], preprocess.load(jpeg(i), HOW))


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_one_that_waits_forever_is_ended_by_the_clock(hostile, monkeypatch) -> None:
    monkeypatch.setattr(decoders, "CLOCK_S", 0.5)
    with pytest.raises(PictureError, match=r"^it takes longer than 0\.5 s to open$"):
        decoders.square(jpeg(0, "-wait-"), HOW)


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_seconds_of_computing_are_counted_anew_for_each_picture(hostile) -> None:
    """Five take 0.6 s together, and each may take 0.3 s."""
    asked = [saved(hostile, f"{i}.jpg", jpeg(i, "-busy-")) for i in range(5)]
    assert [one.reason for one in decoders.make(decoders.squares(HOW), asked, ROOM)] == [""] * 5


def test_what_a_library_prints_comes_not_between_the_answers(hostile) -> None:
    np.testing.assert_array_equal(decoders.square(jpeg(1, "-print-"), HOW), preprocess.load(jpeg(1), HOW))


def test_one_that_is_never_ready_is_ended(tmp_path, monkeypatch) -> None:
    (tmp_path / "simplejpeg.py").write_text("import time\ntime.sleep(20)\n")
    decoders.end()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setattr(decoders, "START_S", 0.3)
    with pytest.raises(TellapartError, match="they say: they end before they are ready"):
        decoders.square(jpeg(1), HOW)


def test_no_module_of_the_working_folder_is_run(tmp_path, monkeypatch) -> None:
    """Somebody may have been sent pictures and a simplejpeg.py in one folder."""
    for name in ("simplejpeg", "json", "cv2"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    decoders.end()
    monkeypatch.chdir(tmp_path)
    assert decoders.square(jpeg(1), HOW).shape == (24, 24, 3)
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
def test_a_process_writes_no_file_and_knows_no_secret(monkeypatch) -> None:
    import resource

    decoders.end()
    monkeypatch.setenv("TELLAPART_API_KEY", "d0c2f1")
    decoders.square(jpeg(1), HOW)
    (worker,) = decoders._idle
    pid = worker.process.pid
    assert resource.prlimit(pid, resource.RLIMIT_FSIZE) == (0, 0)
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    assert b"PATH=" in Path(f"/proc/{pid}/environ").read_bytes()
    assert b"d0c2f1" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert os.getpgid(pid) == pid  # a terminal's Ctrl-C is not for it
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    assert decoders.square(jpeg(1), HOW).shape == (24, 24, 3)
    assert decoders._idle == [worker]


def test_an_answer_that_nobody_waited_for_comes_to_nobody_else(monkeypatch) -> None:
    """Ctrl-C while a picture is being opened."""
    decoders.end()
    decoders.square(jpeg(0), HOW)
    read = decoders.Worker._read

    def interrupted(self) -> None:
        monkeypatch.setattr(decoders.Worker, "_read", read)
        raise KeyboardInterrupt

    monkeypatch.setattr(decoders.Worker, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        decoders.square(jpeg(1), HOW)
    np.testing.assert_array_equal(decoders.square(jpeg(2), HOW), preprocess.load(jpeg(2), HOW))


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_a_picture_does_not_pay_for_the_one_before_it(hostile) -> None:
    """The first destroys what the second stumbles over: neither ends a process of its own."""
    asked = [saved(hostile, f"{i}.jpg", jpeg(i, "-poison-" if i == 0 else "")) for i in range(3)]
    made = decoders.make(decoders.squares(HOW), asked, ROOM)
    assert [one.reason for one in made] == ["", "", ""]
    made = [decoders.make(decoders.squares(HOW), [one], ROOM)[0] for one in asked]
    assert [one.reason for one in made] == ["", "", ""]


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
def test_stores_and_looks_go_on(hostile, tmp_path) -> None:
    asked = [saved(hostile, f"{i}.jpg", jpeg(i, "-segfault-" if i % 5 == 2 else "")) for i in range(10)]
    bad = {asked[2][0], asked[7][0]}
    built = store.build([(path, content) for content, (path,) in asked], HOW, tmp_path / "cache")
    assert built.failures == dict.fromkeys(bad, REASONS["-segfault-"])
    for content, (path,) in asked:
        if content not in bad:
            np.testing.assert_array_equal(built.values[built.rows[content]], preprocess.load(path, HOW))
    seen = traits.measure([entry(one) for one in asked], tmp_path / "cache")
    assert seen.failures == built.failures
    assert [each.content for each in seen.entries] == [content for content, _ in asked if content not in bad]


def test_the_limit_of_pixels_and_of_memory_are_those_of_pictures(tmp_path, monkeypatch) -> None:
    decoders.end()
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1000)
    with pytest.raises(PictureError, match=r"60×40 = 1 megapixels, over the limit of 0"):
        decoders.square(jpeg(1), HOW)
    decoders.end()
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100_000_000)
    monkeypatch.setattr(pictures, "MEMORY_BYTES", 64 * 2**20)
    file = io.BytesIO()
    Image.new("RGB", (7000, 7000)).save(file, "PNG")  # 147 MB
    with pytest.raises(PictureError, match="more memory"):
        decoders.square(file.getvalue(), HOW)
    decoders.end()


def test_a_maker_that_is_wrong_is_no_fault_of_the_picture(tmp_path) -> None:
    for maker, room, wrong in (
        (Maker("tellapart.preprocess:squares", {}), ROOM, "AttributeError"),
        (Maker("tellapart.preprocess:square", {"how": {}}), ROOM, "preprocessing must be of version"),
        (decoders.squares(HOW), ROOM - 64, "must have at most"),
    ):
        with pytest.raises(RuntimeError, match=wrong):
            decoders.one(maker, jpeg(1), room)
    with pytest.raises(ValueError, match="have no room"):
        decoders.make(decoders.squares(HOW), [("", ["a"]), ("", ["b"])], 5 * 2**20)
    assert decoders.square(jpeg(1), HOW).shape == (24, 24, 3)


def test_memory_that_runs_out_behind_the_decoder_is_a_reason_too(hostile) -> None:
    (hostile.parent / "shim" / "maker.py").write_text("def much(data):\n    return bytearray(2**50)\n")
    (made,) = decoders.make(Maker("maker:much"), [saved(hostile, "0.jpg", jpeg(0))], ROOM)
    assert (made.reason, made.lasting) == (decoders.decoder.NO_MEMORY, False)
    assert len(decoders._idle) == 1


def test_a_process_that_cannot_start_is_told(monkeypatch) -> None:
    decoders.end()
    real = decoders.Limits.as_dict
    monkeypatch.setattr(decoders.Limits, "as_dict", lambda self: real(self) | {"memory_bytes": "much"})
    with pytest.raises(TellapartError, match="processes that open pictures must start; they say: TypeError"):
        decoders.square(jpeg(1), HOW)


def open_files() -> set[str]:
    """The numbers of this process's open files, where the system tells them."""
    return set(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else set()


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENOMEM])
def test_a_process_for_which_the_system_has_no_room_is_told_and_leaves_nothing_open(monkeypatch, number: int) -> None:
    decoders.end()

    def refusing(*arguments: object, **kinds: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", refusing)
    before = open_files()
    said = rf"^The processes that open pictures must start; the system refuses \({os.strerror(number)}\)\. End other"
    for call in (lambda: decoders.square(jpeg(1), HOW), decoders.begin, lambda: decoders.begin(3)):
        with pytest.raises(TellapartError, match=said) as error:
            call()
        assert str(error.value).isprintable()
    assert open_files() <= before
    monkeypatch.undo()
    assert decoders.square(jpeg(1), HOW).shape == (24, 24, 3)


def test_one_that_ended_while_it_was_idle_is_replaced() -> None:
    """Its first picture has not ended it."""
    for n_asked in (0, 1):
        decoders.end()
        decoders.begin()
        for _ in range(n_asked):
            decoders.square(jpeg(1), HOW)
        (worker,) = decoders._idle
        worker.ready()
        worker.process.kill()
        worker.process.wait()
        assert decoders.square(jpeg(1), HOW).shape == (24, 24, 3)


def test_processes_are_used_again() -> None:
    decoders.end()
    decoders.begin(2)
    first = {worker.process.pid for worker in decoders._idle}
    for i in range(4):
        decoders.square(jpeg(i), HOW)
    decoders.begin(2)
    assert {worker.process.pid for worker in decoders._idle} == first
    decoders.end()
    assert decoders._idle == []


def test_one_whose_end_is_interrupted_is_waited_for_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = decoders.Worker(decoders.Limits())
    worker.ready()
    real = worker.process.wait

    def wait(timeout: float | None = None) -> int:
        if timeout is not None:
            raise KeyboardInterrupt
        return real()

    monkeypatch.setattr(worker.process, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        worker.close()
    assert worker.process.returncode is not None
    assert worker.process.stdout is not None
    assert worker.process.stdout.closed


def run(code: str, until: Callable[[subprocess.Popen], None] = lambda process: None, **more) -> tuple[str, int]:
    """Run a program that prints the process ids of its processes; what it printed, and its exit status."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(SOURCE)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **more,
    )
    until(process)
    said = process.communicate(timeout=60)[0]
    return said, process.returncode


def gone(pid: int, within_s: float = 10) -> bool:
    """Whether a process has ended, or ends soon."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


HANGING = """
    import os, sys, threading
    from pathlib import Path
    from tellapart import decoders
    from tellapart.preprocess import Preprocess
    decoders.begin(2)
    for worker in decoders._idle:
        worker.ready()
    print(*[worker.process.pid for worker in decoders._idle], flush=True)
    decoders.COMPUTED_S = 1000
    decoders.square(Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["PICTURE"]), Preprocess(24))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks at processes as Linux shows them")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_process_is_left_behind(hostile, monkeypatch, how) -> None:
    """One is in the middle of a picture that hangs, the other one idle."""
    saved(hostile, "hang.jpg", jpeg(1, "-hang-"))
    monkeypatch.setenv("PICTURE", str(hostile / "hang.jpg"))
    pids: list[int] = []

    def end(process: subprocess.Popen) -> None:
        assert process.stdout is not None
        pids.extend(map(int, process.stdout.readline().split()))
        time.sleep(0.3)
        process.send_signal(how)

    said, status = run(HANGING.replace("COMPUTED_S = 1000", "COMPUTED_S"), end)
    assert len(pids) == 2
    assert status != 0
    assert all(gone(pid) for pid in pids), said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_copy_of_this_process_has_processes_of_its_own(tmp_path, monkeypatch) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    said, status = run(
        f"""
        import os, sys
        from tellapart import decoders
        from tellapart.preprocess import Preprocess
        ask = lambda: decoders.square({str(tmp_path / "a.jpg")!r}, Preprocess(24)).shape
        print(ask(), flush=True)
        mine = {{worker.process.pid for worker in decoders._idle}}
        pid = os.fork()
        if not pid:
            print(ask(), mine & {{worker.process.pid for worker in decoders._idle}}, flush=True)
            sys.exit(0)
        os.waitpid(pid, 0)
        print(ask(), mine == {{worker.process.pid for worker in decoders._idle}})
        """
    )
    assert said == "(24, 24, 3)\n(24, 24, 3) set()\n(24, 24, 3) True\n"
    assert status == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_copy_of_this_process_waits_for_no_lock_and_holds_no_process_back(tmp_path) -> None:
    """Made while another thread has the lock; its parent's process ends by itself when it is told to."""
    (tmp_path / "a.jpg").write_bytes(jpeg(1))
    said, status = run(
        f"""
        import os, signal, sys, time
        from tellapart import decoders
        from tellapart.preprocess import Preprocess
        ask = lambda: decoders.square({str(tmp_path / "a.jpg")!r}, Preprocess(24)).shape
        ask()
        (worker,) = decoders._idle
        reader, writer = os.pipe()
        decoders._lock.acquire()
        pid = os.fork()
        if not pid:
            os.close(writer)
            signal.alarm(20)
            print(ask(), flush=True)
            os.read(reader, 1)  # there until its parent closes the other end
            os._exit(0)
        decoders._lock.release()
        decoders.end()
        print(worker.process.returncode == -signal.SIGKILL, flush=True)  # it had to be
        os.close(writer)
        print(os.waitpid(pid, 0)[1])
        """
    )
    assert sorted(said.splitlines()) == ["(24, 24, 3)", "0", "False"]
    assert status == 0


def test_a_bomb_is_refused_as_it_is_here() -> None:
    with pytest.raises(PictureError) as here:
        pictures.decode(png_of(20_000))
    with pytest.raises(PictureError) as there:
        decoders.square(png_of(20_000), HOW)
    assert there.value.reason == here.value.reason


def test_limits_have_defaults() -> None:
    assert Limits().as_dict() == {
        "max_pixels": pictures.MAX_PIXELS,
        "memory_bytes": pictures.MEMORY_BYTES,
        "computed_s": decoders.COMPUTED_S,
        "clock_s": decoders.CLOCK_S,
    }
