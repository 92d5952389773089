"""The commands about several models: `compare`, and `history`, which lists what was trained. No logic."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import click

from tellapart import console, options, threads

ORDERS = ("time", "accuracy", "log-loss", "seconds")  # what `history` can sort by
SHOWN = 20  # runs in the table unless more are asked for


@click.command(short_help="Say which of two models is better on the same pictures.")
@click.argument("model_a")
@click.argument("model_b")
@click.argument("photos")
@click.option("--split", type=click.Choice(["train", "validation", "test", "all"]), help="[default: test]")
@options.reading
@click.option("--csv", "csv_path", metavar="FILE", help="Write a row for each changed picture; - is standard output.")
@options.json
@options.force
@options.debug
def compare(
    model_a: str,
    model_b: str,
    photos: str,
    csv_path: str | None,
    json_path: str | None,
    force: bool,
    debug: bool,
    **reading: Any,
) -> None:
    """Ask MODEL_A and MODEL_B about the same labelled pictures of PHOTOS, and say which is better and how surely.

    Classes are matched by name. A picture is fixed where only MODEL_B has it right, broken where only MODEL_A has.
    """
    threads.leave_cores()
    from tellapart import classifier, compared
    from tellapart.changes import CSV_COLUMNS
    from tellapart.progress import TerminalProgress

    console.check_one_standard_output({"--csv": csv_path, "--json": json_path})
    console.check_apart({"--csv": csv_path, "--json": json_path})
    for path in (csv_path, json_path):
        console.check_output(path, force)
    a, b = classifier.load(model_a), classifier.load(model_b)
    with TerminalProgress() as progress:
        found = a.compare(b, photos, progress=progress, **reading)
    found = dataclasses.replace(found, size_bytes=(os.path.getsize(model_a), os.path.getsize(model_b)))
    for note in found.a.notes:
        click.echo(note, err=True)
    if csv_path != console.STANDARD_OUTPUT:
        console.say(compared.told(found, (model_a, model_b)), json_path)
    if csv_path is not None:
        console.write_rows([CSV_COLUMNS, *map(compared.csv_row, found.changes)], csv_path, force)
    console.write_json(found.as_dict() | {"model_a": model_a, "model_b": model_b}, json_path, force)


@click.command(short_help="List what was trained on this machine, with its numbers.")
@click.option("--photos", metavar="FOLDER", help="Only trainings on this folder, by its path or its name.")
@click.option("--sort", type=click.Choice(ORDERS), default="time", show_default=True, help="What comes first.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="The newest N. [default: 20; all into files]")
@click.option("--csv", "csv_path", metavar="FILE", help="Write a row for each run; - is standard output.")
@options.json
@options.force
@options.debug
def history(
    photos: str | None,
    sort: str,
    last: int | None,
    csv_path: str | None,
    json_path: str | None,
    force: bool,
    debug: bool,
) -> None:
    """List what was trained on this machine, newest first; every `tellapart train` adds a line.

    The log is a file in your data folder; $TELLAPART_RUNS names another one, or is off to keep none.
    """
    from tellapart import runlist, runs
    from tellapart.cells import guarded

    console.check_one_standard_output({"--csv": csv_path, "--json": json_path})
    console.check_apart({"--csv": csv_path, "--json": json_path})
    for path in (csv_path, json_path):
        console.check_output(path, force)
    log = runs.read()
    every = runs.chosen(log, photos=photos, sort=sort, last=last)
    if csv_path != console.STANDARD_OUTPUT:
        some = runs.chosen(log, photos=photos, sort=sort, last=last or SHOWN)
        console.say(runlist.told(log, some, len(every) - len(some)), json_path)
    if csv_path is not None:
        rows = ([guarded(cell) for cell in runs.row(run)] for run in every)
        console.write_rows([runs.COLUMNS, *rows], csv_path, force)
    console.write_json(every, json_path, force)
