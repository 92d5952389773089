"""The commands about what is kept between runs."""

from __future__ import annotations

import dataclasses

import click

from tellapart import arguments, console, options


@click.group(cls=arguments.Group)
def cache() -> None:
    """The decoded pictures that are kept for the next run."""


@cache.command("list")
@options.cache
@options.json
@options.force
@options.debug
def cache_list(cache: str | None, json_path: str | None, force: bool, debug: bool) -> None:
    """List what the cache holds."""
    from tellapart import cache as caches
    from tellapart import summaries

    console.check_output(json_path, force)
    folder = caches.cache_folder(cache)
    stores = caches.listing(folder)
    console.write_json([dataclasses.asdict(each) for each in stores], json_path, force)
    console.say(summaries.cached(stores, str(folder)), json_path)


@cache.command("clear")
@options.cache
@options.debug
def cache_clear(cache: str | None, debug: bool) -> None:
    """Remove what the cache holds; the next training decodes again."""
    from tellapart import cache as caches

    folder = caches.cache_folder(cache)
    freed = caches.clear(folder)
    click.echo(f"Freed {freed / 1e6:,.1f} MB in {folder}.")
