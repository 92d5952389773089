"""The command line: parse, call, print, translate errors. No logic."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from tellapart import (
    __version__,
    addresses,
    answering,
    arguments,
    console,
    fetching,
    outputs,
    reports,
    searching,
    shipping,
    stopping,
    threads,
    trials,
    upkeep,
)
from tellapart import options as shared
from tellapart.errors import SettingsError, TellapartError
from tellapart.files import because, shown

DONE, PROBLEM, USAGE = 0, 1, 2  # and what `stopping` has


@click.group(
    cls=arguments.Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Begin with: tellapart train PHOTOS, where PHOTOS has one folder of pictures for each class.",
)
@click.version_option(__version__, prog_name="tellapart")
def cli() -> None:
    """Folders of labelled pictures in; an image classifier that you can trust, explain and ship out."""


_table, _reading, _json, _force = shared.table, shared.reading, shared.json, shared.force
_cache, _debug = shared.cache, shared.debug
_WORKERS = ("engine", "address", "workers", "worker_cores")  # what `shared.workers` adds


@cli.command(short_help="Learn the classes of a folder of pictures.")
@click.argument("photos")
@click.option("-o", "--output", metavar="MODEL.tellapart", help="Where to save. [default: PHOTOS' name + .tellapart]")
@click.option(
    "--recipe", default="auto", show_default=True, help="auto, transfer, scratch, tutorial, or FILE.toml, as of tune."
)
@click.option(
    "--backbone",
    metavar="NAME",
    help="The pretrained network of recipe transfer: efficientnet-lite0, -lite1 or -lite2, which are installed; one of "
    "keras.applications, like MobileNetV2; FILE.keras; or NAME:FILE.weights.h5. [default: efficientnet-lite2]",
)
@click.option(
    "--like",
    metavar="MODEL",
    help="Repeat the training of a MODEL.tellapart: its recipe, settings, seed and measured choices, but for the "
    "options given here; and say what differs.",
)
@click.option("--download", is_flag=True, help="Let Keras fetch the weights of --backbone. Nothing else ever does.")
@click.option("--budget", metavar="TIME", help="The time to use in all, like 60s, 5m or 1h30m.")
@click.option("--k-fold", type=int, metavar="K", help="Judge by all pictures, each held out in one of K folds.")
@click.option("--size", type=int, metavar="PX", help="Side of the square that the network sees, a multiple of 32.")
@click.option("--epochs", type=int, metavar="N", help="Passes over the training pictures.")
@click.option("--batch-size", type=int, metavar="N", help="Pictures a step.")
@click.option("--optimizer", metavar="NAME", help="adadelta, adam, adamw, rmsprop or sgd.")
@click.option("--learning-rate", type=float, metavar="RATE", help="The rate, or the highest of a schedule.")
@click.option("--dropout", type=float, metavar="SHARE", help="Share of features dropped in training, 0 to 0.95.")
@click.option("--conv", type=arguments.Numbers(), help="Filters of each convolution (tutorial), like 32,64,128.")
@click.option("--dense", type=arguments.Numbers(), help="Units of each hidden dense layer (tutorial), like 256.")
@click.option(
    "--augment",
    metavar="NAME",
    help="How training pictures are varied: none, light, strong, tutorial, crop or FILE.toml.",
)
@click.option("--flip/--no-flip", default=None, help="Mirror training pictures left to right at random, or never.")
@click.option("--patience", type=int, metavar="N", help="Stop after N epochs without a better validation accuracy.")
@click.option("--precision", metavar="NAME", help="auto, float32 or mixed_bfloat16.")
@click.option("--seed", type=int, help="Decides splits, first weights and order. [default: 0]")
@shared.targets
@_reading
@click.option("--tensorboard", metavar="DIR", help="Write TensorBoard's log there.")
@click.option("--mlflow", metavar="DIR_OR_URI", help="Log to MLflow: into a folder, or to the server of an address.")
@click.option("--wandb", metavar="DIR", help="Write an offline run of Weights & Biases there; nothing is sent.")
@click.option("--history", metavar="FILE.csv", help="Write the learning curves there too, one row an epoch.")
@click.option("--report", metavar="FILE.html", help="Write a page: whether to trust the model, and what to fix first.")
@click.option("--card", metavar="FILE.md", help="Write a model card, with Hugging Face's metadata.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, how long it takes and how much disk.")
@click.option("--show-augment", metavar="FILE.png", help="Draw some pictures as training would vary them; no training.")
@click.option("--resume", is_flag=True, help="Go on from where the same command was stopped.")
@shared.workers
@shared.devices
@_cache
@_json
@_force
@_debug
@click.option(
    "--fine-tune/--no-fine-tune",
    default=None,
    help="Train the top of the pretrained network too, or never. [default: where it can pay]",
)
def train(
    photos: str,
    output: str | None,
    history: str | None,
    report: str | None,
    card: str | None,
    mlflow: str | None,
    wandb: str | None,
    json_path: str | None,
    dry_run: bool,
    show_augment: str | None,
    force: bool,
    debug: bool,
    **options: Any,
) -> None:
    """Learn to tell the classes of PHOTOS apart, and save the classifier as one file.

    PHOTOS has one folder of pictures for each class, or folders train, val and test with these in them.
    """
    from tellapart import api, summaries, tracking

    for path in (json_path, history, report, card):
        console.check_output(path, force)
    tracking.check(mlflow=mlflow, wandb=wandb)
    if show_augment is not None:
        if dry_run:
            raise click.UsageError("Only one of --dry-run and --show-augment can be done. Leave one of them out.")
        console.check_apart({"--show-augment": show_augment, "--json": json_path})
        console.check_output(show_augment, force)
        _draw_variants(photos, show_augment, json_path, force, options)
        return
    if dry_run:
        _without_like(options, "--dry-run")
        for only_train in (
            "seed", "tensorboard", "budget", "sure", "answer", "k_fold", "resume", *_WORKERS, *shared.DEVICES,
        ):  # fmt: skip
            del options[only_train]
        plan = api.plan(photos, **options)
        console.say(summaries.planned(plan), json_path)
        console.write_json(plan, json_path, force)
        return
    target = f"{addresses.stem(photos)}.tellapart" if output is None else output
    console.check_apart(
        {"--output": target, "--json": json_path, "--history": history, "--report": report, "--card": card}
    )
    options["budget"] = arguments.left(options["budget"])
    classifier = api.train(photos, output=target, force=force, **options)
    assert classifier.evaluation is not None  # just trained
    result = classifier.evaluation.as_dict() | classifier.report
    console.say(summaries.trained(classifier.evaluation, classifier.report), json_path)
    console.say(f"Saved: {shown(target)}", json_path)
    for line in summaries.repeated(classifier.report):
        console.say(line, json_path)
    console.write_json(result, json_path, force)
    reports.of_training(classifier, target, report, card, json_path, force)
    if history is not None:
        outputs.write_text(history, classifier.bundle.members["history.csv"].decode(), force=force)
    for line in tracking.log(classifier, mlflow=mlflow, wandb=wandb, artifacts=[target, *filter(None, (report, card))]):
        console.say(line, json_path)
    if classifier.report["training"]["interrupted"]:
        sys.exit(stopping.status())


def _without_like(options: dict[str, Any], other: str) -> None:
    if options.pop("like") is not None:
        raise click.UsageError(f"--like trains, which {other} does not. Leave one of them out.")


def _draw_variants(photos: str, path: str, json_path: str | None, force: bool, options: dict[str, Any]) -> None:
    from tellapart import api, sheets

    _without_like(options, "--show-augment")
    for only_train in ("cache", "tensorboard", "sure", "answer", "k_fold", "resume", *_WORKERS, *shared.DEVICES):
        del options[only_train]
    options["seed"] = options["seed"] or 0
    preview = api.preview(photos, **options)
    sheets.save(sheets.variants(preview), path, force=force)
    console.say(f"Written: {shown(path)}", json_path)
    console.write_json(preview.as_dict() | {"sheet": path}, json_path, force)


@cli.command(short_help="Find what is wrong with a folder of pictures.")
@click.argument("photos")
@click.option("--quick", is_flag=True, help="Only the fast part: no look for wrong labels or pictures of no class.")
@click.option("--html", "html_path", metavar="FILE", help="Write a page with the pictures concerned.")
@click.option(
    "--csv", "csv_path", metavar="FILE", help="Write a row for each finding and picture; - is standard output."
)
@click.option("--fix-list", metavar="FILE.csv", help="Write what could be done, to be edited and given to apply.")
@_reading
@shared.workers
@_cache
@_json
@_force
@_debug
def check(
    photos: str,
    html_path: str | None,
    csv_path: str | None,
    fix_list: str | None,
    json_path: str | None,
    force: bool,
    debug: bool,
    **options: Any,
) -> None:
    """Find broken files, copies, leaks, wrong labels, shortcuts and more in PHOTOS; nothing in it is changed."""
    from tellapart import api, findings, moves, summaries

    console.check_one_standard_output({"--csv": csv_path, "--json": json_path})
    asked = {"--html": html_path, "--csv": csv_path, "--fix-list": fix_list, "--json": json_path}
    console.check_apart(asked)
    for path in asked.values():
        console.check_output(path, force)
    found = api.check(photos, **options)
    if csv_path != console.STANDARD_OUTPUT:
        console.say(summaries.checked(found), json_path)
    if csv_path is not None:
        console.write_rows([findings.CSV_COLUMNS, *findings.csv_rows(found)], csv_path, force)
    if html_path is not None:
        from tellapart import checkpage

        checkpage.save(found, html_path, force=force, labels=options["labels"], sides=found.places)
        click.echo(f"Page: {shown(html_path)}", err=True)
    if fix_list is not None:
        every = moves.proposed(found)
        console.write_lines(moves.lines(every, photos, labels=options["labels"]), fix_list, force)
        click.echo(
            f"Fix list: {shown(fix_list)}. Look through it, then: tellapart apply {shown(fix_list)} --to CLEAN",
            err=True,
        )
    console.write_json(found.as_dict(), json_path, force)


@cli.command(short_help="Make a cleaned copy of a folder by a fix list.")
@click.argument("fix_list")
@click.option("--to", metavar="CLEAN", required=True, help="The folder of the copy; new or empty.")
@click.option("--photos", metavar="PHOTOS", help="The folder of pictures. [default: the one that the list is about]")
@click.option("--copy", is_flag=True, help="Give every picture a file of its own, instead of links to the originals.")
@_table
@_json
@_force
@_debug
def apply(fix_list: str, to: str, json_path: str | None, force: bool, debug: bool, **options: Any) -> None:
    """Make a cleaned copy, CLEAN, of a folder of pictures as FIX_LIST says, which `tellapart check --fix-list` wrote.

    The originals are never moved, changed or deleted. Without --labels the table is the one that the list names.
    """
    from tellapart import cleaning
    from tellapart.progress import TerminalProgress

    console.check_output(json_path, force)
    with TerminalProgress() as progress:
        result = cleaning.apply(
            options.pop("photos"),
            fix_list,
            to,
            force=force,
            progress=lambda done, total: progress.update("Copying", done, total),
            **options,
        )
    for line in result.lines():
        console.say(line, json_path)
    console.write_json(dataclasses.asdict(result), json_path, force)


@cli.command(short_help="Count right answers on labelled pictures.")
@click.argument("model")
@click.argument("photos")
@click.option("--split", type=click.Choice(["train", "validation", "test", "all"]), help="[default: test]")
@click.option(
    "--slice",
    "slice_by",
    multiple=True,
    metavar="COLUMN",
    help="A column of LABELS.csv to compare parts by; may be repeated. [default: each that has few values]",
)
@shared.workers
@_reading
@_json
@_force
@_debug
def evaluate(model: str, photos: str, json_path: str | None, force: bool, debug: bool, **options: Any) -> None:
    """Answer the labelled pictures of PHOTOS and count how many answers are right."""
    threads.leave_cores()
    from tellapart import classifier, scoresheet
    from tellapart.progress import TerminalProgress

    console.check_output(json_path, force)
    loaded = classifier.load(model)
    with TerminalProgress() as progress:
        evaluation = loaded.evaluate(photos, progress=progress, **options)
    for note in evaluation.notes:
        click.echo(note, err=True)
    console.say(scoresheet.evaluated(evaluation), json_path)
    console.write_json(evaluation.as_dict(), json_path, force)


cli.add_command(reports.report)


cli.add_command(answering.predict)
cli.add_command(answering.explain)
cli.add_command(shipping.export)
cli.add_command(shipping.serve)
cli.add_command(trials.compare)
cli.add_command(trials.history)
cli.add_command(searching.tune)


@cli.command(short_help="Say what a model is and how good.")
@click.argument("model")
@_json
@_force
@_debug
def info(model: str, json_path: str | None, force: bool, debug: bool) -> None:
    """Say what MODEL is: classes, accuracy, what it was made from and with."""
    from tellapart import summaries
    from tellapart.bundle import read

    console.check_output(json_path, force)
    bundle = read(model)
    console.say(summaries.described(bundle, model, os.path.getsize(model)), json_path)
    # Without a label for each training picture, which is long and for the program alone.
    training = {name: value for name, value in bundle.manifest["training"].items() if name != "labels"}
    console.write_json({**bundle.manifest, "training": training}, json_path, force)


cli.add_command(upkeep.cache)
cli.add_command(upkeep.pack)


@cli.command(short_help="Train on handwritten digits and show it.")
@click.option("--data", metavar="FOLDER", help="Your own pictures, one folder a class, instead of the digits.")
@click.option("-o", "--output", metavar="DIR", default="demo", show_default=True, help="Where to write.")
@click.option("--recipe", default="auto", show_default=True, help="auto, scratch or tutorial.")
@click.option("--epochs", type=int, metavar="N", help="Passes over the training pictures.")
@_cache
@_json
@_force
@_debug
def demo(output: str, json_path: str | None, force: bool, debug: bool, **options: Any) -> None:
    """Train on handwritten digits, evaluate, predict, draw a sheet, write a report; nothing is downloaded."""
    from tellapart import demo as demos
    from tellapart import summaries

    console.check_output(json_path, force)
    result = demos.run(folder=output, force=force, **options)
    console.write_json(result.evaluation.as_dict() | result.report, json_path, force)
    console.say(summaries.trained(result.evaluation, result.report), json_path)
    for answer in result.predictions:
        console.say(summaries.answered(answer), json_path)
    for path in result.paths:
        console.say(f"Written: {shown(path)}", json_path)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 a problem, 2 wrong usage, 130 interrupted, 143 and 129 by a signal.

    An error that is meant for a person becomes one line on standard error; `--debug` shows its traceback too.
    """
    given = list(sys.argv[1:] if args is None else args)
    with stopping.by_signals():
        try:
            status = _ended(given, "--debug" in given)
        finally:
            fetching.stop()
        if "tellapart.hosts" in sys.modules:  # else there were no other hosts, and nothing is loaded for them
            sys.modules["tellapart.hosts"].leave(status)
        sys.exit(status)


def _ended(given: list[str], debug: bool) -> int:
    """Run a command; returns its exit status."""
    try:
        console.ready()
        cli.main(given, prog_name="tellapart", standalone_mode=False)
        with console.printing():
            sys.stdout.flush()
        return DONE
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _stopped()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "tellapart"
        return _told(f"{error.format_message()} See: {where} --help", error, debug, USAGE)
    except SettingsError as error:
        return _told(_by_option(str(error)), error, debug, USAGE)
    except TellapartError as error:
        return _told(str(error), error, debug, PROBLEM)
    except BrokenPipeError:
        console.drop_output()  # the reader has left: no more to say
        return PROBLEM
    except MemoryError as error:
        return _told("There must be enough memory; it ran out. Take a smaller --size.", error, debug, PROBLEM)
    except OSError as error:
        return _told(_refused(error), error, debug, PROBLEM)
    except Exception as error:
        what = f"{type(error).__name__}: {str(error)[:300]}"
        hint = "Run it again with --debug and report what it shows."
        return _told(f"Something went wrong that should not: {what}. {hint}", error, debug, PROBLEM)


def _told(message: str, error: BaseException, debug: bool, status: int) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    return status


def _refused(error: OSError) -> str:
    """What to do about a refusal of the system that no stage has put into words: nearly always of a temporary file."""
    names = [shown(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    what = " and ".join(names) or "A file"
    return (
        f"{what} could not be read or written: {because(error)}. Make room, and check permissions; temporary files go "
        f"where $TMPDIR says."
    )


def _by_option(message: str) -> str:
    """A message about a setting, with the setting called as the option that sets it."""
    from tellapart.config import Recipe

    field, must, rest = message.partition(" must be ")
    if field not in Recipe.__dataclass_fields__:
        return message
    name = {"channels": "conv", "size_px": "size"}.get(field, field.replace("_", "-"))
    return f"--{name}{must}{rest}"


def _stopped() -> int:
    click.echo("Stopped.", err=True)
    return stopping.status()
