"""Cells of a CSV that a spreadsheet does not take for formulas (OWASP, "CSV Injection")."""

from __future__ import annotations

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def guarded(text: str) -> str:
    """A cell that begins like a formula gets an apostrophe before it; every other one stays."""
    return f"'{text}" if text[:1] in FORMULA_STARTS else text


def reversible(text: str) -> str:
    """As `guarded`, and so that `plain` gives every text back."""
    return f"'{text}" if text[:1] == "'" else guarded(text)


def plain(cell: str) -> str:
    """What `reversible` was given."""
    return cell.removeprefix("'")
