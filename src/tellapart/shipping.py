"""The commands that bring a model elsewhere: `export`. No logic."""

from __future__ import annotations

import click

from tellapart import arguments, console, options

FORMATS = ("onnx", "openvino", "litert", "saved-model", "keras", "web")


@click.command(short_help="Write a model for another runtime.")
@click.argument("model")
@click.option("--to", type=click.Choice(FORMATS), required=True, help="The format.")
@click.option("-o", "--output", metavar="FOLDER", required=True, help="The folder to write; new or empty.")
@click.option("--quantize", type=click.Choice(["int8"]), help="Make it smaller: whole numbers of 8 bits.")
@click.option(
    "--calibrate", metavar="PHOTOS", help="For --quantize: labelled pictures, half to set ranges, half to judge."
)
@click.option(
    "--max-loss",
    type=arguments.Share(),
    default=0.01,
    show_default=True,
    metavar="SHARE",
    help="For --quantize: accuracy that may be lost.",
)
@options.targets
@options.json
@options.force
@options.debug
def export(
    model: str,
    to: str,
    output: str,
    quantize: str | None,
    calibrate: str | None,
    max_loss: float,
    sure: float | None,
    answer: float | None,
    json_path: str | None,
    force: bool,
    debug: bool,
) -> None:
    """Write MODEL to FOLDER for another runtime, with what it needs there and a sample program.

    Before FOLDER gets its name it is read back by that runtime and must answer as MODEL does. An export that stands in
    FOLDER is replaced with --force; anything else never is.
    """
    from tellapart import classifier, summaries
    from tellapart.progress import TerminalProgress

    console.check_apart({"--output": output, "--json": json_path})
    console.check_output(json_path, force)
    loaded = classifier.load(model)
    if sure is not None or answer is not None:
        loaded = loaded.with_targets(sure=sure, answer=answer)
    with TerminalProgress() as progress:
        exported = loaded.export(
            to, output, quantize=quantize, calibrate=calibrate, max_loss=max_loss, force=force, progress=progress
        )
    console.say(summaries.exported(exported), json_path)
    console.write_json(exported.as_dict(), json_path, force)
