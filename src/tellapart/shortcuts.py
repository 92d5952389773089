"""Can the class be told without looking at the subject?

Cues of the file (format, size, JPEG settings, camera, …) should tell nothing of the class: where one does, a network
may learn it in place of the subject. Cues of light, colour and edges can belong to the subject, so that the bar is
higher for them. A third search is for one place that looks the same throughout a class and different elsewhere: a
border, a tag, a logo.

The bars were chosen on photos of cats and dogs, handwritten digits, Fashion-MNIST and drawn shapes, textures and
documents. There no cue of the file was better than 8 % of the way from guessing to certainty; of the others the best
went 45 % of that way, and told a single class from all others in 96 of 100 cases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tellapart import cues, marks
from tellapart.catalog import Entry
from tellapart.cues import Judged
from tellapart.files import shown
from tellapart.findings import Finding
from tellapart.headers import COLOURS
from tellapart.marks import Mark
from tellapart.traits import FORMATS, Traits

MOST = 8000  # pictures that a cue is judged on, the same number of each class where there are enough
LEAST_EACH, LEAST_OF_CLASS = 200, 10  # of a class where there are more classes · fewer are no evidence
SURE = 3  # standard errors by which a bar must be passed
GREY = 2.5  # chroma below which a picture counts as grey

# How much of the way from guessing to certainty a cue must go to be told, of all classes and of one against the others;
# and from where on it is worse.
BARS = {"file": (0.25, 0.35), "look": (0.6, 0.94)}
WORSE = {"file": 0.75, "look": 0.85}


# A picture under a wrong label has the mark of that label's class: to a network it is rightly filed.
HIDES = "Until then wrong labels may hide behind it."


@dataclass(frozen=True, slots=True)
class Cue:
    """Something that a picture's class might be told from."""

    name: str  # "the file format"
    kind: str  # "file" or "look"
    values: Callable[[Traits, np.ndarray], np.ndarray]  # float (M, D) of the entries at some places
    show: Callable[[np.ndarray], str]  # of the values of some pictures: what is typical, a few words
    remedy: str
    among: Callable[[Traits], np.ndarray] | None = None  # bool (N,): the pictures that have it at all


def find(traits: Traits) -> list[Finding]:
    """One finding for each cue that tells the classes, or one of them, and for each mark that one class has."""
    classes, labels = np.unique(traits.labels, return_inverse=True)
    at = sample(labels, len(classes))
    found = [_mark(mark, traits, classes) for mark in marks.find(traits, labels, len(classes), at)]
    marked = {each.detail["class"] for each in found}
    of_file = [_judged(cue, traits, classes, labels, at) for cue in CUES if cue.kind == "file"]
    found += _unrelated([each for each in of_file if each])
    if any(each.detail["cue"] != "mark" for each in found) or (marked and len(classes) == 2):
        return found  # what differs in the file, or has a mark, often differs in sharpness and colour as well
    of_look = [_judged(cue, traits, classes, labels, at) for cue in CUES if cue.kind == "look"]
    told = sorted((each for each in of_look if each and each.detail["class"] not in marked), key=lambda f: -f.score)
    return found + told[:1]  # light, colour and edges go together: the best of them stands for all


def sample(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Places of pictures to judge on, int64, rising: at most about `MOST`; classes of too few are left out."""
    rng = np.random.default_rng(0)
    most = max(LEAST_EACH, MOST // max(n_classes, 1))
    chosen = []
    for label in range(n_classes):
        mine = np.flatnonzero(labels == label)
        if len(mine) >= LEAST_OF_CLASS:
            chosen.append(rng.permutation(mine)[:most])
    return np.sort(np.concatenate(chosen)) if len(chosen) > 1 else np.zeros(0, np.int64)


def _judged(cue: Cue, traits: Traits, classes: np.ndarray, labels: np.ndarray, at: np.ndarray) -> Finding | None:
    if cue.among is not None:
        has = cue.among(traits)
        at = sample(np.where(has, labels, -1), len(classes))
    if not len(at):
        return None
    values = cue.values(traits, at)
    if not (values != values[:1]).any():
        return None
    present, mine = np.unique(labels[at], return_inverse=True)
    judged = cues.judge(values, mine, len(present), groups=traits.contents[at], seed=0)
    chance = 1 / len(present)
    every = (judged.balanced - SURE * judged.error - chance) / (1 - chance)
    one = 2 * (judged.one - SURE * judged.one_error) - 1
    all_bar, one_bar = BARS[cue.kind]
    if every < all_bar and one.max() < one_bar:
        return None
    best = int(one.argmax())
    of_all = len(present) == 2 or (every >= all_bar and every >= one.max())
    return _finding(cue, judged, classes[present], mine, best, values, [traits.entries[i] for i in at], of_all)


def _finding(
    cue: Cue,
    judged: Judged,
    classes: np.ndarray,
    labels: np.ndarray,
    best: int,
    values: np.ndarray,
    entries: list[Entry],
    of_all: bool,  # tells all classes better than `best` from the others
) -> Finding:
    n, name = len(classes), shown(str(classes[best]))
    mine, others = cue.show(values[labels == best]), cue.show(values[labels != best])
    rest = f"'{shown(str(classes[1 - best]))}'" if n == 2 else "the others"
    typical = f"'{name}': {mine}; {rest}: {others}" if mine != others else f"most of all '{name}'"
    counts = np.bincount(labels)
    detail = {
        "cue": cue.name,
        "class": str(classes[best]),
        "balanced_accuracy": round(judged.balanced, 4),
        "chance": round(1 / n, 4),
        "commonest_class": round(float(counts.max() / counts.sum()), 4),
        "one_class_accuracy": round(float(judged.one[best]), 4),
    }
    if of_all:
        share, chance = judged.balanced, 1 / n
        message = (
            f"{share:.0%} of the pictures can be put into their class from {cue.name} alone "
            f"(guessing: {chance:.0%}); {typical}."
        )
    else:
        share, chance = float(judged.one[best]), 0.5
        message = (
            f"Class '{name}' can be told from all others by {cue.name} alone in {share:.0%} of cases "
            f"(guessing: 50%); {typical}."
        )
    strength = (share - chance) / (1 - chance)
    worse = strength >= WORSE[cue.kind]
    severity = {"file": ("warning", "error"), "look": ("info", "warning")}[cue.kind][worse]
    telling = np.flatnonzero(judged.caught[:, best] & (labels == best))
    paths = () if n == 2 else tuple(entries[i].path for i in telling)
    remedy = f"{cue.remedy} {HIDES}" if severity == "error" else cue.remedy
    return Finding("shortcut", severity, message.replace("%", " %"), remedy, paths, strength, detail)


def _unrelated(found: list[Finding]) -> list[Finding]:
    """Without those that only repeat another one: the same class told as well or better, by a cue named before."""
    kept: list[Finding] = []
    for each in found:
        if not any(
            (one.detail["class"] == each.detail["class"] or not one.paths) and one.score >= each.score - 0.05
            for one in kept
        ):
            kept.append(each)
    return kept


def _mark(mark: Mark, traits: Traits, classes: np.ndarray) -> Finding:
    name, colour = str(classes[mark.label]), " ".join(map(str, mark.colour or ()))
    if mark.colour:
        what = f"look the same {mark.where} (about RGB {colour}), {mark.elsewhere:.1%} of the other pictures do"
    else:
        what = f"have the same pattern {mark.where}, so have {mark.elsewhere:.1%} of the other pictures"
    return Finding(
        "shortcut",
        "error" if mark.strength >= WORSE["file"] and mark.colour else "warning",
        f"{mark.share:.0%} of class '{shown(name)}' {what}.".replace("%", " %"),
        "Look there for a border, a tag, a logo or a date; cut it off in all classes, or the network will learn it. "
        f"{HIDES}",
        tuple(traits.entries[i].path for i in mark.at),
        mark.strength,
        {
            "cue": "mark",
            "class": name,
            "where": mark.where,
            "rgb": list(mark.colour or ()),
            "share_of_class": round(mark.share, 4),
            "share_of_others": round(mark.elsewhere, 4),
        },
    )


# --- the cues


def _columns(*names: str) -> Callable[[Traits, np.ndarray], np.ndarray]:
    return lambda traits, at: np.concatenate(
        [traits.column(name, at).reshape(len(at), -1).astype(np.float64) for name in names], axis=1
    )


def _aspect(traits: Traits, at: np.ndarray) -> np.ndarray:
    return _columns("width")(traits, at) / _columns("height")(traits, at)


def _modes(traits: Traits, at: np.ndarray) -> np.ndarray:
    grey = _columns("chroma")(traits, at) < GREY
    return np.concatenate([_columns("colour", "alpha", "bits")(traits, at), grey], axis=1)


def _commonest(name: Callable[[np.ndarray], str]) -> Callable[[np.ndarray], str]:
    """Says the commonest row of values and how common it is."""

    def show(values: np.ndarray) -> str:
        rows, counts = np.unique(values, axis=0, return_counts=True)
        return f"{counts.max() / len(values):.0%} {name(rows[counts.argmax()])}"

    return show


def _median(text: str, column: int = 0) -> Callable[[np.ndarray], str]:
    return lambda values: "median " + text.format(float(np.median(values[:, column])))


def _mode_name(row: np.ndarray) -> str:
    parts = [
        "grey, saved as" if row[3] and row[0] != 1 else "",
        COLOURS[int(row[0])],
        "with transparency" * bool(row[1]),
    ]
    return " ".join(part for part in parts if part) + (f" of {row[2]:.0f} bits" if row[2] != 8 else "")


def _camera_name(row: np.ndarray) -> str:
    if not row[0]:
        return "without EXIF" if not row[1] and not row[2] else "without a camera's name"
    return f"of one camera ({'one' if row[1] else 'no'} program named)"


def _colours(values: np.ndarray) -> str:
    return "median RGB " + " ".join(f"{level:.0f}" for level in np.median(values[:, :3], axis=0))


_ONE_WAY = "Save all pictures in one way, at best from the originals, or get pictures of each class from each source."
_EVERYWHERE = (
    "Make sure that this belongs to the subject; if not, get pictures of each class under the same conditions."
)
CUES = (
    Cue(
        "the file format",
        "file",
        _columns("format"),
        _commonest(lambda row: FORMATS[int(row[0])]),
        _ONE_WAY,
    ),
    Cue("the colour mode", "file", _modes, _commonest(_mode_name), "Save all pictures in the same colours."),
    Cue(
        "the camera and programs named in EXIF",
        "file",
        _columns("camera", "software", "exif", "dpi", "orientation"),
        _commonest(_camera_name),
        "Classes come from different sources: get pictures of each class from each source, or test on another source.",
    ),
    Cue(
        "JPEG quality",
        "file",
        _columns("quality", "tables"),
        _median("{:.0f}"),
        _ONE_WAY,
        lambda traits: traits.column("format") == FORMATS.index("JPEG"),
    ),
    Cue(
        "the aspect ratio",
        "file",
        _aspect,
        _median("{:.2f} to 1"),
        "Cut all pictures to one shape: the network sees them squashed to a square.",
    ),
    Cue(
        "the size in pixels",
        "file",
        _columns("width", "height"),
        _commonest(lambda row: f"{row[0]:.0f}×{row[1]:.0f} px"),
        "Bring all pictures to one size: enlarged ones look blurred to the network.",
    ),
    Cue("the file size", "look", _columns("bytes"), _median("{:,.0f} bytes"), _EVERYWHERE),
    Cue("brightness", "look", _columns("levels"), _median("{:.0f} of 255", 2), _EVERYWHERE),
    Cue("the average colour", "look", _columns("mean", "std"), _colours, _EVERYWHERE),
    Cue("sharpness", "look", _columns("sharpness"), _median("{:.2f}"), _EVERYWHERE),
    Cue(
        "the colours along the edges",
        "look",
        _columns("side_mean", "side_std"),
        _colours,
        "Look at the backgrounds: get pictures of each class in front of each background.",
    ),
    Cue(
        "even stripes along the edges",
        "look",
        _columns("band"),
        lambda values: f"on average {values.mean():.0%} of a side",
        "Cut frames and empty margins off.",
    ),
)
