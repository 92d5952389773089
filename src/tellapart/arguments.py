"""Kinds of arguments and groups of commands that click itself does not have."""

from __future__ import annotations

import math
import time
from typing import Any

import click

from tellapart.config import SHORTEST_BUDGET_S, budget_s, seconds

END_S = 0.5  # from the last output to the end of the process


def left(budget: str | None) -> float | None:
    """The seconds of a budget that are left: it began with the process and ends with it."""
    total = budget_s(budget)
    # Until here the process did nothing but start, so that what it computed is about how long that took.
    return None if total is None else max(total - time.process_time() - END_S, SHORTEST_BUDGET_S)


class Numbers(click.ParamType):
    """Whole numbers with commas between: 32,64,128."""

    name = "N,N,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"must be whole numbers with commas between, like 32,64,128; got {value!r}.", param, ctx)


class Share(click.ParamType):
    """A share: 0.95 or 95%."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            share = math.nan
        if 0 < share <= 1:
            return share
        self.fail(f"must be a share above 0 and up to 1, like 0.95 or 95%; got {value!r}.", param, ctx)


class Bytes(click.ParamType):
    """A size: 32MiB, 500kB, 1048576."""

    name = "size"
    UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}  # noqa: RUF012

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = str(value).strip().rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
        unit = str(value).strip()[len(number) :].strip().lower()
        try:
            return round(float(number) * self.UNITS[unit])
        except (ValueError, KeyError, OverflowError):
            self.fail(f"must be a size, like 32MiB or 500kB; got {value!r}.", param, ctx)


class Seconds(click.ParamType):
    """A time: 10s, 500ms, 1m30s, 10."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = seconds(str(value))
        if found is None:
            self.fail(f"must be a time, like 10s, 500ms or 1m30s; got {value!r}.", param, ctx)
        return found


class Group(click.Group):
    """Commands in the order in which they are needed; a mistyped one gets a suggestion."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.commands, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(self.commands)}."
            raise click.UsageError(f"No such command {args[0]!r}. {hint}", ctx) from error
