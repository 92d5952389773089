"""The commands that bring a model to where it is used. No logic."""

from __future__ import annotations

import os

import click

from tellapart import __version__, arguments, console, options, threads

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


@click.command(short_help="Answer over HTTP, with a page to drop pictures on.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for any free one.")
@click.option("--photos", metavar="PHOTOS", help="Show the nearest training pictures too, which are in this folder.")
@click.option("--api-key-file", metavar="FILE", help="Ask for the key in FILE. [default: TELLAPART_API_KEY, if set]")
@click.option("--allow-host", multiple=True, metavar="NAME", help="A further host name to answer to; may be repeated.")
@click.option(
    "--allow-origin", multiple=True, metavar="ORIGIN", help="A page that may use it from elsewhere; may be repeated."
)
@click.option("--max-body", type=arguments.Bytes(), default="32MiB", show_default=True, help="Most bytes of a request.")
@click.option("--max-files", type=int, default=64, show_default=True, help="Most pictures of a request.")
@click.option("--max-pixels", type=float, default=120, show_default=True, help="Most megapixels of a picture.")
@click.option("--deadline", type=arguments.Seconds(), default="10s", show_default=True, help="Time for an answer.")
@click.option("--queue", type=int, default=256, show_default=True, help="Most pictures that wait.")
@click.option(
    "--receive-timeout", type=arguments.Seconds(), default="30s", show_default=True, help="Time for a request to come."
)
@click.option(
    "--decode-timeout", type=arguments.Seconds(), default="5s", show_default=True, help="Time for a picture to open."
)
@click.option(
    "--max-batch", type=int, default=8, show_default=True, help="Most pictures that the network sees at once."
)
@click.option("--decoders", type=int, help="Processes that open pictures. [default: one a core]")
@options.debug
def serve(models: tuple[str, ...], debug: bool, **given) -> None:
    """Answer about pictures over HTTP, by MODEL or several, each NAME=MODEL or named like its file.

    A file that changes is loaded anew. SIGTERM or Ctrl-C end the service when accepted requests are answered.
    """
    threads.leave_cores()
    from tellapart.serve import running
    from tellapart.serve.settings import Access, Limits, read_key

    limits = Limits(
        max_body_bytes=given["max_body"],
        max_files=given["max_files"],
        max_pixels=round(1e6 * given["max_pixels"]),
        deadline_s=given["deadline"],
        queue=given["queue"],
        receive_s=given["receive_timeout"],
        decode_s=given["decode_timeout"],
        max_batch=given["max_batch"],
        **({} if given["decoders"] is None else {"decoders": given["decoders"]}),
    )
    access = Access(
        tuple(name.lower() for name in given["allow_host"]),
        tuple(origin.lower().rstrip("/") for origin in given["allow_origin"]),
        read_key(given["api_key_file"], os.environ.get("TELLAPART_API_KEY")),
    )
    running.run(
        models,
        host=given["host"],
        port=given["port"],
        limits=limits,
        access=access,
        version=__version__,
        photos=given["photos"],
    )
