"""Findings as what a page shows of them: pictures, words, a bar or a chart, a box to tick.

Of a finding's `detail` these are looked at, where they are there:

- of `wrong_label`: ``given``, ``likely`` (class names), ``probability`` (0–1, of the likely one)
- of any kind: ``values`` (a word on each of `paths`)
- of `shortcut`: ``cue``, ``balanced_accuracy`` or ``one_class_accuracy`` (0–1), ``chance``; ``share_of_class``,
  ``share_of_others``
- with ``topic`` "growth": ``points`` and ``forecast``, of each ``pictures`` or ``n``, ``accuracy``, and,
  where they are known, ``low`` and ``high``

Where it is missing, the likely class is that of the proposals.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from tellapart import charts, moves
from tellapart.charts import Svg, percent
from tellapart.files import counted, shown, split_name
from tellapart.findings import Finding, Findings
from tellapart.moves import Move
from tellapart.thumbnails import Album, Thumbnail

MOST_TILES = {"text": 12, "twins": 12}  # pictures of a case, by its form; else one
MOST_NAMES = 200  # of a case, in words
MOST_LETTERS = 600  # of a message
MOST_OF_PATH = 240  # letters of a path that is shown
SEVERITY_NAMES = {"error": "makes results wrong", "warning": "makes results worse", "info": "good to know"}
FORMS = {  # how the cases of a kind are laid out
    "unreadable": "single",
    "leak": "twins",
    "label_conflict": "twins",
    "wrong_label": "label",
    "exact_duplicate": "twins",
    "near_duplicate": "twins",
    "outlier": "single",
}


Sides = Mapping[str, tuple[str, str | None]]  # path -> class and split


@dataclass(frozen=True, slots=True)
class Tick:
    """A box that puts rows on the fix list."""

    text: str
    to: str  # the class, where it is a move
    name: str  # which picture, for who hears the page
    n: int  # pictures
    row: str  # for each: percent-encoded path, "!", percent-encoded row; with blanks between


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of a case."""

    folder: str  # as shown, with "/" at its end
    name: str  # of the file
    alt: str
    label: str = ""
    split: str = ""
    fate: str = ""  # what the proposals do with it
    note: str = ""
    tick: Tick | None = None  # where the pictures of a case are decided on one by one
    reason: str = ""  # why there is no thumbnail
    thumbnail: Thumbnail | None = None
    key: str = ""  # of the thumbnail on the page
    first: bool = False  # whether the page has it here


@dataclass(frozen=True, slots=True)
class Case:
    """One finding on the page."""

    form: str
    severity: str
    severity_name: str
    message: str
    remedy: str
    classes: str  # places of its classes in the table of classes, with blanks between
    tiles: tuple[Tile, ...] = ()
    names: tuple[str, ...] = ()  # paths without a picture
    names_title: str = ""
    n_unnamed: int = 0
    tick: Tick | None = None
    given: str = ""
    likely: str = ""
    share: str = ""
    share_name: str = ""
    bar: Svg = Svg()  # noqa: RUF009 (it cannot be changed)
    against: tuple[tuple[str, Svg, str], ...] = ()  # what the share is to be seen beside: name, bar, value
    chart: Svg = Svg()  # noqa: RUF009
    rows: tuple[tuple[str, ...], ...] = ()  # the chart as a table


class Exhibits:
    """Makes cases, in the order of the page: a picture that comes again refers to where it came first."""

    def __init__(self, findings: Findings, album: Album, classes: Sequence[str], sides: Sides | None = None) -> None:
        self.findings, self.album, self.sides = findings, album, sides or {}
        self.places = {name: i for i, name in enumerate(classes)}
        self.keys: dict[str, str] = {}  # content -> key of its picture on the page
        self.n_no_picture = 0  # pictures named without being shown, for want of room

    def case(self, finding: Finding, form: str) -> Case:
        detail = finding.detail
        abouts = [self.about(finding, i) for i in range(len(finding.paths))]
        acted = {
            each.path: each for each in finding.proposals if any(one.action != "keep" for one in finding.proposals)
        }
        values = detail.get("values")
        values = values if isinstance(values, Sequence) and len(values) == len(finding.paths) else [""] * len(abouts)
        tiles = []
        for path, about, value in zip(finding.paths[: most(finding)], abouts, values, strict=False):
            proposal = acted.get(path)
            fate = "" if proposal is None or form != "twins" else _fate(proposal.action, proposal.to)
            tile = self.tile(path, *about, fate, str(value))
            if form == "twins" and not acted:  # which one to leave out is the reader's to say
                tile = replace(tile, tick=self.box("Leave this out", [Move(path, "drop", "", finding.kind)]))
            tiles.append(tile)
        rest = finding.paths[most(finding) :]
        classes = {label for label, _ in abouts} | {str(detail.get(key)) for key in ("class", "given", "likely")}
        places = sorted(self.places[each] for each in classes if each in self.places)
        if not finding.paths or not places:  # what is about the whole folder is about every class
            places = list(range(len(self.places)))
        form = form if tiles else "text"
        case = Case(
            form,
            finding.severity,
            SEVERITY_NAMES[finding.severity],
            self.said(finding.message),
            self.said(finding.remedy) if form in ("text", "single") else "",
            " ".join(map(str, places)),
            tuple(tiles),
            tuple(self.short(path) for path in rest[:MOST_NAMES]),
            f"{counted(len(rest), 'more file')}",
            max(len(rest) - MOST_NAMES, 0),
            self.tick(finding, form),
        )
        if form == "label" and tiles:
            return self.suspect(case, finding, abouts[0][0])
        if finding.kind == "shortcut":
            return _measured(case, detail)
        if detail.get("topic") == "growth":
            return _grown(case, detail)
        return case

    def suspect(self, case: Case, finding: Finding, label: str) -> Case:
        """A case of a suspected label: the given one, the likely one, how sure."""
        likely = _likely(finding)
        share = finding.detail.get("probability")
        if not likely:
            return replace(case, form="single")
        case = replace(case, given=str(finding.detail.get("given") or label or "?"), likely=likely)
        if isinstance(share, (int, float)) and 0 <= share <= 1:
            case = replace(case, share=percent(share), bar=charts.bar(share))
        return case

    def tile(self, path: str, label: str, split: str, fate: str, note: str) -> Tile:
        folder, slash, name = self.short(path).rpartition("/")
        alt = f"{label}: {name}" if label else name
        tile = Tile(folder + slash, name, alt, label, split, fate, note)
        content = self.album.contents.get(path)
        if content is None:
            reason = self.album.reasons.get(path)
            self.n_no_picture += reason is None
            return replace(tile, reason=cut(reason or "not shown, to keep this page small", 160))
        first = content not in self.keys
        key = self.keys.setdefault(content, f"p{len(self.keys)}")
        return replace(tile, thumbnail=self.album.thumbnails[content], key=key, first=first)

    def about(self, finding: Finding, i: int) -> tuple[str, str]:
        """Class and split of a path of a finding, read off the path where nobody told; "" where they are not known."""
        path = finding.paths[i]
        if path in self.sides:
            label, side = self.sides[path]
            return label, side or ""
        way = moves.relative(path, self.findings.root).split("/")[:-1]
        names = [unicodedata.normalize("NFC", _text(each)) for each in way]
        label = next((each for each in names[:2] if each in self.findings.classes), "")
        split = split_name(names[0]) if len(names) > 1 and names[0] != label else None
        return label, split or ""

    def said(self, text: str) -> str:
        """A sentence, with its paths told from the folder down."""
        return cut(text.replace(os.path.join(shown(self.findings.root), ""), ""))

    def short(self, path: str) -> str:
        """A path from the folder down, its middle left out where it is long."""
        text = shown(moves.relative(path, self.findings.root))
        half = MOST_OF_PATH // 2
        return text if len(text) <= MOST_OF_PATH else f"{text[:half]}…{text[-half:]}"

    def tick(self, finding: Finding, form: str) -> Tick | None:
        """The box of a case; None where there is nothing to decide."""
        chosen = [Move(each.path, each.action, each.to, finding.kind, each.reason) for each in finding.proposals]
        acted = [each for each in chosen if each.action != "keep"]
        only = shown(os.path.basename(acted[0].path)) if len(acted) == 1 else ""
        text, to = f"Leave out {cut(only, 60) or f'{len(acted):,} of these'}", ""
        if form == "label" and finding.paths and (to := _likely(finding)):
            reason = next((each.reason for each in chosen), "")
            acted, text = [Move(finding.paths[-1], "move", to, finding.kind, reason)], "Move to"
        elif form == "single" and not acted and finding.paths:
            reason = next((each.reason for each in chosen), "")
            acted, text = [Move(each, "drop", "", finding.kind, reason) for each in finding.paths], "Leave this out"
        elif any(each.action == "move" for each in acted):
            text = f"Do as proposed with {counted(len(acted), 'picture')}"
        return self.box(text, acted, to) if 0 < len(acted) <= MOST_NAMES else None

    def box(self, text: str, listed: Sequence[Move], to: str = "") -> Tick:
        """A box that puts some rows, of paths as the findings have them, on the fix list."""
        name = self.short(listed[0].path) + (f" and {len(listed) - 1} more" if len(listed) > 1 else "")
        rows = []
        for each in listed:
            each = replace(each, path=moves.relative(each.path, self.findings.root))
            rows.append(f"{encoded(each.path)}!{encoded(moves.row(each))}")
        return Tick(text, to, name, len(listed), " ".join(rows))


def _likely(finding: Finding) -> str:
    """The class that a picture looks like; "" where nothing tells."""
    told = finding.detail.get("likely")
    return str(told) if told else next((each.to for each in finding.proposals if each.to), "")


def _fate(action: str, to: str) -> str:
    return {"keep": "keep", "drop": "leave out", "move": f"move to {to}"}[action]


def _measured(case: Case, detail: Mapping[str, Any]) -> Case:
    """A shortcut with its bars: how often it tells the class, or how many of a class have it."""
    label = str(detail.get("class", "the class"))
    if isinstance(share := detail.get("share_of_class"), (int, float)):
        other, name, beside = detail.get("share_of_others", 0.0), f"of {shown(label)} have it", "of all others"
    else:
        share = detail.get("balanced_accuracy", detail.get("one_class_accuracy"))
        other, name, beside = (
            detail.get("chance"),
            f"told by {shown(str(detail.get('cue', 'it')))} alone",
            "by guessing",
        )
    if not isinstance(share, (int, float)):
        return case
    against = []
    if isinstance(other, (int, float)):
        against.append((beside, charts.bar(other, kind="base"), percent(other)))
    bar = charts.bar(share, kind="high")
    return replace(case, share=percent(share), share_name=name, bar=bar, against=tuple(against))


def _grown(case: Case, detail: Mapping[str, Any]) -> Case:
    """Accuracy by the number of pictures, as a chart and as a table."""
    points, ahead = (_points(detail.get(name)) for name in ("points", "forecast"))
    if not points:
        return case
    told = f"Accuracy by the number of pictures: {percent(points[-1].y)} with {points[-1].x:,.0f}"
    if ahead:
        told += f", about {percent(ahead[-1].y)} expected with {ahead[-1].x:,.0f}"
    rows = [("pictures", "accuracy", "likely from", "to")]
    for each in (*points, *ahead):
        expected = " (expected)" if each in ahead else ""
        rows.append((f"{each.x:,.0f}{expected}", percent(each.y), percent(each.low), percent(each.high)))
    chart = charts.curve(points, beyond=ahead, x_name="pictures (dashed: expected)" if ahead else "pictures", told=told)
    return replace(case, chart=chart, rows=tuple(rows))


def _points(given: Any) -> list[charts.Point]:
    every = [given] if isinstance(given, Mapping) else given if isinstance(given, Sequence) else []
    found = []
    for each in every:
        x, y = each.get("pictures", each.get("n")), each.get("accuracy")
        if isinstance(x, (int, float)) and isinstance(y, (int, float)) and x > 0:
            found.append(charts.Point(x, y, each.get("low", y), each.get("high", y)))
    return sorted(found, key=lambda point: point.x)


def _text(name: str) -> str:
    """A folder's name as its class is called."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def most(finding: Finding) -> int:
    """How many pictures of a finding are shown."""
    return MOST_TILES.get(FORMS.get(finding.kind, "text"), 1)


def cost(finding: Finding) -> int:
    """About how many bytes a finding takes on the page, without its pictures; rather too many than too few."""
    n_shown = most(finding)
    sizes = [len(os.fsencode(path)) for path in finding.paths[: n_shown + MOST_NAMES]]
    size = 1200 + 2 * min(len(finding.message) + len(finding.remedy), 2 * MOST_LETTERS)
    size += sum(800 + 5 * min(each, MOST_OF_PATH) for each in sizes[:n_shown])
    size += sum(40 + 2 * min(each, MOST_OF_PATH) for each in sizes[n_shown:])
    acted = finding.proposals[: MOST_NAMES + 1]  # of more than that there is no box
    return size + sum(200 + 7 * len(os.fsencode(each.path)) + 3 * len(each.reason) for each in acted)


def cut(text: str, most: int = MOST_LETTERS) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def encoded(text: str) -> str:
    """Text as percent-encoded bytes: a name may be no text, and a page is."""
    return quote(text.encode("utf-8", "surrogateescape"), safe="")
