"""The commands that write a report, or their part in it."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from tellapart import console, options, threads
from tellapart.files import shown

if TYPE_CHECKING:
    from tellapart.classifier import Classifier


@click.command(short_help="Say on one page whether to trust a model.")
@click.argument("model")
@click.argument("photos")
@click.option("-o", "--output", metavar="FILE.html", help="Where to write. [default: MODEL's name + .html]")
@click.option("--card", metavar="FILE.md", help="Write a model card too, with Hugging Face's metadata.")
@click.option("--split", type=click.Choice(["train", "validation", "test", "all"]), help="[default: test]")
@options.reading
@options.json
@options.force
@options.debug
def report(
    model: str,
    photos: str,
    output: str | None,
    card: str | None,
    json_path: str | None,
    force: bool,
    debug: bool,
    **asked: Any,
) -> None:
    """Answer the labelled pictures of PHOTOS and write one page: whether to trust MODEL, and what to fix first.

    The page holds small versions of some pictures, and fetches nothing.
    """
    threads.leave_cores()
    from tellapart import reporting, verdicts
    from tellapart.progress import TerminalProgress

    page = reporting.place(model) if output is None else output
    console.check_apart({"--output": page, "--card": card, "--json": json_path})
    for path in (page, card, json_path):
        console.check_output(path, force)
    with TerminalProgress() as progress:
        evaluation = reporting.report(
            model, photos, page, card=card, command=called(), force=force, progress=progress, **asked
        )
    judged = verdicts.judged(evaluation)
    verdict = verdicts.verdict(judged)
    console.say(f"{verdict.title}. {verdicts.headline(judged)}", json_path)
    _written(page, card, json_path)
    console.write_json(evaluation.as_dict() | {"report": page, "card": card}, json_path, force)


def of_training(
    classifier: Classifier, target: str, page: str | None, card: str | None, json_path: str | None, force: bool
) -> None:
    """Write the page and the card that a training was asked for; the pictures are not answered again."""
    if page is None and card is None:
        return
    from tellapart import reporting

    evaluation = classifier.evaluation
    assert evaluation is not None  # just trained
    known = reporting.facts(classifier, evaluation, name=os.path.basename(target), command=called())
    known["bundle_bytes"] = os.path.getsize(target)
    reporting.save(classifier, evaluation, page, card=card, known=known, force=force)
    _written(page, card, json_path)


def _written(page: str | None, card: str | None, json_path: str | None) -> None:
    """Say where the page and the card are."""
    for name, path in (("Report", page), ("Card", card)):
        if path is not None:
            console.say(f"{name}: {shown(path)}", json_path)


def called() -> str:
    """How the tool was called, as one would type it."""
    return shlex.join(["tellapart", *map(shown, sys.argv[1:])])
