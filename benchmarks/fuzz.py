"""Mutated picture files, by the million: each must give a picture or a reason, and nothing else.

    python benchmarks/fuzz.py --executions 1000000 [--minutes 25] [--processes 2] [--seed 0] [--findings DIR]


Seeds are small files of every format, drawn: grey, palette, alpha, 16 bit, CMYK, progressive, interlaced, animated,
with Exif, TIFF in all its compressions. They are mutated by flipped bits, set bytes, moved and spliced blocks, cut
ends, edited fields of headers, words of the formats; lengths and checksums of PNG and WebP are repaired afterwards, so
that mutations get past them. Execution i of a seed is always the same file: `--only I` runs it alone, in this process.

What is checked of each: `pictures.decode`, at full size and scaled, gives a `Picture` (uint8 (H, W, 3), contiguous,
writable, of the size that the header says) or raises PictureError with a reason (one line, printable, not empty); the
pixels of both sizes go together; `headers.of` and `exif` never raise; no execution computes for more than 2 s or takes
more memory than `pictures.MEMORY_BYTES`; the process lives. It runs in processes of its own: what ends one of them is
found in memory that both share, kept in the folder of findings, made smaller, and the run goes on behind it.

Most executions have a limit of 1 megapixel in place of 120, for speed; one in 5,000 has the real one.

Why a mutator of its own: the decoders are C without instrumentation, so a fuzzer led by coverage (atheris) would see
this package's Python alone, and strategies of hypothesis draw a hundred times slower. What reaches deep into a decoder
are mutations that know where a format has its lengths and checksums.
"""

from __future__ import annotations

import argparse
import collections
import json
import mmap
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from fuzzed import input_of, seeds

HANG_S = 2.0  # of computing, for one execution
BOARD_BYTES = 2**20
HEAD = struct.Struct("<QI")  # on the board: execution, bytes of its input
SMALL_PIXELS = 2**20
EVERY = 5_000  # executions, one of which has the real limit of pixels


# --- what must hold


class Finding(Exception):
    """Something that must not be."""


def check(data: bytes, at_least_px: int) -> str:
    """Try one file. Returns what came of it: a format, or "refused". Raises Finding."""
    from tellapart import exif, headers, kinds

    whole, scaled = _decoded(data, None), _decoded(data, at_least_px)
    if isinstance(whole, str) != isinstance(scaled, str):
        raise Finding(f"one size opens and the other does not: {whole!r}, {scaled!r}"[:300])
    if not isinstance(whole, str) and not isinstance(scaled, str):
        sizes = [(each.width_px, each.height_px, each.format) for each in (whole, scaled)]
        if sizes[0] != sizes[1]:
            raise Finding(f"sizes differ: {sizes}")
        if min(scaled.pixels.shape[:2]) < min(at_least_px, *whole.pixels.shape[:2]):
            raise Finding(f"scaled too far: {scaled.pixels.shape} of {whole.pixels.shape}")
    format = kinds.sniff(data[:4096])
    if format is not None:
        found = headers.of(data, format)
        if not 1 <= found.orientation <= 8 or found.colour not in headers.COLOURS or not 0 <= found.dpi <= 65535:
            raise Finding(f"a header out of its range: {found}")
    if not 1 <= exif.orientation(exif.of_jpeg(data)) <= 8:
        raise Finding("an orientation out of its range")
    headers.exif_values(data[6:])
    return "refused" if isinstance(whole, str) else whole.format


def _decoded(data: bytes, at_least_px: int | None) -> Any:
    from tellapart import pictures
    from tellapart.errors import PictureError

    try:
        picture = pictures.decode(data, at_least_px=at_least_px)
    except PictureError as error:
        reason = error.reason
        if not reason or not reason.isprintable() or len(reason) > 300 or " at 0x" in reason:
            raise Finding(f"a reason that is none: {reason!r}") from error
        if isinstance(error.__cause__, MemoryError):
            raise Finding(f"more memory than a picture may take: {reason}") from error
        return reason
    pixels = picture.pixels
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise Finding(f"pixels are {pixels.dtype} {pixels.shape}")
    if not pixels.flags.c_contiguous or not pixels.flags.writeable:
        raise Finding("pixels are not contiguous, or not writable")
    size = (picture.height_px, picture.width_px)
    if at_least_px is None and pixels.shape[:2] != size:
        raise Finding(f"pixels are {pixels.shape}, and the header says {size}")
    if size[0] * size[1] > pictures.MAX_PIXELS:
        raise Finding(f"{size} is over the limit of {pictures.MAX_PIXELS}")
    return picture


def try_one(data: bytes, execution: int) -> str:
    """`check` with the limits of an execution."""
    from tellapart import pictures

    pictures.MAX_PIXELS = 120_000_000 if execution % EVERY == 0 else SMALL_PIXELS
    signal.setitimer(signal.ITIMER_PROF, HANG_S if execution % EVERY else 10 * HANG_S)
    try:
        return check(data, 8 + execution % 40)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


# --- processes


def child(board_fd: int, start: int, step: int, end: int, seed: int, until: float) -> None:
    """Run executions start, start + step, …; write a line of JSON at the end, or a finding."""
    from tellapart import pictures

    memory = pictures.MEMORY_BYTES
    board = mmap.mmap(board_fd, BOARD_BYTES)
    corpus = seeds()
    names = sorted(corpus)
    counts: collections.Counter[str] = collections.Counter()
    for name in names:  # loads every decoder before memory is limited
        try_one(corpus[name], 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory, taken + memory))
    slowest, execution = 0.0, start
    while execution < end and time.time() < until:
        name, data = input_of(execution, seed, corpus, names)
        HEAD.pack_into(board, 0, execution, len(data))
        board[HEAD.size : HEAD.size + len(data)] = data
        begun = time.process_time()
        try:
            counts[f"{name.split('-')[0]} {try_one(data, execution)}"] += 1
        except Exception as error:  # anything but a PictureError is a finding
            print(json.dumps({"finding": f"{type(error).__name__}: {error}"[:500], "at": execution}), flush=True)
            counts["finding"] += 1
        if execution % EVERY:
            slowest = max(slowest, time.process_time() - begun)
        execution += step
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"counts": counts, "slowest_s": round(slowest, 3), "peak_mb": round(peak_mb)}), flush=True)


def run(executions: int, *, seed: int, processes: int, minutes: float, findings: Path | None) -> dict[str, Any]:
    """Run executions 0 to `executions` - 1, in processes that are replaced where one ends."""
    until, begun = time.time() + 60 * minutes, time.time()
    counts: collections.Counter[str] = collections.Counter()
    found: list[dict[str, Any]] = []
    slowest = peak = 0.0
    boards, running = [], []
    for i in range(processes):
        file = os.memfd_create("fuzz")
        os.ftruncate(file, BOARD_BYTES)
        boards.append(mmap.mmap(file, BOARD_BYTES))
        running.append((i, file, _spawn(file, i, processes, executions, seed, until)))
    corpus = seeds()
    names = sorted(corpus)
    while running:
        i, file, process = running.pop(0)
        said = process.communicate()[0]
        for line in map(json.loads, said.splitlines()):
            if "finding" in line:
                found.append(line | {"seed": seed, "name": names[line["at"] % len(names)]})
                if findings is not None:
                    _keep(findings, line, input_of(line["at"], seed, corpus, names)[1])
            else:
                counts.update(line["counts"])
                slowest, peak = max(slowest, line["slowest_s"]), max(peak, line["peak_mb"])
        if process.returncode:
            at, n_bytes = HEAD.unpack_from(boards[i], 0)
            data = bytes(boards[i][HEAD.size : HEAD.size + n_bytes])
            why = "hangs" if process.returncode == -signal.SIGPROF else f"ends the process ({process.returncode})"
            line = {"finding": why, "at": at}
            found.append(line | {"seed": seed, "name": names[at % len(names)]})
            if findings is not None:
                _keep(findings, line, data)
            counts["finding"] += 1
            counts["before a finding, not told apart"] += (at - i) // processes
            running.append((i, file, _spawn(file, at + processes, processes, executions, seed, until)))
    total = sum(counts.values())
    seconds = time.time() - begun
    return {
        "executions": total,
        "seconds": round(seconds, 1),
        "per_second": round(total / seconds),
        "seed": seed,
        "processes": processes,
        "seeds": len(corpus),
        "slowest_s": slowest,
        "peak_mb": peak,
        "findings": found,
        "counts": dict(sorted(counts.items())),
    }


def _spawn(board: int, start: int, step: int, end: int, seed: int, until: float) -> subprocess.Popen:
    arguments = [str(each) for each in (board, start, step, end, seed, until)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    return subprocess.Popen(
        [sys.executable, __file__, "--child", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # libtiff prints what it finds wrong
        pass_fds=[board],
        env=environment,
        text=True,
    )


def _keep(folder: Path, line: dict[str, Any], data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{line['at']}.bin").write_bytes(data)
    small = minimised(data, line["at"])
    (folder / f"{line['at']}.small.bin").write_bytes(small)
    (folder / f"{line['at']}.txt").write_text(f"{line['finding']}\n{len(data)} bytes, {len(small)} made smaller\n")


def minimised(data: bytes, execution: int, most_tries: int = 200) -> bytes:
    """Take parts away as long as the finding, of whatever kind, stays."""
    tries, step = 0, len(data) // 2
    while step and tries < most_tries:
        at = 0
        while at < len(data) and tries < most_tries:
            tries += 1
            shorter = data[:at] + data[at + step :]
            if fails(shorter, execution):
                data = shorter
            else:
                at += step
        step //= 2
    return data


def fails(data: bytes, execution: int) -> bool:
    """Whether a file is a finding, tried in a process of its own."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        done = subprocess.run(
            [sys.executable, __file__, "--file", file.name, "--only", str(execution)], capture_output=True, check=False
        )
    return done.returncode != 0


def main() -> None:
    """Run, say what was found, and exit with 1 where something was."""
    if sys.argv[1:2] == ["--child"]:
        board, start, step, end, seed = map(int, sys.argv[2:7])
        child(board, start, step, end, seed, float(sys.argv[7]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop then, be it with fewer executions")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, metavar="DIR", help="keep inputs there that found something")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--only", type=int, metavar="I", help="run execution I alone, in this process")
    parser.add_argument("--file", type=Path, help="with --only: this file in place of the drawn one")
    options = parser.parse_args()
    if options.only is not None:
        corpus = seeds()
        drawn_file = input_of(options.only, options.seed, corpus, sorted(corpus))[1]
        print(try_one(drawn_file if options.file is None else options.file.read_bytes(), options.only))
        return
    result = run(
        options.executions,
        seed=options.seed,
        processes=options.processes,
        minutes=options.minutes,
        findings=options.findings,
    )
    text = json.dumps(result, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
    sys.exit(1 if result["findings"] else 0)


if __name__ == "__main__":
    main()
