"""The commands about what is kept: the cache between runs, and pictures as shards."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from tellapart import arguments, console, options


@click.group(cls=arguments.Group)
def cache() -> None:
    """What is kept for the next run: decoded pictures, and the checkpoints of trainings that were stopped."""


@cache.command("list")
@options.cache
@options.json
@options.force
@options.debug
def cache_list(cache: str | None, json_path: str | None, force: bool, debug: bool) -> None:
    """List what the cache holds."""
    from tellapart import attempts, summaries
    from tellapart import cache as caches

    console.check_output(json_path, force)
    folder = caches.cache_folder(cache)
    stores, stopped = caches.listing(folder), attempts.listing(folder)
    rows = [{"kind": "pictures", **dataclasses.asdict(each)} for each in stores]
    rows += [{"kind": "checkpoints", **dataclasses.asdict(each)} for each in stopped]
    console.write_json(rows, json_path, force)
    console.say(summaries.cached(stores, stopped, str(folder)), json_path)


@cache.command("clear")
@options.cache
@options.debug
def cache_clear(cache: str | None, debug: bool) -> None:
    """Remove what the cache holds; the next training decodes again, and what was stopped cannot be resumed."""
    from tellapart import cache as caches
    from tellapart import journal

    folder = caches.cache_folder(cache)
    freed = caches.clear(folder) + journal.clear(folder)
    click.echo(f"Freed {freed / 1e6:,.1f} MB in {folder}.")


@click.command(short_help="Write pictures and labels as tar shards or Parquet.")
@click.argument("photos")
@click.option("--to", metavar="DIR", required=True, help="The folder of the shards; new or empty.")
@click.option("--form", default="tar", show_default=True, help="tar (WebDataset) or parquet (extra shards).")
@click.option(
    "--shard-size", type=arguments.Bytes(), default="500MB", show_default=True, help="Of pictures in a shard."
)
@options.table
@options.json
@options.force
@options.debug
def pack(
    photos: str, to: str, form: str, shard_size: int, json_path: str | None, force: bool, debug: bool, **reading: Any
) -> None:
    """Write the pictures of PHOTOS and their labels to DIR as shards, which every command takes as PHOTOS.

    Shards are few large files in place of very many small ones: what clusters and object stores read fastest. PHOTOS
    may be anything that `tellapart train` takes; the files' own bytes are copied. --force is about --json alone.
    """
    from tellapart import packing, summaries
    from tellapart.progress import TerminalProgress

    console.check_output(json_path, force)
    with TerminalProgress() as progress:
        done = packing.pack(
            photos,
            to,
            form=form,
            shard_bytes=shard_size,
            progress=lambda n, total: progress.update("Packing", n, total),
            **reading,
        )
    console.write_json(dataclasses.asdict(done), json_path, force)
    console.say(summaries.packed(done), json_path)
