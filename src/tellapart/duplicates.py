"""Groups of copies to findings: what stands twice, on two sides of a split, or under two labels, and what to do."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tellapart import decoders, pictures
from tellapart.catalog import SPLITS, Catalog, Entry
from tellapart.decoders import Maker
from tellapart.errors import PictureError
from tellapart.files import counted, quoted, shown
from tellapart.findings import Finding, Proposal
from tellapart.twins import Link, Twins

NAMED = 3  # files named in a message


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides which of several copies is the best."""

    width_px: int  # upright
    height_px: int
    n_bytes: int
    format: str  # as `kinds.sniff` names it

    @property
    def rank(self) -> tuple[int, bool, int]:
        """The more pixels, the better; of as many, an exact format before JPEG, then the larger file."""
        return self.width_px * self.height_px, self.format != "JPEG", self.n_bytes


def findings(catalog: Catalog, twins: Twins, facts: Mapping[str, Facts] | None = None) -> list[Finding]:
    """A finding for every group of copies, and one for the user's own groups that stand on two sides.

    A group under two labels is a `label_conflict`, files of the same bytes that the catalog set aside among them; else
    one on two sides is a `leak`; else it is an `exact_duplicate` where bytes or pixels are the same, or a
    `near_duplicate`.

    Args:
        catalog: as it was read, before `twins.grouped`.
        twins: of the same pictures, `twins.files(catalog)`.
        facts: by content, where they are known; the other files of groups are read for them.
    """
    of_content: dict[str, list[Entry]] = defaultdict(list)
    for entry in (*catalog.entries, *catalog.conflicts):
        of_content[entry.content].append(entry)
    links: dict[str, list[Link]] = defaultdict(list)
    for link in twins.links:
        links[link.first].append(link)
    groups = twins.groups()
    placed = {content for group in groups for content in group}
    groups += [(content,) for content, entries in of_content.items() if content not in placed and len(entries) > 1]
    known = dict(facts or {})
    found = []
    for group in sorted(groups):
        entries = [entry for content in group for entry in of_content.get(content, ())]
        if len({(entry.path, entry.label, entry.split) for entry in entries}) > 1:
            mine = [link for content in group for link in links[content]]
            found.append(_finding(entries, mine, known))
    return found + _torn(catalog)


def _finding(entries: list[Entry], links: list[Link], known: dict[str, Facts]) -> Finding:
    for entry in entries:
        if entry.content not in known:
            known[entry.content] = _facts(entry.path)
    paths = {entry.content: entry.path for entry in entries}
    changes = _changes(entries, links, known, paths)
    # The best first, then by path.
    entries = sorted(entries, key=lambda entry: entry.path)
    entries = sorted(entries, key=lambda entry: known[entry.content].rank, reverse=True)
    labels = sorted({entry.label for entry in entries})
    sides = [side for side in SPLITS if any(entry.split == side for entry in entries)]
    alike = ", ".join(changes)
    score = min((link.score for link in links), default=1.0)
    detail = {"changes": changes, "labels": labels, "splits": sides, "score": score}
    n = counted(len({entry.path for entry in entries}), "file")
    if len(labels) > 1:
        # A picture that is turned may rightly be of another class, as a 6 is that becomes a 9.
        as_it_is = all(not link.how.startswith(("mirrored", "turned", "upside")) for link in links)
        under = " and ".join(
            f"'{shown(label)}' ({shown(next(e.path for e in entries if e.label == label))})" for label in labels[:NAMED]
        )
        under += f" and {len(labels) - NAMED} more classes" if len(labels) > NAMED else ""
        return Finding(
            "label_conflict",
            "error" if as_it_is else "warning",
            f"{n} {_show(entries)} one picture ({alike}) under {len(labels)} labels: {under}.",
            "Decide which label is right and take the others away.",
            _paths(entries),
            score,
            detail,
            _keep(entries, "the same picture under two labels: decide which is right"),
        )
    if len(sides) > 1:
        # As `splits` does: the test keeps its pictures, then validation.
        entries = sorted(entries, key=lambda entry: ("test", "validation", "train").index(entry.split or "train"))
        home = entries[0].split
        where = " and ".join(
            f"{side} ({shown(next(entry.path for entry in entries if entry.split == side))})" for side in sides
        )
        return Finding(
            "leak",
            "error",
            f"{n} {_show(entries)} one picture ({alike}) on {len(sides)} sides of the split: {where}.",
            f"Take the copies outside {home} away: a model that has seen a picture cannot be judged by it.",
            _paths(entries),
            score,
            detail,
            tuple(
                Proposal(entry.path, "keep", reason=f"stays in {home}")
                if entry.split == home
                else Proposal(entry.path, "drop", reason=f"also in {home}: {shown(entries[0].path)}")
                for entry in _once(entries)
            ),
        )
    exact = set(changes) <= {"same bytes", "same pixels"}
    best = known[entries[0].content]
    size = f"{best.width_px}×{best.height_px}" if best.width_px else counted(best.n_bytes, "byte")
    others = quoted([entry.path for entry in entries[1:]], NAMED)
    return Finding(
        "exact_duplicate" if exact else "near_duplicate",
        "warning",
        f"{n} of class '{shown(labels[0])}' show one picture ({alike}): "
        f"'{shown(entries[0].path)}' ({size}) and {others}.",
        f"Keep '{shown(entries[0].path)}', " + ("the first of them." if exact else "the largest."),
        _paths(entries),
        len(entries) - 2 + score,
        detail,
        (
            Proposal(entries[0].path, "keep", reason="the best of its copies"),
            *(
                Proposal(entry.path, "drop", reason=f"{'same' if exact else 'nearly the same'} as {entries[0].path}")
                for entry in _once(entries)[1:]
            ),
        ),
    )


def _changes(entries: list[Entry], links: list[Link], known: dict[str, Facts], paths: dict[str, str]) -> list[str]:
    """What was done to the copies, in a few words each."""
    found: dict[str, None] = {}
    if len({entry.content for entry in entries}) < len(entries):
        found["same bytes"] = None
    for link in links:
        one, other = known[link.first], known[link.second]
        how = link.how
        sizes = {tuple(sorted((each.width_px, each.height_px))) for each in (one, other)}
        if how == "copy":
            if len(sizes) > 1:
                how = "rescaled"
            elif one.format == other.format:
                how = "changed a little"
            else:
                how = "same pixels" if _same_pixels(paths[link.first], paths[link.second]) else "another format"
        found[how.replace("copy, cropped", "cropped").replace(", cropped", " and cropped")] = None
    return list(found)


def _same_pixels(one: str, other: str) -> bool:
    try:
        (first,), (second,) = (decoders.one(Maker("tellapart.duplicates:digest"), path, 32) for path in (one, other))
    except PictureError:
        return False
    return first.tobytes() == second.tobytes()


def digest(data: bytes) -> np.ndarray:
    """What is the same for the same pixels alone, uint8 (32,), of the bytes of a file. Raises PictureError."""
    pixels = pictures.decode(data).pixels
    hashed = hashlib.sha256(repr(pixels.shape).encode())
    hashed.update(pixels.data)
    return np.frombuffer(hashed.digest(), np.uint8)


def _facts(path: str) -> Facts:
    try:
        numbers, format = decoders.one(Maker("tellapart.duplicates:numbers"), path, 64)
    except PictureError:  # it went away, or does not open: any other copy is better
        return Facts(0, 0, 0, "")
    width, height, n_bytes = map(int, numbers)
    return Facts(width, height, n_bytes, format.tobytes().decode())


def numbers(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Width, height and size of the bytes of a file, int64 (3,), and its format as ASCII. Raises PictureError."""
    picture = pictures.decode(data, at_least_px=8)
    facts = np.array([picture.width_px, picture.height_px, len(data)], np.int64)
    return facts, np.frombuffer(picture.format.encode(), np.uint8)


def _torn(catalog: Catalog) -> list[Finding]:
    """The user's own groups that the user's own splits part."""
    sides: dict[str, set[str]] = defaultdict(set)
    for entry in catalog.entries:
        if entry.group is not None and entry.split is not None:
            sides[entry.group].add(entry.split)
    torn = sorted(group for group, mine in sides.items() if len(mine) > 1)
    if not torn:
        return []
    paths = sorted({entry.path for entry in catalog.entries if entry.group in set(torn)})
    verb = "stands" if len(torn) == 1 else "stand"
    return [
        Finding(
            "leak",
            "error",
            f"{counted(len(torn), 'group')} of {len(sides):,} {verb} on two sides of the split, with "
            f"{counted(len(paths), 'picture')}: {quoted(torn)}.",
            "Give all pictures of a group the same split, or leave the splits to the training.",
            tuple(paths),
            float(len(torn)),
            {"groups": torn},
        )
    ]


def _show(entries: Sequence[Entry]) -> str:
    return "shows" if len({entry.path for entry in entries}) == 1 else "show"


def _once(entries: Sequence[Entry]) -> list[Entry]:
    """The first entry of each file."""
    return list({entry.path: entry for entry in reversed(entries)}.values())[::-1]


def _paths(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.path for entry in entries))


def _keep(entries: Sequence[Entry], reason: str) -> tuple[Proposal, ...]:
    return tuple(Proposal(path, "keep", reason=reason) for path in _paths(entries))
