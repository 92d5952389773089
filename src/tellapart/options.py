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
workers = together(
    click.option("--engine", default="local", show_default=True, help="local: this process; ray: workers of Ray."),
    click.option(
        "--address",
        metavar="HOST:PORT",
        help="With --engine ray: the cluster, or auto on one of its nodes. [default: this machine alone]",
    ),
    click.option("--workers", type=int, metavar="N", help="How many of them. [default: as many as there are cores]"),
    click.option("--worker-cores", type=int, metavar="N", help="Cores of each of them. [default: 1]"),
)
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
DEVICES = ("devices", "n_hosts", "host_index", "coordinator")
devices = together(
    click.option(
        "--devices", metavar="N", help="Share each step between N devices of this host, or auto: all of them."
    ),
    click.option("--hosts", "n_hosts", type=int, metavar="N", help="Train on N hosts, each with the same command."),
    click.option("--host-index", type=int, metavar="K", help="Which of them this is, from 0; host 0 writes the model."),
    click.option("--coordinator", metavar="HOST:PORT", help="Where host 0 is found. Slurm and Open MPI tell all this."),
)
