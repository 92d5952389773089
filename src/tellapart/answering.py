"""The commands that are asked about pictures: `predict` and `explain`. No logic."""

from __future__ import annotations

import functools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from tellapart import arguments, console, decoders, options, threads
from tellapart.errors import InputError
from tellapart.files import shown

if TYPE_CHECKING:
    from tellapart.bundle import Bundle
    from tellapart.journal import Journal
    from tellapart.predict import Prediction, Question


class _Tally:
    """How many pictures were asked about and read, and an example of each kind that was not."""

    def __init__(self, asked: Sequence[str]) -> None:
        self.n, self._n_read = 0, 0
        self._asked = asked
        self._missing: str | None = None
        self._unreadable: str | None = None

    def add(self, path: str, error: str | None) -> None:
        """Count one more."""
        from tellapart.predict import NO_SUCH_FILE

        self.n += 1
        self._n_read += error is None
        if error == NO_SUCH_FILE:
            self._missing = self._missing or shown(path) or "''"
        elif error:
            self._unreadable = self._unreadable or f"{shown(path)}: {error}"

    def check(self) -> None:
        """Raise InputError where a path does not exist, or none of the pictures could be read."""
        if self._missing:
            raise InputError(f"No such file or folder: {self._missing}. Give paths that exist.")
        if not self.n:
            raise InputError(f"There is no picture in {shown(self._asked[0])}. Give pictures, or a folder with some.")
        if not self._n_read:
            none = (
                "The picture could not be read:" if self.n == 1 else f"None of {self.n:,} pictures could be read, e.g."
            )
            raise InputError(f"{none} {self._unreadable}. Give pictures that open.")


@click.command(short_help="Answer what is on pictures.")
@click.argument("model")
@click.argument("pictures", nargs=-1, required=True)
@click.option("--csv", "csv_path", metavar="FILE", help="Write a row a picture as CSV; - is standard output.")
@click.option("--parquet", "parquet_path", metavar="FILE", help="Write a row a picture as Parquet (extra shards).")
@click.option("--copy-to", metavar="DIR", help="Copy each picture into DIR/<class>, DIR/unknown or DIR/unreadable.")
@click.option("--resume", is_flag=True, help="Keep what is answered; go on from where the same command was stopped.")
@options.workers
@options.targets
@click.option(
    "--coverage",
    type=arguments.Share(),
    metavar="SHARE",
    help="Give the set of classes that holds the right one so often, like 0.95.",
)
@options.json
@options.force
@options.debug
def predict(
    model: str,
    pictures: tuple[str, ...],
    csv_path: str | None,
    parquet_path: str | None,
    copy_to: str | None,
    resume: bool,
    sure: float | None,
    answer: float | None,
    coverage: float | None,
    engine: str,
    address: str | None,
    workers: int | None,
    worker_cores: int | None,
    json_path: str | None,
    force: bool,
    debug: bool,
) -> None:
    """Answer what is on PICTURES: files, or folders that are walked to the bottom.

    What looks like none of the classes is answered "unknown". With --sure or --answer so is what the model is not sure
    enough of.

    With --copy-to the originals stay as they are, and no file is overwritten: a name that is taken gets a number.
    --force lets DIR hold something already.

    With --engine ray the answers are the same, row for row, and each has the worker that gave it.
    """
    threads.leave_cores()
    decoders.begin()
    from tellapart import afar, rayworkers
    from tellapart.bundle import read
    from tellapart.guards import Targets
    from tellapart.predict import Predictor, questions
    from tellapart.progress import TerminalProgress
    from tellapart.sorting import Sorter

    console.check_one_standard_output({"--csv": csv_path, "--json": json_path})
    console.check_apart({"--csv": csv_path, "--parquet": parquet_path, "--json": json_path, "--copy-to": copy_to})
    if resume and copy_to is not None:
        raise click.UsageError(
            "Only one of --resume and --copy-to can be done: what is copied is not looked up. Leave one out."
        )
    for path in (csv_path, parquet_path, json_path):
        console.check_output(path, force)
    targets = None if sure is None and answer is None else Targets(sure, answer)
    bundle = read(model)
    predictor = Predictor(bundle, targets=targets, coverage=coverage)
    sorter = None if copy_to is None else Sorter(copy_to, predictor.classes, asked=pictures, force=force)
    silent = console.STANDARD_OUTPUT in (csv_path, json_path)
    counts: Counter[str] = Counter()
    tally = _Tally(pictures)
    with ExitStack() as stack:
        # First, so that it goes last: when every output has its name.
        journal = stack.enter_context(_journal(bundle, pictures, sure, answer, coverage)) if resume else None
        sets = predictor.gives_sets
        asked = questions(pictures, leave_out=copy_to)
        crew = stack.enter_context(
            rayworkers.at_work(engine, address=address, workers=workers, cores=worker_cores, note=_note)
        )
        sinks = [
            *(
                stack.enter_context(
                    console.csv_sink(path, force, predictor.classes, sets=sets, workers=crew is not None)
                )
                for path in [csv_path]
                if path
            ),
            *(
                stack.enter_context(console.parquet_sink(path, force, predictor.classes, workers=crew is not None))
                for path in [parquet_path]
                if path
            ),
            *(stack.enter_context(console.json_sink(path, force)) for path in [json_path] if path),
            *([] if silent else [console.text_sink()]),
            *([] if sorter is None else [stack.enter_context(sorter).add]),
        ]
        ask: Callable[[Iterator[Question]], Iterator[Prediction]] = predictor.answers
        if crew is not None:
            ask = functools.partial(afar.answers, bundle, predictor, crew)
        progress = stack.enter_context(TerminalProgress())
        for one in ask(asked) if journal is None else journal.answers(asked, ask):
            for sink in sinks:
                sink(one)
            tally.add(one.path, one.error)
            if silent:  # else the answers themselves show how far it is
                progress.update("Answering", tally.n, None, f"{tally.n:,} pictures")
            counts["not read" if one.error else one.label or "unknown"] += 1
    if journal is not None and journal.n_known:
        click.echo(f"{journal.n_known:,} of {tally.n:,} were answered before", err=True)
    if tally.n > 1 and not silent:
        click.echo(", ".join(f"{shown(name)}: {count:,}" for name, count in counts.most_common()))
    if sorter is not None:
        from tellapart.summaries import copied

        click.echo(copied(sorter.result), err=silent)
    tally.check()


def _journal(
    bundle: Bundle, pictures: Sequence[str], sure: float | None, answer: float | None, coverage: float | None
) -> Journal:
    from tellapart.cache import cache_folder
    from tellapart.journal import Journal

    model = json.dumps(dict(bundle.manifest), sort_keys=True).encode()
    return Journal(cache_folder(), model, pictures, {"sure": sure, "answer": answer, "coverage": coverage})


def _note(text: str) -> None:
    click.echo(text, err=True)


@click.command(short_help="Show where a model looked.")
@click.argument("model")
@click.argument("pictures", nargs=-1, required=True)
@click.option("-o", "--output", metavar="DIR", required=True, help="The folder of the heat maps; new or empty.")
@click.option("--photos", metavar="PHOTOS", help="Show the nearest training pictures too, which are in this folder.")
@click.option("--label", metavar="CLASS", help="The class to explain. [default: each picture's most probable one]")
@options.json
@options.force
@options.debug
def explain(
    model: str,
    pictures: tuple[str, ...],
    output: str,
    photos: str | None,
    label: str | None,
    json_path: str | None,
    force: bool,
    debug: bool,
) -> None:
    """Write a picture for each of PICTURES to DIR: where MODEL looked, and its most probable answers.

    PICTURES are files, or folders that are walked to the bottom. Bright is what speaks for the class. With --json each
    map is tested too: the probability of the class without the hot tenth of the picture, and without as much elsewhere.
    """
    threads.leave_cores()
    decoders.begin()
    from tellapart.bundle import read
    from tellapart.explaining import Folder
    from tellapart.predict import questions
    from tellapart.progress import TerminalProgress
    from tellapart.summaries import explained

    console.check_apart({"--output": output, "--json": json_path})
    console.check_output(json_path, force)
    bundle = read(model)
    with TerminalProgress() as progress:
        folder = Folder(
            bundle, output, label=label, photos=photos, deletion=json_path is not None, force=force, progress=progress
        )
        asked = list(questions(pictures, leave_out=output if os.path.isdir(output) else None))
        written, tally = [], _Tally(pictures)
        for one in folder.explain(asked):
            written.append(one.as_dict())
            tally.add(one.path, one.error)
            console.say(explained(one), json_path)
            progress.update("Explaining", len(written), len(asked))
    console.write_json(written, json_path, force)
    tally.check()
