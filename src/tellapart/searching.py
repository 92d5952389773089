"""The command that looks for a better recipe: `tune`. No logic."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

import click

from tellapart import arguments, console, options, stopping
from tellapart.files import shown


@click.command(short_help="Find a better recipe for a folder of pictures.")
@click.argument("photos")
@click.option("-o", "--output", metavar="RECIPE.toml", help="Where to write. [default: PHOTOS' name + .recipe.toml]")
@click.option("--budget", metavar="TIME", help="The time to use in all, like 30m or 8h. [default: 10m]")
@click.option("--trials", type=int, metavar="N", help="End after N trials in all.")
@click.option("--recipe", default="auto", show_default=True, help="What to tune: auto, transfer, scratch or both.")
@click.option(
    "--study",
    metavar="FILE",
    help="The file of the trials; one that is there is gone on with, by several processes at once if you like. "
    "[default: RECIPE's name + .study]",
)
@click.option("--resume", is_flag=True, help="Go on with the trials of an earlier call.")
@click.option("--backbone", metavar="NAME", help="Try this pretrained network alone.")
@click.option("--size", type=int, metavar="PX", help="Try this size alone.")
@click.option("--epochs", type=int, metavar="N", help="Passes over the training pictures from scratch.")
@click.option("--flip/--no-flip", default=None, help="Mirror training pictures from scratch, or never.")
@click.option("--seed", type=int, help="Decides splits, what is tried, and each training. [default: 0]")
@options.reading
@click.option("--report", metavar="FILE.html", help="Write a page of the trials.")
@options.cache
@options.json
@options.force
@options.debug
def tune(
    photos: str,
    output: str | None,
    study: str | None,
    report: str | None,
    json_path: str | None,
    force: bool,
    debug: bool,
    **asked: Any,
) -> None:
    """Try recipes on PHOTOS, judge them by validation pictures, and write the best as a file for train --recipe.

    The first trial is what train does by itself. Test pictures are not looked at.
    """
    from tellapart import tunepage, tuning, tunings

    target = f"{Path(os.path.abspath(photos)).name}.recipe.toml" if output is None else output
    trials = tuning.study_of(target) if study is None else study
    console.check_apart({"--output": target, "--study": trials, "--json": json_path, "--report": report})
    console.check_output(json_path, force)
    goes_on = os.path.lexists(trials) and (study is not None or asked["resume"])  # then what it wrote is replaced
    for path in (target, report):
        console.check_output(path, force or goes_on)
    asked["budget"] = arguments.left(asked["budget"])
    also = [] if report is None else [report]
    tuned = tuning.tune(photos, output=target, also=also, study=study, force=force, **asked)
    for line in tunings.told(tuned):
        console.say(line, json_path)
    console.say(
        f"Recipe: {shown(target)}. To train by it: tellapart train {shown(photos)} --recipe {shown(target)}", json_path
    )
    if report is not None:
        tuning.written(report, tuned.study_id, functools.partial(tunepage.save, tuned, report), force=force)
        console.say(f"Report: {shown(report)}", json_path)
    console.write_json(tuned.as_dict() | {"report": report}, json_path, force)
    if tuned.interrupted:
        sys.exit(stopping.status())
