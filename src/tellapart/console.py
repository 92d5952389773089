"""What a command prints and writes: for a person, as JSON, as CSV, on standard output or into a file."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click

from tellapart import outputs
from tellapart.errors import OutputError
from tellapart.files import because, shown

if TYPE_CHECKING:
    from rich.console import Console

    from tellapart.predict import Prediction

STANDARD_OUTPUT = "-"
WIDE = 10_000  # characters, for tables that nobody sees on a terminal
CSV_ERRORS = "surrogateescape"  # the name's own bytes
JSON_ERRORS = "backslashreplace"  # "\\udcff": an escape that JSON knows, so that the whole stays UTF-8


# What JSON lets stand in a text and a terminal may obey: control characters, and marks that turn or hide writing.
UNSEEN = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def as_json(values: Any, indent: int | None = None) -> str:
    """Values as JSON, letters of all languages as they are, and nothing in it that a terminal would obey."""
    text = json.dumps(values, ensure_ascii=False, indent=indent)
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)  # they can stand in strings only


def ready() -> None:
    """See to it that nothing which is printed can fail for the terminal's or the locale's sake."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed, and the next file to be opened would take its number
            setattr(sys, name, open(os.devnull, "r+" if name == "stdin" else "w"))  # noqa: SIM115
        elif name != "stdin" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def printing() -> Iterator[None]:
    """Turn the refusal of standard output, a file on a full disk, into an OutputError."""
    try:
        yield
    except BrokenPipeError:
        raise  # `main` ends quietly then
    except OSError as error:
        drop_output()
        raise OutputError(
            f"Standard output could not be written: {because(error)}. Make room, or send it elsewhere."
        ) from error


def drop_output() -> None:
    """Let Python write the rest nowhere when it ends, else it would complain once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _console() -> Console:
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, soft_wrap=True, width=WIDE)  # a pipe has no width: a row stays one line


def say(what: Any, json_path: str | None) -> None:
    """Print for a person, unless standard output is taken by JSON."""
    if json_path == STANDARD_OUTPUT:
        return
    with printing():
        if sys.stdout.isatty():
            _console().print(what, markup=False)
            return
        console = _console()
        with console.capture() as captured:
            console.print(what, markup=False)
        click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def check_apart(paths: dict[str, str | None]) -> None:
    """Raise UsageError where two outputs, by option, are one file: the second would replace the first."""
    places: dict[str, str] = {}
    for option, path in paths.items():
        if path not in (None, STANDARD_OUTPUT):
            other = places.setdefault(os.path.realpath(path), option)
            if other != option:
                raise click.UsageError(
                    f"Each output must be a file of its own; {other} and {option} are both {shown(path)}.",
                    click.get_current_context(),
                )


def check_one_standard_output(paths: dict[str, str | None]) -> None:
    """Raise UsageError where more than one output, by option, is standard output."""
    taken = [option for option, path in paths.items() if path == STANDARD_OUTPUT]
    if len(taken) > 1:
        raise click.UsageError(
            f"Only one of {' and '.join(taken)} can be standard output. Give the other one a file.",
            click.get_current_context(),
        )


def check_output(path: str | None, force: bool) -> None:
    if path not in (None, STANDARD_OUTPUT):
        outputs.check(path, force=force)


@contextmanager
def stream(path: str, force: bool, errors: str) -> Iterator[TextIO]:
    """A text file that appears under its name when it is complete, or standard output: UTF-8 in any locale.

    `errors` says what becomes of the bytes of a file's name that are no text.
    """
    if path == STANDARD_OUTPUT:
        sys.stdout.flush()
        # In JSON and CSV for machines the locale has no say.
        text = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", errors=errors, newline="", write_through=True)
        try:
            with printing():
                yield text
                text.flush()
        finally:
            text.detach()
        return
    with outputs.atomic(path, force=force) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors=errors, newline="", write_through=True)
        yield text
        text.detach()


def write_json(values: Any, path: str | None, force: bool) -> None:
    if path is not None:
        with stream(path, force, JSON_ERRORS) as file:
            file.write(as_json(values, indent=2) + "\n")


def write_rows(rows: Iterable[Sequence[str]], path: str, force: bool) -> None:
    """Rows of cells as CSV."""
    with stream(path, force, CSV_ERRORS) as file:
        write = _row_writer(file)
        for row in rows:
            write(row)


def write_lines(lines: Iterable[str], path: str, force: bool) -> None:
    """Lines that have their ends, whose names keep their own bytes."""
    with stream(path, force, CSV_ERRORS) as file:
        file.writelines(lines)


@contextmanager
def csv_sink(
    path: str, force: bool, classes: tuple[str, ...], *, sets: bool, workers: bool = False
) -> Iterator[Callable[[Prediction], None]]:
    from tellapart.predict import csv_header, csv_row

    with stream(path, force, CSV_ERRORS) as file:
        write = _row_writer(file)
        write(csv_header(classes, sets=sets, workers=workers))
        yield lambda answer: write(csv_row(classes, answer, sets=sets, workers=workers))


@contextmanager
def parquet_sink(
    path: str, force: bool, classes: tuple[str, ...], *, workers: bool = False
) -> Iterator[Callable[[Prediction], None]]:
    """Takes answers one by one into a Parquet file: as `predict --json` has them, probabilities as a struct."""
    from tellapart import parquetfile

    pyarrow, _ = parquetfile.arrow()
    text, number = pyarrow.string(), pyarrow.float64()
    names = [parquetfile.text(name) for name in classes]
    kinds = {"path": text, "label": text, "probability": number}
    kinds |= {"probabilities": pyarrow.struct([(name, number) for name in names])}
    kinds |= {"unknown": pyarrow.bool_(), "error": text, "reason": text}
    kinds |= {"label_set": pyarrow.list_(text), "strangeness": number} | ({"worker": text} if workers else {})

    def row(answer: Prediction) -> dict[str, Any]:
        values = answer.as_dict()
        values |= {name: parquetfile.text(values[name]) for name in ("path", "label", "error", "reason")}
        given = answer.probabilities
        values["probabilities"] = {parquetfile.text(name): value for name, value in given.items()} or None
        return values

    with parquetfile.written(path, pyarrow.schema(list(kinds.items())), force=force) as write:
        yield lambda answer: write(row(answer), 0)


def _row_writer(file: TextIO) -> Callable[[Iterable[Any]], None]:
    """Writes rows of CSV; a lone carriage return, which not every version of `csv` quotes, is quoted."""
    plain = csv.writer(file, lineterminator="\n")
    quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(row: Iterable[Any]) -> None:
        cells = list(row)
        (quoted if any("\r" in str(cell) for cell in cells) else plain).writerow(cells)

    return write


@contextmanager
def json_sink(path: str, force: bool) -> Iterator[Callable[[Prediction], None]]:
    with stream(path, force, JSON_ERRORS) as file:
        between = "[\n"

        def write(answer: Prediction) -> None:
            nonlocal between
            file.write(between + as_json(answer.as_dict()))
            between = ",\n"

        yield write
        file.write("[]\n" if between == "[\n" else "\n]\n")


def text_sink() -> Callable[[Prediction], None]:
    from tellapart.summaries import answered

    console = _console()

    def write(answer: Prediction) -> None:
        with printing():
            console.print(answered(answer), soft_wrap=True)

    return write
