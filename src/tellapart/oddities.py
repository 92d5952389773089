"""Pictures that can be read and are unusual: all one colour, dark, blurred, tiny, turned, animated, wrongly named.

A folder's own pictures say what is usual: digits of 8 × 8 px are not tiny among their like, and a drawing is not too
bright where all are drawings. So a picture is odd where it is beyond a fixed bound, and also far from the middle of the
folder where that means something; what a fifth of the folder has in common is no oddity at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tellapart.files import shown
from tellapart.findings import Finding, Proposal
from tellapart.headers import COLOURS
from tellapart.traits import FORMATS, Traits

USUAL = 0.2  # share of the folder from which on something is usual there
ONE_COLOUR = 3.0  # levels: neither brightness nor a channel's spread is wider
DARK, BRIGHT = 64, 192  # levels: 99 % of the pixels are below the first, or above the second
PALE = 32  # levels between the darkest and the brightest 1 %; photos have 70 and more
BLURRED, BLURRED_SHARE = 0.13, 0.4  # sharpness · of the folder's median
TINY_PX, TINY_SHARE = 64, 0.25  # shorter side · of the folder's median
LONG = 3.0  # times as long as wide, or as wide as long

# Extensions of each format; a file whose extension is none of these is not wrongly named.
EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif", ".avifs"),
    "HEIC": (".heic", ".heif", ".hif"),
}


@dataclass(frozen=True, slots=True)
class _Case:
    """One oddity of a folder."""

    name: str
    odd: np.ndarray  # bool (N,)
    badness: np.ndarray  # float (N,): the higher, the worse
    says: Callable[[int], str]  # what is odd about an entry, a few words
    one: str  # "is blurred"
    many: str  # "are blurred"
    why: str  # what is meant, with the bound
    remedy: str
    severity: str = "warning"
    drop: bool = False  # whether a cleaned copy does without
    always: bool = False  # told also where it is usual


def find(traits: Traits) -> list[Finding]:
    """One finding for each oddity, with all pictures that have it, the worst first."""
    if not len(traits):
        return []
    cases = [*_of_pixels(traits), *_of_shape(traits), *_of_files(traits)]
    empty = cases[0].odd.copy()  # what is all one colour is also dark, or pale: it is told once
    found = []
    for case in cases:
        odd = case.odd if case is cases[0] or case.severity == "info" else case.odd & ~empty
        if odd.any() and (case.always or odd.mean() < USUAL or odd.sum() == 1):
            found.append(_finding(traits, case, odd))
    return found


def _finding(traits: Traits, case: _Case, odd: np.ndarray) -> Finding:
    at = np.flatnonzero(odd)
    at = at[np.argsort(-case.badness[at], kind="stable")]
    paths = tuple(traits.entries[i].path for i in at)
    n, first = len(at), f"{shown(paths[0])}: {case.says(int(at[0]))}"
    what = f"1 picture {case.one}" if n == 1 else f"{n:,} pictures {case.many}"
    example = first if n == 1 else f"first {first}"
    action = "drop" if case.drop else "keep"
    return Finding(
        "odd",
        case.severity,
        f"{what} ({case.why}); {example}.",
        case.remedy,
        paths,
        float(n / len(traits)),
        {"oddity": case.name, "n": n, "of": len(traits), "values": [case.says(int(i)) for i in at]},
        tuple(Proposal(traits.entries[i].path, action, "", f"{case.name}: {case.says(int(i))}") for i in at),
    )


def _of_pixels(traits: Traits) -> list[_Case]:
    levels, sharpness = traits.column("levels"), traits.column("sharpness")
    low, high = levels[:, 0], levels[:, -1]
    spread = np.maximum(high - low, traits.column("std").max(axis=1))
    usual = float(np.median(sharpness))
    blurred = (sharpness < BLURRED) & (sharpness < BLURRED_SHARE * usual)
    return [
        _Case(
            "all one colour",
            spread <= ONE_COLOUR,
            -spread,
            lambda i: f"RGB {' '.join(f'{level:.0f}' for level in traits.column('mean', np.array([i]))[0])} throughout",
            "is all one colour",
            "are all one colour",
            "there is nothing to see",
            "Take them out; often a camera, a scan or a download failed.",
            drop=True,
        ),
        _Case(
            "very dark",
            high < DARK,
            -high,
            lambda i: f"99 % of its pixels are at {high[i]:.0f} of 255 or below",
            "is very dark",
            "are very dark",
            f"99 % of the pixels are darker than {DARK} of 255",
            "Look whether the subject can be seen; if not, take them out or brighten them.",
        ),
        _Case(
            "very bright",
            low > BRIGHT,
            low,
            lambda i: f"99 % of its pixels are at {low[i]:.0f} of 255 or above",
            "is very bright",
            "are very bright",
            f"99 % of the pixels are brighter than {BRIGHT} of 255",
            "Look whether the subject can be seen; if not, take them out.",
        ),
        _Case(
            "pale",
            (high - low < PALE) & (high >= DARK) & (low <= BRIGHT),
            low - high,
            lambda i: f"brightness from {low[i]:.0f} to {high[i]:.0f} of 255",
            "has hardly any contrast",
            "have hardly any contrast",
            f"98 % of the pixels lie within {PALE} of 255 levels",
            "Look whether the subject can be seen; if not, take them out.",
        ),
        _Case(
            "blurred",
            blurred & (spread > ONE_COLOUR),
            -sharpness,
            lambda i: f"sharpness {sharpness[i]:.2f}",
            "is blurred",
            "are blurred",
            f"the steepest edges have less than {BLURRED:.2f} of the brightness range from one pixel to the next, at "
            f"most 256 px wide; the folder's median is {usual:.2f}",
            "Look at them; where the subject cannot be told any more, take them out.",
        ),
    ]


def _of_shape(traits: Traits) -> list[_Case]:
    width, height = traits.column("width"), traits.column("height")
    shorter, longer = np.minimum(width, height), np.maximum(width, height)
    usual, ratio = float(np.median(shorter)), longer / shorter
    return [
        _Case(
            "tiny",
            (shorter < TINY_PX) & (shorter < TINY_SHARE * usual),
            -shorter.astype(float),
            lambda i: f"{width[i]}×{height[i]} px",
            "is tiny",
            "are tiny",
            f"shorter side below {TINY_PX} px and below a quarter of the folder's median, {usual:.0f} px",
            "Get larger copies where there are any; thumbnails teach little.",
        ),
        _Case(
            "extreme aspect",
            ratio > LONG,
            ratio,
            lambda i: f"{width[i]}×{height[i]} px, {ratio[i]:.1f} to 1",
            "is very long or very wide",
            "are very long or very wide",
            f"more than {LONG:.0f} to 1",
            "Cut out the subject: a network sees pictures squashed to a square.",
            "info",
        ),
    ]


def _of_files(traits: Traits) -> list[_Case]:
    """What the file says. All of it is read rightly here; other programs may differ."""
    n = len(traits)
    zero = np.zeros(n)
    orientation, bits = traits.column("orientation"), traits.column("bits")
    formats = traits.column("format")
    wrong = np.array([_wrongly_named(e.path, FORMATS[f]) for e, f in zip(traits.entries, formats, strict=True)])
    return [
        _Case(
            "rotated by EXIF",
            orientation > 1,
            zero,
            lambda i: f"EXIF orientation {orientation[i]}",
            "is turned upright by its EXIF orientation",
            "are turned upright by their EXIF orientation",
            "they are used upright here; some programs ignore it",
            "Nothing to do here; save them upright if other programs use them too.",
            "info",
            always=True,
        ),
        _Case(
            "animated",
            traits.column("animated"),
            zero,
            lambda i: f"a {FORMATS[formats[i]]} of several frames or pages",
            "has several frames or pages",
            "have several frames or pages",
            "only the first one is used",
            "Save the frames that matter as pictures of their own.",
            "info",
            always=True,
        ),
        _Case(
            "more than 8 bits",
            bits > 8,
            bits.astype(float),
            lambda i: f"{bits[i]} bits a sample",
            "has more than 8 bits a sample",
            "have more than 8 bits a sample",
            "the 8 highest are used",
            "If the subject is in the dark end of the range, stretch its brightness and save it with 8 bits.",
            "info",
            always=True,
        ),
        _Case(
            "CMYK",
            traits.column("colour") == COLOURS.index("CMYK"),
            zero,
            lambda i: "printing inks",
            "is in CMYK, the colours of print",
            "are in CMYK, the colours of print",
            "they are turned into RGB, as far as their colour profile tells",
            "Save them as RGB if their colours matter.",
            "info",
            always=True,
        ),
        _Case(
            "wrong extension",
            wrong,
            zero,
            lambda i: f"named {shown(os.path.splitext(traits.entries[i].path)[1].lower())}, is {FORMATS[formats[i]]}",
            "is named as another format than it is",
            "are named as other formats than they are",
            "the bytes decide here; other programs may refuse them",
            "Nothing to do here; give them their right extension if other programs use them too.",
            "info",
            always=True,
        ),
    ]


def _wrongly_named(path: str, format: str) -> bool:
    ending = os.path.splitext(path)[1].lower()
    return ending not in EXTENSIONS[format] and any(ending in endings for endings in EXTENSIONS.values())
