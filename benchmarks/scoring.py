"""How much of the planted damage a list of findings has, and what it has besides.

A list is what `tellapart check --json` writes: `findings`, worst first, each with `kind` and `paths`, and `skipped`.
The peers' scripts write the same, with `cannot`, the kinds that they do not look for. Paths are below the pictures'
folder, or begin with it.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TWINS = ("exact_duplicate", "near_duplicate", "leak", "label_conflict")
MORE = 1.25  # the longer list in which wrong labels are looked for, over the number planted: 100 for 80


@dataclass(frozen=True)
class Looked:
    """What a person saw in the photos themselves, by the photos' names."""

    same: tuple[tuple[str, str], ...] = ()  # two photos of the same picture
    mislabelled: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Pairs:
    """Pairs that were proposed, and the right ones among them: two files that show the same photo."""

    proposed: np.ndarray  # int64, sorted: first * n + second, both places in the sorted list of paths
    right: np.ndarray  # bool, as long

    @property
    def precision(self) -> float | None:
        return float(self.right.mean()) if len(self.right) else None


def score(truth: Mapping[str, Any], result: Mapping[str, Any], root: Path, looked: Looked | None = None) -> dict:
    """Plain values: `recall` and what is found by kind, `precision` of the pairs, and lists of what is to be looked at.

    root: the folder of the pictures, as it was given to whoever wrote `result`. A pair is right where both files show
    the same photo, photos with the same bytes, or photos that `looked` calls the same: so a true twin of the set
    itself is no false alarm, and its copies are none. Two foreign pictures, which may well be alike, are passed over.
    """
    looked = looked or Looked()
    names = list(truth["pictures"])
    place = {name: i for i, name in enumerate(names)}
    listed = [(each, _below(each["paths"], root)) for each in result["findings"]]
    group = _groups(truth, looked)
    pairs = {kind: _pairs([p for f, p in listed if f["kind"] == kind], place, group) for kind in TWINS}
    every = np.unique(np.concatenate([each.proposed for each in pairs.values()]))

    def coded(case: Mapping[str, Any]) -> int:
        a, b = sorted((place[case["copy"]], place[case["of"]]))
        return a * len(names) + b

    def share(cases: Sequence[Mapping[str, Any]], among: np.ndarray) -> dict[str, int]:
        return {"found": int(np.isin([coded(each) for each in cases], among).sum()) if cases else 0, "of": len(cases)}

    twins = [*truth["exact"], *truth["near"]]
    scored: dict[str, Any] = {
        "exact": share(truth["exact"], every),
        "near": share(truth["near"], every),
        "near_by_kind": {
            kind: share([each for each in truth["near"] if each["kind"] == kind], every)
            for kind in dict.fromkeys(each["kind"] for each in truth["near"])
        },
        "leak": share([each for each in twins if each["leak"]], pairs["leak"].proposed),
        "label_conflict": share([each for each in twins if each["conflict"]], pairs["label_conflict"].proposed),
        "pairs": {
            kind: {"proposed": len(each.proposed), "wrong": int((~each.right).sum()), "precision": each.precision}
            for kind, each in pairs.items()
        },
    }
    split = [truth["pictures"][name]["split"] for name in names]
    sides = [(split[code // len(names)], split[code % len(names)]) for code in pairs["leak"].proposed.tolist()]
    scored["pairs"]["leak"]["on_one_side"] = sum(a == b for a, b in sides)
    planted = {coded(each) for each in twins}
    # The set's own pairs and the false ones, to be looked at: photos' names, or paths where a file shows none.
    scored["to_look"] = [
        {"kind": kind, "counted_right": bool(right), "pair": [_shown(truth, names[code // len(names)]),
         _shown(truth, names[code % len(names)])], "paths": [names[code // len(names)], names[code % len(names)]]}
        for kind, each in pairs.items()
        for code, right in zip(each.proposed[:2000].tolist(), each.right[:2000].tolist(), strict=True)
        if code not in planted
    ]  # fmt: skip
    return scored | _labels(truth, listed, looked) | _files(truth, listed, result, root) | _fixes(truth, result, root)


def _labels(truth: Mapping[str, Any], listed: Sequence[tuple[Mapping, list[str]]], looked: Looked) -> dict[str, Any]:
    """Wrong labels in the order given, pictures of something else, and the shortcut."""
    ranked = list(dict.fromkeys(path for f, paths in listed if f["kind"] == "wrong_label" for path in paths))
    planted = {each["path"] for each in truth["wrong_label"]}
    second = {each["copy"] for each in [*truth["exact"], *truth["near"]] if each["conflict"]}
    second |= {each["of"] for each in [*truth["exact"], *truth["near"]] if each["conflict"]}
    foreign = {each["path"] for each in truth["foreign"]}

    def what(path: str) -> str:
        if path in planted:
            return "planted"
        if path in second:
            return "under two labels"
        if path in foreign:
            return "foreign"
        return "seen" if truth["pictures"].get(path, {}).get("source") in looked.mislabelled else "other"

    tops = (len(planted), longest := math.ceil(MORE * len(planted)) or 100)
    outliers = list(dict.fromkeys(path for f, paths in listed if f["kind"] == "outlier" for path in paths))
    last = max((outliers.index(path) + 1 for path in foreign if path in outliers), default=None)
    hits: dict[str, Any] = {
        "wrong_label": {
            "of": len(planted),
            "listed": len(ranked),
            "found": len(planted & set(ranked)),
            "top": {str(n): len(planted & set(ranked[:n])) for n in tops},
        },
        "top": dict(Counter(what(path) for path in ranked[:longest])),
        "foreign": {
            "of": len(foreign),
            "found": len(foreign & set(outliers)),
            "listed": len(outliers),
            "last_rank": last,
            "anyhow": len(foreign & {path for f, paths in listed for path in paths if f["kind"] not in TWINS}),
        },
        "to_look_labels": [_shown(truth, path) for path in ranked[:longest] if what(path) == "other"],
    }
    said = [(each, f"{each['message']} {each.get('detail', '')}".lower()) for each, _ in listed]
    cues = [(each, text) for each, text in said if each["kind"] == "shortcut"]
    cue = truth["shortcut"]
    named = [each["message"] for each, text in cues if cue and any(word in text for word in cue["words"])]
    return hits | {"shortcut": {"named": named, "others": [f["message"] for f, _ in cues if f["message"] not in named]}}


def _files(
    truth: Mapping[str, Any], listed: Sequence[tuple[Mapping, list[str]]], result: Mapping[str, Any], root: Path
) -> dict[str, Any]:
    """Files that are no pictures: said to be unreadable, or skipped with a reason."""
    said = {path for f, paths in listed if f["kind"] == "unreadable" for path in paths}
    skipped = set(_below([each["path"] for each in result.get("skipped", ())], root))
    missed: Counter[str] = Counter()
    for each in truth["broken"]:
        missed[each["kind"]] += each["path"] not in said | skipped
    planted = {each["path"] for each in truth["broken"]}
    return {
        "broken": {
            "of": len(planted),
            "found": len(planted & (said | skipped)),
            "as_finding": len(planted & said),
            "missed": {kind: n for kind, n in missed.items() if n},
            "false": sorted(said - planted),
        }
    }


def _fixes(truth: Mapping[str, Any], result: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Proposed actions that would do harm: a picture of which nothing is left, a move away from the true class."""
    dropped, moved = set(), {}
    for finding in result["findings"]:
        for each in finding.get("proposals", ()):
            (path,) = _below([each["path"]], root)
            if each["action"] == "drop":
                dropped.add(path)
            elif each["action"] == "move":
                moved[path] = each["to"]
    pictures = truth["pictures"]
    kept = {about["source"] for path, about in pictures.items() if path not in dropped}
    lost = sorted(p for p in dropped if pictures.get(p, {}).get("source", "") not in {"", *kept})
    misled = sorted(p for p, to in moved.items() if pictures.get(p, {}).get("true") != to)
    return {"fixes": {"dropped": len(dropped), "moved": len(moved), "lost": lost, "misled": misled}}


def _groups(truth: Mapping[str, Any], looked: Looked) -> np.ndarray:
    """For each path, in order, the number of the photo that it shows, int64; -1 where it shows none, -2 for foreign."""
    parent: dict[str, str] = {}

    def top(name: str) -> str:
        while (above := parent.setdefault(name, name)) != name:
            name = above
        return name

    for a, b in looked.same:
        parent[top(a)] = top(b)
    number: dict[str, int] = {}
    sources = [each["source"] for each in truth["pictures"].values()]
    group = np.array([number.setdefault(top(name), len(number)) if name else -1 for name in sources], np.int64)
    foreign = {each["path"] for each in truth["foreign"]}
    group[[i for i, path in enumerate(truth["pictures"]) if path in foreign]] = -2
    return group


def _pairs(groups: Iterable[Sequence[str]], place: Mapping[str, int], group: np.ndarray) -> Pairs:
    """Every two paths of each group; a path that is not among the pictures is passed over."""
    n, found = len(place), [np.empty(0, np.int64)]
    for paths in groups:
        rows = np.unique(np.array([place[path] for path in paths if path in place], np.int64))
        first, second = np.triu_indices(len(rows), 1)
        found.append(rows[first] * n + rows[second])
    proposed = np.unique(np.concatenate(found))
    a, b = group[proposed // n], group[proposed % n]
    counts = (a != -2) | (b != -2)
    return Pairs(proposed[counts], ((a == b) & (a >= 0))[counts])


def _below(paths: Iterable[str], root: Path) -> list[str]:
    """Paths below the folder, with forward slashes, however they were written."""
    starts = (f"{root}{os.sep}", f"{root.absolute()}{os.sep}", f"{root.resolve()}{os.sep}")
    cut = []
    for path in paths:
        start = next((each for each in starts if path.startswith(each)), "")
        cut.append(Path(path[len(start) :]).as_posix())
    return cut


def _shown(truth: Mapping[str, Any], path: str) -> str:
    return truth["pictures"].get(path, {}).get("source") or path


def table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a row for each thing that was planted, a column for each tool's score with `seconds` and so on."""
    rows = [["", *scores], ["---", *["---"] * len(scores)]]

    def row(name: str, cell) -> None:
        rows.append([name, *(str(cell(each)) for each in scores.values())])

    def kind(name: str, needs: str, cell) -> None:
        row(name, lambda s: "does not look" if needs in s.get("cannot", ()) else cell(s))

    kind("exact copies found", "exact_duplicate", lambda s: _of(s["exact"]))
    kind("pairs called exact, right", "exact_duplicate", lambda s: _precision(s["pairs"]["exact_duplicate"]))
    kind("near copies found", "near_duplicate", lambda s: _of(s["near"]))
    for each in dict.fromkeys(kind for s in scores.values() for kind in s["near_by_kind"]):
        kind(f"… {each.replace('_', ' ')}", "near_duplicate", lambda s, each=each: _of(s["near_by_kind"][each], False))
    kind("pairs called near, right", "near_duplicate", lambda s: _precision(s["pairs"]["near_duplicate"]))
    if any(s["leak"]["of"] for s in scores.values()):
        kind("leaks found", "leak", lambda s: _of(s["leak"]))
    if any(s["pairs"]["leak"]["proposed"] for s in scores.values()):
        kind("pairs called a leak, right", "leak", lambda s: _precision(s["pairs"]["leak"]))
    kind("copies under two labels found", "label_conflict", lambda s: _of(s["label_conflict"]))
    for n in dict.fromkeys(n for s in scores.values() if s["wrong_label"]["of"] for n in s["wrong_label"]["top"]):
        kind(f"planted wrong labels in the top {n}", "wrong_label",
             lambda s, n=n: _of({"found": s["wrong_label"]["top"][n], "of": s["wrong_label"]["of"]}))  # fmt: skip
    kind(
        "… in the whole list",
        "wrong_label",
        lambda s: f"{_of(s['wrong_label'])}, {s['wrong_label']['listed']:,} listed",
    )
    kind("the rest of the longer top", "wrong_label", lambda s: _rest(s["top"]))
    kind("broken files found", "unreadable", lambda s: _broken(s["broken"]))
    kind("foreign pictures found", "outlier", lambda s: _foreign(s["foreign"]))
    if any(s.get("cue") for s in scores.values()):
        kind("shortcut named", "shortcut", lambda s: "yes" if s["shortcut"]["named"] else "no")
    kind("other shortcuts", "shortcut", lambda s: len(s["shortcut"]["others"]))
    row("time", lambda s: f"{s['seconds']:.0f} s" if s.get("seconds") else "")
    row("processor time", lambda s: f"{s['cpu_s']:.0f} s" if s.get("cpu_s") else "")
    row("peak memory", lambda s: f"{s['peak_mb']:,.0f} MB" if s.get("peak_mb") else "")
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _of(case: Mapping[str, int], percent: bool = True) -> str:
    if not case["of"]:
        return "none planted"
    return f"{case['found']} of {case['of']}" + (f" ({100 * case['found'] / case['of']:.0f} %)" if percent else "")


def _precision(case: Mapping[str, Any]) -> str:
    if not case["proposed"]:
        return "none proposed"
    return f"{case['proposed'] - case['wrong']:,} of {case['proposed']:,} ({100 * case['precision']:.1f} %)"


def _rest(top: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in sorted(top.items()) if what != "planted") or "nothing else"


def _broken(case: Mapping[str, Any]) -> str:
    missed = ", ".join(kind.replace("_", " ") for kind in case["missed"])
    return (
        _of(case)
        + (f"; missed: {missed}" if missed else "")
        + (f"; {len(case['false'])} wrong" if case["false"] else "")
    )


def _foreign(case: Mapping[str, Any]) -> str:
    return f"{_of(case)}, {case['listed']:,} listed" + (f", the last at {case['last_rank']}" if case["found"] else "")
