"""Files that count as pictures and cannot be read: one finding each, with what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tellapart.catalog import Catalog
from tellapart.files import shown
from tellapart.findings import Finding, Proposal

# Reasons of files and rows that are left out although they can be read: other findings tell of them.
_READABLE = re.compile(r"the same picture is also in class|not in a class folder|\ba loop\)|another link has led")
_GET_AGAIN = "Copy or download it again; if that is not possible, take it out."

# Reasons, by what they begin with or hold: what it is called, what to do, and whether a cleaned copy does without it.
_CASES = (
    (r"empty file", "empty", _GET_AGAIN, True),
    (r"truncated", "truncated", _GET_AGAIN, True),
    (
        r"begins like HTML",
        "a web page",
        "A web page was saved in its place, often an error message: download the picture again.",
        True,
    ),
    (r"Git LFS", "a pointer", "Run `git lfs pull` in the folder that it comes from.", False),
    (r"needs the extra", "an extra is missing", "Install the extra that is named, or save it as JPEG.", False),
    (
        r"a kind (of picture )?that is not read here",
        "unsupported",
        "Save it as PNG or JPEG with the program that made it.",
        True,
    ),
    (r"not a picture", "no picture", "Take it out; if it should be a picture, get it again.", True),
    (
        r"over the limit",
        "too large",
        "Look where it comes from, it may be made to exhaust memory; if it is a real picture, save it smaller.",
        True,
    ),
    (r"more memory than there is", "too large", "Close other programs and try again, or save it smaller.", False),
    (r"no permission|permission denied", "no permission", "Give yourself the right to read it.", False),
    (r"symbolic link", "a dead link", "Put the file where the link points, or take the link out.", True),
    (r"vanished|disappeared|changed during", "changed", "Try again once nothing else writes to the folder.", False),
    (r"not a regular file", "no file", "Take it out of the folder.", True),
    (r"no such file", "missing", "Put the file where the table says, or take out the row.", True),
    (r"the folder cannot be read", "a folder", "Check the folder's permissions.", False),
    (r"damaged|no pixels", "damaged", _GET_AGAIN, True),
)
_OTHERWISE = ("not read", "Look at it with another program; save it again, or take it out.", False)


def find(catalog: Catalog, failures: Mapping[str, str]) -> list[Finding]:
    """One finding for each file that cannot be read, in the order of their paths.

    Args:
        catalog: as scanned, with what was skipped there.
        failures: content hash -> reason, of contents that no decoder reads, as in `traits.Traits`.
    """
    return [_finding(path, reason) for path, reason in sorted(set(_every(catalog, failures)))]


def _every(catalog: Catalog, failures: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for skipped in catalog.skipped:
        if not _READABLE.search(skipped.reason):
            yield skipped.path, skipped.reason
    for entry in catalog.entries:
        if entry.content in failures:
            yield entry.path, failures[entry.content]


def _finding(path: str, reason: str) -> Finding:
    name, remedy, drop = next(
        ((name, remedy, drop) for pattern, name, remedy, drop in _CASES if re.search(pattern, reason)), _OTHERWISE
    )
    action = "drop" if drop else "keep"
    return Finding(
        "unreadable",
        "warning",
        f"{shown(path)} cannot be read: {shown(reason)}.",
        remedy,
        (path,),
        0.0,
        {"case": name, "reason": reason},
        (Proposal(path, action, "", f"cannot be read: {name}"),),
    )
