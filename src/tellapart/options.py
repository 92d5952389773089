"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable

import click

from tellapart import arguments


def together(*decorators: Callable) -> Callable:
    """Several options as one decorator, in this order in the help."""

    def decorate(function: Callable) -> Callable:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


table = together(
    click.option("--labels", metavar="LABELS.csv", help="A table of path (or file name, or id) and label."),
    click.option("--path-column", metavar="NAME", help="The column of paths in LABELS.csv."),
    click.option("--label-column", metavar="NAME", help="The column of labels in LABELS.csv."),
    click.option("--split-column", metavar="NAME", help="The column of splits in LABELS.csv."),
)
reading = together(
    table,
    click.option("--group", metavar="NAME", help="A column of LABELS.csv: pictures of one value stay in one split."),
    click.option("--keep-conflicts", is_flag=True, help="Use a picture that stands in two classes, in both."),
)
json = click.option("--json", "json_path", metavar="FILE", help="Write the result as JSON; - is standard output.")
force = click.option("--force", is_flag=True, help="Replace outputs that exist.")
cache = click.option("--cache", metavar="DIR", help="The folder for decoded pictures, for this run.")
debug = click.option("--debug", is_flag=True, help="Show where an error comes from.")
targets = together(
    click.option(
        "--sure",
        type=arguments.Share(),
        metavar="SHARE",
        help="Answer only where this share of answers is right, like 0.99.",
    ),
    click.option(
        "--answer", type=arguments.Share(), metavar="SHARE", help="Or: answer this share of pictures, the surest."
    ),
)
