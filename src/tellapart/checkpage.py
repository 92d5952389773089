"""Findings as one page for a browser: a self-contained HTML file that fetches nothing."""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tellapart import charts, htmlpage, moves, outputs, pictures, thumbnails
from tellapart.exhibits import FORMS, SEVERITY_NAMES, Case, Exhibits, Sides, cost, cut, encoded, most
from tellapart.files import counted, shown
from tellapart.findings import KINDS, SEVERITIES, Distribution, Finding, Findings
from tellapart.thumbnails import Album, Read

THUMBNAIL_BYTES = 4_800_000  # of all together
WORDS_BYTES = 2_400_000  # of all cases together; findings beyond are counted
MOST_CASES = 200  # of a kind; more are counted
MOST_SKIPPED = 1000
MOST_CLASSES = 20  # rows of the table that stand open
MOST_SPREADS = 6  # classes in each distribution

GROUPS = (("error", "Makes results wrong"), ("warning", "Makes results worse"), ("info", "Good to know"))
OPEN = {"single": 6, "twins": 6, "label": 12, "text": 12}  # cases that stand open
WORDS = {  # title, why it matters, what to do
    "unreadable": (
        "Files that cannot be read",
        "No training and no test sees them.",
        "Save them anew, or leave them out.",
    ),
    "leak": (
        "The same picture on both sides of a split",
        "A test on what was learned by heart looks better than the truth.",
        "Leave it out on one side.",
    ),
    "label_conflict": (
        "One picture under two labels",
        "One of the labels must be wrong, and both are learned.",
        "Keep it where it belongs, leave the other out.",
    ),
    "split": (
        "Training and test do not go together",
        "A result is only as good as the test that it comes from.",
        "Put the folders right, or split anew.",
    ),
    "shortcut": (
        "The class shows without looking at the subject",
        "A network takes the easiest way, and fails on pictures where it is missing.",
        "Take the cue away, or add pictures without it.",
    ),
    "wrong_label": (
        "Labels that look wrong",
        "Judged by how all the other pictures look.",
        "Look at each, and tick those that are wrong.",
    ),
    "exact_duplicate": (
        "Exact copies",
        "Byte for byte the same: they count one picture several times.",
        "Keep one of each.",
    ),
    "near_duplicate": (
        "Nearly the same picture",
        "The same shot, resized, saved again, cropped or mirrored.",
        "Keep the best one of each.",
    ),
    "imbalance": (
        "Too few, too uneven or too alike",
        "A class is learned as well as its pictures show it.",
        "Collect what is short.",
    ),
    "outlier": (
        "Pictures that fit no class",
        "They look like nothing else in the folder.",
        "Look at each; leave out what does not belong.",
    ),
    "odd": (
        "Readable, but unusual",
        "Often fine, sometimes a slip of the camera or of a program.",
        "Look at some of each sort.",
    ),
}


@dataclass(frozen=True, slots=True)
class Section:
    """All findings of a kind."""

    kind: str
    form: str
    severity: str  # the worst among them
    severity_name: str
    mixed: bool  # whether there are several severities
    title: str
    why: str
    do: str
    first: str  # what to do, or what was found where that says more
    n: int
    n_beyond: int  # findings that are not on the page
    n_ticks: int
    open: tuple[Case, ...]
    more: tuple[Case, ...]


def page(
    findings: Findings,
    *,
    read: Read = pictures.read_bytes,
    labels: str | None = None,
    sides: Sides | None = None,
) -> Iterator[str]:
    """The page, piece by piece; every piece can be encoded as UTF-8.

    Args:
        findings: what was found.
        read: a path to the bytes of its file, for thumbnails; raises PictureError.
        labels: the table of labels that gives the classes, where there is one: the fix list names it.
        sides: class and split of each path; without, they are read off the paths, which a table of labels makes moot.
    """
    by_kind = _by_kind(findings)
    chosen = _chosen(by_kind)
    album = thumbnails.album(_wanted(chosen), read=read, limit_bytes=THUMBNAIL_BYTES)
    yield from htmlpage.render(
        "check.html", script="check.js", view=_Maker(findings, album, labels, sides).view(by_kind, chosen)
    )


def save(
    findings: Findings,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    read: Read = pictures.read_bytes,
    labels: str | None = None,
    sides: Sides | None = None,
) -> None:
    """Write the page. Raises OutputError as `outputs.atomic` does."""
    with outputs.atomic(path, force=force) as file:
        for piece in page(findings, read=read, labels=labels, sides=sides):
            file.write(piece.encode("utf-8"))


def _by_kind(findings: Findings) -> list[list[Finding]]:
    """The findings of each kind that has some, the kinds with the gravest first."""
    found = [list(findings.of_kind(kind)) for kind in KINDS]
    return sorted(filter(None, found), key=lambda each: min(SEVERITIES.index(one.severity) for one in each))


def _chosen(by_kind: list[list[Finding]]) -> list[list[Finding]]:
    """Those that are on the page: the first of each kind, then the second of each, and so on, while there is room."""
    chosen: list[list[Finding]] = [[] for _ in by_kind]
    room = WORDS_BYTES
    for i in range(MOST_CASES):
        for every, mine in zip(by_kind, chosen, strict=True):
            if i < len(every) and len(mine) == i and (room := room - cost(every[i])) >= 0:
                mine.append(every[i])
    return chosen


def _wanted(chosen: list[list[Finding]]) -> Iterator[str]:
    """Paths of the pictures that would be shown: of the first finding of each kind, of the second of each, …"""
    for some in itertools.zip_longest(*chosen):
        for finding in filter(None, some):
            yield from finding.paths[: most(finding)]


class _Maker:
    """Findings and their thumbnails to what the template names."""

    def __init__(self, findings: Findings, album: Album, labels: str | None, sides: Sides | None) -> None:
        self.findings, self.labels = findings, labels
        totals = {name: sum(sides.values()) for name, sides in findings.classes.items()}
        self.classes = sorted(findings.classes, key=lambda name: (-totals[name], name))
        self.totals = totals
        self.exhibits = Exhibits(findings, album, self.classes, sides)

    def view(self, by_kind: list[list[Finding]], chosen: list[list[Finding]]) -> dict[str, Any]:
        """All that the template names."""
        from tellapart import __version__

        findings = self.findings
        sections = [self.section(every, some) for every, some in zip(by_kind, chosen, strict=True)]
        root = shown(findings.root)
        head = "".join(moves.lines((), findings.root, labels=self.labels))
        spread = [each for each in findings.distributions if any(map(sum, each.counts.values()))]
        return {
            "name": os.path.basename(os.path.abspath(findings.root)) or findings.root,
            "root": findings.root,
            "quoted": shlex.quote(root),
            "clean": shlex.quote(root.rstrip("/\\") + "-clean"),
            "version": __version__,
            "headline": _headline(findings),
            "verdict": verdict(findings),
            "quick": findings.quick,
            "sections": sections,
            "groups": [
                (severity, title, [each for each in sections if each.severity == severity])
                for severity, title in GROUPS
                if any(each.severity == severity for each in sections)
            ],
            "classes": self.class_rows(),
            "sides": self.sides(),
            "most_rows": MOST_CLASSES,
            "spreads": [self.spread(each) for each in spread],
            "n_spread_classes": (MOST_SPREADS, len(self.classes)) if len(self.classes) > MOST_SPREADS else None,
            "skipped": [(self.exhibits.short(path), cut(reason)) for path, reason in findings.skipped[:MOST_SKIPPED]],
            "n_skipped": len(findings.skipped),
            "notes": [cut(note) for note in findings.notes],
            "n_no_picture": self.exhibits.n_no_picture,
            "list_head": encoded(head),
            "seconds": f"{sum(findings.seconds.values()):.0f} s" if findings.seconds else "",
        }

    def section(self, every: list[Finding], chosen: list[Finding]) -> Section:
        kind = every[0].kind
        title, why, do = WORDS[kind]
        form = FORMS.get(kind, "text")
        severities = sorted({each.severity for each in every}, key=SEVERITIES.index)
        cases = [self.exhibits.case(each, form) for each in chosen]
        return Section(
            kind,
            form,
            severities[0],
            SEVERITY_NAMES[severities[0]],
            len(severities) > 1,
            title,
            why,
            do,
            self.exhibits.said(every[0].message) if form == "text" else do,
            len(every),
            len(every) - len(cases),
            sum(case.tick is not None for case in cases),
            tuple(cases[: OPEN[form]]),
            tuple(cases[OPEN[form] :]),
        )

    def sides(self) -> list[str]:
        """The splits, in the order of the first class that has each."""
        names = dict.fromkeys(side for name in self.classes for side in self.findings.classes[name])
        return [*names]

    def class_rows(self) -> list[dict[str, Any]]:
        most = max(self.totals.values(), default=0) or 1
        return [
            {
                "name": name,
                "counts": [self.findings.classes[name].get(side, 0) for side in self.sides()],
                "bar": charts.bar(self.totals[name] / most),
            }
            for name in self.classes
        ]

    def spread(self, given: Distribution) -> dict[str, Any]:
        rows = []
        for name in [each for each in self.classes if each in given.counts][:MOST_SPREADS]:
            counts = given.counts[name]
            middle = _amount(_middle(counts, given.edges), given.unit)
            told = f"{given.name} of {shown(name)}: half of {counted(sum(counts), 'picture')} are below {middle}"
            rows.append({"name": name, "chart": charts.histogram(counts, told=told), "middle": f"≈ {middle}"})
        low, high = (_amount(edge, given.unit) for edge in (given.edges[0], given.edges[-1]))
        return {"title": given.name.capitalize(), "rows": rows, "low": low, "high": high}


def verdict(findings: Findings) -> str:
    """How bad it is, in a sentence: kinds of findings counted by the gravest of each."""
    if not len(findings):
        return "Nothing was found."
    worst = [min(SEVERITIES.index(each.severity) for each in every) for every in _by_kind(findings)]
    said = []
    for i, (one, many) in enumerate(
        (
            ("makes results wrong", "make results wrong"),
            ("makes them worse", "make them worse"),
            ("is good to know",) * 2,
        )
    ):
        if n := worst.count(i):
            verb = one if n == 1 else many.replace("is ", "are ")
            if i == 1 and not said:
                verb = verb.replace("them", "results")
            said.append(f"{n} {'thing ' if n == 1 else 'things '}{verb}" if not said else f"{n} {verb}")
    return ", ".join(said) + "."


def _headline(findings: Findings) -> str:
    found, used = findings.n_found, findings.n_used
    left = "all used" if found == used else f"{used:,} used, {found - used:,} not"
    return f"{counted(found, 'picture')} found, {left}."


def _middle(counts: Sequence[int], edges: Sequence[float]) -> float:
    """The value below which half of the pictures are, as far as the bins tell."""
    half, below = sum(counts) / 2, 0
    for i, count in enumerate(counts):
        if count and below + count >= half:
            return edges[i] + (edges[i + 1] - edges[i]) * (half - below) / count
        below += count
    return edges[0]


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{value / 1e3:.0f} KB"
    text = f"{value:,.0f}" if abs(value) >= 20 else f"{value:.2g}"
    return f"{text} px" if unit == "px" else text
